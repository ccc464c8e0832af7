"""Strategies for rows that are wrong somewhere: a good row of which a few fields hold what they should not.

A strategy starts from what is right and bends it, because what is wrong from the first byte is refused by the first
line of code and tests nothing behind it.
"""

import functools

from hypothesis import strategies as st

from fuzz.texts import short_texts, texts, weighted

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
    st.sampled_from(("", "", "", "./", "cot_image_data/", "/x/cot_image_data/", "gqa/", "/")),
    st.sampled_from(("a.png", "gqa/1.png", "gqa//1.png", "1.png", "out.png", "loop.png", "out/secret.png")),
)
paths = weighted((4, good_paths), (3, st.sampled_from(PATHS)), (1, short_texts))
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
            st.just(name),
            weighted((1, st.just(ABSENT)), (1, values), *[(3, SPECIAL[name])] if name in SPECIAL else []),
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
