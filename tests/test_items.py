"""Every official form of a benchmark's row becomes the same kind of item, and no other row becomes one."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundr1.boxes import Box
from groundr1.data.items import BENCHMARK_NAMES, BadRow, LeftOut, items_of
from groundr1.data.items.boxes import repair
from groundr1.data.items.forms import split_options

ANNOTATIONS = Path(__file__).resolve().parents[2] / "shared" / "data" / "annotations"
needs_annotations = pytest.mark.skipif(
    not ANNOTATIONS.is_dir(), reason="the public annotation files are not part of the repository"
)
BASE64 = "iVBORw0KGgo" + "A" * 600  # what matters is its length: items never look into it
YES_NO = "Please answer yes or no."
LETTER_ONLY = "Please answer directly with only the letter of the correct option and nothing else."
LETTER_DIRECTLY = "Answer with the option's letter from the given choices directly."
CHOICE = "Which?\nA. door\nB. wall\nC. roof"
THREE = {"A": "door", "B": "wall", "C": "roof"}
COLUMNS = {"A": "door", "B": "wall", "C": "roof", "D": ""}  # an empty cell is no option

# One row of every form, worded like the official ones: (benchmark, form) -> row.
ROWS = {
    ("mme", "jsonl"): {
        "Image": "images/existence/1.jpg", "width": 9, "height": 9, "dataset": "existence", "split": "val",
        "problem": f"Is there a cat? {YES_NO}", "solution": "No", "problem_id": 7,
    },
    ("mme", "hub"): {
        "question_id": "existence/1.jpg", "question": f"Is there a cat? {YES_NO}", "answer": "No",
        "category": "existence",
    },
    ("mme", "tsv"): {
        "index": "7", "image": BASE64, "image_path": "existence/1.jpg", "question": f"Is there a cat? {YES_NO}",
        "answer": "No", "category": "existence",
    },
    ("pope", "jsonl"): {
        "Question_id": "8", "Image": "images/img_7.png", "problem": "Is there a cat in the image?",
        "solution": "yes", "Category": "popular",
    },
    ("pope", "hub"): {
        "id": "3007", "question_id": "8", "question": "Is there a cat in the image?", "answer": "yes",
        "image_source": "COCO_1", "category": "popular",
    },
    ("pope", "tsv"): {
        "index": "8", "image": BASE64, "question": "Is there a cat in the image?", "answer": "Yes",
        "category": "popular",
    },
    ("mmvet", "jsonl"): {
        "Question_id": "v1_0", "Image": "v1_0.png", "problem": "What is x?", "solution": "-1<AND>5<OR>five",
        "Category": "ocr,math", "Task": "web",
    },
    ("mmvet", "hub"): {
        "question_id": "v1_0", "question": "What is x?", "answer": "-1<AND>5<OR>five", "capability": "ocr,math",
        "image_source": "web",
    },
    ("mmvet", "tsv"): {
        "index": "0", "image": BASE64, "question": "What is x?", "answer": "-1<AND>5<OR>five",
        "category": "ocr,math",
    },
    ("seed", "jsonl"): {
        "Question_id": "101", "Image": "11_22", "problem": CHOICE, "Question_Type": 5, "solution": "B",
        "Category": "", "Subtask": "", "Task": "SEED-Bench_image",
    },
    ("seed", "hub"): {
        "question_id": "101", "question": "Which?", "choice_a": "door", "choice_b": "wall", "choice_c": "roof",
        "choice_d": None, "answer": "B", "data_type": "image", "question_type_id": 5, "data_id": "11_22",
    },
    ("seed", "tsv"): {
        "index": "101", "image": BASE64, "question": "Which?", **COLUMNS, "answer": "B",
        "category": "Instances Counting",
    },
    ("mme_realworld_lite", "jsonl"): {
        "Question_id": "Perception/Monitoring/x/1", "Image": "1.png", "problem": "Which?\n(A) door\n(B) wall\n(C) roof",
        "Question_Type": "Multiple Choice", "solution": "B", "Category": "Vehicle/attribute/color",
        "Subtask": "Monitoring", "Task": "Perception",
    },
    ("mme_realworld_lite", "hub"): {
        "index": 5, "bytes": BASE64, "question": "Which?", "multi-choice options": ["(A) door", "(B) wall", "(C) roof"],
        "answer": "B", "category": "Perception/Monitoring", "l2-category": "vehicle/attribute/orientation",
    },
    ("mme_realworld_lite", "tsv"): {
        "index": "5", "image": BASE64, "question": "Which?",
        "multi-choice options": "['(A) door', '(B) wall', '(C) roof']", "answer": "B",
        "category": "Perception/Monitoring", "l2-category": "vehicle/attribute/color",
    },
    ("realworldqa", "jsonl"): {"problem": f"{CHOICE}\n{LETTER_ONLY}", "solution": "B", "Image": "images/img_0.png"},
    ("realworldqa", "hub"): {"question": f"{CHOICE}\n{LETTER_ONLY}", "answer": "B", "image_path": "0.webp"},
    ("realworldqa", "tsv"): {"index": "4", "image": BASE64, "question": "Which?", **COLUMNS, "answer": "B"},
    ("vstar", "hub"): {
        "text": f"Which?\n(A) door\n(B) wall\n(C) roof\n{LETTER_DIRECTLY}", "label": "B",
        "category": "direct_attributes", "question_id": "3",
    },
    ("vstar", "tsv"): {
        "index": "3", "image": BASE64, "question": "Which?", **COLUMNS, "answer": "B",
        "category": "direct_attributes",
    },
    ("hrbench", "hub"): {
        "index": 4, "image": BASE64, "question": "Which?", **COLUMNS, "answer": "B", "category": "single",
        "cycle_category": "1",
    },
    ("hrbench", "tsv"): {
        "index": "4", "image": BASE64, "question": "Which?", **COLUMNS, "answer": "B", "category": "single",
        "cycle_category": "1",
    },
    ("viscot", "jsonl"): {
        "image": "/home/them/cot_image_data/gqa/1.jpg", "width": 100, "height": 80, "bboxs": [[10, 20, 30, 40]],
        "dataset": "gqa", "split": "val", "problem": 'Which?"  \nA. door  \nB. wall  \nC. roof\n',
        "solution": "<answer>B</answer>", "problem_id": 7,
    },
    ("refcoco", "jsonl"): {
        "image": "RefCOCO/testA/images/1.png", "width": 100, "height": 80, "bboxs": [[10.0, 20.0, 20.0, 20.0]],
        "dataset": "RefCOCO/testA", "problem": "", "solution": ["left man", "man in red"], "problem_id": 3,
    },
    ("refcoco", "hub"): {
        "question_id": "9", "question": "Please describe", "answer": ["left man", "man in red"],
        "bbox": [10.0, 20.0, 20.0, 20.0], "file_name": "COCO_1.jpg", "dataset": "RefCOCO/testA",
    },
    ("refcoco", "tsv"): {
        "index": "5", "image": BASE64, "category": "RefCOCO testA", "width": "100", "height": "80",
        "question": "Please provide the bounding box of the region this describes: <ref>left man</ref>",
        "answer": "[10, 20, 30, 40]",
    },
    ("refcoco", "REC"): {
        "img_path": "COCO_1.jpg", "expression": "left man", "bbox": [10.0, 20.0, 30.0, 40.0], "height": 80,
        "width": 100, "sent_id": 61, "dataset": "RefCOCO/testA",
    },
}  # fmt: skip

# What the item of a row must be, the same for all forms unless the form is named.
EXPECTED = {
    "mme": {"solution": ("no",), "kind": "yes_no", "groups": {"subtask": "existence", "part": "perception"}},
    "pope": {"solution": ("yes",), "kind": "yes_no", "groups": {"category": "popular"}},
    "mmvet": {"solution": ("-1<AND>5<OR>five",), "kind": "rouge", "groups": {"combination": "math,ocr"}},
    "seed": {"question": CHOICE, "solution": ("B",), "options": THREE, "id": "101",
             "groups": {"question_type": "instance counting"}},
    "mme_realworld_lite": {"question": CHOICE, "solution": ("B",), "options": THREE, "groups": {
        "task": "Perception", "subtask": "monitoring", "category": "vehicle/attribute"}},
    "realworldqa": {"solution": ("B",), "options": THREE, "groups": {"answer": "letter"}},
    "vstar": {"solution": ("B",), "options": THREE, "groups": {"category": "direct_attributes"}},
    "hrbench": {"question": CHOICE, "solution": ("B",), "options": THREE,
                "groups": {"category": "single", "cycle": "1"}},
    "viscot": {"question": CHOICE, "solution": ("B",), "options": THREE, "kind": "choice", "groups": {"set": "gqa"},
               "box": Box(10.0, 20.0, 30.0, 40.0), "size": (100, 80), "id": "gqa-7"},
    "refcoco": {"question": "left man", "solution": (), "kind": "box", "groups": {"split": "RefCOCO/testA"},
                "box": Box(10.0, 20.0, 30.0, 40.0)},
}  # fmt: skip

IDS = {
    ("mme", "jsonl"): "existence-7", ("mme", "hub"): "existence-existence/1.jpg-no", ("mme", "tsv"): "existence-7",
    ("pope", "jsonl"): "popular-8", ("mmvet", "hub"): "v1_0",
    ("mme_realworld_lite", "jsonl"): "Perception/Monitoring/x/1#12", ("mme_realworld_lite", "tsv"): "5",
    ("realworldqa", "jsonl"): "row-12", ("realworldqa", "tsv"): "row-4", ("vstar", "hub"): "direct_attributes-3",
    ("hrbench", "hub"): "4", ("refcoco", "jsonl"): "RefCOCO/testA-3-0", ("refcoco", "hub"): "RefCOCO/testA-12-0",
    ("refcoco", "tsv"): "RefCOCO/testA-5", ("refcoco", "REC"): "RefCOCO/testA-61",
}  # fmt: skip
CLUSTERS = {
    ("mme", "jsonl"): "existence/images/existence/1.jpg", ("mme", "hub"): "existence/existence/1.jpg",
    ("mme", "tsv"): "existence/existence/1.jpg", ("pope", "jsonl"): "picture-1", ("pope", "hub"): "COCO_1",
    ("pope", "tsv"): "index-8", ("seed", "jsonl"): "11_22", ("seed", "hub"): "11_22",
    ("refcoco", "jsonl"): "RefCOCO/testA-3",
}  # fmt: skip


@pytest.mark.parametrize(("benchmark", "form"), ROWS)
def test_every_form_becomes_the_same_item(benchmark, form):
    item = items_of(benchmark, ROWS[benchmark, form], 12)[0]
    found = {key: getattr(item, key) for key in EXPECTED[benchmark]}
    if isinstance(item.options, dict):
        found |= {"options": dict(item.options)} if "options" in found else {}
    assert found == EXPECTED[benchmark]
    assert item.id == IDS.get((benchmark, form), item.id)
    assert item.cluster == CLUSTERS.get((benchmark, form), item.cluster)
    assert BASE64 not in (item.image, item.cluster, item.id)


def test_every_benchmark_is_in_the_table():
    assert {benchmark for benchmark, _ in ROWS} == set(BENCHMARK_NAMES) == set(EXPECTED)


@pytest.mark.parametrize(("benchmark", "form"), ROWS)
def test_no_other_benchmark_takes_the_row(benchmark, form):
    for other in set(BENCHMARK_NAMES) - {benchmark}:
        with pytest.raises(BadRow):
            items_of(other, ROWS[benchmark, form])


def test_an_unknown_benchmark_is_refused():
    with pytest.raises(ValueError, match="unknown; give one of viscot"):
        items_of("mmmu", {})


@pytest.mark.parametrize(
    ("text", "stem", "options", "instruction", "why"),
    [
        ("Which?\nA. door\nB. wall", "Which?", "door|wall", "", "the plain form"),
        ("Which?\n(A) door\n(B) wall", "Which?", "door|wall", "", "MME-RealWorld and V*"),
        ("Which?\n\nA: door\nB: wall\nPlease", "Which?", "door|wall", "Please", "ten rows of RealWorldQA"),
        ("All?\n\nA. One\nB Two cars\nC. Three\nDo", "All?", "One|Two cars|Three", "Do", "a stop is missing"),
        ("Which?\nA.Helmet\nB)Mitt", "Which?", "Helmet|Mitt", "", "rows of gqa"),
        ("Which?\n(A) a long\ntext\n(B) wall", "Which?", "a long text|wall", "", "an option of two lines"),
        (
            "Which?\n(A) x\n(B) y\nAnswer with the letter.",
            "Which?",
            "x|y",
            "Answer with the letter.",
            "not in B",
        ),
        ("A. Smith signed it. Who?", "A. Smith signed it. Who?", "", "", "one option is none"),
        ("B. is first?\nA. door\nB. wall", "B. is first?", "door|wall", "", "options begin at A"),
        ("Why?", "Why?", "", "", "an open question"),
    ],
)
def test_options_are_taken_apart(text, stem, options, instruction, why):
    found = split_options(text)
    assert (found.stem, "|".join(text for _, text in found.lines), found.instruction) == (
        stem,
        options,
        instruction,
    )


@given(
    st.lists(st.text("abc xyz", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=5),
    st.sampled_from(["{}. {}", "({}) {}", "{}: {}", "{}) {}"]),
)
def test_options_survive_any_notation(texts, notation):
    lines = [notation.format(letter, text) for letter, text in zip("ABCDE", texts, strict=False)]
    found = split_options("\n".join(["Which one?", *lines, LETTER_DIRECTLY]))
    assert (found.stem, [text for _, text in found.lines], found.instruction) == (
        "Which one?",
        texts,
        LETTER_DIRECTLY,
    )
    assert split_options(found.question) == found


def test_the_instruction_of_vstar_is_not_in_the_last_option():
    """lmms-eval's pattern swallows it into option D, and then adds it again."""
    (item,) = items_of("vstar", ROWS["vstar", "hub"])
    assert item.options["C"] == "roof"
    assert item.question == f"{CHOICE}\n{LETTER_DIRECTLY}"


