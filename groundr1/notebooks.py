"""Running the notebooks without a browser: papermill, with parameters that are checked before anything runs.

    python -m groundr1.notebooks reproduce                                # all of them, in order
    python -m groundr1.notebooks run notebooks/02_training.ipynb --out runs/mine/notebooks -p steps 5

An unknown parameter or a value of the wrong type is refused before the kernel starts (`groundr1.parameters`).
Notebooks state their results with `record(...)`; `reproduce` collects them in its closing summary.
"""

import argparse
import json
import logging
import math
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import papermill
from IPython.display import display
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from groundr1.parameters import (
    ParameterError,
    check_parameters,
    check_values,
    notebook_parameters,
    parse_parameters,
)

__all__ = [
    "check_parameters",
    "project_root",
    "record",
    "recorded",
    "reproduce",
    "run_notebook",
]

logger = logging.getLogger(__name__)

RECORD_MIME = "application/vnd.groundr1.record+json"


class OwnKernelManager(AsyncKernelManager):
    """Starts ipykernel of the running interpreter, whatever a `python3` kernelspec elsewhere on the machine says."""

    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def project_root() -> Path:
    """Return the nearest folder, from the working directory upwards, that holds `pyproject.toml` and `notebooks/`.

    JupyterLab starts a kernel in `notebooks/`, papermill where it was called: notebooks resolve `runs` and `figures`
    against this folder so that both write to the same place. Outside a checkout it is the working directory.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
            return folder
    return here


def record(**values: float | int | str | bool | pd.DataFrame) -> None:
    """State results of a notebook by name: they are shown, and can be read back with `recorded`.

    Args:
        values: numbers, texts or small tables.

    Raises:
        ValueError: a number is not finite: a result that does not exist must not look like one.
    """
    stored: dict[str, Any] = {}
    lines = []
    for name, value in values.items():
        if isinstance(value, pd.DataFrame):
            stored[name] = {"table": json.loads(value.to_json(orient="split"))}
            lines.append(f"{name}:\n{value.to_string()}")
            continue
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(
                f"The result `{name}` is {value}; record a finite number, or leave it out and say why."
            )
        stored[name] = value
        lines.append(f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}")
    display({RECORD_MIME: stored, "text/plain": "\n".join(lines)}, raw=True)


def recorded(executed: str | Path) -> dict[str, Any]:
    """Read what an executed notebook recorded: name -> number, text or DataFrame."""
    results: dict[str, Any] = {}
    for cell in nbformat.read(Path(executed), as_version=4).cells:
        for output in cell.get("outputs", []):
            for name, value in output.get("data", {}).get(RECORD_MIME, {}).items():
                results[name] = pd.DataFrame(**value["table"]) if isinstance(value, dict) else value
    return results


def run_notebook(path: str | Path, out: str | Path, parameters: Mapping[str, Any] | None = None) -> Path:
    """Execute one notebook with the running interpreter and keep the executed copy.

    Args:
        path: the notebook; it is not changed.
        out: folder of the executed copy, which has the notebook's name and is written even when a cell fails.
        parameters: values for names in its parameters cell.

    Returns:
        Path of the executed copy.

    Raises:
        ParameterError: before anything runs, when a parameter is unknown or has the wrong type.
        papermill.PapermillExecutionError: a cell failed.
    """
    path = Path(path)
    check_values(path.name, parameters or {}, notebook_parameters(path))
    executed = Path(out) / path.name
    executed.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        path,
        executed,
        parameters=dict(parameters or {}),
        kernel_name="python3",
        kernel_manager_class=OwnKernelManager,
        extra_arguments=["--log-level=ERROR"],  # ipykernel warns of plain TCP, which stays on this machine
        progress_bar={"desc": path.stem, "file": sys.stderr},
    )
    return executed


def reproduce(
    notebooks: str | Path = "notebooks", *, runs: str | Path = "runs", name: str = "default"
) -> dict[str, dict[str, Any]]:
    """Run every numbered notebook in order at its defaults and log a summary: times, results, where things are.

    Args:
        notebooks: folder with the notebooks.
        runs: folder of run folders; executed copies go to `<runs>/<name>/notebooks`.
        name: name of the run, given to every notebook that has a parameter `name`.

    Returns:
        Notebook name -> {"seconds": float, "results": what it recorded}.
    """
    paths = sorted(Path(notebooks).glob("[0-9]*.ipynb"))
    if not paths:
        raise FileNotFoundError(f"No notebooks in {notebooks}/. Run this from the repository root.")
    out = Path(runs) / name / "notebooks"
    summary: dict[str, dict[str, Any]] = {}
    for number, path in enumerate(paths, start=1):
        logger.info("[%d/%d] %s", number, len(paths), path)
        wanted = {"name": name, "runs": str(runs)}
        known = notebook_parameters(path)
        start = time.perf_counter()
        executed = run_notebook(path, out, {key: value for key, value in wanted.items() if key in known})
        summary[path.stem] = {"seconds": time.perf_counter() - start, "results": recorded(executed)}
        logger.info("      %.1f minutes", summary[path.stem]["seconds"] / 60)
    _log_summary(summary, out)
    return summary


def _log_summary(summary: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    logger.info("\nSummary")
    for stem, entry in summary.items():
        logger.info("\n%-24s %6.1f minutes", stem, entry["seconds"] / 60)
        for name, value in entry["results"].items():
            shown = f"\n{value.to_string()}" if isinstance(value, pd.DataFrame) else value
            logger.info("  %s = %s", name, f"{shown:.4g}" if isinstance(shown, float) else shown)
    total = sum(entry["seconds"] for entry in summary.values())
    # Linux counts ru_maxrss in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (
        2**30 if sys.platform == "darwin" else 2**20
    )
    logger.info("\n%-24s %6.1f minutes, peak memory of a notebook %.1f GiB", "all", total / 60, peak)
    logger.info("figures in figures/, executed notebooks in %s/", out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m groundr1.notebooks", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run one notebook")
    run.add_argument("notebook", type=Path)
    run.add_argument(
        "--out", type=Path, default=Path("runs/default/notebooks"), help="folder of the executed copy"
    )
    run.add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    everything = commands.add_parser("reproduce", help="run all notebooks in order")
    everything.add_argument("--name", default="default", help="name of the run folder under runs/")
    options = parser.parse_args(arguments)

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("papermill").setLevel(logging.WARNING)
    try:
        if options.command == "reproduce":
            reproduce(name=options.name)
        else:
            parameters = parse_parameters(options.notebook, options.parameters)
            logger.info("executed copy: %s", run_notebook(options.notebook, options.out, parameters))
    except (ParameterError, FileNotFoundError, papermill.PapermillExecutionError) as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
