"""Ask's Points, without a browser; what a worker would answer is answered in this process."""

from __future__ import annotations

import shlex
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from analysis.__main__ import app as command_line
from app.components import files

from .test_image import drop, png, settle
from .test_start import MAIN, texts

pytestmark = pytest.mark.usefixtures("answered")


def visit(**query: str) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in {"backend": "digits-ddpm", "dataset": "digits", "by": "points", **query}.items():
        page.query_params[name] = value
    page.run()
    return settle(page.switch_page("app_pages/ask.py").run())


def test_it_opens_with_a_point_and_its_matches() -> None:
    page = visit()
    assert not page.exception
    assert not page.error
    assert "The point (4.0, 4.0) of test image 1, 0 is matched most closely of 4 images in" in texts(page)
    assert "a map of 4×4 tokens" in texts(page)
    assert "The four corners have a mean cosine of" in texts(page)


def test_a_link_restores_the_point_the_images_the_block_and_the_level() -> None:
    keys = visit().query_params["b"].split(",")
    page = visit(a=keys[1], b=f"{keys[0]},{keys[2]}", point="6.5,1.5", draws="1", block="up1.up", sigma="0.5")
    assert "The point (6.5, 1.5)" in texts(page)
    assert "most closely of 2 images" in texts(page)
    assert "block up1.up at σ = 0.499" in texts(page)
    assert "the mean over 1 draws" in texts(page)
    assert not page.warning


def test_what_a_link_says_wrong_is_named() -> None:
    page = visit(point="9,1", a="nothing", draws="3")
    said = " ".join(str(one.value) for one in page.warning)
    assert "point = '9,1'; allowed: X,Y from 0 to 8 each" in said
    assert "An image of the link is not here" in said
    assert "draws = '3'" in said
    assert "The point (4.0, 4.0)" in texts(page)


def test_more_than_six_images_are_not_taken_and_none_are_fine() -> None:
    page = visit()
    known = page.session_state["thumbs"]
    page.session_state["points-others"] = list(known)[1:9]
    settle(page.run())
    assert "most closely of 6 images" in texts(page)
    assert "6 images are beside A, as many as there can be" in texts(page)
    page.session_state["points-others"] = []
    settle(page.run())
    assert "compared with its own image alone: choose others" in texts(page)
    assert not page.exception


def test_an_image_of_ones_own_takes_part_and_is_not_in_the_link() -> None:
    page = drop(visit(), ("mine.png", png(np.eye(8)[..., None].repeat(3, -1).astype(np.uint8) * 255), "image/png"))
    assert not page.exception
    assert "of mine.png is matched" in texts(page)
    assert "a" not in page.query_params


def test_the_command_line_finds_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit(point="2.5,5.5")
    for key in ("points-zip", "points-csv", "points-png"):
        page.button(key=key).click()
        page.run()
        made = page.session_state[files.MADE]
        (tmp_path / f"page.{key[-3:]}").write_bytes(made[2])
    monkeypatch.chdir(tmp_path)
    zipfile.ZipFile(tmp_path / "page.zip").extractall(tmp_path)
    words = next(code.value for code in page.code if code.value.startswith("python -m analysis match"))
    ran = CliRunner().invoke(command_line, shlex.split(words)[3:])
    assert ran.exit_code == 0, ran.output
    ours, theirs = pd.read_csv("page.csv"), pd.read_csv("matches.csv")
    pd.testing.assert_frame_equal(ours.drop(columns=["image", "other"]), theirs.drop(columns=["image", "other"]), atol=1e-5)
    assert Image.open("matches.png").size == Image.open("page.png").size
    assert "The point (2.5, 5.5) of A.png" in ran.output


def test_find_again_says_which_block_and_level_find_most(tmp_path: Path) -> None:
    words = [
        "find-again",
        "digits",
        "--backend",
        "digits-ddpm",
        "--block",
        "up1.res1",
        "--block",
        "mid.res0",
        "--sigma",
        "0.1",
        "--sigma",
        "5",
    ]
    ran = CliRunner().invoke(command_line, [*words, "--count", "6", "--draws", "2", "--out", str(tmp_path / "found.csv")])
    assert ran.exit_code == 0, ran.output
    found = pd.read_csv(tmp_path / "found.csv")
    assert found["block"].tolist() == ["mid.res0", "up1.res1"] * 2
    assert ((found["ci_low"] <= found["pck"]) & (found["pck"] <= found["ci_high"])).all()
    best = found.loc[found["pck"].idxmax()]
    assert f"Block {best['block']} at σ = {best['sigma']:.3g} finds most points again: {best['pck']:.0%}" in ran.output
