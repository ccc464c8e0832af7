"""One folder for each run: manifest, metrics, rollout table, checkpoints; nothing of it is lost to a kill.

    runs/<name>/manifest.json      what ran: parameters, seed, versions, commit, hardware
                metrics.csv        one row a logged step, appended durably
                rollouts/          one parquet file a step, one row a trajectory
                checkpoints/       checkpoint-<step>/, written by the Hugging Face Trainer, with an index of ours
                model/             the trained model
                summary.json       written by `Run.finish`, the sign that the run is complete

Whole files are written beside their place and renamed into it, so a reader never sees half of one.
metrics.csv only grows; a last line torn by a kill is cut off when the run is opened again. Opening a run
twice with the same parameters resumes it, with other parameters it is refused. Not in the paper: our
choice, because a laptop gets closed.

    >>> run = open_run("runs", "grpo", {"steps": 200, "learning_rate": 1e-4}, seed=1)    # doctest: +SKIP
    >>> run.append_metrics({"step": 1, "loss": 0.02, "reward": 0.41})                    # doctest: +SKIP
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from groundr1 import checkpoints, provenance
from groundr1.metrics_log import MetricsLog
from groundr1.storage import (
    as_json,
    atomic_write,
    is_temporary,
    read_json,
    remove_unfinished,
    write_bytes,
    write_json,
)

__all__ = ["ROLLOUT_TYPES", "Run", "RunExistsError", "atomic_write", "load_run", "open_run", "summary_table"]

logger = logging.getLogger(__name__)

# Known columns of the rollout table have a fixed type, so that a step without one box reads like any other.
ROLLOUT_TYPES: Mapping[str, pa.DataType] = {
    **dict.fromkeys(["step", "grounding", "answer_index", "num_tokens", "num_turns"], pa.int64()),
    **dict.fromkeys(["prompt_id", "source", "answer", "solution"], pa.string()),
    **dict.fromkeys(["relative_area", "true_area", "iou", "giou", "advantage"], pa.float64()),
    **dict.fromkeys(["reward", "reward_format", "reward_answer"], pa.float64()),
    "box": pa.list_(pa.float64()),
    "turns": pa.list_(pa.string()),
}


class RunExistsError(ValueError):
    """The run's folder holds something else than what was asked for; nothing in it was touched."""


@dataclass(frozen=True)
class Run:
    """An open run folder; made by `open_run` (to write) or `load_run` (to read)."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name, which is the run's."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoint-<step>/ folders: what the Trainer gets as `output_dir`."""
        return self.path / "checkpoints"

    def manifest(self) -> dict[str, Any]:
        """name, created, seed, parameters, versions, commit, dirty, hardware and when it was reopened."""
        return read_json(self.path / "manifest.json")

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Append one logged step, {"step": ..., name: number}, to metrics.csv; see `MetricsLog.append`."""
        self._metrics.append(row)

    def metrics(self) -> pd.DataFrame:
        """The metrics, one row a logged step in order; see `MetricsLog.read`."""
        return self._metrics.read()

    def write_rollouts(self, step: int, rollouts: pd.DataFrame) -> Path:
        """Write one step's trajectories, one row each, to rollouts/step_<step>.parquet (replaced if there).

        The column "step" is set (where it is there it must agree). Columns named in `ROLLOUT_TYPES` get
        their type, others the inferred one. NaN in a number column becomes null, as does None.
        """
        if "step" in rollouts and not (rollouts["step"] == step).all():
            steps = sorted(set(rollouts["step"]))
            raise ValueError(
                f"{self.path}: the rollouts of step {step} hold rows of steps {steps}; write each alone."
            )
        table = rollouts.assign(step=step)[["step", *(column for column in rollouts if column != "step")]]
        fields = [
            pa.field(name, ROLLOUT_TYPES[name])
            if name in ROLLOUT_TYPES
            else pa.Schema.from_pandas(table[[name]], preserve_index=False).field(name)
            for name in table
        ]
        path = self.path / "rollouts" / f"step_{step:06d}.parquet"
        parquet = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(table, pa.schema(fields), preserve_index=False), parquet)
        write_bytes(path, parquet.getvalue().to_pybytes())
        return path

    def rollouts(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All trajectories so far, in order of steps; `columns` reads only those (texts are most of it)."""
        names = None if columns is None else list(columns)
        tables = []
        for path in self._rollout_paths().values():
            try:
                # Of one file, not of the folder, which pyarrow would read as a partitioned data set.
                tables.append(pq.ParquetFile(path).read(columns=names))
            except pa.ArrowInvalid as error:
                raise ValueError(
                    f"{path} cannot be read ({error}). Delete it and resume the run from a checkpoint"
                    " before it."
                ) from error
        if not tables:
            return pd.DataFrame(columns=names or list(ROLLOUT_TYPES))
        return pa.concat_tables(tables, promote_options="default").to_pandas()

    def truncate_after(self, step: int) -> None:
        """Drop the metrics and rollouts of steps after `step`: what resuming from its checkpoint needs.

        Killed in the middle it can be called again. A summary goes too if anything does: the run is not
        complete.
        """
        late = [path for written, path in self._rollout_paths().items() if written > step]
        if late or (self._metrics.last_step() or 0) > step:
            (self.path / "summary.json").unlink(missing_ok=True)
        self._metrics.truncate_after(step)
        for path in late:
            path.unlink()

    def last_checkpoint(self) -> Path | None:
        """The complete checkpoint of the highest step, its files checked; None without one.

        One that a kill cut short is passed over; raises `DamagedCheckpointError` for one that was complete
        and is so no longer (see `groundr1.checkpoints`).
        """
        return checkpoints.newest(self.checkpoints)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Mark the run complete, with the few numbers that sum it up (names to numbers or texts)."""
        write_json(self.path / "summary.json", {"finished": _now(), **summary})

    def summary(self) -> dict[str, Any] | None:
        """What `finish` recorded, with the time under "finished"; None while the run is not complete."""
        path = self.path / "summary.json"
        return read_json(path) if path.exists() else None

    @property
    def _metrics(self) -> MetricsLog:
        return MetricsLog(self.path / "metrics.csv")

    def _rollout_paths(self) -> dict[int, Path]:
        paths = (self.path / "rollouts").glob("step_*.parquet")
        return dict(sorted((int(path.stem.removeprefix("step_")), path) for path in paths))

    def _repair(self) -> None:
        removed = remove_unfinished(self.path)
        if removed:
            logger.warning(
                "%s: removed %d files and folders that were not written to their end.", self.path, removed
            )
        self._metrics.repair()


def check_name(name: str) -> None:
    """Raise ValueError unless `name` can be a run's: letters, digits, ".", "_" and "-", no leading dot."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise ValueError(f"A run's name is a folder name (letters, digits, '.', '_', '-'); {name!r} is not.")


