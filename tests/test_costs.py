from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.costs import count, estimate, process_memory
from analysis.crew import Crew
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


def highest(requests: Sequence[SweepRequest], place: str) -> list[int]:
    """The highest resident set of this process, in bytes, after a unit of each request has been extracted."""
    found = []
    for request in requests:
        bench = Bench(request, Store(place))
        bench.extract(bench.sigmas[0], 0)
        lines = Path("/proc/self/status").read_text().splitlines()
        found.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the highest resident set of a process")
def test_the_memory_of_a_crews_process_is_foreseen(store: Store) -> None:
    few = SweepRequest(levels=3, blocks=("mid.res1",), labels_per_class=("all",), eps_draws=2, baselines=False)
    many = few.model_copy(update={"blocks": None, "poolings": ("4",)})  # 96 MB of features in its unit
    with Crew(1) as crew:
        one, other = crew.start(highest, (few, many), str(store.root)).result(timeout=120)
    foreseen = [process_memory(Bench(request, store), 0) for request in (few, many)]
    assert 0.75 < (foreseen[1] - foreseen[0]) / (other - one) < 1.3
    # The libraries' own files, 170 MB, are mapped and shared by all processes: they are no process's own.
    assert 0.65 < foreseen[0] / one < 1.1


def test_images_in_memory_count_and_a_mapped_file_does_not(request_small: SweepRequest, store: Store, tmp_path: Path) -> None:
    bench = Bench(request_small, store)
    before = process_memory(bench, 0)
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=bench.dataset.images.shape)
    bench.dataset.images = mapped
    assert before - process_memory(bench, 0) == mapped.nbytes


def test_what_a_probe_takes_and_a_large_batch_are_in_the_memory(request_small: SweepRequest, store: Store) -> None:
    bench, large = Bench(request_small, store), Bench(request_small, store, batch_size=100_000)
    assert process_memory(bench, 1_000_000_000) > process_memory(bench, 0) + 900_000_000
    assert process_memory(large, 0) > process_memory(bench, 0) + 100_000_000
