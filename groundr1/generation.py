"""Sampling many conversations at once from one key/value cache.

A batch of conversations lives in a `Session`. Text and pictures are appended to it, the state is copied where
several continuations of the same prefix are wanted, and turns are sampled from it. Nothing is ever prefilled
twice. Rows differ in length: every row has its own positions, and cache columns where a row holds no token
are masked out, so padding may stand anywhere. Not in the paper: our choice, because the rollout is most of
the cost of training.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, Qwen2_5_VLForConditionalGeneration
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling

COMPACT_BELOW = 0.75  # a batch is compacted when this share of its rows or less is still being sampled
ROOM = 64  # columns a cache buffer grows by: appending a token then copies the token, not the cache


@dataclass
class Segment:
    """What is appended to one row: token ids, and for the pictures in them, in order, features and grids."""

    token_ids: list[int]
    features: list[Tensor] = field(default_factory=list)  # (num_tokens, hidden) each
    grids: list[tuple[int, int, int]] = field(default_factory=list)  # (t, h, w) in patches each


@dataclass
class SampledTurn:
    """Token ids of a turn, its end token included if it came, and the log-probability of each (see
    `Session.sample`)."""

    token_ids: list[int]
    logprobs: list[float]


class _RoomyLayer(DynamicLayer):
    """Keys and values (B, heads, L, head_dim) of one layer, the filled part of buffers with room to spare."""

    @classmethod
    def filled(cls, keys: Tensor, values: Tensor) -> "_RoomyLayer":
        """A layer that holds these and has no room left."""
        layer = cls()
        layer.lazy_initialization(keys, values)
        layer._buffers = layer.keys, layer.values = keys, values
        return layer

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = (key_states[:, :, :0], value_states[:, :, :0])
        old = self.get_seq_length()
        new = old + key_states.shape[2]
        if new > self._buffers[0].shape[2]:
            self._buffers = tuple(self._grown(buffer, old, new + ROOM) for buffer in self._buffers)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, old:new] = states
        self.keys, self.values = (buffer[:, :, :new] for buffer in self._buffers)
        return self.keys, self.values

    @staticmethod
    def _grown(buffer: Tensor, filled: int, length: int) -> Tensor:
        batch, heads, _, width = buffer.shape
        grown = buffer.new_empty(batch, heads, length, width)
        grown[:, :, :filled] = buffer[:, :, :filled]
        return grown


@dataclass
class _State:
    """Keys and values of a batch of rows, with what is needed to go on."""

    cache: Cache
    mask: Tensor  # (B, L) int64, 1 where the row holds a token
    position: Tensor  # (B,) int64, rotary position of the row's next token

    def select(self, rows: Tensor) -> "_State":
        """These rows, in this order."""
        layers = [_RoomyLayer.filled(layer.keys[rows], layer.values[rows]) for layer in self.cache.layers]
        return _State(Cache(layers=layers), self.mask[rows], self.position[rows])

    @staticmethod
    def join(states: Sequence["_State"]) -> "_State":
        """One batch of several, padded on the left to the longest."""
        longest = max(state.mask.shape[1] for state in states)

        def widen(tensors: Sequence[Tensor], tail: int) -> Tensor:
            # `tail` dimensions stand behind the padded one.
            lacking = (longest - tensor.shape[-1 - tail] for tensor in tensors)
            padded = [
                nn.functional.pad(t, [0, 0] * tail + [n, 0]) for t, n in zip(tensors, lacking, strict=True)
            ]
            return torch.cat(padded)

        layers = [
            _RoomyLayer.filled(widen([one.keys for one in layer], 1), widen([one.values for one in layer], 1))
            for layer in zip(*(state.cache.layers for state in states), strict=True)
        ]
        mask = widen([state.mask for state in states], 0)
        return _State(Cache(layers=layers), mask, torch.cat([state.position for state in states]))


class Session:
    """A batch of conversations in one cache; use under `torch.no_grad()`.

    Args:
        model: The bare Qwen2.5-VL model (LoRA layers inside it are fine, a PEFT or DDP wrapper is not).
        end_ids: Tokens that end a turn.
        banned_ids: Tokens that are never sampled.
    """

    def __init__(
        self, model: Qwen2_5_VLForConditionalGeneration, end_ids: Collection[int], banned_ids: Collection[int]
    ) -> None:
        self.model = model
        self.device = model.get_input_embeddings().weight.device
        self.end_ids = frozenset(end_ids)
        self.banned_ids = torch.tensor(sorted(banned_ids), dtype=torch.long, device=self.device)
        self._state: _State | None = None
        self._logits: Tensor | None = None  # (B, V) float32, of each row's next token

    def segment(self, token_ids: list[int], pictures: Any, entry: int) -> Segment:
        """What `append` takes: tokens with one picture, entry `entry` of a `groundr1.pictures.Pictures`."""
        return Segment(token_ids, [pictures.features(entry)], [pictures.grids[entry]])

    def close(self) -> None:
        """Let go of the cache; no row is continued."""
        self._state = self._logits = None

    def append(self, segments: Sequence[Segment]) -> None:
        """Append a segment to each row (the first call makes the rows), and compute what comes next.

        A row's features must match its placeholder tokens; the segments may differ in length.
        """
        length = max(len(segment.token_ids) for segment in segments)
        ids = torch.zeros(len(segments), length, dtype=torch.long)
        mask = torch.zeros_like(ids)
        # Padded on the left, so that the last column is every row's last token.
        for row, segment in enumerate(segments):
            ids[row, length - len(segment.token_ids) :] = torch.tensor(segment.token_ids)
            mask[row, length - len(segment.token_ids) :] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        features = [one for segment in segments for one in segment.features]
        grids = [grid for segment in segments for grid in segment.grids]
        start = (
            self._state.position
            if self._state
            else torch.zeros(len(segments), dtype=torch.long, device=self.device)
        )
        position = start[None, :, None] + self._relative_positions(ids, mask, grids)
        self._forward(ids, mask, position, features)

    def repeat(self, times: int) -> None:
        """Copy every row `times` times, the copies standing together."""
        self.select(torch.arange(self._logits.shape[0], device=self.device).repeat_interleave(times))

    def select(self, rows: Tensor | Sequence[int]) -> None:
        """Keep `rows`, in that order; a row may be named more than once."""
        rows = torch.as_tensor(rows, dtype=torch.long, device=self.device)
        self._state = self._state.select(rows)
        self._logits = None if self._logits is None else self._logits[rows]

    def sample(
        self, uniforms: Tensor, *, temperature: float, top_p: float = 1.0, keep: bool = True
    ) -> list[SampledTurn]:
        """Sample one turn for every row, until an end token or `uniforms.shape[1]` tokens.

        Rows that have ended leave the batch. The last token of a turn is not in the cache afterwards: put it
        at the head of the row's next segment.

        Args:
            uniforms: (B, T) float32 in [0, 1): the randomness of row b's t-th token. So a row's tokens depend
                neither on which rows share its batch nor on the device. Unused at temperature 0.
            temperature: 0 takes the most probable token.
            top_p: Sample from the smallest set of tokens of this total probability.
            keep: Whether the rows will be continued. The cache is dropped otherwise.

        Returns:
            One turn a row. Log-probabilities are those of the model at this temperature (1 for temperature
            0), before `top_p` and the ban: what a training forward computes.
        """
        num_rows = uniforms.shape[0]
        turns = [SampledTurn([], []) for _ in range(num_rows)]
        rows = torch.arange(num_rows)  # row of the session behind each row of the current batch
        running = torch.ones(num_rows, dtype=torch.bool)
        parked: list[tuple[Tensor, _State]] = []
        for step in range(uniforms.shape[1]):
            draw = uniforms[rows, step].to(self.device)
            tokens, logprobs = pick(self._logits, draw, temperature, top_p, self.banned_ids)
            ended = self._record(turns, rows, running, tokens.tolist(), logprobs.tolist())
            running &= ~ended
            if not running.any() or step + 1 == uniforms.shape[1]:
                break
            if running.float().mean() <= COMPACT_BELOW:
                if keep:
                    parked.append(
                        (rows[~running], self._state.select(torch.where(~running)[0].to(self.device)))
                    )
                self.select(torch.where(running)[0])
                rows, tokens, running = rows[running], tokens[running.to(self.device)], running[running]
            self._advance(tokens, running)
        self._logits = None
        if keep:
            order = torch.cat([*(parked_rows for parked_rows, _ in parked), rows]).argsort()
            self._state = _State.join([*(state for _, state in parked), self._state]).select(
                order.to(self.device)
            )
        else:
            self._state = None
        return turns

    def _record(
        self,
        turns: list[SampledTurn],
        rows: Tensor,
        running: Tensor,
        tokens: list[int],
        logprobs: list[float],
    ) -> Tensor:
        """Write down the tokens of running rows; which rows ended with them."""
        ended = torch.zeros_like(running)
        for i, (row, token) in enumerate(zip(rows.tolist(), tokens, strict=True)):
            if running[i]:
                turns[row].token_ids.append(token)
                turns[row].logprobs.append(logprobs[i])
                ended[i] = token in self.end_ids
        return ended

    def _advance(self, tokens: Tensor, running: Tensor) -> None:
        """Feed one token a row; rows that have ended get a masked one, and stay where they are."""
        alive = running.to(self.device, torch.long)
        position = self._state.position.expand(3, -1)[..., None]
        stopped_at = self._state.position
        self._forward(tokens[:, None], alive[:, None], position, [])
        self._state.position = torch.where(running.to(self.device), self._state.position, stopped_at)

    def _forward(self, ids: Tensor, mask: Tensor, position: Tensor, features: list[Tensor]) -> None:
        """Run the model on a block of new columns: ids and mask (B, Q), position (3, B, Q)."""
        past = self._state
        cache = past.cache if past else Cache(layer_class_to_replicate=_RoomyLayer)
        mask = mask if past is None else torch.cat([past.mask, mask], dim=1)
        encoded = BaseModelOutputWithPooling(pooler_output=features)
        pictures = {"mm_encoder_outputs": {"image": encoded}} if features else {}
        output = self.model(
            input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True,
            logits_to_keep=1, **pictures,
        )  # fmt: skip
        self._state = _State(cache, mask, position[..., -1].amax(0) + 1)
        self._logits = output.logits[:, -1].float()

    def _relative_positions(self, ids: Tensor, mask: Tensor, grids: list[tuple[int, int, int]]) -> Tensor:
        """Rotary positions (3, B, Q) of a block, counted from its own start; the model's own rule for
        pictures."""
        is_picture = (ids == self.model.config.image_token_id) & mask.bool()
        position, _ = self.model.model.get_rope_index(
            ids,
            mm_token_type_ids=is_picture.int(),
            image_grid_thw=torch.tensor(grids, device=ids.device) if grids else None,
            attention_mask=mask,
        )
        return position


def pick(
    logits: Tensor, uniforms: Tensor, temperature: float, top_p: float, banned_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Choose a token a row by inverting the cumulative distribution at the row's uniform number.

    Args:
        logits: (B, V) float32. uniforms: (B,) float32 in [0, 1).
        temperature: 0 takes the most probable token. top_p: as in nucleus sampling, in (0, 1].
        banned_ids: (n,) int64, tokens of probability 0.

    Returns:
        Tokens (B,) int64 and their log-probabilities (B,) float32 under the untruncated distribution.
    """
    scaled = logits / temperature if temperature > 0 else logits
    allowed = scaled.index_fill(1, banned_ids, -torch.inf)
    if temperature == 0:
        tokens = allowed.argmax(-1)
    else:
        probabilities, candidates = allowed.softmax(-1), None
        if top_p < 1:
            probabilities, candidates = probabilities.sort(-1, descending=True)
            probabilities = probabilities * (probabilities.cumsum(-1) - probabilities < top_p)
        cumulative = probabilities.cumsum(-1)
        # Rounding may carry the product up to the last cumulative value, beyond which there is no token.
        target = torch.minimum(
            uniforms * cumulative[:, -1], cumulative[:, -1].nextafter(torch.zeros_like(uniforms))
        )
        tokens = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
        tokens = tokens if candidates is None else candidates.gather(1, tokens[:, None])[:, 0]
    return tokens, scaled.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
