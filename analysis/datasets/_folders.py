"""Folders of one class each, by their names alone: looking through 20,000 files as a repository takes the `datasets` library half a minute.

What is not plainly that (a README that says how the files are read, tables or metadata, names that may mean a split) is left to the library, so that both agree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ._columns import Named
from ._streamed import CALLED, SLAB, Encoded, Opened, Part, Slab

MAYBE_SPLIT = re.compile("train|val|dev|test|eval", re.IGNORECASE)
CARDS = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", ".gitattributes")


def class_folders(root: str, within: str | None = None, cards: bool = False) -> Opened | None:
    """Images of `root/class/file` or `root/split/class/file` and no other files; None for anything else.

    No link is followed that leads out of the folder `within`, which is `root` itself where no other is given. With `cards`, what a
    repository has beside its data is passed over.
    """
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    kinds = set(ImageFolder.EXTENSIONS)
    found: dict[str, list[tuple[str, str]]] = {}  # by split, class and path
    depths = set()
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if cards and folder == root and name in CARDS:
                continue
            *above, _ = parts = Path(path).relative_to(root).parts
            split = CALLED.get(above[0]) if len(above) == 2 else "train"
            rest = parts[1:] if len(above) == 2 else parts
            odd = any(part.startswith((".", "__")) or MAYBE_SPLIT.search(part) for part in rest)
            if odd or split is None or len(above) not in (1, 2) or os.path.splitext(name)[1].lower() not in kinds:
                return None
            depths.add(len(above))
            found.setdefault(split, []).append((above[-1], path))
    classes = tuple(sorted({name for part in found.values() for name, _ in part}))
    if len(depths) != 1 or len(classes) < 2:
        return None
    which = {name: index for index, name in enumerate(classes)}
    told = [Part(split, len(rows), {"label": [which[name] for name, _ in rows]}) for split, rows in found.items()]
    return Opened({"label": Named(classes)}, lambda: _slabs(within or root, found, classes), lambda names: iter(told))


def _slabs(root: str, found: dict[str, list[tuple[str, str]]], classes: Sequence[str]) -> Iterator[Slab]:
    which = {name: index for index, name in enumerate(classes)}
    for split in sorted(found, key=list(dict.fromkeys(CALLED.values())).index):
        rows = sorted(found[split], key=lambda row: row[1])
        for start in range(0, len(rows), SLAB):
            part = rows[start : start + SLAB]
            yield Slab(split, [_encoded(path, root) for _, path in part], {"label": [which[name] for name, _ in part]})


def _encoded(path: str, root: str) -> Encoded:
    """The file, where no link leads out of the folder."""
    inside = os.path.realpath(path).startswith(root + os.sep)
    return Encoded(os.path.basename(path), path if inside else ValueError("no image data"))
