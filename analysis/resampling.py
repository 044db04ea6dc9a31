"""How sure a mean over draws and test images is: standard errors in which every cause counts once, and curves that vary as they say.

Every draw sees every test image, so a mean varies with the images, with the draws, and with what the two share: the residual, and
an image's own ε. A bootstrap over images has the first and the last, a bootstrap over draws the second and the last; both variances
are known in closed form (A. B. Owen, Ann. Appl. Stat. 1 (2007) 386). Their sum would count what is shared twice, so it is taken off
the draws' once, as with errors clustered in two ways (A. C. Cameron, J. B. Gelbach, D. L. Miller, J. Bus. Econ. Stat. 29 (2011)
238), and what is left to the draws is never below zero.

Draws under one ε are a group. How draws scatter inside groups tells of the label draws; how groups scatter tells of them and of ε,
on few degrees of freedom: what that adds, if anything, is added. Degrees of freedom of the parts are weighed as by F. E.
Satterthwaite (Biometrics Bull. 2 (1946) 110). What a design has one of (one ε, or the same labelled images in every draw) is held
fixed: its part cannot be told, and intervals are for that one.

Simulated, 95 % intervals of accuracies and of differences hold the truth in 93 to 97 % of runs (tests/test_coverage.py). Known to be
off are those of nearly nothing but residual, and of runs apart with few draws (up to 98.5 %), and too narrow ones where two or three
draws of ε, each shifting all images alike, make most of the variance (87 to 92 %), or where fewer than about five images are wrong,
or tell two curves apart (84 to 93 %).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .errors import InvalidRequest

EXACT = 2**24  # float32 counts to here: a sum of whole numbers is the same in any order, so with any number of threads
CHUNKS = 20  # the images' resamples are drawn and used in parts: as a whole they would be the largest array of a sweep


@dataclass(frozen=True)
class Part:
    """Covariances (S, S) of a mean curve: of the `scatter` of its draws, or groups of them, the images explain `shared`."""

    scatter: np.ndarray
    shared: np.ndarray
    freedom: int


@dataclass(frozen=True)
class Draws:
    """What draws add to the variance of a mean curve: what those inside groups do, if any are, and what groups do beyond it."""

    groups: Part
    deviations: Callable[[], np.ndarray]  # (B, S) of resampled groups
    inside: Part | None = None

    def own(self, of: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(variance, its square over its degrees of freedom), both (C,), where `of` takes variances from a covariance."""
        groups, shared = of(self.groups.scatter), of(self.groups.shared)
        variance = square = counted = np.zeros_like(groups)
        if self.inside:
            scatter = of(self.inside.scatter)
            variance = np.maximum(scatter - of(self.inside.shared), 0)
            counted = np.where(variance > 0, scatter, 0)
            square = counted**2 / self.inside.freedom
        more = groups - shared > variance
        square = square + np.where(more, np.maximum(groups**2 - counted**2, 0), 0) / self.groups.freedom
        return np.where(more, groups - shared, variance), square

    def shrunk(self) -> np.ndarray:
        """The deviations (B, S), scaled at each level to the variance that is the draws' own."""
        groups = np.diag(self.groups.scatter)
        scale = np.divide(self.own(np.diag)[0], groups, out=np.zeros_like(groups), where=groups > 0)
        return np.asarray(self.deviations() * np.sqrt(scale))


