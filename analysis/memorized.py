"""A finished study of memorization: a folder of its own, with what every network of it was found to do, at each moment of training.

memorization.json    what was asked for, the verdicts, the finding, and the checksums of the other files
curve.parquet        a row a curve and noise level: size, seen, weights, labelled, seed (-1: all together), block, …, accuracy
generation.parquet   may be there: shares of samples, and of held-out images, that each threshold calls copies
frechet.parquet      may be there: Fréchet distances of samples, and of held-out images, from training images
encoder.parquet      may be there: the shares of `generation.parquet` by the features of an encoder
nearest.parquet      may be there: of every sample the place of the nearest training image in its set, their distance and its ratio
halves.parquet       may be there: samples of two networks from the same noise, beside each one's own training images
losses.parquet       may be there: denoising errors on training and on held-out images, a row a noise level
correct.safetensors  may be there: which test images probes read right, as bits: `size/seen/weights/labelled/block` (draws, levels, ⌈n/8⌉)
samples.safetensors  may be there: `size/samples`, `size/nearest` (m, H, W, 3) uint8, `size/ratio`, `size/distance` (m,)
sharing.parquet      may be there: one network for all noise levels, and networks trained at one level each
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import catalog
from .errors import DamagedFile, UnknownName
from .store import default_root, read_json

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FORMAT = 3
FILE, SAMPLES = "memorization.json", "samples.safetensors"
FRESH, ALL = "fresh", -1
WATCHED = "watched"  # in a block's place: the one that validation images choose at each moment, in that network itself, `of` which it is
NEEDED = {"key", "name", "created", "request", "levels", "blocks", "headline", "classes", "verdicts", "sentence", "files"}
NETWORK = ("size", "seen", "weights", "seed")
SHARES = ("measure", "threshold", "copies", "copies_low", "copies_high", "held_out", "held_out_low", "held_out_high", "n")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "curve": (*NETWORK, "labelled", "block", "depth", "sigma", "timestep", "log_snr", "accuracy", "ci_low", "ci_high", "n_test", "chance"),
    "generation": (*NETWORK, *SHARES),
    "encoder": (*NETWORK, *SHARES),
    "frechet": (*NETWORK, "frechet", "reference", "above", "above_low", "above_high", "n", "features"),
    "halves": (
        *NETWORK,
        "other",
        "between",
        "between_low",
        "between_high",
        "own",
        "own_low",
        "own_high",
        "held_out",
        "held_out_low",
        "held_out_high",
        "above",
        "closer",
        "n",
    ),
    "nearest": (*NETWORK, "sample", "place", "distance", "ratio"),
    "losses": (*NETWORK, "sigma", "train", "held_out", "n"),
    "sharing": ("model", "seed", "block", "sigma", "accuracy", "ci_low", "ci_high"),
}


@dataclass(frozen=True)
class Made:
    """Of a network: m samples and the nearest training image of each, (m, H, W, 3) uint8, their ℓ2-ratio and distance (m,)."""

    samples: np.ndarray
    nearest: np.ndarray
    ratio: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class Expected:
    """Whether larger training sets were shown to gain more than the smallest, as arXiv 2502.05743 found; None: neither shown nor refuted."""

    shown: bool | None
    sentence: str


@dataclass(frozen=True)
class Memorized:
    """A study on disk; its files are read when they are asked for, and checked against their checksums."""

    folder: Path
    facts: Mapping[str, Any]  # memorization.json

    @property
    def key(self) -> str:
        return str(self.facts["key"])

    @property
    def name(self) -> str:
        return str(self.facts["name"])

    @cached_property
    def version(self) -> str:
        """What changes whenever any file of the study does: for what is kept of it in memory."""
        return hashlib.sha256(json.dumps([self.facts["key"], self.facts["created"], self.facts["files"]]).encode()).hexdigest()[:16]

    @property
    def sizes(self) -> list[str]:
        """Training-set sizes, the smallest first; `fresh` at the end, where there is one."""
        return [str(size) for size in self.facts["request"]["sizes"]]

    @property
    def seeds(self) -> list[int]:
        return list(self.facts["request"]["seeds"])

    @property
    def levels(self) -> list[dict[str, float]]:
        return list(self.facts["levels"])

    @property
    def sentence(self) -> str:
        return str(self.facts["sentence"])

    @property
    def block(self) -> str:
        """The headline's block."""
        return str(self.facts["headline"]["block"])

    @property
    def blocks(self) -> list[str]:
        return [str(block["name"]) for block in self.facts["blocks"]]

    @property
    def rising(self) -> str:
        """The block in which the networks of the largest set gain most, by validation images; the headline's where none is named."""
        return str(self.facts.get("rising", self.facts["headline"])["block"])

    def _of(self, name: str, block: str | None) -> list[dict[str, Any]]:
        """What is said of a block, else of the headline's."""
        wanted = block or self.block
        return [one for one in self.facts.get(name, []) if one["block"] == wanted]

    def seen(self, weights: str = "ema", labelled: str = "outside") -> list[int]:
        """The moments at which such curves were taken, in training images seen, ascending."""
        return sorted({int(one["seen"]) for one in self.facts["verdicts"] if (one["weights"], one["labelled"]) == (weights, labelled)})

    def verdict(self, size: str, seen: int, weights: str = "ema", labelled: str = "outside", block: str | None = None) -> dict[str, Any]:
        """The verdict on a block's curve over all seeds. Raises UnknownName."""
        every = self._of("verdicts", block)
        found = {f"{one['size']} after {one['seen']}, {one['weights']}, {one['labelled']}": one for one in every}
        name = f"{size} after {seen}, {weights}, {labelled}"
        if name not in found:
            raise UnknownName("curve", name, found)
        return dict(found[name])

    def verdicts(self, weights: str = "ema", labelled: str = "outside", block: str | None = None) -> pd.DataFrame:
        """Those of such curves, a row a size and moment."""
        import pandas as pd

        rows = [one for one in self._of("verdicts", block) if (one["weights"], one["labelled"]) == (weights, labelled)]
        return pd.DataFrame(rows, columns=None if rows else ["size", "seen", "shape", "peak_accuracy", "peak_accuracy_ci"])

    def differences(self, weights: str = "ema", labelled: str = "outside", block: str | None = None) -> list[dict[str, Any]]:
        """Each larger set's gain less the smallest set's, at every moment of such curves."""
        every = self._of("differences", block)
        return [one for one in every if (one["weights"], one["labelled"]) == (weights, labelled)]

    def paired(self, size: str) -> Mapping[tuple[int, int], tuple[float, float]]:
        """(images seen before, and later) -> interval of the later peak accuracy less the earlier, paired, in the blocks that are watched."""
        return {(one["before"], one["seen"]): (one["low"], one["high"]) for one in self._of("peaks", WATCHED) if one["size"] == size}

    def has(self, name: str) -> bool:
        """Whether a table is there, or the samples (`samples`)."""
        return (SAMPLES if name == "samples" else f"{name}.parquet") in self.facts["files"]

    def path(self, name: str) -> Path:
        """A file of the study, checked. Raises DamagedFile."""
        path = self.folder / name
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise DamagedFile(f"The study of memorization {self.key} lacks {name}; copy or make it again.") from error
        if found != self.facts["files"].get(name):
            raise DamagedFile(f"{name} of the study of memorization {self.key} does not match its checksum; copy or make it again.")
        return path

    def table(self, name: str) -> pd.DataFrame:
        """A table of `COLUMNS`, without rows where the study has none. Raises UnknownName or DamagedFile."""
        import pandas as pd

        if name not in COLUMNS:
            raise UnknownName("table", name, COLUMNS)
        if not self.has(name):
            return pd.DataFrame(columns=list(COLUMNS[name]))
        path = self.path(f"{name}.parquet")
        try:
            found = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DamagedFile(f"{path} cannot be read ({error}); copy or make the study again.") from error
        if missing := [column for column in COLUMNS[name] if column not in found]:
            raise DamagedFile(f"{path} lacks the columns {', '.join(missing)}; make the study again.")
        return found.astype({"size": str}) if "size" in found else found

    def made(self, size: str) -> Made | None:
        """What the last network of a size and of the first seed made, or None where that was not kept. Raises DamagedFile."""
        from safetensors import SafetensorError, safe_open

        if not self.has("samples"):
            return None
        path, names = self.path(SAMPLES), [f"{size}/{part}" for part in ("samples", "nearest", "ratio", "distance")]
        try:
            with safe_open(path, "np") as file:
                there = set(file.keys())
                return Made(*(file.get_tensor(name) for name in names)) if there >= set(names) else None
        except SafetensorError as error:
            raise DamagedFile(f"{path} cannot be read ({error}); copy or make the study again.") from error

    def expected(self) -> Expected:
        """Whether this study shows what the paper found, said plainly: of the largest set at the last moment, in the block that reads best.

        The block that gains most is looked at besides; it decides nothing, for it was chosen by the gains of the same networks.
        """
        asked = list(dict.fromkeys([self.block, self.rising]))
        found = [self._expected(block, len(asked) > 1) for block in asked]
        besides = [
            f"A second look, at the block in which the largest set gains most on validation images. {one.sentence}" for one in found[1:]
        ]
        return Expected(found[0].shown, "\n\n".join([found[0].sentence, *besides]))

    def _expected(self, block: str, named: bool) -> Expected:
        last, paper, where = max(self.seen(), default=0), "arXiv 2502.05743", f", in block {block}" if named else ""
        asked = next((one for one in self.differences(block=block) if (one["seen"], one["size"]) == (last, self.sizes[-1])), None)
        if asked is None:
            return Expected(None, f"With one training set there is nothing to compare: what {paper} found cannot be seen here.")
        gained = f"{100 * asked['difference']:+z.1f} points (95 % interval {100 * asked['low']:+z.1f} to {100 * asked['high']:+z.1f})"
        large, small = (f"networks trained on {images(size)}" for size in (self.sizes[-1], self.sizes[0]))
        if asked["low"] > 0:
            return Expected(True, f"As {paper} found{where}, {large} gain more than {small}: by {gained}.")
        if asked["high"] < 0:
            return Expected(False, f"The opposite of what {paper} found is shown{where}: {large} gain less than {small}: by {gained}.")
        return Expected(
            None,
            f"What {paper} found is not shown here{where}: the gain of {large} less that of {small} is {gained}. The interval holds 0, which is "
            "no proof that there is no difference.",
        )


