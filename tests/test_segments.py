"""Segments from strokes: against plain interpolation, planted textures, and numbers worked out by hand."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load, save
from torch.nn import functional

from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.datasets import open_dataset
from analysis.datasets.base import Dataset
from analysis.datasets.shapes import SHAPES
from analysis.errors import InvalidData, InvalidRequest, UnknownName
from analysis.label_images import CLASSES, VOID, check, png, read, unpainted
from analysis.overlap import confusion, iou, mean_iou, overlap, sentence
from analysis.own import Own
from analysis.scene import Scene
from analysis.segment_panels import levels, overlay
from analysis.segmentation import Kept, Reading, Scores, Spread, at, chosen, kmeans, logistic, points, upsample
from analysis.segmenting import Segmenting
from analysis.segments import clusters, confusions, over_levels, probabilities, segment, to_score
from analysis.steps import finish
from analysis.store import Store

BLOCK, SIDE = "up2.res0", 32


@pytest.fixture(scope="module")
def model() -> Backend:
    return open_backend("cifar10-ddpm")


@pytest.fixture(scope="module")
def shapes() -> Dataset:
    return open_dataset("shapes:750")


def textures(seed: int, turned: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows beside columns, one pixel wide, both of the same two greys, (32, 32, 3) uint8, with noise; and which is where."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    edge = int(rng.integers(12, 22))
    where = y < edge if turned else x >= edge
    pixels = 108 + 40 * (2 * np.where(where, x % 2, y % 2) - 1) + rng.normal(0, 4, (SIDE, SIDE))
    return np.repeat(pixels.clip(0, 255).astype(np.uint8)[..., None], 3, -1), where.astype(np.uint8)


def stroked(truth: np.ndarray) -> np.ndarray:
    """A short stroke in the middle of each part."""
    labels = np.full(truth.shape, VOID, np.uint8)
    for k in (0, 1):
        row, column = (int(place.mean()) for place in np.nonzero(truth == k))
        labels[row - 4 : row + 4, column - 1 : column + 1] = k
    return labels


@pytest.fixture(scope="module")
def planted() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Six images of two textures, their true masks, and strokes on the first two."""
    made = [textures(seed, seed % 2 == 1) for seed in range(6)]
    truth = np.stack([mask for _, mask in made])
    labels = np.full(truth.shape, VOID, np.uint8)
    labels[:2] = [stroked(mask) for mask in truth[:2]]
    return [image for image, _ in made], truth, labels


def test_strokes_on_planted_textures_segment_their_images_and_others(model: Backend, planted: tuple) -> None:
    images, truth, labels = planted
    found = finish(segment(Reading(model, (BLOCK,), (0.06,)), images, labels, 2, Kept()))
    each = mean_iou(confusions(found.labels, truth, 2))
    assert (labels != VOID).sum() == 64  # of 2,048 pixels in two images; four have none
    assert each[:2].min() > 0.9
    assert each[2:].min() > 0.9


def test_several_blocks_and_levels_are_read_together(model: Backend, planted: tuple) -> None:
    images, truth, labels = planted
    reading = Reading(model, ("down2.res0", BLOCK), (0.06, 0.1), draws=2)
    found = finish(segment(reading, images, labels, 2, Kept()))
    assert len(found.scores.weights) == 4
    assert mean_iou(confusions(found.labels, truth, 2).sum(0)) > 0.9


def test_textures_are_found_without_labels(model: Backend, planted: tuple) -> None:
    images, truth, _ = planted
    found = finish(clusters(Reading(model, (BLOCK,), (0.06,)), images, 2, Kept())).labels
    assert max(mean_iou(confusions(side, truth, 2).sum(0)) for side in (found, 1 - found)) > 0.9


def test_a_probe_before_interpolation_is_the_probe_after_it() -> None:
    torch.manual_seed(0)
    maps = {("a", 0.1): torch.randn(2, 5, 4, 4), ("b", 0.1): torch.randn(2, 3, 8, 8), ("b", 0.3): torch.randn(2, 3, 8, 8)}
    weights, bias = {cell: torch.randn(4, value.shape[1]) for cell, value in maps.items()}, torch.randn(4)
    plain = torch.cat([functional.interpolate(value, size=(30, 30), mode="bilinear") for value in maps.values()], 1)[1]
    wanted = torch.einsum("kd,dhw->khw", torch.cat(list(weights.values()), 1), plain) + bias[:, None, None]
    torch.testing.assert_close(Scores(weights, bias).of(maps, 1, 30), wanted, atol=1e-5, rtol=1e-5)  # float32 sums of eleven products


