"""What the forms of a benchmark's rows have in common: the `Item` they become, and reading of fields and options.

The official forms name the same thing differently (`problem`, `question`, `text`), and a TSV gives every value as a
text. Options come as lines "A. ..", "(A) .." or "A: ..", as a list of such texts, as that list printed into a text, or
as columns; an `Item` has them as a mapping, and in its question as lines "A. ..".
"""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from groundr1.boxes import Box
from groundr1.data.rows import BadRow, writable

__all__ = ["Item", "LeftOut", "Options"]

LETTERS = "ABCDE"
OPTION_LINE = re.compile(r"\s*\(?([A-E])\s*[.):]\s*(.*?)\s*")
OPTION_WITHOUT_STOP = re.compile(r"\s*([A-E])\s+(.*?)\s*")  # "B Only cars ..": one row of RealWorldQA
OPTION_COLUMNS = {letter: (letter, f"choice_{letter.lower()}") for letter in LETTERS}
PATH_SIGN = re.compile(r"[./\\]")
LONGEST_PATH = 512  # what is longer is a picture in base64
OPTION_LISTS = ("multi-choice options", "multi_choice_options", "options")


class LeftOut(BadRow):
    """A row that is no fault but no part of the benchmark as it is scored; the message says what it is."""


@dataclass(frozen=True)
class Item:
    """One question of a benchmark, without its picture.

    Attributes:
        id: unique within the benchmark.
        question: as the benchmark words it, options included as lines "A. ...".
        solution: acceptable answers; for a multiple choice the letter, for a yes-no question "yes" or "no", for RefCOCO
            none.
        kind: how an answer is compared, a kind of `groundr1.rewards.answer_reward`; "box" for RefCOCO.
        cluster: questions of one cluster (the same picture, the rotations of one question, the expressions of one
            object) are not independent, and are resampled together.
        groups: sub-score -> the group of this question in it, such as {"category": "adversarial"}.
        options: letter -> text of a multiple choice; empty for an open question.
        box: annotated evidence, or the object referred to; image frame, inside the picture. None without a usable one.
        note: what was done to the annotated box, "" if nothing.
        size: (width, height) of the picture in pixels, where it is known.
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


class Options(NamedTuple):
    """A multiple choice taken apart: question alone, (letter, text) of each option, instruction that follows them."""

    stem: str
    lines: Sequence[tuple[str, str]] = ()
    instruction: str = ""

    @property
    def question(self) -> str:
        """Question with one option a line.

        >>> Options("Which?", [("A", "door"), ("B", "wall")], "Answer with the letter.").question
        'Which?\\nA. door\\nB. wall\\nAnswer with the letter.'
        """
        lines = [f"{letter}. {text}" for letter, text in self.lines]
        return "\n".join(part for part in [self.stem, *lines, self.instruction] if part)

    @property
    def by_letter(self) -> dict[str, str]:
        """Letter -> text; of a letter given twice (two rows of MME-RealWorld-Lite have two D) the first."""
        first: dict[str, str] = {}
        for letter, text in self.lines:
            first.setdefault(letter, text)
        return first


def split_options(text: str) -> Options:
    """Take a question with its options apart; without options the stem is the whole text.

    Options begin at the first line "A. ", "(A) ", "A) " or "A: ". A line that starts with no letter belongs to the
    option before it, and to the instruction if no option follows.

    >>> split_options("Which?\\n(A) door\\n(B) wall\\nAnswer with the letter.")
    Options(stem='Which?', lines=[('A', 'door'), ('B', 'wall')], instruction='Answer with the letter.')
    """
    stem: list[str] = []
    options: list[tuple[str, str]] = []
    pending: list[str] = []  # of an option or of the instruction; the next line tells
    for line in text.strip().split("\n"):
        found = _option(line, options)
        if found is None:
            (pending if options else stem).append(line.strip())
            continue
        if pending:
            letter, before = options[-1]
            options[-1] = (letter, " ".join(part for part in [before, *pending] if part))
            pending = []
        options.append(found)
    if len(options) < 2:  # "A. Smith signed it." is no choice
        return Options(text.strip())
    return Options("\n".join(stem).strip(), options, "\n".join(pending).strip())


def _option(line: str, before: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    found = OPTION_LINE.fullmatch(line)
    if found is None and before:
        found = OPTION_WITHOUT_STOP.fullmatch(line)
        if found and ord(found[1]) != ord(before[-1][0]) + 1:
            found = None
    if found is None or (not before and found[1] != "A"):
        return None
    return found[1], found[2]


def options_of(row: Mapping[str, Any], question: str) -> Options:
    """Options of a row: those in the text of its question, else of a list, else of columns A, B, .. or choice_a, .."""
    within = split_options(question)
    if within.lines:
        return within
    for key in OPTION_LISTS:
        if known(row, key):
            listed = [OPTION_LINE.fullmatch(each) for each in _texts(row[key], key)]
            if not all(listed):
                raise BadRow(f"the field {key!r} is {row[key]!r:.80}; it must be a list of texts '(A) ...'")
            return Options(within.stem, [(each[1], each[2]) for each in listed])
    columns = [
        (letter, text(row, key)) for letter, keys in OPTION_COLUMNS.items() for key in keys if known(row, key)
    ]
    return Options(within.stem, columns)


def _texts(value: Any, key: str) -> list[str]:
    """A list of texts, or one printed into a text, which is read as a literal and never evaluated."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = [line for line in value.split("\n") if line.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise BadRow(f"the field {key!r} is {value!r:.80}; it must be a list of texts")
    return [writable(" ".join(each.split()), key) for each in value]


