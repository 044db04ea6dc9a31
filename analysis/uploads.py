"""Pictures that a browser sends, as pixels: bytes in, (h, w, 3) uint8 or one sentence out, and never a file on disk.

A file is told by its content, its size is checked before anything is decoded, and nothing but the pixels is kept. An embedded
colour profile is dropped like the rest: colours are taken as sRGB, as they are in every other data set.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from .containers import Bare, entry, form_of, place, strip, unzip
from .errors import InvalidData, InvalidRequest, UnknownName

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MAX_BYTES = 20_000_000
MAX_PIXELS = 25_000_000
MAX_FILES = 200
MAX_HELD = 200_000_000  # pixels of one `read_all` in all, 600 MB: 200 files of 25 megapixels would be 15 GB
SIDES = (8, 20_000)  # the smallest images that any model here knows are 8 × 8; no camera's panorama is longer
MAX_ASPECT = 50  # of a longer strip, no square shows anything
GREY = 128
MARKS = "`*[]<>$\\|~"  # a name stands in Markdown: it must not be any
STRIP = 1_000_000  # pixels that are converted at once: copies of the whole picture would add up
MODES = {  # those that the four decoders give, and what is said of them
    "RGB": "",
    "RGBA": "",
    "1": "greyscale",
    "L": "greyscale",
    "LA": "greyscale",
    "I;16": "greyscale",
    "P": "palette converted",
    "CMYK": "CMYK converted",
}
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF's orientations
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
How = Literal["crop", "fit", "box"]
Files = Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Picture:
    """Pixels (h, w, 3) uint8 of a picture that stands upright, and what was done to it, each a short phrase."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def read(data: bytes, room: int = MAX_PIXELS) -> Picture:
    """The picture that a file holds, with at most `room` pixels. Raises InvalidData, whatever the bytes, and nothing else."""
    try:
        if not data or len(data) > MAX_BYTES:
            raise InvalidData(f"The file has {len(data):,} bytes; allowed: 1 to {MAX_BYTES:,}. Give another, or save it smaller.")
        bare = strip(data)
        _check(*bare.size, room)
        pixels, notes, exif = _decode(bare)
        turn = UPRIGHT.get(entry(exif.removeprefix(b"Exif\0\0"), 0x0112) or 1)
        if turn:
            pixels, notes = np.ascontiguousarray(turn(pixels)), [*notes, "turned upright as its EXIF says"]
        return Picture(pixels, tuple(notes))
    except InvalidData:
        raise
    except Exception:  # over a damaged file a decoder may raise anything; its words would be of no use to people
        raise InvalidData("The file is damaged or cut short: it cannot be decoded; save the picture anew and give it again.") from None


def _check(width: int, height: int, room: int) -> None:
    low, high = sorted((width, height))
    if low < SIDES[0] or high > SIDES[1] or high > MAX_ASPECT * low:
        raise InvalidData(
            f"The picture has {width:,} × {height:,} pixels; allowed: sides of {SIDES[0]} to {SIDES[1]:,}, the longer at most {MAX_ASPECT} "
            "times the shorter. Cut or resize it."
        )
    if width * height > room:
        left = "" if room == MAX_PIXELS else f", which is what the others leave of {MAX_HELD / 1e6:.0f} for all"
        raise InvalidData(
            f"The picture has {width * height / 1e6:.1f} megapixels; allowed: at most {room / 1e6:.1f}{left}. Give a smaller one."
        )


def _decode(bare: Bare) -> tuple[np.ndarray, list[str], bytes]:
    """Pixels as they lie in the file, what was done to them, and its EXIF."""
    with Image.open(io.BytesIO(bare.data), formats=(bare.form,)) as image:
        if image.size != bare.size:
            raise ValueError("the decoder sees another size than the one that was checked")
        if image.mode not in MODES:
            raise InvalidData(f"The picture's mode is {image.mode}; allowed: {', '.join(MODES)}. Save it as PNG with 8 bits a channel.")
        frames, exif = max(bare.frames, getattr(image, "n_frames", 1)), bare.exif or image.info.get("exif") or b""
        image.load()  # the first frame alone
        pixels, transparent = _pixels(image)
        said = {
            f"the first of {frames} frames": frames > 1,
            MODES[image.mode]: MODES[image.mode],
            "16 bits a channel reduced to 8": bare.bits == 16,
            "transparent parts laid on mid-grey": transparent,
        }
        return pixels, [note for note, done in said.items() if done], exif


