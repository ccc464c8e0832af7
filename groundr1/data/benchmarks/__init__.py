"""The benchmarks of the paper, and the reader of their official files.

    >>> dataset, rejected = read_benchmark("pope", "POPE.jsonl", "pictures/POPE")            # doctest: +SKIP
    >>> dataset, rejected = read_benchmark("hrbench", "hr_bench_4k.tsv")                     # doctest: +SKIP
    >>> dataset, rejected = read_benchmark("vstar", "lmms-lab-encoder/vstar-bench", "out")   # doctest: +SKIP

`find_benchmarks` finds the files under a folder; `groundr1.data.items` says which forms of a row are understood.
"""

import itertools
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, Features, IterableDataset, Value
from tqdm.auto import tqdm

from groundr1.data.benchmarks.files import SourceRow, take_picture
from groundr1.data.benchmarks.picture_store import PictureStore
from groundr1.data.benchmarks.search import Found, find_benchmarks
from groundr1.data.benchmarks.sources import open_source
from groundr1.data.benchmarks.table import BENCHMARKS, MARKERS, Benchmark
from groundr1.data.example import EXAMPLE_FEATURES, Rejected
from groundr1.data.items import Item, items_of
from groundr1.data.items.forms import LeftOut, picture_of, pointer_of
from groundr1.data.rows import BadRow, Row, log_rejected

__all__ = ["BENCHMARKS", "BENCHMARK_FEATURES", "Benchmark", "Found", "find_benchmarks", "read_benchmark"]

logger = logging.getLogger(__name__)

# `annotation` is the official row as JSON, without its picture and with what the reader adds, for `items_of`; `note`
# says what was done to the annotated box.
BENCHMARK_FEATURES = Features({**EXAMPLE_FEATURES, "annotation": Value("string"), "note": Value("string")})

HEAD = 20  # rows looked at to tell whether the file is of this benchmark
FOREIGN_SHARE = 0.2  # a file with more boxes than this that need repair has its boxes in another frame


