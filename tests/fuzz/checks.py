"""The checks: each gives one input to the code and lets through only what the docstrings say.

A check returns whether the input was taken for good; fuzzing is worth something only where some are.
"""

import functools
import io
import json
import math
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from PIL import Image

from fuzz.good_rows import GOOD_ITEMS
from groundr1.boxes import Box, clip, giou, iou, relative_area, rescale
from groundr1.cropping import crop_evidence
from groundr1.data import Example, load_image, read_deepeyes, read_jsonl, read_refcoco, read_viscot
from groundr1.data.archives import BadArchive, unpack
from groundr1.data.benchmarks import read_benchmark
from groundr1.data.items import BadRow, Item, items_of
from groundr1.data.picture_check import BadPicture, check_picture, to_rgb
from groundr1.data.readers import KINDS, read_viscot_conversations
from groundr1.data.row_forms import WrongForm
from groundr1.data.row_streams import FORMS
from groundr1.data.rows import find_picture
from groundr1.data.validation import validate
from groundr1.evaluation.compat import COMPATIBLE, NO_SCORER
from groundr1.evaluation.judge.texts import Reply, read_score
from groundr1.evaluation.predictions import load_predictions
from groundr1.evaluation.scoring import score
from groundr1.evaluation.verdicts import verdict
from groundr1.parsing import parse_answer, parse_box, parse_turn
from groundr1.rewards import answer_reward, format_reward

# ----------------------------------------------------------------------------------------------------------------------
# model texts


def check_turn(text: str) -> bool:
    """Parsing and the format reward."""
    box, turn, answer = parse_box(text), parse_turn(text), parse_answer(text)
    assert box is None or (not box.is_empty and all(map(math.isfinite, box)))
    assert (turn.kind == "malformed") == (turn.box is None and turn.answer is None)
    assert turn.kind != "answer" or (answer is not None and turn.answer)
    assert turn.kind != "box" or turn.box == box
    assert 0.0 <= format_reward([text, text]) <= 1.0
    return box is not None or answer is not None


def check_reward(value: tuple[str | None, str | list[str], str]) -> bool:
    """The answer reward, of every kind."""
    reward = answer_reward(*value)
    assert isinstance(reward, float) and 0.0 <= reward <= 1.0
    return reward > 0.0


@functools.cache
def good_items(benchmark: str) -> list[Item]:
    """Items of the good rows, with the size of the picture, which VLMEvalKit's rule for RefCOCO wants."""
    return [
        replace(item, size=(100, 80)) for row in GOOD_ITEMS[benchmark] for item in items_of(benchmark, row)
    ]


def check_verdict(value: tuple[str, str, str]) -> bool:
    """What our rules and the other kits' make of a prediction, and what a judge's reply says."""
    benchmark, text, reason = value
    verdicts = []
    for item in good_items(benchmark):
        verdicts.append(verdict(benchmark, item, text))
        verdicts += [
            read(benchmark, item, text) for kit, read in COMPATIBLE.items() if benchmark not in NO_SCORER[kit]
        ]
    assert all(0.0 <= each.score <= 1.0 and (each.valid or each.score == 0.0) for each in verdicts)
    judged = read_score(benchmark, Reply(text, reason))
    assert judged.score is None or 0.0 <= judged.score <= 1.0
    return any(each.valid for each in verdicts) or judged.score is not None


# ----------------------------------------------------------------------------------------------------------------------
# boxes and pictures


def check_boxes(value: tuple[Box, Box, tuple[float, float], tuple[float, float]]) -> bool:
    """All functions of boxes."""
    a, b, size, other = value
    assert 0.0 <= iou(a, b) <= 1.0 and -1.0 <= giou(a, b) <= 1.0
    assert iou(a, b) == iou(b, a) and giou(a, b) <= iou(a, b)
    try:
        inside = clip(a, size)
    except ValueError:
        assert not all(0 < side < math.inf for side in size)
        return False
    assert 0.0 <= relative_area(a, size) <= 1.0
    if inside is not None:
        assert 0 <= inside.x1 < inside.x2 <= size[0] and 0 <= inside.y1 < inside.y2 <= size[1]
    try:
        rescale(a, size, other)
    except ValueError:
        assert not all(0 < side < math.inf for side in other)
    return inside is not None


