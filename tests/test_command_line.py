from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from analysis.__main__ import app, main
from analysis.errors import NoisescopeError
from analysis.studies import Study

FIELDS = ["shape", "peak_sigma", "peak_ci", "gain", "gain_ci", "p_value", "best_block", "peak_accuracy", "key"]


def call(*words: str) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def quick(tiny_folder: Path, tmp_path: Path) -> list[str]:
    words = f"sweep --backend {tiny_folder} --block mid.res1 --levels 3 --label-draws 3 --n-train 300 --n-test 60 --processes 0"
    return [*words.split(), "--store", str(tmp_path / "store")]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_sweep_writes_its_table_and_ends_with_one_line_of_json(quick: list[str], tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"curve.{ending}"
    result = call(*quick, "--json", "--out", out)
    line = json.loads(result.stdout.splitlines()[-1])
    assert list(line) == FIELDS
    table = pd.read_parquet(out) if ending == "parquet" else pd.read_csv(out)
    assert {"sigma", "block", "accuracy", "ci_low", "ci_high", "chance"} <= set(table.columns)


def test_a_sweep_without_json_says_the_peak_and_the_verdict(quick: list[str]) -> None:
    result = call(*quick, "--axis", "log_snr")
    assert "Peak at log-SNR = " in result.stdout
    assert "In block mid.res1 of this network" in result.stdout or "For block mid.res1 of this network" in result.stdout


def test_a_level_that_the_model_does_not_have_is_said(quick: list[str]) -> None:
    result = call(*quick, "--sigma", "0.001", "--sigma", "0.5", "--sigma", "5")
    assert "σ = 0.001 is not a level of" in result.stdout
    assert "the nearest, σ = 0.01, was used" in result.stdout


def test_show_and_list_read_what_was_kept(small_study: Study) -> None:
    root = small_study.folder.parent.parent
    assert small_study.key in call("list", "studies", "--store", root).stdout
    assert small_study.result()["sentence"] in call("show", small_study.key[:6], "--store", root).stdout
    assert json.loads(call("show", small_study.key, "--store", root, "--json").stdout)["key"] == small_study.key


def test_lists_name_what_ships() -> None:
    assert "digits-ddpm" in call("list", "backends").stdout
    assert call("list", "blocks").stdout.startswith("down0.res0\tdown\t")
    assert call("list", "datasets").stdout.split("\n")[:3] == ["digits", "shapes", "cifar10"]
    assert call("list", "datasets").stdout.endswith("\nor a folder, a Parquet file, a zip or a hub id\n")
    assert call("list", "heads").stdout == "attention\ncentroid\ncnn\nknn\nlogistic\nmlp\nprojection\nridge\nsoft-knn\nsvm\n"


def test_a_study_goes_out_and_comes_in(small_study: Study, tmp_path: Path) -> None:
    root = small_study.folder.parent.parent
    call("study", "export", small_study.key, tmp_path / "s.zip", "--store", root)
    assert small_study.key in call("study", "import", tmp_path / "s.zip", "--store", tmp_path / "other").stdout


@pytest.mark.parametrize(
    "words",
    [
        "sweep --backend nope",
        "sweep --dataset nope",
        "sweep --block nope",
        "sweep --head nope",
        "sweep --labels-per-class 5000",
        "sweep --labels-per-class 0",
        "sweep --labels-per-class some",
        "sweep --out curve.txt",
        "train nope",
        "train digits-ddpm --device abacus",
        "train cifar10-ddpm",
        "train cifar10-ddpm --dataset no/where/at/all",
        "train digits-ddpm --size huge",
        "sweep --dataset shapes:many",
        "sample --backend nope",
        "sample --sampler magic",
        "sample --steps 5000",
        "sample --out sheet.gif",
        "sweep --out nowhere/curve.csv",
        "show nope",
        "list blocks --backend nope",
        "study import nowhere.zip",
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_two(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["analysis", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    message = capsys.readouterr().err.strip()
    assert ended.value.code == 2
    assert message.startswith("Error: ")
    assert message.endswith((".", "?"))
    assert len(message.splitlines()) == 1


def test_a_store_that_cannot_be_written_is_one_sentence_and_exit_code_two(quick: list[str], tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    result = call(*quick)
    assert isinstance(result.exception, NoisescopeError)
    assert "Cannot write" in str(result.exception)


def test_every_command_and_option_is_explained() -> None:
    for words in (["sweep"], ["train"], ["sample"], ["list"], ["show"], ["study", "export"], ["study", "import"]):
        result = call(*words, "--help")
        assert result.exit_code == 0
    assert all(option.help for command in app.registered_commands for option in _options(command.callback))


def _options(callback: object) -> list:
    from typing import get_type_hints

    hints = get_type_hints(callback, include_extras=True)
    return [hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")]


def test_training_from_the_command_line_resumes_and_writes_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis import recipes

    from .conftest import TINY

    monkeypatch.setattr(recipes, "RECIPES", (recipes.recipe("digits-ddpm", network=TINY, batch=4),))
    result = call("train", "digits-ddpm", "--steps", "2", "--store", tmp_path, "--json")
    assert json.loads(result.stdout)["steps"] == 2
    assert (tmp_path / "models" / "digits-ddpm" / "card.json").exists()
    assert list((tmp_path / "training").glob("digits-ddpm-*/checkpoint.safetensors"))


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "analysis", "show", "nope"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Unknown study 'nope'")
    assert "Traceback" not in done.stderr
