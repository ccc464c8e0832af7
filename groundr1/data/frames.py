"""Whether the boxes of a file are in the frame that its form says: corners in pixels, or x, y, width, height.

No single box tells. Of a whole file the shares do: boxes that cannot be corners, that leave their picture, that never
go beyond 1 or 1000. A file in another frame is refused as a whole, with a hint, because its boxes would all be wrong.
Not in the paper: our choice, because the official files use one key for two frames.

Boxes normalised to 0..1000 show on large pictures, where none goes beyond 1000. Were they pixels, and their ends spread
evenly over a longer side of s pixels, a row would end before 1000 with probability 1000 / s, and all rows with the
product of these; below one in a million the file is refused, unless no box comes near 1000 either: annotated headings
do not. It takes 76 rows at 1200 pixels, 30 at 1600, 20 at 2000. Real boxes are not spread evenly. With those of the 13
official sets, each scaled to such pictures, files of so many rows would be refused wrongly with a probability of 6e-5
at most (receipts and pages), 1e-5 for the other eleven sets. Rows that depend on one another, such as many of one page,
are refused more often.
"""

import math
from collections import Counter
from collections.abc import Sequence

from groundr1.boxes import Box

__all__ = ["FrameTally", "are_extents", "are_shares"]

FEWEST = 10  # rows with boxes before anything is said
# More rows than this share that cannot be of the frame: another frame. Official files have up to 0.05.
FOREIGN_SHARE = 0.2
BORDER = 1.5  # pixels; RefCOCO's boxes end at most one past the border
LARGE_SIDE = 1200  # pixels; closer to 1000 the margin of a page alone would keep boxes below it
NEAR_1000 = 800  # of several boxes normalised to 0..1000 one ends beyond it
SURPRISE = math.log(1e6)  # one file in a million, were ends spread evenly


def are_shares(boxes: Sequence[Box]) -> bool:
    """Whether all coordinates of a row lie within 0 and 1; points, which stand for no box, are none.

    >>> are_shares([Box(0.1, 0.2, 0.5, 0.9)]), are_shares([Box(0, 0, 1, 1), Box(5, 5, 9, 9)])
    (True, False)
    """
    return all(0 <= value <= 1 for box in boxes for value in box) and any(
        min(box) < max(box) for box in boxes
    )


def are_extents(boxes: Sequence[Box], size: tuple[int, int]) -> bool:
    """Whether boxes read as corners would, read as x, y, width, height, all end inside a picture of (width, height)."""
    width, height = size
    return all(box.x1 + box.x2 <= width + BORDER and box.y1 + box.y2 <= height + BORDER for box in boxes)


class FrameTally:
    """Counts over the rows of a file that have boxes.

    Args:
        frame: "corners" or "extents", how the form reads them; boxes are given as corners all the same.
    """

    def __init__(self, frame: str = "corners") -> None:
        self.frame = frame
        self.counts: Counter[str] = Counter()
        # Minus the logarithm of the probability that no row on a large picture ends beyond 1000.
        self.surprise = 0.0
        self.farthest = 0.0  # end of a box on the longer side of a large picture

    def add(self, boxes: Sequence[Box], size: tuple[int, int] | None) -> None:
        """Count a row: its boxes as the form read them, and `(width, height)` of its picture where it is known."""
        if not boxes:
            return
        seen = ["rows"]
        numbers = [value for box in boxes for value in box]
        if any(box.x1 >= box.x2 or box.y1 >= box.y2 for box in boxes):
            seen.append("inverted")
        if are_shares(boxes):
            seen.append("shares")
        if all(0 <= value <= 1000 for value in numbers):
            seen.append("thousandths")
        if size is not None:
            seen += self._in_picture(boxes, size)
        self.counts.update(seen)

    def _in_picture(self, boxes: Sequence[Box], size: tuple[int, int]) -> list[str]:
        width, height = size
        seen = ["sized"]
        if any(box.x2 > width + BORDER or box.y2 > height + BORDER for box in boxes):
            seen.append("beyond")
        if are_extents(boxes, size):
            seen.append("extents")
        if max(size) >= LARGE_SIDE:
            seen.append("large")
            self.surprise += math.log(max(size) / 1000)
            self.farthest = max(self.farthest, *(box.x2 if width >= height else box.y2 for box in boxes))
        return seen

    def fault(self) -> str | None:
        """Why the boxes cannot be in the frame, and what to do; None as long as they can."""
        found = self.counts
        rows = found["rows"]
        if rows < FEWEST:
            return None
        are_thousandths = found["thousandths"] > 0.99 * rows
        expected = "corners (x1, y1, x2, y2)" if self.frame == "corners" else "x, y, width, height"
        if found["shares"] > 0.5 * rows:
            return (
                f"in {found['shares']} of {rows} rows all coordinates lie within 0 and 1: normalised, where pixels are"
                " expected. Multiply them by the width and height of the picture."
            )
        if self.frame == "corners" and found["inverted"] > FOREIGN_SHARE * rows:
            hint = "Repair the file: x1 < x2 and y1 < y2."
            if found["extents"] > 0.9 * found["sized"]:
                hint = (
                    "They fit as x, y, width, height: if it is a RefCOCO file, read it with read_refcoco (form"
                    " 'refcoco'); else write corners, x + width and y + height."
                )
            return f"{found['inverted']} of {rows} rows have boxes that cannot be {expected}. {hint}"
        if found["beyond"] > FOREIGN_SHARE * found["sized"]:
            if self.frame == "extents":
                hint = "If it is a Visual-CoT file, read it with read_viscot (form 'viscot'); its boxes are corners."
            elif are_thousandths:
                hint = "None is above 1000: normalised to 0..1000? Multiply them by width / 1000 and height / 1000."
            else:
                hint = "Are the pictures smaller copies of those that were annotated?"
            return (
                f"{found['beyond']} of {found['sized']} rows have boxes that cannot be {expected}, because they leave"
                f" the picture. {hint}"
            )
        if are_thousandths and self.surprise > SURPRISE and NEAR_1000 < self.farthest <= 1000:
            return (
                f"{found['large']} rows are on pictures of {LARGE_SIDE} pixels or more, and no box goes beyond 1000:"
                " normalised to 0..1000, where pixels are expected? Multiply by width / 1000 and height / 1000."
            )
        return None
