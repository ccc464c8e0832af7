"""Benchmarks: fair timing, and each script's smoke run writes what it promises."""

import json

from benchmarks import common

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
