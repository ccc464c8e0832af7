"""Which checkpoint is resumed from, which is passed over, which is refused; and what a full disk leaves."""

import errno
import json
import os
import pickle
import shutil
from pathlib import Path

import pandas as pd
import pytest
import safetensors.torch
import torch
from small_run import TIMINGS, config

from groundr1 import checkpoints, trainer
from groundr1.checkpoints import INDEX, DamagedCheckpointError
from groundr1.runs import load_run
from groundr1.storage import NoSpaceError
from groundr1.trainer import train

FILES = ("model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json")


def written(folder: Path, step: int, *, ends: bool = True) -> Path:
    """A checkpoint of three files, its index complete if it `ends`."""
    checkpoint = folder / f"checkpoint-{step}"
    checkpoints.begin(checkpoint)
    (checkpoint / "weights").write_bytes(b"w" * 100)
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    (checkpoint / "shards").mkdir()
    (checkpoint / "shards" / "one").write_bytes(b"s" * 10)
    if ends:
        checkpoints.complete(checkpoint)
    return checkpoint


def overwrite(path: Path) -> None:
    """Same size, one byte differs."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "deleted": Path.unlink,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "overwritten": overwrite,
}


# --------------------------------------------------------------------------------------------- complete or not


def test_newest_complete_checkpoint_is_used(tmp_path: Path, caplog) -> None:
    assert checkpoints.newest(tmp_path / "nothing") is None
    written(tmp_path, 5)
    tenth = written(tmp_path, 10)
    (tmp_path / "checkpoint-best").mkdir()
    assert checkpoints.newest(tmp_path) == tenth, "by number: 10 comes after 5"
    assert not caplog.text


@pytest.mark.parametrize(
    "moment", ["before its index", "before a file", "before its last file", "before it ends"]
)
def test_checkpoint_cut_short_by_a_kill_is_passed_over(tmp_path: Path, caplog, moment: str) -> None:
    tenth = written(tmp_path, 10)
    cut = tmp_path / "checkpoint-20"
    if moment == "before its index":
        cut.mkdir()
        (cut / ".writing-abc-files.json").write_text('{"st')
    elif moment == "before a file":
        checkpoints.begin(cut)
    else:
        written(tmp_path, 20, ends=False)
    if moment == "before its last file":
        (cut / "trainer_state.json").unlink()
    assert checkpoints.newest(tmp_path) == tenth
    assert "checkpoint-20 was not written to its end" in caplog.text
    written(tmp_path, 20)
    assert checkpoints.newest(tmp_path) == cut, "written again, in place of what was left"


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["weights", "shards/one", "trainer_state.json", INDEX])
def test_damaged_checkpoint_is_refused_naming_file_and_remedy(tmp_path: Path, name: str, damage: str) -> None:
    written(tmp_path, 5)
    tenth, newest = written(tmp_path, 10), written(tmp_path, 20)
    written(tmp_path, 30, ends=False)
    DAMAGE[damage](newest / name)
    with pytest.raises(DamagedCheckpointError) as refusal:
        checkpoints.newest(tmp_path)
    error = str(refusal.value)
    assert name in error and str(newest) in error and "\n" not in error
    assert "goes on from checkpoint-10, which is whole" in error
    shutil.rmtree(newest)  # as it says
    assert checkpoints.newest(tmp_path) == tenth


def test_remedy_names_the_newest_that_is_whole(tmp_path: Path) -> None:
    for step in (5, 10, 20):
        written(tmp_path, step)
    for step in (10, 20):
        (tmp_path / f"checkpoint-{step}" / "weights").unlink()
    with pytest.raises(DamagedCheckpointError, match="goes on from checkpoint-5, which is whole"):
        checkpoints.newest(tmp_path)
    shutil.rmtree(tmp_path / "checkpoint-5")
    with pytest.raises(DamagedCheckpointError, match="goes on from step 0, as no other is whole"):
        checkpoints.newest(tmp_path)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"step": 19, "complete": True, "files": {}}, "is of step 19"),
        ({"step": 20, "complete": True}, "is not readable"),
        ([], "is not readable"),
        ({"step": 20, "complete": True, "files": {"weights": 100}}, "is not readable"),
    ],
)
def test_index_that_is_none_is_refused(tmp_path: Path, index: object, words: str) -> None:
    (written(tmp_path, 20) / INDEX).write_text(json.dumps(index))
    with pytest.raises(DamagedCheckpointError, match=rf"files\.json, the index of its files, {words}"):
        checkpoints.newest(tmp_path)


def test_older_checkpoints_are_deleted_when_the_newest_is_complete(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        written(tmp_path, step)
    written(tmp_path, 12, ends=False)
    written(tmp_path, 20, ends=False)
    checkpoints.keep_newest(tmp_path, None)
    checkpoints.keep_newest(tmp_path, 0)
    assert len(list(tmp_path.iterdir())) == 5
    checkpoints.keep_newest(tmp_path, 2, best=tmp_path / "checkpoint-5")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"checkpoint-5", "checkpoint-10", "checkpoint-15"}, (
        "one that is not complete does not count"
    )
    checkpoints.keep_newest(tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-15"}


# --------------------------------------------------------------------------------------------------- full disk


def raise_no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def fill_by_safetensors() -> None:
    raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")


def fill_by_torch() -> None:
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")


@pytest.mark.parametrize("fill", [raise_no_space, fill_by_safetensors, fill_by_torch])
def test_full_disk_while_a_checkpoint_is_written(tmp_path: Path, fill) -> None:
    tenth, cut = written(tmp_path, 10), tmp_path / "checkpoint-20"
    with pytest.raises(NoSpaceError) as stop, checkpoints.emptied_on_error(cut, 3_400_000):
        written(tmp_path, 20, ends=False)
        fill()
    assert str(stop.value).startswith(f"{cut} could not be written (")
    assert "takes 3.4 MB" in str(stop.value) and "start the same command again" in str(stop.value)
    assert [path.name for path in cut.rglob("*") if path.is_file()] == [INDEX], "its room is free again"
    assert checkpoints.newest(tmp_path) == tenth


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    for error in (RuntimeError("CUDA out of memory"), PermissionError(errno.EACCES, "denied"), KeyError("a")):
        with pytest.raises(type(error)) as stop, checkpoints.emptied_on_error(tmp_path / "checkpoint-20", 1):
            raise error
        assert stop.value is error


# --------------------------------------------------------------------------------------- checkpoints of a training


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Settings of a run of four steps, kept until its last step, with and without LoRA."""
    folder = tmp_path_factory.mktemp("trained")

    def settings(lora: bool) -> dict:
        made = config(folder, "lora" if lora else "weights", steps=4, keep_checkpoints=3)
        made |= {"learning_rate": 2e-3, "lora": {"r": 2}} if lora else {"learning_rate": 2e-3}
        if not (folder / "runs" / made["name"]).exists():
            train(made)
        return made

    return settings


