from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from analysis.__main__ import app
from analysis.errors import InvalidRequest
from analysis.theory import MoLRG
from analysis.theory_snr import snr


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["theory", "--samples", "2000", *(str(word) for word in words)])


def test_it_ends_with_one_line_of_json() -> None:
    words = "--ambient 50 --dims 5,5 --weights .5,.5 --delta .2 --angle 90 --sigmas .008,.296 --input noisy --json"
    found = json.loads(call(*shlex.split(words)).stdout.splitlines()[-1])
    assert list(found) == ["sigma", "snr", "snr_per_class", "theorem1", "probe_accuracy"]
    assert found["sigma"] == [0.008, 0.296]
    assert np.shape(found["snr_per_class"]) == (2, 2)
    assert found["snr"] == pytest.approx(snr(MoLRG(), [0.008, 0.296], 2000).value)
    assert len(found["theorem1"]) == len(found["probe_accuracy"]) == 2


@pytest.mark.parametrize("words", [["--dims", "4,5"], ["--weights", ".3,.7"], ["--angle", "60"]])
def test_the_theorem_is_null_where_it_does_not_apply(words: list[str]) -> None:
    assert json.loads(call(*words, "--json").stdout)["theorem1"] is None


def test_it_says_every_number_with_its_interval_and_writes_a_table(tmp_path: Path) -> None:
    result = call("--dims", "5,5,5", "--out", tmp_path / "theory.csv")
    assert result.exit_code == 0
    assert "The SNR of the exact posterior mean peaks at σ = 0.3" in result.stdout
    assert "Theorem 1's approximation" in result.stdout
    rows = pd.read_csv(tmp_path / "theory.csv")
    assert len(rows) == 8
    assert {"snr", "ci_low", "ci_high", "theorem1", "denoising_rate", "confidence_rate", "probe_accuracy", "probe_low"} <= set(rows)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dims", "30,30"], "ambient is 50"),
        (["--dims", "5,x"], "dims is '5,x'"),
        (["--dims", "5,2.5"], "whole numbers"),
        (["--delta", "0"], "delta is 0"),
        (["--weights", ".5,.6"], "adds up to 1.1"),
        (["--sigmas", "0.1,-1"], "sigmas has -1"),
        (["--out", "theory.txt"], "allowed endings: .csv, .parquet"),
    ],
)
def test_bad_input_is_one_sentence(words: list[str], said: str) -> None:
    result = call(*words)
    assert isinstance(result.exception, InvalidRequest)
    assert said in str(result.exception)


def test_levels_may_come_in_any_order() -> None:
    assert json.loads(call("--sigmas", "1,.01", "--json").stdout)["sigma"] == [1.0, 0.01]
    assert call("--sigmas", "1,.01,.3").stdout.index("σ = 0.01") < call("--sigmas", "1,.01,.3").stdout.index("σ = 0.3 ")
