"""Results -> BENCHMARKS.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

from . import BENCHMARKS
from .measure import ATTEMPTS, CONTROLS, WANTED

HOW = f"""## How it was measured
Every benchmark ran in a process of its own (`python -m benchmarks run NAME --json`). An attempt takes the baseline, ours and the
baseline once more, interleaved over several rounds, the order turned about in every second round, and the median of each. Its
control is the baseline over itself; an attempt whose control is outside {CONTROLS[0]}–{CONTROLS[1]} is rejected. The ratio is the
median of the first {WANTED} accepted of at most {ATTEMPTS} attempts; all of them stand below. Where one process does the work,
cost is its CPU time with one thread; for `memory` it is a fresh process's highest resident set; for `first-paint` it is the clock
on the wall, from the request to what is visible. `verdicts` is simulated and has no clock.
"""


def page(found: Sequence[dict[str, Any]]) -> str:
    """The whole file, from the records of every benchmark."""
    machine = found[0]["hardware"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    lines = [
        "# Benchmarks",
        "",
        f"{date.today():%Y-%m-%d}, on {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, {packages}. Written by `make bench`.",
        "",
        "| name | what | ratio | target | | control | attempts accepted |",
        "|---|---|---|---|---|---|---|",
        *map(_row, found),
        "",
        HOW,
        "## Details",
    ]
    for result in found:
        lines += ["", f"### {result['name']}", *_items(result)]
    return "\n".join(lines) + "\n"


def _row(result: dict[str, Any]) -> str:
    benchmark, runs = BENCHMARKS[result["name"]], result["runs"]
    met = "met" if result["details"]["met"] else "**not met**" if result["ratio"] is not None else "**not measured**"
    accepted = f"{sum(run['accepted'] for run in runs)} of {len(runs)}" if runs else "–"
    cells = (result["name"], benchmark.ratio, _number(result["ratio"]), benchmark.promise, met, _number(result["control"]), accepted)
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _items(result: dict[str, Any]) -> list[str]:
    details = {key: value for key, value in result["details"].items() if key not in ("promise", "met")}
    lines = [f"- {key.replace('_', ' ')}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in details.items()]
    if result["runs"]:
        runs = (f"{run['ratio']:.3f} ({run['control']:.3f}{'' if run['accepted'] else ', rejected'})" for run in result["runs"])
        lines.append(f"- ratio (control) of every attempt: {', '.join(runs)}")
    return lines
