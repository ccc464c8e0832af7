"""Balanced sampling: as many questions with small evidence as with medium and with large.

The data sets are lopsided, each in its own way (documents small, spatial relations large), and what a model sees most
of it learns first. Not in the paper: our choice, to tell a bias of the method from one of the data. Scales are those
of its diagnosis: small below 10 % of the picture, medium 10 to 30 %, large above 30 %.

>>> balanced = balance_by_scale(dataset, num=3000, seed=0)                                   # doctest: +SKIP
>>> plot_scale_distribution(scale_distribution(dataset), scale_distribution(balanced))       # doctest: +SKIP
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from datasets import Image as ImageFeature

from groundr1.boxes import Box, relative_area
from groundr1.data.upright import upright_size

__all__ = ["EDGES", "SCALES", "balance_by_scale", "evidence_areas", "scale_distribution"]

logger = logging.getLogger(__name__)

SCALES = ("small", "medium", "large")
EDGES = (0.1, 0.3)  # as groundr1.diagnostics has them, which data may not import
NOT_ANNOTATED = "not annotated"
BATCH = 256  # rows at once: they may hold pictures


def balance_by_scale(
    dataset: Dataset,
    *,
    num: int | None = None,
    seed: int = 0,
    edges: tuple[float, float] = EDGES,
    areas: np.ndarray | None = None,
) -> Dataset:
    """Sample a data set so that small, medium and large evidence have the same share.

    The evidence of a row is the hull of its boxes. Rows without a box have no scale and are left out; a scale without
    any row is left out too. Both are logged.

    Args:
        dataset: rows in the form of `EXAMPLE_FEATURES`.
        num: rows to give, the scales' numbers differing by one at most. A row comes a second time only when all of its
            scale have come once, and so on. None: as many as there are without a repetition, which is the number of
            the rarest scale for each.
        seed: of the choice and of the order.
        edges: relative areas between small and medium, and medium and large; both belong to medium.
        areas: what `evidence_areas` returns for this data set, if it is known.

    Returns:
        The chosen rows in random order, by index into `dataset`: nothing is copied. Rows that come repeatedly keep
        their id.

    Raises:
        ValueError: no row is annotated, `num` is below 1, or the edges do not increase within (0, 1).
    """
    if num is not None and num < 1:
        raise ValueError(
            f"num={num} must be 1 or more, or None for all that can be had without a repetition."
        )
    scales = _scales(evidence_areas(dataset) if areas is None else areas, edges)
    rows_of = {name: np.flatnonzero(scales == index) for index, name in enumerate(SCALES)}
    present = {name: rows for name, rows in rows_of.items() if len(rows)}
    if not present:
        raise ValueError(
            f"None of the {len(dataset)} rows has a box, so there are no scales to balance; give annotated data."
        )
    if num is None:
        wanted = [min(map(len, present.values()))] * len(present)
    else:
        wanted = [num // len(present) + (place < num % len(present)) for place in range(len(present))]
    rng = np.random.default_rng(seed)
    chosen = [_draw(rng, rows, count) for rows, count in zip(present.values(), wanted, strict=True)]
    repeated = sum(max(0, count - len(rows)) for rows, count in zip(present.values(), wanted, strict=True))
    logger.info(
        "balanced by scale: %d of %d rows, %d of them repetitions; %d without a box left out; before: %s",
        sum(wanted), len(dataset), repeated, int((scales < 0).sum()),
        ", ".join(f"{name} {len(rows)}" for name, rows in rows_of.items()),
    )  # fmt: skip
    if len(present) < len(SCALES):
        logger.warning("no evidence is %s; balanced without", " or ".join(sorted(set(SCALES) - set(present))))
    return dataset.select(rng.permutation(np.concatenate(chosen)).tolist())


def scale_distribution(
    dataset: Dataset, *, edges: tuple[float, float] = EDGES, areas: np.ndarray | None = None
) -> pd.DataFrame:
    """How many rows have small, medium and large evidence, and how many none annotated.

    Args:
        dataset, edges, areas: as in `balance_by_scale`.

    Returns:
        Four rows, with the columns scale ("small", "medium", "large", "not annotated"), count, and share (of the
        annotated rows, in [0, 1]; NaN for "not annotated" and where there are none).
    """
    scales = _scales(evidence_areas(dataset) if areas is None else areas, edges)
    counts = np.array([(scales == index).sum() for index in range(len(SCALES))])
    shares = counts / counts.sum() if counts.sum() else np.full(len(SCALES), np.nan)
    return pd.DataFrame(
        {
            "scale": [*SCALES, NOT_ANNOTATED],
            "count": [*counts, int((scales < 0).sum())],
            "share": [*shares, np.nan],
        }
    )


def evidence_areas(dataset: Dataset, sizes: np.ndarray | None = None) -> np.ndarray:
    """Relative area of the evidence of every row: (num,) float64 in [0, 1], NaN without a box.

    The hull of a row's boxes over the picture.

    Args:
        dataset: rows in the form of `EXAMPLE_FEATURES`.
        sizes: (num, 2), width and height of the upright pictures, if they are known; else those of rows with boxes are
            read from the headers, on all cores.

    Raises:
        ValueError: a column is missing, or a picture's header cannot be read.
    """
    if missing := {"image", "boxes"} - set(dataset.column_names):
        raise ValueError(
            f"The data set has no column {', '.join(sorted(missing))}; make it by a reader of groundr1.data."
        )
    if sizes is not None:
        return np.array(list(map(_area, dataset["boxes"], sizes.tolist())), dtype=np.float64)
    rows = dataset.select_columns(["image", "boxes"])
    if isinstance(dataset.features["image"], ImageFeature):
        rows = rows.cast_column("image", ImageFeature(decode=False))
    areas: list[float] = []
    with ThreadPoolExecutor(thread_name_prefix="headers") as pool:
        for batch in rows.iter(batch_size=BATCH):
            areas += map(_area, batch["boxes"], pool.map(_size, batch["image"], batch["boxes"]))
    return np.array(areas, dtype=np.float64)


def _area(boxes: Sequence[Sequence[float]], size: Sequence[int] | None) -> float:
    if not boxes:
        return float("nan")
    x1, y1, x2, y2 = np.array(boxes, dtype=np.float64).T
    hull = Box(float(x1.min()), float(y1.min()), float(x2.max()), float(y2.max()))
    return relative_area(hull, (size[0], size[1]))


def _size(image: Mapping[str, Any], boxes: Sequence[Sequence[float]]) -> tuple[int, int] | None:
    """(width, height) of the upright picture, which is the frame of the boxes; None where there are none."""
    if not boxes:
        return None
    try:
        return upright_size(image["path"] if image["bytes"] is None else image["bytes"])
    except OSError as error:
        raise ValueError(
            f"The picture {image['path'] or 'in the encoded bytes'} cannot be read ({error}); read the data set anew."
        ) from error


def _scales(areas: np.ndarray, edges: tuple[float, float]) -> np.ndarray:
    """(num,) int: 0 small, 1 medium, 2 large, -1 where the area is NaN."""
    if not 0.0 < edges[0] < edges[1] < 1.0:
        raise ValueError(f"edges={edges} must increase within (0, 1).")
    return np.where(np.isnan(areas), -1, (areas >= edges[0]).astype(np.int64) + (areas > edges[1]))


def _draw(rng: np.random.Generator, rows: np.ndarray, num: int) -> np.ndarray:
    """`num` of `rows`: all of them as often as they go in whole, then some of them, each once."""
    return np.concatenate([np.repeat(rows, num // len(rows)), rng.permutation(rows)[: num % len(rows)]])
