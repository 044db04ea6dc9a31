"""Over many samples: at which noise level each question is settled, from what ships or what is asked for here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from analysis.studies import DECIDING, Study
from app.components import asking, words
from app.components.bench import axis_switch
from app.components.curve import toolbar
from app.components.looked import following
from app.components.runs import Run

if TYPE_CHECKING:
    import pandas as pd

Found = Mapping[str, Any]  # decided.measure's, of one question
COUNT, STEPS = 1000, 19
SURE = 0.7  # of test images: a probe that is right on fewer says little of when a class is settled
CURVES = {"agreement": "Agrees with the end", "settled": "Is settled for good"}


def questions(here: Sequence[Run], chosen: str | None) -> dict[str, Study]:
    """By label set the study whose probes read samples: all of one model's weights, those with a finding first, then by best level."""
    fit = [run.study for run in here if run.study and _fits(run.study)]
    if not fit:
        return {}
    first = next((study for study in fit if study.key == chosen), fit[0])
    same = [study for study in fit if study.facts["receipt"]["revision"] == first.facts["receipt"]["revision"]]
    members: dict[str, Study] = {}
    for study in sorted(same, key=lambda study: (study is not first, not _ships(study))):
        members.setdefault(study.facts["receipt"]["label_set"], study)
    return dict(sorted(members.items(), key=lambda item: (not _ships(item[1]), item[1].result()["verdict"]["peak_sigma"])))


def _fits(study: Study) -> bool:
    """Whether the study's probes read such passes as a sampler makes."""
    request = study.facts["request"]
    linear = study.facts["receipt"]["head"] == "logistic"
    return linear and study.card.space == "pixel" and (request["input"], request["condition"]) == ("noisy", study.card.unconditional)


def _ships(study: Study) -> bool:
    return DECIDING in study.facts["files"]


@st.cache_data(show_spinner=False, max_entries=32)
def _kept(version: str, _study: Study) -> Found:
    found: Found = json.loads(_study.path(DECIDING).read_text())
    return found


@st.cache_data(show_spinner=False, max_entries=32)
def _probe(version: str, block: str, pooling: str, labels: str, _study: Study) -> pd.DataFrame:
    """The test accuracy over σ of the probes that were asked."""
    table = _study.table("curve")
    mine = (table.source == "model") & (table.block == block) & (table.pooling == pooling) & (table.labels_per_class == labels)
    return table[mine].sort_values("sigma")[["sigma", "accuracy"]]


def called(name: str) -> str:
    """A label set in a sentence."""
    return "class" if name == "label" else name


def listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def cost(passes: float, asked: asking.Asked) -> str:
    """What so many passes of one image take here, in words."""
    if asked.answer is None:
        return f"{passes:,.0f} passes of an image; how long that takes is {'not known' if asked.error else 'still being measured'}"
    seconds = passes * asked.answer[0]["pace"]
    return f"{passes:,.0f} passes of an image, about {words.duration(seconds) if seconds >= 1.5 else 'a second or less'}"


def gather(members: Mapping[str, Study], device: str, pace: asking.Asked) -> dict[str, Found]:
    """The findings by question: those that are kept, and those that were asked for here; the rest is offered."""
    found = {name: _kept(study.version, study) for name, study in members.items() if _ships(study)}
    lacking = {name: study for name, study in members.items() if name not in found}
    if not lacking:
        return found
    question = {"ask": "decide", "studies": [study.key for study in lacking.values()], "count": COUNT, "steps": STEPS}
    if st.session_state.get("deciding") != question:
        _offer(lacking, question, pace)
        return found
    asked = asking.look(question, device, patience=0.4)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        st.session_state.pop("deciding")
        st.button("Try again", key="decide-again", on_click=asking.forget)
    elif asked.answer is None:
        following(asked, "deciding", f"{COUNT:,} samples are being watched …", lambda told: 0)
    else:
        found |= {name: asked.answer[0]["found"][study.key] for name, study in lacking.items()}
    return found


def _offer(lacking: Mapping[str, Study], question: dict[str, Any], pace: asking.Asked) -> None:
    names = listed([called(name) for name in lacking])
    st.info(
        f"When {names} is settled has not been watched yet for this model: {cost(COUNT * STEPS, pace)}.", icon=":material/hourglass_top:"
    )
    if st.button(f"Watch {COUNT:,} samples", type="primary", icon=":material/visibility:"):
        st.session_state["deciding"] = question
        st.rerun()


def probes(members: Mapping[str, Study], found: Mapping[str, Found]) -> dict[str, pd.DataFrame]:
    """By question, how often the probes that were asked are right on test images."""
    asked = {name: (one["block"], one["pooling"], str(one["labels_per_class"])) for name, one in found.items()}
    return {name: _probe(members[name].version, *cell, members[name]) for name, cell in asked.items()}


