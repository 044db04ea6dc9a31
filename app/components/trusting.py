"""How far a map may be trusted, in words and as curves over noise and depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from analysis import map_numbers, map_words
from analysis.map_words import percent
from app.components import asking
from app.components.atlas import METHODS, Drawn, Taken, View, made
from app.components.curve import toolbar
from app.components.looked import waiting


def question(view: View, method: str, cells: Sequence[Sequence[Any]]) -> dict[str, Any]:
    return view.question("trust", method=method, cells=cells, label_set=view.label_set)


def caution(view: View, found: Drawn) -> str:
    """What may and may not be read off a map."""
    return map_words.caution(found.method, view.settings, found.shows, found.plain)


def line(view: View, found: Drawn) -> None:
    """One cell's trust in a few words; where the map looks purer than its space, plainly."""
    asked = asking.look(question(view, found.method, [[view.block, view.level]]), view.device, patience=1.5)
    told = asked.answer[0]["trust"][0] if asked.answer else None
    if asked.error:
        st.info(str(asked.error), icon=":material/rule:")
    if told is None:
        if not asked.ended.is_set():
            waiting(asked, "How far to trust this map is being worked out …")
        return
    if told["purer"]:
        st.warning(
            f"**This map looks purer than its space.** {map_words.purer(told)}",
            icon=":material/rule:",
        )
    with st.container(horizontal=True, gap="medium"):
        if told["purity_space"] is not None:
            st.metric(
                "Class purity, space",
                percent(told["purity_space"]),
                help="Of each image's 15 nearest in the full space, how many have its class.",
            )
            st.metric(
                "Class purity, map", percent(told["purity_map"]), help="The same on the map. It should not be higher than in the space."
            )
        st.metric(
            "Trustworthiness",
            f"{told['trustworthiness']:.2f}",
            help="1: what lies near on the map is near in the space (Venna and Kaski 2001).",
        )
        st.metric("Continuity", f"{told['continuity']:.2f}", help="1: what is near in the space lies near on the map.")
        if told["dimension"] is not None:
            st.metric(
                "Intrinsic dimension", f"{told['dimension']:.1f}", help="Of the features, by each image's two nearest (Facco et al. 2017)."
            )
    st.caption(caution(view, found))


def curves(view: View) -> Taken | None:
    """Trust over the levels of the block, and over the blocks at the level."""
    from analysis import map_panels

    over = {
        "noise": ([(view.block, level) for level in range(len(view.levels))], f"Block {view.block} over noise"),
        "depth": ([(block, view.level) for block in view.blocks], f"Every block at σ = {view.sigma:.2g}, first to last"),
    }
    every: dict[str, list[Mapping[str, Any] | None]] = {}
    for name, (cells, title) in over.items():
        st.subheader(title, anchor=False)
        words = f"{METHODS[view.method]} maps of {len(cells)} cells are needed."
        maps = view.question("maps", dims=view.settings["dims"], method=view.method, cells=cells)
        if made(maps, view.device, f"trust-{name}", words) is None:
            continue
        found = made(question(view, view.method, cells), view.device, f"trusts-{name}", "How far to trust them is being worked out.")
        if found is None:
            continue
        told = every[name] = found[0]["trust"]
        if name == "noise":
            figure = map_panels.trust_over_noise(told, view.levels, view.axis, view.level)  # type: ignore[arg-type]
        else:
            figure = map_panels.trust_over_depth(told, view.blocks, view.block)
        says = sentence(told, [f"σ = {one['sigma']:.2g}" for one in view.levels] if name == "noise" else list(view.blocks))
        st.plotly_chart(figure, key=f"trust-{name}", alt=f"{title}. {says}", config=toolbar())
        st.caption(f"{says} Neighbours are the 15 nearest; trustworthiness, continuity and silhouette are of at most 2,000 images.")
    if len(every) < len(over):
        return None
    both = [cell for name in over for cell in over[name][0]]
    return Taken(
        f"trust-{view.method}",
        lambda: map_numbers.trust(both, every["noise"] + every["depth"], view.levels),
        view.laid(view.method, int(view.settings["dims"])),
        ("--show", "trust", *view.words(view.method, int(view.settings["dims"]))),
    )


def sentence(told: list[Mapping[str, Any] | None], names: list[str]) -> str:
    """Where neighbours share their class most, and which maps look purer than they are."""
    known = [(one, name) for one, name in zip(told, names, strict=True) if one is not None]
    if not known:
        return "No cell has a map yet."
    pure = [(one["purity_space"], name) for one, name in known if one["purity_space"] is not None]
    best = max(pure, default=None)
    if best is None:
        return "These images have no labels, or one class alone, so purity is not known."
    says = f"Neighbours share their class most at {best[1]} ({percent(best[0])})."
    marked = [name for one, name in known if one["purer"]]
    return says + (f" Purer than their space look: {', '.join(marked)}." if marked else " No map looks purer than its space.")
