"""What can be wrong with an annotated box or an answer, as pure functions.

An answer is fit for its kind when, given word for word, it would earn full marks from `groundr1.rewards`.
"""

import math
import re
from collections.abc import Sequence

from groundr1.boxes import Box, clip
from groundr1.data.frames import are_shares
from groundr1.data.items.forms import split_options

__all__ = ["BOX_STATES", "answer_fault", "box_state", "judge_boxes"]

NEGLIGIBLE = 0.01  # pixels; float32 annotations touch the border no better than this
NARROWEST = 1 - NEGLIGIBLE  # pixels; of less there is nothing to look at, and nobody draws such a box
SMALLEST = 8  # pixels of a picture's shorter side; in a smaller one a box of one pixel may be meant
DIFFERS = 0.01  # of the square's side; the shares have three decimals and the corners are whole pixels
LONGEST_FORMULA = 200  # characters, the longest that the reward for mathematics reads as a number

# From worst to best; of a row with several boxes the worst counts.
BOX_STATES = ("not finite", "normalised", "inverted", "empty", "outside", "partly outside", "inside")

# A letter set off from what follows, as the reward for a choice reads the solution: "B", "(b)", "B. blue".
SOLUTION_LETTER = re.compile(r"[\s(\[{*_\"']*([A-Za-z])(?:[)\]}:]|[.*_\"']+(?=\s|$)|[ \t]*$)", re.MULTILINE)
TAGS = re.compile(r"</?answer>")
MARK_UP = re.compile(r"\\[,;! ]|\\left|\\right|\\boxed|\\text|[$\s{}.*]")


def box_state(box: Box, size: tuple[int, int]) -> str:
    """Which of `BOX_STATES` a box (corners, image frame) is in, in a picture of `(width, height)`.

    A box whose part inside the picture is narrower or lower than one pixel is empty: not in the paper, our choice.
    Whether boxes are "normalised" only the row tells: see `judge_boxes`.

    >>> box_state(Box(90, 10, 120, 40), (100, 80)), box_state(Box(100, 10, 120, 40), (100, 80))
    ('partly outside', 'outside')
    """
    if not all(map(math.isfinite, box)):
        return "not finite"
    if box.x2 < box.x1 or box.y2 < box.y1:
        return "inverted"
    if box.is_empty:
        return "empty"
    inside = clip(box, size)
    if inside is None:
        return "outside"
    if min(inside.width, inside.height) < NARROWEST:
        return "empty"
    moved = max(abs(new - old) for new, old in zip(inside, box, strict=True))
    return "partly outside" if moved > NEGLIGIBLE else "inside"


def judge_boxes(
    boxes: Sequence[Box], size: tuple[int, int], square_box: Box | None = None
) -> tuple[str, list[str]]:
    """State of the worst box of a row, or "none" without one, and what is odd about boxes that can be used.

    Boxes whose coordinates all lie within 0 and 1 are "normalised", unless the picture is tiny: as pixels they would
    all lie in its first. `square_box` is the first box once more, as shares of the picture padded to a square.
    """
    states = [box_state(box, size) for box in boxes]
    notes = []
    if min(size) >= SMALLEST and are_shares(boxes):
        states.append("normalised")
    if boxes and square_box is not None and _differ(boxes[0], square_box, size):
        notes.append("the row states the box twice, differently: is it of another picture?")
    return min(states, key=BOX_STATES.index, default="none"), notes


def _differ(box: Box, square_box: Box, size: tuple[int, int]) -> bool:
    width, height = size
    side = max(size)
    left, top = (side - width) / 2, (side - height) / 2
    shares = [(value + shift) / side for value, shift in zip(box, (left, top, left, top), strict=True)]
    return not max(abs(new - old) for new, old in zip(shares, square_box, strict=True)) <= DIFFERS


def answer_fault(question: str, solution: Sequence[str], kind: str) -> str | None:
    """Why no prediction could be scored against a solution, or None.

    >>> answer_fault("Which?\\nA. door\\nB. wall", ["C"], "choice")
    "the solution 'C' is none of the options A, B"
    """
    for text in solution:
        reason = _fault(question, TAGS.sub("", text).strip(), kind)
        if reason:
            return reason
    return None if solution else "there is no solution"


def _fault(question: str, text: str, kind: str) -> str | None:
    shown = f"the solution {text[:60]!r}"
    if not text:
        return "the solution is blank"
    if kind == "yes_no" and (re.findall(r"\w+", text.casefold()) or [""])[0] not in ("yes", "no"):
        return f"{shown} of a yes-no question does not begin with yes or no"
    if kind == "choice":
        return _choice_fault(question, text, shown)
    if kind == "rouge" and not re.search(r"\w", text):
        return f"{shown} has no word to compare"
    if kind == "math":
        if not MARK_UP.sub("", text):
            return f"{shown} is mark-up without a formula"
        if text.count("{") != text.count("}"):
            return f"{shown} has unbalanced braces"
        if len(text) > LONGEST_FORMULA:
            return f"{shown}... has {len(text)} characters, too long for a number or formula; is its kind 'rouge'?"
    return None


def _choice_fault(question: str, text: str, shown: str) -> str | None:
    """A letter must be that of an option; other text may be an option's, or the answer to an open question."""
    options = split_options(question).by_letter
    found = SOLUTION_LETTER.match(text)
    letter = found[1].upper() if found else None
    if not options or letter in options or (letter and re.search(rf"(?m)^\s*\(?{letter}\s*[.):]", question)):
        return None
    if letter is None and text.casefold().rstrip(".") in {
        each.casefold().rstrip(".") for each in options.values()
    }:
        return None
    return f"{shown} is none of the options {', '.join(options)}"
