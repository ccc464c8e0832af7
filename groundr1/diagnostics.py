"""Scale-driven bias, measured on a rollout table: what small, medium and large evidence earns, how often it
is chosen.

Ground-R1 (arXiv 2505.20272 v3) diagnoses GRPO by the relative area of the evidence region: small below 10 %
of the picture, medium 10 to 30 %, large above 30 %. Tracked over training are mean reward, mean advantage,
share of boxes and grounding IoU per scale. Everything here is numpy on tables; no model is needed. Intervals
resample prompts, see `groundr1.bootstrap`.

    >>> scale_of(0.05), scale_of(0.1), scale_of(0.3), scale_of(1.0)
    ('small', 'medium', 'medium', 'large')
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from groundr1.bootstrap import bootstrap_interval as bootstrap_interval  # part of this module's contract
from groundr1.bootstrap import cluster_sums, num_clusters, percentiles, ratio, resample

SCALES = ("small", "medium", "large")
EDGES = (0.1, 0.3)


def scale_of(relative_area: float, edges: tuple[float, float] = EDGES) -> str:
    """Name the scale of an evidence region.

    Args:
        relative_area: area of the part of the region inside the picture over the picture's area, in [0, 1].
        edges: relative areas between small and medium and between medium and large. Both edges belong to
            medium: the paper's scales are < 10 %, 10-30 %, > 30 %.

    Raises:
        ValueError: an area that is NaN or outside [0, 1], or edges that do not increase within (0, 1).
    """
    area = float(relative_area)
    if np.isnan(area):
        raise ValueError("A relative area of NaN has no scale; leave such rows out, and count them.")
    return SCALES[int(_scale_index(np.array([area]), edges)[0])]


def by_scale(
    rollouts: pd.DataFrame,
    *,
    area: str = "relative_area",
    window: int = 1,
    values: Sequence[str] = ("reward", "advantage", "iou"),
    edges: tuple[float, float] = EDGES,
    num: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Mean reward, advantage, IoU and share of boxes per scale, for each window of training steps.

    Args:
        rollouts: a rollout table: columns step, prompt_id, `area` and `values`; "box" is used if there.
        area: "relative_area" sorts trajectories by the box that was drawn (the paper's diagnosis),
            "true_area" by the evidence that was annotated.
        window: steps in a window, from the first step in the table; a rest of fewer than half a window joins
        the last. values: number columns to average. Rows where one is missing are left out of its mean and
        counted. edges: as in `scale_of`. num: bootstrap resamples of the window's prompts. seed: of the
        resampling. level: coverage of the intervals.

    Returns:
        One row for each window and scale, in order, with the columns
        step, last_step (of the window), scale;
        count (rows), num_prompts (prompts among them), no_box (rows among them that drew no box, so that the
        whole picture, area 1, is their evidence; null without a column "box"), missing_area (rows of the
        window without an area: in no scale and in no share); share (of the window's rows that have an area),
        share_low, share_high; and for each value its mean (NaN where no row has it), <value>_low,
        <value>_high and <value>_count (rows that have it).

    Raises:
        ValueError: a column is missing, a prompt_id is null, an area lies outside [0, 1].
    """
    _require(rollouts, ["step", "prompt_id", area, *values], "rollout table")
    if window < 1:
        raise ValueError(f"A window is at least one step; window={window} is not.")
    if rollouts.empty:
        raise ValueError("The rollout table has no rows; the run it is from has not made a step.")
    steps = rollouts["step"].to_numpy(dtype=np.int64)
    last = max(1, round((steps.max() - steps.min() + 1) / window)) - 1
    index = np.minimum((steps - steps.min()) // window, last)
    tables = []
    for number in np.unique(index):
        part = rollouts[index == number]
        span = {"step": int(part["step"].min()), "last_step": int(part["step"].max())}
        scales, prompts = _scales_and_prompts(part, area, edges)
        table = _window_counts(part, scales, prompts)
        sampling = {"num": num, "seed": seed + int(number), "level": level}
        table |= _mean_with_interval("share", *_share_sums(scales, prompts), **sampling)
        for name in values:
            table |= _mean_by_cell(name, part[name], scales, prompts, **sampling)
        tables.append(pd.DataFrame({**span, **table}))
    return pd.concat(tables, ignore_index=True)


def share_change(
    rollouts: pd.DataFrame,
    *,
    window: int = 20,
    area: str = "relative_area",
    edges: tuple[float, float] = EDGES,
    num: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Share of boxes per scale in the first and in the last `window` steps of a run, and the change.

    Arguments as in `by_scale`; a run shorter than two windows is cut in half.

    Returns:
        One row a scale: scale, start, start_low, start_high, end, end_low, end_high, change, change_low,
        change_high; shares are fractions. The change's interval resamples the prompts of both windows
        independently.
    """
    _require(rollouts, ["step", "prompt_id", area], "rollout table")
    steps = rollouts["step"].to_numpy(dtype=np.int64)
    if len(np.unique(steps)) < 2:
        raise ValueError("The change of shares needs rollouts of at least two steps.")
    window = min(window, int(steps.max() - steps.min() + 1) // 2)
    parts = {"start": rollouts[steps < steps.min() + window], "end": rollouts[steps > steps.max() - window]}
    columns: dict[str, object] = {"scale": list(SCALES)}
    means, samples, clusters = [], [], []
    for name, part in parts.items():
        sums, counts = _share_sums(*_scales_and_prompts(part, area, edges))
        sampling_seed = seed + len(means)
        columns |= _mean_with_interval(name, sums, counts, num=num, seed=sampling_seed, level=level)
        means.append(ratio(sums.sum(axis=0), counts.sum(axis=0)))
        samples.append(ratio(*resample(sums, counts, num, sampling_seed)))
        clusters.append(num_clusters(counts))
    low, high = percentiles(samples[1] - samples[0], level, np.minimum(*clusters))
    return pd.DataFrame({**columns, "change": means[1] - means[0], "change_low": low, "change_high": high})


def accuracy_by_scale(
    table: pd.DataFrame,
    *,
    edges: tuple[float, float] = EDGES,
    num: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Answer accuracy and IoU of each model per scale of the annotated evidence, and over all of it.

    Args:
        table: one row an example and model: columns model, prompt_id, correct (0/1 or a score in [0, 1]),
            true_area (relative area of the annotated evidence; null: only in "all"), and iou if there is one.
        edges, num, seed, level: as in `by_scale`. Examples are resampled; the models of one table share the
        draws.

    Returns:
        One row for each model (in order of appearance) and small, medium, large, all: model, scale, count
        (rows), accuracy, accuracy_low, accuracy_high, accuracy_count (rows where `correct` is known), and
        likewise iou.
    """
    _require(table, ["model", "prompt_id", "correct", "true_area"], "evaluation table")
    tables = []
    for model in table["model"].unique():
        part = table[table["model"] == model]
        scales, prompts = _scales_and_prompts(part, "true_area", edges)
        cells, rows = _with_all(scales)
        columns: dict[str, object] = {"model": model, "scale": [*SCALES, "all"]}
        columns["count"] = np.bincount(cells[cells >= 0], minlength=len(SCALES) + 1)
        for name, source in {"accuracy": "correct", "iou": "iou"}.items():
            if source in part:
                column = part[source].iloc[rows]
                columns |= _mean_by_cell(name, column, cells, prompts[rows], num=num, seed=seed, level=level)
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def paired_differences(
    table: pd.DataFrame,
    *,
    baseline: str,
    value: str = "correct",
    edges: tuple[float, float] = EDGES,
    num: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """How much each other model is above `baseline` on the same examples, per scale of the annotated
    evidence.

    Args:
        table: as in `accuracy_by_scale`; several rows of a model and prompt_id are averaged first.
        baseline: the model to compare with.
        value: the column to compare, "correct" or "iou".
        edges, num, seed, level: as in `by_scale`. Examples are resampled.

    Returns:
        One row for each other model and small, medium, large, all: model, baseline, scale, count (examples
        that both have), unpaired (examples that only one has a value for; they are left out), difference,
        difference_low, difference_high. An interval without 0 in it: the models differ there.
    """
    _require(table, ["model", "prompt_id", value, "true_area"], "evaluation table")
    models = list(table["model"].unique())
    if baseline not in models:
        raise ValueError(f"The evaluation table has no model {baseline!r} to compare with; it has {models}.")
    numbers = table.assign(**{value: table[value].to_numpy(dtype=np.float64, na_value=np.nan)})
    scores = numbers.pivot_table(index="prompt_id", columns="model", values=value, aggfunc="mean", sort=False)
    scores = scores.reindex(columns=models)
    areas = table.drop_duplicates("prompt_id").set_index("prompt_id")["true_area"].reindex(scores.index)
    cells, rows = _with_all(_scale_index(areas.to_numpy(dtype=np.float64, na_value=np.nan), edges))
    tables = []
    for model in models:
        if model == baseline:
            continue
        difference = (scores[model] - scores[baseline]).iloc[rows]
        either = scores[[model, baseline]].notna().any(axis=1).to_numpy()[rows] & (cells >= 0)
        statistics = _mean_by_cell("difference", difference, cells, rows, num=num, seed=seed, level=level)
        count = statistics.pop("difference_count")
        unpaired = np.bincount(cells[either], minlength=len(SCALES) + 1) - count
        scale = {"scale": [*SCALES, "all"], "count": count, "unpaired": unpaired}
        tables.append(pd.DataFrame({"model": model, "baseline": baseline, **scale, **statistics}))
    if not tables:
        raise ValueError(f"The evaluation table has no other model than {baseline!r} to compare.")
    return pd.concat(tables, ignore_index=True)


def _require(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(f"The {what} lacks the columns {missing}; it has {list(table.columns)}.")
    nameless = int(table["prompt_id"].isna().sum())
    if nameless:
        raise ValueError(
            f"The {what} has {nameless} rows without a prompt_id, which cannot be put with their prompt."
        )


def _scale_index(areas: np.ndarray, edges: tuple[float, float]) -> np.ndarray:
    """(n,) int: 0 small, 1 medium, 2 large, -1 where the area is NaN."""
    if not 0.0 < edges[0] < edges[1] < 1.0:
        raise ValueError(f"The edges between scales increase within (0, 1); {edges} do not.")
    outside = areas[(areas < 0.0) | (areas > 1.0)]
    if outside.size:
        raise ValueError(
            f"A relative area lies in [0, 1]; {outside[0]} does not. It is a fraction, not per cent."
        )
    index = (areas >= edges[0]).astype(np.int64) + (areas > edges[1])
    return np.where(np.isnan(areas), -1, index)


def _scales_and_prompts(
    part: pd.DataFrame, area: str, edges: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    areas = part[area].to_numpy(dtype=np.float64, na_value=np.nan)
    return _scale_index(areas, edges), pd.factorize(part["prompt_id"])[0]


def _with_all(scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells and row numbers (2n,) in which every row counts for its scale and once more for "all"."""
    rows = np.arange(len(scales))
    return np.concatenate([scales, np.full(len(scales), len(SCALES))]), np.concatenate([rows, rows])


def _share_sums(scales: np.ndarray, prompts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per prompt: rows in each scale, and rows in any scale, each (prompts, scales)."""
    known = scales >= 0
    shape = (int(prompts.max()) + 1, len(SCALES))
    _, members = cluster_sums(prompts[known], scales[known], np.ones(int(known.sum())), shape)
    return members, np.repeat(members.sum(axis=1, keepdims=True), len(SCALES), axis=1)


def _window_counts(part: pd.DataFrame, scales: np.ndarray, prompts: np.ndarray) -> dict[str, object]:
    members, _ = _share_sums(scales, prompts)
    no_box: object = pd.NA
    if "box" in part:
        boxless = scales[(scales >= 0) & part["box"].isna().to_numpy()]
        no_box = np.bincount(boxless, minlength=len(SCALES))
    return {
        "scale": list(SCALES),
        "count": members.sum(axis=0).astype(np.int64),
        "num_prompts": (members > 0).sum(axis=0),
        "no_box": no_box,
        "missing_area": int((scales < 0).sum()),
    }


def _mean_by_cell(
    name: str, column: pd.Series, cells: np.ndarray, prompts: np.ndarray, *, num: int, seed: int, level: float
) -> dict[str, np.ndarray]:
    """Mean, interval and count of the numbers in `column` for each cell; rows of cell -1 and missing ones
    left out."""
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    used = (cells >= 0) & ~np.isnan(numbers)
    # Scales always have a cell each, even where nothing falls into one.
    shape = (int(prompts.max()) + 1, max(len(SCALES), int(cells.max()) + 1))
    sums, counts = cluster_sums(prompts[used], cells[used], numbers[used], shape)
    statistics = _mean_with_interval(name, sums, counts, num=num, seed=seed, level=level)
    return {**statistics, f"{name}_count": counts.sum(axis=0).astype(np.int64)}


def _mean_with_interval(
    name: str, sums: np.ndarray, counts: np.ndarray, *, num: int, seed: int, level: float
) -> dict[str, np.ndarray]:
    low, high = percentiles(ratio(*resample(sums, counts, num, seed)), level, num_clusters(counts))
    return {name: ratio(sums.sum(axis=0), counts.sum(axis=0)), f"{name}_low": low, f"{name}_high": high}
