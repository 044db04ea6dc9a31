"""Files taken apart: what an image file says of itself, with a copy that has no metadata, and what lies in a zip.

Pillow keeps all metadata of a JPEG as it opens it: 16 MB of empty segments take it 500 MB and ten seconds, EXIF in a million pieces
minutes. Only what the picture is made of goes on to the decoder.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from .errors import InvalidData, InvalidRequest

MAX_PARTS = 50_000  # segments or chunks of one file: an animation of 10,000 frames has some 20,000, a photograph under 1,000
MAX_SCANS = 100  # passes of a progressive JPEG, each over the whole picture: encoders write 10 to 20, a hostile file a million
PNG = b"\x89PNG\r\n\x1a\n"
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither an escaped 0xff, nor a restart within the data, nor filling
SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # segments that open a picture and say its size
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # that Pillow may open: of others it starts programs, for EPS `gs`
DRAWN = SIZES | {0xC4, 0xCC, 0xDA, 0xDB, 0xDD}  # ... and those with its tables and data
END, SCAN = 0xD9, 0xDA


@dataclass(frozen=True)
class Bare:
    """A file's format, its declared (width, height), the file without metadata, its EXIF (as TIFF), frames and bits a channel."""

    form: str
    size: tuple[int, int]
    data: bytes
    exif: bytes = b""
    frames: int = 1
    bits: int = 8


def form_of(data: bytes) -> str | None:
    """JPEG, PNG, WEBP or BMP by the first bytes, which are what its decoder goes by; None for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(PNG):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    return "BMP" if data.startswith(b"BM") else None


def strip(data: bytes) -> Bare:
    """What there is to know of a file before it is decoded. Raises InvalidData; ValueError or struct.error for a damaged file."""
    form = form_of(data)
    if form is None:
        raise InvalidData(
            "The file is none of JPEG, PNG, WebP and BMP, by its content and whatever its name; save the picture as one of them."
        )
    return {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "BMP": _bmp}[form](data)


def entry(block: bytes, tag: int) -> int | None:
    """The whole number under a tag in the first directory of a TIFF structure, as EXIF is one; None where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (first,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, first)
        for at in range(first + 2, first + 2 + 12 * count, 12):
            name, kind = struct.unpack_from(order + "HH", block, at)
            if name == tag and kind in (3, 4):
                return int(struct.unpack_from(order + ("H" if kind == 3 else "I"), block, at + 8)[0])
    except struct.error:  # it points outside: damaged, and no more is to be had of it
        return None
    return None


def _too_many() -> InvalidData:
    return InvalidData(f"The file is cut into more than {MAX_PARTS:,} parts, the most that is allowed; save the picture anew.")


def _segments(data: bytes) -> Iterator[tuple[int, bytes, memoryview]]:
    """Each segment of a JPEG up to its end: code, content, and the whole of it with the data of a scan."""
    view, at = memoryview(data), 2
    for _ in range(MAX_PARTS):
        found = MARKER.search(data, at)
        if found is None:
            raise ValueError("the file ends before the picture")
        start, code = found.end(), data[found.start() + 1]
        if code == END:
            return
        end = start + int.from_bytes(data[start : start + 2], "big")
        if end < start + 2 or end > len(data):
            raise ValueError("a segment reaches beyond the file")
        content, at = data[start + 2 : end], end
        if code == SCAN and (following := MARKER.search(data, end)):
            at = following.start()
        yield code, content, view[found.start() : at]
    raise _too_many()


