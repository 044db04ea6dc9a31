"""A map to take along: a table for other tools (Parquet), one HTML file that works offline, and a picture for papers (SVG).

What other tools read, and why the Parquet file is as it is:

- Apple's Embedding Atlas (0.26: utils.py, options.py, graph_metrics.py; docs, data-formats) opens it with pandas, and is told the
  columns: `embedding-atlas map.parquet --x x --y y --image image --neighbors neighbors`. Pictures are struct<bytes, path>, as PNG,
  JPEG, TIFF, BMP or GIF; 0.24 did not know WebP, hence PNG here. Neighbours are struct<ids, distances> of row numbers from 0, as
  many for every row (it stacks them), -1 for one that is missing; a row itself may be among them.
- Voxel51's FiftyOne (1.22: utils/huggingface.py) reads Parquet from the Hugging Face Hub alone, through the Hub's own reader:
  `load_from_hub(name, format="parquet", label_fields={"skipped": ["neighbors"]})`. Pictures must be the Hub's Image in a column
  `image`: the schema says so. It knows text only as `string`, never `large_string`, and no unsigned numbers; an `id` becomes
  `hf_id`; a struct that is no Image ends it with KeyError '_type', hence `neighbors` is skipped in words.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import InvalidRequest
from .map_classes import Group, grouped, placed, remarks, said
from .map_page import SCRIPT, STYLE

Facts = Sequence[tuple[str, object]]
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NEAR = pa.struct([("ids", pa.list_(pa.int32())), ("distances", pa.list_(pa.float32()))])
FORMATS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg"}
AXES = ["x", "y", "z"]
NOTHING = "No image has a place on this map."


def parquet(
    table: pd.DataFrame, images: Sequence[bytes] | None = None, neighbours: tuple[np.ndarray, np.ndarray] | None = None, facts: Facts = ()
) -> bytes:
    """A Parquet file of a table with a row for each of n images, and columns `image` and `neighbors` where they are given.

    `images` are n files as PNG or JPEG, or b"" for none; `neighbours` are (n, k) numbers of rows and (n, k) distances. Rows
    without a place are left out: neighbours are numbered anew, -1 for those that are gone. The schema's metadata has, under
    `noisescope`, the facts and how many rows were left out. Raises InvalidRequest for lengths or pictures that do not fit.
    """
    kept, _ = placed(table)
    if taken := {"image", "neighbors"} & set(table.columns):
        raise InvalidRequest(f"The table has a column {', '.join(sorted(taken))}; allowed: other names, as the file has its own of it.")
    found = pa.Table.from_pandas(table[kept].rename(columns=str), preserve_index=False)
    found = found.cast(pa.schema([field.with_type(_plain(field.type)) for field in found.schema], found.schema.metadata))
    metadata = dict(found.schema.metadata or {})
    metadata[b"noisescope"] = json.dumps({"facts": [[name, str(value)] for name, value in facts], "left_out": int((~kept).sum())}).encode()
    if images is not None:
        _same_length("images", images, table)
        rows = [_picture(images[row], table, row) for row in np.flatnonzero(kept).tolist()]
        found = found.append_column("image", pa.array(rows, PICTURE))
        metadata[b"huggingface"] = json.dumps({"info": {"features": {"image": {"_type": "Image"}}}}).encode()
    if neighbours is not None:
        found = found.append_column("neighbors", _near(*neighbours, kept))
    out = io.BytesIO()
    pq.write_table(found.replace_schema_metadata(metadata), out)
    return out.getvalue()


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type that both tools read."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.int64() if pa.types.is_unsigned_integer(kind) else kind


def _same_length(name: str, given: Sequence[Any] | np.ndarray, table: pd.DataFrame) -> None:
    if len(given) != len(table):
        raise InvalidRequest(f"There are {len(given):,} {name} for {len(table):,} rows; allowed: one for each row.")


def _picture(data: bytes, table: pd.DataFrame, row: int) -> dict[str, Any] | None:
    if not data:
        return None
    form = next((form for head, form in FORMATS.items() if data.startswith(head)), None)
    if form is None:
        raise InvalidRequest(f"The picture of row {row:,} begins with {data[:4]!r}; allowed: PNG or JPEG, which every tool reads.")
    return {"bytes": data, "path": f"{table['id'].iloc[row] if 'id' in table else row}.{form}"}


def _near(rows: np.ndarray, distances: np.ndarray, kept: np.ndarray) -> pa.Array:
    if rows.shape != distances.shape or rows.ndim != 2 or len(rows) != len(kept) or not ((rows >= -1) & (rows < len(kept))).all():
        raise InvalidRequest(
            f"Neighbours are {rows.shape} and their distances {distances.shape}; allowed: both (n, k) for {len(kept):,} rows, numbered from 0."
        )
    new = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)  # the last is for -1, which is nobody
    pairs = zip(new[rows[kept]].tolist(), distances[kept].astype(np.float64).tolist(), strict=True)
    return pa.array([{"ids": ids, "distances": away} for ids, away in pairs], NEAR)


def page(
    table: pd.DataFrame,
    uris: Sequence[str] | None,
    title: str,
    caption: str,
    facts: Facts = (),
    classes: Sequence[object] | None = None,
    by: str = "label",
) -> str:
    """The map as one HTML file that asks the network for nothing: pan, zoom, a picture on hover, a legend, a search.

    `uris` are data URIs of n pictures or "", `classes` the values of column `by` in the order of their looks. Hovering says every
    column; the search looks through `by` and the other columns of text. Raises InvalidRequest for addresses that are no data URIs.
    """
    pictures = [""] * len(table) if uris is None else list(uris)
    _same_length("pictures", pictures, table)
    if strange := next((uri for uri in pictures if uri and not uri.startswith("data:image/")), None):
        raise InvalidRequest(f"A picture's address begins with {strange[:20]!r}; allowed: data:image/, so that the page needs no network.")
    kept, at = placed(table)
    rows = table[kept]
    pictures = [uri for uri, keep in zip(pictures, kept, strict=True) if keep]
    groups, of = grouped(rows, by, classes)
    names = sorted(rows.columns.drop(AXES, errors="ignore"), key=lambda name: (name != by, name == "id"))
    data = {
        "x": at[:, 0].round(5).tolist(),
        "y": at[:, 1].round(5).tolist(),
        "group": of.tolist(),
        "groups": [{"colour": group.colour, "outline": group.outline} for group in groups],
        "fields": [_field(rows[name], name == by) for name in names],
        "pictures": pictures,
    }
    notes = remarks(table, kept, None if uris is None else sum(map(bool, pictures)))
    words, named = html.escape(said(caption)), html.escape(said(title))
    told = "".join(f'<p class="note">{html.escape(note)}</p>' for note in notes)
    lines = "".join(f'<tr><th scope="row">{html.escape(said(name))}</th><td>{html.escape(said(value))}</td></tr>' for name, value in facts)
    view = _view(groups, words, html.escape(said(by))) if len(rows) else f"<p>{NOTHING}</p>"
    script = f'<script type="application/json" id="data">{_safe(data)}</script><script>{SCRIPT}</script>' if len(rows) else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src {_seal(STYLE)}; script-src {_seal(SCRIPT)}">
<title>{named}</title><style>{STYLE}</style></head>
<body><main><h1>{named}</h1><p class="caption">{words}</p>{view}{told}{f"<table>{lines}</table>" if lines else ""}</main>{script}</body></html>
"""


