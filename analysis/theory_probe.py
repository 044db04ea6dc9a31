"""What a linear probe reads from the posterior means of a mixture, at every noise level.

The probe is least squares on one-hot classes with an intercept, argmax of its scores. Where we depart from logistic regression
(arXiv 2502.05743): classes of the same mean leave logistic weights near 0, where its softmax is linear, so both give the same scores up to
a factor; this one is a closed form, and takes milliseconds a level.
Two classes of mean 0 have x and -x as likely in each, so that either loss is least where all weights are 0, and its probe stays near 1/2.
With more classes the one whose score varies most comes out on top half of the time, and how purely is what the SNR says: a hump of a point
or two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t

from .errors import InvalidRequest
from .theory import Draws, MoLRG, Posterior, draw
from .theory_snr import input_of, levels_of

GROUPS, LEAST = 50, 40  # independent repetitions, and samples that each has at least
RIDGE = 1e-10  # of the mean variance: keeps a solution where features collapse


@dataclass(frozen=True)
class Probed:
    """Accuracy at every level in every repetition (S, R), each with training and test samples of its own."""

    sigmas: np.ndarray
    every: np.ndarray
    chance: float

    @property
    def accuracy(self) -> np.ndarray:
        return np.asarray(self.every.mean(1))

    @property
    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """95 %, Student's over the repetitions, which are independent."""
        half = _half(self.every)
        return np.maximum(self.accuracy - half, 0), np.minimum(self.accuracy + half, 1)

    def gain(self, place: int) -> tuple[float, float, float]:
        """Gain of a level over the lowest one, with its interval; paired, as every level has the same draws.

        Honest only where the level was not chosen by these accuracies: the peak of the SNR is such a choice.
        """
        apart = self.every[place] - self.every[int(self.sigmas.argmin())]
        half = float(_half(apart[None])[0])
        return float(apart.mean()), float(apart.mean() - half), float(apart.mean() + half)

    def table(self) -> pd.DataFrame:
        low, high = self.interval
        return pd.DataFrame({"sigma": self.sigmas, "probe_accuracy": self.accuracy, "probe_low": low, "probe_high": high})


def _half(values: np.ndarray) -> np.ndarray:
    count = values.shape[1]
    return np.asarray(t.ppf(0.975, count - 1) * values.std(1, ddof=1) / np.sqrt(count))


def probe(
    spec: MoLRG,
    sigmas: Sequence[float] | np.ndarray,
    samples: int = 20_000,
    seed: int = 0,
    input: str = "noisy",
    draws: Draws | None = None,
) -> Probed:
    """The probe's accuracy on posterior means; samples are dealt to `GROUPS` repetitions, half of each to fit, half to test.

    Fewer repetitions where there are fewer than `LEAST` samples for each. Raises InvalidRequest.
    """
    levels, clean = levels_of(sigmas), input_of(input) == "clean"
    if samples < 2 * LEAST:
        raise InvalidRequest(f"samples is {samples}; allowed: at least {2 * LEAST} for a probe, {LEAST} a repetition.")
    drawn, posterior = draw(spec, samples, seed) if draws is None else draws, Posterior(spec)
    groups = min(GROUPS, len(drawn.labels) // LEAST)
    each = len(drawn.labels) // groups
    order = np.random.default_rng(seed).permutation(len(drawn.labels))[: groups * each].reshape(groups, each)
    truth, found = drawn.labels[order], []
    x0 = drawn.at(0.0)
    for sigma in levels:
        features = posterior.mean(x0 if clean else drawn.at(sigma), sigma)
        found.append(fit_and_score(features[:, order].transpose(1, 2, 0), truth, spec.classes))
    return Probed(levels, np.stack(found), max(spec.weights))


def fit_and_score(features: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """(R,): accuracy of each repetition's probe, of features (R, m, D) and classes (R, m), fitted on the first half of m."""
    half = features.shape[1] // 2
    train, test = features[:, :half], features[:, half:]
    hot = np.eye(classes)[truth[:, :half]]
    middle, share = train.mean(1, keepdims=True), hot.mean(1, keepdims=True)
    apart = train - middle
    gram = apart.transpose(0, 2, 1) @ apart
    gram += RIDGE * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(gram.shape[-1]) / gram.shape[-1]
    weights = np.linalg.solve(gram, apart.transpose(0, 2, 1) @ (hot - share))
    scores = share + (test - middle) @ weights
    return np.asarray((scores.argmax(2) == truth[:, half:]).mean(1))
