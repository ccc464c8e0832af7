"""Readers turn good rows into examples and set bad ones aside with file, line and reason."""

import inspect
import json
import logging
import re
from pathlib import Path

import pytest
from PIL import Image

from groundr1 import rewards
from groundr1.boxes import Box
from groundr1.data import (
    EXAMPLE_FEATURES,
    Example,
    Rejected,
    load_image,
    read_jsonl,
    read_refcoco,
    read_viscot,
)
from groundr1.data.readers import KINDS, VISCOT_KINDS

ANNOTATIONS = Path(__file__).resolve().parents[2] / "shared" / "data" / "annotations"
needs_annotations = pytest.mark.skipif(
    not ANNOTATIONS.is_dir(), reason="the public annotation files are not part of the repository"
)
OFFICIAL = "/home/meng/data/Visual-CoT/cot_image_data/"


def picture(path: Path, size: tuple[int, int] = (100, 80)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path)
    return path


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def plain(**changes: object) -> dict[str, object]:
    row = {
        "image": "a.png",
        "question": "Which?",
        "solution": "7",
        "kind": "exact",
        "boxes": [[10, 20, 30, 40]],
    }
    return {key: value for key, value in (row | changes).items() if value != "absent"}


def viscot(**changes: object) -> dict[str, object]:
    row = {
        "image": OFFICIAL + "gqa/1.png", "width": 100, "height": 80, "bboxs": [[10, 20, 30, 40]], "dataset": "gqa",
        "split": "val", "problem": 'Which?"  \nA. Door  \nB. Wall  \n', "solution": "<answer>B</answer>",
        "problem_id": 7,
    }  # fmt: skip
    return row | changes


def refcoco(**changes: object) -> dict[str, object]:
    row = {
        "image": "RefCOCO/testA/images/1.png", "width": 100, "height": 80, "bboxs": [[60.5, 20, 30, 40]],
        "dataset": "RefCOCO/testA", "problem": "", "solution": ["left guy", "guy in red"], "problem_id": 3,
    }  # fmt: skip
    return row | changes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name in ("a.png", "gqa/1.png", "RefCOCO/testA/images/1.png"):
        picture(folder / name)
    picture(tmp_path / "outside.png")
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "text.png").write_text("not a picture")
    return folder


# Our plain form


