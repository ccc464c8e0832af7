"""One pass over a training set before anything is trained on it: what is kept, what is set aside, and why.

>>> found = validate("train_33k.jsonl", "validated/viscot", form="viscot", image_root="cot")     # doctest: +SKIP
>>> found.dataset, found.rejected, found.counts["faults"], found.report                          # doctest: +SKIP

Every row and every picture is checked (`row_judge`, `picture_check`, `checks`), on all cores; boxes in another frame
than the form has are refused (`frames`); the same question on the same picture counts once, and what is in another
split is set aside (`duplicates`, `leakage`). No row is dropped in silence: those kept and those set aside are as many
as were read. Memory grows by less than 200 bytes a row, whatever the pictures, and a pass that was killed goes on where
it was. Not in the paper: our choice, because a wrong box raises no error, it only makes a worse model.
"""

import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
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
from groundr1.data.validation.leakage import OtherSplits
from groundr1.data.validation.ledger import PART_ROWS, Parts, replaced
from groundr1.data.validation.memory import Memory
from groundr1.data.validation.report import write_report
from groundr1.data.validation.summary import NEAR_FILE, REJECTED_FILE, SUMMARY_FILE, summarise

__all__ = ["InvalidRow", "Validation", "load_validation", "validate"]

logger = logging.getLogger(__name__)

Source = str | Path | Dataset

