"""The maps of a study, as the worker answers about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.neighbors import NearestNeighbors

from analysis import laying, mapped, similarity
from analysis.answers import Answers
from analysis.atlas import Atlas, Cell
from analysis.backends import open_backend
from analysis.crew import Crew
from analysis.errors import DamagedFile, InvalidRequest, NoisescopeError, UnknownName
from analysis.geometry import trust
from analysis.layout import chain, onto
from analysis.readout import of_study, softmax
from analysis.similarity import space
from analysis.store import Store
from analysis.studies import find_study
from tests.toys import AtOnce

DIGITS, CIFAR = find_study("digits"), find_study("cifar10")
COUNT = 60
BLOCK, LEVEL = DIGITS.result()["headline"].split("/")[1], 5  # its best cell


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return Answers(Store(tmp_path_factory.mktemp("store")), "cpu", 0, AtOnce())


def ask(
    answers: Answers, what: str, data: Mapping[str, np.ndarray] | None = None, **question: Any
) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
    asked = {"ask": what, "study": DIGITS.key, "count": COUNT, **question}
    while True:
        said, back = answers(asked, save(dict(data or {})))
        if "left" not in said:
            return said, load(back) if back else {}


def atlas_of(answers: Answers, **question: Any) -> Atlas:
    return answers.known["map"].__self__.atlas({"study": DIGITS.key, "count": COUNT, **question})  # type: ignore[attr-defined]


def test_test_images_are_shown_with_their_labels_and_fewer_are_some_of_more(answers: Answers) -> None:
    said, found = ask(answers, "shown")
    assert (said["kind"], said["of"], said["root"]) == ("test", 719, Cell(BLOCK, LEVEL))
    assert len(found["ids"]) == COUNT
    data = answers.own.bench(DIGITS).dataset  # type: ignore[union-attr]
    rows = data.rows(found["ids"])
    np.testing.assert_array_equal(found["images"], data.images[rows])
    np.testing.assert_array_equal(found["labels/digit"], data.label_sets["digit"].values[rows])
    assert set(data.split[rows]) == {"test"}
    assert set(ask(answers, "shown", count=20)[1]["ids"]) < set(found["ids"])


def test_where_the_data_are_not_there_what_the_model_made_is_shown_in_the_block_that_was_kept(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers.own, "bench", lambda study: None)
    said, found = ask(answers, "shown", study=CIFAR.key, count=2000)
    assert (said["kind"], said["blocks"], said["of"], said["classes"]) == ("generated", ["up1.res0"], 1000, {})
    assert found["images"].shape == (1000, 32, 32, 3)
    made, there = ask(answers, "map", study=CIFAR.key, method="pca", block="up1.res0", level=2)
    assert there["layout"].shape == (COUNT, 2)
    assert len(made["classes"]) == 10
    with pytest.raises(UnknownName, match=r"mid\.res0"):
        ask(answers, "map", study=CIFAR.key, method="pca", block="mid.res0", level=2)
    assert ask(answers, "noised", study=CIFAR.key, level=2)[1]["images"].shape == (COUNT, 32, 32, 3)


def test_images_are_noised_as_the_network_sees_them(answers: Answers) -> None:
    quiet, loud = (ask(answers, "noised", level=level)[1]["images"].astype(float) for level in (0, 15))
    clean = ask(answers, "shown")[1]["images"].astype(float)
    assert np.abs(quiet - clean).mean() < 4
    assert abs(np.corrcoef(loud.ravel(), clean.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("kept", ["data", "generated", "clean"])
def test_images_are_noised_in_steps_as_they_are_all_at_once(answers: Answers, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    study = CIFAR if kept == "generated" else DIGITS
    if kept == "generated":
        monkeypatch.setattr(answers.own, "bench", lambda study: None)
    atlas = atlas_of(answers, study=study.key)
    if kept == "clean":
        monkeypatch.setitem(atlas.__dict__, "features_of", atlas.features_of.model_copy(update={"input": "clean"}))
    monkeypatch.setattr(mapped, "SLAB", 7 * atlas.shown.images[0].size)
    question = {"ask": "noised", "study": study.key, "count": COUNT, "level": 3, "asker": kept}
    told = []
    while "left" in (answer := answers(question))[0]:
        told.append(answer[0])
    assert [(one["done"], one["of"]) for one in told] == [(done, COUNT) for done in range(7, COUNT, 7)]
    np.testing.assert_array_equal(load(answer[1])["images"], atlas.noised(3))


def test_few_images_are_noised_in_one_step(answers: Answers) -> None:
    assert "left" not in answers({"ask": "noised", "study": DIGITS.key, "count": COUNT, "level": 3})[0]


def test_a_map_comes_with_what_the_probes_of_its_cell_read(answers: Answers) -> None:
    said, found = ask(answers, "map", method="umap", block=BLOCK, level=LEVEL)
    assert found["layout"].shape == (COUNT, 2)
    atlas = atlas_of(answers)
    features = atlas.features(Cell(BLOCK, LEVEL))
    np.testing.assert_array_equal(found["probabilities"], softmax(of_study(DIGITS).logits(LEVEL, BLOCK, features)))
    labels = ask(answers, "shown")[1]["labels/digit"]
    assert (found["probabilities"].argmax(1) == labels).mean() > 0.7
    assert said["classes"] == list(DIGITS.facts["classes"])


def test_a_run_without_linear_probes_has_maps_too(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise InvalidRequest("The study keeps no linear probe of pooling '1'.")

    monkeypatch.setattr(answers.own, "readout", none)
    said, found = ask(answers, "map", method="pca", block=BLOCK, level=LEVEL)
    assert set(found) == {"layout"}
    assert said["classes"] == []


def test_maps_that_follow_each_other_lie_on_each_other_and_are_kept(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [[BLOCK, level] for level in (4, 5, 6)] + [["up0.up", 5], ["up0.up", 6]]
    _, found = ask(answers, "maps", method="umap", cells=cells)
    assert set(found) == {f"{block}/{level}" for block, level in cells}
    assert {name: float(np.linalg.norm(layout - layout.mean(0))) for name, layout in found.items()} == pytest.approx(
        dict.fromkeys(found, float(np.linalg.norm(found[f"{BLOCK}/5"] - found[f"{BLOCK}/5"].mean(0)))), rel=1e-3
    )  # all as wide
    for one, other in ((f"{BLOCK}/4", f"{BLOCK}/5"), ("up0.up/5", f"{BLOCK}/5"), ("up0.up/6", "up0.up/5")):
        np.testing.assert_allclose(onto(found[one], found[other]), found[one], atol=1e-4)
    np.testing.assert_array_equal(ask(answers, "map", method="umap", block=BLOCK, level=5)[1]["layout"], found[f"{BLOCK}/5"])
    fresh = Answers(answers.store, "cpu", 0, AtOnce())
    monkeypatch.setattr("analysis.laying.layout.follow", None)  # would fail if it were called
    np.testing.assert_array_equal(ask(fresh, "maps", method="umap", cells=cells)[1]["up0.up/6"], found["up0.up/6"])


def test_the_way_to_a_cell_goes_over_the_blocks_first_and_then_over_the_levels(answers: Answers) -> None:
    atlas = atlas_of(answers)
    assert atlas.path(Cell(BLOCK, LEVEL)) == [Cell(BLOCK, LEVEL)]
    names = atlas.blocks[8 : atlas.blocks.index(BLOCK)][::-1]
    path = [Cell(BLOCK, 5), *(Cell(name, 5) for name in names), *(Cell(atlas.blocks[8], level) for level in (4, 3))]
    assert atlas.path(Cell(atlas.blocks[8], 3)) == path
    assert atlas.path(Cell(BLOCK, 7)) == [Cell(BLOCK, level) for level in (5, 6, 7)]


def test_what_takes_longer_than_is_allowed_is_only_said(store: Store) -> None:
    answers = Answers(store, "cpu", 0, AtOnce())
    said, found = ask(answers, "map", method="umap", block="mid.res0", level=8, most=0.0)
    assert found == {}
    assert said["passes"] == COUNT * 4  # levels 5 to 8
    assert said["layouts"] == 9  # from up1.res0 back to mid.res0 there are 6 maps, then 3 levels
    assert said["seconds"] > 0
    ask(answers, "map", method="pca", block="mid.res0", level=5, most=1000.0)
    assert "seconds" not in ask(answers, "map", method="pca", block="mid.res0", level=5, most=0.0)[0]


@pytest.mark.slow
def test_real_features_are_as_mixed_on_the_noisiest_map_as_in_their_space_from_whichever_end_it_is_followed(answers: Answers) -> None:
    levels = range(len(DIGITS.facts["levels"]))
    ends = [Cell(BLOCK, levels[0]), Cell(BLOCK, levels[-1])]
    ask(answers, "maps", method="umap", cells=ends, count=500)
    for level in levels:  # those on the way know their neighbours already
        ask(answers, "near", block=BLOCK, level=level, rows=[], count=500)
    atlas = atlas_of(answers, count=500)
    labels = atlas.shown.labels["digit"][1]
    clouds = [given for level in levels if (given := atlas.cloud(Cell(BLOCK, level)))]
    back = list(chain(clouds[::-1]))[::-1]
    from_root = [trust(clouds[cell.level], atlas.layout(cell), labels) for cell in ends]
    assert from_root[1].purity_map == pytest.approx(from_root[1].purity_space, abs=0.03)
    assert [trust(clouds[cell.level], back[cell.level], labels).purity_map for cell in ends] == pytest.approx(
        [told.purity_map for told in from_root], abs=0.03
    )


def test_the_axes_of_pcas_point_the_same_way_at_neighbouring_levels(answers: Answers) -> None:
    root, beside = (ask(answers, "map", method="pca", block=BLOCK, level=level)[1]["layout"] for level in (5, 6))
    assert ((root * beside).sum(0) > 0).all()


def test_trust_is_told_of_every_cell_that_has_a_map(answers: Answers) -> None:
    ask(answers, "map", method="umap", block=BLOCK, level=5)
    said, _ = ask(answers, "trust", method="umap", cells=[[BLOCK, 5], ["down0.res0", 15]], label_set="digit")
    assert said["trust"][1] is None
    assert said["trust"][0]["count"] == COUNT
    places, labels = (
        ask(answers, "near", block=BLOCK, level=5, rows=list(range(COUNT)))[1]["places"],
        ask(answers, "shown")[1]["labels/digit"],
    )
    assert said["trust"][0]["purity_space"] == pytest.approx((labels[places] == labels[:, None]).mean())
    assert ask(answers, "trust", method="umap", cells=[[BLOCK, 5]], label_set="digit")[0]["trust"] == said["trust"][:1]
    unlabelled = ask(answers, "trust", method="umap", cells=[[BLOCK, 5]], label_set=None)[0]["trust"][0]
    assert unlabelled["purity_space"] is None
    assert unlabelled["trustworthiness"] == said["trust"][0]["trustworthiness"]


def test_neighbours_are_scikit_learns_in_the_full_space(answers: Answers) -> None:
    _, found = ask(answers, "near", block=BLOCK, level=5, rows=[3, 40])
    atlas = atlas_of(answers)
    features = atlas.features(Cell(BLOCK, 5))
    points = space(features, "cosine")(features)
    expected = NearestNeighbors(n_neighbors=16, algorithm="brute").fit(points).kneighbors(points[[3, 40]])[1][:, 1:]
    np.testing.assert_array_equal(found["places"], expected)
    with pytest.raises(InvalidRequest, match="rows go from"):
        ask(answers, "near", block=BLOCK, level=5, rows=[COUNT])


def test_too_few_images_for_a_umap_have_a_pca_and_that_is_said(answers: Answers) -> None:
    said, found = ask(answers, "map", method="umap", block=BLOCK, level=5, count=4)
    assert said["plain"] == "few"
    assert found["layout"].shape == (4, 2)


def test_generated_images_are_what_the_study_made_them(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers.own, "bench", lambda study: None)
    atlas = atlas_of(answers, study=CIFAR.key)
    asked, identity = CIFAR.facts["request"], atlas.features_of
    assert (identity.condition, identity.input, identity.seed) == (asked["condition"], asked["input"], CIFAR.facts["receipt"]["seed"])


@pytest.mark.parametrize("method", ["pca", "umap"])
def test_an_image_that_is_in_the_map_lands_on_itself(answers: Answers, method: str) -> None:
    images = ask(answers, "shown")[1]["images"]
    layout = ask(answers, "map", method=method, block=BLOCK, level=5)[1]["layout"]
    _, found = ask(answers, "place", {"image": images[7].copy()}, method=method, block=BLOCK, level=5)
    assert found["places"][0] == 7
    np.testing.assert_allclose(found["place"], layout[7], atol=1e-4)


def test_a_network_is_like_itself_and_less_like_one_with_random_weights(answers: Answers) -> None:
    cells = [[BLOCK, 5], ["mid.res0", 5], ["down0.res0", 5]]
    _, itself = ask(answers, "alike", cells=cells, other=cells)
    assert ask(answers, "alike", cells=cells, other=cells)[1]["cka"].tolist() == itself["cka"].tolist()
    _, random = ask(answers, "alike", cells=cells[:2], other=cells, beside="random")
    assert np.diag(itself["cka"]) == pytest.approx(1)
    assert np.diag(itself["mutual"]) == pytest.approx(1)
    assert random["cka"].shape == random["mutual"].shape == (2, 3)
    assert (np.diag(random["cka"]) < 0.999).all()
    with pytest.raises(InvalidRequest, match="3 images"):
        ask(answers, "alike", cells=cells, other=cells, count=3)


CELLS = [[BLOCK, 5], ["mid.res0", 5], ["down0.res0", 5]]


def test_what_is_alike_is_said_of_the_stored_features(answers: Answers) -> None:
    _, found = ask(answers, "alike", cells=CELLS, other=CELLS)
    atlas = atlas_of(answers)
    np.testing.assert_array_equal(found["cka"], similarity.cka([[atlas.features(Cell(*cell)) for cell in CELLS]]))
    near = [ask(answers, "near", block=block, level=level, rows=list(range(COUNT)))[1]["places"] for block, level in CELLS]
    np.testing.assert_array_equal(found["mutual"], [[similarity.mutual(a, b) for b in near] for a in near])


def test_features_are_read_where_they_are_compared_a_slab_at_a_time(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(answers, "map", method="pca", block=BLOCK, level=5)
    atlas = atlas_of(answers)
    whole, read = atlas.features(Cell(BLOCK, 5)), []
    source, cell = atlas.source(Cell(BLOCK, 5)), Store.cell
    monkeypatch.setattr("analysis.atlas.SLAB", 16)
    monkeypatch.setattr(Store, "cell", lambda *args: (read.append(len(args[-1])), cell(*args))[1])
    assert len(source) == len(whole) == COUNT
    for rows in (slice(0, 8), slice(8, 16), slice(16, 24), slice(24, COUNT)):
        np.testing.assert_array_equal(source[rows], whole[rows])
    assert read[:2] == [16, 16]
    assert len(read) == 3
    with Crew(1) as crew:  # in another process too
        np.testing.assert_array_equal(crew.start(atlas.source(Cell(BLOCK, 5)).__getitem__, slice(8, 16)).result(), whole[8:16])


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"method": "tsne"}, "method is 'tsne'"),
        ({"block": "up9"}, "up9"),
        ({"level": 99}, "level is 99; allowed: 0 to 15"),
        ({"count": 1}, "count is 1"),
        ({"dims": 5}, "dims is 5"),
        ({"metric": "l1"}, "metric 'l1'"),
    ],
)
def test_what_has_no_map_is_said(answers: Answers, question: dict[str, Any], words: str) -> None:
    with pytest.raises(NoisescopeError, match=words):
        ask(answers, "map", **({"method": "pca", "block": BLOCK, "level": 5} | question))


def test_models_are_compared_on_the_same_images_only(answers: Answers) -> None:
    shapes, cells = find_study("shapes-shape").key, [[BLOCK, 5]]
    with pytest.raises(InvalidRequest, match="other images"):
        ask(answers, "alike", cells=cells, other=cells, beside=shapes)
    hue = find_study("shapes-hue").key
    _, found = ask(answers, "alike", study=shapes, cells=cells, other=cells, beside=hue)
    assert found["cka"] == pytest.approx(1)  # the same model


def test_nothing_is_said_of_an_untrained_network_where_the_data_are_not_there(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers.own, "bench", lambda study: None)
    cells = [["up1.res0", 3]]
    with pytest.raises(InvalidRequest, match="not on this machine"):
        ask(answers, "alike", study=CIFAR.key, cells=cells, other=cells, beside="random")


def test_a_block_is_diagnosed_beside_its_untrained_twin(answers: Answers) -> None:
    said, _ = ask(answers, "diagnose", level=5, count=40)
    assert list(said["model"]) == list(said["random"]) == [block.name for block in DIGITS.card.blocks]
    assert said["model"][BLOCK]["position"]["row"] != said["random"][BLOCK]["position"]["row"]
    shown = {f"{int(id):016x}" for id in ask(answers, "shown", count=40)[1]["ids"]}
    assert set(said["model"][BLOCK]["norms"]["strongest"]) <= shown


def test_a_pca_says_how_much_of_the_variance_it_shows(answers: Answers) -> None:
    flat, solid = (ask(answers, "map", method="pca", block=BLOCK, level=5, dims=dims)[0]["shows"] for dims in (2, 3))
    assert 0 < flat < solid < 1


def test_maps_in_three_dimensions(answers: Answers) -> None:
    for method in ("pca", "umap"):
        assert ask(answers, "map", method=method, block=BLOCK, level=5, dims=3)[1]["layout"].shape == (COUNT, 3)


def test_a_process_that_ends_is_said_and_the_next_has_another() -> None:
    import os

    with Crew(1) as crew:
        steps = laying.Laying.awaited(crew.start(os._exit, 3), lambda: ({}, b""))
        with pytest.raises(NoisescopeError, match="ended unexpectedly"):
            list(steps)
        assert crew.start(max, 3, 4).result() == 4


def test_features_that_are_not_there_are_said(store: Store) -> None:
    answers = Answers(store, "cpu", 0, AtOnce())
    atlas = Atlas(DIGITS, store, answers.own.bench(DIGITS), open_backend("digits-ddpm"), COUNT)
    with pytest.raises(DamagedFile, match="lacks"):
        atlas.features(Cell(BLOCK, 5))
