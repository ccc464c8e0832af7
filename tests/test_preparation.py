"""Pictures prepared ahead: begun when the loader delivers the batch, once, and the same as without."""

import threading

import pytest
import small_model
import torch
from small_trainer import GROUP

from groundr1 import preparation
from groundr1.pictures import Pictures, open_picture
from groundr1.preparation import PicturesAhead

PROCESSOR = small_model.processor()


def make_store() -> Pictures:
    return Pictures(PROCESSOR, None)


def batch(first: int = 0) -> list[dict]:
    """Two examples, each for all trajectories of its group."""
    return [row for row in small_model.examples(first + 2)[first:] for _ in range(GROUP)]


def test_work_begins_when_the_batch_is_delivered(monkeypatch) -> None:
    """Before anybody asks for it, in another thread, each picture once, and once for a batch delivered again."""
    opened, begun = [], threading.Event()

    def note(picture, example_id):
        opened.append((example_id, threading.current_thread() is threading.main_thread()))
        begun.set()
        return open_picture(picture, example_id)

    monkeypatch.setattr(preparation, "open_picture", note)
    ahead = PicturesAhead(make_store)
    coming = ahead(batch())
    assert begun.wait(timeout=60)
    ahead(batch())
    assert len(ahead.arrived(coming)[1]) == 2
    ahead(batch())
    assert sorted(opened) == [("row-0", False), ("row-1", False)]


def test_what_arrives_is_what_would_have_been_prepared() -> None:
    ahead, expected = PicturesAhead(make_store), make_store()
    rows, store = ahead.arrived(ahead(batch()))
    assert [{**row, "image": None} for row in rows] == [{**row, "image": None} for row in batch()]
    assert rows[0]["image"] is rows[GROUP - 1]["image"] is not rows[GROUP]["image"]
    assert expected.add([rows[0]["image"], rows[GROUP]["image"]]) == store.add(
        [row["image"] for row in rows[::GROUP]]
    )
    assert expected.grids == store.grids
    assert all(torch.equal(expected.pixels(entry), store.pixels(entry)) for entry in range(2))
    assert len(ahead.arrived(batch())[1]) == 2, "rows from elsewhere are prepared now"


def test_a_store_is_given_away_once() -> None:
    """The next generation on the same examples must not find the last one's crops and features."""
    ahead = PicturesAhead(make_store)
    first, second = ahead(batch()), ahead(batch())
    stores = [ahead.arrived(rows)[1] for rows in (first, second, first, ahead(batch()))]
    assert len(set(map(id, stores))) == 4


def test_a_bad_picture_is_named_where_it_is_wanted() -> None:
    ahead = PicturesAhead(make_store)
    coming = ahead([{**row, "image": b"not a picture"} for row in batch()])
    with pytest.raises(ValueError, match="row-0"):
        ahead.arrived(coming)
