"""Segments on the screen: pictures of every image, how they meet true masks, and what can be taken along."""

from __future__ import annotations

import html
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from analysis import label_images, panels, segment_panels
from analysis.label_images import VOID
from analysis.uploads import encode
from app.components import files, link
from app.components.curve import toolbar
from app.components.looked import fingerprint, percent
from app.components.scene import Scene
from app.components.strokes import Given

GAP = 6  # pixels between pictures of an image
PAPER = "Baranchuk et al., Label-Efficient Semantic Segmentation with Diffusion Models, arXiv 2112.03126"
CITE = "@misc{baranchuk2021, title = {Label-Efficient Semantic Segmentation with Diffusion Models}, eprint = {2112.03126}, archivePrefix = {arXiv}}"
TITLE = "Receipt: how these segments came about"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


@dataclass(frozen=True)
class Read:
    """What pixels are read with."""

    blocks: tuple[str, ...]
    sigmas: tuple[float, ...]
    draws: int

    @property
    def question(self) -> dict[str, Any]:
        return {"blocks": list(self.blocks), "sigmas": list(self.sigmas), "draws": self.draws}

    @property
    def said(self) -> str:
        blocks = f"block{'s' * (len(self.blocks) > 1)} {', '.join(self.blocks)}"
        return f"{blocks} at σ = {', '.join(f'{sigma:.3g}' for sigma in self.sigmas)}"

    def cost(self, images: int) -> str:
        """Passes of the network, in words."""
        parts = [_count(images, "image"), _count(len(self.sigmas), "level"), *([f"{self.draws} draws"] if self.draws > 1 else [])]
        return f"{' × '.join(parts)} = {images * len(self.sigmas) * self.draws:,} passes of the network"


@dataclass(frozen=True)
class Shown:
    """Segments of images: label images (n, side, side), certainty in 255ths where there is one, and the names of the segments."""

    keys: Sequence[str]
    labels: np.ndarray
    sure: np.ndarray | None
    names: Sequence[str]


def pictures(scene: Scene, shown: Shown, painted: set[str]) -> None:
    """Draw the legend, and of every image itself, its segments and how sure they are, the painted ones first."""
    swatches = "".join(
        f'<span style="display:inline-flex;gap:.4rem;align-items:center;margin-right:1rem"><img src="{panels.uri(swatch, 1)}" alt="" '
        f'style="width:24px;height:24px;border-radius:3px">{html.escape(name)}</span>'
        for name, swatch in segment_panels.legend(shown.names)
    )
    st.html(f'<div style="display:flex;flex-wrap:wrap;row-gap:.3rem">{swatches}</div>')
    what = "the image, its segments" + ("" if shown.sure is None else ", and how sure the probe is: from violet, not at all, to yellow")
    st.caption(f"Of each: {what}.")
    parts = []
    for row, key in enumerate(shown.keys):
        image, labels = scene.images[key], shown.labels[row]
        made = [segment_panels.overlay(image, np.full_like(labels, VOID)), segment_panels.overlay(image, labels)]
        made += [] if shown.sure is None else [segment_panels.certainty(shown.sure[row])]
        shares = segment_panels.shares(labels, shown.names)
        name = f"{scene.shots[key].name}{', painted' if key in painted else ''}"
        parts.append(
            f'<figure style="margin:0;max-width:100%"><img src="{panels.uri(_beside(made), 1)}" alt="{html.escape(f"{name}: {shares}")}" '
            f'style="width:{120 * len(made)}px;max-width:100%;height:auto;image-rendering:pixelated;display:block">'
            f'<figcaption style="font-size:.8rem;opacity:.8;max-width:{120 * len(made)}px">{html.escape(f"{name}: {shares}")}</figcaption></figure>'
        )
    with st.container(key="segments"):
        st.html(f'<div style="display:flex;flex-wrap:wrap;gap:1rem">{"".join(parts)}</div>')


