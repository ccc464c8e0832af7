"""What is fuzzed: each target has a strategy and a check, which lets through only what the docstrings say.

A check takes one input. It fails on any error that is not documented, on a result out of range, and (see `attempt`) on
an input that takes longer than the target allows.
"""

import functools
import io
import json
import logging
import math
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from PIL import Image

from fuzz import hostile
from groundr1.boxes import Box, clip, giou, iou, relative_area, rescale
from groundr1.cropping import crop_evidence
from groundr1.data import Example, load_image, read_deepeyes, read_jsonl, read_refcoco, read_viscot
from groundr1.data.archives import BadArchive, unpack
from groundr1.data.benchmarks import read_benchmark
from groundr1.data.items import BENCHMARK_NAMES, BadRow, items_of
from groundr1.data.items.forms import Item
from groundr1.data.picture_check import BadPicture, check_picture, to_rgb
from groundr1.data.readers import KINDS, read_viscot_conversations
from groundr1.data.row_forms import WrongForm
from groundr1.data.row_streams import FORMS
from groundr1.data.rows import find_picture
from groundr1.evaluation.compat import COMPATIBLE, NO_SCORER
from groundr1.evaluation.judge.texts import Reply, read_score
from groundr1.evaluation.predictions import load_predictions
from groundr1.evaluation.scoring import score
from groundr1.evaluation.verdicts import verdict
from groundr1.parsing import parse_answer, parse_box, parse_turn
from groundr1.rewards import answer_reward, format_reward

ENDLESS = 60  # seconds of wall clock after which an input is taken to loop

logging.getLogger("groundr1").setLevel(logging.CRITICAL)  # rows set aside are no news here


class Target(NamedTuple):
    """Inputs of `strategy` go to `check`, in proportion to `share`; none may take more processor time than `seconds`."""

    check: Callable[[Any], None]
    strategy: st.SearchStrategy
    share: int
    seconds: float = 1.0


def attempt(name: str, value: Any) -> float:
    """Give one input to a target, and return the processor seconds that it took.

    Raises what the target should not have raised, AssertionError where a result is out of range or it took too long.
    An input is slow only if it is so a second time: the first may have met the collection of somebody's garbage.
    """
    target = TARGETS[name]
    with _alarm(ENDLESS):
        seconds = _timed(target, value)
        if seconds > target.seconds:
            seconds = min(seconds, _timed(target, value))
    assert seconds <= target.seconds, (
        f"{name} took {seconds:.1f} s for one input; {target.seconds:g} are allowed"
    )
    return seconds


def _timed(target: Target, value: Any) -> float:
    start = time.process_time()
    target.check(value)
    return time.process_time() - start


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ----------------------------------------------------------------------------------------------------------------------
# model texts


def check_turn(text: str) -> None:
    box, turn, answer = parse_box(text), parse_turn(text), parse_answer(text)
    assert box is None or (not box.is_empty and all(map(math.isfinite, box)))
    assert (turn.kind == "malformed") == (turn.box is None and turn.answer is None)
    assert turn.kind != "answer" or (answer is not None and turn.answer)
    assert turn.kind != "box" or turn.box == box
    assert 0.0 <= format_reward([text, text]) <= 1.0


def check_reward(pair: tuple[str | None, str | list[str], str]) -> None:
    value = answer_reward(*pair)
    assert isinstance(value, float) and 0.0 <= value <= 1.0


ITEMS: dict[str, list[Item]] = {}  # by benchmark, of the good rows below


def check_verdict(value: tuple[str, str, str]) -> None:
    benchmark, text, reason = value
    for item in ITEMS[benchmark]:
        found = [verdict(benchmark, item, text)]
        found += [
            read(benchmark, item, text) for kit, read in COMPATIBLE.items() if benchmark not in NO_SCORER[kit]
        ]
        assert all(0.0 <= each.score <= 1.0 and (each.valid or each.score == 0.0) for each in found)
    judged = read_score(benchmark, Reply(text, reason))
    assert judged.score is None or 0.0 <= judged.score <= 1.0


# ----------------------------------------------------------------------------------------------------------------------
# boxes and pictures


def check_boxes(value: tuple[Box, Box, tuple[float, float], tuple[float, float]]) -> None:
    a, b, size, other = value
    assert 0.0 <= iou(a, b) <= 1.0 and -1.0 <= giou(a, b) <= 1.0
    assert iou(a, b) == iou(b, a) and giou(a, b) <= iou(a, b)
    try:
        inside = clip(a, size)
    except ValueError:
        assert not all(0 < side < math.inf for side in size)
        return
    assert 0.0 <= relative_area(a, size) <= 1.0
    if inside is not None:
        assert 0 <= inside.x1 < inside.x2 <= size[0] and 0 <= inside.y1 < inside.y2 <= size[1]
    try:
        rescale(a, size, other)
    except ValueError:
        assert not all(0 < side < math.inf for side in other)


