"""What the parsers of lmms-eval, VLMEvalKit and Ground-R1 share here: from what was read to a verdict."""

from collections.abc import Callable, Mapping

from groundr1.boxes import Box, Size, iou
from groundr1.data.items import Item
from groundr1.evaluation.answers import Verdict

Scorer = Callable[[Item, str], Verdict]
HIT = 0.5  # IoU from which on all three count an object as found


def scorer_of(benchmark: str, scorers: Mapping[str, Scorer], reasons: Mapping[str, str]) -> Scorer:
    """The kit's scorer of a benchmark; ValueError with the reason where it has none, because none is invented."""
    if benchmark not in scorers:
        reason = reasons.get(benchmark, f"{benchmark!r} is not among {', '.join([*scorers, *reasons])}")
        raise ValueError(f"{reason}.")
    return scorers[benchmark]


def compared(item: Item, read: str | None, status: str, unread: str) -> Verdict:
    """Verdict on a letter or a "yes" or "no": right if it is the solution, whatever the case; None is invalid."""
    if read is None:
        return Verdict(0.0, False, None, unread)
    return Verdict(float(read.lower() == item.solution[0].lower()), True, read, status)


def overlapped(item: Item, box_image: Box | None, status: str, unread: str = "no box") -> Verdict:
    """Verdict on a box, image frame: right if its IoU with the annotated one is at least 0.5; None is invalid."""
    if box_image is None:
        return Verdict(0.0, False, None, unread)
    return Verdict(float(iou(box_image, item.box) >= HIT), True, str(list(box_image)), status)


def picture_size(item: Item, kit: str) -> Size:
    """Size of the picture of a RefCOCO item, without which `kit` cannot read a box; ValueError if it is not known."""
    if item.size is None:
        raise ValueError(
            f"item {item.id!r} has no size, and {kit} reads boxes as shares of the picture; add width and height to "
            "its row, or read the pictures with it."
        )
    return item.size
