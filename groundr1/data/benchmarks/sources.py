"""From what a user names, a file, a folder, an id of the Hub or rows, to the stream of a benchmark's rows."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from groundr1.data.benchmarks.files import (
    SourceRow,
    hub_rows,
    mapping_rows,
    parquet_rows,
    refcoco_dataset,
    rows_of_file,
)
from groundr1.data.benchmarks.table import Benchmark, HubId, plain_name

__all__ = ["open_source", "split_files"]

HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:/([\w.-]+))?")


def open_source(benchmark: Benchmark, source: Any) -> tuple[str, Iterator[SourceRow], Path | None]:
    """Open what `read_benchmark` takes as source.

    Returns:
        Its name for messages, its rows, and the default folder of its pictures, None where it has no place of its own.

    Raises:
        FileNotFoundError: no such file, and no id of the Hub either.
        ValueError: several versions of the benchmark are there, or none that could be read.
    """
    if not isinstance(source, str | Path):
        name = getattr(getattr(source, "info", None), "dataset_name", None) or f"rows of {benchmark.title}"
        place = f"{name}/{getattr(source, 'split', None)}"
        return str(name), _with_dataset(benchmark, mapping_rows(source), place), None
    path = Path(source)
    pictures = path.with_name(f"{path.name}.pictures")
    if path.is_dir():
        parts = [
            _with_dataset(benchmark, parquet_rows(files), f"{path.absolute()}/{split}")
            for split, files in split_files(benchmark, path)
        ]
        return str(path), _chained(parts), pictures
    if path.is_file() or path.suffix in (".jsonl", ".json", ".tsv", ".parquet"):
        root = path.parent if path.suffix in (".jsonl", ".json") else pictures
        return str(path), _with_dataset(benchmark, rows_of_file(path), str(path.absolute())), root
    found = HUB_ID.fullmatch(str(source))
    if found is None:
        raise FileNotFoundError(
            f"There is no {source}; give an existing path, or an id of the Hub as owner/name."
        )
    hub = _hub_id(benchmark, found[1], found[2])
    parts = [
        _with_dataset(benchmark, hub_rows(hub.repository, hub.config, split), f"{hub.repository}/{split}")
        for split in hub.splits
    ]
    return str(source), _chained(parts), None


def split_files(benchmark: Benchmark, folder: Path) -> list[tuple[str, list[Path]]]:
    """The parquet files in a folder that are the benchmark, by split; ValueError if it holds two versions.

    A snapshot of the Hub may hold more: POPE has every question twice, RefCOCO a split "test" that is no official one.
    """
    files = sorted(path for path in folder.rglob("*.parquet") if not path.name.startswith("."))
    if not files:
        raise FileNotFoundError(
            f"There is no parquet file in {folder}; download the data set, or correct the path."
        )
    names = {repository_name(part) for part in folder.absolute().parts}
    hubs = [hub for hub in benchmark.hubs if plain_name(hub.name) in names] or benchmark.hubs
    versions = []
    for hub in hubs:
        parts = [
            (split, [path for path in files if _is_of(path.relative_to(folder), split)])
            for split in hub.splits
        ]
        if any(found for _, found in parts):
            versions.append([(split, found) for split, found in parts if found])
    if benchmark.name == "hrbench" and len(versions) > 1:  # their ids are the same
        raise ValueError(
            f"{folder} holds {' and '.join(each[0][0] for each in versions)}; read one of its files."
        )
    return versions[0] if versions else [("", files)]


def repository_name(folder: str) -> str:
    """Plain name of the repository in a folder's name: "<name>", "<owner>__<name>" or "datasets--<owner>--<name>"."""
    return plain_name(re.split(r"__|--", folder)[-1])


def _is_of(path: Path, split: str) -> bool:
    """Whether a path below a snapshot is of a split, such as data/test-00000-of-00003.parquet."""
    return any(plain_name(part.split("-")[0]) == plain_name(split) for part in path.with_suffix("").parts)


def _hub_id(benchmark: Benchmark, repository: str, split: str | None) -> HubId:
    name = plain_name(repository.rpartition("/")[2])
    known = [hub for hub in benchmark.hubs if plain_name(hub.name) == name]
    fitting = [hub for hub in known if split is None or split in hub.splits]
    if split is None and (not known or benchmark.name == "hrbench"):
        names = ", ".join(f"{hub.repository}/{each}" for hub in benchmark.hubs for each in hub.splits)
        raise ValueError(
            f"{repository} leaves open what to read; add the split. Known for {benchmark.title}: {names}."
        )
    config = (fitting or known)[0].config if known else None
    return HubId(repository, fitting[0].splits if split is None else (split,), config)


def _with_dataset(benchmark: Benchmark, rows: Iterator[SourceRow], place: str) -> Iterator[SourceRow]:
    """RefCOCO's rows do not say their split where the file or folder does."""
    name = refcoco_dataset(place) if benchmark.name == "refcoco" else None
    for each in rows:
        if name is not None and isinstance(each.row, dict):
            each.row.setdefault("dataset", name)
        yield each


def _chained(parts: Sequence[Iterator[SourceRow]]) -> Iterator[SourceRow]:
    """Rows of one part after another; the number is that within the part, the line counts on."""
    line = 0
    for part in parts:
        for each in part:
            line += 1
            yield each._replace(line=line)
