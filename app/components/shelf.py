"""The studies there are: those of one model on one data set stand together, one for each question (label set).

Questions come in the order of their best noise level.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.studies import Study, open_study, studies
from app.components import link

FEW = 5  # so many entries are shown at once, more in a list


@dataclass(frozen=True)
class Entry:
    """One model on one data set; `members` gives the study for each question, or what is wrong with it."""

    title: str
    key: str  # of the first member
    members: Mapping[str, Study | NoisescopeError]

    def studies(self) -> dict[str, Study]:
        """The members. Raises what is wrong with one."""
        found: dict[str, Study] = {}
        for question, study in self.members.items():
            if isinstance(study, NoisescopeError):
                raise study
            found[question] = study
        return found


def entries() -> list[Entry]:
    """What there is to look at: several questions first, then in the order of `studies`, those that ship before one's own."""
    groups: dict[tuple, dict[str, tuple[float, str, Study | NoisescopeError]]] = {}  # question -> (its best level, key, study)
    titles: dict[tuple, str] = {}
    for key, folder in studies().items():
        try:
            study = open_study(folder)
        except NoisescopeError as error:
            groups[(key,)], titles[(key,)] = {"": (0.0, key, error)}, f"damaged · {key[:6]}"
            continue
        receipt = study.facts["receipt"]
        asked = {name: value for name, value in study.facts["request"].items() if name not in ("backend", "dataset", "label_set")}
        same = (receipt["revision"], receipt["dataset_identity"], json.dumps(asked, sort_keys=True))
        if receipt["label_set"] in groups.get(same, {}):
            same = (*same, key)  # the same question again, asked otherwise
        groups.setdefault(same, {})[receipt["label_set"]] = (study.result()["verdict"]["peak_sigma"], key, study)
        titles.setdefault(same, f"{receipt['dataset']} · {receipt['model']}")
    found = []
    for same, group in groups.items():
        members = sorted(group.items(), key=lambda item: item[1][:2])
        found.append(Entry(titles[same], members[0][1][1], {name: study for name, (_, _, study) in members}))
    seen = [entry.title for entry in found]
    found = [Entry(f"{e.title} · {e.key[:6]}", e.key, e.members) if seen.count(e.title) > 1 else e for e in found]
    return sorted(found, key=lambda entry: -len(entry.members))


def choose(known: list[Entry]) -> Entry:
    """The entry that the link or the person asks for, chosen above everything else where there are several."""
    keys = {entry.key: entry for entry in known}
    asked = link.said("study")
    for entry in known:  # a link may name any member: then it is that question
        for question, study in entry.members.items():
            if asked != entry.key and isinstance(study, Study) and study.key == asked:
                link.put("study", entry.key)
                for name, value in (("question", question), ("view", "curve")):
                    link.put(name, link.said(name) or value)
    link.start("study", list(keys))
    if 1 < len(known) <= FEW:
        st.segmented_control(
            "Study",
            list(keys),
            required=True,
            format_func=lambda key: keys[key].title,
            key="study",
            persist_state="session",
            label_visibility="collapsed",
        )
    elif len(known) > FEW:
        st.selectbox("Study", list(keys), format_func=lambda key: keys[key].title, key="study", persist_state="session")
    return keys[link.keep("study", list(keys))]
