"""Questions as they are put: what the answer shall look like is said once, by the benchmark or by us."""

import json
from pathlib import Path

import pytest

from groundr1.data.items import Item, items_of
from groundr1.evaluation.questions import word_question

ANNOTATIONS = Path(__file__).resolve().parents[2] / "shared/data/annotations"
OPTIONS = {"A": "door", "B": "wall"}
LETTER, YES_NO = "\nAnswer with the letter of the option.", "\nAnswer yes or no."

# Kind, options, question, what is appended, reason.
CASES = [
    ("choice", OPTIONS, "Which?\nA. door\nB. wall", LETTER, "no instruction"),
    ("choice", OPTIONS, "Which?\nA. door\nB. wall\nAnswer with the letter.", "", "V* on the Hub says it itself"),
    ("choice", {}, "What is behind the bench?", "", "Visual7W has no options to give the letter of"),
    ("choice", OPTIONS, "Which letter is on it?\nA. door\nB. wall", LETTER, "a letter asked after is no instruction"),
    ("yes_no", {}, "Is it red?", YES_NO, "POPE"),
    ("yes_no", {}, "Is it red? Please answer yes or no.", "", "MME says it itself"),
    ("yes_no", {}, "Is there a sign that says no?", YES_NO, "one of the two words is not the instruction"),
    ("yes_no", {}, "Is there a note with eyes?", YES_NO, "whole words only"),
    ("exact", {}, "How many?\nPlease answer directly with a single word or number.", "", "RealWorldQA"),
    ("rouge", {}, "Describe it.", "", "open"),
    ("ocr", {}, "What does {it} say?", "", "braces are text"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "question", "appended", "reason"), CASES)
def test_a_question_gets_the_line_that_it_lacks(kind, options, question, appended, reason) -> None:
    assert word_question(Item("1", question, ("x",), kind, "1", options=options)) == question + appended


def test_an_expression_becomes_a_question_for_its_box() -> None:
    asked = word_question(Item("1", "man {left}", (), "box", "1"))
    assert "man {left}" in asked and "[x1,y1,x2,y2]" in asked


# File -> benchmark and the share of its questions that get a line.
FILES = {
    "mme": ("mme", 0),
    "pope": ("pope", 1),
    "realworldqa": ("realworldqa", 0),
    "mme_realworld_lite": ("mme_realworld_lite", 1),
    "seed_bench_sample": ("seed", 1),
    "mmvet": ("mmvet", 0),
    "refcoco_sample": ("refcoco", 1),
    "viscot_subset150": ("viscot", 2 / 13),  # gqa and openimages
}


@pytest.mark.parametrize("name", FILES)
def test_official_questions(name) -> None:
    path = ANNOTATIONS / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"the annotation file {path} is not here")
    benchmark, share = FILES[name]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    items = [items_of(benchmark, row, number)[0] for number, row in enumerate(rows)]
    changed = [word_question(item) != item.question for item in items]
    assert sum(changed) == round(share * len(items))
