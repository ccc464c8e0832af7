"""Evidence areas: the committed quantiles, how they were derived, and drawing from them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundr1.data import area_quantiles, load_area_quantiles, sample_areas
from groundr1.data.areas import QUANTILE_LEVELS, QUANTILES_FILE
from groundr1.data.readers import VISCOT_KINDS

ANNOTATIONS = Path(__file__).resolve().parents[2] / "shared" / "data" / "annotations"


def test_committed_quantiles_are_complete_and_ascending():
    quantiles = load_area_quantiles()
    assert sorted(quantiles) == sorted(set(VISCOT_KINDS) - {"visual7w"})
    for areas in quantiles.values():
        assert areas.shape == QUANTILE_LEVELS.shape and areas[0] > 0 and areas[-1] <= 1
        assert np.all(np.diff(areas) >= 0)
    assert quantiles["infographicsvqa"][10] < 0.01 < 0.3 < quantiles["vsr"][10], (
        "documents are small, relations large"
    )


@pytest.mark.skipif(
    not ANNOTATIONS.is_dir(), reason="the public annotation files are not part of the repository"
)
def test_committed_quantiles_can_be_derived_again():
    derived = area_quantiles(ANNOTATIONS / "viscot_subset150.jsonl")
    pd.testing.assert_frame_equal(derived, pd.read_csv(QUANTILES_FILE, index_col="set"), rtol=1e-12)


def test_area_quantiles_by_hand(tmp_path: Path):
    boxes = [[0, 0, 10, 8], [0, 0, 50, 40], [-10, 0, 50, 80], [30, 0, 10, 8], [200, 0, 300, 8]]
    rows = [{"dataset": "gqa", "width": 100, "height": 80, "bboxs": [box]} for box in boxes]
    jsonl = tmp_path / "v.jsonl"
    jsonl.write_text("\n".join(map(json.dumps, rows)))
    table = area_quantiles(jsonl)
    # 1 %, 25 %, and 50 % for the part inside; the inverted box and the one outside do not count
    assert table.loc["gqa", "num_boxes"] == 3
    assert table.loc["gqa", ["0.00", "0.25", "0.50", "1.00"]].tolist() == pytest.approx(
        [0.01, 0.13, 0.25, 0.5]
    )
    jsonl.write_text('{"dataset": "gqa"}')
    with pytest.raises(ValueError, match=r"v.jsonl, line 1"):
        area_quantiles(jsonl)


@given(seed=st.integers(0, 2**32 - 1), num=st.integers(0, 50))
def test_sampled_areas_stay_within_their_sets_and_repeat_with_the_seed(seed: int, num: int):
    areas = sample_areas(np.random.default_rng(seed), ["docvqa", "vsr"], num)
    quantiles = load_area_quantiles()
    low, high = quantiles["docvqa"][0], max(quantiles["docvqa"][-1], quantiles["vsr"][-1])
    assert areas.shape == (num,) and np.all(areas >= low * 0.999) and np.all(areas <= high * 1.001)
    assert np.array_equal(areas, sample_areas(np.random.default_rng(seed), ["docvqa", "vsr"], num))


def test_sampled_areas_follow_the_quantiles():
    areas = sample_areas(np.random.default_rng(0), ["gqa"], 20_000)
    # 20,000 draws: the share below a quartile has a standard error of 0.003
    for level in (5, 10, 15):
        share = np.mean(areas < load_area_quantiles()["gqa"][level])
        assert share == pytest.approx(QUANTILE_LEVELS[level], abs=0.015)


def test_sampling_from_an_unknown_set_names_the_known_ones():
    with pytest.raises(ValueError, match=r"\['coco'\].*docvqa"):
        sample_areas(np.random.default_rng(0), ["coco"], 1)
    with pytest.raises(ValueError, match="at least one"):
        sample_areas(np.random.default_rng(0), [], 1)
