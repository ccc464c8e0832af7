"""Where a validation writes and what it is told to read: one process a folder, nothing stale, refusals that help."""

import fcntl
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, IterableDataset

from groundr1.data import validation as validation_module
from groundr1.data.picture_check import Limits
from groundr1.data.validation import InvalidRow, load_validation, validate
from groundr1.data.validation import ledger as ledger_module
from groundr1.data.validation.ledger import DamagedPart, Parts
from groundr1.storage import alone_in
from tests.small_annotations import encoded, noise, plain, validate_rows, write_lines, write_picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(6):
        write_picture(tmp_path / "pictures" / f"{seed}.png", seed)
    return tmp_path / "pictures"


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# One process at a time


def test_a_second_process_is_refused_and_told_of_the_first(tmp_path: Path, root: Path):
    code = (
        "import sys, time; from pathlib import Path; from groundr1.storage import alone_in\n"
        "with alone_in(Path(sys.argv[1]), 'validation'): print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "held\n"
        said = (
            rf"Another validation is writing to {tmp_path / 'out'} \(process {child.pid}\); wait for it, or"
        )
        with pytest.raises(ValueError, match=said):
            validate_rows(tmp_path, root, plain())
        assert names(tmp_path / "out") == {"lock"}, "nothing was written"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert validate_rows(tmp_path, root, plain()).counts["clean"] == 1, "a kill leaves no stale lock"


def test_a_pass_holds_the_lock_to_its_end_and_leaves_it_empty(tmp_path: Path, root: Path, monkeypatch):
    report = validation_module.write_report

    def held(*args):
        with (tmp_path / "out" / "lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert (tmp_path / "out" / "lock").read_text() == str(os.getpid())
        report(*args)

    monkeypatch.setattr(validation_module, "write_report", held)
    validate_rows(tmp_path, root, plain())
    assert (tmp_path / "out" / "lock").read_text() == ""
    with alone_in(tmp_path / "out", "test"):
        pass


def test_a_refused_holder_keeps_its_number(tmp_path: Path):
    """The second process opens the file too; it must not empty it."""
    with alone_in(tmp_path, "test"):
        for _ in range(2):
            with pytest.raises(ValueError, match=f"process {os.getpid()}"), alone_in(tmp_path, "test"):
                pass


def test_more_rows_in_the_ledger_than_were_read_are_noticed(tmp_path: Path, root: Path, monkeypatch):
    add = ledger_module.PartWriter.add

    def twice(self, record, example):
        add(self, record, example)
        add(self, record, example)

    monkeypatch.setattr(ledger_module.PartWriter, "add", twice)
    with pytest.raises(RuntimeError, match="3 rows were read, 6 are in the ledger"):
        validate_rows(tmp_path, root, plain(0), plain(1), plain(2))
    assert not (tmp_path / "out" / "summary.json").exists()


# What the folder holds already


def test_a_finished_pass_of_something_else_is_kept(tmp_path: Path, root: Path):
    found = validate_rows(tmp_path, root, plain(0), plain(1))
    other = write_lines(tmp_path / "other.jsonl", plain(2))
    write_lines(tmp_path / "q.jsonl", plain(3))  # its own file may change, but is not what is asked for here
    before = names(tmp_path / "out")
    for source, options, said in [
        (other, {}, "sources_read was .*q.jsonl.*, now .*other.jsonl"),
        (tmp_path / "q.jsonl", {"strict": True}, "strict was False, now True"),
        (tmp_path / "q.jsonl", {"limits": Limits(min_side=9)}, "limits was"),
        (tmp_path / "q.jsonl", {"redo": False, "shard": (0, 2)}, r"shard was \[0, 1\], now \[0, 2\]"),
    ]:
        with pytest.raises(
            FileExistsError, match=f"(?s)finished validation of something else: {said}.*delete"
        ):
            validate(source, tmp_path / "out", **({"image_root": root, "progress": False} | options))
    assert names(tmp_path / "out") == before
    assert load_validation(tmp_path / "out").counts == found.counts


def test_a_mended_file_is_validated_anew(tmp_path: Path, root: Path):
    assert validate_rows(tmp_path, root, plain(0), "{").counts["clean"] == 1
    assert validate_rows(tmp_path, root, plain(0), plain(1), redo=False).counts["clean"] == 2, (
        "not the old answer"
    )


def test_another_state_of_a_data_set_is_validated_anew(tmp_path: Path, root: Path):
    rows = Dataset.from_list([plain(0), plain(1)])
    options = {"image_root": root, "progress": False}
    assert validate(rows, tmp_path / "out", **options).counts["clean"] == 2
    assert validate(rows.select([1]), tmp_path / "out", **options, redo=False).counts["clean"] == 1


@pytest.mark.parametrize("strict", [False, True])
def test_a_failed_rerun_leaves_nothing_of_the_pass_before(tmp_path: Path, root: Path, strict: bool):
    validate_rows(tmp_path, root, *[plain(i % 6, question=f"{i}?") for i in range(20)], strict=strict)
    bad = [plain(i % 6, question=f"{i}?", boxes=[[60, 50, 20, 20]]) for i in range(20)]
    with pytest.raises(InvalidRow if strict else ValueError):
        validate_rows(tmp_path, root, *bad, strict=strict)
    assert names(tmp_path / "out") == {"lock", "validation.json"}


def test_what_cannot_be_asked_for_costs_no_finished_pass(tmp_path: Path, root: Path):
    found = validate_rows(tmp_path, root, plain(0) | {"dataset": "RefCOCO"})
    wrong = [("shard", (2, 2)), ("workers", 0), ("form", "tsv"), ("form", "viscot"), ("against", "nowhere")]
    for name, value in wrong:
        with pytest.raises((ValueError, FileNotFoundError)):
            validate_rows(tmp_path, root, plain(0) | {"dataset": "RefCOCO"}, **{name: value})
    assert load_validation(tmp_path / "out").counts == found.counts


def test_hidden_files_do_not_make_a_folder_one_of_something_else(tmp_path: Path, root: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".DS_Store").write_bytes(b"\0")
    assert validate_rows(tmp_path, root, plain(0)).counts["clean"] == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files"):
        validate(tmp_path / "q.jsonl", tmp_path / "other", image_root=root)
    assert names(tmp_path / "other") == {"notes.txt"}, "not even a lock"


# Parts that a full disk or a lost cache has damaged


@pytest.fixture
def parts_of_four(monkeypatch) -> None:
    monkeypatch.setattr(validation_module, "PART_ROWS", 4)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("part", "damage", "kept"),
    [
        ("rows/part-00000.parquet", emptied, 0),
        ("rows/part-00001.parquet", halved, 1),
        ("clean/part-00001.arrow", emptied, 1),
        ("clean/part-00002.arrow", halved, 2),
        ("clean/part-00001.arrow", Path.unlink, 1),
        ("rows/part-00001.parquet", Path.unlink, 1),  # those behind it are there
    ],
)
def test_a_damaged_part_and_all_behind_it_are_made_again(
    tmp_path: Path, root: Path, parts_of_four, caplog, part: str, damage, kept: int
):
    rows = [plain(i % 6, question=f"{i}?") for i in range(14)]
    whole = validate_rows(tmp_path, root, *rows)
    expected = whole.dataset.data.to_pydict()
    (tmp_path / "out" / "summary.json").unlink()  # as if it had been killed before its end
    damage(tmp_path / "out" / part)
    with caplog.at_level(logging.INFO, logger="groundr1.data"):
        found = validate(tmp_path / "q.jsonl", tmp_path / "out", image_root=root, progress=False)
    assert found.counts == whole.counts and found.dataset.data.to_pydict() == expected
    assert f"part-0000{kept} is damaged or lost" in caplog.text
    assert (f"{4 * kept} rows were checked before" in caplog.text) == (kept > 0)


@pytest.mark.parametrize("damage", [emptied, halved])
def test_a_damaged_part_of_a_finished_pass_is_named(tmp_path: Path, root: Path, parts_of_four, damage):
    validate_rows(tmp_path, root, *[plain(i % 6, question=f"{i}?") for i in range(14)])
    found = load_validation(tmp_path / "out")
    damage(tmp_path / "out" / "rows" / "part-00001.parquet")
    with pytest.raises(
        DamagedPart, match="rows/part-00001.parquet cannot be read.*Delete .*out and validate again"
    ):
        validate(tmp_path / "q.jsonl", tmp_path / "next", image_root=root, against=found.folder)
    damage(tmp_path / "out" / "clean" / "part-00001.arrow")
    with pytest.raises(
        DamagedPart, match="clean/part-00001.arrow cannot be read.*Delete .*out and validate again"
    ):
        _ = found.dataset


def test_a_lost_part_of_a_finished_pass_is_missed(tmp_path: Path, root: Path, parts_of_four):
    found = validate_rows(tmp_path, root, *[plain(i % 6, question=f"{i}?") for i in range(14)])
    (tmp_path / "out" / "rows" / "part-00001.parquet").unlink()
    with pytest.raises(DamagedPart, match="out holds 10 clean rows of 14: parts are lost. Delete it"):
        _ = found.dataset


def test_a_damaged_summary_is_named(tmp_path: Path, root: Path):
    validate_rows(tmp_path, root, plain(0))
    (tmp_path / "out" / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary.json is not JSON"):
        load_validation(tmp_path / "out")


# What is asked for


def refusals(tmp_path: Path) -> list[tuple[object, dict[str, object], type[Exception], str]]:
    file, by_path = tmp_path / "q.jsonl", Dataset.from_list([plain(0)])
    sets = DatasetDict(train=by_path, test=by_path)
    return [
        (by_path, {"image_root": None}, ValueError, r"the data set names .* \('0.png'\); give image_root"),
        ([by_path, by_path], {"image_root": None}, ValueError, "data set 1 names"),
        (file, {"image_root": None}, ValueError, "q.jsonl names its pictures by path .* give image_root"),
        (sets, {}, TypeError, r"holds the data sets train, test; give one of them"),
        ([by_path, sets], {}, TypeError, r"holds the data sets train, test"),
        (IterableDataset.from_generator(lambda: iter([plain(0)])), {}, TypeError, "type IterableDataset; give"),
        ((row for row in [plain(0)]), {}, TypeError, "type generator; give a file, or .*from_generator"),
        ([plain(0)], {}, TypeError, "type dict; .*Dataset.from_list"),
        (3, {}, TypeError, "type int"),
        ([], {}, ValueError, "nothing to read"),
        (tmp_path / "pictures", {}, ValueError, r"is a folder; give the files in it or.*load_from_disk"),
        (tmp_path / "*.jsonl", {}, FileNotFoundError, r"no file .*\*.jsonl; give sorted\(glob.glob\("),
        (tmp_path / "absent.jsonl", {}, FileNotFoundError, "no file .*absent.jsonl; download it"),
        (file, {"workers": 0}, ValueError, "workers=0 must be at least 1"),
        (file, {"workers": -1}, ValueError, "workers=-1 must be at least 1"),
        (file, {"against": "nowhere"}, FileNotFoundError, "nowhere holds no finished validation; run validate"),
        (file, {"against": [tmp_path / "pictures"]}, FileNotFoundError, "pictures holds no finished validation"),
        (file, {"out": file}, FileExistsError, "q.jsonl is a file; .* is to be a folder"),
        (file, {"out": file / "below"}, FileExistsError, "q.jsonl is a file; .*below is to be a folder"),
    ]  # fmt: skip


def test_what_cannot_be_done_is_refused_at_once_with_what_to_do(tmp_path: Path, root: Path):
    write_lines(tmp_path / "q.jsonl", plain(0))
    before = names(tmp_path)
    for source, options, error, said in refusals(tmp_path):
        with pytest.raises(error, match=said):
            validate(source, **({"out": tmp_path / "out", "image_root": root, "progress": False} | options))
    assert names(tmp_path) == before


@pytest.mark.parametrize("which", ["source", "image_root", "out", "against"])
def test_paths_that_are_not_in_utf_8_are_refused_at_once(tmp_path: Path, root: Path, which: str):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    odd.mkdir()
    for seed in range(2):
        write_picture(odd / f"{seed}.png", seed)
    file = write_lines((odd if which == "source" else tmp_path) / "q.jsonl", plain(0))
    options = {"image_root": odd if which == "image_root" else root}
    options |= {"against": [odd]} if which == "against" else {}
    with pytest.raises(ValueError, match=r"caf\\udce9.* is not in UTF-8.*rename"):
        validate(file, odd / "out" if which == "out" else tmp_path / "out", **options)
    assert not (tmp_path / "out").exists() and not (odd / "out").exists()


def test_one_other_split_need_not_be_in_a_list(tmp_path: Path, root: Path):
    validate(write_lines(tmp_path / "t.jsonl", plain(1)), tmp_path / "test", image_root=root, progress=False)
    for against in (str(tmp_path / "test"), tmp_path / "test"):
        found = validate_rows(tmp_path, root, plain(0), plain(1), against=against)
        assert found.counts["faults"] == {"leakage": 1}


# Ids that are made


def test_made_ids_of_sources_of_one_name_are_told_apart(tmp_path: Path, root: Path):
    files = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        files.append(
            write_lines(tmp_path / str(number) / "a.jsonl", plain(number), plain(number + 3, id="mine"))
        )
    write_lines(files[1], plain(1), plain(1, question="Why?", id="a-1"), plain(1, question="Who?"))
    found = validate(files, tmp_path / "out", image_root=root, progress=False)
    assert found.dataset["id"][:] == ["a-1", "mine", "a-1~2", "a-3", "a-1~3"]
    kept = [record["id"] for record in Parts(tmp_path / "out").records() if not record["fault"]]
    assert kept == found.dataset["id"][:]
    stated = [(Path(row.file).parent.name, row.line, row.fault) for row in found.rejected.itertuples()]
    assert stated == [("1", 2, "duplicate id"), ("2", 2, "duplicate id")], "stated ids are the user's to mend"


def test_several_data_sets_are_told_apart(tmp_path: Path):
    sets = [
        Dataset.from_list(
            [
                {"image": {"bytes": encoded(noise(seed))}, "question": "A?", "solution": "a", "kind": "exact"}
                for seed in seeds
            ]
        )
        for seeds in ((0, 1), (2, 1))
    ]  # fmt: skip
    found = validate(sets, tmp_path / "out", progress=False)
    assert found.dataset["id"][:] == ["row-1", "row-2", "row-1~2"]
    assert found.counts["sources_read"] == ["data set 1", "data set 2"]
    (row,) = found.rejected.to_dict("records")
    assert (row["file"], row["line"], row["fault"]) == ("data set 2", 2, "duplicate")
    assert row["reason"].startswith("the same row as line 2 of data set 1")


@pytest.mark.parametrize("seen", [5, 6, 8, 11])
def test_made_ids_are_the_same_after_a_kill(
    tmp_path: Path, root: Path, parts_of_four, monkeypatch, seen: int
):
    files = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        rows = [plain(i % 6, question=f"{i} {number * (i % 3)}?") for i in range(6)]
        files.append(write_lines(tmp_path / str(number) / "a.jsonl", *rows))
    whole = validate(files, tmp_path / "whole", image_root=root, progress=False)
    assert "a-2~2" in whole.dataset["id"][:]
    take, taken = validation_module.Memory.take, []

    def killed(self, file, row):
        taken.append(row)
        if len(taken) > seen:
            raise KeyboardInterrupt
        return take(self, file, row)

    with monkeypatch.context() as patch:
        patch.setattr(validation_module.Memory, "take", killed)
        with pytest.raises(KeyboardInterrupt):
            validate(files, tmp_path / "out", image_root=root, progress=False)
    found = validate(files, tmp_path / "out", image_root=root, progress=False)
    assert found.dataset.data.to_pydict() == whole.dataset.data.to_pydict()
