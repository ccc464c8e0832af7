"""Readers for question files with pictures: our own plain form, Visual-CoT, RefCOCO.

Each returns `(dataset, rejected)`: the rows that can be used, as `EXAMPLE_FEATURES`, and those set aside, each with
file, line and reason. A row is set aside when it is not a JSON object, lacks a field or has it in the wrong form, when
its id has occurred before, its picture is missing, damaged, or not of the stated size, or a box is inverted or wholly
outside the picture. A box partly outside is cut to the picture. Pictures are read once, here, and stay files on disk.

The official Visual-CoT and RefCOCO files use one key, `bboxs`, for corners and for x, y, width, height; given the
other's file, either reader refuses it whole.

    >>> dataset, rejected = read_jsonl("questions.jsonl", "pictures")      # doctest: +SKIP
    >>> print(*rejected, sep="\\n")                                         # doctest: +SKIP
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from groundr1.boxes import Box
from groundr1.data.example import Rejected
from groundr1.data.item_forms_boxes import VISCOT_KINDS, viscot_answer, viscot_question
from groundr1.data.rows import (
    BadRow,
    Draft,
    Row,
    boxes_field,
    id_field,
    read_lines,
    read_rows,
    size_field,
    text_field,
    texts_field,
)

__all__ = ["KINDS", "VISCOT_KINDS", "read_jsonl", "read_refcoco", "read_viscot"]

KINDS = ("choice", "contains", "exact", "math", "ocr", "rouge", "yes_no")  # those of groundr1.rewards

FOREIGN_SHARE = (
    0.2  # a file with more boxes than this that cannot be of the expected frame is of the other one
)


def read_jsonl(jsonl: str | Path, image_root: str | Path) -> tuple[Dataset, list[Rejected]]:
    """Read our plain form: one JSON object a line.

        {"image": "street/1.jpg", "question": "What is on the sign?", "solution": "STOP", "kind": "ocr",
         "boxes": [[310, 161, 408, 220]], "id": "street-1", "source": "signs"}

    `image` is a path below the image root; `solution` a text or a list of acceptable texts; `kind` one of `KINDS`;
    `boxes` corners in image pixels. `boxes`, `id` (default: file name and line) and `source` (default: file name) may
    be left out.

    Args:
        jsonl: the file, UTF-8.
        image_root: the folder that holds the pictures; a path that leads out of it is refused.

    Returns:
        The dataset, in the order of the file, and the rows set aside.

    Raises:
        FileNotFoundError: the file or the folder is not there.
    """
    stem = Path(jsonl).stem

    def draft(row: Mapping[str, Any], line: int) -> Draft:
        kind = text_field(row, "kind")
        if kind not in KINDS:
            raise BadRow(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
        name = id_field(row, "id") if "id" in row else f"{stem}-{line}"
        boxes = (
            [Box(*corners) for corners in boxes_field(row, "boxes")] if row.get("boxes") is not None else []
        )
        source = str(row.get("source", stem))
        image, question = text_field(row, "image"), text_field(row, "question")
        return Draft(name, image, question, texts_field(row, "solution"), kind, boxes, source)

    return read_rows(Path(jsonl), Path(image_root), list(read_lines(Path(jsonl))), draft)


def read_viscot(jsonl: str | Path, image_root: str | Path) -> tuple[Dataset, list[Rejected]]:
    """Read Visual-CoT rows in the form of the official Ground-R1 files, training or evaluation.

    Keys `image`, `width`, `height`, `bboxs` (corners), `dataset`, `problem`, `solution`, `problem_id`. Image paths are
    those of the authors' machine: what follows `cot_image_data/` is looked up below the image root. Answers lose their
    `<answer>` tags and the four-option questions of gqa and openimages the stray quotation mark the files have.

    Args:
        jsonl: the file.
        image_root: the folder with a folder for each set (`flickr30k`, `gqa`, ...), or one that holds it.

    Returns:
        The dataset, its `source` being the set, and the rows set aside.

    Raises:
        FileNotFoundError: the file or the folder is not there.
        ValueError: the boxes are x, y, width, height: a RefCOCO file.
    """
    rows = list(read_lines(Path(jsonl)))
    _refuse_foreign(jsonl, rows, _is_inverted, "corners (x1, y1, x2, y2)", "RefCOCO", "read_refcoco")

    def draft(row: Mapping[str, Any], line: int) -> Draft:
        name = text_field(row, "dataset")
        if name not in VISCOT_KINDS:
            raise BadRow(f"dataset {name!r} is no Visual-CoT set; known are {', '.join(VISCOT_KINDS)}")
        question = viscot_question(text_field(row, "problem"))
        solution = [viscot_answer(text) for text in texts_field(row, "solution")]
        boxes = [Box(*corners) for corners in boxes_field(row, "bboxs")]
        identity = f"{name}-{id_field(row, 'problem_id')}"
        kind, size = VISCOT_KINDS[name], size_field(row)
        return Draft(identity, text_field(row, "image"), question, solution, kind, boxes, name, size)

    return read_rows(Path(jsonl), Path(image_root), rows, draft, marker="cot_image_data")


def read_refcoco(jsonl: str | Path, image_root: str | Path) -> tuple[Dataset, list[Rejected]]:
    """Read RefCOCO, RefCOCO+ or RefCOCOg rows in the form of the official Ground-R1 files: one row an object.

    The same keys as Visual-CoT, but `bboxs` holds x, y, width, height and `solution` the expressions that refer to the
    object. There is no question to answer: `question` is the first expression, `solution` all of them, and only the box
    is of interest.

    Args:
        jsonl: the file.
        image_root: the folder that holds `RefCOCO/...`.

    Returns:
        The dataset, boxes as corners, its `source` being data set and split ("RefCOCO/testA"), and the rows set aside.

    Raises:
        FileNotFoundError: the file or the folder is not there.
        ValueError: the boxes are corners: a Visual-CoT file.
    """
    rows = list(read_lines(Path(jsonl)))
    _refuse_foreign(jsonl, rows, _overshoots, "x, y, width, height", "Visual-CoT", "read_viscot")

    def draft(row: Mapping[str, Any], line: int) -> Draft:
        name = text_field(row, "dataset")
        expressions = texts_field(row, "solution")
        boxes = [Box.from_xywh(*numbers) for numbers in boxes_field(row, "bboxs")]
        identity = f"{name}-{id_field(row, 'problem_id')}"
        return Draft(
            identity,
            text_field(row, "image"),
            expressions[0],
            expressions,
            "exact",
            boxes,
            name,
            size_field(row),
        )

    return read_rows(Path(jsonl), Path(image_root), rows, draft)


def _is_inverted(row: Mapping[str, Any]) -> bool:
    return any(x1 >= x2 or y1 >= y2 for x1, y1, x2, y2 in boxes_field(row, "bboxs"))


def _overshoots(row: Mapping[str, Any]) -> bool:
    width, height = size_field(row)
    # RefCOCO's boxes end at most one pixel past the border.
    return any(x + w > width + 1.5 or y + h > height + 1.5 for x, y, w, h in boxes_field(row, "bboxs"))


def _refuse_foreign(
    jsonl: str | Path,
    rows: Sequence[tuple[int, Row | BadRow]],
    impossible: Callable[[Mapping[str, Any]], bool],
    frame: str,
    other: str,
    reader: str,
) -> None:
    """Raise ValueError when data set names or too many boxes show that the file is of the other form."""
    named = other == "RefCOCO"
    count = total = 0
    for number, row in rows:
        if isinstance(row, BadRow):
            continue
        name = str(row.get("dataset", ""))
        if name.startswith("RefCOCO") if named else name in VISCOT_KINDS:
            raise ValueError(
                f"{jsonl}, line {number}: dataset {name!r} belongs to {other}, whose boxes are not {frame}. Read it"
                f" with {reader}."
            )
        try:
            count += impossible(row)
            total += 1
        except BadRow:
            continue
    if total >= 10 and count > FOREIGN_SHARE * total:
        raise ValueError(
            f"{jsonl}: {count} of {total} rows have boxes that cannot be {frame}. If it is a {other} file, read it with"
            f" {reader}."
        )
