from __future__ import annotations

from analysis.costs import count, estimate
from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep


def stored(store: Store) -> int:
    return sum(path.stat().st_size for kind in ("features", "probes") for path in (store.root / kind).rglob("*.safetensors"))


def test_what_is_counted_is_what_the_sweep_then_does(request_small: SweepRequest, store: Store) -> None:
    cost = estimate(Bench(request_small, store), processes=1)
    study = sweep(request_small, store)
    assert cost.passes == study.facts["receipt"]["passes"]
    assert cost.fits == 4 * (3 * 4 + 3 * 3 + 3)  # draws × (levels × blocks of two networks, × heads of pixels, heads of clean pixels)
    assert cost.levels == study.card.sigmas[:1] + tuple(level["sigma"] for level in study.facts["levels"][1:])


def test_clean_images_are_counted_once_for_all_draws(request_small: SweepRequest, store: Store) -> None:
    request = request_small.model_copy(update={"input": "clean"})
    foreseen = count(Bench(request, store)).passes
    assert foreseen == sweep(request, store).facts["receipt"]["passes"]


def test_the_disk_it_takes_is_foreseen_within_a_tenth(request_small: SweepRequest, store: Store) -> None:
    # Headers of units come on top, and a k-nearest-neighbours probe keeps no weights: hence a tenth, and only with baselines off.
    request = request_small.model_copy(update={"baselines": False, "poolings": ("1", "2")})
    foreseen = count(Bench(request, store)).disk
    sweep(request, store)
    assert 0.9 < foreseen / stored(store) < 1.1


def test_what_is_there_already_is_free(request_small: SweepRequest, store: Store) -> None:
    sweep(request_small, store)
    again = estimate(Bench(request_small, store), processes=1)
    assert (again.passes, again.fits, again.disk, again.seconds, again.share) == (0, 0, 0, 0.0, 1.0)
    more = estimate(Bench(request_small.model_copy(update={"levels": 6}), store), processes=1)
    assert 0 < more.share < 1
    assert 0 < more.passes < count(Bench(request_small.model_copy(update={"levels": 6}), Store(store.root / "empty"))).passes


def test_more_processes_take_more_memory_and_no_more_passes(request_small: SweepRequest, store: Store) -> None:
    one, four = (estimate(Bench(request_small, store), processes=n) for n in (1, 4))
    assert four.memory > one.memory
    assert four.passes == one.passes
