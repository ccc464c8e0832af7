"""Pictures of one split that are in another: what a model was trained on, it must not be tested on.

A row leaks when its picture, byte by byte, is in the other split, whatever is asked about it, or when its question is
asked there about a picture that looks alike (`duplicates.NEAR`). A picture that only looks alike is no leak, because
pages of text do; it is listed (`alike`). Not in the paper: our choice.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from groundr1.data.validation.duplicates import NEAR, distances, first_alike
from groundr1.data.validation.ledger import Parts

__all__ = ["OtherSplits"]

COLUMNS = ("file", "line", "fault", "sha256", "perceptual", "question")


class _Split(NamedTuple):
    """Clean rows of a split: 49 bytes a row."""

    pictures: np.ndarray  # (n,) uint64, first 8 bytes of the sha256, sorted
    by_question: np.ndarray  # order in which the questions are sorted
    questions: np.ndarray
    hashes: np.ndarray
    has_hash: np.ndarray
    rows: np.ndarray  # numbered through the ledger
    lines: np.ndarray
    files: np.ndarray  # index into `names`
    names: list[str]


class OtherSplits:
    """Clean rows of other validated folders.

    Args:
        folders: folders that `validate` has filled.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.splits = [_load(folder) for folder in folders]

    def find(self, sha256: bytes, question: int, perceptual: int | None) -> str | None:
        """What of another split a row repeats, as the end of a sentence; None if nothing."""
        for split in self.splits:
            row = _same_picture(split, sha256)
            if row is not None:
                return f"its picture is that of {_place(split, row)}"
            row = None if perceptual is None else _same_question(split, question, perceptual)
            if row is not None:
                return f"its question is that of {_place(split, row)}, on a picture that looks alike"
        return None

    def alike(self, hashes: np.ndarray) -> Iterator[tuple[Path, np.ndarray]]:
        """Pictures that look like one of another split.

        Args:
            hashes: (n,) uint64, perceptual hashes.

        Yields:
            For each split its folder, and (3, m) int64: index of a hash, number of the first row there that looks like
            it, in its ledger, and the bits in which the two differ.
        """
        for folder, split in zip(self.folders, self.splits, strict=True):
            order = np.argsort(split.rows)
            order = order[split.has_hash[order]]
            nearest = first_alike(hashes, split.hashes[order])
            here = np.flatnonzero(nearest >= 0)
            there = order[nearest[here]]
            yield folder, np.stack([here, split.rows[there], distances(hashes[here], split.hashes[there])])


def _load(folder: Path) -> _Split:
    names: list[str] = []
    columns: list[tuple[np.ndarray, ...]] = []
    number = 0
    for table in Parts(folder).tables(COLUMNS):
        is_clean = pc.equal(table["fault"], "")
        rows = np.arange(number, number + len(table))[is_clean.to_numpy()]
        number += len(table)
        table = table.filter(is_clean)
        files = table["file"].to_pylist()
        names += sorted(set(files) - set(names))
        keys = [int.from_bytes(digest[:8], "big") for digest in table["sha256"].to_pylist()]
        hashes = table["perceptual"]
        columns.append(
            (
                np.array(keys, np.uint64),
                table["question"].to_numpy(),
                pc.fill_null(hashes, 0).to_numpy(),
                pc.is_valid(hashes).to_numpy(),
                rows,
                table["line"].to_numpy(),
                np.array([names.index(each) for each in files], np.int32),
            )
        )
    kinds = (np.uint64, np.uint64, np.uint64, bool, np.int64, np.int64, np.int32)
    pictures, questions, hashes, has_hash, rows, lines, files = (
        np.concatenate([np.empty(0, kind), *each]).astype(kind)
        for kind, each in zip(kinds, zip(*columns, strict=True) if columns else [()] * 7, strict=True)
    )
    order = np.argsort(pictures, kind="stable")
    pictures, questions, hashes, has_hash, rows, lines, files = (
        each[order] for each in (pictures, questions, hashes, has_hash, rows, lines, files)
    )
    by_question = np.argsort(questions, kind="stable").astype(np.int32)
    return _Split(pictures, by_question, questions[by_question], hashes, has_hash, rows, lines, files, names)


def _same_picture(split: _Split, sha256: bytes) -> int | None:
    key = np.uint64(int.from_bytes(sha256[:8], "big"))
    at = int(np.searchsorted(split.pictures, key))
    return at if at < len(split.pictures) and split.pictures[at] == key else None


def _same_question(split: _Split, question: int, perceptual: int) -> int | None:
    key = np.uint64(question)
    start, stop = (int(np.searchsorted(split.questions, key, side)) for side in ("left", "right"))
    rows = split.by_question[start:stop]
    rows = rows[split.has_hash[rows]]
    if not len(rows):
        return None
    near = rows[distances(split.hashes[rows], np.full(len(rows), perceptual, np.uint64)) <= NEAR]
    return int(near[0]) if len(near) else None


def _place(split: _Split, row: int) -> str:
    return f"line {split.lines[row]} of {split.names[split.files[row]]}"
