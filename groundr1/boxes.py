"""Boxes, their frames, and how much two of them overlap.

Two frames exist. The *image frame* counts pixels of the original picture; the *view frame* counts pixels of
the picture as the model sees it after the processor's resize. The model answers in the view frame, everything
stored is in the image frame, and `rescale` is the only way from one to the other. Sizes are `(width,
height)`, as in Pillow.
"""

import math
from typing import NamedTuple, Self

Size = tuple[float, float]


class Box(NamedTuple):
    """Half-open rectangle `[x1, x2) x [y1, y2)` in pixels of whichever frame the variable's name states.

    A box should have `x1 < x2` and `y1 < y2`. One that does not, inverted ones included, is *empty*: it is
    never repaired by swapping corners, its width, height or area is 0, it overlaps nothing, and `clip` gives
    None for it.

    >>> Box(10.0, 20.0, 40.0, 30.0).area
    300.0
    >>> Box(40.0, 30.0, 10.0, 20.0).area
    0.0
    """

    x1: float
    y1: float
    x2: float
    y2: float

    @classmethod
    def from_xywh(cls, x: float, y: float, width: float, height: float) -> Self:
        """Box from its top-left corner and extent, the COCO and RefCOCO form; a negative extent gives an empty box."""
        return cls(float(x), float(y), float(x + width), float(y + height))

    @property
    def width(self) -> float:
        """Horizontal extent in pixels, 0.0 for an inverted box."""
        return float(max(0.0, self.x2 - self.x1))

    @property
    def height(self) -> float:
        """Vertical extent in pixels, 0.0 for an inverted box."""
        return float(max(0.0, self.y2 - self.y1))

    @property
    def area(self) -> float:
        """Area in square pixels, 0.0 for an empty box (two inverted sides do not make a positive area)."""
        return self.width * self.height

    @property
    def is_empty(self) -> bool:
        """True unless the area is finite and above zero; a NaN or infinite coordinate makes a box empty."""
        return not 0.0 < self.area < math.inf


def check_size(size: Size) -> tuple[float, float]:
    """Return `(width, height)`; raise ValueError unless both are finite and above zero."""
    width, height = size
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise ValueError(
            f"size is {tuple(size)!r}: width and height must both be finite and above 0; pass (width, height)."
        )
    return width, height


def clip(box: Box, size: Size) -> Box | None:
    """Part of `box` inside a picture of `size` (same frame), or None when nothing of it lies inside.

    A box that only touches the border, an empty one and one with a non-finite coordinate have nothing inside.

    >>> clip(Box(-5.0, 10.0, 20.0, 30.0), (100, 25))
    Box(x1=0.0, y1=10.0, x2=20.0, y2=25.0)
    """
    width, height = check_size(size)
    if not all(math.isfinite(value) for value in box):
        return None
    inside = Box(
        max(0.0, float(box.x1)),
        max(0.0, float(box.y1)),
        min(float(width), float(box.x2)),
        min(float(height), float(box.y2)),
    )
    return None if inside.is_empty else inside


def rescale(box: Box, from_size: Size, to_size: Size) -> Box:
    """`box` of the frame of `from_size` expressed in the frame of `to_size`; floats, neither rounded nor clipped.

    >>> rescale(Box(0.0, 7.0, 28.0, 56.0), from_size=(112, 112), to_size=(448, 224))
    Box(x1=0.0, y1=14.0, x2=112.0, y2=112.0)
    """
    from_width, from_height = check_size(from_size)
    to_width, to_height = check_size(to_size)
    # The ratio comes first so that equal sizes give back the very same coordinates.
    scale_x, scale_y = to_width / from_width, to_height / from_height
    return Box(box.x1 * scale_x, box.y1 * scale_y, box.x2 * scale_x, box.y2 * scale_y)


def _intersection_area(a: Box, b: Box) -> float:
    return Box(max(a.x1, b.x1), max(a.y1, b.y1), min(a.x2, b.x2), min(a.y2, b.y2)).area


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes of one frame, in [0, 1]; 0.0 when either is empty.

    >>> iou(Box(0, 0, 10, 10), Box(5, 0, 15, 10)) == 50 / 150
    True
    """
    if a.is_empty or b.is_empty:
        return 0.0
    intersection = _intersection_area(a, b)
    return min(1.0, intersection / (a.area + b.area - intersection))


def giou(a: Box, b: Box) -> float:
    """Generalised IoU (arXiv 1902.09630), in [-1, 1]: IoU minus the share of the common hull that neither box covers.

    The paper logs `(giou + 1) / 2` and never rewards it. An empty box has no hull to speak of: the result is
    then -1.0, the limit of two boxes moving apart, so that "no box" never looks better than a bad box.

    >>> giou(Box(0, 0, 10, 10), Box(10, 0, 20, 10)), giou(Box(0, 0, 10, 10), Box(30, 0, 40, 10))
    (0.0, -0.5)
    """
    if a.is_empty or b.is_empty:
        return -1.0
    union = a.area + b.area - _intersection_area(a, b)
    hull = Box(min(a.x1, b.x1), min(a.y1, b.y1), max(a.x2, b.x2), max(a.y2, b.y2)).area
    covered = union / hull if hull < math.inf else 0.0
    return iou(a, b) - (1.0 - min(1.0, covered))


def relative_area(box: Box | None, size: Size) -> float:
    """Share of the picture that `box` covers, in [0, 1]: the area of its part inside over the picture's area.

    This is `a_i` of SRPO (arXiv 2505.20272 v3). None means that the whole picture is the evidence, hence 1.0,
    which is not in the paper: our choice, because it is what the crop rule shows the model. Only the part
    inside counts, our choice too, because a box must not gain scale by reaching out of the picture. Wholly
    outside or empty: 0.0.

    >>> relative_area(Box(-50, 0, 50, 50), (100, 100)), relative_area(None, (100, 100))
    (0.25, 1.0)
    """
    width, height = check_size(size)
    if box is None:
        return 1.0
    inside = clip(box, size)
    return 0.0 if inside is None else min(1.0, inside.area / (width * height))