def check_crop(value: tuple[Image.Image, Box | None, int, float]) -> None:
    image, box, min_side, max_aspect = value
    evidence = crop_evidence(image, box, min_side=min_side, max_aspect=max_aspect)
    crop = evidence.box
    assert 0 <= crop.x1 < crop.x2 <= image.width and 0 <= crop.y1 < crop.y2 <= image.height
    assert evidence.image.size == (crop.width, crop.height) and evidence.image.mode == image.mode
    assert evidence.refused is None or evidence.image.size == image.size
    assert (
        evidence.refused is not None
        or min(crop.width - min(min_side, image.width), crop.height - min(min_side, image.height)) >= 0
    )


def check_encoded(encoded: bytes) -> None:
    try:
        facts = check_picture(encoded)
    except BadPicture as error:
        assert str(error) and "\n" not in str(error)
        facts = None
    try:
        image = load_image(encoded)
    except ValueError as error:
        assert facts is None, f"check_picture takes what load_image does not: {error}"
        return
    assert facts is None or facts.size == image.size
    try:
        assert to_rgb(image).mode == "RGB" and to_rgb(image).size == image.size
    except Exception:
        assert facts is None, "what passed the check cannot be made RGB"
        raise


# ----------------------------------------------------------------------------------------------------------------------
# rows

PICTURE = hostile.SAMPLES[3]
GOOD_ROWS = {
    "jsonl": {"image": "a.png", "question": "Which?\nA. red\nB. blue", "solution": "B", "kind": "choice", "boxes": [[1, 2, 30, 40]],
              "id": "x", "source": "s"},
    "viscot": {"image": "/home/x/cot_image_data/gqa/1.png", "width": 100, "height": 80, "bboxs": [[1, 2, 30, 40]], "dataset": "gqa",
               "split": "val", "problem": 'Which?"  \nA. red \nB. blue\n', "solution": "<answer>B</answer>", "problem_id": 7},
    "viscot-conversations": {
        "image": ["cot/gqa/1.png", "cot/gqa/1.png###[1, 2, 30, 40]"], "dataset": "gqa", "question_id": 3,
        "conversations": [
            {"from": "human", "value": "<image>\nWhich? Please provide the bounding box coordinate of the region that can help you."},
            {"from": "gpt", "value": "[0.01, 0.1, 0.3, 0.5]"}, {"from": "human", "value": "<image>"}, {"from": "gpt", "value": "blue"},
        ]},
    "refcoco": {"image": "a.png", "width": 100, "height": 80, "bboxs": [[60.5, 20, 30, 40]], "dataset": "RefCOCO/testA", "problem": "",
                "solution": ["left guy", "guy in red"], "problem_id": 3},
    "deepeyes": {"data_source": "vstar", "prompt": [{"role": "user", "content": "<image>\nWhat?\nThink first, call **tool**"}],
                 "images": [{"bytes": PICTURE, "path": None}], "reward_model": {"ground_truth": "red", "style": "model"}},
}  # fmt: skip
FRAME = {"image": "a.png", "width": 100, "height": 80}
GOOD_ITEMS = {
    "viscot": [GOOD_ROWS["viscot"], GOOD_ROWS["viscot"] | {"dataset": "docvqa", "problem": "What?", "solution": "a word"}],
    "mme": [{"problem": "Is it? Please answer yes or no.", "solution": "No", "dataset": "existence", "Image": "a.png", "problem_id": 7},
            {"question_id": "a/1.png", "question": "Is it?", "answer": "Yes", "category": "count", "image": {"bytes": PICTURE}}],
    "mmvet": [{"Question_id": "v1_1", "problem": "What is x?", "solution": "-1<AND>-5<OR>five", "Category": "ocr,math", "image": "a.png"}],
    "seed": [{"Question_id": "1", "problem": "Which?\nA. red\nB. blue", "solution": "B", "Question_Type": "5", "image": "a.png"},
             {"question_id": 2, "question": "Which?", "choice_a": "red", "choice_b": "blue", "choice_c": "x", "choice_d": "y", "answer": "A",
              "question_type_id": 1, "data_type": "image", "data_id": "1"}],
    "mme_realworld_lite": [
        {"Question_id": "1", "problem": "Which?", "multi-choice options": ["(A) red", "(B) blue"], "solution": "B", "Task": "Perception",
         "Subtask": "OCR", "Category": "x/attribute/y", "image": "a.png"},
        {"index": "1", "question": "Which?", "A": "red", "B": "blue", "answer": "A", "category": "Reasoning/x", "l2-category": "y", "image": "aGk="}],
    "realworldqa": [{"problem": "How many?", "solution": "two", "image": "a.png"}, {"problem": "Which?\nA. red\nB. blue", "solution": "B"}],
    "pope": [{"Question_id": "1", "problem": "Is there a dog?", "solution": "yes", "Category": "random", "image": "a.png"},
             {"question_id": "1", "question": "Is there?", "answer": "no", "category": "adversarial,popular", "image_source": "COCO_1"}],
    "vstar": [{"text": "Which?\n(A) red\n(B) blue\nAnswer with the letter.", "label": "A", "category": "direct_attributes", "question_id": "1",
               "image": "a.png"}],
    "hrbench": [{"index": "1", "question": "Which?", "A": "red", "B": "blue", "C": "x", "D": "y", "answer": "A", "category": "single",
                 "cycle_category": "1", "image": "aGk="}],
    "refcoco": [GOOD_ROWS["refcoco"],
                {"answer": ["left guy"], "bbox": [1.0, 2.0, 30.0, 40.0], "question_id": "1", "dataset": "RefCOCO/val", "image": {"bytes": PICTURE}},
                {"index": "1", "question": "Where is <ref>left guy</ref>?", "answer": "[0.1, 0.2, 0.3, 0.4]", "split": "refcoco_val", **FRAME},
                {"img_path": "a.png", "sent_id": 1, "expression": "left guy", "bbox": [1, 2, 30, 40], "dataset": "RefCOCO/val", **FRAME}],
}  # fmt: skip
# VLMEvalKit's rule for RefCOCO wants the size of the picture.
ITEMS.update(
    {
        name: [replace(item, size=(100, 80)) for row in rows for item in items_of(name, row)]
        for name, rows in GOOD_ITEMS.items()
    }
)


