"""Many trajectories in one figure: hits and misses by scale, what was looked at, what was answered. Reached through
`figures`."""

import textwrap
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from groundr1.boxes import Box
from groundr1.diagnostics import SCALES
from groundr1.figure_style import INK, MUTED, finish, in_style, legend_above, new_figure
from groundr1.picture_figures import DASHES, TRUTH_COLOUR, draw_crop, draw_picture, picture_colours

VERDICT_COLOURS: Mapping[str, str] = {
    "hit": "#00785a",
    "miss": "#b3261e",
    "invalid": MUTED,
    "unscored": MUTED,
}
LETTERS = 38  # characters a line below the two pictures of an example
PICTURE_HEIGHT, TEXT_HEIGHT = 1.25, 0.5  # inches


def verdicts_of(predictions: pd.DataFrame) -> pd.Series:
    """What became of each prediction: a key of `VERDICT_COLOURS`.

    A hit is a score (`correct`) above one half. Invalid is what has no answer that could be scored: false in the column
    `valid` where there is one, otherwise null in `answer`. Unscored is what nobody judged: null in `correct`.
    """
    valid = predictions["valid"] if "valid" in predictions else predictions["answer"].notna()
    score = predictions["correct"].to_numpy(dtype=float, na_value=np.nan)
    conditions = [np.isnan(score), ~valid.to_numpy(dtype=bool), score > 0.5]
    names = np.select(conditions, ["unscored", "invalid", "hit"], "miss")
    return pd.Series(names, index=predictions.index, dtype=object)


def boxes_of(prediction: Mapping[str, Any]) -> list[Box | None]:
    """What was shown after each turn but the last: boxes in the image frame, None for the whole picture.

    All of them where the column `boxes` holds them, otherwise the last, in `box`.
    """
    boxes = prediction.get("boxes")
    boxes = [prediction.get("box")] if boxes is None else boxes
    return [None if box is None else Box(*map(float, box)) for box in boxes]


def choose_examples(predictions: pd.DataFrame, *, by: str, per_group: int, seed: int) -> pd.DataFrame:
    """Draw rows of each value of `by` and each verdict by lot: the same for the same seed, in whatever order they come.

    Returns the rows, sorted by value and verdict, with the columns `group` and `verdict` added.
    """
    if predictions["model"].nunique() != 1:
        models = list(predictions["model"].unique())
        raise ValueError(f"A gallery shows predictions of one model; these are of {models or 'none'}.")
    groups = predictions[by] if predictions[by].notna().any() else pd.Series("", index=predictions.index)
    table = predictions.assign(group=groups, verdict=verdicts_of(predictions)).dropna(subset="group")
    table = table.sort_values("prompt_id").sample(frac=1.0, random_state=seed)
    table = table.groupby(["group", "verdict"], sort=False).head(per_group)
    values = [*SCALES, *sorted(set(table["group"]) - set(SCALES))]
    keys = [table["verdict"].map(list(VERDICT_COLOURS).index), table["group"].map(values.index)]
    return table.iloc[np.lexsort(keys)]


