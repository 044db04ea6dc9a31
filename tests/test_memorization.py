"""Networks trained on few and on many images: what each is given, that a stopped study goes on, and what is written down of it."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from typer.testing import CliRunner

from analysis import errands, probing, recipes
from analysis import memorization_look as looking
from analysis import memorization_run as running
from analysis import memorization_work as working
from analysis.__main__ import app
from analysis.crew import Dropped
from analysis.datasets import open_dataset
from analysis.datasets.base import image_ids
from analysis.encoders import open_encoder
from analysis.errors import DamagedFile, InvalidRequest, StoreUnavailable
from analysis.features import load_x0, read_features
from analysis.generalization import COSINES
from analysis.heads.logistic import Logistic
from analysis.jobs import TRAINING, Job, Jobs
from analysis.memorization import FRESH, Look, MemorizationRequest, Run, apart_path, found_path, place_of, weights_path
from analysis.memorization_cost import PARTS, foresee, foreseeing
from analysis.memorization_data import Material
from analysis.memorization_encoder import encode, reads
from analysis.memorization_generation import seconds
from analysis.memorization_sharing import share
from analysis.memorization_words import command
from analysis.memorized import WATCHED, open_memorized
from analysis.noise import noise_like
from analysis.sampling import first_noise
from analysis.steps import finish
from analysis.training import Run as Training
from app.components.memorized_form import DATASET, SIZES, moments
from app.components.trainings import request_of

from . import vision
from .conftest import TINY as TINY_NET

TINY: dict[str, Any] = {
    **{"dataset": "digits", "sizes": (16, 64), "seeds": 2, "seen": (64, 192), "labels_per_class": 3, "label_draws": 2, "levels": 3},
    **{"n_validation": 30, "n_test": 40, "samples": 6},
}


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Networks that are trained in no time."""
    with pytest.MonkeyPatch.context() as patch:
        others = [
            one.model_copy(
                update={
                    "network": TINY_NET
                    | {
                        "sample_size": one.network["sample_size"],
                        "in_channels": one.network["in_channels"],
                        "out_channels": one.network["out_channels"],
                    }
                }
            )
            for one in recipes.RECIPES
        ]
        patch.setattr(recipes, "RECIPES", tuple(others))
        running.material_of.cache_clear()
        yield
    running.material_of.cache_clear()


@pytest.fixture(scope="module")
def tiny() -> MemorizationRequest:
    return MemorizationRequest(**TINY)


