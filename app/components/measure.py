"""Ask for a new run: what to measure, what it will cost, and the button."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from pydantic import ValidationError

from analysis import registry
from analysis.errors import InvalidRequest, NoisescopeError
from analysis.specs import SweepRequest
from app.components import asking
from app.components.bench import Bench
from app.components.runs import submit, trying
from app.components.words import duration, size

LABELS = ["1", "5", "10", "50", "100", "1000", "all"]
POOLINGS = ["1", "2", "4", "max", "gem"]
HEADS = sorted(registry.names("heads"), key=lambda name: (name != "logistic", name))
TRAINED = (
    "mlp, cnn and attention are networks trained by gradient descent on the block's map, for a pooling of 2 or more. "
    "They take long: look at the time before you run."
)
ADVICE = {"memory": "Ask for fewer images, labels or poolings.", "disk": "Ask for fewer images, levels or poolings."}
POLL = 0.7  # seconds between two looks whether the cost is known


def panel(bench: Bench) -> SweepRequest | None:
    """Draw the panel; the request as it stands, or None where it is none."""
    with st.container(border=True, key="measure"):
        request = _form(bench)
        if request is not None:
            _cost(request, bench.device)
    return request


def _form(bench: Bench) -> SweepRequest | None:
    st.markdown(f"**Measure** {bench.backend} on {bench.dataset}")
    fields: dict[str, Any] = {}
    first, second, third = st.columns(3)
    labels = first.multiselect(
        "Labels per class",
        LABELS,
        default=["10"],
        key="ask-labels",
        accept_new_options=True,
        help="How many labelled images of each class.",
    )
    fields["levels"] = second.number_input("Noise levels", 3, 64, 16, key="ask-levels", help="Even in log σ over the model's own levels.")
    fields["input"] = third.segmented_control("Input", ["noisy", "clean"], default="noisy", required=True, key="ask-input")
    names = [block.name for block in bench.card.blocks] if bench.card else []
    chosen = st.multiselect("Blocks", names, placeholder="all", key="ask-blocks")
    fields["blocks"] = tuple(chosen) or None
    with st.popover("More", icon=":material/tune:"):
        fields["poolings"] = tuple(
            st.multiselect(
                "Pooling: side of the average grid, max or gem", POOLINGS, default=["1"], key="ask-poolings", accept_new_options=True
            )
        )
        fields["label_set"] = st.text_input("Label set", "", key="ask-labelset", placeholder="the data's first") or None
        fields["eps_draws"] = st.number_input("Draws of the noise ε", 1, 50, 3, key="ask-eps")
        fields["label_draws"] = st.number_input(
            "Draws of labelled images", 1, 200, None, key="ask-draws", placeholder="by labels per class"
        )
        fields["n_train"] = st.number_input("Training images", 1, None, None, key="ask-train", placeholder="all")
        fields["n_test"] = st.number_input("Test images", 2, None, None, key="ask-test", placeholder="all")
        fields["head"] = st.selectbox("Head", HEADS, key="ask-head", help=TRAINED)
        fields["label_noise"] = st.number_input("Share of wrong labels", 0.0, 0.95, 0.0, 0.1, key="ask-noise")
        fields["imbalance"] = st.number_input("Most over fewest labels a class", 1.0, 1000.0, 1.0, key="ask-imbalance")
        fields["seed"] = st.number_input("Seed", 0, None, 0, key="ask-seed")
        fields["baselines"] = st.toggle("Baselines: pixels, random weights", True, key="ask-baselines")
    if not fields["poolings"]:
        st.warning("No pooling is chosen: give at least one, such as 1.")
        return None
    fields["labels_per_class"] = tuple("all" if value == "all" else value for value in labels)
    try:
        return SweepRequest.model_validate({"backend": bench.backend, "dataset": bench.dataset, **fields})
    except ValidationError as error:
        st.warning(sentence(error))
        return None


def sentence(error: ValidationError) -> str:
    """What is wrong with a request, as a person reads it."""
    wrong = error.errors()[0]
    name = str(wrong["loc"][0])
    if name == "labels_per_class":
        return "Labels per class are whole numbers from 1, or 'all': give at least one."
    return f"{name.replace('_', ' ').capitalize()} is {wrong['input']!r}: {str(wrong['msg']).lower()}."


def _cost(request: SweepRequest, device: str) -> None:
    known = _told(request, device)
    st.fragment(_line, run_every=None if known else POLL)(request, device, known)


def _told(request: SweepRequest, device: str) -> bool:
    """Whether the cost, or what is wrong with the request, is known."""
    try:
        return asking.answer({"ask": "cost", "request": request.canonical()}, device) is not None
    except NoisescopeError:
        return True


def _line(request: SweepRequest, device: str, known: bool) -> None:
    """What it will cost, and the button."""
    cost: Mapping[str, Any] | None = None
    wrong: NoisescopeError | None = None
    try:
        if found := asking.answer({"ask": "cost", "request": request.canonical()}, device):
            cost = found[0]
    except NoisescopeError as error:
        wrong = error
    if (cost or wrong) and not known:
        st.rerun()  # the whole page once more: then nothing polls
    if wrong:
        st.error(str(wrong), icon=":material/block:")
        st.button("Ask again", on_click=asking.forget)
        if isinstance(wrong, InvalidRequest):  # else only the cost is not known
            return
    elif cost:
        with st.container(horizontal=True, gap="medium"):
            st.metric(
                "Time",
                "none" if not cost["passes"] + cost["fits"] else duration(cost["seconds"]),
                help=f"From one timed batch and one timed probe on {device}.",
            )
            st.metric("Memory", size(cost["memory"]), help=f"{size(cost['free_memory'])} are free.")
            st.metric("Disk", size(cost["disk"]), help=f"{size(cost['free_disk'])} are free.")
            st.metric(
                "There already",
                f"{100 * cost['share']:.0f} %",
                help=f"Left: {cost['passes']:,} passes of an image, {cost['fits']:,} probes.",
            )
        for what, needed, free in (("memory", cost["memory"], cost["free_memory"]), ("disk", cost["disk"], cost["free_disk"])):
            if needed > free:
                st.warning(f"This needs {size(needed)} of {what}; {size(free)} are free. {ADVICE[what]}")
    else:
        st.caption("Finding out what it will cost …")
    if st.button("Run", type="primary", icon=":material/play_arrow:", key="run-it", on_click=trying, args=(submit, request, device)):
        st.rerun()