def test_features_at_a_pixels_middle_are_those_of_the_interpolated_map() -> None:
    torch.manual_seed(1)
    maps, picked = {("a", 0.1): torch.randn(1, 6, 4, 4)}, np.random.default_rng(0).random((16, 16)) < 0.3
    wanted = upsample(maps["a", 0.1], 16)[0][:, torch.from_numpy(picked)].T
    np.testing.assert_allclose(at(maps, 0, *points(picked)), wanted.numpy(), atol=1e-5)  # float32


def test_folded_scores_are_those_of_scaled_features() -> None:
    torch.manual_seed(2)
    maps, spread = {("a", 0.1): 5 + 3 * torch.randn(2, 4, 3, 3), ("b", 0.1): torch.randn(2, 2, 3, 3)}, Spread()
    spread.add(maps)
    mean, scale = spread.scaler()
    every = torch.cat(list(maps.values()), 1).movedim(1, -1).reshape(-1, 6).numpy()
    np.testing.assert_allclose(mean, every.mean(0), atol=1e-5)
    np.testing.assert_allclose(scale, every.std(0) * 6**0.5, rtol=1e-4)
    weight, bias = np.random.default_rng(0).normal(size=(3, 6)), np.array([0.1, -0.2, 0.3])
    wanted = (every - mean) / scale @ weight.T + bias
    found = torch.stack([spread.fold(weight, bias).of(maps, row, 3) for row in (0, 1)]).movedim(1, -1).reshape(-1, 3)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4)


def test_classes_weigh_the_same_however_much_is_painted_of_each() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(-1, 1, (4, 3)), rng.normal(1, 1, (400, 3))
    weight, bias = logistic(np.vstack([few, many]), np.repeat([0, 1], [4, 400]), 2)
    same, own = logistic(np.vstack([few] * 100 + [many]), np.repeat([0, 1], [400, 400]), 2)
    np.testing.assert_allclose(weight, same, rtol=1e-3)
    np.testing.assert_allclose(bias, own, rtol=1e-3, atol=1e-4)


def test_probabilities_sum_to_one_and_certainty_is_that_of_the_likeliest(model: Backend, planted: tuple) -> None:
    images, _, labels = planted
    reading, kept = Reading(model, (BLOCK,), (0.06,)), Kept()
    found = finish(segment(reading, images, labels, 3, kept))
    told = probabilities(found.scores, reading, images[3], kept)
    np.testing.assert_allclose(told.sum(0), 1, atol=1e-5)
    assert (told[2] == 0).all()  # nothing is painted of the third
    assert (told.argmax(0) == found.labels[3]).all()
    np.testing.assert_allclose(told.max(0), found.certainty[3] / 255, atol=1 / 255)


def test_another_stroke_needs_no_pass(model: Backend, planted: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _, labels = planted
    reading, kept = Reading(model, (BLOCK,), (0.1, 0.3)), Kept()
    before = finish(segment(reading, images, labels, 2, kept))
    monkeypatch.setattr(model.net, "forward", None)
    more = labels.copy()
    more[3, 0, 0] = 1
    finish(segment(reading, images, more, 2, kept))
    again = finish(segment(reading, images, labels, 2, kept))
    assert (again.labels == before.labels).all()


def test_what_is_kept_stays_within_its_bound(model: Backend, planted: tuple) -> None:
    images, _, labels = planted
    reading, small, large = Reading(model, (BLOCK,), (0.06,)), Kept(2 * 4 * 32 * 256), Kept()
    one, other = (finish(segment(reading, images, labels, 2, kept)) for kept in (small, large))
    assert small._held <= small.most
    assert len(large._maps) == len(images)
    assert (one.labels == other.labels).all()


def test_an_images_segments_do_not_depend_on_how_many_are_read_at_once(model: Backend, planted: tuple) -> None:
    images, _, labels = planted
    reading = Reading(model, (BLOCK,), (0.06,))
    alone = replace(reading)
    alone.__dict__["step"] = 1
    one, other = (finish(segment(way, images, labels, 2, Kept())) for way in (reading, alone))
    assert (one.labels == other.labels).mean() > 0.999  # batches differ by rounding


def test_k_means_finds_two_planted_values() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(600) < 0.3
    features = np.where(truth[:, None], [2.0, -1.0, 0.0], [-2.0, 1.0, 0.5]) + rng.normal(0, 0.1, (600, 3))
    _, weight, bias = kmeans(features, 2)
    assert ((features @ weight.T + bias).argmax(1) == truth).all()  # the larger is the first


def test_more_segments_than_there_are_different_places_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="only 2 different places"):
        kmeans(np.repeat([[0.0, 1.0], [1.0, 0.0]], 9, axis=0), 3)


