"""The answer front-end: what a raw prediction says. Every scorer reads answers through this module and no other."""

from typing import NamedTuple

__all__ = ["Verdict"]


class Verdict(NamedTuple):
    """What was made of one prediction.

    Attributes:
        score: in [0, 1].
        valid: whether an answer was understood at all; an invalid one scores 0 and is counted apart.
        read: what was understood: a letter, "yes", a text, a box; None when invalid.
        status: where the answer was found: "answer tag", "after thought", "whole text", "empty", ...
    """

    score: float
    valid: bool
    read: str | None
    status: str = ""