def choice(row: Mapping[str, Any], question: str, answer: str) -> dict[str, Any]:
    """Fields `question`, `solution`, `kind` and `options` of a multiple choice; BadRow without a letter to find."""
    options = options_of(row, question)
    letter = answer.strip().strip("()").upper()
    if len(letter) != 1 or letter not in LETTERS:
        raise BadRow(f"the answer of a multiple choice is {answer!r:.60}; it must be a letter A to E")
    return {
        "question": options.question,
        "solution": (letter,),
        "kind": "choice",
        "options": options.by_letter,
    }


def yes_or_no(answer: str) -> tuple[str]:
    """The solution of a yes-no question, in lower case."""
    word = answer.strip().lower()
    if word not in ("yes", "no"):
        raise BadRow(f"the answer of a yes-no question is {answer!r:.60}")
    return (word,)


def known(row: Mapping[str, Any], key: str) -> bool:
    """Whether a row has a value under a key; an empty cell of a TSV, None and NaN are none."""
    value = row.get(key)
    return not (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def text(row: Mapping[str, Any], *keys: str, default: str | None = None) -> str:
    """The first known of several fields as a text, a whole number included; BadRow without one and without default."""
    for key in keys:
        if not known(row, key):
            continue
        value = row[key]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise BadRow(f"the field {key!r} is {value!r:.60}; it must be a text or a number")
        return writable(str(value).strip(), key)
    if default is None:
        raise BadRow(f"no field {' or '.join(map(repr, keys))}; the row has {sorted(map(str, row))}"[:400])
    return default


def question_of(row: Mapping[str, Any]) -> str:
    """The question: Ground-R1 calls it problem, V* text, the others question."""
    return text(row, "problem", "question", "text")


def answer_of(row: Mapping[str, Any]) -> str:
    """The reference answer: Ground-R1 calls it solution, V* label, the others answer."""
    return text(row, "solution", "answer", "label")


def pointer_of(row: Mapping[str, Any]) -> str | None:
    """Index of the row whose picture a TSV row shares: VLMEvalKit writes it in the place of the picture."""
    image = row.get("image")
    if not known(row, "index") or not known(row, "image") or not isinstance(image, str | int):
        return None
    image = str(image).strip()
    return image if len(image) <= 64 and not PATH_SIGN.search(image) else None


def picture_of(row: Mapping[str, Any]) -> str | None:
    """Path of the picture: as a reader put it on disk, else as the row states it; None if the row holds the picture."""
    pointer = pointer_of(row)
    for key in ("picture", "image_path", "Image", "image", "img_path"):
        value = row.get(key)
        if isinstance(value, str) and 0 < len(value) <= LONGEST_PATH and not (key == "image" and pointer):
            return writable(value, key)
    return None


def shared_picture(row: Mapping[str, Any], default: str) -> str:
    """What rows on the same picture share: its path, else the index of the TSV row that holds it, else the default."""
    if (picture := picture_of(row)) is not None:
        return picture
    return f"index-{pointer_of(row) or text(row, 'index')}" if known(row, "index") else default


def size_of(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """(width, height) in pixels as the row states it."""
    if not (known(row, "width") and known(row, "height")):
        return None
    try:
        size = int(float(row["width"])), int(float(row["height"]))
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRow(f"width and height are {row['width']!r:.40}, {row['height']!r:.40}") from error
    if min(size) <= 0:
        raise BadRow(f"width and height are {size}; they must be above 0")
    return size
