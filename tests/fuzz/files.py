"""Strategies for whole files: rows good and bent as JSON lines or an array, archives, and damage to any bytes."""

import base64
import gzip
import io
import json
import tarfile
import warnings
import zipfile

from hypothesis import strategies as st

from fuzz.rows import bent
from fuzz.texts import weighted


def _plain_json(value: object) -> object:
    """What JSON has no word for, as text."""
    return value.hex() if isinstance(value, bytes) else str(value)


def dumped(row: object, *, ascii_only: bool = True) -> bytes:
    """A row as JSON; NaN, infinities, huge numbers and halves of surrogate pairs included."""
    try:
        return json.dumps(row, ensure_ascii=ascii_only, default=_plain_json).encode("utf-8", "surrogatepass")
    except (RecursionError, ValueError):
        return b"[" * 100_000


@st.composite
def damaged(draw, data: bytes):
    """Bytes of which some are flipped, left out, doubled or cut off; one in five is as it was."""
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(("flip", "set", "cut", "drop", "double", "insert"))):
            case "flip":
                data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
            case "set":
                data = (
                    data[:at]
                    + draw(st.sampled_from((b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x80")))
                    + data[at + 1 :]
                )
            case "cut":
                data = data[:at]
            case "drop":
                data = data[:at] + data[at + draw(st.integers(1, 64)) :]
            case "double":
                data = data[:at] + data[at : at + 64] * 2 + data[at + 64 :]
            case "insert":
                data = data[:at] + draw(st.binary(min_size=1, max_size=16)) + data[at:]
    return data


odd_lines = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b" ", b"null", b"[]", b"7", b'"a"', b"{}", b"\xff\xfe", b"\xef\xbb\xbf{}", b"NaN", b"[" * 100_000, b'{"a":' * 5000,
         b'{"id": ' + b"9" * 5000 + b"}", b'{"image": "' + b"x" * 1_000_000, b"\x00" * 50, b'{"a": 1}{"b": 2}']
    ),
)  # fmt: skip


depths = st.one_of(st.integers(1, 2000), st.integers(880, 1000))


@st.composite
def deep_rows(draw, good: dict):
    """A good row as JSON with one field nested about as deep as Python can read at all."""
    key = draw(st.sampled_from(tuple(sorted(good))))
    depth = draw(depths)
    start, end = draw(st.sampled_from(((b"[", b"]"), (b'{"a":', b"}"), (b"[[1,2,30,40],", b"]"))))
    other = dumped({name: value for name, value in good.items() if name != key})
    return other[:-1] + b', "%s": %s1%s}' % (key.encode(), start * depth, end * depth)


def line_files(good: dict) -> st.SearchStrategy:
    """Bytes of a JSONL file: rows good and bent, odd lines, ends of lines of every kind, perhaps damaged."""
    numbered = st.integers(0, 3).map(lambda number: good | {"id": number})
    rows = weighted((2, st.just(good)), (4, bent(good)), (1, odd_lines), (1, deep_rows(good)), (1, numbered))
    lines = st.lists(st.tuples(rows, st.booleans()), max_size=5)
    return _joined(
        lines,
        st.sampled_from((b"\n", b"\r\n", b"\r", b"\n\n")),
        st.sampled_from((b"", b"", b"\xef\xbb\xbf", b"\xff\xfe")),
        st.just(b""),
    )


def array_files(good: dict) -> st.SearchStrategy:
    """Bytes of a file that is one JSON array, perhaps damaged."""
    rows = st.lists(
        st.tuples(weighted((4, bent(good)), (1, odd_lines), (1, deep_rows(good))), st.booleans()), max_size=4
    )
    starts, ends = (
        st.sampled_from((b"[", b"[", b"", b" [\n", b"\xef\xbb\xbf[")),
        st.sampled_from((b"]", b"]", b"", b"]]", b",]")),
    )
    return _joined(rows, st.just(b", "), starts, ends)


@st.composite
def _joined(draw, rows, separators, starts, ends):
    parts = [
        each if isinstance(each, bytes) else dumped(each, ascii_only=ascii_only)
        for each, ascii_only in draw(rows)
    ]
    data = draw(starts) + draw(separators).join(parts) + draw(ends)
    return draw(damaged(data)) if draw(st.integers(0, 3)) == 0 else data


# ----------------------------------------------------------------------------------------------------------------------
# archives

NAMES = (
    "a.jpg", "b/1.jpg", "b", "b/", "./a.jpg", "../a.jpg", "/a.jpg", "a/../../b", "..\\a", "C:a", "a\x00b", "", ".", "..", "a\n", "x" * 120,
    "x" * 300, "é.jpg", "a.jpg/c", "b//1.jpg", "A.JPG",
)  # fmt: skip
plain_names = st.builds("{}{}.jpg".format, st.sampled_from(("", "", "b/", "b/c/")), st.integers(0, 999))
names = weighted((6, plain_names), (1, st.sampled_from(NAMES)), (1, st.text(max_size=12)))
contents = st.one_of(st.binary(max_size=40), st.integers(0, 3000).map(bytes))


entry_kinds = weighted(
    (8, st.just(b"0")), (1, st.sampled_from((b"5", b"1", b"2", b"3", b"6", b"7", b"S", b"Z")))
)
entry_lists = st.one_of(
    st.lists(st.tuples(names, contents, entry_kinds), max_size=5),
    st.lists(st.tuples(plain_names, contents, st.just(b"0")), max_size=5, unique_by=lambda entry: entry[0]),
)


@st.composite
def archives(draw):
    """A tar or zip with entries of every kind and name, perhaps compressed, perhaps damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name stands twice is on purpose
        data = _packed(draw)
    if draw(st.booleans()):
        data = draw(damaged(data))
    return gzip.compress(data, 1) if draw(st.integers(0, 3)) == 0 else data


def _packed(draw) -> bytes:
    entries = draw(entry_lists)
    stream = io.BytesIO()
    if draw(st.booleans()):
        with tarfile.open(
            fileobj=stream,
            mode="w",
            format=draw(st.sampled_from((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))),
        ) as tar:
            for name, content, kind in entries:
                info = tarfile.TarInfo(name)
                info.size, info.type, info.linkname = len(content), kind, draw(names)
                try:
                    tar.addfile(info, io.BytesIO(content))
                except (ValueError, UnicodeError):
                    continue
    else:
        with zipfile.ZipFile(
            stream, "w", draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)))
        ) as file:
            for name, content, kind in entries:
                info = zipfile.ZipInfo(name or "x")
                info.external_attr = (0o120777 if kind == b"2" else 0o644) << 16
                file.writestr(info, content)
    return stream.getvalue()


def base64_of(data: bytes) -> str:
    """As the TSV files hold pictures."""
    return base64.b64encode(data).decode()
