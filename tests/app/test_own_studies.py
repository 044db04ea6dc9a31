"""Start on studies that people made themselves: several poolings, few test images, few generated ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from PIL import Image

from analysis.generated import generate
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import Study, open_study
from analysis.sweeping import sweep

from .test_start import visit

VIEWS = ["curve", "blocks", "map"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    st.cache_data.clear()
    return Store(tmp_path)


def test_every_view_of_a_study_of_several_poolings_is_drawn(own: Store, request_small: SweepRequest) -> None:
    for poolings in (("1", "2"), ("2", "1")):
        study = sweep(request_small.model_copy(update={"poolings": poolings, "baselines": False}), own)
        for view in VIEWS:
            page = visit(study=study.key, view=view)
            assert not page.exception
            assert page.get("plotly_chart")[0].proto.spec


def test_only_classes_with_a_picture_are_offered(own: Store, request_small: SweepRequest) -> None:
    study = sweep(request_small.model_copy(update={"n_test": 9, "baselines": False}), own)
    offered = study.facts["pictured"]
    assert 1 < len(offered) < 10
    sheet = np.asarray(Image.open(study.path("strip.png")).convert("L"))
    assert sheet.shape[0] == 8 * len(offered)
    page = visit(study=study.key, image=offered[-1])
    assert not page.exception
    assert not page.warning
    assert page.selectbox(key="image").options == offered


def test_a_row_of_generated_images_is_enough(own: Store, small_study: Study, tiny_folder: Path) -> None:
    folder = shutil.copytree(small_study.folder, own.root / "studies" / small_study.key)
    generate(open_study(folder), str(tiny_folder), count=12, steps=2)
    page = visit(study=small_study.key)
    assert not page.exception
    assert "What the model makes from noise" in [heading.value for heading in page.subheader]
