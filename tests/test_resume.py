"""A run that is killed and run again ends with the numbers of one that was never killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import small_model
import yaml
from datasets import Dataset

from groundr1.data import EXAMPLE_FEATURES
from groundr1.model import load_model, load_processor
from groundr1.rollout import ground_and_answer
from groundr1.runs import RunExistsError, load_run
from groundr1.trainer import train

TIMINGS = ["step_seconds"]
REPOSITORY = Path(__file__).resolve().parents[1]


def config(tmp_path: Path, name: str, **changes) -> dict:
    """Two prompts a step, six of them in the data: seven steps go into the third epoch."""
    data = tmp_path / "data"
    if not data.exists():
        Dataset.from_list(small_model.examples(6), features=EXAMPLE_FEATURES).save_to_disk(data)
    return {
        "name": name,
        "runs": str(tmp_path / "runs"),
        "model": str(small_model.model_folder()),
        "data": {"path": str(data)},
        "steps": 7,
        "prompts_per_step": 2,
        "num_groundings": 2,
        "num_answers": 2,
        "max_turn_tokens": 24,
        "learning_rate": 2e-4,
        "save_every": 2,
        **changes,
    }


def command_for(settings: dict, path: Path) -> list[str]:
    path.write_text(yaml.safe_dump(settings))
    return [sys.executable, "-m", "groundr1.train", str(path)]


def kill_when(process: subprocess.Popen, reached, seconds: float = 240) -> None:
    """SIGKILL the process as soon as `reached()`; fail if it ends before."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None and time.monotonic() < deadline, (
            "the run ended before it could be killed"
        )
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def assert_equal_runs(found: Path, expected: Path) -> None:
    """Same metrics to the last bit, same trajectories."""
    runs = [load_run(found), load_run(expected)]
    tables = [run.metrics().drop(columns=TIMINGS) for run in runs]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert tables[0]["step"].tolist() == list(range(1, len(tables[0]) + 1))
    pd.testing.assert_frame_equal(*(run.rollouts() for run in runs), check_exact=True)
    models = [(run.path / "model" / "model.safetensors").read_bytes() for run in runs]
    assert models[0] == models[1]


@pytest.mark.parametrize(
    ("changes", "killed_after"),
    [({}, 3), ({"generations_reused_for": 2, "micro_batch_size": 4, "advantage": "grpo", "steps": 6}, 5)],
    ids=["between checkpoints", "reused generations, accumulation"],
)
def test_sigkill_and_resume_equal_an_uninterrupted_run(
    tmp_path: Path, changes: dict, killed_after: int
) -> None:
    folder = tmp_path / "runs" / "killed"
    command = command_for(config(tmp_path, "killed", **changes), tmp_path / "killed.yaml")
    metrics = folder / "metrics.csv"
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    kill_when(process, lambda: metrics.exists() and len(metrics.read_text().splitlines()) > killed_after)
    assert load_run(folder).summary() is None and load_run(folder).last_checkpoint() is not None
    resumed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.strip() == str(folder)
    whole = command_for(config(tmp_path, "whole", **changes), tmp_path / "whole.yaml")
    subprocess.run(whole, cwd=REPOSITORY, capture_output=True, check=True)
    assert_equal_runs(folder, tmp_path / "runs" / "whole")


def test_finished_run_is_left_alone_and_others_are_refused(tmp_path: Path, caplog) -> None:
    settings = config(tmp_path, "once", steps=2, save_every=1, lora={"r": 2})
    folder = train(settings)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert train(settings) == folder
    # Where it lies and what is kept of it are no parameters; what shapes its numbers is.
    assert train({**settings, "keep_checkpoints": 5}) == folder
    with pytest.raises(RunExistsError, match="learning_rate"):
        train({**settings, "learning_rate": 0.5})
    manifest = folder / "manifest.json"  # notes that it was opened again
    assert {path for path, written in before.items() if path.stat().st_mtime_ns != written} <= {
        manifest,
        folder,
    }
    model = load_model(folder / "model")
    assert not [name for name in model.state_dict() if "lora" in name], "the adapters are merged in"
    assert not list((folder / "model").glob("*.bin"))
    [[one]] = ground_and_answer(
        model, load_processor(folder / "model"), small_model.examples(1), max_turn_tokens=8
    )
    assert one.turns
    run = load_run(folder)
    assert run.summary()["steps"] == 2
    assert list(run.metrics())[:8] == [
        "step", "loss", "reward", "reward_format", "reward_answer", "response_length", "iou", "giou_score",
    ]  # fmt: skip
    assert run.rollouts().groupby("step").size().tolist() == [8, 8]


@pytest.mark.parametrize("lora", [None, {"r": 2}], ids=["all weights", "lora"])
def test_checkpoint_cut_short_is_passed_over(tmp_path: Path, lora: dict | None) -> None:
    """A kill while a checkpoint is written leaves a folder without trainer_state.json: the one before is used.

    Regression: transformers 5.23 resumes a Qwen2.5-VL from its base weights, matching none of the saved keys.
    """
    settings = config(tmp_path, "torn", steps=4, keep_checkpoints=3, lora=lora, learning_rate=2e-3)
    folder = train(settings)
    expected = load_run(folder).metrics().drop(columns=TIMINGS)
    (folder / "summary.json").unlink()
    (folder / "checkpoints" / "checkpoint-4" / "trainer_state.json").unlink()
    assert train(settings) == folder
    pd.testing.assert_frame_equal(
        load_run(folder).metrics().drop(columns=TIMINGS), expected, check_exact=True
    )
