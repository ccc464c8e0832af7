"""Strategies for hostile inputs: texts of a model, values and rows of a file, whole files, boxes, pictures, archives.

A strategy starts from what is right and bends it, because what is wrong from the first byte is refused by the first
line of code and tests nothing behind it.
"""

import base64
import functools
import gzip
import io
import json
import math
import struct
import tarfile
import zipfile
import zlib

from hypothesis import strategies as st
from PIL import Image

from groundr1.boxes import Box

LONG = 30_000  # characters of a long text, unless a target asks for more

# ----------------------------------------------------------------------------------------------------------------------
# texts

NUMBERS = (
    "0", "1", "7", "28", "448", "-0", "-1", "+5", "1.5", ".5", "5.", "1e2", "1E-3", "1e999", "-1e999", "nan", "inf", "-inf",
    "Infinity", "NaN", "1_000", "0x10", "٣", "１２", "²", "½", "1,000", "1/3", "1/0", "0/0", "50%", "1e-999",
    "9" * 30, "9" * 400, "9" * 4301, "0." + "3" * 400, "1e" + "9" * 20, "--1", "1..2", "1e+", "",
)  # fmt: skip
TAGS = (
    "<think>", "</think>", "<box>", "</box>", "<answer>", "</answer>", "<BOX>", "< box>", "<box/>", "<|box_start|>",
    "<ref>", "</ref>", "<image>", "<AND>", "<OR>", "\\boxed{", "\\frac{", "}{", "}", "$", "=", "\\left", "\\%",
)  # fmt: skip
SIGNS = (
    "[", "]", "(", ")", "{", "}", ",", ";", ":", ".", " ", "\n", "\t", "\r", "\x00", "\x0b", "\x1c", "\x85", "\u2028", "/",
    "'", '"', "`", "*", "_", "-", "−", "…", "%", "\\", "|", "~", "\u202e", "\u200b", "\ufeff", "\u0301", "ß", "İ", "ﬁ", "é",
    "是", "𝔹", "👩‍👩‍👧", "\ud800", "\udfff",
)  # fmt: skip
WORDS = (
    "A", "B", "b", "(C)", "D.", "I", "yes", "no", "Yes", "none", "the", "answer", "is", "option", "choice", "score", "a", "dog",
    "not", "or", "and", "red", "two", "0.5", "score: 0.5", "A. red", "(B) blue", "Think first, call **", "of", "STOP",
)  # fmt: skip

pieces = st.sampled_from(NUMBERS + TAGS + SIGNS + WORDS)
blocks = st.builds(
    "{}[{}]{}".format,
    st.sampled_from(["<box>", "<think>t</think> <box>", "", '{"bbox_2d": ']),
    st.lists(st.sampled_from(NUMBERS), min_size=3, max_size=5).map(",".join),
    st.sampled_from(["</box>", "", "}", "</box></box>"]),
)
coordinate_texts = st.one_of(
    st.integers(0, 40).map(str), st.integers(50, 500).map(str), st.sampled_from(NUMBERS)
)
quadruples = st.one_of(
    st.builds("[{},{}, {},{}]".format, *[st.integers(0, 40)] * 2, *[st.integers(41, 500)] * 2),
    st.builds("[{},{}, {},{}]".format, *[coordinate_texts] * 4),
)
turns = st.builds(
    "{}<think>{}</think>{}{}".format,
    st.sampled_from(("", "", " ", "so ")),
    st.sampled_from(("", "the sign", "A, then [1,2,3,4]", "</think>", "<think>")),
    st.sampled_from(("", " ", "\n", "\x85")),
    st.one_of(
        quadruples.map("<box>{}</box>".format),
        pieces.map("<answer>{}</answer>".format),
        pieces.map("<answer> {}".format),
    ),
)
short_texts = st.one_of(
    turns,
    pieces,
    st.lists(st.one_of(pieces, blocks), max_size=12).map("".join),
    st.lists(pieces, max_size=12).map(" ".join),
    st.text(st.characters(), max_size=40),  # any character, halves of surrogate pairs included
)


units = st.lists(pieces, min_size=1, max_size=3)


