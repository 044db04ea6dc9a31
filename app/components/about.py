"""What is on the bench, card by card: the model's facts, whether it fits, how long a sweep takes; the data's columns."""

from __future__ import annotations

import os
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode

import streamlit as st

from analysis import catalog, fairness
from analysis.errors import NoisescopeError
from analysis.specs import Card, DataCard, SweepRequest
from app.components import asking, dialogs
from app.components.words import duration, plain, size

NEWER = "newer"  # what the hub is to be asked for a newer commit of: its kind and its name on the bench
POLL = 0.7  # seconds between two looks whether the worker has answered
NOISE = {
    "vp": "noise is added and the image fades (variance preserving)",
    "edm": "noise is added, the image stays (EDM)",
    "flow": "image and noise are mixed (flow)",
}


def line(card: Card) -> str:
    """A model in one line."""
    return f"{card.resolution}×{card.resolution} px, {card.parameters / 1e6:.3g} M parameters, {len(card.blocks)} blocks, {plain(card.license or 'no licence said')}."


def rows(card: Card, name: str) -> dict[str, str]:
    """What a card says of a model, in words."""
    first, last = card.blocks[0], card.blocks[-1]
    told = card.unconditional
    conditions = ", ".join(card.said_conditions)
    if told == "mean":
        told = "the mean of the class embeddings, which was not trained"
    return {
        "licence": card.license or "not said",
        "from": f"{card.repo_id}, {card.revision}" if card.repo_id else "it ships" if name in catalog.models() else name,
        "identity": card.identity,
        **({"paper": card.paper} if card.paper else {}),
        "images": f"{card.resolution}×{card.resolution} pixels, {'colour' if card.image_channels == 3 else f'{card.image_channels} channel'}",
        **_latents(card),
        "noise levels": f"{len(card.sigmas):,}, σ = {card.sigmas[0]:.2g} to {card.sigmas[-1]:.4g}: {NOISE[card.noise]}",
        "blocks": f"{len(card.blocks)}, {first.name} ({_size(card, 0)}) to {last.name} ({_size(card, -1)})",
        "size": f"{card.parameters:,} parameters, {size(card.parameter_bytes)} of weights in float32",
        "trained on": fairness.training_set(card.training),
        "is told": conditions if card.conditions == ("none",) else f"{conditions}; features are read with {told}",
        **(
            {"inside the blocks": f"{len(card.inside)} more places: queries, keys, values, outputs, residual branches"}
            if card.inside
            else {}
        ),
    }