def test_a_letter_given_twice_keeps_its_first_text_and_the_question_both():
    row = ROWS["mme_realworld_lite", "jsonl"] | {"problem": "Which?\n(A) a\n(B) b\n(D) d\n(D) none\n(E) e"}
    (item,) = items_of("mme_realworld_lite", row)
    assert item.options["D"] == "d" and "\nD. d\nD. none\n" in item.question


def test_a_printed_list_is_read_and_never_run():
    row = ROWS["mme_realworld_lite", "tsv"] | {"multi-choice options": "[__import__('os').getcwd()]"}
    with pytest.raises(BadRow, match="list of texts"):
        items_of("mme_realworld_lite", row)


def test_open_and_letter_answers_of_realworldqa_are_told_apart():
    row = ROWS["realworldqa", "jsonl"]
    (item,) = items_of("realworldqa", row | {"problem": "Is it?\nAnswer with a word.", "solution": "Yes"}, 3)
    assert (item.id, item.kind, item.groups, item.options) == ("row-3", "exact", {"answer": "open"}, {})
    # VLMEvalKit's columns have lost options that the question still has (its issue 677).
    (item,) = items_of("realworldqa", ROWS["realworldqa", "tsv"] | {"question": CHOICE, "C": ""})
    assert dict(item.options) == THREE


