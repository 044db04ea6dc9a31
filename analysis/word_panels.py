"""Word maps as pictures, curves and a table. No maths beyond placing and colouring, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from PIL import Image, ImageDraw, ImageFont
from plotly.subplots import make_subplots

from . import panels
from .figures import GREY, Levels, look, noise_axis, places
from .specs import Axis

TILE, FADE = 112, 0.6  # pixels of a picture, and how far a map covers its image
ALL, SPECIAL, IMAGE = "all blocks", "start, end and filling", "the image itself"


@dataclass(frozen=True)
class Shares:
    """Where attention goes: S levels, B blocks, W words."""

    words: Sequence[str]
    blocks: Sequence[str]
    share: np.ndarray  # (S, B, W)
    special: np.ndarray  # (S, B)
    image: np.ndarray  # (S, B), zeros in cross-attention

    def of(self, block: str | None) -> dict[str, np.ndarray]:
        """By word (S,), of a block or the mean over all; last what goes to no word."""
        rows = slice(None) if block is None else slice(self.blocks.index(block), self.blocks.index(block) + 1)
        found = {word: self.share[:, rows, i].mean(1) for i, word in enumerate(self.words)}
        found[SPECIAL] = self.special[:, rows].mean(1)
        return found | ({IMAGE: self.image[:, rows].mean(1)} if self.image.max() > 1e-4 else {})


def ends(maps: np.ndarray) -> tuple[float, float]:
    """The lowest and highest of maps, but for one place in a hundred on each side: one scale for all levels. The highest is above the lowest."""
    low, high = (float(value) for value in np.percentile(maps, (1, 99)))
    return low, max(high, low + 1e-9)


def over(image: np.ndarray, maps: np.ndarray, scale: tuple[float, float], fade: float = FADE, side: int = TILE) -> np.ndarray:
    """Maps (S, g, g) in viridis over an image (h, w, 3) uint8, a picture each: (S, side, side, 3) uint8."""
    low, high = scale
    plain = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR if len(image) > side else Image.Resampling.NEAREST)
    found = []
    for colours in panels.sequential(maps - low, high - low):
        hot = Image.fromarray(colours).resize((side, side), Image.Resampling.NEAREST)
        found.append(np.asarray(Image.blend(plain, hot, fade)))
    return np.stack(found)


def strip_figure(rows: Mapping[str, np.ndarray], levels: Levels, axis: Axis, level: int, scale: tuple[float, float]) -> go.Figure:
    """Rows of pictures over noise, with what their colours stand for."""
    bar = panels.Bar("share", (f"{scale[0]:.2g}", f"{scale[1]:.2g}"), signed=False)
    return panels.grid_figure(rows, levels, axis, (None, level), bar, side=TILE if len(rows) < 4 and len(levels) <= 8 else TILE // 2)


def curves_figure(shares: Mapping[str, np.ndarray], focus: np.ndarray, levels: Levels, axis: Axis, word: str, sigma: float) -> go.Figure:
    """Each word's share of attention over noise, and how much of its map lies in the highest tenth of the places; `word` drawn thick.

    `focus` (S, W) is of the words, which come first in `shares`.
    """
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.06)
    x = places(levels)
    for index, (name, values) in enumerate(shares.items()):
        rest = name in (SPECIAL, IMAGE)
        colour, marker = (GREY, "x") if rest else look(index)
        line = {"color": colour, "width": 3.5 if name == word else 1.5, "dash": "dot" if name == IMAGE else "dash" if rest else "solid"}
        common = {"x": x, "name": name, "legendgroup": name, "mode": "lines+markers", "line": line}
        common |= {"marker": {"symbol": marker, "size": 6}, "customdata": [[one["sigma"], one["timestep"]] for one in levels]}
        said = "<br>σ = %{customdata[0]:.3g}, t = %{customdata[1]:.0f}<extra>%{fullData.name}</extra>"
        figure.add_trace(go.Scatter(y=values, hovertemplate="%{y:.2%} of attention" + said, **common), row=1, col=1)
        if not rest:
            figure.add_trace(
                go.Scatter(y=focus[:, index], showlegend=False, hovertemplate="%{y:.0%} in a tenth" + said, **common), row=2, col=1
            )
    figure.add_vline(x=float(np.log10(sigma)), line={"color": panels.MARK, "width": 1.5})
    figure.update_xaxes(noise_axis(levels, axis) | {"automargin": True, "title": None})
    figure.update_xaxes(title=noise_axis(levels, axis)["title"], row=2, col=1)
    shared = {"fixedrange": True, "automargin": True, "zeroline": False}
    figure.update_yaxes(shared | {"type": "log", "title": {"text": "share of attention"}, "tickformat": "~%", "nticks": 6}, row=1, col=1)
    figure.update_yaxes(shared | {"title": {"text": "in a tenth of the places"}, "tickformat": ".0%", "rangemode": "tozero"}, row=2, col=1)
    return figure.update_layout(
        height=560,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": -0.14, "yanchor": "top"},
        hovermode="closest",
    )


def table(shares: Shares, focus: np.ndarray, of: str | None, levels: Levels, **common: object) -> pd.DataFrame:
    """A row a word, block and noise level: `share` is the mean over places; `focus` (S, W) is known of one block, or of the mean over all."""
    rows = []
    for block in (None, *shares.blocks):
        for i, (word, values) in enumerate(shares.of(block).items()):
            for place, level in enumerate({name: value for name, value in one.items() if name != "latent"} for one in levels):
                own = focus[place, i] if block == of and i < len(shares.words) else np.nan
                rows.append({**common, "word": word, "block": block or ALL, **level, "share": float(values[place]), "focus": float(own)})
    return pd.DataFrame(rows)


def sheet(image: np.ndarray, maps: np.ndarray, words: Sequence[str], levels: Levels) -> np.ndarray:
    """Maps (S, W, g, g) over an image, a row a word with a scale of its own and a column a level, their mean last: one picture. The font that is always there has no σ."""
    rows, above = [], [*(f"t = {level['timestep']:.0f}" for level in levels), "mean"]
    for word, values in zip(words, maps.swapaxes(0, 1), strict=True):
        both = np.concatenate([values, values.mean(0, keepdims=True)])
        tiles = over(image, both, ends(values))
        rows.append(np.stack([_titled(tile, f"{word}, {title}") for tile, title in zip(tiles, above, strict=True)]))
    return panels.sheet(rows, TILE)


def _titled(tile: np.ndarray, title: str) -> np.ndarray:
    picture = Image.fromarray(tile)
    ImageDraw.Draw(picture).text((4, 2), title, fill="#fff", stroke_width=1, stroke_fill="#000", font=ImageFont.load_default(10))
    return np.asarray(picture)


def sentence(shares: Shares, focus: np.ndarray, levels: Levels, word: str, block: str | None) -> str:
    """The finding in words: where a word is attended to most, where most narrowly, and what goes to no word."""
    told, place = shares.of(block), list(shares.words).index(word)
    most, narrow = int(told[word].argmax()), int(focus[:, place].argmax())
    said = (
        f"In {f'block {block}' if block else 'the mean over blocks'}, **{word}** takes {100 * told[word][most]:.2g} % of attention at most, "
        f"at σ = {levels[most]['sigma']:.2g}; its map is narrowest at σ = {levels[narrow]['sigma']:.2g}, where a tenth of the places has "
        f"{100 * focus[narrow, place]:.0f} % of it (an even map: 10 %)."
    )
    rest = f" {100 * told[SPECIAL].mean():.0f} % goes to places without a word"
    return said + rest + (f", {100 * told[IMAGE].mean():.0f} % to the image itself." if IMAGE in told else ".")