def check_row(value: tuple[str, dict[str, Any]]) -> None:
    form, row = value
    try:
        draft = FORMS[form].draft(row, "stem", 1)
    except (BadRow, WrongForm) as error:
        assert 0 < len(str(error)) < 1000
        return
    assert draft.kind in KINDS and draft.question.strip() and draft.solution
    assert all(isinstance(value, float) for box in draft.boxes for value in box)
    json.dumps([draft.id, draft.question, draft.solution, draft.source], ensure_ascii=False).encode()


def check_path(value: tuple[str, str | None]) -> None:
    image, marker = value
    try:
        path = find_picture(image, image_root(), marker)
    except (BadRow, OSError, ValueError) as error:  # what `row_judge` takes for a bad row
        assert str(error)
        return
    assert Path(os.path.realpath(path)).is_relative_to(os.path.realpath(image_root()))


def check_items(value: tuple[tuple[str, dict[str, Any]], int]) -> None:
    (benchmark, row), number = value
    try:
        items = items_of(benchmark, row, number)
    except BadRow as error:
        assert str(error)
        return
    assert items and len({item.id for item in items}) == len(items)
    for item in items:
        assert item.box is None or not item.box.is_empty
        assert item.size is None or min(item.size) > 0
        json.dumps(
            [
                item.id,
                item.question,
                item.cluster,
                *item.solution,
                *item.options.items(),
                *item.groups.items(),
            ],
            ensure_ascii=False,
        ).encode()
        verdict(benchmark, item, "<answer>B</answer>")


# ----------------------------------------------------------------------------------------------------------------------
# files


@functools.cache
def workplace() -> Path:
    """A folder of this process, in memory where the machine has such a place, removed at its end."""
    shared = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(prefix="groundr1-fuzz-", dir=shared if shared.is_dir() else None)
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: list[tempfile.TemporaryDirectory] = []


