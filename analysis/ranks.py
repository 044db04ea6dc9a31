"""A crew of the processes that torchrun started: each does its own part of the units, `units[rank::world]`, and the first reports.

    torchrun --nproc-per-node 2 -m analysis sweep --engine torchrun

All ranks plan the same units; nothing is sent but what the units say. A rank with a GPU of its own computes there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from .crew import Between, Crew, Found
from .errors import InvalidRequest, NoisescopeError

PATIENCE = timedelta(hours=12)  # how long a rank waits for the others


class Ranks(Crew):
    """This process among the ranks; a group that is there already is used and left as it is."""

    inside = True

    def __init__(self) -> None:
        """Raises InvalidRequest where torchrun did not start this process, or started more than there are GPUs."""
        place, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count() if torch.cuda.is_available() else 0
        if gpus and place >= gpus:
            raise InvalidRequest(
                f"This is rank {place} of its machine, counted from 0, and each needs a GPU of its own; start with `--nproc-per-node {gpus}`."
            )
        self._own = not distributed.is_initialized()
        if self._own:
            if lacking := {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} - set(os.environ):
                raise InvalidRequest(
                    f"engine is 'torchrun' and {', '.join(sorted(lacking))} are not set; start with `torchrun --nproc-per-node 2 -m analysis sweep`."
                )
            distributed.init_process_group("gloo", timeout=PATIENCE)
        super().__init__(distributed.get_world_size())
        self.rank = distributed.get_rank()
        self.facts = {"engine": f"torchrun, {self.count} ranks"}
        if gpus:
            torch.cuda.set_device(place)
        self.device = "cuda" if gpus else "cpu"

    def close(self) -> None:
        super().close()
        if self._own and distributed.is_initialized():
            distributed.destroy_process_group()

    def run(
        self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], between: Between | None = None
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """(call, function(*call)) of every call on every rank: this rank's own as they end, then the others'.

        What one rank cannot do is raised on all.
        """
        own: list[tuple[int, Any]] = []
        wrong: NoisescopeError | None = None
        every = list(calls)
        try:
            for place in range(self.rank, len(every), self.count):
                own.append((place, function(*every[place])))
                if between:
                    between()
                yield every[place], own[-1][1]
        except NoisescopeError as error:
            wrong = error
        for rank, (found, failed) in enumerate(self._gathered((own, wrong))):
            if failed is not None:
                raise failed
            if rank != self.rank:
                yield from ((every[place], result) for place, result in found)

    def once(self, function: Callable[[], Found]) -> Found:
        """What the function gives on the first rank, on all of them; what it raises on purpose is raised on all."""
        said: list[Any] = [None, None]
        if self.rank == 0:
            try:
                said[0] = function()
            except NoisescopeError as error:
                said[1] = error
        distributed.broadcast_object_list(said, src=0)
        if said[1] is not None:
            raise said[1]
        return said[0]

    def _gathered(self, mine: Any) -> list[Any]:
        """What every rank gave, in their order: none goes on before all are here."""
        every: list[Any] = [None] * self.count
        distributed.all_gather_object(every, mine)
        return every
