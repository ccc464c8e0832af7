"""The splits of an experiment: made by notebook 01, found on disk by the others, and what was kept of what was read.

    runs/<name>/validated/<split>/   report, rejected rows, clean rows, of a split that was read from files
                data/<split>/        the rows to use, as a saved data set
                data/scales.csv      how large their evidence is, before and after balancing
                data/read.json       the files that were read, each with its SHA-256
                data/README.md       the data set card: `datasets.load_dataset("runs/<name>/data")` reads it

>>> splits = prepare_data("runs/mine", {"train": {"path": "train_33k.jsonl", "format": "viscot", "image_root": "cot"},
...                                     "heldout": {"scenes": 900, "seed": 1, "split": "heldout"}})  # doctest: +SKIP
>>> kept_table("runs/mine"), fault_table(load_checks("runs/mine"))                           # doctest: +SKIP
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, load_from_disk

from groundr1.config import DATA_OPTIONS, check_data
from groundr1.data.card import LICENCE, write_card
from groundr1.data.collect import Split, card_split, check_places, collect, file_hashes, save_rows
from groundr1.data.validation import Validation, load_validation
from groundr1.runs import Run, RunExistsError, open_run
from groundr1.storage import read_json, write_json

__all__ = ["balanced_scales", "fault_table", "kept_table", "load_checks", "load_split", "prepare_data"]

DATA_NOTEBOOK = "notebooks/01_data_preparation.ipynb"
SOURCE_OPTIONS = {
    **DATA_OPTIONS,
    "path": (*DATA_OPTIONS["path"], "archive", "strict", "shard", "seed"),
}
SCENES_LICENCE = "Apache-2.0, that of the kit, which drew the pictures"
SCALES_FILE, STAGES = "scales.csv", ("before", "after")
HASHES_FILE = "read.json"
KEPT = (
    "made from",
    "read",
    "set aside",
    "in another split",
    "kept",
    "different pictures",
    "look alike",
    "used",
)


def prepare_data(
    experiment: str | Path, sources: Mapping[str, Mapping[str, Any]], *, root: str | Path = "."
) -> dict[str, Dataset]:
    """Make or read each split and keep it in <experiment>/data/<split>/; what is there already is read back.

    Nothing is overwritten: a file that has changed since is refused, as other sources are. Pictures are not compared.

    Scenes are drawn. Files are checked row by row and picture by picture into <experiment>/validated/<split>/
    (`groundr1.data.validate`), "train" last, so that what is in another split too is set aside from it; then they are
    balanced by the scale of the evidence, if that is asked for. Killed, it goes on where it was.

    Args:
        experiment: folder of the experiment.
        sources: split -> {"scenes": count, "seed": n, ...} or {"path": file, "format": ..., "image_root": folder, ...};
            `groundr1.data.collect` has all options.
        root: where relative paths in `sources` start.

    Returns:
        split -> dataset with EXAMPLE_FEATURES. Pictures that were files stay files where they are.

    Raises:
        RunExistsError: the folder holds data from other sources, or from a file that has changed since.
        ValueError, FileNotFoundError: a source names no data, or a scene stands in two splits.
        InvalidRow: a bad row, where "strict" asks for that.
    """
    for split, source in sources.items():
        check_data(source, options=SOURCE_OPTIONS, field=f"{split}_data")
    experiment, root = Path(experiment), Path(root)
    # A folder that is there is checked first, a new one is made last: sources that cannot be read leave no run behind.
    run = None
    if (experiment / "data" / "manifest.json").exists():
        run = open_run(experiment, "data", {"sources": sources})
        if run.summary() is not None:
            _refuse_changed_files(run, sources, root)
            return {split: load_split(experiment, split) for split in sources}
    for source in sources.values():
        check_places(source, root)
    _refuse_archives_in_one_place(sources)
    made: dict[str, Split] = {}
    for split in sorted(sources, key="train".__eq__):
        against = [each.checked.folder for each in made.values() if each.checked is not None]
        folder = _validated(experiment, split)
        made[split] = collect(sources[split], folder, against=against, root=root)
    made = {split: made[split] for split in sources}
    _refuse_shared_scenes(made)
    run = run or open_run(experiment, "data", {"sources": sources})
    for split, each in made.items():
        save_rows(each.dataset, run.path / split)
    stages = {(split, stage): getattr(each, stage) for split, each in made.items() for stage in STAGES}
    pd.concat(stages, names=["split", "stage"]).droplevel(2).to_csv(run.path / SCALES_FILE)
    hashes = {name: digest for each in sources.values() for name, digest in file_hashes(each, root).items()}
    _write_card(experiment, sources, made, root, hashes)
    write_json(run.path / HASHES_FILE, hashes)
    run.finish({split: len(each.dataset) for split, each in made.items()})
    return {split: load_split(experiment, split) for split in sources}


def load_split(experiment: str | Path, split: str) -> Dataset:
    """The data set that notebook 01 saved for a split.

    Raises FileNotFoundError, saying what to run, when it is not there or was not written to its end.
    """
    run = Run(Path(experiment) / "data")
    if not (run.path / split).is_dir() or run.summary() is None:
        raise FileNotFoundError(
            f"{experiment} holds no complete data ({split!r} is wanted). Run {DATA_NOTEBOOK} first, with the same"
            " `runs` and `name`."
        )
    return load_from_disk(str(run.path / split))


def load_checks(experiment: str | Path) -> dict[str, Validation]:
    """Split -> validation, of the splits that `prepare_data` read from files; scenes have none."""
    sources = _sources(experiment)
    return {
        split: load_validation(_validated(experiment, split))
        for split, source in sources.items()
        if "path" in source
    }


def kept_table(experiment: str | Path) -> pd.DataFrame:
    """What became of the rows of each split that `prepare_data` made: one row a split.

    Returns:
        Columns made from; read, set aside, kept (rows); of those set aside in another split; of those kept different
        pictures and look alike (pictures that look like an earlier one); used (rows, after balancing). What does not
        go with scenes is an empty text, and no column where all are scenes.
    """
    checks, rows = load_checks(experiment), {}
    for split, source in _sources(experiment).items():
        used = len(load_split(experiment, split))
        known = {"made from": "scenes, drawn", "read": used, "set aside": 0, "kept": used}
        if split in checks:
            counts = checks[split].counts
            known = {
                "made from": f"{source.get('format', 'jsonl')}, checked",
                "read": counts["rows"],
                "set aside": counts["rejected"],
                "in another split": counts["faults"].get("leakage", 0),
                "kept": counts["clean"],
                "different pictures": counts["pictures"],
                "look alike": counts["near_duplicates"],
            }
        rows[split] = dict.fromkeys(KEPT, "") | known | {"used": used}
    table = pd.DataFrame.from_dict(rows, orient="index", dtype=object)
    return table.loc[:, (table != "").any()]


def fault_table(checks: Mapping[str, Validation]) -> pd.DataFrame:
    """Rows that were set aside, a row a kind of fault, a column a split; most frequent first, empty if there are none.

    Args:
        checks: what `load_checks` returns.
    """
    table = pd.DataFrame({split: found.counts["faults"] for split, found in checks.items()}, dtype="Int64")
    table = table.fillna(0).rename_axis("rows set aside because of")
    return table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]


def balanced_scales(experiment: str | Path) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Split -> its `scale_distribution` before and after balancing, of the splits that were balanced."""
    balanced = [split for split, source in _sources(experiment).items() if source.get("balance", False)]
    if not balanced:
        return {}
    table = pd.read_csv(Path(experiment) / "data" / SCALES_FILE).set_index(["split", "stage"])
    return {
        split: tuple(table.loc[(split, stage)].reset_index(drop=True) for stage in STAGES)
        for split in balanced
    }


