"""Benchmarks: fair timing, and each script's smoke run writes what it promises."""

import importlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import common
from benchmarks.scaling import slope

PROVENANCE = {"benchmark", "command", "settings", "rows", "date", "commit", "versions", "hardware"}


def test_runs_take_turns_and_warming_up_is_not_counted() -> None:
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = common.interleaved(functions, repeats=3, warmup=1)
    assert calls == [*"abc", *"abc", *"bca", *"cab"]
    assert {name: len(each) for name, each in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_ratio_is_the_median_of_neighbouring_runs() -> None:
    """The machine slowed down in the third run: both did, and the paired ratio does not see it."""
    ours, plain = common.summary({"ours": [1.0, 2.0, 10.0], "plain": [4.0, 6.0, 20.0]}, baseline="plain")
    assert (ours["median_s"], ours["min_s"], ours["times_faster"]) == (2.0, 1.0, 3.0)
    assert (ours["least"], ours["greatest"]) == (2.0, 4.0)
    assert plain["times_faster"] == 1.0 and plain["seconds"] == [4.0, 6.0, 20.0]


def test_results_say_where_they_come_from(tmp_path, capsys) -> None:
    rows = [{"name": "ours", "median_s": 0.123456, "seconds": [0.1, 0.2]}, {"name": "plain", "other": None}]
    common.print_table(rows, "a title")
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:] == [
        "a title",
        " name  median_s  other",
        " ours    0.1235      -",
        "plain         -      -",
    ]
    path = common.write_results("smoke", rows, {"results": tmp_path, "num_prompts": 2})
    written = json.loads(path.read_text())
    assert path == tmp_path / "smoke.json" and PROVENANCE <= written.keys()
    assert written["rows"] == rows and written["settings"] == {"num_prompts": 2}
    assert written["versions"]["torch"] and written["hardware"]["cores"] and "pytest" in written["command"]


def test_slope_is_the_exponent_of_a_power_law() -> None:
    gradient, fit = slope([1, 2, 4, 8], [3.0, 6.0, 12.0, 24.0])
    assert (gradient, fit) == (pytest.approx(1.0), pytest.approx(1.0))
    gradient, fit = slope([1, math.e, math.e**2], np.exp([0.0, 1.0, 0.0]))
    assert (gradient, fit) == (pytest.approx(0.0), pytest.approx(0.0)), "up and down again fits no power"


SMALL = ["--repeats", "1", "--prompts", "1"]
TURN = ["--turn-tokens", "4"]
# Script, smoke settings, and for each table of it a field that only its rows have, with the number of rows.
SMOKE = {
    "rollout_throughput": ([*SMALL, *TURN, "--crops", "1", "--without-trl"], {"trajectories_per_s": 2}),
    "training_step": ([*SMALL, *TURN, "--models", "tiny"], {"of_trl": 4, "tokens_a_step": 4}),
    "scaling": ([*SMALL, *TURN, "--smoke"], {"median_s": 10, "slope": 5}),
    "memory": ([*SMALL, *TURN, "--only", "step-shared"], {"resident_mb": 1, "tensors_mb": 1}),
    "advantage_share": (
        [*SMALL, *TURN, "--trajectories", "64", "128"],
        {"median_s": 4, "slope": 2, "share_percent": 1},
    ),
    "picture_preparation": (
        [*SMALL, *TURN, "--step-prompts", "1", "--photographs", "64x48"],
        {"patches_ms": 2, "times_faster": 2, "waiting_s": 2, "preparation_s": 3},
    ),
    "evaluation_throughput": (
        ["--repeats", "1", *TURN, "--examples", "2"],
        {"examples_per_s": 3, "batched_is_times_faster": 3, "same_turns": 3},
    ),
    "validation_throughput": (
        ["--repeats", "1", "--pictures", "4", "--size", "64x48", "--workers", "2"],
        {"pictures_per_s": 6, "times_faster": 6, "kilobytes": 6},
    ),
    "validation_memory": (
        ["--rows", "20", "40", "--embedded-rows", "10"],
        {"peak_mb": 5, "over_start_mb": 5, "rows_per_s": 5},
    ),
    "scoring_speed": (
        ["--repeats", "1", "--share", "0.01", "--resamples", "20"],
        {"median_s": 5, "us_a_prediction": 5},
    ),
}


@pytest.mark.parametrize("name", SMOKE)
def test_each_script_runs_and_writes_its_table(name, tmp_path, capsys) -> None:
    arguments, tables = SMOKE[name]
    importlib.import_module(f"benchmarks.{name}").main([*arguments, "--results", str(tmp_path)])
    printed, written = capsys.readouterr().out, json.loads((tmp_path / f"{name}.json").read_text())
    assert PROVENANCE <= written.keys() and written["benchmark"] == name
    for field, number in tables.items():
        values = [row[field] for row in written["rows"] if field in row]
        assert len(values) == number and all(map(math.isfinite, values)) and field in printed
    if name == "training_step":  # the samplers differ, and so do the questions of the steps
        ours, theirs = (row["tokens_a_step"] for row in written["rows"][:2])
        assert ours == pytest.approx(theirs, rel=0.1), "like is compared with like"


def test_make_bench_runs_every_script() -> None:
    scripts = {
        path.stem for path in Path(common.__file__).parent.glob("*.py") if "__main__" in path.read_text()
    }
    makefile = (Path(common.__file__).parents[1] / "Makefile").read_text()
    assert set(re.search(r"^BENCHMARKS \?= (.*)$", makefile, re.M)[1].split()) == scripts
    readme = (Path(common.__file__).parent / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in scripts)
