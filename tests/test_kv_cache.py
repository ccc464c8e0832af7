"""The cache of many conversations: rows are copied, reordered and joined without touching what they hold."""

import torch
from transformers import Cache

from groundr1.kv_cache import ROOM, RoomyLayer, State

HEADS, WIDTH = 2, 3


def state(lengths: list[int], first: float) -> State:
    """Rows of these lengths, padded on the left; the key in column t of row r is first + 100 r + t, its value minus
    that."""
    longest = max(lengths)
    mask = torch.tensor([[0] * (longest - n) + [1] * n for n in lengths])
    number = first + 100 * torch.arange(len(lengths))[:, None] + torch.arange(longest)
    keys = number[:, None, :, None].expand(-1, HEADS, -1, WIDTH).float()
    cache = Cache(layer_class_to_replicate=RoomyLayer)
    for layer in range(2):
        cache.update(keys + layer, -keys - layer, layer)
    return State(cache, mask, torch.tensor(lengths))


def held(one: State, row: int, layer: int = 0) -> list[float]:
    """The keys of a row's tokens, and that its values agree."""
    there = one.mask[row].bool()
    keys, values = (
        part[row, 0, there, 0] for part in (one.cache.layers[layer].keys, one.cache.layers[layer].values)
    )
    assert torch.equal(keys, -values)
    return keys.tolist()


def test_rows_are_copied_in_the_order_named():
    one = state([3, 2], first=0)
    chosen = one.select(torch.tensor([1, 0, 1]))
    assert [held(chosen, row) for row in range(3)] == [[101, 102], [0, 1, 2], [101, 102]]
    assert held(chosen, 0, layer=1) == [102, 103]
    assert chosen.position.tolist() == [2, 3, 2]


def test_copies_grow_apart_and_leave_the_original_alone():
    one = state([2], first=0)
    both = one.select(torch.tensor([0, 0]))
    new = torch.tensor([7.0, 8.0])[:, None, None, None].expand(2, HEADS, 1, WIDTH)
    both.cache.update(new, -new, 0)
    assert both.cache.layers[0].keys[:, 0, :, 0].tolist() == [[0, 1, 7], [0, 1, 8]]
    assert one.cache.layers[0].keys[0, 0, :, 0].tolist() == [0, 1]


def test_parts_of_unequal_length_are_joined_in_any_order():
    short, long = state([2, 1], first=0), state([4], first=1000)
    joined = State.merged([(torch.tensor([2, 0]), short), (torch.tensor([1]), long)])
    assert [held(joined, row) for row in range(3)] == [[101], [1000, 1001, 1002, 1003], [0, 1]]
    assert joined.position.tolist() == [1, 4, 2]
    assert torch.isfinite(joined.cache.layers[1].keys).all(), "padding is masked, but nan times 0 is nan"


def test_appending_within_the_room_copies_no_cache():
    one = state([2], first=0).select(torch.tensor([0]))
    buffer = one.cache.layers[0].keys.data_ptr()
    token = torch.zeros(1, HEADS, 1, WIDTH)
    for _ in range(ROOM):
        one.cache.update(token, token, 0)
    assert one.cache.layers[0].keys.data_ptr() == buffer
    one.cache.update(token, token, 0)
    assert one.cache.layers[0].keys.data_ptr() != buffer
    assert one.cache.layers[0].keys[0, 0, :2, 0].tolist() == [0, 1]
    assert one.cache.get_seq_length() == 2 + ROOM + 1