def test_a_good_row_becomes_an_example(tmp_path: Path, root: Path):
    jsonl = write_lines(
        tmp_path / "q.jsonl", plain(), plain(solution=["7", "seven"], id="b", source="signs", boxes="absent")
    )
    dataset, rejected = read_jsonl(jsonl, root)
    assert rejected == [] and dataset.features == EXAMPLE_FEATURES
    first, second = map(Example.from_row, dataset)
    assert (first.id, first.source, first.solution, first.kind) == ("q-1", "q", ["7"], "exact")
    assert first.boxes == [Box(10.0, 20.0, 30.0, 40.0)] and first.image.size == (100, 80)
    assert (second.id, second.source, second.solution, second.boxes) == ("b", "signs", ["7", "seven"], [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{'image': 'a.png'}", "not JSON"),
        ('["a.png", "Which?"]', "list, not a JSON object"),
        (plain(image="absent"), "'image' is missing"),
        (plain(question="absent"), "'question' is missing"),
        (plain(question="  "), "not blank"),
        (plain(solution=None), "'solution' is missing"),
        (plain(solution=[]), "'solution'"),
        (plain(solution=7), "'solution'"),
        (plain(kind="fuzzy"), "kind is 'fuzzy'"),
        (plain(image="absent.png"), "no picture"),
        (plain(image="x" * 300 + ".png"), "too long"),
        (plain(image="torn.png"), "cannot be read"),
        (plain(image="text.png"), "cannot be read"),
        (plain(image="../outside.png"), "lead out of the image root"),
        (plain(image="/etc/hostname"), "not below the image root"),
        (plain(boxes=[[30, 20, 10, 40]]), "inverted"),
        (
            plain(boxes=[[60, 20, 30, 40]]),
            "x, y, width, height it would lie inside the picture: .* form 'refcoco'",
        ),
        (plain(boxes=[[10, 20, 10, 40]]), "empty, less than a pixel wide"),
        (plain(boxes=[[-50, -50, 0.2, 0.2]]), "empty, less than a pixel wide"),
        (
            plain(boxes=[[0.1, 0.2, 0.3, 0.4]]),
            r"normalised.* multiply them by the width and height .* \(100, 80\)",
        ),
        (plain(boxes=[[0, 0, 1, 1], [0.1, 0.5, 0.3, 0.9]]), "normalised"),
        (plain(boxes=[[100, 20, 130, 40]]), "outside the picture"),
        (plain(boxes=[[10, 20, 30, 40], [-9, -9, -1, -1]]), "outside the picture"),
        (
            '{"image":"a.png","question":"q","solution":"7","kind":"exact","boxes":[[NaN,0,1,1]]}',
            "not finite",
        ),
        (
            '{"image":"a.png","question":"q","solution":"7","kind":"exact","boxes":[[1e999,0,1,1]]}',
            "not finite",
        ),
        (plain(boxes=[[10, 20, 30]]), "four numbers"),
        (plain(boxes=[[10, 20, 30, "40"]]), "four numbers"),
        (plain(boxes=[10, 20, 30, 40]), "four numbers"),
        (plain(boxes=[[0, 0, 10**400, 10]]), "too large"),
        (plain(id="first"), "that of line 1"),
        (
            plain(boxes="absent", bbox=[10, 20, 30, 40]),
            "the field 'bbox' is not read: boxes are in 'boxes', as",
        ),
        (plain(boxes=None, bboxes=[[10, 20, 30, 40]]), "the field 'bboxes' is not read"),
        (plain(boxes="absent", bboxs=[]), "the field 'bboxs' is not read"),
        (plain(boxes="absent", box=[10, 20, 30, 40]), "the field 'box' is not read"),
        (plain(width=999, height=5), r"is \(100, 80\), the row says \(999, 5\)"),
        (plain(width=100, height="80"), "width and height are"),
    ],
)
def test_a_bad_row_is_set_aside_with_file_line_and_reason(tmp_path: Path, root: Path, caplog, row, reason):
    jsonl = write_lines(tmp_path / "q.jsonl", plain(id="first"), "", row, plain(id="last"))
    with caplog.at_level(logging.WARNING, logger="groundr1.data"):
        dataset, rejected = read_jsonl(jsonl, root)
    assert dataset["id"][:] == ["first", "last"]
    (fault,) = rejected
    assert isinstance(fault, Rejected) and (fault.file, fault.line) == (str(jsonl), 3)
    assert re.search(reason, fault.reason) and "\n" not in fault.reason
    assert "1 of 3 rows set aside" in caplog.text and f"{jsonl}, line 3" in caplog.text


def test_keys_that_are_not_read_are_no_fault(tmp_path: Path, root: Path):
    rows = [
        plain(width=100, height=80),
        plain(width=999),
        plain(width=None, height=None),
        plain(bbox=[1, 2, 3, 4]),
    ]
    dataset, rejected = read_jsonl(write_lines(tmp_path / "q.jsonl", *rows), root)
    assert rejected == [] and dataset["boxes"][:] == [[[10.0, 20.0, 30.0, 40.0]]] * 4


def test_a_link_out_of_the_root_is_refused_with_what_to_do(tmp_path: Path, root: Path):
    (root / "elsewhere").symlink_to(tmp_path)
    _, (rejected,) = read_jsonl(write_lines(tmp_path / "q.jsonl", plain(image="elsewhere/outside.png")), root)
    assert (
        rejected.fault == "path"
        and "give the real folder as image root, or move, hard-link" in rejected.reason
    )


def test_an_id_made_of_file_name_and_line_makes_way_for_a_stated_one(tmp_path: Path, root: Path):
    rows = [plain(id="q-2"), plain(), plain(id="q-2~2"), plain(id="c")]
    dataset, (rejected,) = read_jsonl(write_lines(tmp_path / "q.jsonl", *rows), root)
    assert dataset["id"][:] == ["q-2", "q-2~2", "c"], "the row of line 2 is kept, under an id of its own"
    assert rejected.line == 3 and rejected.fault == "duplicate id"


def test_bytes_that_are_not_utf8_are_set_aside(tmp_path: Path, root: Path):
    jsonl = tmp_path / "q.jsonl"
    jsonl.write_bytes(b"\xef\xbb\xbf" + json.dumps(plain()).encode() + b'\n{"image": "\xff"}\n')
    dataset, rejected = read_jsonl(jsonl, root)
    assert len(dataset) == 1, "a byte-order mark is no fault"
    assert "UTF-8" in rejected[0].reason


