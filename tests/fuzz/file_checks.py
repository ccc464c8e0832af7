"""The checks of whole files: readers, validation, tables, predictions, archives; see `fuzz.checks` for the rest."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from fuzz.workplace import image_root, workplace, written
from groundr1.data import Example, read_deepeyes
from groundr1.data.archives import BadArchive, unpack
from groundr1.data.benchmarks import read_benchmark
from groundr1.data.items import BadRow, items_of
from groundr1.data.readers import read_form
from groundr1.data.row_streams import FORMS
from groundr1.data.validation import validate
from groundr1.evaluation.predictions import load_predictions
from groundr1.evaluation.scoring import score


def _refused(error: ValueError) -> bool:
    """A documented refusal of a whole file; errors that should have set one row aside are ValueErrors too."""
    assert str(error) and not isinstance(error, BadRow | UnicodeError), repr(error)
    return False


def _paths_stay_below(dataset: Dataset) -> None:
    root = os.path.realpath(image_root())
    paths = [each["path"] for each in dataset.data.column("image").to_pylist() if each["path"]]
    assert all(Path(os.path.realpath(path)).is_relative_to(root) for path in paths)


TEXT_FORMS = sorted(set(FORMS) - {"deepeyes"})


def check_file(value: tuple[str, bytes]) -> bool:
    """Files of training rows, by their readers."""
    form, data = value
    path = written("rows.json", data)
    try:
        dataset, rejected = read_form(path, form, image_root())
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
            written("rows.json", data), out, form=form, image_root=image_root(), workers=1, progress=False
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
    path = written("rows.parquet", content)
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
    return _read_benchmark(benchmark, written("rows.jsonl", data), image_root())


def check_table(value: tuple[str, bytes]) -> bool:
    """TSV files of the benchmarks, with the pictures in them."""
    benchmark, data = value
    pictures = workplace() / "tsv"
    shutil.rmtree(pictures, ignore_errors=True)
    return _read_benchmark(benchmark, written("rows.tsv", data), pictures)


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
        found = load_predictions(benchmark, written("predictions.jsonl", data))
        result = score(benchmark, found.rows, found.texts, boxes=found.boxes, num_resamples=0)
    except ValueError as error:
        return _refused(error)
    json.dumps(result, allow_nan=False)
    return True


def check_archive(data: bytes) -> bool:
    """Archives: nothing outside the folder, no more than allowed, all or nothing."""
    path, folder = written("archive", data), workplace() / "unpacked" / "folder"
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
