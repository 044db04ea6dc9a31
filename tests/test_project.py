"""What is promised outside the code: set-up files, the container's recipe, the model card."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from analysis import catalog
from analysis.studies import find_study

ROOT = Path(__file__).parent.parent


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def test_the_makefile_has_the_commands_that_are_promised() -> None:
    assert {"run", "test", "check", "bench", "test-all"} <= targets()
    commands = (ROOT / ".ci" / "run").read_text()
    assert "make check test" in commands


def test_requirements_pin_torch_and_bound_the_rest() -> None:
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert "torch==2.13.0" in lines
    assert not any(line.startswith("torchvision") for line in lines)
    assert all(re.search(r"[<>=]=", line) for line in lines)


def test_the_containers_recipe_fits_the_tree() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", text, re.M):
        for path in source.split():
            assert (ROOT / path).exists(), path
    assert re.search(r"^FROM python:3\.\d+\.\d+-slim", text, re.M)
    for promise in ("USER ", "HEALTHCHECK", 'VOLUME ["/data"]', "EXPOSE 8501", "ARG TORCH=", "NOISESCOPE_STORE=/data", "app/main.py"):
        assert promise in text
    assert text.index("USER ") < text.index("CMD ")


def test_the_readme_has_two_set_up_commands_and_says_what_was_not_tried() -> None:
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"^make ([a-z-]+)", text, re.M)) >= {"run", "test"}
    assert "pip install" not in text
    assert "has not been built" in text


def test_what_ships_is_listed_as_package_data() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert data["assets"] == ["icon.png", "models/**/*", "studies/**/*", "memorization/**/*"]


def test_every_bundled_model_is_small_and_has_a_model_card_that_tells_the_truth() -> None:
    for name in catalog.models():
        card, text = catalog.card(name), (catalog.model_folder(name) / "README.md").read_text()
        assert sum(path.stat().st_size for path in catalog.model_folder(name).glob("*.safetensors")) <= 10e6
        for fact in ("steps", "images", "images_seen", "seed", "batch", "loss", "seconds"):
            value = card.training[fact]
            assert value is None or f"{value:,}" in text or str(value) in text, fact
        assert f"{card.parameters:,}" in text
        assert card.identity.split(":")[-1] in text


SHIPPED = sorted(path.parent.name for path in catalog.assets("studies").glob("*/study.json"))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_model_cards_probe_numbers_are_the_studys(name: str) -> None:
    study = find_study(name)
    text = (catalog.model_folder(study.facts["receipt"]["model"]) / "README.md").read_text()
    for result in study.facts["results"].values():
        assert f"{100 * result['verdict']['peak_accuracy']:.1f} %" in text
        if result["clean"]:
            assert f"{100 * result['clean']['accuracy']:.1f} %" in text


@pytest.mark.parametrize("name", SHIPPED)
def test_a_bundled_study_is_of_its_bundled_model(name: str) -> None:
    study = find_study(name)
    assert study.facts["receipt"]["revision"] == catalog.card(study.facts["receipt"]["model"]).identity
    assert json.loads((study.folder / "study.json").read_text())["files"].keys() == study.facts["files"].keys()
    assert all(study.path(name).exists() for name in study.facts["files"])
