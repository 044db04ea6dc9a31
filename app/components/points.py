"""Points: click in an image, and see its match in others; hover a token, and see what it resembles."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import matches, panels, point_panels
from app.components import album, asking, link, opening, points_receipt
from app.components.album import Shot
from app.components.looked import waiting
from app.components.pointing import pointing
from app.components.scene import Scene

MOST, FIRST = 6, 4  # images that a match is looked for in: at most, and at first
DRAWS = ["8", "4", "1"]  # DIFT's first; of a LARGE model, whose passes take long, it is the last
LARGE = 100_000_000  # parameters
SMALLEST = 192  # pixels of a picture that is sent


@dataclass(frozen=True)
class Pointed:
    """What is asked, and what came back; `found` has a match for each of the others, `heats` one more, the point's own image first."""

    scene: Scene
    keys: Sequence[str]  # of the images, the point's own first
    point: tuple[float, float]
    draws: int
    found: Sequence[Mapping[str, Any]]
    heats: np.ndarray
    size: tuple[int, int]  # of the map

    @property
    def names(self) -> list[str]:
        return [self.scene.shots[key].name for key in self.keys]

    @property
    def images(self) -> list[np.ndarray]:
        return [self.scene.images[key] for key in self.keys]


def show(scene: Scene) -> None:
    """Draw the view: which images, the point, its matches, the tokens, the receipt."""
    said = len(st.session_state.get("link_notes", []))
    own, others, draws = _choose(scene)
    point = _point(scene.card.resolution)
    if len(st.session_state.get("link_notes", [])) > said:
        st.rerun()  # notes stand above
    keys = [own.key, *others]
    more = {"block": scene.block, "sigma": scene.sigma, "draws": draws}
    matched = asking.look(scene.question("match", point=list(point), **more), scene.device, scene.data(*keys), patience=1.5)
    told = None  # of image A's tokens: asked when its map is there, which takes no pass then
    if matched.answer:
        told = asking.look(scene.question("tokens", **more), scene.device, scene.data(own.key), patience=1.0)
    going = [asked for asked in (matched, told) if asked is not None]
    for asked in going:
        if asked.error:
            st.error(str(asked.error), icon=":material/error:")
    pointed = _pointed(scene, keys, point, draws, matched) if matched.answer else None
    words = matches.sentence(pointed.found, pointed.names, point, scene.card.resolution) if pointed else ""
    st.caption(
        f"Click in image A, or move the cross with the arrow keys. Features are those of block {scene.block} at σ = {scene.sigma:.3g}, "
        f"{_size(scene, told)}; another block or noise level is chosen at the side."
    )
    pointing(_data(scene, keys, point, pointed, told), lambda x, y: _choose_point(x, y, scene.card.resolution))
    if pointed:
        with st.container(key="verdict"):
            st.markdown(words)
        if told and told.answer:
            for line in matches.tokens(told.answer[0]):
                st.caption(line)
        points_receipt.show(pointed)
    if not going[-1].ended.is_set():
        waiting(
            going[-1], f"{scene.card.name} reads the images, {draws} times each …" if told is None else "The tokens are being compared …"
        )


def _choose(scene: Scene) -> tuple[Shot, list[str], int]:
    """Draw the choice of images and of draws: the point's own image, keys of the others, how many draws."""
    shots = dict(scene.shots)
    _from_link(shots)
    own = album.choose(shots, "**Image A**, where the point is")
    there = {key: shot for key, shot in shots.items() if key != own.key}
    of = "points-others"
    before = st.session_state.get(of)
    picked = [key for key in before or () if key in there]
    if before is None or (before and not picked):  # none is here any more: other data are on the bench
        picked = _alike(own, there)[:FIRST]
    st.session_state[of] = picked[:MOST]
    with st.container(key="box-picks-points"):
        st.pills(
            f"**Images B**, where it is looked for: up to {MOST}",
            list(there),
            selection_mode="multi",
            key=of,
            persist_state="session",
            format_func=lambda key: f"![{there[key].name}]({album.thumb(there[key])})",
        )
    if len(picked) >= MOST:
        st.caption(f"{MOST} images are beside A, as many as there can be: take one out to choose another.")
    draws = DRAWS if scene.card.parameters < LARGE else DRAWS[::-1]
    link.start("draws", draws, say=opening.note)
    st.segmented_control(
        "Draws of noise",
        sorted(DRAWS, key=int),
        required=True,
        key="draws",
        persist_state="session",
        help="Features are the mean over so many draws of ε: more are steadier and take longer. DIFT (arXiv 2306.03881) uses 8.",
    )
    others = list(st.session_state[of])
    given = {key for key, shot in shots.items() if not shot.own}
    link.put("a", own.key if own.key in given else None)
    link.put("b", ",".join(key for key in others if key in given) or None)
    return own, others, int(link.keep("draws", draws))