def test_of_a_painted_image_pixels_are_drawn_evenly_from_every_class() -> None:
    labels = np.zeros((1, 100, 100), np.uint8)
    labels[0, 0] = 1
    picked = chosen(labels, most=500)
    assert [int((labels[picked] == k).sum()) for k in (0, 1)] == [250, 100]
    assert (chosen(labels[:, :2]) == (labels[:, :2] != VOID)).all()


@pytest.mark.parametrize(
    ("painted", "says"),
    [((), "Nothing is painted yet"), ((1,), "Only class B is painted"), ((0, 5), "A stroke is of class 5")],
)
def test_strokes_that_tell_nothing_are_a_sentence(model: Backend, planted: tuple, painted: tuple[int, ...], says: str) -> None:
    labels = np.full((6, SIDE, SIDE), VOID, np.uint8)
    labels[0, 0, : len(painted)] = painted
    with pytest.raises(InvalidRequest, match=says):
        finish(segment(Reading(model, (BLOCK,), (0.06,)), planted[0], labels, 3, Kept()))


def test_what_is_not_painted_is_said() -> None:
    labels = np.array([[[0, 2], [VOID, VOID]]], np.uint8)
    check(labels, (1, 2, 2), 4)
    assert unpainted(labels, 4) == [1, 3]


def test_strokes_of_another_size_an_unknown_block_and_no_level_are_refused(model: Backend, planted: tuple) -> None:
    with pytest.raises(InvalidRequest, match="The strokes are"):
        check(planted[2][:, :8], (6, SIDE, SIDE), 2)
    with pytest.raises(UnknownName, match="nowhere"):
        Reading(model, ("nowhere",), (0.06,))
    for sigmas in ((), (0.0,), (float("nan"),)):
        with pytest.raises(InvalidRequest, match="at least one of each"):
            Reading(model, (BLOCK,), sigmas)


def test_mean_iou_by_hand() -> None:
    true, said = np.array([[0, 0, 1], [1, 1, VOID]], np.uint8), np.array([[0, 1, 1], [1, 0, 1]], np.uint8)
    found = confusion(said, true, 3)
    assert found.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    np.testing.assert_allclose(iou(found), [1 / 3, 2 / 4, np.nan])
    assert mean_iou(found) == pytest.approx((1 / 3 + 1 / 2) / 2)  # the third is nowhere


def test_an_overlap_over_levels_has_paired_intervals() -> None:
    rng = np.random.default_rng(0)
    right = rng.integers(60, 101, 30)
    made = [[[[r - d, 100 - r + d], [100 - r + d, r - d]] for r in right] for d in (8, 0, 20)]
    found = overlap(np.array(made))
    assert found.best == 1
    assert found.low is not None
    assert found.high is not None
    assert found.below is not None
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()
    assert found.below[2] - found.below[1] < found.high[1] - found.low[1]  # images shift both levels alike
    assert "a hump" in sentence(found, [0.1, 0.3, 1.0], "block x")
    one = overlap(np.array(made)[:, :1])
    assert one.low is None
    assert "Of one image there is no interval" in sentence(one, [0.1, 0.3, 1.0], "block x")


def test_the_best_of_many_levels_that_do_not_differ_is_seldom_called_a_rise() -> None:
    rng, rises = np.random.default_rng(1), 0
    for _ in range(40):
        right = rng.integers(60, 101, (10, 30))  # ten levels, each with luck of its own
        found = overlap(np.moveaxis(np.array([[right, 100 - right], [100 - right, right]]), (0, 1), (2, 3)))
        assert found.below is not None
        rises += found.below[1] > 0
    assert rises <= 5  # one in twenty is allowed: of forty, more than five come once in seventy times


