"""Whether the boxes of a file are in the frame that its form says: corners in pixels, or x, y, width, height.

No single box tells. Of a whole file the shares do: boxes that cannot be corners, that leave their picture, that never
go beyond 1 or 1000. A file in another frame is refused as a whole, with a hint, because its boxes would all be wrong.
Not in the paper: our choice, because the official files use one key for two frames.
"""

from collections import Counter
from collections.abc import Sequence

from groundr1.boxes import Box

__all__ = ["FrameTally"]

FEWEST = 10  # rows with boxes before anything is said
FOREIGN_SHARE = (
    0.2  # more rows than this that cannot be of the frame: another frame. Official files have up to 0.05
)
BORDER = 1.5  # pixels; RefCOCO's boxes end at most one past the border
LARGE_SIDE = 2000  # pixels; a side on which boxes up to 1000 only would all lie in the first half
FEWEST_LARGE = 50


class FrameTally:
    """Counts over the rows of a file that have boxes.

    Args:
        frame: "corners" or "extents", how the form reads them; boxes are given as corners all the same.
    """

    def __init__(self, frame: str = "corners") -> None:
        self.frame = frame
        self.counts: Counter[str] = Counter()

    def add(self, boxes: Sequence[Box], size: tuple[int, int] | None) -> None:
        """Count a row: its boxes as the form read them, and `(width, height)` of its picture where it is known."""
        if not boxes:
            return
        seen = ["rows"]
        numbers = [value for box in boxes for value in box]
        if any(box.x1 >= box.x2 or box.y1 >= box.y2 for box in boxes):
            seen.append("inverted")
        if all(0 <= value <= 1 for value in numbers):
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
        if all(box.x1 + box.x2 <= width + BORDER and box.y1 + box.y2 <= height + BORDER for box in boxes):
            seen.append("extents")
        if max(size) > LARGE_SIDE:
            seen.append("large")
            ends = [(box.x2, width) for box in boxes] + [(box.y2, height) for box in boxes]
            if any(end > 1000 and side > LARGE_SIDE for end, side in ends):
                seen.append("far")
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
        if are_thousandths and found["large"] >= FEWEST_LARGE and not found["far"]:
            return (
                f"{found['large']} rows are on pictures of more than {LARGE_SIDE} pixels, and no box goes beyond 1000:"
                " normalised to 0..1000, where pixels are expected? Multiply by width / 1000 and height / 1000."
            )
        return None