@functools.cache
def image_root() -> Path:
    """Pictures good and bad, and ways out of the folder."""
    root = workplace() / "pictures"
    for name in ("a.png", "gqa/1.png", "cot_image_data/gqa/1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 80), "teal").save(root / name)
    Image.new("RGB", (9, 9)).save(workplace() / "secret.png")
    Image.new("RGB", (402, 2)).save(root / "long.png")
    (root / "torn.png").write_bytes((root / "a.png").read_bytes()[:60])
    (root / "text.png").write_text("not a picture")
    (root / "empty.png").touch()
    (root / "out.png").symlink_to("../secret.png")
    (root / "out").symlink_to("..")
    (root / "loop.png").symlink_to("loop.png")
    os.mkfifo(root / "pipe")
    return root


def _written(name: str, data: bytes) -> Path:
    path = workplace() / name
    path.write_bytes(data)
    return path


READERS = {
    "jsonl": read_jsonl, "viscot": read_viscot, "refcoco": read_refcoco, "viscot-conversations": read_viscot_conversations,
}  # fmt: skip


def check_file(value: tuple[str, bytes]) -> None:
    form, data = value
    path = _written("rows.json", data)
    try:
        dataset, rejected = READERS[form](path, image_root())
    except ValueError as error:
        assert str(path) in str(error) and not isinstance(error, BadRow | UnicodeError), repr(error)
        return
    root = os.path.realpath(image_root())
    for row in dataset:
        Example.from_row(row)
    for each in dataset.data.column("image").to_pylist():
        assert Path(os.path.realpath(each["path"])).is_relative_to(root)
    assert all(each.reason and "\n" not in each.reason for each in rejected)


def check_parquet(value: tuple[str, Any]) -> None:
    kind, content = value
    if kind == "rows":
        try:
            table = pa.Table.from_pylist(content)
        except (pa.ArrowException, OverflowError, UnicodeError, ValueError, TypeError, RecursionError):
            return  # nobody can write such a file
        stream = io.BytesIO()
        try:
            pq.write_table(table, stream)
        except pa.ArrowException:
            return
        content = stream.getvalue()
    path = _written("rows.parquet", content)
    try:
        dataset, rejected = read_deepeyes(path)
    except ValueError as error:
        assert str(path) in str(error)
        return
    for row in dataset:
        Example.from_row(row)
    assert all(each.reason for each in rejected)


def check_benchmark(value: tuple[str, bytes]) -> None:
    benchmark, data = value
    _read_benchmark(benchmark, _written("rows.jsonl", data), image_root())


def check_table(value: tuple[str, bytes]) -> None:
    benchmark, data = value
    shutil.rmtree(workplace() / "tsv", ignore_errors=True)
    _read_benchmark(benchmark, _written("rows.tsv", data), workplace() / "tsv")


def _read_benchmark(benchmark: str, path: Path, root: Path) -> None:
    try:
        dataset, rejected = read_benchmark(benchmark, path, root, progress=False)
    except ValueError as error:
        assert str(error) and not isinstance(error, BadRow | UnicodeError), repr(error)
        return
    for row in dataset:
        assert items_of(benchmark, json.loads(row["annotation"]))
    assert all(each.reason for each in rejected)


def check_predictions(value: tuple[str, bytes]) -> None:
    benchmark, data = value
    try:
        found = load_predictions(benchmark, _written("predictions.jsonl", data))
        result = score(benchmark, found.rows, found.texts, boxes=found.boxes, num_resamples=0)
    except ValueError as error:
        assert str(error) and not isinstance(error, BadRow | UnicodeError), repr(error)
        return
    json.dumps(result, allow_nan=False)


def check_archive(data: bytes) -> None:
    path, folder = _written("archive", data), workplace() / "unpacked" / "folder"
    shutil.rmtree(folder.parent, ignore_errors=True)
    before = sorted(os.listdir(workplace()))
    try:
        with mock.patch.object(os, "sync"):  # flushing everybody's files would be most of the time
            files = unpack(path, folder, max_bytes=20_000, max_files=50, progress=False)
    except BadArchive as error:
        assert str(path) in str(error) and "\n" not in str(error)
        assert not folder.exists() and not list(folder.parent.iterdir())
    else:
        found = [each for each in folder.rglob("*") if not each.is_dir()]
        assert sorted(files) == sorted(found) and not any(each.is_symlink() for each in folder.rglob("*"))
        assert sum(each.stat().st_size for each in found) <= 20_000
        assert os.listdir(folder.parent) == ["folder"]
        assert sorted(os.listdir(workplace())) == sorted({*before, "unpacked"}), "nothing beside the folder"


# ----------------------------------------------------------------------------------------------------------------------


def _tsv(rows: list[dict[str, Any]]) -> bytes:
    """Rows as a TSV, badly quoted: texts hold tabs and ends of lines."""
    names = sorted({name for row in rows for name in row}, key=str)
    lines = [
        "\t".join(map(str, names)),
        *("\t".join(str(row.get(name, "")) for name in names) for row in rows),
    ]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def _one_of(draw, by_name: dict[str, st.SearchStrategy]):
    """(name, value) of one of several named strategies."""
    name = draw(st.sampled_from(tuple(sorted(by_name))))
    return name, draw(by_name[name])


def _of_rows(make: Callable[[dict[str, Any]], st.SearchStrategy]) -> st.SearchStrategy:
    """(benchmark, value) where the value is made of a good row of the benchmark."""
    return _one_of({name: st.one_of([make(row) for row in rows]) for name, rows in GOOD_ITEMS.items()})


def _prediction_files(row: dict[str, Any]) -> st.SearchStrategy:
    """Predictions of another kit: the row's own keys, the row, or its JSON text, beside the prediction."""
    texts = st.one_of(hostile.odd_lines, hostile.bent(row).map(hostile.dumped), hostile.deep_rows(row))
    return st.one_of(
        hostile.line_files(row | {"prediction": "<answer>B</answer>"}),
        hostile.line_files({"annotation": row, "prediction": "<answer>B</answer>", "box": [1, 2, 30, 40]}),
        hostile.line_files({"annotation": hostile.dumped(row).decode(), "prediction": ["B", "[1,2,30,40]"]}),
        texts.map(
            lambda text: hostile.dumped({"annotation": text.decode("utf-8", "replace"), "prediction": "B"})
        ),
    )


def _tables(row: dict[str, Any]) -> st.SearchStrategy:
    """TSV files of rows that hold their picture."""
    rows = st.lists(hostile.bent(row | {"image": hostile.base64_of(PICTURE)}), min_size=1, max_size=3)
    return rows.map(_tsv).flatmap(hostile.damaged)


def _parquet_files() -> st.SearchStrategy:
    row = GOOD_ROWS["deepeyes"]
    pictures = hostile.encoded_pictures.map(lambda found: row | {"images": [{"bytes": found}]})
    return _one_of(
        {
            "rows": st.lists(st.one_of(hostile.bent(row), pictures), min_size=1, max_size=3),
            "bytes": hostile.damaged(_parquet_bytes()),
        }
    )


@functools.cache
def _parquet_bytes() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([GOOD_ROWS["deepeyes"]] * 3), stream)
    return stream.getvalue()


