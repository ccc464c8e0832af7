"""From a box to the evidence region: the crop of the original picture that the model is shown next.

The crop rules are those of the paper's v2 code (grow to at least 28 px a side, refuse extreme aspect ratios,
show the whole picture when there is no usable box) except that ours clamps last: v2 clamps before it grows,
so its crops leave the picture.
"""

import math
from dataclasses import dataclass

from PIL import Image

from groundr1.boxes import Box, clip


@dataclass(frozen=True)
class Evidence:
    """What the model is shown for a box.

    `image` is a copy of the pixels under `box`, in the picture's own mode. `box` is in the image frame, on
    whole pixels and always inside the picture; it is the whole picture when the asked box was refused.
    `refused` says why, or is None.
    """

    image: Image.Image
    box: Box
    refused: str | None = None


def _grow_inside(start: float, stop: float, min_side: int, length: int) -> tuple[int, int]:
    """Whole pixels covering `[start, stop)`, at least `min_side` of them, moved into `[0, length)`; one axis."""
    first, last = math.floor(start), math.ceil(stop)
    side = min(max(last - first, min_side), length)
    first -= (side - (last - first)) // 2
    first = min(max(first, 0), length - side)
    return first, first + side


def crop_evidence(
    image: Image.Image, box: Box | None, *, min_side: int = 28, max_aspect: float = 200.0
) -> Evidence:
    """Crop the evidence region of `box` (image frame) from the original picture, which is left untouched.

    The part of the box inside the picture is rounded outward to whole pixels, so that nothing of the evidence
    is lost, then grown about its centre to `min_side` pixels a side, then moved (not cut) into the picture. A
    side stays below `min_side` only where the picture itself is smaller. The default 28 is one merged patch
    of Qwen2.5-VL, whose processor also refuses aspect ratios above 200.

    The whole picture is shown instead, and `refused` says so, for: None ("no box"), an empty or non-finite
    box ("empty box"), one wholly outside ("outside the picture"), and a crop whose longer side is
    `max_aspect` times the shorter one or more ("aspect ratio").

    Raises ValueError when `min_side < 1`, `max_aspect <= 1` or the picture has no pixels.

    >>> picture = Image.new("RGB", (100, 80))
    >>> crop_evidence(picture, Box(0, 0, 4, 4)).box
    Box(x1=0.0, y1=0.0, x2=28.0, y2=28.0)
    >>> crop_evidence(picture, Box(200, 0, 240, 40)).refused
    'outside the picture'
    """
    if min_side < 1 or not max_aspect > 1:
        raise ValueError(
            f"min_side={min_side} and max_aspect={max_aspect}: min_side must be 1 or more and max_aspect above 1."
        )
    inside = None if box is None else clip(box, image.size)
    if inside is None:
        return _whole(image, _why_nothing_inside(box))
    x1, x2 = _grow_inside(inside.x1, inside.x2, min_side, image.width)
    y1, y2 = _grow_inside(inside.y1, inside.y2, min_side, image.height)
    if max(x2 - x1, y2 - y1) >= max_aspect * min(x2 - x1, y2 - y1):
        return _whole(image, "aspect ratio")
    return Evidence(image.crop((x1, y1, x2, y2)), Box(float(x1), float(y1), float(x2), float(y2)))


def _why_nothing_inside(box: Box | None) -> str:
    if box is None:
        return "no box"
    has_extent = box.x1 < box.x2 and box.y1 < box.y2 and all(math.isfinite(value) for value in box)
    return "outside the picture" if has_extent else "empty box"


def _whole(image: Image.Image, refused: str) -> Evidence:
    return Evidence(image.copy(), Box(0.0, 0.0, float(image.width), float(image.height)), refused)
