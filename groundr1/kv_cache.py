"""Keys and values of many conversations in one batch: copied where they part company, joined where they meet again.

Rows differ in length. Columns where a row holds no token are masked, so padding may stand anywhere. A row's tokens are
computed once, and each of its copies is one copy of memory. Not in the paper: our choice, see `groundr1.generation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

ROOM = 64  # columns a buffer has to spare: appending a token then copies the token, not the cache


class RoomyLayer(DynamicLayer):
    """Keys and values (B, heads, L, head_dim) of one layer, the filled part of buffers with room to spare."""

    @classmethod
    def of(cls, keys: Tensor, values: Tensor, filled: int) -> "RoomyLayer":
        """A layer in these buffers, of which the first `filled` columns hold tokens."""
        layer = cls()
        layer.lazy_initialization(keys, values)
        layer._buffers = keys, values
        layer._show(filled)
        return layer

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append states (B, heads, Q, head_dim); returns all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = (key_states[:, :, :0], value_states[:, :, :0])
        old = self.get_seq_length()
        new = old + key_states.shape[2]
        if new > self._buffers[0].shape[2]:
            self._buffers = tuple(_grown(buffer, old, new + ROOM) for buffer in self._buffers)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, old:new] = states
        self._show(new)
        return self.keys, self.values

    def _show(self, filled: int) -> None:
        self.keys, self.values = (buffer[:, :, :filled] for buffer in self._buffers)


def _grown(buffer: Tensor, filled: int, length: int) -> Tensor:
    batch, heads, _, width = buffer.shape
    grown = buffer.new_empty(batch, heads, length, width)
    grown[:, :, :filled] = buffer[:, :, :filled]
    return grown


@dataclass
class State:
    """Keys and values of a batch of rows, with what is needed to go on."""

    cache: Cache
    mask: Tensor  # (B, L) int64, 1 where the row holds a token
    position: Tensor  # (B,) int64, rotary position of the row's next token

    def select(self, rows: Tensor) -> "State":
        """These rows, in this order; (n,) int64, a row may be named more than once. Every token is copied once."""
        filled = self.mask.shape[1]
        layers = []
        for layer in self.cache.layers:
            buffers = _buffers_like(layer, len(rows), filled)
            for buffer, states in zip(buffers, (layer.keys, layer.values), strict=True):
                # Indexing by a tensor and assigning would go through a second copy, at 16 times the cost (CPU).
                torch.index_select(states, 0, rows, out=buffer[:, :, :filled])
            layers.append(RoomyLayer.of(*buffers, filled))
        return State(Cache(layers=layers), self.mask[rows], self.position[rows])

    @staticmethod
    def merged(parts: Sequence[tuple[Tensor, "State"]]) -> "State":
        """One batch of parts `(to, state)`: row i of a `state` becomes row `to[i]`, (n,) int64, of all of them.

        Shorter parts are padded on the left.
        """
        states = [state for _, state in parts]
        num_rows = sum(len(to) for to, _ in parts)
        longest = max(state.mask.shape[1] for state in states)
        mask = states[0].mask.new_zeros(num_rows, longest)
        position = states[0].position.new_zeros(num_rows)
        layers = []
        for layer in states[0].cache.layers:
            layers.append(RoomyLayer.of(*_buffers_like(layer, num_rows, longest), longest))
        for to, state in parts:
            start = longest - state.mask.shape[1]
            mask[to, start:] = state.mask
            position[to] = state.position
            for merged, layer in zip(layers, state.cache.layers, strict=True):
                for buffer, part in ((merged.keys, layer.keys), (merged.values, layer.values)):
                    buffer[to, :, :start] = 0  # masked, but what is not a number would spread all the same
                    buffer[to, :, start:] = part
        return State(Cache(layers=layers), mask, position)


def _buffers_like(layer: DynamicLayer, num_rows: int, filled: int) -> tuple[Tensor, Tensor]:
    """Empty buffers for keys and values of `num_rows` rows with room after `filled` columns."""
    _, heads, _, width = layer.keys.shape
    return tuple(layer.keys.new_empty(num_rows, heads, filled + ROOM, width) for _ in range(2))
