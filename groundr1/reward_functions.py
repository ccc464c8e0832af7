"""The rewards of `groundr1.rewards` in the form in which TRL calls reward functions.

A reward function takes, by keyword and one entry a trajectory: `prompts`, `completions`, `completion_ids`,
the columns of the data set, and from our rollouts `trajectory`. It returns one float each.
"""

from collections.abc import Sequence
from typing import Any

from groundr1.rewards import answer_reward, format_reward
from groundr1.trajectory import Trajectory


def format_reward_func(trajectory: Sequence[Trajectory], **_: Any) -> list[float]:
    """`groundr1.rewards.format_reward` as TRL calls reward functions; in [0, 1]."""
    return [format_reward(one.turns) for one in trajectory]


def answer_reward_func(
    trajectory: Sequence[Trajectory], solution: Sequence[str | Sequence[str]], kind: Sequence[str], **_: Any
) -> list[float]:
    """`groundr1.rewards.answer_reward` as TRL calls reward functions; in [0, 1]."""
    rows = zip(trajectory, solution, kind, strict=True)
    return [answer_reward(one.answer, right, how) for one, right, how in rows]
