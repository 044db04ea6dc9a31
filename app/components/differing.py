"""Where two runs differ: class by class, and the images that one reads right and the other wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import panels
from analysis.compared import ClassGap, classes_lacking, classes_sentence, images_sentence
from analysis.compared import classes as gaps_of
from analysis.comparing import Comparison, Images
from app.components import asking
from app.components.curve import toolbar
from app.components.looked import gallery, waiting

SHOWN = 12  # images of each kind


@st.cache_resource(show_spinner=False, max_entries=48)
def _gaps(name: tuple[str, ...], level: int, _found: Comparison) -> list[ClassGap]:
    return gaps_of(_found, level)


def _name(found: Comparison) -> tuple[str, ...]:
    return tuple(part for side in (found.reference, found.other) for part in (side.name, side.study.version, side.labels, side.series))


def classes(comparisons: Sequence[Comparison], sigma: float) -> None:
    """Draw the differences by class at the shared level nearest to σ, or say why there are none."""
    st.subheader("Class by class", anchor=False)
    drawn, says = [], []
    for place, found in enumerate(comparisons, start=1):
        level, other = found.nearest(sigma), f"{found.other.name} less {found.reference.name}"
        lacking = classes_lacking(found) if level is not None else "No noise level is shared."
        if lacking or level is None:
            says.append(f"{other}: {lacking}")
            continue
        gaps = _gaps(_name(found), level, found)
        says.append(classes_sentence(found, gaps, level))
        drawn.append((other, place, gaps))
    st.markdown("  \n".join(says))
    if drawn:
        from analysis import comparing_figures as figures

        st.plotly_chart(figures.classes_figure(drawn), key="figure-classes", alt=" ".join(says), config=toolbar())
        st.caption(
            f"{' and '.join(other for other, _, _ in drawn)}, in points of accuracy, with 95 % intervals. A filled marker is a difference that is "
            "shown after Holm's correction for the number of classes. The slider in the sidebar chooses the level."
        )


def images(comparisons: Sequence[Comparison], sigma: float, device: str) -> None:
    """Draw the images that one of two runs alone reads right, at the shared level nearest to σ."""
    st.subheader("Images that one reads right and the other wrong", anchor=False)
    for found in comparisons:
        level = found.nearest(sigma)
        if level is None:
            st.markdown(f"{found.other.name} and {found.reference.name} share no noise level.")
            continue
        st.markdown(images_sentence(found, level))
        if (there := found.images(level)) is not None:
            _pictures(found, there, device)


def _pictures(found: Comparison, images: Images, device: str) -> None:
    rows = {found.other.name: images.only_other[:SHOWN], found.reference.name: images.only_reference[:SHOWN]}
    ids = [f"{found.ids[place]:016x}" for places in rows.values() for place in places]
    if not ids:
        return
    asked = asking.look({"ask": "pictures", "study": found.reference.study.key, "ids": ids}, device, patience=2.0)
    if not asked.ended.is_set():
        waiting(asked, "The images are being fetched …")
        return
    if asked.error or asked.answer is None or not asked.answer[0]["there"]:
        why = str(asked.error) if asked.error else "The data are not on this machine."
        st.info(f"{why} The images are named by their ids, the first of each kind.", icon=":material/image_not_supported:")
        _listed(found, images, rows)
        return
    names, pictures = asked.answer[0]["names"], load(asked.answer[1])["images"]
    place = 0
    for name, places in rows.items():
        if not len(places):
            continue
        st.caption(f"Right in {name} alone, the clearest {len(places)}" if len(places) == SHOWN else f"Right in {name} alone")
        tiles = []
        for row in places:
            shares = f"{found.reference.name} {images.reference[row]:.0%} · {found.other.name} {images.other[row]:.0%}"
            tiles.append(
                (
                    f"{names[place]}\n{shares}",
                    f"image {found.ids[row]:016x}; share of draws that are right",
                    panels.uri(pictures[place], 64),
                )
            )
            place += 1
        st.html(gallery(tiles, small=True))


def _listed(found: Comparison, images: Images, rows: dict[str, np.ndarray]) -> None:
    st.dataframe(
        [
            {
                "right in": f"{name} alone",
                "image": f"{found.ids[row]:016x}",
                f"right draws of {found.reference.name}": f"{images.reference[row]:.0%}",
                f"right draws of {found.other.name}": f"{images.other[row]:.0%}",
            }
            for name, places in rows.items()
            for row in places
        ],
        hide_index=True,
        width="stretch",
    )
