"""The checks: each gives one input to the code and lets through only what the docstrings say.

A check returns whether the input was taken for good; fuzzing is worth something only where some are.
"""

import functools
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from fuzz.good_rows import GOOD_ITEMS
from fuzz.workplace import image_root
from groundr1.boxes import Box, clip, giou, iou, relative_area, rescale
from groundr1.cropping import crop_evidence
from groundr1.data import load_image
from groundr1.data.items import BadRow, Item, items_of
from groundr1.data.picture_check import BadPicture, check_picture, to_rgb
from groundr1.data.readers import KINDS
from groundr1.data.row_forms import WrongForm
from groundr1.data.row_streams import FORMS
from groundr1.data.rows import find_picture
from groundr1.evaluation.compat import COMPATIBLE, NO_SCORER
from groundr1.evaluation.judge.texts import Reply, read_score
from groundr1.evaluation.verdicts import verdict
from groundr1.parsing import parse_answer, parse_box, parse_turn
from groundr1.rewards import answer_reward, format_reward

# ----------------------------------------------------------------------------------------------------------------------
# model texts


def check_turn(text: str) -> bool:
    """Parsing and the format reward."""
    box, turn, answer = parse_box(text), parse_turn(text), parse_answer(text)
    assert box is None or (not box.is_empty and all(map(math.isfinite, box)))
    assert (turn.kind == "malformed") == (turn.box is None and turn.answer is None)
    assert turn.kind != "answer" or (answer is not None and turn.answer)
    assert turn.kind != "box" or turn.box == box
    assert 0.0 <= format_reward([text, text]) <= 1.0
    return box is not None or answer is not None


def check_reward(value: tuple[str | None, str | list[str], str]) -> bool:
    """The answer reward, of every kind."""
    reward = answer_reward(*value)
    assert isinstance(reward, float) and 0.0 <= reward <= 1.0
    return reward > 0.0


@functools.cache
def good_items(benchmark: str) -> list[Item]:
    """Items of the good rows, with the size of the picture, which VLMEvalKit's rule for RefCOCO wants."""
    return [
        replace(item, size=(100, 80)) for row in GOOD_ITEMS[benchmark] for item in items_of(benchmark, row)
    ]


def check_verdict(value: tuple[str, str, str]) -> bool:
    """What our rules and the other kits' make of a prediction, and what a judge's reply says."""
    benchmark, text, reason = value
    verdicts = []
    for item in good_items(benchmark):
        verdicts.append(verdict(benchmark, item, text))
        verdicts += [
            read(benchmark, item, text) for kit, read in COMPATIBLE.items() if benchmark not in NO_SCORER[kit]
        ]
    assert all(0.0 <= each.score <= 1.0 and (each.valid or each.score == 0.0) for each in verdicts)
    judged = read_score(benchmark, Reply(text, reason))
    assert judged.score is None or 0.0 <= judged.score <= 1.0
    return any(each.valid for each in verdicts) or judged.score is not None


# ----------------------------------------------------------------------------------------------------------------------
# boxes and pictures


def check_boxes(value: tuple[Box, Box, tuple[float, float], tuple[float, float]]) -> bool:
    """All functions of boxes."""
    a, b, size, other = value
    assert 0.0 <= iou(a, b) <= 1.0 and -1.0 <= giou(a, b) <= 1.0
    assert iou(a, b) == iou(b, a) and giou(a, b) <= iou(a, b)
    try:
        inside = clip(a, size)
    except ValueError:
        assert not all(0 < side < math.inf for side in size)
        return False
    assert 0.0 <= relative_area(a, size) <= 1.0
    if inside is not None:
        width, height = map(float, size)  # rounds whole numbers above 2 ** 53, as a box does
        assert 0 <= inside.x1 < inside.x2 <= width and 0 <= inside.y1 < inside.y2 <= height
    try:
        rescale(a, size, other)
    except ValueError:
        assert not all(0 < side < math.inf for side in other)
    return inside is not None


def check_crop(value: tuple[Image.Image, Box | None, int, float]) -> bool:
    """The evidence region lies in the picture, is what its box says, and has its minimum side where there is room."""
    image, box, min_side, max_aspect = value
    evidence = crop_evidence(image, box, min_side=min_side, max_aspect=max_aspect)
    crop = evidence.box
    assert 0 <= crop.x1 < crop.x2 <= image.width and 0 <= crop.y1 < crop.y2 <= image.height
    assert evidence.image.size == (crop.width, crop.height) and evidence.image.mode == image.mode
    if evidence.refused is not None:
        assert evidence.image.size == image.size
        return False
    assert crop.width >= min(min_side, image.width) and crop.height >= min(min_side, image.height)
    return True


def check_encoded(encoded: bytes) -> bool:
    """Encoded pictures: what the check takes can be loaded and made RGB."""
    try:
        facts = check_picture(encoded)
    except BadPicture as error:
        assert str(error) and "\n" not in str(error)
        facts = None
    try:
        image = load_image(encoded)
    except ValueError as error:
        assert facts is None, f"check_picture takes what load_image does not: {error}"
        return False
    if facts is not None:
        assert facts.size == image.size == to_rgb(image).size and to_rgb(image).mode == "RGB"
    return facts is not None


# ----------------------------------------------------------------------------------------------------------------------
# rows


def check_row(value: tuple[str, dict[str, Any]]) -> bool:
    """A parsed row of each training form."""
    form, row = value
    try:
        draft = FORMS[form].draft(row, "stem", 1)
    except (BadRow, WrongForm) as error:
        assert 0 < len(str(error)) < 1000
        return False
    assert draft.kind in KINDS and draft.question.strip() and draft.solution
    assert all(isinstance(number, float) for box in draft.boxes for number in box)
    json.dumps([draft.id, draft.question, draft.solution, draft.source], ensure_ascii=False).encode()
    return True


def check_path(value: tuple[str, str | None]) -> bool:
    """The path of a picture stays below the image root."""
    image, marker = value
    try:
        path = find_picture(image, image_root(), marker)
    except (BadRow, OSError, ValueError) as error:  # what `row_judge` takes for a bad row
        assert str(error)
        return False
    assert Path(os.path.realpath(path)).is_relative_to(os.path.realpath(image_root()))
    return os.path.isfile(path)


def check_items(value: tuple[tuple[str, dict[str, Any]], int]) -> bool:
    """An official row of each benchmark."""
    (benchmark, row), number = value
    try:
        items = items_of(benchmark, row, number)
    except BadRow as error:
        assert str(error)
        return False
    assert items and len({item.id for item in items}) == len(items)
    for item in items:
        assert item.box is None or not item.box.is_empty
        assert item.size is None or min(item.size) > 0
        texts = [
            item.id,
            item.question,
            item.cluster,
            *item.solution,
            *item.options.values(),
            *item.groups.values(),
        ]
        "".join(texts).encode()
        verdict(benchmark, item, "<answer>B</answer>")
    return True