def test_a_box_partly_outside_is_cut_to_the_picture(tmp_path: Path, root: Path):
    dataset, rejected = read_jsonl(write_lines(tmp_path / "q.jsonl", plain(boxes=[[-5, 70, 50.5, 90]])), root)
    assert rejected == [] and dataset[0]["boxes"] == [[0.0, 70.0, 50.5, 80.0]]


def test_pictures_are_found_after_a_change_of_folder(tmp_path: Path, root: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset, _ = read_jsonl(write_lines(tmp_path / "q.jsonl", plain()), "pictures")
    monkeypatch.chdir("/")
    assert dataset[0]["image"].size == (100, 80)


def test_an_empty_file_gives_an_empty_dataset_of_the_same_form(tmp_path: Path, root: Path):
    dataset, rejected = read_jsonl(write_lines(tmp_path / "q.jsonl"), root)
    assert len(dataset) == 0 and rejected == [] and dataset.features == EXAMPLE_FEATURES


@pytest.mark.parametrize("reader", [read_jsonl, read_viscot, read_refcoco])
def test_missing_file_and_missing_folder_are_named(tmp_path: Path, root: Path, reader):
    with pytest.raises(FileNotFoundError, match="absent.jsonl"):
        reader(tmp_path / "absent.jsonl", root)
    with pytest.raises(FileNotFoundError, match="no image folder .*nowhere"):
        reader(write_lines(tmp_path / "q.jsonl"), tmp_path / "nowhere")


# Visual-CoT and RefCOCO


def test_viscot_row_is_read_as_corners_with_clean_question_and_letter(tmp_path: Path, root: Path):
    dataset, rejected = read_viscot(write_lines(tmp_path / "v.jsonl", viscot()), root)
    assert rejected == []
    example = Example.from_row(dataset[0])
    assert (example.id, example.source, example.kind, example.solution) == ("gqa-7", "gqa", "choice", ["B"])
    assert example.question == "Which?\nA. Door\nB. Wall"
    assert example.boxes == [Box(10.0, 20.0, 30.0, 40.0)]


def test_viscot_rows_of_clevr_are_sums(tmp_path: Path, root: Path):
    """Ground-R1's training file is read by code with a rule for this set, and with rows without boxes."""
    row = viscot(dataset="CLEVR", problem="How many?", solution="<answer>4</answer>", bboxs=[])
    dataset, rejected = read_viscot(write_lines(tmp_path / "v.jsonl", row), root)
    assert rejected == [] and (dataset[0]["kind"], dataset[0]["solution"], dataset[0]["boxes"]) == (
        "math",
        ["4"],
        [],
    )


@pytest.mark.parametrize("below", ["", "cot_image_data", "Visual-CoT/cot_image_data"])
def test_viscot_paths_are_remapped_below_the_root_wherever_the_sets_lie(tmp_path: Path, below: str):
    picture(tmp_path / "root" / below / "gqa" / "1.png")
    dataset, rejected = read_viscot(write_lines(tmp_path / "v.jsonl", viscot()), tmp_path / "root")
    assert rejected == [] and dataset[0]["image"].size == (100, 80)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (viscot(image=OFFICIAL + "gqa/../../outside.png"), "lead out"),
        (viscot(image=OFFICIAL + "docvqa/1.png"), "no picture"),
        (viscot(dataset="clevr"), "no Visual-CoT set"),
        (viscot(width=None), "'width' is missing"),
        (viscot(width=200), "boxes would not fit"),
        (viscot(bboxs=[[30, 20, 10, 40]]), "inverted"),
        (viscot(bboxs=[[10, 900, 30, 950]]), "outside the picture"),
        (viscot(problem_id=True), "'problem_id'"),
        (viscot(bboxs=[[60, 20, 30, 40]]), "form 'refcoco'"),
    ],
)
def test_faults_of_the_official_viscot_file_are_set_aside(tmp_path: Path, root: Path, row, reason):
    dataset, rejected = read_viscot(write_lines(tmp_path / "v.jsonl", row), root)
    assert len(dataset) == 0 and reason in rejected[0].reason


def test_refcoco_row_is_read_as_x_y_width_height(tmp_path: Path, root: Path):
    dataset, rejected = read_refcoco(write_lines(tmp_path / "r.jsonl", refcoco()), root)
    assert rejected == []
    example = Example.from_row(dataset[0])
    assert example.boxes == [Box(60.5, 20.0, 90.5, 60.0)]
    assert (example.question, example.solution) == ("left guy", ["left guy", "guy in red"])
    assert (example.id, example.source) == ("RefCOCO/testA-3", "RefCOCO/testA")


