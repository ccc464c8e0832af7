"""Rows of a file that is one JSON array, read one at a time: such files have gigabytes.

Python's `json` only loads a whole text; here its decoder is given as much of the file as the next row needs.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from groundr1.data.rows import BadRow, Row, as_row

__all__ = ["read_array"]

CHUNK = 1 << 20  # characters read at once
LONGEST_ROW = 64 * 2**20  # characters; a row that does not end within them is none
SPACE = re.compile(r"[ \t\r\n]*")


def read_array(path: Path) -> Iterator[tuple[int, Row | BadRow]]:
    """Yield the number (from 1) of each element of a JSON array, with the object, or what is wrong with it.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is no JSON array in UTF-8, or damaged; the message says after which row. What follows the damage
            cannot be told apart, so nothing is set aside in its place.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no annotation file {path}; download it, or correct the path.")
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, value in enumerate(_elements(stream), start=1):
                yield number, as_row(value)
    except (
        ValueError,
        RecursionError,
    ) as error:  # ValueError: also a number of more digits than Python reads
        raise ValueError(
            f"{path} is no JSON array in UTF-8, or damaged after row {number} ({error}); download it again."
        ) from error


def _elements(stream: TextIO) -> Iterator[object]:
    window = _Window(stream)
    window.take("[")
    if window.peek() != "]":
        yield window.value()
        while window.peek() == ",":
            window.take(",")
            yield window.value()
    window.take("]")
    window.take("")


class _Window:
    """The part of a text file that is at hand, and where in it reading goes on."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.decoder = json.JSONDecoder()
        self.text, self.at = "", 0

    def peek(self) -> str:
        """The next sign that is no white space, "" at the end of the file."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()
            if self.at < len(self.text) or not self._more():
                return self.text[self.at : self.at + 1]

    def take(self, sign: str) -> None:
        """Go on behind a sign, which must come next."""
        if self.peek() != sign:
            raise json.JSONDecodeError(f"{self.peek()!r} where {sign!r} should be", self.text, self.at)
        self.at += len(sign)

    def value(self) -> object:
        """The next value, with as much more of the file as it takes."""
        self.peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError:  # not kept: it holds the text, and a cycle would keep it alive
                if not self._more():
                    raise
                continue
            after = SPACE.match(self.text, end).end()
            if self.text[after : after + 1] in (",", "]"):  # else a number may go on
                self.at = after
                return value
            if not self._more():
                raise json.JSONDecodeError("neither ',' nor ']' where it should be", self.text, after)

    def _more(self) -> bool:
        """Read on, unless the value at hand is too long already; False if nothing came."""
        rest = len(self.text) - self.at
        more = self.stream.read(max(CHUNK, rest)) if rest <= LONGEST_ROW else ""
        self.text, self.at = self.text[self.at :] + more, 0
        return bool(more)
