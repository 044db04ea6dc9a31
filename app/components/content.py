"""What a block carries that is not the image's content: position, places that stand out, channels that outweigh the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from analysis import map_numbers, panels
from app.components.atlas import Taken, View, made
from app.components.curve import toolbar
from app.components.looked import gallery

FEW = 5  # places a channel: with fewer the position's R² comes out too low


def show(view: View) -> Taken | None:
    """Draw the diagnosis of every block at the level, and the images that show the block's."""
    from analysis import map_panels

    found = made(
        {"ask": "diagnose", "study": view.study.key, "count": view.settings["count"], "level": view.level},
        view.device,
        "content",
        "Every block is being looked through.",
    )
    if found is None:
        return None
    model, untrained = found[0]["model"], found[0]["random"]
    says = sentence(model, view.block)
    st.markdown(says)
    st.plotly_chart(
        map_panels.carried(model, untrained, view.block), key="carried", alt=says.replace("**", ""), config=toolbar(), height=430
    )
    st.caption(
        f"Of {min(len(view.ids), 256)} images at σ = {view.sigma:.2g}. Dashed: the same network with random weights, which carries position too, "
        "through the zeros around each map. Position is read by a linear probe from single places, on images it was not fitted on: 1 is exact, "
        "0 is guessing. Even shares of five channels would be 5 over the number of channels."
    )
    _block(view, model[view.block])
    return Taken(
        "content",
        lambda: map_numbers.content({"model": model, "random": untrained}, view.sigma),
        [("measured on", f"every place of the maps of {model[view.block]['images']} of them, and on the same network with random weights")],
        ("--show", "content"),
    )


def sentence(model: Mapping[str, Any], block: str) -> str:
    """What is found in a block, in words."""
    one, parts = model[block], []
    position, norms = one["position"], one["norms"]
    if position and position["row"] is not None and position["column"] is not None:
        parts.append(f"a linear probe tells a place's row with R² = {position['row']:.2f} and its column with {position['column']:.2f}")
    elif position is None:
        parts.append("its map is one place, so there is no position to carry")
    if norms and norms["corners"] is not None:
        parts.append(f"corners are {norms['corners']:.2f} times as strong as the median place")
    if norms:
        parts.append(f"{100 * norms['share']:.2g} % of places have a norm above three medians")
    share = sum(channel["share"] for channel in one["pooled"]["top"])
    parts.append(f"five of {one['shape'][0]} channels hold {100 * share:.0f} % of the variance of pooled features")
    return f"In block **{block}** {'; '.join(parts)}."


def _block(view: View, one: Mapping[str, Any]) -> None:
    """The images that show it."""
    position, norms = one["position"], one["norms"]
    if position and position["fitted"] < FEW * one["shape"][0]:
        st.info(
            f"The probe for position was fitted on {position['fitted']:,} places for {one['shape'][0]} channels: too few, so its R² is too low.",
            icon=":material/straighten:",
        )
    if norms:
        st.markdown("**Where it is strong**")
        mean = np.asarray(norms["mean"])
        picture = panels.signed(np.log2(np.maximum(mean, 1e-6)), 1.0)
        st.html(
            gallery(
                [
                    (
                        "mean norm",
                        "Mean norm of each place over the median: red is stronger, blue weaker, full at twice and half",
                        panels.uri(picture, 128),
                    ),
                    *_tiles(view, norms["strongest"]),
                ],
                small=True,
            )
        )
        st.caption("The mean norm of each place, and the images with the strongest places, the strongest first.")
    for channel in one["pooled"]["top"][:3]:
        st.markdown(f"**Channel {channel['channel']}: {100 * channel['share']:.0f} % of the variance**")
        high, low = st.columns(2)
        for column, name, ids in ((high, "highest", channel["highest"]), (low, "lowest", channel["lowest"])):
            with column:
                st.caption(f"Images where it is {name}")
                st.html(gallery(_tiles(view, ids), small=True))


def _tiles(view: View, ids: Sequence[str]) -> list[tuple[str, str, str]]:
    where = {f"{int(id):016x}": row for row, id in enumerate(view.ids)}
    name = view.label_set
    tiles = []
    for id in ids:
        if (row := where.get(id)) is not None:
            label = str(view.labels[name][0][view.labels[name][1][row]]) if name and view.labels[name][1][row] >= 0 else "image"
            tiles.append((label, f"image {id}", panels.uri(view.images[row], 64)))
    return tiles
