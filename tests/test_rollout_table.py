"""The rollout table: annotated boxes are measured against, every number by hand."""

import pytest
from PIL import Image

from groundr1.boxes import Box
from groundr1.rollout_table import evidence_hull, statistics, table_row
from groundr1.trajectory import Trajectory

GROUND = "<think> look </think> <box>[1,2,3,4]</box>"
ANSWER = "<think> see </think> <answer> 7 </answer>"


def trajectory(box: Box | None, *, shown: bool = True, answer: str | None = "7") -> Trajectory:
    """A trajectory on a 100 x 80 picture, whose one evidence was `box`."""
    picture = Image.new("RGB", (100, 80))
    one = Trajectory(
        0, 1, 0, [1, 2], [picture] + [picture] * shown, turns=[GROUND] * shown + [ANSWER], answer=answer
    )
    one.boxes = [box] if shown else []
    one.extend([5, 6, 7], logprobs=[-0.5, -0.25, -0.25])
    one.extend([8, 9])
    one.extend([6], logprobs=[-1.0])
    return one


def example(**changes) -> dict:
    row = {
        "id": "a",
        "source": "tile",
        "solution": ["7", "seven"],
        "kind": "exact",
        "boxes": [[0, 0, 20, 20]],
    }
    return row | changes


def test_row_of_a_grounded_trajectory() -> None:
    row = table_row(example(), trajectory(Box(10.0, 0.0, 30.0, 20.0)))
    # Two 20 x 20 boxes that overlap in 10 x 20: 200 of 600; their hull is 30 x 20 = 600, so GIoU = IoU.
    assert row["iou"] == pytest.approx(1 / 3) and row["giou"] == pytest.approx(1 / 3)
    assert row["relative_area"] == pytest.approx(400 / 8000) == row["true_area"]
    assert (row["reward_format"], row["reward_answer"]) == (1.0, 1.0)
    assert (row["num_tokens"], row["num_turns"], row["grounding"], row["answer_index"]) == (4, 2, 1, 0)
    assert row["box"] == [10.0, 0.0, 30.0, 20.0] and row["turns"] == [GROUND, ANSWER]
    assert (row["prompt_id"], row["source"], row["answer"], row["solution"]) == (
        "a",
        "tile",
        "7",
        "7 | seven",
    )


@pytest.mark.parametrize("shown", [True, False])
def test_without_a_box_the_whole_picture_is_the_evidence(shown) -> None:
    row = table_row(example(), trajectory(None, shown=shown))
    assert row["box"] is None and row["relative_area"] == 1.0
    assert row["iou"] == pytest.approx(400 / 8000), "the picture against the annotation inside it"


def test_without_annotation_or_solution_nothing_is_made_up() -> None:
    row = table_row({"id": 3}, trajectory(Box(0.0, 0.0, 5.0, 5.0), answer=None))
    missing = ("true_area", "iou", "giou", "reward_answer", "source", "solution", "answer")
    assert [row[name] for name in missing] == [None] * len(missing)
    assert row["prompt_id"] == "3"
    assert table_row(example(solution="7"), trajectory(None))["solution"] == "7"


def test_hull_of_several_annotations() -> None:
    assert evidence_hull([[5, 5, 10, 10], [0, 8, 6, 20]]) == Box(0.0, 5.0, 10.0, 20.0)
    assert evidence_hull([]) is None and evidence_hull(None) is None


def test_statistics_average_what_is_there() -> None:
    boxes = [Box(0.0, 0.0, 20.0, 20.0), Box(0.0, 0.0, 40.0, 40.0), None]  # 5 %, 20 % and all of the picture
    rows = [table_row(example(), trajectory(box)) for box in boxes]
    rows.append(table_row(example(boxes=[], solution=None), trajectory(None, shown=False)))
    found = statistics(rows)
    assert found["iou"] == pytest.approx((1.0 + 0.25 + 0.05) / 3)
    assert found["giou_score"] == pytest.approx(((1.0 + 0.25 + 0.05) / 3 + 1) / 2)
    assert [found[f"share_{scale}"] for scale in ("small", "medium", "large")] == [0.25, 0.25, 0.5]
    assert found["reward_answer"] == 1.0 and found["response_length"] == 4.0
    assert found["num_turns"] == pytest.approx(7 / 4)
    assert "iou" not in statistics(rows[-1:]), "no annotation, no number"


def test_trajectory_marks_what_was_sampled() -> None:
    one = trajectory(Box(0.0, 0.0, 20.0, 20.0))
    assert one.token_ids == [5, 6, 7, 8, 9, 6] and one.loss_mask == [1, 1, 1, 0, 0, 1]
    assert one.logprobs == [-0.5, -0.25, -0.25, 0.0, 0.0, -1.0]
    assert [part["role"] for part in one.messages()] == ["assistant", "user", "assistant"]
    other = one.copy(1)
    other.extend([3])
    other.boxes.append(None)
    assert other.answer_index == 1 and len(one.token_ids) == 6 and len(one.boxes) == 1, "copies share no list"
