"""Model text into turns, boxes and answers.

A turn is `<think> ... </think> <box>[x1,y1,x2,y2]</box>` or `<think> ... </think> <answer> ... </answer>`.
`parse_turn` is strict and decides what the format reward pays for; `parse_box` and `parse_answer` are lenient
and take what can be taken. Every function reads the text in one pass, however long it is. Boxes are in the
frame the text speaks of, the view frame.
"""

import re
from dataclasses import dataclass
from typing import Literal

from groundr1.boxes import Box

# Possessive quantifiers (++, *+, ?+) never give back what they took, so no input makes the pattern backtrack.
_NUMBER = r"([-+]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][-+]?+[0-9]++)?+)"
_QUADRUPLE = re.compile(r"\[\s*+" + r"\s*+,\s*+".join([_NUMBER] * 4) + r"\s*+\]")
_TAG = re.compile(r"(</?(?:think|box|answer)>)")


@dataclass(frozen=True)
class Turn:
    """One turn of the model.

    `kind` is "box", "answer" or "malformed". A box turn has `.thought` and `.box`, an answer turn `.thought`
    and `.answer`, a malformed turn none of the three: whoever wants what is left of it asks `parse_box` or
    `parse_answer`.
    """

    kind: Literal["box", "answer", "malformed"]
    thought: str | None = None
    box: Box | None = None
    answer: str | None = None


def _to_box(match: re.Match[str] | None) -> Box | None:
    """Box of a matched quadruple; None without one, and for degenerate, inverted and non-finite ones."""
    if match is None:
        return None
    box = Box(*(float(number) for number in match.groups()))
    return None if box.is_empty else box


def parse_box(text: str) -> Box | None:
    """Box of the last `<box>...</box>` block; without any such block, the first bracketed quadruple of the text.

    Coordinates are integers or decimals, possibly negative, separated by commas, in square brackets. None
    when the block holds no quadruple (earlier blocks are not tried), and when the quadruple is degenerate
    (`x1 == x2`), inverted or non-finite: there is no box then, and none is made up.

    >>> parse_box("<think>the sign</think> <box>[12, 8.5, 40, 30]</box>")
    Box(x1=12.0, y1=8.5, x2=40.0, y2=30.0)
    >>> parse_box("<box>[40, 30, 12, 8]</box>") is None
    True
    """
    start = text.rfind("<box>", 0, max(text.rfind("</box>"), 0))
    block = text if start < 0 else text[start : text.find("</box>", start)]
    return _to_box(_QUADRUPLE.search(block))


def parse_answer(text: str) -> str | None:
    """Stripped content of the last `<answer>` block, up to the end of the text if it is not closed; None without one.

    >>> parse_answer("<answer>cat</answer> no, wait <answer> dog")
    'dog'
    """
    _, opening, rest = text.rpartition("<answer>")
    return rest.partition("</answer>")[0].strip() if opening else None


def parse_turn(text: str) -> Turn:
    """Read a turn strictly: a think block, then exactly one box or answer block, only whitespace around them.

    The tags must be these four and no others, so a box mentioned inside the thought makes the turn malformed.
    A box block must hold exactly one bracketed quadruple that is a box, an answer block must not be blank.
    The thought may be.

    >>> parse_turn("<think>near the door</think> <box>[1,2,3,4]</box>").kind
    'box'
    >>> parse_turn("<box>[1,2,3,4]</box>").kind
    'malformed'
    """
    # A well-formed turn splits into: blank, <think>, thought, </think>, blank, <kind>, content, </kind>, blank.
    pieces = _TAG.split(text)
    if len(pieces) != 9 or any(pieces[i].strip() for i in (0, 4, 8)):
        return Turn("malformed")
    thought, content = pieces[2].strip(), pieces[6].strip()
    match tuple(pieces[1::2]):
        case ("<think>", "</think>", "<box>", "</box>"):
            box = _to_box(_QUADRUPLE.fullmatch(content))
            return Turn("malformed") if box is None else Turn("box", thought=thought, box=box)
        case ("<think>", "</think>", "<answer>", "</answer>") if content:
            return Turn("answer", thought=thought, answer=content)
        case _:
            return Turn("malformed")
