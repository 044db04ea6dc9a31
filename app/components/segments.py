"""Segments: a few strokes say what the parts of images are, and the model's features say where else they are; or k-means does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load, save

from analysis import segment_panels
from analysis.figures import label
from analysis.label_images import CLASSES, LETTERS, VOID
from app.components import album, asking, link, opening, segmented, strokes
from app.components import bench as lab
from app.components.looked import following, waiting
from app.components.scene import Scene
from app.components.segmented import Read, Shown
from app.components.strokes import Given

WAYS = {"strokes": "With my strokes", "clusters": "Without labels"}
DRAWS = ("1", "4", "8")
OTHERS = 24  # images without strokes that are segmented with the painted ones
COUNTS = tuple(str(k) for k in range(2, CLASSES + 1))


def show(scene: Scene) -> None:
    """Draw the view."""
    link.start("seg-by", list(WAYS), say=opening.note)
    way = st.segmented_control("Find parts", list(WAYS), required=True, format_func=WAYS.__getitem__, key="seg-by", persist_state="session")
    link.keep("seg-by", list(WAYS))
    (_strokes if way == "strokes" else _clusters)(scene)


def _state(scene: Scene, read: Read, **more: str) -> dict[str, str]:
    """What a link says."""
    return {
        "backend": scene.backend,
        "dataset": str(st.session_state.get("dataset", "")),
        "block": scene.block,
        "sigma": f"{scene.sigma:.6g}",
        "axis": scene.axis,
        "by": str(st.session_state.get("by", "segments")),
        "seg-by": str(st.session_state["seg-by"]),
        "seg-blocks": ",".join(read.blocks),
        "seg-sigmas": ",".join(f"{sigma:.6g}" for sigma in read.sigmas),
        "seg-draws": str(read.draws),
        **more,
    }


def _read(scene: Scene) -> Read:
    """Draw the choice of what pixels are read with: the block and level of the bench, or several of both."""
    blocks, levels = [block.name for block in scene.card.blocks], segment_panels.levels(scene.card)
    sigmas = {f"{one['sigma']:.6g}": one for one in levels}
    wished = {what: [name for name in st.query_params.get(what, "").split(",") if name] for what in ("seg-blocks", "seg-sigmas")}
    several = st.toggle(
        "Read several blocks and levels",
        len(wished["seg-blocks"]) > 1 or len(wished["seg-sigmas"]) > 1,
        key="seg-several",
        help="Their features side by side, as in the paper, which reads four blocks at three levels. Each level is a pass of the network.",
    )
    if not several:
        found = Read((scene.block,), (scene.sigma,), 1)
    else:
        if "seg-blocks" not in st.session_state:
            _start(scene, wished, sigmas)
        st.session_state["seg-blocks"] = [name for name in st.session_state["seg-blocks"] if name in blocks] or [scene.block]
        st.session_state["seg-sigmas"] = [name for name in st.session_state["seg-sigmas"] if name in sigmas] or [_near(sigmas, scene.sigma)]
        link.start("seg-draws", DRAWS, say=opening.note)
        some = st.multiselect("Blocks", blocks, key="seg-blocks", persist_state="session")
        at = st.multiselect(
            f"Levels ({lab.AXES[scene.axis]})",
            list(sigmas),
            format_func=lambda name: label(sigmas[name], scene.axis),  # type: ignore[arg-type]
            key="seg-sigmas",
            persist_state="session",
        )
        draws = st.segmented_control("Draws of noise, averaged", DRAWS, required=True, key="seg-draws", persist_state="session")
        found = Read(tuple(some) or (scene.block,), tuple(sorted(sigmas[name]["sigma"] for name in at)) or (scene.sigma,), int(draws))
    single = len(found.blocks) == len(found.sigmas) == found.draws == 1
    link.put("seg-blocks", None if single else ",".join(found.blocks))
    link.put("seg-sigmas", None if single else ",".join(f"{sigma:.6g}" for sigma in found.sigmas))
    link.put("seg-draws", None if found.draws == 1 else str(found.draws))
    st.caption(f"Pixels are read by {found.said}{f', the mean over {found.draws} draws of noise' if found.draws > 1 else ''}.")
    return found


def _near(sigmas: Mapping[str, Any], sigma: float) -> str:
    """The level, by its name, that is nearest to σ."""
    return min(sigmas, key=lambda name: abs(np.log(float(name) / sigma)))


def _start(scene: Scene, wished: Mapping[str, list[str]], sigmas: Mapping[str, Any]) -> None:
    """Several blocks and levels as the link says them; what it asks for that is not there is named."""
    blocks = {block.name for block in scene.card.blocks}
    for name in wished["seg-blocks"]:
        if name not in blocks:
            opening.note(f"The link asks to read block {name!r}, which {scene.card.name} does not have. It is left out.")
    found = []
    for name in wished["seg-sigmas"]:
        try:
            sigma = float(name)
        except ValueError:
            sigma = 0.0
        if not 0 < sigma < np.inf:
            opening.note(f"The link asks to read σ = {name!r}; allowed: numbers above 0. It is left out.")
            continue
        found.append(_near(sigmas, sigma))
        if abs(np.log(float(found[-1]) / sigma)) > opening.CLAMPED:
            opening.note(f"The link asks to read σ = {name}; the nearest of {len(sigmas)} levels, σ = {float(found[-1]):.3g}, is read.")
    st.session_state["seg-blocks"] = wished["seg-blocks"]
    st.session_state["seg-sigmas"] = list(dict.fromkeys(found))


def _known(scene: Scene) -> dict[str, np.ndarray] | None:
    """True masks that the data set knows, by the image's key, and the names of their classes suggested; None while they are on their way."""
    question = scene.question("segment-masks", dataset=str(st.session_state.get("dataset", "")))
    keys = [key for key in scene.images if not scene.shots[key].own]
    asked = asking.look(question, scene.device, scene.data(*keys), patience=1.5) if keys else None
    if asked is None or asked.error:
        return {}
    if asked.answer is None:  # nothing is painted before it is known what the classes are called
        waiting(asked, "The data are being looked at …")
        return None
    said, back = asked.answer
    strokes.suggest(said["names"])
    masks = load(back)["masks"]
    return {key: masks[row] for row, key in enumerate(keys) if (masks[row] != VOID).any()}


