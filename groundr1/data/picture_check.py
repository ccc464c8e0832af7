"""Pictures checked before anything is built on them, and the one rule by which each of them becomes RGB.

`check_picture` reads a file whole and refuses what a run would stumble over; `to_rgb` is used wherever a picture is
shown to the model, so that what was checked is what is seen.

>>> facts = check_picture(encoded)                                                           # doctest: +SKIP
>>> facts.size, facts.mode, facts.notes                                                      # doctest: +SKIP
((768, 1024), 'RGB', ('turned upright by its EXIF orientation',))
"""

import functools
import hashlib
import io
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from groundr1.data.upright import ORIENTATION, orientation_of, stored_size

__all__ = [
    "DEFAULT_LIMITS",
    "BadPicture",
    "Limits",
    "PictureFacts",
    "check_picture",
    "open_upright",
    "perceptual_hash",
    "to_rgb",
]

# Formats that are read. Of the others that Pillow knows, some are programs: opening EPS starts Ghostscript.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
FLAT = 8  # grey levels of 256; a thumbnail that varies less has a hash of noise
SIXTEEN_BITS = 65535
TURNED = "turned upright by its EXIF orientation"
ANY_TURN = range(2, 9)  # orientations of the EXIF; 1 is upright
FIRST_OF_SEVERAL = "first of several frames"


class BadPicture(ValueError):
    """A picture cannot be used; the message is the reason, `fault` its kind.

    Kinds: "picture missing", "picture unreadable", "picture bounds".
    """

    def __init__(self, reason: str, fault: str = "picture unreadable"):
        super().__init__(reason)
        self.fault = fault


@dataclass(frozen=True)
class Limits:
    """Bounds of pictures that are accepted; not in the paper: our choice.

    Attributes:
        min_side: pixels of the shorter side; below it is a placeholder or a tracking pixel.
        max_side: pixels of the longer side; the longest page of Visual-CoT has 14,495.
        max_pixels: width times height, read from the header, so that a decompression bomb is refused before it is
            decoded. Pillow refuses above twice `PIL.Image.MAX_IMAGE_PIXELS` (179 million) whatever is set here. A
            picture that is checked holds 4 bytes a pixel at most, for a moment twice if it is turned.
        max_bytes: of the encoded picture.
        max_aspect: longer side over shorter side; Qwen2.5-VL's processor refuses more than 200.
    """

    min_side: int = 8
    max_side: int = 32768
    max_pixels: int = 134_217_728
    max_bytes: int = 128 * 2**20
    max_aspect: float = 200.0


DEFAULT_LIMITS = Limits()
ANY_SIZE = Limits(min_side=1)


@dataclass(frozen=True)
class PictureFacts:
    """What is known of a picture that passed.

    Attributes:
        size: (width, height) in pixels, upright: the frame of all boxes.
        stored_size: (width, height) before the EXIF orientation was applied.
        mode: Pillow's mode of the decoded file, before `to_rgb`.
        format: such as "JPEG".
        sha256: of the encoded bytes.
        perceptual: 64-bit difference hash (see `perceptual_hash`), None of a picture without contrast.
        notes: what was done to it that may surprise.
    """

    size: tuple[int, int]
    stored_size: tuple[int, int]
    mode: str
    format: str
    sha256: bytes
    perceptual: int | None
    notes: tuple[str, ...] = ()


def check_picture(source: str | Path | bytes, limits: Limits = DEFAULT_LIMITS) -> PictureFacts:
    """Read and decode a picture whole, once.

    Args:
        source: path of an image file, or its encoded bytes.
        limits: bounds that it must keep.

    Returns:
        Its facts; the pixels are not kept.

    Raises:
        BadPicture: missing, no picture, of a format that is not read, truncated or damaged, out of bounds.
    """
    name = _name(source)
    encoded = _encoded(source, limits, name)
    image, size_stored, notes = _decoded(encoded, limits, name)
    try:
        perceptual = perceptual_hash(image)
    except Exception as error:  # a mode or an info that Pillow cannot convert
        raise BadPicture(f"The picture {name} cannot be made RGB ({_said(error)}); convert it.") from error
    digest = hashlib.sha256(encoded).digest()
    return PictureFacts(image.size, size_stored, image.mode, image.format or "", digest, perceptual, notes)


