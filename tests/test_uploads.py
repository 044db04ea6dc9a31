"""Uploaded files: what becomes of good ones, and that bad ones cost a sentence and no more."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from analysis import uploads
from analysis.containers import MAX_PARTS
from analysis.datasets.base import fit_square
from analysis.errors import InvalidData, InvalidRequest, UnknownName
from analysis.uploads import frame, labelled, read, read_all, read_zip, square

ROOT = Path(__file__).parent.parent
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)
SMOOTH = np.dstack([np.add.outer(np.arange(24) * k, np.arange(40) * 2) for k in (1, 2, 3)]).astype(np.uint8)
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}}


def save(image: Image.Image | np.ndarray, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, form, **options)
    return out.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *extra: bytes, data: bytes = b"", bits: int = 8, colour: int = 2) -> bytes:
    """A PNG by hand: what its header says need not be true."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(width: int, height: int, *extra: bytes, channels: int = 3, bits: int = 8) -> bytes:
    """A PNG of nothing but zeros, packed a thousandfold."""
    packer = zlib.compressobj(9)
    line = bytes(1 + (width * channels * bits + 7) // 8)
    data = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    return png(width, height, *extra, data=data, bits=bits, colour={1: 0, 3: 2, 4: 6}[channels])


def segment(code: int, content: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(content) + 2) + content


def with_segments(jpeg: bytes, *extra: bytes) -> bytes:
    return jpeg[:2] + b"".join(extra) + jpeg[2:]


def greedy_exif(entries: int, size: int) -> bytes:
    """EXIF in which every entry is said to be as long as all of it together."""
    each = b"".join(struct.pack("<HHII", tag, 7, size - 100, 8) for tag in range(1000, 1000 + entries))
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + each).ljust(size, b"\0")


def webp_frames(count: int) -> bytes:
    """An animated WebP of `count` frames, put together from one."""
    still = save(SMOOTH, "WEBP", lossless=True)
    part = still[12:]
    size = (39).to_bytes(3, "little") + (23).to_bytes(3, "little")
    one = bytes(6) + size + bytes(4) + part
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    body += (b"ANMF" + struct.pack("<I", len(one)) + one) * count
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def png_frames(count: int) -> bytes:
    """An animated PNG of `count` frames."""
    first, drawn = save(SMOOTH), zlib.compress(bytes(24 * (1 + 40 * 3)))
    control = [struct.pack(">IIIIIHHBB", k, 40, 24, 0, 0, 1, 10, 0, 0) for k in range(2 * count)]
    later = (chunk(b"fcTL", control[k]) + chunk(b"fdAT", struct.pack(">I", k + 1) + drawn) for k in range(1, 2 * count - 1, 2))
    at, end = first.index(b"IDAT") - 4, first.index(b"IEND") - 4
    frames = [first[:at], chunk(b"acTL", struct.pack(">II", count, 0)), chunk(b"fcTL", control[0]), first[at:end], *later, first[end:]]
    return b"".join(frames)


def scans(count: int) -> bytes:
    """A progressive JPEG of 4096 × 4096 pixels that is drawn over and over."""
    jpeg = save(Image.new("L", (4096, 4096)), "JPEG", progressive=True)
    last, end = jpeg.rindex(b"\xff\xda"), jpeg.rindex(b"\xff\xd9")
    return jpeg[:end] + jpeg[last:end] * count + jpeg[end:]


def gif() -> bytes:
    return save(SMOOTH, "GIF")


