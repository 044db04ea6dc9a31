"""Which pixels decided: a method's maps over noise levels, and whether to believe them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import panels
from app.components import asking, leaflet
from app.components.looked import Looked, chosen_class, fingerprint, following, waiting
from app.components.words import duration

TARGETS = {
    "class": "a class",
    "difference": "one class rather than another",
    "channel": "a feature channel",
    "loss": "how well it denoises",
}
AROUND = {"five": "Five levels", "all": "Every level"}
BASELINES = {"grey": "mid-grey", "blurred": "blurred"}
WITH_BASELINE = ("integrated_gradients", "occlusion")
LEAST = 8  # draws of the two that speak of pixels
BACKWARD = 1.5  # a pass with its gradient is counted as two; with all its bookkeeping it takes about three


def show(looked: Looked, device: str, pace: float | None) -> None:
    """Controls, cost and button; then the maps as they come. `pace` is the seconds of a pass, where that is known."""
    st.subheader("Which pixels decided?", anchor=False)
    asked = asking.look({"ask": "methods", "study": looked.study.key}, device, patience=0.6)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        st.button("Try again", on_click=asking.forget, key="methods-again")
        return
    if asked.answer is None:
        waiting(asked, "Looking up the methods …")
        return
    methods: Mapping[str, Any] = asked.answer[0]["methods"]
    question = _controls(looked, methods)
    if question is None:
        return
    method = methods[question["method"]]
    passes = method["passes"] * question["draws"] * len(question["levels"])
    long = "" if pace is None else f", about {duration(max(1, passes * pace * BACKWARD))}"
    st.caption(f"{passes:,.0f} passes of this image{long}. Maps come one noise level at a time.")
    data = looked.probes.data(looked.image)
    name = f"{looked.study.key}:{fingerprint(data)}"
    with st.container(horizontal=True):
        if st.button("Explain", type="primary", icon=":material/troubleshoot:"):
            st.session_state["explaining"] = {"of": name, "question": question}
        if st.button("Should you believe it?", icon=":material/fact_check:", help="Checks of this method at the chosen level."):
            st.session_state["examining"] = {"of": name, "question": _single(question, looked)}
    for what, draw in (("explaining", _maps), ("examining", _checks)):
        wanted = st.session_state.get(what)
        if wanted and wanted["of"] == name:
            draw(looked, wanted["question"], methods, device, data)


def _controls(looked: Looked, methods: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is asked for, as a question to the worker; None where that cannot be yet."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        method = st.selectbox("Method", list(methods), format_func=lambda name: methods[name]["label"], key="method", width=250)
        kind = st.selectbox("of", list(TARGETS), format_func=TARGETS.__getitem__, key="target", width=240)
        target: dict[str, Any] = {"kind": kind}
        if kind in ("class", "difference"):
            best = chosen_class(looked)
            index = st.selectbox("Class", looked.classes, best, key=f"target-class-{best}", width=140)
            target["index"] = looked.classes.index(index)
        if kind == "difference":
            second = int(np.argsort(-looked.told()[looked.level], kind="stable")[1])
            minus = st.selectbox("rather than", looked.classes, second, key=f"target-minus-{second}", width=140)
            target["minus"] = looked.classes.index(minus)
        if kind == "channel":
            channels = next(block.channels for block in looked.study.card.every if block.name == looked.block)
            target["index"] = int(st.number_input("Channel", 0, channels - 1, 0, key="target-channel", width=140))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        around = st.segmented_control("At", list(AROUND), required=True, default="five", format_func=AROUND.__getitem__, key="around")
        least = LEAST if method in WITH_BASELINE else 2
        draws = int(st.number_input("Draws of noise", least, 32, max(least, 8), key=f"map-draws-{least}", width=140))
        settings: dict[str, Any] = {}
        if method in WITH_BASELINE:
            settings["baseline"] = st.segmented_control("Nothing is", list(BASELINES), required=True, default="grey", format_func=BASELINES.__getitem__, key="baseline")  # fmt: skip
    if kind == "difference" and target["index"] == target["minus"]:
        st.warning("Choose two different classes.")
        return None
    levels = five(looked.level, len(looked.levels)) if around == "five" else list(range(len(looked.levels)))
    asks = {"method": method, "block": looked.block, "levels": levels, "draws": draws, "target": target, "settings": settings}
    return looked.probes.question("explain", **asks)


def five(level: int, count: int) -> list[int]:
    """Five levels around one, every second where there are many."""
    step = 2 if count > 9 else 1
    first = min(max(0, level - 2 * step), max(0, count - 1 - 4 * step))
    return list(range(first, count, step))[:5]


def _single(question: Mapping[str, Any], looked: Looked) -> dict[str, Any]:
    kept = {name: question[name] for name in ("method", "block", "target", "settings")}
    return looked.probes.question("examine", level=looked.level, **kept)


def _maps(looked: Looked, question: dict[str, Any], methods: Mapping[str, Any], device: str, data: bytes) -> None:
    asked = asking.look(question, device, data, patience=0.4)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        return
    found = asked.answer or asked.so_far
    if asked.answer is None:
        following(asked, "explaining", "Maps are being made …", _levels_in)
    if found is None:
        return
    arrays = load(found[1])
    drawn = found[0].get("drawn", {"draws": question["draws"], "level": -1})
    whole = [level for level in question["levels"] if level != drawn["level"] or drawn["draws"] == question["draws"]]
    levels = [level for level in whole if f"mean/{level}" in arrays]
    if not levels:
        return
    method = methods[question["method"]]
    means = [arrays[f"mean/{level}"] for level in levels]
    limit = panels.limit_of(means)
    paint = panels.signed if method["signed"] else panels.sequential
    maps = [panels.faded(paint(mean, limit), arrays[f"sure/{level}"]) for mean, level in zip(means, levels, strict=True)]
    where = "pixels" if method["kind"] == "pixels" else f"places in {question['block']}"
    rows = {
        "clean": np.stack([looked.view["clean"]] * len(levels)),
        "shown": looked.view["seen"][levels],
        "denoised": looked.view["made"][levels],
        where: np.stack(maps),
    }
    if spreads := [arrays[f"spread/{level}"] for level in levels if f"spread/{level}" in arrays]:
        rows["spread"] = panels.sequential(np.stack(spreads), limit)
    bar = panels.Bar("", ("against", "for")) if method["signed"] else panels.Bar("", ("0", "most"), signed=False)
    shown = [looked.levels[level] for level in levels]
    chosen = levels.index(looked.level) if looked.level in levels else -1
    figure = panels.grid_figure(rows, shown, looked.axis, (None, chosen), bar, side=110)  # type: ignore[arg-type]
    says = f"{method['label']} of {_target(question, looked)}, block {question['block']}{_baseline(question)}, mean over {question['draws']} draws of noise."
    sure = np.mean([arrays[f"sure/{level}"].mean() for level in levels])
    gaps = found[0].get("gaps") or {}
    told = f" Completeness gap {max(gaps.values()):.2g} at most." if gaps else ""
    place = "" if method["kind"] == "pixels" else " A place in a block is not a pixel of the image."
    grey = f"Spread: standard deviation between draws, from dark at 0 to bright. Grey: not more than its spread between draws ({100 * (1 - sure):.0f} % of it)."
    leaflet.sheet("Maps", rows)
    alt = f"{says} {len(levels)} noise levels side by side."
    leaflet.chart(figure, "maps", alt, f"{says} One colour scale for all levels. {grey}{told}{place}", wide=True)


def _target(question: Mapping[str, Any], looked: Looked) -> str:
    target = question["target"]
    if target["kind"] == "class":
        return f"“{looked.classes[target['index']]}”"
    if target["kind"] == "difference":
        return f"“{looked.classes[target['index']]}” rather than “{looked.classes[target['minus']]}”"
    return f"channel {target['index']}" if target["kind"] == "channel" else "the denoising loss"


def _baseline(question: Mapping[str, Any]) -> str:
    """What stands for nothing, where the method has such a thing."""
    kind = question["settings"].get("baseline")
    return f", baseline {BASELINES[kind]}" if kind else ""


def _levels_in(told: Mapping[str, Any]) -> int:
    return int(told.get("drawn", {}).get("level", -1))


def _checks(looked: Looked, question: dict[str, Any], methods: Mapping[str, Any], device: str, data: bytes) -> None:
    asked = asking.look(question, device, data, patience=0.4)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        return
    if asked.answer is None:
        following(asked, "examining", "The map is being checked …", _levels_in)
        return
    told = asked.answer[0]["trust"]
    label, sigma = methods[question["method"]]["label"], looked.levels[question["level"]]["sigma"]
    with st.container(border=True, key="checks"):
        asks = f"Should you believe {label} of {_target(question, looked)}, block {question['block']}{_baseline(question)}, at σ = {sigma:.2g}?"
        st.markdown(f"**{asks}**")
        st.caption("One draw of noise is checked, the first of those that the maps above are the mean of.")
        if kept := told["hardly_changes"]:
            st.warning(
                f"This map hardly changes when the {' or the '.join(kept)} is replaced by a random one: it says little of what that does.",
                icon=":material/warning:",
            )
        numbers = st.container(horizontal=True, gap="medium")
        for name, value, help_ in _numbers(told):
            numbers.metric(name, value, help=help_)
        curves = told["curves"]
        says = (
            f"Pixels taken out in the map's order: the answer's mean is {curves['deletion_area']:.2f}; put in: {curves['insertion_area']:.2f}; "
            f"taken out in random orders: {curves['random_area']:.2f} ± {curves['random_area_spread']:.2f}."
        )
        leaflet.note("heading", asks)
        leaflet.note("table", [(name, value) for name, value, _ in _numbers(told)])
        means = "A map that finds what matters falls below the random orders when it takes out, and stands above them when it puts in."
        leaflet.chart(panels.deletion_figure(curves), "deletion", says, f"{says} {means}")


def _numbers(told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, what it is) of each check that says something here."""
    found = []
    if told["gap"] is not None:
        share = abs(told["gap"]) / max(abs(told["change"]), 1e-9)
        found.append(("Completeness gap", f"{100 * share:.1f} %", f"What the map's sum misses of the answer's change from baseline to image ({told['change']:+.2f}). 0 is complete."))  # fmt: skip
    found.append(("Infidelity", f"{told['infidelity']:.2f}", "Share of the answer's changes, when squares are covered, that the map does not explain at its best scale, of either sign: 0 to 1, less is better."))  # fmt: skip
    found.append(("Sensitivity", f"{told['sensitivity']:.2f}", "How much of the map changes at most when the image changes by a hundredth of its range: less is better."))  # fmt: skip
    for name, key in (("Like a random probe's", "random_head"), ("Like a random network's", "random_network")):
        if told[key] is not None:
            found.append((name, f"{told[key]:.2f}", "Rank correlation with the map of a random one: near 1 the map does not depend on it."))
    return found