def check_crop(value: tuple[Image.Image, Box | None, int, float]) -> bool:
    """The evidence region lies in the picture, is what its box says, and has its minimum side where there is room."""
    image, box, min_side, max_aspect = value
    evidence = crop_evidence(image, box, min_side=min_side, max_aspect=max_aspect)
    crop = evidence.box
    assert 0 <= crop.x1 < crop.x2 <= image.width and 0 <= crop.y1 < crop.y2 <= image.height
    assert evidence.image.size == (crop.width, crop.height) and evidence.image.mode == image.mode
    if evidence.refused is not None:
        assert evidence.image.size == image.size
        return False
    assert crop.width >= min(min_side, image.width) and crop.height >= min(min_side, image.height)
    return True


def check_encoded(encoded: bytes) -> bool:
    """Encoded pictures: what the check takes can be loaded and made RGB."""
    try:
        facts = check_picture(encoded)
    except BadPicture as error:
        assert str(error) and "\n" not in str(error)
        facts = None
    try:
        image = load_image(encoded)
    except ValueError as error:
        assert facts is None, f"check_picture takes what load_image does not: {error}"
        return False
    if facts is not None:
        assert facts.size == image.size == to_rgb(image).size and to_rgb(image).mode == "RGB"
    return facts is not None


# ----------------------------------------------------------------------------------------------------------------------
# rows


def check_row(value: tuple[str, dict[str, Any]]) -> bool:
    """A parsed row of each training form."""
    form, row = value
    try:
        draft = FORMS[form].draft(row, "stem", 1)
    except (BadRow, WrongForm) as error:
        assert 0 < len(str(error)) < 1000
        return False
    assert draft.kind in KINDS and draft.question.strip() and draft.solution
    assert all(isinstance(number, float) for box in draft.boxes for number in box)
    json.dumps([draft.id, draft.question, draft.solution, draft.source], ensure_ascii=False).encode()
    return True


def check_path(value: tuple[str, str | None]) -> bool:
    """The path of a picture stays below the image root."""
    image, marker = value
    try:
        path = find_picture(image, image_root(), marker)
    except (BadRow, OSError, ValueError) as error:  # what `row_judge` takes for a bad row
        assert str(error)
        return False
    assert Path(os.path.realpath(path)).is_relative_to(os.path.realpath(image_root()))
    return os.path.isfile(path)


def check_items(value: tuple[tuple[str, dict[str, Any]], int]) -> bool:
    """An official row of each benchmark."""
    (benchmark, row), number = value
    try:
        items = items_of(benchmark, row, number)
    except BadRow as error:
        assert str(error)
        return False
    assert items and len({item.id for item in items}) == len(items)
    for item in items:
        assert item.box is None or not item.box.is_empty
        assert item.size is None or min(item.size) > 0
        texts = [
            item.id,
            item.question,
            item.cluster,
            *item.solution,
            *item.options.values(),
            *item.groups.values(),
        ]
        "".join(texts).encode()
        verdict(benchmark, item, "<answer>B</answer>")
    return True


# ----------------------------------------------------------------------------------------------------------------------
# files

_KEPT: list[tempfile.TemporaryDirectory] = []


@functools.cache
def workplace() -> Path:
    """A folder of this process, in memory where the machine has such a place, removed at its end."""
    shared = Path("/dev/shm")
    _KEPT.append(
        tempfile.TemporaryDirectory(prefix="groundr1-fuzz-", dir=shared if shared.is_dir() else None)
    )
    return Path(_KEPT[0].name)


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


def _refused(error: ValueError) -> bool:
    """A documented refusal of a whole file; errors that should have set one row aside are ValueErrors too."""
    assert str(error) and not isinstance(error, BadRow | UnicodeError), repr(error)
    return False


def _paths_stay_below(dataset: Dataset) -> None:
    root = os.path.realpath(image_root())
    paths = [each["path"] for each in dataset.data.column("image").to_pylist() if each["path"]]
    assert all(Path(os.path.realpath(path)).is_relative_to(root) for path in paths)


READERS = {
    "jsonl": read_jsonl,
    "viscot": read_viscot,
    "refcoco": read_refcoco,
    "viscot-conversations": read_viscot_conversations,
}


