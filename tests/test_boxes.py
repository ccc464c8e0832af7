"""Boxes: hand-computed overlaps, properties, and the peers' bugs that a five-line test would have found."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundr1.boxes import Box, clip, giou, iou, relative_area, rescale

SIZE = (100, 80)
NOT_A_SIZE = [(0, 10), (10, -1), (float("nan"), 10), (10, float("inf"))]
EMPTY = [
    (Box(5, 5, 5, 9), "no width"),
    (Box(5, 5, 9, 5), "no height"),
    (Box(0, 0, 0, 0), "the peers' stand-in for no box"),
    (Box(9, 5, 5, 9), "inverted in x"),
    (Box(9, 9, 5, 5), "inverted in both, whose sides multiply to a positive area"),
    (Box(float("nan"), 0, 5, 5), "not a number"),
    (Box(0, 0, float("inf"), 5), "infinite"),
]

coordinates = st.floats(-500, 500).map(lambda value: round(value, 3))
sides = st.floats(0.01, 500)
boxes = st.builds(Box.from_xywh, coordinates, coordinates, sides, sides)
any_boxes = st.builds(Box, *[st.floats(allow_nan=True, allow_infinity=True)] * 4)
sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000))


def test_box_is_a_plain_tuple_with_extent():
    box = Box(10, 20, 40, 30)
    assert box == (10, 20, 40, 30)
    assert (box.width, box.height, box.area) == (30.0, 10.0, 300.0)
    assert Box.from_xywh(10, 20, 30, 10) == box
    assert not box.is_empty


@pytest.mark.parametrize(("box", "reason"), EMPTY)
def test_empty_boxes_overlap_nothing_and_divide_nothing_by_zero(box, reason):
    full = Box(0, 0, 100, 80)
    assert box.is_empty, reason
    assert clip(box, SIZE) is None
    assert relative_area(box, SIZE) == 0.0
    for other in (full, box):
        assert iou(box, other) == iou(other, box) == 0.0
        assert giou(box, other) == giou(other, box) == -1.0


@pytest.mark.parametrize(
    ("a", "b", "expected_iou", "expected_giou", "reason"),
    [
        (Box(0, 0, 10, 10), Box(0, 0, 10, 10), 1.0, 1.0, "identical"),
        (Box(0, 0, 10, 10), Box(5, 0, 15, 10), 50 / 150, 50 / 150, "half shifted: the hull is the union"),
        (Box(0, 0, 10, 10), Box(10, 0, 20, 10), 0.0, 0.0, "touching: half open, so no overlap, no gap"),
        (Box(0, 0, 10, 10), Box(30, 0, 40, 10), 0.0, -0.5, "a gap of half the hull"),
        (Box(0, 0, 10, 10), Box(5, 5, 15, 15), 25 / 175, 25 / 175 - 50 / 225, "hull 225, union 175"),
        (Box(0, 0, 10, 10), Box(2, 2, 4, 7), 10 / 100, 10 / 100, "nested"),
        (Box(0, 0, 0.5, 0.5), Box(0.25, 0, 0.75, 0.5), 1 / 3, 1 / 3, "below one pixel: nothing becomes int"),
        (Box(-10, -10, 0, 0), Box(-5, -10, 5, 0), 1 / 3, 1 / 3, "negative coordinates"),
    ],
)
def test_iou_and_giou_by_hand(a, b, expected_iou, expected_giou, reason):
    assert iou(a, b) == pytest.approx(expected_iou, abs=1e-12), reason
    assert giou(a, b) == pytest.approx(expected_giou, abs=1e-12), reason


def test_regression_iou_is_not_doubled():
    """Ground-R1's training copy of compute_iou returns 2 x IoU (2.0 for identical boxes)."""
    assert iou(Box(3, 4, 50, 60), Box(3, 4, 50, 60)) == 1.0


def test_regression_one_pixel_overlap_counts():
    """VLM-R1's iou gives 0 for boxes that share one pixel."""
    assert iou(Box(0, 0, 10, 10), Box(9, 9, 19, 19)) == pytest.approx(1 / 199)


