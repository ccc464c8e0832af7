"""The signs of scale-driven bias, each one number with an interval and a verdict, from a rollout table.

Ground-R1 (arXiv 2505.20272 v3) names three: large evidence earns the highest reward, small evidence has negative
advantage, and the share of boxes collapses to large. Here each is a number that the bias pushes one way; a sign is
present when its interval lies wholly on that side of zero. The verdict is our choice: the paper shows curves.
"""

import pandas as pd
import torch

from groundr1.bootstrap import cluster_sums, num_clusters, percentiles, ratio, resample
from groundr1.diagnostics import EDGES, SCALES, by_scale, scale_of, share_change
from groundr1.srpo import grpo_advantages, scale_bins, srpo_advantages

PRESENT, OPPOSITE, UNCLEAR, UNKNOWN = "present", "the opposite", "not clear", "too few boxes"


def bias_signs(
    rollouts: pd.DataFrame,
    *,
    window: int = 20,
    edges: tuple[float, float] = EDGES,
    num: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Measure the signs of scale-driven bias on one run.

    Args:
        rollouts: a rollout table, as `diagnostics.by_scale` needs it.
        window: steps at either end of the run that the change of shares compares.
        edges, num, seed, level: as in `diagnostics.by_scale`.

    Returns:
        One row a sign: sign; value, low, high (reward, advantage in the trainer's units; shares as fractions); bias
        ("above 0" or "below 0": the side it pushes to) and verdict: "present", "the opposite", "not clear" (the
        interval holds 0), "too few boxes" (fewer than two prompts have such boxes).
    """
    sampling = {"edges": edges, "num": num, "seed": seed, "level": level}
    whole = by_scale(rollouts, window=int(rollouts["step"].max() + 1), **sampling).set_index("scale")
    shares = share_change(rollouts, window=window, **sampling).set_index("scale")
    rows = [("mean reward, large minus small boxes", *_reward_gap(rollouts, **sampling), "above 0")]
    for scale, side in {"small": "below 0", "large": "above 0"}.items():
        rows.append((f"mean advantage of {scale} boxes", *_with_ends(whole.loc[scale], "advantage"), side))
    for scale, side in {"small": "below 0", "large": "above 0"}.items():
        rows.append((f"change in the share of {scale} boxes", *_with_ends(shares.loc[scale], "change"), side))
    table = pd.DataFrame(rows, columns=["sign", "value", "low", "high", "bias"])
    return table.assign(verdict=[_verdict(row) for row in table.itertuples()])


def bin_use(rollouts: pd.DataFrame, *, num_bins: int = 3) -> pd.Series:
    """In how many groups SRPO can tell anything that GRPO does not.

    Where all boxes of a group fall into one bin the two are the same, to the last bit; where all rewards are equal both
    are zero. Not in the paper: our choice, because it bounds what a comparison of the arms can show.

    Args:
        rollouts: a rollout table with step, prompt_id, relative_area and reward, whole groups of one size.
        num_bins: K of SRPO.

    Returns:
        groups (count), one_bin, equal_rewards and advantages_differ (shares of the groups).

    Raises:
        ValueError: the groups differ in size.

    Example:
        >>> table = pd.DataFrame({"step": 1, "prompt_id": "a", "relative_area": [0.1, 0.2], "reward": [1.0, 2.0]})
        >>> bin_use(table)[["one_bin", "advantages_differ"]].tolist()
        [1.0, 0.0]
    """
    groups = rollouts.sort_values(["step", "prompt_id"], kind="stable")
    sizes = groups.groupby(["step", "prompt_id"]).size()
    if sizes.nunique() != 1:
        raise ValueError(
            f"Groups of one size are needed; these have {sorted(sizes.unique().tolist())} trajectories."
        )
    size = int(sizes.iloc[0])
    rewards = torch.tensor(groups["reward"].to_numpy(dtype="float32", copy=True))
    areas = torch.tensor(groups["relative_area"].to_numpy(dtype="float32", copy=True))
    bins = scale_bins(areas, num_bins).view(-1, size)
    by_group = rewards.view(-1, size)
    ours, theirs = srpo_advantages(rewards, areas, size, num_bins=num_bins), grpo_advantages(rewards, size)
    shares = {
        "one_bin": bins.amin(1) == bins.amax(1),
        "equal_rewards": by_group.amin(1) == by_group.amax(1),
        "advantages_differ": (ours != theirs).view(-1, size).any(1),
    }
    return pd.Series(
        {"groups": len(sizes)} | {name: float(each.float().mean()) for name, each in shares.items()}
    )


def _reward_gap(
    rollouts: pd.DataFrame, *, edges: tuple[float, float], num: int, seed: int, level: float
) -> tuple[float, float, float]:
    """Mean reward of large minus small boxes, with its interval over prompts."""
    known = rollouts.dropna(subset=["relative_area", "reward"])
    cells = known["relative_area"].map(lambda area: SCALES.index(scale_of(area, edges))).to_numpy(dtype=int)
    prompts = pd.factorize(known["prompt_id"])[0]
    rewards = known["reward"].to_numpy(dtype=float)
    sums, counts = cluster_sums(prompts, cells, rewards, (int(prompts.max()) + 1, len(SCALES)))
    gap = ratio(sums.sum(axis=0), counts.sum(axis=0))
    samples = ratio(*resample(sums, counts, num, seed))
    prompts_behind = num_clusters(counts)[[0, 2]].min(keepdims=True)
    low, high = percentiles((samples[:, 2] - samples[:, 0])[:, None], level, prompts_behind)
    return float(gap[2] - gap[0]), float(low[0]), float(high[0])


def _with_ends(row: pd.Series, name: str) -> tuple[float, float, float]:
    return float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"])


def _verdict(row: object) -> str:
    if pd.isna(row.low) or pd.isna(row.high):
        return UNKNOWN
    above, below = row.low > 0, row.high < 0
    if not (above or below):
        return UNCLEAR
    return PRESENT if above == (row.bias == "above 0") else OPPOSITE
