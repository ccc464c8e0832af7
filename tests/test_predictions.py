"""Predictions on files: any model's are scored alone, what cannot be used is named, boxes come in the right frame."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from groundr1.boxes import Box
from groundr1.evaluation import score
from groundr1.evaluation.predictions import (
    load_predictions,
    predicted_box,
    read_parts,
    score_predictions,
    write_part,
)

POPE = [
    {
        "Question_id": str(number + 1),
        "problem": f"Is there a thing {number}?",
        "solution": "yes" if number % 2 else "no",
        "Category": "random",
        "Image": f"{number}.jpg",
    }
    for number in range(8)
]
TEXTS = ["<answer> yes </answer>", "yes", "No.", "no", "<think> a no </think> yes", "maybe", "", "yes"]


def write_lines(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines))
    return path


@pytest.mark.parametrize("form", ["annotation", "annotation as text", "own keys"])
def test_another_kits_file_gives_the_scores_of_rows_and_texts(tmp_path: Path, form: str) -> None:
    lines = []
    for row, text in zip(POPE, TEXTS, strict=True):
        beside = {"annotation": row, "annotation as text": json.dumps(row)}.get(form)
        lines.append({"prediction": text, **(row if beside is None else {"annotation": beside})})
    path = write_lines(tmp_path / "them.jsonl", lines)
    report = score_predictions("pope", path, num_resamples=50)
    assert report.pop("rejected") == 0
    assert report == score("pope", POPE, TEXTS, num_resamples=50)
    # right: yes to 1 and 7, no to 2; "maybe" and "" are invalid
    assert report["accuracy"] == 37.5 and report["invalid"] == 2


BAD = [
    ("{broken", "not JSON"),
    ("[1]", "a list, not a JSON object"),
    ({"annotation": POPE[0]}, "prediction is None; it must be a text"),
    ({"annotation": POPE[0], "prediction": 3}, "prediction is 3"),
    ({"annotation": "{", "prediction": "yes"}, "the annotation is not JSON"),
    ({"annotation": 7, "prediction": "yes"}, "the annotation is a int"),
    ({"prediction": "yes"}, "no field 'Category'"),
    ({"annotation": {**POPE[0], "solution": "perhaps"}, "prediction": "yes"}, "'perhaps'"),
    ({"annotation": {**POPE[0], "Category": "easy"}, "prediction": "yes"}, "'easy' is no POPE category"),
    ({"annotation": POPE[1], "prediction": "yes"}, "question 'random-2' is that of line 2"),
]


def test_lines_that_cannot_be_used_are_named_and_counted_and_not_scored(tmp_path: Path, caplog) -> None:
    good = [{"annotation": row, "prediction": "no"} for row in POPE[1:]]
    path = write_lines(tmp_path / "them.jsonl", ["", *good, *(line for line, _ in BAD)])
    found = load_predictions("pope", path)
    assert len(found.rows) == len(found.texts) == 7 and found.boxes is None
    assert [each.line for each in found.rejected] == list(range(9, 9 + len(BAD)))
    for each, (_, words) in zip(found.rejected, BAD, strict=True):
        assert words in each.reason and each.file == str(path)
    assert f"{path}, line 9: not JSON" in caplog.text
    report = score_predictions("pope", path, num_resamples=0)
    assert (report["count"], report["rejected"]) == (7, len(BAD))


def test_nothing_usable_and_nothing_there(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "them.jsonl", [{"annotation": POPE[0], "prediction": "yes"}])
    with pytest.raises(ValueError, match="holds no prediction for mme that can be used; the first: .*line 1"):
        load_predictions("mme", path)
    with pytest.raises(FileNotFoundError, match="nowhere.jsonl"):
        load_predictions("pope", tmp_path / "nowhere.jsonl")
    with pytest.raises(ValueError, match="benchmark='popes' is unknown"):
        load_predictions("popes", path)


def test_seeds_questions_on_videos_are_left_out_and_no_fault(tmp_path: Path) -> None:
    row = {"question": "Which?", "choice_a": "x", "choice_b": "y", "answer": "A", "question_type_id": 1}
    rows = [
        row | {"question_id": "1", "data_type": "image"},
        row | {"question_id": "2", "data_type": "video"},
    ]
    path = write_lines(tmp_path / "them.jsonl", [{"annotation": each, "prediction": "A"} for each in rows])
    report = score_predictions("seed", path, num_resamples=0)
    assert (report["count"], report["left_out"], report["rejected"]) == (1, 1, 0)


REFCOCO = {
    "image": "1.jpg", "width": 200, "height": 100, "bboxs": [[10, 20, 30, 40]], "dataset": "RefCOCO/testA",
    "problem": "", "solution": ["man left", "the man"], "problem_id": 0,
}  # fmt: skip


def test_boxes_of_another_kit_are_in_the_image_frame(tmp_path: Path) -> None:
    """[10, 20, 30, 40] is x, y, width, height: corners 10, 20, 40, 60."""
    lines = [
        {"annotation": REFCOCO, "prediction": "there", "box": [10, 20, 40, 60]},
        {"annotation": {**REFCOCO, "problem_id": 1}, "prediction": "[10, 20, 40, 60]"},
        {"annotation": {**REFCOCO, "problem_id": 2}, "prediction": ["[0, 0, 5, 5]", "[10, 20, 40, 60]"]},
    ]
    first = score_predictions("refcoco", write_lines(tmp_path / "boxes.jsonl", lines[:1]), num_resamples=0)
    texts = score_predictions("refcoco", write_lines(tmp_path / "texts.jsonl", lines[1:]), num_resamples=0)
    assert (first["per_expression"], first["count"]) == (100.0, 1)
    assert texts["per_expression"] == pytest.approx(200 / 3) and texts["any_expression"] == 100.0


# Turns, boxes drawn (image frame), box that counts; view 50 x 50 of a picture of 200 x 100.
SCORED = [
    (["<box>[0,0,10,10]</box>", "<answer> [10,10,20,20] </answer>"], [[0, 0, 40, 20]], Box(40, 20, 80, 40), "answer"),
    (["<box>[0,0,10,10]</box>", "<answer> there </answer>"], [[0, 0, 40, 20]], Box(0, 0, 40, 20), "drawn"),
    (["x", "y", "<answer> z </answer>"], [[0, 0, 40, 20], [4, 4, 8, 8]], Box(4, 4, 8, 8), "the last one drawn"),
    (["x", "y", "<answer> z </answer>"], [[0, 0, 40, 20], None], Box(0, 0, 40, 20), "the last one drawn, not shown"),
    (["<box>[0,0,10,10]</box>", "<answer> there </answer>"], [None], Box(0, 0, 40, 20), "malformed, yet written"),
    (['{"bbox_2d": [10, 10, 20, 20]}'], [], Box(40, 20, 80, 40), "no tags at all"),
    (["<answer> [40,40,90,90] </answer>"], [], Box(160, 80, 200, 100), "cut to the picture"),
    (["<answer> [60,60,90,90] </answer>"], [], None, "outside the picture"),
    (["<answer> nowhere </answer>"], [], None, "none"),
]  # fmt: skip


@pytest.mark.parametrize(("turns", "boxes", "expected", "reason"), SCORED)
def test_the_box_of_an_expression(turns, boxes, expected, reason) -> None:
    row = {"prediction": "\n".join(turns), "boxes": boxes, "view_width": 50, "view_height": 50}
    row |= {"image_width": 200, "image_height": 100}
    assert predicted_box("refcoco", row) == expected
    last = [box for box in boxes if box is not None]
    assert predicted_box("viscot", row) == (Box(*last[-1]) if last else None), (
        "elsewhere evidence is drawn, not told"
    )


def part(numbers: list[int], text: str = "a") -> list[dict[str, Any]]:
    return [{"prompt_id": f"row-{number}", "row": number, "prediction": text} for number in numbers]


def test_parts_are_read_in_the_order_of_the_data_and_each_row_once(tmp_path: Path) -> None:
    """A process that outlived its launch finished a batch that the next launch did in other company."""
    for numbers in ([0, 2], [1, 3], [2, 4]):
        write_part(tmp_path, part(numbers))
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == [
        "part_000000.parquet",
        "part_000001.parquet",
        "part_000002.parquet",
    ]
    table = read_parts(tmp_path / "predictions")
    assert table["row"].tolist() == [0, 1, 2, 3, 4] and table["prompt_id"].is_unique


def test_parquet_that_is_no_part_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pd.DataFrame({"prediction": ["x"]}).to_parquet(path)
    with pytest.raises(ValueError, match="has no column annotation and benchmark"):
        load_predictions("pope", path)
    with pytest.raises(ValueError, match="holds no prediction for pope"):
        load_predictions("pope", tmp_path)
