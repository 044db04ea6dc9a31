"""Curves as a drawn SVG, from study.json alone: what a page shows before any chart library has loaded."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1000, 420, 52, 14, 14, 40
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A800")
DASHES = ("", "8 5", "2 4")
BASELINE = "#808080"


def _points(x: Sequence[float], y: Sequence[float]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def sketch(curves: Mapping[str, Any], sigmas: Sequence[float], chance: float, bottom: float = 0.0, top: float = 1.05) -> str:
    """A data URI of an SVG of curves with their intervals; `curves` gives (mean, low, high) of each, `baseline` drawn in grey."""
    logs = [math.log(sigma) for sigma in sigmas]
    x = [LEFT + (WIDTH - LEFT - RIGHT) * (value - logs[0]) / (logs[-1] - logs[0]) for value in logs]

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / (top - bottom)

    parts = [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#808080" stroke-opacity=".3"/>'
        f'<text x="{LEFT - 8}" y="{y(v) + 5:.1f}" text-anchor="end" font-size="15" fill="#808080">{v:.0%}</text>'
        for v in (0, 0.25, 0.5, 0.75, 1)
    ]
    parts.append(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(chance):.1f}" y2="{y(chance):.1f}" stroke="#808080" stroke-dasharray="3 4"/>'
    )
    for index, name in enumerate(sorted(curves, key=lambda name: name != "baseline")):
        rank = index - ("baseline" in curves)
        colour, dash = (BASELINE, "8 5") if name == "baseline" else (COLOURS[rank % 7], DASHES[rank % 3])
        mean, low, high = ([y(value) for value in row] for row in curves[name])
        width = 1.5 if name.startswith("encoder:") else 3
        parts.append(f'<polygon points="{_points([*x, *x[::-1]], [*high, *low[::-1]])}" fill="{colour}" fill-opacity=".18"/>')
        parts.append(
            f'<polyline points="{_points(x, mean)}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash}"/>'
        )
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 10}" font-size="16" fill="#808080">clean</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 10}" text-anchor="end" font-size="16" fill="#808080">noisy</text>')
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">{"".join(parts)}</svg>'
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
