"""Generate: when does the model make up its mind?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.specs import said_condition
from analysis.studies import Study
from app.components import asking, decided, forks, link, opening, way
from app.components import bench as lab
from app.components.runs import runs


def page() -> None:
    """Draw the page, its empty state or its error."""
    st.title("When does the model make up its mind?", anchor=False)
    try:
        found = runs()
        opening.from_link(found)
        bench = lab.choose(*opening.places(found))
        here = [run for run in found if run.study and run.place == (bench.backend, bench.dataset)]
        members = decided.questions(here, st.session_state.get("run"))
        if members:
            _draw(members, bench)
        elif here:
            st.info(
                "A sampler shows this model noisy images without a class, and no run here has linear probes of such passes. "
                "Measure one on the Curve page: noisy input, head logistic.",
                icon=":material/science:",
            )
        else:
            st.info(
                "Nothing has been measured for this model and data yet, so there are no probes to read samples with. "
                "Measure it on the Curve page first.",
                icon=":material/science:",
            )
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")


def _draw(members: Mapping[str, Study], bench: lab.Bench) -> None:
    chosen = next((study for study in members.values() if study.key == st.session_state.get("run")), next(iter(members.values())))
    st.session_state["run"] = chosen.key
    way.from_link()
    opening.notes()
    axis = lab.axis()
    link.keep("axis", list(lab.AXES))
    link.start("shown", list(decided.CURVES))
    shown = link.keep("shown", list(decided.CURVES))
    names = decided.listed([f"**{decided.called(name)}**" for name in members])
    st.markdown(
        f"**{chosen.card.name}** makes a picture from noise, step by step, and at every step the probes of the run read {names} from what "
        "the network sees. No noise is added on the way, so the first noise alone fixes the picture: *settled* says when the features show "
        "it, and forks, below, how open a level really is."
    )
    pace = asking.look({"ask": "pace", "studies": [chosen.key]}, bench.device)
    found = decided.gather(members, bench.device, pace)
    start = max(one["median"] for one in found.values()) if found else chosen.result()["verdict"]["peak_sigma"]
    sigma = lab.level(chosen.card, chosen.key, start)
    state = {"backend": bench.backend, "dataset": bench.dataset, "run": chosen.key, "sigma": f"{sigma:.6g}", "axis": axis, "shown": shown}
    state |= {"block": bench.block} if bench.block else {}
    if found:
        decided.headline(members, found)
        decided.chart(members, found, axis, shown, bench.block)
    state |= _sample(members, bench, sigma, axis, pace)
    for name in ("backend", "dataset", "run", "block", "sigma", "number", "seed"):
        link.put(name, state.get(name))
    _receipt(members, found, state)


def _sample(members: Mapping[str, Study], bench: lab.Bench, sigma: float, axis: str, pace: asking.Asked) -> dict[str, str]:
    """One sample and its forks; what a link says of them."""
    st.subheader("One sample, from noise to picture", anchor=False)
    number, seed = way.choose()
    question = {"ask": "sample", "studies": [study.key for study in members.values()], "number": number, "seed": seed}
    question |= {"steps": decided.STEPS} | ({"block": bench.block} if bench.block else {})
    asked = asking.look(question, bench.device, patience=1.5)
    if asked.answer is None:
        way.wait(asked, next(iter(members.values())).card.name)
    else:
        watched = way.opened(question, asked.answer)
        way.show(watched, members, sigma, axis)
        forks.show(watched, members, sigma, axis, bench.device, pace)
    return {"number": str(number), "seed": str(seed)}


def _receipt(members: Mapping[str, Study], found: Mapping[str, decided.Found], state: dict[str, str]) -> None:
    """How the numbers came about, the link to the view, and the command line that makes them again."""
    with st.expander("Receipt: how these numbers came about", icon=":material/receipt_long:"):
        lines = [f"**model**: {study.facts['receipt']['model']}, {study.facts['receipt']['revision']}" for study in members.values()][:1]
        for name, one in found.items():
            lines.append(
                f"**{decided.called(name)}**: {one['count']:,} samples of seed {one['seed']}, {one['sampler'].upper()}, {one['steps']} steps, "
                f"{one['seconds']:.0f} s on {one['device']}; block {one['block']}, which validation images chose, averaged to "
                f"{one['pooling']}×{one['pooling']}; probes of {one['labels_per_class']} labels a class of study {members[name].key}"
            )
        if (condition := next(iter(members.values())).facts["receipt"]["condition"]) != "none":
            lines.append(f"**condition**: {said_condition(condition)}")
        lines.append(
            "**intervals**: 95 %; shares by Wilson's, the level by a bootstrap over samples, up to the level above, where no step has seen"
        )
        if any(decided.DECIDING not in members[name].facts["files"] for name in found):
            lines.append("**kept**: what was watched here, as long as this page is open; the command below keeps it with the study")
        st.markdown("\n".join(f"- {line}" for line in lines))
        st.caption("A link to this view (a study that only you have opens only for you)")
        st.code(link.link(state), language=None, wrap_lines=True)
        st.caption("The command line that watches the samples and keeps the result with the studies")
        words = ["python", "-m", "analysis", "study", "decide", *(study.key for study in members.values())]
        st.code(shlex.join([*words, "--count", str(decided.COUNT), "--steps", str(decided.STEPS)]), language="bash", wrap_lines=True)


page()
