"""The receipt of a point's matches: how they came about, a link, the command line that finds them again, and files."""

from __future__ import annotations

import io
import shlex
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from analysis import matches, point_panels
from analysis.specs import said_condition
from analysis.uploads import encode
from app.components import files, link
from app.components.looked import fingerprint

if TYPE_CHECKING:
    from app.components.points import Pointed

DIFT = """@inproceedings{tang2023dift,
  title = {Emergent Correspondence from Image Diffusion},
  author = {Tang, Luming and Jia, Menglin and Wang, Qianqian and Phoo, Cheng Perng and Hariharan, Bharath},
  booktitle = {NeurIPS}, year = {2023}, note = {arXiv 2306.03881}
}
@article{loos2025anomalies,
  title = {Latent Diffusion U-Net Representations Contain Positional Embeddings and Anomalies},
  author = {Loos, Jonas and Linhardt, Lorenz},
  year = {2025}, note = {arXiv 2504.07008}
}"""


def facts(of: Pointed) -> list[tuple[str, str]]:
    """How the matches came about, by name."""
    card, scene = of.scene.card, of.scene
    return [
        ("images", "; ".join(f"{file.removesuffix('.png')}: {name}" for file, name in zip(_files(of), of.names, strict=True))),
        ("model", f"{card.name}, {card.revision or card.identity}"),
        (
            "features",
            f"block {scene.block}, a map of {of.size[0]}×{of.size[1]}, condition: {said_condition(card.unconditional)}, precision: float32",
        ),
        (
            "noise",
            f"σ = {scene.sigma:.4g} (t = {card.timesteps[scene.level]:g}), the mean over {of.draws} draws of each image's own ε, seed 0",
        ),
        (
            "match",
            "the pixel whose feature has the highest cosine with the point's, the map upsampled to the image's size (as DIFT, arXiv 2306.03881)",
        ),
        ("next place", f"the best pixel further than {matches.NEAR:.0%} of the side from the match; the way back is the match's own match"),
        (
            "marked tokens",
            "log norm above the median by more robust standard deviations (1.4826 · MAD) than any token of a normal map is in 99 of 100 maps; the four corners always",
        ),
    ]


def command(of: Pointed) -> str:
    """The command line that finds the matches again, of the images as they were read."""
    scene = of.scene
    words = ["python", "-m", "analysis", "match", *_files(of), "--point", f"{of.point[0]:g},{of.point[1]:g}"]
    words += ["--backend", scene.backend, "--block", scene.block, "--sigma", f"{scene.sigma:.6g}", "--draws", str(of.draws)]
    words += ["--device", scene.device] if scene.device != "cpu" else []
    return shlex.join([*words, "--out", "matches.csv", "--heat", "matches.png"])


def methods(of: Pointed) -> str:
    """A paragraph for a paper."""
    card, scene = of.scene.card, of.scene
    return (
        f"Features are the output of block {scene.block} ({of.size[0]}x{of.size[1]}) of {card.name} ({card.revision or card.identity}) for x_sigma = x_0 + "
        f"sigma eps at sigma = {scene.sigma:.4g}, the mean over {of.draws} draws of eps, condition: {said_condition(card.unconditional)}. Maps were upsampled "
        "bilinearly to the image's size, and a point was matched with the pixel of highest cosine similarity (Tang et al., 2023). Noisescope."
    )


def show(of: Pointed) -> None:
    """Draw the receipt."""
    scene = of.scene
    given = [key for key in of.keys if not scene.shots[key].own]
    state = {name: link.said(name) for name in ("backend", "dataset", "block", "sigma")} | {"by": "points"}
    state |= {"axis": scene.axis, "draws": str(of.draws), "point": f"{of.point[0]:g},{of.point[1]:g}"}
    state |= {"a": of.keys[0]} if of.keys[0] in given else {}
    state |= {"b": ",".join(key for key in of.keys[1:] if key in given)}
    with st.expander("Receipt: how these matches came about", icon=":material/receipt_long:"):
        st.markdown("\n".join(f"- **{name}**: {text}" for name, text in facts(of)))
        st.caption("A link to this view. Images of your own are not in it.")
        st.code(link.link({name: value for name, value in state.items() if value}), language=None, wrap_lines=True)
        st.caption("The command line that finds these matches again; save the images first, below, and unpack them")
        st.code(command(of), language="bash", wrap_lines=True)
        st.caption("Methods, and what to cite")
        st.code(methods(of), language=None, wrap_lines=True)
        st.code(DIFT, language="latex", wrap_lines=True)
        mark = (
            scene.backend,
            scene.block,
            scene.sigma,
            of.draws,
            of.point,
            *of.keys,
            fingerprint(np.ascontiguousarray(of.heats).tobytes()),
        )
        with st.container(horizontal=True):
            for label, make, ending, mime, icon in (
                ("Matches (CSV)", lambda: _table(of), "csv", "text/csv", "table"),
                (
                    "Heat maps (PNG)",
                    lambda: encode(point_panels.sheet(of.images, of.heats, of.point, of.found)),
                    "png",
                    "image/png",
                    "image",
                ),
                ("Images as read (ZIP)", lambda: _zip(of), "zip", "application/zip", "folder_zip"),
            ):
                files.offer(label, make, f"noisescope-points.{ending}", mime, mark, key=f"points-{ending}", icon=f":material/{icon}:")


def _files(of: Pointed) -> list[str]:
    return ["A.png", *(f"B{i}.png" for i in range(1, len(of.keys)))]


def _table(of: Pointed) -> str:
    card, scene = of.scene.card, of.scene
    common = {
        "backend": scene.backend,
        "block": scene.block,
        "sigma": scene.sigma,
        "timestep": card.timesteps[scene.level],
        "draws": of.draws,
    }
    return str(matches.table(of.found, of.names, of.point, **common).to_csv(index=False))


def _zip(of: Pointed) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for file, image in zip(_files(of), of.images, strict=True):
            packed.writestr(file, encode(image))
    return out.getvalue()
