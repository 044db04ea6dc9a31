"""What a worker answers about an image's class, and what figures and words are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from analysis import catalog, classified
from analysis import classified_figures as figures
from analysis.answers import Answers
from analysis.classified import Classified
from analysis.datasets.base import Dataset
from analysis.errors import InvalidRequest
from analysis.paired_errors import judge
from analysis.store import Store

MODEL = "digits-ddpm-classes"
QUESTION = {"ask": "classify", "backend": MODEL, "levels": 8, "draws": 4}


@pytest.fixture
def answers(store: Store, monkeypatch: pytest.MonkeyPatch) -> Answers:
    monkeypatch.setattr("analysis.classify_answers.STEP", 0.0)
    return Answers(store, "cpu", 0)


def image(digits: Dataset, row: int) -> bytes:
    return save({"images": digits.images[row : row + 1]})


def told(answers: Answers, data: bytes, **question: Any) -> list[tuple[Mapping[str, Any], bytes]]:
    """Every answer until there is no more."""
    found = [answers({**QUESTION, **question}, data)]
    while "left" in found[-1][0]:
        found.append(answers({**QUESTION, **question}, data))
    return found


def test_it_is_told_step_by_step_and_ends_with_the_librarys_answer(answers: Answers, digits: Dataset) -> None:
    row = int(np.flatnonzero(digits.split == "test")[0])
    steps = told(answers, image(digits, row))
    assert len(steps) > 2
    done = [said["done"] for said, _ in steps[:-1]]
    assert done == sorted(done)
    assert "passes made" in steps[0][0]["doing"]
    so_far = [said for said, _ in steps[:-1] if "found" in said]
    assert so_far[0]["draws"] == 2
    said, back = steps[-1]
    found = classified.of(said["found"], load(back))
    assert found.conditions[int(digits.label_set().values[row])] == found.answer
    assert (len(found.sigmas), found.draws, found.most) == (8, 4, 10 * 8 * 4)


def test_candidates_are_those_that_are_given(answers: Answers, digits: Dataset) -> None:
    said, back = told(answers, image(digits, 3), candidates=["class:3", "class:8"])[-1]
    assert classified.of(said["found"], load(back)).conditions == ("class:3", "class:8")


def test_the_cost_is_counted_and_timed_once(answers: Answers, digits: Dataset) -> None:
    said, _ = answers({**QUESTION, "ask": "classify-cost"}, image(digits, 3))
    assert said["passes"] == 10 * 8 * 4
    assert said["pace"] > 0
    assert answers({**QUESTION, "ask": "classify-cost", "draws": 8}, image(digits, 4))[0] == {"passes": 640, "pace": said["pace"]}


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"backend": "digits-ddpm"}, "trained without classes"),
        ({"candidates": ["class:1"]}, "two or more"),
        ({"candidates": ["class:1", "prompt:a one"]}, "cannot be told"),
        ({"levels": 0}, "levels is 0"),
        ({"draws": "many"}, "draws is 'many'"),
        ({"draws": 1}, "draws is 1"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(answers: Answers, digits: Dataset, question: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        told(answers, image(digits, 3), **question)


def made(apart: float, count: int = 3, levels: int = 4) -> Classified:
    """The second class is the lowest, the others `apart` above it, all of it at the second level."""
    rng, sigmas = np.random.default_rng(0), tuple(np.geomspace(0.1, 10, levels).tolist())
    errors = 1 + 0.01 * rng.normal(size=(count, levels, 8))
    errors[np.arange(count) != 1, 1] += apart * np.arange(1, count)[:, None]
    weights = np.full(levels, 1 / levels)
    conditions = tuple(f"class:{k}" for k in range(count))
    return Classified(conditions, sigmas, tuple(weights.tolist()), 8, 1.0, judge(errors, weights))


def test_the_answer_is_said_with_its_lead_and_where_it_was_made() -> None:
    found, names = made(4.0), ["cat", "dog", "newt"]
    said = classified.sentence(found, names)
    assert said.startswith("The answer is **dog**: its denoising error is lowest, 1 (95 % interval ")
    assert said.endswith("below that of cat, the next.")
    assert "is made at σ = 0.46 alone; σ = 0.46 adds most" in classified.where(found, names)
    assert classified.saved(found) == "All 96 passes were made: no candidate could be left out early."
    assert found.gaps[1] == pytest.approx(4, abs=0.05)


def test_classes_that_are_not_told_apart_are_named() -> None:
    said = classified.sentence(made(0.0), ["cat", "dog", "newt"])
    assert "is not told apart from" in said
    assert "(95 % interval -" in said


def test_the_figures_show_the_nearest_classes_and_say_how_many_are_hidden() -> None:
    found = made(0.5, count=20)
    names = [f"{k}" for k in range(20)]
    bars = figures.bars(found, names)
    assert list(bars.layout.yaxis.ticktext) == [names[k] for k in found.race.order[1:13]]
    assert bars.data[0].error_x.array[0] == pytest.approx(found.race.high[0] - found.race.excess[0])
    assert (figures.hidden(found, figures.BARS), figures.hidden(found, figures.LINES)) == (7, 12)
    card = catalog.card(MODEL)
    lines = figures.curves(found, names, found.levels(card), "sigma")
    named = [trace for trace in lines.data if trace.name]
    assert [trace.name for trace in named] == [names[k] for k in found.race.order[1:8]]
    assert len({(trace.line.color, trace.marker.symbol) for trace in named}) == 7
    (shaded,) = [shape for shape in lines.layout.shapes if shape.type == "rect"]
    assert shaded.x0 < np.log10(found.sigmas[1]) < shaded.x1


def raced(by_level: list[float]) -> Classified:
    """Two classes, the second above the first by these at each level."""
    errors = np.ones((2, len(by_level), 2))
    errors[1] += np.array(by_level)[:, None]
    even = (1 / len(by_level),) * len(by_level)
    return Classified(("class:0", "class:1"), tuple(range(1, len(by_level) + 1)), even, 4, 1.0, judge(errors, np.array(even)))


@pytest.mark.parametrize(
    ("by_level", "expected"),
    [
        ([0.0, 3.0, 1.0, 0.0], (1, 1, 1)),
        ([1.0, 2.0, 3.0, 2.5], (2, 2, 3)),
        ([3.0, 0.0, 2.9, 2.9], (0, 0, 2)),  # the shortest run with the level that adds most, not the shortest of all
        ([-1.0, 2.0, -0.5, 1.0], (1, 1, 1)),
    ],
)
def test_the_decision_is_made_around_the_level_that_adds_most(by_level: list[float], expected: tuple[int, int, int]) -> None:
    assert raced(by_level).made_at == expected


def test_what_was_saved_is_said_as_it_came_about() -> None:
    assert classified.saved(raced([1.0])) == "4 of 8 passes were made (50 %): after 2 of 4 draws every other candidate had fallen out."


def test_long_names_lose_their_middle_and_stay_apart() -> None:
    names = [f"“a photograph of a {what} on a wooden table”" for what in ("cat", "dog", "newt")]
    bars = figures.bars(made(0.5), names)
    assert len(bars.data[0].y) == len(set(bars.data[0].y)) == 2
    assert all(len(text) <= figures.LONGEST and " … " in text for text in bars.layout.yaxis.ticktext)
    assert bars.data[0].customdata[0][4] in names


def test_levels_of_latents_are_said_to_be() -> None:
    card = catalog.card(MODEL).model_copy(update={"space": "latent"})
    figure = figures.curves(made(0.5), ["a", "b", "c"], made(0.5).levels(card), "sigma")
    assert "σ of the latents" in figure.layout.xaxis.title.text
