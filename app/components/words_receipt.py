"""The receipt of word maps: how they came about, a link, the command line that makes them, and files."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from analysis import word_panels
from analysis.uploads import encode
from app.components import files, link
from app.components.album import UPLOADED, Shot
from app.components.looked import fingerprint
from app.components.words import plain

if TYPE_CHECKING:
    from app.components.words_view import Maps

FILE = "noisescope-words"
PAPER = "Tang et al., What the DAAM: Interpreting Stable Diffusion Using Cross Attention, arXiv 2210.04885"


def facts(maps: Maps, shot: Shot) -> list[tuple[str, str]]:
    """How the maps came about, by name."""
    card, asks = maps.scene.card, maps.asks
    others = f"; words that are not in it: {', '.join(asks['others'])}" if asks["others"] else ""
    return [
        ("image", plain(", ".join([f"{shot.name} ({shot.origin})", *shot.notes]))),
        ("model", f"{card.name}, {card.identity}"),
        ("prompt", plain(f"“{asks['prompt']}”{others}")),
        *([("said", plain(" ".join(maps.said)))] if maps.said else []),
        ("noise", f"{len(maps.levels)} levels, one ε for all, seed 0; no guidance"),
        ("maps", "attention of each place to a word's tokens, summed over these, the mean over heads and layers of a block"),
        ("blocks", f"{maps.block}" if maps.block else f"the mean over {len(maps.shares.blocks)} blocks, maps enlarged to one grid"),
        ("after", PAPER),
    ]


def command(maps: Maps, shot: Shot) -> str:
    """The command line that makes the maps again."""
    words = ["python", "-m", "analysis", "words", shot.name if shot.origin == UPLOADED else f"{FILE}-image.png"]
    words += ["--backend", maps.scene.backend, "--prompt", maps.asks["prompt"]]
    for other in maps.asks["others"]:
        words += ["--word", other]
    words += [*(["--block", maps.block] if maps.block else []), "--levels", str(maps.asks["levels"])]
    words += ["--device", maps.scene.device] if maps.scene.device != "cpu" else []
    return shlex.join([*words, "--out", "words.csv", "--picture", "words.png"])


def show(maps: Maps, shot: Shot) -> None:
    """Draw the receipt."""
    scene, asks = maps.scene, maps.asks
    with st.expander("Receipt: how these maps came about", icon=":material/receipt_long:"):
        st.markdown("\n".join(f"- **{name}**: {text}" for name, text in facts(maps, shot)))
        state = {"by": "words", "backend": scene.backend, "dataset": str(st.session_state.get("dataset", "")), "prompt": asks["prompt"]}
        state |= {"others": ", ".join(asks["others"])} if asks["others"] else {}
        state |= {"word": maps.word, "wordlevels": str(asks["levels"]), "sigma": f"{scene.sigma:.6g}", "axis": scene.axis}
        state |= {"wordblock": maps.block} if maps.block else {}
        state |= {} if shot.own else {"a": shot.key}
        st.caption("A link to this view. Your own images are not in it.")
        st.code(link.link(state), language=None, wrap_lines=True)
        saved = "" if shot.origin == UPLOADED else "; save the image first, below"
        st.caption(f"The command line that makes these maps{saved}")
        st.code(command(maps, shot), language="bash", wrap_lines=True)
        of = (fingerprint(maps.arrays["maps"].tobytes()), maps.block, *maps.shares.words)
        with st.container(horizontal=True):
            st.download_button("The image as read", encode(maps.image), f"{FILE}-image.png", "image/png", icon=":material/image:", on_click="ignore")  # fmt: skip
            files.offer("Shares, as CSV", partial(_csv, maps), f"{FILE}.csv", "text/csv", of, key="words-csv", icon=":material/table:")
            files.offer(
                "Maps of all words, as PNG",
                lambda: encode(word_panels.sheet(maps.image, maps.arrays["maps"], maps.shares.words, maps.levels)),
                f"{FILE}.png",
                "image/png",
                of,
                key="words-png",
                icon=":material/grid_view:",
            )


def _csv(maps: Maps) -> str:
    common = {"backend": maps.scene.backend, "prompt": maps.asks["prompt"], "seed": 0}
    found = word_panels.table(maps.shares, maps.arrays["focus"], maps.block, maps.levels, **common)  # type: ignore[arg-type]
    return str(found.to_csv(index=False))
