"""Evaluation: every example once, whatever happened before; scores by hand; foreign folders refused."""

import json
from pathlib import Path

import pandas as pd
import pytest
import small_model
import torch
from datasets import Dataset
from PIL import Image

from groundr1.boxes import Box
from groundr1.data.example import EXAMPLE_FEATURES
from groundr1.diagnostics import accuracy_by_scale
from groundr1.evaluation import evaluate, folder, read_predictions, runner
from groundr1.rollout import ground_and_answer
from groundr1.trajectory import Trajectory

PROCESSOR = small_model.processor()
BOX_TURN = "<think> look </think> <box>[0,0,10,10]</box>"


class FakeRollout:
    """Stands for `ground_and_answer`: answers "7" with the left half as evidence, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fail_at: int | None = None

    def __call__(self, model, processor, examples, **settings):
        if self.fail_at is not None and len(self.asked) >= self.fail_at:
            raise KeyboardInterrupt
        self.asked += [example["id"] for example in examples]
        self.settings = settings
        return [[self.trajectory(example)] for example in examples]

    @staticmethod
    def trajectory(example) -> Trajectory:
        image = example["image"]
        box = Box(0.0, 0.0, image.width / 2, float(image.height))
        turns = [BOX_TURN, "<think> see </think> <answer> 7 </answer>"]
        loss_mask = [1, 1, 0, 1]
        return Trajectory(0, 0, 0, [1], [image], turns, [box], "7", [5, 6, 7, 8], loss_mask, [0.0] * 4, True)


@pytest.fixture
def rollout(monkeypatch) -> FakeRollout:
    fake = FakeRollout()
    monkeypatch.setattr(runner, "ground_and_answer", fake)
    return fake


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def make_dataset(num: int, **changes: object) -> Dataset:
    """Pictures of 100 x 80; evidence of 5 % and 50 % in turn, answers 7 and 8 in turn."""
    rows = [
        {
            "id": f"row-{i}",
            "image": Image.new("RGB", (100, 80)),
            "question": "Which?",
            "solution": [str(7 + i % 2)],
            "kind": "exact",
            "boxes": [[0, 0, 50, 80]] if i % 2 else [[0, 0, 20, 20]],
            "source": "tile",
        }
        | changes
        for i in range(num)
    ]
    return Dataset.from_list(rows, features=EXAMPLE_FEATURES)


def test_scores_by_hand(tmp_path: Path, rollout, model):
    table = evaluate(model, PROCESSOR, make_dataset(4), out=tmp_path / "e", name="base", progress=False)
    assert table["prompt_id"].tolist() == ["row-0", "row-1", "row-2", "row-3"]
    assert table["correct"].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert table["scale"].tolist() == ["small", "large"] * 2
    assert table["true_area"].tolist() == [0.05, 0.5] * 2
    assert table["relative_area"].tolist() == [0.5] * 4
    # left half against 20 x 20 in its corner: 400 / 4000; against itself: 1
    assert table["iou"].tolist() == pytest.approx([0.1, 1.0] * 2)
    assert table["format"].tolist() == [1.0] * 4
    assert (table["num_tokens"] == 3).all() and (table["num_turns"] == 2).all()
    assert list(table["box"].iloc[0]) == [0.0, 0.0, 50.0, 80.0]
    del rollout.settings["pictures"]
    assert rollout.settings == {
        "max_crops": 1,
        "max_turn_tokens": 512,
        "batch_size": 4,
        "make_session": None,
    }


def test_report_and_summary_state_the_same_means_with_intervals(tmp_path: Path, rollout, model):
    table = evaluate(model, PROCESSOR, make_dataset(6), out=tmp_path, name="base", progress=False)
    report = json.loads((tmp_path / "report.json").read_text())
    summary = pd.read_csv(tmp_path / "summary.csv")
    overall = summary[summary["scale"] == "all"].iloc[0]
    assert (report["model"], report["count"], report["accuracy"]) == ("base", 6, 0.5)
    assert report["accuracy_low"] <= 0.5 <= report["accuracy_high"]
    assert overall["accuracy"] == 0.5 and overall["iou"] == pytest.approx(report["iou"]) == pytest.approx(
        0.55
    )
    assert (report["without_box"], report["without_answer"]) == (0, 0)
    pd.testing.assert_frame_equal(summary, accuracy_by_scale(table), check_dtype=False)


def test_a_killed_evaluation_resumes_with_no_row_twice_and_none_missing(tmp_path: Path, rollout, model):
    dataset = make_dataset(11)
    whole = evaluate(model, PROCESSOR, dataset, out=tmp_path / "whole", batch_size=3, progress=False)
    rollout.asked, rollout.fail_at = [], 6
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, PROCESSOR, dataset, out=tmp_path / "killed", batch_size=3, progress=False)
    (tmp_path / "killed" / "predictions" / ".writing-x-part_00002.parquet").write_bytes(b"torn by the kill")
    assert len(read_predictions(tmp_path / "killed")) == 6
    rollout.asked, rollout.fail_at = [], None
    resumed = evaluate(model, PROCESSOR, dataset, out=tmp_path / "killed", batch_size=3, progress=False)
    assert rollout.asked == [f"row-{i}" for i in range(6, 11)]
    pd.testing.assert_frame_equal(resumed, whole)
    evaluate(model, PROCESSOR, dataset, out=tmp_path / "killed", batch_size=3, progress=False)
    assert len(rollout.asked) == 5, "a finished evaluation asks the model nothing"
    assert not list((tmp_path / "killed").rglob(".writing-*"))


def test_another_batch_size_continues_the_same_evaluation(tmp_path: Path, rollout, model):
    dataset = make_dataset(7)
    rollout.fail_at = 2
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, PROCESSOR, dataset, out=tmp_path, batch_size=2, progress=False)
    rollout.fail_at = None
    table = evaluate(model, PROCESSOR, dataset, out=tmp_path, batch_size=4, progress=False)
    assert sorted(rollout.asked) == sorted(table["prompt_id"]) and table["prompt_id"].is_unique


def test_a_folder_with_another_evaluation_is_refused_and_left_alone(tmp_path: Path, rollout, model):
    evaluate(model, PROCESSOR, make_dataset(2), out=tmp_path, name="base", progress=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="model was 'base', now 'GRPO'"):
        evaluate(model, PROCESSOR, make_dataset(2), out=tmp_path, name="GRPO", progress=False)
    with pytest.raises(ValueError, match="dataset was"):
        evaluate(model, PROCESSOR, make_dataset(3), out=tmp_path, name="base", progress=False)
    with pytest.raises(ValueError, match="max_crops was 1, now 0"):
        evaluate(model, PROCESSOR, make_dataset(2), out=tmp_path, name="base", max_crops=0, progress=False)
    with torch.no_grad():
        model.bias[1] += 1e-3
    with pytest.raises(ValueError, match="weights was .*Choose another folder, or delete this one"):
        evaluate(model, PROCESSOR, make_dataset(2), out=tmp_path, name="base", progress=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_repeated_ids_are_refused(tmp_path: Path, rollout, model):
    with pytest.raises(ValueError, match=r"1 ids of the dataset repeat, \['same'\]"):
        evaluate(model, PROCESSOR, make_dataset(3, id="same"), out=tmp_path, progress=False)


def test_examples_without_annotation_are_scored_without_a_scale(tmp_path: Path, rollout, model):
    table = evaluate(model, PROCESSOR, make_dataset(4, boxes=[]), out=tmp_path, progress=False)
    assert table["scale"].isna().all() and table["iou"].isna().all() and table["true_area"].isna().all()
    assert table["correct"].mean() == 0.5
    assert json.loads((tmp_path / "report.json").read_text())["iou"] is None


def test_an_empty_dataset_gives_an_empty_table(tmp_path: Path, rollout, model):
    table = evaluate(model, PROCESSOR, make_dataset(1).select([]), out=tmp_path, progress=False)
    assert table.empty and "correct" in table and not (tmp_path / "report.json").exists()


def test_reading_where_there_is_no_evaluation_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="run `evaluate"):
        read_predictions(tmp_path)


def test_fingerprint_sees_any_moved_tensor_and_is_the_same_for_a_copy():
    first, second = small_model.random_model(), small_model.random_model()
    assert folder.weights_fingerprint(first) == folder.weights_fingerprint(second)
    with torch.no_grad():
        for parameter in second.lm_head.parameters():
            parameter += 1e-4
    assert folder.weights_fingerprint(first) != folder.weights_fingerprint(second)


def test_a_real_model_gives_the_rows_of_its_greedy_rollouts(tmp_path: Path):
    model, processor = small_model.talking_model(), small_model.processor()
    dataset = Dataset.from_list(small_model.examples(3), features=EXAMPLE_FEATURES)
    table = evaluate(
        model, processor, dataset, out=tmp_path, batch_size=2, max_turn_tokens=48, progress=False
    )
    groups = ground_and_answer(model, processor, list(dataset), max_turn_tokens=48)
    assert [list(turns) for turns in table["turns"]] == [group[0].turns for group in groups]
    assert table["relative_area"].tolist() == [group[0].relative_area for group in groups]
    assert table["correct"].between(0, 1).all() and table["format"].between(0, 1).all()
