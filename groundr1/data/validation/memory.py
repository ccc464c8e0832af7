"""What a validation remembers of the rows it has seen: ids, questions on pictures, the frame of the boxes.

All of it is in the ledger, from which it is remembered again when a pass that was killed goes on.
"""

from collections.abc import Mapping
from typing import Any

from groundr1.boxes import Box
from groundr1.data.frames import FrameTally
from groundr1.data.row_judge import Judged
from groundr1.data.rows import BadRow, free_id
from groundr1.data.validation.duplicates import FirstSeen, key_of, question_key
from groundr1.data.validation.leakage import OtherSplits

__all__ = ["Memory"]

LINES = 1 << 40  # a place is the number of the file times this, and the line


class Memory:
    """Of the rows of one validation.

    Args:
        frame: of the form, "corners" or "extents".
        others: splits whose rows are set aside here.
    """

    # What of the ledger is needed to remember a row.
    COLUMNS = ("file", "line", "id", "fault", "sha256", "question", "answer", "width", "height", "boxes")

    def __init__(self, frame: str, others: OtherSplits) -> None:
        self.frame = frame
        self.others = others
        self.tallies: dict[str, FrameTally] = {}  # by file, in the order in which they came
        self.ids, self.asked, self.answered = FirstSeen(), FirstSeen(), FirstSeen()

    def take(self, file: str, row: Judged) -> dict[str, Any]:
        """Set a row aside that repeats another, give it another id where the one made for it is taken; remember it.

        Returns its line of the ledger.
        """
        record = _record(file, row)
        if row.example is not None:
            try:
                self._check_repeats(record, row.draft.id_is_made)
            except BadRow as error:
                row.set_aside(error)
        if row.example is not None:
            record["id"] = row.example["id"] = free_id(record["id"], self._has_id)
        record |= {"fault": row.fault, "reason": row.reason.encode("utf-8", "backslashreplace").decode()}
        self.remember(record)
        return record

    def remember(self, record: Mapping[str, Any]) -> None:
        """Take a line of the ledger into account."""
        file = record["file"]
        size = (record["width"], record["height"]) if record["width"] else None
        self.tallies.setdefault(file, FrameTally(self.frame)).add(
            [Box(*corners) for corners in record["boxes"]], size
        )
        if not record["fault"]:
            place = list(self.tallies).index(file) * LINES + record["line"]
            self.ids.add(key_of(record["id"]), place)
            self.asked.add(_asked(record), place)
            self.answered.add(_answered(record), place)

    def refuse_frame(self) -> None:
        """Raise ValueError when the boxes of a file are in another frame than the form has."""
        for file, tally in self.tallies.items():
            if fault := tally.fault():
                raise ValueError(f"{file}: {fault}")

    def _has_id(self, name: str) -> bool:
        return self.ids.get(key_of(name)) is not None

    def _check_repeats(self, record: Mapping[str, Any], id_is_made: bool) -> None:
        place = None if id_is_made else self.ids.get(key_of(record["id"]))
        if place is not None:
            raise BadRow(f"id {record['id']!r} is that of {self._told(place, record)}", "duplicate id")
        if (place := self.answered.get(_answered(record))) is not None:
            raise BadRow(
                f"the same row as {self._told(place, record)}: picture, question and answer", "duplicate"
            )
        if (place := self.asked.get(_asked(record))) is not None:
            raise BadRow(
                f"question and picture are those of {self._told(place, record)}, with another answer or box: which is"
                " meant, no model can tell; leave one out, or ask more precisely",
                "ambiguous",
            )
        found = self.others.find(record["sha256"], record["question"], record["perceptual"])
        if found is not None:
            raise BadRow(f"in another split: {found}", "leakage")

    def _told(self, place: int, record: Mapping[str, Any]) -> str:
        number, line = divmod(place, LINES)
        file = list(self.tallies)[number]
        return f"line {line}" if file == record["file"] else f"line {line} of {file}"


def _asked(record: Mapping[str, Any]) -> int:
    return key_of(record["sha256"], record["question"].to_bytes(8, "big"))


def _answered(record: Mapping[str, Any]) -> int:
    return key_of(
        record["sha256"], record["question"].to_bytes(8, "big"), record["answer"].to_bytes(8, "big")
    )


def _record(file: str, row: Judged) -> dict[str, Any]:
    """A row as a line of the ledger, without what is wrong with it."""
    draft, facts = row.draft, row.facts
    width, height = row.frame_size or (0, 0)
    is_path = draft is not None and isinstance(draft.image, str)
    return {
        "file": file,
        "line": row.line,
        "id": row.id,
        "source": row.source,
        "image": row.path or (draft.image if is_path else ""),
        "width": width,
        "height": height,
        "mode": facts.mode if facts else "",
        "format": facts.format if facts else "",
        "sha256": facts.sha256 if facts else None,
        "perceptual": facts.perceptual if facts else None,
        "question": question_key(draft.question) if draft else 0,
        "answer": key_of(*draft.solution, str(draft.boxes)) if draft else 0,
        "box_state": row.box_state,
        "boxes": [list(box) for box in draft.boxes] if draft else [],
        "notes": "; ".join([*row.notes, *(facts.notes if facts else ())]),
    }
