"""A study: a finished, self-contained set of results in one folder, or one zip file.

study.json          what it is of, its verdicts, its receipt, the curves in short, the checksums of the other files
curve.parquet       tidy: one row a series and noise level, over all draws (column `draw` empty)
draws.parquet       tidy: one row a series, noise level and draw
correct.safetensors which test image each probe got right (of random weights the best block's): `labels/source/block/pooling` (draws, levels, ⌈n/8⌉),
                    packed bits; of numbers (draws, levels, n) float16, whose mean is R²
heads.safetensors   scaler and weights of the first draw's linear probes at each level: `level/block/pooling/part`
logits.safetensors  of the first draw's probe in the headline's best cell: `labels/level/block/pooling` (n_test, K); `test`, the ids, and `truth`,
                    their labels (studies made before have none)
confusion.safetensors   may be there: of the model's curves `labels/block/pooling` (levels, K, K) counts over all draws, true classes down
strip.png           one test image a class (rows) at every level (columns), as the network sees it
errors.safetensors  denoising errors of test images at each level (gauge.py); studies made before have none
generated.png, generated.safetensors    may be there: images that the model made, and their features (generated.py)
ensembles.parquet   may be there: means over levels, draws and blocks, and learned fusion, a row each (ensembles.py)
deciding.json       may be there: at which level the class of what the model makes is settled (decided.py)
unlabelled.parquet  may be there: what the features of every cell score without labels, a row a cell (unlabelled.py)
snr.parquet         may be there: SNR and projection classifier of every cell, a row a cell and way of reading (snr_measuring.py)
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from . import catalog
from .errors import DamagedFile, InvalidRequest, StoreUnavailable, UnknownName
from .specs import Card, Precision
from .store import default_root, read_json, writing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FORMAT = 2
UNFINISHED = "curve.parquet"  # in a job's folder: what a sweep that is not a study yet has found
NEEDED = {"key", "name", "created", "request", "card", "classes", "levels", "receipt", "results", "files"}
FILES = ("curve.parquet", "draws.parquet", "correct.safetensors", "heads.safetensors", "logits.safetensors", "strip.png")
GAUGE, DECIDING, CONFUSION = "errors.safetensors", "deciding.json", "confusion.safetensors"
UNLABELLED, ENSEMBLES, SNR = "unlabelled.parquet", "ensembles.parquet", "snr.parquet"
MAY_BE = ("generated.png", "generated.safetensors", GAUGE, DECIDING, CONFUSION, UNLABELLED, ENSEMBLES, SNR)
COLUMNS = (
    *(
        "backend",
        "dataset",
        "label_set",
        "source",
        "input",
        "condition",
        "block",
        "depth",
        "sigma",
        "log_snr",
        "timestep",
        "pooling",
        "head",
    ),
    *("labels_per_class", "label_noise", "draw", "n_train", "n_test", "accuracy", "ci_low", "ci_high", "validation_accuracy", "chance"),
    *("measure", "balanced_accuracy", "log_loss", "calibration_error", "converged"),  # studies made before have none
)


@dataclass(frozen=True)
class Study:
    """A study on disk; its files are read when they are asked for, and checked against their checksums."""

    folder: Path
    facts: Mapping[str, Any]  # study.json

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

    @cached_property
    def card(self) -> Card:
        return Card.model_validate(self.facts["card"])

    @property
    def measure(self) -> str:
        """What its curves are of: accuracy, or R² where labels are numbers."""
        return str(self.facts["receipt"].get("measure", "accuracy"))

    @property
    def precision(self) -> Precision:
        """In which the features were read that its probes are fitted on."""
        found: Precision = self.facts["request"].get("precision", "float32")
        return found

    @property
    def chance(self) -> float:
        return 1 / len(self.facts["classes"]) if self.measure == "accuracy" else 0.0

    def result(self, labels_per_class: str | int | None = None) -> Mapping[str, Any]:
        """Headline, verdicts and short curves at a number of labels a class, or at the first.

        Raises UnknownName.
        """
        results: Mapping[str, Any] = self.facts["results"]
        if labels_per_class is None:
            return dict(next(iter(results.values())))
        if str(labels_per_class) not in results:
            raise UnknownName("labels per class", str(labels_per_class), results)
        return dict(results[str(labels_per_class)])

    def path(self, name: str) -> Path:
        """A file of the study, checked. Raises DamagedFile."""
        path = self.folder / name
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise DamagedFile(f"The study {self.key} lacks {name}; import or make it again.") from error
        if found != self.facts["files"].get(name):
            raise DamagedFile(f"{name} of the study {self.key} does not match its checksum; import or make it again.")
        return path

    def table(self, name: str = "curve") -> pd.DataFrame:
        """`curve`, `draws`, or where it is there `ensembles`, tidy."""
        import pandas as pd

        return pd.read_parquet(self.path(f"{name}.parquet"))

    def correct(self, *names: str) -> dict[str, np.ndarray]:
        """Which test images each probe got right: {`labels/source/block/pooling`: bool (draws, levels, n_test)}; of numbers float32.

        Of `names` alone, if any are given.
        """
        import numpy as np
        from safetensors.numpy import load_file

        count = self.facts["receipt"]["n_test"]
        packed = load_file(self.path("correct.safetensors"))
        return {
            name: np.unpackbits(kept, axis=-1, count=count).astype(bool) if kept.dtype == np.uint8 else kept.astype(np.float32)
            for name, kept in packed.items()
            if not names or name in names
        }


def open_study(folder: Path) -> Study:
    """The study in a folder; the same object as long as its file is the same. Raises DamagedFile."""
    try:
        state = (folder / "study.json").stat()
    except OSError as error:
        raise DamagedFile(f"{folder} has no study.json; import or make the study again.") from error
    return _open(folder, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1000)
def _open(folder: Path, changed: int, size: int) -> Study:
    facts = read_json(folder / "study.json")
    if not isinstance(facts, dict) or facts.get("format") != FORMAT or not {k for k, v in facts.items() if v} >= NEEDED:
        raise DamagedFile(f"{folder / 'study.json'} is no study of format {FORMAT}; import or make it again.")
    return Study(folder, facts)


def studies(root: Path | None = None) -> dict[str, Path]:
    """Key -> folder of every study: those that ship, then those in the store."""
    places = [catalog.assets("studies"), (root or default_root()) / "studies"]
    found: dict[str, Path] = {}
    for place in places:
        for path in sorted(place.glob("[!.]*/study.json")):
            try:
                found.setdefault(open_study(path.parent).key, path.parent)
            except DamagedFile:
                found.setdefault(path.parent.name, path.parent)  # listed by its folder; said when it is opened
    return found


def find_study(name: str, root: Path | None = None) -> Study:
    """A study by key, the beginning of a key, or the name of a bundled one. Raises UnknownName."""
    known = studies(root)
    hits = [folder for key, folder in known.items() if name and (key.startswith(name) or folder.name == name)]
    if len(hits) != 1:
        raise UnknownName("study", name, known)
    return open_study(hits[0])


def write_study(folder: Path, facts: Mapping[str, Any], files: Mapping[str, bytes]) -> Study:
    """Write a study as a whole: the folder appears under its name when all of it is there. Raises StoreUnavailable."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    with writing(folder) as temporary:
        temporary.mkdir()
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        (temporary / "study.json").write_text(json.dumps({**facts, "files": sums}, indent=1, allow_nan=False) + "\n")
        if folder.exists():  # set aside, not removed: a kill here leaves the old study beside its place
            folder.rename(temporary.with_suffix(".old"))
    for old in folder.parent.glob(f".{folder.name}.*.old"):
        shutil.rmtree(old, ignore_errors=True)
    return open_study(folder)


