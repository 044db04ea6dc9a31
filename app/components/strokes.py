"""What a person paints, kept for the session: strokes on each image, names of the classes, and true masks to score with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st

from analysis import label_images
from analysis.errors import NoisescopeError
from analysis.label_images import CLASSES, LETTERS, VOID
from app.components import painting
from app.components.adding import release
from app.components.scene import Scene

NAMES = ("object", "background", "third", "fourth", "fifth", "sixth", "seventh")
LONGEST = 24  # letters of a name
Of = tuple[str, int]  # an image by its key, and its side under the model


def _kept(what: str) -> dict[Of, np.ndarray]:
    found: dict[Of, np.ndarray] = st.session_state.setdefault(what, {})
    return found


def strokes() -> dict[Of, np.ndarray]:
    """Label images (side, side) uint8 of what is painted."""
    return _kept("strokes")


def dropped() -> dict[Of, np.ndarray]:
    """True masks that were dropped."""
    return _kept("true-masks")


def names() -> list[str]:
    """What the classes are called: two to seven."""
    found: list[str] = st.session_state.setdefault("segment-names", list(NAMES[:2]))
    return found


def suggest(given: list[str]) -> None:
    """The names that the masks of a data set give, unless a person has chosen some."""
    if given and "segment-named" not in st.session_state and given != names():
        st.session_state["segment-names"] = given
        st.session_state["segment-turn"] = st.session_state.get("segment-turn", 0) + 1


def name_classes() -> None:
    """Draw how many classes there are and what they are called."""
    with st.popover("Classes", icon=":material/palette:"):
        now, turn = names(), st.session_state.get("segment-turn", 0)  # a field that is not open takes a value only as it is made
        help_ = "Two to seven: so many colours can be told apart."
        count = int(st.number_input("How many classes", 2, CLASSES, len(now), key=f"segment-count-{turn}", help=help_))
        found = []
        for k in range(count):
            said = now[k] if k < len(now) else NAMES[k]
            found.append(str(st.text_input(f"Class {LETTERS[k]}", said, LONGEST, key=f"segment-name-{k}-{turn}")).strip() or NAMES[k])
    if found != now:
        st.session_state["segment-names"], st.session_state["segment-named"] = found, True
        st.rerun()


def paint(scene: Scene, key: str) -> None:
    """Draw the image to paint on, and keep what is painted."""
    image = scene.images[key]
    of = (key, len(image))
    blank = np.full(image.shape[:2], VOID, np.uint8)
    told = painting.painting(
        key, scene.shots[key].name, image, strokes().get(of, blank), names(), st.session_state.setdefault("stroke-version", 0)
    )
    if told is None or told[0] not in scene.images or told[1].shape != scene.images[told[0]].shape[:2]:
        return
    of = (told[0], len(told[1]))
    if (told[1] != VOID).any():
        strokes()[of] = told[1]
    else:
        strokes().pop(of, None)


def forget() -> None:
    """Nothing is painted any more, and no mask was dropped."""
    for what in ("strokes", "true-masks", "segment-truth"):
        st.session_state.pop(what, None)
    st.session_state["stroke-version"] = st.session_state.get("stroke-version", 0) + 1


@dataclass(frozen=True)
class Given:
    """What goes to the worker: images in order, the painted ones first, with strokes and true masks (n, side, side) uint8."""

    keys: tuple[str, ...]
    labels: np.ndarray
    truth: np.ndarray

    @property
    def wrong(self) -> str | None:
        """Why nothing can be learnt from it, as a sentence."""
        try:
            label_images.check(self.labels, self.labels.shape, len(names()))
        except NoisescopeError as error:
            return str(error)
        return None

    @property
    def scored(self) -> int:
        """How many images have pixels to score."""
        return int(((self.truth != VOID) & (self.labels == VOID)).any((1, 2)).sum())

    @property
    def said(self) -> str:
        """What is painted, in words."""
        on = [int((self.labels == k).any((1, 2)).sum()) for k in range(len(names()))]
        many = [int((self.labels == k).sum()) for k in range(len(names()))]
        parts = [f"{LETTERS[k]} {name}: {many[k]} pixels on {on[k]} image{'s' * (on[k] != 1)}" for k, name in enumerate(names()) if many[k]]
        return "; ".join(parts) or "Nothing is painted yet."


def given(scene: Scene, known: Mapping[str, np.ndarray], most: int) -> Given:
    """What is painted and known of the images, at most `most` without strokes; `known` are masks of the data, by key."""
    side, count = scene.card.resolution, len(names())
    painted = {key for key, at in strokes() if at == side and key in scene.images}
    others = [key for key in scene.images if key not in painted]
    keys = (*(key for key in scene.images if key in painted), *others[:most])
    nothing = np.full((side, side), VOID, np.uint8)
    truths = st.session_state.get("segment-truth", set())

    def fits(labels: np.ndarray) -> np.ndarray:  # a class that was taken away is no class any more
        return np.where(labels < count, labels, VOID).astype(np.uint8)

    labels = [nothing if (key, side) in truths else fits(strokes().get((key, side), nothing)) for key in keys]
    truth = [
        fits(
            dropped().get(
                (key, side), strokes()[key, side] if (key, side) in truths and (key, side) in strokes() else known.get(key, nothing)
            )
        )
        for key in keys
    ]
    return Given(keys, np.stack(labels), np.stack(truth))


def true_masks(scene: Scene, key: str, knows: bool) -> bool:
    """Draw where a true mask is given for the image that is chosen; whether the masks that the data know are to be used."""
    of, use = (key, scene.card.resolution), False
    truths: set[Of] = st.session_state.setdefault("segment-truth", set())
    with st.expander("True masks: how well are the parts found?", icon=":material/fact_check:"):
        if knows:
            use = st.toggle("Score with the masks that this data set knows", True, key="segment-known")
        st.caption(
            f"A true mask of {scene.shots[key].name}: a PNG with the class of each pixel, 0 for A, 1 for B and so on, 255 where none is given; or black "
            "and white, A and B. Its middle square is read, as of photos. What is painted is learnt from and not scored."
        )
        turn = st.session_state.setdefault("mask-turn", 0)
        file = st.file_uploader("Mask (PNG)", type="png", key=f"mask-{turn}-{key}", max_upload_size=20)
        if file is not None:
            try:
                dropped()[of] = label_images.read(file.getvalue(), of[1], complete=True)
                st.session_state.pop("mask-wrong", None)
            except NoisescopeError as error:
                st.session_state["mask-wrong"] = f"{file.name}: {error}"
            release([file])
            st.session_state["mask-turn"] = turn + 1
            st.rerun()
        if wrong := st.session_state.get("mask-wrong"):
            st.warning(wrong, icon=":material/hide_image:")
        if of in dropped():
            st.caption("This image has a mask.")
            st.button("Take its mask away", on_click=dropped().pop, args=(of, None), icon=":material/delete:")
        if of in strokes() and of not in dropped():
            if st.toggle(
                "What I painted on this image is its true mask: score with it, do not learn from it", of in truths, key=f"truth-{key}"
            ):
                truths.add(of)
            else:
                truths.discard(of)
    return use
