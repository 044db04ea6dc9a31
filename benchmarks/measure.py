"""The protocol: both sides interleaved, the baseline timed against itself, unquiet attempts rejected."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

CONTROLS = (0.97, 1.03)
ATTEMPTS = 20
WANTED = 5

Cost = Callable[[], float]


@dataclass(frozen=True)
class Attempt:
    """Costs (seconds or bytes) of the baseline, of the baseline once more, and of ours, each a median over rounds."""

    baseline: float
    again: float
    ours: float

    @property
    def control(self) -> float:
        return self.again / self.baseline

    @property
    def cost(self) -> float:
        """Ours over the mean of both baselines."""
        return 2 * self.ours / (self.baseline + self.again)

    @property
    def accepted(self) -> bool:
        return CONTROLS[0] <= self.control <= CONTROLS[1]


@dataclass(frozen=True)
class Measured:
    """What a benchmark found; `runs` has every attempt, rejected ones too."""

    ratio: float | None
    control: float | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    holds: bool = True  # what is promised beside the ratio: without it the target is not met


def cpu(work: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> Cost:
    """The work's cost in seconds of this process's own CPU time: other processes do not count."""

    def seconds() -> float:
        start = clock()
        work()
        return clock() - start

    return seconds


def interleave(baseline: Cost, ours: Cost, rounds: int) -> Attempt:
    """One attempt: baseline, ours, baseline in every round, the other way about in every second one.

    The two baselines swap names every round, so that neither is always the first.
    """
    costs: dict[str, list[float]] = {"baseline": [], "again": [], "ours": []}
    for turn in range(rounds):
        order = ("baseline", "ours", "again") if turn % 2 == 0 else ("again", "ours", "baseline")
        for side in order:
            costs[side].append(ours() if side == "ours" else baseline())
    return Attempt(**{side: median(values) for side, values in costs.items()})


def attempts(once: Callable[[], Attempt]) -> list[Attempt]:
    """Attempts until five are accepted, at most twenty; all of them, in order."""
    made: list[Attempt] = []
    while len(made) < ATTEMPTS and sum(attempt.accepted for attempt in made) < WANTED:
        made.append(once())
        word = "accepted" if made[-1].accepted else "rejected"
        print(f"attempt {len(made)}: cost {made[-1].cost:.3f} of the baseline, control {made[-1].control:.3f}, {word}", file=sys.stderr)
    return made


def measure(baseline: Cost, ours: Cost, rounds: int, ratio: Callable[[float], float], details: dict[str, Any]) -> Measured:
    """The median of the first five accepted attempts; `ratio` makes the benchmark's own of ours over baseline.

    With fewer than five accepted, their median, and the details say so; with none, no ratio.
    """
    return summary(attempts(lambda: interleave(baseline, ours, rounds)), ratio, details)


def summary(made: Sequence[Attempt], ratio: Callable[[float], float], details: dict[str, Any]) -> Measured:
    """What attempts come to."""
    accepted = [attempt for attempt in made if attempt.accepted]
    details = details | {"attempts": len(made), "accepted": len(accepted)}
    if len(accepted) < WANTED:
        details["note"] = (
            f"Only {len(accepted)} of {len(made)} attempts had a control within {CONTROLS[0]}–{CONTROLS[1]}: too unquiet a machine."
        )
    if accepted:
        details |= {
            "baseline": round(median((attempt.baseline + attempt.again) / 2 for attempt in accepted), 4),
            "ours": round(median(attempt.ours for attempt in accepted), 4),
        }
    return Measured(
        ratio=round(median(ratio(attempt.cost) for attempt in accepted), 4) if accepted else None,
        control=round(median(attempt.control for attempt in accepted), 4) if accepted else None,
        runs=[
            {"ratio": round(ratio(attempt.cost), 4), "control": round(attempt.control, 4), "accepted": attempt.accepted} for attempt in made
        ],
        details=details,
    )


def hardware() -> dict[str, Any]:
    """What the numbers depend on."""
    info, memory = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    models = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    )
    kilobytes = int(memory.read_text().split()[1]) if memory.exists() else 0
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(kilobytes / 2**20, 1) or None,
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("torch", "diffusers", "scikit-learn", "umap-learn", "streamlit")},
    }