@pytest.fixture(scope="module")
def study(tiny: MemorizationRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A finished study, and where it is."""
    root = tmp_path_factory.mktemp("store")
    return working.memorize(tiny, root), place_of(tiny, root)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sizes": (64, 16)}, "sizes are 64, 16; allowed: numbers of training images from 2 on, ascending"),
        ({"sizes": (FRESH,)}, "sizes are fresh; allowed"),
        ({"sizes": (1, 16)}, "sizes are 1, 16; allowed"),
        ({"sizes": (16, FRESH, FRESH)}, "twice"),
        ({"seeds": 1, "label_draws": 1}, "at least two draws of labels in all"),
        ({"seen": (128, 64)}, "seen is 128, 64; allowed: numbers of images, ascending"),
        ({"seen": (100,)}, "seen has 100; allowed: multiples of 64"),
        ({"dataset": "elsewhere"}, "No recipe is known for elsewhere"),
    ],
)
def test_what_cannot_be_asked_is_said(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        MemorizationRequest(**TINY | fields)


def test_more_training_images_than_there_are_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    asked = MemorizationRequest(**TINY | {"sizes": (16, 500)})
    with pytest.raises(InvalidRequest, match=r"sizes go to 500 images; digits has \d+ for each of 2 seeds"):
        working.memorize(asked, tmp_path)
    with pytest.raises(InvalidRequest, match="digits has no images without end"):
        working.memorize(MemorizationRequest(**TINY | {"sizes": (16, FRESH)}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_smaller_sets_are_part_of_larger_ones_and_no_two_seeds_or_questions_share_an_image(tiny: MemorizationRequest) -> None:
    material = Material(tiny)
    sets = {run: set(material.training(run).ids.tolist()) for run in tiny.runs}
    assert {run: len(ids) for run, ids in sets.items()} == {run: int(run.size) for run in tiny.runs}
    for seed in range(2):
        assert sets[Run("16", seed)] < sets[Run("64", seed)]
    asked = set(np.concatenate([material.pool, material.validation, material.test]).tolist())
    assert not sets[Run("64", 0)] & sets[Run("64", 1)]
    assert not asked & (sets[Run("64", 0)] | sets[Run("64", 1)])


def test_sets_of_an_endless_source_are_new_images_with_their_classes() -> None:
    material = Material(MemorizationRequest(**TINY | {"dataset": "shapes", "sizes": (16, 32, FRESH)}))
    few, many = (material.training(Run(size, 1)) for size in ("16", "32"))
    assert (len(few.ids), len(many.ids)) == (16, 32)
    assert not set(many.ids.tolist()) & set(material.dataset.ids.tolist())
    np.testing.assert_array_equal(few.label_set("shape").values, many.label_set("shape").values[:16])
    met = looking.met(material, Run(FRESH, 1), 128)
    assert not {image.tobytes() for image in met} & {image.tobytes() for image in (*many.images, *material.dataset.images)}


def test_a_network_of_new_images_is_compared_with_the_first_that_it_met() -> None:
    material = Material(MemorizationRequest(**TINY | {"dataset": "shapes", "sizes": (16, 100, FRESH)}))
    met, (images, values) = material.training(Run(FRESH, 1)), open_dataset("shapes").fresh(1, 0, 64)
    assert set(met.ids.tolist()) == set(image_ids(images).tolist())  # of the first step, as the first moment is after it
    known = dict(zip(image_ids(images).tolist(), values["shape"].tolist(), strict=True))
    assert met.label_set("shape").values.tolist() == [known[one] for one in met.ids.tolist()]
    fewer = Material(MemorizationRequest(**TINY | {"dataset": "shapes", "sizes": (16, FRESH)})).training(Run(FRESH, 1))
    assert len(fewer.ids) == 16  # no more than the largest set has
    assert set(fewer.ids.tolist()) < set(met.ids.tolist())


def test_what_a_rule_watches_was_chosen_at_that_moment(study: tuple[Any, Path], tiny: MemorizationRequest) -> None:
    found, folder = study
    watched = found.verdicts(block=WATCHED)
    assert len(watched) == len(tiny.sizes) * len(tiny.seen)
    for row in watched.itertuples():
        looks = [Look(row.size, seed, row.seen, "ema") for seed in range(2)]
        read = np.concatenate([load_file(found_path(folder, look))["outside/validation"] for look in looks], 1)
        assert row.of == found.blocks[int(read.max(2).mean(1).argmax())]
        assert row.peak_accuracy == found.verdict(row.size, row.seen, block=row.of)["peak_accuracy"]
        assert row.p_holm == found.verdict(row.size, row.seen, block=row.of)["p_holm"]
    tops = watched.set_index(["size", "seen"]).peak_accuracy
    low, high = found.paired("64")[64, 192]
    assert low <= tops["64", 192] - tops["64", 64] <= high


def test_networks_of_a_seed_begin_alike_and_those_of_another_seed_do_not(tiny: MemorizationRequest) -> None:
    material = Material(tiny)
    first, second, other = (
        Training(running.spec_of(tiny, run), material.training(run)).net.state_dict()["conv_in.weight"]
        for run in (Run("16", 0), Run("64", 0), Run("16", 1))
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_cells_probed_together_are_those_of_one_probe_each() -> None:
    rng = np.random.default_rng(0)
    y, held = rng.integers(3, size=30), rng.integers(3, size=60)
    other = rng.permutation(y)  # as many of each class, of other images
    fewer = np.where(np.arange(30) == 0, (y + 1) % 3, y)
    given = (("a", 8, y), ("b", 8, y), ("c", 5, y), ("d", 8, other), ("e", 8, fewer))
    cells = {name: (*(rng.normal(size=(n, width)).astype(np.float32) for n in (30, 60, 20)), labels) for name, width, labels in given}
    cells = {name: (train, labels, validation, test) for name, (train, validation, test, labels) in cells.items()}
    found = looking.probe_cells(cells, held, 3)
    for name, (train, labels, validation, test) in cells.items():
        alone = probing.probe(Logistic(), "feature", (train, labels), (validation, held), test, 3)
        np.testing.assert_allclose(found[name].astype(np.float32), alone.logits.astype(np.float32), atol=2e-3)


def test_what_is_read_is_what_a_sweep_reads(study: tuple[Any, Path], tiny: MemorizationRequest) -> None:
    material, look = Material(tiny), Look("64", 1, 192, "ema")
    model = running.open_weights(tiny, study[1], look)
    ids = material.test[:10]
    x0 = load_x0(material.dataset, ids, model)
    eps = noise_like(x0, ids.tolist(), 1, 0)
    features, errors = looking.read_all(model, x0, eps, 0.2)
    reference = read_features(model, ["mid.res1/1", "up1.res0/1"], x0, eps, 0.2, 64, model.card.unconditional)
    for name, value in reference.items():
        np.testing.assert_allclose(features[name.removesuffix("/1")], value.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        errors, looking.errors_of(model, material.dataset.images[material.dataset.rows(ids)], Run("64", 1), [0.2])[0], rtol=1e-4
    )


def test_a_finished_study_has_every_curve_loss_and_sample(study: tuple[Any, Path], tiny: MemorizationRequest) -> None:
    found, folder = study
    curve = found.table("curve")
    together = curve[curve.seed == -1]
    kinds = together[["size", "seen", "weights", "labelled"]].drop_duplicates()
    assert len(kinds) == 2 * (2 + 1 + 1)
    assert len(together) == len(kinds) * len(found.facts["blocks"]) * 3
    assert ((together.ci_low <= together.accuracy) & (together.accuracy <= together.ci_high)).all()
    assert set(found.table("losses").groupby(["size", "seen", "weights", "seed"]).size()) == {3}
    assert set(found.table("halves").other) == {0, 1}
    assert {len(load_file(folder / "samples.safetensors")[f"{size}/ratio"]) for size in (16, 64)} == {6}
    for size in ("16", "64"):  # what is shown of the first seed is the beginning of what is kept of all
        near = found.table("nearest").query("size == @size and seen == 192 and weights == 'ema' and seed == 0")
        assert near["sample"].tolist() == list(range(6))
        assert near.place.between(0, int(size) - 1).all()
        np.testing.assert_array_equal(near.ratio, load_file(folder / "samples.safetensors")[f"{size}/ratio"])
        chosen = "size == @size and seen == 192 and weights == 'ema' and seed == 0 and measure == 'l2_ratio'"
        for row in found.table("generation").query(chosen).itertuples():
            assert row.copies == pytest.approx((near.ratio < row.threshold).mean())
    assert {(one["size"], one["against"]) for one in found.differences()} == {("64", "16")}
    assert ", after 192 training images, accuracy over noise " in found.sentence


def test_accuracies_are_the_means_of_the_bits_that_were_kept(study: tuple[Any, Path], tiny: MemorizationRequest) -> None:
    found, folder = study
    block = [one["name"] for one in found.facts["blocks"]].index("up0.res0")
    looks = [load_file(found_path(folder, Look("16", seed, 64, "ema")))["outside"][block] for seed in (0, 1)]
    right = np.unpackbits(np.concatenate(looks), axis=-1, count=40)
    curve = found.table("curve").query("size == '16' and seen == 64 and labelled == 'outside' and block == 'up0.res0' and seed == -1")
    np.testing.assert_allclose(curve.sort_values("sigma").accuracy, right.mean((0, 2)))


def test_weights_that_were_deleted_are_made_again(study: tuple[Any, Path], tiny: MemorizationRequest) -> None:
    root, path = study[1].parents[1], weights_path(study[1], Run("64", 0), 192)
    before = load_file(path)
    path.unlink()
    with pytest.raises(DamagedFile, match="delete it, and run the study again"):
        seconds(tiny, study[1])
    working.memorize(tiny, root)
    assert all(np.array_equal(value, before[name]) for name, value in load_file(path).items())


def test_no_two_processes_are_at_one_study(tiny: MemorizationRequest, tmp_path: Path) -> None:
    with working.alone(place_of(tiny, tmp_path)), pytest.raises(StoreUnavailable, match="Another process is at the study"):
        working.memorize(tiny, tmp_path)


def test_the_command_line_of_a_receipt_asks_for_the_same_study(study: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[MemorizationRequest] = []

    def memorize(request: MemorizationRequest, *_: Any, **__: Any) -> Any:
        asked.append(request)
        return study[0]

    monkeypatch.setattr(working, "memorize", memorize)
    found = CliRunner().invoke(app, shlex.split(command(study[0]))[3:])
    assert found.exit_code == 0, found.output
    assert asked[0].key() == study[0].key


def test_the_forms_defaults_can_be_trained() -> None:
    asked = {"dataset": DATASET, "sizes": [int(size) for size in SIZES], "seeds": 3, "seen": moments(65_536)}
    assert len(Material(request_of(asked)).pool) == 299


def test_a_request_of_another_version_is_refused(tiny: MemorizationRequest, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="study is 1, of another version of Noisescope; allowed: 2"):
        working.memorize(tiny.model_copy(update={"study": 1}), tmp_path)


def test_the_smallest_set_has_two_classes_or_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="with seed 3 all of these images are of one class"):
        Material(MemorizationRequest(dataset="shapes", sizes=(2, 64), seeds=4))


def test_a_set_without_end_has_bounds_too() -> None:
    with pytest.raises(InvalidRequest, match="sizes go to 100,000,000 images; allowed: up to 1,000,000"):
        Material(MemorizationRequest(dataset="shapes", sizes=(64, 100_000_000)))


@pytest.mark.parametrize("name", ["cifar10", "uoft-cs/cifar10", "cifar10:5000"])
def test_networks_of_one_data_set_have_one_reference_however_it_is_named(name: str) -> None:
    assert running.reference_of(MemorizationRequest(dataset=name)) == "cifar10-ddpm"


def test_a_second_call_trains_nothing(study: tuple[Any, Path], tiny: MemorizationRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "carry", lambda *_, **__: pytest.fail("a network was trained again"))
    again = working.memorize(tiny, study[1].parents[1])
    assert again.facts["files"]["curve.parquet"] == study[0].facts["files"]["curve.parquet"]


def test_a_network_that_was_stopped_goes_on_bit_for_bit(study: tuple[Any, Path], tiny: MemorizationRequest, tmp_path: Path) -> None:
    run, calls = Run("64", 0), iter(range(10**6))

    def stop() -> None:
        if next(calls) == 2:  # in the middle of the second moment
            raise Dropped

    with pytest.raises(Dropped):
        running.carry(tiny.canonical(), str(tmp_path), run, between=stop)
    running.carry(tiny.canonical(), str(tmp_path), run)
    for look in run.looks(tiny):
        for path in (weights_path, found_path):
            name = (run, look.seen) if path is weights_path else (look,)
            here, there = (load_file(path(folder, *name)) for folder in (tmp_path, study[1]))  # type: ignore[operator]
            assert here.keys() == there.keys()
            assert all(np.array_equal(here[key], there[key]) for key in here), path


def test_a_full_disk_is_one_sentence_and_what_was_found_stands(
    tiny: MemorizationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real, writes = Run("16", 0), running.save_file, iter(range(100))

    def full(*arguments: Any) -> None:
        if next(writes) == 2:  # weights and findings of the first moment are there
            raise running.SafetensorError("No space left on device")
        real(*arguments)

    monkeypatch.setattr(running, "save_file", full)
    with pytest.raises(StoreUnavailable, match="what was found before stands: free some disk"):
        running.carry(tiny.canonical(), str(tmp_path), run)
    assert found_path(tmp_path, Look("16", 0, 64, "ema")).exists()
    assert not weights_path(tmp_path, run, 192).exists()
    running.carry(tiny.canonical(), str(tmp_path), run)
    assert found_path(tmp_path, Look("16", 0, 192, "raw")).exists()


def test_a_folder_of_another_study_or_version_is_refused(tiny: MemorizationRequest, tmp_path: Path) -> None:
    folder = place_of(tiny, tmp_path)
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(json.loads(tiny.canonical()) | {"study": 0}))
    with pytest.raises(DamagedFile, match="holds another study than is asked for"):
        working.memorize(tiny, tmp_path)


def test_damaged_weights_are_named(study: tuple[Any, Path], tiny: MemorizationRequest, tmp_path: Path) -> None:
    path = weights_path(tmp_path, Run("16", 0), 64)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no weights")
    with pytest.raises(DamagedFile, match="delete it, and the study trains that network again"):
        running.open_weights(tiny, tmp_path, Look("16", 0, 64, "ema"))


def test_what_is_submitted_is_carried_out_by_the_trainings_own_process(
    tiny: MemorizationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "CORES", 0)
    jobs = Jobs(tmp_path)
    asked = tiny.model_copy(update={"seeds": 1, "sizes": (16,)})
    job = jobs.submit(asked)
    refused = jobs.submit(tiny.model_copy(update={"sizes": (16, 500)}))
    assert (job.device, jobs.list(), jobs.devices()) == (TRAINING, [], {TRAINING})
    working.work(tmp_path, 0.1)
    done, failed = jobs.get(job.id), jobs.get(refused.id)
    assert (done.state, done.study, done.done) == ("done", asked.key(), done.total)
    assert failed.state == "failed"
    assert "digits has" in (failed.reason or "")


def test_a_look_counts_as_the_training_images_that_take_as_long(
    study: tuple[Any, Path], tiny: MemorizationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "LOOK", -1.0)
    shutil.copytree(study[1], place_of(tiny, tmp_path))
    found_path(place_of(tiny, tmp_path), Look("16", 0, 192, "raw")).unlink()
    heard: list[tuple[int, int]] = []
    working.memorize(tiny, tmp_path, progress=lambda done, of, _: heard.append((done, of)))
    read = 2 * 3 * 10 + tiny.n_validation + tiny.n_test + tiny.losses  # draws of 3 labels in each of 10 classes
    look = round((tiny.levels * read + tiny.samples * tiny.sample_steps) / 3)
    total = 4 * 192 + 12 * look
    assert heard[0] == (total - look, total)
    assert heard[-1] == (total, total)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


@pytest.mark.parametrize(("uneven", "left"), [(False, None), (True, 200.0)])
def test_the_time_left_of_work_that_leaps_is_told_from_its_pace_since_it_began(
    uneven: bool, left: float | None, tiny: MemorizationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, now = Jobs(tmp_path), [0.0]
    job = jobs.submit(tiny)
    jobs.take(TRAINING)
    monkeypatch.setattr(errands.time, "monotonic", lambda: now[0])
    seen: list[float | None] = []

    def errand(_: Job, progress: errands.Progress, __: errands.Between) -> errands.Told:
        for second in range(101):  # five a second, then a look of 90 seconds
            now[0] = float(second)
            progress(min(50, 5 * second), 150, "")
        seen.append(jobs.get(job.id).eta)
        return None, ""

    errands.carry_out(jobs, job, errand, uneven)
    assert seen == [left]


def test_what_is_cancelled_stops_between_two_steps(tiny: MemorizationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(tmp_path)
    job = jobs.submit(tiny)
    monkeypatch.setattr(working, "CORES", 0)
    monkeypatch.setattr(errands, "LOOK", 0.0)
    real, steps = Training.advance, []

    def once(self: Training) -> float:
        steps.append(1)
        jobs.cancel(job.id)
        return real(self)

    monkeypatch.setattr(Training, "advance", once)
    working.work(tmp_path, 0.1)
    assert (jobs.get(job.id).state, len(steps)) == ("cancelled", 1)


def test_the_cost_is_of_what_is_lacking(study: tuple[Any, Path], tiny: MemorizationRequest, tmp_path: Path) -> None:
    whole, nothing = foresee(tiny, tmp_path), foresee(tiny, study[1].parents[1])
    assert (whole.networks, whole.looks) == (4, 12)
    assert whole.seconds > 0
    assert whole.sentence.startswith("4 networks to train, 12 looks at them: about ")
    assert (nothing.networks, nothing.sentence) == (0, "All of it is there already.")
    place = place_of(tiny, tmp_path)
    shutil.copytree(study[1], place)
    apart_path(place, 0, 1, 64).parent.mkdir()
    apart_path(place, 0, 1, 64).touch()
    more = foresee(tiny, tmp_path, sharing=(64, 2))
    assert (more.networks, more.looks, more.apart) == (0, 0, 5)
    weights = weights_path(place, Run("16", 0), 64).stat().st_size
    assert 0.8 * 5 * weights < more.bytes < 2 * 5 * weights
    assert more.sentence.startswith("5 denoisers of one level to train: about ")


def test_the_command_ends_with_one_line_of_json(study: tuple[Any, Path], tmp_path: Path) -> None:
    options = "--dataset digits --sizes 16,64 --seeds 2 --seen 64,192 --labels-per-class 3 --label-draws 2 --levels 3 --samples 6"
    given = [
        *options.split(),
        "--n-validation",
        "30",
        "--n-test",
        "40",
        "--processes",
        "0",
        "--store",
        str(tmp_path),
        "--out",
        str(tmp_path / "c.csv"),
    ]
    found = CliRunner().invoke(app, ["study", "memorization", *given, "--out", str(tmp_path / "c.csv"), "--json"])
    assert found.exit_code == 0, found.output
    last = json.loads(found.stdout.splitlines()[-1])
    assert ", after 192 training images" in last["sentence"]
    assert {(one["size"], one["against"]) for one in last["differences"]} == {("64", "16")}
    assert (tmp_path / "c.csv").read_text().startswith("size,seen,weights")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--sizes", ""], "sizes has ''; allowed: whole numbers"),
        (["--sizes", "16,many"], "sizes has 'many'; allowed: whole numbers, with commas between them."),
        (["--dataset", "digits", "--sizes", "16,64", "--seen", "100"], "seen has 100; allowed: multiples of 64"),
        (["--dataset", "digits", "--sizes", "16,5000", "--seen", "64"], "sizes go to 5000 images"),
    ],
)
def test_a_bad_option_is_one_sentence(given: list[str], said: str, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["study", "memorization", *given, "--store", str(tmp_path), "--cost"])
    assert said in str(found.exception)


def test_denoisers_of_one_level_stand_beside_the_one_network(study: tuple[Any, Path], tiny: MemorizationRequest) -> None:
    root = study[1].parents[1]
    found = share(tiny, 64, 2, root)
    table = found.table("sharing")
    assert len(table) == 3 * len(found.facts["blocks"]) * 3
    for model, seen in (("one", 64), ("later", 192)):
        one = table[(table.model == model) & (table.block == "mid.res1")].sort_values("sigma")
        curve = found.table("curve").query(
            "size == '64' and labelled == 'outside' and block == 'mid.res1' and seed == -1 and weights == 'ema'"
        )
        np.testing.assert_allclose(one.accuracy, curve[curve.seen == seen].sort_values("sigma").accuracy)
        np.testing.assert_allclose(one.identity, one.sigma**2)
        assert set(one.seen) == {seen}
    last = share(tiny, 192, 1, root).table("sharing")  # other denoisers, not those of the moment before
    assert not np.allclose(last[last.model == "apart"].held_out, table[table.model == "apart"].held_out)
    assert set(last.model) == {"one", "apart"}
    assert working.memorize(tiny, root).has("sharing")  # a study that is run again keeps them
    folder = place_of(tiny, root)
    (folder / "curve.parquet").write_bytes(b"nothing")  # as of one whose tables are made anew
    again = working.memorize(tiny, root)
    pd.testing.assert_frame_equal(again.table("sharing"), last)
    assert again.facts["sharing"] == {"seen": 192, "seeds": 1}
    (folder / "sharing.parquet").write_bytes(b"nothing")
    (folder / "curve.parquet").write_bytes(b"nothing")
    assert not working.memorize(tiny, root).has("sharing")
    apart_path(folder, 0, 0, 192).write_bytes(b"nothing")
    with pytest.raises(DamagedFile, match="that denoiser is trained anew"):
        share(tiny, 192, 1, root)
    with pytest.raises(InvalidRequest, match="sharing is 128 with 1 seeds; allowed: one of 64, 192"):
        share(tiny, 128, 1, root)


def test_a_denoiser_of_one_level_is_shown_no_other(tiny: MemorizationRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, shown = running.spec_of(tiny, Run("16", 0)).model_copy(update={"timestep": 123}), []
    training = Training(spec, Material(tiny).training(Run("16", 0)))
    forward = training.forward
    monkeypatch.setattr(training, "forward", lambda x, t, classes: shown.append(t) or forward(x, t, classes))
    training.advance()
    assert set(torch.cat(shown).tolist()) == {123}


@pytest.fixture
def encoded(study: tuple[Any, Path], tiny: MemorizationRequest, tmp_path: Path) -> tuple[Path, str]:
    """A copy of the study, and an encoder's place."""
    shutil.copytree(study[1], place_of(tiny, tmp_path))
    vision.save("vit", tmp_path / "tiny-vit")
    return tmp_path, f"transformers:{tmp_path / 'tiny-vit'}"


def test_copies_are_looked_for_in_an_encoders_features_too(encoded: tuple[Path, str], tiny: MemorizationRequest) -> None:
    root, name = encoded
    before = open_memorized(place_of(tiny, root))
    heard: list[tuple[int, int]] = []
    found = encode(tiny, name, root, progress=lambda done, of, _: heard.append((done, of)))
    rows, looks = found.table("encoder"), len(list(tiny.looks()))
    made, kept = looks * 6, 2 * 64 + 6
    assert heard[-1] == (made + kept, made + kept)
    assert reads(tiny, name, root)[0] == made  # what it made of real images is kept
    again = encode(tiny, name, root, progress=lambda done, of, _: heard.append((done, of)))
    assert again.table("encoder").equals(rows)  # in the last one's place, not beside it
    assert heard[-1] == (made, made)
    assert found.facts["encoder"]["name"] == "tiny-vit"
    assert f"--encoder {name}" in command(found)
    assert len(rows) == looks * len(COSINES)
    assert {path: sum_ for path, sum_ in found.facts["files"].items() if path != "encoder.parquet"} == before.facts["files"]
    look = Look("16", 1, 192, "ema")
    samples = load_file(found_path(place_of(tiny, root), look))["samples"]
    encoder, material = open_encoder(name), Material(tiny)
    own, made = (
        np.concatenate([encoder(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1).detach().numpy() for image in images])
        for images in (material.training(Run("16", 1)).images, samples)
    )
    made, own = (part.astype(np.float16).astype(np.float32) for part in (made, own))
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (made - own.mean(0), own - own.mean(0))]
    highest = (unit[0] @ unit[1].T).max(1)
    mine = rows[(rows["size"] == "16") & (rows.seed == 1) & (rows.seen == 192) & (rows.weights == "ema")].set_index("threshold")
    assert mine.copies.to_dict() == {at: pytest.approx((highest > at).mean()) for at in COSINES}


