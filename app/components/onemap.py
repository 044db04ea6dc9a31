"""One map: every image a point, coloured by what is known of it; a lasso selects."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load, save

from analysis import map_charts, map_points, thumbnails
from app.components import adding, album, asking, chosen, clump, link, opening
from app.components.atlas import METHODS, Drawn, View, made
from app.components.curve import toolbar
from app.components.looked import waiting

PREDICTION, CORRECT, CONFIDENCE = "prediction", "right or wrong", "confidence"
SIDE = 620  # pixels of the map's height
Own = tuple[str, np.ndarray, np.ndarray]  # name of one's own image, its place (dims,), the rows that are nearest
POINT = 100  # bytes of a point beside its picture


def seen(view: View) -> dict[str, Any]:
    """The question for the images as the network sees them at the level."""
    return {"ask": "noised", "study": view.study.key, "count": view.settings["count"], "level": view.level}


def _seen(view: View) -> asking.Asked:
    return asking.look(seen(view), view.device, patience=1.0)


def await_pictures(view: View) -> None:
    """Where the pictures are not there yet, say so and draw the page anew when they are."""
    if (asked := _seen(view)).error:
        st.info(f"The points have no pictures: {asked.error}", icon=":material/hide_image:")
    elif not asked.ended.is_set():
        waiting(asked, "The points' pictures are on their way …")


def pictures(view: View, point: int = POINT) -> thumbnails.Thumbnails | None:
    """A picture of every image as the network sees it at the level, within the page's budget; None while they are on their way.

    `point` bytes are sent of each besides.
    """
    asked = _seen(view)
    return None if asked.answer is None else _encoded(view.study.version, view.level, view.ids.tobytes(), point, asked.answer[1])


@st.cache_data(show_spinner=False, max_entries=12)
def _encoded(version: str, level: int, ids: bytes, point: int, _data: bytes) -> thumbnails.Thumbnails:
    images = load(_data)["images"]
    return thumbnails.thumbnails(images, max(0, thumbnails.BUDGET - point * len(images)))


def columns(view: View, probabilities: np.ndarray | None, classes: Sequence[str]) -> dict[str, tuple[Sequence[str], np.ndarray]]:
    """What points may be coloured by: the study's labels first, then what its probe reads, then all other label sets."""
    found = {view.label_set: view.labels[view.label_set]} if view.label_set else {}
    if probabilities is not None:
        read = probabilities.argmax(1)
        found[PREDICTION] = (classes, read)
        if view.label_set:
            truth = view.labels[view.label_set][1]
            found[CORRECT] = (("wrong", "right"), np.where(truth < 0, -1, (read == truth).astype(int)))
        found[CONFIDENCE] = ((), np.zeros(0, int))
    return found | {name: known for name, known in view.labels.items() if name not in found}


def points_of(view: View, found: Drawn, colour: str, point: int | None = POINT) -> map_points.Points:
    """What is drawn of every image; `point` bytes are sent of each beside its picture, None for no pictures."""
    probabilities = found.arrays.get("probabilities")
    known = columns(view, probabilities, found.classes)
    names, group = known.get(colour) or next(iter(known.values()), ((), np.full(len(found.layout), -1)))
    values = probabilities.max(1) if colour == CONFIDENCE and probabilities is not None else None
    group = np.zeros(len(found.layout), int) if values is not None else group
    thumbs = None if point is None else pictures(view, point)
    texts = [_text(view, row, probabilities, found.classes) for row in range(len(found.layout))]
    uris = thumbs.uris if thumbs else ()
    return map_points.Points(found.layout[:, :2], group, names or ["all"], texts, uris, chosen.rows(view), values, CONFIDENCE)


def _text(view: View, row: int, probabilities: np.ndarray | None, classes: Sequence[str]) -> str:
    parts = [" ".join(f"{name}: {known[values[row]]}".split()) for name, (known, values) in view.labels.items() if values[row] >= 0]
    if probabilities is not None:
        best = int(probabilities[row].argmax())
        parts.append(f"read as {classes[best]}, {100 * probabilities[row, best]:.0f} %")
    return " · ".join(parts)


def colour_by(view: View, probabilities: np.ndarray | None, classes: Sequence[str]) -> str:
    """Draw the choice of colour."""
    known = list(columns(view, probabilities, classes))
    if not known:
        return ""
    if st.session_state.get("colour") not in known:
        given = st.query_params.get("colour")
        if given is not None and given not in known:
            opening.note(f"The link asks for colour = {given!r}, which is not there; allowed: {', '.join(known)}. The first is shown.")
        st.session_state["colour"] = given if given in known else known[0]
    st.pills("Colour", known, key="colour", required=True, persist_state="session")
    return link.keep("colour", known)