@pytest.fixture
def damaged(trained, tmp_path, monkeypatch):
    """A copy of the run, incomplete: settings and the folder of its last checkpoint."""

    def copy(lora: bool) -> tuple[dict, Path]:
        settings = trained(lora)
        shutil.copytree(Path(settings["runs"]) / settings["name"], tmp_path / settings["name"])
        (tmp_path / settings["name"] / "summary.json").unlink()
        settings = {**settings, "runs": str(tmp_path)}
        return settings, tmp_path / settings["name"] / "checkpoints" / "checkpoint-4"

    return copy


def test_index_holds_every_file_of_a_checkpoint(damaged) -> None:
    for lora in (False, True):
        _, last = damaged(lora)
        entries = json.loads((last / INDEX).read_text())["files"]
        assert {each.name for each in last.iterdir()} - {INDEX} == set(entries)
        weights = "adapter_model.safetensors" if lora else "model.safetensors"
        assert {weights, *FILES[1:]} <= set(entries)
        assert "training_args.bin" not in entries, "a pickle, which nothing reads"


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [*FILES, "adapter_model.safetensors", "adapter_config.json"])
def test_training_refuses_a_checkpoint_with_a_damaged_file(
    damaged, monkeypatch, name: str, damage: str
) -> None:
    """Regression: transformers goes on without an optimizer, a scheduler or a random state that is not there."""
    settings, last = damaged(lora="adapter" in name)
    monkeypatch.setattr(
        trainer, "load_model", lambda *_, **__: pytest.fail("loaded a model before it refused")
    )
    run = load_run(last.parents[1])
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    DAMAGE[damage](last / name)
    with pytest.raises(
        DamagedCheckpointError, match=f"checkpoint-4 is damaged: {name} .* from checkpoint-2, which"
    ):
        train(settings)
    for path, content in before.items():
        assert path in (last / name, run.path / "manifest.json") or path.read_bytes() == content


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "lora"])
def test_damaged_checkpoint_deleted_the_run_goes_on_from_the_one_before(damaged, lora: bool) -> None:
    """Regression: transformers 5.23 resumes a Qwen2.5-VL from its base weights, matching none of the saved keys."""
    settings, last = damaged(lora)
    run = load_run(last.parents[1])
    expected = (
        run.metrics().drop(columns=TIMINGS),
        run.rollouts(),
        (run.path / "model/model.safetensors").read_bytes(),
    )
    shutil.rmtree(last)
    train(settings)
    pd.testing.assert_frame_equal(run.metrics().drop(columns=TIMINGS), expected[0], check_exact=True)
    pd.testing.assert_frame_equal(run.rollouts(), expected[1], check_exact=True)
    assert (run.path / "model" / "model.safetensors").read_bytes() == expected[2]
    assert checkpoints.newest(run.checkpoints) == last


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_no_code_runs_from_a_checkpoint(damaged, tmp_path: Path, name: str) -> None:
    """Not even from one whose index agrees: transformers loads with weights_only."""
    settings, last = damaged(lora=False)
    shutil.rmtree(last)
    second = last.with_name("checkpoint-2")

    class Touches:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    torch.save({"state": Touches()}, second / name)
    checkpoints.complete(second)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        train(settings)
    assert not (tmp_path / "executed").exists()