def test_a_pope_row_of_several_categories_counts_once_in_each():
    items = items_of("pope", ROWS["pope", "tsv"] | {"category": "adversarial,popular,random"})
    assert [item.id for item in items] == ["adversarial-8", "popular-8", "random-8"]
    assert len({item.cluster for item in items}) == 1
    (second,) = items_of("pope", ROWS["pope", "tsv"] | {"category": "adversarial,popular", "item_number": 1})
    assert second == items[1]


def test_six_consecutive_questions_of_pope_are_one_picture():
    rows = [ROWS["pope", "jsonl"] | {"Question_id": str(number)} for number in (1, 6, 7, 3000)]
    clusters = [items_of("pope", row)[0].cluster for row in rows]
    assert clusters == ["picture-0", "picture-0", "picture-1", "picture-499"]


def test_the_rotations_of_a_question_are_one_cluster():
    row = ROWS["hrbench", "tsv"]
    rotated = row | {
        "A": "wall",
        "B": "roof",
        "C": "door",
        "answer": "A",
        "cycle_category": "2",
        "index": "55",
    }
    same, turned, other = (
        items_of("hrbench", each)[0].cluster for each in (row, rotated, row | {"question": "What?"})
    )
    assert same == turned != other
    elsewhere = items_of("hrbench", row | {"picture": "other.png"})[0].cluster
    assert elsewhere != same, "equal words on another picture are another question"