def right(study: Study, block: str, sigma: float, pooling: str | None = None) -> float:
    """How often the probe of a block that is asked at σ is right on test images; of the headline's pooling if not of another."""
    pooling, labels = pooling or study.result()["headline"].rpartition("/")[2], next(iter(study.facts["results"]))
    table = _probe(study.version, block, pooling, labels, study)
    return float(table.accuracy.iloc[int(np.abs(np.log(table.sigma.to_numpy() / sigma)).argmin())])


def sentence(found: Mapping[str, Found]) -> str:
    """The finding in words."""
    told = []
    for name, one in found.items():
        low, high = one["median_ci"]
        told.append(f"their {called(name)} by σ = {words.level(one['median'])} ({words.level(low)} to {words.level(high)})")
    count = min(one["count"] for one in found.values())
    return f"Half of {count:,} samples on their way from noise have settled {listed(told)}."


def limits(reads: Mapping[str, float]) -> str | None:
    """Which questions' levels are the probe's doing as much as the model's, in words."""
    poor = {called(name): share for name, share in reads.items() if share < SURE}
    if not poor:
        return None
    told = listed([f"the probe of {name} is right on {100 * share:.0f} %" for name, share in poor.items()])
    return (
        f"**Limited by the probe: {listed(list(poor))}.** Near the last level {told} of test images. A probe that errs changes its answer "
        "though the picture be decided, so this level tells of the probe as much as of the model, and is likely too low."
    )


def headline(members: Mapping[str, Study], found: Mapping[str, Found]) -> None:
    """The level of each question, the sentence, and what limits it."""
    reads: dict[str, float] = {}
    numbers = st.container(horizontal=True, gap="medium")
    for name, one in found.items():
        (low, high), last = one["median_ci"], min(level["sigma"] for level in one["levels"])
        reads[name] = right(members[name], one["block"], last)
        numbers.metric(
            f"{called(name).capitalize()}, settled at",
            f"σ ≈ {words.level(one['median'])}",
            f"{words.level(low)} to {words.level(high)}",
            delta_color="off",
            delta_arrow="off",
            help=f"The level by which half of {one['count']:,} samples have the {called(name)} that they end with, for good; 95 % interval. "
            f"Read in block {one['block']}; near the last level its probe is right on {100 * reads[name]:.0f} % of test images.",
        )
    with st.container(key="verdict"):
        st.markdown(sentence(found))
        if said := limits(reads):
            st.warning(said, icon=":material/straighten:")


def chart(members: Mapping[str, Study], found: Mapping[str, Found], axis: str, what: str, block: str | None) -> None:
    """Controls and curves over σ."""
    from analysis import deciding_panels

    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Share of samples whose class",
            list(CURVES),
            required=True,
            format_func=CURVES.__getitem__,
            key="shown",
            persist_state="session",
        )
        axis_switch()
    shown = [{called(name): part for name, part in parts.items()} for parts in (found, probes(members, found))]
    figure = deciding_panels.settled_figure(*shown, axis, what)  # type: ignore[arg-type]
    blocks = dict.fromkeys(one["block"] for one in found.values())
    st.plotly_chart(figure, key="settled", alt=sentence(found), config=toolbar())
    does = "read the class that the sample ends with" if what == "agreement" else "read that class at this level and at all below it"
    st.caption(
        f"Share of samples whose features {does}, with 95 % bands; open markers: beyond the probes' levels. Thin and dashed: how often the "
        "same probe is right on test images. Disagreement is the model's undecidedness and the probe's errors together, so read each "
        "curve beside its dashed one."
        + ("" if block is None or set(blocks) == {block} else f" Watched in {listed(list(blocks))}, not in {block} on the bench.")
    )
    with st.expander("The numbers", icon=":material/table_rows:"):
        st.dataframe(_table(found), hide_index=True, width="stretch")


def _table(found: Mapping[str, Found]) -> list[dict[str, Any]]:
    return [
        {
            "question": called(name),
            "t": level["timestep"],
            "σ": float(f"{level['sigma']:.4g}"),
            "agree with the end": f"{level['agreement']:.1%} ({level['agreement_low']:.1%} to {level['agreement_high']:.1%})",
            "settled": f"{level['settled']:.1%} ({level['settled_low']:.1%} to {level['settled_high']:.1%})",
            "probe of σ": f"{level['probe_sigma']:.3g}{', the outermost' if level['outside'] else ''}",
        }
        for name, one in found.items()
        for level in reversed(one["levels"])
    ]
