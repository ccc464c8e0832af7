"""What is fuzzed: each target is a check and the inputs that go to it."""

import functools
import io
import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from fuzz import checks, file_checks
from fuzz.files import archives, array_files, base64_of, damaged, deep_rows, dumped, line_files, odd_lines
from fuzz.good_rows import GOOD_ITEMS, GOOD_ROWS, PICTURE
from fuzz.pictures import any_boxes, encoded_pictures, pictures, sizes
from fuzz.rows import bent, paths
from fuzz.texts import pieces, texts
from groundr1.data.items import BENCHMARK_NAMES
from groundr1.data.readers import KINDS

ENDLESS = 60  # seconds of wall clock after which an input is taken to loop


class Target(NamedTuple):
    """Inputs of `strategy` go to `check`, in proportion to `share`; none may take more processor time than `seconds`."""

    check: Callable[[Any], bool]
    strategy: st.SearchStrategy
    share: int
    seconds: float = 1.0


def attempt(name: str, value: Any) -> tuple[bool, float]:
    """Give one input to a target; returns whether it was taken for good, and the processor seconds that it took.

    Raises what the target should not have raised, AssertionError where a result is out of range or it took too long.
    An input is slow only if it is so a second time: the first may have met the collection of somebody's garbage.
    """
    target = TARGETS[name]
    with _alarm(ENDLESS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)  # rows set aside are no news here
        try:
            taken, seconds = _timed(target, value)
            if seconds > target.seconds:
                seconds = min(seconds, _timed(target, value)[1])
        finally:
            logging.disable(logging.NOTSET)
    assert seconds <= target.seconds, (
        f"one input took {seconds:.1f} s; {target.seconds:g} are allowed for {name}"
    )
    return taken, seconds


def _timed(target: Target, value: Any) -> tuple[bool, float]:
    start = time.process_time()
    taken = target.check(value)
    return taken, time.process_time() - start


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ----------------------------------------------------------------------------------------------------------------------
# inputs


def _tsv(rows: list[dict[str, Any]]) -> bytes:
    """Rows as a TSV, badly quoted: texts hold tabs and ends of lines."""
    names = sorted({name for row in rows for name in row}, key=str)
    lines = [
        "\t".join(map(str, names)),
        *("\t".join(str(row.get(name, "")) for name in names) for row in rows),
    ]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def _one_of(draw, by_name: dict[str, st.SearchStrategy]):
    """(name, value) of one of several named strategies."""
    name = draw(st.sampled_from(tuple(sorted(by_name))))
    return name, draw(by_name[name])


def _of_rows(make: Callable[[dict[str, Any]], st.SearchStrategy]) -> st.SearchStrategy:
    """(benchmark, value) where the value is made of a good row of the benchmark."""
    return _one_of({name: st.one_of([make(row) for row in rows]) for name, rows in GOOD_ITEMS.items()})


def _prediction_files(row: dict[str, Any]) -> st.SearchStrategy:
    """Predictions of another kit: the row's own keys, the row, or its JSON text, beside the prediction."""
    inner = st.one_of(odd_lines, bent(row).map(dumped), deep_rows(row))
    return st.one_of(
        line_files(row | {"prediction": "<answer>B</answer>"}),
        line_files({"annotation": row, "prediction": "<answer>B</answer>", "box": [1, 2, 30, 40]}),
        line_files({"annotation": dumped(row).decode(), "prediction": ["B", "[1,2,30,40]"]}),
        inner.map(lambda text: dumped({"annotation": text.decode("utf-8", "replace"), "prediction": "B"})),
    )


def _tables(row: dict[str, Any]) -> st.SearchStrategy:
    """TSV files of rows that hold their picture."""
    rows = st.lists(bent(row | {"image": base64_of(PICTURE)}), min_size=1, max_size=3)
    return rows.map(_tsv).flatmap(damaged)


def _parquet_files() -> st.SearchStrategy:
    row = GOOD_ROWS["deepeyes"]
    shown = encoded_pictures.map(lambda found: row | {"images": [{"bytes": found}]})
    return _one_of(
        {
            "rows": st.lists(st.one_of(bent(row), shown), min_size=1, max_size=3),
            "bytes": damaged(_parquet_bytes()),
        }
    )


@functools.cache
def _parquet_bytes() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([GOOD_ROWS["deepeyes"]] * 3), stream)
    return stream.getvalue()


_training_files = _one_of(
    {
        form: (array_files if form == "viscot-conversations" else line_files)(GOOD_ROWS[form])
        for form in file_checks.TEXT_FORMS
    }
)
_solutions = st.one_of(texts(20_000), st.lists(texts(2000), min_size=1, max_size=3))
_answers = st.one_of(
    st.tuples(st.one_of(st.none(), texts(20_000), texts(20_000)), _solutions, st.sampled_from(KINDS)),
    # An answer that is nearly right, and so gets past the first comparison.
    st.builds(
        lambda text, before, after, kind: (before + text + after, text, kind),
        texts(20_000),
        pieces,
        pieces,
        st.sampled_from(KINDS),
    ),
)
_predictions = st.tuples(
    st.sampled_from(BENCHMARK_NAMES),
    texts(20_000),
    st.sampled_from(("stop", "length", "content_filter", "")),
)
_crops = st.tuples(pictures, st.one_of(st.none(), any_boxes), st.integers(1, 60), st.floats(1.01, 1000))
_pairs_of_boxes = st.tuples(any_boxes, any_boxes, sizes, sizes)

TARGETS = {
    "turn": Target(checks.check_turn, texts(300_000), 14),
    "reward": Target(checks.check_reward, _answers, 16, seconds=2.0),
    "verdict": Target(checks.check_verdict, _predictions, 10, seconds=2.0),
    "boxes": Target(checks.check_boxes, _pairs_of_boxes, 10),
    "crop": Target(checks.check_crop, _crops, 8),
    "picture": Target(checks.check_encoded, encoded_pictures, 10, seconds=5.0),
    "row": Target(checks.check_row, _one_of({form: bent(row) for form, row in GOOD_ROWS.items()}), 8),
    "path": Target(checks.check_path, st.tuples(paths, st.sampled_from((None, "cot_image_data"))), 4),
    "items": Target(checks.check_items, st.tuples(_of_rows(bent), st.integers(0, 3)), 8),
    "file": Target(file_checks.check_file, _training_files, 3, seconds=5.0),
    "validation": Target(file_checks.check_validation, _training_files, 1, seconds=10.0),
    "parquet": Target(file_checks.check_parquet, _parquet_files(), 2, seconds=5.0),
    "table": Target(file_checks.check_table, _of_rows(_tables), 1, seconds=5.0),
    "benchmark": Target(file_checks.check_benchmark, _of_rows(line_files), 2, seconds=5.0),
    "predictions": Target(file_checks.check_predictions, _of_rows(_prediction_files), 2, seconds=5.0),
    "archive": Target(file_checks.check_archive, archives(), 3, seconds=5.0),
}
