"""Sums over questions made into scores: over everything, in each group, and in resamples for their intervals."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from groundr1.evaluation.intervals import cluster_sums, intervals
from groundr1.evaluation.scorer import Cells, Scorer

__all__ = ["Tally"]

# Where a score belongs: (name,) over everything, (group, value, name) in a group.
Place = tuple[str, ...]


class Tally:
    """What the questions of a table add up to under a scorer.

    Attributes:
        scores: name -> score over everything; None where it is not defined.
        groups: group -> value -> count, invalid and scores.
        intervals: score ("accuracy", "category/random/accuracy") -> [low, high], once `resample` was called; none of
            undefined scores.
    """

    def __init__(self, scorer: Scorer, table: pd.DataFrame, parser: str):
        # In an order of its own: floats add up differently in another, and the order of the rows must not matter.
        table = table.sort_values(["cluster", "id"], ignore_index=True)
        self._scorer, self._table = scorer, table
        self._cells, self._inside = _cells(table, scorer.groups)
        added = scorer.sums(table, parser)
        self._names = list(added)
        # What each question adds to each sum of each cell: (questions, cells, sums).
        self._sums = self._inside[:, :, None] * np.stack(list(added.values()), axis=1)[:, None, :]
        self._scores = {
            place: _number(values[0]) for place, values in self._evaluate(self._sums.sum(axis=0)).items()
        }
        self.scores = {place[0]: value for place, value in self._scores.items() if len(place) == 1}
        self.groups = self._groups()
        self.intervals: dict[str, list[float | None]] = {}

    def resample(self, num: int, seed: int) -> None:
        """Fill `intervals` from `num` resamples of the clusters."""
        clusters = self._table["cluster"]
        present = (cluster_sums(self._inside, clusters) > 0).sum(
            axis=0
        )  # clusters that each cell has something of
        members = [present[self._cells.index[place[:-1]] if place[:-1] else 0] for place in self._scores]
        ends = intervals(
            self._sums.reshape(len(self._sums), -1),
            clusters,
            lambda sums: np.stack(list(self._evaluate(sums).values()), axis=1),
            members,
            num=num,
            seed=seed,
        )
        self.intervals = {
            "/".join(place): [_number(low), _number(high)]
            for (place, score), (low, high) in zip(self._scores.items(), ends, strict=True)
            if score is not None
        }

    def _evaluate(self, sums: np.ndarray) -> dict[Place, np.ndarray]:
        """Every score of sums (resamples, cells * sums): (resamples,) each, NaN in a cell without questions."""
        by_name = np.moveaxis(sums.reshape(-1, *self._sums.shape[1:]), -1, 0)
        named = dict(zip(self._names, by_name, strict=True))
        scores = {
            name: np.where(named["count"] > 0, values, np.nan)
            for name, values in self._scorer.scores(named).items()
        }
        flat: dict[Place, np.ndarray] = {
            (name,): values for name, values in self._scorer.totals(scores, self._cells).items()
        }
        for cell, place in self._cells.index.items():
            flat |= {(*cell, name): values[..., place] for name, values in scores.items()}
        return flat

    def _groups(self) -> dict[str, dict[str, dict[str, Any]]]:
        invalid = ~self._table["valid"].to_numpy()
        groups: dict[str, dict[str, dict[str, Any]]] = {}
        for (group, value), place in self._cells.index.items():
            inside = self._inside[:, place] > 0
            counts = {"count": int(inside.sum()), "invalid": int((inside & invalid).sum())}
            groups.setdefault(group, {})[value] = counts
        for place, score in self._scores.items():
            if len(place) == 3:
                groups[place[0]][place[1]][place[2]] = score
        return groups


def _cells(table: pd.DataFrame, groups: Sequence[str]) -> tuple[Cells, np.ndarray]:
    """The cells, and which questions are in each: (n, cells) float64, the first cell being everything."""
    columns, index = [np.ones(len(table))], {}
    for group in groups:
        values = table[group].explode()  # a question may need several capabilities
        for value in sorted(values.unique()):
            index[group, str(value)] = len(columns)
            column = np.zeros(len(table))
            column[values.index[values == value]] = 1.0
            columns.append(column)
    return Cells(index), np.stack(columns, axis=1)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
