"""Which way up a picture is, read from its header: boxes are those of the upright picture.

>>> import io
>>> encoded, exif = io.BytesIO(), Image.Exif()
>>> exif[ORIENTATION] = 6
>>> Image.new("RGB", (320, 240)).save(encoded, "TIFF", exif=exif)
>>> upright_size(encoded.getvalue())
(240, 320)
"""

import io
from pathlib import Path

from PIL import Image

__all__ = ["ORIENTATION", "orientation_of", "stored_size", "upright_size"]

ORIENTATION = 0x0112  # of the EXIF: 1 upright, 2 to 4 mirrored or half turned, 5 to 8 on its side
ON_ITS_SIDE = range(5, 9)
TIFF_SIZE = (256, 257)  # tags of width and height


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8, of a picture that was opened and is not decoded: Pillow decodes a TIFF upright."""
    # The base class's, because that of a PNG decodes the picture to see whether EXIF stands behind the pixels.
    return Image.Image.getexif(image).get(ORIENTATION, 1)


def stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) as stored, of a picture that was opened and is not decoded; some Pillows swap those of a TIFF."""
    if image.format == "TIFF":
        width, height = (image.tag_v2[tag] for tag in TIFF_SIZE)
        return width, height
    return image.size


def upright_size(source: str | Path | bytes) -> tuple[int, int]:
    """(width, height) of a picture after its EXIF orientation is applied; nothing is decoded.

    EXIF that a PNG has behind its pixels is not seen.

    Args:
        source: path of an image file, or its encoded bytes.

    Raises:
        OSError: there is no picture, or its header cannot be read.
    """
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        width, height = stored_size(image)
        return (height, width) if orientation_of(image) in ON_ITS_SIDE else (width, height)
