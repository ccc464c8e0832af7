"""Every input that fuzzing ever found, and what it did: one row a fault, which `fuzz.targets.attempt` gives again."""

import io
import zipfile

import pytest
from fuzz.files import dumped
from fuzz.good_rows import GOOD_ITEMS, GOOD_ROWS
from fuzz.targets import _parquet_bytes, attempt
from hypothesis import example, given
from hypothesis import strategies as st

from groundr1.boxes import Box


def without(row: dict[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != key}


def with_deep(row: dict[str, object], key: str, depth: int) -> bytes:
    """A row as JSON whose field is nested lists."""
    return dumped(without(row, key))[:-1] + b', "%s": %s1%s}' % (key.encode(), b"[" * depth, b"]" * depth)


def zip_without_name() -> bytes:
    """A zip with one entry, whose name has no length; `zipfile` would not write it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("x", b"content")
    data = bytearray(stream.getvalue())
    for start, length_at in ((b"PK\3\4", 26), (b"PK\1\2", 28)):
        data[data.index(start) + length_at] = 0
    return bytes(data)


DEEPEYES, MMVET, HRBENCH = GOOD_ROWS["deepeyes"], GOOD_ITEMS["mmvet"][0], GOOD_ITEMS["hrbench"][0]
JSONL, CONVERSATION, POPE = GOOD_ROWS["jsonl"], GOOD_ROWS["viscot-conversations"], GOOD_ITEMS["pope"][0]
NESTED = (900, 950, 970, 980, 990)  # Python reads these, and prints them or not depending on who calls

# name: (target, input, what went wrong)
FOUND = {
    **{
        f"deepeyes without {key}": ("row", ("deepeyes", without(DEEPEYES, key)), "KeyError")
        for key in ("prompt", "images", "reward_model")
    },
    **{
        f"row_number {value!r}": ("items", (("mmvet", MMVET | {"row_number": value}), 0), "ValueError or TypeError")
        for value in ("1.5", "x", [1], float("inf"), None)
    },
    **{
        f"item_number {value!r}": ("items", (("mmvet", MMVET | {"item_number": value}), 0), "TypeError or IndexError")
        for value in ("x", 1, -2, 1.5, [0])
    },
    **{
        f"picture_size {value!r}": (
            "items", (("viscot", GOOD_ROWS["viscot"] | {"picture_size": value}), 0), "TypeError: not iterable",
        )
        for value in (False, 7, [1], [1, 2, 3], "ab", [None, 3])
    },
    "half a character in a question": (
        "items", (("hrbench", HRBENCH | {"question": "Which\ud800?"}), 0), "UnicodeEncodeError, which is no BadRow",
    ),
    "half a character in the path of a picture": (
        "items", (("mmvet", MMVET | {"image": "\ud800"}), 0), "nobody can save it",
    ),
    "half a character in an option": ("items", (("hrbench", HRBENCH | {"A": "\udfff"}), 0), "nobody can save it"),
    **{
        f"half a character in {key!r} of a benchmark": (
            "benchmark", ("pope", dumped(POPE | {key: "\ud800.png"}) + b"\n" + dumped(POPE | {"Question_id": "2"})),
            "UnicodeEncodeError: one row ended the reading of the file",
        )
        for key in ("note", "image", "x\ud800", "problem")
    },
    **{
        f"field nested {depth} deep in a benchmark": (
            "benchmark", ("mme", with_deep(GOOD_ITEMS["mme"][0], "note", depth)), "RecursionError",
        )
        for depth in NESTED
    },
    **{
        f"field nested {depth} deep in a file": ("file", ("jsonl", with_deep(JSONL, "source", depth)), "RecursionError")
        for depth in NESTED
    },
    **{
        f"annotation nested {depth} deep": (
            "predictions",
            ("mme", dumped({"annotation": with_deep(GOOD_ITEMS["mme"][0], "note", depth).decode(), "prediction": "B"})),
            "RecursionError",
        )
        for depth in (*NESTED, 5000)
    },
    **{
        f"picture {name} of a benchmark": (
            "benchmark", ("pope", dumped(POPE | {"image": name})), "RuntimeError: Symlink loop (found by atheris)",
        )
        for name in ("loop.png", "./loop.png")
    },
    "a picture named over two lines": ("file", ("jsonl", dumped(JSONL | {"image": "0\n"})), "a reason of two lines"),
    "a number of 5,000 digits in an array": (
        "file", ("viscot-conversations", b"[%s, {\"id\": %s}]" % (dumped(CONVERSATION), b"9" * 5000)),
        "ValueError that does not name the file",
    ),
    "parquet: damaged text": (
        "parquet", ("bytes", _parquet_bytes().replace(b"vstar", b"\xe3star")), "UnicodeDecodeError",
    ),
    "parquet: damaged name": (
        "parquet", ("bytes", _parquet_bytes().replace(b"data_source", b"\xbcata_source")), "UnicodeDecodeError",
    ),
    "zip: no name": ("archive", zip_without_name(), "IndexError: string index out of range"),
    "ocr: 10,000 words": ("reward", ("a " * 10_000, "b a " * 5000, "ocr"), "15 s, quadratic"),
    "math: many boxes": ("reward", ("\\boxed{" * 20_000, "1", "math"), "10 s, quadratic"),
    "contains: long solution": ("reward", ("B", "answer is " * 20_000, "contains"), "3 s, and kept in memory"),
    "gr: a box of 20,000 digits": ("verdict", ("refcoco", "<box>[0,28," + "9" * 20_000, "stop"), "11 s, cubic"),
    "lmms: thoughts without end": ("verdict", ("mme", "<think>" * 20_000, "stop"), "10 s, quadratic"),
    "vlmeval: answers without end": ("verdict", ("mme_realworld_lite", "<answer>" * 20_000, "stop"), "15 s, quadratic"),
    "judge: 20,000 digits and a letter": ("verdict", ("mmvet", "1" * 20_000 + "x", "stop"), "5 s, quadratic"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_stays_mended(name: str):
    target, value, _ = FOUND[name]
    attempt(target, value)


def test_one_hostile_row_costs_nothing_but_itself(tmp_path):
    """The good row of each file is read although the other cannot be."""
    good = dumped(POPE | {"Question_id": "2"})
    for bad in (dumped(POPE | {"note": "\ud800"}), with_deep(POPE, "note", 990), b"[" * 100_000, b"\xff"):
        assert attempt("benchmark", ("pope", bad + b"\n" + good))[0], bad[:40]
        assert attempt("file", ("jsonl", bad + b"\n" + dumped(JSONL)))[0], bad[:40]


@given(st.builds(Box, *[st.floats()] * 4))
@example(Box(5e-324, 0.0, 1e308, 1e308))
@example(Box(-1e308, -1e308, 1e308, 1e308))
def test_boxes_of_any_floats_keep_their_ranges(box: Box):
    attempt("boxes", (box, box, (100, 80), (1e308, 5e-324)))
