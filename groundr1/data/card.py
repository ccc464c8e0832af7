"""The card of a data set: what is in it, what was left out and why, and how it was made, in `datasets`' own form.

The YAML head of README.md tells `datasets.load_dataset` which files are the data and what their columns are; people
read the rest.

>>> write_card(folder, dataset=dataset, name="Mine", source="...", command="...")            # doctest: +SKIP
>>> datasets.load_dataset(str(folder), split="train")                                        # doctest: +SKIP
"""

import hashlib
import importlib.metadata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, DatasetInfo
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData  # comes with datasets

from groundr1.data.balance import scale_distribution

__all__ = ["write_card"]

CARD = "README.md"
MOST_ROWS = 40  # of a table of sources; the rest is one line
SIZES = (
    ("n<1K", 10**3),
    ("1K<n<10K", 10**4),
    ("10K<n<100K", 10**5),
    ("100K<n<1M", 10**6),
    ("1M<n<10M", 10**7),
)
LICENCE = "unknown: that of the source"


def write_card(
    folder: str | Path,
    *,
    dataset: Dataset,
    name: str,
    source: str,
    command: str,
    set_aside: Mapping[str, int] | None = None,
    distribution: pd.DataFrame | None = None,
    hashes: Mapping[str, str] | None = None,
    licence: str = LICENCE,
    data_files: str = "clean/*.arrow",
) -> Path:
    """Write the card of a checked data set beside its files, as <folder>/README.md.

    Args:
        folder: holds the data files.
        dataset: the rows that were kept, in the form of `EXAMPLE_FEATURES`.
        name: title of the card.
        source: what it was made from.
        command: how it was made, so that somebody can make it again.
        set_aside: kind of fault -> rows that are not in it for that reason; None where nothing was checked.
        distribution: what `balance.scale_distribution` gives for the rows, if it is known; pictures' headers are read
            otherwise.
        hashes: what was read -> its SHA-256, such as the annotation file; those of the data files are added.
        licence: of the pictures and questions. This kit cannot know it: the default says so.
        data_files: pattern, below the folder, of the Arrow files that hold the rows.

    Returns:
        The path of the card. The same arguments give the same bytes.

    Raises:
        FileNotFoundError: no file fits `data_files`.
    """
    folder = Path(folder)
    paths = sorted(folder.glob(data_files))
    if not paths:
        raise FileNotFoundError(
            f"There is no {data_files} in {folder}; save the data set there, then write its card."
        )
    table = scale_distribution(dataset) if distribution is None else distribution
    sections = [
        f"# {_line(name)}",
        "Questions about pictures, with the evidence annotated where the source has it. Made by groundr1"
        f" {importlib.metadata.version('groundr1')}, a kit for Ground-R1 (arXiv 2505.20272).",
        _contents(dataset, table),
        _kept(len(dataset), set_aside),
        f"## How it was made\n\nFrom: {_line(source)}\n\n```\n{command.replace('```', '')}\n```",
        _files(folder, paths, hashes or {}),
        f"## Licence\n\n{_line(licence)}. Pictures that the rows name by path are files on the machine where this was"
        " made, and are no part of this folder.",
    ]
    head = _head(dataset, name, data_files, sum(path.stat().st_size for path in paths))
    card = DatasetCard(f"---\n{head.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n")
    card.save(folder / CARD)
    return folder / CARD


def _head(dataset: Dataset, name: str, data_files: str, num_bytes: int) -> DatasetCardData:
    num = len(dataset)
    head = DatasetCardData(
        license="unknown",
        pretty_name=_line(name),
        task_categories=["visual-question-answering"],
        size_categories=[next((word for word, limit in SIZES if num < limit), "10M<n<100M")],
        tags=["groundr1", "visual-grounding"],
    )
    split = SplitInfo("train", num_bytes=num_bytes, num_examples=num)
    info = DatasetInfo(
        features=dataset.features,
        splits=SplitDict({"train": split}),
        dataset_size=num_bytes,
        download_size=num_bytes,
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(head)
    MetadataConfigs(
        {"default": {"data_files": [{"split": "train", "path": data_files}]}}
    ).to_dataset_card_data(head)
    return head


def _contents(dataset: Dataset, distribution: pd.DataFrame) -> str:
    pairs = Counter(zip(dataset["source"], dataset["kind"], strict=True)).most_common()
    rows = [(source, kind, num) for (source, kind), num in pairs[:MOST_ROWS]]
    if len(pairs) > MOST_ROWS:
        rows.append((f"{len(pairs) - MOST_ROWS} others", "", sum(num for _, num in pairs[MOST_ROWS:])))
    scales = [
        (scale, count, "" if pd.isna(share) else f"{100 * share:.1f} %")
        for scale, count, share in distribution[["scale", "count", "share"]].itertuples(index=False)
    ]
    return "\n\n".join(
        [
            f"## What is in it\n\n{len(dataset):,} rows. `kind` says how an answer is compared; `boxes` are corners in"
            " pixels of the upright picture.",
            _table(("source", "kind of answer", "rows"), rows),
            "Area of the evidence (hull of a row's boxes) as a share of the picture: small below 10 %, medium 10 to"
            " 30 %, large above 30 %.",
            _table(("evidence", "rows", "share of the annotated"), scales),
        ]
    )


def _kept(num: int, set_aside: Mapping[str, int] | None) -> str:
    if set_aside is None:
        return "## What was set aside\n\nThe rows were taken as they are, without a check."
    left_out = sum(set_aside.values())
    text = (
        f"## What was set aside\n\nOf {num + left_out:,} rows {num:,} were kept and {left_out:,} set aside."
    )
    rows = sorted(set_aside.items(), key=lambda item: (-item[1], item[0]))
    return f"{text}\n\n{_table(('reason', 'rows'), rows)}" if rows else text


def _files(folder: Path, paths: Sequence[Path], hashes: Mapping[str, str]) -> str:
    rows: list[tuple[Any, ...]] = [(name, "read", digest) for name, digest in sorted(hashes.items())]
    for path in paths:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        rows.append((path.relative_to(folder).as_posix(), f"{path.stat().st_size:,} bytes", digest))
    return "## Files\n\n" + _table(("file", "size", "SHA-256"), rows)


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [
        " | ".join(f"{cell:,}" if isinstance(cell, int) else _line(cell) for cell in row) for row in rows
    ]
    return "\n".join(f"| {line} |" for line in lines)


def _line(text: Any) -> str:
    """Text of a data set in one line, none of whose signs means anything in Markdown tables or HTML."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
