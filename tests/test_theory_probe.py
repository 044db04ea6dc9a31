from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from analysis.errors import InvalidRequest
from analysis.theory import MoLRG
from analysis.theory_probe import fit_and_score, probe
from analysis.theory_snr import snr


def test_the_probe_is_scikit_learns_least_squares() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (2, 200))
    features = rng.normal(size=(2, 200, 4)) + np.eye(4)[truth]
    for x, y, found in zip(features, truth, fit_and_score(features, truth, 3), strict=True):
        fitted = LinearRegression().fit(x[:100], np.eye(3)[y[:100]])
        assert found == (fitted.predict(x[100:]).argmax(1) == y[100:]).mean()


def test_the_probe_has_a_hump_where_the_snr_has_one() -> None:
    spec, sigmas = MoLRG(dims=(5,) * 5), [0.01, 0.3, 10.0]
    found = probe(spec, sigmas, 40_000)
    assert found.accuracy[0] > 0.3  # chance is .2
    gain, low, _ = found.gain(1)
    assert low > 0
    assert 0.01 < gain < 0.06
    assert found.accuracy[2] < 0.25
    assert snr(spec, sigmas).peak == 1


def test_separated_means_give_no_rise() -> None:
    spec, sigmas = MoLRG(dims=(5, 5, 5), separation=4.0), np.geomspace(0.01, 5, 8)
    found = probe(spec, sigmas, 10_000)
    assert found.accuracy[0] > 0.99
    assert max(found.gain(place)[0] for place in range(1, 8)) < 0.001
    assert found.accuracy[-1] < 0.8


def test_two_classes_of_mean_zero_stay_near_chance() -> None:
    found = probe(MoLRG(), [0.01, 0.3], 20_000, seed=1)
    assert np.abs(found.accuracy - 0.5).max() < 0.05


def test_intervals_hold_what_many_samples_find() -> None:
    spec, sigmas = MoLRG(dims=(3, 3, 3)), [0.1, 1.0]
    truth = np.mean([probe(spec, sigmas, 20_000, seed=seed).accuracy for seed in range(100, 108)], 0)
    tries = [probe(spec, sigmas, 20_000, seed=seed).interval for seed in range(30)]
    covered = np.mean([(low <= truth) & (truth <= high) for low, high in tries])
    assert covered > 0.85  # 60 of them, and the truth is known to a third of an interval


def test_clean_input_is_read_too_and_a_gain_over_itself_is_none() -> None:
    found = probe(MoLRG(dims=(5, 5, 5)), [0.01, 0.3], 5000, input="clean")
    assert found.gain(0) == (0.0, 0.0, 0.0)
    assert len(found.table()) == 2


def test_too_few_samples_are_a_sentence() -> None:
    with pytest.raises(InvalidRequest, match="samples is 50; allowed: at least 80 for a probe"):
        probe(MoLRG(), [0.1], 50)
