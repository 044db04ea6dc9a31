"""What the model makes from noise, and which of its images look alike to it at a noise level."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import streamlit as st

from analysis.studies import Study

if TYPE_CHECKING:
    import numpy as np

SHOWN, ALIKE = 48, 8


@st.cache_data(show_spinner=False, max_entries=8)
def _images(version: str, _study: Study) -> np.ndarray:
    """The generated images (n, h, w, 3) uint8, cut from the sheet."""
    import numpy as np
    from PIL import Image

    side, made = _study.card.resolution, _study.facts["generated"]
    page = np.asarray(Image.open(io.BytesIO(_study.path("generated.png").read_bytes()), formats=["PNG"]).convert("RGB"))
    rows = page.reshape(-1, side, made["columns"], side, 3).transpose(0, 2, 1, 3, 4)
    return rows.reshape(-1, side, side, 3)[: made["count"]]


@st.cache_data(show_spinner=False, max_entries=64)
def _alike(version: str, level: int, image: int, _study: Study) -> list[int]:
    """The images nearest to one at a level: cosine of features with their mean taken off, itself left out."""
    import numpy as np
    from safetensors.numpy import load

    made = _study.facts["generated"]
    features = load(_study.path("generated.safetensors").read_bytes())[f"{level}/{made['tensor']}"].astype(np.float32)
    features -= features.mean(0)
    features /= np.linalg.norm(features, axis=1, keepdims=True) + 1e-9
    order = np.argsort(-(features @ features[image]), kind="stable")
    return [int(i) for i in order if i != image][:ALIKE]


def _row(images: np.ndarray, columns: int, scale: int) -> np.ndarray:
    """Images side by side, `columns` in a row, enlarged without smoothing, with a gap between them."""
    import numpy as np

    large = np.pad(images.repeat(scale, 1).repeat(scale, 2), ((0, 0), (0, 2), (0, 2), (0, 0)), constant_values=128)
    count, height, width, _ = large.shape
    return large.reshape(count // columns, columns, height, width, 3).transpose(0, 2, 1, 3, 4).reshape(-1, columns * width, 3)


@st.fragment
def show(study: Study) -> None:
    """The generated images, and the neighbours of one of them at a noise level."""
    made = study.facts.get("generated")
    if not made:
        return
    st.subheader("What the model makes from noise", anchor=False)
    images, levels = _images(study.version, study), study.facts["levels"]
    scale = max(1, 96 // study.card.resolution)
    shown = min(SHOWN, len(images) // 12 * 12)
    st.image(
        _row(images[:shown], 12, scale),
        alt=f"{shown} small images made by {study.card.name}.",
        caption=f"The first {shown} of {len(images):,} images that {study.card.name} made ({made['sampler'].upper()}, {made['steps']} steps, seed "
        f"{made['seed']}). None is a photograph; nothing above is measured on them.",
    )
    peak = min(range(len(levels)), key=lambda i: abs(levels[i]["sigma"] - study.result()["verdict"]["peak_sigma"]))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        image = st.number_input("Images like number", 1, len(images), 1, key="generated-image", width=160)
        level = st.select_slider(
            "to the model at",
            range(len(levels)),
            peak,
            format_func=lambda i: f"σ = {levels[i]['sigma']:.2g}",
            key="generated-level",
            width=320,
        )
    found = _alike(study.version, int(level), int(image) - 1, study)
    st.image(
        _row(images[[int(image) - 1, *found]], 1 + ALIKE, scale),
        alt=f"Image {image} and the {ALIKE} most alike to the model: numbers {', '.join(str(i + 1) for i in found)}.",
        caption=f"Left: number {image}. Then the {ALIKE} most alike to block {made['tensor'].split('/')[0]} at σ = {levels[level]['sigma']:.2g} (cosine).",
    )
