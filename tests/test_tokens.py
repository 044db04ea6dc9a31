"""Tokens that stand out, that resemble each other, and the questions a page asks of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from analysis import matches, tokens
from analysis.answers import Answers
from analysis.backends.base import Backend
from analysis.dense import maps
from analysis.errors import InvalidRequest, UnknownName
from analysis.own import Own
from analysis.pointing import Pointing
from analysis.scene import Scene
from analysis.steps import finish
from analysis.store import Store

from .test_correspondence import noise


def test_a_planted_square_of_high_norm_is_marked_and_nothing_else() -> None:
    feature_map = noise(64, 16, 16)
    feature_map[:, 4:6, 9:11] *= 3
    marked = tokens.outliers(tokens.norms(feature_map))
    assert np.argwhere(marked).tolist() == [[4, 9], [4, 10], [5, 9], [5, 10]]
    assert tokens.groups(marked) == [4]


def test_maps_of_noise_have_hardly_any_marked_token() -> None:
    generator = np.random.default_rng(0)
    marked = [tokens.outliers(np.exp(generator.normal(0, 0.1, (32, 32)))).any() for _ in range(200)]
    assert np.mean(marked) < 0.04


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_what_is_marked_does_not_depend_on_the_scale(scale: float) -> None:
    lengths = np.ones((8, 8)) + np.random.default_rng(0).normal(0, 0.05, (8, 8))
    lengths[2, 3] = 2
    assert np.argwhere(tokens.outliers(scale * lengths)).tolist() == [[2, 3]]


def test_equal_norms_and_small_ones_are_no_outliers() -> None:
    assert not tokens.outliers(np.ones((8, 8))).any()
    lengths = np.ones((8, 8))
    lengths[0, 0] = 0
    assert not tokens.outliers(lengths).any()


def test_groups_are_neighbours_the_largest_first() -> None:
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[3:5, 3:5] = mask[5, 5] = True
    assert tokens.groups(mask) == [5, 1]


def test_similarities_are_cosines() -> None:
    found = tokens.similarities(torch.tensor([[[1.0, 0.0], [1.0, -2.0]], [[0.0, 3.0], [1.0, 0.0]]]))
    half = 0.5**0.5
    expected = [[1, 0, half, -1], [0, 1, half, 0], [half, half, 1, -half], [-1, 0, -half, 1]]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)


def test_corners_that_are_alike_are_told_from_those_that_are_not() -> None:
    feature_map = noise(64, 16, 16)
    plain = tokens.corners(feature_map)
    assert plain is not None
    assert not plain.alike
    assert plain.typical == pytest.approx(0, abs=0.02)
    for row in (0, -1):
        for column in (0, -1):
            feature_map[:, row, column] += 2
    planted = tokens.corners(feature_map)
    assert planted is not None
    assert planted.alike
    assert planted.similarity == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 2, 2), (4, 1, 8)])
def test_of_a_map_too_small_nothing_is_said_of_corners(shape: tuple[int, ...]) -> None:
    assert tokens.corners(noise(*shape)) is None


def test_a_large_map_is_looked_at_in_parts() -> None:
    found = tokens.corners(noise(4, 80, 80))
    assert found is not None
    assert found.typical == pytest.approx(0, abs=0.05)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)


@pytest.fixture
def pointing(tiny: Backend, store: Store, monkeypatch: pytest.MonkeyPatch) -> Pointing:
    own = Own(store, "cpu")
    monkeypatch.setattr(own, "opened", lambda _: tiny)
    return Pointing(Scene(own))


ASKED = {"backend": "tiny", "block": "up0.res0", "sigma": 0.3, "draws": 2}


def test_the_worker_matches_a_point_step_by_step_and_the_next_click_takes_none(
    pointing: Pointing, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.pointing.PAUSE", 0.0)
    data, said = save({"images": images}), []
    told, back = finish(pointing.match({**ASKED, "point": [2.0, 3.0]}, data), said.append)
    assert [step[0] for step in said] == [{"done": done, "of": 6} for done in range(6)]
    heats = load(back)["heat"]
    assert heats.shape == (3, 8, 8)
    assert told["matches"][0]["similarity"] == pytest.approx(float(heats[1].max()), abs=1e-3)
    said.clear()
    finish(pointing.match({**ASKED, "point": [7.5, 0.5]}, data), said.append)
    finish(pointing.tokens(ASKED, data), said.append)
    assert not said


def test_maps_that_nobody_asks_for_are_let_go(pointing: Pointing, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.pointing.HELD", 1)
    for image in images:
        finish(pointing.tokens(ASKED, save({"images": image[None]})))
        assert len(pointing._fields) == 1


def test_the_worker_tells_of_tokens_what_the_library_finds(pointing: Pointing, images: np.ndarray, tiny: Backend) -> None:
    told, back = finish(pointing.tokens(ASKED, save({"images": images})))
    found, feature_map = load(back), maps(tiny, [images[0]], ["up0.res0"], 0.3, 2)["up0.res0"][0]
    lengths = tokens.norms(feature_map)
    np.testing.assert_allclose(found["norm"], lengths / np.median(lengths), atol=1e-4)
    assert found["high"].tolist() == tokens.outliers(lengths).astype(int).tolist()
    cosines = told["lowest"] + found["similarity"] / 255 * (1 - told["lowest"])
    np.testing.assert_allclose(cosines, tokens.similarities(feature_map), atol=2 / 255)


def test_of_many_tokens_what_they_resemble_is_not_sent(pointing: Pointing, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST", 3)
    told, back = finish(pointing.tokens(ASKED, save({"images": images})))
    assert load(back).keys() == {"norm", "high"}
    assert told["size"] == [4, 4]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"point": [9.0, 1.0]}, "allowed: 0 to 8 each"),
        ({"point": "here"}, "allowed: two numbers"),
        ({"draws": 0}, "allowed: a whole number from 1"),
        ({"sigma": -1}, "allowed: a number above 0"),
        ({"sigma": "much"}, "allowed: a number above 0"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(pointing: Pointing, images: np.ndarray, change: dict, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        finish(pointing.match({**ASKED, "point": [1.0, 1.0]} | change, save({"images": images})))


def test_a_block_that_is_not_there_is_named(pointing: Pointing, images: np.ndarray) -> None:
    with pytest.raises(UnknownName, match="block"):
        finish(pointing.match({**ASKED, "point": [1.0, 1.0], "block": "none"}, save({"images": images})))


def test_the_worker_knows_the_questions(store: Store) -> None:
    assert {"match", "tokens"} <= Answers(store, "cpu", 0).known.keys()


ONE = {"x": 3.5, "y": 4.5, "similarity": 0.8, "second_x": 0.5, "second_y": 0.5, "second": 0.7, "margin": 0.1, "back": 0.5}
FAR = ONE | {"similarity": 0.9, "x": 7.5, "back": 20.0}


def test_the_finding_names_the_closest_match_and_how_many_come_back() -> None:
    said = matches.sentence([ONE, FAR], ["a", "b", "c"], (2, 3), 32)
    assert "most closely of 2 images in c, at (7.5, 4.5): cosine 0.90" in said
    assert "1 of 2 matches end at the point again" in said
    assert "choose others" in matches.sentence([], ["a"], (2, 3), 32)


def test_the_table_has_a_row_an_image() -> None:
    table = matches.table([ONE, FAR], ["a", "b", "c"], (2, 3), backend="m", sigma=0.3)
    assert table["other"].tolist() == ["b", "c"]
    assert table.loc[1, ["point_x", "x", "similarity", "back"]].tolist() == [2, 7.5, 0.9, 20.0]
    assert matches.table([], ["a"], (2, 3), backend="m").columns.tolist() == table.drop(columns="sigma").columns.tolist()


def test_tokens_in_words() -> None:
    corners = {"similarity": 0.9, "typical": 0.3, "high": 0.6, "alike": True}
    high, alike = matches.tokens({"size": [16, 16], "groups": [4, 4, 1], "corners": corners})
    assert "9 of 256 tokens have a norm far above the rest, in groups of 4 and 4, and 1 alone" in high
    assert "0.90" in alike
    assert "may carry where they are" in alike
    assert matches.tokens({"size": [2, 2], "groups": [], "corners": None}) == ["No token of 4 has a norm far above the rest."]
