"""What the command line prints: summaries, lists, the line of JSON for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .engines import leads
from .errors import InvalidRequest, NoisescopeError, StoreUnavailable
from .specs import regime, unusual

if TYPE_CHECKING:
    import pandas as pd

    from .specs import SweepRequest
    from .streamed import Streamed
    from .studies import Study


StoreOption = Annotated[Path | None, typer.Option(help="Folder of the results; default: NOISESCOPE_STORE, else your data folder.")]


class AxisName(StrEnum):
    timestep = "timestep"
    sigma = "sigma"
    log_snr = "log_snr"


class InputName(StrEnum):
    noisy = "noisy"
    clean = "clean"


class Listable(StrEnum):
    backends = "backends"
    blocks = "blocks"
    card = "card"
    datasets = "datasets"
    heads = "heads"
    studies = "studies"


@contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    bar = Progress(*columns, console=Console(stderr=True), disable=quiet)
    task = bar.add_task("", total=None)

    def update(done: int, total: int, message: str) -> None:
        bar.start()  # with the first news, so that a request that cannot be carried out is one sentence and no bar
        bar.update(task, completed=done, total=total, description=message)

    try:
        yield update
    finally:
        bar.stop()


def save_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as .parquet or .csv. Raises StoreUnavailable."""
    try:
        if path.suffix == ".csv":
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path, index=False)
    except OSError as error:
        raise StoreUnavailable(f"Cannot write {path} ({error.strerror or error}); choose another place for --out.") from error


def check_out(path: Path, *endings: str, option: str = "--out") -> None:
    """Before the work, not after it. Raises InvalidRequest."""
    if path.suffix not in endings:
        raise InvalidRequest(f"{option} is {str(path)!r}; allowed endings: {', '.join(endings)}.")
    if not path.absolute().parent.is_dir():
        raise InvalidRequest(f"{option} is {str(path)!r}; its folder is not there: make it first.")
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise InvalidRequest(f"{option} is {str(path)!r}, which cannot be written; choose another place.")


def check_moments(path: Path | None, store: Path | None, studies: int) -> None:
    """Whether moments can be written where they are asked for, before the work. Raises InvalidRequest."""
    if path is None:
        return
    check_out(path, ".safetensors", option="--moments")
    if keeps(store) or studies > 1:
        raise InvalidRequest(
            "--moments is of one sweep without a store; add --store none and ask for one head, label set, input and noise."
        )


def _level(study: Study, sigma: float, axis: AxisName) -> str:
    """A noise level as the chosen axis says it."""
    return _said(min(study.facts["levels"], key=lambda level: abs(level["sigma"] / sigma - 1)), sigma, axis)


def _said(level: Mapping[str, float], sigma: float, axis: AxisName) -> str:
    if axis is AxisName.timestep:
        return f"t = {level['timestep']:.0f} (σ = {sigma:.3g})"
    return f"log-SNR = {level['log_snr']:.2f}" if axis is AxisName.log_snr else f"σ = {sigma:.3g}"


def skipped(images: Sequence[str], count: int) -> Iterator[str]:
    """Which images were not used, and why: the count, then the first of them."""
    if count:
        yield f"{count} images were left out:"
        yield from (f"  {line}" for line in images[:5])


def summary(study: Study, axis: AxisName) -> Iterator[str]:
    """What a person reads after a sweep."""
    yield f"{', '.join([study.name, *unusual(study.facts['request'])])}  ({study.key})"
    receipt = study.facts["receipt"]
    yield from skipped(receipt["skipped"], receipt["skipped_count"])
    for labels, result in study.facts["results"].items():
        verdict = result["verdict"]
        yield ""
        yield f"{labels} labels per class, {result['draws']} draws, {verdict['n_test']} test images"
        yield result["sentence"]
        yield f"Peak at {_level(study, verdict['peak_sigma'], axis)}: {100 * verdict['peak_accuracy']:.1f} %."
        if labels in (averaged := study.facts.get("ensembles", {})):
            yield averaged[labels]["sentence"]
        for wrong in result.get("left_out", []):
            yield f"Left out: {wrong['series']} at σ = {wrong['sigma']:.3g}: {wrong['why']}."
        if result["clean"]:
            yield f"Best classifier of the clean {study.card.units} ({result['clean']['head']}): {100 * result['clean']['accuracy']:.1f} %."
        for name, line in result.get("encoders", {}).items():
            yield f"Encoder {name} on clean images: {100 * line['accuracy']:.1f} %."


def final_line(study: Study) -> str:
    """The one line of JSON that programs read, of the first number of labels a class."""
    result = study.result()
    verdict = result["verdict"]
    fields = ("shape", "peak_sigma", "peak_ci", "gain", "gain_ci", "p_value")
    line: dict[str, Any] = {field: verdict[field] for field in fields}
    return json.dumps(line | {"best_block": result["headline"].split("/")[1], "peak_accuracy": verdict["peak_accuracy"], "key": study.key})


def keeps(store: Path | None) -> bool:
    """Whether features and studies are kept: not where the store is `none`."""
    return str(store) != "none"


def carry_out(
    requests: Sequence[SweepRequest], store: Path | None, axis: AxisName, as_json: bool, moments: Path | None = None, **settings: Any
) -> tuple[list[pd.DataFrame], list[str]]:
    """The curves of requests, and what is said of each; `settings` are those of `sweep_all` and `stream_all`.

    `moments` is where those of a sweep without a store are written, which has none else.
    """
    tell = partial(typer.echo, err=True)
    if keeps(store):
        from .remote import open_store
        from .sweeping import sweep_all

        studies = sweep_all(requests, open_store(store), notice=tell if leads(settings["engine"]) else str, **settings)
        said = [final_line(study) if as_json else "\n".join(summary(study, axis)) for study in studies]
        return [study.table("curve") for study in studies], said
    from .streaming import COMPONENTS, stream_all

    if (engine := settings.pop("engine")) != "processes" or settings.pop("address"):
        raise InvalidRequest(f"engine is {engine!r}; allowed without a store: 'processes', because the others meet in the store.")
    found = stream_all(requests, components=COMPONENTS if moments else None, notice=tell, **settings)
    if moments:
        found[0].save_moments(moments)
    return [one.curve for one in found], [streamed_line(one) if as_json else "\n".join(streamed_summary(one, axis)) for one in found]


