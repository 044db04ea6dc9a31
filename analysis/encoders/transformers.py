"""Vision models of the transformers library, from a folder that `save_pretrained` wrote or a hub id.

Papers: ResNet arXiv 1512.03385, ViT 2010.11929, MAE 2111.06377, DINOv2 2304.07193, CLIP 2103.00020, SigLIP 2303.15343. Weights,
revision and licence are each repository's own. No noise schedule: a model sees x_σ as if it were an image. Weights are read from
safetensors alone, by the library's own classes: no code of a repository is ever run, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from pydantic import PositiveFloat, PositiveInt, ValidationError
from torch import Tensor
from torch.nn import functional

from ..errors import DamagedFile, InvalidRequest, NoisescopeError
from ..specs import Frozen
from .base import Encoder

Seen = Literal["labels", "text", "neither", "unknown"]
Vector = Literal["token", "pooled", "mean"]
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")


class Kind(NamedTuple):
    """How a model type is read: the library's class, where its vector is, and what it saw in training beside images."""

    model: str
    vector: Vector  # the class token of the last layer; what the model itself pools; the mean over the last map or tokens
    seen: Seen = "unknown"
    settings: Mapping[str, Any] = MappingProxyType({})


MAE = Kind("ViTMAEModel", "token", "neither", {"mask_ratio": 0.0})  # every patch is shown
CLIP = Kind("CLIPVisionModel", "pooled", "text")  # its class token behind the last norm, before the projection
SIGLIP = Kind("SiglipVisionModel", "pooled", "text")  # it has no class token: its attention pooling
KINDS = {
    "resnet": Kind("ResNetModel", "pooled"),  # the global average
    "vit": Kind("ViTModel", "token", settings={"add_pooling_layer": False}),
    "vit_mae": MAE,
    "dinov2": Kind("Dinov2Model", "token", "neither"),
    "dinov2_with_registers": Kind("Dinov2WithRegistersModel", "token", "neither"),
    "clip": CLIP,
    "clip_vision_model": CLIP,
    "siglip": SIGLIP,
    "siglip_vision_model": SIGLIP,
}


