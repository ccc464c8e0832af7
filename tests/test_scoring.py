"""Scores: oracles and constants on the real files, small cases by hand, intervals against a naive bootstrap."""

import doctest
import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundr1.boxes import Box
from groundr1.data.items import items_of
from groundr1.evaluation import scoring
from groundr1.evaluation.intervals import cluster_sums, intervals, resampled_sums
from groundr1.evaluation.judge import Judgement
from groundr1.evaluation.scorers import MME_PERCEPTION, SCORERS, VISCOT_11, VISCOT_12, VISCOT_13
from groundr1.evaluation.scoring import score, score_rows

ANNOTATIONS = Path(__file__).resolve().parents[2] / "shared/data/annotations"
FILES = {
    "viscot": "viscot_subset150",
    "mme": "mme",
    "mmvet": "mmvet",
    "seed": "seed_bench_sample",
    "mme_realworld_lite": "mme_realworld_lite",
    "realworldqa": "realworldqa",
    "pope": "pope",
    "refcoco": "refcoco_sample",
}


def real_rows(benchmark):
    path = ANNOTATIONS / f"{FILES[benchmark]}.jsonl"
    if not path.is_file():
        pytest.skip(f"the real annotation rows are not here ({path}); they are not part of the repository")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def quick(benchmark, rows, predictions, **options):
    return score(benchmark, rows, predictions, num_resamples=0, **options)


# Oracles: the solutions in every form in which a model may give them.

FORMS = {
    "bare": "{0}",
    "tag": "<answer>{0}</answer>",
    "dialogue": "<think>A or B? no</think> <box>[1,2,3,4]</box>\n<think>yes</think> <answer> {0} </answer>",
    "unclosed": "<think>none</think> <answer>{0}",
    "thought": "<think>Ego, not D</think> {0}",
}
SENTENCES = FORMS | {
    "sentence": "The answer is {0}.",
    "announced": "Answer: {0}",
    "full stop": "{0}.",
    "bold": "**{0}**",
}
LETTER_FORMS = SENTENCES | {
    "brackets": "({0})",
    "with text": "{0}. {1}",
    "brackets and text": "({0}) {1}",
    "option": "The correct option is ({0}).",
    "option text": "{1}",
    "option text in tag": "<answer>{1}</answer>",
}
BOX_FORMS = {
    "box tag": "<think>there</think> <box>[{0}, {1}, {2}, {3}]</box>",
    "json": '```json\n[{{"bbox_2d": [{0}, {1}, {2}, {3}], "label": "it"}}]\n```',
    "bare": "[{0}, {1}, {2}, {3}]",
    "answer": "<think>there</think> <answer>[{0},{1},{2},{3}]</answer>",
}


def said(item, form):
    """An item's solution in a form; by its letter where the text of its option is not its own, or is a mere letter."""
    letter = item.solution[0]
    text = item.options.get(letter, "")
    own = [other.casefold() for other in item.options.values()].count(text.casefold()) == 1 and len(text) > 1
    return form.format(letter, text) if own or "{0}" in form else letter


MAXIMA = {
    "pope": {"accuracy": 100, "precision": 100, "recall": 100, "f1": 100, "mean_f1": 100, "yes_ratio": 50},
    "mme": {"total": 2800, "perception": 2000, "cognition": 800},
    "seed": {"accuracy": 100},
    "mme_realworld_lite": {"accuracy": 100, "perception": 100, "reasoning": 100},
    "realworldqa": {"accuracy": 100},
    "mmvet": {"rule": 100, "overall": None},
    "viscot": {"mean_11": 100, "mean_12": 100, "mean_13": 100, "rule_mean_13": 100, "judge_mean_13": None},
}


@pytest.mark.parametrize("benchmark", MAXIMA)
def test_the_solutions_score_the_maximum_in_every_form(benchmark):
    """Sentences are tried on letters, yes and no only: "The answer is green." is not equal to "green"."""
    rows = real_rows(benchmark)
    items = [items_of(benchmark, row, number)[0] for number, row in enumerate(rows)]
    for name in LETTER_FORMS:
        predictions = []
        for item in items:
            forms = {"choice": LETTER_FORMS if item.options else FORMS, "yes_no": SENTENCES}.get(
                item.kind, FORMS
            )
            predictions.append(said(item, forms.get(name, "{0}")))
        result = quick(benchmark, rows, predictions)
        assert {key: result[key] for key in MAXIMA[benchmark]} == pytest.approx(MAXIMA[benchmark]), name
        assert (result["count"], result["invalid"], result["left_out"]) == (len(rows), 0, 0), name
        for group in result["groups"].values():
            assert sum(cell["count"] for cell in group.values()) >= len(rows)


