"""The folder of a validation while it grows: parts of a few thousand rows, each complete or not there.

A part is two files: its clean rows (`clean/part-00000.arrow`, which `datasets` maps into memory) and its ledger
(`rows/part-00000.parquet`), one line for every row of the source, saying what became of it. The ledger is written last:
a part without one is written again. Memory holds one part's ledger and a few clean rows.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, concatenate_datasets

from groundr1.data.example import EXAMPLE_FEATURES, to_dataset
from groundr1.storage import atomic_write

__all__ = ["LEDGER", "PART_ROWS", "DamagedPart", "Parts"]

logger = logging.getLogger(__name__)

PART_ROWS = 4096
FLUSH_ROWS = 512
FLUSH_BYTES = 16 * 2**20  # of embedded pictures

LEDGER = pa.schema(
    {
        "file": pa.string(),
        "line": pa.int64(),
        "id": pa.string(),
        "source": pa.string(),
        "fault": pa.string(),  # "" of a clean row
        "reason": pa.string(),
        "image": pa.string(),  # path of the picture, "" if it is embedded
        "width": pa.int32(),  # of the frame of the boxes, 0 if it is not known
        "height": pa.int32(),
        "mode": pa.string(),
        "format": pa.string(),
        "sha256": pa.binary(),  # of the encoded picture, None if it could not be read
        "perceptual": pa.uint64(),
        "question": pa.uint64(),  # duplicates.question_key
        "answer": pa.uint64(),  # key of solution and boxes
        "box_state": pa.string(),
        "boxes": pa.list_(pa.list_(pa.float64())),  # as the row states them, corners
        "notes": pa.string(),
    }
)


class DamagedPart(ValueError):
    """A file of a part cannot be read; the message names it."""


class Parts:
    """Parts of one validation.

    Raises:
        DamagedPart: a part that is to be read cannot be.
    """

    def __init__(self, folder: Path) -> None:
        self.clean, self.rows = folder / "clean", folder / "rows"

    def complete(self) -> list[Path]:
        """Ledgers of the complete parts, in order."""
        return sorted(self.rows.glob("part-*.parquet"))

    def num_rows(self) -> int:
        """Rows of the source in complete parts."""
        return sum(_num_lines(path) for path in self.complete())

    def num_clean(self) -> int:
        """Clean rows in complete parts, counted file by file, so that none stays mapped."""
        return sum(_num_stored(self._clean_of(path)) for path in self.complete())

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Columns of the ledger, one part at a time."""
        for path in self.complete():
            yield _table(path, columns)

    def records(self, columns: Sequence[str] = tuple(LEDGER.names)) -> Iterator[dict[str, Any]]:
        """Lines of the ledger, in the order of the source."""
        for table in self.tables(columns):
            yield from table.to_pylist()

    def dataset(self) -> Dataset:
        """The clean rows, mapped into memory."""
        parts = []
        for path in map(self._clean_of, self.complete()):
            with _naming(path):
                parts.append(Dataset.from_file(str(path)))
        return concatenate_datasets([each for each in parts if len(each)] or [to_dataset([])])

    def remove(self) -> None:
        """Delete all parts."""
        shutil.rmtree(self.rows, ignore_errors=True)  # first: what has no ledger is not there
        shutil.rmtree(self.clean, ignore_errors=True)

    def remove_damaged(self) -> None:
        """Delete the first part that cannot be read or is not there, and all behind it; they are made again."""
        paths = self.complete()
        for number, path in enumerate(paths):
            try:
                is_whole = path.stem == _name(number) and self._is_whole(path)
            except DamagedPart:
                is_whole = False
            if not is_whole:
                logger.warning(
                    "%s: %s is damaged or lost; it and what follows it are made again",
                    self.rows.parent,
                    _name(number),
                )
                for each in paths[number:]:
                    each.unlink()
                return

    def new(self) -> "PartWriter":
        """The part after the last complete one."""
        return PartWriter(self, _name(len(self.complete())))

    def _clean_of(self, ledger: Path) -> Path:
        return self.clean / f"{ledger.stem}.arrow"

    def _is_whole(self, ledger: Path) -> bool:
        return _table(ledger, ["fault"])["fault"].to_pylist().count("") == _num_stored(self._clean_of(ledger))


def _name(number: int) -> str:
    return f"part-{number:05d}"


def _table(ledger: Path, columns: Sequence[str]) -> pa.Table:
    with _naming(ledger):
        return pq.read_table(ledger, columns=list(columns), use_threads=False)


def _num_lines(ledger: Path) -> int:
    with _naming(ledger):
        return pq.read_metadata(ledger).num_rows


def _num_stored(clean: Path) -> int:
    with _naming(clean), pa.memory_map(str(clean)) as file:
        return sum(batch.num_rows for batch in pa.ipc.open_stream(file))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises into a DamagedPart."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DamagedPart(
            f"{path} cannot be read ({error}). Delete {path.parent.parent} and validate again."
        ) from error


class PartWriter:
    """A part that is being filled."""

    def __init__(self, parts: Parts, name: str) -> None:
        parts.clean.mkdir(parents=True, exist_ok=True)
        parts.rows.mkdir(parents=True, exist_ok=True)
        self.arrow, self.ledger = parts.clean / f"{name}.arrow", parts.rows / f"{name}.parquet"
        self.unfinished = self.arrow.with_name(f".writing-{self.arrow.name}")
        self._schema = EXAMPLE_FEATURES.arrow_schema
        self._stream = pa.ipc.new_stream(str(self.unfinished), self._schema)
        self._records: list[Mapping[str, Any]] = []
        self._examples: list[Mapping[str, Any]] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Mapping[str, Any], example: Mapping[str, Any] | None) -> None:
        """Add a line of the ledger, and the row itself if it is clean."""
        self._records.append(record)
        if example is not None:
            self._examples.append(example)
            self._bytes += len(example["image"]["bytes"] or b"")
        if len(self._examples) >= FLUSH_ROWS or self._bytes >= FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._examples:
            self._stream.write_table(pa.Table.from_pylist(self._examples, schema=self._schema))
        self._examples, self._bytes = [], 0

    def complete(self) -> None:
        """Put both files in their place, the ledger last."""
        self._flush()
        self._stream.close()
        with atomic_write(self.arrow) as temporary:
            os.replace(self.unfinished, temporary)
        with atomic_write(self.ledger) as temporary:
            pq.write_table(pa.Table.from_pylist(self._records, schema=LEDGER), temporary)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._stream.close()
        self.unfinished.unlink(missing_ok=True)
