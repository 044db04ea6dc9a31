"""Sweeps of the ranks that torchrun starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import distributed

from analysis.engines import ENGINES, leads, open_crew
from analysis.errors import InvalidRequest, UnknownName
from analysis.ranks import Ranks
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep

from .engines import command, features, same

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A group of one rank."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_one_rank_is_a_plain_run(alone: None, request_small: SweepRequest, tmp_path: Path) -> None:
    told: list[int] = []
    ranks = sweep(request_small, Store(tmp_path / "ranks"), engine="torchrun", progress=lambda done, *_: told.append(done))
    plain = sweep(request_small, Store(tmp_path / "plain"))
    assert ranks.facts["results"] == plain.facts["results"]
    assert told == list(range(1, 13))
    same(features(tmp_path / "plain"), features(tmp_path / "ranks"))


def test_what_a_rank_cannot_do_is_raised(alone: None) -> None:
    def refuse(_: int) -> None:
        raise InvalidRequest("that cannot be done")

    with pytest.raises(InvalidRequest, match="cannot be done"), Ranks() as ranks:
        list(ranks.run(refuse, [(0,)]))
    with pytest.raises(InvalidRequest, match="cannot be done"), Ranks() as ranks:
        ranks.once(lambda: refuse(0))


def test_an_engine_that_is_not_there_or_not_started_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UnknownName, match=r"Unknown engine 'rays'.*processes, ray, torchrun"):
        open_crew("rays")
    with pytest.raises(InvalidRequest, match="start with `torchrun"):
        open_crew("torchrun")
    with pytest.raises(InvalidRequest, match="an address is of a Ray cluster"):
        open_crew("processes", 2, "auto")
    monkeypatch.setattr("analysis.raycrew.find_spec", lambda _: None)
    with pytest.raises(InvalidRequest, match=r"requirements-ray\.txt"):
        open_crew("ray")


def test_more_ranks_than_gpus_are_one_sentence(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert Ranks().device == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InvalidRequest, match=r"rank 2 of its machine.*--nproc-per-node 2"):
        Ranks()
    assert chosen == [1]


def test_the_first_rank_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert {engine: leads(engine) for engine in ENGINES} == {"processes": True, "ray": True, "torchrun": False}
    monkeypatch.setenv("RANK", "0")
    assert leads("torchrun")


@pytest.mark.slow
def test_two_ranks_give_the_features_of_one_process_and_one_of_them_tells(tiny_folder: Path, tmp_path: Path) -> None:
    asked = [*command(tiny_folder, tmp_path / "ranks", "--engine", "torchrun", "--out", str(tmp_path / "curve.csv"))[1:]]
    done = subprocess.run([*LAUNCH, *asked], capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    plain = subprocess.run(command(tiny_folder, tmp_path / "plain", "--processes", "0"), capture_output=True, text=True, timeout=300)
    assert json.loads(done.stdout) == json.loads(plain.stdout)
    same(features(tmp_path / "plain"), features(tmp_path / "ranks"))
    assert (tmp_path / "curve.csv").read_text().count("source") == 1


@pytest.mark.slow
def test_what_one_rank_is_refused_ends_all(tmp_path: Path) -> None:
    done = subprocess.run(
        [*LAUNCH, *command(tmp_path / "no-model", tmp_path / "ranks", "--engine", "torchrun")[1:]],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "Unknown backend" in done.stderr
