"""Comparison tables: numbers computed by hand, the paper's apart, dashes where nothing is known; CSV and LaTeX."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from groundr1.data.paper import paper_results
from groundr1.diagnostics import accuracy_by_scale
from groundr1.evaluation import score, score_rows
from groundr1.evaluation.judge import Judgement
from groundr1.evaluation.tables import (
    CAPTION,
    comparison,
    load_reports,
    paired_gains,
    scene_reports,
    score_table,
    write_table,
)
from groundr1.evaluation.tables.rows import ROWS

ANNOTATIONS = Path(__file__).resolve().parents[2] / "shared/data/annotations"


def report(
    benchmark: str, *, count: int = 100, parser: str = "groundr1", groups=None, ends=None, **scores
) -> dict:
    top = {"benchmark": benchmark, "parser": parser, "count": count, "invalid": 3}
    return {**top, **scores, "groups": groups or {}, "intervals": ends or {}}


@pytest.fixture
def reports():
    """Two models on HR-Bench 4K, one of them on MME, and both on a RefCOCO split."""
    found = {"count": 40, "invalid": 0, "per_expression": 50.0, "any_expression": 75.0}
    refcoco = report("refcoco", count=40, groups={"split": {"RefCOCO/val": found}}, per_expression=50.0)
    return {
        "base": {
            "hrbench_4k": report(
                "hrbench", average=68.2, single=70.0, cross=None, ends={"average": [65.04, 71.3]}
            ),
            "refcoco": refcoco,
        },
        "SRPO": {
            "hrbench_4k": report(
                "hrbench", average=75.0, single=69.96, cross=60.0, ends={"average": [72.0, 78.1]}
            ),
            "mme": report(
                "mme", total=2360.94, perception=1700.0, cognition=660.94, ends={"total": [2300.0, 2400.0]}
            ),
            "refcoco": {**refcoco, "intervals": {"split/RefCOCO/val/any_expression": [60.0, 90.0]}},
        },
    }


def test_cells_are_as_in_the_papers_tables_with_an_interval(reports):
    table = comparison(reports)
    assert table.columns.tolist() == ["questions", "base", "SRPO"]
    line = table.loc[("HR-Bench 4K", "average")]
    assert line.tolist() == ["100", "68.2 [65.0, 71.3]", "75.0 (+6.8) [72.0, 78.1]"]
    assert table.loc[("HR-Bench 4K", "single"), "SRPO"] == "70.0 (+0.0)", "never -0.0"
    assert table.loc[("HR-Bench 4K", "cross")].tolist() == ["— / 100", "—", "60.0"], (
        "null in the base's report"
    )
    assert table.loc[("MME", "total")].tolist() == ["— / 100", "—", "2360.9 [2300.0, 2400.0]"], (
        "no base, no gain"
    )


def test_groups_whose_names_hold_a_slash_are_found(reports):
    table = comparison(reports)
    line = table.loc[("RefCOCO/+/g", "RefCOCO val, any expression")]
    assert line.tolist() == ["40", "75.0", "75.0 (+0.0) [60.0, 90.0]"]
    assert table.loc[("RefCOCO/+/g", "RefCOCO val, per expression"), "base"] == "50.0"
    assert not [name for _, name in table.index if "testA" in name], "a split that nobody ran has no line"


def test_the_papers_numbers_stand_in_columns_of_their_own(reports):
    table = comparison(reports, paper_results())
    paper = ["paper (7B): base", "paper (7B): GRPO", "paper (7B): SRPO"]
    assert table.columns.tolist() == ["questions", "base", "SRPO", *paper]
    expected = {
        ("HR-Bench 4K", "average"): ["68.2", "73.8 (+5.6)", "75.0 (+6.8)"],
        ("HR-Bench 4K", "single"): ["—", "—", "—"],
        ("V* Bench", "accuracy"): ["75.5", "85.3 (+9.8)", "87.4 (+11.9)"],
        ("MME", "total"): [
            "2327.0",
            "2360.9 (+33.9)",
            "(+83.4)",
        ],  # v3 prints the gain only, over its own base
        ("Visual-CoT", "mean of 12 sets, judge"): ["72.5", "81.7 (+9.2)", "—"],
        ("Visual-CoT", "CUB, judge"): ["52.4", "85.3 (+32.9)", "—"],
        ("RefCOCO/+/g", "RefCOCO val, any expression"): [
            "90.0",
            "92.9 (+2.9)",
            "93.1",
        ],  # v3 has no base of its own
        ("RefCOCO/+/g", "RefCOCOg test, any expression"): ["87.2", "90.2 (+3.0)", "—"],
        ("RefCOCO/+/g", "RefCOCO val, per expression"): ["—", "—", "—"],
    }
    for line, cells in expected.items():
        assert table.loc[line, paper].tolist() == cells, line
    assert table.loc[("V* Bench", "accuracy"), ["questions", "base", "SRPO"]].tolist() == ["—"] * 3
    pd.testing.assert_frame_equal(
        table[["questions", "base", "SRPO"]].loc[comparison(reports).index], comparison(reports)
    )


def test_every_number_of_the_papers_three_models_has_one_line():
    results = paper_results()
    wanted = results[results["model"].isin(["Qwen2.5-VL-7B", "Ground-R1", "Ground-R1-GRPO"])]
    table = comparison({}, results)
    shown = (table != "—").to_numpy().sum()
    assert shown == len(wanted) == sum(1 for cells in table.to_numpy() for cell in cells if cell != "—")
    assert not table.index.duplicated().any()


def test_a_rule_score_never_stands_beside_the_papers_judge():
    sets = {"set": {"docvqa": {"count": 2, "invalid": 0, "rule": 40.0, "judge": None, "score": 40.0}}}
    own = report("viscot", count=2, groups=sets, rule_mean_12=None, judge_mean_12=None, mean_iou=12.5)
    table = comparison({"base": {"viscot": own}}, paper_results())
    assert table.loc[("Visual-CoT", "DocVQA, rule")].tolist() == ["2", "40.0", "—", "—", "—"]
    assert table.loc[("Visual-CoT", "DocVQA, judge")].tolist() == ["—", "—", "88.0", "88.4 (+0.4)", "—"]
    assert table.loc[("Visual-CoT", "mean IoU"), "base"] == "12.5"


def test_models_that_answered_other_numbers_of_questions_are_not_subtracted(reports):
    reports["SRPO"]["hrbench_4k"]["count"] = 40
    line = comparison(reports).loc[("HR-Bench 4K", "average")]
    assert line.tolist() == ["100 / 40", "68.2 [65.0, 71.3]", "75.0 [72.0, 78.1]"]
    assert score_table(reports)["gain"].notna().sum() == 2, "RefCOCO's"


def test_models_read_by_different_parsers_are_refused(reports):
    reports["SRPO"]["hrbench_4k"]["parser"] = "lmms"
    with pytest.raises(ValueError, match="'hrbench_4k' were made with different parsers.*'SRPO': 'lmms'"):
        comparison(reports)


def test_models_graded_by_different_judges_are_refused():
    graded = {name: {"mmvet": report("mmvet", overall=50.0, judge={"model": name})} for name in ("a", "b")}
    with pytest.raises(ValueError, match="'mmvet' were made with different judges"):
        comparison(graded)
    graded["b"]["mmvet"]["judge"] = graded["a"]["mmvet"]["judge"]
    assert comparison(graded, baseline="a").loc[("MM-Vet", "judge"), "b"] == "50.0 (+0.0)"


def test_several_files_of_one_benchmark_keep_their_labels_and_share_the_papers_line():
    pope = report("pope", accuracy=80.0, f1=81.0)
    table = comparison({"base": {"pope_tsv": pope, "pope_jsonl": pope}}, paper_results())
    titles = [title for title, _ in table.index if title.startswith("POPE")]
    assert titles == ["POPE (pope_tsv)"] * 2 + ["POPE (pope_jsonl)"] * 2
    assert (table["paper (7B): base"] == "83.6").sum() == 2, "beside each of ours, and not once more"
    one = report(
        "refcoco", groups={"split": {"RefCOCO/val": {"count": 9, "invalid": 0, "any_expression": 1.0}}}
    )
    two = report(
        "refcoco", groups={"split": {"RefCOCO/testA": {"count": 9, "invalid": 0, "any_expression": 2.0}}}
    )
    table = comparison({"base": {"refcoco_val": one, "refcoco_testa": two}}, paper_results())
    assert (table["paper (7B): base"] == "90.0").sum() == (table["paper (7B): base"] == "92.5").sum() == 1
    assert table.loc[("RefCOCO/+/g (refcoco_testa)", "RefCOCO testA, any expression"), "base"] == "2.0"


def test_an_unknown_benchmark_is_refused():
    with pytest.raises(ValueError, match="'quiz' has no lines"):
        comparison({"base": {"quiz": report("quiz", accuracy=1.0)}})


def test_numbers_are_those_of_the_reports(reports):
    table = score_table(reports).set_index(["benchmark", "score", "model"])
    line = table.loc[("HR-Bench 4K", "average", "SRPO")]
    assert line[["count", "invalid", "value", "low", "high"]].tolist() == [100, 3, 75.0, 72.0, 78.1]
    assert line["gain"] == pytest.approx(6.8)
    assert ("HR-Bench 4K", "cross", "base") not in table.index
    assert score_table({}).empty and comparison({}).empty


YES_NO = [
    {
        "Question_id": str(1 + 6 * number),
        "problem": "Is there a cat?",
        "solution": solution,
        "Category": "random",
    }
    for number, solution in enumerate(["yes", "no", "yes", "no"])
]


def test_real_reports_have_every_line_that_the_table_quotes():
    """A line whose path no report has would be a dash for ever."""
    made = score("pope", YES_NO, ["<answer>yes</answer>"] * 4, num_resamples=100)
    table = comparison({"base": {"pope": made}})
    assert table["base"].str.partition(" ")[0].to_dict() == {
        ("POPE", "accuracy"): "50.0",
        ("POPE", "F1"): "66.7",
    }
    assert table["base"].str.contains(r"\[.+\]$").all(), "with their intervals"


@pytest.mark.parametrize(
    ("label", "file"),
    [
        ("viscot", "viscot_subset150"),
        ("mme", "mme"),
        ("mmvet", "mmvet"),
        ("seed", "seed_bench_sample"),
        ("mme_realworld_lite", "mme_realworld_lite"),
        ("realworldqa", "realworldqa"),
        ("refcoco", "refcoco_sample"),
    ],
)
def test_official_files_fill_the_lines(label, file):
    path = ANNOTATIONS / f"{file}.jsonl"
    if not path.is_file():
        pytest.skip(f"the official rows are not part of the repository, and not at {path}")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    texts = ["<box>[1, 2, 30, 40]</box> <answer>A</answer>"] * len(rows)
    made = score(
        label, rows, texts, judge=Judge() if label in ("viscot", "mmvet") else None, num_resamples=20
    )
    table = comparison({"base": {label: made}})
    title, lines = ROWS[label]
    splits = {"refcoco": ("RefCOCO val", "RefCOCO testA", "RefCOCO testB")}.get(label)
    wanted = [row.score for row in lines if splits is None or row.score.startswith(splits)]
    assert table.index.tolist() == [(title, name) for name in wanted]
    assert table["base"].str.fullmatch(r"[0-9.]+ \[[0-9.]+, [0-9.]+\]").all(), "each with its interval"


@pytest.mark.parametrize("label", ["vstar", "hrbench_4k"])
def test_rows_of_high_resolution_fill_the_lines(label):
    vstar = [
        {"text": "Which?\n(A) red\n(B) blue", "label": "A", "category": each, "question_id": str(number)}
        for number, each in enumerate(["direct_attributes", "relative_position"] * 2)
    ]
    options = dict(zip("ABCD", ["red", "blue", "pink", "grey"], strict=True))
    hrbench = [
        {
            "index": number,
            "question": "Which?",
            **options,
            "answer": "A",
            "category": each,
            "cycle_category": cycle,
        }
        for number, (each, cycle) in enumerate(
            (each, cycle) for each in ("single", "cross") for cycle in "0123"
        )
    ]
    rows = vstar if label == "vstar" else hrbench
    made = score("vstar" if label == "vstar" else "hrbench", rows, ["A"] * len(rows), num_resamples=20)
    table = comparison({"base": {label: made}})
    assert table.index.tolist() == [(ROWS[label][0], row.score) for row in ROWS[label][1]]
    assert table["base"].str.startswith("100.0").all()


class Judge:
    """Gives everything half a point."""

    def ask(self, questions):
        return [Judgement(0.5, "half") for _ in questions]

    def describe(self):
        return {"model": "half"}


def test_paired_gains_by_hand():
    texts = {"base": ["yes"] * 4, "SRPO": ["yes", "no", "yes", "yes"]}
    scored = {model: {"pope": score_rows("pope", YES_NO, answers)} for model, answers in texts.items()}
    (line,) = paired_gains(scored).to_dict("records")
    assert {key: line[key] for key in ("benchmark", "model", "baseline", "count", "unpaired")} == {
        "benchmark": "pope", "model": "SRPO", "baseline": "base", "count": 4, "unpaired": 0
    }  # fmt: skip
    assert (line["difference"], line["difference_low"], line["verdict"]) == (25.0, 0.0, "no clear difference")
    partial = {
        "base": scored["base"],
        "SRPO": {"pope": scored["SRPO"]["pope"][1:], "mme": scored["SRPO"]["pope"]},
    }
    (line,) = paired_gains(partial).to_dict("records")
    assert (line["count"], line["unpaired"], line["difference"]) == (3, 1, pytest.approx(100 / 3))
    assert paired_gains({"SRPO": scored["SRPO"]}).empty, "no baseline to compare with"


@pytest.mark.parametrize(
    ("gain", "verdict"), [(1.0, "higher"), (-1.0, "lower"), (0.0, "no clear difference")]
)
def test_paired_gains_resample_clusters(gain, verdict):
    base = pd.DataFrame({"id": range(8), "cluster": [0, 0, 1, 1, 2, 2, 3, 3], "score": 0.0})
    (line,) = paired_gains({"base": {"x": base}, "new": {"x": base.assign(score=gain)}}).to_dict("records")
    assert (line["difference_low"], line["difference_high"]) == (100 * gain, 100 * gain)
    assert line["verdict"] == verdict
    one = base.assign(cluster=0)
    (line,) = paired_gains({"base": {"x": one}, "new": {"x": one.assign(score=gain)}}).to_dict("records")
    assert math.isnan(line["difference_low"]) and line["verdict"] == "no clear difference", (
        "one cluster has no spread"
    )


def test_held_out_scenes_have_lines_too():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"prompt_id": range(30), "true_area": np.tile([0.01, 0.2, 0.9], 10)})
    models = [table.assign(model=name, correct=rng.random(30) < 0.6) for name in ("base", "GRPO")]
    accuracy = accuracy_by_scale(pd.concat(models), num=100)
    lines = comparison(scene_reports(accuracy))
    assert lines.index.get_level_values(1).tolist() == [
        "small evidence", "medium evidence", "large evidence", "all"
    ]  # fmt: skip
    first = accuracy.iloc[0]
    low, high = 100 * first["accuracy_low"], 100 * first["accuracy_high"]
    assert lines["base"].iloc[0] == f"{100 * first['accuracy']:.1f} [{low:.1f}, {high:.1f}]"
    assert lines["questions"].tolist() == ["10", "10", "10", "30"]
    assert lines["GRPO"].str.contains(r"\([+-]").all()


def test_reports_are_read_from_an_experiments_folder(tmp_path, reports):
    for model, of_model in reports.items():
        (tmp_path / model / "predictions").mkdir(parents=True)
        (tmp_path / model / "report.json").write_text(
            "{}"
        )  # that of the held-out scenes, which has another form
        for label, each in of_model.items():
            (tmp_path / model / label).mkdir()
            (tmp_path / model / label / "report.json").write_text(json.dumps(each))
    read = load_reports(tmp_path)
    assert list(read) == ["base", "SRPO"] and read == reports
    pd.testing.assert_frame_equal(comparison(read), comparison(reports))
    (tmp_path / "base" / "mme").mkdir()
    (tmp_path / "base" / "mme" / "report.json").write_text('{"accuracy": 1}')
    with pytest.raises(ValueError, match="mme/report.json is no report of a benchmark"):
        load_reports(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_reports(tmp_path / "absent")


def test_csv_reads_back_as_it_was(tmp_path, reports):
    table = comparison(reports, paper_results())
    paths = write_table(table, tmp_path / "new" / "table.of.scores", caption="x")
    assert [path.name for path in paths] == ["table.of.scores.csv", "table.of.scores.tex"]
    pd.testing.assert_frame_equal(pd.read_csv(paths[0], dtype=str, index_col=[0, 1]), table)
    assert all(len(row) == 8 for row in csv.reader(paths[0].open(encoding="utf-8")))


def test_latex_is_whole_escaped_and_says_whose_numbers_they_are(tmp_path, reports):
    table = comparison({"base": reports["base"], "50 %_{x} & #1 ~^\\ <$>": reports["SRPO"]}, paper_results())
    _, path = write_table(table, tmp_path / "table", caption=CAPTION.format(model="the tiny model"))
    text = path.read_text(encoding="utf-8")
    assert "Ours, of the tiny model: per cent" in text and "were not measured here" in text
    names = (
        r"50 \%\_\{x\} \& \#1 \textasciitilde{}\textasciicircum{}\textbackslash{} \textless{}\$\textgreater{}"
    )
    assert text.count(f"& {names} &") == 2, "in the header of the first page and of the others"
    assert text.isascii(), "dashes and dots are commands"
    body = text.partition(r"\endfoot")[2].partition(r"\end{longtable}")[0].strip().splitlines()
    lines = [line for line in body if line != r"\addlinespace"]
    assert len(lines) == len(table)
    for line in lines:
        assert line.endswith(r" \\") and len(re.findall(r"(?<!\\)&", line)) == 7
    assert body.count(r"\addlinespace") == table.index.get_level_values(0).nunique() - 1
    for opening, closing in ((r"\begin{longtable}", r"\end{longtable}"), (r"\begingroup", r"\endgroup")):
        assert text.count(opening) == text.count(closing) == 1
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert r"\toprule" in text and r"\midrule" in text and r"\bottomrule" in text


def test_lines_are_named_once():
    for title, rows in ROWS.values():
        assert len({row.score for row in rows}) == len({row.path for row in rows}) == len(rows), title