def _alike(own: Shot, there: Mapping[str, Shot]) -> list[str]:
    """Keys of the other images, those of the same class first."""
    return sorted(there, key=lambda key: there[key].name.rpartition(", ")[2] != own.name.rpartition(", ")[2])


def _from_link(shots: Mapping[str, Shot]) -> None:
    """The images that a link names, once: only those that come with the data can be in one."""
    if "points-seen" in st.session_state:
        return
    st.session_state["points-seen"] = True
    given, others = st.query_params.get("a"), st.query_params.get("b")
    wanted = [key for key in (others or "").split(",") if key]
    if lacking := [key for key in (given, *wanted) if key and key not in shots]:
        count = "An image" if len(lacking) == 1 else f"{len(lacking)} images"
        opening.note(
            f"{count} of the link {'is' if len(lacking) == 1 else 'are'} not here: a link holds no image of one's own. Others are shown."
        )
    if given in shots:
        st.session_state["image-key"] = given
    if found := [key for key in wanted if key in shots and key != given]:
        st.session_state["points-others"] = found[:MOST]


def _point(side: int) -> tuple[float, float]:
    """The point that was chosen, of the link at first, else the middle; kept in place where another model reads another size."""
    if "points-at" not in st.session_state:
        st.session_state["points-at"] = (side / 2, side / 2, side)
        if given := st.query_params.get("point"):
            try:
                x, y = (float(part) for part in given.split(","))
            except ValueError:
                x = y = math.nan
            if 0 <= x <= side and 0 <= y <= side:
                st.session_state["points-at"] = (x, y, side)
            else:
                opening.note(f"The link asks for point = {given!r}; allowed: X,Y from 0 to {side} each. The middle is shown.")
    x, y, of = st.session_state["points-at"]
    x, y = (round(min(side, max(0.0, value * side / of)), 1) for value in (x, y))
    link.put("point", f"{x:g},{y:g}")
    return x, y


def _choose_point(x: float, y: float, side: int) -> None:
    st.session_state["points-at"] = (x, y, side)


def _pointed(scene: Scene, keys: Sequence[str], point: tuple[float, float], draws: int, matched: asking.Asked) -> Pointed:
    assert matched.answer is not None
    said, back = matched.answer
    return Pointed(scene, keys, point, draws, said["matches"], load(back)["heat"], tuple(said["size"]))


def _size(scene: Scene, told: asking.Asked | None) -> str:
    if told is None or told.answer is None:
        return "a map of tokens"
    height, width = told.answer[0]["size"]
    if height * width <= matches.HOVERED:
        return f"a map of {height}×{width} tokens"
    return f"a map of {height}×{width} tokens, too many to follow the pointer: click, and image A shows what the token there resembles"


def _data(
    scene: Scene, keys: Sequence[str], point: tuple[float, float], pointed: Pointed | None, told: asking.Asked | None
) -> dict[str, Any]:
    """What the browser draws: of each image its picture, heat map and words, the point, and the tokens of the first."""
    shots, side = scene.shots, scene.card.resolution
    images = [
        {"uri": panels.uri(scene.images[key], SMALLEST), "words": f"{'AB'[i > 0]}{i or ''}: {shots[key].name}"}
        for i, key in enumerate(keys)
    ]
    data: dict[str, Any] = {"side": side, "point": list(point), "ramp": base64.b64encode(RAMP.tobytes()).decode(), "tokens": _tokens(told)}
    if pointed:
        low, high = point_panels.ends(pointed.heats)
        data |= {"low": low, "high": high}
        for image, heat in zip(images, pointed.heats, strict=True):
            image["heat"] = panels.uri(point_panels.coloured(heat, low, high), 1)
        for image, one in zip(images[1:], pointed.found, strict=True):
            image["words"] += f". {matches.short(one, side)}"
            image |= {"place": [one["x"], one["y"]], "similarity": one["similarity"]}
    images[0]["words"] += f". The point: {point[0]:g}, {point[1]:g}."
    return {**data, "a": images[0], "others": images[1:]}


RAMP = panels.sequential(np.arange(256.0), 255.0)


def _tokens(told: asking.Asked | None) -> dict[str, Any] | None:
    if told is None or told.answer is None:
        return None
    said, back = told.answer
    arrays = load(back)
    height, width = said["size"]
    found = {"h": height, "w": width, "high": np.argwhere(arrays["high"]).tolist(), "norm": arrays["norm"].ravel().round(3).tolist()}
    if "similarity" not in arrays:
        return {**found, "similarity": None}
    return {**found, "similarity": base64.b64encode(arrays["similarity"].tobytes()).decode(), "lowest": said["lowest"]}
