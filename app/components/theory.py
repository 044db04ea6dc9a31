"""Theory, on the Why page: a mixture in which the hump can be computed, and what makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import theory_words as words
from analysis.theory import MoLRG, draw
from analysis.theory_probe import Probed, probe
from analysis.theory_snr import SNR, snr
from app.components import asking, measured, opening, theory_controls, theory_receipt
from app.components import bench as lab
from app.components.curve import toolbar
from app.components.looked import following, plain

if TYPE_CHECKING:
    from analysis.specs import Axis

SIGMAS = tuple(float(f"{sigma:.3g}") for sigma in np.geomspace(0.005, 20, 40))
FEW = SIGMAS[2:36:3]  # levels that networks are trained at
SAMPLES, LEAST = 20_000, 2000
FORMS = {"lowrank": "the paper's network, x̂ = U h", "mlp": "a perceptron"}
DEVICE = "cpu"  # networks so small are no faster elsewhere
Key = tuple[Any, ...]


def samples_of(spec: MoLRG) -> int:
    """Fewer where subspaces overlap or means are apart and the span is wide, so that a slider answers within a second."""
    if spec.orthogonal and spec.separation == 0:
        return SAMPLES
    work = spec.classes * spec.span**2
    return int(np.clip(SAMPLES * 1500 / work, LEAST, SAMPLES))


@st.cache_data(show_spinner=False, max_entries=64)
def _snr(spec: MoLRG, given: str) -> SNR:
    return snr(spec, SIGMAS, samples_of(spec), input=given)


@st.cache_data(show_spinner=False, max_entries=16)
def _probe(spec: MoLRG, given: str) -> Probed:
    return probe(spec, SIGMAS, samples_of(spec), input=given)


def show() -> None:
    """Draw sliders, numbers, curves, the picture and the receipt. Raises InvalidRequest with what does not go together."""
    st.markdown(
        "A model of images simple enough that the best possible denoiser is known exactly: every class lives on a low-dimensional subspace "
        "of its own, with a little of the others' mixed in. Move a slider and see what the hump is made of."
    )
    spec, given = theory_controls.choose()
    opening.notes()
    found, chosen = _snr(spec, given), lab.axis()
    axis: Axis = "log_snr" if chosen == "log_snr" else "sigma"  # a mixture has no timesteps
    _headline(spec, found)
    probed, trained = _asked(spec, given)
    _chart(spec, found, axis, probed, trained)
    _reading(spec, found, probed)
    measured.beside(axis)
    _picture(spec, found, axis)
    theory_receipt.show(spec, found, probed, trained)


def _headline(spec: MoLRG, found: SNR) -> None:
    top, said = found.peak, words.said
    low, high = found.peak_range
    numbers = st.container(horizontal=True, gap="medium")
    flat: dict[str, Any] = {"delta_color": "off", "delta_arrow": "off"}
    if words.rises(found):
        numbers.metric("SNR peaks at", f"σ ≈ {said(found.sigmas[top])}", f"{said(low)} to {said(high)}", **flat)
        numbers.metric("SNR there", said(found.value[top]), f"{said(found.low[top])} to {said(found.high[top])}", **flat)
    else:
        numbers.metric("SNR peaks at", "no peak", "it does not rise", **flat)
    numbers.metric("At the least noise", said(found.value[0]), f"{said(found.low[0])} to {said(found.high[0])}", **flat)
    numbers.metric("At the most noise", said(found.value[-1]), f"{said(found.low[-1])} to {said(found.high[-1])}", **flat)
    with st.container(key="verdict"):
        st.markdown(words.finding(found))


def _asked(spec: MoLRG, given: str) -> tuple[Probed | None, dict[str, Mapping[str, np.ndarray]]]:
    """What the buttons were pressed for, of this very mixture."""
    here, trained = (spec, given), {}
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Fit the linear probe", icon=":material/linear_scale:", help="About a second: least squares at every level."):
            st.session_state["theory-probe"] = here
        for form, name in FORMS.items():
            takes = {"lowrank": "five seconds", "mlp": "twenty seconds"}[form]
            if st.button(
                f"Train {name}", key=f"train-{form}", icon=":material/model_training:", help=f"About {takes}, at {len(FEW)} levels."
            ):
                st.session_state.setdefault("theory-trained", {})[form] = here
    for form, wanted in dict(st.session_state.get("theory-trained", {})).items():
        if wanted == here and (curve := _train(spec, given, form)):
            trained[form] = curve
    if st.session_state.get("theory-probe") != here:
        return None, trained
    with st.spinner("The probe is being fitted at every level …"):
        return _probe(spec, given), trained


def question(spec: MoLRG, given: str, form: str) -> dict[str, Any]:
    """To the worker."""
    mixture = {"ambient": spec.ambient, "dims": list(spec.dims), "weights": list(spec.weights), "delta": spec.delta}
    mixture |= {"angle": spec.angle, "separation": spec.separation}
    return {"ask": "theory-denoiser", **mixture, "sigmas": list(FEW), "form": form, "input": given}


def _train(spec: MoLRG, given: str, form: str) -> Mapping[str, np.ndarray] | None:
    asked = asking.look(question(spec, given, form), DEVICE, patience=0.4)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        st.button("Try again", key=f"again-{form}", on_click=asking.anew, args=("theory-denoiser",))
        return None
    if asked.answer is None:
        following(asked, f"theory-{form}", "Training begins …", lambda told: 0, lambda: st.session_state["theory-trained"].pop(form, None))
        return None
    return load(asked.answer[1])


def _chart(spec: MoLRG, found: SNR, axis: Axis, probed: Probed | None, trained: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    from analysis import theory_figures

    figure = theory_figures.curves(spec, found, axis, probed, trained)
    st.plotly_chart(figure, key="theory-curves", alt=plain(words.finding(found)), config=toolbar())
    formula = ", dashed Theorem 1, which approximates it" if spec.equal else ""
    st.caption(
        f"Above: SNR of the exact posterior mean, {found.samples:,} samples, the same at every level, with its 95 % band{formula}. "
        "Below: the rate that rises and the rate that falls; the second solid as the exact posterior has it."
        + (" Bars and bands: 95 %. Networks were scored on samples of their own." if trained else "")
    )


def _reading(spec: MoLRG, found: SNR, probed: Probed | None) -> None:
    sentences = [words.rates(spec, found), words.ends(spec, found), words.agreement(spec, found)]
    if probed is not None:
        sentences.append(words.probing(spec, found, probed))
    with st.container(key="why"):
        for sentence in filter(None, sentences):
            st.markdown(sentence)
        st.markdown(
            "**A missing hump proves nothing by itself.** As much irrelevant noise as relevant (δ = 1) leaves none in the SNR, class means that "
            "are apart leave none in the probe, and nothing is memorized in either case: only a matched control tells."
        )


def _picture(spec: MoLRG, found: SNR, axis: Axis) -> None:
    from analysis import theory_picture

    st.subheader("The posterior mean collapses onto the subspaces", anchor=False)
    few = SIGMAS[::2]
    first = min(range(len(few)), key=lambda i: abs(np.log(few[i] / found.sigmas[found.peak])))
    figure = theory_picture.picture(spec, draw(spec, samples_of(spec)), few, found.input, axis, first)
    text = (
        f"Posterior means of {theory_picture.SHOWN} samples on a plane: around each class's dotted line at little noise, on it near the SNR's "
        "peak, and drawn to the middle, between the lines, at much noise."
    )
    st.plotly_chart(figure, key="theory-picture", alt=text, config=toolbar())
    st.caption(f"{text} Each dotted line is the first direction of one class's subspace; moving σ asks no server.")