def drawn(view: View) -> Drawn | None:
    """The layout that was asked for, its PCA until a UMAP is there; None while there is neither."""
    words = f"{len(view.ids):,} images are to be read at σ = {view.sigma:.2g}."
    found = made(view.question("map", method="pca", **view.cell), view.device, "pca", words, patience=1.0)
    if found is None:
        return None
    method = "pca"
    if view.method == "umap":
        words = f"The UMAP of block {view.block} at σ = {view.sigma:.2g} is being made; its PCA is shown until then."
        better = made(view.question("map", method="umap", **view.cell), view.device, "umap", words, patience=1.0, quiet=True)
        if better is not None:
            found, method = better, "umap"
    arrays = load(found[1])
    return Drawn(method, arrays["layout"], found[0]["classes"], arrays, found[0].get("shows"), found[0].get("plain"))


def show(view: View) -> Drawn | None:
    """Draw the map and what is selected on it."""
    found = drawn(view)
    if found is None:
        return None
    colour = colour_by(view, found.arrays.get("probabilities"), found.classes)
    flat_one = view.settings["dims"] == 2
    points = points_of(view, found, colour, POINT if flat_one else None)
    own = _own(view, found.method)
    place = own[1] if own else None
    alt = f"{METHODS[found.method]} of {view.what} in block {view.block} at σ = {view.sigma:.2g}, coloured by {colour or 'nothing'}."
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if flat_one:
            flat(view, points, "map", own, alt)
        else:
            _solid(points, found.layout, place, alt)
        pictured = sum(map(bool, points.pictures))
        some = (
            f" {pictured:,} of {len(view.ids):,} points carry a picture, so that the page stays small."
            if 0 < pictured < len(view.ids)
            else ""
        )
        st.caption(f"{alt}{some}")
        if flat_one:
            await_pictures(view)
    with right, st.container(key="clump"):
        if own:
            clump.beside(view, own[0], own[2], found)
        clump.show(view, found)
    return found


def flat(view: View, points: map_points.Points, name: str, own: Own | None, alt: str, height: int = SIDE) -> None:
    """A map in two dimensions on which one selects; `name` tells several on a page apart."""
    many = len(points.layout) > map_charts.MANY
    select = (
        st.toggle("Select with lasso or box", key=f"selecting-{name}", help="Off at first where there are so many points.")
        if many
        else True
    )
    groups = map_points.groups(points)
    drawn = sha256(b"".join([points.layout.tobytes(), *(rows.tobytes() for rows in groups)])).hexdigest()[:16]
    key = (
        f"scatter-{name}-{chosen.turn(view)}-{drawn}"  # a lasso is of one map and one colouring: places in a series mean other images else
    )

    def took() -> None:
        event: Any = st.session_state.get(key)
        if event is not None:
            chosen.put(view, map_points.taken(event.selection.selected, groups), drawn=True)
            st.session_state["find-class"] = None

    place, near = (own[1], own[2].tolist()) if own else (None, ())
    option = map_charts.scatter(points, own=place, near=near, select=select)
    st.echarts_chart(option, key=key, height=height, alt=alt, on_select=took if select else "ignore")


def _solid(points: map_points.Points, layout: np.ndarray, own: np.ndarray | None, alt: str) -> None:
    from analysis import map_panels

    st.plotly_chart(map_panels.solid(points, layout, own), key="map-solid", alt=alt, height=SIDE, config=toolbar())
    st.caption("In three dimensions a map is for looking around; select on the flat one.")


def _own(view: View, method: str) -> Own | None:
    """The person's own image where one is chosen: its name, where it lies (dims,), and the nearest rows."""
    with st.popover("Your image", icon=":material/add_photo_alternate:"):
        adding.controls(view.study, view.device)
        mine = album.mine()
        if not mine:
            return None
        names = {"": "none", **{key: shot.name for key, shot in mine.items()}}
        if st.session_state.get("map-own") not in names:
            st.session_state["map-own"] = next(iter(mine))
        st.selectbox("On the map", list(names), key="map-own", format_func=names.__getitem__)
        key = str(st.session_state["map-own"])
        image = adding.frame(mine[key], view.study.card.resolution)[0] if key else None
    if image is None:
        return None
    question = view.question("place", method=method, **view.cell)
    asked = asking.look(question, view.device, save({"image": np.ascontiguousarray(image)}), patience=2.0)
    if asked.error:
        st.info(str(asked.error), icon=":material/add_photo_alternate:")
    elif asked.answer is None:
        waiting(asked, "Your image is being placed …")
    if asked.answer is None:
        return None
    found = load(asked.answer[1])
    return names[key], found["place"], found["places"]