def nan_tiff() -> bytes:
    return save(np.full((24, 40), np.nan, np.float32), "TIFF")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "zero bytes": (lambda: b"", "0 bytes"),
    "more than 20 MB": (lambda: save(SMOOTH) + bytes(20_000_000), "allowed: 1 to 20,000,000"),
    "random bytes": (lambda: RNG.bytes(100_000), "none of JPEG, PNG, WebP and BMP"),
    "SVG with a script": (lambda: SVG, "none of JPEG, PNG, WebP and BMP"),
    "GIF": (gif, "none of JPEG, PNG, WebP and BMP"),
    "NaN in a float TIFF": (nan_tiff, "none of JPEG, PNG, WebP and BMP"),
    "zip": (lambda: zipped({"a.png": save(SMOOTH)}), "none of JPEG, PNG, WebP and BMP"),
    "the magic alone, JPEG": (lambda: b"\xff\xd8\xff", "damaged or cut short"),
    "the magic alone, BMP": (lambda: b"BM", "damaged or cut short"),
    "1 × 100,000": (lambda: zeros(1, 100_000), "1 × 100,000 pixels; allowed: sides of 8 to 20,000"),
    "100 × 10,000": (lambda: zeros(100, 10_000), "at most 50 times the shorter"),
    "60,000 × 60,000 declared": (lambda: png(60_000, 60_000), "60,000 × 60,000"),
    "19,999 × 19,999 declared": (lambda: png(19_999, 19_999), "400.0 megapixels; allowed: at most 25.0"),
    "400 megapixels of zeros": (lambda: zeros(20_000, 20_000, channels=1, bits=1), "400.0 megapixels"),
    "BMP of 20,000 × 20,000": (lambda: declared_bmp(20_000, 20_000), "400.0 megapixels"),
    "WebP of 16,000 × 8,000": (lambda: declared_webp(16_000, 8_000), "128.0 megapixels"),
    "JPEG of 65,535 × 65,535": (lambda: declared_jpeg(65_535, 65_535), "65,535 × 65,535"),
    "a promise of 25 megapixels": (lambda: png(5000, 5000, data=zlib.compress(bytes(99))), "damaged or cut short"),
    "a million chunks": (lambda: png(40, 24, chunk(b"teXt", b"") * 1_000_000), f"more than {MAX_PARTS:,} parts"),
    "four million segments": (
        lambda: with_segments(save(SMOOTH, "JPEG"), segment(0xE5, b"") * 4_000_000),
        f"more than {MAX_PARTS:,} parts",
    ),
    "a thousand passes": (lambda: scans(1000), "more than 100 passes"),
    "JPEG with two pictures": (lambda: with_segments(save(SMOOTH, "JPEG"), declared_jpeg(8, 8)[2:-2]), "damaged or cut short"),
    "run lengths": (lambda: declared_bmp(40, 24, compression=1), "run lengths"),
}
ACCEPTED: dict[str, tuple[Callable[[], bytes], tuple[int, int], int]] = {  # with the growth of memory in MB that is allowed
    "25 megapixels of zeros": (lambda: zeros(5000, 5000), (5000, 5000), 250),
    "25 megapixels of clear zeros": (lambda: zeros(5000, 5000, channels=4), (5000, 5000), 250),
    "25 megapixels of 16 bits": (lambda: zeros(5000, 5000, channels=1, bits=16), (5000, 5000), 250),
    "a turned JPEG of 25 megapixels": (lambda: large("JPEG", "RGB", exif=turned(6)), (4000, 6250), 250),
    "a progressive CMYK JPEG of 25 megapixels": (lambda: large("JPEG", "CMYK", progressive=True, subsampling=0), (6250, 4000), 400),
    "a WebP of 25 megapixels": (lambda: large("WEBP", "RGBA", lossless=True, method=0), (6250, 4000), 500),
    "a BMP of 6 megapixels": (lambda: save(Image.new("RGB", (3000, 2000)), "BMP"), (3000, 2000), 100),
    "greedy EXIF in a JPEG": (lambda: with_segments(save(SMOOTH, "JPEG"), greedy(5000)), (40, 24), 50),
    "greedy EXIF in many segments": (lambda: with_segments(save(SMOOTH, "JPEG"), *[greedy(5000)] * 250), (40, 24), 100),
    "greedy EXIF in a PNG": (lambda: with_chunks(chunk(b"eXIf", greedy_exif(60_000, 15_000_000))), (40, 24), 100),
    "text of a PNG that unpacks to 10 GB": (lambda: with_chunks(text_bomb() * 200), (40, 24), 50),
    "10,000 frames of a PNG": (lambda: png_frames(10_000), (40, 24), 50),
    "10,000 frames of a WebP": (lambda: webp_frames(10_000), (40, 24), 150),
}
ZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a file of 1 GB": (lambda: huge_member(1_000_000_000), "more than 20,000,000 bytes for one file"),
    "six files of 19 MB": (lambda: zipped({f"{k}.png": bytes(19_000_000) for k in range(6)}), "or 100,000,000 in all"),
    "a million entries": (lambda: entries(1_000_000), "1,000,000 entries; allowed: at most 100,000,000 and 2,000"),
    "a bomb in a bomb": (lambda: zipped({"a.zip": huge_member(100_000_000)}), "another zip"),
    "a size that is a lie": (lambda: huge_member(50_000_000, said=1000), "damaged"),
}
REFUSED_MB = 50  # two copies of a file of 20 MB and some more; a decoded picture would not fit in
ZIP_MB = 150  # 100 MB of unpacked files, and the next one
CHILD = """
import json, sys
from pathlib import Path
from analysis import uploads
from analysis.errors import NoisescopeError
import io
from PIL import Image

def peak():  # of this process since it began; getrusage would have that of the parent too, where it was larger
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")) / 1000

for form in uploads.FORMATS:  # the decoders are loaded
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, form)
    uploads.read(content.getvalue())
data, before, said, size = Path(sys.argv[1]).read_bytes(), peak(), "", None
try:
    size = uploads.read(data).pixels.shape[1::-1] if sys.argv[2] == "read" else len(uploads.read_zip(data))
except NoisescopeError as error:
    said = str(error)
print(json.dumps([peak() - before, said, size]))
"""


