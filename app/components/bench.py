"""The lab bench: model, data, block, noise level, axis and device, the same on every page, drawn from Cards alone."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from analysis import catalog, dropped, hub, workers
from analysis.datasets import PRESETS, lacks
from analysis.errors import NoisescopeError
from analysis.specs import Block, Card
from analysis.store import default_root
from app.components import about, bring, dialogs, fetching, link
from app.components.about import NEWER
from app.components.words import plain

AXES = {"timestep": "timestep", "sigma": "σ", "log_snr": "log-SNR"}
LINKED = "link"  # whose noise level it is that a link asks for: that of the run which is shown first
AGAIN = 3.0  # seconds between two looks at what was fetched
ADDRESS = re.compile(r"^https?://(www\.)?(huggingface\.co|hf\.co)/(datasets/)?")
STAGES = {"down": "Blocks on the way down", "mid": "Blocks in the middle", "up": "Blocks on the way up", "layer": "Blocks, first to last"}


@dataclass(frozen=True)
class Bench:
    """What is on the bench."""

    backend: str
    dataset: str
    block: str | None  # None: the one that validation images chose
    device: str
    card: Card | None  # None: `backend` is not there (any more)
    lacking: catalog.Lacking | None = None  # what of the data is to be fetched, where they are not here


def axis() -> str:
    """How noise levels are said, on every page; from the link at first."""
    link.start("axis", list(AXES))
    return str(st.session_state["axis"])


def axis_switch() -> None:
    """The switch of the axis."""
    st.segmented_control("Axis", list(AXES), required=True, format_func=AXES.__getitem__, key="axis", persist_state="session")


def models() -> list[str]:
    """Bundled models, those that `train` wrote into the store, and those that were fetched from the hub."""
    own = sorted(str(path.parent) for path in (default_root() / "models").glob("*/card.json"))
    return list(dict.fromkeys([*catalog.models(), *own, *_fetched("model")]))


def data() -> list[str]:
    """Data sets that ship, those that were fetched and this session's, then well-known ones of the hub."""
    return list(dict.fromkeys(["digits", "shapes", *bring.mine(), *_fetched("dataset"), *PRESETS]))


@st.cache_data(ttl=AGAIN, show_spinner=False)
def _fetched(kind: hub.Kind) -> list[str]:
    return [
        record.repo_id if record.revision == "main" else f"{record.repo_id}@{record.commit[:7]}"
        for record in hub.fetched()
        if record.kind == kind
    ]


def tidy(given: str) -> str:
    """What was typed or pasted, as a name: an address of the hub is its id."""
    return ADDRESS.sub("", given.strip()).rstrip("/") or given


def short(name: str) -> str:
    """A model or data set as a list shows it: a hub id as it is, of a path the last part."""
    if catalog.HUB_ID.fullmatch(name) and not os.path.exists(name):
        return name
    if dropped.is_dropped(name, default_root()):
        return Path(name).stem
    return name.rstrip("/").rpartition("/")[2]


