"""Run folders: what survives a kill, what is refused, what reads back."""

import errno
import logging
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundr1 import provenance
from groundr1.metrics_log import MetricsLog
from groundr1.runs import ROLLOUT_TYPES, RunExistsError, load_run, open_run, summary_table
from groundr1.storage import (
    NoSpaceError,
    as_json,
    atomic_write,
    read_json,
    remove_folder,
    remove_unfinished,
    replace_folder,
    unfinished_folder,
)

PARAMETERS = {"steps": 4, "learning_rate": 1e-4, "data": {"scenes": 10, "sizes": (448, 448)}, "seed": 3}


@pytest.fixture
def run(tmp_path):
    return open_run(tmp_path / "runs", "grpo", PARAMETERS)


def trajectories(step: int, box: list[float] | None = None) -> pd.DataFrame:
    """Two trajectories of one prompt, as the trainer writes them."""
    return pd.DataFrame(
        {
            "step": step,
            "prompt_id": "p0",
            "grounding": [0, 1],
            "box": [box, box],
            "relative_area": [0.25, 1.0],
            "reward": [1.0, 0.5],
            "iou": [0.5, math.nan],
            "turns": [["<box>[1,2,3,4]</box>", "<answer>7</answer>"], ["<answer>8</answer>"]],
            "answer": ["7", None],
        }
    )


# ------------------------------------------------------------------------------------------------- atomic writes