def test_rows_that_point_to_a_picture_are_in_its_cluster():
    clusters = {
        items_of("seed", ROWS["seed", "tsv"] | changes)[0].cluster
        for changes in ({}, {"index": "102", "image": "101"}, {"index": "103", "image": 101})
    }
    assert clusters == {"index-101"}


@pytest.mark.parametrize("changes", [{"data_type": "video"}, {"question_type_id": 10}])
def test_questions_of_seed_on_videos_are_left_out(changes):
    with pytest.raises(LeftOut, match="video"):
        items_of("seed", ROWS["seed", "hub"] | changes)


@pytest.mark.parametrize(
    ("name", "question_type"),
    [
        ("Text Understanding", "text recognition"),
        ("Instance Attributes", "instance attribute"),
        (9, "text recognition"),
    ],
)
def test_a_type_of_seed_has_one_name(name, question_type):
    key = "category" if isinstance(name, str) else "question_type_id"
    (item,) = items_of("seed", ROWS["seed", "tsv"] | {"category": "", key: name})
    assert item.groups == {"question_type": question_type}


@pytest.mark.parametrize(
    ("benchmark", "form", "changes", "reason"),
    [
        ("mme", "jsonl", {"dataset": "gqa"}, "no MME subtask"),
        ("mme", "jsonl", {"solution": "maybe"}, "yes-no question"),
        ("mme", "jsonl", {"problem": " "}, "no field 'problem'"),
        ("pope", "jsonl", {"Category": "adversarial,common"}, "'common' is no POPE category"),
        ("pope", "jsonl", {"Question_id": "x"}, "must be a number from 1"),
        ("mmvet", "jsonl", {"Category": "ocr,maths"}, "no MM-Vet capabilities"),
        ("mmvet", "jsonl", {"solution": None}, "no field 'solution'"),
        ("seed", "jsonl", {"Question_Type": 13}, "no SEED question type"),
        ("seed", "jsonl", {"solution": "door"}, "must be a letter"),
        ("mme_realworld_lite", "jsonl", {"Task": "Perceiving"}, "Perception and Reasoning"),
        ("mme_realworld_lite", "jsonl", {"problem": "Which?"}, "no options"),
        ("vstar", "hub", {"category": "other"}, "no V. category"),
        ("hrbench", "tsv", {"cycle_category": ""}, "no field 'cycle_category'"),
        ("viscot", "jsonl", {"dataset": "RefCOCO/val"}, "belongs to RefCOCO, whose boxes are x, y, width"),
        ("viscot", "jsonl", {"dataset": "clevr"}, "no Visual-CoT set"),
        ("viscot", "jsonl", {"bboxs": [[0, 0, 1, 1], [0, 0, 2, 2]]}, "2 boxes"),
        ("viscot", "jsonl", {"width": -1}, "above 0"),
        ("refcoco", "jsonl", {"dataset": "gqa"}, "no split of RefCOCO"),
        ("refcoco", "jsonl", {"bboxs": [[10, 20, 0, 20]]}, "inverted, empty"),
        ("refcoco", "jsonl", {"bboxs": [[200, 20, 10, 20]]}, "outside the picture"),
        ("refcoco", "hub", {"dataset": None}, "add the field dataset"),
        ("refcoco", "tsv", {"category": "COCO val"}, "no split of RefCOCO"),
        ("refcoco", "tsv", {"answer": "[1, 2, 3]"}, "3 coordinates"),
        ("refcoco", "REC", {"sent_id": None, "question_id": 4}, "detection pass"),
    ],
)
def test_a_bad_row_says_what_is_wrong(benchmark, form, changes, reason):
    with pytest.raises(BadRow, match=reason):
        items_of(benchmark, ROWS[benchmark, form] | changes)


