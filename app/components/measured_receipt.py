"""The receipt of a run's SNR: how it came about, a link, the command line that measures it again, and files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis import snr_words
from analysis.specs import said_condition
from analysis.studies import Study
from app.components import receipt, words

if TYPE_CHECKING:
    import pandas as pd


def facts(study: Study, said: Mapping[str, Any], cell: tuple[str, str, str]) -> dict[str, str]:
    """How the numbers came about, by name."""
    made, (block, pooling, _) = study.facts["receipt"], cell
    return {
        "model": f"{made['model']}, {made['revision']}",
        "data": f"{made['dataset']} ({made['dataset_identity']}), labels: {made['label_set']}",
        "feature": f"block {block}, its map pooled to {words.pooling(pooling)}, condition: {said_condition(made['condition'])}, precision: {made['precision']}",
        "images": f"{said['train']:,} training images for subspaces; {said['test']:,} test and {said['validation']:,} validation images read",
        "draws": f"{said['draws']} of noise ε, seed {said['seed']}; accuracies as in the run's own receipt",
        "clean input": "the clean image in the noised one's place, σ only as the conditioning; input scale kept",
        "method": snr_words.how(said),
        "made": f"on {said['device']}, {words.duration(said['seconds'])}",
    }


def command(study: Study, device: str) -> str:
    """The command line that measures it again and keeps it with the study."""
    given = ["python", "-m", "analysis", "study", "snr", study.key, *(["--device", device] if device != "cpu" else [])]
    return shlex.join([*given, "--out", "snr.csv", "--peaks", "peaks.csv"])


def methods(study: Study, said: Mapping[str, Any]) -> str:
    """A paragraph for a paper."""
    made = study.facts["receipt"]
    return (
        f"Features of {made['model']} ({made['revision']}) on {made['dataset']} ({made['dataset_identity']}), condition: "
        f"{said_condition(made['condition'])}. SNR after Li et al. (arXiv 2502.05743): {snr_words.how(said)} Departing from that paper, the SNR is of images "
        f"that subspaces were not fitted on. Noisescope, protocol {made['protocol']}, study {study.key}."
    )


def show(study: Study, table: pd.DataFrame, said: Mapping[str, Any], cell: tuple[str, str, str], address: str, device: str) -> None:
    """Draw the receipt."""
    with st.expander("Receipt: how these numbers came about", icon=":material/receipt_long:"):
        st.markdown("\n".join(f"- **{name}**: {text}" for name, text in facts(study, said, cell).items()))
        st.caption("A link to this view (a study that only you have opens only for you)")
        st.code(address, language=None, wrap_lines=True)
        st.caption("The command line that measures it again and keeps it with the study")
        st.code(command(study, device), language="bash", wrap_lines=True)
        st.caption("Methods, and what to cite")
        st.code(methods(study, said), language=None, wrap_lines=True)
        st.code(receipt.bibtex(study), language="latex", wrap_lines=True)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            for what, rows in (("snr", table), ("peaks", snr_words.peaks(said))):
                st.download_button(
                    f"{'Every cell' if what == 'snr' else 'Peaks'} as CSV",
                    _csv(study.version, said["seconds"], what, rows),
                    f"noisescope-{study.key}-{what}.csv",
                    "text/csv",
                    icon=":material/download:",
                    on_click="ignore",
                    key=f"take-{what}",
                )
            receipt.kind_of_picture()


@st.cache_data(show_spinner=False, max_entries=8)
def _csv(version: str, seconds: float, what: str, _rows: pd.DataFrame) -> str:
    return str(_rows.to_csv(index=False))
