"""Maps as charts: groups, what a selection means, and the pictures' places."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from analysis import map_charts, map_panels, map_points
from analysis.figures import OKABE_ITO
from analysis.map_charts import OWN, RING
from analysis.map_points import Points

RNG = np.random.default_rng(0)
LEVELS = [{"sigma": sigma, "timestep": t, "log_snr": -2 * np.log(sigma)} for t, sigma in enumerate([0.1, 1.0, 10.0])]
BLOCKS = ["down", "mid", "up"]
TRUST = {"count": 9, "trustworthiness": 0.9, "continuity": 0.8, "purity_space": 0.5, "purity_map": 0.6, "silhouette": 0.1}
TRUST |= {"dimension": 4.0, "participation": 3.0, "purer": True}


def points(count: int = 12, classes: int = 3, **more: Any) -> Points:
    group = np.arange(count) % (classes + 1) - 1  # -1 is none
    texts = [f"image {row}" for row in range(count)]
    uris = [f"data:image/webp;base64,{row}" for row in range(count)]
    return Points(RNG.normal(size=(count, 2)), group, [f"class {k}" for k in range(classes)], texts, uris, **more)


def test_every_image_is_in_one_group_with_its_own_words_and_picture() -> None:
    given = points()
    option, groups = map_charts.scatter(given), map_points.groups(given)
    assert sorted(np.concatenate(groups)) == list(range(12))
    assert [series["name"] for series in option["series"]] == ["class 0 (3)", "class 1 (3)", "class 2 (3)", "no label (3)"]
    for series, rows in zip(option["series"], groups, strict=True):
        table = option["dataset"][series["datasetIndex"]]["source"]
        assert table.text.tolist() == [f"image {row}" for row in rows]
        assert table.picture.tolist() == [f"data:image/webp;base64,{row}" for row in rows]
        np.testing.assert_allclose(table[["x", "y"]], given.layout[rows], rtol=1e-6)


def test_a_class_looks_the_same_however_many_images_it_has() -> None:
    few, many = points(8), points(400)
    looks = [
        {series["name"].split(" (")[0]: series["itemStyle"].get("color") for series in map_charts.scatter(p)["series"]} for p in (few, many)
    ]
    assert looks[0] == looks[1]
    assert looks[0]["class 0"] == OKABE_ITO[0]


def test_more_classes_than_looks_are_others() -> None:
    series = map_charts.scatter(points(400, 40))["series"]
    assert len(series) == 30
    assert series[28]["name"].startswith("others (12 classes)")
    assert len({(one["itemStyle"]["color"], one["symbol"]) for one in series[:28]}) == 28


def test_a_selection_is_read_by_series_and_what_is_not_there_is_left_out() -> None:
    groups = map_points.groups(points())
    chosen = [
        {"series_index": 1, "data_indices": [0, 2]},
        {"series_index": 0, "data_indices": [1, 99]},
        {"series_index": 7, "data_indices": [0]},
    ]
    assert map_points.taken(chosen, groups) == {int(groups[1][0]), int(groups[1][2]), int(groups[0][1])}


def test_the_selected_are_ringed_and_so_is_ones_own_image_with_lines_to_its_nearest() -> None:
    given = points(selected=np.array([2, 5]))
    series = map_charts.scatter(given, own=np.array([30.0, 1.0]))["series"]
    (ring,) = [one for one in series if one["name"] == RING]
    np.testing.assert_allclose(ring["data"], given.layout[[2, 5]])
    (mine,) = [one for one in series if one["name"] == OWN]
    assert mine["data"] == [[30.0, 1.0]]
    lines = map_charts.scatter(given, own=np.array([30.0, 1.0]), near=[4, 6])["series"][-1]["data"]
    assert [line["coords"] for line in lines] == [[[30.0, 1.0], given.layout[4].tolist()], [[30.0, 1.0], given.layout[6].tolist()]]
    assert map_charts.scatter(given, own=np.array([30.0, 1.0]))["xAxis"]["max"] > 30
    assert "brush" not in map_charts.scatter(given, select=False)


def test_both_axes_have_one_scale_also_of_one_point() -> None:
    edges = map_points.frame(np.array([[0.0, 0.0], [10.0, 2.0]]))
    assert edges["x"][1] - edges["x"][0] == pytest.approx(edges["y"][1] - edges["y"][0])
    assert edges["x"][0] < 0 < 10 < edges["x"][1]
    one = map_points.frame(np.zeros((1, 2)))
    assert one["x"][0] < 0 < one["x"][1]


def test_values_colour_one_series() -> None:
    option = map_charts.scatter(points(values=np.linspace(0.2, 0.9, 12), value="confidence"))
    (series,) = option["series"]
    assert option["visualMap"]["min"] == pytest.approx(0.2)
    assert series["symbol"] == "circle"
    assert option["dataset"][0]["source"].value.tolist() == pytest.approx(np.linspace(0.2, 0.9, 12))


def test_values_colour_every_panel_and_every_frame() -> None:
    given = points(values=np.linspace(0, 1, 12), value="confidence")
    many = map_charts.multiples(given, {"a": given.layout, "b": given.layout}, 2)
    assert many["visualMap"]["seriesIndex"] == [0, 1]
    moving = map_charts.player(given, {"a": given.layout, "b": given.layout}, 0, [1])["baseOption"]
    assert moving["visualMap"]["seriesIndex"] == [0]
    assert "value" in moving["dataset"][0]["source"]


def test_some_of_the_points_are_those_rows_and_who_is_selected_stays_so() -> None:
    given = points(selected=np.array([2, 5]), values=np.arange(12.0))
    some = given.take(np.array([1, 5, 7]))
    assert some.texts == ["image 1", "image 5", "image 7"]
    assert some.selected.tolist() == [1]
    assert some.values is not None
    assert some.values.tolist() == [1, 5, 7]
    np.testing.assert_array_equal(some.layout, given.layout[[1, 5, 7]])


def test_every_panel_has_every_image_and_a_click_names_its_panel() -> None:
    given = points(selected=np.array([1]))
    layouts = {name: RNG.normal(size=(12, 2)) for name in ("a", "b", "c")}
    option = map_charts.multiples(given, layouts, 2, mark="b")
    assert [title["text"] for title in option["title"]] == ["a", "b", "c"]
    for index, series in enumerate(option["series"]):
        place = map_charts.panel(index, given, 3)
        if series["name"] == RING:
            assert place is None
            np.testing.assert_allclose(series["data"], layouts["abc"[series["xAxisIndex"]]][[1]])
            continue
        assert series["xAxisIndex"] == place
        table, rows = option["dataset"][series["datasetIndex"]]["source"], map_points.groups(given)[series["datasetIndex"]]
        np.testing.assert_allclose(table[[series["encode"]["x"], series["encode"]["y"]]], layouts["abc"[place]][rows], rtol=1e-6)  # type: ignore[index]
    assert [grid["borderWidth"] for grid in option["grid"]] == [1, 2, 1]


def test_a_player_has_a_frame_a_level_and_the_ways_of_the_chosen() -> None:
    layouts = {f"t = {t}": RNG.normal(size=(12, 2)) for t in range(4)}
    option = map_charts.player(points(), layouts, 2, [3, 7])
    assert option["baseOption"]["timeline"]["data"] == list(layouts)
    assert option["baseOption"]["timeline"]["currentIndex"] == 2
    assert len(option["options"]) == 4
    series = option["baseOption"]["series"]
    trails = [one for one in series if one["type"] == "lines"]
    assert [len(trail["data"]) for trail in trails] == [3, 3]
    np.testing.assert_allclose(trails[1]["data"][2]["coords"], [layouts["t = 2"][7], layouts["t = 3"][7]])
    for place, frame in enumerate(option["options"]):
        assert len(frame["series"]) == len(series)
        assert frame["series"][0]["encode"]["x"] == f"x{place}"
        np.testing.assert_allclose(frame["series"][-1]["data"], layouts[f"t = {place}"][[3, 7]])
    (ring,) = [one for one in series if one["name"] == RING]
    np.testing.assert_allclose(ring["data"], layouts["t = 2"][[3, 7]])  # where it begins


def test_options_are_json_but_for_their_tables() -> None:
    given = points(selected=np.array([2]), values=np.linspace(0, 1, 12))
    for option in (map_charts.scatter(given, own=np.zeros(2)), map_charts.multiples(given, {"a": given.layout}, 5)):
        for dataset in option["dataset"]:
            dataset.pop("source")
        json.dumps(option, allow_nan=False)


def test_a_solid_map_has_a_trace_a_group_the_rings_and_the_pin() -> None:
    layout = RNG.normal(size=(12, 3))
    figure = map_panels.solid(points(selected=np.array([1, 2])), layout, np.zeros(3))
    assert [trace.name for trace in figure.data] == ["class 0 (3)", "class 1 (3)", "class 2 (3)", "no label (3)", RING, OWN]
    np.testing.assert_allclose(figure.data[4].z, layout[[1, 2], 2])


def test_trust_is_drawn_where_there_is_a_map() -> None:
    told = [TRUST, None, TRUST | {"purity_space": None}]
    for figure in (map_panels.trust_over_noise(told, LEVELS, "sigma", 1), map_panels.trust_over_depth(told, BLOCKS, "mid")):
        purity = next(trace for trace in figure.data if trace.name == "class purity in the full space")
        assert list(purity.y) == [0.5, None, None]
        assert len(figure.data) == 7
    unlabelled = [TRUST | {"purity_space": None, "purity_map": None, "silhouette": None}] * 3
    assert len(map_panels.trust_over_depth(unlabelled, BLOCKS, "mid").data) == 4


def test_a_heat_map_has_a_point_to_click_on_for_every_cell() -> None:
    matrix = np.array([[1.0, 0.25], [0.5, np.nan]])
    figure = map_panels.heat(matrix, ["a", "b"], ["c", "d"], "CKA", ("b", "c"))
    spots = figure.data[1]
    assert list(zip(spots.x, spots.y, strict=True)) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert spots.text[2] == "b and c: 0.50"
    (mark,) = figure.layout.shapes
    assert (mark.x0, mark.y0) == (-0.5, 0.5)
