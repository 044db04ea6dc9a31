"""What the features of every cell score without labels, and what it would cost to choose by it: what is kept, or asked for here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis import advice, regret
from analysis.regret import SCORES, Regret
from analysis.studies import UNLABELLED, Study
from app.components import asking, words
from app.components.curve import toolbar
from app.components.looked import following

if TYPE_CHECKING:
    import pandas as pd


@st.cache_data(show_spinner=False, max_entries=16)
def _kept(version: str, _study: Study) -> Any:
    return regret.kept(_study)


@st.cache_data(show_spinner=False, max_entries=16)
def _regrets(name: tuple[str, str], _study: Study, _recipe: advice.Recipe, table: pd.DataFrame) -> list[Regret]:
    return regret.regrets(_study, _recipe, table)


def show(study: Study, recipe: advice.Recipe, device: str, axis: str) -> None:
    """Draw the scores, or offer to compute them."""
    said: Any = study.facts.get("unlabelled")
    if UNLABELLED in study.facts["files"]:
        table = _kept(study.version, study)
    else:
        found = _asked(study, device)
        if found is None:
            return
        table, said = found
    told = _regrets((study.version, recipe.labels), study, recipe, table)
    st.markdown(regret.sentence(told))
    st.dataframe(regret.rows(told), hide_index=True, width="stretch")
    st.caption(
        "Regret is the probe's best cell's test accuracy less that of the cell which the score chooses, paired, with its own 95 % interval; "
        "below 0 the score chose better. Rank correlation is over all cells, +1 where the score ranks them as the probe does. "
        f"{_how(said, study)}"
    )
    with st.expander("What the scores are", icon=":material/rule:"):
        st.markdown("\n".join(f"- **{one.title}**: {one.about}. {one.source}." for one in SCORES.values()))
    _maps(study, recipe, table, told, axis)


def _how(said: Any, study: Study) -> str:
    """How the scores came about, in words."""
    if not said:
        return ""
    train = f" and {said['train']:,} training images" if said["train"] else ""
    draws = "two draws of ε" if said["draws"] > 1 else "clean input, so nothing can be said of other draws of ε"
    averaged = study.facts["request"].get("average_draws", 1) > 1
    return (
        f"Scores are of {said['validation']:,} validation images{train}, {draws}, k-means with {said['clusters']} clusters; no label was read"
        + ("; the probe read the mean over several draws, the scores each draw." if averaged else ".")
    )


def _asked(study: Study, device: str) -> tuple[Any, Any] | None:
    """The scores that were asked for here and how they came about; else the offer, or how far they are."""
    question: dict[str, Any] = {"ask": "unlabelled", "study": study.key}
    if st.session_state.get("scoring") != question:
        _offer(question, device)
        return None
    asked = asking.look(question, device, patience=0.4)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        st.session_state.pop("scoring")
        st.button("Try again", key="scoring-again", on_click=asking.forget)
    elif asked.answer is None:
        following(asked, "scoring", "Every cell is being scored …", lambda told: 0)
    else:
        return regret.read(asked.answer[1]), asked.answer[0]
    return None


def _offer(question: dict[str, Any], device: str) -> None:
    asked = asking.look({**question, "most": 0.0}, device, patience=0.4)
    if asked.error:
        st.info(str(asked.error), icon=":material/rule:")
        return
    cost = "how long that takes is still being measured"
    if asked.answer is not None:
        told = asked.answer[0]
        cost = f"{told['passes']:,} passes of an image and {told['cells']:,} cells, about {words.duration(told['seconds'])}"
    st.info(
        "Which cell could one choose without a single label? Effective rank, noise invariance, alignment, uniformity and clusters that "
        f"agree over σ have not been computed for this run: {cost}.",
        icon=":material/hourglass_top:",
    )
    if st.button("Score every cell without labels", type="primary", icon=":material/label_off:", key="score-it"):
        st.session_state["scoring"] = question
        st.rerun()


def _maps(study: Study, recipe: advice.Recipe, table: pd.DataFrame, told: list[Regret], axis: str) -> None:
    """A score beside the probe's accuracy."""
    from analysis import unlabelled_figures

    known = {one.score: one for one in told if one.chosen}
    if st.session_state.get("unlabelled-score") not in known:
        st.session_state["unlabelled-score"] = next(iter(known))
    titles = {name: score.title for name, score in SCORES.items() if name in known}
    name = str(st.segmented_control("Score", list(titles), required=True, format_func=titles.__getitem__, key="unlabelled-score"))
    one = known[name]
    assert one.chosen is not None
    pooling = one.chosen.pooling
    curve = study.table("curve")
    curve = curve[(curve.source == "model") & (curve.labels_per_class == recipe.labels) & (curve.pooling == pooling)]
    rings = {"score": one.chosen, "probe": recipe.best}
    figure = unlabelled_figures.beside(
        table[table.pooling == pooling],
        curve,
        study.facts["levels"],
        axis,  # type: ignore[arg-type]
        name,
        SCORES[name],
        {who: (cell.block, cell.level) for who, cell in rings.items() if cell.pooling == pooling},
    )
    says = (
        f"{SCORES[name].title} chooses {advice.place(one.chosen)}, {advice.lacks(one.regret)}"
        + (f"; rank correlation {one.correlation:+.2f}." if one.correlation is not None else ".")
        + (" It is shown to choose a worse cell than the probe." if one.failed else "")
    )
    st.plotly_chart(figure, key=f"unlabelled-{name}", alt=says, config=toolbar())
    st.caption(f"{says} Bright is better: for the score by its own paper, whatever the probe says.")