def test_pixels_that_were_painted_are_not_scored() -> None:
    labels = np.array([[[0, VOID]], [[0, 1]], [[VOID, VOID]]], np.uint8)
    truth = np.array([[[0, 1]], [[0, 1]], [[VOID, VOID]]], np.uint8)
    rows, left = to_score(labels, truth)
    assert rows == [0]
    assert left.tolist() == [[[VOID, 1]]]
    with pytest.raises(InvalidRequest, match="No pixel is left"):
        to_score(truth, truth)


def test_over_levels_is_the_segmentation_of_each_level(model: Backend, planted: tuple) -> None:
    images, truth, labels = planted
    reading = Reading(model, (BLOCK,), (0.03, 0.06, 2.0))
    found = finish(over_levels(reading, images, labels, truth, 2, Kept()))
    assert found.shape == (3, 6, 2, 2)
    alone = finish(segment(replace(reading, sigmas=reading.sigmas[1:2]), images, labels, 2, Kept()))
    assert (found[1] == confusions(alone.labels, np.where(labels == VOID, truth, VOID), 2)).all()
    assert mean_iou(found.sum(1))[2] < mean_iou(found.sum(1))[1]


def test_the_masks_of_shapes_are_what_was_drawn(shapes: Dataset) -> None:
    found = shapes.masks(shapes.ids)
    assert found is not None
    names, masks = found
    assert names == ("background", "shape")
    assert masks.shape == shapes.images.shape[:3]
    of = {name: shapes.label_set(name) for name in ("shape", "size", "x", "y")}
    discs = np.flatnonzero(of["shape"].values == SHAPES.index("disc"))[:20]
    across, down = np.meshgrid(np.arange(16) + 0.5, np.arange(16) + 0.5)
    for row in discs:
        x, y, size = (float(of[name].numbers[row]) for name in ("x", "y", "size"))  # type: ignore[index]
        assert (masks[row] == (np.hypot(across - x, down - y) < 0.9 * size)).mean() > 0.97  # a pixel at the edge may be covered by half
    twice = open_dataset("shapes:250", 32).masks(open_dataset("shapes:250", 32).ids)
    assert twice is not None
    assert twice[1].shape[1:] == (32, 32)
    assert open_dataset("digits").masks(open_dataset("digits").ids[:1]) is None


def test_label_images_are_read_as_numbers() -> None:
    labels = np.full((20, 30), VOID, np.uint8)
    labels[:, 5:15], labels[:, 15:] = 0, 1
    assert (read(png(labels), 20) == labels[:, 5:25]).all()
    assert np.unique(read(png(np.where(labels == 1, VOID, 0).astype(np.uint8)), 20, complete=True)).tolist() == [0, 1]
    palette, out = Image.fromarray(labels), io.BytesIO()
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(out, "PNG")
    assert (read(out.getvalue(), 20) == labels[:, 5:25]).all()


def test_a_mask_that_is_none_is_a_sentence() -> None:
    colours, out = np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.uint8), io.BytesIO()
    Image.fromarray(colours).save(out, "PNG")
    for data, says in (
        (b"no", "no PNG"),
        (png(np.zeros((9, 9), np.uint8))[:-30], "damaged"),
        (out.getvalue(), "mode is RGB"),
        (png(np.full((9, 9), 20, np.uint8)), "values up to 20"),
        (png(np.full((9, 9), VOID, np.uint8)), "no value but 255"),
    ):
        with pytest.raises(InvalidData, match=says):
            read(data, 9)


@pytest.fixture(scope="module")
def teller(tmp_path_factory: pytest.TempPathFactory) -> Segmenting:
    return Segmenting(Scene(Own(Store(tmp_path_factory.mktemp("store")), "cpu")))


def told(steps: object) -> tuple[dict, dict]:
    said, back = finish(steps)  # type: ignore[arg-type]
    return dict(said), load(back) if back else {}