def _jpeg(data: bytes) -> Bare:
    """Of several pictures in one file, as phones write them (MPO), the first is kept: the others follow its end."""
    size, exif, frames, scans = None, b"", 1, 0
    kept: list[bytes | memoryview] = [b"\xff\xd8"]
    for code, content, whole in _segments(data):
        if code in SIZES:
            if size is not None:
                raise ValueError("two pictures before the first one's end")
            height, width = struct.unpack_from(">HH", content, 1)
            size = (width, height)
        elif code == 0xE1 and content.startswith(b"Exif\0\0"):
            exif = exif or content[6:]
        elif code == 0xE2 and content.startswith(b"MPF\0"):
            frames = entry(content[4:], 0xB001) or 1
        scans += code == SCAN
        if scans > MAX_SCANS:
            raise InvalidData(f"The JPEG is drawn in more than {MAX_SCANS} passes, the most that is allowed; save the picture anew.")
        if code in DRAWN or content.startswith((b"JFIF\0", b"Adobe")):  # the last two say what the channels are
            kept.append(whole)
    if size is None:
        raise ValueError("no picture")
    return Bare("JPEG", size, b"".join([*kept, b"\xff\xd9"]), exif, frames)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Each chunk of a PNG up to its end: name, content, and the whole of it."""
    view, at = memoryview(data), len(PNG)
    for _ in range(MAX_PARTS):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        (said,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[at + 4 : end - 4]) != said:
            raise ValueError("a chunk is damaged")
        yield name, view[at + 8 : end - 4], view[at:end]
        if name == b"IEND":
            return
        at = end
    raise _too_many()


def _png(data: bytes) -> Bare:
    """Of an animation the picture that other programs show is kept: its data lie apart from those of the frames after it."""
    exif, frames = b"", 1
    kept: list[bytes | memoryview] = [PNG]
    for name, content, whole in _chunks(data):
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(whole)
        elif name == b"eXIf":
            exif = bytes(content[: 1 << 16])
        elif name == b"acTL":
            frames = int.from_bytes(content[:4], "big")
    width, height, bits = struct.unpack_from(">IIB", data, 16)
    return Bare("PNG", (width, height), b"".join(kept), exif, frames, bits)


def _webp(data: bytes) -> Bare:
    """The file as it is: its metadata are copied but not looked into. The decoder takes memory as it opens, so the size is read here."""
    if data[12:16] == b"VP8X":
        size = (1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    elif data[12:16] == b"VP8L":
        (both,) = struct.unpack_from("<I", data, 21)
        size = (1 + (both & 0x3FFF), 1 + (both >> 14 & 0x3FFF))
    else:
        width, height = struct.unpack_from("<HH", data, 26)
        size = (width & 0x3FFF, height & 0x3FFF)
    return Bare("WEBP", size, data)


def _bmp(data: bytes) -> Bare:
    """The file as it is: there are no metadata in it."""
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    if header >= 40 and struct.unpack_from("<I", data, 30)[0] in (1, 2):  # Pillow unpacks these pixel by pixel, in Python
        raise InvalidData("The BMP is compressed by run lengths; allowed: one that is not. Save the picture as PNG.")
    return Bare("BMP", (width, abs(height)), data)


def place(path: str) -> tuple[str, str]:
    """The folder that a file lies in ("" for none) and its name: the last two parts of a path, so that no path leads anywhere."""
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part.strip("./ ") and not part.endswith(":")]
    return parts[-2] if len(parts) > 1 else "", parts[-1] if parts else ""


def unzip(data: bytes, files: int, each: int, total: int) -> list[tuple[str, bytes]]:
    """Files of a zip as (folder/name, bytes): at most `files`, of `each` and `total` bytes as they are read, whatever the zip says.

    Folders, hidden files and what macOS adds are passed over. Raises InvalidData, InvalidRequest, and anything for a damaged zip.
    """
    entries = data.count(b"PK\x01\x02")  # before zipfile makes an object of each
    if len(data) > total or entries > 10 * files:
        raise InvalidRequest(
            f"The zip has {len(data):,} bytes and {entries:,} entries; allowed: at most {total:,} and {10 * files:,}. Split it."
        )
    found: list[tuple[str, bytes]] = []
    left = total
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in members(archive):
            if len(found) == files:
                raise InvalidRequest(f"The zip holds more than {files} files, the most that is allowed; split it.")
            content = member(archive, info, min(each, left))
            if content is None:
                raise InvalidRequest(
                    f"The zip unpacks to more than {each:,} bytes for one file or {total:,} in all, the most that is allowed; "
                    "split it, or make the pictures smaller."
                )
            folder, name = place(info.filename)
            found.append((f"{folder}/{name}" if folder else name, content))
            left -= len(content)
    return found


def members(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """The files of a zip; folders, hidden files and what macOS adds are passed over."""
    for info in archive.infolist():
        parts = info.filename.replace("\\", "/").split("/")
        if not (info.is_dir() or "__MACOSX" in parts or any(part.startswith(".") and part.strip(".") for part in parts)):
            yield info


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes | None:
    """What a file of the zip unpacks to; None for more than `most` bytes, of which no more than that are read.

    Raises InvalidData for one that is encrypted, compressed in a rare way or a zip itself, and anything for a damaged one.
    """
    with _stream(archive, info) as stream:
        content = stream.read(most + 1)
    if content.startswith(b"PK\x03\x04"):
        raise InvalidData("The zip holds another zip; allowed: images and folders of images. Unpack the inner one first.")
    return content if len(content) <= most else None


def begins(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The first 16 bytes of a file of the zip, by which its kind is told; none of a damaged one. Raises InvalidData as `member`."""
    readable(info)
    try:
        with archive.open(info) as stream:
            return stream.read(16)
    except Exception:  # zipfile and zlib raise what they like over damaged data
        return b""


def unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, out: IO[bytes], most: int) -> None:
    """Write what a file of the zip unpacks to, a little at a time. Raises InvalidRequest for more than `most` bytes, and as `member`."""
    left = most
    with _stream(archive, info) as stream:
        while part := stream.read(1 << 20):
            left -= len(part)
            if left < 0:
                raise InvalidRequest(f"A file in the zip unpacks to more than {most:,} bytes, the most that is allowed; split it.")
            out.write(part)
    out.flush()


def _stream(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    readable(info)
    return archive.open(info)


def readable(info: zipfile.ZipInfo) -> None:
    """Raises InvalidData for a file of a zip that is encrypted or compressed in a rare way."""
    if info.flag_bits & 1:
        raise InvalidData("The zip is encrypted; allowed: one without a password. Pack the folder anew.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack gigabytes before one can stop them
        raise InvalidData("The zip is compressed in a rare way; allowed: deflate, as by default. Pack the folder anew.")
