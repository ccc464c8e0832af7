"""A split of an experiment from what its user names: scenes to draw, or files to check, with options in plain values.

>>> train = collect({"path": "train_33k.jsonl", "format": "viscot", "image_root": "cot", "balance": True},
...                 "runs/mine/validated/train", against=["runs/mine/validated/heldout"])    # doctest: +SKIP
>>> train.checked.counts["faults"], len(train.dataset)                                       # doctest: +SKIP

Options of a file: "path" (a file, a list of files, or the folder of a saved data set or of a validation), "format" (one
of `row_streams.FORMS`, "jsonl" if left out), "image_root" (a validation has its own; a saved data set needs one where
its pictures are files), "archive" (zip or tar with the pictures, whole or in parts as `unpack` takes it; unpacked as
the image root unless that is there), "strict" (stop at the first bad row), "shard" ([i, n]: every n-th row, beginning
with row i), "balance" (true, or how many rows: `balance_by_scale`) and "seed" (of the balance). Options of scenes are
those of `make_scenes`.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, load_from_disk

from groundr1.data.archives import parts_of, unpack
from groundr1.data.balance import balance_by_scale, evidence_areas, scale_distribution
from groundr1.data.card import CardSplit
from groundr1.data.example import EXAMPLE_FEATURES
from groundr1.data.row_streams import FORMS
from groundr1.data.scenes import make_scenes
from groundr1.data.validation import Validation, load_validation, validate
from groundr1.data.validation.ledger import Parts
from groundr1.data.validation.summary import SUMMARY_FILE

__all__ = [
    "Split",
    "card_split",
    "check_places",
    "collect",
    "file_hashes",
    "open_saved",
    "paths_of",
    "save_rows",
]

logger = logging.getLogger(__name__)

Source = Mapping[str, Any]

BATCH = 32  # rows written at once: they may hold pictures


@dataclass(frozen=True)
class Split:
    """Rows of a split, and where they come from.

    Attributes:
        dataset: the rows to use, `EXAMPLE_FEATURES`.
        before, after: `scale_distribution` of the rows that can be used, and of those that are.
        checked: the validation; None of scenes.
    """

    dataset: Dataset
    before: pd.DataFrame
    after: pd.DataFrame
    checked: Validation | None = None


def check_places(source: Source, root: Path = Path()) -> None:
    """Raise FileNotFoundError or ValueError for what would stop `collect` before it has read a row."""
    if "scenes" in source:
        return
    form = source.get("format", "jsonl")
    if form not in FORMS:
        raise ValueError(f"format={form!r} is none of {', '.join(FORMS)}.")
    paths, image_root, archive = paths_of(source, root), source.get("image_root"), _archive(source, root)
    if len(paths) > 1 and any(path.is_dir() for path in paths):
        raise ValueError(f"path={source['path']!r} holds a folder among several; give files, or one folder.")
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"There is no {path}; download it, or correct the path.")
    if archive is not None:
        parts_of(archive)
    if image_root is None and (archive is not None or (form != "deepeyes" and not paths[0].is_dir())):
        raise ValueError(
            f"The pictures of {paths[0]} need an 'image_root', the folder that their paths start from."
        )
    if image_root is not None and archive is None and not (root / image_root).is_dir():
        raise FileNotFoundError(
            f"There is no image folder {root / image_root}; download the pictures, or correct the path."
        )


def collect(
    source: Source, folder: str | Path, *, against: Sequence[str | Path] = (), root: Path = Path()
) -> Split:
    """Draw scenes, or check the rows of files; then balance them by scale if that is asked for.

    A check that was killed goes on where it was, and a finished one of unchanged files is opened.

    Args:
        source: {"scenes": count, "seed": n, ...} or {"path": file, ...}, as this module's docstring has it.
        folder: of the validation; scenes need none.
        against: validations of other splits, whose rows are set aside here.
        root: where relative paths start.

    Raises:
        FileNotFoundError, ValueError: the source cannot be read, or no row of it can be used.
        InvalidRow: a bad row, with "strict".
        BadArchive: the archive is damaged or not to be trusted.
    """
    check_places(source, root)
    if "scenes" in source:
        options = dict(source)
        checked, rows = None, make_scenes(options.pop("scenes"), **options)
    else:
        checked = _checked(source, Path(folder), against, root)
        rows = checked.dataset
    if not len(rows):
        seen = "" if checked is None else f" The report says why: {checked.report}"
        raise ValueError(f"{dict(source)!r} has no row that can be used.{seen}")
    areas = evidence_areas(rows, None if checked is None else _picture_sizes(checked))
    before = scale_distribution(rows, areas=areas)
    balance = source.get("balance", False)
    if balance is False:
        return Split(rows, before, before, checked)
    num = None if balance is True else balance
    drawn = balance_by_scale(rows, num=num, seed=source.get("seed", 0), areas=areas)
    area_of = dict(zip(rows["id"], areas, strict=True))
    areas_drawn = np.array([area_of[name] for name in drawn["id"]])
    return Split(drawn, before, scale_distribution(drawn, areas=areas_drawn), checked)


def open_saved(folder: Path) -> Dataset:
    """The data set in a folder that `Dataset.save_to_disk`, `save_rows` or `validate` has filled.

    Raises:
        ValueError: it holds several data sets. FileNotFoundError: it holds none.
    """
    if (folder / SUMMARY_FILE).is_file() and (folder / "clean").is_dir():
        return load_validation(folder).dataset
    saved = load_from_disk(str(folder))
    if not isinstance(saved, Dataset):
        raise ValueError(f"{folder} holds the data sets {', '.join(saved)}; give the folder of one of them.")
    return saved


def save_rows(dataset: Dataset, folder: Path) -> None:
    """Save rows as `Dataset.save_to_disk` does, for `datasets.load_from_disk`; but pictures that are files stay files.

    `save_to_disk` would copy each of them into the folder.

    Args:
        dataset: rows with `EXAMPLE_FEATURES`.
        folder: to write to; what is in it is deleted.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with pa.ipc.new_stream(str(folder / "data.arrow"), EXAMPLE_FEATURES.arrow_schema) as stream:
        for table in dataset.with_format("arrow").iter(batch_size=BATCH):
            stream.write_table(table)
    dataset.info.write_to_directory(str(folder))
    state = {
        "_data_files": [{"filename": "data.arrow"}],
        "_fingerprint": dataset._fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (folder / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")


def card_split(source: Source, split: Split, data_files: str) -> CardSplit:
    """What the data set card says of a split."""
    distribution, is_drawn = split.after, bool(source.get("balance", False))
    if split.checked is None:
        options = {name: value for name, value in source.items() if name != "progress"}
        return CardSplit(split.dataset, f"generated scenes, {options}", data_files, distribution=distribution)
    where = f", pictures below {source['image_root']}" if "image_root" in source else ""
    read = ", ".join(map(str, paths_of(source)))
    return CardSplit(
        split.dataset,
        f"{read} (format {source.get('format', 'jsonl')}{where})",
        data_files,
        split.checked.counts["faults"],
        split.checked.counts["clean"] if is_drawn else None,
        distribution,
    )


def file_hashes(source: Source, root: Path = Path()) -> dict[str, str]:
    """SHA-256 of each file that a source names, by its path as it is named there; of a folder those of its rows."""
    hashes = {}
    for named in paths_of(source) if "path" in source else ():
        place = root / named
        rows = [each for each in place.rglob("*.arrow") if not each.name.startswith(("cache-", "."))]
        for path in sorted(rows) if place.is_dir() else filter(Path.is_file, [place]):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[str(named / path.relative_to(place))] = digest
    return hashes


def _checked(source: Source, folder: Path, against: Sequence[str | Path], root: Path) -> Validation:
    image_root = root / source["image_root"] if "image_root" in source else None
    archive = _archive(source, root)
    if archive is not None:
        if image_root.is_dir() and any(image_root.iterdir()):
            logger.info("%s is there; %s is not unpacked again", image_root, source["archive"])
        else:
            unpack(archive, image_root)
    rows: Dataset | list[Path] = paths_of(source, root)
    if rows[0].is_dir():
        image_root = image_root or _root_of(rows[0])
        rows = open_saved(rows[0])
    return validate(
        rows,
        folder,
        form=source.get("format", "jsonl"),
        image_root=image_root,
        strict=source.get("strict", False),
        shard=tuple(source.get("shard", (0, 1))),
        against=against,
        redo=False,
    )


def _root_of(folder: Path) -> Path | None:
    """The image root that a validation was held to; a saved data set was held to none, and has to be given one."""
    is_validation = (folder / SUMMARY_FILE).is_file()
    root = load_validation(folder).counts["image_root"] if is_validation else None
    return None if root is None else Path(root)


def _picture_sizes(checked: Validation) -> np.ndarray:
    """(num, 2): width and height of the clean rows' pictures, as the validation saw them."""
    sizes = [np.empty((0, 2), np.int64)]
    for table in Parts(checked.folder).tables(("fault", "width", "height")):
        clean = table.filter(pc.equal(table["fault"], ""))
        sizes.append(np.column_stack([clean["width"].to_numpy(), clean["height"].to_numpy()]))
    return np.concatenate(sizes)


def _archive(source: Source, root: Path) -> Path | list[Path] | None:
    named = source.get("archive")
    return (
        named
        if named is None
        else root / named
        if isinstance(named, str | Path)
        else [root / each for each in named]
    )


def paths_of(source: Source, root: Path = Path()) -> list[Path]:
    """The files, or the one folder, that a source names; ValueError where "path" is neither."""
    named = source["path"]
    paths = [named] if isinstance(named, str | Path) else named
    is_list = isinstance(paths, list | tuple) and all(isinstance(each, str | Path) for each in paths)
    if not is_list or not paths:
        raise ValueError(
            f"path={named!r} must be a file, a list of files, or the folder of a saved data set or of a validation."
        )
    return [root / each for each in paths]
