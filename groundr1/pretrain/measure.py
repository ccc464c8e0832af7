"""What a base model can do before reinforcement: ``python -m groundr1.pretrain.measure --model tiny --scenes 1000``.

Prints a table, and writes it into a model card with ``--card``. All is measured on held-out scenes, whose seeds no
training scene can have. Not in the paper: our choice, because a base that cannot point collapses under either trainer.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset

from groundr1.boxes import Box, iou, relative_area
from groundr1.cropping import crop_evidence
from groundr1.data.scenes import make_scenes
from groundr1.diagnostics import SCALES, scale_of
from groundr1.model import load_model, load_processor
from groundr1.rewards import answer_reward, format_reward
from groundr1.rollout import Trajectory, ground_and_answer

logger = logging.getLogger(__name__)

MAX_TURN_TOKENS = 32


def measure(model, processor, scenes: Dataset, *, num_sampled: int = 4, seed: int = 0) -> pd.DataFrame:
    """Measure reading, pointing and format of a model.

    Args:
        model: As :func:`groundr1.model.load_model` gives it.
        processor: Its processor.
        scenes: Held-out scenes, as :func:`groundr1.data.make_scenes` draws them.
        num_sampled: Boxes drawn for each scene at temperature 1.
        seed: Of the sampling.

    Returns:
        One row a figure: ``figure``, and its value over ``small``, ``medium``, ``large`` and ``all`` scenes by the
        relative area of the annotated evidence (NaN without such scenes). All are shares or mean IoUs, in [0, 1].
    """
    rows = list(scenes)
    true_boxes = [Box(*row["boxes"][0]) for row in rows]
    scales = np.array(
        [scale_of(relative_area(b, row["image"].size)) for b, row in zip(true_boxes, rows, strict=True)]
    )
    crops = [
        {**row, "image": crop_evidence(row["image"], box).image}
        for row, box in zip(rows, true_boxes, strict=True)
    ]
    options = {"max_turn_tokens": MAX_TURN_TOKENS, "progress": True, "seed": seed}
    tight = ground_and_answer(model, processor, crops, max_crops=0, **options)
    view = ground_and_answer(model, processor, rows, max_crops=0, **options)
    greedy = ground_and_answer(model, processor, rows, **options)
    drawn = ground_and_answer(model, processor, rows, num_groundings=num_sampled, temperature=1.0, **options)
    figures = {
        "answers right from a tight crop of the true region": _right(rows, tight),
        "answers right from the view alone": _right(rows, view),
        "answers right, greedy": _right(rows, greedy),
        "IoU of the greedy box with the true region": _ious(greedy, true_boxes),
        "well-formed turns, greedy": np.array([format_reward(group[0].turns) for group in greedy]),
        "answers right, temperature 1": _right(rows, drawn),
        "well-formed turns, temperature 1": np.array(
            [np.mean([format_reward(t.turns) for t in g]) for g in drawn]
        ),
        "IoU, temperature 1": _ious(drawn, true_boxes),
    }
    for scale in SCALES:
        name = f"boxes drawn {scale}, temperature 1"
        figures[name] = np.array(
            [np.mean([scale_of(t.relative_area) == scale for t in group]) for group in drawn]
        )
    name = "boxes that hold the true region and stay under 10 %, temperature 1"
    figures[name] = np.array(
        [np.mean([_holds(t, box) for t in group]) for group, box in zip(drawn, true_boxes, strict=True)]
    )
    masks = {**{scale: scales == scale for scale in SCALES}, "all": np.ones(len(rows), dtype=bool)}
    table = [
        {"figure": name, **{s: values[mask].mean() if mask.any() else np.nan for s, mask in masks.items()}}
        for name, values in figures.items()
    ]
    counts = {"figure": "scenes", **{s: float(mask.sum()) for s, mask in masks.items()}}
    return pd.DataFrame([counts, *table])


def _right(rows: Sequence[dict], groups: Sequence[Sequence[Trajectory]]) -> np.ndarray:
    return np.array(
        [
            np.mean([answer_reward(t.answer, row["solution"], row["kind"]) for t in group])
            for row, group in zip(rows, groups, strict=True)
        ]
    )


def _box(trajectory: Trajectory) -> Box:
    """The last box; the whole image where none was given, as the rollout shows it."""
    box = trajectory.boxes[-1] if trajectory.boxes else None
    return box or Box(0, 0, *trajectory.image_size)


def _ious(groups: Sequence[Sequence[Trajectory]], true_boxes: Sequence[Box]) -> np.ndarray:
    return np.array(
        [np.mean([iou(_box(t), b) for t in group]) for group, b in zip(groups, true_boxes, strict=True)]
    )


def _holds(trajectory: Trajectory, true_box: Box) -> bool:
    box = _box(trajectory)
    inside = (
        box.x1 <= true_box.x1 and box.y1 <= true_box.y1 and box.x2 >= true_box.x2 and box.y2 >= true_box.y2
    )
    return inside and scale_of(trajectory.relative_area) == "small"


MARKS = ("<!-- measured -->", "<!-- end -->")


def as_markdown(table: pd.DataFrame) -> str:
    """The table of :func:`measure` as a Markdown table."""
    lines = ["| figure | small | medium | large | all |", "|---|---|---|---|---|"]
    for _, row in table.iterrows():
        form = "{:.0f}" if row["figure"] == "scenes" else "{:.3f}"
        lines.append(
            "| " + " | ".join([row["figure"], *(form.format(row[c]) for c in (*SCALES, "all"))]) + " |"
        )
    return "\n".join(lines)


def write_into_card(card: Path, table: str, command: str) -> None:
    """Put a measured table, and the command that measured it, between the marks of a model card.

    Raises ValueError when the card has no marks.
    """
    text = card.read_text(encoding="utf-8")
    if not all(mark in text for mark in MARKS):
        raise ValueError(f"{card} lacks the marks {' and '.join(MARKS)}; put them where the table belongs.")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    measured = f"`{command}`\n\n{table}\n"
    card.write_text(f"{before}{MARKS[0]}\n{measured}{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    """Command line of the measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny", help='"tiny", a folder or a Hub id')
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the held-out scenes")
    parser.add_argument("--card", type=Path, help="model card to write the table into")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model, processor = load_model(arguments.model), load_processor(arguments.model)
    scenes = make_scenes(arguments.scenes, seed=arguments.seed, split="heldout")
    table = measure(model, processor, scenes)
    logger.info(as_markdown(table))
    if arguments.card:
        command = f"python -m groundr1.pretrain.measure --scenes {arguments.scenes} --seed {arguments.seed}"
        write_into_card(arguments.card, as_markdown(table), command)


if __name__ == "__main__":
    main()
