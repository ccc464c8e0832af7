"""Strategies for what a model may write: numbers, tags, turns, and texts of them, short and very long."""

from hypothesis import strategies as st

LONG = 30_000  # characters of a long text, unless a target asks for more


@st.composite
def weighted(draw, *choices):
    """One of several `(share, strategy)`; `one_of` takes a strategy that is named twice for one."""
    shares = [number for number, (share, _) in enumerate(choices) for _ in range(share)]
    return draw(choices[draw(st.sampled_from(shares))][1])


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
    return weighted((7, short_texts), (1, long_texts(most)))
