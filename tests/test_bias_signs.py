"""Signs of scale-driven bias: tables whose answer is known by construction."""

import numpy as np
import pandas as pd
import pytest

from groundr1.bias_signs import bias_signs, bin_use

AREAS = {"small": 0.01, "medium": 0.2, "large": 0.6}


def rollouts(shares_at_end: dict[str, float], reward: dict[str, float], steps: int = 40) -> pd.DataFrame:
    """40 prompts' groups of 10; shares go from even thirds to `shares_at_end` in the second half of the run."""
    rng = np.random.default_rng(0)
    rows = []
    for step in range(1, steps + 1):
        odds = [1 / 3] * 3 if step <= steps // 2 else list(shares_at_end.values())
        scales = rng.choice(list(AREAS), size=10, p=odds)
        rewards = np.array([reward[scale] for scale in scales]) + rng.normal(0, 0.05, 10)
        for scale, each in zip(scales, rewards, strict=True):
            row = {"step": step, "prompt_id": f"p{step}", "relative_area": AREAS[scale]}
            rows.append({**row, "reward": each, "advantage": each - rewards.mean(), "iou": 0.5})
    return pd.DataFrame(rows)


BIASED = {"small": 0.05, "medium": 0.15, "large": 0.8}
EVEN = {"small": 1 / 3, "medium": 1 / 3, "large": 1 / 3}


def verdicts(table: pd.DataFrame) -> list[str]:
    return bias_signs(table, num=200)["verdict"].tolist()


def test_every_sign_of_a_collapse_is_found():
    assert verdicts(rollouts(BIASED, {"small": 0.2, "medium": 0.5, "large": 0.9})) == ["present"] * 5


def test_a_run_without_differences_has_no_sign():
    found = verdicts(rollouts(EVEN, dict.fromkeys(AREAS, 0.5)))
    assert found.count("not clear") >= 4  # one of five 95 % intervals may miss zero by chance


def test_small_boxes_that_win_are_the_opposite():
    table = rollouts(
        {"small": 0.8, "medium": 0.15, "large": 0.05}, {"small": 0.9, "medium": 0.5, "large": 0.2}
    )
    assert verdicts(table) == ["the opposite"] * 5


def test_the_reward_gap_is_a_difference_of_means():
    table = pd.DataFrame(
        {
            "step": [1, 1, 2, 2],
            "prompt_id": ["a", "a", "b", "b"],
            "relative_area": [0.01, 0.5, 0.01, 0.9],
            "reward": [0.0, 1.0, 0.5, 1.5],
            "advantage": [-1.0, 1.0, -1.0, 1.0],
            "iou": [0.0, 0.0, 0.0, 0.0],
        }
    )
    signs = bias_signs(table).set_index("sign")
    gap = signs.loc["mean reward, large minus small boxes"]
    assert gap["value"] == pytest.approx(1.0)  # (1.0 + 1.5) / 2 - (0.0 + 0.5) / 2
    assert (gap["low"], gap["high"]) == pytest.approx((1.0, 1.0))  # each prompt has the same gap
    assert signs.loc["mean advantage of small boxes", "value"] == pytest.approx(-1.0)
    assert signs.loc["change in the share of large boxes", "verdict"] == "too few boxes"  # one prompt an end


def test_without_small_boxes_nothing_is_claimed_of_them():
    table = rollouts(EVEN, dict.fromkeys(AREAS, 0.5))
    signs = bias_signs(table[table["relative_area"] > 0.1], num=200).set_index("sign")["verdict"]
    assert signs["mean reward, large minus small boxes"] == "too few boxes"
    assert signs["mean advantage of small boxes"] == "too few boxes"


def test_bin_use_counts_the_groups_in_which_the_arms_can_differ():
    groups = {
        "one bin": ([0.1, 0.2, 0.3], [0, 1, 2]),
        "equal rewards": ([0.1, 0.5, 0.9], [1, 1, 1]),
        "one bin, equal rewards": ([0.1, 0.1, 0.1], [1, 1, 1]),
        "both can speak": ([0.1, 0.1, 0.9], [0, 1, 2]),
    }
    table = pd.concat(
        pd.DataFrame({"step": 1, "prompt_id": name, "relative_area": areas, "reward": rewards})
        for name, (areas, rewards) in groups.items()
    )
    use = bin_use(table.sample(frac=1.0, random_state=0))
    assert use.to_dict() == {"groups": 4, "one_bin": 0.5, "equal_rewards": 0.5, "advantages_differ": 0.25}
    assert bin_use(table, num_bins=1)["advantages_differ"] == 0


def test_bin_use_refuses_groups_of_different_sizes():
    table = pd.DataFrame({"step": 1, "prompt_id": ["a", "a", "b"], "relative_area": 0.1, "reward": 1.0})
    with pytest.raises(ValueError, match=r"one size.*\[1, 2\]"):
        bin_use(table)
