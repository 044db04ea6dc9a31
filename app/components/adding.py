"""Images of one's own: dropped, drawn or composed, and how much of each the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw
from safetensors.numpy import load
from streamlit.runtime.scriptrunner import get_script_run_ctx

from analysis import panels, uploads
from analysis.errors import NoisescopeError
from analysis.specs import Card
from analysis.studies import Study
from app.components import album, asking, canvas
from app.components.album import Shot
from app.components.looked import gallery, waiting

CUTS = {"crop": "Middle square", "fit": "All of it", "box": "A square of mine"}
PREVIEW, DRAWN_ON = 240, 480  # pixels
TURN = Lock()
NATURAL = "cifar10-ddpm"
PARTS = {  # what an image of `shapes` is made of
    "shape": ["disc", "square", "triangle", "cross", "ring", "crescent"],
    "texture": ["rows", "columns", "checks", "dots"],
    "hue": ["red", "yellow", "green", "cyan", "blue", "magenta"],
}


def controls(study: Study, device: str) -> None:
    """Where images are added: what fits the model can be drawn or composed, any other is dropped."""
    ways = {"drop": "Drop photos", **({"draw": "Draw"} if study.card.image_channels == 1 else {})}
    if _makes_shapes(study):
        ways["compose"] = "Compose a shape"
    if st.session_state.get("way") not in ways:
        st.session_state["way"] = next(iter(ways))
    way = st.session_state["way"]
    if len(ways) > 1:
        way = st.segmented_control("Add an image", list(ways), required=True, format_func=ways.__getitem__, key="way")
    if way == "draw":
        draw(study.card)
    elif way == "compose":
        _compose(study, device)
    else:
        drop(study.card)


def _makes_shapes(study: Study) -> bool:
    return str(study.facts["request"]["dataset"]).partition(":")[0] == "shapes"


def drop(card: Card) -> None:
    """A box for files; what could not be read is said until the next are dropped."""
    turn = st.session_state.setdefault("uploads", 0)
    files = st.file_uploader(
        f"Drop photos to see them as {card.name} does",
        accept_multiple_files=True,
        key=f"upload-{turn}",
        max_upload_size=uploads.MAX_BYTES // 1_000_000,
        help="JPEG, PNG, WebP or BMP, up to 20 MB and 25 megapixels each. They stay in the memory of this machine.",
    )
    if files:
        _take([(file.name, file.getvalue()) for file in files])
        release(files)
        st.session_state["uploads"] = turn + 1  # a new, empty box
        st.rerun()
    for name, why in st.session_state.get("unread", {}).items():
        st.warning(f"{name}: {why}", icon=":material/hide_image:")


def draw(card: Card) -> None:
    """A square to draw in, for a model of one channel."""
    if (cells := canvas.canvas()) is None:
        return
    image = canvas.picture(cells, card.resolution)
    if image is not None:
        count = sum(shot.origin == album.DRAWN for shot in album.mine().values())
        album.add([Shot(f"drawing {count + 1}", image, album.DRAWN, ("moved and scaled to fill the square",))])
        st.rerun()


def _compose(study: Study, device: str) -> None:
    """Choose a shape, its texture and its hue; one is made as the model's training images were."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        labels = {name: st.selectbox(name.capitalize(), classes, key=f"compose-{name}", width=140) for name, classes in PARTS.items()}
        made = st.session_state.setdefault("composed", 0)
        if st.button("Make one", icon=":material/add_photo_alternate:"):
            st.session_state["composed"] = made + 1
            st.session_state["composing"] = {"ask": "compose", "study": study.key, "labels": labels, "seed": made}
    question = st.session_state.get("composing")
    if question is None:
        return
    asked = asking.look(question, device, patience=2.0)
    if asked.error:
        st.session_state.pop("composing")
        st.error(str(asked.error))
    elif asked.answer is None:
        waiting(asked, "It is being made …")
    else:
        st.session_state.pop("composing")
        name = "{hue} {shape} of {texture}".format(**question["labels"])
        album.add([Shot(name, load(asked.answer[1])["image"], album.COMPOSED, labels={**question["labels"], "product": name})])
        st.rerun()


def release(files: Sequence[Any]) -> None:
    """Let go of what was uploaded: Streamlit keeps a file, metadata and all, until its session ends."""
    if context := get_script_run_ctx():
        for file in files:
            context.uploaded_file_mgr.remove_file(session_id=context.session_id, file_id=file.file_id)


def _take(files: list[tuple[str, bytes]]) -> None:
    st.session_state["unread"] = {}
    try:
        with TURN:  # one at a time: a large picture takes a few hundred megabytes while it is read
            pictures, st.session_state["unread"] = uploads.read_all(files)
    except NoisescopeError as error:
        st.session_state["unread"] = {"Not taken": str(error)}
        return
    album.add([Shot(name, picture.pixels, album.UPLOADED, picture.notes) for name, picture in pictures.items()])


