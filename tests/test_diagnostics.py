"""Scale-bias statistics: hand-computed tables, intervals, and rows that must not vanish."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundr1.diagnostics import (
    SCALES,
    accuracy_by_scale,
    bootstrap_interval,
    by_scale,
    paired_differences,
    scale_of,
    share_change,
)


@pytest.fixture
def rollouts():
    """Two steps of two prompts with two trajectories each; one area and one IoU are missing."""
    return pd.DataFrame(
        {
            "step": [1, 1, 1, 1, 2, 2, 2, 2],
            "prompt_id": ["a", "a", "b", "b", "c", "c", "d", "d"],
            "box": [
                [0, 0, 1, 1],
                [0, 0, 2, 2],
                [0, 0, 1, 1],
                None,
                [0, 0, 1, 1],
                [0, 0, 9, 9],
                None,
                [0, 0, 9, 9],
            ],
            "relative_area": [0.05, 0.2, 0.09, 1.0, 0.05, 0.9, 1.0, math.nan],
            "true_area": [0.05, 0.05, 0.5, 0.5, None, None, 0.2, 0.2],
            "reward": [1.0, 0.5, 0.0, 2.0, 0.25, 0.75, 1.25, 9.0],
            "advantage": [0.5, -0.5, -1.0, 1.0, -0.7, 0.7, 0.0, 0.0],
            "iou": [0.4, 0.1, 0.2, None, 0.3, 0.5, math.nan, 0.9],
        }
    )


@pytest.mark.parametrize(
    ("area", "expected", "reason"),
    [
        (0.0, "small", "nothing is small"),
        (0.0999, "small", "below the edge"),
        (0.1, "medium", "10 % itself is medium: the paper's small is < 10 %"),
        (0.3, "medium", "30 % itself is medium: the paper's large is > 30 %"),
        (0.3000001, "large", "above the edge"),
        (1.0, "large", "the whole picture"),
    ],
)
def test_scale_of(area, expected, reason):
    assert scale_of(area) == expected, reason


@pytest.mark.parametrize(
    ("area", "edges", "message"),
    [
        (math.nan, (0.1, 0.3), "NaN has no scale"),
        (-0.01, (0.1, 0.3), r"lies in \[0, 1\]"),
        (12.0, (0.1, 0.3), "not per cent"),
        (0.2, (0.3, 0.1), "edges"),
    ],
)
def test_scale_of_refuses(area, edges, message):
    with pytest.raises(ValueError, match=message):
        scale_of(area, edges)


# ------------------------------------------------------------------------------------------------------ by_scale


def test_by_scale_against_hand_arithmetic(rollouts):
    table = by_scale(rollouts, num=50)
    assert table["step"].tolist() == [1, 1, 1, 2, 2, 2]
    assert table["scale"].tolist() == [*SCALES, *SCALES]
    # Step 1: small a and b, medium a, large b. Step 2: small c, large c and d, and one of d without an area.
    assert table["count"].tolist() == [2, 1, 1, 1, 0, 2]
    assert table["num_prompts"].tolist() == [2, 1, 1, 1, 0, 2]
    assert table["missing_area"].tolist() == [0, 0, 0, 1, 1, 1]
    assert table["no_box"].tolist() == [0, 0, 1, 0, 0, 1]
    assert table["share"].tolist() == pytest.approx([0.5, 0.25, 0.25, 1 / 3, 0.0, 2 / 3])
    np.testing.assert_allclose(table["reward"], [0.5, 0.5, 2.0, 0.25, np.nan, 1.0])
    np.testing.assert_allclose(table["advantage"], [-0.25, -0.5, 1.0, -0.7, np.nan, 0.35])
    np.testing.assert_allclose(table["iou"], [0.3, 0.1, np.nan, 0.3, np.nan, 0.5])
    assert table["iou_count"].tolist() == [2, 1, 0, 1, 0, 1], "a missing IoU is counted out, not taken for 0"


def test_windows_pool_steps_and_true_area_sorts_by_annotation(rollouts):
    table = by_scale(rollouts, area="true_area", window=2, num=50).set_index("scale")
    assert table["step"].unique().tolist() == [1]
    assert table["last_step"].unique().tolist() == [2]
    assert table["count"].to_dict() == {"small": 2, "medium": 2, "large": 2}
    assert table["missing_area"].unique().tolist() == [2]
    assert table.loc["medium", "reward"] == pytest.approx((1.25 + 9.0) / 2)
    assert table.loc["large", "no_box"] == 1, "a rollout without a box, where large evidence was annotated"


def test_intervals_are_unknown_with_one_prompt_and_hold_the_mean_otherwise(rollouts):
    table = by_scale(rollouts, num=200)
    one_prompt = table["num_prompts"] < 2
    assert table.loc[one_prompt, ["reward_low", "reward_high"]].isna().all(axis=None)
    rest = table[~one_prompt]
    assert (rest["reward_low"] <= rest["reward"]).all()
    assert (rest["reward"] <= rest["reward_high"]).all()
    # Prompts a and b have 1 of 2 small boxes each: however they are resampled, the share stays a half.
    assert table.loc[0, ["share_low", "share_high"]].tolist() == [0.5, 0.5]


def test_by_scale_is_deterministic_and_blind_to_row_order(rollouts):
    first = by_scale(rollouts, num=100, seed=4)
    pd.testing.assert_frame_equal(first, by_scale(rollouts, num=100, seed=4))
    shuffled = by_scale(rollouts.sample(frac=1, random_state=1), num=100, seed=4)
    exact = ["step", "scale", "count", "share", "reward", "iou_count"]
    pd.testing.assert_frame_equal(first[exact], shuffled[exact])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1), st.floats(-2, 2)), min_size=1, max_size=30))
def test_by_scale_loses_nobody(rows):
    table = pd.DataFrame(rows, columns=["step", "relative_area", "reward"]).assign(prompt_id=range(len(rows)))
    result = by_scale(table, values=["reward"], num=20)
    assert result["count"].sum() == len(rows)
    np.testing.assert_allclose(result.groupby("step")["share"].sum(), 1.0)
    pooled = (result["reward"].fillna(0) * result["reward_count"]).sum() / len(rows)
    assert pooled == pytest.approx(table["reward"].mean(), abs=1e-9)
    for row in result.itertuples():
        inside = [
            scale_of(area) == row.scale for area in table.loc[table["step"] == row.step, "relative_area"]
        ]
        assert row.count == sum(inside)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="iou"), r"lacks the columns \['iou'\]"),
        (lambda table: table.assign(prompt_id=None), "8 rows without a prompt_id"),
        (lambda table: table.assign(relative_area=20.0), "not per cent"),
        (lambda table: table.head(0), "no rows"),
    ],
)
def test_by_scale_refuses(rollouts, change, message):
    with pytest.raises(ValueError, match=message):
        by_scale(change(rollouts))
    with pytest.raises(ValueError, match="window=0"):
        by_scale(rollouts, window=0)


# ----------------------------------------------------------------------------------------------------- intervals


def test_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        low, high = bootstrap_interval(rng.normal(0.5, 1.0, size=60), num=300, seed=trial)
        hits += low <= 0.5 <= high
    assert 0.89 <= hits / 300 <= 0.99


def test_clusters_widen_the_interval_of_repeated_values():
    rng = np.random.default_rng(1)
    values = np.repeat(rng.random(40), 8)
    alone = bootstrap_interval(values)
    together = bootstrap_interval(values, clusters=np.repeat(np.arange(40), 8))
    widths = [high - low for low, high in (alone, together)]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(8), rel=0.15)


@pytest.mark.parametrize(
    ("values", "clusters", "expected", "reason"),
    [
        ([0.0, 1.0, 0.0, 1.0], ["a", "a", "b", "b"], (0.5, 0.5), "clusters alike"),
        ([1.0, 1.0, 1.0], None, (1.0, 1.0), "no spread at all"),
        ([0.3], None, (math.nan, math.nan), "one value says nothing about spread"),
        ([0.1, 0.9], ["a", "a"], (math.nan, math.nan), "nor does one cluster"),
        ([], None, (math.nan, math.nan), "nor does nothing"),
    ],
)
def test_bootstrap_interval(values, clusters, expected, reason):
    assert bootstrap_interval(values, clusters=clusters) == pytest.approx(expected, nan_ok=True), reason


def test_bootstrap_interval_by_enumeration():
    # Two clusters, 0 and 1: a resample's mean is 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
    assert bootstrap_interval([0.0, 1.0], level=0.9) == (0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], level=0.4) == (0.5, 0.5)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20), st.integers(0, 5))
def test_bootstrap_interval_lies_within_the_values(values, seed):
    low, high = bootstrap_interval(values, num=50, seed=seed)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert (low, high) == bootstrap_interval(values, num=50, seed=seed)


def test_bootstrap_interval_refuses():
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        bootstrap_interval([1.0, math.nan])
    with pytest.raises(ValueError, match="2 values but 1 cluster"):
        bootstrap_interval([1.0, 2.0], clusters=["a"])
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval([1.0, 2.0], level=95)


# -------------------------------------------------------------------------------------------- share of boxes, arms


def test_share_change_against_hand_arithmetic():
    # 4 steps of 5 prompts with 2 boxes: all small at first, then 1 of 2 large.
    table = pd.DataFrame({"step": np.repeat([1, 2, 3, 4], 10), "prompt_id": np.repeat(np.arange(20), 2)})
    table["relative_area"] = np.where(table["step"] <= 2, 0.05, np.tile([0.05, 0.5], 20))
    change = share_change(table, window=2, num=100).set_index("scale")
    assert change["start"].to_dict() == {"small": 1.0, "medium": 0.0, "large": 0.0}
    assert change["end"].to_dict() == {"small": 0.5, "medium": 0.0, "large": 0.5}
    assert change["change"].to_dict() == {"small": -0.5, "medium": 0.0, "large": 0.5}
    assert change.loc["large", ["change_low", "change_high"]].tolist() == [0.5, 0.5], "every prompt alike"
    pd.testing.assert_frame_equal(share_change(table, window=99, num=100).set_index("scale"), change)


def test_share_change_needs_two_steps():
    table = pd.DataFrame({"step": [1, 1], "prompt_id": ["a", "b"], "relative_area": [0.1, 0.2]})
    with pytest.raises(ValueError, match="two steps"):
        share_change(table)
    unknown = share_change(table.assign(step=[1, 2]))
    assert unknown[["change_low", "end_low"]].isna().all(axis=None), "one prompt in each window"


@pytest.fixture
def evaluation():
    """Base and SRPO on five examples; e has no annotation, SRPO has no result for d, base has one extra, f."""
    base = pd.DataFrame(
        {
            "model": "base",
            "prompt_id": list("abcdef"),
            "true_area": [0.01, 0.02, 0.2, 0.9, None, 0.5],
            "correct": [0, 0, 1, 1, 0, 1],
            "iou": [0.1, 0.2, 0.3, 0.4, None, 0.6],
        }
    )
    srpo = base.iloc[:5].assign(model="SRPO", correct=[1, 0, 1, None, 1], iou=[0.5, 0.6, 0.7, None, None])
    return pd.concat([base.astype({"correct": object}), srpo.astype({"correct": object})], ignore_index=True)


def test_accuracy_by_scale_against_hand_arithmetic(evaluation):
    table = accuracy_by_scale(evaluation, num=100)
    assert table["model"].tolist() == ["base"] * 4 + ["SRPO"] * 4
    assert table["scale"].tolist() == ["small", "medium", "large", "all"] * 2
    assert table["count"].tolist() == [2, 1, 2, 6, 2, 1, 1, 5]
    assert table["accuracy_count"].tolist() == [2, 1, 2, 6, 2, 1, 0, 4], "an unknown answer is counted out"
    np.testing.assert_allclose(table["accuracy"], [0, 1, 1, 0.5, 0.5, 1, np.nan, 0.75])
    np.testing.assert_allclose(table["iou"], [0.15, 0.3, 0.5, 0.32, 0.55, 0.7, np.nan, 0.6])
    assert table["accuracy_low"].isna().tolist() == [False, True, False, False, False, True, True, False]
    assert "iou" not in accuracy_by_scale(evaluation.drop(columns="iou"), num=10)


def test_paired_differences_against_hand_arithmetic(evaluation):
    table = paired_differences(evaluation, baseline="base", num=200).set_index("scale")
    assert set(table["model"]) == {"SRPO"}
    assert table["count"].to_dict() == {"small": 2, "medium": 1, "large": 0, "all": 4}
    assert table["unpaired"].to_dict() == {"small": 0, "medium": 0, "large": 2, "all": 2}
    assert table.loc["small", "difference"] == 0.5
    assert table.loc["medium", "difference"] == 0.0
    assert math.isnan(table.loc["large", "difference"])
    assert table.loc["all", "difference"] == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert table.loc["small", ["difference_low", "difference_high"]].tolist() == [0.0, 1.0]
    iou = paired_differences(evaluation, baseline="base", value="iou", num=200).set_index("scale")
    assert iou.loc["small", "difference"] == pytest.approx(0.4)
    assert iou.loc["small", "difference_low"] == pytest.approx(0.4), "both examples gain the same"


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(2)
    hard = rng.random(200)
    base = pd.DataFrame({"model": "base", "prompt_id": range(200), "true_area": 0.05, "correct": hard})
    both = pd.concat([base, base.assign(model="SRPO", correct=hard + 0.1 + rng.normal(0, 0.01, 200))])
    paired = paired_differences(both, baseline="base").set_index("scale").loc["all"]
    assert paired["difference"] == pytest.approx(0.1, abs=0.005)
    assert paired["difference_high"] - paired["difference_low"] < 0.01
    alone = accuracy_by_scale(both).query("scale == 'all'")
    assert (alone["accuracy_high"] - alone["accuracy_low"]).min() > 0.05


def test_paired_differences_refuses(evaluation):
    with pytest.raises(ValueError, match="no model 'GRPO'"):
        paired_differences(evaluation, baseline="GRPO")
    with pytest.raises(ValueError, match="no other model"):
        paired_differences(evaluation[evaluation["model"] == "base"], baseline="base")


def test_importing_diagnostics_needs_no_model_library():
    check = "import groundr1.diagnostics, sys; sys.exit(bool({'transformers', 'trl', 'datasets'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[1]).returncode == 0