class Preprocessing(Frozen):
    """What a model is shown: the size (height, width), and mean and spread of each colour on a scale from 0 to 1."""

    size: tuple[PositiveInt, PositiveInt]
    mean: tuple[float, float, float]
    spread: tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class Transformers(Encoder):
    """`argument` is the place. One grey channel is shown as three; images are resized bilinearly, with antialiasing.

    x_σ is brought from [-1, 1] to [0, 1] and normalised as the model's own preprocessing says. Noise is not clipped: what leaves
    the range is shown as it is. A cropped border, which some preprocessing has, is not cut off: all of the image is seen.
    """

    def __init__(self, argument: str = "", device: str = "cpu", fetched: Path | None = None) -> None:
        """Raises InvalidRequest for what is no vision model, or not there, DamagedFile for what cannot be read."""
        super().__init__(argument, device, fetched)
        _quiet()
        folder = _folder(argument, fetched)
        config = _json(folder / "config.json", argument)
        self.type = str(config.get("model_type"))
        known, kind = _kind(self.type, argument)
        self.shown = preprocessing(folder, config, argument)
        self.revision = folder.name if folder.parent.name == "snapshots" else None  # of the hub's cache
        files = _weights(folder, argument)
        self.net, self.vector = _load(known, kind, files[0].parent, argument)
        self.net = self.net.to(device=device, memory_format=torch.channels_last)
        self._mean, self._spread = (torch.tensor(v, device=device).reshape(1, 3, 1, 1) for v in (self.shown.mean, self.shown.spread))
        self._dimension = self._tried()
        self.name = Path(argument.partition("@")[0] if self.revision else folder).name.replace(
            "+", "-"
        )  # a plus joins the blocks of an ensemble
        self.seen: Seen = "labels" if any("ForImageClassification" in str(c) for c in config.get("architectures") or ()) else kind.seen
        self.identity = "transformers:sha256:" + _identity(files, config, self.shown, self.vector)
        self.parameters = sum(p.numel() for p in self.net.parameters())
        self.pixels = self.shown.size[0] * self.shown.size[1]

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[1] not in (1, 3):
            raise InvalidRequest(f"Images of {x.shape[1]} channels cannot be shown to the encoder {self.name}; allowed: 1 or 3.")
        x = functional.interpolate(x.expand(-1, 3, -1, -1), self.shown.size, mode="bilinear", antialias=True)
        found = self.net(pixel_values=((x + 1) / 2 - self._mean) / self._spread, **self._still(len(x)))
        if self.vector == "token":
            return found.last_hidden_state[:, 0]
        if self.vector == "pooled":
            return found.pooler_output.flatten(1)
        last: Tensor = found.last_hidden_state
        return last.mean((-2, -1)) if last.ndim == 4 else last.mean(1)

    def _still(self, count: int) -> dict[str, Tensor]:
        """MAE shuffles its patches by random numbers even where none is masked: these leave them in place."""
        if self.type != "vit_mae":
            return {}
        patches = self.net.embeddings.position_embeddings.shape[1] - 1
        return {"noise": torch.arange(patches, device=self.device, dtype=torch.float32).expand(count, -1)}

    def _tried(self) -> int:
        """The length of a vector, from one blank image. Raises InvalidRequest where the model gives none for an image alone."""
        blank = torch.zeros(1, 3, *self.shown.size, device=self.device)
        try:
            with torch.inference_mode():
                if self.vector == "pooled" and self.net(pixel_values=blank).get("pooler_output") is None:
                    self.vector = "mean"
                found = self(blank)
        except Exception as error:  # what a network makes of an input that is not its own may be anything
            raise InvalidRequest(
                f"The encoder {self.argument!r} ({self.type}) gives no vector for an image of {self.shown.size[1]}×{self.shown.size[0]} "
                f"alone ({_reason(error)}); choose a vision model."
            ) from error
        return int(found.shape[1])

    def dimension(self, channels: int, side: int) -> int:
        return self._dimension

    def facts(self) -> dict[str, Any]:
        return super().facts() | {
            "place": f"transformers:{self.argument}",
            "revision": self.revision,
            "type": self.type,
            "resolution": list(self.shown.size),
            "dimension": self._dimension,
            "vector": self.vector,
            "seen": self.seen,
        }