TARGETS = {
    "turn": Target(check_turn, hostile.texts(300_000), 14),
    "reward": Target(
        check_reward,
        st.tuples(
            st.one_of(st.none(), hostile.texts(20_000), hostile.texts(20_000)),
            st.one_of(hostile.texts(20_000), st.lists(hostile.texts(2000), min_size=1, max_size=3)),
            st.sampled_from(KINDS),
        ),
        18,
        seconds=2.0,
    ),
    "verdict": Target(
        check_verdict,
        st.tuples(
            st.sampled_from(BENCHMARK_NAMES),
            hostile.texts(20_000),
            st.sampled_from(("stop", "length", "content_filter", "")),
        ),
        10,
        seconds=2.0,
    ),
    "boxes": Target(
        check_boxes, st.tuples(hostile.any_boxes, hostile.any_boxes, hostile.sizes, hostile.sizes), 10
    ),
    "crop": Target(
        check_crop,
        st.tuples(
            hostile.pictures,
            st.one_of(st.none(), hostile.any_boxes),
            st.integers(1, 60),
            st.floats(1.01, 1000),
        ),
        8,
    ),
    "picture": Target(check_encoded, hostile.encoded_pictures, 8, seconds=5.0),
    "row": Target(check_row, _one_of({form: hostile.bent(row) for form, row in GOOD_ROWS.items()}), 10),
    "path": Target(check_path, st.tuples(hostile.paths, st.sampled_from((None, "cot_image_data"))), 4),
    "items": Target(check_items, st.tuples(_of_rows(hostile.bent), st.integers(0, 3)), 8),
    "file": Target(
        check_file,
        _one_of(
            {
                form: (hostile.array_files if form == "viscot-conversations" else hostile.line_files)(
                    GOOD_ROWS[form]
                )
                for form in READERS
            }
        ),
        4,
        seconds=5.0,
    ),
    "parquet": Target(check_parquet, _parquet_files(), 2, seconds=5.0),
    "table": Target(check_table, _of_rows(_tables), 1, seconds=5.0),
    "benchmark": Target(check_benchmark, _of_rows(hostile.line_files), 2, seconds=5.0),
    "predictions": Target(check_predictions, _of_rows(_prediction_files), 2, seconds=5.0),
    "archive": Target(check_archive, hostile.archives(), 3, seconds=5.0),
}
