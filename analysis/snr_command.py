"""`python -m analysis study snr`: SNR and projection classifier of a study's features over noise, kept with the study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import StoreOption, check_out, progress_bar, save_table


def snr(
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning, or the name of a bundled one.")],
    backend: Annotated[str | None, typer.Option(help="The study's model, where it is not found by its name.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The study's data, where they are not found by their name.")] = None,
    count: Annotated[
        int, typer.Option(help="How many training images subspaces are fitted on, and how many others are read: 20 to 1000.")
    ] = 1000,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write the table, .csv or .parquet: a cell and way of reading a row.")] = None,
    peaks: Annotated[
        Path | None, typer.Option(help="Write where SNR and accuracy peak, .csv or .parquet: a block and accuracy a row.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Measure the SNR of a study's features on held-out images in every cell, and how far its peak is from accuracy's."""
    for path, option in ((out, "--out"), (peaks, "--peaks")):
        if path is not None:
            check_out(path, ".csv", ".parquet", option=option)
    import pandas as pd

    from . import snr_measuring, snr_words, unlabelled
    from .devices import choose_device
    from .store import Store
    from .studies import find_study

    kept = Store(store)
    study = find_study(key, kept.root)
    with progress_bar("SNR", quiet=False) as progress:
        bench = unlabelled.bench_of(study, kept, choose_device(device), backend, dataset)
        table, said = snr_measuring.measure(study, bench, count, progress)
    study = snr_measuring.keep(study, unlabelled.to_bytes(table), said)
    for path, rows in ((out, table), (peaks, snr_words.peaks(said))):
        if path is not None:
            save_table(rows, path)
    for labels, result in study.facts["results"].items():
        _, block, pooling = result["headline"].split("/")
        typer.echo(f"\nLabels a class: {labels}. {snr_words.sentence(table, said, block, pooling, labels)}")
        typer.echo(pd.DataFrame(snr_words.rows(said, pooling, labels)).to_string(index=False))
    typer.echo(f"\n{snr_words.how(said)}")