def _latents(card: Card) -> dict[str, str]:
    """Of a model of latents, these; and what other sides it reads."""
    if card.latent is None:
        return {}
    channels, side, _ = card.x0_shape
    said = {
        "latents": f"{side}×{side}×{channels} numbers, which a second network (its VAE) makes of an image: noise is added to these, and σ is in their units"
    }
    if card.sides:
        half = max(1, card.resolution // 2 // card.sides[0]) * card.sides[0]
        said["other sides"] = f"multiples of {card.sides[0]} up to {card.sides[1]} pixels: write ?side={half} behind the name"
    return said


def _size(card: Card, place: int) -> str:
    block = card.blocks[place]
    side = max(1, card.resolution // block.stride)
    return f"{side}×{side}×{block.channels}"


@st.dialog("About this model", width="medium", on_dismiss=dialogs.close)
def model(card: Card, name: str, dataset: str, device: str) -> None:
    """The card, whether the device has room, and what a sweep of the usual settings would take."""
    st.subheader(card.name, anchor=False)
    table(rows(card, name))
    for note in card.notes:
        st.caption(plain(note))
    _newer("model", name)
    st.fragment(_fits, run_every=None if _answered({"ask": "room"}, device) else POLL)(card, device)
    request = SweepRequest(backend=name, dataset=dataset)
    st.fragment(_time, run_every=None if _answered(_cost(request), device) else POLL)(request, device)


def _newer(kind: str, name: str) -> None:
    if not catalog.HUB_ID.fullmatch(name.partition("?")[0]) or os.path.exists(name):
        return
    if st.button("Look for a newer one on the hub", key=f"newer-{kind}", icon=":material/travel_explore:", type="tertiary"):
        st.session_state[NEWER] = (kind, name)
        dialogs.close()
        st.rerun()


def table(told: dict[str, str]) -> None:
    """Names and what is said of each."""
    st.html(
        "<table class='facts'><tbody>"
        + "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in told.items())
        + "</tbody></table>"
    )


def _answered(question: dict[str, Any], device: str) -> bool:
    """Whether there is an answer, or what is wrong: then nothing has to be looked at again."""
    try:
        return asking.answer(question, device) is not None
    except NoisescopeError:
        return True


def _cost(request: SweepRequest) -> dict[str, Any]:
    return {"ask": "cost", "request": request.canonical()}


def _fits(card: Card, device: str) -> None:
    try:
        told = asking.answer({"ask": "room"}, device)
    except NoisescopeError as error:
        st.error(str(error), icon=":material/block:")
        return
    if told is None:
        st.caption(f"Looking how much room {device} has …")
        return
    free, needed = told[0]["free"], card.parameter_bytes + card.map_bytes
    if free is None:
        st.caption(f"It needs {size(needed)} for one image; how much {device} has cannot be told.")
    elif needed > free:
        st.error(f"It does not fit: it needs {size(needed)} for one image, and {device} has {size(free)} free.", icon=":material/memory:")
    else:
        st.success(f"It fits: it needs {size(needed)} for one image, and {device} has {size(free)} free.", icon=":material/memory:")


def _time(request: SweepRequest, device: str) -> None:
    try:
        told = asking.answer(_cost(request), device)
    except NoisescopeError as error:
        st.warning(str(error), icon=":material/block:")
        return
    if told is None:
        st.caption("Timing one batch, to tell how long a sweep takes …")
        return
    cost = told[0]
    time = "is there already" if not cost["passes"] + cost["fits"] else f"takes about {duration(cost['seconds'])} more"
    st.markdown(
        f"A sweep of {request.levels} noise levels, {request.eps_draws} draws of noise and 10 labels a class {time} on {device}: "
        f"{cost['passes']:,} passes of an image and {cost['fits']:,} probes, {size(cost['memory'])} of memory, {size(cost['disk'])} on disk."
    )


@st.dialog("About this data", width="medium", on_dismiss=dialogs.close)
def data(name: str, device: str) -> None:
    """The data's card, and which columns are read: chosen here, they become part of the data set's name."""
    st.subheader(name, anchor=False)
    st.fragment(_columns, run_every=None if _answered(_about_data(name), device) else POLL)(name, device)


def _about_data(name: str) -> dict[str, Any]:
    return {"ask": "data", "dataset": name}


def _columns(name: str, device: str) -> None:
    try:
        told = asking.answer(_about_data(name), device)
    except NoisescopeError as error:
        st.error(str(error), icon=":material/block:")
        return
    if told is None:
        st.caption("Looking at it …")
        return
    card = DataCard.model_validate(told[0])
    table(data_rows(card))
    _newer("dataset", name)
    _choose(name, card)


def data_rows(card: DataCard) -> dict[str, str]:
    """What a data set's card says, in words."""
    labels = [f"{label} ({'numbers' if classes is None else f'{classes} classes'})" for label, classes in card.labels.items()]
    return {
        "licence": card.licence or "not said",
        **({"commit": card.revision} if card.revision else {}),
        "images": ", ".join(f"{rows:,} {split}" for split, rows in card.rows.items())
        + f"; the first is {card.edge} pixels at its short edge",
        "labels": ", ".join(labels) or "none: nothing can be probed",
        **({"column of images": card.images[0]} if card.images else {}),
        **({"size": size(card.bytes)} if card.bytes is not None else {}),
    }


def _choose(name: str, card: DataCard) -> None:
    """Another column of images, or other columns of labels, where there are several."""
    if not card.images or (len(card.images) < 2 and len(card.labels) < 2):
        return
    place, _, query = name.partition("?")
    options = dict(parse_qsl(query))
    image = options.get("image", card.images[0] if card.images else "")
    if len(card.images) > 1:
        image = st.selectbox("Column of images", card.images, index=list(card.images).index(image), key="data-image")
    labels = st.multiselect(
        "Columns of labels, the first is probed unless another is asked for",
        list(card.labels),
        default=list(card.chosen),
        key="data-labels",
    )
    wanted = options | ({"image": image} if image else {}) | {"label": ",".join(labels)}
    chosen = f"{place}?{urlencode(wanted, safe=',')}"
    if st.button("Use these columns", disabled=not labels, type="primary", key="use-columns"):
        st.session_state["brought-now"] = chosen
        dialogs.close()
        st.rerun()
