"""Baseline encoders in a figure of accuracy over noise: a thin curve each on noised images, a dotted line on clean ones."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .figures import MARKERS, OKABE_ITO, Levels, curve_traces, level_line

DASHES = ("dash", "dot", "solid")  # with the colours, those of a page's drawn sketch


def add_encoders(figure: go.Figure, table: pd.DataFrame, levels: Levels) -> go.Figure:
    """The figure with every encoder of a study's table, at one number of labels a class; without any it stays as it is.

    Traces come behind those that are there, so that frames of a figure that plays still fit.
    """
    curves, lines = table[table.source == "encoder"], table[table.source == "encoder-clean"]
    for index, name in enumerate(dict.fromkeys([*curves.block, *lines.block])):
        colour, rows = OKABE_ITO[(index + 1) % len(OKABE_ITO)], curves[curves.block == name]
        if len(rows):
            trace = curve_traces(rows, levels, f"encoder {name}, noised images", colour, DASHES[index % 3], MARKERS[(index + 1) % 4])[1]
            figure.add_trace(trace.update(line={"width": 1.5}, marker={"size": 5}))
        for value in lines[lines.block == name].accuracy:
            level_line(figure, float(value), f"encoder {name}, clean images", "top left")
            note = figure.layout.annotations[-1]
            note.x = 0.3 * (index % 3)  # lines may be near each other, and names beside each other are read all the same
            figure.layout.shapes[-1].line.color = note.font.color = colour
    return figure
