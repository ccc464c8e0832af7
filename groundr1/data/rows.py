"""A row of an annotation file: its fields, checked one by one, and where its picture lies.

A form supplies a function from a parsed row to a `Draft`; what is in the wrong form is a `BadRow`, to be set aside with
its reason. `groundr1.data.row_forms` has the forms, `groundr1.data.row_judge` checks pictures, boxes and answers.
"""

import json
import logging
import os
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from groundr1.boxes import Box
from groundr1.data.example import Rejected

logger = logging.getLogger(__name__)

Row = dict[str, Any]

DEEPEST = 32  # levels of lists and objects in a row; conversations have three
LONGEST_NAME = 200  # characters of an id or a source; a longer one is no name
LONGEST_LINE = 64 * 2**20  # bytes; a longer line is no row, and is not held in memory
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://|data:")  # not "C:/..."


class BadRow(ValueError):
    """A row cannot be used; the message is the reason, `fault` its kind, such as "field" or "picture missing".

    `id` and `source` are what the row states of them, "" where it does not; `row_streams.stream` fills them in.

    Reasons quote files. An end of a line would split a row of the rejected table, and a terminal obeys other signs that
    nobody sees, so they are written as Python escapes them.

    >>> str(BadRow("There is no picture a\\nb.png"))
    'There is no picture a\\\\nb.png'
    """

    def __init__(self, reason: str, fault: str = "field"):
        super().__init__(
            "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in reason)
        )
        self.fault = fault
        self.id, self.source = "", ""


@dataclass(frozen=True)
class Draft:
    """A row as its file states it, before picture, boxes and answer are checked.

    Attributes:
        id, question, solution, kind, source: as of an `Example`.
        image: path below the image root, or the encoded picture.
        boxes: corners in the image frame.
        size: (width, height) of the picture as the row states it.
        square_box: the first box a second time, as shares of the picture padded to a square (Visual-CoT's own file).
        id_is_made: the row states no id: it is made of file name and line, and two files of one name make the same.
    """

    id: str
    image: str | bytes
    question: str
    solution: list[str]
    kind: str
    boxes: list[Box]
    source: str
    size: tuple[int, int] | None = None
    square_box: Box | None = None
    id_is_made: bool = False


def stated(row: Mapping[str, Any]) -> tuple[str, str]:
    """Id and source of a row that cannot be used, as far as it states them, of whichever form; "" where it does not.

    >>> stated({"dataset": "gqa", "problem_id": 7, "problem": None}), stated({"id": ["a"]})
    (('gqa-7', 'gqa'), ('', ''))
    """
    source = next(filter(None, (_short(row.get(key)) for key in ("source", "dataset", "data_source"))), "")
    number = _short(row.get("problem_id"))
    return _short(row.get("id")) or (f"{source}-{number}" if number else ""), source


def _short(value: Any) -> str:
    is_name = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if is_name and len(str(value)) <= LONGEST_NAME else ""


def free_id(name: str, is_taken: Callable[[str], bool]) -> str:
    """An id made of file name and line, or where it is taken, with "~2", "~3", ... behind it.

    >>> free_id("q-1", {"q-1", "q-1~2"}.__contains__)
    'q-1~3'
    """
    names = chain([name], (f"{name}~{number}" for number in count(2)))
    return next(each for each in names if not is_taken(each))