def _pixels(image: Image.Image) -> tuple[np.ndarray, bool]:
    """Pixels (h, w, 3) uint8 of a decoded image, and whether any lets the ground through."""
    (width, height), key = image.size, image.info.get("transparency")
    if image.mode == "RGB" and key and max(key) > 255:  # a colour of 16 bits a channel, of which Pillow keeps the upper 8
        image.info["transparency"] = tuple(value >> 8 for value in key)
    pixels, transparent, rows = np.empty((height, width, 3), np.uint8), False, max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        if strip.mode == "I;16":  # Pillow would cut 16 bits off at 255
            strip = Image.fromarray(np.rint(np.asarray(strip) / 257).astype(np.uint8))
            strip.info = {} if key is None else {"transparency": round(key / 257)}
        if strip.has_transparency_data:
            strip = strip.convert("RGBA")
            mask = strip.getchannel("A")
            transparent = transparent or mask.getextrema() != (255, 255)
            ground = Image.new("RGB", strip.size, (GREY, GREY, GREY))
            ground.paste(strip, mask=mask)
            strip = ground
        pixels[top : top + rows] = np.asarray(strip.convert("RGB"))
    return pixels, transparent


def read_all(files: Files) -> tuple[dict[str, Picture], dict[str, str]]:
    """Pictures by name, and by name why a file gives none; a name that comes again gets a number.

    Raises InvalidRequest for more than MAX_FILES files.
    """
    if len(files) > MAX_FILES:
        raise InvalidRequest(f"{len(files)} files were given; allowed: at most {MAX_FILES} at once. Leave some out.")
    pictures: dict[str, Picture] = {}
    refused: dict[str, str] = {}
    held = 0
    for given, data in files:
        name = tidy = "".join(letter for letter in given if letter.isprintable() and letter not in MARKS)[-80:] or "picture"
        number = 1
        while name in pictures or name in refused:
            number += 1
            name = f"{tidy} ({number})"
        try:
            pictures[name] = read(data, min(MAX_PIXELS, MAX_HELD - held))
            held += pictures[name].pixels.size // 3
        except InvalidData as error:
            refused[name] = str(error)
    return pictures, refused


def square(pixels: np.ndarray, how: How = "crop", box: tuple[int, int, int] | None = None) -> tuple[int, int, int]:
    """The square that `frame` uses, in pixels of the picture: (left, top, edge). With `fit` it reaches outside.

    Raises InvalidRequest for `box` without one, and UnknownName.
    """
    height, width = pixels.shape[:2]
    if how == "crop":
        edge = min(height, width)
        return (width - edge) // 2, (height - edge) // 2, edge
    if how == "fit":
        edge = max(height, width)
        return -((edge - width) // 2), -((edge - height) // 2), edge
    if how != "box":
        raise UnknownName("way to frame a picture", how, ("crop", "fit", "box"))
    if box is None:
        raise InvalidRequest("No box was given for how='box'; give (left, top, edge) in pixels, or choose 'crop' or 'fit'.")
    edge = max(1, min(box[2], height, width))
    return max(0, min(box[0], width - edge)), max(0, min(box[1], height - edge)), edge


def frame(pixels: np.ndarray, side: int, how: How = "crop", box: tuple[int, int, int] | None = None) -> np.ndarray:
    """A square of a picture, (side, side, 3) uint8: its middle, the whole of it between bars of mid-grey, or a box kept inside it.

    A square that has side × side pixels is left as it is. Raises what `square` raises, and InvalidRequest for a side below 1.
    """
    if side < 1:
        raise InvalidRequest(f"The side is {side}; allowed: 1 pixel or more.")
    left, top, edge = square(pixels, how, box)
    part = pixels[max(0, top) : top + edge, max(0, left) : left + edge]
    height, width = (max(1, round(length * side / edge)) for length in part.shape[:2])
    if part.shape[:2] != (height, width):
        part = np.asarray(Image.fromarray(np.ascontiguousarray(part)).resize((width, height), Image.Resampling.LANCZOS))
    framed = np.full((side, side, 3), GREY, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    framed[top : top + height, left : left + width] = part
    return framed


def encode(pixels: np.ndarray) -> bytes:
    """A PNG of pixels (h, w, 3) uint8, with nothing in it but them."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def read_zip(data: bytes) -> list[tuple[str, bytes]]:
    """Files of a zip as (folder/name, bytes), at most MAX_FILES of MAX_BYTES each and five times that in all, really read.

    Folders and hidden files are passed over, and of a path only the last folder and the name are kept. Raises InvalidData, and
    InvalidRequest for more than there may be.
    """
    try:
        return unzip(data, MAX_FILES, MAX_BYTES, 5 * MAX_BYTES)
    except (InvalidData, InvalidRequest):
        raise
    except Exception:  # zipfile raises ten kinds of error over a damaged file
        raise InvalidData("The file is no zip, or a damaged one; pack the folder anew.") from None


def labelled(files: Files) -> dict[str, list[tuple[str, bytes]]]:
    """Image files by class, which is the folder they lie in; other files and those in no folder are left out.

    Raises InvalidData where there is no class, or one only.
    """
    classes: dict[str, list[tuple[str, bytes]]] = {}
    for path, data in files:
        folder, _ = place(path)
        if folder and form_of(data):
            classes.setdefault(folder, []).append((path, data))
    if len(classes) < 2:
        found = f"all images lie in one folder, {next(iter(classes))!r}" if classes else "no image lies in a folder"
        raise InvalidData(f"Among the {len(files)} files {found}; allowed: a folder of images for each of two or more classes.")
    return dict(sorted(classes.items()))
