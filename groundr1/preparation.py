"""Pictures prepared while the model is busy: the data loader delivers a batch early, and a thread gets to work.

Accelerate's data loader fetches a batch before it hands out the one before it, so the collator sees the next pictures
a whole step ahead. `PicturesAhead` is that collator: it starts to open, resize and cut them into patches, and
its `arrived` waits for what is left to do. Not in the paper: our choice, so that no accelerator waits for JPEG files.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from PIL import Image

from groundr1.pictures import Pictures, in_threads, open_picture

Row = dict[str, Any]


@dataclass
class _Coming:
    """Stands in the rows of a batch for their pictures."""

    encoded: list[tuple[str, Any]]  # example id and picture
    # Of what `_prepare` returns; given away once, because its taker will add to it.
    store: Future | None = None

    def take(self, make_store: Callable[[], Pictures]) -> tuple[list[Image.Image], Pictures]:
        """The pictures opened and a store that holds them; prepared now where nobody has begun, or it was taken."""
        begun, self.store = self.store, None
        return _prepare(self.encoded, make_store()) if begun is None else begun.result()


class PicturesAhead:
    """A data collator that leaves rows as they are, but for their pictures, on which work begins.

    For a data loader without worker processes: what is being prepared cannot be sent to another process. A batch that
    is delivered again, as TRL does for every micro-batch and iteration, is not prepared again.

    Args:
        make_store: Makes an empty store for a batch; called in the thread of the caller.
    """

    def __init__(self, make_store: Callable[[], Pictures]) -> None:
        self.make_store = make_store
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")
        self._last = _Coming([])

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """The rows, each with `image` replaced by what `arrived` takes."""
        encoded = _distinct(rows)
        if [name for name, _ in self._last.encoded] != [name for name, _ in encoded]:
            self._last = _Coming(encoded, self._pool.submit(_prepare, encoded, self.make_store()))
        return [{**row, "image": self._last} for row in rows]

    def arrived(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Row], Pictures]:
        """Rows of a batch with their pictures opened, and the store that holds them processed, whose owner the caller
        becomes. Rows that did not come through this collator are prepared now.

        Raises:
            FileNotFoundError, ValueError: What `open_picture` raised in the meantime; it names the example.
        """
        coming = rows[0]["image"]
        if not isinstance(coming, _Coming):
            coming = _Coming(_distinct(rows))
        pictures, store = coming.take(self.make_store)
        groups = [list(group) for _, group in groupby(rows, key=itemgetter("id"))]
        return [
            {**row, "image": picture}
            for picture, group in zip(pictures, groups, strict=True)
            for row in group
        ], store


def _distinct(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """Id and picture of each example; TRL's sampler repeats a row for its trajectories, one behind the other."""
    groups = groupby(rows, key=itemgetter("id"))
    return [(name, next(group)["image"]) for name, group in groups]


def _prepare(encoded: list[tuple[str, Any]], store: Pictures) -> tuple[list[Image.Image], Pictures]:
    opened = in_threads(lambda pair: open_picture(pair[1], pair[0]), encoded)
    store.add(opened)
    return opened, store
