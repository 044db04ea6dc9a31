"""What latent families share: images behind a VAE, a network told a prompt or a class, and its Card seen in one blank pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from diffusers import AutoencoderKL, DDPMScheduler, ModelMixin
from torch import Tensor

from ..errors import DamagedFile, InvalidRequest
from ..hub_choice import PIPELINES, nearest
from ..noise import Schedule
from ..specs import Card
from ._folder import BETA_SCHEDULERS, beta_schedule, digest, part_of, read_json, reading, weights
from ._inside import Layer, observe
from ._predictions import PREDICTIONS, denoised
from ._prompts import Prompts
from ._unet import placed, seed_of, to_device
from .base import NOWHERE, Backend, Told, origin

# Beside those of pixel families: of a Stable Diffusion folder the scheduler says how it samples; its β are those of training.
ALLOWED = (*BETA_SCHEDULERS, "EulerDiscrete", "EulerAncestralDiscrete", "LMSDiscrete", "HeunDiscrete", "KDPM2Discrete", "LCM", "TCD")
FLOW = ("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete")
STEPS = 1000  # times that a flow is asked at
Reads = Mapping[str, Any]  # what a network is given beside x and the timestep


class Latent(Backend):
    """A network over the latents of a VAE, as a denoiser in σ of latent units: x_0 = (z - shift) · scaling, z the VAE's mean."""

    network: ClassVar[type[ModelMixin]]
    classes: ClassVar[tuple[str, ...]]  # what `config.json` may call it
    family: ClassVar[str]
    part: ClassVar[str] = "transformer"  # the folder of the network
    packed: ClassVar[int] = 1  # side of the squares of latents that the network is given as one
    paper: ClassVar[str]
    net: Any

    def __init__(self, net: Any, card: Card, place: Path, prediction: str) -> None:
        self.net, self.card, self.place, self.prediction = net, card, place, prediction
        self.schedule = Schedule.from_levels(card.noise, card.sigmas, card.timesteps)
        self.kept: MutableMapping[str, Told] = {}  # what the network is told of each condition; may outlive the process
        self._vae: AutoencoderKL | None = None
        self._here: dict[str, Told] = {}  # the same on the network's device

    # What a family says of itself

    @classmethod
    def layers(cls, net: Any) -> Iterable[Layer]:
        """Every block in the order of execution."""
        raise NotImplementedError

    @classmethod
    def conditions(cls, net: Any, place: Path) -> tuple[str, ...]:
        """What a network can be told, the one for features first."""
        if not Prompts.there(place):
            raise InvalidRequest(
                f"{place} has no folder `text_encoder`: the network is told a prompt, if an empty one; fetch the whole model."
            )
        return "null", "prompt:"

    @classmethod
    def blank(cls, net: Any, side: int) -> Reads:
        """What the network may be given for one blank image of side × side latents."""
        raise NotImplementedError

    @classmethod
    def side(cls, net: Any) -> int:
        """Of the latents, as it was trained."""
        return int(net.config["sample_size"])

    @classmethod
    def sides(cls, net: Any, stride: int) -> tuple[int, int] | None:
        """(A number that sides of images are multiples of, the largest), for a network that reads others than its own."""
        return None

    @classmethod
    def notes(cls, net: Any) -> tuple[str, ...]:
        return ()

    @classmethod
    def patch(cls, net: Any) -> int:
        """How many latents a token is wide."""
        return int(net.config.get("patch_size") or 1)

    @classmethod
    def run(cls, net: Any, x: Tensor, timestep: Tensor, given: Reads) -> Tensor:
        """The network's prediction, (B, c, h, w) of scaled x; (B,) its own timesteps; `given` (B, …) each."""
        made: Tensor = net(x, timestep, **given).sample
        return made[:, : x.shape[1]]

    def given(self, told: Told, count: int) -> Reads:
        """What the network is given beside x and the timestep, for a batch."""
        return {name: value.expand(count, *value.shape[1:]) for name, value in told.tensors.items()}

    def streams(self, told: Told) -> tuple[range, ...]:
        """The places of a text, one range an encoder: each says the whole prompt again."""
        return (range(len(told.tokens)),)

    # What follows from that

    @classmethod
    def claims(cls, place: Path) -> bool:
        config = place / cls.part / "config.json"
        with reading(place):
            return config.is_file() and read_json(config).get("_class_name") in cls.classes

    @classmethod
    def describe(cls, place: Path) -> Card:
        with reading(place):
            if not (place / "vae" / "config.json").is_file():
                raise InvalidRequest(f"{place} has no folder `vae`: without it images cannot become latents; fetch the whole model again.")
            _check_pipeline(place)
            noise, prediction, schedule = _schedule(place)
            with torch.device("meta"):
                net = cls.network.from_config(cls.configuration(place))
                vae = AutoencoderKL.from_config(read_json(place / "vae" / "config.json"))
            if prediction not in (*PREDICTIONS, "flow"):
                raise InvalidRequest(f"prediction_type is {prediction!r}; allowed: {', '.join(PREDICTIONS)}.")
            stride, channels, side = 2 ** (len(vae.config["block_out_channels"]) - 1), vae.config["latent_channels"], cls.side(net)
            if net.config["in_channels"] != channels * cls.packed**2:
                raise InvalidRequest(
                    f"The network in {place} reads {net.config['in_channels']} channels; allowed: {channels * cls.packed**2} of latents alone. It is "
                    "told an image besides, as those that fill, upscale or follow a sketch are."
                )
            given = cls.blank(net, side)
            x = next(net.parameters()).new_zeros(1, channels, side, side)
            blocks, inner = observe(
                net,
                list(cls.layers(net)),
                lambda: cls.run(net, x, x.new_zeros(1), given),
                cls.picked,
                side * stride,
                stride * cls.patch(net),
            )
            return Card(
                identity=cls.identify(place),
                family=cls.family,
                paper=cls.paper,
                resolution=side * stride,
                image_channels=vae.config["in_channels"],
                space="latent",
                latent=(channels, stride),
                sides=cls.sides(net, stride),
                noise=noise,
                sigmas=tuple(schedule.sigmas.tolist()),
                timesteps=tuple(schedule.timesteps.tolist()),
                blocks=blocks,
                inside=inner,
                conditions=cls.conditions(net, place),
                notes=cls.notes(net),
                parameters=sum(p.numel() for p in net.parameters()),
                parameter_bytes=sum(p.numel() * 4 for p in net.parameters()) + sum(p.numel() * 4 for p in vae.parameters()),
                pipeline=True,
                **origin(place),
            )

    @classmethod
    def configuration(cls, place: Path) -> dict[str, Any]:
        return read_json(place / cls.part / "config.json")

    @classmethod
    def identify(cls, place: Path) -> str:
        """Of the hub the commit, whose files were verified when they came; else the SHA-256 of all that features are made with."""
        if (revision := origin(place)["revision"]) is not None:
            return f"{cls.family}:{revision[:16]}"
        files = [*weights(place / cls.part)[1], *weights(place / "vae")[1], *Prompts.files(place)]
        return f"{cls.family}:sha256:{digest(files, cls._configurations(place))}"

    @classmethod
    def _configurations(cls, place: Path) -> list[Path]:
        return [place / cls.part / "config.json", place / "vae" / "config.json", part_of(place, "scheduler", "scheduler_config.json")]

    @classmethod
    def load(cls, place: Path, card: Card, weights: str = "trained", device: str = "cpu") -> Self:
        with reading(place):
            seed, config = seed_of(weights), cls.configuration(place)
            _, prediction, _ = _schedule(place)
            if seed is None and device == NOWHERE:
                identity = card.identity
                with placed(device):
                    net = cls.network.from_config(config)
            elif seed is None:
                identity = cls.identify(place)
                net = _opened(cls.network, place / cls.part)
            else:
                with torch.random.fork_rng(devices=[]), placed(device):
                    torch.manual_seed(seed)
                    net = cls.network.from_config(config)
                shape = digest([], cls._configurations(place))[:8]
                identity = f"{cls.family}:{shape}:random:{seed}"
        if seed is None and card.identity != identity:
            raise DamagedFile(f"The weights in {place} are not those of its card ({identity}, not {card.identity}); restore them.")
        return cls(to_device(net, device), card.model_copy(update={"identity": identity}), place, prediction)

    def encode(self, images: Tensor) -> Tensor:
        """x_0 of images: (B, 3, H, W) in [-1, 1] -> (B, c, h, w), the VAE's mean, shifted and scaled."""
        side = self.card.resolution
        if images.shape[-2:] != (side, side):
            raise InvalidRequest(
                f"Images are {images.shape[-1]}×{images.shape[-2]} pixels; {self.card.name} reads {side}×{side}: resize them."
            )
        config = self.vae.config
        z = self.vae.encode(images).latent_dist.mode()
        return (z - (config.get("shift_factor") or 0.0)) * config["scaling_factor"]

    def decode(self, x0: Tensor) -> Tensor:
        config = self.vae.config
        made: Tensor = self.vae.decode(x0 / config["scaling_factor"] + (config.get("shift_factor") or 0.0)).sample
        return made

    @property
    def vae(self) -> AutoencoderKL:
        """Opened when first needed, in float32, where the network is."""
        if self._vae is None:
            with reading(self.place), torch.inference_mode(False):  # weights made in inference mode let no gradient pass
                self._vae = to_device(_opened(AutoencoderKL, self.place / "vae"), str(self.device))
        return self._vae

    def denoise(self, x: Tensor, sigma: Tensor, condition: str | None = None) -> Tensor:
        """x̂_0 of the network's prediction at the scaled x_σ."""
        given = self.given(self.told(condition), len(x))
        timestep = self.schedule.timestep(sigma).to(x)
        sigma = self.schedule.nearest(sigma).to(x).reshape(-1, 1, 1, 1)
        return denoised(self.prediction, x, sigma, self.run(self.net, x * self.schedule.input_scale(sigma), timestep, given))

    def told(self, condition: str | None = None) -> Told:
        """What the network is told of a condition, on its device. Raises InvalidRequest for one that it cannot be told."""
        condition = condition or self.card.unconditional
        if not self.card.knows(condition):
            raise InvalidRequest(f"condition {condition!r}; allowed for {self.card.name}: {', '.join(self.card.said_conditions)}.")
        if condition not in self._here:
            if self.device.type == NOWHERE:
                self._here[condition] = Told(type(self).blank(self.net, self.card.x0_shape[1]))
                return self._here[condition]
            # What is made in inference mode lets no gradient pass; and a lower precision around is not the encoders'.
            with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
                if condition not in self.kept:
                    self.kept[condition] = self.tell(condition)
                kept = self.kept[condition]
                self._here[condition] = replace(kept, tensors={name: value.to(self.device) for name, value in kept.tensors.items()})
        return self._here[condition]

    def tell(self, condition: str) -> Told:
        """What the network is told of a condition that its Card names, on the CPU. Raises InvalidRequest."""
        raise NotImplementedError


