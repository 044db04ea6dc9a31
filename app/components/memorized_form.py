"""Ask for a new study of memorization on digits: which training sets, how many seeds, how long; the cost first, then the button."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from analysis.errors import NoisescopeError

SIZES = ["16", "64", "192"]  # digits have 199 for each of three seeds
SEEN = {4_096: "4,096", 16_384: "16,384", 65_536: "65,536", 131_072: "131,072", 262_144: "262,144"}
FIRST = 2_048  # images seen at the first moment that is looked at
DATASET = "digits"


def moments(last: int) -> list[int]:
    """The moments that are looked at: each after twice as many images as the one before."""
    found = [last]
    while found[0] // 2 >= FIRST:
        found.insert(0, found[0] // 2)
    return found


def ask(train: Callable[[dict[str, Any]], None], cost: Callable[[dict[str, Any]], str | None] | None = None) -> None:
    """Draw the form; the button gives `train` {dataset, sizes, seeds, seen}. `cost` says in words what that takes, or None until that is known, and the button with it."""
    form = st.expander("Train a new one on digits", icon=":material/model_training:", key="known-ask", on_change="rerun")
    with form:
        if not form.open:  # what it takes is timed: only for who wants to know
            return
        first, second, third = st.columns(3)
        sizes = first.multiselect("Training images", SIZES, default=SIZES, key="known-ask-sizes", accept_new_options=True)
        seeds = second.number_input("Seeds", 1, 10, 3, key="known-ask-seeds", help="Networks of each size; fewer than three say little.")
        last = third.select_slider("Images seen by each", list(SEEN), 65_536, format_func=SEEN.__getitem__, key="known-ask-seen")
        if wrong := [size for size in sizes if not (size.isdecimal() and int(size) >= 2)]:
            st.warning(f"Training images has {wrong[0]!r}; allowed: numbers of images from 2 on.")
            return
        if not sizes:
            st.warning("No training set is chosen: give at least one size, such as 64; two or more to compare.")
            return
        asked = {"dataset": DATASET, "sizes": sorted({int(size) for size in sizes}), "seeds": int(seeds), "seen": moments(int(last))}
        try:
            said = cost(asked) if cost else ""
        except NoisescopeError as error:
            st.warning(str(error), icon=":material/block:")
            return
        st.markdown(f"**What it takes.** {_work(asked)} {'How long it takes here is being timed …' if said is None else said}")
        if st.button("Run", type="primary", icon=":material/play_arrow:", key="known-ask-run", disabled=said is None):
            train(asked)
            st.rerun()  # it stands above, with its progress


def _work(asked: Mapping[str, Any]) -> str:
    """The work, in numbers that do not depend on the machine."""
    networks, last = len(asked["sizes"]) * asked["seeds"], asked["seen"][-1]
    return (
        f"{networks} network{'s' * (networks != 1)}, each meeting {last:,} training images, {networks * last:,} in all, with a look at {len(asked['seen'])} moments. "
        "It goes on where it was, should it be interrupted."
    )