@pytest.mark.parametrize("form", BOX_FORMS)
def test_the_annotated_boxes_score_the_maximum_in_every_notation(form):
    rows = real_rows("refcoco")
    predictions = [[BOX_FORMS[form].format(*item.box) for item in items_of("refcoco", row)] for row in rows]
    result = quick("refcoco", rows, predictions)
    assert (result["per_expression"], result["any_expression"], result["invalid"]) == (100, 100, 0)
    assert result["mean_iou"] == pytest.approx(100)
    assert (result["count"], result["clusters"]) == (sum(len(row["solution"]) for row in rows), len(rows))
    one_text = quick("refcoco", rows, [texts[0] for texts in predictions])
    assert (one_text["per_expression"], one_text["count"]) == (100, len(rows)), (
        "the first expression of each object"
    )

    rows = real_rows("viscot")
    items = [items_of("viscot", row)[0] for row in rows]
    dialogue = [
        BOX_FORMS[form].format(*item.box or (1, 2, 3, 4)) + f"\n<answer>{item.solution[0]}</answer>"
        for item in items
    ]
    result = quick("viscot", rows, dialogue)
    assert (result["acc_50"], result["mean_13"]) == (100, 100) and result["mean_iou"] == pytest.approx(100)
    assert result["boxes"] == {"valid": 1941, "sorted": 1, "cut": 8, "outside": 9, "predicted": 1950}


# Constants: what a model that always says the same gets, by counting.


def test_pope_always_the_same():
    rows = real_rows("pope")
    always_yes = quick("pope", rows, ["Yes"] * 9000)
    expected = {"accuracy": 50, "precision": 50, "recall": 100, "f1": 200 / 3, "yes_ratio": 100}
    for part in (always_yes, *always_yes["groups"]["category"].values()):
        assert {key: part[key] for key in expected} == pytest.approx(expected)
    assert always_yes["headline"] == pytest.approx({"accuracy": 50, "f1": 200 / 3})
    assert always_yes["mean_f1"] == pytest.approx(200 / 3)
    always_no = quick("pope", rows, ["No."] * 9000)
    expected = {"accuracy": 50, "precision": 0, "recall": 0, "f1": 0, "yes_ratio": 0}
    assert {key: always_no[key] for key in expected} == expected
    silent = quick("pope", rows, [""] * 9000)
    assert (silent["accuracy"], silent["invalid"], silent["status"]) == (0, 9000, {"empty": 9000})
    assert (always_yes["clusters"], always_yes["groups"]["category"]["random"]["count"]) == (500, 3000)


def test_mme_always_yes_is_50_points_a_subtask():
    result = score("mme", real_rows("mme"), ["Yes"] * 2374)
    assert result["headline"] == {"total": 700, "perception": 500, "cognition": 200}
    assert {cell["score"] for cell in result["groups"]["subtask"].values()} == {50}
    assert (len(result["groups"]["subtask"]), result["clusters"], result["incomplete_pictures"]) == (
        14,
        1187,
        0,
    )
    assert result["intervals"]["total"] == [700, 700], "every picture has one yes and one no"


@pytest.mark.parametrize("benchmark", ["seed", "mme_realworld_lite", "realworldqa", "viscot"])
@pytest.mark.parametrize("letter", "ABCDE")
def test_a_constant_letter_scores_its_share(benchmark, letter):
    """Counted from the rows as they are, without the reader."""
    rows = real_rows(benchmark)
    wanted = {letter, f"<answer>{letter}</answer>"}
    result = quick(benchmark, rows, [f"({letter})"] * len(rows))
    if benchmark == "viscot":
        for name in ("gqa", "openimages"):
            solutions = [row["solution"] for row in rows if row["dataset"] == name]
            share = 100 * sum(solution in wanted for solution in solutions) / len(solutions)
            assert result["groups"]["set"][name]["rule"] == pytest.approx(share)
    else:
        assert result["accuracy"] == pytest.approx(
            100 * sum(row["solution"] in wanted for row in rows) / len(rows)
        )
    if benchmark == "mme_realworld_lite":
        counts = {"A": 518, "B": 493, "C": 460, "D": 397, "E": 51}
        assert result["accuracy"] == pytest.approx(100 * counts[letter] / 1919)


