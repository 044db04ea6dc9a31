"""Which files of a repository are wanted: only such that are read and never executed, and of weights one copy.

Weights as safetensors, configurations, the model card. A pickle (`.bin`, `.pkl`, `.ckpt`) can run code when it is opened and is
never fetched; a `.pt` checkpoint only where it is asked for by name, to be read as plain tensors. What no family here reads is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

from .errors import InvalidRequest
from .hub_records import HubFile, Kind

NETWORKS = ("unet", "transformer")  # folders of a pipeline's network
ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
PARTS = ("", *NETWORKS, "scheduler", "vae", *ENCODERS, *TOKENIZERS)  # folders of a pipeline that are read
TOKENS = (
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
)
PLAIN = ("config.json", "model_index.json", "scheduler_config.json", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")
STEM = "diffusion_pytorch_model"  # weights of any other name are opened by no family here
VARIANTS = ("", "fp32", "bf16", "fp16", "ema", "non_ema")  # the first that is there: full precision before half
CONFIGS = (
    "unet/config.json",
    "transformer/config.json",
    "config.json",
    "model_index.json",
)  # the first that is there says what the network is
CLASSES = (  # networks that a family here reads
    "UNet2DModel",
    "UNet2DConditionModel",
    "DiTTransformer2DModel",
    "Transformer2DModel",  # what DiT's was called
    "SD3Transformer2DModel",
    "FluxTransformer2DModel",
)
PIPELINES = (
    "DDPMPipeline",
    "DDIMPipeline",
    "StableDiffusionPipeline",
    "StableDiffusionXLPipeline",
    "LatentConsistencyModelPipeline",
    "DiTPipeline",
    "StableDiffusion3Pipeline",
    "FluxPipeline",
)
WEIGHTS = re.compile(STEM + r"(?:\.(?P<variant>[\w-]+?))?(?P<shard>-\d{5}-of-\d{5})?\.safetensors")
CODE = (".bin", ".pkl", ".pickle", ".ckpt", ".pth", ".py", ".npy", ".joblib", ".msgpack", ".h5")
READABLE = f"a .pt file by its name, or {STEM}*.safetensors"
ENCODER = ("preprocessor_config.json", "processor_config.json", "model.safetensors.index.json")
ENCODER_WEIGHTS = re.compile(r"model(?:\.(?P<variant>[\w-]+?))?(?P<shard>-\d{5}-of-\d{5})?\.safetensors")
TABLES = (".parquet",)
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".zip", ".csv", ".jsonl")


def choose(files: Sequence[HubFile], kind: Kind, checkpoint: str | None, repo_id: str) -> tuple[HubFile, ...]:
    """Of all files of a repository those that are wanted, by name.

    Raises InvalidRequest where it has none that can be read, or where `checkpoint` is none of its files or of a kind that is refused.
    """
    plain = [file for file in files if _folder(file) in PARTS and _base(file) in PLAIN]
    plain += [file for file in files if _folder(file) in TOKENIZERS and _base(file) in TOKENS]
    if checkpoint and checkpoint.endswith(".pt"):  # a configuration beside it is another model's
        plain = [file for file in plain if not file.name.endswith(".json")]
    if kind == "encoder":
        plain = [file for file in files if file.name in (*ENCODER, *PLAIN)]
    weights = (
        _data(files)
        if kind == "dataset"
        else _encoder(files)
        if kind == "encoder"
        else [_asked(files, checkpoint, repo_id)]
        if checkpoint
        else _weights(files)
    )
    if not weights:
        raise InvalidRequest(_nothing(files, kind, repo_id))
    return tuple(sorted({*plain, *weights}, key=lambda file: file.name))


def _folder(file: HubFile) -> str:
    parent = str(PurePosixPath(file.name).parent)
    return "" if parent == "." else parent


def _base(file: HubFile) -> str:
    return PurePosixPath(file.name).name


def _weights(files: Sequence[HubFile]) -> list[HubFile]:
    """One copy: of a pipeline's network where there is one, with its VAE and text encoders, else of the root."""
    for place in (*NETWORKS, ""):
        if found := _copy(files, place, WEIGHTS):
            if place:
                found += _copy(files, "vae", WEIGHTS)
                found += [file for folder in ENCODERS for file in _copy(files, folder, ENCODER_WEIGHTS)]
            return found
    return []


def _copy(files: Sequence[HubFile], place: str, pattern: re.Pattern[str]) -> list[HubFile]:
    """The weights in a folder, whole or in parts with their index, of the first variant that is there."""
    inside = [file for file in files if _folder(file) == place]
    found: dict[str, list[HubFile]] = {}
    for file in inside:
        if match := pattern.fullmatch(_base(file)):
            found.setdefault(match["variant"] or "", []).append(file)
    for variant in VARIANTS:
        if variant in found:
            whole = [file for file in found[variant] if "-of-" not in file.name]
            ending = f".index.{variant}.json" if variant else ".index.json"
            return whole or found[variant] + [file for file in inside if _base(file).endswith(f".safetensors{ending}")]
    return []


def _encoder(files: Sequence[HubFile]) -> list[HubFile]:
    """Of a vision model of the transformers library: the whole file, else its parts."""
    found = [file for file in files if ENCODER_WEIGHTS.fullmatch(file.name)]
    return [file for file in found if file.name == "model.safetensors"] or found


def config_of(files: Sequence[HubFile]) -> HubFile | None:
    """The file that says what a model's network is."""
    return next((file for name in CONFIGS for file in files if file.name == name), None)


