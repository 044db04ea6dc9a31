"""Questions about words as a worker answers them, and the command line; pictures and tables by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load, save
from typer.testing import CliRunner

from analysis import word_maps, word_panels, wording
from analysis.__main__ import app
from analysis.errors import InvalidRequest, UnknownName
from analysis.own import Own
from analysis.scene import Scene
from analysis.steps import finish
from analysis.store import Store
from analysis.wording import Wording
from tests import latents

PIXELS = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
DATA = save({"images": PIXELS})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return latents.stable(tmp_path_factory.mktemp("stable"))


@pytest.fixture
def asked(folder: Path, store: Store) -> tuple[Wording, dict[str, Any]]:
    return Wording(Scene(Own(store, "cpu"))), {"backend": str(folder), "prompt": "a red fox", "others": ["snow"], "levels": 3}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many passes there were."""
    passes: list[int] = []
    run: Callable[..., Any] = word_maps._Pass.run
    monkeypatch.setattr(word_maps._Pass, "run", lambda self, *given: (passes.append(1), run(self, *given))[1])
    return passes


def test_the_first_level_tells_words_blocks_and_cost_and_is_kept(asked: tuple[Wording, dict[str, Any]], counted: list[int]) -> None:
    words, question = asked
    said, _ = words.begin(question, DATA)  # type: ignore[misc]
    assert said["words"] == ["a", "red", "fox", "+ snow"]
    assert said["blocks"] == ["down0.res0", "mid.res0", "up1.res0", "up1.res1"]
    assert (said["lacking"], said["others"], said["joint"], len(counted)) == (2, 1, False, 1)
    assert said["pace"] > 0
    steps: list[Any] = []
    found = finish(words.words(question, DATA), steps.append)
    assert len(counted) == 3
    assert [step[0]["done"] for step in steps] == [2, 3]
    assert [level["sigma"] for level in found[0]["levels"]] == sorted(level["sigma"] for level in found[0]["levels"])