def images(size: str) -> str:
    """A training set in words."""
    return "images that are new at every step" if size == FRESH else f"{int(size):,} images"


def open_memorized(folder: Path) -> Memorized:
    """The study in a folder; the same object as long as its file is the same. Raises DamagedFile."""
    try:
        state = (folder / FILE).stat()
    except OSError as error:
        raise DamagedFile(f"{folder} has no {FILE}: no study of memorization is finished there; run it again, and it goes on.") from error
    return _open(folder, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=100)
def _open(folder: Path, changed: int, size: int) -> Memorized:
    facts = read_json(folder / FILE)
    if not isinstance(facts, dict) or not facts.get("key"):
        raise DamagedFile(f"{folder / FILE} is no study of memorization; copy or make it again.")
    if facts.get("format") != FORMAT:
        raise DamagedFile(
            f"{folder / FILE} is of another version: its format is {facts.get('format')!r}; allowed: {FORMAT}. Make the study again, or "
            "open it with the version that made it."
        )
    if missing := sorted(NEEDED - {name for name, value in facts.items() if value}):
        raise DamagedFile(f"{folder / FILE} lacks {', '.join(missing)}; copy or make the study again.")
    return Memorized(folder, facts)


def memorizations(root: Path | None = None) -> dict[str, Path]:
    """Key -> folder of every finished study: those that ship, then those in the store, which go before them. Those that are damaged come last, by their folders."""
    found, damaged = dict[str, Path](), dict[str, Path]()
    for place in (catalog.assets("memorization"), (root or default_root()) / "memorization"):
        for path in sorted(place.glob(f"[!.]*/{FILE}")):
            try:
                found[open_memorized(path.parent).key] = path.parent
            except DamagedFile:
                damaged[path.parent.name] = path.parent  # said when it is opened
    return found | {name: folder for name, folder in damaged.items() if name not in found}


def find_memorization(name: str, root: Path | None = None) -> Memorized:
    """A study by key, the beginning of a key, or the name of a folder that ships. Raises UnknownName or DamagedFile."""
    known = memorizations(root)
    hits = [folder for key, folder in known.items() if name and (key.startswith(name) or folder.name == name)]
    if len(hits) != 1:
        raise UnknownName("study of memorization", name, known)
    return open_memorized(hits[0])
