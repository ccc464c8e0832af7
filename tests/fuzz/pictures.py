"""Strategies for boxes of any floats, for pictures of any mode, and for encoded pictures, damaged or made to lie."""

import io
import math
import struct
import zlib

from hypothesis import strategies as st
from PIL import Image

from fuzz.files import damaged
from fuzz.texts import weighted
from groundr1.boxes import Box

odd_numbers = st.one_of(
    st.floats(),
    st.integers(-(10**20), 10**20),
    st.sampled_from([0.0, -0.0, 5e-324, 1e308, math.inf, math.nan]),
)
any_boxes = weighted(
    (3, st.builds(Box.from_xywh, *[st.floats(-20, 60)] * 2, *[st.floats(0.01, 100)] * 2)),
    (1, st.builds(Box, *[st.floats(-50, 300)] * 4)),
    (1, st.builds(Box, *[st.floats()] * 4)),
    (1, st.builds(Box, *[odd_numbers] * 4)),
)
sizes = st.one_of(
    st.tuples(*[st.integers(1, 400)] * 2),
    st.tuples(*[st.one_of(st.floats(), st.integers(-2, 10**30))] * 2),
)
MODES = (
    "RGB",
    "L",
    "1",
    "P",
    "RGBA",
    "LA",
    "PA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "I;16",
    "RGBX",
    "RGBa",
    "La",
)
pictures = st.builds(
    Image.new,
    st.sampled_from(MODES),
    st.tuples(*[st.one_of(st.integers(1, 60), st.sampled_from([1, 2, 27, 28, 29, 400]))] * 2),
)


def _encode(form: str, mode: str, size: tuple[int, int], **options: object) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def _samples() -> list[bytes]:
    """Small pictures of every format that is read, and of some that are not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.new("P", (20, 10), colour) for colour in (0, 1)]
    animated = io.BytesIO()
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    sixteen = io.BytesIO()
    Image.new("I;16", (9, 9), 30_000).save(sixteen, "PNG")
    found = [animated.getvalue(), sixteen.getvalue(), _encode("JPEG", "RGB", (20, 10), exif=exif)]
    for form, mode in [
        ("PNG", "RGB"), ("PNG", "P"), ("PNG", "LA"), ("PNG", "1"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("JPEG", "L"), ("GIF", "P"), ("BMP", "RGB"),
        ("TIFF", "RGB"), ("TIFF", "F"), ("TIFF", "CMYK"), ("PPM", "RGB"), ("WEBP", "RGBA"), ("DIB", "RGB"), ("ICO", "RGBA"), ("EPS", "RGB"),
        ("PCX", "RGB"), ("TGA", "RGB"), ("PDF", "RGB"), ("JPEG2000", "RGB"), ("AVIF", "RGB"),
    ]:  # fmt: skip
        try:
            found.append(_encode(form, mode, (20, 10)))
        except (OSError, KeyError, ValueError):  # this build of Pillow does not write it
            continue
    for options in (
        {"compression": "tiff_lzw"},
        {"compression": "tiff_adobe_deflate"},
        {"compression": "jpeg"},
    ):
        found.append(_encode("TIFF", "RGB", (20, 10), **options))
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


odd_chunks = st.builds(
    _chunk,
    st.sampled_from(
        (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"gAMA", b"acTL", b"fcTL", b"pHYs")
    ),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from((b"a\0\0" + zlib.compress(bytes(300_000)), b"Exif\0\0II*\0\xff\xff\xff\xff")),
    ),
)
sides = st.one_of(
    st.integers(0, 40), st.sampled_from((9000, 11000, 12000, 32769, 65535, 2**24, 2**31 - 1, 2**32 - 1))
)
png_headers = st.tuples(
    sides,
    sides,
    st.sampled_from((8, 1, 2, 4, 8, 16, 3)),
    st.sampled_from((0, 2, 3, 4, 6, 1)),
    st.just(0),
    st.just(0),
    st.integers(0, 2),
)


@st.composite
def png_files(draw):
    """PNG files whose checksums are right and whose header, chunks and content need not fit one another."""
    header = draw(png_headers)
    content = zlib.compress(bytes(draw(st.sampled_from((0, 1, 100, 5000)))))
    palette = _chunk(b"PLTE", bytes(range(48))) if header[3] == 3 and draw(st.booleans()) else b""
    extra = draw(st.one_of(st.just(b""), odd_chunks))
    parts = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", *header)),
        *draw(st.permutations([palette, extra, _chunk(b"IDAT", content)])),
        _chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _with_exif(tag: int, kind: int, count: int, value: bytes, following: int) -> bytes:
    """A JPEG whose EXIF has one entry, as odd as it likes."""
    entry = struct.pack("<HHHI4sI", 1, tag, kind, count, value, following)
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), "teal").save(stream, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + entry)
    return stream.getvalue()


turned_pictures = st.builds(
    _with_exif,
    st.sampled_from((0x0112, 0x0112, 0x8769)),
    st.sampled_from((3, 3, 3, 1, 2, 4, 5, 7, 12, 0, 99)),
    st.sampled_from((1, 1, 1, 0, 2, 2**32 - 1)),
    st.one_of(
        st.integers(0, 9).map(lambda value: bytes([value, 0, 0, 0])), st.binary(min_size=4, max_size=4)
    ),
    st.sampled_from((0, 0, 8, 2**32 - 1)),
)

SAMPLES = _samples()
encoded_pictures = weighted(
    (4, st.sampled_from(SAMPLES).flatmap(damaged)),
    (1, st.sampled_from(SAMPLES)),
    (2, png_files()),
    (2, turned_pictures),
    (1, st.binary(max_size=64)),
)