def test_a_worker_tells_segments_masks_and_the_curve(teller: Segmenting, shapes: Dataset) -> None:
    images = open_dataset("shapes").images[:8]
    question = {"backend": "shapes-ddpm", "dataset": "shapes", "blocks": ["up1.res0"], "sigmas": [0.3], "classes": 3, "k": 3}
    said, back = teller.masks(question, save({"images": images}))  # type: ignore[misc]
    masks = load(back)["masks"]
    assert said["names"] == ["background", "shape"]
    labels = np.full(masks.shape, VOID, np.uint8)
    labels[:2, ::3, ::3] = masks[:2, ::3, ::3]
    data = save({"images": images, "labels": labels, "truth": masks})
    facts, arrays = told(teller.segment(question, data))
    assert facts["unpainted"] == [2]
    assert facts["overlap"]["images"] == 8
    assert 0.6 < facts["overlap"]["mean"][0] <= 1
    assert arrays["labels"].shape == arrays["certainty"].shape == masks.shape
    curve, _ = told(teller.levels({**question, "sigmas": [0.05, 0.3, 3.0]}, data))
    assert len(curve["mean"]) == len(curve["sigmas"]) == 3
    assert curve["mean"][1] == pytest.approx(facts["overlap"]["mean"][0])
    _, found = told(teller.clusters(question, data))
    assert set(np.unique(found["labels"])) == {0, 1, 2}
    assert teller.masks({**question, "dataset": "digits"}, save({"images": images[:, :8, :8].copy()}))[0]["names"] == []  # type: ignore[index]


def test_a_mask_of_a_class_that_is_not_there_is_refused(teller: Segmenting, planted: tuple) -> None:
    images, truth, labels = planted
    data = save({"images": np.stack(images), "labels": labels, "truth": truth * 4})
    with pytest.raises(InvalidRequest, match="A mask has class 4"):
        told(teller.segment({"backend": "cifar10-ddpm", "blocks": [BLOCK], "sigmas": [0.06], "classes": 2}, data))


def test_the_command_line_writes_segments_and_a_curve(planted: tuple, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from analysis.__main__ import app

    images, truth, labels = planted
    words = ["segment"]
    for place, image in enumerate(images[:3]):
        Image.fromarray(image).save(tmp_path / f"{place}.png")
        (tmp_path / f"{place}-mask.png").write_bytes(png(labels[place] if place < 2 else truth[place]))
        words.append(str(tmp_path / f"{place}.png"))
    for option, name in (
        ("--mask", "0-mask.png"),
        ("--mask", "1-mask.png"),
        ("--truth", "none"),
        ("--truth", "none"),
        ("--truth", "2-mask.png"),
    ):
        words += [option, name if name == "none" else str(tmp_path / name)]
    out = tmp_path / "out"
    words += [
        "--backend",
        "cifar10-ddpm",
        "--block",
        BLOCK,
        "--sigma",
        "0.06",
        "--over",
        "3",
        "--classes",
        "rows,columns",
        "--out",
        str(out),
    ]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert "Mean IoU 9" in found.output
    assert "segments meet the masks best" in found.output
    said = np.asarray(Image.open(out / "2-segments.png"))
    assert mean_iou(confusion(said, truth[2], 2)) > 0.9
    assert (out / "iou.csv").read_text().count("columns") == 3
    alone = CliRunner().invoke(app, [*words[:4], "--clusters", "2", "--backend", "cifar10-ddpm", "--out", str(out)])
    assert alone.exit_code == 0, alone.output
    assert isinstance(CliRunner().invoke(app, words[:4]).exception, InvalidRequest)


def test_a_picture_of_segments_is_told_without_its_colours_too() -> None:
    image = np.full((8, 8, 3), 128, np.uint8)
    made = [overlay(image, np.full((8, 8), k, np.uint8)) for k in range(CLASSES)]
    shapes = [(picture == picture.reshape(-1, 3).max(0)).all(-1).tobytes() for picture in made]
    assert len(set(shapes)) == CLASSES  # where the lines are
    assert (overlay(image, np.full((8, 8), VOID, np.uint8)) == 128).all()
    assert overlay(np.zeros((600, 600, 3), np.uint8), np.zeros((600, 600), np.uint8)).shape == (150, 150, 3)


def test_the_levels_of_a_curve_are_the_models_own_and_even_in_log_sigma(model: Backend) -> None:
    found = [one["sigma"] for one in levels(model.card, 16)]
    assert found == pytest.approx(model.schedule.spread(16))


def test_what_is_put_again_is_held_once() -> None:
    kept = Kept(100)
    for _ in range(5):
        kept.put(("a",), torch.zeros(10))
    kept.put(("b",), torch.zeros(10))
    assert kept.get(("a",)) is not None
    assert kept.get(("b",)) is not None
