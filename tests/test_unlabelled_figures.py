"""A score beside the probe's accuracy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import unlabelled_figures
from analysis.regret import SCORES

LEVELS = [{"sigma": s, "timestep": t, "log_snr": -2 * np.log(s)} for s, t in ((0.1, 1), (1.0, 200), (10.0, 700))]


def table(name: str, values: list[float]) -> pd.DataFrame:
    """Two blocks, the second by name first in the network, at three levels."""
    rows = [(block, depth, level["sigma"]) for depth, block in enumerate(("z", "a")) for level in LEVELS]
    return pd.DataFrame(rows, columns=["block", "depth", "sigma"]).assign(**{name: values}).sample(frac=1, random_state=0)


@pytest.mark.parametrize(("name", "reversed_"), [("effective_rank", False), ("alignment", True)])
def test_both_maps_have_the_blocks_in_network_order_and_bright_is_better(name: str, reversed_: bool) -> None:
    score, accuracy = table(name, [1, 2, 3, 4, 5, np.nan]), table("accuracy", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    rings = {"score": ("a", 1), "probe": ("z", 2)}
    figure = unlabelled_figures.beside(score, accuracy, LEVELS, "sigma", name, SCORES[name], rings)
    left, right = (trace for trace in figure.data if trace.type == "heatmap")
    np.testing.assert_array_equal(left.z, [[1, 2, 3], [4, 5, np.nan]])
    np.testing.assert_array_equal(right.z, [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    assert tuple(left.y) == tuple(right.y) == ("z", "a")
    assert (left.reversescale, right.reversescale) == (reversed_, False)
    assert [(trace.y[0], trace.x[0]) for trace in figure.data if trace.type == "scatter"] == [("a", 1), ("z", 2)] * 2


def test_a_choice_of_another_pooling_has_no_ring() -> None:
    figure = unlabelled_figures.beside(
        table("agreement", [0.0] * 6), table("accuracy", [0.5] * 6), LEVELS, "timestep", "agreement", SCORES["agreement"], {}
    )
    assert [trace.type for trace in figure.data] == ["heatmap", "heatmap"]