@pytest.mark.parametrize(
    ("corners", "box", "note"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40), ""),
        ((30, 40, 10, 20), (10, 20, 30, 40), "corners sorted"),
        ((90, 70, 110, 85), (90, 70, 100, 80), "cut to the picture"),
        ((110, 20, 90, 40), (90, 20, 100, 40), "corners sorted; cut to the picture"),
        ((10, 20, 100.001, 40), (10, 20, 100, 40), ""),
        ((100, 20, 130, 40), None, "outside the picture, left out"),
        ((10, 20, 10, 40), None, "empty, left out"),
        ((10, 20, float("nan"), 40), None, "empty, left out"),
    ],
)
def test_boxes_are_repaired_by_the_rule_of_evaluation(corners, box, note):
    assert repair(Box(*corners), (100, 80)) == (None if box is None else Box(*box), note)


def test_a_question_stays_whatever_became_of_its_box():
    row = ROWS["viscot", "jsonl"]
    (outside,) = items_of("viscot", row | {"bboxs": [[200, 0, 210, 9]]})
    assert (outside.box, outside.note, outside.solution) == (None, "outside the picture, left out", ("B",))
    (resized,) = items_of("viscot", row | {"picture_size": [50, 40]})
    assert (resized.box, resized.note, resized.size) == (
        None,
        "the picture is of another size, left out",
        (50, 40),
    )