def test_refcoco_always_the_whole_picture():
    """A hit where the object covers half of its picture: IoU is its share of the area. Counted from width x height."""
    rows = real_rows("refcoco")
    large = [row["bboxs"][0][2] * row["bboxs"][0][3] >= row["width"] * row["height"] / 2 for row in rows]
    num = [len(row["solution"]) for row in rows]
    whole = [f"[0, 0, {row['width']}, {row['height']}]" for row in rows]
    result = quick("refcoco", rows, [[text] * count for text, count in zip(whole, num, strict=True)])
    assert result["per_expression"] == pytest.approx(100 * np.dot(large, num) / sum(num))
    assert result["any_expression"] == pytest.approx(100 * np.mean(large))


def test_real_groups_are_the_files_own():
    rows = real_rows("mme_realworld_lite")
    groups = quick("mme_realworld_lite", rows, ["A"] * len(rows))["groups"]
    assert {name: cell["count"] for name, cell in groups["task"].items()} == {
        "Perception": 1169,
        "Reasoning": 750,
    }
    assert groups["task_subtask"]["Reasoning/monitoring"]["count"] == 150
    rows = real_rows("mmvet")
    groups = quick("mmvet", rows, [""] * len(rows))["groups"]
    assert len(groups["combination"]) == 16
    capabilities = Counter(each for row in rows for each in row["Category"].split(","))
    assert {name: cell["count"] for name, cell in groups["capability"].items()} == capabilities


# Small cases by hand.


def pope_row(number, solution, category="random"):
    return {
        "Question_id": str(number),
        "problem": "Is there a cat?",
        "solution": solution,
        "Category": category,
    }


def test_pope_by_hand_with_an_answer_that_cannot_be_read():
    """Solutions y y y n n, answers y n ? y n: right 2 of 5, TP 1, FP 1, FN 2 (the unread one says no), yes 2 of 5."""
    rows = [
        pope_row(1 + 6 * number, solution)
        for number, solution in enumerate(["yes", "yes", "yes", "no", "no"])
    ]
    result = quick("pope", rows, ["Yes", "no", "perhaps", "<answer>yes</answer>", "No, it is a dog."])
    expected = {"accuracy": 40, "precision": 50, "recall": 100 / 3, "f1": 40, "yes_ratio": 40}
    assert {key: result[key] for key in expected} == pytest.approx(expected)
    assert (result["count"], result["invalid"], result["clusters"]) == (5, 1, 5)
    assert result["mean_f1"] is None, "two categories are missing"
    assert result["status"] == {"answer tag": 1, "whole text": 4}


def test_popes_merged_rows_count_in_each_of_their_categories():
    rows = [
        {
            "index": 1,
            "question": "Is there a cat?",
            "answer": "Yes",
            "category": "adversarial,popular,random",
        },
        {"index": 2, "question": "Is there a dog?", "answer": "No", "category": "random"},
    ]
    result = quick("pope", rows, ["yes", "yes"])
    assert (result["count"], result["accuracy"]) == (4, 75)
    assert result["groups"]["category"]["random"]["accuracy"] == 50
    assert result["mean_f1"] == pytest.approx((100 + 100 + 200 / 3) / 3)


def mme_row(subtask, number, solution):
    return {
        "Image": f"images/{subtask}/{number // 2:04}.png",
        "dataset": subtask,
        "problem": "Is it? Please answer yes or no.",
        "solution": solution,
        "problem_id": number,
    }


def test_mme_by_hand():
    """Two pictures, one wholly right, one half: accuracy 75, accuracy+ 50, 125 points; a third has one question."""
    rows = [mme_row("count", number, "Yes" if number % 2 == 0 else "No") for number in range(5)]
    result = quick("mme", rows[:4], ["Yes", "No", "Yes", "Yes"])
    cell = result["groups"]["subtask"]["count"]
    assert cell == {"count": 4, "invalid": 0, "score": 125, "accuracy": 75, "accuracy_plus": 50}
    assert result["total"] is None and result["headline"] == {}, "thirteen subtasks are missing"
    assert len(result["missing"]) == 13 and "count" not in result["missing"]
    partial = quick("mme", rows, ["Yes", "No", "Yes", "Yes", "No"])
    assert partial["groups"]["subtask"]["count"]["accuracy"] == 60
    assert partial["groups"]["subtask"]["count"]["accuracy_plus"] == 50, "over the complete pictures"
    assert partial["incomplete_pictures"] == 1


