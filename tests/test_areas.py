"""Evidence areas: the committed quantiles, how they were derived, and drawing from them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundr1.data import area_pool, area_quantiles, load_area_quantiles
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


def test_the_pool_has_the_quantiles_of_its_set():
    pool, quantiles = area_pool(["gqa"]), load_area_quantiles()["gqa"]
    np.testing.assert_allclose(np.quantile(pool, QUANTILE_LEVELS), quantiles, rtol=1e-9)


@given(
    sets=st.lists(st.sampled_from(sorted(load_area_quantiles())), min_size=1, max_size=3),
    low=st.floats(0, 0.5),
)
def test_the_pool_stays_within_the_limits_and_its_sets_weigh_the_same(sets: list[str], low: float):
    whole, cut = area_pool(sets), area_pool(sets, (low, 0.5))
    assert len(whole) == 401 * len(sets)
    assert ((cut >= low) & (cut <= 0.5)).all()
    assert len(cut) == ((whole >= low) & (whole <= 0.5)).sum()


def test_an_unknown_set_names_the_known_ones():
    with pytest.raises(ValueError, match=r"\['coco'\].*docvqa"):
        area_pool(["coco"])
    with pytest.raises(ValueError, match="at least one"):
        area_pool([])