def remove_study(key: str, root: Path | None = None) -> None:
    """Remove a study from the store. Raises UnknownName, or InvalidRequest for one that ships."""
    folder = studies(root).get(key)
    if folder is None:
        raise UnknownName("study", key, studies(root))
    if folder.parent != (root or default_root()) / "studies":
        raise InvalidRequest(f"The study {key} ships with Noisescope; only studies in the store can be deleted.")
    shutil.rmtree(folder)


def export_study(study: Study, target: Path) -> None:
    """Write a study as one zip file. Raises DamagedFile or StoreUnavailable."""
    paths = [study.path(name) for name in study.facts["files"]]
    with writing(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in [study.folder / "study.json", *paths]:
            archive.write(path, path.name)


def import_study(source: Path, root: Path | None = None) -> Study:
    """Read a zip file that `export_study` wrote into the store. Raises DamagedFile; nothing of a bad file is kept."""
    if not source.is_file():
        raise InvalidRequest(f"There is no file {source}; give a zip file that `study export` wrote.")
    with TemporaryDirectory() as scratch:
        try:
            with zipfile.ZipFile(source) as archive:
                there = set(archive.namelist())
                for name in ("study.json", *FILES, *(there & set(MAY_BE))):  # these names and no others: a zip may hold any path
                    (Path(scratch) / name).write_bytes(archive.read(name))
        except (zipfile.BadZipFile, zlib.error, KeyError, OSError, EOFError, RuntimeError) as error:
            raise DamagedFile(f"{source} is no exported study ({error}); export it again.") from error
        study = open_study(Path(scratch))
        files = {name: study.path(name).read_bytes() for name in study.facts["files"] if name in (*FILES, *MAY_BE)}
        key = study.key
        if not key.isalnum():
            raise DamagedFile(f"{source} names itself {key!r}, which is no study key; export it again.")
        target = (root or default_root()) / "studies" / key
        if (target / "study.json").exists() and read_json(target / "study.json").get("files") != study.facts["files"]:
            raise StoreUnavailable(f"The store already has another study {key}; delete {target} first.")
        return write_study(target, {k: v for k, v in study.facts.items() if k != "files"}, files)
