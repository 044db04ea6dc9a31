"""The tables behind views of many maps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analysis import map_numbers, map_words

LEVELS = [{"sigma": 0.1}, {"sigma": 1.0}, {"sigma": 10.0}]
TRUST = {"trustworthiness": 0.9, "continuity": 0.8, "purity_space": 0.5, "purity_map": 0.52, "purer": False}


def test_the_nearest_level_is_by_its_logarithm() -> None:
    assert map_numbers.nearest(LEVELS, 4.0) == 2  # 3.2 is half way
    assert map_numbers.nearest(LEVELS, 3.0) == 1


def test_layouts_have_a_row_an_image_and_map() -> None:
    ids = np.array([1, 2**63], np.uint64)
    found = map_numbers.layouts(ids, {("a", 0): np.eye(2), ("b", 2): 2 * np.eye(2)}, LEVELS)
    assert found.to_dict("list") == {
        "block": ["a", "a", "b", "b"],
        "sigma": [0.1, 0.1, 10.0, 10.0],
        "id": ["0000000000000001", "8000000000000000"] * 2,
        "x": [1, 0, 2, 0],
        "y": [0, 1, 0, 2],
    }


def test_trust_leaves_out_maps_that_are_not_there_and_says_no_cell_twice() -> None:
    found = map_numbers.trust(
        [("a", 0), ("a", 1), ("b", 1), ("a", 1)], [TRUST, {**TRUST, "continuity": 0.7}, None, {**TRUST, "continuity": 0.7}], LEVELS
    )
    assert found[["block", "sigma", "continuity"]].to_numpy().tolist() == [["a", 0.1, 0.8], ["a", 1.0, 0.7]]


def test_pairs_say_both_cells_and_every_number() -> None:
    matrices = {"cka": np.array([[1.0, 0.5, 0.25]]), "mutual": np.array([[1.0, 0.2, 0.1]])}
    found = map_numbers.alike([("a", 1)], [("a", 0), ("b", 0), ("b", 1)], matrices, LEVELS, [{"sigma": 7.0}, {"sigma": 8.0}])
    assert found.to_numpy().tolist() == [
        ["a", 1.0, "a", 7.0, 1.0, 1.0],
        ["a", 1.0, "b", 7.0, 0.5, 0.2],
        ["a", 1.0, "b", 8.0, 0.25, 0.1],
    ]


def test_what_is_not_content_is_a_row_a_block_and_network() -> None:
    pooled = {"top": [{"channel": 3, "share": 0.5}, {"channel": 0, "share": 0.25}]}
    full = {
        "images": 9,
        "shape": (8, 4, 4),
        "position": {"row": 0.9, "column": 0.8},
        "norms": {"corners": 1.5, "share": 0.01},
        "pooled": pooled,
    }
    bare = {"images": 9, "shape": (8, 1, 1), "position": None, "norms": None, "pooled": pooled}
    found = map_numbers.content({"model": {"a": full}, "random": {"a": bare}}, 0.5)
    assert found.network.tolist() == ["model", "random"]
    assert found.iloc[0][["row_r2", "column_r2", "corners", "high_norm_share", "top_channels", "top_share"]].tolist() == [
        0.9,
        0.8,
        1.5,
        0.01,
        "3 0",
        0.75,
    ]
    assert found.iloc[1][["row_r2", "column_r2", "corners", "high_norm_share"]].isna().all()


@pytest.mark.parametrize(
    ("over", "block", "wanted"),
    [("blocks", "a", [("a", 1), ("b", 1)]), ("levels", "a", [("a", 0), ("a", 1)]), ("levels", "gone", [("b", 0), ("b", 1)])],
)
def test_another_study_stands_beside_at_its_own_nearest_level(over: str, block: str, wanted: list[tuple[str, int]]) -> None:
    facts = {"levels": [{"sigma": 0.1}, {"sigma": 2.0}], "request": {"blocks": ["a", "b"]}}
    other: Any = SimpleNamespace(facts=facts, result=lambda: {"headline": "1/b/1"})
    assert map_numbers.beside(other, over, block, 1.0) == wanted


def test_a_umap_says_what_it_does_not_show_and_its_seed() -> None:
    says = map_words.caution("umap", {"dims": 2, "seed": 7}, None, None)
    assert "distances between clumps, their sizes and their order do not" in says
    assert "seed 7" in says
    assert "no UMAP but a PCA, because there are too few images" in map_words.caution("umap", {"dims": 2, "seed": 7}, None, "few")
    assert "2 directions show 12.5 % of the variance" in map_words.caution("pca", {"dims": 2, "seed": 7}, 0.125, None)


def test_a_map_that_looks_purer_says_so_first() -> None:
    told = map_words.trusted({**TRUST, "purity_map": 0.6, "purer": True})
    assert told[0].startswith("This map looks purer than its space.")
    assert "50.0 % share its class in the full space and 60.0 % on the map" in told[1]
    assert map_words.trusted({**TRUST, "purity_space": None}) == ["Trustworthiness 0.90, continuity 0.80 (1 is best)."]
    assert map_words.trusted(None) == []
