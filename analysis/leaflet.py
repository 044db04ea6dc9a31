"""A self-contained HTML page of figures, pictures and words: it works offline and says where its numbers come from."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

STYLE = """body { font-family: system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
figure { margin: 0 0 1.5rem; } figcaption, .small { color: #555; font-size: .9rem; max-width: 60rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; } .tiles figure { margin: 0; }
.tiles img { height: 128px; image-rendering: pixelated; display: block; } .tiles.small img { height: 84px; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top; }"""


@dataclass(frozen=True)
class Part:
    """One thing on the page: a heading, a sentence, HTML of ours, a figure or a table of (name, value) rows."""

    kind: str  # heading | text | html | figure | table
    content: Any
    caption: str = ""


def compose(title: str, parts: Sequence[Part]) -> str:
    """The page. Texts are escaped; `html` parts are taken as they are, and are never what a person typed."""
    body, first = [], True
    for part in parts:
        if part.kind == "figure":
            body.append(f"<figure>{_figure(part.content, first)}<figcaption>{html.escape(part.caption)}</figcaption></figure>")
            first = False
        elif part.kind == "table":
            rows = "".join(f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>" for name, value in part.content)
            body.append(f"<table>{rows}</table>")
        elif part.kind == "html":
            body.append(f"{part.content}<p class='small'>{html.escape(part.caption)}</p>")
        else:
            tag = "h2" if part.kind == "heading" else "p"
            body.append(f"<{tag}>{html.escape(part.content)}</{tag}>")
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{html.escape(title)}</title>"
    return f"<!doctype html><html lang='en'><head>{head}<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>{''.join(body)}</body></html>"


def _figure(figure: go.Figure, first: bool) -> str:
    """The first figure brings Plotly's library with it: nothing is fetched."""
    return str(figure.to_html(full_html=False, include_plotlyjs="inline" if first else False, config={"displaylogo": False}))
