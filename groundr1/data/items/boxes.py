"""Rows of the benchmarks with boxes, Visual-CoT and RefCOCO, and what is done with a box that is not as it should be.

Two frames share a key: `bboxs` holds corners in Ground-R1's Visual-CoT file and x, y, width, height in its RefCOCO
file. RefCOCO's `bbox` is x, y, width, height on the Hub, and corners in the TSV and in Visual-CoT's REC files. The form
of a row, and in Ground-R1's files the name of its data set, says which; nothing is guessed from the numbers.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from groundr1.boxes import Box, clip
from groundr1.data.items.forms import (
    Item,
    answer_of,
    known,
    picture_of,
    question_of,
    shared_picture,
    size_of,
    split_options,
    text,
)
from groundr1.data.rows import BadRow, boxes_field, id_field, texts_field

__all__ = ["VISCOT_KINDS", "viscot_answer", "viscot_question"]

# Kind of a Visual-CoT set's answers. As groundr1.rewards.ANSWER_KINDS has it, which data may not import.
VISCOT_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("v7w", "visual7w", "gqa", "openimages"), "choice"),
    **dict.fromkeys(("docvqa", "infographicsvqa", "textcap", "textvqa", "dude", "sroie"), "ocr"),
    **dict.fromkeys(("flickr30k", "emotic"), "rouge"),
    **dict.fromkeys(("vsr", "cub"), "contains"),
}
REFCOCO_SPLIT = re.compile(r"(RefCOCO|RefCOCOplus|RefCOCOg)/(val|test|testA|testB)")
REF = re.compile(r"<ref>(.*?)</ref>", re.DOTALL)
NEGLIGIBLE = 0.01  # pixels; float32 annotations touch the border no better than this


def repair(box: Box, size: tuple[int, int] | None) -> tuple[Box | None, str]:
    """Make an annotated box (corners, image frame) usable for evaluation, or leave it out; the question stays.

    Corners that are inverted are sorted, what lies outside the picture is cut off. A box wholly outside or without an
    area is left out. Not in the paper: our choice, because a question is answered whatever became of its annotation.

    Returns:
        The box or None, and what was done: "", "corners sorted", "cut to the picture", both joined by a semicolon,
        "outside the picture, left out" or "empty, left out".

    >>> repair(Box(30, 10, 20, 40), (100, 80))
    (Box(x1=20.0, y1=10.0, x2=30.0, y2=40.0), 'corners sorted')
    >>> repair(Box(200, 10, 220, 40), (100, 80))
    (None, 'outside the picture, left out')
    """
    upright = Box(min(box.x1, box.x2), min(box.y1, box.y2), max(box.x1, box.x2), max(box.y1, box.y2))
    if upright.is_empty or not all(map(math.isfinite, upright)):
        return None, "empty, left out"
    notes = ["corners sorted"] if upright != box else []
    if size is not None:
        inside = clip(upright, size)
        if inside is None:
            return None, "outside the picture, left out"
        if max(abs(new - old) for new, old in zip(inside, upright, strict=True)) > NEGLIGIBLE:
            notes.append("cut to the picture")
        upright = inside
    return upright, "; ".join(notes)


def viscot_question(problem: str) -> str:
    """Question of a Ground-R1 Visual-CoT row; those of gqa and openimages have options, and a stray quotation mark.

    >>> viscot_question('Which?"  \\nA. Door  \\nB) Wall  \\n')
    'Which?\\nA. Door\\nB. Wall'
    """
    options = split_options(problem)
    if not options.lines:
        return problem.strip()
    return options._replace(stem=options.stem.removesuffix('"').rstrip()).question


def viscot_answer(solution: str) -> str:
    """Solution of a Ground-R1 Visual-CoT row, without the tags that those of gqa and openimages have."""
    return re.sub(r"</?answer>", "", solution).strip()


def viscot(row: Mapping[str, Any], number: int) -> list[Item]:
    """Ground-R1's form. Visual-CoT's own `benchmark_det` rows have no answer, and are refused."""
    if known(row, "img_path") and known(row, "expression"):
        raise BadRow(
            "a row of Visual-CoT's detection pass or of RefCOCO (img_path, expression): it has no answer"
        )
    name = text(row, "dataset")
    if REFCOCO_SPLIT.fullmatch(name):
        raise BadRow(
            f"dataset {name!r} belongs to RefCOCO, whose boxes are x, y, width, height and not corners"
        )
    if name not in VISCOT_KINDS:
        raise BadRow(f"dataset {name!r:.60} is no Visual-CoT set; known are {', '.join(VISCOT_KINDS)}")
    problem = viscot_question(question_of(row))
    boxes = boxes_field(row, "bboxs")
    if len(boxes) > 1:
        raise BadRow(f"{len(boxes)} boxes; one is expected")
    size = size_of(row)
    box, note = repair(Box(*boxes[0]), size) if boxes else (None, "")
    box, size, note = _of_picture(row, box, size, note)
    return [
        Item(
            id=f"{name}-{id_field(row, 'problem_id')}",
            question=problem,
            solution=(viscot_answer(answer_of(row)),),
            kind=VISCOT_KINDS[name],
            cluster=text(row, "image"),
            groups={"set": "v7w" if name == "visual7w" else name},
            options=split_options(problem).by_letter,
            box=box,
            note=note,
            size=size,
            image=picture_of(row),
        )
    ]


def refcoco(row: Mapping[str, Any], number: int) -> list[Item]:
    """One item an expression; those of an object are a cluster.

    Ground-R1 and Hub rows are objects with several expressions, TSV and REC rows have one expression each, and the
    object is then told by picture and box.
    """
    if known(row, "bboxs") or known(row, "problem_id"):
        name, boxes = text(row, "dataset"), boxes_field(row, "bboxs")
        if not REFCOCO_SPLIT.fullmatch(name):
            raise BadRow(
                f"dataset {name!r:.60} is no split of RefCOCO; boxes of other sets are corners, not x, y, width, height"
            )
        if len(boxes) != 1:
            raise BadRow(f"{len(boxes)} boxes; an object has one")
        return _object(
            row, name, id_field(row, "problem_id"), Box.from_xywh(*boxes[0]), texts_field(row, "solution")
        )
    if known(row, "img_path"):
        if not known(row, "sent_id"):
            raise BadRow("no field 'sent_id': a row of Visual-CoT's detection pass, not of its REC files")
        (corners,) = boxes_field({"bbox": [row.get("bbox")]}, "bbox")
        return _expression(
            row,
            _dataset(row),
            text(row, "sent_id"),
            Box(*corners),
            text(row, "expression"),
        )
    if known(row, "index"):
        stated = question_of(row)
        found = REF.search(stated)
        split = text(row, "split", "category", default="unknown")
        return _expression(
            row, _split_name(split), text(row, "index"), _corners(row), found[1].strip() if found else stated
        )
    if not isinstance(row.get("answer"), list):
        raise BadRow(f"no known form of RefCOCO; the row has {sorted(map(str, row))}"[:400])
    (numbers,) = boxes_field({"bbox": [row.get("bbox")]}, "bbox")
    name = _dataset(row)
    return _object(row, name, str(number), Box.from_xywh(*numbers), texts_field(row, "answer"))


def _dataset(row: Mapping[str, Any]) -> str:
    if not known(row, "dataset"):
        raise BadRow(
            "the row does not say its data set and split; add the field dataset, such as 'RefCOCO/val'"
        )
    return text(row, "dataset")


def _object(
    row: Mapping[str, Any], split: str, identity: str, box: Box, expressions: list[str]
) -> list[Item]:
    box, note, size = _usable(row, box)
    cluster = f"{split}-{identity}"
    return [
        Item(
            id=f"{cluster}-{index}",
            question=expression.strip(),
            solution=(),
            kind="box",
            cluster=cluster,
            groups={"split": split},
            box=box,
            note=note,
            size=size,
            image=picture_of(row),
        )
        for index, expression in enumerate(expressions)
    ]


def _expression(row: Mapping[str, Any], split: str, identity: str, box: Box, expression: str) -> list[Item]:
    box, note, size = _usable(row, box)
    return [
        Item(
            id=f"{split}-{identity}",
            question=expression,
            solution=(),
            kind="box",
            cluster=f"{split}-{shared_picture(row, '')}-{','.join(f'{value:.1f}' for value in box)}",
            groups={"split": split},
            box=box,
            note=note,
            size=size,
            image=picture_of(row),
        )
    ]


def _usable(row: Mapping[str, Any], box: Box) -> tuple[Box, str, tuple[int, int] | None]:
    """Box of an object, without which there is nothing to score."""
    size = size_of(row)
    if box.is_empty:
        raise BadRow(f"box {list(box)} is inverted, empty or not finite")
    usable, note = repair(box, size)
    usable, size, note = _of_picture(row, usable, size, note)
    if usable is None:
        raise BadRow(f"box {list(box)}: {note}; picture of size {size} (width, height)")
    return usable, note, size


def _of_picture(
    row: Mapping[str, Any], box: Box | None, size: tuple[int, int] | None, note: str
) -> tuple[Box | None, tuple[int, int] | None, str]:
    """Box, size and note once a reader has seen the picture, whose size it writes as `picture_size`."""
    if not known(row, "picture_size"):
        return box, size, note
    try:
        width, height = row["picture_size"]
        seen = size_of({"width": width, "height": height})
    except (TypeError, ValueError) as error:
        raise BadRow(f"picture_size is {row['picture_size']!r:.60}; it must be width and height") from error
    if size is None and box is not None:
        box, note = repair(box, seen)
    elif size is not None and size != seen:
        box, note = None, "the picture is of another size, left out"
    return box, seen, note


def _corners(row: Mapping[str, Any]) -> Box:
    """Box of a TSV row: columns bbox_x1 to bbox_y2, or the four numbers in the answer.

    Numbers up to 1.5 are shares of the picture's sides, as VLMEvalKit's RefCOCODataset reads them.
    """
    keys = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
    try:
        if all(known(row, key) for key in keys):
            numbers = [float(row[key]) for key in keys]
        else:
            numbers = [
                float(each)
                for each in re.findall(r"-?\d+(?:\.\d+)?(?:[eE]-?\d+)?", str(row.get("answer", "")))
            ]
    except (TypeError, ValueError) as error:
        raise BadRow(f"the box has a coordinate that is no number ({error})") from error
    if len(numbers) != 4:
        raise BadRow(
            f"{len(numbers)} coordinates, neither in columns bbox_x1 to bbox_y2 nor in the answer; four are expected"
        )
    if max(numbers) <= 1.5:
        size = size_of(row)
        if size is None:
            raise BadRow("the box is in shares of the picture, and the row does not state width and height")
        numbers = [value * side for value, side in zip(numbers, (*size, *size), strict=True)]
    return Box(*numbers)


def _split_name(name: str) -> str:
    """VLMEvalKit's "RefCOCO+_testA" as Ground-R1 writes it, "RefCOCOplus/testA"."""
    found = re.fullmatch(r"(?i)ref_?coco(\+|plus|g)?[_/ -]*(val|test|testA|testB)", name.strip())
    if found is None:
        raise BadRow(f"{name!r:.60} is no split of RefCOCO")
    suffix = {"": "", "+": "plus", "plus": "plus", "g": "g"}[(found[1] or "").lower()]
    split = {"val": "val", "test": "test", "testa": "testA", "testb": "testB"}[found[2].lower()]
    return f"RefCOCO{suffix}/{split}"
