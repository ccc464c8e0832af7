"""Checkpoints that are complete by a fact, not by a guess: an index of their files, written last.

transformers writes a checkpoint file by file under its final name, takes any subset of the files for a
checkpoint, and silently goes on without an optimizer or a random state that is not there. So a checkpoint
here has an index, files.json:

    {"step": 20, "complete": false}                                    while it is written
    {"step": 20, "complete": true, "files": {name: {"bytes": ..., "sha256": ...}}}      once all is on disk

From that follows what resuming does with the newest folder:

    index says incomplete, or the folder is empty   a kill cut it short: passed over, the one before is used
    index complete, every file as it says           resumed from
    anything else                                   damaged: `DamagedCheckpointError`, nothing is loaded

A damaged one is not passed over, because no kill leaves one: a disk, a copy or a hand did, the files may yet be
put back, and going on from the one before drops the metrics and rollouts since. Who wants that deletes the
folder, as the error says. Not in the paper: our choice.

Summing up costs one reading of the files from memory, 1.7 GB a second and thread on the machine this was
written on, once after writing and once before resuming.
"""

import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from groundr1.storage import (
    explains_full_disk,
    flush_folder,
    is_temporary,
    read_json,
    remove_folder,
    write_json,
)

__all__ = [
    "INDEX",
    "DamagedCheckpointError",
    "begin",
    "bytes_of",
    "check",
    "complete",
    "keep_newest",
    "newest",
    "emptied_on_error",
    "step_of",
]

logger = logging.getLogger(__name__)

INDEX = "files.json"


class DamagedCheckpointError(ValueError):
    """A checkpoint is not what was written; nothing of it was loaded."""


def step_of(checkpoint: str | Path) -> int:
    """The optimizer step in the name of a checkpoint's folder, "checkpoint-<step>"."""
    return int(Path(checkpoint).name.removeprefix("checkpoint-"))


def begin(checkpoint: Path) -> None:
    """Make the folder in which a checkpoint is going to be written, in place of what a kill left there."""
    if checkpoint.exists():
        remove_folder(checkpoint)
    checkpoint.mkdir(parents=True)
    write_json(checkpoint / INDEX, {"step": step_of(checkpoint), "complete": False})


def complete(checkpoint: Path) -> None:
    """Flush a checkpoint that is written to disk, then say so in its index."""
    flush_folder(checkpoint)
    files = _files(checkpoint)
    with ThreadPoolExecutor() as pool:
        sums = list(pool.map(_sha256, files))
    entries = {
        path.relative_to(checkpoint).as_posix(): {"bytes": path.stat().st_size, "sha256": digest}
        for path, digest in zip(files, sums, strict=True)
    }
    write_json(checkpoint / INDEX, {"step": step_of(checkpoint), "complete": True, "files": entries})


@contextmanager
def emptied_on_error(checkpoint: Path, needed: int) -> Iterator[None]:
    """Empty a checkpoint whose writing fails, so that the disk is not full of it.

    Its index stays, as other processes may still be writing. Raises `NoSpaceError` when it fails because the
    disk is full; `needed`: bytes of a whole one, about.
    """
    try:
        with explains_full_disk(checkpoint, needed):
            yield
    except Exception:
        for path in _files(checkpoint):
            path.unlink(missing_ok=True)
        raise


def newest(folder: Path) -> Path | None:
    """The checkpoint to resume from among those in `folder`; None without one.

    Raises:
        DamagedCheckpointError: It is not what was written. The file and the remedy are named.
    """
    for checkpoint in _newest_first(folder):
        if _is_cut_short(checkpoint):
            logger.warning("%s was not written to its end and is passed over.", checkpoint)
            continue
        check(checkpoint)
        return checkpoint
    return None


def check(checkpoint: Path) -> None:
    """Raise DamagedCheckpointError unless all files of a checkpoint are there, as they were written."""
    faults = _faults(checkpoint)
    if not faults:
        return
    before = [each for each in _newest_first(checkpoint.parent) if step_of(each) < step_of(checkpoint)]
    whole = next((each for each in before if not _is_cut_short(each) and not _faults(each)), None)
    otherwise = f"{whole.name}, which is whole" if whole else "step 0, as no other is whole"
    raise DamagedCheckpointError(
        f"{checkpoint} is damaged: {'; '.join(faults)}. A kill leaves no such checkpoint: a disk, a copy or a hand has"
        f" changed it, and nothing of it was loaded. Put the file back; or delete the folder {checkpoint}, and the run"
        f" goes on from {otherwise}."
    )


def keep_newest(folder: Path, number: int | None, best: str | Path | None = None) -> None:
    """Delete all checkpoints in `folder` but the `number` newest complete ones, and `best`.

    Call it when the newest is complete. None keeps all, and so does 0, as in transformers.
    """
    if not number:
        return
    whole = [each for each in _newest_first(folder) if not _is_cut_short(each)]
    kept = {*whole[:number], *([Path(best)] if best else [])}
    for checkpoint in _newest_first(folder):
        if checkpoint not in kept:
            remove_folder(checkpoint)


def bytes_of(folder: Path) -> int:
    """Size of the newest complete checkpoint in `folder`; 0 without one."""
    for checkpoint in _newest_first(folder):
        if not _is_cut_short(checkpoint):
            return sum(path.stat().st_size for path in _files(checkpoint))
    return 0


def _newest_first(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=step_of, reverse=True)


def _is_cut_short(checkpoint: Path) -> bool:
    if (checkpoint / INDEX).exists():
        try:
            return read_json(checkpoint / INDEX).get("complete") is False
        except ValueError:
            return False  # not a kill's work: it is written atomically
    return not _files(checkpoint)


def _files(checkpoint: Path) -> list[Path]:
    return sorted(
        path
        for path in checkpoint.rglob("*")
        if path.is_file() and path != checkpoint / INDEX and not is_temporary(path)
    )


def _faults(checkpoint: Path) -> list[str]:
    """What is wrong with a checkpoint, each naming its file; sizes first, contents where those agree."""
    if not (checkpoint / INDEX).exists():
        return [f"{INDEX}, the index of its files, is missing"]
    try:
        index: dict[str, Any] = read_json(checkpoint / INDEX)
        step, entries = index["step"], index["files"]
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"{INDEX}, the index of its files, is not readable"]
    if step != step_of(checkpoint):
        return [f"{INDEX}, the index of its files, is of step {step}"]
    faults = []
    for name, (size, _) in expected.items():
        found = (checkpoint / name).stat().st_size if (checkpoint / name).is_file() else None
        if found is None:
            faults.append(f"{name} is missing")
        elif found != size:
            faults.append(f"{name} has {found} of {size} bytes" if found else f"{name} is empty")
    if faults:
        return faults
    with ThreadPoolExecutor() as pool:
        sums = pool.map(_sha256, [checkpoint / name for name in expected])
        return [
            f"{name} has other content than was written"
            for (name, (_, digest)), found in zip(expected.items(), sums, strict=True)
            if found != digest
        ]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
