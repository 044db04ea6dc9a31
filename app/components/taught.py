"""Probes that were taught in this session, one set a study, and which probes the page reads with. No other session has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import streamlit as st

from analysis.studies import Study
from analysis.verdict import Verdict
from app.components.looked import Arrays, Probes

OWN, TAUGHT = "run", "taught"
LONGEST = 60  # letters of the classes in the switch


@dataclass(frozen=True)
class Taught:
    """What was taught, from which images, and how well it reads: curve is (mean, low, high) over the study's levels."""

    classes: tuple[str, ...]
    members: Mapping[str, str]  # key of each image, and its class
    block: str
    curve: tuple[list[float], list[float], list[float]]
    verdict: Verdict
    probes: Arrays = field(repr=False)

    @property
    def title(self) -> str:
        names = " / ".join(self.classes)
        return names if len(names) <= LONGEST else f"{names[: LONGEST - 2]} …"


def of(study: Study) -> Taught | None:
    """What was taught under a study's model, last."""
    return _all().get(study.key)


def keep(study: Study, taught: Taught) -> None:
    """For this session, in place of what was taught before."""
    _all()[study.key] = taught


def _all() -> dict[str, Taught]:
    found: dict[str, Taught] = st.session_state.setdefault("taught", {})
    return found


def choose(study: Study) -> Probes:
    """Draw the switch, where something was taught; the probes to read with."""
    own, taught = Probes(study, study.facts["classes"]), of(study)
    if taught is None:
        return own
    names = {OWN: "the run's probes", TAUGHT: f"taught: {taught.title}"}
    st.session_state.setdefault("read-with", OWN)
    chosen = st.segmented_control(
        "Read with", list(names), required=True, format_func=names.__getitem__, key="read-with", persist_state="session"
    )
    if chosen == OWN:
        return own
    st.caption("The taught probes end with this tab and are not in a link: one opens with the run's own.")
    return Probes(study, taught.classes, taught.probes, taught.members)


def read_with(name: str) -> None:
    """Read with the run's probes, or with those that were taught, from now on."""
    st.session_state["read-with"] = name