def read_lines(jsonl: Path) -> Iterator[tuple[int, Row | BadRow]]:
    """Yield the number (from 1) of each line that is not blank, with its JSON object or what is wrong with it."""
    if not jsonl.is_file():
        raise FileNotFoundError(f"There is no annotation file {jsonl}; download it, or correct the path.")
    with jsonl.open("rb") as stream:
        for number, line in enumerate(_lines(stream), start=1):
            if line is None:
                yield number, BadRow(f"the line is longer than {LONGEST_LINE:,} bytes", "row")
                continue
            if not line.strip():
                continue
            try:
                row = json.loads(line.removeprefix(BOM_UTF8).decode())
            except (ValueError, RecursionError) as error:
                yield number, BadRow(f"not JSON in UTF-8 ({error})", "row")
                continue
            yield number, as_row(row)


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines of a file, None for one that is too long."""
    while line := stream.readline(LONGEST_LINE):
        if line.endswith(b"\n") or len(line) < LONGEST_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(LONGEST_LINE)
        yield None


def as_row(value: Any) -> Row | BadRow:
    """A parsed value as a row: a JSON object that can be printed and written again.

    Python reads deeper nesting than it prints, and half a surrogate pair, which no file in UTF-8 can hold.
    """
    if not isinstance(value, dict):
        return BadRow(f"a {type(value).__name__}, not a JSON object", "row")
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        inside = [
            part for each in level for part in ((*each, *each.values()) if isinstance(each, dict) else each)
        ]
        texts = (each for each in inside if isinstance(each, str) and not each.isascii())
        if half := next((each for each in texts if HALF_A_CHARACTER.search(each)), None):
            return BadRow(f"the text {half!r:.60} holds half a character", "row")
        level = [each for each in inside if isinstance(each, dict | list)]
        if not level:
            return value
    return BadRow(f"lists and objects are nested more than {DEEPEST} deep", "row")


def log_rejected(rejected: Sequence[Rejected], num_rows: int) -> None:
    """Warn of rows set aside: how many, and the first of them."""
    if rejected:
        logger.warning("%d of %d rows set aside; the first: %s", len(rejected), num_rows, rejected[0])


def find_picture(image: str, image_root: Path, marker: str | None = None) -> Path:
    """Where the picture that a row names should be: below the root, whatever is written there.

    Args:
        image: the path as the row states it.
        image_root: the folder of the pictures.
        marker: folder name in the paths of a foreign machine behind which paths are the same everywhere: looked for is
            the longest end of the path that exists, at least what follows the marker.

    Raises:
        BadRow: a path that leads out of the root, by "..", as an absolute one or by a symbolic link; a URL, because
            nothing is fetched.
    """
    if URL.match(image):
        raise BadRow(
            f"image {image!r:.80} is a URL, and nothing is fetched; download it and give its path", "path"
        )
    parts = PurePosixPath(image.replace("\\", "/")).parts
    is_absolute = bool(parts) and parts[0] == "/"
    if ".." in parts or "\0" in image:
        raise BadRow(f"image path {image!r} may lead out of the image root; give a path below it", "path")
    if marker in parts:
        last = len(parts) - parts[::-1].index(marker)
        ends = [image_root.joinpath(*parts[start:]) for start in range(is_absolute, last + 1)]
        path = next((end for end in ends if end.is_file()), ends[-1])
    elif is_absolute and not Path(image).is_relative_to(image_root.absolute()):
        raise BadRow(
            f"image path {image!r} is not below the image root {image_root}; give a path relative to it",
            "path",
        )
    else:
        path = image_root.joinpath(*parts)
    real_root = os.path.realpath(image_root)
    if not Path(os.path.realpath(path)).is_relative_to(real_root):
        raise BadRow(
            f"the picture {path} is a link out of the image root {image_root}, and symbolic links are not followed out"
            " of it; give the real folder as image root, or move, hard-link or bind-mount the pictures below it",
            "path",
        )
    return path


def field(row: Mapping[str, Any], key: str) -> Any:
    """A field that must be there."""
    if row.get(key) is None:
        raise BadRow(f"the field {key!r} is missing")
    return row[key]


def text_field(row: Mapping[str, Any], key: str) -> str:
    """A text that is not blank."""
    value = field(row, key)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"the field {key!r} is {value!r:.60}; it must be a text that is not blank")
    return writable(value, key)


def writable(text: str, key: str) -> str:
    """A text that is text; JSON may hold half a surrogate pair, which no file in UTF-8 can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRow(
            f"the field {key!r} is {text!r:.60}; it holds half a character ({error.reason})"
        ) from error
    return text


def texts_field(row: Mapping[str, Any], key: str) -> list[str]:
    """One text or several, as a list."""
    values = field(row, key)
    values = [values] if isinstance(values, str) else values
    if (
        not isinstance(values, list)
        or not values
        or not all(isinstance(v, str) and v.strip() for v in values)
    ):
        raise BadRow(f"the field {key!r} is {values!r:.60}; it must be a text or a list of texts, none blank")
    return [writable(each, key) for each in values]


def id_field(row: Mapping[str, Any], key: str) -> str:
    """A text or whole number, as a text."""
    value = field(row, key)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise BadRow(f"the field {key!r} is {value!r:.60}; it must be a text or a whole number")
    return writable(str(value), key)


def size_field(row: Mapping[str, Any]) -> tuple[int, int]:
    """`(width, height)` in pixels."""
    size = field(row, "width"), field(row, "height")
    if not all(isinstance(side, int) and not isinstance(side, bool) and 0 < side < 2**31 for side in size):
        raise BadRow(f"width and height are {size!r:.60}; they must be whole numbers of pixels above 0")
    return size


def boxes_field(row: Mapping[str, Any], key: str) -> list[list[float]]:
    """A list of boxes, each four numbers, of whatever meaning."""
    quadruples = field(row, key)
    if not isinstance(quadruples, list) or not all(
        isinstance(four, list)
        and len(four) == 4
        and all(isinstance(number, int | float) and not isinstance(number, bool) for number in four)
        for four in quadruples
    ):
        raise BadRow(f"the field {key!r} is {quadruples!r:.60}; it must be a list of boxes of four numbers")
    try:
        return [[float(number) for number in four] for four in quadruples]
    except OverflowError as error:
        raise BadRow(f"the field {key!r} has a number too large for a coordinate") from error