def _view(groups: Sequence[Group], caption: str, by: str) -> str:
    """The controls, the canvas and the legend; `caption` and `by` are escaped already."""
    entries = "".join(
        f'<li><label><input type="checkbox" checked><svg width="16" height="16" viewBox="-8 -8 16 16" aria-hidden="true">'
        f'<path transform="scale(5.5)" d="M0,0{group.outline}" fill="{group.colour}"/></svg>'
        f'<span class="name">{html.escape(group.name)}</span><span class="count">{group.count:,}</span></label></li>'
        for group in groups
    )
    return f"""<noscript><p>The map is drawn by the page's own script, which this browser does not run.</p></noscript>
<div class="tools"><input type="search" aria-label="Search labels" placeholder="Search labels"><output aria-live="polite"></output>
<button id="closer">Zoom in</button><button id="further">Zoom out</button><button id="whole">Whole map</button></div>
<div class="view"><div class="plot"><canvas role="img" aria-label="{caption}"></canvas><div class="card" hidden></div></div>
<fieldset><legend>{by}</legend><button id="all">All</button> <button id="none">None</button><ul>{entries}</ul></fieldset></div>"""


def _field(column: pd.Series, first: bool) -> dict[str, Any]:
    """A column as texts, each distinct one once."""
    if column.name == "confidence":
        texts = column.map(lambda share: "" if pd.isna(share) else f"{100 * share:.0f} %")
    elif pd.api.types.is_bool_dtype(column):
        texts = column.astype(object).map({True: "yes", False: "no"}).fillna("")
    else:
        texts = column.astype(object).where(column.notna(), "").map(said)
    codes, names = pd.factorize(texts.to_numpy(object))
    wordy = first or not (pd.api.types.is_numeric_dtype(column) or column.name in ("prediction", "correct"))
    return {"title": said(column.name), "searched": wordy, "rows": codes.tolist(), "names": list(names)}


