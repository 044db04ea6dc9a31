"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import BENCHMARKS, Benchmark
from .measure import Measured, hardware
from .page import page, put

PAGE = Path(__file__).resolve().parent.parent / "BENCHMARKS.md"


def record(benchmark: Benchmark, measured: Measured) -> dict[str, Any]:
    """The one object that programs read."""
    return {
        "name": benchmark.name,
        "ratio": measured.ratio,
        "target": benchmark.target,
        "control": measured.control,
        "runs": measured.runs,
        "hardware": hardware(),
        "details": {"promise": benchmark.promise, "met": measured.holds and benchmark.met(measured.ratio)} | measured.details,
    }


def say(found: dict[str, Any]) -> str:
    """A result in one line for people."""
    if "error" in found["details"]:
        return f"{found['name']}: {found['details']['error']}"
    promise, met = found["details"]["promise"], "met" if found["details"]["met"] else "not met"
    return f"{found['name']}: {found['ratio']} ({promise}: {met}; control {found['control']}, {len(found['runs'])} attempts)"


def run_all(path: Path = PAGE) -> list[dict[str, Any]]:
    """Every benchmark in a fresh process of its own, and the page of their results at `path`."""
    found = []
    for benchmark in BENCHMARKS.values():
        print(f"{benchmark.name}: {benchmark.ratio}", file=sys.stderr)
        child = subprocess.run([sys.executable, "-m", "benchmarks", "run", benchmark.name, "--json"], stdout=subprocess.PIPE, text=True)
        if child.returncode == 0:
            found.append(json.loads(child.stdout.splitlines()[-1]))
        else:
            found.append(record(benchmark, Measured(None, details={"error": f"ended with exit code {child.returncode}"})))
        print(say(found[-1]), file=sys.stderr)
    path.write_text(page(found))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command and return its exit code: 0, or 2 for a name that there isn't."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is to measure, and its target")
    run = commands.add_parser("run", help="measure one, or `all` and write BENCHMARKS.md")
    run.add_argument("name", help="a name of `list`, or `all`")
    run.add_argument("--page", action="store_true", help="put the result into BENCHMARKS.md in the place of the last one")
    run.add_argument("--json", action="store_true", help="end with one line of JSON")
    given = parser.parse_args(arguments)
    if given.command == "list":
        for benchmark in BENCHMARKS.values():
            print(f"{benchmark.name}\t{benchmark.promise}\t{benchmark.ratio}")
        return 0
    if given.name == "all":
        found = run_all()
        print(json.dumps(found) if given.json else f"{PAGE.name} is written.")
        return 0
    if given.name not in BENCHMARKS:
        print(f"Error: there is no benchmark {given.name!r}; allowed: {', '.join(BENCHMARKS)}, all.", file=sys.stderr)
        return 2
    benchmark = BENCHMARKS[given.name]
    result = record(benchmark, benchmark.run())
    print(json.dumps(result, allow_nan=False) if given.json else say(result), flush=True)
    if given.page:
        PAGE.write_text(put(PAGE.read_text(), result))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a server or browser does not outlive a stopped run
    sys.exit(main())
