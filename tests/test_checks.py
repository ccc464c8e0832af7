"""Boxes and answers: what is a fault, and that an answer passes if and only if it could earn full marks."""

import numpy as np
import pytest

from groundr1.boxes import Box
from groundr1.data.checks import BOX_STATES, answer_fault, box_state, judge_boxes
from groundr1.data.frames import FrameTally
from groundr1.data.row_forms import KINDS
from groundr1.rewards import answer_reward

NAN = float("nan")


@pytest.mark.parametrize(
    ("box", "state", "reason"),
    [
        (Box(10, 10, 30, 30), "inside", "well inside"),
        (Box(0, 0, 100, 80), "inside", "the whole picture"),
        (Box(0, 0, 100.005, 80), "inside", "float32 touches the border no better"),
        (Box(0, 0, 101, 80), "partly outside", "a pixel beyond"),
        (Box(-1, 0, 10, 10), "partly outside", "a pixel before"),
        (Box(100, 0, 120, 10), "outside", "touches the border from outside"),
        (Box(-20, 0, 0, 10), "outside", "ends where the picture begins"),
        (Box(30, 10, 10, 30), "inverted", "x"),
        (Box(10, 30, 30, 10), "inverted", "y"),
        (Box(300, 10, 200, 30), "inverted", "inverted before outside"),
        (Box(10, 10, 10, 30), "empty", "no width"),
        (Box(1, 1, 1.0000001, 60), "empty", "narrower than a pixel"),
        (Box(-500, -500, 0.2, 0.2), "empty", "of its part inside"),
        (Box(99.5, 10, 130, 30), "empty", "half a pixel is left of it"),
        (Box(1, 1, 2, 60), "inside", "a pixel is enough"),
        (Box.from_xywh(33.3, 1, 1, 60), "inside", "x + 1 - x is not 1 in floats"),
        (Box(NAN, 10, 20, 30), "not finite", "NaN"),
        (Box(0, 0, float("inf"), 30), "not finite", "infinite"),
    ],
)
def test_box_state(box, state, reason):
    assert box_state(box, (100, 80)) == state, reason
    assert judge_boxes([Box(1, 1, 9, 9), box], (100, 80))[0] == state, "the worst box counts"


def test_no_box_is_none_and_remarks_are_no_faults():
    assert judge_boxes([], (100, 80)) == ("none", []) and "none" not in BOX_STATES
    assert judge_boxes([Box(10, 20, 30, 40)], (100, 80), Box(0, 0, 1, 1)) == (
        "inside",
        ["the row states the box twice, differently: is it of another picture?"],
    )


@pytest.mark.parametrize(
    ("boxes", "size", "state"),
    [
        ([Box(0.1, 0.2, 0.3, 0.4)], (100, 80), "normalised"),
        ([Box(0, 0, 1, 1)], (100, 80), "normalised"),
        ([Box(0.1, 0.2, 0.3, 0.4), Box(0.5, 0.2, 0.1, 0.4)], (100, 80), "normalised"),
        (
            [Box(0.1, 0.2, 0.3, 0.4), Box(5, 5, 9, 9)],
            (100, 80),
            "empty",
        ),  # one box of pixels: the other is a slip
        ([Box(0, 0, 0, 0)], (100, 80), "empty"),  # stands for no box
        ([Box(0, 0, 1, 1)], (4, 4), "inside"),  # a pixel of a tiny picture
    ],
)
def test_boxes_that_all_lie_within_0_and_1_are_normalised(boxes, size, state):
    assert judge_boxes(boxes, size)[0] == state


def spread(seed: int, width: float, height: float) -> list[Box]:
    """A box anywhere in a picture."""
    x1, x2, y1, y2 = (float(value) for value in np.random.default_rng(seed).uniform(0, 1, 4))
    return [Box(min(x1, x2) * width, min(y1, y2) * height, max(x1, x2) * width, max(y1, y2) * height)]


