"""The card of a data set: what is in it, what was left out and why, and how it was made, in `datasets`' own form.

The YAML head of README.md tells `datasets.load_dataset` which files are the data of which split and what their columns
are; people read the rest.

>>> write_card(folder, {"train": CardSplit(dataset, "mine.jsonl")}, name="Mine", command="...")     # doctest: +SKIP
>>> datasets.load_dataset(str(folder), split="train")                                        # doctest: +SKIP
"""

import hashlib
import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, DatasetInfo
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData  # comes with datasets

from groundr1.data.balance import scale_distribution

__all__ = ["CardSplit", "write_card"]

CARD = "README.md"
MOST_ROWS = 40  # of a table of sources; the rest is one line
SIZES = (
    ("n<1K", 10**3),
    ("1K<n<10K", 10**4),
    ("10K<n<100K", 10**5),
    ("100K<n<1M", 10**6),
    ("1M<n<10M", 10**7),
)
# What Markdown, GitHub's too, takes for its own; an underscore within a word, as in the name of a file, is none.
SIGNS = re.compile(r"[\\`*\[\]>|~&$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=www)\.", re.IGNORECASE)
LICENCE = "unknown: that of the source"


@dataclass(frozen=True)
class CardSplit:
    """What the card says of a split.

    Attributes:
        dataset: its rows, in the form of `EXAMPLE_FEATURES`.
        source: what it was made from.
        data_files: pattern, below the card's folder, of the Arrow files that hold the rows.
        set_aside: kind of fault -> rows that were left out for it; None where nothing was checked.
        drawn_from: number of rows that were kept and the rows drawn from; None where all of them were taken.
        distribution: what `balance.scale_distribution` gives for the rows, if it is known; pictures' headers are read
            otherwise.
    """

    dataset: Dataset
    source: str
    data_files: str = "clean/*.arrow"
    set_aside: Mapping[str, int] | None = None
    drawn_from: int | None = None
    distribution: pd.DataFrame | None = None


def write_card(
    folder: str | Path,
    splits: Mapping[str, CardSplit],
    *,
    name: str,
    command: str,
    hashes: Mapping[str, str] | None = None,
    licence: str = LICENCE,
) -> Path:
    """Write the card of a checked data set beside its files, as <folder>/README.md.

    Args:
        folder: holds the data files.
        splits: name -> split, such as "train".
        name: title of the card.
        command: how it was made, so that somebody can make it again.
        hashes: what was read -> its SHA-256, such as the annotation file; those of the data files are added.
        licence: of the pictures and questions. This kit cannot know it: the default says so.

    Returns:
        The path of the card. The same arguments give the same bytes.

    Raises:
        FileNotFoundError: no file fits the `data_files` of a split.
    """
    folder = Path(folder)
    paths = {split: sorted(folder.glob(part.data_files)) for split, part in splits.items()}
    for split, found in paths.items():
        if not found:
            raise FileNotFoundError(
                f"There is no {splits[split].data_files} in {folder}; save the data set there, then write its card."
            )
    origins = "\n\n".join(f"{split}: {_line(part.source)}" for split, part in splits.items())
    sections = [
        f"# {_line(name)}",
        "Questions about pictures, with the evidence annotated where the source has it. Made by groundr1"
        f" {importlib.metadata.version('groundr1')}, a kit for Ground-R1 (arXiv 2505.20272).",
        "## What is in it\n\n`kind` says how an answer is compared; `boxes` are corners in pixels of the upright"
        " picture. Evidence is the hull of a row's boxes; by its share of the picture it is small (below 10 %), medium"
        " (10 to 30 %) or large.",
        *(_contents(split, part) for split, part in splits.items()),
        "## What was set aside",
        *(_kept(split, part) for split, part in splits.items()),
        f"## How it was made\n\n{origins}\n\n```\n{command.replace('```', '')}\n```",
        _files(folder, sum(paths.values(), []), hashes or {}),
        f"## Licence\n\n{_line(licence)}. Pictures that the rows name by path are files on the machine where this was"
        " made, and are no part of this folder.",
    ]
    sizes = {split: sum(path.stat().st_size for path in found) for split, found in paths.items()}
    card = DatasetCard(f"---\n{_head(splits, name, sizes).to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n")
    card.save(folder / CARD)
    return folder / CARD


def _head(splits: Mapping[str, CardSplit], name: str, sizes: Mapping[str, int]) -> DatasetCardData:
    num = sum(len(part.dataset) for part in splits.values())
    head = DatasetCardData(
        license="unknown",
        pretty_name=" ".join(name.split()),
        task_categories=["visual-question-answering"],
        size_categories=[next((word for word, limit in SIZES if num < limit), "10M<n<100M")],
        tags=["groundr1", "visual-grounding"],
    )
    infos = {
        split: SplitInfo(split, num_bytes=sizes[split], num_examples=len(part.dataset))
        for split, part in splits.items()
    }
    info = DatasetInfo(
        features=next(iter(splits.values())).dataset.features,
        splits=SplitDict(infos),
        dataset_size=sum(sizes.values()),
        download_size=sum(sizes.values()),
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(head)
    data_files = [{"split": split, "path": part.data_files} for split, part in splits.items()]
    MetadataConfigs({"default": {"data_files": data_files}}).to_dataset_card_data(head)
    return head


def _contents(split: str, part: CardSplit) -> str:
    pairs = Counter(zip(part.dataset["source"], part.dataset["kind"], strict=True)).most_common()
    rows = [(source, kind, num) for (source, kind), num in pairs[:MOST_ROWS]]
    if len(pairs) > MOST_ROWS:
        rows.append((f"{len(pairs) - MOST_ROWS} others", "", sum(num for _, num in pairs[MOST_ROWS:])))
    distribution = scale_distribution(part.dataset) if part.distribution is None else part.distribution
    scales = [
        (scale, count, "" if pd.isna(share) else f"{100 * share:.1f} %")
        for scale, count, share in distribution[["scale", "count", "share"]].itertuples(index=False)
    ]
    return "\n\n".join(
        [
            f"### {split}: {len(part.dataset):,} rows",
            _table(("source", "kind of answer", "rows"), rows),
            _table(("evidence", "rows", "share of the annotated"), scales),
        ]
    )


def _kept(split: str, part: CardSplit) -> str:
    if part.set_aside is None:
        return f"{split}: the rows were taken as they are, without a check."
    num_kept = len(part.dataset) if part.drawn_from is None else part.drawn_from
    left_out = sum(part.set_aside.values())
    text = f"{split}: of {num_kept + left_out:,} rows {num_kept:,} were kept and {left_out:,} set aside."
    if part.drawn_from is not None:
        text += (
            f" From those kept, {len(part.dataset):,} were drawn by the size of their evidence, as many small as medium"
            " and large; where a size is rare its rows may stand several times."
        )
    rows = sorted(part.set_aside.items(), key=lambda item: (-item[1], item[0]))
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
    """Text of a data set in one line, which Markdown shows as it stands: no link, picture, HTML or end of a cell."""
    return SIGNS.sub(r"\\\g<0>", " ".join(str(text).split())).replace("<", "&lt;")
