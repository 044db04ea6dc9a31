"""Ask for a new run: what to measure, what it will cost, and the button."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from pydantic import ValidationError

from analysis import catalog, registry
from analysis.errors import InvalidData, InvalidRequest, NoisescopeError, UnknownName
from analysis.specs import SweepRequest, variants
from app.components import asking, fetching, told
from app.components.bench import Bench, short
from app.components.runs import runs, submit_all, trying
from app.components.words import duration, size

LABELS = ["1", "5", "10", "50", "100", "1000", "all"]
POOLINGS = ["1", "2", "4", "max", "gem"]
HEADS = sorted(registry.names("heads"), key=lambda name: (name != "logistic", name))
ENCODERS = registry.names("encoders")
TRAINED = (
    "mlp, cnn and attention are networks trained by gradient descent on the block's map, for a pooling of 2 or more. "
    "They take long: look at the time before you run."
)
ADVICE = {"memory": "Ask for fewer images, labels or poolings.", "disk": "Ask for fewer images, levels or poolings."}
NOISES = ["0", "20", "40", "60", "80"]
EACH = (
    "Of several every combination is a run; their features are made once. What does not go together, such as numbers and a head for classes, "
    "is left out. Compare with and the buttons under it put them side by side."
)
MEMBERS = 5  # levels of an ensemble
SIDES = [0, 2, 4, 8]  # of the maps that are fused
MOST = 24  # runs at once whose costs are asked for
POLL = 0.7  # seconds between two looks whether the cost is known


def panel(bench: Bench) -> list[SweepRequest]:
    """Draw the panel; the requests as they stand, one a combination of what is chosen, or none."""
    with st.container(border=True, key="measure"):
        requests = _form(bench)
        if len(requests) > MOST:
            st.warning(f"These choices make {len(requests)} runs; allowed at once: {MOST}. Leave some out, or use the command line.")
        elif requests:
            _cost(requests, bench.device)
    return requests


def _form(bench: Bench) -> list[SweepRequest]:
    st.markdown(f"**Measure** {short(bench.backend)} on {short(bench.dataset)}")
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
    inputs = third.multiselect("Input", ["noisy", "clean"], default=["noisy"], key="ask-input")
    names = [block.name for block in bench.card.blocks] if bench.card else []
    chosen = st.multiselect("Blocks", names, placeholder="all", key="ask-blocks")
    with st.popover("More", icon=":material/tune:"):
        inner = st.multiselect(
            "Inside blocks",
            [block.name for block in bench.card.inside] if bench.card else [],
            placeholder="none",
            key="ask-inside",
            help="Queries, keys, values and outputs of attention, and residual branches. They are read beside the blocks that are chosen above; "
            "where none is, they alone.",
        )
        fields["blocks"] = (*chosen, *inner) or None
        fields["poolings"] = tuple(
            st.multiselect(
                "Pooling: side of the average grid, max or gem", POOLINGS, default=["1"], key="ask-poolings", accept_new_options=True
            )
        )
        sets = st.multiselect(
            "Label sets", _label_sets(bench), key="ask-labelset", placeholder="the data's first", accept_new_options=True, help=EACH
        )
        fields["eps_draws"] = st.number_input("Draws of the noise ε", 1, 50, 3, key="ask-eps")
        fields["label_draws"] = st.number_input(
            "Draws of labelled images", 1, 200, None, key="ask-draws", placeholder="by labels per class"
        )
        fields["n_train"] = st.number_input("Training images", 1, None, None, key="ask-train", placeholder="all")
        fields["n_test"] = st.number_input("Test images", 2, None, None, key="ask-test", placeholder="all")
        heads = st.multiselect("Heads", HEADS, default=["logistic"], key="ask-head", help=f"{EACH} {TRAINED}")
        noises = st.multiselect("Wrong labels, %", NOISES, default=["0"], key="ask-noise", accept_new_options=True, help=EACH)
        fields["imbalance"] = st.number_input("Most over fewest labels a class", 1.0, 1000.0, 1.0, key="ask-imbalance")
        fields["average_draws"] = st.number_input(
            "Features averaged over draws of ε", 1, 50, 1, key="ask-average", help="Each is a pass more for every image and level."
        )
        fields["pca"] = st.number_input(
            "Principal components", 1, None, None, key="ask-pca", placeholder="all numbers", help="Of the labelled images' features."
        )
        fields["ensemble"] = _ensemble(fields, inputs)
        fields["fuse"] = _fuse(bool(fields["ensemble"]))
        fields["condition"] = told.condition(bench)
        fields["precision"] = told.precision(bench.device)
        fields["seed"] = st.number_input("Seed", 0, None, 0, key="ask-seed")
        fields["baselines"] = st.toggle("Baselines: pixels, random weights", True, key="ask-baselines")
        fields["encoders"] = _encoders(
            st.text_input(
                "Baseline encoders",
                "",
                key="ask-encoders",
                placeholder="such as facebook/dinov2-small",
                help="Vision models of the transformers library: folders or hub ids, with commas between. What is not on this machine can "
                "be looked up and fetched.",
            )
        )
    places = [encoder.partition(":")[2] for encoder in fields["encoders"]]
    if missing := [lacking for place in places if (lacking := catalog.lacks(place, "encoder"))]:
        fetching.panel(missing[0])
        return []
    if not fields["poolings"]:
        st.warning("No pooling is chosen: give at least one, such as 1.")
        return []
    fields["labels_per_class"] = tuple("all" if value == "all" else value for value in labels)
    if not (heads and noises and inputs):
        st.warning("Choose at least one input, one head and one share of wrong labels, such as noisy, logistic and 0.")
        return []
    try:
        several = {"label_set": sets or [None], "input": inputs, "label_noise": [_share(value) for value in noises], "head": heads}
        request = SweepRequest.model_validate({"backend": bench.backend, "dataset": bench.dataset, **fields})
        return [SweepRequest.model_validate(one.model_dump(warnings=False)) for one in variants(request, **several)]
    except ValidationError as error:
        st.warning(sentence(error))
        return []


def _label_sets(bench: Bench) -> list[str]:
    """Those that finished runs of this data have read."""
    known = [run.study.facts["receipt"]["label_set"] for run in runs() if run.study and run.place[1] == bench.dataset]
    return sorted(set(known))


def _share(percent: str) -> float | str:
    """A share from a number of per cent; what is no number is refused as it stands."""
    try:
        return float(percent.rstrip(" %").replace(",", ".")) / 100
    except ValueError:
        return percent


def _encoding(cost: Mapping[str, Any]) -> str:
    passes = cost.get("encoder_passes", 0)
    return f", {passes:,} passes of an image through encoders ({duration(cost['encoder_seconds'])} on one core)" if passes else ""


def _encoders(text: str) -> tuple[str, ...]:
    """The encoders that a line names, as a request has them."""
    given = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(part if part.partition(":")[0] in ENCODERS else f"transformers:{part}" for part in given)


def _ensemble(fields: Mapping[str, Any], inputs: Sequence[str]) -> int:
    """How many neighbouring levels are averaged: 0 for none."""
    count, noisy = min(MEMBERS, int(fields["levels"])), "noisy" in inputs
    wanted = st.toggle(
        "Ensemble of neighbouring levels",
        key="ask-ensemble",
        disabled=not noisy,
        help=f"Averages the probes of the best level and its neighbours, {count} in all, each with its own ε, beside {count} draws at one "
        f"level, which take as many passes. It needs {count} draws of ε at {count} levels: up to {count**2} more passes of an image.",
    )
    return count if wanted and noisy else 0  # clean input has no ε to draw again


def _fuse(ensemble: bool) -> int:
    """The side of the maps that are fused: 0 for none."""
    wanted = st.selectbox(
        "Learned fusion of the ensemble's maps",
        SIDES,
        format_func=lambda side: f"{side} × {side}" if side else "none",
        key="ask-fuse",
        disabled=not ensemble,
        help="A network for every draw is trained to read the maps of up to three blocks at all of the ensemble's levels, and another to "
        "read as many draws at the best one. They take long: look at the time before you run.",
    )
    return wanted if ensemble and wanted else 0


def _fusing(cost: Mapping[str, Any]) -> str:
    count = cost.get("fusions", 0)
    return f", {count:,} networks that fuse maps ({duration(cost['fusion_seconds'])} on one core)" if count else ""


def sentence(error: ValidationError) -> str:
    """What is wrong with a request, as a person reads it."""
    wrong = error.errors()[0]
    name = str(wrong["loc"][0])
    if name == "labels_per_class":
        return "Labels per class are whole numbers from 1, or 'all': give at least one."
    return f"{name.replace('_', ' ').capitalize()} is {wrong['input']!r}: {str(wrong['msg']).lower()}."


def _cost(requests: list[SweepRequest], device: str) -> None:
    try:
        known = (combined := _combined(requests, device)) is not None and _sum(combined[0], device) is not None
    except NoisescopeError:
        known = True
    st.fragment(_line, run_every=None if known else POLL)(requests, device, known)


def _combined(requests: list[SweepRequest], device: str) -> tuple[list[SweepRequest], str] | None:
    """Those that can be carried out, each another run, and what is said of the others; None while that is not known."""
    if len(requests) == 1:
        return requests, ""
    answer = asking.answer({"ask": "combine", "requests": [request.canonical() for request in requests]}, device)
    return answer and ([SweepRequest.model_validate_json(request) for request in answer[0]["requests"]], answer[0]["said"])


def _sum(requests: list[SweepRequest], device: str) -> Mapping[str, Any] | None:
    """The cost of all, or None while one of them is not known. Raises what is wrong with one."""
    answers = [asking.answer({"ask": "cost", "request": request.canonical()}, device) for request in requests]
    costs = [found[0] for found in answers if found]
    if len(costs) < len(answers):
        return None
    added = {name: sum(cost[name] for cost in costs) for name in ("seconds", "disk", "passes", "fits")}
    parts = ("encoder_passes", "encoder_seconds", "fusions", "fusion_seconds")
    added |= {name: sum(cost.get(name, 0) for cost in costs) for name in parts}
    return {**costs[0], **added, "memory": max(cost["memory"] for cost in costs), "share": min(cost["share"] for cost in costs)}


def _line(requests: list[SweepRequest], device: str, known: bool) -> None:
    """What it will cost, and the button."""
    cost: Mapping[str, Any] | None = None
    wrong: NoisescopeError | None = None
    combined: tuple[list[SweepRequest], str] | None = None
    try:
        if combined := _combined(requests, device):
            requests = combined[0]
            cost = _sum(requests, device)
    except NoisescopeError as error:
        wrong = error
    if (cost or wrong) and not known:
        st.rerun()  # the whole page once more: then nothing polls
    if wrong:
        st.error(str(wrong), icon=":material/block:")
        st.button("Ask again", on_click=asking.forget)
        if isinstance(wrong, (InvalidRequest, InvalidData, UnknownName)):  # else only the cost is not known
            return
    elif cost:
        with st.container(horizontal=True, gap="medium"):
            st.metric(
                "Time",
                "none"
                if not cost["passes"] + cost["fits"] + cost.get("encoder_passes", 0) + cost.get("fusions", 0)
                else duration(cost["seconds"]),
                help=f"From one timed batch and one timed probe on {device}.",
            )
            st.metric("Memory", size(cost["memory"]), help=f"{size(cost['free_memory'])} are free.")
            st.metric("Disk", size(cost["disk"]), help=f"{size(cost['free_disk'])} are free.")
            st.metric(
                "There already",
                f"{100 * cost['share']:.0f} %",
                help=f"Left: {cost['passes']:,} passes of an image, {cost['fits']:,} probes{_encoding(cost)}{_fusing(cost)}.",
            )
        for what, needed, free in (("memory", cost["memory"], cost["free_memory"]), ("disk", cost["disk"], cost["free_disk"])):
            if needed > free:
                st.warning(f"This needs {size(needed)} of {what}; {size(free)} are free. {ADVICE[what]}")
    else:
        st.caption("Finding out what it will cost …")
    if combined and combined[1]:
        st.caption(combined[1])
    if len(requests) > 1:
        st.caption(f"{len(requests)} runs, one after the other; the cost is at most so much, because what they share is computed once.")
    if st.button(
        "Run",
        type="primary",
        icon=":material/play_arrow:",
        key="run-it",
        disabled=not (combined or wrong),  # which of several can be carried out is not known yet
        on_click=trying,
        args=(submit_all, requests, device),
    ):
        st.rerun()
