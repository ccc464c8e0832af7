"""Cluster-bootstrap intervals of scores that are functions of sums: shares, F1, MME's points, means over sets.

Questions on one picture, the rotations of one question and the expressions for one object are not independent, so
whole clusters are resampled (as `groundr1.bootstrap` does with prompts). A score looks at its sums only, so clusters
that add the same to all of them are of one kind, and it is enough to know how many of each kind were drawn: as exact
as carrying the clusters, and cheap where answers are right or wrong and kinds few.

>>> right_and_count = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
>>> share = lambda sums: 100 * sums[:, :1] / sums[:, 1:]
>>> intervals(right_and_count, ["a", "a", "b", "c"], share, members=[3]).round(1)
array([[  0., 100.]])
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from groundr1.bootstrap import percentiles

__all__ = ["cluster_sums", "intervals", "resampled_sums"]

DRAWS_AT_ONCE = 4_000_000  # counts drawn before they are multiplied out: 64 MB


def intervals(
    sums: np.ndarray,
    clusters: Sequence[object],
    statistics: Callable[[np.ndarray], np.ndarray],
    members: Sequence[int],
    *,
    num: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> np.ndarray:
    """Percentile intervals of statistics of sums over clusters.

    Args:
        sums: (n, k) what each question adds to each of k sums.
        clusters: (n,) label of each question's cluster.
        statistics: (num, k) sums to (num, s) scores, NaN where a score is not defined.
        members: (s,) number of clusters behind each score.
        num: resamples.
        seed: of the resampling; the order of the questions does not matter.
        level: coverage, in (0, 1).

    Returns:
        (s, 2) lower and upper ends; NaN for a score with fewer than two clusters behind it, which say nothing about
        spread, and where no resample defined the score.
    """
    samples = statistics(resampled_sums(cluster_sums(sums, clusters), num, seed))
    behind = np.where(np.isnan(samples).all(axis=0), 0, members)
    return np.stack(percentiles(samples, level, behind), axis=1)


def cluster_sums(sums: np.ndarray, clusters: Sequence[object]) -> np.ndarray:
    """Add up the rows of `sums` (n, k) in each cluster: (clusters, k)."""
    labels, names = pd.factorize(np.asarray(clusters, dtype=object))
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(len(names)))
    return np.add.reduceat(np.asarray(sums, dtype=np.float64)[order], starts, axis=0)


def resampled_sums(sums: np.ndarray, num: int, seed: int) -> np.ndarray:
    """Sums over as many clusters as there are, drawn with replacement, `num` times: (clusters, k) to (num, k)."""
    kinds, counts = _kinds(sums)
    kind_of = np.repeat(np.arange(len(kinds)), counts)  # of each cluster, whatever their order was
    generator = np.random.default_rng(seed)
    chunks = []
    at_once = max(1, DRAWS_AT_ONCE // len(kinds))
    for start in range(0, num, at_once):
        drawn = [
            np.bincount(kind_of[generator.integers(len(sums), size=len(sums))], minlength=len(kinds))
            for _ in range(min(at_once, num - start))
        ]
        chunks.append(np.asarray(drawn, dtype=np.float64) @ kinds)
    return np.concatenate(chunks)


def _kinds(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows, and how often each occurs. Rows are compared as bytes, which is fast however many columns."""
    rows = np.ascontiguousarray(sums)
    as_bytes = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, counts = np.unique(as_bytes, return_index=True, return_counts=True)
    return rows[first], counts