def test_mmes_totals_are_sums_over_subtasks_of_any_size():
    """OCR has two pictures and one wrong answer, 75 + 50 points; the nine others have one picture and 200 points."""
    rows = [
        mme_row(subtask, number, "Yes" if number % 2 == 0 else "No")
        for subtask in MME_PERCEPTION
        for number in range(4 if subtask == "ocr" else 2)
    ]
    predictions = [row["solution"] for row in rows]
    predictions[-1] = "cannot tell"
    result = quick("mme", rows, predictions)
    assert (result["perception"], result["cognition"], result["total"]) == (1925, None, None)
    assert result["headline"] == {"perception": 1925} and result["invalid"] == 1


def hr_row(index, cycle, category, answer):
    options = {letter: f"{category} {letter}" for letter in "ABCD"}
    return {"index": index, "question": f"{category}?", "answer": answer, "category": category, "cycle_category": cycle,
            **options}  # fmt: skip


def test_hrbench_is_the_mean_over_the_rotations():
    """Rotation 0: single 1 of 1, cross 0 of 1; rotation 1: single 0 of 1, cross 1 of 2. Not 2 of 5, which is micro."""
    rows = [
        hr_row(0, "0", "single", "A"),
        hr_row(1, "0", "cross", "A"),
        hr_row(2, "1", "single", "B"),
        hr_row(3, "1", "cross", "B"),
        hr_row(4, "1", "cross", "C"),
    ]
    result = quick("hrbench", rows, ["A", "B", "A", "B", "<answer>(D)</answer>"])
    assert result["single"] == 50 and result["cross"] == 25
    assert result["average"] == pytest.approx((50 + 100 / 3) / 2)
    assert result["groups"]["cycle"]["1"]["average"] == pytest.approx(100 / 3)
    assert result["clusters"] == 2, "the rotations of a question are one cluster"


def test_vstar_is_micro_over_both_categories():
    """3 of 4 attributes and 0 of 1 positions: 60 overall, where the mean of the two would be 37.5."""
    rows = [
        {"text": "What colour?\n(A) red\n(B) blue\n(C) green\n(D) pink\nAnswer with the letter.", "label": label,
         "category": category, "question_id": number}
        for number, (label, category) in enumerate([("A", "direct_attributes")] * 4 + [("B", "relative_position")])
    ]  # fmt: skip
    result = quick("vstar", rows, ["A", "Answer: A", "red", "Blue", "(A)"])
    assert result["headline"] == {"accuracy": 60, "direct_attributes": 75, "relative_position": 0}


def refcoco_row(number, expressions, split="RefCOCO/testA"):
    return {"image": f"{number}.png", "width": 100, "height": 200, "bboxs": [[10, 20, 40, 60]], "dataset": split,
            "problem": "", "solution": expressions, "problem_id": number}  # fmt: skip


HIT, MISS = "[10, 20, 50, 80]", "[60, 20, 90, 80]"


def test_refcoco_by_hand():
    """Three and one expressions, hits 1 of 3 and 0 of 1: 25 per expression, 50 any. Boxes are x, y, width, height."""
    rows = [refcoco_row(1, ["a", "b", "c"]), refcoco_row(2, ["d"])]
    result = quick("refcoco", rows, [[MISS, f"<box>{HIT}</box>", "nowhere"], MISS])
    assert (result["per_expression"], result["any_expression"], result["mean_iou"]) == (25, 50, 25)
    assert (result["count"], result["invalid"], result["clusters"]) == (4, 1, 2)
    assert result["status"] == {"box tag": 1, "no box": 1, "whole text": 2}
    assert result["groups"]["split"]["RefCOCO/testA"]["any_expression"] == 50


