"""Killed wherever it hurts, an evaluation ends as one that was left in peace: no row twice, none missing, none changed.

Each is killed at calls of the functions that do the work and the writing (`evaluation_kill_driver.MOMENTS`) and, from
outside, at random times; `pytest tests/test_evaluation_kills.py --kills 40` takes 40 of the latter.
"""

import logging
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_evaluation import NUM, assert_same_evaluation, config, rows_in_parts
from small_run import Driver

pytestmark = pytest.mark.slow
logger = logging.getLogger(__name__)

TORN = {"at": "part", "call": 1, "when": "half"}
MOMENTS = [
    {"at": "lock", "call": 1, "when": "after"},
    {"at": "settings", "call": 1, "when": "half"},
    {"at": "settings' rename", "call": 1, "when": "before"},
    {"at": "settings' rename", "call": 1, "when": "after"},
    {"at": "rollout", "call": 2, "when": "half"},
    TORN,
    {"at": "leftover's removal", "call": 1, "when": "before"},
    {"at": "part's rename", "call": 2, "when": "before"},
    {"at": "part's rename", "call": 1, "when": "after"},
    {"at": "summary", "call": 1, "when": "half"},
    {"at": "summary's rename", "call": 1, "when": "before"},
    {"at": "scores' rename", "call": 1, "when": "after"},
    {"at": "report", "call": 1, "when": "half"},
    {"at": "report's rename", "call": 1, "when": "before"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluation-kills")


@pytest.fixture(scope="module")
def driver(folder: Path) -> Iterator[Driver]:
    with Driver(folder, "evaluation_kill_driver.py") as driver:
        yield driver


@pytest.fixture(scope="module")
def whole(driver: Driver, folder: Path) -> tuple[Path, float]:
    """The folder and the seconds of an evaluation that was left in peace."""
    settings = config(folder, "whole")
    end = driver.run(settings)
    assert end["code"] == 0, end["log"]
    assert len(rows_in_parts(Path(settings["out"]))) == NUM
    return Path(settings["out"]), end["seconds"]


def kill_all(
    driver: Driver, settings: dict[str, Any], whole: Path, wanted: list[tuple[int, dict[str, Any]]]
) -> int:
    """Kill at all moments, each in so many processes, begun anew where an evaluation ends first; number of kills."""
    out, kills = Path(settings["out"]), 0
    for processes, moment in wanted:
        for attempt in range(8):
            if "seconds" in moment:  # the machine may be faster than when they were measured
                moment = {"seconds": moment["seconds"] / 1.5**attempt}
            before = rows_in_parts(out)
            end = driver.run(settings, moment, processes)
            if end["killed"]:
                break
            assert end["code"] == 0, (moment, end["log"])
            assert_same_evaluation(out, whole)
            shutil.rmtree(out)
        kills += end["killed"]
        after = rows_in_parts(out)
        assert set(before) <= set(after) and len(set(after)) == len(after), moment
    return kills


def test_killed_at_every_moment_an_evaluation_ends_as_if_it_had_not_been(
    driver: Driver, folder: Path, whole: tuple[Path, float], request: pytest.FixtureRequest
) -> None:
    rng = random.Random(0)
    timed = [{"seconds": rng.uniform(0, whole[1])} for _ in range(request.config.getoption("kills"))]
    wanted = [(1, moment) for moment in [*MOMENTS, *timed]]
    settings = config(folder, "killed")
    assert kill_all(driver, settings, whole[0], wanted) == len(wanted)
    end = driver.run(settings)
    assert end["code"] == 0, end["log"]
    assert_same_evaluation(Path(settings["out"]), whole[0])
    logger.info("%d kills", len(wanted))


def test_two_processes_and_one_take_over_from_one_another(
    driver: Driver, folder: Path, whole: tuple[Path, float], request: pytest.FixtureRequest
) -> None:
    """One of two is killed, the other stopped as a launcher does; what is missing is done by one, by two again."""
    rng = random.Random(1)
    timed = [{"seconds": rng.uniform(0, whole[1])} for _ in range(request.config.getoption("kills") // 2)]
    wanted = [
        (2, {"at": "settings' rename", "call": 1, "when": "after"}),
        (2, {"at": "rollout", "call": 2, "when": "half", "process": 1}),
        (1, {"at": "part", "call": 1, "when": "half"}),
        (2, {"at": "part's rename", "call": 1, "when": "before", "process": 1}),
        *((2, moment) for moment in timed),
        (2, {"at": "report's rename", "call": 1, "when": "before"}),
    ]
    settings = config(folder, "killed-pair")
    assert kill_all(driver, settings, whole[0], wanted) == len(wanted)
    end = driver.run(settings)
    assert end["code"] == 0, end["log"]
    assert_same_evaluation(Path(settings["out"]), whole[0])
    logger.info("two processes: %d kills", len(wanted))
