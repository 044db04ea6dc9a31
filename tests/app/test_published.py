"""The wall of published curves, without a browser."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.main import get_command

from analysis import catalog
from analysis.__main__ import app
from analysis.literature import PUBLISHED
from app.components.words import duration

ROOT = Path(__file__).parents[2]
SCRIPT = "from app.components import published\npublished.show()\n"


@pytest.fixture(scope="module")
def wall() -> AppTest:
    page = AppTest.from_string(SCRIPT, default_timeout=60).run()
    assert not page.exception
    return page


def specs(wall: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in wall.get("plotly_chart")]


def test_the_heading_says_that_nothing_of_it_was_measured_here(wall: AppTest) -> None:
    assert wall.subheader[0].value == "Published, not measured here"


def test_every_curve_has_a_chart_whose_alternative_text_is_its_finding(wall: AppTest) -> None:
    assert [chart.proto.alt for chart in wall.get("plotly_chart")] == [curve.finding for curve in PUBLISHED]


def test_every_caption_has_source_and_protocol(wall: AppTest) -> None:
    captions = [caption.value for caption in wall.caption]
    for curve in PUBLISHED:
        assert any(curve.source in caption and curve.protocol in caption for caption in captions), curve.name


def test_every_line_is_dashed_with_open_markers_and_not_in_the_legend(wall: AppTest) -> None:
    traces = [trace for spec in specs(wall) for trace in spec["data"]]
    assert {trace["line"]["dash"] for trace in traces} == {"dash"}
    assert {trace["marker"]["symbol"] for trace in traces} == {"circle-open"}
    assert not any(trace["showlegend"] for trace in traces)


def test_only_some_blocks_were_published_so_no_line_joins_them(wall: AppTest) -> None:
    modes = [spec["data"][0]["mode"] for spec in specs(wall)]
    assert modes == ["lines+markers" if curve.axis == "sigma" else "markers" for curve in PUBLISHED]


def test_noise_runs_from_clean_on_the_left_to_noisy_on_the_right(wall: AppTest) -> None:
    for curve, spec in zip(PUBLISHED, specs(wall), strict=True):
        ticks = spec["layout"]["xaxis"]["tickvals"]
        assert ticks == sorted(ticks)
        assert curve.axis != "sigma" or spec["layout"]["xaxis"]["title"]["text"].startswith("clean ←")


def test_no_chart_has_a_bar_of_buttons(wall: AppTest) -> None:
    assert all(json.loads(chart.proto.config)["displayModeBar"] is False for chart in wall.get("plotly_chart"))


def test_drawing_again_keeps_every_chart_in_its_place(wall: AppTest) -> None:
    again = AppTest.from_string(SCRIPT, default_timeout=60).run()
    keys = [[chart.proto.id for chart in page.get("plotly_chart")] for page in (wall, again)]
    assert keys[0] == keys[1]
    assert all(curve.name in key for curve, key in zip(PUBLISHED, keys[0], strict=True))


def test_what_it_takes_is_beside_every_curve(wall: AppTest) -> None:
    boxes = wall.expander
    assert [box.label for box in boxes] == ["Measure it yourself"] * len(PUBLISHED)
    for curve, box in zip(PUBLISHED, boxes, strict=True):
        said = " ".join(element.value for element in box.markdown)
        assert curve.again.checkpoint in said
        assert curve.again.license in said
        assert curve.again.download_bytes is not None or "not known" in said


def test_the_cards_of_edm_say_that_its_checkpoints_are_not_opened(wall: AppTest) -> None:
    for curve, box in zip(PUBLISHED, wall.expander, strict=True):
        if curve.name.startswith("edm"):
            said = " ".join(element.value for element in box.markdown)
            assert "pickle" in said
            assert "not opened here" in said


def test_every_command_is_one_that_the_command_line_knows(wall: AppTest) -> None:
    for code in wall.code:
        *start, name = shlex.split(code.value)[:4]
        assert start == ["python", "-m", "analysis"]
        get_command(app).commands[name].make_context(name, shlex.split(code.value)[4:])  # type: ignore[attr-defined]


def test_a_model_that_cannot_be_opened_today_is_said_to_need_a_later_version(wall: AppTest) -> None:
    for box in wall.expander:
        words = [word for code in box.code for word in shlex.split(code.value)]
        wanted = {value for option, value in pairwise(words) if option == "--backend"}
        made = {value for option, value in pairwise(words) if option == "--out"}
        if wanted - made - set(catalog.models()):
            said = " ".join(element.value for element in (*box.markdown, *box.caption)).lower()
            assert "in this version yet" in said or "needs a later version" in said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "a second"), (1.4, "a second"), (90, "90 seconds"), (600, "10 minutes"), (7200, "2 hours"), (3 * 86400, "3 days")],
)
def test_a_time_is_said_in_the_unit_that_suits_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_wall_loads_without_torch() -> None:
    code = (
        "import sys; from streamlit.testing.v1 import AppTest; "
        f"page = AppTest.from_string({SCRIPT!r}, default_timeout=60).run(); assert not page.exception; "
        "print(sorted({'torch', 'diffusers', 'sklearn', 'umap', 'captum'} & {n.split('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_the_figures_are_loaded_when_the_wall_is_drawn_and_not_before() -> None:
    # Streamlit brings plotly with it, so that only what is ours can be held to this.
    code = (
        "import sys, app.components.published; print(sorted({'analysis.wall', 'analysis.figures', 'pandas', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
