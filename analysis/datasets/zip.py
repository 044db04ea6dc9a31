"""Images in a zip: of one folder a class, or of Parquet files as the hub keeps them.

Folders called train, validation and test are splits. Licence and source are each data set's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InvalidRequest
from ._streamed import Opened, Streamed, files_of
from ._zipped import open_zips


class Zip(Streamed):
    """`argument` is the path of the zip, with columns chosen after a question mark as of any table."""

    name = "zip"

    def state(self) -> Any:
        path = Path(self.chosen.place).expanduser()
        if not path.is_file():
            raise InvalidRequest(f"There is no zip {self.chosen.place!r}; give the path of one.")
        self.name = path.name
        return files_of(path)

    def open(self) -> Opened:
        return open_zips([Path(self.chosen.place).expanduser()], self.chosen)


plugin = Zip
