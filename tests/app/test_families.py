"""The bench with a model that brought no card."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.backends import describe
from app.components.words import plain
from tests.families import adm_classes

MAIN = Path(__file__).parents[2] / "app" / "main.py"


def visit(**query: str) -> AppTest:
    page = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, value in query.items():
        page.session_state[name] = value
    return page.switch_page("app_pages/curve.py").run()


@pytest.mark.usefixtures("own_store")
def test_a_checkpoints_card_says_what_was_assumed_and_what_papers_call_a_block(tmp_path: Path) -> None:
    place = str(adm_classes(tmp_path))
    card = describe(place)
    page = visit(backend=place, dataset="shapes", block="up0.res0")
    assert not page.exception
    said = " ".join(caption.value for caption in page.sidebar.caption)
    assert all(plain(note) in said for note in card.notes)
    assert len(card.notes) == 2
    called = next(block.literature for block in card.blocks if block.name == "up0.res0")
    assert f"in papers {called}" in said


@pytest.mark.usefixtures("own_store")
def test_a_pickle_is_a_sentence() -> None:
    page = visit(backend="edm-cifar10-32x32-cond-vp.pkl", dataset="digits")
    assert not page.exception
    assert "runs whatever code it holds" in page.error[0].value
