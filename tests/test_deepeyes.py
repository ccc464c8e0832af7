"""The DeepEyes parquet reader, on rows written in the form that public code expects."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from groundr1.data import EXAMPLE_FEATURES, read_deepeyes


def deepeyes(**changes: object) -> dict[str, object]:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30)).save(stream, format="JPEG")
    hint = "\nThink first, call **image_zoom_in_tool** if needed, then answer. Format strictly as: <think>"
    row = {
        "data_source": "vstar",
        "prompt": [
            {"role": "system", "content": "Tools"},
            {"role": "user", "content": "<image>\nWhat colour?" + hint},
        ],
        "images": [{"bytes": stream.getvalue(), "path": None}],
        "reward_model": {"ground_truth": "red", "style": "model"},
    }
    return row | changes


def write_parquet(path: Path, *rows: dict[str, object]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def test_deepeyes_rows_lose_the_tool_hint_and_get_a_kind_by_source_and_solution(tmp_path: Path):
    rows = [
        deepeyes(),
        deepeyes(data_source="chart", reward_model={"ground_truth": "C", "style": "rule"}),
        deepeyes(data_source="thinklite_eureka", reward_model={"ground_truth": "3/4", "style": "rule"}),
    ]
    dataset, rejected = read_deepeyes(write_parquet(tmp_path / "d.parquet", *rows))
    assert rejected == [] and dataset.features == EXAMPLE_FEATURES
    assert dataset["kind"][:] == ["rouge", "choice", "math"]
    assert dataset["question"][0] == "What colour?" and dataset[0]["image"].size == (40, 30)
    assert dataset["id"][:] == ["d-1", "d-2", "d-3"] and dataset["boxes"][:] == [[], [], []]


def test_instructions_before_a_question_are_not_asked(tmp_path: Path):
    text = "<image>\nAnswer in \\boxed{}.\nQuestion:\nHow many?\nA. 1\nB. 2"
    hint = "\nThink first, call **image_zoom_in_tool** if needed"
    rows = [
        deepeyes(data_source="thinklite_eureka", prompt=[{"role": "user", "content": text}]),
        deepeyes(prompt=[{"role": "user", "content": f"<image>\nQuestion:\nWhich?{hint}"}]),
    ]
    dataset, _ = read_deepeyes(write_parquet(tmp_path / "d.parquet", *rows))
    assert dataset["question"][:] == ["How many?\nA. 1\nB. 2", "Question:\nWhich?"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": []}, "0 pictures"),
        ({"images": deepeyes()["images"] * 2}, "2 pictures"),
        ({"images": [{"bytes": b"torn", "path": None}]}, "cannot be read"),
        ({"prompt": [{"role": "system", "content": "Tools"}]}, "no user message"),
        ({"prompt": [{"role": "user", "content": "<image>"}]}, "no user message with a question"),
        ({"reward_model": {"ground_truth": " ", "style": "model"}}, "ground_truth"),
        ({"reward_model": None}, "ground_truth"),
    ],
)
def test_bad_deepeyes_rows_are_set_aside(tmp_path: Path, changes, reason):
    dataset, rejected = read_deepeyes(write_parquet(tmp_path / "d.parquet", deepeyes(), deepeyes(**changes)))
    assert len(dataset) == 1
    assert rejected[0].line == 2 and reason in rejected[0].reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reward_model": "red"}, "reward_model is 'red'"),
        ({"prompt": "What colour?"}, "the prompt is 'What colour?'"),
        ({"prompt": [{"role": "user", "content": [{"type": "text", "text": "What?"}]}]}, "no user message"),
        ({"images": ["a.jpg"]}, "no encoded bytes"),
        ({"images": 5}, "0 pictures"),
    ],
)
def test_rows_of_another_form_are_set_aside(tmp_path: Path, changes, reason):
    dataset, rejected = read_deepeyes(write_parquet(tmp_path / "d.parquet", deepeyes(**changes)))
    assert len(dataset) == 0
    assert reason in rejected[0].reason


@pytest.mark.parametrize("in_a_list", [True, False])
def test_pictures_may_be_bytes_alone(tmp_path: Path, in_a_list: bool):
    encoded = deepeyes()["images"][0]["bytes"]
    images = [encoded] if in_a_list else encoded
    dataset, rejected = read_deepeyes(write_parquet(tmp_path / "d.parquet", deepeyes(images=images)))
    assert rejected == [] and dataset[0]["image"].size == (40, 30)


def test_files_that_are_not_deepeyes_are_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="absent.parquet"):
        read_deepeyes(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(ValueError, match="text.parquet is not a parquet file"):
        read_deepeyes(tmp_path / "text.parquet")
    with pytest.raises(ValueError, match=r"lacks the columns \['data_source'"):
        read_deepeyes(write_parquet(tmp_path / "other.parquet", {"images": ["a"], "prompt": ["b"]}))