def fusing(requests: Sequence[SweepRequest], store: Path | None, **settings: Any) -> Iterator[str]:
    """What learned fusion will take, where it is asked for: it is said before anything runs. Raises what is wrong with a request."""
    from .combining import combine
    from .costs import fusing
    from .planning import Bench
    from .remote import open_store

    there = open_store(store)
    combined = combine(requests, lambda request, like: Bench(request, there, like=like, **settings))
    found = [fusing(bench) for bench in combined.benches if bench.request.fuse]
    if count := sum(networks for networks, _ in found):
        minutes = sum(seconds for _, seconds in found) / 60
        yield f"Learned fusion: {count} networks to train, about {minutes:.1f} minutes on one core; without --fuse there are none."


def streamed_summary(found: Streamed, axis: AxisName) -> Iterator[str]:
    """What a person reads after a sweep without a store."""
    draws, first = found.draws.draw.nunique(), found.curve.iloc[0]
    asked = ", ".join([first.label_set, f"{first.input} input", *regime({"label_noise": first.label_noise})])
    of = " of the variance" if first.measure == "r2" else ""
    yield f"{first.backend} on {first.dataset}: {asked}; no feature is kept"
    yield from (f"  Left out: {one['series']} at σ = {one['sigma']:.3g}: {one['why']}." for one in found.left_out)
    for best in found.best().to_dict("records"):
        low, high = 100 * best["ci_low"], 100 * best["ci_high"]
        yield f"{best['labels_per_class']} labels per class, {draws} draws, {best['n_test']} test images, ridge regression"
        yield (
            f"Best on validation images: block {best['block']}, pooling {best['pooling']}, at {_said(best, best['sigma'], axis)}: "
            f"{100 * best['accuracy']:.1f} %{of} ({low:.1f} to {high:.1f}), chance {100 * best['chance']:.1f} %."
        )
    yield "Without features that are kept there are no baselines and no verdict; sweep with a store for them."


def streamed_line(found: Streamed) -> str:
    """The one line of JSON after a sweep without a store, of the first number of labels a class."""
    best = found.best().iloc[0]
    line = {"best_block": best.block, "pooling": best.pooling, "sigma": best.sigma, "accuracy": best.accuracy}
    return json.dumps(line | {"ci": [best.ci_low, best.ci_high], "validation_accuracy": best.validation_accuracy})


def listing(what: Listable, backend: str, store: Path | None) -> Iterator[str]:
    """What there is to choose from, a line each."""
    from . import catalog, registry
    from .store import default_root
    from .studies import open_study, studies

    if what is Listable.backends:
        for name in catalog.models():
            card = catalog.card(name)
            yield f"{name}\t{card.family}\t{card.resolution}×{card.resolution}\t{card.parameters:,} parameters\t{len(card.blocks)} blocks\t{card.license}"
    elif what is Listable.blocks:
        for block in catalog.card(backend).blocks:
            called = f"\t{block.literature}" if block.literature else ""
            yield f"{block.name}\t{block.stage}\t{block.channels} channels\tstride {block.stride}\t{block.module}{called}"
    elif what is Listable.card:
        from .backends import describe

        yield describe(backend).model_dump_json(indent=1)
    elif what is Listable.studies:
        for key, folder in studies(store or default_root()).items():
            try:
                study = open_study(folder)
            except NoisescopeError as error:
                yield f"{key}\tdamaged\t{error}"
                continue
            yield f"{key}\t{study.name}\t{study.result()['verdict']['shape']}\t{study.facts['created']}"
    elif what is Listable.datasets:
        from .datasets import choices

        yield from choices()
    else:
        yield from registry.names(what.value)  # type: ignore[arg-type]


def block_lines(study: Study, axis: AxisName) -> Iterator[str]:
    """How every block of the model did."""
    for labels, result in study.facts["results"].items():
        yield f"\nBlocks, {labels} labels per class (p after Holm):"
        for name, verdict in result["verdicts"].items():
            if name.startswith("model/"):
                low, high = (100 * bound for bound in verdict["gain_ci"])
                yield (
                    f"  {name.removeprefix('model/'):<16}{verdict['shape']:<12}peak {100 * verdict['peak_accuracy']:5.1f} % at "
                    f"{_level(study, verdict['peak_sigma'], axis):<24}gain {100 * verdict['gain']:+.1f} ({low:+.1f} to {high:+.1f})  "
                    f"p = {verdict['p_holm']:.3g}"
                )


def labels_of(values: list[str]) -> list[int | str]:
    """Numbers of labels a class from the command line. Raises InvalidRequest."""
    for value in values:
        if value != "all" and not (value.isdecimal() and int(value) > 0):
            raise InvalidRequest(f"--labels-per-class is {value!r}; allowed: a whole number from 1, or 'all'.")
    return ["all" if value == "all" else int(value) for value in values]


def request_of(**fields: Any) -> Any:
    """A request of these fields. Raises InvalidRequest, which names the first that is wrong."""
    from pydantic import ValidationError

    from .specs import SweepRequest

    try:
        return SweepRequest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"{name} is {first['input']!r}: {first['msg'].lower()}.") from error
