"""The SNR of a run's features as the Why page shows it, without a browser; what a worker would answer is answered in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import snr_measuring, snr_words
from analysis.errors import InvalidRequest
from analysis.lane import Answer
from analysis.studies import SNR, Study, find_study
from app.components import asking

from .test_recipe import brought, settle
from .test_start import texts

DIGITS = find_study("digits")
pytestmark = pytest.mark.usefixtures("answered")


def visit(**query: str) -> AppTest:
    def script() -> None:
        from app.components import link, measured, runs

        runs.look()
        measured.show()
        link.arrived()

    page = AppTest.from_function(script, default_timeout=60)
    for name, value in query.items():
        page.query_params[name] = value
    return page.run()


def alts(page: AppTest) -> list[str]:
    return [chart.proto.alt for chart in page.get("plotly_chart")]


@pytest.mark.parametrize("name", ["cifar10", "digits", "shapes-hue", "shapes-shape", "shapes-texture"])
def test_a_bundled_run_shows_its_snr_its_peaks_and_clean_input(name: str) -> None:
    study = find_study(name)
    page = visit(run=study.key)
    assert not page.exception
    assert not page.error
    table, said = snr_words.kept(study) or pytest.fail("nothing ships")
    _, block, pooling = study.result()["headline"].split("/")
    labels = next(iter(study.facts["results"]))
    says = snr_words.sentence(table, said, block, pooling, labels)
    assert says in texts(page)
    assert alts(page) == [says, snr_words.every(said, pooling, labels), snr_words.far(table, block, pooling)]
    assert "none of them fitted on" in texts(page)


def test_a_link_says_run_block_and_accuracy_and_another_can_be_chosen() -> None:
    page = visit(run=DIGITS.key, block="mid.res1", against="projection", axis="sigma")
    assert "In block mid.res1 the SNR" in texts(page)
    assert "The projection classifier's accuracy peaks" in texts(page)
    link = next(found.value for found in page.code if "run=" in found.value and "?" in found.value)
    assert "block=mid.res1" in link
    assert "against=projection" in link
    next(box for box in page.selectbox if box.label == "Block").select("up0.up").run()
    assert "In block up0.up the SNR" in texts(page)
    assert page.query_params["block"] in ("up0.up", ["up0.up"])


def test_what_a_link_says_wrong_is_named() -> None:
    page = visit(run=DIGITS.key, against="7")
    assert "against = '7'" in " ".join(warning.value for warning in page.warning)
    assert not page.exception


def test_the_figure_has_both_panels_over_one_noise_axis() -> None:
    page = visit(run=DIGITS.key)
    spec = json.loads(page.get("plotly_chart")[0].proto.spec)
    names = {trace.get("name") for trace in spec["data"]}
    assert {"noisy input", "noisy input, shuffled labels", "probe, noisy input", "mean over draws of ε"} <= names
    assert spec["layout"]["xaxis"]["range"] == spec["layout"]["xaxis2"]["range"]
    assert spec["layout"]["xaxis"]["matches"] == "x2"


def test_the_receipt_has_the_command_methods_and_files() -> None:
    page = visit(run=DIGITS.key)
    code = [found.value for found in page.code]
    assert f"python -m analysis study snr {DIGITS.key} --out snr.csv --peaks peaks.csv" in code
    assert any("arXiv 2502.05743" in value and DIGITS.key in value for value in code)
    assert len(page.get("download_button")) == 2


def test_where_it_is_not_there_it_is_offered_with_its_cost_measured_and_kept(answered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snr_measuring, "COUNT", 60)
    page = settle(visit(run=brought(DIGITS, answered, without=SNR)))
    assert "of an image and 240 cells, about" in " ".join(info.value for info in page.info)
    assert f"{2 * 60 * 16 * 4:,} passes" in " ".join(info.value for info in page.info)
    next(button for button in page.button if button.label == "Measure").click()
    page = settle(page.run())
    assert not page.exception
    assert "the SNR of held-out images' features is highest near" in texts(page)
    assert SNR in find_study("feedfeed", answered).facts["files"]


def test_without_the_data_or_the_worker_it_says_so(answered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> Answer:
        raise InvalidRequest("The data set is not on this machine. Put the data there.")

    key = brought(DIGITS, answered, without=SNR)
    monkeypatch.setattr(asking, "ask", gone)
    page = settle(visit(run=key))
    assert not page.exception
    assert "is not on this machine" in " ".join(info.value for info in page.info)
    assert not [button for button in page.button if button.label == "Measure"]


def test_a_damaged_file_is_said(answered: Path) -> None:
    key = brought(DIGITS, answered)
    (answered / "studies" / key / SNR).write_bytes(b"nothing")
    page = visit(run=key)
    assert not page.exception
    assert "does not match its checksum" in " ".join(error.value for error in page.error)


def test_a_run_of_numbers_and_no_run_at_all_say_what_to_do(answered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Study, "measure", "r2")
    assert "an SNR is of classes" in " ".join(info.value for info in visit(run=DIGITS.key).info)
    page = visit(backend="digits-ddpm", dataset="shapes")
    assert "Measure it on the Curve page first" in " ".join(info.value for info in page.info)