def test_a_negative_extent_of_refcoco_is_called_so(tmp_path: Path, root: Path):
    _, (rejected,) = read_refcoco(write_lines(tmp_path / "r.jsonl", refcoco(bboxs=[[60, 20, -30, 40]])), root)
    assert rejected.fault == "box inverted" and "negative width or height" in rejected.reason


def test_each_reader_refuses_the_others_file_by_name(tmp_path: Path, root: Path):
    with pytest.raises(ValueError, match="belongs to RefCOCO.*read_refcoco"):
        read_viscot(write_lines(tmp_path / "r.jsonl", refcoco()), root)
    with pytest.raises(ValueError, match="belongs to Visual-CoT.*read_viscot"):
        read_refcoco(write_lines(tmp_path / "v.jsonl", viscot()), root)


def test_each_reader_refuses_boxes_of_the_other_frame_under_whatever_name(tmp_path: Path, root: Path):
    as_corners = [refcoco(dataset="gqa", problem="Who?", problem_id=i) for i in range(12)]
    with pytest.raises(ValueError, match="12 of 12 rows have boxes that cannot be corners"):
        read_viscot(write_lines(tmp_path / "a.jsonl", *as_corners), root)
    as_extents = [viscot(dataset="Mine", bboxs=[[50, 20, 90, 40]], problem_id=i) for i in range(12)]
    with pytest.raises(ValueError, match="cannot be x, y, width, height"):
        read_refcoco(write_lines(tmp_path / "b.jsonl", *as_extents), root)


@needs_annotations
def test_official_files_are_told_apart_without_their_names(tmp_path: Path, root: Path):
    rows = [json.loads(line) for line in (ANNOTATIONS / "refcoco_sample.jsonl").read_text().splitlines()]
    with pytest.raises(ValueError, match="cannot be corners"):
        read_viscot(write_lines(tmp_path / "r.jsonl", *(row | {"dataset": "gqa"} for row in rows)), root)
    rows = [json.loads(line) for line in (ANNOTATIONS / "viscot_subset150.jsonl").read_text().splitlines()]
    with pytest.raises(ValueError, match="cannot be x, y, width, height"):
        read_refcoco(write_lines(tmp_path / "v.jsonl", *(row | {"dataset": "Mine"} for row in rows)), root)


@needs_annotations
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pages of up to 94 megapixels
def test_official_rows_are_all_read_or_set_aside_for_their_known_faults(tmp_path: Path):
    """With blank pictures of the stated sizes: one inverted box of docvqa, nine of dude outside their picture."""
    rows = [json.loads(line) for line in (ANNOTATIONS / "viscot_subset150.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["dataset"] in {"docvqa", "dude", "gqa"}]
    for row in rows:
        path = tmp_path / "root" / row["image"].split("cot_image_data/")[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("1", (row["width"], row["height"])).save(path, format="PNG", compress_level=1)
    dataset, rejected = read_viscot(write_lines(tmp_path / "v.jsonl", *rows), tmp_path / "root")
    assert len(dataset) == 440
    faults = [
        rows[fault.line - 1]["dataset"] + (" inverted" if "inverted" in fault.reason else "")
        for fault in rejected
    ]
    assert sorted(faults) == ["docvqa inverted", *["dude"] * 9]
    assert not [question for question in dataset["question"] if '"' in question and "\nA. " in question]


def test_kinds_are_those_of_the_rewards():
    assert set(KINDS) == set(rewards.ANSWER_KINDS.values())
    assert VISCOT_KINDS == {name: rewards.ANSWER_KINDS[name] for name in VISCOT_KINDS}
    for reader in (read_jsonl, read_viscot, read_refcoco):
        assert list(inspect.signature(reader).parameters) == ["jsonl", "image_root"]


# Pictures


def test_load_image_turns_pictures_upright_as_datasets_does(tmp_path: Path):
    image, exif = Image.new("RGB", (40, 30)), Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter
    image.save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").size == (30, 40)


def test_load_image_names_file_and_fix(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"absent.png; download it, or correct the image root"):
        load_image(tmp_path / "absent.png")
    with pytest.raises(ValueError, match="encoded bytes cannot be read"):
        load_image(b"torn")
    Image.new("RGB", (402, 2)).save(tmp_path / "long.png")
    with pytest.raises(ValueError, match=r"long.png is 402 x 2 pixels, longer than 200 times"):
        load_image(tmp_path / "long.png")
