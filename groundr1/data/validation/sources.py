"""What a validation is told to read, and where to write: refused here before anything is written or deleted."""

from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from groundr1.data.row_streams import FORMS, stream
from groundr1.data.rows import Draft

__all__ = ["Source", "check_places", "check_rows", "named", "state_of"]

Source = str | Path | Dataset

FIRST_ROWS = 32  # in which a row is looked for that can be parsed


def named(source: Any) -> list[tuple[str, Source]]:
    """Sources, each with the name it has in ledger and messages: its path, else "the data set" or "data set 1".

    Raises:
        TypeError, ValueError, FileNotFoundError: it is none, or not there; the message says what to give.
    """
    sources = list(source) if isinstance(source, list | tuple) else [source]
    if not sources:
        raise ValueError("There is nothing to read; give a file, a list of files, or a datasets.Dataset.")
    for each in sources:
        _check(each)
    num_sets = sum(isinstance(each, Dataset) for each in sources)
    labels = iter(["the data set"] if num_sets == 1 else [f"data set {i + 1}" for i in range(num_sets)])
    return [(next(labels) if isinstance(each, Dataset) else str(each), each) for each in sources]


def _check(source: Any) -> None:
    if isinstance(source, Dataset):
        return
    if isinstance(source, DatasetDict):
        raise TypeError(
            f"A source holds the data sets {', '.join(source)}; give one of them, as source[name]."
        )
    if not isinstance(source, str | Path):
        raise TypeError(
            f"A source is of type {type(source).__name__}; give a file, or a datasets.Dataset, which"
            " Dataset.from_list and Dataset.from_generator make."
        )
    path = Path(source)
    if path.is_dir():
        raise ValueError(
            f"{source} is a folder; give the files in it or, where a data set was saved there,"
            f" datasets.load_from_disk({str(source)!r})."
        )
    if not path.is_file():
        is_pattern = any(sign in str(source) for sign in "*?[")
        hint = (
            f"give sorted(glob.glob({str(source)!r}))" if is_pattern else "download it, or correct the path"
        )
        raise FileNotFoundError(f"There is no file {source}; {hint}.")


def check_places(
    sources: Sequence[tuple[str, Source]],
    image_root: str | Path | None,
    splits: Sequence[str | Path],
    out: Path,
) -> None:
    """Raise ValueError for a path that cannot be written down, FileExistsError for a file where a folder is to be."""
    files = [each for _, each in sources if not isinstance(each, Dataset)]
    for each in (*files, image_root or "", *splits, out):
        try:
            str(Path(each).absolute()).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"The path {ascii(str(each))} is not in UTF-8, and is to be written down in it; rename file or folder."
            ) from error
    if file := next((each for each in (out, *out.parents) if each.is_file()), None):
        raise FileExistsError(f"{file} is a file; {out} is to be a folder.")


def check_rows(
    sources: Sequence[tuple[str, Source]], form: str, image_root: Path | None, shard: tuple[int, int]
) -> None:
    """Look at the first rows, so that what is wrong with a source as a whole is said at once.

    Raises:
        ValueError: no image root, and pictures by path; what `stream` raises.
    """
    if form not in FORMS:
        raise ValueError(f"form={form!r} is unknown; give one of {', '.join(FORMS)}.")
    for name, source in sources:
        with closing(stream(source, form, shard=shard)) as rows:
            drafts = (row for _, row in islice(rows, FIRST_ROWS) if isinstance(row, Draft))
            first = next(drafts, None)
        if image_root is None and first is not None and isinstance(first.image, str):
            raise ValueError(
                f"{name} names its pictures by path ({first.image!r:.200}); give image_root, the folder they lie in."
            )


def state_of(source: Source) -> dict[str, Any]:
    """What tells whether a source is as it was."""
    if isinstance(source, Dataset):
        return {"fingerprint": source._fingerprint, "rows": len(source)}
    facts = Path(source).stat()
    return {"bytes": facts.st_size, "changed": facts.st_mtime_ns}
