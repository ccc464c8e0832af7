"""One question of a benchmark, whichever official form its row came in; readers and scorers share this understanding.

>>> row = {"problem": "Is there a cat? Please answer yes or no.", "solution": "No", "dataset": "existence",
...        "Image": "images/existence/1.jpg", "problem_id": 7}
>>> (item,) = items_of("mme", row)
>>> item.id, item.solution, item.groups["part"]
('existence-7', ('no',), 'perception')
"""

from collections.abc import Callable, Mapping
from typing import Any

from groundr1.data.items.boxes import refcoco, viscot
from groundr1.data.items.forms import Item, LeftOut
from groundr1.data.items.questions import (
    hrbench,
    mme,
    mme_realworld_lite,
    mmvet,
    pope,
    realworldqa,
    seed,
    vstar,
)
from groundr1.data.rows import BadRow

__all__ = ["BENCHMARK_NAMES", "BadRow", "Item", "LeftOut", "items_of"]

FORMS: Mapping[str, Callable[[Mapping[str, Any], int], list[Item]]] = {
    "viscot": viscot,
    "mme": mme,
    "mmvet": mmvet,
    "seed": seed,
    "mme_realworld_lite": mme_realworld_lite,
    "realworldqa": realworldqa,
    "pope": pope,
    "vstar": vstar,
    "hrbench": hrbench,
    "refcoco": refcoco,
}
BENCHMARK_NAMES = tuple(FORMS)


def items_of(benchmark: str, row: Mapping[str, Any], number: int = 0) -> list[Item]:
    """The items of one official row: one, or for RefCOCO one an expression of the object, for POPE one a category.

    Understood are the rows of Ground-R1's jsonl files, of the Hub data sets with the columns that lmms-eval reads, of
    VLMEvalKit's TSV files (values may all be texts), and for RefCOCO those of Visual-CoT's REC files; which one it is
    shows in its keys. Keys that a reader adds, and that take precedence: `picture` (the file a picture held in
    the row was written to), `picture_size`, `row_number` (instead of `number`), `item_number` (only this one of the
    row's items), and for RefCOCO `dataset` ("RefCOCO/val") where the row does not say it.

    Groups of an item: viscot set; mme subtask, part ("perception", "cognition"); mmvet combination (capabilities in
    alphabetical order, joined by commas); seed question_type; mme_realworld_lite task ("Perception", "Reasoning"),
    subtask, category; realworldqa answer ("letter", "open"); pope category; vstar category; hrbench category ("single",
    "cross"), cycle; refcoco split ("RefCOCOplus/testA").

    Args:
        benchmark: one of `BENCHMARK_NAMES`.
        row: the row, with or without its picture.
        number: position of the row in its file, from 0; part of the id where the form has no unique one.

    Returns:
        At least one item, ids unique within a file.

    Raises:
        BadRow: the row cannot be used, and why.
        LeftOut: a BadRow that is no fault: SEED's questions on videos.
        ValueError: no such benchmark.
    """
    if benchmark not in FORMS:
        raise ValueError(f"benchmark={benchmark!r} is unknown; give one of {', '.join(FORMS)}.")
    items = FORMS[benchmark](row, _whole(row, "row_number", number))
    if row.get("item_number") is None:
        return items
    which = _whole(row, "item_number", 0)
    if not 0 <= which < len(items):
        raise BadRow(f"item_number is {which}, and the row has {len(items)} items, counted from 0")
    return [items[which]]


def _whole(row: Mapping[str, Any], key: str, default: int) -> int:
    """A number that a reader added; a TSV gives it as a text."""
    value = row.get(key)
    try:
        return default if value is None else int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRow(f"the field {key!r} is {value!r:.60}; it must be a whole number") from error
