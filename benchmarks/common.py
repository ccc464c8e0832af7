"""What the benchmarks share: interleaved timing in one process, tables, and results with their provenance.

>>> times = interleaved({"ours": ours, "plain": plain}, repeats=5)                           # doctest: +SKIP
>>> rows = [{"prompts": 8, **row} for row in summary(times, baseline="plain")]               # doctest: +SKIP
>>> print_table(rows); write_results("rollout_throughput", rows, vars(args))                 # doctest: +SKIP
"""

import argparse
import datetime
import gc
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from groundr1 import provenance
from groundr1.storage import atomic_write

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


def parser(description: str, *, repeats: int = 5) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark, `--repeats` and `--results`; its description is the script's."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--repeats", type=int, default=repeats, help=f"measured runs of each ({repeats})")
    made.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of the json file (benchmarks/results)"
    )
    return made


def seconds(function: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call, the accelerator's queue drained before and after."""
    gc.collect()
    _synchronize()
    start = time.perf_counter()
    function()
    _synchronize()
    return time.perf_counter() - start


def interleaved(
    functions: Mapping[str, Callable[[], Any]], *, repeats: int = 5, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of each function's calls, the functions taking turns, so that a machine that slows down slows all of
    them; who goes first rotates. `warmup` calls of each come before and are not counted."""
    names = list(functions)
    for _ in range(warmup):
        for name in names:
            functions[name]()
    times: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(seconds(functions[name]))
    return times


def summary(times: Mapping[str, Sequence[float]], baseline: str | None = None) -> list[Row]:
    """One row a name: median, least and all seconds; with a `baseline` its time over ours, above 1 where we are
    faster.

    The ratio is the median of the ratios of neighbouring runs (paired), with the least and the greatest of them.
    """
    rows = []
    for name, own in times.items():
        row: Row = {"name": name, "median_s": statistics.median(own), "min_s": min(own)}
        if baseline is not None:
            ratios = [theirs / ours for theirs, ours in zip(times[baseline], own, strict=True)]
            row |= {
                "times_faster": statistics.median(ratios),
                "least": min(ratios),
                "greatest": max(ratios),
            }
        rows.append(row | {"seconds": list(own)})
    return rows


def print_table(rows: Sequence[Row], title: str = "") -> None:
    """Print rows as a table; lists (the single runs) are left to the json file."""
    columns = dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, list))
    cells = [list(columns)] + [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if title:
        print(f"\n{title}")
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def write_results(
    name: str, rows: Sequence[Row], settings: Mapping[str, Any], *, folder: Path | None = None
) -> Path:
    """Write `<folder>/<name>.json`: the rows, and with what command, settings, commit, versions, hardware and load
    they were measured.

    `folder` is `settings["results"]` when None, and `benchmarks/results` without that.
    """
    settings = dict(settings)
    asked = settings.pop("results", None)
    report = {
        "benchmark": name,
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "settings": settings,
        "rows": list(rows),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
    path = Path(folder or asked or RESULTS) / f"{name}.json"
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")
    print(f"\nwritten: {path}")
    return path


def _synchronize() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
