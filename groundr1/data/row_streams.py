"""Rows of training sets as streams: one row at a time, whatever the size of the file, of whichever form.

>>> for line, found in stream("train_33k.jsonl", "viscot"):                                  # doctest: +SKIP
...     print(line, found if isinstance(found, BadRow) else found.question)
"""

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset

from groundr1.data.json_array import read_array
from groundr1.data.row_forms import (
    WrongForm,
    conversation,
    deepeyes,
    form_of,
    metadata,
    plain,
    refcoco,
    viscot,
)
from groundr1.data.rows import BadRow, Draft, Row, read_lines, stated

__all__ = ["FORMS", "Form", "stream"]

DEEPEYES_COLUMNS = ["data_source", "prompt", "images", "reward_model"]
NEEDED_COLUMNS = ["image", "question", "solution", "kind"]
BATCH = 32  # rows of a parquet file or data set decoded at once: they may hold pictures
READ_AHEAD = 1 << 20  # bytes; parquet files written in one piece would otherwise be loaded whole
# How files begin that hold no text in UTF-8, and what to do about each.
NO_TEXT = {
    b"\x1f\x8b": "compressed with gzip; decompress it",
    b"\xfd7zXZ\0": "compressed with xz; decompress it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; decompress it",
    b"PK\3\4": "a zip archive; unpack it, and give the file of rows in it",
    b"PAR1": "a parquet file; if it is one of DeepEyes, give form='deepeyes', else open it with datasets.load_dataset"
    " and give the Dataset",
    b"\xff\xfe": "text in UTF-16; write it in UTF-8",
    b"\xfe\xff": "text in UTF-16; write it in UTF-8",
}
BEGINNING = 4096  # bytes of a file that are looked at first
ARRAY = re.compile(rb"\s*\[(\s*\{|[ \t\r]*(\n|$))")

Rows = Iterator[tuple[int, Row | BadRow]]


class Form(NamedTuple):
    """How the rows of a file are read.

    Attributes:
        rows: the numbered rows of a file.
        draft: from a row, the name of its file without suffix, and its line, to a `Draft`; raises BadRow.
        frame: what the boxes of the file are, "corners" or "extents" (x, y, width, height).
        marker: folder name in the paths of a foreign machine behind which paths are the same everywhere.
    """

    rows: Callable[[Path], Rows]
    draft: Callable[[Mapping[str, Any], str, int], Draft]
    frame: str = "corners"
    marker: str | None = None


def _beginning(path: Path) -> bytes:
    """First bytes of a file of text; ValueError where it is none."""
    if not path.is_file():
        return b""  # whoever reads it says so
    with path.open("rb") as file:
        beginning = file.read(BEGINNING)
    for magic, what in NO_TEXT.items():
        if beginning.startswith(magic):
            raise ValueError(f"{path} is {what}.")
    return beginning.removeprefix(BOM_UTF8)


def _line_rows(path: Path) -> Rows:
    """Rows of a file with one object a line."""
    if ARRAY.match(_beginning(path)):
        raise ValueError(
            f"{path} is one JSON array, and one object a line is expected. If it is Visual-CoT's own file, give"
            " form='viscot-conversations'; else write each row on a line (jq -c '.[]')."
        )
    yield from read_lines(path)


def _array_rows(path: Path) -> Rows:
    """Rows of a file that is one JSON array."""
    if _beginning(path).lstrip().startswith(b"{"):
        raise ValueError(
            f"{path} begins with an object, and one JSON array is expected. If it has one object a line, give the form"
            " of those, or make it an array (jq -s .)."
        )
    yield from read_array(path)


def _parquet_rows(path: Path) -> Rows:
    """Rows of a DeepEyes file."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no parquet file {path}; download it, or correct the path.")
    try:
        file = pq.ParquetFile(path, buffer_size=READ_AHEAD, pre_buffer=False)
        missing = [name for name in DEEPEYES_COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(
                f"{path} lacks the columns {missing} of the DeepEyes form; it has {file.schema_arrow.names}."
            )
        number = 0
        for batch in file.iter_batches(batch_size=BATCH, columns=DEEPEYES_COLUMNS):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # a damaged name or text is no UTF-8
        raise ValueError(f"{path} is not a parquet file, or damaged ({error}); download it again.") from error


FORMS: Mapping[str, Form] = {
    "jsonl": Form(_line_rows, plain),
    "viscot": Form(_line_rows, viscot, marker="cot_image_data"),
    "viscot-metadata": Form(_line_rows, metadata, marker="cot_image_data"),
    "viscot-conversations": Form(_array_rows, conversation, marker="cot_image_data"),
    "refcoco": Form(_line_rows, refcoco, frame="extents"),
    "deepeyes": Form(_parquet_rows, deepeyes),
}


def stream(
    source: str | Path | Dataset, form: str = "jsonl", *, shard: tuple[int, int] = (0, 1)
) -> Iterator[tuple[int, Draft | BadRow]]:
    """Rows of a file or of a data set, as drafts or with what is wrong with them; nothing is dropped.

    Args:
        source: a file, or a `datasets.Dataset` with the columns of our plain form: image, question, solution, kind,
            and if it has them boxes, id, source, width and height.
        form: one of `FORMS`; of no account for a Dataset.
        shard: (index, count): only every count-th row, beginning with row index.

    Yields:
        Line of a JSONL file, else number of the row, from 1; and the row.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: unknown form or shard; a file that as a whole is of another form, or damaged.
    """
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(f"shard={shard} must be (index, count) with 0 <= index < count.")
    if isinstance(source, Dataset):
        rows, draft, stem, label = _dataset_rows(source), plain, "row", "the data set"
    else:
        if form not in FORMS:
            raise ValueError(f"form={form!r} is unknown; give one of {', '.join(FORMS)}.")
        path = Path(source)
        rows, draft, stem, label = FORMS[form].rows(path), FORMS[form].draft, path.stem, path
    is_settled = isinstance(source, Dataset)  # that the rows are of the form
    for number, row in islice(rows, index, None, count):
        if isinstance(row, BadRow):
            yield number, row
            continue
        try:
            found = draft(row, stem, number)
            is_settled = True
        except WrongForm as error:
            raise ValueError(f"{label}, line {number}: {error}") from error
        except BadRow as error:
            if not is_settled and (other := form_of(row)) not in (None, form):
                raise ValueError(
                    f"{label}, line {number}: the row is none of form {form!r} ({error}); it has the keys of form"
                    f" {other!r}. Give form={other!r}."
                ) from error
            error.id, error.source = stated(row)
            found = error
        yield number, found


def _dataset_rows(dataset: Dataset) -> Rows:
    """Rows of a data set, pictures encoded or by path."""
    missing = [name for name in NEEDED_COLUMNS if name not in dataset.column_names]
    if missing:
        raise ValueError(
            f"The data set lacks the columns {missing}; it has {dataset.column_names}. Rename them with rename_column."
        )
    for name, feature in dataset.features.items():
        if name in (*NEEDED_COLUMNS, "id", "source") and isinstance(feature, ClassLabel):
            raise ValueError(
                f"The column {name!r} of the data set holds numbers of classes. Make names of them: names ="
                f" dataset.features[{name!r}].int2str; dataset = dataset.cast_column({name!r},"
                f" datasets.Value('string')).map(lambda row: {{{name!r}: names(int(row[{name!r}]))}})"
            )
    tables = dataset.with_format("arrow").iter(batch_size=BATCH)
    yield from enumerate((row for table in tables for row in table.to_pylist()), start=1)
