"""`python -m analysis study …`: finished studies, moved and completed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import StoreOption, progress_bar
from .memorization_command import memorization
from .snr_command import snr

TOLD = 10  # cells in a terminal
study_app = typer.Typer(help="Finished studies, moved and completed; and studies of memorization.", no_args_is_help=True)
study_app.command()(memorization)
study_app.command()(snr)


@study_app.command("generate")
def generate(
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning, or the name of a bundled one.")],
    backend: Annotated[str | None, typer.Option(help="The study's model, where it is not found by its name.")] = None,
    count: Annotated[int, typer.Option(min=12, help="How many images.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the images.")] = 0,
    strip: Annotated[
        bool, typer.Option("--strip", help="Show them at every level too, so that no image of the data is in the study.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Let a study's model make images, and keep them and their features with the study."""
    from .generated import generate as run
    from .store import default_root
    from .studies import find_study

    study = find_study(key, store or default_root())
    with progress_bar("Features", quiet=False) as progress:
        run(study, backend or study.facts["request"]["backend"], count, seed, strip=strip, progress=progress)
    typer.echo(f"{count} images are with {study.key}.")


@study_app.command("decide")
def decide(
    keys: Annotated[list[str], typer.Argument(help="Studies of one model: keys, their beginnings, or names of bundled ones.")],
    backend: Annotated[str | None, typer.Option(help="The studies' model, where it is not found by its name.")] = None,
    count: Annotated[int, typer.Option(min=2, help="How many samples are watched.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    steps: Annotated[int, typer.Option(min=2, help="Levels that the sampler visits.")] = 19,
    store: StoreOption = None,
) -> None:
    """Watch a model make images, and keep with each study at which noise level their class is settled."""
    from .decided import decide as run
    from .store import default_root
    from .studies import find_study

    found = [find_study(key, store or default_root()) for key in keys]
    with progress_bar("Samples", quiet=False) as progress:
        kept = run(found, backend or found[0].facts["request"]["backend"], count, seed, steps=steps, progress=progress)
    for study, facts in kept:
        low, high = facts["median_ci"]
        typer.echo(
            f"{study.key}: {facts['label_set']} is settled at σ = {facts['median']:.2f} ({low:.2f} to {high:.2f}), the median of {count}."
        )


@study_app.command("recipe")
def recipe(
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning, or the name of a bundled one.")],
    labels: Annotated[str | None, typer.Option(help="Labels a class, or 'all'; the study's first if none is given.")] = None,
    cheapest: Annotated[
        bool, typer.Option("--cheapest", help="Give the lines of the cheapest cell that is not shown to be worse.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="A .py file to write the lines to.")] = None,
    store: StoreOption = None,
) -> None:
    """Say which block, noise level and pooling to use, what does as well for less, and the lines of code that read it."""
    import pandas as pd

    from . import advice, advising
    from .console import check_out
    from .store import default_root, write_bytes
    from .studies import find_study

    if out is not None:
        check_out(out, ".py")
    study = find_study(key, store or default_root())
    found = advice.recipe(study, labels)
    told = pd.DataFrame(advice.rows(found))
    typer.echo(f"{advice.sentence(found)}\n{advice.how(study, found)}")
    if said := advice.caution(found):
        typer.echo(said)
    typer.echo(f"\n{told.head(TOLD).to_string(index=False)}" + (f"\nand {len(told) - TOLD} more" if len(told) > TOLD else ""))
    code = advising.snippet_of(study, found.cheapest if cheapest else found.best)
    if code is None:
        typer.echo(f"\n{advice.NO_LINES}")
    elif out is not None:
        write_bytes(out, code.encode())
        typer.echo(f"\nThe lines that read it are in {out}.")
    else:
        typer.echo(f"\n{code}", nl=False)


@study_app.command("unlabelled")
def unlabelled_(
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning, or the name of a bundled one.")],
    backend: Annotated[str | None, typer.Option(help="The study's model, where it is not found by its name.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The study's data, where they are not found by their name.")] = None,
    count: Annotated[int, typer.Option(help="How many images, none of them test images: 20 to 1000.")] = 1000,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    store: StoreOption = None,
) -> None:
    """Score every cell without labels, keep that with the study, and say what it would cost to choose by it."""
    import pandas as pd

    from . import advice, regret, unlabelled
    from .devices import choose_device
    from .store import Store
    from .studies import find_study

    kept = Store(store)
    study = find_study(key, kept.root)
    with progress_bar("Scores", quiet=False) as progress:
        table, said = unlabelled.measure(study, unlabelled.bench_of(study, kept, choose_device(device), backend, dataset), count, progress)
    study = unlabelled.keep(study, unlabelled.to_bytes(table), said)
    for labels in study.facts["results"]:
        found = regret.regrets(study, advice.recipe(study, labels), table)
        typer.echo(f"\nLabels a class: {labels}. {regret.sentence(found)}")
        typer.echo(pd.DataFrame(regret.rows(found)).to_string(index=False))


@study_app.command("look")
def look(
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning, or the name of a bundled one.")],
    image: Annotated[Path, typer.Argument(help="A JPEG, PNG, WebP or BMP file.")],
    cut: Annotated[
        str, typer.Option(help="The square that is read: crop (the middle), fit (all of it), or LEFT,TOP,EDGE in pixels.")
    ] = "crop",
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    out: Annotated[Path, typer.Option(help="The table to write, .csv or .parquet: a class in a block at a noise level a row.")] = Path(
        "look.csv"
    ),
    store: StoreOption = None,
) -> None:
    """Read one image with a study's probes, in every block at every noise level."""
    from .console import check_out, save_table
    from .devices import choose_device
    from .looking import look as run
    from .looking import read_image
    from .store import Store
    from .studies import find_study

    check_out(out, ".csv", ".parquet")
    kept = Store(store)
    study = find_study(key, kept.root)
    table, fit = run(study, read_image(image, study.card.resolution, cut), kept, choose_device(device))
    save_table(table, out)
    best = table.loc[table["probability"].idxmax()]
    typer.echo(
        f"{image.name} in {study.card.name}: most sure is block {best['block']} at σ = {best['sigma']:.3g}, {best['class']} "
        f"({100 * best['probability']:.0f} %)."
    )
    if fit is not None:
        typer.echo(f"Its denoising error is above that of {fit['percentile']:.1f} % of {fit['count']} held-out images ({fit['kind']}).")


@study_app.command("map")
def map_(
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning, or the name of a bundled one.")],
    block: Annotated[str | None, typer.Option(help="A block; the headline's if none is given.")] = None,
    sigma: Annotated[float | None, typer.Option(help="A noise level σ: the run's nearest is taken; the best if none is given.")] = None,
    method: Annotated[str, typer.Option(help="pca or umap.")] = "umap",
    dims: Annotated[int, typer.Option(help="2 or 3.")] = 2,
    count: Annotated[int, typer.Option(min=2, help="How many images.")] = 2000,
    metric: Annotated[str, typer.Option(help="Distance: cosine or l2.")] = "cosine",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the UMAP.")] = 0,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    out: Annotated[
        Path,
        typer.Option(help="What to write: .parquet (with pictures and neighbours, for Embedding Atlas and FiftyOne), .csv, .html or .svg."),
    ] = Path("map.parquet"),
    show: Annotated[
        str, typer.Option(help="map, or the numbers behind another view as a table: blocks, levels, trust, alike or content.")
    ] = "map",
    over: Annotated[str, typer.Option(help="Of alike: blocks at the level, or levels of the block.")] = "blocks",
    beside: Annotated[str | None, typer.Option("--with", help="Of alike: random, or the key of a study of the same images.")] = None,
    store: StoreOption = None,
) -> None:
    """Lay out a study's images in one block at one noise level, or write the numbers behind another view of its maps."""
    from . import map_export, map_table
    from .console import check_out, save_table
    from .devices import choose_device
    from .panels import png
    from .store import Store, write_bytes
    from .studies import find_study
    from .thumbnails import thumbnails

    check_out(out, ".parquet", ".csv", *([".html", ".svg"] if show == "map" else []))
    kept = Store(store)
    study = find_study(key, kept.root)
    settings: dict[str, Any] = {"method": method, "dims": dims, "count": count, "metric": metric, "seed": seed}
    with progress_bar("Map", quiet=False) as progress:
        if show != "map":
            found = map_table.numbers(show, study, kept, choose_device(device), block, sigma, progress, over, beside, **settings)
            save_table(found, out)
            typer.echo(f"{len(found):,} rows of {study.key} are in {out}.")
            return
        made = map_table.make(study, kept, choose_device(device), block, sigma, progress, **settings)
    table = made.table
    by = next((name for name in ("label", "prediction") if name in table), "id")
    if out.suffix == ".csv":
        save_table(table, out)
    elif out.suffix == ".parquet":
        write_bytes(
            out, map_export.parquet(table, [png(image, 1) for image in made.images], made.neighbours, [*made.facts, ("trust", made.trust)])
        )
    elif out.suffix == ".html":
        uris, classes = thumbnails(made.images).uris, study.facts["classes"]
        write_bytes(out, map_export.page(table, uris, made.title, made.trust, made.facts, classes, by).encode())
    else:
        write_bytes(out, map_export.svg(table, study.facts["classes"], title=made.title, caption=made.trust, by=by).encode())
    typer.echo(f"{len(table):,} images of {study.key} are in {out}.")


@study_app.command("compare")
def compare(
    keys: Annotated[
        list[str], typer.Argument(help="Two to five studies, the first the reference: keys, their beginnings, or names of bundled ones.")
    ],
    labels: Annotated[str | None, typer.Option(help="Labels per class of the reference; its first number if none is given.")] = None,
    block: Annotated[str | None, typer.Option(help="Block to read; what validation images chose in each if none is given.")] = None,
    pooling: Annotated[str | None, typer.Option(help="How its map is pooled; what validation images chose if none is given.")] = None,
    sigma: Annotated[
        float | None,
        typer.Option(help="Noise level σ of classes and images: the nearest shared one; the reference's best if none is given."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all numbers as a tidy table, .csv or .parquet.")] = None,
    store: StoreOption = None,
) -> None:
    """Is one run better than another? Say it, with what they do not share, and write the numbers."""
    from .compared import classes, classes_lacking, classes_sentence, images_sentence, numbers
    from .comparing import compare as run
    from .console import check_out, save_table
    from .errors import InvalidRequest
    from .matching import LETTERS, sides
    from .store import default_root
    from .studies import find_study

    if out is not None:
        check_out(out, ".csv", ".parquet")
    if not 2 <= len(keys) <= len(LETTERS):
        raise InvalidRequest(f"{len(keys)} studies are given; allowed: 2 to {len(LETTERS)}.")
    found = sides([find_study(key, store or default_root()) for key in keys], labels, block, pooling)
    for side in found:
        typer.echo(f"{side.name}: {side.study.name} ({side.study.key}), {side.labels} labels a class, {side.series.removeprefix('model/')}")
    comparisons = run(found)
    for one in comparisons:
        typer.echo(f"\n{one.sentence()}")
        for said in one.match.mismatches:
            typer.echo(f"  {said}")
        if (level := one.nearest(sigma)) is not None:
            typer.echo(classes_lacking(one) or classes_sentence(one, classes(one, level), level))
            typer.echo(images_sentence(one, level))
    if out is not None:
        save_table(numbers(comparisons, sigma), out)


@study_app.command("export")
def export(
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning.")],
    out: Annotated[Path, typer.Argument(help="The zip file to write.")],
    store: StoreOption = None,
) -> None:
    """Write a study as one zip file."""
    from .store import default_root
    from .studies import export_study, find_study

    study = find_study(key, store or default_root())
    export_study(study, out)
    typer.echo(f"{study.key} is in {out}.")


@study_app.command("import")
def import_(file: Annotated[Path, typer.Argument(help="A zip file that `study export` wrote.")], store: StoreOption = None) -> None:
    """Read a study from a zip file into the store."""
    from .store import default_root
    from .studies import import_study

    typer.echo(f"{import_study(file, store or default_root()).key} is in the store.")
