"""One pass over a training set before anything is trained on it: what is kept, what is set aside, and why.

>>> found = validate("train_33k.jsonl", "validated/viscot", form="viscot", image_root="cot")     # doctest: +SKIP
>>> found.dataset, found.rejected, found.counts["faults"], found.report                          # doctest: +SKIP

Every row and every picture is checked (`row_judge`, `picture_check`, `checks`), on all cores; boxes in another frame
than the form has are refused (`frames`); the same question on the same picture counts once, and what is in another
split is set aside (`duplicates`, `leakage`). No row is dropped in silence: those kept and those set aside are as many
as were read. Memory grows by less than 200 bytes a row, whatever the pictures, and a pass that was killed goes on where
it was. Not in the paper: our choice, because a wrong box raises no error, it only makes a worse model.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset
from PIL import Image
from tqdm.auto import tqdm

from groundr1.data.picture_check import DEFAULT_LIMITS, Limits
from groundr1.data.readers import existing_root
from groundr1.data.row_judge import Judged, judged
from groundr1.data.row_streams import FORMS, stream
from groundr1.data.validation.folder import REPORT_FILE, asked_for, begin, check_folder, is_finished
from groundr1.data.validation.leakage import OtherSplits
from groundr1.data.validation.ledger import PART_ROWS, DamagedPart, Parts
from groundr1.data.validation.memory import Memory
from groundr1.data.validation.report import write_report
from groundr1.data.validation.sources import Source, check_places, check_rows, named
from groundr1.data.validation.summary import NEAR_FILE, REJECTED_FILE, SUMMARY_FILE, summarise
from groundr1.storage import alone_in, read_json, write_json

__all__ = ["InvalidRow", "Validation", "load_validation", "validate"]

logger = logging.getLogger(__name__)

EARLY_LOOK = 1000  # rows with boxes after which their frame is judged, and again at the end


class InvalidRow(ValueError):
    """The first bad row of a file, in strict mode; the message names file, line, fault and fix."""


@dataclass(frozen=True)
class Validation:
    """A finished validation.

    Attributes:
        folder: holds `clean/` (the data set), `rows/` (the ledger: a line for every row read), `rejected.csv`,
            `near_duplicates.csv`, `summary.json`, `report.html`.
        counts: what `summary.json` holds: rows, clean, rejected, faults, sources, boxes, pictures, notes,
            near_duplicates, near_other_splits, limits.
    """

    folder: Path
    counts: dict[str, Any]

    @cached_property
    def dataset(self) -> Dataset:
        """The clean rows, `EXAMPLE_FEATURES`, mapped into memory, in the order of the source.

        Raises:
            DamagedPart: a part of it cannot be read, or is not there.
        """
        dataset = Parts(self.folder).dataset()
        if len(dataset) != self.counts["clean"]:
            raise DamagedPart(
                f"{self.folder} holds {len(dataset)} clean rows of {self.counts['clean']}: parts are lost. Delete it"
                " and validate again."
            )
        return dataset

    @cached_property
    def rejected(self) -> pd.DataFrame:
        """The rows set aside: file, line, id, source, fault, reason."""
        return _table(self.folder / REJECTED_FILE)

    @cached_property
    def near_duplicates(self) -> pd.DataFrame:
        """Pictures that look like one of another split, or an earlier one, at most 10,000 of each.

        Columns file, line, id, other_file, other_line, other_id, bits, other_split (its folder; "" of an earlier one).
        """
        return _table(self.folder / NEAR_FILE)

    @property
    def report(self) -> Path:
        """The report, one page of HTML."""
        return self.folder / REPORT_FILE


def validate(
    source: Source | Sequence[Source],
    out: str | Path,
    *,
    form: str = "jsonl",
    image_root: str | Path | None = None,
    strict: bool = False,
    against: str | Path | Sequence[str | Path] = (),
    shard: tuple[int, int] = (0, 1),
    workers: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    redo: bool = True,
    progress: bool = True,
) -> Validation:
    """Check every row and picture of a training set, and write down what was found.

    A pass that was killed is taken up again when it is asked for with the same settings and the files have not
    changed; a finished one is done anew, because files may have been mended and pictures have come since
    (`load_validation` opens it as it is). Rows without an id get one of file name and line, and where that is taken,
    "~2" at its end; stated ids that repeat are set aside.

    Args:
        source: a file, a `datasets.Dataset` (columns as of `row_streams.stream`), or a list of these.
        out: folder to write to, by one process at a time; one that holds anything else is refused, a finished pass of
            other sources or settings too.
        form: of the files, one of `row_streams.FORMS`.
        image_root: the folder that holds the pictures, out of which no path may lead; None where rows hold theirs.
        strict: stop at the first bad row.
        against: folder of another split, validated before, or several; rows of theirs are set aside here.
        shard: (index, count): only every count-th row, beginning with row index; duplicates are found within a shard.
        workers: threads that decode; None for one a core.
        limits: bounds of the pictures.
        redo: False opens a finished pass with the same settings over unchanged files as it is.
        progress: show a bar.

    Returns:
        The validation; its report is written.

    Raises:
        InvalidRow: a bad row, in strict mode.
        TypeError, ValueError: what is asked for cannot be; a source as a whole is of another form, or its boxes are in
            another frame; another process writes to the folder.
        FileNotFoundError: source, image root or another split is not there.
        FileExistsError: the folder holds something else.
    """
    folder, sources = Path(out), named(source)
    splits = [against] if isinstance(against, str | Path) else list(against)
    check_places(sources, image_root, splits, folder)
    if folder.resolve() in [Path(each).resolve() for each in splits]:
        raise ValueError(f"{folder} is to be written and compared against; give another folder.")
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} must be at least 1, or None for one a core.")
    folders = [load_validation(each).folder for each in splits]
    root = existing_root(image_root)
    check_rows(sources, form, root, shard)
    settings = {"form": form, "image_root": root, "shard": shard, "strict": strict, "limits": limits}
    asked = asked_for(sources, splits, settings)
    check_folder(folder, asked)
    if not redo and is_finished(folder, asked):
        return load_validation(folder)
    others = OtherSplits(folders)
    with alone_in(folder, "validation"), warnings.catch_warnings():
        # What is a bomb is for `limits` to say; a page of 94 megapixels of Visual-CoT is none.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        parts = begin(folder, asked)
        done = parts.num_rows()
        if done:
            logger.info("%s: %d rows were checked before; going on behind them", folder, done)
        with closing(_rest(sources, form, root, shard, done, limits, workers)) as rows:
            bar = tqdm(rows, "validating", initial=done, unit="row", disable=not progress)
            _fill(parts, Memory(FORMS[form].frame, others), bar, strict)
        names = {"sources_read": [name for name, _ in sources]}
        counts = summarise(parts, others, folder, {**asked["settings"], **names})
        write_report(parts, counts, folder / REPORT_FILE)
        write_json(folder / SUMMARY_FILE, counts)  # last: it says that the rest is there
    logger.info("%s", _told(counts, folder))
    return Validation(folder, counts)


def load_validation(folder: str | Path) -> Validation:
    """Open a finished validation.

    Raises:
        FileNotFoundError: there is none.
    """
    summary = Path(folder) / SUMMARY_FILE
    if not summary.is_file():
        raise FileNotFoundError(
            f"{folder} holds no finished validation; run validate with out={str(folder)!r}."
        )
    return Validation(Path(folder), read_json(summary))


def _rest(
    sources: Sequence[tuple[str, Source]],
    form: str,
    root: Path | None,
    shard: tuple[int, int],
    done: int,
    limits: Limits,
    workers: int | None,
) -> Iterator[tuple[str, Judged]]:
    """Rows behind the first `done` of all sources, each with the name of its source."""
    for name, source in sources:
        rows = stream(source, form, shard=shard)
        done -= sum(1 for _ in islice(rows, done))
        for row in judged(rows, root, FORMS[form].marker, limits, workers):
            yield name, row


def _fill(parts: Parts, memory: Memory, rows: Iterable[tuple[str, Judged]], strict: bool) -> None:
    """Write parts until the rows end, behind those that are complete.

    Raises:
        InvalidRow: a bad row, in strict mode.
        ValueError: the boxes are in another frame; seen early, or at the end.
        RuntimeError: the ledger has not as many rows as were read.
    """
    num_rows = parts.num_rows()
    for record in parts.records(Memory.COLUMNS):
        memory.remember(record)
    part = parts.new()
    try:
        for file, row in rows:
            num_rows += 1
            record = memory.take(file, row)
            if strict and record["fault"]:
                raise InvalidRow(f"{file}, line {row.line}: {record['reason']} ({record['fault']})")
            part.add(record, row.example)
            if len(part) == PART_ROWS:
                part.complete()
                part = parts.new()
            if memory.tallies[file].counts["rows"] == EARLY_LOOK:
                memory.refuse_frame()
        memory.refuse_frame()
        if len(part):
            part.complete()
    finally:
        part.abandon()
    if parts.num_rows() != num_rows:
        raise RuntimeError(
            f"{num_rows} rows were read, {parts.num_rows()} are in the ledger: rows were lost, or something else writes"
            f" to the folder. Delete {parts.rows.parent} and validate again."
        )


def _table(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.astype({name: "int64" for name in ("line", "other_line", "bits") if name in frame})


def _told(counts: dict[str, Any], folder: Path) -> str:
    """The summary in a few lines."""
    lines = [f"{counts['rows']} rows read, {counts['clean']} kept, {counts['rejected']} set aside: {folder}"]
    lines += [f"  {number} {fault}" for fault, number in counts["faults"].items()]
    if counts["near_duplicates"]:
        lines.append(f"  {counts['near_duplicates']} pictures look like an earlier one (kept)")
    if counts["near_other_splits"]:
        lines.append(f"  {counts['near_other_splits']} pictures look like one of another split (kept)")
    return "\n".join(lines)