@st.composite
def long_texts(draw, most: int = LONG):
    """A few pieces over and over, between two short texts."""
    unit = "".join(draw(units)) or "x"
    num = draw(st.integers(1, most // len(unit) + 1))
    return draw(short_texts) + unit * num + draw(short_texts)


def texts(most: int = LONG):
    """Texts, one in eight of them long."""
    return st.one_of(*[short_texts] * 7, long_texts(most))


# ----------------------------------------------------------------------------------------------------------------------
# values and rows

whole_numbers = st.one_of(
    st.integers(-3, 500),
    st.integers(),
    st.sampled_from([2**31, 2**31 - 1, -(2**31), 2**63, 2**64, 10**22, 10**400, -(10**400), 10**4299]),
)
numbers = st.one_of(whole_numbers, st.floats(), st.sampled_from([-0.0, 5e-324, 1e308, -1e308, 0.1, 99.5]))


def _nested(depth: int, kind: str) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


deep = st.builds(_nested, st.integers(1, 150), st.sampled_from(["list", "dict"]))
leaves = st.one_of(st.none(), st.booleans(), numbers, short_texts, st.binary(max_size=20))
values = st.one_of(
    leaves,
    st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.text(max_size=4), st.sampled_from(["a", "bytes", "path", "from", "value", "role", "content"])), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    deep,
)  # fmt: skip

PATHS = (
    "a.png", "gqa/1.png", "./a.png", "a.png/", "a.png/b", "torn.png", "text.png", "empty.png", "long.png", "pipe", "gqa",
    "loop.png", "out.png", "out/secret.png", "../secret.png", "gqa/../../secret.png", "..\\secret.png", "/etc/passwd",
    "//a.png", "\\\\host\\a.png", "C:\\a.png", "C:a.png", "file:///etc/passwd", "http://localhost/a.png", "data:image/png;base64,AA==",
    "~/a.png", "%2e%2e/secret.png", "．．/secret.png", "‥/secret.png", "", ".", "..", "...", "/", " ", "a.png ", " a.png", "a.png\x00.txt", "\x00",
    "a.png\n", "x" * 300, "x" * 5000, "x/" * 3000, "é.png", "e\u0301.png", "\ud800.png", "-rf", "cot_image_data", "cot_image_data/",
    "/home/x/cot_image_data/gqa/1.png", "cot_image_data/../../secret.png", "/cot_image_data/cot_image_data/a.png", "cot/gqa/1.png",
    "cot_image_data//etc/passwd", "a.png###[1,2,30,40]", "gqa/1.png###[1,2", "###", "1", "12345",
)  # fmt: skip
good_paths = st.builds(
    "{}{}".format,
    st.sampled_from(("", "./", "cot_image_data/", "/x/cot_image_data/", "gqa/", "/", "//", "pictures/")),
    st.sampled_from(("a.png", "gqa/1.png", "1.png", "out.png", "loop.png", "out/secret.png")),
)
paths = st.one_of(good_paths, st.sampled_from(PATHS), st.sampled_from(PATHS), short_texts)
coordinates = st.one_of(st.integers(-5, 110), st.floats(-5, 110), numbers)
box_lists = st.one_of(
    st.lists(st.lists(coordinates, min_size=4, max_size=4), max_size=3),
    st.lists(st.lists(st.one_of(coordinates, leaves), min_size=3, max_size=5), max_size=3),
    values,
)
SPECIAL = {
    "image": paths, "image_path": paths, "picture": paths, "img_path": paths, "Image": paths,
    "boxes": box_lists, "bboxs": box_lists, "bbox": box_lists.map(lambda found: found[0] if isinstance(found, list) and found else found),
    "question": texts(3000), "problem": texts(3000), "text": texts(3000), "solution": st.one_of(texts(3000), st.lists(short_texts, max_size=3)),
    "answer": st.one_of(texts(3000), st.lists(short_texts, max_size=3)),
    "kind": st.sampled_from(["choice", "contains", "exact", "math", "ocr", "rouge", "yes_no", "box", ""]),
    "dataset": st.sampled_from(["gqa", "docvqa", "RefCOCO/val", "RefCOCO/x", "existence", "nothing", "vsr", "emotic"]),
}  # fmt: skip
ABSENT = object()
added_keys = st.one_of(
    short_texts, st.sampled_from(("row_number", "item_number", "picture_size", "id", "index"))
)


# Strategies are made once: Hypothesis spends more time on a new one than on drawing from it.
@functools.cache
def _fields(names: tuple[str, ...], most: int) -> st.SearchStrategy:
    """A few changes to a row with these fields: (name, new value or ABSENT)."""
    changes = [
        st.tuples(
            st.just(name), st.one_of(st.just(ABSENT), values, *[SPECIAL[name]] * 3 if name in SPECIAL else [])
        )
        for name in names
    ]
    return st.lists(st.one_of(changes), max_size=most)


@st.composite
def bent(draw, good: dict, most: int = 3):
    """A good row of which up to `most` fields are missing or hold something else, and now and then one is too many."""
    row = dict(good)
    for key, value in draw(_fields(tuple(sorted(good)), most)):
        if value is ABSENT:
            row.pop(key, None)
        else:
            row[key] = value
    if draw(st.integers(0, 9)) == 0:
        row[draw(added_keys)] = draw(values)
    return row


# ----------------------------------------------------------------------------------------------------------------------
# files


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
    rows = st.one_of(
        st.just(good),
        bent(good),
        bent(good),
        odd_lines,
        deep_rows(good),
        st.integers(0, 3).map(lambda number: good | {"id": number}),
    )
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
        st.tuples(st.one_of(bent(good), bent(good), odd_lines, deep_rows(good)), st.booleans()), max_size=4
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
# boxes and pictures

any_boxes = st.one_of(
    *[st.builds(Box.from_xywh, *[st.floats(-20, 60)] * 2, *[st.floats(0.01, 100)] * 2)] * 3,
    st.builds(Box, *[st.floats(-50, 300)] * 4),
    st.builds(Box, *[st.floats()] * 4),
    st.builds(
        Box,
        *[
            st.one_of(
                st.floats(),
                st.integers(-(10**20), 10**20),
                st.sampled_from([0.0, -0.0, 5e-324, 1e308, math.inf, math.nan]),
            )
        ]
        * 4,
    ),
)
sizes = st.one_of(
    st.tuples(*[st.integers(1, 400)] * 2),
    st.tuples(*[st.one_of(st.floats(), st.integers(-2, 10**30))] * 2),
)
MODES = (
    "RGB",
    "L",
    "1",
    "P",
    "RGBA",
    "LA",
    "PA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "I;16",
    "RGBX",
    "RGBa",
    "La",
)
pictures = st.builds(
    Image.new,
    st.sampled_from(MODES),
    st.tuples(*[st.one_of(st.integers(1, 60), st.sampled_from([1, 2, 27, 28, 29, 400]))] * 2),
)


def _encode(form: str, mode: str, size: tuple[int, int], **options: object) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def _samples() -> list[bytes]:
    """Small pictures of every format that is read, and of some that are not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.new("P", (20, 10), colour) for colour in (0, 1)]
    animated = io.BytesIO()
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    sixteen = io.BytesIO()
    Image.new("I;16", (9, 9), 30_000).save(sixteen, "PNG")
    found = [animated.getvalue(), sixteen.getvalue(), _encode("JPEG", "RGB", (20, 10), exif=exif)]
    for form, mode in [
        ("PNG", "RGB"), ("PNG", "P"), ("PNG", "LA"), ("PNG", "1"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("JPEG", "L"), ("GIF", "P"), ("BMP", "RGB"),
        ("TIFF", "RGB"), ("TIFF", "F"), ("TIFF", "CMYK"), ("PPM", "RGB"), ("WEBP", "RGBA"), ("DIB", "RGB"), ("ICO", "RGBA"), ("EPS", "RGB"),
        ("PCX", "RGB"), ("TGA", "RGB"), ("PDF", "RGB"), ("JPEG2000", "RGB"), ("AVIF", "RGB"),
    ]:  # fmt: skip
        try:
            found.append(_encode(form, mode, (20, 10)))
        except (OSError, KeyError, ValueError):  # this build of Pillow does not write it
            continue
    for options in (
        {"compression": "tiff_lzw"},
        {"compression": "tiff_adobe_deflate"},
        {"compression": "jpeg"},
    ):
        found.append(_encode("TIFF", "RGB", (20, 10), **options))
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


odd_chunks = st.builds(
    _chunk,
    st.sampled_from(
        (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"gAMA", b"acTL", b"fcTL", b"pHYs")
    ),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from((b"a\0\0" + zlib.compress(bytes(300_000)), b"Exif\0\0II*\0\xff\xff\xff\xff")),
    ),
)
sides = st.one_of(
    st.integers(0, 40), st.sampled_from((9000, 11000, 12000, 32769, 65535, 2**24, 2**31 - 1, 2**32 - 1))
)
png_headers = st.tuples(
    sides,
    sides,
    st.sampled_from((8, 1, 2, 4, 8, 16, 3)),
    st.sampled_from((0, 2, 3, 4, 6, 1)),
    st.just(0),
    st.just(0),
    st.integers(0, 2),
)


@st.composite
def png_files(draw):
    """PNG files whose checksums are right and whose header, chunks and content need not fit one another."""
    header = draw(png_headers)
    content = zlib.compress(bytes(draw(st.sampled_from((0, 1, 100, 5000)))))
    palette = _chunk(b"PLTE", bytes(range(48))) if header[3] == 3 and draw(st.booleans()) else b""
    extra = draw(st.one_of(st.just(b""), odd_chunks))
    parts = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", *header)),
        *draw(st.permutations([palette, extra, _chunk(b"IDAT", content)])),
        _chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _with_exif(tag: int, kind: int, count: int, value: bytes, following: int) -> bytes:
    """A JPEG whose EXIF has one entry, as odd as it likes."""
    entry = struct.pack("<HHHI4sI", 1, tag, kind, count, value, following)
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), "teal").save(stream, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + entry)
    return stream.getvalue()


turned_pictures = st.builds(
    _with_exif,
    st.sampled_from((0x0112, 0x0112, 0x8769)),
    st.sampled_from((3, 3, 3, 1, 2, 4, 5, 7, 12, 0, 99)),
    st.sampled_from((1, 1, 1, 0, 2, 2**32 - 1)),
    st.one_of(
        st.integers(0, 9).map(lambda value: bytes([value, 0, 0, 0])), st.binary(min_size=4, max_size=4)
    ),
    st.sampled_from((0, 0, 8, 2**32 - 1)),
)

SAMPLES = _samples()
encoded_pictures = st.one_of(
    st.sampled_from(SAMPLES).flatmap(damaged),
    st.sampled_from(SAMPLES).flatmap(damaged),
    st.sampled_from(SAMPLES),
    png_files(),
    turned_pictures,
    st.binary(max_size=64),
)

# ----------------------------------------------------------------------------------------------------------------------
# archives

NAMES = (
    "a.jpg", "b/1.jpg", "b", "b/", "./a.jpg", "../a.jpg", "/a.jpg", "a/../../b", "..\\a", "C:a", "a\x00b", "", ".", "..", "a\n", "x" * 120,
    "x" * 300, "é.jpg", "a.jpg/c", "b//1.jpg", "A.JPG",
)  # fmt: skip
plain_names = st.builds("{}{}.jpg".format, st.sampled_from(("", "", "b/", "b/c/")), st.integers(0, 999))
names = st.one_of(*[plain_names] * 6, st.sampled_from(NAMES), st.text(max_size=12))
contents = st.one_of(st.binary(max_size=40), st.integers(0, 3000).map(bytes))


entry_kinds = st.one_of(
    *[st.just(b"0")] * 8, st.sampled_from((b"5", b"1", b"2", b"3", b"6", b"7", b"S", b"Z"))
)
entry_lists = st.one_of(
    st.lists(st.tuples(names, contents, entry_kinds), max_size=5),
    st.lists(st.tuples(plain_names, contents, st.just(b"0")), max_size=5, unique_by=lambda entry: entry[0]),
)


@st.composite
def archives(draw):
    """A tar or zip with entries of every kind and name, perhaps compressed, perhaps damaged."""
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
    data = stream.getvalue()
    if draw(st.booleans()):
        data = draw(damaged(data))
    return gzip.compress(data, 1) if draw(st.integers(0, 3)) == 0 else data


def base64_of(data: bytes) -> str:
    """As the TSV files hold pictures."""
    return base64.b64encode(data).decode()