def _validated(experiment: str | Path, split: str) -> Path:
    return Path(experiment) / "validated" / split


def _sources(experiment: str | Path) -> dict[str, dict[str, Any]]:
    run = Run(Path(experiment) / "data")
    if not run.path.is_dir() or run.summary() is None:
        raise FileNotFoundError(f"{experiment} holds no complete data. Run {DATA_NOTEBOOK} first.")
    return run.manifest()["parameters"]["sources"]


def _refuse_changed_files(run: Run, sources: Mapping[str, Mapping[str, Any]], root: Path) -> None:
    """Files that are gone are of no account, what was made of them is there; nor is data made without `HASHES_FILE`."""
    now = {name: digest for each in sources.values() for name, digest in file_hashes(each, root).items()}
    was = read_json(run.path / HASHES_FILE) if (run.path / HASHES_FILE).is_file() else now
    if changed := [name for name, digest in now.items() if was.get(name) != digest]:
        raise RunExistsError(
            f"{', '.join(changed)} has changed since {run.path} was made of it, and that is not overwritten. Delete"
            f" {run.path} to make it anew (arms trained on it stay those of the old rows), or choose another name."
        )


def _write_card(
    experiment: Path,
    sources: Mapping[str, Mapping[str, Any]],
    made: Mapping[str, Split],
    root: Path,
    hashes: Mapping[str, str],
) -> None:
    are_scenes = all(each.checked is None for each in made.values())
    is_relative = not (experiment.is_absolute() and root.is_absolute())
    where = "# paths start in the folder where this was run\n" if is_relative else ""
    named = "".join(f"    {split!r}: {dict(source)!r},\n" for split, source in sources.items())
    write_card(
        experiment / "data",
        {split: card_split(sources[split], each, f"{split}/*.arrow") for split, each in made.items()},
        name=experiment.name,
        command=f"from groundr1.splits import prepare_data\n\n{where}"
        f"prepare_data({str(experiment)!r}, {{\n{named}}}, root={str(root)!r})",
        hashes=hashes,
        licence=SCENES_LICENCE if are_scenes else LICENCE,
    )


def _refuse_archives_in_one_place(sources: Mapping[str, Mapping[str, Any]]) -> None:
    archives: dict[Any, Any] = {}
    for source in sources.values():
        root, archive = source.get("image_root"), source.get("archive")
        if archive is not None and archives.setdefault(root, archive) != archive:
            raise ValueError(
                f"The archives {archives[root]} and {archive} are both to be unpacked as {root}; give each an"
                " image_root of its own."
            )


def _refuse_shared_scenes(made: Mapping[str, Split]) -> None:
    """Of rows from files, the validation has set aside what is in another split; by picture, which says more."""
    owner: dict[str, str] = {}
    for split, each in made.items():
        for name in each.dataset["id"] if each.checked is None else ():
            if owner.setdefault(name, split) != split:
                raise ValueError(
                    f"The question {name!r} stands in both {owner[name]!r} and {split!r}, so that held-out accuracy"
                    " would measure memory. Give the splits different seeds."
                )
