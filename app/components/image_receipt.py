"""The receipt of an image: what it was read with, the command line that reads it again, and the table of what was read."""

from __future__ import annotations

import shlex
from functools import partial

import streamlit as st
from safetensors.numpy import save

from analysis.looking import READ_WITH, table
from analysis.specs import said_condition
from analysis.uploads import encode
from app.components import files
from app.components.album import UPLOADED, Shot
from app.components.looked import Arrays, Looked, fingerprint
from app.components.receipt import bibtex


def facts(looked: Looked, shot: Shot) -> list[tuple[str, str]]:
    """How the numbers came about, by name."""
    study, probes = looked.study, looked.probes
    receipt, labels = study.facts["receipt"], next(iter(study.facts["results"]))
    budget = "all labels" if labels == "all" else f"{labels} labels a class"
    read_by = (
        f"taught in this session: {', '.join(probes.classes)}"
        if probes.arrays
        else f"{receipt['head']}, the first draw's of {budget}, of study {study.key} ({receipt['dataset']}, {receipt['dataset_identity']})"
    )
    held_out = "" if looked.fit is None else f"denoising error beside {looked.fit['count']} held-out images of {receipt['dataset']}"
    return [
        ("image", ", ".join([f"{shot.name} ({shot.origin})", *shot.notes])),
        ("model", f"{receipt['model']}, {receipt['revision']}"),
        ("probes", read_by),
        (
            "features",
            f"the map averaged to {READ_WITH}×{READ_WITH}, condition: {said_condition(receipt['condition'])}, precision: {receipt['precision']}",
        ),
        (
            "noise",
            f"{len(looked.levels)} levels, the image's own ε of 8 draws, seed 0; pictures and maps without draws of their own are of draw 0",
        ),
        ("bands", "one standard deviation over the draws; the ensemble is five levels, a draw each (arXiv 2502.05743)"),
        ("shown", f"block {looked.block} at σ = {looked.sigma:.4g}"),
        *([("at home", held_out)] if held_out else []),
    ]


def command(looked: Looked, shot: Shot, cut: str) -> str:
    """The command line that reads the image again: the file that was uploaded, else the image as it was read, saved from here."""
    uploaded = shot.origin == UPLOADED
    words = ["python", "-m", "analysis", "study", "look", looked.study.key, shot.name if uploaded else _file(looked)]
    return shlex.join([*words, *(["--cut", cut] if uploaded and cut != "crop" else []), "--out", "look.csv"])


def methods(looked: Looked) -> str:
    """A paragraph for a paper."""
    receipt = looked.study.facts["receipt"]
    draws = "one draw" if looked.draws is None else f"{len(looked.draws['error'])} draws"
    probes = (
        "probes fitted on a few images by hand" if looked.probes.arrays else f"the {receipt['head']} probes of study {looked.study.key}"
    )
    return (
        f"An image was read with {receipt['model']} ({receipt['revision']}) at {len(looked.levels)} noise levels (x_sigma = x_0 + sigma eps, {draws} of "
        f"eps, condition: {said_condition(receipt['condition'])}). The map of block {looked.block} was averaged over space and read by {probes}; probabilities are means "
        f"over the draws. The posterior mean is the network's output D(x_sigma; sigma). Noisescope, protocol {receipt['protocol']}."
    )


def show(looked: Looked, shot: Shot, cut: str, address: str) -> None:
    """Draw the receipt."""
    with st.expander("Receipt: how these numbers came about", icon=":material/receipt_long:"):
        st.markdown("\n".join(f"- **{name}**: {text}" for name, text in facts(looked, shot)))
        st.caption(
            "A link to this model, run, block and level (a study that only you have opens only for you). Which image is shown, your own images, what you "
            "taught, and what you chose to see and to attribute are not in it."
        )
        st.code(address, language=None, wrap_lines=True)
        if looked.probes.arrays:
            st.caption("Taught probes end with this tab: no command line reads the image again.")
        else:
            saved = "" if shot.origin == UPLOADED else "; save the image first, below"
            st.caption(f"The command line that reads this image again, in every block at every level{saved}")
            st.code(command(looked, shot, cut), language="bash", wrap_lines=True)
        st.caption("Methods, and what to cite")
        st.code(methods(looked), language=None, wrap_lines=True)
        st.code(bibtex(looked.study), language="latex", wrap_lines=True)
        with st.container(horizontal=True):
            st.download_button(
                "The image as read", encode(looked.image), _file(looked), "image/png", icon=":material/image:", on_click="ignore"
            )
            if looked.draws is not None:
                files.offer(
                    "What was read, as CSV",
                    partial(_csv, looked, looked.draws),
                    f"noisescope-{looked.study.key}-image.csv",
                    "text/csv",
                    (*looked.classes, fingerprint(save(dict(looked.draws)))),
                    key="image-csv",
                    icon=":material/table:",
                )


def _file(looked: Looked) -> str:
    return f"noisescope-{looked.study.key}-image.png"


def _csv(looked: Looked, draws: Arrays) -> str:
    return str(table(looked.study, looked.classes, draws).to_csv(index=False))
