"""The command line of evaluations: wrong fields named, a benchmark run, predictions of anybody scored."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_benchmarks import LABELS, write_data_root
from small_evaluation import NUM, config, write_config

from groundr1.data import find_benchmarks, items_of
from groundr1.evaluate import EvaluationConfig, main
from groundr1.evaluation import read_predictions, score
from groundr1.model import load_processor

NEEDED = {"name": "base", "benchmark": "pope", "source": "POPE.jsonl", "out": "out"}
JUDGE = {"url": "http://localhost:1/v1", "model": "judge", "cache": "judge.sqlite"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One evaluation of the tiny model."""
    folder = tmp_path_factory.mktemp("evaluate")
    assert main([str(write_config(folder, "base"))]) == 0
    return folder


WRONG = [
    ({"benchmrk": "pope"}, "'benchmrk' is no field of the configuration of the evaluation; did you mean 'benchmark'"),
    ({"batch_size": 0}, "batch_size=0 must be 1 or more"),
    ({"limit": 0}, "limit=0 must be 1 or more"),
    ({"max_crops": -1}, "max_crops=-1 must not be negative"),
    ({"max_turn_tokens": "many"}, "max_turn_tokens='many' is a str, but must be int"),
    ({"max_pixels": "all"}, "max_pixels='all' must be a number, null or 'model'"),
    ({"max_pixels": 0}, "max_pixels=0 must be 1 or more"),
    ({"max_pixels": 1.5}, "max_pixels=1.5 is a float, but must be int or str or null"),
    ({"dtype": "int8"}, "dtype='int8' is none of"),
    ({"judge": JUDGE}, "pope is scored without a judge"),
    ({"benchmark": "mmvet", "judge": {"url": "http://x"}}, "needs a text 'model'"),
    ({"benchmark": "mmvet", "judge": JUDGE | {"key": "sk"}}, "'key' is unknown.*OPENAI_API_KEY"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=[str(changes) for changes, _ in WRONG])
def test_a_wrong_field_is_named(changes, words) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        EvaluationConfig.from_mapping(NEEDED | changes)
    assert "\n" not in str(caught.value) and "sk" not in re.findall(r"'(\w+)'", str(caught.value))


@pytest.mark.parametrize("missing", NEEDED)
def test_a_missing_field_is_named(missing) -> None:
    with pytest.raises(ValueError, match=f"needs a '{missing}': "):
        EvaluationConfig.from_mapping({name: each for name, each in NEEDED.items() if name != missing})


def test_errors_are_one_paragraph(tmp_path: Path, capsys) -> None:
    for changes, words in [
        ({"limit": "all"}, "limit='all'"),
        ({"benchmark": "popes"}, "benchmark='popes' is none of"),
        ({"source": str(tmp_path / "nowhere.jsonl")}, "nowhere.jsonl"),
        ({"model": str(tmp_path / "nowhere")}, "nowhere"),
    ]:
        with pytest.raises(SystemExit) as caught:
            main([str(write_config(tmp_path, "base", **changes))])
        error = capsys.readouterr().err.splitlines()[-1]
        assert caught.value.code == 2 and words in error and error.startswith("python -m groundr1.evaluate: ")
    assert not (tmp_path / "out").exists(), "a wrong field leaves nothing that refuses the right one"
    for arguments, words in [
        (["score", "pope", str(tmp_path / "nowhere.jsonl")], "nowhere.jsonl"),
        (["score", "pope", "x", "--judge-url", "http://x"], "go together"),
        (["score", "pope", "x", "--parser", "own"], "invalid choice: 'own'"),
    ]:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2 and words in capsys.readouterr().err


def test_help_explains_every_field_and_needs_no_torch(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    names = [each.name for each in dataclasses.fields(EvaluationConfig)]
    assert len(names) == 13 and all(f"\n{name} (" in shown for name in names)
    example = re.search(r"example:\n(.*)", shown, re.DOTALL)[1]
    assert "benchmark: pope" in example and "score --help" in shown
    code = (
        "import sys; from groundr1.evaluate import main\n"
        "for arguments in (['--help'], ['score', '--help']):\n"
        "    try: main(arguments)\n"
        "    except SystemExit: pass\n"
        "assert not {'torch', 'datasets'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[1],
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_benchmark_is_run_and_recorded(folder: Path) -> None:
    out = folder / "out" / "base"
    table = read_predictions(out)
    assert table["row"].tolist() == list(range(NUM)) and (table["benchmark"] == "viscot").all()
    assert table["box"].notna().sum() > NUM // 2 and table["correct"].sum() >= 4, (
        "the tiny model knows scenes"
    )
    report = json.loads((out / "report.json").read_text())
    assert (report["model"], report["count"], report["rejected"], report["failed"]) == ("base", NUM, 0, 0)
    assert report["mean_13"] == pytest.approx(100 * table["correct"].mean()), "one question a set"
    settings = json.loads((out / "settings.json").read_text())
    assert settings["max_pixels"] == load_processor("tiny").image_processor.size["longest_edge"]


@pytest.mark.parametrize("parser", ["groundr1", "gr"])
def test_predictions_alone_give_the_report(folder: Path, capsys, parser: str) -> None:
    """From the folder, from its parts in one file, and as lines of another kit with boxes in the image frame."""
    out = folder / "out" / "base"
    table = read_predictions(out)
    table.to_parquet(folder / "all.parquet")
    with (folder / "them.jsonl").open("w") as file:
        for row in table.to_dict("records"):
            drawn = [list(box) for box in row["boxes"] if box is not None]
            line = json.loads(row["annotation"]) | {"prediction": row["prediction"]}
            file.write(json.dumps(line | {"box": drawn[-1] if drawn else None}) + "\n")
    found = []
    for path in (out, folder / "all.parquet", folder / "them.jsonl"):
        assert main(["score", "viscot", str(path), "--parser", parser, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1] == found[2] and found[0]["parser"] == parser
    if parser == "groundr1":
        report = json.loads((out / "report.json").read_text())
        assert {name: report[name] for name in found[0]} == found[0]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_root(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("label", LABELS)
def test_every_form_is_run_and_scored_alone(data_root: Path, tmp_path: Path, capsys, label: str) -> None:
    """jsonl and TSV, pictures beside or within; the report counts every question that was read, and no other."""
    (found,) = [each for each in find_benchmarks(data_root) if each.label == label]
    place = {"benchmark": found.benchmark, "source": str(found.path), "out": str(tmp_path / "out")}
    root = None if found.image_root is None else str(found.image_root)
    assert main([str(write_config(tmp_path, "base", **place, image_root=root, batch_size=16))]) == 0
    capsys.readouterr()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    table = read_predictions(tmp_path / "out")
    items = [items_of(found.benchmark, json.loads(row)) for row in table["annotation"]]
    assert [item.id for (item,) in items] == table["prompt_id"].tolist()
    assert report["count"] == len(table) and report["rejected"] == (1 if label == "viscot" else 0)
    assert main(["score", found.benchmark, str(tmp_path / "out"), "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    del alone["rejected"]  # of a file's lines, not of the reader's rows
    assert {name: report[name] for name in alone} == alone


def test_scores_are_shown_as_a_table(folder: Path, capsys) -> None:
    assert main(["score", "viscot", str(folder / "out" / "base")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["group", "name", "score", "value", "low", "high", "count", "invalid"]
    assert any(line.split()[:3] == ["set", "docvqa", "rule"] for line in lines)
    assert lines[-1].startswith(f"viscot, parser groundr1, per cent; count: {NUM}, invalid: ")


def test_predictions_of_something_else_are_refused(folder: Path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["score", "pope", str(folder / "out" / "base")])
    assert caught.value.code == 2 and "holds predictions for viscot, not for pope" in capsys.readouterr().err


def test_a_judge_that_is_away_leaves_the_scores_that_need_none(folder: Path, capsys, monkeypatch) -> None:
    """The next run asks the judge and no model: nothing is missing."""
    settings = {**JUDGE, "cache": str(folder / "judge.sqlite"), "retries": 0}
    path = write_config(folder, "judged", judge=settings)
    with pytest.raises(SystemExit) as caught:
        main([str(path)])
    assert caught.value.code == 2 and "localhost:1" in capsys.readouterr().err
    out = folder / "out" / "judged"
    assert json.loads((out / "report.json").read_text())["rule_mean_13"] is not None

    class Generous:
        def __init__(self, url, model, **_) -> None:
            self.model = model

        def ask(self, questions):
            from groundr1.evaluation.judge import Judgement

            return [Judgement(1.0, "fine")] * len(questions)

        def describe(self):
            return {"model": self.model}

    monkeypatch.setattr("groundr1.evaluation.judge.Judge", Generous)
    before = {each.name: each.stat().st_mtime_ns for each in (out / "predictions").iterdir()}
    assert main([str(path)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["judge_mean_13"] > report["rule_mean_13"] and report["judge"]["model"] == "judge"
    assert {each.name: each.stat().st_mtime_ns for each in (out / "predictions").iterdir()} == before
    assert main(["score", "viscot", str(out), "--judge-url", "http://x", "--judge-model", "m", "--json"]) == 0


def test_the_report_is_what_score_returns(folder: Path) -> None:
    out = folder / "out" / "base"
    table = read_predictions(out)
    boxes = [None if box is None else list(box) for box in table["box"]]
    rows = [json.loads(each) for each in table["annotation"]]
    expected = score("viscot", rows, table["prediction"].tolist(), boxes=boxes)
    report = json.loads((out / "report.json").read_text())
    assert {name: report[name] for name in expected} == expected
    assert config(folder, "base")["batch_size"] == 2
