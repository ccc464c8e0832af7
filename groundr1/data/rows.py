"""From the lines of an annotation file to checked rows: what the readers of different formats have in common.

A reader supplies a function from a parsed row to a `Draft`; fields in the wrong form, pictures that are missing or
damaged and boxes that cannot be are `BadRow`s, set aside with their reason.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from datasets import Dataset
from tqdm.auto import tqdm

from groundr1.boxes import Box, clip
from groundr1.data.example import Rejected, load_image, to_dataset

logger = logging.getLogger(__name__)

Row = dict[str, Any]


class BadRow(ValueError):
    """A row cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Draft:
    """A row as its file states it, before picture and boxes are checked."""

    id: str
    image: str
    question: str
    solution: list[str]
    kind: str
    boxes: list[Box]
    source: str
    size: tuple[int, int] | None = None


def read_lines(jsonl: Path) -> Iterator[tuple[int, Row | BadRow]]:
    """Yield the number (from 1) of each line that is not blank, with its JSON object or what is wrong with it."""
    if not jsonl.is_file():
        raise FileNotFoundError(f"There is no annotation file {jsonl}; download it, or correct the path.")
    with jsonl.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                yield number, BadRow(f"not JSON in UTF-8 ({error})")
                continue
            yield (
                number,
                row if isinstance(row, dict) else BadRow(f"a {type(row).__name__}, not a JSON object"),
            )


def read_rows(
    jsonl: Path,
    image_root: Path,
    rows: Sequence[tuple[int, Row | BadRow]],
    draft: Callable[[Mapping[str, Any], int], Draft],
    marker: str | None = None,
) -> tuple[Dataset, list[Rejected]]:
    """Draft and check every row.

    Args:
        jsonl: the file, named in rejections.
        image_root: the folder of the pictures.
        rows: what `read_lines` yields.
        draft: from a parsed row and its line number to a `Draft`; raises BadRow.
        marker: folder name in the paths of a foreign machine behind which paths are the same everywhere.

    Returns:
        The good rows in order, and the rows set aside.
    """
    if not image_root.is_dir():
        raise FileNotFoundError(
            f"There is no image folder {image_root}; download the pictures, or correct the path."
        )
    good: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    image_root = image_root.absolute()  # the dataset outlives the working directory
    first_line: dict[str, int] = {}
    for number, row in tqdm(rows, desc=f"reading {jsonl.name}", unit="row", disable=len(rows) < 1000):
        try:
            if isinstance(row, BadRow):
                raise row
            drafted = draft(row, number)
            if drafted.id in first_line:
                raise BadRow(f"id {drafted.id!r} is that of line {first_line[drafted.id]}")
            good.append(_checked(drafted, image_root, marker))
            first_line[drafted.id] = number
        except BadRow as error:
            rejected.append(Rejected(str(jsonl), number, str(error)))
    log_rejected(rejected, len(rows))
    return to_dataset(good), rejected


def log_rejected(rejected: Sequence[Rejected], num_rows: int) -> None:
    """Warn of rows set aside: how many, and the first of them."""
    if rejected:
        logger.warning("%d of %d rows set aside; the first: %s", len(rejected), num_rows, rejected[0])


def _checked(draft: Draft, image_root: Path, marker: str | None) -> dict[str, Any]:
    """A row in `EXAMPLE_FEATURES`; BadRow if picture or boxes are at fault."""
    try:
        path = find_picture(draft.image, image_root, marker)
        size = load_image(path).size
    except BadRow:
        raise
    except (OSError, ValueError) as error:  # OSError: also a name that the file system cannot hold
        raise BadRow(str(error)) from error
    if draft.size is not None and draft.size != size:
        raise BadRow(
            f"the picture {path} is {size}, the row says {draft.size} (width, height): boxes would not fit"
        )
    boxes = inside_boxes(draft.boxes, size)
    return {
        "id": draft.id,
        "image": {"path": str(path), "bytes": None},
        "question": draft.question,
        "solution": draft.solution,
        "kind": draft.kind,
        "boxes": [list(box) for box in boxes],
        "source": draft.source,
    }


def inside_boxes(boxes: Sequence[Box], size: tuple[int, int]) -> list[Box]:
    """Cut boxes (image frame) to the picture; BadRow for one that is inverted, not finite or wholly outside."""
    inside = []
    for box in boxes:
        cut = clip(box, size)
        if box.is_empty:
            raise BadRow(f"box {list(box)} is inverted, empty or not finite; corners are x1 < x2, y1 < y2")
        if cut is None:
            raise BadRow(f"box {list(box)} lies outside the picture of size {size} (width, height)")
        inside.append(cut)
    return inside


def find_picture(image: str, image_root: Path, marker: str | None) -> Path:
    """Path below the root; of a foreign machine's path the longest end that exists, at least what follows `marker`."""
    parts = PurePosixPath(image.replace("\\", "/")).parts
    if ".." in parts or "\0" in image:
        raise BadRow(f"image path {image!r} may lead out of the image root; give a path below it")
    if marker in parts:
        last = len(parts) - parts[::-1].index(marker)
        ends = [image_root.joinpath(*parts[start:]) for start in range(1, last + 1)]
        return next((end for end in ends if end.is_file()), ends[-1])
    if PurePosixPath(image).is_absolute():
        if not Path(image).is_relative_to(image_root.absolute()):
            raise BadRow(
                f"image path {image!r} is not below the image root {image_root}; give a path relative to it"
            )
        return Path(image)
    return image_root.joinpath(*parts)


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
    return value


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
    return values


def id_field(row: Mapping[str, Any], key: str) -> str:
    """A text or whole number, as a text."""
    value = field(row, key)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise BadRow(f"the field {key!r} is {value!r:.60}; it must be a text or a whole number")
    return str(value)


def size_field(row: Mapping[str, Any]) -> tuple[int, int]:
    """`(width, height)` in pixels."""
    size = field(row, "width"), field(row, "height")
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in size):
        raise BadRow(f"width and height are {size}; they must be whole numbers of pixels above 0")
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