def test_boxes_of_a_view_are_rescaled_to_the_picture():
    """The picture is 100 x 200, the view 56 x 112: the object is at [5.6, 11.2, 28, 44.8] of it."""
    row = refcoco_row(1, ["a"]) | {"view_size": [56, 112]}
    table = score_rows("refcoco", [row], ["<box>[5.6, 11.2, 28, 44.8]</box>"])
    assert table.loc[0, "box"] == pytest.approx(Box(10, 20, 50, 80)) and table.loc[0, "iou"] == pytest.approx(
        1
    )
    given = score_rows("refcoco", [row], ["<box>[1, 1, 2, 2]</box>"], boxes=[[10, 20, 50, 80]])
    assert given.loc[0, "score"] == 1, "boxes that are given are in the image frame"
    nested = score_rows(
        "refcoco", [refcoco_row(1, ["a", "b"])], [["", HIT]], boxes=[[[10, 20, 50, 80], None]]
    )
    assert nested["score"].tolist() == [1, 0] and nested["status"].tolist() == ["given", "no box"]
    with pytest.raises(ValueError, match="row 0: it has a view_size but not the picture's width and height"):
        quick(
            "refcoco", [{key: value for key, value in row.items() if key not in ("width", "height")}], [HIT]
        )


def viscot_row(name, solution, number=0, box=(10, 20, 50, 80), problem="What?"):
    return {"image": f"/data/cot/{name}/{number}.jpg", "width": 100, "height": 200, "bboxs": [list(box)],
            "dataset": name, "problem": problem, "solution": solution, "problem_id": number}  # fmt: skip


def test_viscot_by_hand():
    """Every set right but Visual7W (0), emotic (a wrong label, 0) and docvqa (one of two words, 50)."""
    rows = [viscot_row(name, "Yes" if name in ("vsr", "cub") else "two words") for name in VISCOT_13]
    wrong = {"v7w": "no", "emotic": "no", "docvqa": "two"}
    predictions = [wrong.get(row["dataset"], row["solution"]) for row in rows]
    result = quick("viscot", rows, predictions)
    assert (len(VISCOT_11), len(VISCOT_12), len(VISCOT_13)) == (11, 12, 13)
    assert result["mean_11"] == result["rule_mean_11"] == pytest.approx(1050 / 11)
    assert result["mean_12"] == pytest.approx(1050 / 12) and result["mean_13"] == pytest.approx(1050 / 13)
    assert (result["judge_mean_11"], result["mean_iou"], result["acc_50"]) == (None, None, None), (
        "no judge, no box"
    )
    assert result["missing"] == []
    partial = quick("viscot", rows[1:], predictions[1:])
    assert (partial["mean_11"], partial["missing"]) == (None, ["docvqa"])


def test_viscots_boxes_by_hand():
    """IoU 1, 1/2 and 0 (no box) on usable annotations; a fourth lies outside its picture and does not count."""
    rows = [viscot_row("dude", "x", number) for number in range(3)] + [
        viscot_row("dude", "x", 3, (300, 20, 400, 80))
    ]
    predictions = [f"<box>{HIT}</box> x", "<box>[10, 20, 50, 50]</box> x", "x", f"<box>{HIT}</box> x"]
    result = quick("viscot", rows, predictions)
    assert result["boxes"] == {"valid": 3, "sorted": 0, "cut": 0, "outside": 1, "predicted": 3}
    assert result["mean_iou"] == pytest.approx(50) and result["acc_50"] == pytest.approx(200 / 3)
    assert result["groups"]["set"]["dude"]["rule"] == 100, "its question is still one"


def test_mmvet_by_hand():
    rows = [
        {
            "Question_id": "v1_0",
            "Image": "0.png",
            "problem": "x?",
            "solution": "-1<AND>-5",
            "Category": "ocr,math",
        },
        {
            "Question_id": "v1_1",
            "Image": "1.png",
            "problem": "y?",
            "solution": "no<OR>empty",
            "Category": "ocr",
        },
    ]
    result = quick("mmvet", rows, ["-1", "It is empty."])
    assert (result["overall"], result["rule"], result["headline"]) == (None, 75, {"rule": 75})
    groups = result["groups"]
    assert {name: cell["rule"] for name, cell in groups["capability"].items()} == {"math": 50, "ocr": 75}
    assert {name: cell["count"] for name, cell in groups["combination"].items()} == {"math,ocr": 1, "ocr": 1}


class HalfJudge:
    """Gives half a point, and no score to whatever says "rubbish"."""

    def ask(self, questions):
        self.questions = questions
        return [
            Judgement(None, "no number") if "rubbish" in each.answer else Judgement(0.5, "0.5")
            for each in questions
        ]

    def describe(self):
        return {"model": "half"}


