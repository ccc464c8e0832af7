"""Writing files so that neither a kill nor a full disk leaves half of one: temporary file, flush, rename.

Not in the paper: our choice, because runs are killed and resumed.
"""

import errno
import fcntl
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

LOCK_FILE = "lock"
_TEMPORARY = ".writing-"
_REPLACED = ".replaced-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class NoSpaceError(OSError):
    """A file does not fit on its disk, or into the quota; what was there before is as it was."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on leaving, flush it to disk and rename it to `path`.

    The temporary name keeps the name of `path` at its end, for writers that go by the suffix. Missing
    folders are made. If the block raises, the temporary file is removed and `path` keeps what it had.

        >>> with atomic_write("runs/grpo/summary.json") as temporary:      # doctest: +SKIP
        ...     temporary.write_text("{}")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=_TEMPORARY, suffix=f"-{path.name}", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private to their owner; results are read by others as any file of the user is.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        _flush_to_disk(temporary)
        os.replace(temporary, path)
        _flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def explains_full_disk(path: str | Path, needed: int) -> Iterator[None]:
    """Turn what a full disk makes of writing `path`, `needed` bytes in all, into one `NoSpaceError`.

    Anything else passes. Of libraries that hide the system's error, safetensors leaves its number in the
    text and torch only the name of its writer's source file.
    """
    free = _free_bytes(Path(path))
    try:
        yield
    except NoSpaceError:
        raise
    except Exception as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = int(found[1]) if found else getattr(error, "errno", None)
        if number not in _FULL and not (isinstance(error, RuntimeError) and "inline_container" in str(error)):
            raise
        reason = os.strerror(number) if number else "the writer stopped half way"
        raise NoSpaceError(
            f"{path} could not be written ({reason}): it takes {_readable(needed)}; its disk had {_readable(free)} free"
            f" at the start and {_readable(_free_bytes(Path(path)))} at the end, if no quota allows less. What was"
            " complete before is untouched. Make room there, then start the same command again: a run goes on from its"
            " last checkpoint."
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically; raises `NoSpaceError` when the disk is full."""
    with explains_full_disk(path, len(content)), atomic_write(path) as temporary:
        temporary.write_bytes(content)


def unfinished_folder(folder: Path) -> Path:
    """Where to write a folder that `replace_folder` then puts in its place; the same path in all processes."""
    return folder.with_name(f"{_TEMPORARY}{folder.name}")


def replace_folder(unfinished: Path, folder: Path) -> None:
    """Flush `unfinished` to disk and put it in the place of `folder`.

    A kill leaves the old folder or the new one; `remove_unfinished` puts the old one back where the kill fell
    between the two renames.
    """
    flush_folder(unfinished)
    aside = folder.with_name(f"{_REPLACED}{folder.name}")
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    unfinished.rename(folder)
    _flush_to_disk(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder so that a kill leaves no half of it under its name."""
    gone = unfinished_folder(folder)
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone)


def flush_folder(folder: Path) -> None:
    """Flush all files under `folder`, and their names, to disk."""
    for path in [*folder.rglob("*"), folder]:
        _flush_to_disk(path)


def remove_unfinished(folder: str | Path) -> int:
    """Remove what killed writers left anywhere under `folder`, temporary files and folders; returns their
    number.
    """
    for aside in list(Path(folder).rglob(f"{_REPLACED}*")):
        place = aside.with_name(aside.name.removeprefix(_REPLACED))
        if place.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(place)
    leftovers = list(Path(folder).rglob(f"{_TEMPORARY}*"))
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # gone already with the folder that it lay in
    return len(leftovers)


@contextmanager
def alone_in(folder: Path, work: str) -> Iterator[None]:
    """Hold a folder's lock, making the folder; the system lets go of it when the process ends, however it ends.

    Args:
        folder: one process at a time is to write to.
        work: what it does there, for the message.

    Raises:
        ValueError: another process holds the lock, whose number is named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(
                f"Another {work} is writing to {folder} (process {file.read() or 'unknown'}); wait for it, or choose"
                " another folder."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def is_temporary(path: Path) -> bool:
    """Whether `path` is what a writer that is under way, or was killed, has not renamed yet."""
    return path.name.startswith(_TEMPORARY)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ValueError naming the file if it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is not JSON ({error}). It was edited or damaged: mend it, or delete it."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__} where a JSON object is expected.")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content`, made JSON by `as_json`, indented and atomically."""
    write_bytes(path, (json.dumps(as_json(content), indent=2, allow_nan=False) + "\n").encode())


def as_json(value: Any) -> Any:
    """`value` as it reads back from JSON, so that what is asked for compares with what is recorded.

    Tuples and sets become lists (sets sorted), dataclasses and mappings dicts, paths texts, arrays and
    tensors lists, NaN and infinities null. Raises TypeError for anything else JSON has no word for.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(as_json(item) for item in value)
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy and torch, arrays and scalars
        return as_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"A value of type {type(value).__name__} cannot be recorded as JSON: {value!r}.")


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free_bytes(path: Path) -> int:
    """Free bytes on the disk that holds `path`, or will."""
    return shutil.disk_usage(next(each for each in path.absolute().parents if each.exists())).free


def _readable(size: int) -> str:
    unit, name = next(
        (each for each in [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")] if size >= each[0]), (1, "bytes")
    )
    return f"{size / unit:.3g} {name}"
