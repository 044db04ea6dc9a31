"""The Image page on runs that people made themselves: few blocks, several poolings, data that are not here any more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analysis.answers import Answers
from analysis.lane import Answer
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import Study
from analysis.sweeping import sweep
from app.components import asking

from .test_image import NOISE, captions, drop, png, visit
from .test_start import texts


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store(tmp_path)
    answers = Answers(store, "cpu", 0)

    def worker(_root: Path, _device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
        return answers(question, data)

    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(asking, "ask", worker)
    monkeypatch.setattr(asking, "_threads", lambda: AtOnce())
    st.cache_data.clear()
    return store


class AtOnce:
    """Work is done where it is given."""

    def submit(self, function: Any, *arguments: Any) -> None:
        function(*arguments)


def look(study: Study, **query: str) -> AppTest:
    request = study.facts["request"]
    return visit(request["backend"], request["dataset"], run=study.key, **query)


def test_a_block_that_was_not_measured_is_named_and_the_probe_that_reads_is_the_one_that_is_spoken_of(
    own: Store, request_small: SweepRequest
) -> None:
    changes = {"poolings": ("2", "1"), "blocks": ("mid.res1", "up0.res0"), "baselines": False}
    study = sweep(request_small.model_copy(update=changes), own)
    page = look(study, block="down0.res0")
    assert not page.exception
    assert "Block down0.res0 was not measured in this run" in texts(page)
    page = look(study, block="mid.res1", sigma="1")
    assert not page.exception
    table = study.table("curve")
    mine = table[(table.source == "model") & (table.block == "mid.res1") & (table.pooling == "1")]
    near = mine.iloc[(mine.sigma - 1).abs().argsort().iloc[0]]
    assert f"is right on {100 * near.accuracy:.0f} % of test images" in captions(page)


def test_where_neither_data_nor_generated_images_are_here_one_can_still_add_an_image(own: Store, small_study: Study) -> None:
    folder = shutil.copytree(small_study.folder, own.root / "studies" / small_study.key)
    facts = json.loads((folder / "study.json").read_text())
    facts["request"]["dataset"] = "/nowhere/images"
    (folder / "study.json").write_text(json.dumps(facts))
    page = visit(facts["request"]["backend"], "/nowhere/images", run=small_study.key)
    assert not page.exception
    assert "are not on this machine" in texts(page)
    page = drop(page, ("mine.png", png(NOISE), "image/png"))
    assert not page.exception
    assert page.metric[0].value in small_study.facts["classes"]
