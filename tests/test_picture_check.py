"""Pictures: what is refused and why, the one rule to RGB, and that opening follows the checking."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from groundr1.data.example import EXAMPLE_FEATURES, load_image
from groundr1.data.picture_check import (
    DEFAULT_LIMITS,
    BadPicture,
    Limits,
    check_picture,
    open_upright,
    perceptual_hash,
    to_rgb,
)
from groundr1.data.upright import upright_size
from groundr1.pictures import open_picture

RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((64, 48), Image.BICUBIC)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims any size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def refusal(source: bytes | Path, limits: Limits = DEFAULT_LIMITS) -> tuple[str, str]:
    with pytest.raises(BadPicture) as caught:
        check_picture(source, limits)
    return caught.value.fault, str(caught.value)


# What passes


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_every_format_that_is_read_passes_and_is_described(form: str, tmp_path: Path):
    content = encoded(NOISE, form)
    facts = check_picture(content)
    assert (facts.size, facts.stored_size, facts.format, facts.notes) == ((64, 48), (64, 48), form, ())
    assert facts.mode == ("P" if form == "GIF" else "RGB") and len(facts.sha256) == 32
    (tmp_path / "a").write_bytes(content)
    assert check_picture(tmp_path / "a") == facts, "the file's name and suffix say nothing"


def test_a_picture_of_several_frames_is_its_first():
    frames = [Image.new("RGB", (20, 16), colour) for colour in ("red", "blue", "green")]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        assert check_picture(content).notes == ("first of several frames",), form
        red, green, blue = to_rgb(open_upright(content)).getpixel((3, 3))
        assert red > 250 and green < 5 and blue < 5, form


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(form: str, orientation: int, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a").write_bytes(encoded(NOISE, form, exif=exif))
    facts = check_picture(tmp_path / "a")
    is_on_its_side = orientation >= 5
    assert facts.size == ((48, 64) if is_on_its_side else (64, 48))
    assert facts.stored_size == (64, 48), "also of a TIFF, which Pillow turns itself"
    assert facts.notes == (("turned upright by its EXIF orientation",) if orientation > 1 else ())
    opened = open_picture(tmp_path / "a", "x")
    assert opened.size == facts.size and opened.getexif().get(0x0112, 1) == 1
    row = {"id": "1", "image": str(tmp_path / "a"), "question": "", "solution": [], "kind": "", "boxes": []}
    (row,) = Dataset.from_list([row | {"source": ""}], features=EXAMPLE_FEATURES)
    assert open_picture(row["image"], "x").tobytes() == opened.tobytes(), "datasets turned it: not again"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_says_how_large_a_picture_is_upright(form: str, orientation: int, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(NOISE, form, exif=exif)
    size = check_picture(content).size
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)  # decoding would fail
    assert upright_size(content) == size


# What is refused


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_of_every_format_are_refused(form: str, share: float):
    content = encoded(Image.fromarray(RNG.integers(0, 255, (200, 200, 3), dtype=np.uint8)), form)
    fault, reason = refusal(content[: int(share * len(content))])
    assert fault == "picture unreadable" and "download it again" in reason and "\n" not in reason


def test_refused_for_what_they_are(tmp_path: Path):
    assert refusal(tmp_path / "absent.png") == (
        "picture missing",
        f"There is no picture {tmp_path / 'absent.png'}; download it, or correct the image root.",
    )
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    svg = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>'
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(x) run\n"
    for source, fault, reason in [
        (tmp_path / "pipe.png", "picture missing", "is no file"),
        (tmp_path, "picture missing", "is no file"),
        (tmp_path / ("x" * 300), "picture missing", "name too long"),
        (tmp_path / "a\0b", "picture missing", "null"),
        (tmp_path / "empty.png", "picture unreadable", "empty"),
        (b"", "picture unreadable", "empty"),
        (b"<html>404</html>", "picture unreadable", "of no format that is read: "),
        (svg, "picture unreadable", "of no format that is read"),
        (postscript, "picture unreadable", "of no format that is read"),
    ]:
        found = refusal(source)
        assert found[0] == fault and reason in found[1].replace("embedded null", "null"), source


@pytest.mark.parametrize("method", ["stat", "read_bytes"])
def test_a_picture_that_may_not_be_read_is_no_missing_one(tmp_path: Path, monkeypatch, method: str):
    """Its folder may not be entered, or the file not be read."""
    (tmp_path / "a.png").write_bytes(encoded(NOISE, "PNG"))

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, method, refused)
    fault, reason = refusal(tmp_path / "a.png")
    assert fault == "picture unreadable" and "may not be read" in reason and "chmod a+r" in reason


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("size", "limits", "reason"),
    [
        ((20_000, 20_000), Limits(), "bomb"),
        ((12_000, 12_000), Limits(), "more than the 134,217,728 that are decoded (a decompression bomb?)"),
        ((100, 100), Limits(max_pixels=9_999), "more than the 9,999"),
        ((40_000, 300), Limits(), "a side is above 32768"),
        ((7, 300), Limits(), "a side is below 8"),
        ((8, 1601), Limits(), "longer than 200 times its breadth"),
    ],
)
def test_sizes_out_of_bounds_are_refused_by_the_header_alone(size, limits, reason):
    """The files hold no pixels, so whatever decoded them would find them torn instead."""
    fault, said = refusal(png_header(*size), limits)
    assert fault == "picture bounds" and reason in said
    assert refusal(png_header(300, 300))[0] == "picture unreadable"


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as stream:
        stream.truncate(2**40)  # takes no room on the disk, and would not fit into memory
    assert refusal(path) == (
        "picture bounds",
        f"The picture {path} has 1,099,511,627,776 bytes, more than 134,217,728; make it smaller, or raise max_bytes.",
    )


@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]), st.data())
@settings(max_examples=200, deadline=None)
def test_damage_raises_nothing_but_the_documented_error(noise: bytes, form: str, data: st.DataObject):
    content = encoded(NOISE, form)
    at = data.draw(st.integers(0, len(content)))
    for hostile in (noise, content[:at] + noise + content[at + len(noise) :]):
        try:
            assert min(check_picture(hostile).size) >= 8
        except BadPicture as error:
            assert error.fault in {"picture unreadable", "picture bounds"}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_load_image_follows_the_check(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="absent"):
        load_image(tmp_path / "absent")
    with pytest.raises(ValueError, match="bomb"):
        load_image(png_header(12_000, 12_000))
    assert load_image(encoded(Image.new("L", (1, 1)), "PNG")).size == (1, 1), (
        "small ones are the check's business"
    )


# To RGB


def pixel(mode: str, value: object) -> Image.Image:
    return Image.new(mode, (4, 3), value)


def with_transparency(image: Image.Image, value: object) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, "PNG", transparency=value)))


@pytest.mark.parametrize(
    ("image", "expected", "reason"),
    [
        (pixel("RGB", (1, 2, 3)), (1, 2, 3), "as it is"),
        (pixel("L", 7), (7, 7, 7), "grey"),
        (pixel("1", 1), (255, 255, 255), "1-bit"),
        (pixel("RGB", (9, 8, 7)).quantize(2), (9, 8, 7), "palette"),
        (pixel("CMYK", (0, 255, 255, 0)), (255, 0, 0), "CMYK"),
        (pixel("RGBA", (255, 0, 0, 0)), (255, 255, 255), "what shows through is white, not the red beneath"),
        (pixel("RGBA", (0, 0, 0, 51)), (204, 204, 204), "a fifth of black on white"),
        (pixel("LA", (0, 0)), (255, 255, 255), "grey with alpha"),
        (pixel("LA", (0, 255)), (0, 0, 0), "grey with alpha, opaque"),
        (with_transparency(pixel("P", 0), 0), (255, 255, 255), "a transparent colour of a palette"),
        (with_transparency(pixel("RGB", (1, 2, 3)), (1, 2, 3)), (255, 255, 255), "a transparent RGB colour"),
        (with_transparency(pixel("L", 5), 5), (255, 255, 255), "a transparent grey"),
        (pixel("I;16", 65535), (255, 255, 255), "16 bits: white"),
        (pixel("I;16", 25700), (100, 100, 100), "16 bits: scaled, not clipped"),
        (pixel("I;16B", 257), (1, 1, 1), "16 bits, the other byte order"),
        (pixel("I", 65535), (255, 255, 255), "32-bit integers in the range of 16"),
        (pixel("F", 1.0), (255, 255, 255), "floats in 0..1"),
        (pixel("F", 128.0), (128, 128, 128), "floats in 0..255"),
        (pixel("F", float("nan")), (0, 0, 0), "not finite"),
        (pixel("I", 100_000), (0, 0, 0), "the least is black"),
    ],
)
def test_every_mode_becomes_rgb_by_the_stated_rule(image, expected, reason):
    before = image.copy().tobytes()
    assert to_rgb(image).mode == "RGB" and to_rgb(image).getpixel((1, 1)) == expected, reason
    assert image.tobytes() == before, "left untouched"
    assert open_picture(image, "x").getpixel((1, 1)) == expected, "what is opened is what was checked"


def test_wide_ranges_are_stretched():
    values = np.array([[-1000, 0], [1000, 3000]])
    for mode, kind in (("I", np.int32), ("F", np.float32)):
        grey = np.asarray(to_rgb(Image.fromarray(values.astype(kind), mode)))[:, :, 0]
        assert grey.tolist() == [[0, 64], [128, 255]], mode


def test_regression_16_bit_png_is_not_white():
    """Pillow's own convert clips every value above 255 to white."""
    dim = Image.fromarray(np.full((8, 8), 30_000, np.uint16))
    assert Image.open(io.BytesIO(encoded(dim, "PNG"))).convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert to_rgb(open_upright(encoded(dim, "PNG"))).getpixel((0, 0)) == (116, 116, 116)


