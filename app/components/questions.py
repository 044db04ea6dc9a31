"""One model, several questions: three curves, and for each the best block and the best noise level."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from analysis.questions import Question, ask, finding
from analysis.studies import Study
from app.components.curve import toolbar
from app.components.sketch import sketch
from app.components.strip import tiles

BOTTOM, TOP = -0.12, 1.2  # of the figure's upper panel: the sketch stands where it will be


def _ask(members: Mapping[str, Study], labels: str) -> list[Question]:
    results = {name: study.result(labels) for name, study in members.items()}
    return ask(results, {name: study.chance for name, study in members.items()})


def paint(members: Mapping[str, Study], labels: str) -> None:
    """The sketch of the curves, each from chance to its own best."""
    sigmas = [level["sigma"] for level in next(iter(members.values())).facts["levels"]]
    questions = _ask(members, labels)
    curves = {question.name: question.relative() for question in questions}
    with st.container(key="sketch"):
        st.markdown(f"![{finding(questions)}]({sketch(curves, sigmas, 0, BOTTOM, TOP)})")


def headline(members: Mapping[str, Study], labels: str) -> None:
    """For each question, where it is read best and how well."""
    numbers = st.container(horizontal=True, gap="medium")
    questions = _ask(members, labels)
    for question in questions:
        verdict = question.verdict
        level = list(question.curve[0]).index(max(question.curve[0]))
        low, high = (100 * row[level] for row in question.curve[1:])
        numbers.metric(
            f"{question.name.capitalize()}, best at",
            f"σ ≈ {verdict['peak_sigma']:.2g}",
            f"{100 * verdict['peak_accuracy']:.0f} % right there",
            delta_color="off",
            delta_arrow="off",
            help=f"95 % interval of the level: {verdict['peak_ci'][0]:.2g} to {verdict['peak_ci'][1]:.2g}. Accuracy of a linear probe "
            f"on block {question.block}: {low:.1f} to {high:.1f} %, chance is {100 * question.chance:.0f} %.",
        )
    with st.container(key="verdict"):
        st.markdown(finding(questions))


def chart(members: Mapping[str, Study], labels: str, axis: str, image: str) -> None:
    """The interactive figure; it takes the sketch's place when it has come."""
    first = next(iter(members.values()))
    levels = first.facts["levels"]
    images = tiles(first.version, first.facts["pictured"].index(image), len(levels), 96, first)
    from analysis import exhibit

    questions = _ask(members, labels)
    start = min(range(len(levels)), key=lambda i: abs(levels[i]["sigma"] - questions[len(questions) // 2].verdict["peak_sigma"]))
    figure = exhibit.questions_figure(questions, levels, axis, images, start)  # type: ignore[arg-type]
    st.plotly_chart(figure, key="figure-questions", alt=finding(questions), config=toolbar())


def why(members: Mapping[str, Study], labels: str) -> None:
    """What this shows, no further than the verdicts carry."""
    questions = _ask(members, labels)
    trained = next(iter(members.values())).card.training
    with st.container(key="why"):
        st.markdown(
            "**Why the best level depends on the question.** Noise removes fine detail first and coarse structure last. It helps a question "
            "where it strips away detail that would only distract, and harms it once it reaches what the question is about."
        )
        falling = [q.name for q in questions if q.verdict["shape"] == "decreasing"]
        if falling and trained.get("images", 0) is None:
            st.markdown(
                f"**A falling curve alone does not prove memorization.** {' and '.join(falling).capitalize()} only falls, and this network "
                f"met every one of its {trained['images_seen']:,} training images once: there was nothing to memorize."
            )


def table(members: Mapping[str, Study], labels: str) -> None:
    """The best block and the best level of each question, with intervals."""
    rows = []
    for question in _ask(members, labels):
        verdict = question.verdict
        level = list(question.curve[0]).index(max(question.curve[0]))
        rows.append(
            {
                "question": question.name,
                "best block": question.block,
                "best σ": f"{verdict['peak_sigma']:.2g} ({verdict['peak_ci'][0]:.2g} to {verdict['peak_ci'][1]:.2g})",
                "accuracy there": f"{100 * question.curve[0][level]:.1f} % "
                f"({100 * question.curve[1][level]:.1f} to {100 * question.curve[2][level]:.1f})",
                "chance": f"{100 * question.chance:.1f} %",
                "gain over least noise": f"{100 * verdict['gain']:+.1f} ({100 * verdict['gain_ci'][0]:+.1f} to {100 * verdict['gain_ci'][1]:+.1f})",
                "shape": verdict["shape"],
            }
        )
    st.dataframe(rows, hide_index=True, width="stretch")
    st.caption(
        "The block is the one that validation images chose for the question. Intervals are 95 %; the gain, in points, was measured on other "
        "draws and images than chose the peak."
    )
