"""The view Memorization of Why: what becomes of the hump when a network learns its training images by heart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis import memorized
from analysis.errors import NoisescopeError
from analysis.memorized import Memorized
from app.components import bench as lab
from app.components import link, memorized_form, memorized_receipt, memorized_views

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "ema-outside": "mean weights; labelled images that no network was trained on",
    "raw-outside": "weights of the last step; labelled images that no network was trained on",
    "ema-subset": "mean weights; labelled images from the network's own training set, as many a class as it has (the paper's protocol)",
    "raw-subset": "weights of the last step; labelled images from the network's own training set",
}
VIEWS = {"noise": "Over noise levels", "training": "Over training", "made": "What they make", "sharing": "One network or many"}
NAMES = ("memorization", "known", "trainset", "moment", "knownweights", "knownblock")  # of the widgets, and of what a link says
FURTHER = ("patience", "copies-by")  # of those that some views alone draw


@dataclass(frozen=True)
class Choice:
    """What is looked at."""

    study: Memorized
    shown: str
    size: str
    seen: int
    weights: str
    labelled: str
    block: str
    axis: str

    def table(self, name: str, moment: bool = True) -> pd.DataFrame:
        """A table's rows of these weights, at this moment or at all; of curves, of this block, these labels and all seeds together."""
        rows = tables(self.study.version, name, self.study)
        rows = rows[rows.weights == self.weights]
        if name == "curve":
            rows = rows[(rows.labelled == self.labelled) & (rows.block == self.block) & (rows.seed == memorized.ALL)]
        return rows[rows.seen == self.seen] if moment else rows

    @property
    def state(self) -> dict[str, str]:
        """What a link says."""
        values = (self.study.key, self.shown, self.size, str(self.seen), f"{self.weights}-{self.labelled}", self.block)
        drawn = {name: str(st.session_state[name]) for name in FURTHER if name in st.session_state}
        return {"view": "memorization", **dict(zip(NAMES, values, strict=True)), **drawn, "axis": self.axis}


@st.cache_data(show_spinner=False, max_entries=32)
def tables(version: str, name: str, _study: Memorized) -> Any:
    """A table of a study."""
    return _study.table(name)


def show(train: Callable[[dict[str, Any]], None] | None = None, cost: Callable[[dict[str, Any]], str] | None = None) -> None:
    """Draw the view, its empty state or its error; with `train` also the form that asks for a study, see memorized_form."""
    try:
        found = memorized.memorizations()
        if found:
            _draw(found)
        else:
            st.info(
                "No study of memorization is here yet. One trains networks on few and on many images and looks at them on the way: "
                "`python -m analysis study memorization --dataset digits --sizes 16,64,192`.",
                icon=":material/science:",
            )
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")
    if train is not None:
        memorized_form.ask(train, cost)


def _draw(found: Mapping[str, Path]) -> None:
    study = _study(found)
    _finding(study)
    choice = _choose(study)
    if choice.shown != "sharing":  # whose networks are others
        memorized_views.numbers(choice)
    {
        "noise": memorized_views.noise,
        "training": memorized_views.training,
        "made": memorized_views.made,
        "sharing": memorized_views.sharing,
    }[choice.shown](choice)
    _limits(study)
    memorized_receipt.show(choice)


def _study(found: Mapping[str, Path]) -> Memorized:
    keys = list(found)
    given = st.query_params.get("memorization")
    if given and given not in found:
        with suppress(NoisescopeError):  # said by `link.start`, or where it is opened
            link.put("memorization", memorized.find_memorization(given).key)
    link.start("memorization", keys)
    if len(keys) > 1:
        st.selectbox("Study", keys, format_func=lambda key: _named(found[key], key), key="memorization", persist_state="session")
    return memorized.open_memorized(found[link.keep("memorization", keys)])


def _named(folder: Path, key: str) -> str:
    try:
        return f"{memorized.open_memorized(folder).name} ({key[:8]})"
    except NoisescopeError:
        return f"{key[:8]}, cannot be read"


