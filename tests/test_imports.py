"""Who may import what: the walls of the house, walked."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "diffusers", "sklearn", "umap", "captum", "transformers"}
STDLIB = set(sys.stdlib_module_names)
LIGHT = {
    "memorization",
    "class_scores",
    "classified",
    "classified_figures",
    "known_when",
    "view_figures",
    "errors",
    "hub",
    "datasets",
    "dropped",
    "presets",
    "registry",
    "specs",
    "catalog",
    "cards",
    "studies",
    "store",
    "jobs",
    "lane",
    "workers",
    "cells",
    "advice",
    "regret",
    "unlabelled_figures",
    "snr_words",
    "snr_figures",
    "compared",
    "comparing",
    "comparing_figures",
    "dynamics",
    "resampling",
    "fairness",
    "siblings",
    "matching",
    "matches",
    "point_panels",
    "verdict",
    "intervals",
    "lesson",
    "settling",
    "theory",
    "theory_snr",
    "theory_probe",
    "theory_words",
    "theory_figures",
    "theory_picture",
    "theorem",
    "figures",
    "ensemble_figures",
    "player",
    "encoder_curves",
    "questions",
    "exhibit",
    "panels",
    "leaflet",
    "thumbnails",
    "map_classes",
    "map_numbers",
    "map_words",
    "map_export",
    "deciding_panels",
    "deciding_player",
    "uploads",
    "looking",
    "map_panels",
    "map_charts",
    "map_points",
    "map_table",
    "readout",
    "literature",
    "wall",
    "label_images",
    "segment_panels",
    "word_panels",
    "stopping",
    "memorized",
    "memorization_figures",
    "memorization_words",
}


def imported(path: Path, deferred: bool = True) -> set[str]:
    """Top-level names of what a file imports; its siblings with a dot before them. Without `deferred`, at module level."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree)) if deferred else tree.body
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            dots = "." * min(node.level, 1)
            parts = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            found |= {dots + part for part in parts}
    return found


def foreign(path: Path) -> set[str]:
    return {name for name in imported(path) if not name.startswith(".")} - STDLIB


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("errors", set()),
        ("registry", {"pydantic"}),
        ("specs", {"pydantic"}),
        ("catalog", {"pydantic"}),
        ("cards", {"pydantic"}),
        ("store", {"numpy", "safetensors", "platformdirs"}),
        ("studies", {"numpy", "pandas", "safetensors"}),
        ("jobs", {"pydantic"}),
        ("hub", {"pydantic", "huggingface_hub"}),
        ("hub_records", {"pydantic", "huggingface_hub"}),
        ("hub_choice", set()),
        ("hub_calls", {"huggingface_hub", "httpx2"}),
        ("hub_fetch", {"huggingface_hub", "filelock"}),
        ("downloads", set()),
        ("workers", {"filelock"}),
        ("lane", set()),
        ("noise", {"numpy", "torch"}),
        ("verdict", set()),
        ("dynamics", {"numpy", "scipy", "pandas"}),
        ("intervals", {"numpy", "scipy"}),
        ("theory", {"numpy"}),
        ("theory_snr", {"numpy", "scipy", "pandas"}),
        ("theorem", {"numpy", "scipy"}),
        ("theory_probe", {"numpy", "scipy", "pandas"}),
        ("theory_words", {"numpy", "pandas"}),
        ("theory_figures", {"numpy", "plotly"}),
        ("theory_picture", {"numpy", "plotly"}),
        ("resampling", {"numpy"}),
        ("advice", set()),
        ("regret", {"numpy", "scipy", "pandas"}),
        ("unlabelled_figures", {"pandas", "plotly"}),
        ("feature_snr", {"numpy"}),
        ("snr_curves", {"numpy", "scipy"}),
        ("snr_words", {"pandas"}),
        ("snr_figures", {"pandas", "plotly"}),
        ("matching", {"numpy", "safetensors"}),
        ("comparing", {"numpy", "scipy"}),
        ("compared", {"numpy", "pandas", "scipy"}),
        ("fairness", set()),
        ("siblings", set()),
        ("comparing_figures", {"numpy", "pandas", "plotly"}),
        ("classified", {"numpy", "pandas"}),
        ("classified_figures", {"plotly"}),
        ("paired_errors", {"numpy", "scipy"}),
        ("lesson", {"numpy"}),
        ("settling", {"numpy"}),
        ("figures", {"pandas", "plotly"}),
        ("generalization", {"numpy", "scipy"}),
        ("frechet", {"numpy"}),
        ("stopping", {"numpy", "scipy", "pandas"}),
        ("ensemble_figures", {"pandas", "plotly"}),
        ("containers", set()),
        ("uploads", {"numpy", "PIL"}),
        ("player", {"pandas", "plotly"}),
        ("encoder_curves", {"pandas", "plotly"}),
        ("thumbnails", {"numpy", "PIL"}),
        ("map_classes", {"numpy", "pandas"}),
        ("map_page", set()),
        ("word_panels", {"numpy", "pandas", "plotly", "PIL"}),
        ("map_export", {"numpy", "pandas", "pyarrow"}),
    ],
)
def test_a_layer_imports_no_more_than_it_may(module: str, allowed: set[str]) -> None:
    assert foreign(ROOT / "analysis" / f"{module}.py") <= allowed


