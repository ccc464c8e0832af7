"""Rows checked against their pictures: many at a time, in the order of the file.

Decoding is most of the work and lets other threads run, so threads do it; each picture is decoded once, also where
neighbouring rows share it. What becomes of a row is a `Judged`.
"""

import os
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundr1.boxes import Box, clip
from groundr1.data.checks import answer_fault, box_state, judge_boxes
from groundr1.data.frames import are_extents
from groundr1.data.picture_check import TURNED, BadPicture, Limits, PictureFacts, check_picture
from groundr1.data.rows import BadRow, Draft, find_picture

__all__ = ["Judged", "judged"]

AHEAD = 16  # rows a worker that are looked at before they are needed
REMEMBERED = 1024  # pictures whose facts are kept for later rows

Looked = tuple[str, PictureFacts]  # path ("" of an embedded picture) and facts


@dataclass
class Judged:
    """What became of a row.

    Attributes:
        line: as of `stream`.
        id, source: of the draft; of a row that could not be parsed as far as it states them, else "".
        draft: None of a row that could not be parsed.
        path: of the picture, "" of an embedded one or where there is none.
        facts: of the picture, None if it could not be used or looked for.
        box_state: of the worst box, one of `checks.BOX_STATES`, "none" or, where no size is known, "unknown".
        notes: what is odd about the row and no fault.
        fault, reason: kind of fault and a sentence for a person; "" of a good row.
        example: the row in `EXAMPLE_FEATURES`, None of a bad one.
    """

    line: int
    id: str = ""
    source: str = ""
    draft: Draft | None = None
    path: str = ""
    facts: PictureFacts | None = None
    box_state: str = "unknown"
    notes: list[str] = field(default_factory=list)
    fault: str = ""
    reason: str = ""
    example: dict[str, Any] | None = None

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """(width, height) of the frame of the boxes: as the row states it, else that of the picture."""
        stated = self.draft.size if self.draft else None
        return stated or (self.facts.size if self.facts else None)

    def set_aside(self, error: BadRow) -> None:
        """Make it a bad row."""
        self.fault, self.reason, self.example = error.fault, str(error), None


def judged(
    rows: Iterable[tuple[int, Draft | BadRow]],
    image_root: Path | None,
    marker: str | None,
    limits: Limits,
    workers: int | None = None,
) -> Iterator[Judged]:
    """Check rows in order.

    Args:
        rows: what `stream` yields.
        image_root: the folder of the pictures, absolute; None where rows hold theirs.
        marker: of the form.
        limits: bounds of the pictures.
        workers: threads; None for one a core.
    """
    workers = workers or os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
    recent: OrderedDict[str, Future[Looked]] = OrderedDict()

    def look(found: Draft | BadRow) -> Future[Looked] | None:
        if isinstance(found, BadRow):
            return None
        if isinstance(found.image, bytes):
            return pool.submit(_look, found.image, image_root, marker, limits)
        if found.image not in recent:
            recent[found.image] = pool.submit(_look, found.image, image_root, marker, limits)
            if len(recent) > REMEMBERED:
                recent.popitem(last=False)
        recent.move_to_end(found.image)
        return recent[found.image]

    waiting: deque[tuple[int, Draft | BadRow, Future[Looked] | None]] = deque()
    try:
        for line, found in rows:
            waiting.append((line, found, look(found)))
            if len(waiting) > AHEAD * workers:
                yield _judge(*waiting.popleft())
        while waiting:
            yield _judge(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _look(image: str | bytes, image_root: Path | None, marker: str | None, limits: Limits) -> Looked:
    """Find and check a picture; raises BadRow."""
    try:
        if isinstance(image, bytes):
            return "", check_picture(image, limits)
        if image_root is None:
            raise BadRow(f"the picture is the file {image!r:.200}, and no image root is given", "path")
        path = find_picture(image, image_root, marker)
        return str(path), check_picture(path, limits)
    except BadPicture as error:
        raise BadRow(str(error), error.fault) from error
    except BadRow:
        raise
    except (OSError, ValueError) as error:  # a name that the file system cannot hold
        raise BadRow(
            f"the picture {image!r:.200} cannot be looked for ({error})", "picture missing"
        ) from error


def _judge(line: int, found: Draft | BadRow, looking: Future[Looked] | None) -> Judged:
    row = Judged(line, found.id, found.source)
    if isinstance(found, BadRow):
        row.set_aside(found)
        return row
    row.draft = found
    # Not raised again: its traceback would grow with every row that shares the picture.
    error = looking.exception()
    if isinstance(error, BadRow):
        row.set_aside(error)
    else:
        row.path, row.facts = looking.result()
    size = row.facts.size if row.facts else found.size
    if size is not None:
        row.box_state, row.notes = judge_boxes(found.boxes, size, found.square_box)
    if row.facts is None:
        return row
    try:
        _check_size(row)
        boxes = _usable_boxes(row)
        if reason := answer_fault(found.question, found.solution, found.kind):
            raise BadRow(reason, "answer")
        row.example = {
            "id": found.id,
            "image": {
                "path": row.path or None,
                "bytes": found.image if isinstance(found.image, bytes) else None,
            },
            "question": found.question,
            "solution": found.solution,
            "kind": found.kind,
            "boxes": [list(box) for box in boxes],
            "source": found.source,
        }
    except BadRow as error:
        row.set_aside(error)
    return row


def _check_size(row: Judged) -> None:
    """BadRow where the row states another size than the picture has: boxes would not fit."""
    stated, facts = row.draft.size, row.facts
    if stated is None or stated == facts.size:
        return
    hint = "boxes would not fit; is it another copy of the picture?"
    if stated == facts.stored_size:
        hint = (
            "that is its size before its EXIF orientation is applied, and boxes are those of the upright picture; turn"
            " the boxes, or strip the orientation"
        )
    raise BadRow(
        f"the picture {row.path or 'in the row'} is {facts.size}, the row says {stated} (width, height): {hint}",
        "picture size",
    )


def _usable_boxes(row: Judged) -> list[Box]:
    """The parts of the boxes inside the picture; BadRow where one cannot be used."""
    boxes, facts = row.draft.boxes, row.facts
    if row.box_state == "normalised":
        raise BadRow(
            f"all coordinates of {[list(box) for box in boxes]!r:.120} lie within 0 and 1: they look normalised, where"
            f" pixels are expected; multiply them by the width and height of the picture, {facts.size}",
            "box normalised",
        )
    for box in boxes:
        state = box_state(box, facts.size)
        if why := _why_not(box, state, facts):
            raise BadRow(f"box {list(box)} {why}", f"box {state}")
    return [clip(box, facts.size) for box in boxes]


def _why_not(box: Box, state: str, facts: PictureFacts) -> str:
    """Why a box in a state of `BOX_STATES` cannot be used; "" if it can."""
    size = f"the picture of size {facts.size} (width, height)"
    if state == "not finite":
        return "is not finite; corners are four numbers of pixels"
    if state == "inverted":
        fits = min(box) >= 0 and are_extents([box], facts.size)
        hint = (
            "; as x, y, width, height it would lie inside the picture: write corners, x + width and y + height, or is"
            " the file of form 'refcoco'?"
        )
        return "is inverted; corners are x1 < x2, y1 < y2" + (hint if fits else "")
    if state == "empty":
        return f"is empty, less than a pixel wide or high inside {size}; corners are x1 < x2, y1 < y2"
    if state == "outside":
        turned = TURNED in facts.notes and clip(box, facts.stored_size) is not None
        hint = "; it is inside the picture as stored, before its EXIF orientation is applied"
        return f"lies outside {size}" + (hint if turned else "")
    return ""