SETTINGS_FILE = "validation.json"
REPORT_FILE = "report.html"
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
            near_duplicates, limits.
    """

    folder: Path
    counts: dict[str, Any]

    @cached_property
    def dataset(self) -> Dataset:
        """The clean rows, `EXAMPLE_FEATURES`, mapped into memory, in the order of the source."""
        return Parts(self.folder).dataset()

    @cached_property
    def rejected(self) -> pd.DataFrame:
        """The rows set aside: file, line, id, source, fault, reason."""
        return _table(self.folder / REJECTED_FILE)

    @cached_property
    def near_duplicates(self) -> pd.DataFrame:
        """Pictures that look like an earlier one: file, line, id, other_file, other_line, other_id, bits."""
        return _table(self.folder / NEAR_FILE)

    @property
    def report(self) -> Path:
        """The report, one page of HTML."""
        return self.folder / REPORT_FILE


def validate(
    source: Source | Sequence[str | Path],
    out: str | Path,
    *,
    form: str = "jsonl",
    image_root: str | Path | None = None,
    strict: bool = False,
    against: Sequence[str | Path] = (),
    shard: tuple[int, int] = (0, 1),
    workers: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    redo: bool = True,
    progress: bool = True,
) -> Validation:
    """Check every row and picture of a training set, and write down what was found.

    A pass that was killed is taken up again when it is asked for with the same settings and the files have not
    changed; a finished one is done anew, because pictures may have come since (`load_validation` opens it as it is).

    Args:
        source: a file, several, or a `datasets.Dataset` (columns as of `row_streams.stream`).
        out: folder to write to; one that holds anything else is refused.
        form: of the files, one of `row_streams.FORMS`.
        image_root: the folder that holds the pictures, out of which no path may lead; None where rows hold theirs.
        strict: stop at the first bad row.
        against: folders of other splits, validated before; rows of theirs are set aside here.
        shard: (index, count): only every count-th row, beginning with row index; duplicates are found within a shard.
        workers: threads that decode; None for one a core.
        limits: bounds of the pictures.
        redo: False opens a finished pass with the same settings over unchanged files as it is.
        progress: show a bar.

    Returns:
        The validation; its report is written.

    Raises:
        InvalidRow: a bad row, in strict mode.
        ValueError: the file as a whole is of another form, or its boxes are in another frame; unknown form or shard.
        FileNotFoundError: source, image root or another split is not there.
        FileExistsError: the folder holds something else.
    """
    folder = Path(out)
    sources: list[Source] = list(source) if isinstance(source, list | tuple) else [source]
    if form not in FORMS:
        raise ValueError(f"form={form!r} is unknown; give one of {', '.join(FORMS)}.")
    if image_root is None and form != "deepeyes" and not all(isinstance(each, Dataset) for each in sources):
        raise ValueError("The files name pictures; give image_root, the folder that holds them.")
    if folder.resolve() in [Path(each).resolve() for each in against]:
        raise ValueError(f"{folder} is to be written and compared against; give another folder.")
    root = existing_root(image_root)
    settings = {
        "sources_read": [_identity(each) for each in sources],
        "form": form,
        "image_root": str(root),
        "against": [_identity(Path(each) / SUMMARY_FILE) for each in against],
        "shard": list(shard),
        "strict": strict,
        "limits": asdict(limits),
    }
    if not redo and (folder / SUMMARY_FILE).is_file() and _has_settings(folder, settings):
        return load_validation(folder)
    parts = _begin(folder, settings)
    done = parts.num_rows()
    if done:
        logger.info("%s: %d rows were checked before; going on behind them", folder, done)
    others = OtherSplits([Path(each) for each in against])
    with closing(_rest(sources, form, root, shard, done, limits, workers)) as rows, warnings.catch_warnings():
        # What is a bomb is for `limits` to say; a page of 94 megapixels of Visual-CoT is none.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        bar = tqdm(rows, "validating", initial=done, unit="row", disable=not progress)
        _fill(parts, Memory(FORMS[form].frame, others), bar, strict)
    counts = summarise(parts, folder, {**settings, "sources_read": [_label(each) for each in sources]})
    write_report(parts, counts, folder / REPORT_FILE)
    with replaced(folder / SUMMARY_FILE) as temporary:  # last: it says that the rest is there
        temporary.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
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
    return Validation(Path(folder), json.loads(summary.read_text(encoding="utf-8")))


def _begin(folder: Path, settings: dict[str, Any]) -> Parts:
    """The parts of an unfinished pass with the same settings, else none."""
    parts, kept = Parts(folder), folder / SETTINGS_FILE
    others = [each for each in folder.glob("*") if not each.name.startswith(".writing-")]
    if others and not kept.is_file():
        raise FileExistsError(
            f"{folder} holds other files; give a new folder, or one that validate has filled."
        )
    if not _has_settings(folder, settings) or (folder / SUMMARY_FILE).is_file():
        (folder / SUMMARY_FILE).unlink(missing_ok=True)
        parts.remove()
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(kept) as temporary:
        temporary.write_text(_written(settings), encoding="utf-8")
    return parts


def _has_settings(folder: Path, settings: dict[str, Any]) -> bool:
    kept = folder / SETTINGS_FILE
    return kept.is_file() and kept.read_text(encoding="utf-8") == _written(settings)


def _written(settings: dict[str, Any]) -> str:
    return json.dumps(settings, indent=2)


def _rest(
    sources: Sequence[Source],
    form: str,
    root: Path | None,
    shard: tuple[int, int],
    done: int,
    limits: Limits,
    workers: int | None,
) -> Iterator[tuple[str, Judged]]:
    """Rows behind the first `done` of all sources, each with the name of its file."""
    for source in sources:
        rows = stream(source, form, shard=shard)
        done -= sum(1 for _ in islice(rows, done))
        for row in judged(rows, root, FORMS[form].marker, limits, workers):
            yield _label(source), row


def _fill(parts: Parts, memory: Memory, rows: Iterable[tuple[str, Judged]], strict: bool) -> None:
    """Write parts until the rows end, behind those that are complete.

    Raises:
        InvalidRow: a bad row, in strict mode.
        ValueError: the boxes are in another frame; seen early, or at the end.
    """
    for record in parts.records(Memory.COLUMNS):
        memory.remember(record)
    part = parts.new()
    try:
        for file, row in rows:
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


def _label(source: Source) -> str:
    return "the data set" if isinstance(source, Dataset) else str(source)


def _identity(source: Source) -> dict[str, Any]:
    """What tells whether a source is still the same."""
    if isinstance(source, Dataset):
        return {"fingerprint": source._fingerprint, "rows": len(source)}
    path = Path(source).absolute()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {source}; download it, or correct the path.")
    facts = path.stat()
    return {"file": str(path), "bytes": facts.st_size, "changed": facts.st_mtime_ns}


def _table(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.astype({name: "int64" for name in ("line", "other_line", "bits") if name in frame})


def _told(counts: dict[str, Any], folder: Path) -> str:
    """The summary in a few lines."""
    lines = [f"{counts['rows']} rows read, {counts['clean']} kept, {counts['rejected']} set aside: {folder}"]
    lines += [f"  {number} {fault}" for fault, number in counts["faults"].items()]
    if counts["near_duplicates"]:
        lines.append(f"  {counts['near_duplicates']} pictures look like an earlier one (kept)")
    return "\n".join(lines)
