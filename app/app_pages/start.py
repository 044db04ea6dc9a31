"""Start: what does this model know, and when?"""

from __future__ import annotations

import time

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.studies import Study
from app.components import controls, curve, generated, link, published, questions, receipt, shelf
from app.components.controls import AXES, BESIDE, TOGETHER

PAUSE = 0.12  # seconds in which a new visitor's browser paints the sketch before the charts' messages keep it busy: saves as much


def options(members: dict[str, Study]) -> dict[str, list[str]]:
    """What the page's controls and its link may say; the first of each is the default."""
    first = next(iter(members.values()))
    views = [view for view in curve.VIEWS if view != "budget" or len(first.facts["results"]) > 1]
    question = st.session_state.get("question")
    asked = members.get(question, first) if question else members.get(link.said("question") or "", first)
    several = len(members) > 1
    shown = asked if several and st.session_state.get("view", link.said("view")) in views else first
    return {
        "view": [*([TOGETHER] if several else []), *views],
        **({"question": list(members)} if several else {}),
        "axis": list(AXES),
        "labels": list(first.facts["results"]),
        "image": list(shown.facts["pictured"]),
        **({"beside": list(BESIDE)} if curve.beside(shown) else {}),
    }


def draw(members: dict[str, Study]) -> None:
    """The page of one model on one data set: the places first, then the sketch into its place, then what takes longer."""
    intro, summary, notices, bar = (st.container() for _ in range(4))
    allowed = options(members)
    with notices:
        for name, values in allowed.items():
            link.start(name, values)
    shown = {name: str(st.session_state[name]) for name in allowed}
    labels, together = shown["labels"], shown["view"] == TOGETHER
    study = members[shown["question"]] if "question" in shown and not together else next(iter(members.values()))
    result = study.result(labels)
    place = st.container(key="stage" if together or shown["view"] == "curve" else "figure")
    with place:
        if together:
            questions.paint(members, labels)
        elif shown["view"] == "curve":
            curve.paint(study, result)
    intro.markdown(introduction(study, [*members] if together else []))
    with summary:
        if together:
            questions.headline(members, labels)
        else:
            curve.headline(study, result)
    with bar:
        controls.draw(allowed)
    for name, values in allowed.items():
        link.keep(name, values)
    if "painted" not in st.session_state:
        time.sleep(PAUSE)
        st.session_state["painted"] = True
    with place:
        if together:
            questions.chart(members, labels, shown["axis"], shown["image"])
        else:
            curve.chart(study, result, shown)
    if together:
        questions.table(members, labels)
        questions.why(members, labels)
    else:
        curve.why(result, f"{study.card.space}s")
        curve.block_table(study, result, labels)
    receipt.show(study, labels, result, link.link({"study": next(iter(members.values())).key, **shown}), shown["axis"])
    generated.show(study)
    published.show()


def introduction(study: Study, asked: list[str]) -> str:
    """What the page is about, in two sentences, honest about the model's size and training."""
    card, facts = study.card, study.facts["receipt"]
    seen = card.training.get("images_seen")
    size = f"{card.parameters / 1e6:.1f} million parameters" + (f", {seen:,} images seen in training" if seen else "")
    if asked:
        number = {2: "two", 3: "three", 4: "four"}.get(len(asked), len(asked))
        return (
            f"One model, {number} questions, {number} curves. **{facts['model']}** ({size}) is shown images of **{facts['dataset']}** under "
            f"more and more noise, and linear probes read {', '.join(asked[:-1])} and {asked[-1]} from what one block of the network sees."
        )
    asked_for = "class" if facts["label_set"] == "label" else facts["label_set"]
    return (
        f"A diffusion model, **{facts['model']}** ({size}), is shown images of **{facts['dataset']}** under more and more noise. "
        f"At each noise level a linear probe reads the {asked_for} from what one block of the network sees."
    )


def page() -> None:
    """Draw the page, its empty state or its error."""
    st.title("What does this model know, and when?", anchor=False)
    try:
        known = shelf.entries()
        if known:
            draw(shelf.choose(known).studies())
        else:
            st.info("No study is here yet. Make one, in about three minutes, then reload this page:", icon=":material/science:")
            st.code("python -m analysis sweep", language="bash")
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")


page()