def test_atomic_write_replaces_only_at_the_end(tmp_path):
    target = tmp_path / "folder" / "table.csv"
    with atomic_write(target) as temporary:
        temporary.write_text("first")
        assert not target.exists()
        assert temporary.parent == target.parent, "a rename is atomic only within one file system"
        assert temporary.suffix == ".csv", "writers that go by the suffix must work"
    with pytest.raises(KeyError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise KeyError("the writer failed")
    assert target.read_text() == "first"
    assert [path.name for path in target.parent.iterdir()] == ["table.csv"]


def test_killed_atomic_write_leaves_the_old_file_and_is_swept(tmp_path):
    target = tmp_path / "summary.json"
    target.write_text("old")
    script = f"""
        import os, signal
        from groundr1.storage import atomic_write
        with atomic_write({str(target)!r}) as temporary:
            temporary.write_text("new, but never finished")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=Path(__file__).parents[1])
    assert killed.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    assert remove_unfinished(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_folder_is_replaced_at_once_and_a_killed_replacement_undone(tmp_path):
    """Regression: the model that was there went before the new one came."""
    folder = tmp_path / "model"
    for content in ("old", "new"):
        unfinished = unfinished_folder(folder)
        unfinished.mkdir()
        (unfinished / "weights").write_text(content)
        replace_folder(unfinished, folder)
        assert (folder / "weights").read_text() == content
    assert list(tmp_path.iterdir()) == [folder]
    aside, unfinished = tmp_path / ".replaced-model", unfinished_folder(folder)
    folder.rename(aside)  # a kill here, before the next rename
    unfinished.mkdir()
    assert remove_unfinished(tmp_path) == 1
    assert (folder / "weights").read_text() == "new"
    aside.mkdir()  # a kill here, before what was replaced is gone
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [folder]
    remove_folder(folder)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def full_disk(monkeypatch):
    """Every write takes half of what it is given, then fails."""
    write = os.write

    def half(file, content):
        if not content:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, content[: len(content) // 2])

    def half_of_file(path, content):
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    calls = iter([half, lambda file, content: half(file, b"")])
    monkeypatch.setattr(os, "write", lambda file, content: next(calls)(file, content))
    monkeypatch.setattr(Path, "write_bytes", half_of_file)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda run: run.append_metrics({"step": 2, "loss": 0.5}), "metrics.csv"),
        (lambda run: run.append_metrics({"step": 2, "other": 0.5}), "metrics.csv"),
        (lambda run: run.truncate_after(0), "metrics.csv"),
        (lambda run: run.write_rollouts(1, trajectories(1)), "rollouts/step_000001.parquet"),
        (lambda run: run.finish({"reward": 0.5}), "summary.json"),
        (lambda run: open_run(run.path.parent, run.name, PARAMETERS), "manifest.json"),
    ],
    ids=["a row", "a new column", "fewer rows", "rollouts", "summary", "manifest"],
)
def test_full_disk_leaves_every_file_as_it_was(run, request, write, name):
    run.append_metrics({"step": 1, "loss": 0.25})
    run.write_rollouts(1, trajectories(1))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    request.getfixturevalue("full_disk")
    with pytest.raises(
        NoSpaceError, match=f"{run.path / name} could not be written .No space left on device"
    ) as stop:
        write(run)
    assert "it takes" in str(stop.value) and "start the same command again" in str(stop.value)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("value", "expected", "reason"),
    [
        ((1, (2.5,)), [1, [2.5]], "tuples read back as lists"),
        ({"a": Path("x") / "y"}, {"a": "x/y"}, "paths are texts"),
        ({3: None}, {"3": None}, "JSON keys are texts"),
        (frozenset({"b", "a"}), ["a", "b"], "sets in a fixed order"),
        (np.float32(0.5), 0.5, "numpy scalars"),
        (np.arange(3), [0, 1, 2], "numpy arrays"),
        (math.nan, None, "JSON has no NaN"),
        (True, True, "a truth value stays one"),
    ],
)
def test_as_json(value, expected, reason):
    assert as_json(value) == expected, reason
    assert type(as_json(value)) is type(expected), reason


def test_as_json_refuses_what_json_cannot_hold():
    with pytest.raises(TypeError, match="object"):
        as_json({"model": object()})


# ------------------------------------------------------------------------------------------- opening and refusing


def test_new_run_records_what_ran(run):
    manifest = run.manifest()
    assert run.name == manifest["name"] == "grpo"
    assert manifest["parameters"] == {**PARAMETERS, "data": {"scenes": 10, "sizes": [448, 448]}}
    assert manifest["seed"] == 3
    assert manifest["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert manifest["versions"]["pandas"] == pd.__version__
    assert {"commit", "dirty", "created", "hardware"} <= set(manifest)
    assert manifest["hardware"]["cores"] >= 1
    assert manifest["reopened"] == []


def test_same_parameters_resume(run):
    run.append_metrics({"step": 1, "loss": 0.5})
    again = open_run(run.path.parent, "grpo", PARAMETERS)
    assert again.metrics()["loss"].tolist() == [0.5]
    assert len(again.manifest()["reopened"]) == 1
    assert again.manifest()["created"] == run.manifest()["created"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 1e-3}, "learning_rate: recorded 0.0001, asked 0.001"),
        ({"data": {"scenes": 11, "sizes": [448, 448]}}, "data: recorded"),
        ({"beta": 0.01}, "beta: recorded '\\(absent\\)', asked 0.01"),
        ({"seed": 4}, "seed: recorded 3, asked 4"),
    ],
)
def test_other_parameters_are_refused_and_nothing_is_touched(run, change, named):
    run.append_metrics({"step": 1, "loss": 0.5})
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(RunExistsError, match=named) as refusal:
        open_run(run.path.parent, "grpo", {**PARAMETERS, **change})
    assert "another name" in str(refusal.value)
    assert str(run.path) in str(refusal.value)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_strangers_folder_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("important")
    with pytest.raises(RunExistsError, match=r"thesis\.tex but no manifest"):
        open_run(tmp_path, "mine", PARAMETERS)


def test_executed_notebooks_may_be_there_before_the_run(tmp_path):
    (tmp_path / "default" / "notebooks").mkdir(parents=True)
    (tmp_path / "default" / "notebooks" / "01_data.ipynb").write_text("{}")
    assert open_run(tmp_path, "default", PARAMETERS).manifest()["name"] == "default"


def test_run_killed_before_its_manifest_starts_anew(tmp_path):
    (tmp_path / "grpo").mkdir()
    (tmp_path / "grpo" / ".writing-abc-manifest.json").write_text('{"nam')
    run = open_run(tmp_path, "grpo", PARAMETERS)
    assert [path.name for path in run.path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", ".hidden"])
def test_names_that_are_no_folder_names(tmp_path, name):
    with pytest.raises(ValueError, match="folder name"):
        open_run(tmp_path, name, PARAMETERS)


def test_loading_a_run_that_is_not_there_names_those_that_are(run):
    with pytest.raises(FileNotFoundError, match=r"srpo is not the folder of a run.*grpo"):
        load_run(run.path.parent / "srpo")
    assert load_run(run.path) == run


def test_damaged_manifest_is_named(run):
    (run.path / "manifest.json").write_text('{"name": ')
    with pytest.raises(ValueError, match=r"manifest\.json is not JSON"):
        load_run(run.path).manifest()
    (run.path / "manifest.json").write_text("[1]")
    with pytest.raises(ValueError, match="list where a JSON object"):
        read_json(run.path / "manifest.json")


def test_without_git_the_commit_is_null(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == {"commit": None, "dirty": None}


def test_packages_that_are_not_installed_are_null(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "no-such-package"))
    assert provenance.versions()["numpy"] == np.__version__
    assert provenance.versions()["no-such-package"] is None


# ------------------------------------------------------------------------------------------------------- metrics


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(allow_infinity=True, allow_nan=False), min_size=1, max_size=5))
def test_metrics_read_back_to_the_last_bit(tmp_path, values):
    log = MetricsLog(tmp_path / "metrics.csv")
    log.path.unlink(missing_ok=True)
    for step, value in enumerate(values):
        log.append({"loss": value, "step": step})
    assert log.read().columns.tolist() == ["step", "loss"]
    assert log.read()["loss"].tolist() == values


def test_new_columns_widen_the_table_and_missing_ones_are_empty(run):
    run.append_metrics({"step": 1, "loss": 0.1, "num": 3})
    run.append_metrics({"step": 2, "loss": np.float32(0.5), "kl": None})
    run.append_metrics({"step": 3, "note": 'odd, "quoted"'})
    lines = (run.path / "metrics.csv").read_text().splitlines()
    assert lines == ["step,loss,num,kl,note", "1,0.1,3,,", "2,0.5,,,", '3,,,,"odd, ""quoted"""']


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"loss": 0.1}, "needs the column 'step'"),
        ({"step": 2, "loss": 0.1}, "truncate_after"),
        ({"step": 1, "loss": 0.1}, "step 2 is already recorded"),
        ({"step": 3, "note": "two\nlines"}, "'note' is neither a number nor a text of one line"),
        ({"step": 3, "loss": [1, 2]}, "'loss' is neither"),
    ],
)
def test_rows_that_do_not_belong(run, row, message):
    run.append_metrics({"step": 2, "loss": 0.1})
    before = (run.path / "metrics.csv").read_bytes()
    with pytest.raises(ValueError, match=message):
        run.append_metrics(row)
    assert (run.path / "metrics.csv").read_bytes() == before


