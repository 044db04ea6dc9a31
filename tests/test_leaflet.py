from __future__ import annotations

import re

import plotly.graph_objects as go

from analysis.leaflet import Part, compose


def page() -> str:
    figure = go.Figure(go.Scatter(x=[1], y=[2]))
    parts = [
        Part("heading", "One & two"),
        Part("table", [("image", "<script>alert(1)</script>")]),
        Part("figure", figure, "first"),
        Part("figure", figure, "second"),
    ]
    return compose("<b>mine</b>.png", [*parts, Part("html", "<img alt='x' src='data:image/png;base64,AA'>", "tiles")])


def test_what_a_person_typed_is_escaped() -> None:
    assert "<script>alert" not in page()
    assert "&lt;b&gt;mine&lt;/b&gt;.png" in page()
    assert "One &amp; two" in page()


def test_nothing_is_fetched_and_the_library_is_in_it_once() -> None:
    text = page()
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=['\"](?!data:)", text)
    assert text.count("plotly.js v") == 1
    assert text.count('class="plotly-graph-div"') == 2
