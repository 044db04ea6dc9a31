"""How a comparison's numbers came about, and the ways to take them along."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from analysis.compared import numbers
from analysis.comparing import Comparison
from app.components import files, link
from app.components.receipt import bibtex, command, kind_of_picture


def words(comparisons: Sequence[Comparison], asked: Mapping[str, Any], sigma: float) -> str:
    """The command line that says the same."""
    keys = [comparisons[0].reference.study.key, *(one.other.study.key for one in comparisons)]
    said = ["python", "-m", "analysis", "study", "compare", *keys]
    for option, value in {**asked, "sigma": f"{sigma:.6g}"}.items():
        said += [f"--{option}", str(value)] if value is not None else []
    return shlex.join([*said, "--out", "numbers.csv"])


def methods(comparisons: Sequence[Comparison]) -> str:
    """A paragraph for a paper."""
    told = []
    for one in comparisons:
        paired = [
            *(["test images"] if one.match.images else []),
            *(["label draws"] if one.match.draws.labels else []),
            *(["noise draws"] if one.match.draws.eps else []),
        ]
        told.append(
            f"{one.other.name} (study {one.other.study.key}, {one.other.labels} labels a class, block {one.other.block}) was compared with "
            f"{one.reference.name} (study {one.reference.study.key}, {one.reference.labels} labels a class, block {one.reference.block}) on "
            f"{one.right[0].shape[2]} test images at {len(one.match.same)} noise levels; paired: {', '.join(paired) or 'nothing'}."
        )
    return (
        f"{' '.join(told)} Differences are of accuracies over all draws, with 95 % intervals by two-way clustered standard errors over test "
        "images and draws, with Satterthwaite's degrees of freedom; of what is paired the differences vary; the band over noise levels is that of the greatest standardised difference. Best levels "
        "were chosen on validation images. Differences by class are Holm-corrected. Images that one run alone reads right in most draws are "
        f"counted with an exact McNemar test. Noisescope, protocol {comparisons[0].reference.study.facts['receipt']['protocol']}."
    )


def show(comparisons: Sequence[Comparison], asked: Mapping[str, Any], sigma: float, state: Mapping[str, str]) -> None:
    """Draw the receipt."""
    studies = [comparisons[0].reference.study, *(one.other.study for one in comparisons)]
    with st.expander("Receipt: how these differences came about", icon=":material/receipt_long:"):
        st.caption("A link to this view (a study that only you have opens only for you)")
        st.code(link.link(dict(state)), language=None, wrap_lines=True)
        st.caption("The command line that says the same and writes the numbers")
        st.code(words(comparisons, asked, sigma), language="bash", wrap_lines=True)
        st.caption("The command lines that make these studies again")
        st.code("\n".join(command(study, state["axis"]) for study in studies), language="bash", wrap_lines=True)
        st.caption("Methods, and what to cite")
        st.code(methods(comparisons), language=None, wrap_lines=True)
        st.code(
            "\n".join(dict.fromkeys(line for study in studies for line in bibtex(study).splitlines())), language="latex", wrap_lines=True
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            files.offer(
                "Numbers as CSV",
                partial(_csv, comparisons, sigma),
                f"noisescope-compare-{'-'.join(study.key[:6] for study in studies)}.csv",
                "text/csv",
                (words(comparisons, asked, sigma), *(study.version for study in studies)),
                key="compare-csv",
                icon=":material/table:",
            )
            kind_of_picture()


def _csv(comparisons: Sequence[Comparison], sigma: float) -> str:
    return str(numbers(comparisons, sigma).to_csv(index=False))