def _beside(made: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size side by side."""
    gap = np.full((len(made[0]), GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in made for part in (picture, gap)][:-1], 1)


def score(told: Mapping[str, Any], names: Sequence[str]) -> None:
    """How the segments meet the masks at what is read."""
    interval = (
        f"95 % interval {100 * told['low'][0]:.0f} to {100 * told['high'][0]:.0f} %, over images."
        if told["low"]
        else "Of one image there is no interval."
    )
    row = st.container(horizontal=True, gap="medium")
    row.metric("Mean IoU", percent(told["mean"][0]), help=f"Intersection over union, the mean over classes. {interval}")
    for name, value in zip(names, told["each"][0], strict=True):
        if value is not None:
            row.metric(name, percent(value), help="Intersection over union of this class, all pixels of all images together.")
    st.caption(f"{interval} Scored on {_count(told['images'], 'image')}, {told['pixels']:,} pixels that were not painted.")


def curve(told: Mapping[str, Any], scene: Scene, read: Read) -> None:
    """Mean IoU over noise levels, with the sentence that it comes to."""
    levels = segment_panels.nearest(scene.card, told["sigmas"])
    near = min(range(len(levels)), key=lambda at: abs(np.log(levels[at]["sigma"] / scene.sigma)))
    with st.container(key="verdict"):
        st.markdown(told["sentence"])
    figure = segment_panels.curve_figure(told, levels, scene.axis, read.said.partition(" at ")[0], near)  # type: ignore[arg-type]
    st.plotly_chart(figure, key="segment-curve", alt=str(told["sentence"]), config=toolbar())
    st.caption(
        "At every level a probe of its own, from the same strokes. Intervals are 95 %, over resampled images, for these strokes and this ε; "
        "those of differences hold for all levels at once, because the best was looked for among them."
    )


def receipt(
    scene: Scene,
    read: Read,
    shown: Shown,
    given: Given | None,
    told: Mapping[str, Any] | None,
    over: Mapping[str, Any] | None,
    state: Mapping[str, str],
) -> None:
    """The receipt: facts, link, command line, tables and label images. `told` is the score, `over` the curve, where there are."""
    card = scene.card
    with st.expander(TITLE, icon=":material/receipt_long:"):
        how = (
            f"k-means of the features of all {len(shown.keys)} images together, k = {len(shown.names)}"
            if given is None
            else f"one logistic regression on the features of painted pixels, classes weighing the same; {given.said}"
        )
        facts = {
            "model": f"{card.name}, {card.identity}",
            "features": f"{read.said}, {_count(read.draws, 'draw')} of ε, condition: {card.unconditional}; brought to {card.resolution}×{card.resolution} by bilinear interpolation",
            "segments": how,
            "images": f"{len(shown.keys)}, as the model reads them",
            "after": PAPER,
        }
        st.markdown("\n".join(f"- **{name}**: {text}" for name, text in facts.items()))
        st.caption("A link to this view. Your own images, strokes and masks are not in it.")
        st.code(link.link(dict(state)), language=None, wrap_lines=True)
        st.caption("The command line that makes these segments again, in the folder of the zip below")
        st.code(command(scene, read, shown, given, over), language="bash", wrap_lines=True)
        st.caption("What to cite")
        st.code(CITE, language="latex", wrap_lines=True)
        mark = fingerprint(shown.labels.tobytes() + (b"" if given is None else given.labels.tobytes() + given.truth.tobytes()))
        of = (card.identity, *shown.keys, *shown.names, read.said, mark)
        with st.container(horizontal=True):
            files.offer(
                "Label images (zip)", partial(_zip, scene, shown, given), "segments.zip", "application/zip", of, key="segment-zip",
                icon=":material/folder_zip:", help="The images as read, the strokes, the true masks and the segments: PNGs with the class of each pixel.",
            )  # fmt: skip
            table = segment_panels.parts(shown.labels, shown.sure, [scene.shots[key].name for key in shown.keys], shown.names)
            files.offer("Segments (CSV)", partial(_csv, table), "segments.csv", "text/csv", of, key="segment-csv", icon=":material/table:")
            if scores := over or told:
                levels = segment_panels.nearest(card, over["sigmas"]) if over else segment_panels.together(card, read.sigmas)
                rows = segment_panels.table(
                    scores, levels, shown.names, backend=scene.backend, blocks=" ".join(read.blocks), draws=read.draws
                )
                files.offer(
                    "IoU (CSV)", partial(_csv, rows), "iou.csv", "text/csv", (*of, bool(over)), key="iou-csv", icon=":material/table:"
                )


def _csv(table: Any) -> str:
    return str(table.to_csv(index=False))


def command(scene: Scene, read: Read, shown: Shown, given: Given | None, over: Mapping[str, Any] | None) -> str:
    """The command line that makes the segments again from the files of the zip."""
    numbers = [f"{row + 1:02d}.png" for row in range(len(shown.keys))]
    words = ["python", "-m", "analysis", "segment", *(f"images/{name}" for name in numbers)]
    if given is None:
        words += ["--clusters", str(len(shown.names))]
    else:
        for option, folder, masks in (("--mask", "strokes", given.labels), ("--truth", "masks", given.truth)):
            there = [bool((one != VOID).any()) for one in masks]
            for row in range(max((at + 1 for at, one in enumerate(there) if one), default=0)):
                words += [option, f"{folder}/{numbers[row]}" if there[row] else "none"]
        words += ["--classes", ",".join(name.replace(",", " ") for name in shown.names)]
    words += ["--backend", scene.backend]
    for block in read.blocks:
        words += ["--block", block]
    for sigma in read.sigmas:
        words += ["--sigma", f"{sigma:.6g}"]
    words += ["--draws", str(read.draws), *(["--over", str(len(over["sigmas"]))] if over else [])]
    words += ["--device", scene.device] if scene.device != "cpu" else []
    return shlex.join([*words, "--out", "again"])


def _zip(scene: Scene, shown: Shown, given: Given | None) -> bytes:
    made: dict[str, bytes] = {}
    for row, key in enumerate(shown.keys):
        name = f"{row + 1:02d}.png"
        made[f"images/{name}"] = encode(scene.images[key])
        made[f"segments/{name}"] = label_images.png(shown.labels[row])
        for folder, masks in () if given is None else (("strokes", given.labels), ("masks", given.truth)):
            if (masks[row] != VOID).any():
                made[f"{folder}/{name}"] = label_images.png(np.ascontiguousarray(masks[row]))
    return label_images.archive(made)
