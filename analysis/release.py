"""What leaves a training run: the model as diffusers keeps one, with the card that says how it was made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from .backends.unet2d import UNet2D, identify
from .errors import InvalidRequest, StoreUnavailable
from .specs import Card
from .store import read_json, writing

if TYPE_CHECKING:
    from .training import Run

SHARD = "14MB"
SAME = ("data_identity", "size", "steps_planned", "batch", "learning_rate", "seed")  # what a run's models have in common


def check_place(run: Run, out: Path) -> None:
    """Raises InvalidRequest where another run's model stands, or a file."""
    if out.exists() and not out.is_dir():
        raise InvalidRequest(f"{out} is a file; give --out a folder.")
    if (out / "card.json").exists():
        there, ours = read_json(out / "card.json").get("training", {}), _facts(run)
        other = [f"{name} {there.get(name)}, not {ours[name]}" for name in SAME if there.get(name) != ours[name]]
        if other:
            raise InvalidRequest(f"{out} holds another run's model ({'; '.join(other)}); give --out another folder, or delete that one.")


def export(run: Run, out: Path) -> Card:
    """Write the mean weights, configuration, schedule and card of a run to `out`."""
    spec = run.spec
    net = run.mean_network()
    if spec.weights == "float16":
        net = net.half()
    fresh = out / ".new"  # whole before it takes the place of what is there; the card, which names the weights, comes last
    with writing(out / "card.json") as temporary, _removed(fresh):
        try:
            net.save_pretrained(fresh, max_shard_size=SHARD)
            run.scheduler.save_pretrained(fresh)
        except SafetensorError as error:
            raise StoreUnavailable(f"Cannot write the model to {out} ({error}); the old one stands: free some disk.") from error
        backend = UNet2D(
            net.float(),
            run.scheduler,
            identity=identify(fresh),
            name=spec.name,
            license=spec.license,
            paper=spec.paper,
            training=_facts(run),
            conditions=spec.conditions,
        )
        temporary.write_text(backend.card.model_dump_json(indent=1) + "\n")
        kept = {path.name for path in fresh.iterdir()}
        for path in out.glob("diffusion_pytorch_model*"):  # shards of a larger model that stood here
            if path.name not in kept:
                path.unlink()
        for path in fresh.iterdir():
            path.replace(out / path.name)
    return backend.card


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    """A folder that is not there before (a killed process may have left it) and not after."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _facts(run: Run) -> dict[str, Any]:
    """What the card says of a run."""
    spec, dataset = run.spec, run.dataset
    return {
        "data": dataset.name,
        "data_identity": dataset.identity,
        "images": None if run.fresh else int(run.seen.sum()),
        "split": "new images at every step, none of the data set's own" if run.fresh else "train and validation; no test image was seen",
        "size": spec.size,
        "steps": run.step,
        "steps_planned": spec.steps,
        "batch": spec.batch,
        "images_seen": run.step * spec.batch,
        "learning_rate": spec.learning_rate,
        "ema_decay": spec.ema_decay,
        "flips": spec.flips,
        **({} if spec.class_dropout is None else {"class_dropout": spec.class_dropout, "classes": list(dataset.label_set().classes)}),
        "seed": spec.seed,
        "loss": None if run.loss is None else round(run.loss, 5),
        "seconds": round(run.seconds),
        "hardware": "; ".join(name if len(run.made_on) == 1 else f"{name}: {steps:,} steps" for name, steps in run.made_on.items()),
    }