def choose(backends: list[str], datasets: list[str]) -> Bench:
    """Draw the bench into the sidebar; `backends` and `datasets` are offered, the first of each at first.

    A model that is not here can be looked up on the hub and fetched: that stands on the page itself; of data, where they are measured.
    """
    bring.put()
    for name in ("backend", "dataset"):
        if given := st.session_state.get(name):
            st.session_state[name] = tidy(given)
    card, wrong = None, None
    with st.sidebar:
        _select(
            "backend", "Model", backends, "A bundled model, a model's folder or .pt file, or an id of the Hugging Face hub: type it.", short
        )
        backend = str(st.session_state["backend"])
        try:
            with st.spinner("Reading the model …"):
                card = catalog.card(backend)
        except NoisescopeError as error:
            wrong = str(error)
        except OSError as error:
            wrong = f"{short(backend)} cannot be looked at ({error.strerror}); give a model's name, a folder, a .pt file or a hub id."
        if card:
            st.caption(about.line(card))
        about_model = card and dialogs.button("About this model", "about-model", ":material/info:", "room", "cost")
        for note in card.notes if card else ():
            st.caption(plain(note))
        _select(
            "dataset",
            "Data",
            datasets,
            "A bundled or well-known data set, a folder of class folders, a Parquet file, a zip, or an id of the Hugging Face hub: type it.",
            lambda name: PRESETS[name].title if name in PRESETS else short(name),
        )
        dataset = str(st.session_state["dataset"])
        lacking = lacks(dataset)
        if lacking and st.button(
            "Not on this machine: fetch it", key="lacking", type="tertiary", icon=":material/cloud_download:", on_click=_measure
        ):
            st.switch_page("app_pages/curve.py")
        with st.container(horizontal=True):
            about_data = dialogs.button("About this data", "about-data", ":material/info:", "data")
            bringing = dialogs.button("Bring a folder", "bring", ":material/drive_folder_upload:")
        block = _strip(card) if card else None
        device = _device()
    if NEWER in st.session_state:
        _newer(backend, dataset)
    if wrong and (given := catalog.lacks(backend)):
        fetching.panel(given)
    elif wrong:
        st.error(wrong, icon=":material/broken_image:")
    if about_model and card:
        about.model(card, backend, dataset, device)
    elif about_data:
        about.data(dataset, device)
    elif bringing:
        bring.ask()
    return Bench(backend, dataset, block, device, card, lacking)


def _select(name: str, label: str, values: list[str], help_: str, said: Callable[[str], str]) -> None:
    if st.session_state.get(name) is None:
        st.session_state[name] = values[0]
    offered = values if st.session_state[name] in values else [*values, st.session_state[name]]
    st.selectbox(label, offered, key=name, accept_new_options=True, format_func=said, help=help_, persist_state="session")


def _newer(backend: str, dataset: str) -> None:
    """Whether the hub has a newer commit of what is here, where that was asked for."""
    kind, name = st.session_state[NEWER]
    given = catalog.HUB_ID.fullmatch(name.partition("?")[0])
    if given is None or name not in (backend, dataset):
        st.session_state.pop(NEWER)
        return
    fetching.panel(catalog.Lacking(kind, given["repo"], given["revision"], given["file"]), here=True)
    st.button("Close", on_click=st.session_state.pop, args=(NEWER,), key="close-newer")


def _measure() -> None:
    st.session_state["measuring"] = True


def _strip(card: Card) -> str | None:
    """The network from first to last block, stage by stage; one may be chosen."""
    names = [block.name for block in card.blocks]
    inner = [block.name for block in card.inside]
    if st.session_state.get("block") not in [None, *names, *inner]:
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
    if inner:
        st.session_state["block-inside"] = chosen if chosen in inner else None
        st.selectbox(
            "Inside a block",
            inner,
            key="block-inside",
            placeholder="queries, keys, values …",
            on_change=_choose,
            args=("inside",),
            help="Queries, keys, values and outputs of attention, and residual branches, before they are added to what goes on.",
        )
    block = next((block for block in card.every if block.name == chosen), None)
    place = "inside " if chosen in inner else ""
    st.caption(
        f"{chosen}: {place}block {block.depth + 1} of {len(names)}, a map of {_size(block, card)} channels{f', in papers {block.literature}' if block.literature else ''}."
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
    """Draw the slider over the model's own noise levels into the sidebar; σ. It starts at a run's peak, or where a link says."""
    of = st.session_state.get("level_of")
    st.session_state["level_of"] = run
    if of not in (run, LINKED) or st.session_state.get("level", 0) >= len(card.sigmas):  # a model's levels may have changed
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
        of = " of the latents" if card.space == "latent" else ""
        st.caption(f"t = {card.timesteps[place]:g}, σ{of} = {sigma:.3g}, log-SNR = {-2 * math.log(sigma):.2f}")
    return sigma


def _device() -> str:
    """What to compute on: the devices that a worker found here, else the CPU."""
    there = workers.known_devices(default_root())
    if st.session_state.get("device") not in there:
        st.session_state["device"] = there[0]
    if len(there) > 1:
        st.selectbox("Device", there, key="device", persist_state="session")
    return str(st.session_state["device"])