def test_what_a_judge_cannot_judge_is_left_out_of_its_mean_and_counted():
    rows = [
        {"Question_id": f"v1_{number}", "Image": f"{number}.png", "problem": "x?", "solution": "1<OR>2",
         "Category": "ocr"}
        for number in range(4)
    ]  # fmt: skip
    judge = HalfJudge()
    result = quick(
        "mmvet", rows, ["<think>1</think> <answer>2</answer>", "rubbish", "rubbish 1", "1"], judge=judge
    )
    assert (result["overall"], result["rule"]) == (50, 75)
    assert (result["judge"], result["judged"], result["unjudged"]) == ({"model": "half"}, 2, 2)
    assert result["unjudged_reasons"] == {"no number": 2}
    table = score_rows("mmvet", rows, ["2", "rubbish", "rubbish 1", "1"], judge=judge)
    assert table["judge_reason"].tolist() == ["0.5", "no number", "no number", "0.5"]
    assert judge.questions[0] == ("mmvet", "x?", "1<OR>2", "2"), (
        "tags and thoughts are not shown to the judge"
    )
    viscot = [viscot_row(name, "Yes") for name in VISCOT_13]
    result = quick("viscot", viscot, ["Yes"] * 13, judge=judge)
    assert (result["mean_11"], result["judge_mean_13"], result["rule_mean_13"]) == (50, 50, 100)
    silent = quick("viscot", viscot, ["rubbish"] * 13, judge=judge)
    assert (silent["mean_11"], silent["rule_mean_11"]) == (None, 0), (
        "the rule does not stand in for the judge"
    )


# What must not pass in silence.


@pytest.mark.parametrize(
    ("benchmark", "predictions", "options", "message"),
    [
        ("popes", ["yes"], {}, "benchmark='popes' is unknown; give one of viscot, mme"),
        (
            "pope",
            ["yes"],
            {"parser": "ours"},
            "parser='ours' is unknown; give one of groundr1, lmms, vlmeval, gr",
        ),
        ("pope", ["yes"], {"judge": HalfJudge()}, "pope is scored without a judge"),
        ("pope", [], {}, "predictions has 0 entries for 1 rows"),
        ("pope", ["yes", "no"], {}, "predictions has 2 entries for 1 rows"),
        ("pope", [None], {}, r"1 of 1 predictions are no text \(row 0: None\)"),
        ("pope", [float("nan")], {}, "row 0: nan"),
        ("pope", [["yes"]], {}, "1 texts for 1 questions; give a text"),
        ("pope", ["yes"], {"boxes": []}, "boxes has 0 entries for 1 rows"),
        ("mme", ["yes"], {}, "1 of 1 rows cannot be scored as mme; row 0: no field 'dataset' or 'category'"),
    ],
)
def test_mistakes_are_named_with_their_row(benchmark, predictions, options, message):
    if benchmark == "mme":
        rows = [{"problem": "?", "solution": "yes", "problem_id": 1}]
    else:
        rows = [pope_row(1, "yes")]
    with pytest.raises(ValueError, match=message):
        score(benchmark, rows, predictions, **options)


def test_more_mistakes():
    with pytest.raises(ValueError, match="No row to score"):
        score("pope", [], [])
    with pytest.raises(ValueError, match="2 texts for 3 questions"):
        score("refcoco", [refcoco_row(1, ["a", "b", "c"])], [[HIT, MISS]])
    with pytest.raises(ValueError, match="the given box is 'middle'"):
        score("refcoco", [refcoco_row(1, ["a"])], [HIT], boxes=["middle"])
    with pytest.raises(ValueError, match="1 boxes for 2 expressions; nest boxes like the predictions"):
        score("refcoco", [refcoco_row(1, ["a", "b"])], [[HIT, MISS]], boxes=[[None]])
    corners = refcoco_row(1, ["a"]) | {"dataset": "docvqa"}
    with pytest.raises(ValueError, match="row 0: dataset 'docvqa' is no split of RefCOCO"):
        score("refcoco", [corners], [HIT])
    with pytest.raises(ValueError, match="Visual-CoT"):
        score("viscot", [viscot_row("gqa", "Yes")], ["Yes"], parser="lmms")


def test_seeds_questions_on_videos_are_left_out_and_counted():
    row = {"question": "What?", "choice_a": "red", "choice_b": "blue", "choice_c": "pink", "choice_d": "grey",
           "answer": "B", "question_id": "1", "question_type_id": 1, "data_id": "x", "data_type": "image"}  # fmt: skip
    result = quick("seed", [row, row | {"data_type": "video", "question_id": "2"}], ["B", "A"])
    assert (result["count"], result["left_out"], result["accuracy"]) == (1, 1, 100)


