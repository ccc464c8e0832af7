"""Two processes of `accelerate launch` make the evaluation of one, and one finishes what two began; over gloo."""

import sys
from pathlib import Path

import pytest
from small_evaluation import assert_same_evaluation, config, rows_in_parts, write_config
from test_processes import command, launch, launch_and_kill

from groundr1.evaluate import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation of one process, which nobody launched."""
    folder = tmp_path_factory.mktemp("evaluation-processes")
    assert main([str(write_config(folder, "one"))]) == 0
    return folder


def test_two_processes_equal_one(folder: Path) -> None:
    path, log = write_config(folder, "two"), folder / "two.log"
    launch(command("multi_gpu", "-m", "groundr1.evaluate", path), log)
    out = Path(config(folder, "two")["out"])
    assert_same_evaluation(out, folder / "out" / "one")
    parts = sorted(path.name for path in out.glob("predictions/*"))
    assert parts[:3] == ["part_000000.parquet", "part_000001.parquet", "part_000004.parquet"], (
        "every other row"
    )
    shown = log.read_text()
    assert "evaluating two (1 of 2 processes)" in shown and shown.count("13/13") == 0, (
        "one bar, over its share"
    )
    assert shown.count("reading viscot.jsonl: 0row") == 1, "tqdm shows how a bar begins once"


def test_one_process_finishes_what_two_began(folder: Path) -> None:
    path, out = write_config(folder, "killed"), folder / "out" / "killed"
    log = folder / "killed.log"
    launch_and_kill(
        command("multi_gpu", "-m", "groundr1.evaluate", path), log, lambda: len(rows_in_parts(out)) > 0
    )
    begun = rows_in_parts(out)
    assert not (out / "report.json").exists()
    launch([sys.executable, "-m", "groundr1.evaluate", str(path)], log)
    assert_same_evaluation(out, folder / "out" / "one")
    assert set(begun) <= set(rows_in_parts(out))
