"""Which prediction answers which question: annotation rows and predictions, checked against one another.

Whatever does not fit is an error that names the rows; no row and no prediction is dropped in silence.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from groundr1.boxes import Box, rescale
from groundr1.data.items import BadRow, Item, LeftOut, items_of
from groundr1.evaluation.verdicts import read_box

__all__ = ["Question", "pair"]

WITH_BOXES = ("refcoco", "viscot")
NAMED = 5  # rows that an error message names


class Question(NamedTuple):
    """A question and what was said to it; `row` is its position, `box_image` the predicted box (None: none),
    `view_size` the frame of the boxes in the prediction, if it is not the picture's."""

    row: int
    item: Item
    prediction: str
    box_image: Box | None
    view_size: tuple[float, float] | None = None


def pair(
    benchmark: str,
    rows: Iterable[Mapping[str, Any]],
    predictions: Sequence[str | Sequence[str]],
    boxes: Sequence[Any] | None = None,
) -> tuple[list[Question], int]:
    """Questions of the rows with their predictions, and the number of rows that are no part of the benchmark.

    Arguments are those of `groundr1.evaluation.scoring.score`.

    Raises:
        ValueError: not one prediction a row, a prediction that is no text, a row that cannot be used.
    """
    rows = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else list(rows)
    predictions = list(predictions)
    _require_one_a_row("predictions", len(predictions), len(rows))
    _require_texts(predictions)
    if boxes is not None:
        _require_one_a_row("boxes", len(boxes), len(rows))
    questions: list[Question] = []
    faults: list[str] = []
    left_out = 0
    for number, (row, prediction) in enumerate(zip(rows, predictions, strict=True)):
        given = ... if boxes is None else boxes[number]
        try:
            questions += _questions(benchmark, row, number, prediction, given)
        except LeftOut:
            left_out += 1
        except BadRow as error:
            faults.append(f"row {number}: {error}")
    if faults:
        raise ValueError(
            f"{len(faults)} of {len(rows)} rows cannot be scored as {benchmark}; {'; '.join(faults[:NAMED])}. Correct "
            "these rows or the benchmark's name, or leave them out of rows and predictions alike."
        )
    if not questions:
        raise ValueError(f"No row to score among {len(rows)}; give the benchmark's annotation rows.")
    return questions, left_out


def _questions(
    benchmark: str, row: Mapping[str, Any], number: int, prediction: str | Sequence[str], given: Any
) -> list[Question]:
    items = items_of(benchmark, row, number)
    if isinstance(prediction, str):
        if benchmark == "refcoco":
            items = items[:1]
        answers = [(prediction, given)] * len(items)  # POPE: merged rows, one question in several categories
    else:
        if benchmark != "refcoco" or len(prediction) != len(items):
            raise BadRow(
                f"{len(prediction)} texts for {len(items)} questions; give a text, or one an expression"
            )
        if given is not ... and len(given) != len(items):
            raise BadRow(f"{len(given)} boxes for {len(items)} expressions; nest boxes like the predictions")
        answers = list(zip(prediction, [...] * len(items) if given is ... else given, strict=True))
    if benchmark not in WITH_BOXES:
        return [Question(number, item, text, None) for item, (text, _) in zip(items, answers, strict=True)]
    view = None if row.get("view_size") is None else tuple(row["view_size"])
    return [
        Question(number, item, text, _box_image(view, item, text, box), view)
        for item, (text, box) in zip(items, answers, strict=True)
    ]


def _box_image(view: tuple[float, float] | None, item: Item, prediction: str, given: Any) -> Box | None:
    if given is not ...:
        return None if given is None else _box(given)
    box = read_box(prediction)
    if box is None or view is None:
        return box
    if item.size is None:
        raise BadRow("it has a view_size but not the picture's width and height; add them, or give boxes")
    return rescale(box, from_size=view, to_size=item.size)


def _box(value: Any) -> Box | None:
    try:
        box = Box(*map(float, value))
    except (TypeError, ValueError) as error:
        raise BadRow(
            f"the given box is {value!r:.60}; it must be None or x1, y1, x2, y2 in the image frame"
        ) from error
    return None if box.is_empty else box


def _require_one_a_row(name: str, number: int, rows: int) -> None:
    if number != rows:
        raise ValueError(
            f'{name} has {number} entries for {rows} rows; give one a row, in the rows\' order ("" where the model '
            "said nothing, None for no box)."
        )


def _require_texts(predictions: Sequence[Any]) -> None:
    wrong = [
        number
        for number, each in enumerate(predictions)
        if not isinstance(each, str)
        and not (
            isinstance(each, Sequence | np.ndarray)
            and len(each)
            and all(isinstance(text, str) for text in each)
        )
    ]
    if wrong:
        shown = ", ".join(f"row {number}: {predictions[number]!r:.40}" for number in wrong[:NAMED])
        raise ValueError(
            f"{len(wrong)} of {len(predictions)} predictions are no text ({shown}); predict what is missing, or give "
            '"" where the model said nothing, which counts as invalid.'
        )
