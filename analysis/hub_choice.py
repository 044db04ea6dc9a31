"""Which files of a repository are wanted: only such that are read and never executed, and of weights one copy.

Weights as safetensors, configurations, the model card. A pickle (`.bin`, `.pkl`, `.ckpt`) can run code when it is opened and is
never fetched; a `.pt` checkpoint only where it is asked for by name, to be read as plain tensors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from .errors import InvalidRequest
from .hub_records import HubFile, Kind

PARTS = ("", "unet", "scheduler")  # folders of a pipeline that are read
PLAIN = ("config.json", "model_index.json", "scheduler_config.json", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")
STEMS = ("diffusion_pytorch_model", "model")  # what the libraries call the weights that they load by themselves
VARIANTS = ("", "fp32", "bf16", "fp16")  # the first that is there: full precision before half
WEIGHTS = re.compile(r"(?P<stem>[^.]+?)(?:\.(?P<variant>[\w-]+?))?(?P<shard>-\d{5}-of-\d{5})?\.safetensors")
INDEX = "{stem}.safetensors.index{variant}.json"
CODE = (".bin", ".pkl", ".pickle", ".ckpt", ".pth", ".py", ".npy", ".joblib", ".msgpack", ".h5")
ASKED = (".pt", ".safetensors")
TABLES = (".parquet",)
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".zip", ".csv", ".jsonl")


def choose(files: Sequence[HubFile], kind: Kind, checkpoint: str | None, repo_id: str) -> tuple[HubFile, ...]:
    """Of all files of a repository those that are wanted, by name.

    Raises InvalidRequest where it has none that can be read, or where `checkpoint` is none of its files or of a kind that is refused.
    """
    plain = [file for file in files if _folder(file) in PARTS and _base(file) in PLAIN]
    weights = _data(files) if kind == "dataset" else [_asked(files, checkpoint, repo_id)] if checkpoint else _weights(files)
    if not weights:
        raise InvalidRequest(_nothing(files, kind, repo_id))
    return tuple(sorted({*plain, *weights}, key=lambda file: file.name))


def _folder(file: HubFile) -> str:
    parent = str(PurePosixPath(file.name).parent)
    return "" if parent == "." else parent


def _base(file: HubFile) -> str:
    return PurePosixPath(file.name).name


def _weights(files: Sequence[HubFile]) -> list[HubFile]:
    """One copy: of a pipeline's network where there is one, else of the root."""
    for place in [part for part in PARTS if part] + [""]:
        inside = [file for file in files if _folder(file) == place]
        found: dict[tuple[str, str], list[HubFile]] = {}
        for file in inside:
            if match := WEIGHTS.fullmatch(_base(file)):
                found.setdefault((match["stem"], match["variant"] or ""), []).append(file)
        if found:
            stem, variant = min(found, key=lambda pair: (_rank(STEMS, pair[0]), _rank(VARIANTS, pair[1]), pair))
            index = INDEX.format(stem=stem, variant=f".{variant}" if variant else "")
            return found[stem, variant] + [file for file in inside if _base(file) == index]
    return []


def _rank(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _asked(files: Sequence[HubFile], checkpoint: str, repo_id: str) -> HubFile:
    if not checkpoint.endswith(ASKED):
        raise InvalidRequest(
            f"{checkpoint!r} is not fetched: such a file can run code when it is opened; allowed endings: {', '.join(ASKED)}."
        )
    for file in files:
        if file.name == checkpoint:
            return file
    have = ", ".join(file.name for file in files if file.name.endswith(ASKED)) or "none of that kind"
    raise InvalidRequest(f"{repo_id} has no file {checkpoint!r}; it has: {have}.")


def _data(files: Sequence[HubFile]) -> list[HubFile]:
    """Tables where there are any, else the images or archives themselves."""
    tables = [file for file in files if file.name.lower().endswith(TABLES)]
    return tables or [file for file in files if file.name.lower().endswith(IMAGES)]


def needs_code(names: Sequence[str], repo_id: str) -> bool:
    """Whether a data set's own files are for code to read: there are no tables, and a loading script or no images."""
    if any(name.lower().endswith(TABLES) for name in names):
        return False
    return f"{repo_id.rpartition('/')[2]}.py" in names or not any(name.lower().endswith(IMAGES) for name in names)


def _nothing(files: Sequence[HubFile], kind: Kind, repo_id: str) -> str:
    if kind == "dataset":
        return f"{repo_id} has no Parquet files, images or archives of them: nothing that can be read without running code."
    refused = sorted({PurePosixPath(file.name).suffix for file in files} & set(CODE))
    also = f" its weights are {', '.join(refused)}, which can run code when they are opened," if refused else ""
    asked = next((file.name for file in files if file.name.endswith(".pt")), None)
    hint = (
        f"ask for {asked!r} by its name" if asked else "choose a repository with safetensors weights, or convert them where you trust them"
    )
    return (
        f"{repo_id} has no safetensors weights;{also} and they are refused: {hint}."
        if refused
        else f"{repo_id} has no safetensors weights: {hint}."
    )
