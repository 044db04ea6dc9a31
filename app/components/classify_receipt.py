"""The receipt of an image's class: how it came about, a link, the command line, and the errors as a table."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial

import streamlit as st

from analysis import classified
from analysis.classified import LEVELS, Classified
from analysis.uploads import encode
from app.components import files, link
from app.components.album import UPLOADED, Shot
from app.components.looked import fingerprint
from app.components.scene import Scene
from app.components.words import duration, plain

PAPER = """@inproceedings{li2023diffusion,
  title={Your Diffusion Model is Secretly a Zero-Shot Classifier},
  author={Li, Alexander C. and Prabhudesai, Mihir and Duggal, Shivam and Brown, Ellis and Pathak, Deepak},
  booktitle={ICCV}, year={2023}, note={arXiv 2303.16203}
}"""


def facts(scene: Scene, found: Classified, shot: Shot) -> list[tuple[str, str]]:
    """How the numbers came about, by name."""
    card, count = scene.card, len(found.conditions)
    every = "all " if count == len(classified.classes(card)) else ""
    named = ", ".join(plain(classified.name_of(card, name)) for name in found.conditions[:12]) + (" …" if count > 12 else "")
    return [
        ("image", ", ".join([f"{shot.name} ({shot.origin})", *shot.notes])),
        ("model", f"{card.name}, {card.identity}"),
        ("candidates", f"{every}{count:,}: {named}"),
        ("error", "‖ε - ε̂‖², ε̂ = (x_σ - D(x_σ; σ, class))/σ, mean over the numbers of x₀ and, alike, over the levels (arXiv 2303.16203)"),
        (
            "noise",
            f"{len(found.sigmas)} levels, σ = {found.sigmas[0]:.3g} to {found.sigmas[-1]:.3g}; at each at most {found.draws} draws of ε, "
            "the same for every class, seed 0",
        ),
        (
            "intervals",
            "95 % for all classes and looks together (Bonferroni), of paired differences, levels as strata; at a level, of that level alone",
        ),
        ("passes", f"{found.evaluations:,} of {found.most:,}: a class is drawn until it is shown to be above the lowest"),
        ("made", f"on {scene.device}, {duration(found.seconds)}"),
    ]


def command(scene: Scene, found: Classified, shot: Shot) -> str:
    """The command line that classifies the image again: the file that was uploaded, else the image as it was read, saved from here."""
    words = ["python", "-m", "analysis", "classify", shot.name if shot.origin == UPLOADED else _file(shot, "png")]
    words += ["--backend", scene.backend]
    if list(found.conditions) != classified.classes(scene.card):
        words += [word for name in found.conditions for word in ("--candidate", name)]
    if len(found.sigmas) != LEVELS:
        words += ["--levels", str(len(found.sigmas))]
    if found.draws != classified.DRAWS:
        words += ["--draws", str(found.draws)]
    if scene.device != "cpu":
        words += ["--device", scene.device]
    return shlex.join([*words, "--out", "classes.csv"])


def show(scene: Scene, found: Classified, shot: Shot, state: Mapping[str, str]) -> None:
    """Draw the receipt."""
    with st.expander("Receipt: how these numbers came about", icon=":material/receipt_long:"):
        st.markdown("\n".join(f"- **{name}**: {text}" for name, text in facts(scene, found, shot)))
        st.caption("A link to this view. Which image is shown is not in it.")
        st.code(link.link(dict(state)), language=None, wrap_lines=True)
        saved = "" if shot.origin == UPLOADED else "; save the image first, below"
        st.caption(f"The command line that classifies this image again{saved}")
        st.code(command(scene, found, shot), language="bash", wrap_lines=True)
        st.caption("What to cite")
        st.code(PAPER, language="latex", wrap_lines=True)
        image = scene.images[shot.key]
        with st.container(horizontal=True):
            st.download_button(
                "The image as read", encode(image), _file(shot, "png"), "image/png", icon=":material/image:", on_click="ignore"
            )
            files.offer(
                "Every error, as CSV",
                partial(_csv, scene, found, shot),
                _file(shot, "csv"),
                "text/csv",
                (scene.backend, found.conditions, fingerprint(found.race.by_level.tobytes())),
                key="classes-csv",
                icon=":material/table:",
            )


def _csv(scene: Scene, found: Classified, shot: Shot) -> str:
    return str(classified.table(found, scene.card, shot.name).to_csv(index=False))


def _file(shot: Shot, ending: str) -> str:
    return f"noisescope-{shot.key}-class.{ending}"