def text_bomb() -> bytes:
    return chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))


def declared_jpeg(width: int, height: int) -> bytes:
    return b"\xff\xd8" + segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0") + b"\xff\xd9"


def declared_bmp(width: int, height: int, compression: int = 0) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + header + bytes(1024 + 999)


def declared_webp(width: int, height: int) -> bytes:
    whole = bytearray(webp_frames(1))
    whole[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(whole)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def greedy(entries: int) -> bytes:
    return segment(0xE1, b"Exif\0\0" + greedy_exif(entries, 65_000))


def with_chunks(chunks: bytes) -> bytes:
    plain = save(SMOOTH)
    return plain[:33] + chunks + plain[33:]


def large(form: str, mode: str, **options: object) -> bytes:
    """25 megapixels of gentle waves."""
    tile = np.asarray(Image.fromarray(SMOOTH).convert(mode))
    return save(Image.fromarray(np.tile(tile, (167, 157, 1))[:4000, :6250], mode), form, **options)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def huge_member(size: int, said: int = 0) -> bytes:
    """A zip with one file of zeros, of which it may say that it is shorter."""
    out, block = io.BytesIO(), bytes(1_000_000)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.png", "w") as stream:
        for _ in range(size // len(block)):
            stream.write(block)
    return out.getvalue().replace(struct.pack("<I", size), struct.pack("<I", said or size))


def entries(count: int) -> bytes:
    """A zip of nothing but a list of what is said to be in it."""
    listed = (b"PK\x01\x02" + bytes(42)) * count
    return listed + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65_535, 65_535, len(listed), 0, 0)


def alone(data: bytes, folder: Path, work: str = "read") -> tuple[float, str, list[int] | None]:
    """What `read` (or `read_zip`) makes of a file in a process of its own: growth of its peak memory in MB, the sentence, the size."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of memory is read from /proc")
    (folder / "file").write_bytes(data)
    command = [sys.executable, "-c", CHILD, str(folder / "file"), work]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout))


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_file_costs_one_sentence_and_little_memory(name: str, tmp_path: Path) -> None:
    make, expected = REFUSED[name]
    grown, said, size = alone(make(), tmp_path)
    assert size is None
    assert expected in said
    assert said.endswith(".")
    assert grown < REFUSED_MB


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_large_or_greedy_file_is_read_within_its_bound_of_memory(name: str, tmp_path: Path) -> None:
    make, expected, bound = ACCEPTED[name]
    grown, said, size = alone(make(), tmp_path)
    assert (said, size) == ("", list(expected))
    assert grown < bound


@pytest.mark.parametrize("form", LOSSLESS)
def test_pixels_of_a_lossless_file_come_back_as_they_were(form: str) -> None:
    picture = read(save(PIXELS, form, **LOSSLESS[form]))
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    assert picture.notes == ()


def test_a_jpeg_gives_what_pillow_sees_in_it() -> None:
    for options in ({}, {"progressive": True}, {"subsampling": 0, "quality": 95}, {"restart_marker_rows": 1}):
        data = save(SMOOTH, "JPEG", comment=b"\xff\xd9\xff\xda", **options)
        np.testing.assert_array_equal(read(data).pixels, np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_every_file_that_is_cut_short_is_refused(form: str) -> None:
    whole = save(PIXELS, form)
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        with pytest.raises(InvalidData):
            read(whole[:length])


def test_random_changes_give_a_picture_or_a_sentence_and_nothing_else() -> None:
    rng = np.random.default_rng(7)
    exif = turned(6)
    files = [save(SMOOTH, form, exif=exif) for form in ("JPEG", "PNG", "WEBP")] + [
        save(SMOOTH, "BMP"),
        save(Image.fromarray(SMOOTH).quantize(7)),
        save(SMOOTH, "JPEG", progressive=True),
        png_frames(3),
        webp_frames(3),
    ]
    outcomes = [outcome(change(files[k % len(files)], rng)) for k in range(400)]
    assert set(outcomes) == {"picture", "sentence"}


def change(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with some bytes altered, removed or put in, half of the time within its head."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(0, len(out) if rng.random() < 0.5 else min(100, len(out))))
        way = rng.integers(0, 3)
        out[at : at + (0, 1, int(rng.integers(1, 20)))[way]] = (rng.bytes(3), rng.bytes(1), b"")[way]
    return bytes(out)


def outcome(data: bytes) -> str:
    try:
        picture = read(data)
    except InvalidData:
        return "sentence"
    assert picture.pixels.dtype == np.uint8
    return "picture"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_photograph_is_turned_as_pillow_would_turn_it(form: str, orientation: int) -> None:
    data = save(SMOOTH, form, exif=turned(orientation))
    picture = read(data)
    np.testing.assert_array_equal(picture.pixels, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)).convert("RGB"))))
    assert picture.notes == (("turned upright as its EXIF says",) if orientation > 1 else ())


@pytest.mark.parametrize("exif", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0" * 99])
def test_damaged_exif_is_as_good_as_none(exif: bytes) -> None:
    for data in (with_chunks(chunk(b"eXIf", exif)), with_segments(save(SMOOTH, "JPEG"), segment(0xE1, b"Exif\0\0" + exif))):
        assert read(data).notes == ()


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    ramp = np.linspace(0, 65_535, 24 * 40).astype(np.uint16).reshape(24, 40)
    picture = read(save(ramp))
    np.testing.assert_array_equal(picture.pixels[..., 1], np.round(ramp / 257))
    assert picture.notes == ("greyscale", "16 bits a channel reduced to 8")


def test_sixteen_bits_in_three_channels_are_said_too() -> None:
    wide = SMOOTH.astype(">u2") * 257
    data = zlib.compress(b"".join(b"\0" + line.tobytes() for line in wide))
    clear = chunk(b"tRNS", wide[0, 0].tobytes())
    picture = read(png(40, 24, clear, data=data, bits=16))
    assert picture.notes == ("16 bits a channel reduced to 8", "transparent parts laid on mid-grey")
    np.testing.assert_array_equal(picture.pixels[1:], SMOOTH[1:])
    assert picture.pixels[0, 0].tolist() == [128, 128, 128]


def test_transparent_parts_lie_on_mid_grey() -> None:
    layers = np.dstack([np.full((8, 8, 3), 200, np.uint8), np.repeat([0, 255], 32).reshape(8, 8)]).astype(np.uint8)
    picture = read(save(layers))
    assert (picture.pixels[0, 0].tolist(), picture.pixels[7, 7].tolist()) == ([128] * 3, [200] * 3)
    assert picture.notes == ("transparent parts laid on mid-grey",)
    layers[..., 3] = 255
    assert read(save(layers)).notes == ()


@pytest.mark.parametrize(
    ("mode", "form", "note"),
    [
        ("L", "PNG", "greyscale"),
        ("1", "BMP", "greyscale"),
        ("LA", "PNG", "greyscale"),
        ("L", "JPEG", "greyscale"),
        ("P", "PNG", "palette converted"),
        ("CMYK", "JPEG", "CMYK converted"),
    ],
)
def test_other_modes_become_colours_and_are_said(mode: str, form: str, note: str) -> None:
    data = save(Image.fromarray(SMOOTH).convert(mode), form)
    picture = read(data)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert picture.notes == (note,)


def test_a_palette_may_have_a_clear_colour() -> None:
    palette = Image.fromarray(SMOOTH).quantize(5)
    picture = read(save(palette, transparency=palette.getpixel((0, 0))))
    assert picture.notes == ("palette converted", "transparent parts laid on mid-grey")
    assert picture.pixels[0, 0].tolist() == [128] * 3


@pytest.mark.parametrize("make", [png_frames, webp_frames])
def test_of_an_animation_the_first_frame_is_taken(make: Callable[[int], bytes]) -> None:
    picture = read(make(12))
    np.testing.assert_array_equal(picture.pixels, SMOOTH)
    assert picture.notes == ("the first of 12 frames",)


def test_of_several_pictures_that_a_phone_puts_into_one_file_the_first_is_taken() -> None:
    data = save(SMOOTH, "MPO", save_all=True, append_images=[Image.fromarray(PIXELS)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    picture = read(data)
    assert picture.notes == ("the first of 2 frames",)
    np.testing.assert_array_equal(picture.pixels, read(save(SMOOTH, "JPEG")).pixels)


def test_nothing_but_pixels_is_written_again() -> None:
    note = b"taken at home"
    for form in ("JPEG", "PNG", "WEBP"):
        exif = turned(1)
        exif[0x010E] = note.decode()
        data = save(SMOOTH, form, exif=exif)
        written = uploads.encode(read(data).pixels)
        assert note in data
        assert note not in written
        assert {written[at - 4 : at] for at in (16, 41)} == {b"IHDR", b"IDAT"}
        np.testing.assert_array_equal(read(written).pixels, read(data).pixels)


def test_a_file_goes_by_its_content_and_not_by_its_name() -> None:
    pictures, refused = read_all([("a.txt", save(SMOOTH, "JPEG")), ("b.png", save(SMOOTH, "WEBP")), ("c.png", gif())])
    assert list(pictures) == ["a.txt", "b.png"]
    assert list(refused) == ["c.png"]


def test_names_are_kept_apart_and_tidied() -> None:
    data = save(SMOOTH)
    pictures, refused = read_all(
        [("a", data), ("a", data), ("a", b""), ("a (2)", data), ("b\n\u202e", data), ("x" * 999, data), ("", data)]
    )
    assert list(pictures) == ["a", "a (2)", "a (2) (2)", "b", "x" * 80, "picture"]
    assert list(refused) == ["a (3)"]


def test_more_files_than_allowed_are_refused_at_once() -> None:
    with pytest.raises(InvalidRequest, match="201 files were given; allowed: at most 200"):
        read_all([("a", b"")] * 201)


def test_all_pictures_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_HELD", 2 * 24 * 40 + 100)
    pictures, refused = read_all([(name, save(SMOOTH)) for name in "abc"] + [("d", save(SMOOTH[:8, :8]))])
    assert (list(pictures), list(refused)) == (["a", "b", "d"], ["c"])
    assert "which is what the others leave" in refused["c"]


def test_the_middle_square_is_the_one_of_every_data_set() -> None:
    for side in (8, 16, 24, 100):
        np.testing.assert_array_equal(frame(PIXELS, side), fit_square(Image.fromarray(PIXELS), side))


def test_a_square_that_has_the_size_already_is_left_as_it_is() -> None:
    np.testing.assert_array_equal(frame(PIXELS, 24), PIXELS[:, 8:32])
    np.testing.assert_array_equal(frame(PIXELS, 10, "box", (3, 4, 10)), PIXELS[4:14, 3:13])
    np.testing.assert_array_equal(frame(PIXELS, 40, "fit")[8:32], PIXELS)


def test_the_whole_picture_lies_between_bars() -> None:
    white = np.full((20, 40, 3), 255, np.uint8)
    fitted = frame(white, 16, "fit")
    assert (fitted[:4] == 128).all()
    assert (fitted[12:] == 128).all()
    assert (fitted[4:12] == 255).all()
    assert square(white, "fit") == (0, -10, 40)
    np.testing.assert_array_equal(frame(white.swapaxes(0, 1), 16, "fit"), fitted.swapaxes(0, 1))


@pytest.mark.parametrize(
    ("box", "used"),
    [((5, 6, 10), (5, 6, 10)), ((-5, -6, 10), (0, 0, 10)), ((35, 20, 10), (30, 14, 10)), ((5, 5, 999), (5, 0, 24)), ((1, 2, 0), (1, 2, 1))],
)
def test_a_box_is_kept_inside_the_picture(box: tuple[int, int, int], used: tuple[int, int, int]) -> None:
    assert square(PIXELS, "box", box) == used
    left, top, edge = used
    np.testing.assert_array_equal(frame(PIXELS, edge, "box", box), PIXELS[top : top + edge, left : left + edge])


def test_frames_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="No box was given"):
        square(PIXELS, "box")
    with pytest.raises(UnknownName, match="allowed: box, crop, fit"):
        frame(PIXELS, 8, "stretch")
    with pytest.raises(InvalidRequest, match="The side is 0"):
        frame(PIXELS, 0)


def test_a_zip_of_folders_becomes_classes() -> None:
    members = {f"pets/{kind}/{k}.png": save(PIXELS) for kind in ("dog", "cat") for k in range(2)}
    hidden = {"pets/cat/.DS_Store": b"x", "__MACOSX/pets/cat/._0.png": b"x", "pets/readme.txt": b"x", ".git/x/a.png": save(PIXELS)}
    files = read_zip(zipped({**members, **hidden}))
    assert [path for path, _ in files] == ["dog/0.png", "dog/1.png", "cat/0.png", "cat/1.png", "pets/readme.txt"]
    assert {name: [path for path, _ in group] for name, group in labelled(files).items()} == {
        "cat": ["cat/0.png", "cat/1.png"],
        "dog": ["dog/0.png", "dog/1.png"],
    }


@pytest.mark.parametrize("path", ["../../a/b.png", "/etc/a/b.png", "C:\\x\\a\\b.png", "x/../a/./b.png"])
def test_a_path_in_a_zip_leads_nowhere(path: str) -> None:
    assert [name for name, _ in read_zip(zipped({path: b"x"}))] == ["a/b.png"]
    assert [name for name, _ in read_zip(zipped({"../../b.png": b"x"}))] == ["b.png"]


@pytest.mark.parametrize(
    ("files", "found"),
    [([("a.png", b"BM")], "no image lies in a folder"), ([("x/a.png", b"BM"), ("y/b.txt", b"-")], "one folder, 'x'"), ([], "no image")],
)
def test_without_two_folders_of_images_there_are_no_classes(files: list[tuple[str, bytes]], found: str) -> None:
    with pytest.raises(InvalidData, match=found):
        labelled(files)


def test_a_zip_has_at_most_so_many_files_and_entries() -> None:
    with pytest.raises(InvalidRequest, match="more than 200 files"):
        read_zip(zipped({f"{k}.png": b"" for k in range(201)}))
    with pytest.raises(InvalidRequest, match="2,001 entries; allowed: at most 100,000,000 and 2,000"):
        read_zip(zipped({f"{k}/": b"" for k in range(2001)}))
    assert len(read_zip(zipped({f"{k}.png": b"" for k in range(200)}))) == 200


@pytest.mark.parametrize("name", ZIPS)
def test_a_hostile_zip_costs_one_sentence_and_bounded_memory(name: str, tmp_path: Path) -> None:
    make, expected = ZIPS[name]
    grown, said, size = alone(make(), tmp_path, "read_zip")
    assert size is None
    assert expected in said
    assert grown < ZIP_MB


def test_zips_that_cannot_be_read_are_refused() -> None:
    good = zipped({"a/b.png": save(PIXELS)})
    encrypted = bytearray(good)
    encrypted[6] |= 1
    encrypted[good.index(b"PK\x01\x02") + 8] |= 1
    for data, why in (
        (b"", "no zip"),
        (save(PIXELS), "no zip"),
        (good[: len(good) // 2], "no zip"),
        (good.replace(b"IDAT", b"IDAX"), "damaged"),
        (bytes(encrypted), "encrypted"),
        (zipped({"inner.zip": good}), "another zip"),
        (zipped({"a.png": bytes(99)}, zipfile.ZIP_LZMA), "rare way"),
        (zipped({"a.png": bytes(99)}, zipfile.ZIP_BZIP2), "rare way"),
    ):
        with pytest.raises(InvalidData, match=why):
            read_zip(data)


def test_random_changes_to_a_zip_give_files_or_a_sentence() -> None:
    rng, good = np.random.default_rng(3), zipped({"a/b.png": save(SMOOTH), "c/d.png": save(PIXELS)})
    for _ in range(200):
        with contextlib.suppress(InvalidData, InvalidRequest):
            assert all(isinstance(content, bytes) for _, content in read_zip(change(good, rng)))


@pytest.mark.skipif("NOISESCOPE_TEST_DATA" not in os.environ, reason="NOISESCOPE_TEST_DATA does not say where the test data are")
def test_twelve_photographs_are_read_as_the_data_sets_read_them() -> None:
    paths = sorted(Path(os.environ["NOISESCOPE_TEST_DATA"], "photos").glob("*.JPEG"))
    pictures, refused = read_all([(path.name, path.read_bytes()) for path in paths])
    assert (len(pictures), refused) == (12, {})
    for path in paths:
        np.testing.assert_array_equal(frame(pictures[path.name].pixels, 64), fit_square(Image.open(path), 64))


def test_a_name_cannot_end_the_picture_that_it_stands_beside() -> None:
    pictures, _ = read_all([("a](https:evil.example).png", save(SMOOTH))])
    assert list(pictures) == ["a(https:evil.example).png"]