def _quiet() -> None:
    """What the libraries have to say is in the errors."""
    from transformers.utils.logging import disable_progress_bar

    for name in ("transformers", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    disable_progress_bar()


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")


def _folder(place: str, fetched: Path | None) -> Path:
    """The folder of a place. Raises InvalidRequest."""
    wanted = "give a folder that save_pretrained wrote, or the hub id of one that was fetched"
    if not place:
        raise InvalidRequest(f"No place is given after 'transformers:'; {wanted}.")
    if (path := Path(place).expanduser()).is_dir():
        return path.resolve()
    if fetched is None:
        raise InvalidRequest(
            f"The encoder {place!r} is not on this machine; {wanted}: `python -m analysis models fetch {place} --encoder`, or 'Look it up' "
            "where a run is asked for."
        )
    return fetched


def _json(path: Path, place: str) -> dict[str, Any]:
    """Raises InvalidRequest or DamagedFile."""
    if not path.is_file():
        raise InvalidRequest(f"The encoder {place!r} has no {path.name}; give a folder that save_pretrained wrote, or a hub id.")
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DamagedFile(f"{path} cannot be read ({_reason(error)}); restore it.") from error


def _kind(type_: str, place: str) -> tuple[Any, Kind]:
    """The library's class of a model type, and how it is read. Raises InvalidRequest for what is no vision model."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    if type_ in KINDS:
        return getattr(transformers, KINDS[type_].model), KINDS[type_]
    try:
        found = MODEL_MAPPING[CONFIG_MAPPING[type_]]
    except (KeyError, ImportError) as error:
        raise InvalidRequest(
            f"The encoder {place!r} is of type {type_!r}, which transformers {transformers.__version__} does not have as a class of its "
            "own; choose another: no code of a repository is run."
        ) from error
    if getattr(found, "main_input_name", None) != "pixel_values":
        raise InvalidRequest(f"The encoder {place!r} is of type {type_!r}, which does not read images; choose a vision model.")
    return found, Kind(found.__name__, "pooled")


def preprocessing(folder: Path, config: dict[str, Any], place: str) -> Preprocessing:
    """What the model's own preprocessing shows it. Raises InvalidRequest or DamagedFile.

    The size is that of the crop where there is one, else of the resized image, else of the network's own configuration.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file() and (folder / "processor_config.json").is_file():  # newer files of models with a text part hold both
        said = dict(_json(folder / "processor_config.json", place).get("image_processor") or {})
    else:
        said = _json(path, place)
    size = said.get("crop_size") if said.get("do_center_crop") is not False else None
    size = size or said.get("size") or dict(config.get("vision_config") or config).get("image_size")
    if isinstance(size, dict):
        size = [size.get(side, size.get("shortest_edge")) for side in ("height", "width")]
    size = [size, size] if isinstance(size, int) else size
    plain = said.get("do_normalize") is False
    mean, spread = ((0, 0, 0), (1, 1, 1)) if plain else (said.get("image_mean"), said.get("image_std"))
    factor = said.get("rescale_factor", 1 / 255) if said.get("do_rescale") is not False else 1
    if abs(255 * factor - 1) > 1e-6:
        raise InvalidRequest(f"The preprocessing of {place!r} multiplies bytes by {factor:g}; allowed: by 1/255, to a scale from 0 to 1.")
    try:
        return Preprocessing(size=size, mean=mean, spread=spread)  # type: ignore[arg-type]
    except ValidationError as error:
        raise InvalidRequest(
            f"The preprocessing of {place!r} says size {size}, mean {mean} and spread {spread}; allowed: a size in pixels, and three means "
            "and three spreads above 0."
        ) from error


def _weights(folder: Path, place: str) -> list[Path]:
    """The files that hold the weights. Raises InvalidRequest where there are none that are read, DamagedFile where one is missing."""
    if (whole := folder / WEIGHTS[0]).is_file():
        return [whole]
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        raise InvalidRequest(
            f"The encoder {place!r} has no model.safetensors; weights are read from safetensors files alone, never from pickled ones: "
            "save the model again with save_pretrained."
        )
    names = {str(name) for name in dict(_json(index, place).get("weight_map") or {}).values()}
    files = sorted(folder / Path(name).name for name in names)
    if not files or not all(file.is_file() for file in files):
        raise DamagedFile(f"The weights of {place!r} lack a file that {index.name} names; restore it.")
    return files


def _load(known: Any, kind: Kind, folder: Path, place: str) -> tuple[Any, Vector]:
    """(network, where its vector is): float32, frozen, as it is used and not as it is trained. Raises DamagedFile."""
    try:
        net, told = known.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **kind.settings
        )
    except Exception as error:  # the library raises a dozen unrelated types for a broken folder
        if isinstance(error, NoisescopeError):
            raise
        raise DamagedFile(f"The encoder {place!r} cannot be read ({_reason(error)}); restore its files.") from error
    missing = sorted(name for name in told["missing_keys"] if not name.startswith("pooler."))
    if missing:  # the library would fill them with random numbers
        raise DamagedFile(f"The weights of {place!r} lack {len(missing)} tensors, such as {missing[0]}; restore them.")
    return net.eval().requires_grad_(False), "mean" if kind.vector == "pooled" and told["missing_keys"] else kind.vector


def _identity(files: list[Path], config: dict[str, Any], shown: Preprocessing, vector: str) -> str:
    """16 digits of the SHA-256 of weights, configuration, what the model is shown, and which vector is taken."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    said = {key: value for key, value in config.items() if not key.startswith("_") and key != "transformers_version"}
    digest.update(json.dumps([said, shown.canonical(), vector], sort_keys=True).encode())
    return digest.hexdigest()[:16]


plugin = Transformers
