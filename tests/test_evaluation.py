"""Evaluation: every example once, whatever happened before; scores by hand; foreign folders refused."""

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import small_model
import torch
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from groundr1.boxes import Box
from groundr1.data import EXAMPLE_FEATURES, Rejected, items_of
from groundr1.diagnostics import accuracy_by_scale
from groundr1.evaluation import evaluate, folder, read_predictions, runner, score
from groundr1.pictures import Pictures
from groundr1.rollout import ground_and_answer
from groundr1.storage import NoSpaceError
from groundr1.trajectory import Trajectory

PROCESSOR = small_model.processor()
BOX_TURN = "<think> look </think> <box>[0,0,10,10]</box>"


class FakeRollout:
    """Stands for `ground_and_answer`: answers "7" with the left half as evidence, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.questions: list[str] = []
        self.answers: dict[str, str] = {}
        self.fail_at: int | None = None

    def __call__(self, model, processor, examples, **settings):
        if self.fail_at is not None and len(self.asked) >= self.fail_at:
            raise KeyboardInterrupt
        self.asked += [example["id"] for example in examples]
        self.questions += [example["question"] for example in examples]
        self.settings = settings
        return [[self.trajectory(example)] for example in examples]

    def trajectory(self, example) -> Trajectory:
        image, answer = example["image"], self.answers.get(example["id"], "7")
        box = Box(0.0, 0.0, image.width / 2, float(image.height))
        turns = [BOX_TURN, f"<think> see </think> <answer> {answer} </answer>"]
        loss_mask = [1, 1, 0, 1]
        return Trajectory(
            0, 0, 0, [1], [image], turns, [box], answer, [5, 6, 7, 8], loss_mask, [0.0] * 4, True
        )


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


def test_a_real_model_gives_the_rows_of_its_greedy_rollouts(tmp_path: Path, monkeypatch):
    stores: list[Pictures] = []
    monkeypatch.setattr(runner, "Pictures", lambda *args: stores.append(Pictures(*args)) or stores[-1])
    model, processor = small_model.talking_model(), small_model.processor()
    dataset = Dataset.from_list(small_model.examples(3), features=EXAMPLE_FEATURES)
    table = evaluate(
        model, processor, dataset, out=tmp_path, batch_size=2, max_turn_tokens=48, progress=False
    )
    groups = ground_and_answer(model, processor, list(dataset), max_turn_tokens=48)
    assert [list(turns) for turns in table["turns"]] == [group[0].turns for group in groups]
    assert table["relative_area"].tolist() == [group[0].relative_area for group in groups]
    assert table["correct"].between(0, 1).all() and table["format"].between(0, 1).all()
    crops = sum(box is not None for boxes in table["boxes"] for box in boxes)
    assert sum(map(len, stores)) == 3 + crops, "each picture is processed once"


def pope(num: int) -> tuple[list[dict], Dataset]:
    """Questions whose answers are yes and no in turn, and what a reader makes of them."""
    rows = [
        {
            "Question_id": str(i + 1),
            "problem": f"Is there a thing {i}?",
            "solution": "no" if i % 2 else "yes",
            "Category": ("adversarial", "popular", "random")[i % 3],
            "Image": f"{i}.jpg",
        }
        for i in range(num)
    ]
    return rows, benchmark_dataset("pope", rows)


def benchmark_dataset(name: str, rows: list[dict]) -> Dataset:
    """Pictures of 100 x 80."""
    items = [items_of(name, row, number)[0] for number, row in enumerate(rows)]
    return Dataset.from_dict(
        {
            "id": [item.id for item in items],
            "image": [Image.new("RGB", (100, 80))] * len(items),
            "question": [item.question for item in items],
            "solution": [list(item.solution) or [item.question] for item in items],
            "kind": ["exact" if item.kind == "box" else item.kind for item in items],
            "boxes": [[] if item.box is None else [list(item.box)] for item in items],
            "source": ["set"] * len(items),
            "annotation": [json.dumps(row) for row in rows],
            "note": [item.note for item in items],
        },
        features=Features({**EXAMPLE_FEATURES, "annotation": Value("string"), "note": Value("string")}),
    )


def test_a_benchmark_is_asked_in_its_form_and_scored_by_its_rule(tmp_path: Path, rollout, model):
    rows, dataset = pope(6)
    rollout.answers = {
        "adversarial-1": "Yes, there is.",
        "random-3": "The answer is yes.",
        "popular-2": "yes",
    }
    rejected = [Rejected("pope.jsonl", 9, "no picture")]
    table = evaluate(
        model,
        PROCESSOR,
        dataset,
        out=tmp_path,
        benchmark="pope",
        rejected=rejected,
        batch_size=4,
        progress=False,
    )
    assert rollout.questions[0] == "Is there a thing 0?\nAnswer yes or no."
    # right, wrong, right by the scorer though the reward looks at the first word alone, then "7", which is no answer
    assert table["correct"].tolist() == [1.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    assert (table["benchmark"] == "pope").all() and table["question"].tolist() == rollout.questions
    assert table["prediction"][0] == f"{BOX_TURN}\n<think> see </think> <answer> Yes, there is. </answer>"
    assert [json.loads(each) for each in table["annotation"]] == rows
    assert set(table["view_width"]) == {140} and set(table["image_width"]) == {100}
    report = json.loads((tmp_path / "report.json").read_text())
    expected = score("pope", rows, table["prediction"].tolist())
    assert {key: report[key] for key in expected} == expected and report["invalid"] == 3
    assert (report["model"], report["rejected"], report["failed"]) == ("model", 1, 0)
    scores = pd.read_csv(tmp_path / "scores.csv").set_index(["group", "name", "score"])["value"]
    assert scores["all", "all", "accuracy"] == pytest.approx(100 / 3)
    assert scores["category", "popular", "accuracy"] == 0.0
    set_aside = pd.read_csv(tmp_path / "rejected.csv")[["file", "line", "reason"]]
    assert set_aside.values.tolist() == [["pope.jsonl", 9, "no picture"]]
    assert not (tmp_path / "summary.csv").exists(), "no evidence is annotated"


def test_visual_cots_boxes_are_scored_as_drawn_and_refcocos_as_answered(tmp_path: Path, rollout, model):
    """The fake draws the left half: IoU 1 with the first annotation; the answer is in the view frame, 140 x 112."""
    viscot = {"image": "a.png", "width": 100, "height": 80, "bboxs": [[0, 0, 50, 80]], "dataset": "docvqa"}
    viscot |= {"problem": "Which?", "solution": "7", "problem_id": 1}
    table = evaluate(
        model,
        PROCESSOR,
        benchmark_dataset("viscot", [viscot]),
        out=tmp_path / "viscot",
        benchmark="viscot",
        progress=False,
    )
    report = json.loads((tmp_path / "viscot" / "report.json").read_text())
    assert (report["mean_iou"], report["acc_50"], table["correct"][0]) == (100.0, 100.0, 1.0)
    assert (tmp_path / "viscot" / "summary.csv").exists()
    refcoco = {"image": "a.png", "width": 100, "height": 80, "bboxs": [[50, 40, 25, 20]], "problem": ""}
    refcoco |= {"dataset": "RefCOCO/val", "solution": ["man"], "problem_id": 1}
    dataset = benchmark_dataset("refcoco", [refcoco])
    rollout.answers = {"RefCOCO/val-1-0": "[70, 56, 105, 84]"}
    table = evaluate(model, PROCESSOR, dataset, out=tmp_path / "refcoco", benchmark="refcoco", progress=False)
    assert (table["view_width"][0], table["view_height"][0]) == (140, 112), "1.4 times the picture"
    assert json.loads((tmp_path / "refcoco" / "report.json").read_text())["per_expression"] == 100.0
    assert table["correct"].tolist() == [1.0] and "man" in rollout.questions[-1]


def test_by_scale_too_questions_on_one_picture_are_resampled_together(tmp_path: Path, rollout, model):
    """Two on one picture are one sample, of which no interval can be made; on two pictures they are two."""
    row = {"width": 100, "height": 80, "bboxs": [[0, 0, 50, 80]], "dataset": "docvqa", "problem": "Which?"}
    for name, pictures in {"same": ["a.png", "a.png"], "two": ["a.png", "b.png"]}.items():
        rows = [
            {**row, "image": picture, "solution": str(7 + i), "problem_id": i}
            for i, picture in enumerate(pictures)
        ]
        dataset, out = benchmark_dataset("viscot", rows), tmp_path / name
        evaluate(model, PROCESSOR, dataset, out=out, benchmark="viscot", progress=False)
        overall = pd.read_csv(out / "summary.csv").set_index("scale").loc["all"]
        assert overall["accuracy"] == 0.5 and overall["count"] == 2
        assert pd.isna(overall["accuracy_low"]) == (name == "same")


def test_a_benchmark_needs_its_annotations(tmp_path: Path, rollout, model):
    with pytest.raises(ValueError, match="benchmark='pope', but the data set has no column 'annotation'"):
        evaluate(model, PROCESSOR, make_dataset(1), out=tmp_path, benchmark="pope", progress=False)
    assert not list(tmp_path.iterdir())


def test_settings_say_what_the_predictions_depend_on(tmp_path: Path, rollout, model):
    _, dataset = pope(1)
    evaluate(model, PROCESSOR, dataset, out=tmp_path, benchmark="pope", progress=False)
    settings = json.loads((tmp_path / "settings.json").read_text())
    size = PROCESSOR.image_processor.size
    assert settings["max_pixels"] == size["longest_edge"] and settings["min_pixels"] == size["shortest_edge"]
    assert settings["prompts"]["name"] == "short" and "yes or no" in settings["questions"]["yes_no"]
    assert (settings["dtype"], settings["temperature"], settings["benchmark"]) == ("float32", 0, "pope")
    assert settings["made_with"]["torch"] == torch.__version__
    wider = small_model.build_processor(PROCESSOR.tokenizer)
    wider.image_processor.size = size | {"longest_edge": 10 * size["longest_edge"]}
    with pytest.raises(ValueError, match="max_pixels was"):
        evaluate(model, wider, dataset, out=tmp_path, benchmark="pope", progress=False)
    with pytest.raises(ValueError, match="benchmark was 'pope', now None"):
        evaluate(model, PROCESSOR, dataset, out=tmp_path, progress=False)


def test_unreadable_pictures_are_set_aside_and_done_when_they_are_mended(tmp_path: Path, rollout, model):
    """Not scored 0, the rest of their batch is done, and the next call tries them again."""
    for i in range(5):
        Image.new("RGB", (100, 80)).save(tmp_path / f"{i}.png")
    dataset = make_dataset(5)
    paths = [{"path": str(tmp_path / f"{i}.png"), "bytes": None} for i in range(5)]
    dataset = dataset.remove_columns("image").add_column("image", paths)
    dataset = dataset.cast_column("image", ImageFeature())
    (tmp_path / "1.png").unlink()
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    table = evaluate(model, PROCESSOR, dataset, out=out, batch_size=3, progress=False)
    assert table["prompt_id"].tolist() == rollout.asked == ["row-0", "row-3", "row-4"]
    report, failures = json.loads((out / "report.json").read_text()), pd.read_csv(out / "failures.csv")
    assert (report["count"], report["failed"]) == (3, 2) and report["accuracy"] == pytest.approx(2 / 3)
    assert failures["prompt_id"].tolist() == ["row-1", "row-2"]
    assert "There is no picture" in failures["reason"][0] and "cannot be read" in failures["reason"][1]
    for i in (1, 2):
        (tmp_path / f"{i}.png").write_bytes(whole)
    table = evaluate(model, PROCESSOR, dataset, out=out, batch_size=3, progress=False)
    assert table["prompt_id"].tolist() == [f"row-{i}" for i in range(5)] and len(rollout.asked) == 5
    assert json.loads((out / "report.json").read_text())["failed"] == 0
    assert not (out / "failures.csv").exists()


def test_no_picture_at_all_leaves_the_reasons_and_no_report(tmp_path: Path, rollout, model):
    dataset = make_dataset(2).remove_columns("image")
    dataset = dataset.add_column("image", [{"path": "nowhere.png", "bytes": None}] * 2)
    dataset = dataset.cast_column("image", ImageFeature())
    assert evaluate(model, PROCESSOR, dataset, out=tmp_path, progress=False).empty
    assert len(pd.read_csv(tmp_path / "failures.csv")) == 2 and not (tmp_path / "report.json").exists()


def test_a_second_job_in_the_same_folder_is_refused(tmp_path: Path, rollout, model):
    dataset = make_dataset(2)

    def second(*args, **settings):
        with pytest.raises(ValueError, match="Another evaluation is writing to .*; wait for it"):
            evaluate(model, PROCESSOR, dataset, out=tmp_path, progress=False)
        return FakeRollout.__call__(rollout, *args, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "ground_and_answer", second)
        evaluate(model, PROCESSOR, dataset, out=tmp_path, progress=False)
    assert len(evaluate(model, PROCESSOR, dataset, out=tmp_path, progress=False)) == 2, "the lock is let go"


class FakeSession:
    opened = closed = 0

    def __init__(self, *_) -> None:
        FakeSession.opened += 1

    def close(self) -> None:
        FakeSession.closed += 1


@pytest.mark.parametrize("num_processes", [1, 2, 3, 4])
def test_shares_cover_what_is_missing_once(tmp_path: Path, rollout, model, num_processes: int):
    """And processes that share an engine make as many batches as one another, empty ones included."""
    dataset, batches = make_dataset(7), []
    limits = {"max_crops": 1, "max_turn_tokens": 8, "make_session": FakeSession}
    labels = {"model": "base", "benchmark": None}
    for index in range(num_processes):
        FakeSession.opened = FakeSession.closed = 0
        before = len(rollout.asked)
        state = SimpleNamespace(process_index=index, num_processes=num_processes, is_main_process=index == 0)
        work = runner._Rollouts(model, PROCESSOR, dataset, dataset["question"], limits, labels, tmp_path)
        work.do([0, 1, 2, 4, 6], state, 1, progress=False)
        assert FakeSession.opened == FakeSession.closed
        batches.append(len(rollout.asked) - before + FakeSession.opened)
    assert sorted(rollout.asked) == [f"row-{i}" for i in (0, 1, 2, 4, 6)]
    assert set(batches) == {-(-5 // num_processes)}
    assert runner.read_parts(tmp_path / "predictions")["row"].tolist() == [0, 1, 2, 4, 6]


def test_a_full_disk_is_named_and_the_evaluation_goes_on_when_there_is_room(tmp_path: Path, rollout, model):
    write, full = Path.write_bytes, True

    def on_full_disk(path: Path, content: bytes) -> int:
        if full and path.name.endswith("part_000002.parquet"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", on_full_disk)
        with pytest.raises(
            NoSpaceError, match="part_000002.parquet could not be written.*same command again"
        ):
            evaluate(model, PROCESSOR, make_dataset(5), out=tmp_path, batch_size=2, progress=False)
        assert len(read_predictions(tmp_path)) == 2
        full = False
        table = evaluate(model, PROCESSOR, make_dataset(5), out=tmp_path, batch_size=2, progress=False)
    assert table["row"].tolist() == [0, 1, 2, 3, 4]


def test_settings_out_of_range_touch_nothing(tmp_path: Path, rollout, model):
    with pytest.raises(ValueError, match="batch_size=0 must be 1 or more"):
        evaluate(model, PROCESSOR, make_dataset(1), out=tmp_path / "out", batch_size=0, progress=False)
    assert not (tmp_path / "out").exists()