@pytest.mark.parametrize("kind", ["backends", "datasets", "heads", "encoders"])
def test_plugins_know_neither_each_other_nor_the_store(kind: str) -> None:
    for path in (ROOT / "analysis" / kind).glob("*.py"):
        if path.stem != "base" and not path.stem.startswith("_"):  # those with an underscore are what plug-ins of the kind share
            near = {name for name in imported(path) if name.startswith(".")}
            near = {name for name in near if not name.startswith("._")}  # a part of a plug-in that has a file of its own
            own = {"heads": {".trained"}, "datasets": {".containers"}}.get(kind, set())
            assert near <= {".base", ".errors", ".specs", ".noise", ".registry", ".solver"} | own, path.name


def test_figures_and_app_never_meet_the_engine() -> None:
    assert not {".store", ".noise", ".features"} & imported(ROOT / "analysis" / "figures.py")
    for path in (ROOT / "app").rglob("*.py"):
        assert not HEAVY & imported(path), path.name
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("analysis."):
                assert node.module.split(".")[1] in LIGHT, path.name


def test_captum_stays_in_its_own_files() -> None:
    knowing = {path.stem for path in (ROOT / "analysis").rglob("*.py") if "captum" in imported(path)}
    assert knowing <= {"attribution", "trust"}
    assert "captum.attr" not in (ROOT / "analysis" / "trust.py").read_text()


def test_umap_stays_in_its_own_file() -> None:
    assert {path.stem for path in (ROOT / "analysis").rglob("*.py") if "umap" in imported(path)} == {"layout"}


def test_nothing_else_imports_streamlit() -> None:
    assert not any("streamlit" in imported(path) for path in (ROOT / "analysis").rglob("*.py"))


@pytest.mark.parametrize(
    "pattern",
    [
        r"sys\.path\.(append|insert)",
        r"import pickle",
        r"weights_only=False",
        r"trust_remote_code",
        r"except( Exception)?:\s*(pass|\.\.\.)",
        r"\bprint\(",
    ],
)
def test_the_library_has_none_of_what_must_not_exist(pattern: str) -> None:
    for folder in ("analysis", "app"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(pattern, path.read_text()), f"{path.name}: {pattern}"
            assert path.name not in ("utils.py", "helpers.py")


def test_modules_stay_small_enough_to_read() -> None:
    long = {
        path.name: n for f in ("analysis", "app") for path in (ROOT / f).rglob("*.py") if (n := len(path.read_text().splitlines())) > 300
    }
    assert not long


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def test_importing_the_library_loads_nothing_heavy() -> None:
    names = run("import analysis, sys; print(' '.join({n.split('.')[0] for n in sys.modules}))").split()
    assert not (HEAVY | {"numpy", "pandas", "pydantic", "plotly", "scipy", "streamlit"}) & set(names)


def test_the_commands_help_loads_nothing_heavy() -> None:
    code = "import sys, analysis.__main__; print(' '.join({n.split('.')[0] for n in sys.modules}))"
    assert not (HEAVY | {"numpy", "pandas", "scipy"}) & set(run(code).split())


def test_every_public_name_is_there() -> None:
    assert run("import analysis; print(all(getattr(analysis, n) is not None for n in analysis.__all__))") == "True"