def test_regression_coordinates_are_not_truncated():
    """Ground-R1's RefCOCO script cuts coordinates to int before the IoU, which makes these two boxes equal."""
    assert iou(Box(0.9, 0.9, 2.9, 2.9), Box(0, 0, 2, 2)) == pytest.approx(1.21 / 6.79)


@pytest.mark.parametrize(
    ("box", "expected", "reason"),
    [
        (Box(10, 10, 20, 20), Box(10, 10, 20, 20), "inside"),
        (Box(-5, -5, 20, 20), Box(0, 0, 20, 20), "over the corner"),
        (Box(90.5, 70.25, 200, 200), Box(90.5, 70.25, 100, 80), "over the far corner, decimals kept"),
        (Box(-1e200, -1, 1e200, 81), Box(0, 0, 100, 80), "huge"),
        (Box(100, 0, 120, 10), None, "touches the border from outside"),
        (Box(-20, -20, -1, -1), None, "wholly outside"),
    ],
)
def test_clip(box, expected, reason):
    assert clip(box, SIZE) == expected, reason


def test_rescale_changes_the_frame_and_nothing_else():
    box_view = Box(0.5, 7, 28, 56)
    assert rescale(box_view, (112, 112), (448, 224)) == Box(2, 14, 112, 112)
    assert rescale(box_view, (123, 77), (123, 77)) == box_view, "equal sizes: the very same numbers"
    assert rescale(Box(-10, 0, 300, 10), (100, 100), (50, 50)) == Box(-5, 0, 150, 5), "not clipped"


@pytest.mark.parametrize(
    ("box", "expected", "reason"),
    [
        (None, 1.0, "no box: the whole picture is the evidence"),
        (Box(0, 0, 100, 80), 1.0, "the whole picture"),
        (Box(0, 0, 50, 40), 0.25, "a quarter"),
        (Box(-50, 0, 50, 80), 0.5, "only the part inside counts"),
        (Box(-500, -500, 500, 500), 1.0, "larger than the picture"),
        (Box(200, 0, 300, 80), 0.0, "wholly outside"),
    ],
)
def test_relative_area(box, expected, reason):
    assert relative_area(box, SIZE) == expected, reason


@pytest.mark.parametrize("size", NOT_A_SIZE)
def test_a_size_without_pixels_is_refused(size):
    for call in (
        lambda: clip(Box(0, 0, 1, 1), size),
        lambda: relative_area(None, size),
        lambda: rescale(Box(0, 0, 1, 1), size, SIZE),
        lambda: rescale(Box(0, 0, 1, 1), SIZE, size),
    ):
        with pytest.raises(ValueError, match="width and height"):
            call()


@given(boxes, boxes)
def test_overlap_is_symmetric_bounded_and_ordered(a, b):
    assert iou(a, b) == iou(b, a)
    assert giou(a, b) == giou(b, a)
    assert 0.0 <= iou(a, b) <= 1.0
    assert -1.0 <= giou(a, b) <= iou(a, b)


@given(boxes)
def test_every_box_overlaps_itself_wholly(box):
    assert iou(box, box) == giou(box, box) == 1.0


@given(any_boxes, any_boxes, sizes)
def test_any_four_floats_give_finite_answers_in_range(a, b, size):
    assert 0.0 <= iou(a, b) <= 1.0
    assert -1.0 <= giou(a, b) <= 1.0
    assert 0.0 <= relative_area(a, size) <= 1.0
    inside = clip(a, size)
    if inside is not None:
        assert 0 <= inside.x1 < inside.x2 <= size[0]
        assert 0 <= inside.y1 < inside.y2 <= size[1]
        assert clip(inside, size) == inside


@given(boxes, sizes, sizes)
def test_rescale_there_and_back(box, from_size, to_size):
    back = rescale(rescale(box, from_size, to_size), to_size, from_size)
    assert all(math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-9) for x, y in zip(back, box, strict=True))


@given(boxes, sizes, sizes)
def test_relative_area_does_not_depend_on_the_frame(box, view_size, image_size):
    in_image = relative_area(rescale(box, view_size, image_size), image_size)
    assert in_image == pytest.approx(relative_area(box, view_size), abs=1e-9)