def test_torn_last_row_is_unread_then_repaired(run, caplog):
    run.append_metrics({"step": 1, "loss": 0.25})
    run.append_metrics({"step": 2, "loss": 0.125})
    path = run.path / "metrics.csv"
    whole = path.read_bytes()
    for cut in range(whole.rfind(b"\n", 0, -1) + 2, len(whole)):
        path.write_bytes(whole[:cut])
        assert load_run(run.path).metrics()["step"].tolist() == [1]
        assert path.read_bytes() == whole[:cut], "reading repairs nothing: the run may be writing"
        with caplog.at_level(logging.WARNING):
            reopened = open_run(run.path.parent, run.name, PARAMETERS)
        assert "half a row" in caplog.text
        reopened.append_metrics({"step": 2, "loss": 0.125})
        assert path.read_bytes() == whole


def test_torn_header_starts_anew(run):
    (run.path / "metrics.csv").write_bytes(b"step,lo")
    assert run.metrics().empty
    reopened = open_run(run.path.parent, run.name, PARAMETERS)
    reopened.append_metrics({"step": 1, "loss": 0.5})
    assert (run.path / "metrics.csv").read_text() == "step,loss\n1,0.5\n"


def test_edited_metrics_are_named(run):
    run.append_metrics({"step": 1, "loss": 0.25})
    path = run.path / "metrics.csv"
    path.write_text("step,loss\n1,0.25\n2,0.5,0.5,0.5\n")
    with pytest.raises(ValueError, match=r"metrics\.csv: row 2 has 4 cells under 2 columns"):
        run.metrics()
    path.write_text("step,loss\n1,0.25\nloss,0.5\n")
    with pytest.raises(ValueError, match="does not start with its step"):
        run.append_metrics({"step": 3})


