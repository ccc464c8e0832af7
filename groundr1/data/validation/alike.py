"""Pictures among the rows kept that look like an earlier one, or like one of another split: counted and listed.

None is set aside for it, because pages of text look alike (`duplicates`); a person has to judge.
"""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from groundr1.data.validation.duplicates import distances, near_duplicates
from groundr1.data.validation.leakage import OtherSplits
from groundr1.data.validation.ledger import Parts
from groundr1.storage import atomic_write

__all__ = ["write_alike"]

COLUMNS = ("file", "line", "id", "other_file", "other_line", "other_id", "bits", "other_split")
LISTED = 10_000  # pairs which are listed, of the data set and of each split; all are counted


def write_alike(parts: Parts, others: OtherSplits, path: Path) -> dict[str, int]:
    """Write the table of pictures that look alike, those of other splits first.

    Returns:
        pictures: distinct ones among the rows kept; near_duplicates: those that look like an earlier one;
        near_other_splits: those that look like one of another split.
    """
    num_pictures, hashes, rows = _pictures(parts)
    nearest = near_duplicates(hashes)
    here = np.flatnonzero(nearest >= 0)
    within = np.stack([here, rows[nearest[here]], distances(hashes[here], hashes[nearest[here]])])
    across = list(others.alike(hashes))
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for folder, pairs in [*across, (None, within)]:
            pairs = pairs[:, :LISTED]
            told = _told(parts, rows[pairs[0]])
            told_there = _told(Parts(folder) if folder else parts, pairs[1])
            for row, other, bits in zip(rows[pairs[0]].tolist(), *pairs[1:].tolist(), strict=True):
                writer.writerow((*told[row], *told_there[other], bits, folder or ""))
    return {
        "pictures": num_pictures,
        "near_duplicates": len(here),
        "near_other_splits": len(set().union(*(pairs[0].tolist() for _, pairs in across))),
    }


def _pictures(parts: Parts) -> tuple[int, np.ndarray, np.ndarray]:
    """Of the clean rows: number of distinct pictures, perceptual hashes of those that have one, the first row of each.

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
    return len(known), np.concatenate(hashes), np.concatenate(rows)


def _told(parts: Parts, rows: np.ndarray) -> dict[int, tuple[str, int, str]]:
    """File, line and id of rows of the ledger."""
    wanted = set(rows.tolist())
    records = enumerate(parts.records(("file", "line", "id")))
    return {number: tuple(record.values()) for number, record in records if number in wanted}
