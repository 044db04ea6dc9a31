"""The diffusion classifier: errors that can be worked out by hand, draws that every class shares, and who falls out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis import catalog, diffusion_classifier
from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.classified import Classified, check, name_of, of, table
from analysis.datasets.base import Dataset
from analysis.diffusion_classifier import Step, classify, classifying, levels_of, weights_of
from analysis.errors import InvalidRequest, UnknownName
from analysis.noise import Schedule
from analysis.steps import finish
from benchmarks import diffusion_classifier as benchmark

from .toys import Toy

SIGMAS = (0.1, 0.5, 1.0, 2.0)
MODEL = "digits-ddpm-classes"


class Told(Toy):
    """D(x; σ) under `class:k` is the constant μ_k, and with `leak` a part of the noise besides; what was shown is kept."""

    def __init__(self, means: Sequence[float], leak: float = 0.0, text: bool = False) -> None:
        super().__init__(nn.Identity())
        self.schedule = Schedule.from_levels("edm", SIGMAS, range(4))
        told = ("null", *(f"class:{k}" for k in range(len(means))), *(["prompt:"] if text else []))
        self.card = self.card.model_copy(update={"conditions": told, "sigmas": SIGMAS, "timesteps": (0.0, 1.0, 2.0, 3.0)})
        self.means, self.leak, self.shown = means, leak, []

    def denoise(self, x: Tensor, sigma: Tensor, condition: str | None = None) -> Tensor:
        assert condition is not None
        self.shown.append((condition, sigma.clone(), x.clone()))
        mean = float(len(condition)) if condition.startswith("prompt:") else self.means[int(condition.partition(":")[2])]
        return torch.full_like(x, mean) + self.leak * x


GREY = np.full((2, 2, 3), 153, np.uint8)  # x_0 = .2


def test_the_error_is_that_of_epsilon_worked_out_by_hand() -> None:
    found = classify(Told([0.3, 0.5, -0.4]), GREY, sigmas=SIGMAS, eliminate=False)
    assert found.answer == "class:0"
    squares, inverse = np.array([0.1, 0.3, -0.6]) ** 2, 1 / np.array(SIGMAS) ** 2
    np.testing.assert_allclose(found.race.error, squares * inverse.mean(), rtol=1e-5)
    np.testing.assert_allclose(found.race.by_level, np.outer(squares - squares[0], inverse), rtol=1e-5)
    assert found.race.lead == pytest.approx(((squares[1] - squares[0]) * inverse.mean(),) * 3, rel=1e-5)  # no noise, no interval
    assert found.made_at == (0, 0, 0)
    assert found.shares.sum() == pytest.approx(found.race.lead[0])


def test_it_is_what_epsilon_predicted_from_the_denoised_image_misses() -> None:
    model, x0 = Told([0.3, 0.5], leak=0.4), 0.2
    found = classify(model, GREY, sigmas=[0.5], draws=3, eliminate=False)
    by_hand: dict[str, list[float]] = {"class:0": [], "class:1": []}
    for condition, at, x in model.shown:
        eps, predicted = (x - x0) / 0.5, (x - (model.means[int(condition[-1])] + 0.4 * x)) / 0.5
        by_hand[condition] += ((eps - predicted) ** 2).mean((1, 2, 3)).tolist()
        assert (at == 0.5).all()
    np.testing.assert_allclose(found.race.error, [np.mean(errors) for errors in by_hand.values()], rtol=1e-4)


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [("epsilon", [1, 1, 1]), ("x0", [0.01, 0.04, 0.16]), ("bound", [1, 1, 1])],  # log σ is even: each step is as long
)
def test_weightings_are_those_of_the_papers(weighting: str, expected: list[float]) -> None:
    np.testing.assert_allclose(weights_of([0.1, 0.2, 0.4], weighting), np.array(expected) / np.sum(expected))


def test_with_the_weights_of_x0_the_error_is_that_of_the_denoised_image() -> None:
    found = classify(Told([0.3, 0.5]), GREY, sigmas=SIGMAS, weighting="x0")
    np.testing.assert_allclose(found.race.error * np.square(SIGMAS).mean(), [0.01, 0.09], rtol=1e-5)


def test_every_class_is_shown_the_same_levels_and_noise() -> None:
    model = Told([0.3, 0.5, 0.7], leak=0.1)
    classify(model, GREY, sigmas=SIGMAS, draws=4, eliminate=False)
    seen = {name: [(at, x) for told, at, x in model.shown if told == name] for name in ("class:0", "class:1", "class:2")}
    for one, other in (("class:0", "class:1"), ("class:0", "class:2")):
        assert len(seen[one]) == len(seen[other])
        for (at, x), (at_too, x_too) in zip(seen[one], seen[other], strict=True):
            assert torch.equal(at, at_too)
            assert torch.equal(x, x_too)
    whole = torch.cat([x for _, x in seen["class:0"]])
    assert len(whole) == 4 * 4
    noise = (whole - 0.2) / torch.cat([at for at, _ in seen["class:0"]]).reshape(-1, 1, 1, 1)
    assert len({tuple(row.round(decimals=3).flatten().tolist()) for row in noise}) == 16  # a draw has an ε of its own at each level


def test_more_levels_draws_or_classes_change_no_number_that_was_there() -> None:
    few = classify(Told([0.3, 0.5], leak=0.2), GREY, sigmas=[0.5, 1.0], draws=2, eliminate=False)
    many = Told([0.3, 0.5, 0.6], leak=0.2)
    classify(many, GREY, sigmas=SIGMAS, draws=2, eliminate=False)
    again = classify(many, GREY, ["class:1", "class:0"], sigmas=[0.5, 1.0], draws=2, eliminate=False)
    np.testing.assert_allclose(again.race.error[::-1], few.race.error, rtol=1e-12)


def planted(rng: np.random.Generator, means: Sequence[float]) -> Told:
    """A model whose errors of class k vary from draw to draw, the first the lowest in the mean."""
    model = Told(means)

    def denoise(x: Tensor, sigma: Tensor, condition: str | None = None) -> Tensor:
        assert condition is not None
        noise = rng.normal(size=len(x)) * 0.1
        square = model.means[int(condition.partition(":")[2])] + noise + 1
        return 0.2 + sigma.reshape(-1, 1, 1, 1) * torch.from_numpy(np.sqrt(np.maximum(square, 0))).reshape(-1, 1, 1, 1) * torch.ones_like(x)

    model.denoise = denoise  # type: ignore[method-assign]
    return model


def test_the_planted_winner_never_falls_out_and_losers_cost_two_draws() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        found = classify(planted(rng, [0.0, 0.5, 0.6, 0.7, 0.02]), GREY, sigmas=SIGMAS, draws=16)
        assert found.race.taken[0] == found.race.taken.max()
        assert 0 in found.race.order[:2]
        assert found.decided == (found.race.out.sum() == 4)
        assert (found.race.taken[1:4] <= 4).all()
        assert found.evaluations == 4 * found.race.taken.sum() <= found.most == 4 * 5 * 16


def test_elimination_ends_when_one_class_is_left_and_counts_every_pass() -> None:
    model = Told([0.3, 0.5, 0.7], leak=0.01)
    steps: list[Step] = []
    found = finish(classifying(model, GREY, sigmas=SIGMAS, draws=16), steps.append)
    assert found.race.taken.tolist() == [2, 2, 2]
    assert found.decided
    assert found.evaluations == sum(len(x) for _, _, x in model.shown) == 4 * 3 * 2 == steps[-1].done
    assert found.most == 4 * 3 * 16
    assert steps[0].of == found.most


def test_steps_tell_what_there_is_so_far_and_how_much_is_left() -> None:
    steps: list[Step] = []
    finish(classifying(planted(np.random.default_rng(1), [0.0, 0.001, 0.9]), GREY, sigmas=SIGMAS, draws=8), steps.append)
    assert [step.done for step in steps] == sorted({step.done for step in steps})
    assert steps[0].found is None
    later = next(step for step in steps if step.found)
    assert (later.left, later.of) == (2, 4 * 3 * 2 + 4 * 2 * 6)
    assert later.found is not None
    assert later.found.race.taken.tolist() == [2, 2, 2]


def test_between_is_called_before_every_pass_and_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusion_classifier, "MOST", 4)
    model, calls = Told([0.3, 0.5]), []

    def between() -> None:
        calls.append(len(model.shown))
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify(model, GREY, sigmas=SIGMAS, between=between)
    assert calls == [0, 1]


def test_without_elimination_every_class_has_every_draw() -> None:
    found = classify(Told([0.3, 0.5], leak=0.01), GREY, sigmas=SIGMAS, draws=5, eliminate=False)
    assert found.race.taken.tolist() == [5, 5]
    assert found.evaluations == found.most


def test_a_model_without_classes_is_refused_in_a_sentence(digits: Dataset) -> None:
    with pytest.raises(InvalidRequest, match=r"digits-ddpm was trained without classes .* such as digits-ddpm-classes"):
        classify(open_backend("digits-ddpm"), digits.images[0])
    assert "digits-ddpm-classes" in catalog.models()


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        (["class:0"], "two or more that differ"),
        (["class:0", "class:0"], "two or more that differ"),
        (["class:0", "class:9"], r"'class:9' cannot be told to toy; allowed: class:0, class:1\."),
        (["class:0", "null"], "'null' cannot be told"),
        (["class:0", "prompt:a cat"], "'prompt:a cat' cannot be told"),
    ],
)
def test_candidates_are_checked(candidates: list[str], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        classify(Told([0.3, 0.5]), GREY, candidates)


def test_a_model_that_takes_text_scores_prompts() -> None:
    model = Told([], text=True)
    assert classify(model, GREY, ["prompt:a dog at sea", "prompt:cat"]).answer == "prompt:cat"
    with pytest.raises(InvalidRequest, match="prompt:TEXT"):
        check(model.card, ["prompt:", "prompt:cat"])
    assert name_of(model.card, "prompt:a cat: asleep") == "“a cat: asleep”"


def test_settings_are_checked() -> None:
    model = Told([0.3, 0.5])
    with pytest.raises(InvalidRequest, match="draws is 1; allowed: a whole number from 2"):
        classify(model, GREY, draws=1)
    with pytest.raises(UnknownName, match="weighting 'none'"):
        classify(model, GREY, weighting="none")
    with pytest.raises(InvalidRequest, match="two levels or more"):
        classify(model, GREY, sigmas=[0.5], weighting="bound")
    with pytest.raises(InvalidRequest, match="levels is 0"):
        levels_of(model, 0)
    with pytest.raises(InvalidRequest, match=r"allowed for toy: \(2, 2, 3\) uint8"):
        classify(model, np.zeros((3, 3, 3), np.uint8))


def test_what_was_found_survives_its_way_to_the_page_and_is_a_tidy_table() -> None:
    model = Told([0.3, 0.5, -0.4], leak=0.01)
    found = classify(model, GREY, sigmas=SIGMAS)
    assert of(found.facts(), found.arrays()).facts() == found.facts()
    rows = table(found, model.card, "grey.png")
    assert len(rows) == 3 * (4 + 1)
    assert rows[rows.answer].condition.unique().tolist() == ["class:0"]
    whole = rows[rows.sigma.isna()]
    assert whole.condition.tolist() == [found.conditions[k] for k in found.race.order]
    assert (whole.excess.to_numpy()[1:] > 0).all()
    assert rows[rows.sigma.notna()].weight.unique().tolist() == [0.25]


def right(found: list[Classified], truth: Sequence[int]) -> float:
    return float(np.mean([one.answer == f"class:{k}" for one, k in zip(found, truth, strict=True)]))


def of_test(digits: Dataset, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    rows = digits.rows(digits.members("test", count))
    return digits.images[rows], digits.label_set().values[rows]


def test_the_bundled_model_tells_test_digits_apart(digits: Dataset) -> None:
    model, (images, truth) = open_backend(MODEL), of_test(digits, 20)
    found = [classify(model, image, sigmas=(0.3, 0.6, 1.0, 1.6), draws=4) for image in images]
    assert right(found, truth) > 0.9
    assert name_of(model.card, found[0].answer) == str(found[0].race.best)


@pytest.mark.slow
def test_the_bundled_model_is_right_on_more_than_nine_in_ten_of_all_test_digits(digits: Dataset) -> None:
    model, (images, truth) = open_backend(MODEL), of_test(digits, None)
    assert right([classify(model, image) for image in images], truth) > 0.9


def test_the_bundled_model_saw_no_test_image_and_no_test_label(digits: Dataset) -> None:
    card = catalog.card(MODEL)
    assert card.parameters <= 1_500_000
    assert card.conditions == ("null", *(f"class:{k}" for k in range(10)))
    assert card.training["images"] == int((digits.split != "test").sum())
    assert card.training["data_identity"] == digits.identity
    assert card.training["classes"] == [str(k) for k in range(10)]


@pytest.mark.parametrize("name", [MODEL, "digits-ddpm"])
def test_rows_with_conditions_of_their_own_are_those_of_a_pass_each(name: str) -> None:
    model = open_backend(name)
    told = [model.card.conditions[i % len(model.card.conditions)] for i in (0, 3, 1, 3)]
    x, sigma = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.5, 1.0, 2.0])
    together = model.denoise_each(x, sigma, told)
    torch.testing.assert_close(together, Backend.denoise_each(model, x, sigma, told), rtol=1e-4, atol=1e-5)
    alone = torch.cat([model.denoise(x[i : i + 1], sigma[i : i + 1], condition) for i, condition in enumerate(told)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    with pytest.raises(InvalidRequest, match="'class:99'; allowed"):
        model.denoise_each(x, sigma, [*told[:3], "class:99"])


def test_the_benchmark_counts_passes_and_holds_only_where_the_answers_are_the_same() -> None:
    model, images = Told([0.3, 0.5, 0.7], leak=0.0), [GREY, np.full((2, 2, 3), 191, np.uint8)]
    early, whole = ([classify(model, image, sigmas=SIGMAS, draws=8, eliminate=way) for image in images] for way in (True, False))
    truth = ["class:0", "class:1"]
    found = benchmark.measured(early, whole, truth)
    assert (found.ratio, found.holds) == (0.25, True)
    assert (found.details["right"], found.details["passes"]) == (1.0, [48, 192])
    assert not benchmark.measured(early, whole[::-1], truth).holds
