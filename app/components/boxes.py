"""Named boxes of images to teach from: dropped into a box, picked from what is here, or all at once from a zip or a folder.

An image is in one box at most. What is dropped joins the session's images; nothing is written to disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

import streamlit as st

from analysis import lesson, uploads
from analysis.errors import NoisescopeError
from app.components import album
from app.components.adding import TURN, release
from app.components.album import Shot

FIRST = [1, 2]
TOTAL = 5 * uploads.MAX_BYTES  # of a zip
SHOWN = 5  # files that are named of those left out
HELP = (
    f"{', '.join(uploads.FORMATS)}; up to {uploads.MAX_BYTES // 1_000_000} MB and {uploads.MAX_PIXELS // 1_000_000} megapixels each. They stay in "
    "the memory of this machine."
)
Box = tuple[str, list[Shot]]


def numbers() -> list[int]:
    """The boxes there are, by number."""
    found: list[int] = st.session_state.setdefault("boxes", list(FIRST))
    return found


def names() -> list[str]:
    """What they are called."""
    return [str(st.session_state.get(f"box-name-{number}", "")) for number in numbers()]


def fill_from_files(side: int) -> None:
    """Where a zip or a folder is given; its folders take the place of the boxes."""
    turn = st.session_state.setdefault("set-turn", 0)
    with st.expander("A zip, or a folder, of labelled images", icon=":material/folder_zip:", expanded="set-said" in st.session_state):
        st.caption(
            f"A folder of images for each of two to {lesson.CLASSES} classes, {uploads.MAX_FILES} images in all; the folder's name is the class. They take "
            "the place of the boxes below. They stay in the memory of this machine."
        )
        for column, name, several in zip(st.columns(2), ("zip", "folder"), (False, "directory"), strict=True):
            key = f"set-{name}-{turn}"
            column.file_uploader(
                f"A {name}",
                type="zip" if name == "zip" else None,
                accept_multiple_files=several,  # type: ignore[arg-type]
                key=key,
                max_upload_size=(TOTAL if name == "zip" else uploads.MAX_BYTES) // 1_000_000,
                on_change=_fill,
                args=(key, side),
            )
        if said := st.session_state.get("set-said"):
            (st.error if said["wrong"] else st.warning if said["left out"] else st.success)(said["text"])


def _fill(key: str, side: int) -> None:
    given = st.session_state[key]
    if not given:
        return
    st.session_state["set-turn"] += 1  # new, empty boxes for files: these are let go
    try:
        with TURN:
            files = [(file.name, file.getvalue()) for file in given] if isinstance(given, list) else uploads.read_zip(given.getvalue())
            found = lesson.of_files(files, side)
    except NoisescopeError as error:
        st.session_state["set-said"] = {"wrong": True, "text": str(error)}
        return
    finally:
        release(given if isinstance(given, list) else [given])
    while numbers():
        remove(numbers()[0], least=0)
    for name, images in found.classes.items():
        shots = [
            Shot(lesson.tidy(path) or "image", pixels, album.UPLOADED, (f"framed to {side}×{side}",)) for path, pixels in images.items()
        ]
        number = add()
        st.session_state[f"box-name-{number}"] = name
        album.add(shots)
        put(number, shots)
    total = sum(map(len, found.classes.values()))
    text = f"{total} images of {len(found.classes)} classes are in the boxes. {skipped(found.skipped)}"
    st.session_state["set-said"] = {"wrong": False, "left out": bool(found.skipped), "text": text}


def skipped(files: Sequence[tuple[str, str]]) -> str:
    """Which files were left out, and why, the first of them by name."""
    if not files:
        return ""
    named = "".join(f"\n- `{lesson.tidy(path.rpartition('/')[2]) or 'a file'}`: {why}" for path, why in files[:SHOWN])
    more = f"\n- and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return f"{len(files)} {'file was' if len(files) == 1 else 'files were'} left out:\n{named}{more}"


def draw(examples: Mapping[str, Shot]) -> list[Box]:
    """Draw the boxes, and the button for one more; the name and the images of each."""
    pool = album.mine() | examples
    for number in numbers():
        st.session_state[f"box-picks-{number}"] = [key for key in picked(number) if key in pool]
    found = []
    wide = 2 if len(numbers()) in (2, 4) else 3
    for first in range(0, len(numbers()), wide):
        for column, number in zip(st.columns(wide), numbers()[first : first + wide], strict=False):
            with column, st.container(border=True, key=f"box-{number}"):
                found.append(_box(number, pool))
    if len(numbers()) < lesson.CLASSES:
        st.button("Add a class", icon=":material/add:", on_click=add)
    return found


def _box(number: int, pool: Mapping[str, Shot]) -> Box:
    others = {key for other in numbers() if other != number for key in picked(other)}
    st.session_state.setdefault(f"box-name-{number}", f"Class {next(k for k in count(1) if f'Class {k}' not in names())}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name", max_chars=lesson.LONGEST, key=f"box-name-{number}", persist_state="session")
        st.button("Remove", icon=":material/delete:", type="tertiary", key=f"box-remove-{number}", on_click=remove, args=(number,))
    key = f"box-files-{number}-{st.session_state.setdefault(f'box-turn-{number}', 0)}"
    st.file_uploader(
        "Drop images",
        accept_multiple_files=True,
        key=key,
        max_upload_size=uploads.MAX_BYTES // 1_000_000,
        help=HELP,
        on_change=_drop,
        args=(key, number),
    )
    for file, why in st.session_state.get(f"box-unread-{number}", {}).items():
        st.warning(f"{file}: {why}", icon=":material/hide_image:")
    free = {key: shot for key, shot in pool.items() if key not in others}
    keys = st.pills(
        f"or pick from here: {len(picked(number))} chosen",
        list(free),
        selection_mode="multi",
        key=f"box-picks-{number}",
        format_func=lambda key: f"![{lesson.tidy(free[key].name)}]({album.thumb(free[key])})",
        persist_state="session",
    )
    return lesson.tidy(name), [pool[key] for key in keys]


def picked(number: int) -> list[str]:
    """Keys of the images in a box."""
    return list(st.session_state.get(f"box-picks-{number}") or [])


def put(number: int, shots: Sequence[Shot]) -> None:
    """Put images into a box, and so out of every other."""
    keys = dict.fromkeys(shot.key for shot in shots)
    for other in numbers():
        kept = [key for key in picked(other) if key not in keys]
        st.session_state[f"box-picks-{other}"] = [*kept, *keys] if other == number else kept


def add() -> int:
    """One more box, empty; its number."""
    made = st.session_state["boxes-made"] = st.session_state.get("boxes-made", len(FIRST)) + 1
    numbers().append(made)
    return int(made)


def remove(number: int, least: int = len(FIRST)) -> None:
    """Take a box away; where fewer than `least` are left, an empty one takes its place."""
    numbers().remove(number)
    for what in ("name", "picks", "unread", "turn"):
        st.session_state.pop(f"box-{what}-{number}", None)
    if len(numbers()) < least:
        add()


def _drop(key: str, number: int) -> None:
    files = [(file.name, file.getvalue()) for file in st.session_state[key]]
    if not files:
        return
    st.session_state[f"box-turn-{number}"] += 1
    try:
        with TURN:
            pictures, unread = uploads.read_all(files)
    except NoisescopeError as error:
        pictures, unread = {}, {"Not taken": str(error)}
    release(st.session_state[key])
    st.session_state[f"box-unread-{number}"] = unread
    shots = [Shot(name, picture.pixels, album.UPLOADED, picture.notes) for name, picture in pictures.items()]
    album.add(shots)
    put(number, shots)