def check_class(content: bytes, repo_id: str, pipeline: bool = False) -> None:
    """Raises InvalidRequest where a configuration says a network, or a pipeline, that no family here reads; one that says none passes."""
    try:
        config = json.loads(content)
    except ValueError as error:
        raise InvalidRequest(f"The configuration of {repo_id} is no JSON; choose another revision or repository.") from error
    config = config if isinstance(config, dict) else {}
    architectures = config.get("architectures")
    said = config.get("_class_name") or (
        architectures[0] if isinstance(architectures, list) and architectures else config.get("model_type")
    )
    known = (*PIPELINES, *CLASSES) if pipeline else CLASSES
    if said and said not in known:
        raise InvalidRequest(
            f"{repo_id} is a {said}, which no family here reads; allowed: {', '.join(PIPELINES if pipeline else CLASSES)}, or a .pt file by its name; {nearest(str(said))}"
        )


def nearest(said: str) -> str:
    """Which pipeline that is read a pipeline or network of another name is nearest to, as the end of a sentence."""
    known = {name: name for name in PIPELINES} | {"UNet2DModel": "DDPMPipeline", "UNet2DConditionModel": "StableDiffusionPipeline"}
    known |= {
        "DiTTransformer2DModel": "DiTPipeline",
        "SD3Transformer2DModel": "StableDiffusion3Pipeline",
        "FluxTransformer2DModel": "FluxPipeline",
    }
    return f"the nearest that is read is {known[get_close_matches(said, known, 1, 0.0)[0]]}."


def _asked(files: Sequence[HubFile], checkpoint: str, repo_id: str) -> HubFile:
    if not _is_asked(checkpoint):
        why = (
            "no family here reads weights of that name"
            if checkpoint.endswith(".safetensors")
            else "such a file can run code when it is opened"
        )
        raise InvalidRequest(f"{checkpoint!r} is not fetched: {why}; allowed: {READABLE}.")
    for file in files:
        if file.name == checkpoint:
            return file
    have = ", ".join(file.name for file in files if _is_asked(file.name)) or "none of that kind"
    raise InvalidRequest(f"{repo_id} has no file {checkpoint!r}; it has: {have}.")


def _is_asked(name: str) -> bool:
    return name.endswith(".pt") or WEIGHTS.fullmatch(PurePosixPath(name).name) is not None


def _data(files: Sequence[HubFile]) -> list[HubFile]:
    """Tables where there are any, else the images or archives themselves."""
    tables = [file for file in files if file.name.lower().endswith(TABLES)]
    return tables or [file for file in files if file.name.lower().endswith(IMAGES)]


def of_config(files: Sequence[HubFile], config: str, described: Any, repo_id: str) -> list[HubFile]:
    """The files of one configuration, as the README's header has it `described` under `configs` or else by the folder of that name, and those that are read beside data.

    Raises InvalidRequest where there is no such configuration.
    """
    told = _patterns(described)
    if told and config not in told:
        raise InvalidRequest(f"{repo_id} has no configuration {config!r}; it has: {', '.join(told)}.")
    of_it = [
        file
        for file in files
        if (any(fnmatch(file.name, pattern) for pattern in told[config]) if told else config in PurePosixPath(file.name).parts[:-1])
    ]
    if not of_it:
        folders = sorted({PurePosixPath(file.name).parts[0] for file in files if "/" in file.name})
        raise InvalidRequest(f"{repo_id} has no files of a configuration {config!r}; its folders: {', '.join(folders) or 'none'}.")
    return of_it + [file for file in files if file.name in PLAIN and file not in of_it]


def _patterns(configs: Any) -> dict[str, list[str]]:
    """By name of each configuration that a README's header describes, what its files are called; empty where it describes none."""
    found: dict[str, list[str]] = {}
    for given in configs if isinstance(configs, list) else []:
        if isinstance(given, dict):
            folder, files = str(given.get("data_dir") or "").strip("/"), given.get("data_files") or "**"
            files = list(files.values()) if isinstance(files, dict) else files if isinstance(files, list) else [files]
            paths = [one.get("path") if isinstance(one, dict) else one for one in files]
            flat = [path for one in paths for path in (one if isinstance(one, list) else [one])]
            found[str(given.get("config_name", "default"))] = [f"{folder}/{path}" if folder else str(path) for path in flat]
    return found


def needs_code(names: Sequence[str], repo_id: str) -> bool:
    """Whether a data set's own files are for code to read: there are no tables, and a loading script or no images."""
    if any(name.lower().endswith(TABLES) for name in names):
        return False
    return f"{repo_id.rpartition('/')[2]}.py" in names or not any(name.lower().endswith(IMAGES) for name in names)


def _nothing(files: Sequence[HubFile], kind: Kind, repo_id: str) -> str:
    if kind == "encoder":
        return f"{repo_id} has no model.safetensors, which is what is read of an encoder; choose another repository."
    if kind == "dataset":
        return f"{repo_id} has no Parquet files, images or archives of them: nothing that can be read without running code."
    refused = sorted({PurePosixPath(file.name).suffix for file in files} & set(CODE))
    other = next((file.name for file in files if file.name.endswith(".safetensors")), None)
    also = f" Its {', '.join(refused)} can run code when they are opened and are refused." if refused else ""
    also += f" No family here reads {other!r}." if other else ""
    asked = next((file.name for file in files if file.name.endswith(".pt")), None)
    hint = f"ask for {asked!r} by its name" if asked else "choose another repository, or convert them where you trust them"
    return f"{repo_id} has no weights called {STEM}.safetensors, which is what is read.{also} So {hint}."
