"""What a validation found, counted from its ledger: summary, rejected rows, pictures that look alike."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from groundr1.data.checks import BOX_STATES
from groundr1.data.validation.duplicates import NEAR, distances, near_duplicates
from groundr1.data.validation.ledger import Parts, replaced

__all__ = ["NEAR_FILE", "REJECTED_FILE", "SUMMARY_FILE", "summarise"]

REJECTED_FILE, NEAR_FILE, SUMMARY_FILE = "rejected.csv", "near_duplicates.csv", "summary.json"
REJECTED = ("file", "line", "id", "source", "fault", "reason")
MOST_SOURCES = 40  # that are listed, as in the data set card; the rest is one line
OTHERS = "(all others)"
CANDIDATES = 10_000  # sources counted at once: a source may be an address, another in each row
LISTED = 10_000  # pairs of pictures that look alike which are listed; all are counted


def summarise(parts: Parts, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Count the ledger, write `rejected.csv` and `near_duplicates.csv`.

    Returns:
        What `summary.json` is to hold: settings; rows, clean, rejected; faults (kind -> rows, most first); sources
        (source -> rows, clean, rejected; the 40 with most rows, then all others as one); boxes (source -> state of the
        worst box -> rows); formats and modes of the pictures, notes (-> rows); pictures (distinct ones among the clean
        rows) and near_duplicates (those that look like an earlier one).
    """
    counted = {name: Counter[Any]() for name in ("fault", "source", "kept", "box", "format", "mode", "note")}
    listed = _common_sources(parts)
    with (
        replaced(folder / REJECTED_FILE) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, REJECTED, extrasaction="ignore")
        writer.writeheader()
        for record in parts.records((*REJECTED, "box_state", "format", "mode", "notes")):
            _count(counted, record, record["source"] if record["source"] in listed else OTHERS)
            if record["fault"]:
                writer.writerow(record)
    sources = sorted(counted["source"], key=lambda name: (name == OTHERS, name))
    num_rows, num_clean = counted["source"].total(), counted["kept"].total()
    num_rejected, num_stored = counted["fault"].total(), parts.num_clean()
    if num_rows != parts.num_rows() or num_rows != num_clean + num_rejected or num_stored != num_clean:
        raise RuntimeError(
            f"{folder}: {num_rows} rows read, {num_clean} kept and {num_rejected} set aside, {num_stored} in the data"
            " set: rows were lost. Delete the folder and validate again."
        )
    num_pictures, pairs = _alike(parts)
    _write_pairs(parts, pairs[:, :LISTED], folder / NEAR_FILE)
    return {
        **settings,
        "rows": num_rows,
        "clean": num_clean,
        "rejected": num_rejected,
        "faults": dict(counted["fault"].most_common()),
        "sources": {
            name: {"rows": rows, "clean": counted["kept"][name], "rejected": rows - counted["kept"][name]}
            for name, rows in zip(sources, map(counted["source"].get, sources), strict=True)
        },
        "boxes": {
            name: {
                state: counted["box"][name, state]
                for state in (*BOX_STATES, "none", "unknown")
                if counted["box"][name, state]
            }
            for name in sources
        },
        "formats": dict(counted["format"].most_common()),
        "modes": dict(counted["mode"].most_common()),
        "notes": dict(counted["note"].most_common()),
        "pictures": num_pictures,
        "near_duplicates": pairs.shape[1],
    }


def _common_sources(parts: Parts) -> set[str]:
    """The sources with most rows; of very many those that keep coming, so that memory does not grow with them."""
    counted = Counter[str]()
    for table in parts.tables(("source",)):
        counted.update(table["source"].to_pylist())
        if len(counted) > CANDIDATES:
            counted = Counter(dict(counted.most_common(CANDIDATES)))
    return {name for name, _ in counted.most_common(MOST_SOURCES)}


def _count(counted: Mapping[str, Counter[Any]], record: Mapping[str, Any], source: str) -> None:
    counted["source"][source] += 1
    counted["box"][source, record["box_state"]] += 1
    if record["fault"]:
        counted["fault"][record["fault"]] += 1
    else:
        counted["kept"][source] += 1
    if record["format"]:
        counted["format"][record["format"]] += 1
        counted["mode"][record["mode"]] += 1
    if record["notes"]:
        counted["note"].update(record["notes"].split("; "))


def _alike(parts: Parts) -> tuple[int, np.ndarray]:
    """Number of distinct pictures of the clean rows, and (2, n): rows of those that look like an earlier one, of which.

    Rows are numbered through the ledger; 24 bytes a picture are held.
    """
    known = np.empty(0, np.uint64)
    hashes, rows = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    number = 0
    for table in parts.tables(("fault", "sha256", "perceptual")):
        places = pa.array(np.arange(number, number + len(table)))
        number += len(table)
        table = table.append_column("row", places).filter(pc.equal(table["fault"], ""))
        keys = np.array([int.from_bytes(each[:8], "big") for each in table["sha256"].to_pylist()], np.uint64)
        distinct, first = np.unique(keys, return_index=True)
        is_new = ~np.isin(distinct, known, assume_unique=True)
        known = np.union1d(known, distinct[is_new])
        table = table.take(np.sort(first[is_new]))
        table = table.filter(pc.is_valid(table["perceptual"]))
        hashes.append(table["perceptual"].to_numpy())
        rows.append(table["row"].to_numpy())
    hashes, rows = np.concatenate(hashes), np.concatenate(rows)
    nearest = near_duplicates(hashes, NEAR)
    alike = np.flatnonzero(nearest >= 0)
    bits = distances(hashes[alike], hashes[nearest[alike]])
    return len(known), np.stack([rows[alike], rows[nearest[alike]], bits.astype(np.int64)])


def _write_pairs(parts: Parts, pairs: np.ndarray, path: Path) -> None:
    wanted = set(pairs[:2].reshape(-1).tolist())
    told = {number: record for number, record in _numbered(parts) if number in wanted}
    with replaced(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "line", "id", "other_file", "other_line", "other_id", "bits"))
        for row, other, bits in pairs.T.tolist():
            writer.writerow((*told[row].values(), *told[other].values(), bits))


def _numbered(parts: Parts) -> Iterator[tuple[int, dict[str, Any]]]:
    return enumerate(parts.records(("file", "line", "id")))
