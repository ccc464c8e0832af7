"""Rows as streams: every form, a row at a time, and what is wrong said where it is."""

import gzip
import inspect
import json
import lzma
import tracemalloc
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from groundr1.boxes import Box
from groundr1.data import json_array, rows
from groundr1.data.json_array import read_array
from groundr1.data.picture_check import DEFAULT_LIMITS
from groundr1.data.readers import read_form, read_viscot_conversations
from groundr1.data.row_judge import judged
from groundr1.data.row_streams import FORMS, stream
from groundr1.data.rows import BadRow, Draft, find_picture, read_lines
from tests.small_annotations import encoded, noise, plain, write_lines, write_picture

REQUEST = (
    "Please provide the bounding box coordinate of the region that can help you answer the question better."
)


def conversation(**changes: object) -> dict[str, object]:
    """A row in Visual-CoT's own form; picture 100 x 80, so the square has 10 pixels of padding above."""
    row = {
        "image": ["cot/gqa/1.png", "cot/gqa/1.png###[10, 20, 30, 40]"],
        "conversations": [
            {"from": "human", "value": f"<image>\nWho is it? {REQUEST}"},
            {"from": "gpt", "value": "[0.100, 0.300, 0.300, 0.500]"},
            {"from": "human", "value": "<image>"},
            {"from": "gpt", "value": " the king "},
        ],
        "question_id": 5,
        "dataset": "gqa",
        "split": "train",
    }
    return {key: value for key, value in (row | changes).items() if value != "absent"}


def write_json(path: Path, value: object, **options: object) -> Path:
    path.write_text(json.dumps(value, **options), encoding="utf-8")
    return path


