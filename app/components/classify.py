"""Classes, on the Ask page: which class an image is by denoising error, and at which noise levels that is decided."""

from __future__ import annotations

from typing import Any

import streamlit as st
from safetensors.numpy import load

from analysis import catalog, classified
from analysis.classified import CLASS, PROMPT, Classified
from analysis.errors import InvalidRequest
from analysis.specs import Card
from app.components import album, asking, classify_receipt, link, opening, words
from app.components import bench as lab
from app.components.album import Shot
from app.components.curve import toolbar
from app.components.looked import following, plain, waiting
from app.components.scene import Scene

NUMBERS = {"levels": ["16", "8", "32"], "draws": ["16", "8", "32", "64"]}  # the first of each is the default
MANY = 2000  # letters of prompts


def show(scene: Scene) -> None:
    """Draw the image, what is to be decided and at what cost, and the answer; or which model can be asked."""
    card = scene.card
    if not classified.classes(card) and not classified.takes_text(card):
        _another(card)
        return
    st.markdown("The class under which the model denoises the image best is its answer: no head is trained, no label is read.")
    shot = album.choose(dict(scene.shots))
    numbers = _numbers()
    candidates = _candidates(card)
    state = _state(scene, numbers, candidates)
    question = scene.question("classify", candidates=candidates, **numbers)
    asked_for = (question, shot.key)
    _offer(scene, question, shot, asked_for)
    if st.session_state.get("classifying") != asked_for:
        return
    asked = asking.look(question, scene.device, scene.data(shot.key), patience=0.4)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        st.button("Try again", key="classify-again", on_click=asking.anew, args=("classify",))
        return
    if asked.answer is None:
        following(asked, "classifying", "The first passes are being made …", lambda told: int(told.get("draws", 0)))
    told = asked.answer or asked.so_far
    if told is None or "found" not in told[0]:
        return
    found = classified.of(told[0]["found"], load(told[1]))
    _answer(scene, found, so_far=asked.answer is None)
    if asked.answer is not None:
        classify_receipt.show(scene, found, shot, state)


def _another(card: Card) -> None:
    """A model without classes: which of those that ship has them."""
    known = [name for name in catalog.models() if len(classified.classes(catalog.card(name))) > 1]
    st.info(
        f"{card.name} was trained without classes and takes no text, so it cannot be asked which class an image is. "
        f"Of the models that ship, {' and '.join(known)} can.",
        icon=":material/category:",
    )
    for name in known:
        st.button(f"Switch to {name}", key=f"switch-{name}", icon=":material/swap_horiz:", on_click=_switch, args=(name,))


def _switch(name: str) -> None:
    st.session_state["backend"] = name
    if (data := catalog.card(name).training.get("data")) in lab.data():
        st.session_state["dataset"] = data


def _numbers() -> dict[str, int]:
    """Draw how many levels and draws."""
    found = {}
    with st.container(horizontal=True):
        for name, allowed in NUMBERS.items():
            key = f"classify-{name}"
            link.start(key, allowed, say=opening.note)
            label = {"levels": "Noise levels", "draws": "Draws of noise, at most"}[name]
            st.segmented_control(label, sorted(allowed, key=int), required=True, key=key, persist_state="session")
            found[name] = int(link.keep(key, allowed))
    return found


def _candidates(card: Card) -> list[str]:
    """Draw what the image may be; every class where none is chosen."""
    known, found = classified.classes(card), []
    if known:
        if "among" not in st.session_state:
            given = [f"{CLASS}{number}" for number in st.query_params.get("among", "").split(",") if number]
            if unknown := [name for name in given if name not in known]:
                opening.note(f"The link asks for {unknown[0]}, which {card.name} does not have; it is left out.")
            st.session_state["among"] = given
        st.session_state["among"] = [name for name in st.session_state["among"] if name in known]
        found = st.multiselect(
            "Candidates",
            known,
            key="among",
            format_func=lambda name: classified.name_of(card, name),
            placeholder=f"All {len(known):,} classes",
            help="Classes that are clearly worse fall out early, so many classes cost less than it seems; fewer cost less still.",
            persist_state="session",
        )
    if classified.takes_text(card):
        st.session_state.setdefault("prompts", st.query_params.get("prompts", ""))
        lines = st.text_area(
            "Candidate prompts, one a line",
            key="prompts",
            max_chars=MANY,
            placeholder="a photo of a cat\na photo of a dog",
            persist_state="session",
        )
        return [*found, *(PROMPT + line.strip() for line in dict.fromkeys(lines.splitlines()) if line.strip())]
    return found or known


