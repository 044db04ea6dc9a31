"""The Why page's Theory, without a browser; what a worker would answer is answered in this process."""

from __future__ import annotations

import json
import shlex
from urllib.parse import parse_qsl

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from analysis.__main__ import app as command_line
from analysis.errors import DamagedFile
from analysis.studies import find_study

from .test_image import settle
from .test_start import MAIN, texts

pytestmark = pytest.mark.usefixtures("answered")


def visit(**query: str) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    page.query_params["view"] = "theory"
    for name, value in query.items():
        page.query_params[name] = value
    page.run()
    return page.switch_page("app_pages/why.py").run()


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label == label).click()
    return page.run()


def charts(page: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]


def names(chart: dict) -> list[str]:
    return [trace["name"] for trace in chart["data"] if trace.get("name")]


def metrics(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def move(page: AppTest, key: str, value: float) -> AppTest:
    page.slider(key=key).set_value(value)
    return page.run()


def test_it_opens_with_the_hump_its_reasons_and_the_collapse() -> None:
    page = visit()
    assert not page.exception
    assert page.title[0].value.startswith("Why is there a hump")
    assert metrics(page)["SNR peaks at"].startswith("σ ≈ 0.3")
    assert "peaks at σ = 0.3" in texts(page)
    assert "**The rise is denoising**" in texts(page)
    assert "**The fall is doubt**" in texts(page)
    curves, measured, picture = charts(page)
    assert names(curves)[:2] == ["exact posterior mean", "Theorem 1, an approximation"]
    assert len(picture["frames"]) == 20
    assert names(picture) == ["class 1", "class 2", "class 3"]
    assert "noisy input, shuffled labels" in names(measured)  # the digits' own, below the theory's
    assert page.selectbox(key="measured").value == find_study("digits").key


def test_sliders_compute_and_are_in_the_address() -> None:
    page = move(visit(), "delta", 0.4)
    assert not page.exception
    assert float(metrics(page)["At the least noise"]) == pytest.approx(1 / (2 * 0.16), rel=0.05)
    assert page.query_params["delta"] in ("0.4", ["0.4"])
    page = move(page, "classes", 2)
    assert float(metrics(page)["At the least noise"]) == pytest.approx(1 / 0.16, rel=0.05)
    assert names(charts(page)[-1]) == ["class 1", "class 2"]


def test_overlap_takes_the_theorem_away_and_says_why() -> None:
    page = move(visit(), "angle", 60)
    assert "Theorem 1 does not hold for overlapping subspaces" in texts(page)
    assert "Theorem 1, an approximation" not in names(charts(page)[0])


def test_a_link_restores_every_value() -> None:
    page = visit(
        classes="2", d="4", n="40", delta="0.3", angle="75", imbalance="3", means="1", input="clean", owndims="3,6", ownweights=".4,.6"
    )
    assert not page.exception
    assert not page.warning
    link = next(code.value for code in page.code if "view=theory" in code.value)
    for part in ("classes=2", "d=4", "n=40", "delta=0.3", "angle=75", "imbalance=3", "means=1", "input=clean", "owndims=3%2C6"):
        assert part in link
    assert "d = 3, 6, n = 40, δ = 0.3, θ = 75°, proportions 0.4, 0.6, means at 1" in texts(page)


def test_what_a_link_says_wrong_is_named() -> None:
    page = visit(delta="7", classes="2.5", input="blurred", angle="steep")
    said = " ".join(str(one.value) for one in page.warning)
    assert "delta = '7'; allowed: a number from 0.02 to 1" in said
    assert "classes = '2.5'; allowed: a whole number from 2 to 6" in said
    assert "input = 'blurred'" in said
    assert "angle = 'steep'" in said
    assert metrics(page)["SNR peaks at"].startswith("σ ≈ 0.3")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"n": "10"}, "ambient is 10 and the subspaces have 15 dimensions together"),
        ({"n": "18", "angle": "60"}, "(K+1) d = 20 dimensions"),
        ({"ownweights": ".5,.6,.1"}, "adds up to 1.2"),
        ({"ownweights": ".5,.5"}, "weights has 2 proportions and dims 3 classes"),
        ({"owndims": "5,five"}, "Own dimensions is '5,five'; allowed: whole numbers"),
        ({"owndims": "5"}, "two subspace dimensions or more"),
    ],
)
def test_what_does_not_go_together_is_one_sentence_and_the_sliders_stay(query: dict[str, str], said: str) -> None:
    page = visit(**query)
    assert not page.exception
    assert [said in str(error.value) for error in page.error] == [True]
    assert len(page.slider) == 7
    assert not charts(page)


def test_the_probe_is_fitted_on_a_button_and_forgotten_with_the_mixture() -> None:
    page = visit()
    assert "linear probe" not in names(charts(page)[0])
    page = press(page, "Fit the linear probe")
    assert "linear probe" in names(charts(page)[0])
    assert "At the SNR's peak a linear probe is right on" in texts(page)
    assert "linear probe" not in names(charts(move(page, "delta", 0.3))[0])


def test_separated_means_give_the_probe_no_rise() -> None:
    page = press(visit(means="4"), "Fit the linear probe")
    assert "**The control**" in texts(page)


def test_a_denoiser_is_trained_by_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.theory_networks.STEPS", {"lowrank": 20, "mlp": 20})
    monkeypatch.setattr("analysis.theory_networks.FIRST", 20)
    page = settle(press(visit(), "Train the paper's network, x̂ = U h"))
    assert not page.exception
    assert not page.error
    assert "trained, x̂ = U h" in names(charts(page)[0])


def test_what_other_pages_and_views_chose_is_not_taken_for_the_mixtures() -> None:
    page = AppTest.from_file(MAIN, default_timeout=60)
    page.session_state["dims"] = "2"  # of a map
    page.switch_page("app_pages/map.py").run()
    page.switch_page("app_pages/why.py").run()
    for view in ("theory", "memorization", "theory", "memorization", "theory"):
        page.segmented_control(key="view").set_value(view).run()
        page.run()
        assert not page.exception
        assert not page.error, page.error[0].value
    assert "peaks at σ = 0.3" in texts(page)


def test_a_damaged_snr_of_another_run_does_not_cut_the_theory_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_: object) -> None:
        raise DamagedFile("snr.parquet is damaged.")

    monkeypatch.setattr("analysis.snr_words.kept", damaged)
    st.cache_data.clear()
    page = visit()
    assert not page.error
    assert len(charts(page)) == 2  # curves and picture
    st.cache_data.clear()


def test_a_link_of_this_model_opens_this_model() -> None:
    def opened(**query: str) -> AppTest:
        page = AppTest.from_file(MAIN, default_timeout=60)
        for name, value in query.items():
            page.query_params[name] = value
        return page.switch_page("app_pages/why.py").run()

    page = opened(view="measured", run=find_study("digits").key)
    link = next(code.value for code in page.code if code.value.startswith("http"))
    again = opened(**dict(parse_qsl(link.partition("?")[2])))
    assert again.session_state["view"] == "measured"
    assert next(code.value for code in again.code if code.value.startswith("http")) == link


def test_the_receipts_command_computes_the_same_peak() -> None:
    page = visit(classes="2", ownweights=".4,.6")
    words = shlex.split(next(code.value for code in page.code if code.value.startswith("python")))
    result = CliRunner().invoke(command_line, words[3:-2])
    assert result.exit_code == 0
    peak = next(line for line in result.stdout.splitlines() if "peaks at" in line)
    assert peak in texts(page)