# One JSON array


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON_VALUES, max_size=8), st.integers(1, 40), st.sampled_from([None, 2]), st.booleans())
@settings(deadline=None)
def test_an_array_read_in_pieces_is_what_json_loads(tmp_path_factory, values, chunk, indent, escaped):
    path = tmp_path_factory.mktemp("array") / "a.json"
    text = json.dumps(values, indent=indent, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    path.write_bytes(b"\n " + text + b" \n")
    before, json_array.CHUNK = json_array.CHUNK, chunk
    try:
        found = list(read_array(path))
    except ValueError:
        assert any("\ud800" <= sign <= "\udfff" for sign in text.decode("utf-8", "surrogatepass"))
        return
    finally:
        json_array.CHUNK = before
    assert [number for number, _ in found] == list(range(1, len(values) + 1))
    for (_, row), value in zip(found, values, strict=True):
        assert row == value if isinstance(value, dict) else "not a JSON object" in str(row)


@pytest.mark.parametrize(
    ("text", "rows_before"),
    [
        ("", 0), ("{}", 0), ("[", 0), ("[{}", 0), ("[{},", 1), ("[{},]", 1), ("[{} {}]", 0), ("[{}]]", 1),
        ("[{}][{}]", 1), ("[{}, {'a': 1}]", 1), ('[{}, {"a": "unclosed}]', 1), ("[1 2]", 0), ("[nul]", 0),
        ('[{"a":1}, ' + "[" * 100_000, 1),
    ],
)  # fmt: skip
def test_a_damaged_array_is_refused_behind_its_last_good_row(tmp_path: Path, text: str, rows_before: int):
    path = tmp_path / "a.json"
    path.write_text(text)
    seen = []
    with pytest.raises(ValueError, match="a.json is no JSON array in UTF-8, or damaged after row"):
        for number, _ in read_array(path):
            seen.append(number)
    assert len(seen) == rows_before


def test_an_array_in_another_encoding_is_refused(tmp_path: Path):
    (tmp_path / "a.json").write_bytes('[{"a": "é"}]'.encode("latin-1"))
    with pytest.raises(ValueError, match="no JSON array in UTF-8"):
        list(read_array(tmp_path / "a.json"))
    with pytest.raises(FileNotFoundError, match=r"b\.json; download it"):
        list(read_array(tmp_path / "b.json"))


def test_reading_an_array_holds_a_row_and_not_the_file(tmp_path: Path):
    """40 MB of rows, read in less than a quarter; a decoding error that was kept held on to every piece."""
    row = json.dumps({"text": "x" * 1000})
    with (tmp_path / "a.json").open("w") as file:
        file.write("[" + ",\n".join([row] * 40_000) + "]")
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_array(tmp_path / "a.json")) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_line_too_long_is_one_bad_row(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(rows, "LONGEST_LINE", 100)
    path = write_lines(tmp_path / "q.jsonl", {"a": 1}, {"a": "x" * 500}, {"a": 2}, {"a": "y" * 92})
    found = list(read_lines(path))
    assert [number for number, _ in found] == [1, 2, 3, 4]
    assert found[0][1] == {"a": 1} and found[2][1] == {"a": 2}
    assert "longer than 100 bytes" in str(found[1][1]) and "longer than 100 bytes" in str(found[3][1])


# Visual-CoT's own form


def test_a_conversation_is_question_box_and_answer(tmp_path: Path):
    path = write_json(
        tmp_path / "viscot.json", [conversation(), conversation(dataset="absent", image="cot/cub/a/1.png")]
    )
    (one, first), (two, second) = stream(path, "viscot-conversations")
    assert (one, two) == (1, 2)
    assert first == Draft(
        "viscot-1", "cot_image_data/gqa/1.png", "Who is it?", ["the king"], "choice", [Box(10.0, 20.0, 30.0, 40.0)],
        "gqa", square_box=Box(0.1, 0.3, 0.3, 0.5), id_is_made=True,
    )  # fmt: skip
    assert isinstance(second, BadRow) and "dataset 'a' is no Visual-CoT set" in str(second)


def test_a_conversation_without_a_box_is_question_and_answer(tmp_path: Path):
    turns = [{"from": "human", "value": "<image>\nWho?"}, {"from": "gpt", "value": "me"}]
    path = write_json(
        tmp_path / "v.json", [conversation(image="cot/vsr/1.png", conversations=turns, dataset="vsr")]
    )
    ((_, draft),) = stream(path, "viscot-conversations")
    assert (draft.question, draft.solution, draft.boxes, draft.kind) == ("Who?", ["me"], [], "contains")


def turns(*texts: object) -> list[dict[str, object]]:
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": "absent"}, "'image'"),
        ({"image": []}, "'image'"),
        ({"image": [7]}, "'image'"),
        ({"image": ["###[1, 2, 3, 4]"]}, "'image'"),
        ({"image": ["cot/gqa/1.png", "cot/gqa/1.png###[1, 2, 3]"]}, "no list of four numbers"),
        ({"image": ["cot/gqa/1.png", "cot/gqa/1.png###__import__('os')"]}, "no list of four numbers"),
        ({"dataset": "coco"}, "no Visual-CoT set"),
        ({"conversations": "absent"}, "'conversations' is missing"),
        ({"conversations": "text"}, "between []"),
        ({"conversations": turns("a")}, "between ['human']"),
        ({"conversations": turns("a", "b", "c")}, "it must be question and answer"),
        ({"conversations": turns("Who?", "me", "Why?", "so")}, "two questions"),
        ({"conversations": turns(f"Who? {REQUEST}", "[0,0,1,1]", "<image>", " ")}, "a turn without a text"),
        ({"conversations": turns(f"<image>\n{REQUEST}", "[0,0,1,1]", "<image>", "a")}, "no question"),
        ({"conversations": turns(f"\ud800 {REQUEST}", "[0,0,1,1]", "<image>", "a")}, "half a character"),
    ],
)
def test_other_conversations_are_set_aside(tmp_path: Path, changes, reason: str):
    path = write_json(tmp_path / "v.json", [conversation(**changes), conversation()])
    (_, bad), (_, good) = stream(path, "viscot-conversations")
    assert isinstance(bad, BadRow) and reason in str(bad) and isinstance(good, Draft)


@pytest.mark.parametrize("below", ["", "cot_image_data"])
def test_conversations_are_read_and_a_box_stated_twice_is_compared(tmp_path: Path, below: str):
    write_picture(tmp_path / "root" / below / "gqa" / "1.png", 1)
    dataset, rejected = read_viscot_conversations(
        write_json(tmp_path / "v.json", [conversation()]), tmp_path / "root"
    )
    assert rejected == [] and dataset[0]["boxes"] == [[10.0, 20.0, 30.0, 40.0]]
    assert dataset[0]["image"].size == (100, 80)


METADATA = {
    "question": " Who is it? ", "answer": "the king", "image": "1.png", "width": 100, "height": 80, "dataset": "gqa",
    "split": "train", "bboxs": [[10, 20, 30, 40], [50, 5, 60, 15]], "full_answer": "It is.", "thought": "look",
}  # fmt: skip


