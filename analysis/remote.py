"""A store in object storage, `s3://bucket/prefix` or any other that fsspec knows, with a copy of what is used in a local folder.

Files are written into the copy as in any store and then put as one object under their own name: an object that exists is complete,
and equal units are equal objects, so that two machines that write the same one do no harm. What others wrote is fetched when it is
asked for. Settings are put only where there are none: the first machine's stand.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InvalidRequest, StoreUnavailable
from .specs import Frozen
from .store import FORMAT, Kind, Store, Unit, default_root, writing


def open_store(place: Path | str | None) -> Store:
    """The store of a folder or of a URL, which may have gone through `Path`. Raises StoreUnavailable or InvalidRequest."""
    url = re.fullmatch(r"([a-z][a-z0-9]+):/{1,2}([^/].*)", str(place))
    return RemoteStore(f"{url[1]}://{url[2]}") if url else Store(place)


class RemoteStore(Store):
    """Results by identity in object storage; `root` is the copy."""

    def __init__(self, url: str, copy: Path | None = None) -> None:
        """Raises InvalidRequest for a URL that cannot be read here, StoreUnavailable or DamagedFile for a store that cannot be used."""
        from fsspec.core import url_to_fs

        url = url.rstrip("/")
        try:
            self._files, self._base = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InvalidRequest(
                f"The store is {url!r}, which cannot be opened ({error}); give a folder, or install what it takes."
            ) from error
        if "file" in (self._files.protocol if isinstance(self._files.protocol, tuple) else (self._files.protocol,)):
            raise InvalidRequest(f"The store is {url!r}, a folder; give its path.")
        self.url = url
        self._looked: set[Path] = set()
        self.root = copy or default_root() / "copies" / hashlib.sha256(url.encode()).hexdigest()[:16]
        self._fetch(self.root, *({"store.json"} & set(self._there(self.root))))
        super().__init__(self.root)

    @property
    def place(self) -> str:
        return self.url

    def refresh(self) -> None:
        self._looked.clear()

    def settings(self, kind: Kind, identity: Frozen, proposed: Mapping[str, Any]) -> dict[str, Any]:
        path = self.folder(kind, identity) / "settings.json"
        if not self._renewed(path):
            self._create(self.root / "store.json", {"format": FORMAT})
            self._create(path.with_name("identity.json"), identity.model_dump(mode="json"))
            self._create(path, dict(proposed))
            self._fetch(self.root, "store.json")
            self._fetch(path.parent, "identity.json")
            self._renewed(path)
        return super().settings(kind, identity, proposed)

    def halve_batch(self, kind: Kind, identity: Frozen, tried: int) -> int:
        path = self.folder(kind, identity) / "settings.json"
        self._renewed(path)
        half = super().halve_batch(kind, identity, tried)
        self._put(path)
        return half

    def units(self, kind: Kind, identity: Frozen, sigma: float) -> list[Unit]:
        self._look(self.folder(kind, identity) / f"{sigma:.9g}")
        return super().units(kind, identity, sigma)

    def missing(
        self, kind: Kind, identity: Frozen, sigma: float, names: Iterable[str], ids: np.ndarray
    ) -> list[tuple[tuple[str, ...], np.ndarray]]:
        self._looked.discard(self.folder(kind, identity) / f"{sigma:.9g}")
        return super().missing(kind, identity, sigma, names, ids)

    def put(self, kind: Kind, identity: Frozen, sigma: float, *given: Any, **more: Any) -> Path:
        path = super().put(kind, identity, sigma, *given, **more)
        self._put(path)
        return path

    def note(self, kind: Kind, identity: Frozen, sigma: float, name: str, found: Any) -> None:
        super().note(kind, identity, sigma, name, found)
        self._put(self._note(kind, identity, sigma, name))

    def noted(self, kind: Kind, identity: Frozen, sigma: float, name: str) -> Any | None:
        self._look(self._note(kind, identity, sigma, name).parent)
        return super().noted(kind, identity, sigma, name)

    def publish(self, folder: Path) -> None:
        for path in sorted(folder.iterdir(), key=lambda path: path.name == "study.json"):  # with it the study is there
            self._put(path)

    def _look(self, folder: Path) -> None:
        """Fetch what others wrote into a folder, and put what could not be put before; once until `refresh`."""
        if folder in self._looked:
            return
        there = self._there(folder)
        self._fetch(folder, *there)
        for path in folder.glob("[!.]*"):
            if path.name not in there:
                self._put(path)
        self._looked.add(folder)

    def _there(self, folder: Path) -> list[str]:
        """Names in a folder of the store."""
        with self._reaching():
            try:
                return [key.rpartition("/")[2] for key in self._files.ls(self._key(folder), detail=False)]
            except FileNotFoundError:
                return []

    def _fetch(self, folder: Path, *names: str) -> None:
        """Files of a folder that the copy lacks."""
        for name in names:
            if name and not (folder / name).exists():
                self._get(folder / name)

    def _renewed(self, path: Path) -> bool:
        """Whether the store has a file; the copy has it then as it is there now."""
        there = path.name in self._there(path.parent)
        if there:
            self._get(path)
        return there

    def _get(self, path: Path) -> None:
        """One object as one file."""
        with writing(path) as temporary, self._reaching():
            self._files.get_file(self._key(path), str(temporary))

    def _put(self, path: Path) -> None:
        """One file as one object."""
        with self._reaching():
            self._files.put_file(str(path), self._key(path))

    def _create(self, path: Path, value: Any) -> None:
        """JSON as an object, where there is none of that name yet."""
        with self._reaching(), suppress(FileExistsError):
            self._files.pipe_file(self._key(path), json.dumps(value, indent=1, sort_keys=True).encode(), mode="create")

    def _key(self, path: Path) -> str:
        return f"{self._base}/{path.relative_to(self.root).as_posix()}"

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """What object storage raises is an OSError, by fsspec's rule."""
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(
                f"The store {self.url} cannot be reached ({error}); look at its name and your rights, and run again."
            ) from error