# Other kits' parsers.


def test_other_parsers_read_otherwise():
    """ "Yes." is lmms-eval's undoing on POPE, whose recall forgets it and whose yes-ratio counts the solutions."""
    rows = [pope_row(1 + 6 * number, solution) for number, solution in enumerate(["yes", "yes", "no", "no"])]
    predictions = ["yes", "Yes.", "no", "no"]
    ours, lmms = (quick("pope", rows, predictions, parser=parser) for parser in ("groundr1", "lmms"))
    assert (ours["accuracy"], ours["recall"], ours["yes_ratio"]) == (100, 100, 50)
    assert (lmms["accuracy"], lmms["recall"], lmms["yes_ratio"], lmms["invalid"]) == (75, 100, 50, 1)
    assert set(quick("pope", rows, predictions, parser="vlmeval")["headline"]) == {"f1"}
    refcoco = quick("refcoco", [refcoco_row(1, ["a", "b"])], [[MISS, HIT]], parser="gr")
    assert refcoco["headline"] == {"any_expression": 100} and refcoco["per_expression"] == 50
    fractions = quick("refcoco", [refcoco_row(1, ["a"])], ["[0.1, 0.1, 0.5, 0.4]"], parser="lmms")
    assert fractions["per_expression"] == 100 and fractions["mean_iou"] == pytest.approx(100)


# Properties.