def frame(shot: Shot, side: int) -> tuple[np.ndarray, str]:
    """The part of an image that the model reads, (side, side, 3) uint8, chosen and shown where there is a choice.

    With it, the choice as the command line says it: crop, fit or LEFT,TOP,EDGE.
    """
    if shot.pixels.shape == (side, side, 3):
        if shot.own:
            _about(shot, side)
        return shot.pixels, "crop"
    left, right = st.columns([1, 2])
    with right:
        cut = st.segmented_control(
            "What the model reads", list(CUTS), required=True, default="crop", format_func=CUTS.__getitem__, key=f"cut-{shot.key}"
        )
        box = _box(shot) if cut == "box" else None
        image = uploads.frame(shot.pixels, side, cut, box)
        _about(shot, side)
    with left:
        tiles = [
            ("yours", "The image with what is read in a frame", panels.uri(preview(shot.pixels, uploads.square(shot.pixels, cut, box)), 1)),
            ("read", f"{side}×{side} pixels", panels.uri(image, 128)),
        ]
        st.html(gallery(tiles))
    return image, ",".join(map(str, box)) if box else str(cut)


def _about(shot: Shot, side: int) -> None:
    """What an image is, what was done to it, and a button that lets it go."""
    height, width = shot.pixels.shape[:2]
    notes = "".join(f", {note}" for note in shot.notes)
    st.caption(f"{shot.name}: {width}×{height} pixels{notes}. {side}×{side} are read.")
    if shot.own:
        st.button("Forget this image", icon=":material/delete:", on_click=album.drop, args=(shot.key,), key=f"drop-{shot.key}")


def _box(shot: Shot) -> tuple[int, int, int]:
    """A square (left, top, edge) in pixels of the image, drawn on it or set with sliders."""
    height, width = shot.pixels.shape[:2]
    short = min(height, width)
    figure = panels.drawing_figure(_small(shot.pixels, DRAWN_ON), width, height)
    alt = f"{shot.name}: draw a box on it, or use the sliders below."
    event = st.plotly_chart(
        figure, key=f"box-{shot.key}", alt=alt, config={"displayModeBar": False}, on_select="rerun", selection_mode="box"
    )
    drawn = event.selection.box if event else []
    if drawn and st.session_state.get(f"drawn-{shot.key}") != drawn[0]:
        st.session_state[f"drawn-{shot.key}"] = drawn[0]
        across, down = (sorted(int(value) for value in drawn[0][side]) for side in "xy")
        edge = min(max(across[1] - across[0], down[1] - down[0], min(16, short)), short)
        middle = [(low + high) // 2 for low, high in (across, down)]
        st.session_state[f"edge-{shot.key}"] = edge
        st.session_state[f"left-{shot.key}"] = min(max(0, middle[0] - edge // 2), width - edge)
        st.session_state[f"top-{shot.key}"] = min(max(0, middle[1] - edge // 2), height - edge)
    half = max(min(16, short), short // 2)
    for name, first in (("edge", half), ("left", (width - half) // 2), ("top", (height - half) // 2)):
        st.session_state.setdefault(f"{name}-{shot.key}", first)
    edge = st.slider("Side of the square", min(16, short), short, key=f"edge-{shot.key}") if short > 16 else short
    for name, room in (("left", width - edge), ("top", height - edge)):
        st.session_state[f"{name}-{shot.key}"] = min(st.session_state[f"{name}-{shot.key}"], max(1, room))
    left = st.slider("From the left", 0, max(1, width - edge), key=f"left-{shot.key}")
    top = st.slider("From the top", 0, max(1, height - edge), key=f"top-{shot.key}")
    return int(left), int(top), int(edge)


def preview(pixels: np.ndarray, square: tuple[int, int, int]) -> np.ndarray:
    """The image small, with what is read in a frame; (h, w, 3) uint8."""
    small = Image.fromarray(_small(pixels, PREVIEW))
    left, top, edge = (value * PREVIEW / max(pixels.shape[:2]) for value in square)
    ImageDraw.Draw(small).rectangle((left, top, left + edge - 1, top + edge - 1), outline=panels.MARK, width=3)
    return np.asarray(small)


def _small(pixels: np.ndarray, longest: int) -> np.ndarray:
    """The image at a size for the screen."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    return np.asarray(Image.fromarray(pixels).resize((max(1, round(width * scale)), max(1, round(height * scale)))))


def instead(study: Study) -> None:
    """What does fit, where an image does not."""
    ways = []
    if study.card.image_channels == 1:
        ways.append("draw a digit")
    if _makes_shapes(study):
        ways.append("compose a shape")
    ways.append("choose an example in the row above")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"What fits this model: {', or '.join(ways)}.")
        if study.card.name != NATURAL:
            st.button(f"Use {NATURAL}, a model of photographs", on_click=_natural, icon=":material/photo_library:")


def _natural() -> None:
    """The bundled model of photographs on the bench."""
    st.session_state.update(backend=NATURAL, dataset="cifar10", run=None, block=None)
