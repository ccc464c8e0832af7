"""Bootstrap intervals of means and shares, resampling whole clusters.

Rows of one prompt are not independent (a group shares its question, the answers of one grounding share its box), so
prompts are resampled, not rows. Not in the paper: our choice, because resampling rows would make intervals too narrow
by up to the square root of the group size. Two limits of the percentile interval: with few prompts it is too narrow,
and where every prompt has the same value (all answers right) it has no width.

A cell is what is averaged separately (a scale, say). Statistics are ratios of sums, so a resample is a matrix product.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    *,
    num: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    clusters: Sequence[object] | np.ndarray | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean.

    Args:
        values: (n,) numbers, none of them NaN: drop and count missing ones first.
        num: resamples.
        seed: of the resampling; the same seed gives the same interval.
        level: coverage, in (0, 1).
        clusters: (n,) labels; values of one label (one prompt) are drawn together. None: each value by itself.

    Returns:
        (low, high); (nan, nan) with fewer than two clusters, which say nothing about spread.

    Raises:
        ValueError: a NaN among the values, or clusters of another length.

    >>> bootstrap_interval([0.0, 1.0, 0.0, 1.0], clusters=["a", "a", "b", "b"])
    (0.5, 0.5)
    """
    numbers = np.asarray(values, dtype=np.float64)
    missing = int(np.isnan(numbers).sum())
    if missing:
        raise ValueError(
            f"{missing} of {len(numbers)} values are NaN; drop them, and say how many, before bootstrapping."
        )
    if clusters is not None and len(clusters) != len(numbers):
        raise ValueError(f"{len(numbers)} values but {len(clusters)} cluster labels; give one label a value.")
    if not len(numbers):
        return float("nan"), float("nan")
    labels = (
        np.arange(len(numbers)) if clusters is None else pd.factorize(np.asarray(clusters, dtype=object))[0]
    )
    shape = (int(labels.max()) + 1, 1)
    sums, counts = cluster_sums(labels, np.zeros(len(labels), dtype=np.int64), numbers, shape)
    samples = ratio(*resample(sums, counts, num, seed))
    low, high = percentiles(samples, level, num_clusters(counts))
    return float(low[0]), float(high[0])


def cluster_sums(
    clusters: np.ndarray, cells: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of `values` in each cluster and cell.

    Args:
        clusters: (n,) int, 0-based.
        cells: (n,) int, 0-based.
        values: (n,) float.
        shape: (number of clusters, number of cells).

    Returns:
        sums and counts, each of `shape`, float64.
    """
    flat = clusters * shape[1] + cells
    sums = np.bincount(flat, weights=values, minlength=shape[0] * shape[1]).reshape(shape)
    counts = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
    return sums, counts.astype(np.float64)


def resample(sums: np.ndarray, counts: np.ndarray, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts over clusters drawn with replacement, `num` times: each (num, cells).

    The same seed draws the same clusters, so two statistics over the same clusters are resampled together.
    """
    clusters = len(sums)
    draws = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=num)
    weights = draws.astype(np.float64)
    return weights @ sums, weights @ counts


def ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`sums / counts`, NaN where nothing was counted."""
    return np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)


def num_clusters(counts: np.ndarray) -> np.ndarray:
    """How many clusters have members in each cell: (clusters, cells) counts to (cells,) int."""
    return (counts > 0).sum(axis=0)


def percentiles(samples: np.ndarray, level: float, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the central `level` of each column of `samples` (num, cells), NaN ones left out.

    A cell with fewer than two `clusters` (cells,) behind it gets NaN: nothing is known of its spread.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"The level of an interval lies between 0 and 1; {level} does not.")
    known = clusters >= 2
    ends = np.full((2, samples.shape[1]), np.nan)
    if known.any():
        tails = [(1 - level) / 2, (1 + level) / 2]
        ends[:, known] = np.nanquantile(samples[:, known], tails, axis=0)
    return ends[0], ends[1]
