"""Ask's Words, without a browser; what a worker would answer is answered in this process."""

from __future__ import annotations

import shlex
from io import BytesIO

import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from analysis.backends import describe
from app.components import files, words_view
from tests import latents

from .test_image import settle
from .test_start import MAIN, texts

pytestmark = pytest.mark.usefixtures("answered")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pipelines with a card, so that no process of its own reads them in every test."""
    found = {name: getattr(latents, name)(tmp_path_factory.mktemp(name)) for name in ("stable", "dit")}
    for folder in found.values():
        card = describe(str(folder)).model_dump_json()
        (folder / "card.json").write_text(card)
    return {name: str(folder) for name, folder in found.items()}


def visit(backend: str, **query: str) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in {"backend": backend, "dataset": "digits", "by": "words", **query}.items():
        page.query_params[name] = value
    page.run()
    return settle(page.switch_page("app_pages/ask.py").run())


def test_a_model_that_is_told_no_text_has_a_sentence_and_nothing_else(folders: dict[str, str]) -> None:
    for backend in ("digits-ddpm", folders["dit"]):
        page = visit(backend, prompt="a fox")
        assert not page.error
        assert "is told no text, so there are no words to look for" in page.info[0].value
        assert not page.text_input


def test_without_a_prompt_it_says_what_to_do_and_a_prompt_has_maps(folders: dict[str, str]) -> None:
    page = visit(folders["stable"])
    assert "Write what is in the image" in page.info[0].value
    page.text_input(key="words-prompt").set_value("a photo of a red fox")
    page = settle(page.run())
    assert not page.exception
    assert not page.error
    assert "**photo** takes" in texts(page)
    assert "Maps of “photo” over the image at 8 noise levels, in the mean over blocks." in texts(page)
    assert page.query_params["prompt"] == "a photo of a red fox"


def test_a_link_restores_prompt_word_block_and_levels_and_the_receipt_says_them(folders: dict[str, str]) -> None:
    key = list(visit(folders["stable"]).session_state["thumbs"])[3]
    page = visit(folders["stable"], prompt="a red fox", others="house", word="+ house", wordblock="mid.res0", wordlevels="16", a=key)
    assert page.session_state["image-key"] == key
    assert "In block mid.res0, **+ house** takes" in texts(page)
    assert "at 16 noise levels, in block mid.res0" in texts(page)
    code = [one.value for one in page.code]
    assert "word=%2B+house" in code[0]
    words = shlex.split(code[1])
    assert words[: words.index("--out")][4:] == [
        *("noisescope-words-image.png", "--backend", folders["stable"], "--prompt", "a red fox", "--word", "house"),
        *("--block", "mid.res0", "--levels", "16"),
    ]
    assert "What the DAAM" in texts(page)


def test_what_a_link_says_wrong_is_named(folders: dict[str, str]) -> None:
    page = visit(folders["stable"], prompt="a red fox", word="wolf", wordblock="up0.res0", wordlevels="9")
    page = settle(page.run())
    said = " ".join(str(one.value) for one in page.warning)
    assert "word = 'wolf'" in said
    assert "wordblock = 'up0.res0'" in said
    assert "wordlevels = '9'" in said


def test_what_was_cut_of_a_long_prompt_is_said(folders: dict[str, str]) -> None:
    page = visit(folders["stable"], prompt="fox " * 15 + "in snow")
    assert any("“fox in snow”" in one.value for one in page.warning)


def test_what_takes_long_says_its_cost_and_waits_for_a_button(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_view, "LONG", 0.0)
    page = visit(folders["stable"], prompt="a red fox")
    assert "of 8 noise levels ha" in texts(page)
    assert "takes" not in texts(page).split("take about")[1]
    next(button for button in page.button if button.label == "Make the maps").click()
    assert "**red** takes" in texts(settle(page.run()))


def test_every_head_has_a_row(folders: dict[str, str]) -> None:
    page = visit(folders["stable"], prompt="a red fox", wordblock="mid.res0")
    page.toggle(key="wordheads").set_value(True)
    page = settle(page.run())
    assert not page.error
    strip = next(chart for chart in page.get("plotly_chart") if "Maps of" in chart.proto.alt or "head 2" in chart.proto.spec)
    assert "head 1" in strip.proto.spec
    assert "head 2" in strip.proto.spec


def test_the_shares_and_the_maps_are_taken_along(folders: dict[str, str]) -> None:
    page = visit(folders["stable"], prompt="a red fox")
    page.button(key="words-csv").click()
    page = settle(page.run())
    table = pd.read_csv(BytesIO(page.session_state[files.MADE][2]))
    assert set(table.word) == {"a", "red", "fox", "start, end and filling"}
    assert table[table.block == "mid.res0"].groupby("sigma").share.sum().round(4).tolist() == [1.0] * 8
    page.button(key="words-png").click()
    page = settle(page.run())
    assert Image.open(BytesIO(page.session_state[files.MADE][2])).width == 9 * 114
