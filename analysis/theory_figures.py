"""A mixture's curves over σ as one figure: SNR, the two rates below it, and the linear probe where it was fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .figures import GREY, OKABE_ITO, Levels, label, level_line, noise_axis
from .specs import Axis
from .theorem import confidence, denoising_rate, h, theorem1
from .theory import MoLRG
from .theory_probe import Probed
from .theory_snr import SNR, limits
from .theory_words import said

RATES = (0.02, 50.0)  # of the panel: where the denoising rate is far from 1 it decides nothing
TICKS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
EXACT, FORMULA = "exact posterior mean", "Theorem 1, an approximation"
TRAINED = {"lowrank": "trained, x̂ = U h", "mlp": "trained perceptron"}
LOOKS = {"lowrank": (OKABE_ITO[2], "diamond"), "mlp": (OKABE_ITO[5], "square")}
Trained = Mapping[str, Mapping[str, np.ndarray]]  # by form: sigmas, value, low, high


def levels(sigmas: Sequence[float] | np.ndarray) -> Levels:
    """Noise levels as figures take them; a mixture has no timesteps."""
    return [{"sigma": float(sigma), "log_snr": float(-2 * np.log(sigma)), "timestep": 0.0} for sigma in sigmas]


def _band(sigmas: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, name: str) -> go.Scatter:
    x = np.log10(sigmas)
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return go.Scatter(
        x=[*x, *x[::-1]],
        y=[*high, *low[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},.22)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
    )


def _line(sigmas: np.ndarray, values: np.ndarray, name: str, colour: str, **how: Any) -> go.Scatter:
    """A curve; `how` has its dash, its marker and, in `bounds`, the interval that hovering says."""
    bounds, marker = how.get("bounds"), how.get("marker")
    span = " (%{customdata[1]:.3g} to %{customdata[2]:.3g})" if bounds else ""
    return go.Scatter(
        x=np.log10(sigmas),
        y=values,
        name=name,
        legendgroup=name,
        mode="lines+markers" if marker else "lines",
        line={"color": colour, "width": how.get("width", 2.5), "dash": how.get("dash", "solid")},
        marker={"symbol": marker or "circle", "size": 8},
        customdata=np.column_stack([sigmas, *(bounds or ())]),
        hovertemplate=f"%{{y:.3g}}{span}<br>σ = %{{customdata[0]:.3g}}<extra>{name}</extra>",
    )


def curves(spec: MoLRG, found: SNR, axis: Axis, probed: Probed | None = None, trained: Trained | None = None) -> go.Figure:
    """The SNR with its band, the theorem dashed and both limits; the rates of the rise and of the fall; the probe with its band."""
    heights = [0.6, 0.4] if probed is None else [0.46, 0.27, 0.27]
    figure = make_subplots(rows=len(heights), cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=heights)
    _snr(figure, spec, found, trained or {})
    _rates(figure, spec, found)
    if probed is not None:
        low, high = probed.interval
        colour, name = OKABE_ITO[0], "linear probe"
        figure.add_trace(_band(probed.sigmas, low, high, colour, name), row=3, col=1)
        line = _line(probed.sigmas, probed.accuracy, name, colour, bounds=(low, high), width=2)
        figure.add_trace(
            line.update(hovertemplate=line.hovertemplate.replace(".3g}", ".1%}", 3).replace("[0]:.1%", "[0]:.3g"), showlegend=False),
            row=3,
            col=1,
        )
        level_line(figure, probed.chance, "chance", "bottom right", row=3, col=1)
        figure.update_yaxes(title_text="probe accuracy", tickformat=".0%", row=3, col=1)
    figure.add_vline(x=float(np.log10(found.sigmas[found.peak])), line={"color": OKABE_ITO[0], "width": 1, "dash": "dot"})
    kept = [sigma for sigma in TICKS if found.sigmas[0] <= sigma <= found.sigmas[-1]]
    below = noise_axis(levels(found.sigmas), axis) | {
        "tickvals": np.log10(kept),
        "ticktext": [label(level, axis) for level in levels(kept)],
    }
    figure.update_xaxes({name: value for name, value in below.items() if name != "title"})
    figure.update_xaxes(title=below["title"], automargin=True, row=len(heights), col=1)
    figure.update_yaxes(fixedrange=True, automargin=True, zeroline=False)
    return figure.update_layout(
        height=560 if probed is None else 720,
        margin={"l": 8, "r": 8, "t": 64, "b": 8},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0},
        hovermode="closest",
    )


def _snr(figure: go.Figure, spec: MoLRG, found: SNR, trained: Trained) -> None:
    figure.add_trace(_band(found.sigmas, found.low, found.high, OKABE_ITO[0], EXACT), row=1, col=1)
    figure.add_trace(_line(found.sigmas, found.value, EXACT, OKABE_ITO[0], bounds=(found.low, found.high), width=3), row=1, col=1)
    formula = theorem1(spec, found.sigmas, found.input)
    if formula is not None:
        figure.add_trace(_line(found.sigmas, formula, FORMULA, OKABE_ITO[1], dash="dash", width=2), row=1, col=1)
    for form, one in trained.items():
        colour, marker = LOOKS[form]
        line = _line(one["sigmas"], one["value"], TRAINED[form], colour, bounds=(one["low"], one["high"]), marker=marker, width=1.5)
        line.error_y = {"array": one["high"] - one["value"], "arrayminus": one["value"] - one["low"], "width": 3, "thickness": 1}
        figure.add_trace(line, row=1, col=1)
    ends = limits(spec, found.input) or ()
    for value, text, left in zip(ends, ("σ → 0", "σ → ∞"), (False, True), strict=False):
        _limit(figure, value, f"{text}: {said(value)}", left)
    shown = [
        found.low[found.low > 0],
        found.high,
        *ends,
        *(() if formula is None else (formula,)),
        *(one["high"] for one in trained.values()),
    ]
    edges = np.log10([min(np.min(one) for one in shown), max(np.max(one) for one in shown)])
    figure.update_yaxes(
        title_text="SNR", type="log", range=[edges[0] - 0.15, edges[1] + 0.15], dtick=1 if np.ptp(edges) > 1 else "D2", row=1, col=1
    )


def _limit(figure: go.Figure, value: float, text: str, left: bool) -> None:
    """A dotted line across the first panel, whose name stands where the curve is elsewhere; on a log axis a text's place is a logarithm."""
    figure.add_hline(y=value, line={"color": GREY, "width": 1, "dash": "dot"}, row=1, col=1)
    x = {"x": 0.01, "xanchor": "left"} if left else {"x": 0.99, "xanchor": "right"}
    place = {"xref": "x domain", "yref": "y", "y": float(np.log10(value)), "yanchor": "bottom"}
    figure.add_annotation(text=text, font={"size": 11}, showarrow=False, **x, **place)


def _rates(figure: go.Figure, spec: MoLRG, found: SNR) -> None:
    """The rise and the fall, on a log axis: their product, squared, makes the hump."""
    s = found.sigmas
    figure.add_trace(_line(s, denoising_rate(spec, s), "denoising rate σ²/δ²", OKABE_ITO[4], width=2), row=2, col=1)
    sure = h(found.confidence, spec.delta)
    figure.add_trace(_line(s, sure, "class-confidence rate", OKABE_ITO[3], width=2), row=2, col=1)
    if spec.equal:
        name = "class-confidence rate, Theorem 1"
        figure.add_trace(_line(s, h(confidence(spec, s), spec.delta), name, OKABE_ITO[3], dash="dash", width=1.5), row=2, col=1)
    figure.update_yaxes(title_text="rates", type="log", range=np.log10(RATES).tolist(), dtick=1, row=2, col=1)
