"""Killed, or out of disk, wherever it hurts: no complete file is lost, and the end is that of a run left in peace.

Each run is killed at seeded calls of the functions that do the work and the writing (`kill_driver.MOMENTS`) and, from
outside, at random times. `pytest tests/test_kills.py --kills 40` takes 40 of the latter; counts are in LOG.md.
"""

import functools
import hashlib
import json
import logging
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kill_driver import MOMENTS
from small_run import Driver, assert_equal_runs, config

from groundr1 import checkpoints
from groundr1.runs import load_run

pytestmark = pytest.mark.slow
logger = logging.getLogger(__name__)

RUNS: dict[str, dict[str, Any]] = {
    "all weights": {"steps": 5},
    "lora, reused generations, accumulation": {
        "steps": 4,
        "lora": {"r": 2},
        "generations_reused_for": 2,
        "micro_batch_size": 4,
        "advantage": "grpo",
        "keep_checkpoints": 1,
    },
}
# A call up to which of these is killed; of the others the first.
LATEST_CALL = {
    "rollout": 2,
    "optimizer step": 3,
    "rollout table": 2,
    "metrics row": 3,
    "torch.save": 4,
    "weights": 2,
}
FINAL = [name for name in MOMENTS if name.startswith(("final", "summary"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def driver(folder: Path) -> Iterator[Driver]:
    with Driver(folder) as driver:
        yield driver


@pytest.fixture(scope="module")
def undisturbed(driver: Driver, folder: Path) -> Callable[..., tuple[Path, float]]:
    """The folder and the seconds of one of `RUNS` that was left in peace."""

    @functools.cache
    def run(name: str, processes: int = 1) -> tuple[Path, float]:
        settings = config(folder, f"whole-{list(RUNS).index(name)}-{processes}", **RUNS[name])
        end = driver.run(settings, None, processes)
        assert end["code"] == 0, end["log"]
        return folder / "runs" / settings["name"], end["seconds"]

    return run


def moments(rng: random.Random, share: float, num_timed: int, seconds: float) -> list[dict[str, Any]]:
    """One for each of a share of `MOMENTS`, those of the end last, and `num_timed` within so many seconds, shuffled."""
    found = []
    for name, (_, _, half, _) in MOMENTS.items():
        if name not in FINAL and rng.random() > share:
            continue
        when = rng.choice(["before", "after"] if half is None else ["before", "half", "half", "after"])
        found.append({"at": name, "call": rng.randint(1, LATEST_CALL.get(name, 1)), "when": when})
    found += [{"seconds": rng.uniform(0, seconds)} for _ in range(num_timed)]
    rng.shuffle(found)
    return sorted(found, key=lambda each: FINAL.index(each["at"]) if each.get("at") in FINAL else -1)


def sums(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("[!.]*")
        if path.is_file()
    }


def what_is_safe(folder: Path) -> dict[str, Any]:
    """What no kill may take: everything up to the last checkpoint, that itself, a model that was saved."""
    if not (folder / "manifest.json").exists():
        return {}
    run = load_run(folder)
    assert run.manifest()["name"] == folder.name
    last = run.last_checkpoint()  # raises if it is damaged
    step = 0 if last is None else checkpoints.step_of(last)
    rows = (folder / "metrics.csv").read_text().splitlines() if (folder / "metrics.csv").exists() else []
    tables = sums(folder / "rollouts")
    model = next((each for each in (folder / "model", folder / ".replaced-model") if each.exists()), None)
    return {
        "checkpoint": step,
        "metrics": [
            row for row in rows[1:] if row.split(",")[0].isdigit() and int(row.split(",")[0]) <= step
        ],
        "rollouts": {name: each for name, each in tables.items() if name <= f"step_{step:06d}.parquet"},
        "model": {} if model is None else sums(model),
        "complete": sum(
            json.loads(path.read_text())["complete"]
            for path in folder.glob("checkpoints/checkpoint-*/files.json")
        ),
    }


def assert_nothing_lost(before: dict[str, Any], after: dict[str, Any], kept: int) -> None:
    if not before:
        return
    assert after["checkpoint"] >= before["checkpoint"]
    assert after["metrics"][: len(before["metrics"])] == before["metrics"]
    assert before["rollouts"].items() <= after["rollouts"].items()
    assert not before["model"] or after["model"] == before["model"]
    assert after["complete"] >= min(before["complete"], kept)


def kill_all(
    driver: Driver, settings: dict[str, Any], whole: Path, wanted: list[dict[str, Any]], processes: int = 1
) -> int:
    """Kill at all moments, a new run begun where one ends first; returns the number of kills."""
    run, kills = Path(settings["runs"]) / settings["name"], 0
    late_rows = {"at": "metrics row", "call": 1, "when": "after"}
    for moment in wanted:
        if moment.get("at", "").startswith("truncated"):  # needs rows since the last checkpoint
            kills += driver.run(settings, late_rows, processes)["killed"]
        for attempt in range(8):
            if "seconds" in moment:  # the machine may be faster than when they were measured
                moment = {"seconds": moment["seconds"] / 1.5**attempt}
            before = what_is_safe(run)
            end = driver.run(settings, moment, processes)
            if end["killed"]:
                break
            assert end["code"] == 0 and ("seconds" in moment or not attempt), (moment, end["log"])
            assert_equal_runs(run, whole)
            shutil.rmtree(run)
        kills += end["killed"]
        assert_nothing_lost(before, what_is_safe(run), settings.get("keep_checkpoints", 2))
    end = driver.run(settings, None, processes)
    assert end["code"] == 0, end["log"]
    assert_equal_runs(run, whole)
    assert not list(run.rglob(".*")), "nothing unfinished lies about"
    return kills


@pytest.mark.parametrize("name", RUNS)
def test_killed_at_every_moment_a_run_ends_as_if_it_had_not_been(
    driver: Driver, folder: Path, undisturbed: Callable, name: str, request: pytest.FixtureRequest
) -> None:
    whole, seconds = undisturbed(name)
    seed = list(RUNS).index(name)
    num_timed = request.config.getoption("kills")
    wanted = moments(random.Random(seed), 0.5 if seed else 1.0, num_timed, seconds)
    kills = kill_all(driver, config(folder, f"killed-{seed}", **RUNS[name]), whole, wanted)
    assert kills >= len(wanted)
    logger.info("%s: %d kills", name, kills)


def test_two_processes_one_of_them_killed(
    driver: Driver, folder: Path, undisturbed: Callable, request: pytest.FixtureRequest
) -> None:
    """The other is stopped, as a launcher does: neither a checkpoint half of one and half of the other, nor a gap."""
    whole, seconds = undisturbed("all weights", 2)
    rng = random.Random(2)
    num_timed = request.config.getoption("kills") // 2
    wanted = [
        {"at": "rollout", "call": 2, "when": "half", "process": 1},
        {"at": "torch.save", "call": 1, "when": "half", "process": 1},  # its random state
        {"at": "torch.save", "call": 2, "when": "half", "process": 0},
        {"at": "checkpoint's index", "call": 2, "when": "half", "process": 0},
        *({"seconds": rng.uniform(0, seconds)} for _ in range(num_timed)),
        {"at": "final model", "call": 1, "when": "before", "process": 1},
    ]
    kills = kill_all(driver, config(folder, "killed-pair", **RUNS["all weights"]), whole, wanted, 2)
    assert kills >= len(wanted)
    logger.info("two processes: %d kills", kills)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 150 MB; skipped where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root on Linux")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


# What is written when the disk has so many bytes left, and the file that the error names.
FULL = [
    ("rollout table", 1, 0, "rollouts/step_000001.parquet"),
    ("metrics header", 1, 0, "metrics.csv"),
    ("checkpoint's beginning", 1, 0, "checkpoints/checkpoint-2/files.json"),
    ("weights", 1, 10**6, "checkpoints/checkpoint-2"),
    ("torch.save", 2, 10**6, "checkpoints/checkpoint-2"),
    ("trainer state", 2, 0, "checkpoints/checkpoint-4"),
    ("checkpoint's index", 2, 0, "checkpoints/checkpoint-4/files.json"),
    ("manifest", 1, 0, "manifest.json"),
    ("final model's weights", 1, 10**6, "model"),
    ("summary", 1, 0, "summary.json"),
]


def test_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    driver: Driver, folder: Path, undisturbed: Callable, small_disk: Path
) -> None:
    settings = {**config(folder, "full", **RUNS["all weights"]), "runs": str(small_disk)}
    for name, call, leave, path in FULL:
        before = what_is_safe(small_disk / "full")
        end = driver.run(settings, {"at": name, "call": call, "fill": str(small_disk), "leave": leave})
        error = end["log"].splitlines()[-1]
        assert end["code"] == 2, end["log"]
        assert f"python -m groundr1.train: {small_disk / 'full' / path} could not be written" in error, (
            name,
            error,
        )
        assert "it takes" in error and "free" in error and "start the same command again" in error
        assert_nothing_lost(before, what_is_safe(small_disk / "full"), kept=2)
        (small_disk / "filler").unlink()
    end = driver.run(settings)
    assert end["code"] == 0, end["log"]
    assert_equal_runs(small_disk / "full", undisturbed("all weights")[0])
