"""What a benchmark's scorer is made of: sums over questions, and the scores that are functions of them.

Every score is a function of sums, so the same few lines give the score itself, the score in each group and, from
resampled sums, its interval.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from groundr1.bootstrap import ratio

__all__ = ["Cells", "Scorer", "Scores", "Sums", "missing", "per_cent", "together"]

Sums = Mapping[str, np.ndarray]
Scores = dict[str, np.ndarray]


class Cells(NamedTuple):
    """What scores are computed of: everything (index 0), then each group; `index` maps (group, value) to its place."""

    index: Mapping[tuple[str, str], int]

    def mean(self, values: np.ndarray, group: str, names: Sequence[str]) -> np.ndarray:
        """Mean of `values` (..., cells) over groups, each counting as much; NaN if one of them is missing."""
        return self.total(values, group, names) / len(names)

    def total(self, values: np.ndarray, group: str, names: Sequence[str]) -> np.ndarray:
        """Sum of `values` (..., cells) over groups; NaN if one of them is missing."""
        if any((group, name) not in self.index for name in names):
            return np.full(values.shape[:-1], np.nan)
        return values[..., [self.index[group, name] for name in names]].sum(axis=-1)

    def present(self, group: str) -> list[str]:
        """The groups of a kind that occur."""
        return [value for kind, value in self.index if kind == group]


class Scorer(NamedTuple):
    """How a benchmark is scored.

    Attributes:
        sums: (table, parser) to what each row of `score_rows` adds, named, (n,) each; "count" among them.
        scores: sums, named and of any one shape, to named scores of that shape.
        headline: what is quoted.
        groups: columns of the table by whose values the scores are given too.
        totals: scores (..., cells) and cells to the scores over everything (...,), where these are not simply the
            scores of all rows together.
        extras: table to what else the result states.
        unit: of every score.
    """

    sums: Callable[[pd.DataFrame, str], Scores]
    scores: Callable[[Sums], Scores]
    headline: tuple[str, ...]
    groups: tuple[str, ...] = ()
    totals: Callable[[Scores, Cells], Scores] = lambda scores, cells: together(scores)
    extras: Callable[[pd.DataFrame], dict[str, Any]] = lambda table: {}
    unit: str = "per cent"


def together(scores: Scores) -> Scores:
    """The scores of all questions together, from those of all cells."""
    return {name: values[..., 0] for name, values in scores.items()}


def per_cent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part` of `whole` in per cent, NaN of nothing."""
    return ratio(100.0 * part, whole)  # in this order 58 of 100 are 58 and not 57.99999999999999


def missing(table: pd.DataFrame, group: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Which of the groups that a mean or sum wants have no question in the table."""
    return {"missing": [name for name in names if not (table[group] == name).any()]}