def small(benchmark, numbers):
    """Rows and predictions of a benchmark from a list of numbers, right and wrong as they fall."""
    rows, predictions = [], []
    for position, number in enumerate(numbers):
        right, answer = number % 3 > 0, "yes" if number % 2 else "no"
        if benchmark == "pope":
            category = ("adversarial", "popular", "random")[number % 3]
            rows.append(pope_row(1 + 2 * position, answer, category))
            predictions.append(answer if right else ("maybe" if number % 5 == 0 else "yes"))
        elif benchmark == "mme":
            rows.append(mme_row(("count", "ocr")[position // 2 % 2], position, answer))
            predictions.append(answer if right else "")
        elif benchmark == "refcoco":
            rows.append(refcoco_row(position, ["a", "b"][: 1 + number % 2]))
            predictions.append([HIT if right else MISS] + [MISS] * (number % 2))
        else:
            name = VISCOT_13[number % 13]
            rows.append(viscot_row(name, "two words", position // 2))
            rows[-1]["problem_id"] = position
            predictions.append("two words" if right else f"two {number} <box>{HIT}</box> two")
    return rows, predictions


def numbers_in(result):
    """Every score of a result with its interval, by name."""
    for name, ends in result["intervals"].items():
        group, _, rest = name.partition("/")
        value, _, key = rest.rpartition("/")
        yield name, result["groups"][group][value][key] if rest else result[name], ends


@pytest.mark.parametrize("benchmark", ["pope", "mme", "refcoco", "viscot"])
@settings(max_examples=15, deadline=None)
@given(numbers=st.lists(st.integers(0, 1000), min_size=1, max_size=40), seed=st.integers(0, 5))
def test_the_order_of_the_rows_changes_nothing_and_scores_keep_to_their_range(benchmark, numbers, seed):
    rows, predictions = small(benchmark, numbers)
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    result = score(benchmark, rows, predictions, num_resamples=50)
    shuffled = score(benchmark, [rows[i] for i in order], [predictions[i] for i in order], num_resamples=50)
    assert json.dumps(shuffled, sort_keys=True) == json.dumps(result, sort_keys=True), "and it is JSON"
    largest = 2800 if benchmark == "mme" else 100
    for name, value, (low, high) in numbers_in(result):
        assert 0 <= value <= largest + 1e-9, name
        assert (low is None) == (high is None)
        assert low is None or (0 <= low <= high <= largest + 1e-9), name


def noisy(rate, rows, right, wrong):
    generator = np.random.default_rng(3)
    return [
        right(row) if hit else wrong(row)
        for row, hit in zip(rows, generator.random(len(rows)) < rate, strict=True)
    ]


def test_intervals_contain_the_score():
    rows = [pope_row(number + 1, "yes" if number % 2 else "no", category)
            for category in ("adversarial", "popular", "random") for number in range(300)]  # fmt: skip
    predictions = noisy(0.8, rows, lambda row: row["solution"], lambda row: "yes")
    result = score("pope", rows, predictions)
    assert result["clusters"] == 50 and len(result["intervals"]) == 6 + 3 * 5
    for name, value, (low, high) in numbers_in(result):
        assert low <= value <= high, name
        if not name.endswith(("recall", "mean_f1")) and "yes_ratio" not in name:
            assert low < high, name


def test_clusters_make_intervals_wider():
    """Six equal answers on a picture are one observation, not six: the interval is about sqrt(6) as wide."""
    rows = [pope_row(number + 1, "yes") for number in range(600)]
    together = score("pope", rows, ["yes" if number // 6 % 2 else "no" for number in range(600)])
    apart = score("pope", rows, ["yes" if number % 2 else "no" for number in range(600)])
    wide, narrow = (np.ptp(result["intervals"]["accuracy"]) for result in (together, apart))
    assert narrow == 0, "three of six on every picture: nothing varies from picture to picture"
    assert wide == pytest.approx(2 * 1.96 * 100 * 0.5 / math.sqrt(100), rel=0.1)


# The bootstrap by itself.


def naive(sums, clusters, num, seed):
    """Resample clusters one by one and add their rows up."""
    generator = np.random.default_rng(seed)
    names = sorted(set(clusters))
    of = {name: sums[[cluster == name for cluster in clusters]].sum(axis=0) for name in names}
    return np.array([
        sum(of[name] for name in generator.choice(names, size=len(names))) for _ in range(num)
    ])  # fmt: skip


def test_the_bootstrap_is_that_of_whole_clusters():
    """Mean and covariance of the resampled sums as theory has them, an F1's interval as the naive way does."""
    generator = np.random.default_rng(0)
    clusters = [f"c{number}" for number in generator.integers(0, 40, size=200)]
    sums = (generator.random((200, 3)) < (0.5, 0.6, 0.7)).astype(float)
    by_cluster = cluster_sums(sums, clusters)
    ours = resampled_sums(by_cluster, 20_000, 2)
    assert ours.mean(axis=0) == pytest.approx(sums.sum(axis=0), abs=0.3)
    assert np.cov(ours.T) == pytest.approx(40 * np.cov(by_cluster.T, ddof=0), rel=0.05)

    def f1(totals):
        return 200 * totals[:, :1] / (totals[:, 1:2] + totals[:, 2:])

    ends = intervals(sums, clusters, f1, [40], num=4000, seed=3)[0]
    assert ends == pytest.approx(
        np.quantile(f1(naive(sums, clusters, 4000, 1))[:, 0], [0.025, 0.975]), abs=0.8
    )


def test_cluster_sums_add_up_whatever_the_order():
    sums = np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    assert cluster_sums(sums, ["b", "a", "b"]).tolist() == [[101.0, 202.0], [10.0, 20.0]]
    drawn = resampled_sums(cluster_sums(sums, ["b", "a", "b"]), 20, 0)
    assert (drawn == resampled_sums(np.array([[10.0, 20.0], [101.0, 202.0]]), 20, 0)).all(), (
        "kinds, not places"
    )
    assert set(drawn[:, 0]) <= {20.0, 111.0, 202.0}


def test_one_cluster_says_nothing_about_spread():
    result = score("pope", [pope_row(1, "yes"), pope_row(2, "no")], ["yes", "yes"])
    assert result["accuracy"] == 50 and result["intervals"]["accuracy"] == [None, None]
    assert quick("pope", [pope_row(1, "yes")], ["yes"])["intervals"] == {}


def test_documented_examples_hold():
    assert doctest.testmod(scoring).failed == 0
    assert set(SCORERS) == {*FILES, "vstar", "hrbench"}


def test_other_kits_read_boxes_in_the_frame_of_the_view_too():
    row = {"image": "1.png", "width": 200, "height": 100, "bboxs": [[20, 10, 100, 50]], "dataset": "RefCOCO/val",
           "solution": ["dog"], "problem_id": 1}  # fmt: skip
    in_view = "[10, 10, 60, 60]"  # of a view of 100 x 100: half as wide, as high
    for parser in ("groundr1", "gr"):
        (judged,) = score_rows(
            "refcoco", [row | {"view_size": [100, 100]}], [in_view], parser=parser
        ).itertuples()
        assert (judged.score, judged.iou) == (1.0, 1.0)
        assert tuple(judged.box) == (20.0, 10.0, 120.0, 60.0), "the image frame"
        assert quick("refcoco", [row], [in_view], parser=parser)["per_expression"] == 0.0
