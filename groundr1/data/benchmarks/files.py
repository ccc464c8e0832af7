"""Where a benchmark's rows come from: jsonl, TSV, parquet files, a data set of the Hub, or rows in memory.

Every source is read as a stream, a row at a time: a TSV of HR-Bench has 4 GB. Nothing is unpickled and no code of a
data set is run.
"""

import base64
import binascii
import csv
import io
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, IterableDataset, load_dataset
from PIL import Image

from groundr1.data.rows import BadRow, Row, as_row, read_lines

__all__ = [
    "SourceRow",
    "hub_rows",
    "mapping_rows",
    "parquet_rows",
    "refcoco_dataset",
    "rows_of_file",
    "take_picture",
]

BATCH = 8  # rows of a parquet file or data set decoded at once: some hold a picture of 10 MB
READ_AHEAD = 1 << 20  # bytes; parquet files written in one piece would otherwise be loaded whole
PICTURE_KEYS = ("image", "bytes", "images")
BASE64_START = re.compile(r"[A-Za-z0-9+/=\s]+")
REFCOCO_NAME = re.compile(r"(?i)ref_?coc_?o(\+|plus|g)?(?![a-z])")  # `datasets` writes ref_coc_oplus
SPLIT_NAME = re.compile(r"(?i)(?<![a-z])(val|validation|testA|testB|test)(?![a-z])")


class SourceRow(NamedTuple):
    """One row of a source: position from 0, line for messages from 1, and the row or what is wrong with it."""

    number: int
    line: int
    row: Row | BadRow


def rows_of_file(path: Path) -> Iterator[SourceRow]:
    """Rows of a .jsonl, .tsv or .parquet file."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}; download it, or correct the path.")
    if path.suffix == ".parquet":
        return parquet_rows([path])
    if path.suffix == ".tsv":
        return _tsv_rows(path)
    if path.suffix in (".jsonl", ".json"):
        return (SourceRow(number, line, row) for number, (line, row) in enumerate(read_lines(path)))
    raise ValueError(f"{path} is neither .jsonl nor .tsv nor .parquet; convert it, or correct the path.")


def _tsv_rows(path: Path) -> Iterator[SourceRow]:
    """Rows of a TSV as VLMEvalKit publishes them; every value is a text."""
    before = csv.field_size_limit(sys.maxsize)  # a picture is one field
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            for number, row in enumerate(reader):
                short = None in row or None in row.values()
                fault = BadRow(f"not {len(reader.fieldnames or ())} fields, as the first line has")
                yield SourceRow(number, number + 2, fault if short else row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TSV in UTF-8 ({error}); download it again.") from error
    finally:
        csv.field_size_limit(before)


def parquet_rows(paths: Sequence[Path]) -> Iterator[SourceRow]:
    """Rows of parquet files, one file after another; held in memory is a data page, however long the file."""
    number = 0
    for path in paths:
        try:
            file = pq.ParquetFile(path, buffer_size=READ_AHEAD, pre_buffer=False)
            for batch in file.iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    yield SourceRow(number, number + 1, row)
                    number += 1
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a parquet file ({error}); download it again.") from error


def hub_rows(repository: str, config: str | None, split: str) -> Iterator[SourceRow]:
    """Rows of a data set of the Hub, streamed; it is asked for with the first row."""
    yield from mapping_rows(load_dataset(repository, config, split=split, streaming=True))


def mapping_rows(rows: Dataset | IterableDataset | Iterable[Mapping[str, Any]]) -> Iterator[SourceRow]:
    """Rows of a data set of `datasets`, whose pictures stay encoded, or of any iterable of mappings."""
    if isinstance(rows, Dataset | IterableDataset):
        tables = rows.with_format("arrow").iter(batch_size=BATCH)
        rows = (row for table in tables for row in table.to_pylist())
    for number, row in enumerate(rows):
        fault = BadRow(f"a {type(row).__name__}, not a mapping")
        yield SourceRow(number, number + 1, as_row(dict(row)) if isinstance(row, Mapping) else fault)


def take_picture(row: Mapping[str, Any]) -> tuple[Row, bytes | None]:
    """Split a row into what can be recorded as JSON, and the encoded picture if the row holds one.

    A picture is bytes, a record with bytes or a path (as `datasets` stores it), a Pillow image, a list of one of
    these, or base64 text. Of a record with a path alone the path stays. BadRow for several pictures or damaged base64.
    """
    rest: Row = {}
    encoded: bytes | None = None
    for key, value in row.items():
        found = _encoded(value) if key in PICTURE_KEYS else None
        if isinstance(found, bytes):
            encoded = found
        elif isinstance(found, str):
            rest[key] = found
        elif key not in PICTURE_KEYS or isinstance(value, str | int):
            rest[key] = _plain(value)
    return {key: value for key, value in rest.items() if value is not None}, encoded


def _encoded(value: Any) -> bytes | str | None:
    """Encoded picture in a value, or the path that it holds in place of one."""
    if isinstance(value, list | tuple):
        if len(value) != 1:
            raise BadRow(f"{len(value)} pictures in the row; one is expected")
        value = value[0]
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        (value if value.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I") else value.convert("RGB")).save(
            buffer, "PNG"
        )
        return buffer.getvalue()
    if not isinstance(value, str) or len(value) <= 64:  # so short, it points to another row, or is a path
        return value if isinstance(value, bytes | str) else None
    text = value.partition(";base64,")[2] if value.startswith("data:image/") else value
    if BASE64_START.fullmatch(text[:256]) is None:
        return value  # a long path
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError) as error:
        raise BadRow(f"the picture in the row is not base64 ({error})") from error


def _plain(value: Any) -> Any:
    """A value as JSON can record it; None for pictures, masks and other bytes."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items() if not isinstance(each, bytes)} or None
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return _plain(value.tolist()) if hasattr(value, "tolist") else None


def refcoco_dataset(*texts: str) -> str | None:
    """Data set and split of RefCOCO files by their names, such as "RefCOCOplus/testA"; None if they do not say.

    >>> refcoco_dataset("REC_refcoco+_unc_testA.jsonl"), refcoco_dataset("lmms-lab/RefCOCOg", "test")
    ('RefCOCOplus/testA', 'RefCOCOg/test')
    """
    text = "/".join(texts)
    names, splits = REFCOCO_NAME.findall(text), SPLIT_NAME.findall(text)
    if not names or not splits:
        return None
    name = {"": "", "+": "plus", "plus": "plus", "g": "g"}[names[-1].lower()]
    split = {"val": "val", "validation": "val", "testa": "testA", "testb": "testB", "test": "test"}[
        splits[-1].lower()
    ]
    return f"RefCOCO{name}/{split}"
