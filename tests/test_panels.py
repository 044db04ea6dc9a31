from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from analysis import panels

LEVELS = [{"sigma": 10.0**k, "timestep": float(k + 3), "log_snr": -4.6 * k} for k in range(-2, 2)]
TILES = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)


def test_a_picture_is_enlarged_without_smoothing() -> None:
    picture = np.asarray(Image.open(io.BytesIO(panels.png(TILES[0], 8))))
    assert picture.shape == (8, 8, 3)
    assert (picture[::4, ::4] == TILES[0]).all()


def test_signed_colours_are_white_at_zero_and_full_at_the_limit() -> None:
    zero, most, least, beyond = panels.signed(np.array([0.0, 2.0, -2.0, 9.0]), 2.0)
    assert (zero > 240).all()
    assert (most == beyond).all()
    assert most[0] > most[2]  # red
    assert least[0] < least[2]  # blue


def test_places_that_are_not_sure_are_grey() -> None:
    faded = panels.faded(np.full((2, 2, 3), 9, np.uint8), np.array([[True, False], [True, True]]))
    assert faded[0, 1].tolist() == [128, 128, 128]
    assert (faded[1] == 9).all()


def test_a_sheet_has_each_tile_where_it_belongs() -> None:
    page = panels.sheet([TILES, TILES[::-1]], 6)
    assert page.shape == (16, 32, 3)
    assert (page[0, 0] == TILES[0, 0, 0]).all()
    assert (page[8, 8] == TILES[2, 0, 0]).all()
    assert (page[6] == 128).all()


def test_a_grid_has_a_point_for_every_picture_and_frames_what_is_chosen() -> None:
    figure = panels.grid_figure({"a": TILES, "b": TILES}, LEVELS, "sigma", ("b", 2))
    assert len(figure.data[0].x) == 8
    assert figure.data[0].customdata[6][:2] == ["b", 1.0]
    (frame,) = figure.layout.shapes
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (1.5, 2.5, 0.5, 1.5)
    assert figure.layout.xaxis.ticktext == ("0.01", "0.1", "1", "10")
    source = figure.layout.images[0].source
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))).shape == (100, 200, 3)


def test_seven_classes_have_a_line_and_the_others_are_summed() -> None:
    told = np.full((4, 10), 0.05)
    told[:, 3] = 0.55
    figure = panels.classes_figure({"block": told, "ensemble": told}, np.zeros((4, 10)), [str(k) for k in range(10)], LEVELS, "sigma", 1)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers" and trace.showlegend]
    (rest,) = [trace for trace in figure.data if trace.name == "3 others" and trace.showlegend]
    assert "3" in [trace.name for trace in lines]
    assert len(lines) == 7
    np.testing.assert_allclose(rest.y, 0.15)


def test_colour_is_never_alone() -> None:
    figure = panels.classes_figure({"block": np.full((4, 7), 1 / 7)}, np.zeros((4, 7)), list("abcdefg"), LEVELS, "sigma", 1)
    looks = {(trace.line.color, trace.marker.symbol) for trace in figure.data if trace.mode == "lines+markers"}
    assert len(looks) == 7
    assert len({symbol for _, symbol in looks}) == 4