def test_an_encoder_that_is_not_there_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        app, ["study", "memorization", "--dataset", "digits", "--encoder", "transformers:/nowhere", "--store", str(tmp_path)]
    )
    assert found.exit_code == 1
    assert "is not on this machine" in str(found.exception)
    assert not list(tmp_path.iterdir())


def test_the_cost_is_told_a_part_at_a_time(tiny: MemorizationRequest, tmp_path: Path) -> None:
    threads, steps = torch.get_num_threads(), list[tuple[int, int]]()
    whole = finish(foreseeing(tiny, tmp_path), steps.append)
    assert steps == [(done, PARTS) for done in range(1, PARTS + 1)]
    assert whole.networks == 4
    assert torch.get_num_threads() == threads


def test_samples_begin_as_the_mean_image_with_the_same_noise_everywhere(
    study: tuple[Any, Path], tiny: MemorizationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At σ near 5 the mean of digits, which are dark, is not lost in noise: what begins without it is too bright."""
    begun, material = [], Material(tiny)
    descend = looking.descend
    monkeypatch.setattr(looking, "descend", lambda model, x, *rest: begun.append((x, rest)) or descend(model, x, *rest))
    for run in (Run("16", 0), Run("64", 1)):
        running.look_at(material, Look(*run, 64, "ema"), study[1], "cpu", lambda: None)
    (first, (_, steps, level)), (second, _) = begun
    real = material.dataset.images[material.dataset.rows(material.pool)] / 127.5 - 1
    assert torch.equal(first, second)
    noise = (first - torch.tensor(real.mean((0, 3)), dtype=torch.float32)) / level
    np.testing.assert_allclose(noise, first_noise(running.open_weights(tiny, study[1], Look("16", 0, 64, "ema")), range(6), 0), atol=1e-5)
    assert (steps, level) == (tiny.sample_steps, pytest.approx(5, rel=0.1))


@pytest.mark.parametrize("harm", ["version", "table"])
def test_tables_of_another_version_or_damaged_are_made_anew_from_what_was_found(
    study: tuple[Any, Path], tiny: MemorizationRequest, tmp_path: Path, harm: str
) -> None:
    folder = place_of(tiny, tmp_path)
    shutil.copytree(study[1], folder)
    before = (folder / "curve.parquet").read_bytes()
    if harm == "version":
        facts = json.loads((folder / "memorization.json").read_text())
        (folder / "memorization.json").write_text(json.dumps(facts | {"format": 1}))
    else:
        (folder / "curve.parquet").write_bytes(b"nothing")
    found = working.memorize(tiny, tmp_path)
    assert found.facts["format"] == 3
    assert (folder / "curve.parquet").read_bytes() == before
