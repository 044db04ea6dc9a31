"""What is said of SNRs and peaks, of rows made for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import snr_figures, snr_words

SIGMAS = [0.01, 0.1, 1.0, 10.0]
LEVELS = [{"sigma": sigma, "timestep": 10.0 * i, "log_snr": -2 * np.log(sigma)} for i, sigma in enumerate(SIGMAS)]


def table(snr: list[float], null: list[float], clean: float = 0.5) -> pd.DataFrame:
    rows = []
    for reading in ("noisy", "clean", "mean"):
        for sigma, value, low in zip(SIGMAS, snr, null, strict=True):
            row: dict[str, Any] = {"block": "mid", "pooling": "1", "reading": reading, "sigma": sigma, "chance": 0.1}
            row |= {"draws": 3 if reading == "noisy" else 1}
            centre = {"snr": value, "null": low, "projection": 0.5, "distance": clean if reading == "clean" else 0.3}
            for name, middle in centre.items():
                row |= {name: middle, f"{name}_low": 0.9 * middle, f"{name}_high": 1.1 * middle}
            rows.append(row)
    return pd.DataFrame(rows)


def peak(
    distance: float = 0.7, ci: tuple[float, float] = (0.2, 1.1), of: str = "snr", edge: bool = False, above: bool = True
) -> dict[str, Any]:
    return {
        "block": "mid",
        "pooling": "1",
        "of": of,
        "against": "10",
        "above": above,
        "snr_sigma": 10.0 if edge else 0.1,
        "snr_ci": [0.05, 10.0],
        "snr_edge": edge,
        "accuracy_sigma": 0.2,
        "accuracy_ci": [0.1, 0.3],
        "accuracy_edge": False,
        "distance": distance,
        "distance_ci": list(ci),
        "images": 100,
        "paired": 80,
    }


def said(*peaks: dict[str, Any]) -> dict[str, Any]:
    counts = {"train": 900, "test": 700, "validation": 180, "draws": 3, "seed": 0, "shuffles": 20, "directions": 5, "classes": 10}
    return counts | {"left_out": [], "smallest_class": 3, "input": "noisy", "peaks": list(peaks)}


def test_the_sentence_says_peak_null_and_distance() -> None:
    says = snr_words.sentence(table([3, 5, 2, 1], [1, 1, 1, 1]), said(peak()), "mid", "1", "10")
    assert "is highest near σ = 0.1 (95 % interval 0.05 to 10): 5 (4.5 to 5.5), 5 times that of shuffled labels" in says
    assert "0.70 in ln σ towards more noise (+0.20 to +1.10)" in says


def test_a_distance_whose_interval_holds_nothing_is_not_called_shown() -> None:
    says = snr_words.sentence(table([3, 5, 2, 1], [1, 1, 1, 1]), said(peak(-0.3, (-0.9, 0.2))), "mid", "1", "10")
    assert "0.30 in ln σ towards less noise (-0.90 to +0.20, so that they are not shown to differ)" in says


def test_a_peak_that_shuffled_labels_have_too_is_called_so_and_their_multiple_is_given() -> None:
    facts = said(peak(edge=True, above=False), peak(0.1, (-0.2, 0.3), "excess"))
    says = snr_words.sentence(table([1, 2, 3, 9], [0.5, 0.5, 2, 8.5]), facts, "mid", "1", "10")
    assert "not above that of shuffled labels" in says
    assert "Its highest value is at the highest level measured" in says
    assert "means nothing here" in says
    assert "in ln σ towards less" not in says
    assert "As a multiple of the SNR of shuffled labels it peaks near σ = 0.1" in says


def test_a_block_of_which_nothing_can_be_told_is_said() -> None:
    assert "no SNR can be told" in snr_words.sentence(table([np.nan] * 4, [np.nan] * 4), said(), "mid", "1", "10")
    assert "no distance can be told" in snr_words.far(table([1] * 4, [1] * 4, np.nan), "mid", "1")


def test_all_blocks_are_counted_where_both_peaks_can_be_placed() -> None:
    facts = said(peak(), peak(edge=True), peak(above=False), peak(-0.2, (-0.5, 0.1)), peak(0.1, (-0.2, 0.3), "excess", edge=True))
    says = snr_words.every(facts, "1", "10")
    assert (
        "SNR: in 2 of 4 blocks both peaks can be placed, and in 1 of these they are shown to be apart, accuracy's at more noise in 1."
        in says
    )
    assert "SNR over that of shuffled labels: in none of 1 blocks can both peaks be placed." in says


@pytest.mark.parametrize(("clean", "words"), [(0.9, "further off than noise takes"), (0.1, "would not stand out"), (0.3, "about as much")])
def test_clean_features_are_held_against_the_noises_own_scatter(clean: float, words: str) -> None:
    assert words in snr_words.far(table([3, 5, 2, 1], [1] * 4, clean), "mid", "1")


def test_how_names_a_class_too_small_and_classes_left_out() -> None:
    says = snr_words.how(said() | {"left_out": ["seven"]})
    assert "(3, because a class has 3 training images)" in says
    assert "Left out for want of images: seven." in says


def test_rows_say_why_a_peak_is_not_placed() -> None:
    rows = snr_words.rows(said(peak(), peak(edge=True, above=False)), "1", "10")
    assert [row["not placed"] for row in rows] == ["", "SNR at an edge, SNR as of shuffled labels"]


def probe() -> pd.DataFrame:
    return pd.DataFrame({"sigma": SIGMAS, "accuracy": [0.5, 0.6, 0.4, 0.1], "ci_low": [0.4] * 4, "ci_high": [0.7] * 4})


@pytest.mark.parametrize("axis", ["timestep", "sigma", "log_snr"])
def test_snr_and_accuracy_stand_over_one_axis_of_noise(axis: Any) -> None:
    figure = snr_figures.over_noise(table([3, 5, 2, 1], [1] * 4), probe(), LEVELS, axis, peak())
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range
    assert figure.layout.yaxis.type == "log"
    star = [trace for trace in figure.data if trace.name == "peak, 95 % interval"]
    assert [(trace.x[0], trace.y[0]) for trace in star] == [(-1.0, 5), (np.log10(0.2), 0.6)]


def test_levels_that_are_empty_leave_a_gap_in_line_and_band() -> None:
    figure = snr_figures.over_noise(table([3, np.nan, 2, 1], [1, np.nan, 1, 1]), probe(), LEVELS, "sigma", None)
    noisy = [trace for trace in figure.data if trace.legendgroup == "noisy input"]
    assert len(noisy[0].x) == 6
    assert np.isnan(noisy[1].y[1])


def test_open_marks_are_peaks_that_cannot_be_placed() -> None:
    peaks = snr_words.peaks(said(peak(), peak(edge=True), peak(of="excess")))
    figure = snr_figures.apart(peaks, "mid")
    assert list(figure.data[0].marker.symbol) == ["circle", "circle-open"]
    assert figure.layout.yaxis.ticktext == ("<b>mid</b>",)


def test_distances_have_a_line_for_each_reading() -> None:
    figure = snr_figures.distances(table([3, 5, 2, 1], [1] * 4), LEVELS, "sigma")
    assert [trace.name for trace in figure.data if trace.name] == list(snr_figures.SPREAD.values())