@dataclass(frozen=True)
class Spread:
    """How a mean curve, or the difference of two, would vary: `images` are covariances (S, S) with their degrees of freedom."""

    images: tuple[tuple[np.ndarray, int], ...]
    draws: tuple[Draws, ...]
    resampled: Callable[[], np.ndarray]  # (B, S) deviations over resampled images

    def error(self, contrasts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(standard errors, degrees of freedom) of each level (S,), or of contrasts of levels: (C, S) -> (C,)."""

        def of(covariance: np.ndarray) -> np.ndarray:
            if contrasts is None:
                return np.diag(covariance)
            return np.einsum("cs,st,ct->c", contrasts, covariance, contrasts)

        parts = [(of(covariance), of(covariance) ** 2 / freedom) for covariance, freedom in self.images]
        variance, squares = np.sum([*parts, *(one.own(of) for one in self.draws)], 0)
        most = float(sum(freedom for _, freedom in self.images))
        freedom = np.divide(variance**2, squares, out=np.full(len(variance), most), where=squares > 0)
        return np.sqrt(np.maximum(variance, 0)), np.clip(freedom, 1, most)

    @cached_property
    def deviations(self) -> np.ndarray:
        """(B, S): how resampled curves differ from the mean one."""
        return np.asarray(sum((one.shrunk() for one in self.draws), self.resampled()))


@dataclass(frozen=True)
class Resamples:
    """B bootstrap resamples: how often each test image was drawn, (B, N) uint8, and the weights (B, G) of the groups of draws, of
    mean 1; `member` (R,) is the group of each draw. One set serves all curves, which keeps them paired.
    """

    images: np.ndarray
    groups: np.ndarray
    member: np.ndarray

    def spread(self, correct: np.ndarray) -> Spread:
        """How the mean curve of (R, S, N) varies over images and draws."""
        sums, scale = self._sums(correct), len(self.member)
        draws = self._between(self._deviations(sums), scale**2)
        if draws and len(sums) < scale:
            draws = (replace(draws[0], inside=self._inside(correct, sums)),)
        return Spread((_over_images(sums.sum(0), scale),), draws, lambda: self._resampled(correct))

    def curves(self, correct: np.ndarray) -> np.ndarray:
        """(R, S, N) -> B curves (B, S) that vary at every level as the mean curve would over images and draws."""
        mean = correct.mean(2, dtype=np.float64).mean(0)
        return np.asarray(mean + self.spread(correct).deviations)

    def _sums(self, correct: np.ndarray) -> np.ndarray:
        """(G, S, N): over the draws of each group; of answers whole numbers, and so all that is summed of them."""
        if correct.ndim != 3 or (correct.shape[0], correct.shape[2]) != (len(self.member), self.images.shape[1]):
            raise InvalidRequest(
                f"correct has shape {correct.shape}; allowed: ({len(self.member)}, levels, {self.images.shape[1]}) as resampled."
            )
        return np.stack([correct[self.member == group].sum(0, dtype=np.float64) for group in range(self.groups.shape[1])])

    def _deviations(self, sums: np.ndarray) -> np.ndarray:
        """(G, S, N): what each group adds to the mean beyond its share, times the draws squared."""
        size = np.bincount(self.member, minlength=len(sums))
        return np.asarray(len(self.member) * sums - size[:, None, None] * sums.sum(0))

    def _between(self, deviations: np.ndarray, scale: float) -> tuple[Draws, ...]:
        """Of groups, from `scale` times what each adds to the mean (G, S, N); () of one group."""
        count, images = len(deviations), deviations.shape[2]
        if count < 2:
            return ()
        means, wide = deviations.sum(2) / (scale * images), count / (count - 1)
        shared = np.sum([_over_images(group, scale)[0] for group in deviations], 0)
        return (Draws(Part(wide * np.einsum("gs,gt->st", means, means), wide * shared, count - 1), lambda: self.groups @ means),)

    def _inside(self, correct: np.ndarray, sums: np.ndarray) -> Part:
        """Of the draws inside groups."""
        (draws, levels, images), size = correct.shape, np.bincount(self.member)
        flat = np.moveaxis(correct, 1, 0).reshape(levels, draws * images)
        flat = flat.astype(np.float32 if draws * images < EXACT and correct.dtype == bool else np.float64)
        squares = (flat @ flat.T).astype(np.float64) - np.sum([group @ group.T / n for group, n in zip(sums, size, strict=True)], 0)
        off = correct.sum(2, dtype=np.float64) - (sums.sum(2) / size[:, None])[self.member]  # (R, S)
        scatter, freedom = np.einsum("rs,rt->st", off, off), draws - len(sums)
        scale = draws * freedom * images
        return Part(scatter / (scale * images), (squares - scatter / images) / (scale * (images - 1)), freedom)

    def _resampled(self, correct: np.ndarray) -> np.ndarray:
        """Deviations (B, S) of the mean curve over resampled images."""
        mean, (draws, _, count) = correct.mean(2, dtype=np.float64).mean(0), correct.shape
        kind = np.float32 if draws * count < EXACT else np.float64
        right = correct.sum(0).T.astype(kind)  # (N, S)
        sums = np.concatenate([rows.astype(kind) @ right for rows in np.array_split(self.images, CHUNKS)])
        return np.asarray((sums.astype(np.float64) / (draws * count) - mean) * np.sqrt(count / (count - 1)))


def _over_images(sums: np.ndarray, scale: float) -> tuple[np.ndarray, int]:
    """(covariance (S, S) of the mean over images of (S, N) / `scale`, degrees of freedom)."""
    count, all_of = sums.shape[1], sums.sum(1)
    return (sums @ sums.T - np.outer(all_of, all_of) / count) / (count * (count - 1) * scale**2), count - 1


def between(first: np.ndarray, second: np.ndarray, resamples: tuple[Resamples, Resamples]) -> Spread:
    """How the mean of (R', S, N') less that of (R, S, N) varies.

    Runs that share images, groups of draws, or draws (`member`) have them as the same array: these are paired, draws and groups only
    where images are. What is paired is the difference of each; what is apart adds its own variance.
    """
    one, other = resamples
    paired = one.images is other.images
    if paired and one.groups is other.groups and one.member is other.member:
        return one.spread(second.astype(np.float32) - first)
    a, b = one.spread(first), other.spread(second)
    images, draws = (*a.images, *b.images), (*a.draws, *b.draws)
    if paired:
        few, many = len(one.member), len(other.member)
        here, there = one._sums(first), other._sums(second)
        images = (_over_images(few * there.sum(0) - many * here.sum(0), few * many),)
        if one.groups is other.groups:
            draws = one._between(few**2 * other._deviations(there) - many**2 * one._deviations(here), (few * many) ** 2)
    return Spread(images, draws, lambda: other._resampled(second) - one._resampled(first))


def grouped(label_draw: np.ndarray, eps_draw: np.ndarray) -> np.ndarray:
    """The group (R,) of each draw, from 0: its ε, in ascending order; where all draws share one ε, its label draw, or itself.

    Raises InvalidRequest where label draws and ε draws cross, so that no groups are independent of each other.
    """
    labels, label = np.unique(label_draw, return_inverse=True)
    noises, eps = np.unique(eps_draw, return_inverse=True)
    if len(noises) == 1:
        return np.asarray(label) if len(labels) > 1 else np.arange(len(label))
    pairs = len(set(zip(label.tolist(), eps.tolist(), strict=True)))
    if len(labels) in (1, pairs):
        return np.asarray(eps)
    if len(noises) == pairs:
        return np.asarray(label)
    raise InvalidRequest(
        f"{len(labels)} label draws and {len(noises)} ε draws cross in {pairs} pairs; allowed: each label draw under one ε, or each ε "
        "under one label draw."
    )


def resamples(label_draw: np.ndarray, eps_draw: np.ndarray, n_test: int, times: int = 2000, seed: int = 0) -> Resamples:
    """The bootstrap of a run: draw r used labelled images `label_draw[r]` and noise `eps_draw[r]`; both (R,).

    Raises InvalidRequest for fewer than two draws or test images, or draws that cross.
    """
    if len(label_draw) < 2 or len(label_draw) != len(eps_draw):
        raise InvalidRequest(f"label_draw has {len(label_draw)} and eps_draw {len(eps_draw)} draws; allowed: as many, at least 2.")
    if n_test < 2:
        raise InvalidRequest(f"n_test is {n_test}; allowed: at least 2 test images.")
    rng, member = np.random.default_rng(seed), grouped(label_draw, eps_draw)
    even, count = np.full(n_test, 1 / n_test), int(member.max()) + 1
    images = np.concatenate(
        [rng.multinomial(n_test, even, size=len(part)).astype(np.uint8) for part in np.array_split(np.empty(times), CHUNKS)]
    )
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=times)
    return Resamples(images, 1 + (drawn - 1) * np.sqrt(count / max(1, count - 1)), member)