def test_the_frames_of_refcoco():
    """One box in all four forms: x, y, width, height in Ground-R1's and the Hub's, corners in the TSV and REC."""
    boxes = {
        form: items_of("refcoco", ROWS["refcoco", form])[0].box for form in ("jsonl", "hub", "tsv", "REC")
    }
    assert set(boxes.values()) == {Box(10.0, 20.0, 30.0, 40.0)}
    tsv = ROWS["refcoco", "tsv"]
    columns = {f"bbox_{name}": value for name, value in zip(("x1", "y1", "x2", "y2"), "1234", strict=True)}
    assert items_of("refcoco", tsv | columns)[0].box == Box(1.0, 2.0, 3.0, 4.0)
    shares = tsv | {"answer": "[0.1, 0.25, 0.3, 0.5]"}
    assert items_of("refcoco", shares)[0].box == Box(10.0, 20.0, 30.0, 40.0)


def test_the_expressions_of_an_object_are_one_cluster():
    items = items_of("refcoco", ROWS["refcoco", "jsonl"])
    assert [item.question for item in items] == ["left man", "man in red"]
    assert len({item.id for item in items}) == 2 and len({item.cluster for item in items}) == 1
    row = ROWS["refcoco", "REC"]
    same, other = (
        items_of("refcoco", row | changes)[0].cluster for changes in ({"sent_id": 62}, {"bbox": [0, 0, 9, 9]})
    )
    assert items_of("refcoco", row)[0].cluster == same != other


