"""Figures with pictures in them: scenes with their evidence, and what a model looked at. Reached through
`figures`."""

import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from groundr1.boxes import Box, relative_area
from groundr1.data.picture_check import to_rgb
from groundr1.data.validation.ledger import Parts
from groundr1.data.validation.report import BAD, STATED, drawn_row, no_picture, worst_rows
from groundr1.diagnostics import scale_of
from groundr1.figure_style import (
    INK,
    MUTED,
    SCALE_COLOURS,
    colours_of,
    finish,
    in_style,
    legend_above,
    new_figure,
)

TRUTH_COLOUR = "#009e73"
DASHES = (0, (3, 1.5))
TEXT_WIDTH, MAX_LINES = 46, 9  # characters a line and lines a turn beside a picture
LINE = 0.145  # inches a line of text takes
FOLDERS = re.compile(r"(?<![\w:/])/(?:[^\s/]+/)+")
NO_PICTURE = "#f1f3f5"
MAX_SIDE = 1600  # pixels of a picture that are drawn; at 200 dots an inch more than a page is wide


def plot_scenes(examples: Sequence[Any], *, columns: int = 4) -> Figure:
    """Pictures with their annotated evidence, each with its question and answer below.

    No counterpart in the paper: our choice, to see the data before training on it.

    Args:
        examples: `data.Example`s or rows of a dataset with EXAMPLE_FEATURES: image, question, solution, boxes
            (image frame, pixels). Box colours tell the scale of the evidence.
        columns: pictures in a row.

    Returns:
        A figure; `table` has a row a box: id, source, question, solution, x1, y1, x2, y2, relative_area.
    """
    if not len(examples):
        raise ValueError("There are no examples to draw.")
    columns = min(columns, len(examples))
    rows = -(-len(examples) // columns)
    records: list[dict[str, Any]] = []
    with in_style():
        figure = new_figure(rows * 2.2 + 0.3, width=1.8 * columns)
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for number, axes in enumerate(panels):
            if number >= len(examples):
                axes.set_axis_off()
                continue
            records += _draw_example(axes, examples[number])
        drawn = pd.DataFrame.from_records(records)
        scales = [scale for scale in SCALE_COLOURS if scale in set(drawn["scale"])]
        handles = [Patch(facecolor="none", edgecolor=SCALE_COLOURS[scale], linewidth=1.8) for scale in scales]
        legend_above(figure, handles, [f"{scale} evidence" for scale in scales])
    return finish(figure, drawn.drop(columns="scale"))


def plot_worst(folder: str | Path, *, num: int = 10, columns: int = 5) -> Figure:
    """Rows of a validation that are worst, with their boxes, what is wrong and where they stand.

    No counterpart in the paper: our choice, because a table of reasons does not show what a wrong frame looks like.

    Args:
        folder: of the validation (`Validation.folder`).
        num: rows to draw: one of each kind of fault, the rarest first, then a second; boxes farthest outside first.
        columns: rows of the data beside each other.

    Returns:
        A figure; `table` has the columns file, line, id, source, kind, reason.

    Raises:
        ValueError: nothing is wrong with any row.
    """
    rows = worst_rows(Parts(Path(folder)))[:num]
    if not rows:
        raise ValueError(f"Nothing is wrong with the rows of {folder}; there is nothing to draw.")
    columns = min(columns, len(rows))
    with in_style():
        figure = new_figure(-(-len(rows) // columns) * 2.5 + 0.3, width=max(1.9 * columns, 4.8))
        panels = figure.subplots(-(-len(rows) // columns), columns, squeeze=False).flat
        for number, axes in enumerate(panels):
            if number >= len(rows):
                axes.set_axis_off()
                continue
            _draw_worst(axes, rows[number])
        handles = [Patch(facecolor="none", edgecolor=colour, linewidth=1.8) for colour in (STATED, BAD)]
        legend_above(figure, handles, ["box as stated", "box that cannot be used"])
    names = ["file", "line", "id", "source", "kind", "reason"]
    return finish(figure, pd.DataFrame(rows)[names])


def plot_trajectory(example: Any, trajectory: Any, *, title: str | None = None) -> Figure:
    """What a model looked at and said: the picture with true and drawn boxes, each crop it was shown, its
    turns.

    Stands for the paper's qualitative examples.

    Args:
        example: as in `plot_scenes`.
        trajectory: a `rollout.Trajectory` (turns, boxes in the image frame, answer), or a mapping from names
            to several, such as {"base": ..., "SRPO": ...}: a row each.
        title: above the figure; the question when not given.

    Returns:
        A figure; `table` has a row a turn: name, turn, text, x1, y1, x2, y2 (the box shown after it), answer,
        solution. Boxes in the texts are in the view frame, as the model writes them; the drawn ones are in
        the image frame.
    """
    named = trajectory if isinstance(trajectory, Mapping) else {"": trajectory}
    texts = [_conversation(example, each) for each in named.values()]
    num_crops = max(1, *(len(each.boxes) for each in named.values()))
    height = max(1.75, *(LINE * (sum(len(lines) for lines, _ in text) + len(text)) for text in texts))
    colours = picture_colours(name or "SRPO" for name in named)
    with in_style():
        figure = new_figure((height + 0.2) * len(named) + 0.6, width=max(7.2, 1.9 * (num_crops + 1) + 3.2))
        heading = textwrap.fill(title or value_of(example, "question"), int(12 * figure.get_figwidth()))
        figure.suptitle(heading, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        widths = [1.0] * (num_crops + 1) + [1.7]
        grid = figure.subplots(len(named), num_crops + 2, squeeze=False, width_ratios=widths)
        for row, ((name, each), text) in enumerate(zip(named.items(), texts, strict=True)):
            colour = colours[name or "SRPO"]
            draw_picture(grid[row, 0], example, each, colour)
            grid[row, 0].set_title(name or "picture", color=colour if name else INK)
            for crop in range(num_crops):
                draw_crop(grid[row, crop + 1], example, each, crop)
            _write_turns(grid[row, -1], text, height)
        truth = Line2D([], [], color=TRUTH_COLOUR)
        drawn = Line2D([], [], color=INK if len(named) > 1 else colour, linestyle=DASHES)
        labels = ["annotated evidence", "box the model drew"]
        figure.legend([truth, drawn], labels, loc="outside lower left", ncols=2, handlelength=2.4)
    return finish(figure, _turn_table(example, named))


def picture_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each model's boxes, as in bars; but the grey of the base would be lost on a picture."""
    return {name: INK if name == "base" else colour for name, colour in colours_of(names).items()}


def value_of(example: Any, name: str) -> Any:
    """A value of an `Example`, or of the row of a data set."""
    return example[name] if isinstance(example, Mapping) else getattr(example, name)


def _draw_example(axes: Axes, example: Any) -> list[dict[str, Any]]:
    image, records = value_of(example, "image"), []
    _show(axes, image)
    about = {name: value_of(example, name) for name in ("id", "source", "question")}
    about["solution"] = " / ".join(value_of(example, "solution"))
    for box in [Box(*corners) for corners in value_of(example, "boxes")]:
        area_relative = relative_area(box, image.size)
        scale = scale_of(area_relative)
        _outline(axes, box, SCALE_COLOURS[scale])
        records.append({**about, **box._asdict(), "relative_area": area_relative, "scale": scale})
    lines = textwrap.wrap(about["question"], 30, max_lines=2, placeholder=" …")
    size = f" ({_per_cent(records[0]['relative_area'])})" if len(records) == 1 else ""
    lines.append(f"→ {textwrap.shorten(about['solution'], 22, placeholder='…')}{size}")
    # Three lines for every picture, so that those of a row stay aligned.
    axes.set_xlabel("\n".join(lines + [" "] * (3 - len(lines))), fontsize=7.5, labelpad=3)
    return records or [{**about, **dict.fromkeys(("x1", "y1", "x2", "y2", "relative_area", "scale"))}]


def _draw_worst(axes: Axes, row: Mapping[str, Any]) -> None:
    picture = drawn_row(row)
    if picture is None:
        axes.set(xlim=(0, 1), ylim=(0, 0.8), xticks=[], yticks=[], aspect="equal", anchor="N")
        axes.set_facecolor(NO_PICTURE)
        axes.spines[:].set_visible(False)
        axes.text(0.5, 0.4, no_picture(row), ha="center", va="center", color=MUTED)
    else:
        _show(axes, picture)
    axes.set_title(row["kind"], fontsize=8.5)
    # The name of a file says enough; the folders before it are the same for most, and in the table.
    reason = FOLDERS.sub("", row["reason"] or "cut to the picture")
    lines = [f"line {row['line']}", *textwrap.wrap(reason, 34, max_lines=4, placeholder=" …")]
    axes.set_xlabel("\n".join(lines + [" "] * (5 - len(lines))), fontsize=7, labelpad=3)


def _show(axes: Axes, image: Image.Image, *, region: Box | None = None, anchor: str = "N") -> None:
    """Show a picture, or the pixels that `region` (image frame) touches; the axes are in the image frame."""
    x1, y1, x2, y2 = region or Box(0.0, 0.0, *map(float, image.size))
    pixels = (math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2))
    shown = to_rgb(image.crop(pixels))
    # More would not be seen, and a page of 8K pictures would take gigabytes.
    shown.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    left, top, right, bottom = pixels
    axes.imshow(np.asarray(shown), interpolation="antialiased", extent=(left, right, bottom, top))
    axes.set(xlim=(x1, x2), ylim=(y2, y1), xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_anchor(anchor)


def _outline(axes: Axes, box: Box, colour: str, *, dashed: bool = False) -> None:
    """Outline a box (image frame) legibly on any picture: the colour on a white rim."""
    for edge, width, dashes in (("white", 3.2, "-"), (colour, 1.6, DASHES if dashed else "-")):
        rectangle = Rectangle((box.x1, box.y1), box.width, box.height, fill=False, edgecolor=edge)
        # Not clipped: a box at the picture's border would lose half its line.
        rectangle.set(linewidth=width, linestyle=dashes, clip_on=False)
        axes.add_patch(rectangle)


def draw_picture(axes: Axes, example: Any, trajectory: Any, colour: str) -> None:
    """The original picture with the annotated boxes and, dashed, those that a model drew."""
    _show(axes, value_of(example, "image"), anchor="NW")
    for corners in value_of(example, "boxes"):
        _outline(axes, Box(*corners), TRUTH_COLOUR)
    for box in trajectory.boxes:
        if box is not None:
            _outline(axes, Box(*box), colour, dashed=True)


def draw_crop(axes: Axes, example: Any, trajectory: Any, number: int) -> None:
    """The part of the original picture that the model was shown after its turn `number`."""
    if number >= len(trajectory.boxes):
        axes.set_axis_off()
        return
    image = value_of(example, "image")
    box = None if trajectory.boxes[number] is None else Box(*trajectory.boxes[number])
    _show(axes, image, region=box, anchor="NW")
    if box is None:
        axes.set_title("no box: whole picture", fontweight="normal", fontsize=8)
        return
    which = "crop" if len(trajectory.boxes) == 1 else f"crop {number + 1}"
    area = _per_cent(relative_area(box, image.size))
    axes.set_title(f"{which}, {area} of the picture", fontweight="normal", fontsize=8)


def _conversation(example: Any, trajectory: Any) -> list[tuple[list[str], str]]:
    """Paragraphs of a trajectory, each its wrapped lines and its colour."""
    paragraphs = []
    for number, turn in enumerate(trajectory.turns, start=1):
        text = f"turn {number}: {' '.join(turn.split())}"
        paragraphs.append((textwrap.wrap(text, TEXT_WIDTH, max_lines=MAX_LINES, placeholder=" …"), INK))
    solution = " / ".join(value_of(example, "solution"))
    given = "none" if trajectory.answer is None else trajectory.answer
    verdict = textwrap.wrap(
        f"answer: {given}    solution: {solution}", TEXT_WIDTH, max_lines=3, placeholder=" …"
    )
    return [*paragraphs, (verdict, MUTED)]


def _write_turns(axes: Axes, paragraphs: list[tuple[list[str], str]], height: float) -> None:
    axes.set_axis_off()
    line = LINE / height
    top = 1.0
    for lines, colour in paragraphs:
        text = "\n".join(lines)
        axes.text(
            0.02, top, text, va="top", color=colour, fontsize=7.5, linespacing=1.25, transform=axes.transAxes
        )
        top -= line * (len(lines) + 0.7)


def _per_cent(fraction: float) -> str:
    digits = 0 if fraction >= 0.1 else 1 if fraction >= 0.001 else 3
    return f"{100 * fraction:.{digits}f} %"


def _turn_table(example: Any, named: Mapping[str, Any]) -> pd.DataFrame:
    solution = " / ".join(value_of(example, "solution"))
    records = []
    for name, trajectory in named.items():
        for number, text in enumerate(trajectory.turns):
            box = trajectory.boxes[number] if number < len(trajectory.boxes) else None
            corners = dict(zip(("x1", "y1", "x2", "y2"), box or [None] * 4, strict=True))
            last = {"answer": trajectory.answer, "solution": solution}
            records.append({"name": name, "turn": number + 1, "text": text, **corners, **last})
    return pd.DataFrame.from_records(records)
