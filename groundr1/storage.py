"""Writing files so that a kill never leaves half of one: temporary file, flush, rename.

Not in the paper: our choice, because runs are killed and resumed.
"""

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

_TEMPORARY = ".writing-"


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


def remove_unfinished(folder: str | Path) -> int:
    """Remove the temporary files that killed writers left anywhere under `folder`; returns their number."""
    leftovers = [path for path in Path(folder).rglob(f"{_TEMPORARY}*") if path.is_file()]
    for path in leftovers:
        path.unlink()
    return len(leftovers)


def is_temporary(path: Path) -> bool:
    """Whether `path` is the temporary file of an `atomic_write` that is under way or was killed."""
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
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(as_json(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


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