def _finding(study: Memorized) -> None:
    """The sentence, and whether it is what the paper found: said as plainly where it isn't."""
    with st.container(key="verdict"):
        st.markdown(study.sentence)
        expected = study.expected()
        why = study.facts.get("expected", {}).get("why", "")
        said = f"{expected.sentence}\n\n{why}".strip()
        if expected.shown:
            st.success(said, icon=":material/check_circle:")
        else:
            st.warning(said, icon=":material/info:")


def _choose(study: Memorized) -> Choice:
    """The controls of the chosen figures; they only read. What has no control keeps what was chosen before."""
    views = [name for name in VIEWS if name != "sharing" or study.has("sharing")]
    kinds = [kind for kind in KINDS if study.seen(*kind.split("-"))]
    first = list(dict.fromkeys([study.block, study.rising]))
    blocks = [*first, *(block for block in study.blocks if block not in first)]
    for name, allowed in (("known", views), ("knownweights", kinds), ("knownblock", blocks), ("trainset", study.sizes)):
        link.start(name, allowed)
    st.segmented_control("Show", views, required=True, format_func=VIEWS.__getitem__, key="known", persist_state="session")
    shown = link.keep("known", views)
    first, second = st.columns(2)
    if shown != "sharing":
        first.selectbox("Weights and labels", kinds, format_func=KINDS.__getitem__, key="knownweights", persist_state="session")
    (first if shown == "sharing" else second).selectbox(
        "Block", blocks, format_func=lambda name: _block(study, name), key="knownblock", persist_state="session"
    )
    if shown != "sharing":
        st.segmented_control("Trained on", study.sizes, required=True, format_func=_size, key="trainset", persist_state="session")
    kind = link.keep("knownweights", kinds)
    weights, labelled = kind.split("-")
    return Choice(
        study=study,
        shown=shown,
        size=link.keep("trainset", study.sizes),
        seen=_moment(study.seen(weights, labelled), drawn=shown != "sharing"),
        weights=weights,
        labelled=labelled,
        block=link.keep("knownblock", blocks),
        axis=lab.axis(),
    )


def _moment(moments: Sequence[int], drawn: bool) -> int:
    """The moment of training: a slider, where there are several."""
    allowed = [str(seen) for seen in reversed(moments)]  # the last first: it is the default
    link.start("moment", allowed)
    if drawn and len(moments) > 1:
        st.select_slider(
            "After so many training images seen",
            allowed[::-1],
            format_func=lambda seen: f"{int(seen):,}",
            key="moment",
            persist_state="session",
        )
    elif drawn:
        st.caption(f"After {moments[0]:,} training images seen: the one moment that such curves were taken at.")
    return int(link.keep("moment", allowed))


def _block(study: Memorized, name: str) -> str:
    if name == study.block:
        return f"{name}, which reads best"
    return f"{name}, which gains most" if name == study.rising else name


def _size(size: str) -> str:
    return "new images at every step" if size == memorized.FRESH else f"{int(size):,} images"


def _limits(study: Memorized) -> None:
    with st.expander("What this does not show", icon=":material/rule:"):
        st.markdown(
            "- **A missing hump alone proves nothing.** Fine detail as the question, another block, classes that lie apart or few test "
            "images give none either. Memorization is claimed only against a matched control: the same network, block, labels and test "
            "images with more training data, as a difference of gains with its interval.\n"
            "- A copy is what a threshold calls one. Real images that no network has seen are judged by the same threshold: where many of "
            "them count as copies, the threshold says more of the data than of the network. The test with networks of disjoint training "
            "sets needs none.\n"
            "- The weights of the last step, and labelled images from a network's own training set, are read at the last moment alone.\n"
            "- Networks whose images are new at every step are compared with the first images that they met, before the first moment. They met "
            "each once: that they copy none of those says little. Labelled images ‘of their own’ are such images too.\n"
            "- With few training images the ℓ2-ratio's mean is over all of the others, which are far: more of what is new counts as a copy.\n"
            "- The Fréchet distance is no published FID: its features are those of the network that the receipt names, and it is too large with few "
            "samples. The distance of held-out real images beside it says by how much, roughly.\n"
            f"- {len(study.seeds)} seed{'s' * (len(study.seeds) != 1)} of one network on one data set. Intervals of scores and distances are over "
            "images, of the networks as they are."
        )
