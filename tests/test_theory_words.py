from __future__ import annotations

import numpy as np
import pytest

from analysis import theory_words as words
from analysis.theory import MoLRG
from analysis.theory_probe import probe
from analysis.theory_snr import SNR, snr

SIGMAS = np.geomspace(0.01, 10, 25)


def curve(spec: MoLRG, input: str = "noisy") -> SNR:
    return snr(spec, SIGMAS, 5000, input=input)


def test_the_reading_says_where_it_peaks_what_rises_what_falls_and_where_it_ends() -> None:
    spec = MoLRG()
    found = curve(spec)
    assert "peaks at σ = 0.32" in words.finding(found)
    assert "times that at the least noise" in words.finding(found)
    assert "it goes to 25 = 1/((K-1)δ²)" in words.ends(spec, found)
    assert "to 1 = 1/(K-1)" in words.ends(spec, found)
    assert "σ²/δ² passes 1 at σ = δ = 0.2" in words.rates(spec, found)
    assert "half way down at σ =" in words.rates(spec, found)


@pytest.mark.parametrize("spec", [MoLRG(delta=1.0), MoLRG(delta=0.8), MoLRG(dims=(1, 1), delta=0.6)])
def test_no_rise_is_claimed_where_there_is_none(spec: MoLRG) -> None:
    found = curve(spec)
    assert "no hump here" in words.finding(found)
    assert "the SNR does not rise by it here" in words.rates(spec, found)
    assert "The rise is denoising" not in words.rates(spec, found)


def test_no_fall_is_claimed_where_it_levels_off() -> None:
    spec = MoLRG(ambient=60, dims=(5, 5, 5), angle=10)
    found = curve(spec)
    assert "does not fall again over these levels: no hump here" in words.finding(found)
    assert "The rise is denoising" in words.rates(spec, found)
    assert "The fall is doubt" not in words.rates(spec, found)


def test_the_theorem_is_said_to_be_later_and_higher_and_where_it_agrees() -> None:
    said = words.agreement(MoLRG(), curve(MoLRG()))
    assert "peaks at σ = 0.56 at 154, 2.6 times as high" in said
    assert "within 5% of the exact SNR below σ =" in said


def test_where_it_does_not_hold_the_reason_is_named() -> None:
    spec = MoLRG(dims=(4, 5), angle=60, weights=(0.3, 0.7))
    said = words.agreement(spec, curve(spec))
    assert "overlapping subspaces and subspaces of several dimensions and unequal proportions" in said


def test_no_hump_is_said_to_be_none() -> None:
    assert "does not rise" in words.finding(curve(MoLRG(delta=1.0)))


def test_the_probes_sentence_says_gain_chance_and_control() -> None:
    spec = MoLRG(dims=(5, 5, 5), separation=4.0)
    found = curve(spec)
    assert "**The control**" in words.probing(spec, found, probe(spec, SIGMAS, 5000))
    two = MoLRG()
    assert "stays near chance" in words.probing(two, curve(two), probe(two, SIGMAS, 5000))


def test_the_table_has_a_row_a_level() -> None:
    spec = MoLRG(dims=(5, 5, 5))
    found = curve(spec)
    rows = words.table(spec, found, probe(spec, SIGMAS, 5000))
    assert len(rows) == len(SIGMAS)
    assert rows.confidence_rate.iloc[0] > 0.98
    assert rows[["snr", "theorem1", "probe_accuracy"]].notna().all().all()
