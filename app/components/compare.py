"""Two and more runs beside each other: is one better, where, and are they alike?"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from analysis.comparing import Comparison
from analysis.fairness import facts, unlike, unsure
from analysis.matching import Side, one_schedule, sides
from app.components import compare_receipt, differing, equalise
from app.components.beside import VIEW, title
from app.components.controls import CHOSEN
from app.components.curve import toolbar
from app.components.runs import Run, titles


def show(run: Run, others: Sequence[Run], found: Sequence[Run], device: str, block: str | None, shown: Mapping[str, str]) -> None:
    """Draw the comparison of a run with others, at the labels, block, pooling, axis and level that are shown."""
    studies = [one.study for one in (run, *others) if one.study]
    asked: dict[str, Any] = {"labels": shown["labels"], "block": block, "pooling": None if shown["pooling"] == CHOSEN else shown["pooling"]}
    result = studies[0].result(shown["labels"])
    _, own_block, own_pooling = result["headline"].split("/")
    if f"model/{block or own_block}/{asked['pooling'] or own_pooling}" not in result["verdicts"]:  # the page has said so
        asked |= {"block": None, "pooling": None}
    compared = sides(studies, **asked)
    _names(compared, (run, *others))
    if equal := equalise.switch(compared, found, device):
        compared = sides(equal, **asked)
    comparisons = [_compared(_of(compared[0], other), compared[0], other) for other in compared[1:]]
    with st.container(key="verdict"):
        for one in comparisons:
            st.markdown(one.sentence())
    _figure(comparisons, shown["axis"])
    for one in comparisons:
        if one.match.mismatches:
            st.markdown(f"**What {one.reference.name} and {one.other.name} do not share**")
            st.markdown("\n".join(f"- {said}" for said in one.match.mismatches))
    _facts(compared)
    sigma = float(shown["sigma"])
    differing.classes(comparisons, sigma)
    differing.images(comparisons, sigma, device)
    state = {**shown, "view": VIEW, "run": run.key, "with": ",".join(one.key for one in others)}
    state |= ({"block": block} if block else {}) | ({"equal": "1"} if equal else {})
    compare_receipt.show(comparisons, asked, sigma, state)


def _names(compared: Sequence[Side], shown: Sequence[Run]) -> None:
    """Which letter is which run."""
    told = titles(shown, title)
    lines = [
        f"**{side.name}**{' (reference)' if not place else ''}: {told[run.key]}"
        for place, (side, run) in enumerate(zip(compared, shown, strict=True))
    ]
    st.markdown("  \n".join(lines))


def _of(reference: Side, other: Side) -> tuple[str, ...]:
    """Equal as long as a comparison says the same."""
    return tuple(part for side in (reference, other) for part in (side.name, side.study.version, side.labels, side.series))


@st.cache_resource(show_spinner=False, max_entries=24)
def _compared(name: tuple[str, ...], _reference: Side, _other: Side) -> Comparison:
    return Comparison(_reference, _other)


def _figure(comparisons: Sequence[Comparison], axis: str) -> None:
    """Curves over differences, and what its marks mean."""
    from analysis import comparing_figures as figures
    from analysis.figures import pick

    reference, every = comparisons[0].reference, [comparisons[0].reference, *(one.other for one in comparisons)]
    used = axis if axis != "timestep" or one_schedule(every) else "sigma"
    drawn = []
    for side in every:
        table = side.study.table("curve")
        rows = pick(table[table.labels_per_class == side.labels], side.series)
        alike = side is reference or not unlike(reference, side)
        drawn.append(
            figures.Drawn(
                f"{side.name}: {side.study.card.name}, {side.block}", rows, side.study.facts["levels"], not alike, side.study.measure
            )
        )
    figure = figures.compared_figure(drawn, [(one.sigmas[0], one.levels) for one in comparisons], used)  # type: ignore[arg-type]
    says = " ".join(one.sentence() for one in comparisons)
    st.plotly_chart(figure, key="figure-compare", alt=says, config=toolbar())
    st.caption(
        f"Above, each run's curve on its own test images, with 95 % intervals. Below, the difference from {reference.name} on what is shared: the "
        "band is 95 % at each level, dotted lines hold all levels at once, and a filled marker is a difference that is shown after correction "
        "for their number."
        + (" Dashed and hatched: a run that is unlike the reference, see the table." if any(run.unlike for run in drawn) else "")
        + (" Timesteps of these models are not the same noise, so levels are said as σ." if used != axis else "")
    )


def _facts(compared: Sequence[Side]) -> None:
    """What every run says of itself; rows that are unlike are hatched and say so."""
    said = [facts(side) for side in compared]
    differs = [set(unlike(compared[0], side)) for side in compared[1:]]
    open_ = [set(unsure(compared[0], side)) for side in compared[1:]]
    head = "".join(f"<th>{side.name}{' (reference)' if not place else ''}</th>" for place, side in enumerate(compared))
    rows = []
    for name in said[0]:
        cells = [f"<td>{html.escape(said[0][name])}</td>"]
        for own, unequal, unknown in zip(said[1:], differs, open_, strict=True):
            mark = "<b>≠ unlike</b> " if name in unequal else "<b>?</b> " if name in unknown else ""
            cells.append(f"<td>{mark}{html.escape(own[name])}</td>")
        kind = ' class="unlike"' if any(name in unequal for unequal in differs) else ""
        rows.append(f"<tr{kind}><th>{html.escape(name)}</th>{''.join(cells)}</tr>")
    with st.container(key="facts"):
        st.html(f'<table class="facts"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>')
    st.caption(
        "Hatched rows with ≠ are not the same in both runs, and a difference may come from them. A question mark: at least one run does not say."
    )
