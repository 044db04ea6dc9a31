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
on the wall, from the request to what is visible. An attempt of `cost-slope` goes through the sizes upwards and back down; its control
is the way back over the way up. `families` has attempts of every family's own. `verdicts` is simulated and has no clock.
"""


def page(found: Sequence[dict[str, Any]]) -> str:
    """The whole file, from the records of every benchmark."""
    lines = [
        "# Benchmarks",
        "",
        f"{_when_and_where(found[0]['hardware'])}. Written by `make bench`.",
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


def put(text: str, result: dict[str, Any]) -> str:
    """The file with one benchmark's record in the place of its last, or behind the one before it; when and where stand in its details."""
    head, rows, between, sections = _parts(text)
    rows[result["name"]] = _row(result)
    items = [f"- measured by itself: {_when_and_where(result['hardware'])}", *_items(result)]
    sections[result["name"]] = "\n".join([f"### {result['name']}", *items])
    here = [name for name in BENCHMARKS if name in rows]
    return head + "".join(f"{rows[name]}\n" for name in here) + between + "\n".join(f"\n{sections[name]}" for name in here) + "\n"


def _parts(text: str) -> tuple[str, dict[str, str], str, dict[str, str]]:
    """What stands before the rows, the rows by name, what stands between them and the details, and the details by name."""
    above, details = text.split("## Details\n")
    lines = above.splitlines(keepends=True)
    first = next(at for at, line in enumerate(lines) if line.startswith("|---")) + 1
    count = next(at for at, line in enumerate(lines[first:]) if not line.startswith("|"))
    rows = {line.split("|")[1].strip(): line.rstrip("\n") for line in lines[first : first + count]}
    sections = {part.partition("\n")[0]: f"### {part.rstrip()}" for part in details.split("\n### ")[1:]}
    return "".join(lines[:first]), rows, "".join(lines[first + count :]) + "## Details\n", sections


def _when_and_where(machine: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{date.today():%Y-%m-%d}, on {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, {packages}"
    )


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
