"""Runs of the small model for tests of resuming: their settings, what makes two of them equal, and a way to kill
many in little time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pandas as pd
import small_model
import yaml
from datasets import Dataset

from groundr1.data import EXAMPLE_FEATURES
from groundr1.runs import load_run

TIMINGS = ["step_seconds"]
REPOSITORY = Path(__file__).resolve().parents[1]


def config(tmp_path: Path, name: str, **changes: Any) -> dict[str, Any]:
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


def assert_equal_runs(found: Path, expected: Path) -> None:
    """Same metrics to the last bit, same trajectories without gap or duplicate, same weights."""
    runs = [load_run(found), load_run(expected)]
    tables = [run.metrics().drop(columns=TIMINGS) for run in runs]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert tables[0]["step"].tolist() == list(range(1, len(tables[0]) + 1))
    pd.testing.assert_frame_equal(*(run.rollouts() for run in runs), check_exact=True)
    models = [(run.path / "model" / "model.safetensors").read_bytes() for run in runs]
    assert models[0] == models[1]


class Driver:
    """A process that has imported everything, and forks one for each training, or whatever else the script runs: see
    `kill_driver`."""

    def __init__(self, folder: Path, script: str = "kill_driver.py") -> None:
        self.folder, self.script = folder, script

    def __enter__(self) -> Self:
        command = [sys.executable, str(REPOSITORY / "tests" / self.script)]
        self.process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.process.stdin.close()
        self.process.wait()

    def run(
        self, settings: dict[str, Any], moment: dict[str, Any] | None = None, processes: int = 1
    ) -> dict[str, Any]:
        """Run until the end or the moment; {"killed", "code", "seconds", "log": what it said}."""
        path = self.folder / f"{settings['name']}.yaml"
        log = path.with_suffix(".log")
        path.write_text(yaml.safe_dump(settings))
        order = {"config": str(path), "log": str(log), "moment": moment, "processes": processes}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the driver ended with status {self.process.wait()}"
        return {**json.loads(answer), "log": log.read_text(errors="replace")}
