"""Images in a folder, in Parquet files or on the Hugging Face hub, by the `datasets` library.

A place is a hub id (`uoft-cs/cifar10`, of one commit with `@` and its hash), a local folder in the hub's own layout or of one folder a
class, or a Parquet file. After a question mark columns and splits may be chosen, where they are not the first or not so named:
`me/pets?image=photo&label=breed,sex&config=small&test=valid`. Licence and source are each data set's own. Nothing of a repository is
executed: the library reads files of data only.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InvalidData, NoisescopeError
from ._folders import class_folders
from ._streamed import Opened, Streamed, files_of, stamp
from ._tables import ParquetRows, Rows, opened, refused, schema, splits_of

COMMIT = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")


class Hub(Streamed):
    """`argument` is the place; the first column of images is read, and every column that names classes is a label set."""

    name = "hub"
    _opened: tuple[dict[str, Rows], list[str]] | None = None  # of the hub, where the state is known once it is open

    def state(self) -> Any:
        place = self.chosen.place
        if not place:
            raise InvalidData("No place is given; give a hub id, a folder of class folders or Parquet files, or a Parquet file.")
        path = Path(place).expanduser()
        self.name = path.resolve().name if path.exists() else place
        if path.exists():
            return files_of(path)
        self._opened = self._splits()
        splits = self._opened[0].values()
        kept = [file["filename"] for part in splits for file in part.cache_files]
        told = [str(key) for part in splits for key in part.info.download_checksums or ()]
        self.revision = next(iter(COMMIT.findall(" ".join([*told, *kept]))), "")
        return [self.revision, [[part._fingerprint, part.num_rows] for part in splits], [stamp(Path(name)) for name in kept]]

    def open(self) -> Opened:
        path = Path(self.chosen.place).expanduser()
        if path.is_dir() and not self.chosen.options and (plain := class_folders(os.path.realpath(path))):
            return plain
        splits, roots = self._opened or self._splits()
        return opened(splits, self.chosen, roots)

    def _splits(self) -> tuple[dict[str, Rows], list[str]]:
        """The splits that are used, and where their files may be. Raises InvalidData."""
        try:
            found, roots = self._library()
        except Exception as error:  # the library and what it stands on raise a dozen unrelated types
            if isinstance(error, NoisescopeError):
                raise
            raise refused(self.chosen.place, error) from error
        return splits_of(found, self.chosen), roots

    def _library(self) -> tuple[Mapping[str, Rows], list[str]]:
        """All splits, as the library or, where files are local and of Parquet, pyarrow reads them row by row."""
        import datasets
        from datasets.packaged_modules.parquet.parquet import Parquet

        quiet()
        path, config = Path(self.chosen.place).expanduser(), [self.chosen.options["config"]] if "config" in self.chosen.options else []
        if path.is_file():
            return {"train": ParquetRows([str(path)], schema(str(path)))}, []
        if path.is_dir():
            root = os.path.realpath(path)
            builder = datasets.load_dataset_builder(root, *config)
            files = {str(name): [str(file) for file in part] for name, part in (builder.config.data_files or {}).items()}
            if isinstance(builder, Parquet) and all(os.path.exists(file) for part in files.values() for file in part):
                columns = schema(next(iter(files.values()))[0])
                if builder.info.features in (None, columns):  # else the library casts them
                    return {name: ParquetRows(part, columns) for name, part in files.items()}, [root]
            return builder.as_streaming_dataset(), [root]
        roots = [os.path.realpath(folder) for folder in (datasets.config.HF_CACHE_HOME, datasets.config.HF_DATASETS_CACHE)]
        place, _, revision = self.chosen.place.partition("@")
        return datasets.load_dataset(place, *config, **({"revision": revision} if revision else {})), roots


def quiet() -> None:
    """What the libraries have to say is in the error."""
    import datasets

    datasets.disable_progress_bars()
    for name in ("datasets", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


plugin = Hub