def test_a_set_of_visual_cot_keeps_all_its_boxes_and_knows_its_folder(tmp_path: Path):
    textcap = METADATA | {"dataset": "textcap", "image": "a/2.jpg", "bboxs": [[1, 2, 3, 4]]}
    path = write_lines(tmp_path / "gqa_cot_train.jsonl", METADATA, textcap)
    (_, first), (_, second) = stream(path, "viscot-metadata")
    boxes = [Box(10.0, 20.0, 30.0, 40.0), Box(50.0, 5.0, 60.0, 15.0)]
    assert first == Draft(
        "gqa_cot_train-1",
        "cot_image_data/gqa/1.png",
        "Who is it?",
        ["the king"],
        "choice",
        boxes,
        "gqa",
        (100, 80),
        id_is_made=True,
    )
    assert second.image == "cot_image_data/textvqa/a/2.jpg" and second.kind == "ocr"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dataset": "coco"}, "no Visual-CoT set"),
        ({"answer": " "}, "'answer'"),
        ({"question": "absent"}, "'question'"),
        ({"bboxs": [[1, 2, 3]]}, "'bboxs'"),
        ({"width": 0}, "width"),
    ],
)
def test_other_rows_of_a_set_of_visual_cot_are_set_aside(tmp_path: Path, changes, reason: str):
    row = {key: value for key, value in (METADATA | changes).items() if value != "absent"}
    (_, bad), (_, good) = stream(write_lines(tmp_path / "v.jsonl", row, METADATA), "viscot-metadata")
    assert isinstance(bad, BadRow) and reason in str(bad) and isinstance(good, Draft)


def test_a_path_out_of_the_folder_of_a_set_is_refused(tmp_path: Path):
    (tmp_path / "root").mkdir()
    for image in ("../../secret.png", "../gqa/1.png"):
        path = write_lines(tmp_path / "v.jsonl", METADATA | {"image": image})
        dataset, (rejected,) = read_form(path, "viscot-metadata", tmp_path / "root")
        assert not len(dataset) and rejected.fault == "path"


def test_the_two_jsonl_forms_of_visual_cot_name_one_another(tmp_path: Path):
    path = write_lines(tmp_path / "v.jsonl", METADATA)
    with pytest.raises(ValueError, match="v.jsonl, line 1: question and answer .* form 'viscot-metadata'"):
        list(stream(path, "viscot"))
    official = {"dataset": "gqa", "problem": "Who?", "solution": "me", "image": "x/cot_image_data/gqa/1.png"}
    with pytest.raises(ValueError, match="problem and solution .* form 'viscot'"):
        list(stream(write_lines(path, official), "viscot-metadata"))


# Forms in general


def test_a_stream_has_every_row_or_its_shard(tmp_path: Path):
    path = write_lines(tmp_path / "q.jsonl", plain(), "{", plain(1), "", plain(2), plain(3, kind="fuzzy"))
    assert [line for line, _ in stream(path)] == [1, 2, 3, 5, 6]
    assert [isinstance(found, BadRow) for _, found in stream(path)] == [False, True, False, False, True]
    assert [[line for line, _ in stream(path, shard=(i, 2))] for i in range(2)] == [[1, 3, 6], [2, 5]]


@pytest.mark.parametrize(
    ("form", "row", "name", "is_made"),
    [
        ("jsonl", plain(), "f-2", True),
        ("jsonl", plain(id="f-2"), "f-2", False),
        ("viscot", METADATA | {"problem": "Who?", "solution": "me", "problem_id": 7}, "gqa-7", False),
        ("refcoco", METADATA | {"dataset": "RefCOCO/val", "solution": ["me"], "problem_id": 7}, "RefCOCO/val-7", False),
        ("viscot-metadata", METADATA, "f-2", True),
        ("viscot-conversations", conversation(), "f-2", True),
        ("deepeyes", {"data_source": "vstar", "prompt": [{"role": "user", "content": "Who?"}], "images": b"x",
                      "reward_model": {"ground_truth": "me"}}, "f-2", True),
    ],
)  # fmt: skip
def test_an_id_is_stated_or_made_of_file_name_and_line(form: str, row, name: str, is_made: bool):
    draft = FORMS[form].draft(row, "f", 2)
    assert (draft.id, draft.id_is_made) == (name, is_made)


def test_a_stream_is_lazy(tmp_path: Path):
    assert inspect.isgenerator(stream(tmp_path / "absent.jsonl"))
    with pytest.raises(ValueError, match="form='csv' is unknown; give one of jsonl"):
        next(stream(tmp_path / "absent.csv", "csv"))


