"""Half-lives by hand, and what a study says of its classes."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import dynamics
from analysis.class_scores import class_scores
from analysis.known_when import finding, half_lives, known_when, of_curve
from analysis.studies import Study, find_study

SIGMAS = np.array([0.01, 0.1, 1.0, 10.0])


@pytest.mark.parametrize(
    ("curve", "life"),
    [
        ([0.5, 0.9, 0.5, 0.1], 1.0),  # .8 over chance .1, half of it at the third level
        ([0.9, 0.7, 0.3, 0.1], 10**-0.5),  # .4 over chance is half-way in log σ between .6 and .2
        ([0.1, 0.2, 0.3, 0.9], np.nan),  # it ends at its best
        ([0.9, 0.8, 0.8, 0.7], np.nan),  # over half is left
        ([0.1, 0.1, 0.1, 0.1], np.nan),  # nothing is read
    ],
)
def test_half_lives_by_hand(curve: list[float], life: float) -> None:
    assert half_lives(np.array([curve]), SIGMAS, 0.1)[0] == pytest.approx(life, nan_ok=True)


def test_the_interval_of_a_half_life_holds_it_and_narrows_with_images() -> None:
    rng, share = np.random.default_rng(0), np.array([0.9, 0.7, 0.3, 0.1])[None, :, None]
    widths = []
    for count in (100, 10_000):
        right = rng.random((4, 4, count)) < share
        life, low, high = of_curve(right, SIGMAS, 0.1, dynamics.resamples(np.arange(4), np.arange(4), count, 200))
        assert low <= life <= high
        assert low < 10**-0.5 < high
        widths.append(np.log(high / low))
    assert widths[1] < widths[0] / 3


def test_the_shipped_questions_are_known_in_the_order_of_their_levels() -> None:
    studies = {name: find_study(f"shapes-{name}") for name in ("texture", "shape", "hue")}
    known = known_when(studies, "10", "1")
    assert len(known) == sum(len(study.card.blocks) for study in studies.values())
    best = {name: max((one for one in known if one.question == name), key=lambda one: one.best) for name in studies}
    assert best["texture"].peak < best["shape"].peak < best["hue"].peak
    assert best["texture"].half_life < best["shape"].half_life < best["hue"].half_life
    for name, study in studies.items():
        assert best[name].peak == next(
            v["peak_sigma"] for s, v in study.result("10")["verdicts"].items() if s == f"model/{best[name].block}/1"
        )
        assert f"{name} is read best near" in finding(known, 100.0)


def test_class_scores_are_those_of_the_answers(small_study: Study) -> None:
    series = small_study.result()["headline"]
    found = class_scores(small_study, "10", series, small_study.facts["levels"][1]["sigma"])
    assert found is not None
    right = small_study.correct()[f"10/{series}"][:, 1]
    assert found.scores["accuracy"] == pytest.approx(right.mean())
    assert found.counts.sum() == right.size
    assert (found.low <= found.share).all()
    assert (found.share <= found.high).all()
    assert (found.share * found.counts.sum(1)[found.counts.sum(1) > 0]).sum() == pytest.approx(right.sum())


def test_a_study_made_before_keeps_no_classes() -> None:
    study = find_study("digits")
    assert class_scores(study, "10", study.result("10")["headline"], 0.1) is None