MODES = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr LAB HSV I F I;16 I;16L I;16B I;16N"


@pytest.mark.parametrize("mode", MODES.split())
def test_every_mode_of_pillow_is_covered(mode: str):
    image = Image.new(mode, (20, 16))
    assert to_rgb(image).mode == "RGB" and perceptual_hash(image) is None


# The perceptual hash


def distance(a: Image.Image, b: Image.Image) -> int:
    return (perceptual_hash(a) ^ perceptual_hash(b)).bit_count()


def test_perceptual_hash_survives_compression_and_size_and_tells_pictures_apart():
    large = NOISE.resize((640, 480), Image.BICUBIC)
    again = Image.open(io.BytesIO(encoded(large, "JPEG", quality=50)))
    assert distance(large, again) <= 2
    assert distance(large, large.resize((450, 338), Image.LANCZOS)) <= 2
    assert distance(large, large.convert("P")) <= 6
    assert distance(large, large.transpose(Image.Transpose.ROTATE_180)) > 16
    assert distance(large, large.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) > 16


def test_perceptual_hash_is_the_signs_of_the_gradient():
    """9 x 8 pixels are their own thumbnail: where it grows brighter to the right, all bits are set."""
    ramp = np.tile(np.arange(1, 10, dtype=np.uint8) * 20, (8, 1))
    assert perceptual_hash(Image.fromarray(ramp)) == 2**64 - 1
    assert perceptual_hash(Image.fromarray(ramp[:, ::-1].copy())) == 0
    ramp[0, 0] = 255  # the first step now falls: the highest bit
    assert perceptual_hash(Image.fromarray(ramp)) == 2**63 - 1
    assert perceptual_hash(Image.new("RGB", (900, 800), "teal")) is None, "no contrast, no hash"
