"""One image read with a study's probes, from the command line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from analysis import uploads, views
from analysis.__main__ import app
from analysis.backends import open_backend
from analysis.errors import InvalidData, InvalidRequest, StoreUnavailable
from analysis.looking import look, read_image, table
from analysis.readout import of_study
from analysis.store import Store
from analysis.studies import Study, find_study


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """40 pixels wide, 30 high, no two alike."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)).save(out, "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(out.getvalue())
    return path


def test_a_row_is_one_class_in_one_block_at_one_level() -> None:
    study = find_study("digits")
    levels, blocks, classes = study.facts["levels"], ["mid.res0", "down0.res0"], ["a", "b"]
    shape = (len(levels), 2)
    rng = np.random.default_rng(0)
    draws = {f"{what}/{block}": rng.random(shape) for what in ("mean", "spread", "ensemble") for block in blocks}
    draws["error"] = rng.random((8, len(levels)))
    rows = table(study, classes, draws)
    assert len(rows) == 2 * 2 * len(levels)
    assert list(dict.fromkeys(rows["block"])) == ["down0.res0", "mid.res0"]  # from first to last
    one = rows[(rows["block"] == "mid.res0") & (rows["class"] == "b") & (rows["sigma"] == levels[3]["sigma"])].iloc[0]
    assert one["probability"] == draws["mean/mid.res0"][3, 1]
    assert one["spread"] == draws["spread/mid.res0"][3, 1]
    assert one["ensemble"] == draws["ensemble/mid.res0"][3, 1]
    assert one["error"] == pytest.approx(draws["error"][:, 3].mean())
    assert one["timestep"] == levels[3]["timestep"]


@pytest.mark.parametrize(("cut", "box"), [("crop", None), ("fit", None), ("3,5,20", (3, 5, 20))])
def test_the_part_that_is_read_is_the_pages(photo: Path, cut: str, box: tuple[int, int, int] | None) -> None:
    pixels = uploads.read(photo.read_bytes()).pixels
    assert np.array_equal(read_image(photo, 8, cut), uploads.frame(pixels, 8, "box" if box else cut, box))  # type: ignore[arg-type]


@pytest.mark.parametrize("cut", ["middle", "1,2", "1,2,-3", "a,b,c", ""])
def test_another_cut_is_refused(photo: Path, cut: str) -> None:
    with pytest.raises(InvalidRequest, match="allowed: crop, fit, or three whole numbers"):
        read_image(photo, 8, cut)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="Cannot read"):
        read_image(tmp_path / "absent.png", 8)
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(InvalidData):
        read_image(tmp_path / "text.png", 8)


def test_a_run_of_clean_input_reads_no_noised_image(tmp_path: Path) -> None:
    study = find_study("digits")
    clean = Study(study.folder, {**study.facts, "request": {**study.facts["request"], "input": "clean"}})
    with pytest.raises(InvalidRequest, match="fitted on clean input"):
        look(clean, np.zeros((8, 8, 3), np.uint8), Store(tmp_path), "cpu")


def test_the_command_writes_what_the_library_reads(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "look.parquet"
    done = CliRunner().invoke(app, ["study", "look", "digits", str(photo), "--out", str(out), "--store", str(tmp_path / "store")])
    assert done.exit_code == 0, done.output
    assert "held-out images (foreign)" in done.output
    study, rows = find_study("digits"), pd.read_parquet(out)
    image = uploads.frame(uploads.read(photo.read_bytes()).pixels, 8)
    found = views.read(open_backend("digits-ddpm"), of_study(study), image, 0, 8)
    block = rows["block"].iloc[-1]
    there = rows[rows["block"] == block].pivot(index="sigma", columns="class", values="probability")[study.facts["classes"]]
    np.testing.assert_allclose(there.to_numpy(), found[f"mean/{block}"], atol=1e-6)