def _strokes(scene: Scene) -> None:
    if (known := _known(scene)) is None:
        return
    st.caption(
        "Paint a short stroke of each class, on one image or on several. A probe learns from the features of the painted pixels what each class is, "
        "and says it of all other pixels, in these images and in the others."
    )
    shot = album.choose(dict(scene.shots))
    left, right = st.columns([1, 1], gap="large")
    with left:
        strokes.paint(scene, shot.key)
    with right:
        strokes.name_classes()
        read = _read(scene)
        use = strokes.true_masks(scene, shot.key, bool(known))
        given = strokes.given(scene, known if use else {}, OTHERS)
        st.caption(given.said)
        wanted = _button(scene, read, given)
    if given.wrong or not wanted:
        st.session_state.pop("segment-last", None)
        return
    _segmented(scene, read, given)


def _button(scene: Scene, read: Read, given: Given) -> bool:
    """Draw the button that labels the rest; whether it was pressed for this model and these features: then every stroke is answered."""
    of = (scene.backend, read)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Label the rest",
            type="primary",
            icon=":material/format_paint:",
            disabled=given.wrong is not None,
            on_click=lambda: st.session_state.update(segmenting=of),
        )
        if strokes.strokes() or strokes.dropped():
            st.button("Forget all strokes", icon=":material/delete:", on_click=strokes.forget)
    st.caption(given.wrong or f"{read.cost(len(given.keys))}, once; another stroke needs none.")
    return st.session_state.get("segmenting") == of


def _data(scene: Scene, given: Given) -> bytes:
    images = np.stack([scene.images[key] for key in given.keys])
    return save({"images": images, "labels": given.labels, "truth": given.truth})


def _failed(asked: asking.Asked) -> bool:
    """Say what is wrong with a question, where something is."""
    if asked.error:
        st.error(str(asked.error), icon=":material/broken_image:")
        st.button("Try again", on_click=asking.forget)
    return asked.error is not None


