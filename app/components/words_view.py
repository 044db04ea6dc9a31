"""Words: which places of an image attend to each word of a prompt, over noise levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import panels, word_panels
from app.components import album, asking, link, opening, words_receipt
from app.components.curve import toolbar
from app.components.looked import fingerprint, following, gallery, waiting
from app.components.scene import Scene
from app.components.words import duration, level, plain

LEVELS = ["8", "16"]
LONG = 10.0  # seconds of work beyond which a person is asked first
ALL = "All blocks (mean)"
KEYS = {"prompt": "words-prompt", "others": "words-others"}  # in a link: the field


@dataclass(frozen=True)
class Maps:
    """What came back."""

    scene: Scene
    key: str  # of the image
    asks: Mapping[str, Any]  # prompt, others, levels
    block: str | None  # None: the mean over all
    word: str
    shares: word_panels.Shares
    levels: list[dict[str, float]]
    arrays: Mapping[str, np.ndarray]
    joint: bool
    said: list[str]

    @property
    def image(self) -> np.ndarray:
        return self.scene.images[self.key]

    @property
    def place(self) -> int:
        return list(self.shares.words).index(self.word)

    @property
    def level(self) -> int:
        """The level that is nearest to the one on the bench."""
        return int(np.abs(np.log([one["sigma"] / self.scene.sigma for one in self.levels])).argmin())


def show(scene: Scene) -> None:
    """Draw the view: an image, a prompt, its words, the maps of one of them."""
    if not scene.card.knows("prompt:"):
        st.info(
            f"{scene.card.name} is told no text, so there are no words to look for. Models that are: Stable Diffusion 1 to 3.5, SDXL "
            "and FLUX, their turbo and distilled variants among them, with their text encoders.",
            icon=":material/chat_bubble_outline:",
        )
        return
    shot = _shot(scene)
    asks = _asks()
    if not asks["prompt"] and not asks["others"]:
        st.info("Write what is in the image, such as *a photo of a red fox*: each word gets a map.", icon=":material/edit:")
        return
    data = scene.data(shot.key)
    begun = asking.look(scene.question("words-begin", **asks), scene.device, data, patience=1.5)
    if begun.error:
        st.error(str(begun.error), icon=":material/error:")
        return
    if begun.answer is None:
        waiting(begun, "The text encoders are being read, and a first noise level …")
        return
    told = begun.answer[0]
    for sentence in told["said"]:
        st.warning(plain(sentence), icon=":material/content_cut:")
    word, block = _choose(told)
    if not _going(scene, asks, told, data):
        return
    asked = asking.look(scene.question("words", **asks, block=block), scene.device, data, patience=2.0)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
    elif asked.answer is None:
        following(asked, "words-go", "Maps are being made …", lambda _: 0, _stop)
    else:
        said, arrays = asked.answer[0], load(asked.answer[1])
        shares = word_panels.Shares(said["words"], said["blocks"], arrays["share"], arrays["special"], arrays["image"])
        maps = Maps(scene, shot.key, asks, block, word, shares, said["levels"], arrays, told["joint"], told["said"])
        _draw(maps, data)
        words_receipt.show(maps, shot)


def _shot(scene: Scene) -> album.Shot:
    """The image that is chosen; of a link at first, which can name an example only."""
    if "words-seen" not in st.session_state:
        st.session_state["words-seen"] = True
        if (given := st.query_params.get("a")) in scene.shots:
            st.session_state["image-key"] = given
        elif given is not None:
            opening.note("The image of the link is not here: a link holds no image of one's own. Another is shown.")
    shot = album.choose(dict(scene.shots))
    link.put("a", None if shot.own else shot.key)
    return shot


def _asks() -> dict[str, Any]:
    """Draw the fields; what is asked of the worker beside the image."""
    for name, key in KEYS.items():
        st.session_state.setdefault(key, st.query_params.get(name, ""))
    prompt = st.text_input("Prompt", key=KEYS["prompt"], placeholder="a photo of a red fox", persist_state="session")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        others = st.text_input(
            "Words that are not in it",
            key=KEYS["others"],
            placeholder="snow, house",
            help="Words or short phrases with commas between them, at most 8. The image attends to them as if they were added to the prompt.",
            persist_state="session",
            width=320,
        )
        link.start("wordlevels", LEVELS, say=opening.note)
        st.segmented_control("Noise levels", LEVELS, required=True, key="wordlevels", persist_state="session")
    found = {"prompt": " ".join((prompt or "").split()), "others": [one.strip() for one in (others or "").split(",") if one.strip()]}
    link.put("prompt", found["prompt"] or None)
    link.put("others", ", ".join(found["others"]) or None)
    return {**found, "levels": int(link.keep("wordlevels", LEVELS))}


def _choose(told: Mapping[str, Any]) -> tuple[str, str | None]:
    """Draw the words, one of which is chosen, and the blocks."""
    words, blocks = told["words"], [ALL, *told["blocks"]]
    if st.session_state.get("word") not in words:
        given = st.query_params.get("word")
        if given is not None and given not in words and "word" not in st.session_state:
            opening.note(f"The link asks for word = {given!r}, which is not in the prompt; another is shown.")
        st.session_state["word"] = given if given in words else max(words, key=len)
    word = str(st.pills("Word", words, required=True, key="word", format_func=plain, persist_state="session"))
    link.put("word", word)
    link.start("wordblock", blocks, say=opening.note)
    help_ = "The blocks whose attention reads the prompt; the mean is over maps brought to one size."
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Block", blocks, key="wordblock", width=240, help=help_, persist_state="session")
        block = link.keep("wordblock", blocks)
        if block == ALL:
            return word, None
        st.toggle("Each head", key="wordheads", help="The maps of every head of this block, which takes a pass a level again.")
    return word, block


def _going(scene: Scene, asks: Mapping[str, Any], told: Mapping[str, Any], data: bytes) -> bool:
    """Whether the rest of the levels is to be read: at once where that is quick, else when the button is pressed, under which stands the cost."""
    name = fingerprint(repr([scene.backend, scene.device, *asks.items()]).encode() + data)
    seconds = told["lacking"] * told["pace"]
    if st.session_state.get("words-go") == name:
        return True
    if seconds <= LONG and st.session_state.get("words-stopped") != name:
        st.session_state["words-go"] = name
        return True
    st.session_state["words-stopped"] = name
    read = told["levels"] - told["lacking"]
    st.caption(
        f"{read} of {told['levels']} noise levels {'has' if read == 1 else 'have'} been read. The other {told['lacking']} take about "
        f"{duration(max(1.0, seconds))}: a pass of {scene.card.name} each."
    )
    st.button("Make the maps", type="primary", icon=":material/grid_view:", on_click=st.session_state.__setitem__, args=("words-go", name))
    return False


def _stop() -> None:
    st.session_state["words-stopped"] = st.session_state.get("words-go") or st.session_state.get("words-stopped")


def _draw(maps: Maps, data: bytes) -> None:
    """The finding, the sum, the strip over noise, the heads, the curves."""
    arrays, where = maps.arrays, f"block {maps.block}" if maps.block else "the mean over blocks"
    own = arrays["maps"][:, maps.place]
    scale = word_panels.ends(own)
    with st.container(key="verdict"):
        said = word_panels.sentence(maps.shares, arrays["focus"], maps.levels, maps.word, maps.block)
        st.markdown(said.replace(f"**{maps.word}**", f"**{plain(maps.word)}**"))
    whole = arrays["sum"][maps.place]
    summed = word_panels.over(maps.image, whole[None], word_panels.ends(whole), side=256)[0]
    name = maps.scene.shots[maps.key].name
    tiles = [
        ("image", name, panels.uri(maps.image, 128)),
        ("sum over σ", f"{maps.word} in {name}, summed over {len(maps.levels)} noise levels", panels.uri(summed, 1)),
    ]
    st.html(gallery(tiles))
    rows = {"map": word_panels.over(maps.image, own, scale)}
    others = arrays["logits"].shape[1]
    if (other := maps.place - (len(maps.shares.words) - others)) >= 0 and maps.block is None:
        before = arrays["logits"][:, other]
        rows["before softmax"] = word_panels.over(maps.image, before, word_panels.ends(before))
    rows |= _heads(maps, data)
    figure = word_panels.strip_figure(rows, maps.levels, maps.scene.axis, maps.level, scale)  # type: ignore[arg-type]
    alt = f"Maps of “{maps.word}” over the image at {len(maps.levels)} noise levels, in {where}."
    with st.container(key="wide-words"):
        st.plotly_chart(figure, key="words-strip", alt=alt, config=toolbar())
    low, high = (level(maps.levels[i]["sigma"]) for i in (0, -1))
    st.caption(
        f"{alt} From dark to bright: {100 * scale[0]:.2g} to {100 * scale[1]:.2g} % of a place's attention, one scale for σ = {low} to {high}; "
        "the sum, before softmax and each head have their own. Every level has the same noise ε."
    )
    curves = word_panels.curves_figure(
        maps.shares.of(maps.block), arrays["focus"], maps.levels, maps.scene.axis, maps.word, maps.scene.sigma  # type: ignore[arg-type]
    )  # fmt: skip
    said = f"Share of attention of {len(maps.shares.words)} words over noise, and how much of each map lies in the highest tenth of its places."
    st.plotly_chart(curves, key="words-curves", alt=said, config=toolbar())
    joint = (
        "In joint attention the image reads itself and the text at once; another word has a pass of its own, with the word behind the prompt."
        if maps.joint
        else "Cross-attention: each place shares its attention among the prompt's tokens; another word is as if its keys were added."
    )
    st.caption(f"{said} {joint} Marks of start and end, and what fills the prompt up, are no word and are left out of its maps.")


def _heads(maps: Maps, data: bytes) -> dict[str, np.ndarray]:
    """Rows of the block's heads, where they are asked for and have come."""
    if maps.block is None or not st.session_state.get("wordheads"):
        return {}
    question = maps.scene.question("words-heads", **maps.asks, block=maps.block, word=maps.word)
    asked = asking.look(question, maps.scene.device, data, patience=2.0)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        return {}
    if asked.answer is None:
        waiting(asked, f"The heads of {maps.block} are being read …")
        return {}
    heads = load(asked.answer[1])["heads"]
    return {f"head {i + 1}": word_panels.over(maps.image, heads[:, i], word_panels.ends(heads[:, i])) for i in range(heads.shape[1])}
