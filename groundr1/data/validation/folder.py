"""The folder of a validation: which pass it holds, and what of it a new one may keep."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from groundr1.data.validation.ledger import Parts
from groundr1.data.validation.sources import Source, state_of
from groundr1.data.validation.summary import NEAR_FILE, REJECTED_FILE, SUMMARY_FILE
from groundr1.storage import LOCK_FILE, as_json, read_json, remove_unfinished, write_json

__all__ = ["REPORT_FILE", "asked_for", "begin", "check_folder", "is_finished"]

ASKED_FILE, REPORT_FILE = "validation.json", "report.html"


def asked_for(
    sources: Sequence[tuple[str, Source]], splits: Sequence[str | Path], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What a pass is of, as JSON: its settings, and the state in which its sources and other splits are now."""
    where = [name if isinstance(each, Dataset) else Path(each).absolute() for name, each in sources]
    summaries = [Path(each).absolute() / SUMMARY_FILE for each in splits]
    return as_json(
        {
            "settings": {
                "sources_read": where,
                "against": [each.parent for each in summaries],
                **settings,
            },
            "state": [state_of(each) for each in (*(source for _, source in sources), *summaries)],
        }
    )


def check_folder(folder: Path, asked: Mapping[str, Any]) -> None:
    """Raise FileExistsError where the folder holds a finished pass of something else, or what is no validation."""
    if not (folder / ASKED_FILE).is_file():
        others = (each.name for each in folder.glob("*") if each.name != LOCK_FILE)
        if any(not name.startswith(".") for name in others):
            raise FileExistsError(
                f"{folder} holds other files; give a new folder, or one that validate has filled."
            )
        return
    was, now = read_json(folder / ASKED_FILE).get("settings", {}), asked["settings"]
    differing = [
        f"{name} was {was.get(name)!r}, now {now[name]!r}" for name in now if was.get(name) != now[name]
    ]
    if differing and (folder / SUMMARY_FILE).is_file():
        raise FileExistsError(
            f"{folder} holds the finished validation of something else: {'; '.join(differing)}. Choose another folder,"
            " or delete this one."
        )


def is_finished(folder: Path, asked: Mapping[str, Any]) -> bool:
    """Whether the folder holds a finished pass of what is asked for, its files unchanged."""
    return (folder / SUMMARY_FILE).is_file() and read_json(folder / ASKED_FILE) == asked


def begin(folder: Path, asked: Mapping[str, Any]) -> Parts:
    """The parts of an unfinished pass of what is asked for, else none; what another pass has written is deleted."""
    parts, kept = Parts(folder), folder / ASKED_FILE
    remove_unfinished(folder)
    if (folder / SUMMARY_FILE).is_file() or not kept.is_file() or read_json(kept) != asked:
        for name in (SUMMARY_FILE, REPORT_FILE, REJECTED_FILE, NEAR_FILE):
            (folder / name).unlink(missing_ok=True)
        parts.remove()
        write_json(kept, asked)
    parts.remove_damaged()
    return parts
