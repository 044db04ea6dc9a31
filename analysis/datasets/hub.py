"""Images in a folder, in Parquet files or of the Hugging Face hub, by the `datasets` library.

A place is the hub id of a data set that was fetched (`uoft-cs/cifar10`, of one commit with `@` and its hash), a local folder in the hub's
own layout or of one folder a class, or a Parquet file. After a question mark columns and splits may be chosen, where they are not the
first or not so named: `me/pets?image=photo&label=breed,sex&config=small&test=valid`. Licence and source are each data set's own. Nothing
is downloaded, and nothing of a repository is executed: the library reads files of data only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InvalidData, NoisescopeError
from ._configs import converted, files_in_readme, in_readme, is_told, one
from ._folders import class_folders
from ._streamed import Opened, Streamed, files_of
from ._tables import ParquetRows, Rows, opened, refused, schema, splits_of
from ._zipped import open_zips

BESIDE = (".md", ".txt", "")  # endings of files that say something of the data


class Hub(Streamed):
    """`argument` is the place; the first column of images is read, and every column that names classes is a label set.

    Of a hub id, `fetched` is the folder of the commit that is here.
    """

    name = "hub"

    def __init__(self, argument: str = "", side: int | None = None, images: bool = True, fetched: Path | None = None) -> None:
        self._fetched = fetched
        super().__init__(argument, side, images)

    def state(self) -> Any:
        place = self.chosen.place
        if not place:
            raise InvalidData("No place is given; give a hub id, a folder of class folders or Parquet files, or a Parquet file.")
        if self._fetched:
            self.name, self.revision = place.partition("@")[0], self._fetched.name
            return [self.revision, [[name, size] for name, size, *_ in files_of(self._fetched)]]  # its content is in the hash
        path = Path(place).expanduser()
        if not path.exists():
            raise InvalidData(f"There is no folder or Parquet file {place!r}; give the path of one, or the id of a data set of the hub.")
        self.name = path.resolve().name
        return files_of(path)

    def open(self) -> Opened:
        path = self._fetched or Path(self.chosen.place).expanduser()
        root = os.path.realpath(path)
        within = os.path.realpath(path.parent.parent) if self._fetched else root  # the hub's cache links to files beside the snapshots
        quiet()
        as_they_lie = path.is_dir() and self.chosen.options in ({}, {"image": "image"})
        if as_they_lie and (plain := class_folders(root, within, not is_told(root))):
            return plain
        if path.is_dir() and (zips := _only_zips(root)):
            return open_zips(zips, self.chosen)
        try:
            found = (
                {"train": ParquetRows([root], schema(root))} if path.is_file() else self._folder(root, self.chosen.options.get("config"))
            )
        except Exception as error:  # the library and what it stands on raise a dozen unrelated types
            if isinstance(error, NoisescopeError):
                raise
            raise refused(self.chosen.place, error) from error
        return opened(splits_of(found, self.chosen), self.chosen, [] if path.is_file() else [within])

    def _folder(self, root: str, asked: str | None) -> Mapping[str, Rows]:
        """All splits of one configuration, as the library or, where files are of Parquet, pyarrow reads them row by row."""
        import datasets
        from datasets.packaged_modules.parquet.parquet import Parquet

        place = self.chosen.place
        if layout := converted(root):
            return _parquet(layout[one(list(layout), asked, place, "default" if "default" in layout else None)])
        configs = in_readme(root)
        if configs:
            asked = one(list(configs), asked, place, next((name for name, default in configs.items() if default), None))
        elif asked not in (None, "default"):
            folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
            return self._folder(os.path.join(root, one(folders, asked, place)), None)
        # the library goes by the first configuration's files, which are not here where another alone was fetched
        said = files_in_readme(root, asked) if configs and asked and asked != next(iter(configs)) else None
        builder = datasets.load_dataset_builder(root, *([asked] if configs else []), **({"data_files": said} if said else {}))
        files = {str(name): [str(file) for file in part] for name, part in (builder.config.data_files or {}).items()}
        if isinstance(builder, Parquet) and all(os.path.exists(file) for part in files.values() for file in part):
            found = _parquet(files)
            if builder.info.features in (None, next(iter(found.values())).features):  # else the library casts them
                return found
        streamed = builder.as_streaming_dataset()  # and images stay bytes: the library would have Pillow open what it likes
        return {name: part.decode(False) if part.features else part for name, part in streamed.items()}


def _only_zips(root: str) -> list[Path]:
    """The zips in a folder that has nothing else to read: images are kept so on the hub, and the library takes them for classes."""
    files = sorted(path for path in Path(root).rglob("*") if path.is_file() and path.suffix.lower() not in BESIDE)
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    return files if all(path.suffix.lower() == ".zip" for path in files) else []


def _parquet(files: Mapping[str, list[str]]) -> Mapping[str, Rows]:
    columns = schema(next(iter(files.values()))[0])
    return {name: ParquetRows(part, columns) for name, part in files.items()}


def quiet() -> None:
    """What the libraries have to say is in the error."""
    import datasets

    datasets.disable_progress_bars()
    for name in ("datasets", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


plugin = Hub