def _safe(data: dict[str, Any]) -> str:
    """JSON that no value can leave: nothing in it looks like a tag, and all of it is ASCII."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _seal(text: str) -> str:
    """What a browser must find a style or script to be, or not use it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def svg(
    table: pd.DataFrame,
    classes: Sequence[object] | None = None,
    width: int = 720,
    height: int = 540,
    title: str = "",
    caption: str = "",
    by: str = "label",
    legend: bool = True,
) -> str:
    """The map as an SVG of width × height pixels: one path for each class, the legend with counts, title and caption as text.

    Both axes have one scale. Classes lie upon each other by size, the smallest on top.
    """
    kept, at = placed(table)
    groups, of = grouped(table[kept], by, classes)
    notes = remarks(table, kept) if len(at) else [NOTHING]
    lines = textwrap.wrap(" ".join([said(caption), *notes]), max(20, int(width / 6.2)))
    top, right, bottom = 38 if title else 10, 190 if legend else 0, 16 * len(lines) + 18
    room = np.array([width - right - 20, height - top - bottom])
    size = (4.0 if len(at) <= 1000 else 3.0 if len(at) <= 5000 else 2.0) * min(1.0, width / 480)
    most = at.max(0, initial=0)
    drawn = np.array([10, top]) + room / 2 + (at - most / 2) * (0.95 * room / np.maximum(most, 1e-9)).min() * (1, -1)
    parts = [f'<rect x="10" y="{top}" width="{room[0]}" height="{room[1]}" fill="none" stroke="#d0d7de"/>']
    for place in sorted(range(len(groups)), key=lambda place: -groups[place].count):
        path = "".join(f"M{x:.2f},{y:.2f}{groups[place].outline}" for x, y in drawn[of == place] / size)
        parts.append(f'<path transform="scale({size})" fill="{groups[place].colour}" fill-opacity=".8" d="{path}"/>')
    parts += _legend(groups, width - right + 8, top + 8, room[1]) if legend else []
    parts += [f'<text x="10" y="{height - bottom + 22 + 16 * row}">{html.escape(line)}</text>' for row, line in enumerate(lines)]
    parts += [f'<text x="10" y="25" font-size="17" font-weight="bold">{html.escape(said(title))}</text>'] if title else []
    return _svg(width, height, said(title) or said(caption), " ".join(lines), parts)


def sheet(
    tables: Mapping[str, pd.DataFrame], classes: Sequence[object] | None, columns: int, title: str, by: str = "label", edge: int = 240
) -> str:
    """Maps of the same images side by side as one SVG, each `edge` pixels wide with its name above, with one legend."""
    high, wide = 50 + -(-len(tables) // columns) * edge, columns * edge + 190
    parts = [f'<text x="10" y="30" font-size="17" font-weight="bold">{html.escape(said(title))}</text>']
    for place, (name, table) in enumerate(tables.items()):
        at = f'x="{place % columns * edge}" y="{50 + place // columns * edge}"'
        parts.append(svg(table, classes, edge, edge, name, by=by, legend=False).replace("<svg ", f"<svg {at} ", 1))
    groups, _ = grouped(next(iter(tables.values())), by, classes)
    parts += _legend(groups, columns * edge + 8, 58, high - 60)
    return _svg(wide, high, said(title), "", parts)


def _legend(groups: Sequence[Group], x: float, y: float, room: float) -> list[str]:
    """Marker, name and count of every group, 180 pixels wide."""
    step, parts = min(17.0, room / max(1, len(groups))), []
    for place, group in enumerate(groups):
        at, name = y + step * place, group.name if len(group.name) <= 24 else group.name[:23] + "…"
        parts.append(f'<path transform="translate({x} {at:.1f}) scale(5)" fill="{group.colour}" d="M0,0{group.outline}"/>')
        parts.append(f'<text x="{x + 12}" y="{at + 4:.1f}">{html.escape(name)}</text>')
        parts.append(f'<text x="{x + 174}" y="{at + 4:.1f}" text-anchor="end" fill="#57606a">{group.count:,}</text>')
    return parts


def _svg(width: int, height: int, title: str, about: str, parts: Sequence[str]) -> str:
    head = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="#1f2328"'
    told = f'<title>{html.escape(title)}</title><desc>{html.escape(about)}</desc><rect width="{width}" height="{height}" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {head}>{told}{"".join(parts)}</svg>'
