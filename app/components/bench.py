"""The lab bench: model, data, block, noise level, axis and device, the same on every page, drawn from Cards alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import streamlit as st

from analysis import catalog, workers
from analysis.errors import NoisescopeError
from analysis.specs import Block, Card
from analysis.store import default_root
from app.components import link

AXES = {"timestep": "timestep", "sigma": "σ", "log_snr": "log-SNR"}
STAGES = {"down": "Blocks on the way down", "mid": "Blocks in the middle", "up": "Blocks on the way up", "layer": "Blocks, first to last"}


@dataclass(frozen=True)
class Bench:
    """What is on the bench."""

    backend: str
    dataset: str
    block: str | None  # None: the one that validation images chose
    device: str
    card: Card | None  # None: `backend` is not there (any more)


def axis() -> str:
    """How noise levels are said, on every page; from the link at first."""
    link.start("axis", list(AXES))
    return str(st.session_state["axis"])


def axis_switch() -> None:
    """The switch of the axis."""
    st.segmented_control("Axis", list(AXES), required=True, format_func=AXES.__getitem__, key="axis", persist_state="session")


def models() -> list[str]:
    """Bundled models, then those that `train` wrote into the store."""
    own = sorted(str(path.parent) for path in (default_root() / "models").glob("*/card.json"))
    return [*catalog.models(), *own]


def short(name: str) -> str:
    """A model or data set as a list shows it: the last part of a path."""
    return name.rstrip("/").rpartition("/")[2]


def choose(backends: list[str], datasets: list[str]) -> Bench:
    """Draw the bench into the sidebar; `backends` and `datasets` are offered, the first of each at first."""
    with st.sidebar:
        for name, values in (("backend", backends), ("dataset", datasets)):
            if st.session_state.get(name) is None:
                st.session_state[name] = values[0]
            offered = values if st.session_state[name] in values else [*values, st.session_state[name]]
            label, help_ = {
                "backend": ("Model", "A bundled model, a model's folder or .pt file, or the id of one fetched from the hub: type it."),
                "dataset": ("Data", "A data set's name, a folder, a Parquet file or a hub id: type it."),
            }[name]
            st.selectbox(label, offered, key=name, accept_new_options=True, format_func=short, help=help_, persist_state="session")
        backend, dataset = str(st.session_state["backend"]), str(st.session_state["dataset"])
        card = None
        try:
            card = catalog.card(backend)
        except NoisescopeError as error:
            st.error(str(error), icon=":material/broken_image:")
        for note in card.notes if card else ():
            st.caption(note)
        block = _strip(card) if card else None
        device = _device()
    return Bench(backend, dataset, block, device, card)


def _strip(card: Card) -> str | None:
    """The network from first to last block, stage by stage; one may be chosen."""
    names = [block.name for block in card.blocks]
    if st.session_state.get("block") not in [None, *names]:
        st.session_state["block"] = None
    chosen = st.session_state.setdefault("block", None)
    stages = dict.fromkeys(block.stage for block in card.blocks)
    for stage in stages:
        members = {block.name: block for block in card.blocks if block.stage == stage}
        st.session_state[f"block-{stage}"] = chosen if chosen in members else None
        st.pills(
            STAGES[stage],
            list(members),
            key=f"block-{stage}",
            format_func=lambda name, members=members: f"{name} :gray[:small[{_size(members[name], card)}]]",
            on_change=_choose,
            args=(stage,),
        )
    block = next((block for block in card.blocks if block.name == chosen), None)
    st.caption(
        f"{chosen}: block {block.depth + 1} of {len(names)}, a map of {_size(block, card)} channels{f', in papers {block.literature}' if block.literature else ''}."
        if block
        else f"None of {len(names)} chosen: figures show the block that validation images chose."
    )
    return chosen


def _choose(stage: str) -> None:
    st.session_state["block"] = st.session_state[f"block-{stage}"]


def _size(block: Block, card: Card) -> str:
    side = card.resolution // block.stride
    return f"{side}×{side}×{block.channels}"


def level(card: Card, run: str, peak: float) -> float:
    """Draw the slider over the model's own noise levels into the sidebar; σ. It starts at a run's peak."""
    if st.session_state.get("level_of") != run:
        st.session_state["level_of"] = run
        st.session_state["level"] = min(range(len(card.sigmas)), key=lambda i: abs(card.sigmas[i] / peak - 1))
    with st.sidebar:
        place = st.slider(
            "Noise level",
            0,
            len(card.sigmas) - 1,
            key="level",
            help="The model's own levels, from its cleanest. Curves open there.",
            persist_state="session",
        )
        sigma = card.sigmas[place]
        st.caption(f"t = {card.timesteps[place]:g}, σ = {sigma:.3g}, log-SNR = {-2 * math.log(sigma):.2f}")
    return sigma


def _device() -> str:
    """What to compute on: the devices that a worker found here, else the CPU."""
    there = workers.known_devices(default_root())
    if st.session_state.get("device") not in there:
        st.session_state["device"] = there[0]
    if len(there) > 1:
        st.selectbox("Device", there, key="device", persist_state="session")
    return str(st.session_state["device"])