def test_rows_without_a_question_but_with_expressions_are_refcoco(tmp_path: Path):
    row = {"image": "a.png", "width": 9, "height": 9, "bboxs": [[1, 2, 3, 4]], "dataset": "gqa", "problem": "",
           "solution": ["left man"], "problem_id": 1}  # fmt: skip
    with pytest.raises(ValueError, match=r"r.jsonl, line 1: no problem.*read_refcoco"):
        list(stream(write_lines(tmp_path / "r.jsonl", row), "viscot"))


def test_deepeyes_pictures_come_in_batches(tmp_path: Path):
    row = {
        "data_source": "vstar", "prompt": [{"role": "user", "content": "Which?"}],
        "images": [{"bytes": encoded(noise(1))}], "reward_model": {"ground_truth": "red"},
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row] * 70), tmp_path / "d.parquet")
    found = list(stream(tmp_path / "d.parquet", "deepeyes"))
    assert [line for line, _ in found] == list(range(1, 71)) and found[69][1].image == encoded(noise(1))
    content = (tmp_path / "d.parquet").read_bytes()
    (tmp_path / "d.parquet").write_bytes(content[:4] + b"\0" * 300 + content[304:])
    with pytest.raises(ValueError, match="d.parquet is not a parquet file, or damaged"):
        list(stream(tmp_path / "d.parquet", "deepeyes"))


def test_every_form_has_a_frame_that_is_judged():
    assert {form.frame for form in FORMS.values()} == {"corners", "extents"}


@pytest.mark.parametrize(
    ("form", "row", "name", "source"),
    [
        ("jsonl", plain(id=7, source="signs", kind="fuzzy"), "7", "signs"),
        ("jsonl", plain(kind="fuzzy"), "", ""),
        ("jsonl", plain(id=["a"], source=None), "", ""),
        ("jsonl", plain(id="x" * 201, source=True, kind="fuzzy"), "", ""),
        ("viscot", METADATA | {"problem": "Who?", "solution": [], "problem_id": 7}, "gqa-7", "gqa"),
        ("refcoco", {"dataset": "RefCOCO/val", "problem_id": "a"}, "RefCOCO/val-a", "RefCOCO/val"),
        ("viscot-conversations", conversation(image=[]), "", "gqa"),
        ("viscot-conversations", "text", "", ""),
    ],
)
def test_a_bad_row_keeps_the_id_and_the_source_that_it_states(
    tmp_path: Path, form: str, row, name: str, source: str
):
    path = tmp_path / "q.jsonl"
    path = write_json(path, [row]) if form == "viscot-conversations" else write_lines(path, row)
    ((_, bad),) = stream(path, form)
    assert isinstance(bad, BadRow) and (bad.id, bad.source) == (name, source)
    (row,) = judged([(1, bad)], tmp_path, None, DEFAULT_LIMITS)
    assert (row.id, row.source) == (name, source)


def test_a_column_of_class_numbers_is_refused_at_once_with_what_to_do():
    rows = {"image": ["a.png"] * 2, "question": ["Which?"] * 2, "solution": ["7"] * 2, "kind": [0, 1]}
    dataset = Dataset.from_dict(rows).cast_column("kind", datasets.ClassLabel(names=["exact", "ocr"]))
    with pytest.raises(ValueError, match="column 'kind' .* numbers of classes.*cast_column") as refusal:
        next(stream(dataset))
    found = {"dataset": dataset, "datasets": datasets}
    exec(str(refusal.value).partition("of them: ")[2], found)
    assert [draft.kind for _, draft in stream(found["dataset"])] == ["exact", "ocr"]


# Files of another kind


