"""What averaging is worth, drawn."""

from __future__ import annotations

import pandas as pd

from analysis.ensemble_figures import ensembles_figure


def test_no_number_stands_in_the_line_of_the_control() -> None:
    told = {"single": 0.80, "levels": 0.86, "levels, shared ε": 0.85, "draws": 0.85}
    rows = pd.DataFrame(
        {"variant": name, "accuracy": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "passes": 2, "levels": "1", "blocks": "mid"}
        for name, value in told.items()
    ).assign(chance=0.1, measure="accuracy")
    figure = ensembles_figure(rows)
    assert {trace.text[0]: trace.textposition for trace in figure.data} == {
        "80.0%": "top left",
        "86.0%": "top right",
        "85.0%": "top right",
    }
    assert figure.layout.shapes[0].x0 == 0.85
