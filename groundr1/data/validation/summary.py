"""What a validation found, counted from its ledger: the summary, and the table of rejected rows."""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundr1.data.checks import BOX_STATES
from groundr1.data.validation.alike import write_alike
from groundr1.data.validation.leakage import OtherSplits
from groundr1.data.validation.ledger import Parts
from groundr1.storage import atomic_write

__all__ = ["NEAR_FILE", "REJECTED_FILE", "SUMMARY_FILE", "summarise"]

REJECTED_FILE, NEAR_FILE, SUMMARY_FILE = "rejected.csv", "near_duplicates.csv", "summary.json"
REJECTED = ("file", "line", "id", "source", "fault", "reason")
MOST_SOURCES = 40  # that are listed, as in the data set card; the rest is one line
OTHERS = "(all others)"
CANDIDATES = 10_000  # sources counted at once: a source may be an address, another in each row


def summarise(parts: Parts, others: OtherSplits, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Count the ledger, write `rejected.csv` and `near_duplicates.csv`.

    Returns:
        What `summary.json` is to hold: settings; rows, clean, rejected; faults (kind -> rows, most first); sources
        (source -> rows, clean, rejected; the 40 with most rows, then all others as one); boxes (source -> state of the
        worst box -> rows); formats and modes of the pictures, notes (-> rows); what `write_alike` returns.
    """
    counted = {name: Counter[Any]() for name in ("fault", "source", "kept", "box", "format", "mode", "note")}
    listed = _common_sources(parts)
    with (
        atomic_write(folder / REJECTED_FILE) as temporary,
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
    if num_stored != num_clean:
        raise RuntimeError(
            f"{folder}: {num_rows} rows read, {num_clean} kept and {num_rejected} set aside, {num_stored} in the data"
            " set: rows were lost. Delete the folder and validate again."
        )
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
        **write_alike(parts, others, folder / NEAR_FILE),
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