OFFICIAL = {
    "image": "x/cot_image_data/gqa/1.png", "width": 100, "height": 80, "bboxs": [[10, 20, 30, 40]], "dataset": "gqa",
    "problem": "Who?", "solution": "me", "problem_id": 7,
}  # fmt: skip
LINES = b"".join(json.dumps(plain(i)).encode() + b"\n" for i in range(3))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(LINES), "compressed with gzip; decompress it"),
        (lzma.compress(LINES), "compressed with xz"),
        (LINES.decode().encode("utf-16"), "text in UTF-16; write it in UTF-8"),
        (b"PAR1 and columns", "a parquet file; .* form='deepeyes'"),
        (b"PK\3\4 and files", "a zip archive; unpack it"),
    ],
)
@pytest.mark.parametrize("form", sorted(set(FORMS) - {"deepeyes"}))
def test_a_file_that_is_no_text_is_refused_whole(tmp_path: Path, form: str, content: bytes, said: str):
    (tmp_path / "q.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=f"q.jsonl is {said}"):
        next(stream(tmp_path / "q.jsonl", form))


@pytest.mark.parametrize(
    "text", ['[{"image": 1}]', "[\n{}\n]", '\n [\n  {\n    "image": 1}]', "\ufeff[ {}]", "[\n  7\n]", "["]
)
def test_a_json_array_is_refused_where_lines_are_expected(tmp_path: Path, text: str):
    (tmp_path / "q.json").write_text(text, encoding="utf-8")
    for form in ("jsonl", "viscot", "refcoco"):
        with pytest.raises(
            ValueError, match="q.json is one JSON array.*form='viscot-conversations'; else .* line"
        ):
            next(stream(tmp_path / "q.json", form))


def test_lines_are_refused_where_a_json_array_is_expected(tmp_path: Path):
    with pytest.raises(ValueError, match="q.jsonl begins with an object, and one JSON array is expected"):
        next(stream(write_lines(tmp_path / "q.jsonl", "", conversation()), "viscot-conversations"))


def test_a_list_among_the_lines_is_one_bad_row(tmp_path: Path):
    path = write_lines(tmp_path / "q.jsonl", plain(), "[", '[{"a": 1}]', plain(1))
    assert [isinstance(found, BadRow) for _, found in stream(path)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("row", "form", "other"),
    [
        (OFFICIAL, "jsonl", "viscot"),
        (OFFICIAL | {"dataset": "RefCOCO/val", "problem": ""}, "jsonl", "refcoco"),
        (METADATA, "jsonl", "viscot-metadata"),
        (METADATA, "refcoco", "viscot"),
        (conversation(), "jsonl", "viscot-conversations"),
        (conversation(), "viscot", "viscot-conversations"),
        (plain(), "viscot", "jsonl"),
        (plain(), "refcoco", "jsonl"),
    ],
)
def test_rows_of_another_form_name_it(tmp_path: Path, row, form: str, other: str):
    path = write_lines(tmp_path / "q.jsonl", "{", row, plain())
    with pytest.raises(ValueError, match=f"q.jsonl, line 2: .*form.*'{other}'"):
        list(stream(path, form))


def test_a_row_of_another_form_behind_a_good_one_is_one_bad_row(tmp_path: Path):
    path = write_lines(tmp_path / "q.jsonl", plain(), OFFICIAL, METADATA, conversation(), plain(1))
    assert [isinstance(found, BadRow) for _, found in stream(path)] == [False, True, True, True, False]


def test_a_row_that_lacks_a_field_is_of_no_other_form(tmp_path: Path):
    path = write_lines(
        tmp_path / "q.jsonl", plain(kind="absent"), plain(dataset="gqa", kind="absent"), plain()
    )
    assert [isinstance(found, BadRow) for _, found in stream(path)] == [True, True, False]


# Paths


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("a/1.png", "a/1.png"),
        ("./a/1.png", "a/1.png"),
        ("a\\1.png", "a/1.png"),
        ("/home/x/data/cot_image_data/a/1.png", "a/1.png"),
        ("cot_image_data/a/1.png", "a/1.png"),
        ("C:/data/cot_image_data/a/1.png", "a/1.png"),
        ("/home/x/cot_image_data/b/1.png", "cot_image_data/b/1.png"),
        ("cot_image_data/b/1.png", "cot_image_data/b/1.png"),
        ("/nowhere/cot_image_data/c/1.png", "c/1.png"),
    ],
)
def test_paths_are_found_below_the_root(tmp_path: Path, image: str, expected: str):
    write_picture(tmp_path / "a" / "1.png", 1)
    write_picture(tmp_path / "cot_image_data" / "b" / "1.png", 1)
    assert find_picture(image, tmp_path, "cot_image_data") == tmp_path / expected


@given(st.text(st.sampled_from("./\\ab\0:~") | st.characters(exclude_categories=()), max_size=12))
def test_no_path_leads_out_of_the_root(tmp_path_factory, image: str):
    root = tmp_path_factory.getbasetemp() / "root"
    root.mkdir(exist_ok=True)
    try:
        path = find_picture(image, root, "b")
    except (BadRow, ValueError, OSError):
        return
    assert path.resolve().is_relative_to(root.resolve())