def plot_gallery(
    dataset: Dataset, predictions: pd.DataFrame, *, by: str = "scale", per_group: int = 3, seed: int = 0
) -> Figure:
    """Hits and misses of one model, drawn by lot: each picture with true and drawn boxes, its last crop, its answer.

    Stands for the paper's qualitative examples; that they are drawn by lot, misses too, is our choice.

    Args:
        dataset: rows as EXAMPLE_FEATURES.
        predictions: what `evaluation.evaluate` returns for them, of one model; may have the column `valid`.
        by: column whose values, with the verdicts, are the rows of the figure. Predictions without a value are left
            out, unless none has one.
        per_group: examples in a row of the figure, at most.
        seed: of the lot.

    Returns:
        A figure; `table` has a row an example: group, verdict, model, id, question, answer, solution, score, iou,
        relative_area and x1, y1, x2, y2 of the last box that was drawn (image frame; null where there was none).

    Raises:
        ValueError: predictions of several models, or none.
    """
    chosen = choose_examples(predictions, by=by, per_group=per_group, seed=seed)
    rows = list(chosen.groupby(["group", "verdict"], sort=False))
    place = {str(each): index for index, each in enumerate(dataset["id"])}
    records = []
    with in_style():
        figure = new_figure(len(rows) * (PICTURE_HEIGHT + TEXT_HEIGHT) + 0.4, width=2.4 * per_group)
        [[model, colour]] = picture_colours(chosen["model"].unique()).items()
        heights = [PICTURE_HEIGHT, TEXT_HEIGHT] * len(rows)
        shape = {"width_ratios": [1.25, 1.0] * per_group, "height_ratios": heights}
        grid = figure.add_gridspec(2 * len(rows), 2 * per_group, **shape)
        for row, (_, part) in enumerate(rows):
            for column, prediction in enumerate(part.to_dict("records")):
                cells = grid[2 * row, 2 * column], grid[2 * row, 2 * column + 1]
                below = grid[2 * row + 1, 2 * column : 2 * column + 2]
                axes = [figure.add_subplot(cell) for cell in (*cells, below)]
                example = dataset[place[prediction["prompt_id"]]]
                _draw_example(axes, example, prediction, colour, label=column == 0)
                records.append(_record(example, prediction))
        handles = [Line2D([], [], color=TRUTH_COLOUR), Line2D([], [], color=colour, linestyle=DASHES)]
        labels = ["annotated evidence", f"drawn by {model}, cropped beside it"]
        legend_above(figure, handles, labels, handlelength=2.4)
    return finish(figure, pd.DataFrame.from_records(records))


def _draw_example(
    axes: Sequence[Axes],
    example: Mapping[str, Any],
    prediction: Mapping[str, Any],
    colour: str,
    *,
    label: bool,
) -> None:
    """An example's picture, its last crop and the text below; with `label` the row's name at its left."""
    picture, crop, below = axes
    boxes = boxes_of(prediction)
    draw_picture(picture, example, SimpleNamespace(boxes=boxes), colour)
    draw_crop(crop, example, SimpleNamespace(boxes=boxes[-1:]), 0)
    shown = (
        "whole picture"
        if boxes[-1:] == [None]
        else crop.get_title(loc="left").removesuffix(" of the picture")
    )
    crop.set_title(shown, fontweight="normal", fontsize=7)
    tint = VERDICT_COLOURS[prediction["verdict"]]
    if label:
        name = [*textwrap.wrap(prediction["group"], 16, max_lines=1, placeholder="…"), prediction["verdict"]]
        picture.set_ylabel("\n".join(name), color=tint, fontweight="bold")
    lines = textwrap.wrap(example["question"], LETTERS, max_lines=2, placeholder=" …")
    below.set_axis_off()
    # Not in the layout: a line wider than its column would shrink all pictures.
    text = {"va": "top", "fontsize": 7.5, "in_layout": False}
    below.text(0.0, 1.0, "\n".join(lines), linespacing=1.2, color=INK, **text)
    given = prediction["answer"] if isinstance(prediction["answer"], str) else "no answer"
    last = f"→ {_cut(given, 18)} (solution: {_cut(' / '.join(example['solution']), 14)})"
    place = {"textcoords": "offset points", "xytext": (0, -11.0 * len(lines))}
    below.annotate(last, (0.0, 1.0), color=tint, annotation_clip=False, **text, **place)


def _cut(text: str, letters: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= letters else f"{line[: letters - 1]}…"


def _record(example: Mapping[str, Any], prediction: Mapping[str, Any]) -> dict[str, Any]:
    box = next(reversed(boxes_of(prediction)), None)
    names = ("group", "verdict", "model", "answer", "iou", "relative_area")
    record = {name: prediction[name] for name in names} | {"score": prediction["correct"]}
    record |= {"id": prediction["prompt_id"], "question": example["question"]}
    record |= {"solution": " / ".join(example["solution"])}
    return record | (box._asdict() if box else dict.fromkeys(Box._fields))