def open_run(root: str | Path, name: str, parameters: Mapping[str, Any], *, seed: int | None = None) -> Run:
    """Create runs/<name>/ under `root`, or reopen it to resume.

    Args:
        root: folder of the runs, made if it is not there.
        name: the run's name and folder name: letters, digits, ".", "_" and "-".
        parameters: everything that shapes the run's numbers, as JSON can hold it (see `storage.as_json`).
        seed: recorded in the manifest; `parameters["seed"]` when not given.

    Returns:
        The run. One that was there already is repaired first (torn last metrics row, temporary files).

    Raises:
        RunExistsError: the folder belongs to a run with other parameters (they are named), or to no run at
            all.
        ValueError: `name` is not a folder name.
    """
    check_name(name)
    run = Run(Path(root) / name)
    asked = as_json(parameters)
    seed = asked.get("seed") if seed is None else seed
    if (run.path / "manifest.json").exists():
        _refuse_other_parameters(run, {**asked, "seed": seed})
        run._repair()
        manifest = run.manifest()
        again = {"time": _now(), "versions": provenance.versions(), **provenance.commit()}
        write_json(run.path / "manifest.json", {**manifest, "reopened": [*manifest["reopened"], again]})
        return run
    strangers = _strangers(run.path)
    if strangers:
        raise RunExistsError(
            f"{run.path} holds {', '.join(strangers)} but no manifest.json, so it is not a run of this kit"
            " and is left alone. Give the run another name, or move the folder away."
        )
    run.path.mkdir(parents=True, exist_ok=True)
    remove_unfinished(run.path)
    facts = {"versions": provenance.versions(), **provenance.commit(), "hardware": provenance.hardware()}
    manifest = {"name": name, "created": _now(), "seed": seed, "parameters": asked, **facts, "reopened": []}
    write_json(run.path / "manifest.json", manifest)
    return run


def load_run(path: str | Path) -> Run:
    """Open an existing run folder to read it; nothing in it is changed, so it may still be training.

    Raises FileNotFoundError when `path` is not the folder of a run.
    """
    path = Path(path)
    if not (path / "manifest.json").exists():
        there = sorted(found.parent.name for found in path.parent.glob("*/manifest.json"))
        raise FileNotFoundError(
            f"{path} is not the folder of a run: it has no manifest.json. Runs in {path.parent}: {there}."
            " Train it first (notebook 02, or python -m groundr1.train), or give the path of one that is"
            " there."
        )
    return Run(path)


def summary_table(root: str | Path) -> pd.DataFrame:
    """One row a run under `root`: run, status, steps, created, seed, then whatever the runs' summaries hold.

    `status` is "complete" or "incomplete", `steps` the last logged step. Without runs the table has no rows.
    """
    rows = []
    for manifest_path in sorted(Path(root).glob("*/manifest.json")):
        run = Run(manifest_path.parent)
        manifest, summary = run.manifest(), run.summary()
        status = "incomplete" if summary is None else "complete"
        row = {"run": run.name, "status": status, "steps": run._metrics.last_step()}
        rows.append({**row, "created": manifest["created"], "seed": manifest["seed"], **(summary or {})})
    return pd.DataFrame(rows, columns=None if rows else ["run", "status", "steps", "created", "seed"])


def _strangers(folder: Path) -> list[str]:
    """Names in a folder without manifest that are not what notebooks, or a run killed at its very start, put there."""
    ours = {"notebooks", "figures", "evaluation"}
    there = folder.iterdir() if folder.exists() else []
    return sorted(path.name for path in there if path.name not in ours and not is_temporary(path))


def _refuse_other_parameters(run: Run, asked: Mapping[str, Any]) -> None:
    manifest = run.manifest()
    recorded = {**manifest["parameters"], "seed": manifest["seed"]}
    absent = "(absent)"
    differing = [
        f"{name}: recorded {recorded.get(name, absent)!r}, asked {asked.get(name, absent)!r}"
        for name in sorted({*recorded, *asked})
        if recorded.get(name, absent) != asked.get(name, absent)
    ]
    if differing:
        raise RunExistsError(
            f"{run.path} holds a run with other parameters ({'; '.join(differing)}), and is not"
            " overwritten. Give the new run another name, ask for the recorded parameters to resume the"
            " old one, or move its folder away."
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
