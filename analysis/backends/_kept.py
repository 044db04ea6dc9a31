"""What networks were told of prompts, kept beside the store: a text encoder is opened once for a prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..errors import StoreUnavailable
from ..specs import PROTOCOL
from ..store import default_root, write_bytes
from .base import Told


class Kept(MutableMapping[str, Told]):
    """By condition; of one model as its identity says. What cannot be written or read is made again next time."""

    def __init__(self, identity: str, place: Path) -> None:
        encoders = sorted(path.name for path in place.glob("text_encoder*")) if place.is_dir() else []
        self._identity, self._here = f"{identity} {PROTOCOL} {encoders}", dict[str, Told]()

    def _path(self, condition: str) -> Path:
        name = hashlib.sha256(f"{self._identity}\n{condition}".encode()).hexdigest()[:24]
        return default_root() / "told" / f"{name}.safetensors"

    def __getitem__(self, condition: str) -> Told:
        if condition in self._here:
            return self._here[condition]
        try:
            with safe_open(self._path(condition), "pt") as file:
                said = json.loads(file.metadata()["told"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            raise KeyError(condition) from None
        self._here[condition] = Told(tensors, tuple(said["tokens"]), tuple(said["said"]))
        return self._here[condition]

    def __setitem__(self, condition: str, told: Told) -> None:
        self._here[condition] = told
        tensors = {name: value.contiguous() for name, value in told.tensors.items()}
        with suppress(StoreUnavailable):
            write_bytes(self._path(condition), save(tensors, {"told": json.dumps({"tokens": told.tokens, "said": told.said})}))

    def __delitem__(self, condition: str) -> None:
        del self._here[condition]

    def __iter__(self) -> Iterator[str]:
        return iter(self._here)

    def __len__(self) -> int:
        return len(self._here)
