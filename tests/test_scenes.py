"""The generated world: what is drawn, that it repeats itself to the byte, and that the splits are apart."""

import io

import numpy as np
import pytest
from PIL import Image

from groundr1.boxes import Box, relative_area
from groundr1.data import make_scenes
from groundr1.data.areas import QUANTILE_LEVELS, load_area_quantiles
from groundr1.data.drawing import (
    AREA_LIMITS,
    AREA_SETS,
    COLOURS,
    KINDS,
    RELATIONS,
    WORDS,
    draw_scene,
    kind_areas,
)
from groundr1.data.example import EXAMPLE_FEATURES
from groundr1.data.scenes import SPLIT_STARTS


def make(num: int, **options):
    return make_scenes(num, progress=False, **{"seed": 3, **options})


def encoded(dataset) -> list[bytes]:
    return [row["bytes"] for row in dataset.data.column("image").to_pylist()]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = make(6), make(6), make(6, seed=4)
    assert encoded(first) == encoded(again)
    assert first["question"] == again["question"]
    assert not set(encoded(first)) & set(encoded(other))


def test_a_longer_set_begins_with_the_shorter_one():
    assert encoded(make(6))[:3] == encoded(make(3))


def test_rows_have_the_example_schema_and_boxes_lie_inside():
    scenes = make(12)
    assert scenes.features == EXAMPLE_FEATURES
    for row in scenes:
        (corners,) = row["boxes"]
        box = Box(*corners)
        assert 0 <= box.x1 < box.x2 <= row["image"].width
        assert 0 <= box.y1 < box.y2 <= row["image"].height
        assert row["kind"] == "exact"
        assert row["source"] in KINDS
        allowed = {"tile": [str(d) for d in range(10)], "print": WORDS, "relation": RELATIONS}[row["source"]]
        assert row["solution"][0] in allowed


def test_kinds_come_in_turn_and_can_be_chosen():
    assert make(6)["source"] == list(KINDS) * 2
    assert make(4, kinds=("print",))["source"] == ["print"] * 4


def test_no_scenes_are_an_empty_dataset_with_the_schema():
    assert make(0).features == EXAMPLE_FEATURES


def test_splits_draw_from_disjoint_ranges_of_seeds():
    seeds = {
        split: {
            int(each.rpartition("-")[2])
            for seed in (0, 1, 2**20)
            for each in make(2, seed=seed, split=split)["id"]
        }
        for split in SPLIT_STARTS
    }
    assert max(seeds["train"]) < SPLIT_STARTS["heldout"] <= min(seeds["heldout"])
    assert max(seeds["heldout"]) < 2**32, "the range after it belongs to pretraining"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, "split='test' is unknown"),
        ({"kinds": ("tile", "maze")}, "maze"),
        ({"size": 100}, "size=100"),
        ({"num": -1}, "num=-1"),
        ({"kinds": ()}, "kinds=.* is empty"),
    ],
)
def test_wrong_arguments_name_themselves(options, message):
    with pytest.raises(ValueError, match=message):
        make(**{"num": 1, **options})


@pytest.mark.parametrize("kind", KINDS)
def test_areas_follow_visual_cot_within_the_legible_limits(kind):
    """The drawn areas have the quantiles of the pooled Visual-CoT sets, cut at the limits."""
    low, high = AREA_LIMITS[kind]
    areas = [relative_area(draw_scene(kind, seed).queries[0].box, (448, 448)) for seed in range(300)]
    assert 0.8 * low <= min(areas)
    assert max(areas) <= 1.05 * high
    expected = np.quantile(kind_areas(kind), [0.25, 0.5, 0.75])
    drawn = np.quantile(areas, [0.25, 0.5, 0.75])
    assert np.abs(np.log(drawn / expected)).max() < 0.45


def test_the_area_pool_is_the_committed_quantiles():
    quantiles = load_area_quantiles()
    low, high = AREA_LIMITS["print"]
    values = np.concatenate([quantiles[name] for name in AREA_SETS["print"]])
    pool = kind_areas("print")
    assert low <= pool.min() <= pool.max() <= high
    inside = [v for v in values if low <= v <= high]
    assert all(np.isclose(pool, value, rtol=1e-6).any() for value in inside), (
        "grid points of the quantile functions"
    )
    assert len(QUANTILE_LEVELS) == len(values) / len(AREA_SETS["print"])


def test_evidence_is_small_medium_and_large():
    areas = np.array([relative_area(Box(*row["boxes"][0]), row["image"].size) for row in make(150)])
    assert (areas < 0.1).mean() > 0.3
    assert ((areas >= 0.1) & (areas <= 0.3)).mean() > 0.15
    assert (areas > 0.3).mean() > 0.08


def test_the_first_object_of_a_board_is_where_its_box_says():
    scene = draw_scene("tile", 5)
    query = scene.queries[0]
    colour = query.question.split()[4]
    pixels = np.asarray(scene.image)
    is_colour = (pixels == COLOURS[colour]).all(-1)
    ys, xs = np.nonzero(is_colour)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == query.box


@pytest.mark.parametrize("seed", range(20))
def test_the_evidence_of_a_relation_is_exactly_the_union_of_its_two_shapes(seed):
    scene = draw_scene("relation", seed)
    a, b = list(scene.objects.values())[:2]
    union = (min(a.x1, b.x1), min(a.y1, b.y1), max(a.x2, b.x2), max(a.y2, b.y2))
    assert scene.queries[0].box == union
    answers = [query.answer for query in scene.queries]
    if answers[0] == "left":
        assert a.x2 <= b.x1
    else:
        assert answers[0] == "above"
        assert a.y2 <= b.y1
    assert answers[1] == {"left": "right", "above": "below"}[answers[0]]


def test_pictures_are_png_of_the_size_asked_for():
    (data,) = encoded(make(1, size=560))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (560, 560), "RGB")
