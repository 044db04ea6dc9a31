"""The command line: `python -m analysis`. Heavy imports stay inside the commands."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import (
    AxisName,
    InputName,
    Listable,
    StoreOption,
    block_lines,
    carry_out,
    check_moments,
    check_out,
    final_line,
    fusing,
    keeps,
    labels_of,
    listing,
    progress_bar,
    request_of,
    save_table,
    skipped,
    summary,
)
from .dataset_commands import dataset_app
from .engines import leads
from .errors import InvalidRequest, NoisescopeError
from .model_commands import models_app
from .options import CORES, AddressOption, ConditionOption, DeviceOption, EngineName, EngineOption, PrecisionName, PrecisionOption
from .preset_commands import preset_app
from .study_commands import study_app
from .word_commands import words
from .worker_command import worker

app = typer.Typer(
    help="What a diffusion model knows about images, and at which noise level it knows it best.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(study_app, name="study")
app.add_typer(models_app, name="models")
app.add_typer(dataset_app, name="datasets")
app.add_typer(preset_app, name="presets")
app.command()(worker)
app.command()(words)


@app.command()
def sweep(
    backend: Annotated[str, typer.Option(help="Model: a bundled name or a folder that `train` wrote.")] = "digits-ddpm",
    dataset: Annotated[str, typer.Option(help="Data set: a name, a folder, a Parquet file, a zip or a hub id.")] = "digits",
    label_set: Annotated[
        list[str] | None, typer.Option(help="Label set of the data, repeatable: a study each; default: its first.")
    ] = None,
    block: Annotated[list[str] | None, typer.Option(help="Block to read, repeatable; default: all.")] = None,
    sigma: Annotated[list[float] | None, typer.Option(help="Noise level σ, repeatable; the nearest that the model has is used.")] = None,
    levels: Annotated[int, typer.Option(min=3, help="How many levels, even in log σ, where no --sigma is given.")] = 16,
    pooling: Annotated[
        list[str] | None, typer.Option(help="How a map is pooled: the side of an average grid, max or gem; repeatable; default: 1.")
    ] = None,
    input_: Annotated[
        list[InputName] | None, typer.Option("--input", help="What the network is shown at each level, repeatable; default: noisy.")
    ] = None,
    head: Annotated[
        list[str] | None, typer.Option(help="Probe head, repeatable: a study each; default: logistic, without a store ridge.")
    ] = None,
    labels_per_class: Annotated[list[str] | None, typer.Option(help="Number, or `all`, repeatable; default: 10.")] = None,
    label_draws: Annotated[
        int | None, typer.Option(min=1, help="Choices of labelled images; default: 15 at 20 labels a class or fewer, 6 at 200.")
    ] = None,
    eps_draws: Annotated[int, typer.Option(min=1, help="Draws of the noise ε.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of ε and of the label draws.")] = 0,
    condition: ConditionOption = "none",
    precision: PrecisionOption = PrecisionName.float32,
    device: DeviceOption = "cpu",
    n_train: Annotated[int | None, typer.Option(min=1, help="Training images to draw labels from; default: all.")] = None,
    n_validation: Annotated[int | None, typer.Option(min=1, help="Validation images; default: all, or in proportion to --n-train.")] = None,
    n_test: Annotated[int | None, typer.Option(min=1, help="Test images; default: all.")] = None,
    baselines: Annotated[bool, typer.Option(help="Also probe noised pixels, clean pixels and random weights.")] = True,
    baseline_labels: Annotated[int | None, typer.Option(min=1, help="Probe the baselines at up to so many labels a class.")] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Baseline encoder as transformers:PLACE, a folder or hub id, read on clean and on noised images; repeatable."),
    ] = None,
    label_noise: Annotated[
        list[float] | None,
        typer.Option(help="Share of the labelled images that get another class's label, from 0 to below 1, repeatable: a study each."),
    ] = None,
    imbalance: Annotated[
        float, typer.Option(help="How many times as many labelled images the first class has as the last; 1 is even.")
    ] = 1.0,
    pca: Annotated[int | None, typer.Option(min=1, help="Project features on so many principal components of the labelled images.")] = None,
    average_draws: Annotated[int, typer.Option(min=1, help="Average features over so many draws of ε, a pass each.")] = 1,
    ensemble: Annotated[
        int, typer.Option(min=0, help="Neighbouring levels whose logits are averaged, each with its own ε, beside its control; 0: none.")
    ] = 0,
    fuse: Annotated[
        int,
        typer.Option(
            min=0, max=16, help="Side of the maps of the ensemble's cells that one network is trained to read together; slow. 0: none."
        ),
    ] = 0,
    processes: Annotated[
        int | None, typer.Option(min=0, help="Worker processes, 0 for none, or at most so many Ray actors; default: a core each.")
    ] = None,
    engine: EngineOption = EngineName.processes,
    address: AddressOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in one forward pass.")] = 64,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the results, or s3://BUCKET/PREFIX; default: NOISESCOPE_STORE, else your data folder. `none`: keep nothing but the table."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the curve as a tidy table, .parquet or .csv.")] = None,
    moments: Annotated[
        Path | None,
        typer.Option(help="Without a store: write the class means and first principal components of every cell, .safetensors."),
    ] = None,
    axis: Annotated[AxisName, typer.Option(help="How noise levels are said.")] = AxisName.timestep,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON; no progress bar.")] = False,
) -> None:
    """Probe a model over its noise levels: make a study, show its peak and its verdict.

    Of several heads, label sets, inputs or shares of wrong labels every combination is a study; their features are made once.
    """
    if out is not None:
        check_out(out, ".parquet", ".csv")
    request = request_of(
        backend=backend,
        dataset=dataset,
        blocks=block or None,
        sigmas=sigma or None,
        levels=levels,
        poolings=pooling or ["1"],
        labels_per_class=labels_of(labels_per_class or ["10"]),
        label_draws=label_draws,
        eps_draws=eps_draws,
        seed=seed,
        condition=condition,
        precision=precision.value,
        n_train=n_train,
        n_validation=n_validation,
        n_test=n_test,
        baselines=baselines,
        baseline_labels=baseline_labels,
        encoders=encoder or (),
        imbalance=imbalance,
        pca=pca,
        average_draws=average_draws,
        ensemble=ensemble,
        fuse=fuse,
    )
    several: dict[str, list[Any]] = {
        "label_set": label_set or [None],
        "input": [name.value for name in input_ or [InputName.noisy]],
        "label_noise": label_noise or [0.0],
        "head": head or ["logistic" if keeps(store) else "ridge"],
    }
    from .specs import variants

    requests = [request_of(**one.model_dump()) for one in variants(request, **several)]
    check_moments(moments, store, len(requests))
    most = (0 if address else CORES) if processes is None else processes  # of a cluster as many as it has room for
    from .devices import choose_device

    settings = {"device": choose_device(device), "processes": most, "engine": engine.value, "address": address, "batch_size": batch_size}
    for line in fusing(requests, store, batch_size=batch_size) if fuse and keeps(store) and leads(engine) else ():
        typer.echo(line, err=True)
    with progress_bar("Sweep", as_json or not leads(engine)) as progress:
        curves, said = carry_out(requests, store, axis, as_json, moments, progress=progress, **settings)
    if not leads(engine):
        return
    if out is not None:
        import pandas as pd

        save_table(pd.concat(curves, ignore_index=True), out)
    noisy = curves[0].sigma[curves[0].sigma > 0]
    for wanted in sigma or []:
        used = min(noisy, key=lambda level: abs(math.log(level / wanted)))
        if abs(used / wanted - 1) > 0.01:
            typer.echo(f"σ = {wanted:g} is not a level of {backend}; the nearest, σ = {used:.4g}, was used.", err=as_json)
    for line in said:
        typer.echo(line)


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="Recipe, such as digits-ddpm.")],
    dataset: Annotated[str | None, typer.Option(help="Data set, as for `sweep`; default: the recipe's.")] = None,
    size: Annotated[str | None, typer.Option(help="Size of the recipe, small or base, where it has several.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the model; default: models/NAME in the store.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps, where not the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed, where not the recipe's.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so long and write the model as it is; 0 only writes it.")] = None,
    device: Annotated[str, typer.Option(help="Where to train.")] = "cpu",
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with the card's training facts as one line of JSON.")] = False,
) -> None:
    """Train a small diffusion model; stop it when you like, the same command goes on where it stopped."""
    from .datasets import open_dataset
    from .devices import choose_device
    from .recipes import recipe
    from .store import Store
    from .training import train as run

    root = Store(store).root
    changes = {key: value for key, value in (("steps", steps), ("seed", seed)) if value is not None}
    spec = recipe(name, size, **changes)
    place = dataset or spec.dataset
    if place is None:
        raise InvalidRequest(f"{name} needs --dataset: a folder, a Parquet file or a hub id of its images.")
    chosen, images = choose_device(device), open_dataset(place, spec.network["sample_size"])
    for line in skipped(images.skipped, len(images.skipped)):
        typer.echo(line, err=True)
    folder = root / "training" / f"{name}-{spec.key()[:8]}-{images.identity[:8]}"
    with progress_bar("Train", as_json) as progress:
        card = run(spec, images, folder, out or root / "models" / name, chosen, minutes=minutes, progress=progress)
    typer.echo(
        json.dumps(card.training)
        if as_json
        else f"{card.identity} in {out or root / 'models' / name}: {card.parameters:,} parameters, loss {card.training['loss']}."
    )


@app.command()
def sample(
    backend: Annotated[str, typer.Option(help="Model: a bundled name, a folder, a .pt file or a fetched hub id.")] = "digits-ddpm",
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 64,
    sampler: Annotated[str, typer.Option(help="ddim or heun.")] = "ddim",
    steps: Annotated[int, typer.Option(min=2, help="Steps of the sampler.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed; image i depends on it and on i alone.")] = 0,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    out: Annotated[Path, typer.Option(help="The PNG to write: all images on one sheet.")] = Path("samples.png"),
) -> None:
    """Make images from noise."""
    check_out(out, ".png")
    from .backends import open_backend
    from .devices import choose_device
    from .sampling import sample as run
    from .sampling import seen, sheet
    from .store import write_bytes

    model = open_backend(backend, device=choose_device(device))
    images = seen(model, run(model, count, seed, sampler, steps))  # type: ignore[arg-type]
    write_bytes(out, sheet(images, math.ceil(math.sqrt(count))))
    typer.echo(f"{count} images of {backend} are in {out}.")


@app.command("list")
def list_(
    what: Annotated[Listable, typer.Argument(help="What to list.")],
    backend: Annotated[str, typer.Option(help="Whose blocks or card.")] = "digits-ddpm",
    store: StoreOption = None,
) -> None:
    """List what there is to choose from."""
    for line in listing(what, backend, store):
        typer.echo(line)


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning, or the name of a bundled one.")],
    store: StoreOption = None,
    axis: Annotated[AxisName, typer.Option(help="How noise levels are said.")] = AxisName.timestep,
    as_json: Annotated[bool, typer.Option("--json", help="End with the same line of JSON as sweep.")] = False,
) -> None:
    """Show a finished study: verdict, peak and how every block did."""
    from .store import default_root
    from .studies import find_study

    study = find_study(key, store or default_root())
    if as_json:
        typer.echo(final_line(study))
        return
    for line in [*summary(study, axis), *block_lines(study, axis)]:
        typer.echo(line)


def main() -> None:
    """Run the command line; one sentence and exit code 2 for whatever is raised on purpose."""
    try:
        app()
    except NoisescopeError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