@pytest.mark.parametrize(
    ("rows", "size", "frame", "is_refused", "reason"),
    [
        (60, (1600, 1200), (1000, 1000), True, "normalised to 0..1000"),
        (60, (1200, 1600), (1000, 1000), True, "of upright pictures"),
        (60, (1600, 1200), (1600, 1200), False, "pixels"),
        (29, (1600, 1200), (1000, 1000), False, "1.6 ** 29 is less than a million"),
        (30, (1600, 1200), (1000, 1000), True, "1.6 ** 30 is more"),
        (200, (2000, 3000), (2000, 300), False, "pixels, all of headings"),
        (999, (1100, 900), (1000, 900), False, "pixels, and a margin"),
    ],
)
def test_thousandths_show_where_no_box_goes_beyond_1000(rows, size, frame, is_refused, reason):
    tally = FrameTally()
    for seed in range(rows):
        tally.add(spread(seed, *frame), size)
    assert (tally.fault() is not None) == is_refused, reason
    assert not is_refused or "0..1000" in tally.fault()
    tally.add([Box(10, 10, max(size), max(size))], size)
    assert tally.fault() is None, "one box beyond is enough"


@pytest.mark.parametrize(
    ("square", "differs"),
    [
        (Box(0.1, 0.3, 0.3, 0.5), False),  # 10 / 100, (20 + 10) / 100, ...
        (Box(0.105, 0.3, 0.3, 0.5), False),
        (Box(0.1, 0.25, 0.3, 0.5), True),  # as shares of the picture itself
        (Box(0.2, 0.3, 0.3, 0.5), True),
        (Box(NAN, 0.3, 0.3, 0.5), True),
    ],
)
def test_a_box_stated_twice_is_compared_on_the_padded_square(square, differs):
    state, notes = judge_boxes([Box(10, 20, 30, 40)], (100, 80), square)
    assert state == "inside" and bool(notes) is differs


OPTIONS = "Which?\nA. the door\nB. wall\n"
ANSWERS = [
    ("", ["STOP"], "ocr", None),
    ("", ["STOP", " "], "ocr", "blank"),
    ("", [], "exact", "no solution"),
    ("", ["<answer> </answer>"], "exact", "blank"),
    ("", ["?!"], "exact", None),
    ("", ["?!"], "rouge", "no word"),
    ("", ["a dog"], "rouge", None),
    ("", ["Yes, it is."], "yes_no", None),
    ("", ["no"], "yes_no", None),
    ("", ["perhaps"], "yes_no", "yes or no"),
    ("", ["..."], "yes_no", "yes or no"),
    (OPTIONS, ["B"], "choice", None),
    (OPTIONS, ["b"], "choice", None),
    (OPTIONS, ["(b) wall"], "choice", None),
    (OPTIONS, ["<answer>B</answer>"], "choice", None),
    (OPTIONS, ["The door."], "choice", None),
    (OPTIONS, ["C"], "choice", "none of the options A, B"),
    (OPTIONS, ["window"], "choice", "none of the options A, B"),
    (OPTIONS + "C. roof\nD. sky\nE. sea\nF. sun", ["F"], "choice", None),
    ("What is it?", ["A snow covered mountain."], "choice", None),
    ("What is it?", ["C"], "choice", None),
    ("", ["3/4"], "math", None),
    ("", [r"\frac{1}{2}"], "math", None),
    ("", ["$x^2 + 1$"], "math", None),
    ("", ["Yes"], "math", None),
    ("", ["$$"], "math", "mark-up"),
    ("", [r"\boxed{}"], "math", "mark-up"),
    ("", [r"\frac{1}{2"], "math", "braces"),
    ("", ["word " * 60], "math", "too long"),
]


@pytest.mark.parametrize(("question", "solution", "kind", "reason"), ANSWERS)
def test_answers_are_fit_for_their_kind(question, solution, kind, reason):
    found = answer_fault(question, solution, kind)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(("question", "solution", "kind", "reason"), ANSWERS)
def test_a_solution_that_passes_earns_full_marks(question, solution, kind, reason):
    if reason is None:
        assert all(answer_reward(text, solution, kind) == pytest.approx(1.0) for text in solution)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solution", ["", " ", "<answer></answer>"])
def test_no_kind_takes_a_blank_solution(kind: str, solution: str):
    assert "blank" in answer_fault("Which?", [solution], kind)
