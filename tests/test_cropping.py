"""Cropping: the evidence region stays in the picture, keeps its minimum side and loses nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from groundr1.boxes import Box, clip
from groundr1.cropping import crop_evidence

WHOLE = Box(0, 0, 100, 80)


def picture(width=100, height=80, mode="RGB"):
    """A picture whose pixels are all told apart by column (first channel) and row (second)."""
    columns, rows = np.meshgrid(np.arange(width) % 256, np.arange(height) % 256)
    rgb = np.stack([columns, rows, (columns + rows) % 256], axis=-1).astype(np.uint8)
    return Image.fromarray(rgb).convert(mode)


@pytest.mark.parametrize(
    ("box", "expected", "reason"),
    [
        (Box(10, 10, 50, 60), Box(10, 10, 50, 60), "large enough, inside: as it is"),
        (Box(10.4, 10.6, 50.2, 60.8), Box(10, 10, 51, 61), "rounded outward"),
        (Box(40, 30, 50, 40), Box(31, 21, 59, 49), "10 px grown to 28 about its centre"),
        (Box(40, 30, 51, 80), Box(32, 30, 60, 80), "only the short side grows"),
        (Box(90, 70, 100, 80), Box(72, 52, 100, 80), "grown at the far corner, moved back in"),
        (Box(-30, 10, 50, 60), Box(0, 10, 50, 60), "only the part inside is evidence"),
        (Box(-27, 10, 1, 60), Box(0, 10, 28, 60), "one pixel inside: it grows, though the box was wide"),
        (Box(-500, -500, 500, 500), WHOLE, "larger than the picture"),
        (Box(99.5, 79.5, 99.6, 79.6), Box(72, 52, 100, 80), "a speck in the corner"),
    ],
)
def test_crop_by_hand(box, expected, reason):
    evidence = crop_evidence(picture(), box)
    assert evidence.box == expected, reason
    assert evidence.refused is None
    assert evidence.image.size == (expected.width, expected.height)
    assert evidence.image.getpixel((0, 0))[:2] == (expected.x1, expected.y1), "cut where the box says"


def test_regression_the_clamp_comes_last():
    """Ground-R1 clamps before it pads: this box becomes [-12, -12, 16, 16], outside the picture."""
    assert crop_evidence(picture(), Box(0, 0, 4, 4)).box == Box(0, 0, 28, 28)


def test_regression_inverted_boxes_are_not_repaired():
    """Ground-R1 quietly turns an inverted box into a 28 px crop elsewhere."""
    evidence = crop_evidence(picture(), Box(50, 60, 10, 10))
    assert (evidence.box, evidence.refused) == (WHOLE, "empty box")


@pytest.mark.parametrize(
    ("box", "refused"),
    [
        (None, "no box"),
        (Box(10, 10, 10, 60), "empty box"),
        (Box(0, 0, 0, 0), "empty box"),
        (Box(float("nan"), 0, 10, 10), "empty box"),
        (Box(0, 0, float("inf"), 10), "empty box"),
        (Box(100, 0, 140, 80), "outside the picture"),
        (Box(-40, -40, 0, 0), "outside the picture"),
    ],
)
def test_refused_boxes_show_the_whole_picture(box, refused):
    image = picture()
    evidence = crop_evidence(image, box)
    assert (evidence.box, evidence.refused) == (WHOLE, refused)
    assert evidence.image.tobytes() == image.tobytes()
    assert evidence.image is not image, "nobody can change the original through the evidence"


@pytest.mark.parametrize(
    ("height", "max_aspect", "refused"),
    [(31, 100, None), (30, 100, "aspect ratio"), (29, 100, "aspect ratio"), (29, 104, None)],
)
def test_aspect_ratio_is_that_of_the_crop(height, max_aspect, refused):
    """3000 px wide: 30 px high is an aspect ratio of 100 exactly, which is refused; 1 px high has grown to 28."""
    image = Image.new("L", (3000, 100))
    assert crop_evidence(image, Box(0, 0, 3000, height), max_aspect=max_aspect).refused == refused
    assert crop_evidence(image, Box(0, 0, 3000, 1)).box.height == 28


def test_default_aspect_limit_is_200_in_both_directions():
    assert crop_evidence(Image.new("L", (5600, 60)), Box(0, 0, 5600, 28)).refused == "aspect ratio"
    assert crop_evidence(Image.new("L", (60, 5600)), Box(0, 0, 28, 5600)).refused == "aspect ratio"
    assert crop_evidence(Image.new("L", (5599, 60)), Box(0, 0, 5599, 28)).refused is None


def test_a_picture_below_the_minimum_side_is_shown_as_it_is():
    evidence = crop_evidence(picture(20, 60), Box(5, 5, 8, 8))
    assert evidence.box == Box(0, 0, 20, 28)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_every_mode_is_kept_and_the_original_is_untouched(mode):
    image = picture(mode=mode)
    before = image.tobytes()
    evidence = crop_evidence(image, Box(10, 10, 50, 60))
    assert evidence.image.mode == mode
    evidence.image.putpixel((0, 0), 0 if mode in {"L", "P", "1"} else (0,) * len(mode))
    assert image.tobytes() == before


@pytest.mark.parametrize("arguments", [{"min_side": 0}, {"max_aspect": 1.0}, {"max_aspect": float("nan")}])
def test_parameters_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="min_side"):
        crop_evidence(picture(), WHOLE, **arguments)


coordinates = st.floats(-300, 300)


@given(st.builds(Box, *[coordinates] * 4), st.integers(1, 200), st.integers(1, 200), st.integers(1, 60))
def test_crops_stay_inside_keep_their_side_and_lose_nothing(box, width, height, min_side):
    evidence = crop_evidence(Image.new("L", (width, height)), box, min_side=min_side, max_aspect=1000.0)
    crop = evidence.box
    assert 0 <= crop.x1 < crop.x2 <= width
    assert 0 <= crop.y1 < crop.y2 <= height
    assert evidence.image.size == (crop.width, crop.height)
    inside = clip(box, (width, height))
    assert (evidence.refused is None) == (inside is not None)
    if inside is not None:
        assert crop.width >= min(min_side, width)
        assert crop.height >= min(min_side, height)
        assert crop.x1 <= inside.x1 and crop.y1 <= inside.y1 and inside.x2 <= crop.x2 and inside.y2 <= crop.y2
        assert crop.width <= max(min_side, inside.width + 2), "grown no further than asked"
