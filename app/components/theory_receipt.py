"""The receipt of a mixture's curves: how they came about, a link, the command line, methods, what to cite, and the numbers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import streamlit as st

from analysis import theory_words as words
from analysis.theory import MoLRG
from analysis.theory_probe import GROUPS, Probed
from analysis.theory_snr import SNR
from app.components import link, theory_controls
from app.components.receipt import PAPERS, TOOL, kind_of_picture

DOMAIN = "orthogonal subspaces of one dimension, equal proportions, means 0"


def facts(spec: MoLRG, found: SNR, probed: Probed | None, trained: Mapping[str, Mapping[str, np.ndarray]]) -> list[tuple[str, str]]:
    """How the numbers came about, by name."""
    told = [
        (
            "mixture",
            f"{spec.classes} classes, x₀ = U_k a + δ Ũ_k e, d = {', '.join(map(str, spec.dims))}, n = {spec.ambient}, δ = {spec.delta:g}, "
            f"θ = {spec.angle:g}°, proportions {', '.join(f'{p:.3g}' for p in spec.weights)}, means at {spec.separation:g} (arXiv 2502.05743)",
        ),
        (
            "noise",
            f"{len(found.sigmas)} levels, σ = {found.sigmas[0]:g} to {found.sigmas[-1]:g}; {found.samples:,} samples, the same at all, seed 0",
        ),
        (
            "posterior mean",
            f"exact, of the Gaussian mixture, in the subspaces' span of {spec.span} dimensions; at {'x₀' if found.input == 'clean' else 'x_σ'}",
        ),
        ("SNR", "Definition 1 of the paper: a ratio of expectations per class, then their mean by proportion"),
        (
            "intervals",
            "95 %, delta method over samples; of the peak's level, every level whose interval reaches that of the peak, and half a step more",
        ),
        ("Theorem 1", f"an approximation for {DOMAIN}" + ("" if spec.equal else ": not these, so it is not drawn")),
    ]
    if probed is not None:
        told.append(
            (
                "probe",
                f"least squares on one-hot classes, {min(GROUPS, probed.every.shape[1])} independent repetitions, half of each to test; Student's intervals",
            )
        )
    if trained:
        told.append(("trained denoisers", "one network a level, Adam, in the ambient space; 10,000 fresh samples; seed 0"))
    return told


def command(spec: MoLRG, found: SNR) -> str:
    """The command line that computes the numbers again."""
    given = ["--ambient", str(spec.ambient), "--dims", ",".join(map(str, spec.dims))]
    given += ["--weights", ",".join(repr(p) for p in spec.weights)] if np.ptp(spec.weights) > 1e-9 else []
    given += ["--delta", f"{spec.delta:g}", "--angle", f"{spec.angle:g}"]
    given += ["--separation", f"{spec.separation:g}"] if spec.separation else []
    given += ["--sigmas", ",".join(f"{sigma:g}" for sigma in found.sigmas), "--samples", str(found.samples), "--input", found.input]
    return shlex.join(["python", "-m", "analysis", "theory", *given, "--out", "theory.csv"])


def methods(spec: MoLRG, found: SNR) -> str:
    """A paragraph for a paper."""
    shape = "orthogonal" if spec.orthogonal else f"all principal angles {spec.angle:g} degrees"
    peak = f"It peaks at sigma = {found.sigmas[found.peak]:g} with {found.value[found.peak]:.4g} ({found.low[found.peak]:.4g} to {found.high[found.peak]:.4g}). "
    return (
        f"Samples were drawn from a noisy mixture of low-rank Gaussians (Li et al., 2025) with {spec.classes} classes, subspace dimensions "
        f"{', '.join(map(str, spec.dims))} ({shape}) in {spec.ambient} dimensions, proportions {', '.join(f'{p:.3g}' for p in spec.weights)} and delta = "
        f"{spec.delta:g}{f', class means at a distance of {spec.separation:g} from 0' if spec.separation else ''}. The posterior mean of x_0 given x_sigma is that of the Gaussian "
        f"mixture, exact; its SNR (Definition 1, {found.input} input) was estimated at {len(found.sigmas)} noise levels from {found.samples:,} samples, with 95 % "
        f"intervals by the delta method. {peak if words.rises(found) else 'It has no peak. '}Noisescope {version('noisescope')}."
    )


def show(spec: MoLRG, found: SNR, probed: Probed | None, trained: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Draw the receipt."""
    with st.expander("Receipt: how these numbers came about", icon=":material/receipt_long:"):
        st.markdown("\n".join(f"- **{name}**: {text}" for name, text in facts(spec, found, probed, trained)))
        st.caption("A link to this view. What the buttons made is not in it.")
        st.code(
            link.link(
                {"view": "theory", "axis": str(st.session_state["axis"]), "measured": st.session_state.get("measured")}
                | theory_controls.state()
            ),
            language=None,
            wrap_lines=True,
        )
        st.caption("The command line that computes these numbers again")
        st.code(command(spec, found), language="bash", wrap_lines=True)
        st.caption("Methods, and what to cite")
        st.code(methods(spec, found), language=None, wrap_lines=True)
        st.code("\n".join([TOOL.format(version("noisescope")), PAPERS.splitlines()[0]]), language="latex", wrap_lines=True)
        table = words.table(spec, found, probed).to_csv(index=False)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.download_button(
                "Every number as CSV",
                table,
                "noisescope-theory.csv",
                "text/csv",
                icon=":material/download:",
                on_click="ignore",
                key="theory-csv",
            )
            kind_of_picture()