def open_upright(source: str | Path | bytes, limits: Limits = ANY_SIZE) -> Image.Image:
    """The decoded picture in its own mode, turned upright once by its EXIF orientation; of several frames the first.

    `ImageOps.exif_transpose` takes the orientation out of what it returns, so a second turn does nothing.

    Raises:
        BadPicture: as `check_picture`.
    """
    name = _name(source)
    return _decoded(_encoded(source, limits, name), limits, name)[0].copy()  # a picture, no longer a file


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture as RGB, in the way that every picture of the kit becomes RGB; one that is RGB comes back as it is.

    Not in the paper: our choice, because Pillow's `convert` alone shows the colours under transparent pixels and
    clips 16-bit grey to white.

    - palette, 1-bit, grey, CMYK, YCbCr, LAB, HSV: Pillow's conversion; embedded colour profiles are ignored;
    - transparency (RGBA, LA, PA, a transparent colour of a palette, grey or RGB picture): on white;
    - 16-bit grey: divided by 257, so that 65535 is white;
    - 32-bit integers: as 16-bit grey if all lie in 0..65535, else the least is black and the greatest white;
    - 32-bit floats: times 255 if all lie in 0..1, as they are if in 0..255, else the least black, the greatest white;
      what is not finite is black.

    >>> to_rgb(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).getpixel((0, 0))
    (255, 255, 255)
    >>> to_rgb(Image.new("I;16", (1, 1), 32896)).getpixel((0, 0))
    (128, 128, 128)
    """
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.mode == "La":  # premultiplied; converts to nothing but LA
        image = image.convert("LA")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(values: np.ndarray, mode: str) -> np.ndarray:
    least, greatest = values.min(), values.max()
    if mode != "F" and least >= 0 and greatest <= SIXTEEN_BITS:
        return (values // 257).astype(np.uint8)
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    least, greatest = float(values.min()), float(values.max())
    if mode == "F" and least >= 0 and greatest <= 255:
        return np.rint(values * (255 if greatest <= 1 else 1)).astype(np.uint8)
    spread = greatest - least
    return np.rint((values - least) * (255 / spread if spread > 0 else 0)).astype(np.uint8)


def perceptual_hash(image: Image.Image) -> int | None:
    """64-bit difference hash: of a thumbnail of 9 x 8 grey cells, whether each is darker than the one to its right.

    Each cell is the mean of 32 x 32 pixels, evenly picked: as good as the mean of all, at a tenth of the time. The same
    picture at another size or JPEG quality differs in few bits, two different pictures in about half of them. None
    where the cells differ by less than 8 of 256 grey levels: blank pages and solid colours all look alike.
    """
    few = image.resize((min(image.width, 288), min(image.height, 256)), Image.Resampling.NEAREST)
    thumbnail = to_rgb(few).resize((9, 8), Image.Resampling.BOX).convert("L")
    grey = np.frombuffer(thumbnail.tobytes(), np.uint8).reshape(8, 9)
    if int(grey.max()) - int(grey.min()) < FLAT:
        return None
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def check_size(size: tuple[int, int], limits: Limits, name: str) -> None:
    """Raise BadPicture for a `(width, height)` out of bounds."""
    width, height = size
    what = f"The picture {name} is {width} x {height} pixels"
    if width * height > limits.max_pixels:
        raise BadPicture(
            f"{what}, more than the {limits.max_pixels:,} that are decoded (a decompression bomb?); make it smaller, or"
            " raise max_pixels.",
            "picture bounds",
        )
    if max(size) > limits.max_side:
        raise BadPicture(
            f"{what}, a side is above {limits.max_side}; make it smaller, or raise max_side.",
            "picture bounds",
        )
    if min(size) < limits.min_side:
        raise BadPicture(
            f"{what}, a side is below {limits.min_side}: a placeholder? Download it again, or lower min_side.",
            "picture bounds",
        )
    if max(size) > limits.max_aspect * min(size):
        raise BadPicture(
            f"{what}, longer than {limits.max_aspect:g} times its breadth, which the model's processor refuses; cut it"
            " into pieces, or leave the row out.",
            "picture bounds",
        )


def _name(source: str | Path | bytes) -> str:
    return "in the encoded bytes" if isinstance(source, bytes) else str(source)


def _encoded(source: str | Path | bytes, limits: Limits, name: str) -> bytes:
    """The encoded picture; only regular files are opened, because a pipe would never end."""
    try:
        facts = None if isinstance(source, bytes) else Path(source).stat()
        if facts is not None and not stat.S_ISREG(facts.st_mode):
            raise BadPicture(f"{name} is no file; correct the path.", "picture missing")
        num_bytes = len(source) if facts is None else facts.st_size
        if num_bytes > limits.max_bytes:
            raise BadPicture(
                f"The picture {name} has {num_bytes:,} bytes, more than {limits.max_bytes:,}; make it smaller, or raise"
                " max_bytes.",
                "picture bounds",
            )
        if num_bytes == 0:
            raise BadPicture(f"The picture {name} cannot be read (it is empty); download it again.")
        return source if isinstance(source, bytes) else Path(source).read_bytes()
    except FileNotFoundError as error:
        raise BadPicture(
            f"There is no picture {name}; download it, or correct the image root.", "picture missing"
        ) from error
    except PermissionError as error:
        raise BadPicture(
            f"The picture {name} may not be read ({_said(error)}); make it readable (chmod a+r, and a+rx for its"
            " folders), or run as its owner."
        ) from error
    except (OSError, ValueError) as error:  # a name that the file system cannot hold
        if isinstance(error, BadPicture):
            raise
        raise BadPicture(
            f"The picture {name} cannot be opened ({_said(error)}).", "picture missing"
        ) from error


def _decoded(
    encoded: bytes, limits: Limits, name: str
) -> tuple[Image.Image, tuple[int, int], tuple[str, ...]]:
    """Upright picture, its size as stored, and notes."""
    try:
        with Image.open(io.BytesIO(encoded), formats=_formats()) as image:
            check_size(image.size, limits, name)
            size_stored = stored_size(image)
            is_turned = (
                orientation_of(image) in ANY_TURN
            )  # before it is loaded: Pillow turns a TIFF by itself
            notes = [FIRST_OF_SEVERAL] if getattr(image, "is_animated", False) else []
            image.load()
            is_turned |= image.getexif().get(ORIENTATION, 1) in ANY_TURN  # behind the pixels of a PNG
            form = image.format
            ImageOps.exif_transpose(image, in_place=True)
            image.format = form
            image.load()
    except BadPicture:
        raise
    except Image.DecompressionBombError as error:
        raise BadPicture(
            f"The picture {name} is a decompression bomb ({_said(error)}).", "picture bounds"
        ) from error
    # Pillow's parsers raise whatever a hostile file makes them stumble over: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise BadPicture(f"The picture {name} cannot be read ({_said(error)}); download it again.") from error
    return image, size_stored, tuple([*notes, TURNED] if is_turned else notes)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _said(error: Exception) -> str:
    """What an error says, on one line and without the place in memory of what Pillow was reading."""
    if isinstance(error, Image.UnidentifiedImageError):
        return f"of no format that is read: {', '.join(_formats())}"
    return " ".join((str(error) or type(error).__name__).split())