def test_the_image_is_encoded_once(asked: tuple[Wording, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    words, question = asked
    encoded: list[int] = []
    encode: Callable[..., Any] = word_maps.x0_of
    monkeypatch.setattr(word_maps, "x0_of", lambda *given: (encoded.append(1), encode(*given))[1])
    words.begin(question, DATA)
    finish(words.words(question, DATA))
    finish(words.heads({**question, "block": "mid.res0", "word": "fox"}, DATA))
    assert len(encoded) == 1


def test_where_the_first_pass_is_slow_a_warm_one_tells_the_cost(
    asked: tuple[Wording, dict[str, Any]], counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wording, "QUICK", 0.0)
    assert asked[0].begin(asked[1], DATA)[0]["lacking"] == 1  # type: ignore[index]
    assert len(counted) == 2


def test_another_block_of_the_last_question_takes_no_pass(asked: tuple[Wording, dict[str, Any]], counted: list[int]) -> None:
    words, question = asked
    every = load(finish(words.words(question, DATA))[1])
    one = load(finish(words.words({**question, "block": "mid.res0"}, DATA))[1])
    assert len(counted) == 3
    assert every["maps"].shape == (3, 4, 8, 8)
    assert one["maps"].shape == (3, 4, 4, 4)
    np.testing.assert_allclose(one["sum"], one["maps"].mean(0), rtol=1e-5)
    np.testing.assert_allclose(every["share"][:, 1], one["maps"].mean((-2, -1)), rtol=1e-4)
    assert every["logits"].shape == (3, 1, 8, 8)
    finish(words.words({**question, "prompt": "a blue fox"}, DATA))
    assert len(counted) == 6


def test_where_all_maps_have_no_room_the_asked_blocks_are_kept(
    asked: tuple[Wording, dict[str, Any]], counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, question = asked
    whole = load(finish(words.words({**question, "block": "mid.res0"}, DATA))[1])
    monkeypatch.setattr(wording, "HELD", 0)
    again = Wording(words.scene)
    found = load(finish(again.words({**question, "block": "mid.res0"}, DATA))[1])
    assert all(np.array_equal(found[name], whole[name]) for name in whole)
    finish(again.words(question, DATA))
    assert len(counted) == 9


def test_heads_are_of_one_word_in_one_block_and_their_mean_is_its_map(asked: tuple[Wording, dict[str, Any]]) -> None:
    words, question = asked
    question = {**question, "block": "up1.res1"}
    heads = load(finish(words.heads({**question, "word": "fox"}, DATA))[1])["heads"]
    maps = load(finish(words.words(question, DATA))[1])["maps"]
    assert heads.shape == (3, 2, 8, 8)
    np.testing.assert_allclose(heads.mean(1), maps[:, 2], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        ({"levels": 1}, InvalidRequest, "levels is 1"),
        ({"sigmas": [0.5, -1]}, InvalidRequest, "numbers above 0"),
        ({"block": "up0.res0"}, UnknownName, "up0.res0"),
        ({"seed": -1}, InvalidRequest, "seed is -1"),
        ({"prompt": "", "others": []}, InvalidRequest, "no word"),
    ],
)
def test_what_cannot_be_asked_is_said(
    asked: tuple[Wording, dict[str, Any]], wrong: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        finish(asked[0].words({**asked[1], **wrong}, DATA))
    with pytest.raises(InvalidRequest, match="block is not given"):
        finish(asked[0].heads({**asked[1], "word": "fox"}, DATA))


SHARES = word_panels.Shares(
    ["red", "fox"], ["one", "two"], np.array([[[0.1, 0.3], [0.3, 0.1]], [[0.2, 0.0], [0.2, 0.2]]]), np.full((2, 2), 0.5), np.zeros((2, 2))
)
LEVELS = [
    {"sigma": 0.1, "timestep": 3.0, "log_snr": 4.6, "latent": 1.0},
    {"sigma": 1.0, "timestep": 9.0, "log_snr": 0.0, "latent": 1.0},
]
FOCUS = np.array([[0.1, 0.4], [0.2, 0.3]])


def test_a_table_has_a_row_a_word_block_and_level() -> None:
    table = word_panels.table(SHARES, FOCUS, None, LEVELS, prompt="red fox")
    assert len(table) == 3 * 3 * 2
    assert list(table.columns) == ["prompt", "word", "block", "sigma", "timestep", "log_snr", "share", "focus"]
    row = table[(table.word == "fox") & (table.block == "one") & (table.sigma == 0.1)].iloc[0]
    assert (row.share, row.timestep, row.prompt) == (0.3, 3.0, "red fox")
    mean = table[(table.word == "fox") & (table.block == word_panels.ALL)]
    assert mean.share.tolist() == pytest.approx([0.2, 0.1])
    assert mean.focus.tolist() == [0.4, 0.3]
    assert table[table.word == word_panels.SPECIAL].share.tolist() == [0.5] * 6


def test_the_sentence_says_where_a_word_is_attended_to_most() -> None:
    said = word_panels.sentence(SHARES, FOCUS, LEVELS, "fox", None)
    assert "**fox** takes 20 % of attention at most, at σ = 0.1; its map is narrowest at σ = 0.1" in said
    assert "has 40 % of it" in said
    assert said.endswith("50 % goes to places without a word.")
    assert "block two" in word_panels.sentence(SHARES, FOCUS, LEVELS, "red", "two")


def test_figures_have_a_line_a_word_and_a_picture_a_level() -> None:
    figure = word_panels.curves_figure(SHARES.of(None), FOCUS, LEVELS, "sigma", "fox", 1.0)
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["red", "fox", word_panels.SPECIAL]
    assert figure.layout.xaxis2.title.text == "clean ← noise level σ of the latents → noisy"
    assert [trace.line.width for trace in figure.data if trace.name == "fox"] == [3.5, 3.5]
    maps = np.random.default_rng(0).random((2, 2, 4, 4))
    tiles = word_panels.over(PIXELS[0], maps[:, 0], word_panels.ends(maps))
    assert tiles.shape == (2, word_panels.TILE, word_panels.TILE, 3)
    assert not np.array_equal(tiles[0], tiles[1])
    sheet = word_panels.sheet(PIXELS[0], maps, ["red", "fox"], LEVELS)
    assert sheet.shape[0] * 3 == sheet.shape[1] * 2  # two words, two levels and their mean


def test_the_command_line_writes_the_table_and_the_picture(folder: Path, tmp_path: Path, own_store: None) -> None:
    Image.fromarray(PIXELS[0]).save(tmp_path / "fox.png")
    words = ["words", str(tmp_path / "fox.png"), "--backend", str(folder), "--prompt", "a red fox", "--word", "snow", "--sigma", "0.5"]
    done = CliRunner().invoke(
        app, [*words, "--sigma", "0.1", "--out", str(tmp_path / "a.csv"), "--picture", str(tmp_path / "a.png"), "--json"]
    )
    assert done.exit_code == 0, done.output
    said, table = json.loads(done.stdout.splitlines()[-1]), pd.read_csv(tmp_path / "a.csv")
    assert set(table.word) == {"a", "red", "fox", "+ snow", word_panels.SPECIAL}
    mean = table[(table.word == "fox") & (table.block == word_panels.ALL)].sort_values("sigma")
    np.testing.assert_allclose(mean.share, said["share"]["fox"], rtol=1e-6)
    assert Image.open(tmp_path / "a.png").size[1] == 4 * (word_panels.TILE + 2)
    plain = CliRunner().invoke(app, [*words, "--block", "mid.res0"])
    assert "block mid.res0, fox takes" in plain.output