def _offer(scene: Scene, question: dict[str, Any], shot: Shot, asked_for: Any) -> None:
    """The button, and what it will cost."""
    wrong = None
    try:
        classified.check(scene.card, question["candidates"])
    except InvalidRequest as error:
        wrong = str(error) if question["candidates"] else "Write two or more prompts, one a line."
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Classify by denoising error", type="primary", icon=":material/category:", disabled=wrong is not None)
        if wrong:
            st.caption(wrong)
        else:
            _cost(scene, question, shot)
    if pressed:
        st.session_state["classifying"] = asked_for


def _cost(scene: Scene, question: dict[str, Any], shot: Shot) -> None:
    """Say what it will cost; while a pass is being timed, without the time."""
    count = len(question["candidates"])
    passes = count * question["levels"] * question["draws"]
    said = f"{count:,} candidates × {question['levels']} noise levels × {question['draws']} draws: at most {passes:,} passes"
    asked = asking.look({**question, "ask": "classify-cost"}, scene.device, scene.data(shot.key), patience=1.0)
    if asked.error:
        st.caption(f"{said}; how long one takes cannot be said: {asked.error}")
    elif asked.answer is None:
        waiting(asked, f"{said}; how long one takes is being measured …")
    else:
        told = asked.answer[0]
        st.caption(f"{said}, about {words.duration(told['passes'] * told['pace'])}; fewer, as candidates fall out.")


def _state(scene: Scene, numbers: dict[str, int], candidates: list[str]) -> dict[str, str]:
    """The view, for a link."""
    known = classified.classes(scene.card)
    state = {"backend": scene.backend, "dataset": str(st.session_state["dataset"]), "by": str(st.session_state["by"]), "axis": scene.axis}
    state |= {"block": scene.block, "sigma": f"{scene.sigma:.6g}"} | {f"classify-{name}": str(value) for name, value in numbers.items()}
    chosen = [name.removeprefix(CLASS) for name in candidates if name in known]
    if chosen and len(chosen) < len(known):
        state["among"] = ",".join(chosen)
    if prompts := [name.removeprefix(PROMPT) for name in candidates if name.startswith(PROMPT)]:
        state["prompts"] = "\n".join(prompts)
    for name in ("among", "prompts"):
        link.put(name, state.get(name))
    return state


def _answer(scene: Scene, found: Classified, so_far: bool) -> None:
    from analysis import classified_figures as figures

    card = scene.card
    names = [classified.name_of(card, name) for name in found.conditions]
    says, where = classified.sentence(found, names), classified.where(found, names)
    with st.container(key="verdict"):
        written = [words.plain(name) for name in names]
        st.markdown(f"{'So far: ' if so_far else ''}{classified.sentence(found, written)}")
        if not so_far:
            st.markdown(f"{classified.where(found, written)} {classified.saved(found)}")
    lab.axis_switch()
    left, right = st.columns([2, 3])
    with left:
        alt = f"Denoising error of each class above that of {names[found.race.best]}. {plain(says)}"
        st.plotly_chart(figures.bars(found, names), key="classes-bars", alt=alt, config=toolbar())
        more = figures.hidden(found, figures.BARS)
        st.caption(
            "How much worse the added noise ε is guessed under each class than under the answer: squared error, mean over levels. Intervals are 95 % of all classes together, over draws that the two share."
            + (f" {more:,} classes with higher errors are not shown." if more else "")
        )
    with right:
        levels = found.levels(card)
        st.plotly_chart(figures.curves(found, names, levels, scene.axis), key="classes-levels", alt=where, config=toolbar())  # type: ignore[arg-type]
        more = figures.hidden(found, figures.LINES)
        st.caption(
            "The same at every noise level: below the line that class would win. Shaded: the levels that make half of the lead; band: 95 %, "
            "of the runner-up at each level." + (f" {more:,} others are hidden." if more else "")
        )
    with st.expander("Every class", icon=":material/table_rows:"):
        st.dataframe(
            [
                {
                    "class": names[k],
                    "error": f"{found.race.error[k]:.4f}",
                    "above the answer": _above(found, k),
                    "draws": int(found.race.taken[k]),
                    "lowest at": f"{found.lowest.count(k)} levels",
                }
                for k in found.race.order
            ],
            hide_index=True,
            width="stretch",
        )


def _above(found: Classified, k: int) -> str:
    if k == found.race.best:
        return "the answer"
    return f"{found.race.excess[k]:.4f} ({found.race.low[k]:.4f} to {found.race.high[k]:.4f})"