def _opened(kind: type[Any], folder: Path) -> Any:
    variant = weights(folder)[0]
    more = {"variant": variant} if variant else {}
    made, said = kind.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True, **more
    )
    if said["missing_keys"]:  # they would be random numbers
        raise DamagedFile(
            f"The weights in {folder} lack {len(said['missing_keys'])} tensors, such as {said['missing_keys'][0]}; fetch them again."
        )
    return made.float()


def _check_pipeline(place: Path) -> None:
    """Raises InvalidRequest where the folder says that it is a pipeline, or has a VAE, of a class that is not read."""
    index, vae = place / "model_index.json", str(read_json(place / "vae" / "config.json").get("_class_name", "AutoencoderKL"))
    said = str(read_json(index).get("_class_name")) if index.is_file() else PIPELINES[0]
    if said not in PIPELINES:
        raise InvalidRequest(f"No model family here reads a {said}; {nearest(said)}")
    if vae != "AutoencoderKL":
        raise InvalidRequest(f"The VAE in {place} is an {vae}; allowed: AutoencoderKL.")


def _schedule(place: Path) -> tuple[Literal["vp", "flow"], str, Schedule]:
    """The kind of noise, what is predicted, and the levels. Raises InvalidRequest for a scheduler of another noise.

    A flow is trained at all times between 0 and 1; the scheduler's `shift` says how a sampler spaces them.
    """
    kind = str(read_json(part_of(place, "scheduler", "scheduler_config.json")).get("_class_name", "")).removesuffix("Scheduler")
    if kind in FLOW:
        times = torch.arange(1, STEPS, dtype=torch.float64) / STEPS
        return "flow", "flow", Schedule.flow_matching(times, STEPS * times)
    scheduler: DDPMScheduler = beta_schedule(place, (*ALLOWED, *FLOW))
    return "vp", scheduler.config["prediction_type"], Schedule.variance_preserving(scheduler.alphas_cumprod)