def _segmented(scene: Scene, read: Read, given: Given) -> None:
    names, data = strokes.names(), _data(scene, given)
    of = (scene.backend, read, tuple(names))
    asked = asking.look(scene.question("segment", classes=len(names), **read.question), scene.device, data, patience=1.0)
    if _failed(asked):
        return
    if asked.answer is None:
        following(asked, "segmenting", "The images are being read …", lambda _: -1)
        last, before = st.session_state.get("segment-last"), True
    else:
        last, before = (of, given.keys, asked.answer), False
        st.session_state["segment-last"] = last
    if last is None or last[0] != of or not set(last[1]) <= set(scene.images):
        return
    _, keys, (said, back) = last
    arrays = load(back)
    st.subheader("Segments", anchor=False)
    if before:
        st.caption("These are from the strokes before.")
    for k in said["unpainted"]:
        st.caption(f"Nothing is painted of {names[k]}, so no pixel is said to be of it.")
    told: Mapping[str, Any] | None = said.get("overlap")
    if told:
        segmented.score(told, names)
    painted = {key for row, key in enumerate(given.keys) if (given.labels[row] != VOID).any()}
    shown = Shown(keys, arrays["labels"], arrays["certainty"], names)
    segmented.pictures(scene, shown, painted)
    over = _over(scene, read, given, data) if told else None
    if not before:
        segmented.receipt(scene, read, shown, given, told, over, _state(scene, read))


def _over(scene: Scene, read: Read, given: Given, data: bytes) -> Mapping[str, Any] | None:
    """Draw mean IoU over noise levels, or the button that asks for it with what it costs."""
    st.subheader("Mean IoU over noise levels", anchor=False)
    levels = [one["sigma"] for one in segment_panels.levels(scene.card)]
    painted = {row for row in range(len(given.keys)) if (given.labels[row] != VOID).any()}
    scored = {row for row in range(len(given.keys)) if ((given.truth[row] != VOID) & (given.labels[row] == VOID)).any()}
    of = (scene.backend, read.blocks, read.draws)
    if st.session_state.get("segment-over") != of:
        count = len(painted | scored)
        st.button("Score every level", icon=":material/show_chart:", on_click=lambda: st.session_state.update({"segment-over": of}))
        st.caption(f"{Read(read.blocks, tuple(levels), read.draws).cost(count)}.")
        return None
    question = scene.question("segment-levels", classes=len(strokes.names()), **{**read.question, "sigmas": levels})
    asked = asking.look(question, scene.device, data, patience=1.0)
    if _failed(asked):
        return None
    if asked.answer is None:
        following(asked, "segment-over", "Every level is being read …", lambda _: -1)
        return None
    lab.axis_switch()
    segmented.curve(asked.answer[0], scene, read)
    return asked.answer[0]


def _clusters(scene: Scene) -> None:
    st.caption(
        "Places whose features are alike are one segment, the same in all images: k-means, without a label. What a segment is, you say."
    )
    link.start("seg-k", COUNTS, say=opening.note)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        count = int(st.segmented_control("How many segments (k)", COUNTS, required=True, key="seg-k", persist_state="session"))
    link.keep("seg-k", list(COUNTS))
    read = _read(scene)
    mine = [key for key in scene.images if scene.shots[key].own]
    keys = tuple([*mine, *(key for key in scene.images if key not in mine)][: max(OTHERS, len(mine))])
    of = (scene.backend, read)
    if st.session_state.get("clustering") != of:
        st.button("Find segments", type="primary", icon=":material/join_inner:", on_click=lambda: st.session_state.update(clustering=of))
        st.caption(f"{read.cost(len(keys))}, once; another k needs none.")
        return
    asked = asking.look(scene.question("segment-clusters", k=count, **read.question), scene.device, scene.data(*keys), patience=1.0)
    if _failed(asked):
        return
    if asked.answer is None:
        waiting(asked, "The images are being read …")
        return
    shown = Shown(keys, load(asked.answer[1])["labels"], None, list(LETTERS[:count]))
    segmented.pictures(scene, shown, set())
    segmented.receipt(scene, read, shown, None, None, None, _state(scene, read, **{"seg-k": str(count)}))
