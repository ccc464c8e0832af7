"""One question of a benchmark, whichever official form its row came in; readers and scorers share this understanding."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from groundr1.boxes import Box

__all__ = ["Item", "items_of"]


@dataclass(frozen=True)
class Item:
    """One question of a benchmark, without its picture.

    Attributes:
        id: unique within the benchmark.
        question: as the benchmark words it, options included as lines "A. ...".
        solution: acceptable answers; for a multiple choice the letter.
        kind: how an answer is compared, a kind of `groundr1.rewards.answer_reward`; "box" for RefCOCO.
        cluster: questions of one cluster (the same picture, the rotations of one question, the expressions of one
            object) are not independent, and are resampled together.
        groups: sub-score -> the group of this question in it, such as {"category": "adversarial"}.
        options: letter -> text of a multiple choice; empty for an open question.
        box: annotated evidence, or the object referred to; image frame, inside the picture. None without a usable one.
        note: what was done to the annotated box, "" if nothing.
        size: (width, height) of the picture in pixels, where the row states it.
        image: path of the picture as the row states it; None where the row holds the picture itself.
    """

    id: str
    question: str
    solution: tuple[str, ...]
    kind: str
    cluster: str
    groups: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    box: Box | None = None
    note: str = ""
    size: tuple[int, int] | None = None
    image: str | None = None


def items_of(benchmark: str, row: Mapping[str, Any], number: int = 0) -> list[Item]:
    """The items of one official row: one, or for RefCOCO one an expression of the object."""
    raise NotImplementedError