def test_killed_while_logging_loses_at_most_the_last_row(tmp_path):
    script = f"""
        from groundr1.metrics_log import MetricsLog
        from pathlib import Path
        log = MetricsLog(Path({str(tmp_path / "metrics.csv")!r}))
        for step in range(10**6):
            log.append({{"step": step, "loss": step / 7}})
            if step == 20:
                print("ready", flush=True)
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE
    )
    assert writer.stdout.readline() == b"ready\n"
    writer.kill()
    writer.communicate()
    log = MetricsLog(tmp_path / "metrics.csv")
    log.repair()
    table = log.read()
    assert len(table) > 20
    assert table["step"].tolist() == list(range(len(table)))
    assert table["loss"].tolist() == [step / 7 for step in range(len(table))]


# ----------------------------------------------------------------------------------------- rollouts and resuming


def test_rollouts_read_back_in_order(run):
    run.write_rollouts(10, trajectories(10, [1.0, 2.0, 3.5, 4.0]))
    path = run.write_rollouts(2, trajectories(2))
    table = run.rollouts()
    assert table["step"].tolist() == [2, 2, 10, 10]
    assert table["box"].tolist()[:2] == [None, None]
    assert list(table["box"].iloc[2]) == [1.0, 2.0, 3.5, 4.0]
    assert list(table["turns"].iloc[1]) == ["<answer>8</answer>"]
    assert table["iou"].isna().tolist() == [False, True, False, True]
    assert table["answer"].iloc[0] == "7"
    assert pd.isna(table["answer"].iloc[1])
    schema = pq.read_schema(path)
    assert schema.field("box").type == ROLLOUT_TYPES["box"], "a step without one box keeps the column's type"
    assert pq.read_table(path).column("iou").null_count == 1
    assert run.rollouts(["reward", "step"]).columns.tolist() == ["reward", "step"]


def test_rollouts_of_a_step_are_replaced_and_of_two_steps_refused(run):
    run.write_rollouts(1, trajectories(1))
    run.write_rollouts(1, trajectories(1).assign(reward=0.0))
    assert run.rollouts()["reward"].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match=r"rollouts of step 2 hold rows of steps \[1\]"):
        run.write_rollouts(2, trajectories(1))


def test_no_rollouts_yet(run):
    assert run.rollouts().empty
    assert run.rollouts().columns.tolist() == list(ROLLOUT_TYPES)


def test_damaged_rollouts_are_named(run):
    run.write_rollouts(1, trajectories(1)).write_bytes(b"not parquet at all")
    with pytest.raises(ValueError, match=r"step_000001\.parquet cannot be read"):
        run.rollouts()


def test_truncating_gives_the_bytes_of_a_run_that_stopped_there(run):
    for step in (1, 2, 3):
        run.append_metrics({"step": step, "loss": 0.1 * step})
        run.write_rollouts(step, trajectories(step))
        if step == 2:
            stopped = (run.path / "metrics.csv").read_bytes()
    run.finish({"reward": 0.5})
    run.truncate_after(3)
    assert run.summary()["reward"] == 0.5, "nothing was dropped, the run is still complete"
    run.truncate_after(2)
    run.truncate_after(2)
    assert (run.path / "metrics.csv").read_bytes() == stopped
    assert run.rollouts()["step"].unique().tolist() == [1, 2]
    assert run.summary() is None
    run.truncate_after(0)
    assert run.metrics().empty
    assert run.rollouts().empty


def test_summary_table(run):
    assert summary_table(run.path / "nothing").columns.tolist() == [
        "run",
        "status",
        "steps",
        "created",
        "seed",
    ]
    srpo = open_run(run.path.parent, "srpo", PARAMETERS, seed=9)
    srpo.append_metrics({"step": 7, "loss": 0.5})
    srpo.finish({"accuracy": 0.75})
    table = summary_table(run.path.parent).set_index("run")
    assert table["status"].to_dict() == {"grpo": "incomplete", "srpo": "complete"}
    assert table["seed"].to_dict() == {"grpo": 3, "srpo": 9}
    assert table.loc["srpo", "steps"] == 7
    assert table.loc["srpo", "accuracy"] == 0.75
    assert pd.isna(table.loc["grpo", "accuracy"])
