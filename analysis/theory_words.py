"""The reading of a mixture's curves in sentences, and its numbers as one table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .theorem import confidence, denoising_rate, h, theorem1
from .theory import MoLRG
from .theory_probe import Probed
from .theory_snr import SNR, limits

CLOSE = 0.05  # where the theorem counts as agreeing with the exact SNR, relative


def said(value: float) -> str:
    """A number of two or three digits, without an exponent where it can be."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 10 else f"{value:.2g}"


def rises(found: SNR) -> bool:
    """Whether the SNR is above that of the least noise, by intervals that do not meet."""
    return bool(found.low[found.peak] > found.high[0])


def falls(found: SNR) -> bool:
    """Whether the SNR at the most noise is below its peak, by intervals that do not meet."""
    return bool(found.high[-1] < found.low[found.peak])


def finding(found: SNR) -> str:
    """Where the SNR peaks, as one sentence."""
    top = found.peak
    value = f"{said(found.value[top])} (95 % interval {said(found.low[top])} to {said(found.high[top])})"
    if not rises(found):
        return (
            f"The SNR of the exact posterior mean does not rise above its value at the least noise, {said(found.value[0])}: no hump here."
        )
    low, high = found.peak_range
    reach = f"; samples and levels place it from σ = {said(low)} to {said(high)}" if high > low else ""
    times = f", {said(found.value[top] / found.value[0])} times that at the least noise"
    if not falls(found):
        return (
            f"The SNR of the exact posterior mean rises to {value}{times}, at σ = {said(found.sigmas[top])}, and does not fall again over these "
            "levels: no hump here."
        )
    return f"The SNR of the exact posterior mean peaks at σ = {said(found.sigmas[top])}, at {value}{times}{reach}."


def ends(spec: MoLRG, found: SNR) -> str | None:
    """What the SNR goes to at both ends."""
    both = limits(spec, found.input)
    if both is None:
        return None
    rule = ("1/((K-1)δ²)", "1/((K-1)δ²)" if found.input == "clean" else "1/(K-1)") if spec.equal else (None, None)
    low, high = (f"{said(value)}{f' = {name}' if name else ''}" for value, name in zip(both, rule, strict=True))
    why = "where x̂ is the image itself, irrelevant part and all"
    far = (
        "where x̂ weighs every subspace alike, of the clean image"
        if found.input == "clean"
        else "where x̂ weighs every subspace by its proportion alone: the image is lost"
    )
    return f"As σ → 0 it goes to {low}, {why}; as σ → ∞ to {high}, {far}."


def rates(spec: MoLRG, found: SNR) -> str:
    """Which rate does what, and from where on."""
    sure = h(found.confidence, spec.delta)
    halfway = (sure[0] + sure[-1]) / 2
    below = np.flatnonzero(sure < halfway)
    start = (
        f"**The rise is denoising**: its rate σ²/δ² passes 1 at σ = δ = {spec.delta:g}, and from about there on the posterior mean loses "
        "class-irrelevant noise faster than the class's own subspace."
        if rises(found)
        else f"The denoising rate σ²/δ² passes 1 at σ = δ = {spec.delta:g}, but the SNR does not rise by it here."
    )
    if not len(below) or sure[0] - sure[-1] < 0.05:
        return f"{start} Class confidence hardly falls over these levels."
    if not falls(found):
        return f"{start} The class-confidence rate is half way down at σ = {said(found.sigmas[below[0]])}, but the SNR does not fall by it over these levels."
    return (
        f"{start} **The fall is doubt**: the class-confidence rate is half way down at σ = {said(found.sigmas[below[0]])}, and the posterior mean "
        "mixes in the subspaces of other classes."
    )


def agreement(spec: MoLRG, found: SNR) -> str:
    """Where the theorem's approximation and the exact SNR agree; why there is none where it does not apply."""
    formula = theorem1(spec, found.sigmas, found.input)
    if formula is None:
        why = (
            ["class means that are not 0"] * (spec.separation > 0)
            + ["overlapping subspaces"] * (not spec.orthogonal)
            + ["subspaces of several dimensions"] * (len(set(spec.dims)) > 1)
            + ["unequal proportions"] * bool(np.ptp(spec.weights) > 1e-9)
        )
        return f"Theorem 1 does not hold for {' and '.join(why)}, so no formula is drawn; the exact SNR holds all the same."
    top, apart = int(formula.argmax()), np.abs(formula / found.value - 1) <= CLOSE
    far = np.flatnonzero(~apart)
    times = formula[top] / found.value[found.peak]
    shape = (
        f"Theorem 1's approximation peaks at σ = {said(found.sigmas[top])} at {said(formula[top])}, {said(times)} times as high"
        if top not in (0, len(formula) - 1)
        else f"Theorem 1's approximation has its highest value, {said(formula[top])}, at σ = {said(found.sigmas[top])}"
    )
    if not len(far):
        return f"{shape}; it is within {CLOSE:.0%} of the exact SNR at every level."
    below = f"below σ = {said(found.sigmas[far[0]])}" if far[0] else ""
    above = f"above σ = {said(found.sigmas[far[-1]])}" if far[-1] < len(formula) - 1 else ""
    where = " and ".join(filter(None, (below, above)))
    near = f"within {CLOSE:.0%} of the exact SNR {where}" if where else f"nowhere within {CLOSE:.0%} of the exact SNR"
    return f"{shape}; it is {near}, and between these it takes class confidence for surer than it is."


def probing(spec: MoLRG, found: SNR, probed: Probed) -> str:
    """What the linear probe does at the SNR's peak, against the least noise."""
    gain, low, high = (100 * part for part in probed.gain(found.peak))
    accuracy, place = 100 * probed.accuracy, found.peak
    told = (
        f"At the SNR's peak a linear probe is right on {accuracy[place]:.1f} %, {gain:+.1f} points against the least noise "
        f"({low:+.1f} to {high:+.1f}; chance {100 * probed.chance:.0f} %)"
    )
    if spec.separation and low <= 0:
        return (
            f"{told}. **The control**: classes with means apart are told apart from the least noise on, so the probe's curve has no rise, and "
            "nothing was memorized. The SNR rises all the same: it measures energy, not whether classes can be told apart."
        )
    if spec.classes == 2 and not spec.separation:
        return f"{told}. With two classes of mean 0 a linear probe stays near chance (x and -x are as likely in each): take three or more."
    return f"{told}{': the same hump, small as it is' if low > 0 else ', which these samples do not tell from none' if high > 0 else ''}."


def table(spec: MoLRG, found: SNR, probed: Probed | None = None) -> pd.DataFrame:
    """One row a level: exact SNR with intervals, theorem, both rates, and the probe where it was fitted."""
    rows = found.table()
    formula = theorem1(spec, found.sigmas, found.input)
    rows["theorem1"] = np.nan if formula is None else formula
    rows["denoising_rate"] = denoising_rate(spec, found.sigmas)
    rows["confidence_rate"] = h(found.confidence, spec.delta)
    rows["confidence_rate_theorem1"] = h(confidence(spec, found.sigmas), spec.delta) if spec.equal else np.nan
    if probed is not None:
        rows = rows.join(probed.table().drop(columns="sigma"))
    return rows
