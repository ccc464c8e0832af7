"""A run that is killed and run again ends with the numbers of one that was never killed.

Here by the command that users give; `test_kills` kills at every place where it could hurt.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_model
import yaml
from small_run import REPOSITORY, assert_equal_runs, config

from groundr1.model import load_model, load_processor
from groundr1.rollout import ground_and_answer
from groundr1.runs import RunExistsError, load_run
from groundr1.trainer import train


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


def test_sigkill_and_resume_equal_an_uninterrupted_run(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "killed"
    command = command_for(config(tmp_path, "killed"), tmp_path / "killed.yaml")
    metrics = folder / "metrics.csv"
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    kill_when(process, lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 3)
    assert load_run(folder).summary() is None and load_run(folder).last_checkpoint() is not None
    resumed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.strip() == str(folder)
    assert_equal_runs(folder, train(config(tmp_path, "whole")))


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
def test_last_step_is_not_trained_again(tmp_path: Path, lora: dict | None) -> None:
    """Killed between the last checkpoint and the summary, a run loads that checkpoint and is done.

    Regression: in the middle of an epoch transformers 5.23 trains one step more, the eighth of seven.
    """
    settings = config(tmp_path, "end", lora=lora, trainer={"lr_scheduler_type": "constant"})
    folder = train(settings)
    model = (folder / "model" / "model.safetensors").read_bytes()
    (folder / "summary.json").unlink()
    assert train(settings) == folder
    assert load_run(folder).metrics()["step"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert (folder / "model" / "model.safetensors").read_bytes() == model
    assert load_run(folder).summary()["steps"] == 7