def read_benchmark(
    name: str,
    source: str | Path | Dataset | IterableDataset | Iterable[Mapping[str, Any]],
    image_root: str | Path | None = None,
    *,
    limit: int | None = None,
    progress: bool = True,
) -> tuple[Dataset, list[Rejected]]:
    """Read a benchmark into examples.

    Boxes follow the rule of evaluation, not that of training: a question is kept whatever became of its annotated box.
    Corners that are inverted are sorted, a box partly outside is cut to the picture, one wholly outside, empty, or on
    a picture of another size than the row states is left out; the column `note` says so. A row whose picture is
    missing or damaged, whose fields are not as they should be or whose id has occurred is set aside. RefCOCO's
    expressions are one row each, in `question`; there `kind` is "exact" and says nothing, since the box is what counts.

    Args:
        name: one of `BENCHMARKS`.
        source: a .jsonl, .tsv or .parquet file, a folder of parquet files (such as a snapshot of the Hub), an id of
            the Hub ("lmms-lab-encoder/POPE", with a split "lmms-lab-encoder/RefCOCO/testA"), or the rows themselves.
        image_root: the folder that holds the pictures, out of which no path may lead. Pictures that come in the rows
            are written there. Default: of a jsonl file its folder, of a TSV or parquet `<source>.pictures` beside it.
        limit: read only so many rows from the start.
        progress: show a bar.

    Returns:
        The dataset, columns `BENCHMARK_FEATURES`, pictures as paths, `source` the benchmark's main group, in the order
        of the source; and the rows set aside.

    Raises:
        FileNotFoundError: source or image root is not there.
        ValueError: no such benchmark; rows of another benchmark; boxes in another frame; no image root where the
            pictures have nowhere to go.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"name={name!r} is no benchmark; give one of {', '.join(BENCHMARKS)}.")
    benchmark = BENCHMARKS[name]
    label, rows, default_root = open_source(benchmark, source)
    root = Path(image_root) if image_root is not None else default_root
    if root is None:
        raise ValueError(
            f"{label}: give image_root, the folder of its pictures, or one to write those in its rows to."
        )
    if label.endswith((".jsonl", ".json")) and not root.is_dir():
        raise FileNotFoundError(
            f"There is no image folder {root}; download the pictures, or correct the path."
        )
    rows = _refuse_foreign(label, name, rows)
    reading = _Reading(benchmark, label, PictureStore(root, MARKERS.get(name)))
    bar = tqdm(rows, desc=f"reading {Path(label).name}", unit="row", disable=not progress)
    for position, each in enumerate(bar):
        wanted = limit is None or position < limit
        if not wanted and not reading.waiting:
            break
        reading.add(position, each, wanted)
    return reading.finish()


class _Done(NamedTuple):
    """A row that became examples; `pointer` is the index of the row that lent its picture, if one did."""

    position: int
    line: int
    pointer: str | None
    examples: list[dict[str, Any]]


class _Reading:
    """State of one reading: rows done, rows that wait for another row's picture, and what was set aside."""

    def __init__(self, benchmark: Benchmark, label: str, store: PictureStore):
        self.benchmark, self.label, self.store = benchmark, label, store
        self.done: list[_Done] = []
        self.faults: list[tuple[int, str]] = []  # line, reason
        self.left_out: Counter[str] = Counter()
        # Pictures that came in rows, by the index of the row.
        self.pictures: dict[str, tuple[Path, tuple[int, int]] | BadRow] = {}
        self.repeated: set[str] = set()  # indices of several rows: what points to them points nowhere
        self.waiting: dict[str, list[tuple[int, SourceRow]]] = {}  # by the index of the row with the picture

    def add(self, position: int, source_row: SourceRow, wanted: bool) -> None:
        """Take in a row; of one that is not wanted only the picture, if an earlier row waits for it."""
        try:
            if isinstance(source_row.row, BadRow):
                raise source_row.row
            index = str(source_row.row.get("index", f"row {position}"))
            if not wanted and index not in self.waiting:
                return
            if wanted:  # before a picture is written in vain
                items_of(self.benchmark.name, source_row.row, source_row.number)
            row, encoded = take_picture(source_row.row)
            if encoded is not None:
                self._keep(index, encoded)
            if wanted:
                self._place(
                    position, source_row._replace(row=row), pointer_of(row) if encoded is None else index
                )
        except LeftOut as reason:
            self.left_out[str(reason)] += 1
        except BadRow as error:
            if wanted:
                self.faults.append((source_row.line, str(error)))

    def _keep(self, index: str, encoded: bytes) -> None:
        """Write a row's picture, and finish the rows that waited for it."""
        before = self.pictures.get(index)
        try:
            self.pictures[index] = self.store.keep(encoded)
        except BadRow as error:
            self.pictures[index] = error
        if before is not None and before != self.pictures[index]:
            self.repeated.add(index)
        for position, row in self.waiting.pop(index, []):
            try:
                self._place(position, row, index)
            except BadRow as error:
                self.faults.append((row.line, str(error)))

    def _place(self, position: int, source_row: SourceRow, index: str | None) -> None:
        """Find a row's picture, that of the row with this index or else the one it names, and make its examples."""
        if index is not None and index not in self.pictures:
            self.waiting.setdefault(index, []).append((position, source_row))
            return
        row, added = source_row.row, {"row_number": source_row.number}
        if index is not None:
            found = self.pictures[index]
            if isinstance(found, BadRow):
                raise found
            path, size = found
            added["picture"] = path.name
        elif (stated := picture_of(row)) is not None:
            path, size = self.store.find(stated)
        else:
            raise BadRow("the row has neither a picture nor a path to one")
        annotation = row | added | {"picture_size": list(size)}
        items = items_of(self.benchmark.name, annotation)
        numbered = [annotation | {"item_number": number} for number in range(len(items))]
        examples = [
            self._example(item, path, each if len(items) > 1 else annotation)
            for item, each in zip(items, numbered, strict=True)
        ]
        self.done.append(_Done(position, source_row.line, pointer_of(row), examples))

    def _example(self, item: Item, path: Path, annotation: Row) -> dict[str, Any]:
        return {
            "id": item.id,
            "image": {"path": str(path), "bytes": None},
            "question": item.question,
            "solution": list(item.solution) or [item.question],
            "kind": "exact" if item.kind == "box" else item.kind,
            "boxes": [] if item.box is None else [list(item.box)],
            "source": item.groups[self.benchmark.group],
            "annotation": json.dumps(annotation, ensure_ascii=False),
            "note": item.note,
        }

    def finish(self) -> tuple[Dataset, list[Rejected]]:
        """The data set in the order of the source, ids unique, and what was set aside."""
        for pointer, rows in self.waiting.items():
            reason = f"its picture is that of row {pointer!r}, which is not there"
            self.faults += [(row.line, reason) for _, row in rows]
        good: list[dict[str, Any]] = []
        first_line: dict[str, int] = {}
        for _, line, pointer, examples in sorted(self.done, key=lambda each: each.position):
            repeated = next((each["id"] for each in examples if each["id"] in first_line), None)
            if pointer in self.repeated:
                self.faults.append((line, f"its picture is that of row {pointer!r}, and several rows are"))
            elif repeated is not None:
                self.faults.append((line, f"id {repeated!r} is that of line {first_line[repeated]}"))
            else:
                first_line |= dict.fromkeys((each["id"] for each in examples), line)
                good += examples
        notes = Counter(each["note"] for each in good)
        self._refuse_other_frame(len(good), sum(count for note, count in notes.items() if note))
        rejected = [Rejected(self.label, line, reason) for line, reason in sorted(self.faults)]
        log_rejected(rejected, len(self.done) + len(self.faults))
        logger.info(
            "%s: %d questions of %s; boxes repaired or left out: %s; rows that are no part of it: %s",
            self.benchmark.title, len(good), self.label,
            {note: count for note, count in notes.items() if note} or "none", dict(self.left_out) or "none",
        )  # fmt: skip
        columns = {key: [each[key] for each in good] for key in BENCHMARK_FEATURES}
        return Dataset.from_dict(columns, features=BENCHMARK_FEATURES), rejected

    def _refuse_other_frame(self, total: int, repaired: int) -> None:
        if total >= 10 and repaired > FOREIGN_SHARE * total:
            frame = "x, y, width, height" if self.benchmark.name == "refcoco" else "corners (x1, y1, x2, y2)"
            raise ValueError(
                f"{self.label}: {repaired} of {total} boxes cannot be {frame} as {self.benchmark.title} has them."
                " Check that the file, and its width and height, are the official ones."
            )


def _refuse_foreign(label: str, name: str, rows: Iterator[SourceRow]) -> Iterator[SourceRow]:
    """The same rows; ValueError when none of the first ones is of this benchmark, naming the one they are of."""
    head = list(itertools.islice(rows, HEAD))
    reasons = [reason for each in head if (reason := _why_not(name, each)) is not None]
    if head and len(reasons) == len(head):
        others = [BENCHMARKS[other].title for other in BENCHMARKS if _why_not(other, head[0]) is None]
        what = f"rows of {' or '.join(others)}, not of {BENCHMARKS[name].title}" if others else (
            f"no rows of {BENCHMARKS[name].title}"
        )  # fmt: skip
        raise ValueError(
            f"{label} has {what}: {reasons[0]}. Read it under its own name, or correct the path."
        )
    return itertools.chain(head, rows)


def _why_not(name: str, source_row: SourceRow) -> str | None:
    """Why a row is not of a benchmark; None if it is."""
    try:
        if isinstance(source_row.row, BadRow):
            raise source_row.row
        items_of(name, source_row.row, source_row.number)
    except LeftOut:
        return None
    except BadRow as error:
        return str(error)
    return None