def check_file(value: tuple[str, bytes]) -> bool:
    """Files of training rows, by their readers."""
    form, data = value
    path = _written("rows.json", data)
    try:
        dataset, rejected = READERS[form](path, image_root())
    except ValueError as error:
        assert str(path) in str(error)
        return _refused(error)
    for row in dataset:
        Example.from_row(row)
    _paths_stay_below(dataset)
    assert all(each.reason and "\n" not in each.reason for each in rejected)
    return len(dataset) > 0


def check_validation(value: tuple[str, bytes]) -> bool:
    """The same files, by the validation; every row is kept or set aside."""
    form, data = value
    out = workplace() / "validated"
    shutil.rmtree(out, ignore_errors=True)
    try:
        found = validate(
            _written("rows.json", data), out, form=form, image_root=image_root(), workers=1, progress=False
        )
    except ValueError as error:
        return _refused(error)
    assert found.counts["clean"] + found.counts["rejected"] == found.counts["rows"]
    assert len(found.dataset) == found.counts["clean"] and len(found.rejected) == found.counts["rejected"]
    _paths_stay_below(found.dataset)
    return len(found.dataset) > 0


def check_parquet(value: tuple[str, Any]) -> bool:
    """Parquet files in DeepEyes' form: hostile rows, or a good file with damaged bytes."""
    kind, content = value
    if kind == "rows":
        stream = io.BytesIO()
        try:
            pq.write_table(pa.Table.from_pylist(content), stream)
        except (pa.ArrowException, OverflowError, UnicodeError, TypeError, RecursionError):
            return False  # nobody can write such a file
        content = stream.getvalue()
    path = _written("rows.parquet", content)
    try:
        dataset, rejected = read_deepeyes(path)
    except ValueError as error:
        assert str(path) in str(error)
        return _refused(error)
    for row in dataset:
        Example.from_row(row)
    assert all(each.reason for each in rejected)
    return len(dataset) > 0


def check_benchmark(value: tuple[str, bytes]) -> bool:
    """JSONL files of the benchmarks."""
    benchmark, data = value
    return _read_benchmark(benchmark, _written("rows.jsonl", data), image_root())


def check_table(value: tuple[str, bytes]) -> bool:
    """TSV files of the benchmarks, with the pictures in them."""
    benchmark, data = value
    pictures = workplace() / "tsv"
    shutil.rmtree(pictures, ignore_errors=True)
    return _read_benchmark(benchmark, _written("rows.tsv", data), pictures)


def _read_benchmark(benchmark: str, path: Path, root: Path) -> bool:
    try:
        dataset, rejected = read_benchmark(benchmark, path, root, progress=False)
    except ValueError as error:
        return _refused(error)
    for row in dataset:
        assert items_of(benchmark, json.loads(row["annotation"]))
    assert all(each.reason for each in rejected)
    return len(dataset) > 0


def check_predictions(value: tuple[str, bytes]) -> bool:
    """Files of another kit's predictions, read and scored."""
    benchmark, data = value
    try:
        found = load_predictions(benchmark, _written("predictions.jsonl", data))
        result = score(benchmark, found.rows, found.texts, boxes=found.boxes, num_resamples=0)
    except ValueError as error:
        return _refused(error)
    json.dumps(result, allow_nan=False)
    return True


def check_archive(data: bytes) -> bool:
    """Archives: nothing outside the folder, no more than allowed, all or nothing."""
    path, folder = _written("archive", data), workplace() / "unpacked" / "folder"
    shutil.rmtree(folder.parent, ignore_errors=True)
    before = {*os.listdir(workplace()), "unpacked"}
    try:
        with mock.patch.object(os, "sync"):  # flushing everybody's files would be most of the time
            files = unpack(path, folder, max_bytes=20_000, max_files=50, progress=False)
    except BadArchive as error:
        assert str(path) in str(error) and "\n" not in str(error)
        assert os.listdir(folder.parent) == []
        return False
    finally:
        assert set(os.listdir(workplace())) == before, "nothing beside the folder"
    found = [each for each in folder.rglob("*") if not each.is_dir()]
    assert sorted(files) == sorted(found) and not any(each.is_symlink() for each in folder.rglob("*"))
    assert sum(each.stat().st_size for each in found) <= 20_000 and os.listdir(folder.parent) == ["folder"]
    return len(files) > 0
