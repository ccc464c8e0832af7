"""The rollout table: one row a trajectory, with what it earned; and the statistics that are logged of it.

Notebooks 03 and 04 read only this table, never the model. Annotated boxes appear here, and nowhere in a
reward.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from groundr1.boxes import Box, giou, iou, relative_area
from groundr1.diagnostics import SCALES, scale_of
from groundr1.rewards import answer_reward, format_reward
from groundr1.trajectory import Trajectory


def evidence_hull(boxes: Sequence[Sequence[float]] | None) -> Box | None:
    """Smallest box around all annotated evidence boxes (image frame); None without annotation.

    Not in the paper: our choice, because a question about two objects needs both in its evidence.

    >>> evidence_hull([[0, 0, 10, 10], [20, 5, 30, 8]])
    Box(x1=0.0, y1=0.0, x2=30.0, y2=10.0)
    """
    if not boxes:
        return None
    x1, y1, x2, y2 = zip(*boxes, strict=True)
    return Box(float(min(x1)), float(min(y1)), float(max(x2)), float(max(y2)))


def table_row(example: Mapping[str, Any], trajectory: Trajectory) -> dict[str, Any]:
    """The row of one trajectory, without its weighted reward and advantage, which the trainer adds.

    `iou` and `giou` compare the evidence of the last crop, the whole picture where no box was drawn, with the
    hull of the annotated boxes; they are None without annotation, as is `true_area`.
    """
    width, height = trajectory.image_size
    box = trajectory.boxes[-1] if trajectory.boxes else None
    evidence = box or Box(0.0, 0.0, float(width), float(height))
    truth = evidence_hull(example.get("boxes"))
    solution = example.get("solution")
    return {
        "prompt_id": str(example["id"]),
        "source": example.get("source"),
        "grounding": trajectory.grounding,
        "answer_index": trajectory.answer_index,
        "box": None if box is None else list(box),
        "relative_area": trajectory.relative_area,
        "true_area": None if truth is None else relative_area(truth, trajectory.image_size),
        "reward_format": format_reward(trajectory.turns),
        "reward_answer": None
        if not solution
        else answer_reward(trajectory.answer, solution, example["kind"]),
        "iou": None if truth is None else iou(evidence, truth),
        "giou": None if truth is None else giou(evidence, truth),
        "num_tokens": trajectory.num_generated_tokens,
        "num_turns": len(trajectory.turns),
        "turns": trajectory.turns,
        "answer": trajectory.answer,
        "solution": None if not solution else solution if isinstance(solution, str) else " | ".join(solution),
    }


def statistics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over the rows that have the value: what is logged beside TRL's own metrics.

    Keys: reward_format, reward_answer, response_length (sampled tokens a trajectory), num_turns, iou,
    giou_score ((GIoU + 1) / 2, the paper's curve), share_small, share_medium, share_large (of the evidence
    shown). A key without a value in any row is left out.
    """
    columns = {"response_length": "num_tokens"} | {
        name: name for name in ("reward_format", "reward_answer", "num_turns", "iou")
    }
    values = {name: [row[column] for row in rows] for name, column in columns.items()}
    values["giou_score"] = [None if row["giou"] is None else (row["giou"] + 1) / 2 for row in rows]
    scales = [scale_of(row["relative_area"]) for row in rows]
    for scale in SCALES:
        values[f"share_{scale}"] = [float(each == scale) for each in scales]
    present = {name: [value for value in column if value is not None] for name, column in values.items()}
    return {name: sum(column) / len(column) for name, column in present.items() if column}
