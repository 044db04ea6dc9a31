"""Teach: images in named boxes become probes of one's own classes, with their curve over noise. Only the button computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load, save

from analysis import lesson, uploads
from analysis.errors import InvalidData, NoisescopeError
from analysis.studies import Study
from analysis.verdict import Verdict, describe
from app.components import album, asking, bench, boxes, taught
from app.components.boxes import Box
from app.components.curve import toolbar
from app.components.looked import following, percent
from app.components.taught import Taught
from app.components.words import duration

LOOK, TEACH = "look", "teach"
VIEWS = {LOOK: "Look", TEACH: "Teach"}
FIT, FIT_MORE = 0.003, 5e-6  # seconds that a probe of a few images takes on one core, and more of it by images × classes


def switch() -> str:
    """Draw the switch between looking at an image and teaching; which it is at."""
    st.session_state.setdefault("image-view", LOOK)
    view = st.segmented_control(
        "Look or teach",
        list(VIEWS),
        required=True,
        format_func=VIEWS.__getitem__,
        key="image-view",
        label_visibility="collapsed",
        persist_state="session",
    )
    return str(view)


def show(study: Study, examples: Mapping[str, album.Shot], block: str, axis: str, device: str) -> None:
    """Draw boxes, button, progress and what was learnt."""
    side = study.card.resolution
    st.markdown(
        f"Put a few images of each class into the boxes. {study.card.name} reads the middle square of each, at {side}×{side} pixels, at every "
        "noise level; probes learn your classes from its features."
    )
    boxes.fill_from_files(side)
    given = boxes.draw(examples)
    _button(study, given, block, device)
    _wait(study, device)
    if learnt := taught.of(study):
        _result(study, learnt, given, axis)


def _asked(given: Sequence[Box], side: int) -> tuple[list[str], list[album.Shot], np.ndarray, np.ndarray]:
    """Class names, the images as they came, as the model reads them (n, side, side, 3), and their labels (n,). Raises InvalidData."""
    classes, shots = [name for name, _ in given], [shot for _, members in given for shot in members]
    labels = np.repeat(np.arange(len(given)), [len(members) for _, members in given])
    lesson.check(labels, classes)
    framed, first = [_framed(shot, side) for shot in shots], {}
    for shot, image in zip(shots, framed, strict=True):
        if (like := first.setdefault(image.tobytes(), shot)) is not shot:  # one would be scored by a probe fitted on the other
            raise InvalidData(f"{shot.name} and {like.name} are the same picture at {side}×{side} pixels; take one of them out.")
    return classes, shots, np.stack(framed), labels


def _framed(shot: album.Shot, side: int) -> np.ndarray:
    """The middle square of an image, scaled once: the page is drawn often, and a photo is large."""
    known: dict[tuple[str, int], np.ndarray] = st.session_state.setdefault("framed", {})
    if (shot.key, side) not in known:
        known[shot.key, side] = uploads.frame(shot.pixels, side)
    return known[shot.key, side]


def _button(study: Study, given: Sequence[Box], block: str, device: str) -> None:
    wrong, images = None, np.zeros(0)
    try:
        classes, shots, images, labels = _asked(given, study.card.resolution)
    except NoisescopeError as error:
        wrong = str(error)
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Teach", type="primary", icon=":material/school:", disabled=wrong is not None)
        st.caption(wrong or _cost(study, [len(members) for _, members in given]))
    if not pressed:
        return
    st.session_state["teaching"] = {
        "of": study.key,
        "question": {"ask": "teach", "study": study.key, "classes": classes, "block": block},
        "data": save({"images": images, "labels": labels.astype(np.int64)}),
        "members": {shot.key: classes[label] for shot, label in zip(shots, labels, strict=True)},
    }


def _cost(study: Study, counts: Sequence[int]) -> str:
    levels, blocks = len(study.facts["levels"]), len(study.facts["request"]["blocks"])
    passes, fits = sum(counts) * levels * lesson.DRAWS, levels * (lesson.DRAWS * lesson.folds(counts) + blocks)
    pace = st.session_state.get("pace", {}).get(study.key)  # known once an image was looked at
    time = f", about {duration(max(1, passes * pace + fits * (FIT + FIT_MORE * sum(counts) * len(counts))))}" if pace else ""
    return (
        f"{sum(counts)} images × {levels} noise levels × {lesson.DRAWS} draws of noise = {passes:,} passes of the network, and {fits:,} small "
        f"probes{time}."
    )


def _wait(study: Study, device: str) -> None:
    """While it is being taught: progress and Cancel, or what is wrong; at its end it is kept."""
    wanted = st.session_state.get("teaching")
    if not wanted or wanted["of"] != study.key:
        return
    asked = asking.look(wanted["question"], device, wanted["data"], patience=0.3)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        st.button("Try again", on_click=asking.forget)
    elif asked.answer is None:
        following(asked, "teaching", "The images are being read at every noise level …", lambda _: -1)
    else:
        said, back = asked.answer
        verdict = {name: tuple(value) if isinstance(value, list) else value for name, value in said["verdict"].items()}
        question = wanted["question"]
        curve, members = said["curve"], wanted["members"]
        taught.keep(study, Taught(tuple(question["classes"]), members, question["block"], curve, Verdict(**verdict), load(back)))
        st.session_state.pop("teaching")


def _result(study: Study, learnt: Taught, given: Sequence[Box], axis: str) -> None:
    st.subheader(learnt.title, anchor=False)
    if {shot.key: name for name, members in given for shot in members} != learnt.members:
        st.caption("The boxes have changed since: this is of what was in them when Teach was pressed.")
    verdict, classes = learnt.verdict, learnt.classes
    best, chance, n = _best(learnt), 1 / len(classes), len(learnt.members)
    row = st.container(horizontal=True, gap="medium")
    row.metric("Best noise level", f"σ ≈ {verdict.peak_sigma:.2g}", help=_interval(*verdict.peak_ci, "{:.2g}"))
    row.metric("Right there", percent(best[0]), help=_interval(best[1], best[2], "{:.0%}"))
    row.metric("Guessing", percent(chance), help=f"One of {len(classes)} classes at random.")
    row.metric("Shape of the curve", f"{verdict.shape}, n = {n}", help="Undecided: so few images cannot tell.")
    says = finding(study, learnt)
    with st.container(key="verdict"):
        st.markdown(says)
    bench.axis_switch()
    _figure(study, learnt, axis, says)
    st.caption(_method(n, list(learnt.members.values())))
    st.button("Read images with it", type="primary", icon=":material/image_search:", on_click=_look)


def _best(learnt: Taught) -> tuple[float, float, float]:
    """Share of images that are read right at the best level, with its interval."""
    place = int(np.argmax(learnt.curve[0]))
    return learnt.curve[0][place], learnt.curve[1][place], learnt.curve[2][place]


def _interval(low: float, high: float, form: str) -> str:
    return f"95 % interval {form.format(low)} to {form.format(high)}.".replace("%.", " %.").replace("% to", " % to")


def finding(study: Study, learnt: Taught) -> str:
    """What the curve says, in words."""
    verdict, (share, low, high), levels = learnt.verdict, _best(learnt), len(study.facts["levels"])
    counts = [list(learnt.members.values()).count(name) for name in learnt.classes]
    n, most = sum(counts), max(counts)
    always = f", always saying “{learnt.classes[counts.index(most)]}” for {percent(most / n)}" if len(set(counts)) > 1 else ""
    shape = describe(verdict, learnt.block, subject=study.card.name)
    if verdict.shape == "undecided" and learnt.curve[0][0] == 1:
        shape = (
            f"For block {learnt.block} of {study.card.name} the shape is undecided: at σ = {verdict.lowest_sigma:.2g}, the lowest level, "
            "every image is read right, so there is no room for a rise."
        )
    return (
        f"Of {n} images {percent(share)} (95 % interval {percent(low)} to {percent(high)}) are read right at the best of {levels} levels, near "
        f"σ = {verdict.peak_sigma:.2g} ({verdict.peak_ci[0]:.2g} to {verdict.peak_ci[1]:.2g}); guessing is right for "
        f"{percent(1 / len(counts))}{always}. {shape}"
    )


def _method(n: int, labels: Sequence[str]) -> str:
    counts = [labels.count(name) for name in dict.fromkeys(labels)]
    how = "each left out in turn" if n <= lesson.FEW else f"in {lesson.folds(counts)} folds"
    return (
        f"With so few images none is kept for testing alone: each is scored by probes that were fitted without it ({how}), over {lesson.DRAWS} draws of "
        "noise. The interval does not count that these probes share images, and the best level was chosen with the same ones. Where nothing "
        "can be read, the share falls below guessing: what is left out makes its class the scarcer one."
    )


def _figure(study: Study, learnt: Taught, axis: str, says: str) -> None:
    import pandas as pd

    from analysis import figures

    levels: list[dict[str, Any]] = study.facts["levels"]
    mean, low, high = learnt.curve
    rows = pd.DataFrame({"sigma": [level["sigma"] for level in levels], "accuracy": mean, "ci_low": low, "ci_high": high})
    counts = [list(learnt.members.values()).count(name) for name in learnt.classes]
    lines = {"chance": 1 / len(counts)}
    if len(set(counts)) > 1:
        lines[f"always “{learnt.classes[counts.index(max(counts))]}”"] = max(counts) / sum(counts)
    figure = figures.taught_figure(rows, levels, axis, learnt.block, lines)  # type: ignore[arg-type]
    st.plotly_chart(figure, key="taught-curve", alt=says, config=toolbar())


def _look() -> None:
    st.session_state["image-view"] = LOOK
    taught.read_with(taught.TAUGHT)