# The official annotation files

COUNTS = {  # benchmark -> file, rows, items, clusters, items a group as the official files have them
    "viscot": ("viscot_subset150", 1950, 1950, None, {"set": {"v7w": 150, "dude": 150}}),
    "mme": ("mme", 2374, 2374, 1187, {
        "subtask": {"scene": 400, "landmark": 400, "artwork": 400, "celebrity": 340, "posters": 294,
                    "commonsense_reasoning": 140, "existence": 60, "count": 60, "position": 60, "color": 60, "ocr": 40,
                    "numerical_calculation": 40, "text_translation": 40, "code_reasoning": 40},
        "part": {"perception": 2114, "cognition": 260}}),
    "mmvet": ("mmvet", 218, 218, 200, {"combination": {"gen,know,rec": 62, "rec": 37, "ocr,spat": 26}}),
    "seed": ("seed_bench_sample", 711, 711, None, {"question_type": {"text recognition": 3}}),
    "mme_realworld_lite": ("mme_realworld_lite", 1919, 1919, None, {
        "task": {"Perception": 1169, "Reasoning": 750},
        "subtask": {"autonomous driving": 750, "monitoring": 469, "ocr with complex context": 350,
                    "diagram and table": 200, "remote sensing": 150}}),
    "realworldqa": ("realworldqa", 765, 765, 765, {"answer": {"letter": 438, "open": 327}}),
    "pope": ("pope", 9000, 9000, 500, {"category": {"adversarial": 3000, "popular": 3000, "random": 3000}}),
    "refcoco": ("refcoco_sample", 1200, 3405, 1200, {"split": {"RefCOCO/testA": 570}}),
}  # fmt: skip


def official_items(benchmark: str):
    lines = (ANNOTATIONS / f"{COUNTS[benchmark][0]}.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        item for number, line in enumerate(lines) for item in items_of(benchmark, json.loads(line), number)
    ]


@needs_annotations
@pytest.mark.parametrize("benchmark", COUNTS)
def test_every_official_row_is_read(benchmark):
    _, _, num_items, num_clusters, groups = COUNTS[benchmark]
    items = official_items(benchmark)
    assert len(items) == len({item.id for item in items}) == num_items
    if num_clusters is not None:
        assert len({item.cluster for item in items}) == num_clusters
    for name, counts in groups.items():
        found = Counter(item.groups[name] for item in items)
        assert counts.items() <= found.items()
    choices = [item for item in items if item.kind == "choice" and item.options]
    assert all(item.solution[0] in item.options and min(map(len, item.options.values())) for item in choices)
    assert all(
        f"\n{letter}. {text}" in item.question for item in choices for letter, text in item.options.items()
    )


@needs_annotations
def test_the_boxes_of_visual_cot_are_repaired_as_counted():
    notes = Counter((item.groups["set"], item.note) for item in official_items("viscot") if item.note)
    assert notes == {
        ("dude", "outside the picture, left out"): 9, ("dude", "cut to the picture"): 1,
        ("v7w", "cut to the picture"): 3, ("emotic", "cut to the picture"): 2, ("docvqa", "corners sorted"): 1,
        ("gqa", "cut to the picture"): 1, ("cub", "cut to the picture"): 1,
    }  # fmt: skip


@needs_annotations
def test_the_options_of_the_official_rows_are_complete():
    lengths = {
        benchmark: Counter("".join(item.options) for item in official_items(benchmark))
        for benchmark in ("viscot", "seed", "mme_realworld_lite", "realworldqa")
    }
    assert lengths == {
        "viscot": {"": 1650, "ABCD": 300},
        "seed": {"ABCD": 711},
        "mme_realworld_lite": {"ABCDE": 1919},
        "realworldqa": {"": 327, "ABC": 379, "AB": 40, "ABCD": 19},
    }
