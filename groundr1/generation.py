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
from torch import Tensor
from transformers import Cache, Qwen2_5_VLForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from groundr1.kv_cache import RoomyLayer, State

NO_TOKEN = -1
COMPACT_BELOW = 0.75  # a batch is compacted when this share of its rows or less is still being sampled


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


class Session:
    """A batch of conversations in one cache. Nothing of it may be used for training.

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
        self._end_tokens = torch.tensor(sorted(end_ids), dtype=torch.long)
        self._state: State | None = None
        self._logits: Tensor | None = None  # (B, V) float32, of each row's next token

    def segment(self, token_ids: list[int], pictures: Any, entry: int) -> Segment:
        """What `append` takes: tokens with one picture, entry `entry` of a `groundr1.pictures.Pictures`."""
        return Segment(token_ids, [pictures.features(entry)], [pictures.grids[entry]])

    def close(self) -> None:
        """Let go of the cache; no row is continued."""
        self._state = self._logits = None

    @torch.inference_mode()
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
        start = (
            self._state.position
            if self._state
            else torch.zeros(len(segments), dtype=torch.long, device=self.device)
        )
        position = start[None, :, None] + self._relative_positions(ids, mask, segments)
        self._forward(ids, mask, position, features)

    def repeat(self, times: int) -> None:
        """Copy every row `times` times, the copies standing together."""
        self.select(torch.arange(self._logits.shape[0], device=self.device).repeat_interleave(times))

    @torch.inference_mode()
    def select(self, rows: Tensor | Sequence[int]) -> None:
        """Keep `rows`, in that order; a row may be named more than once."""
        rows = torch.as_tensor(rows, dtype=torch.long, device=self.device)
        if torch.equal(rows, torch.arange(len(self._state.mask), device=self.device)):
            return
        self._state = self._state.select(rows)
        self._logits = None if self._logits is None else self._logits[rows]

    @torch.inference_mode()
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
        num_rows, limit = uniforms.shape
        sampled = torch.full((num_rows, limit), NO_TOKEN)
        logprobs = torch.zeros(num_rows, limit)
        rows = torch.arange(num_rows)  # row of the session behind each row of the current batch
        running = torch.ones(num_rows, dtype=torch.bool)
        parked: list[tuple[Tensor, State]] = []
        for step in range(limit):
            draw = uniforms[rows, step].to(self.device)
            tokens, token_logprobs = pick(self._logits, draw, temperature, top_p, self.banned_ids)
            chosen = tokens.cpu()
            sampled[rows[running], step] = chosen[running]
            logprobs[rows, step] = token_logprobs.cpu()
            running &= ~torch.isin(chosen, self._end_tokens)
            if not running.any() or step + 1 == limit:
                break
            if running.float().mean() <= COMPACT_BELOW:
                if keep:
                    ended = torch.where(~running)[0].to(self.device)
                    parked.append((rows[~running].to(self.device), self._state.select(ended)))
                self.select(torch.where(running)[0])
                rows, tokens, running = rows[running], tokens[running.to(self.device)], running[running]
            self._advance(tokens, running)
        self._logits = None
        if parked:
            self._state = State.merged([*parked, (rows.to(self.device), self._state)])
        if not keep:
            self._state = None
        return _turns(sampled, logprobs)

    def _advance(self, tokens: Tensor, running: Tensor) -> None:
        """Feed one token a row; rows that have ended get a masked one, and stay where they are.

        The language model is called itself: with one token a row, what the whole model does around it (looking for
        pictures, making a causal mask) is a fifth of a small model's step.
        """
        running = running.to(self.device)
        state = self._state
        mask = torch.cat([state.mask, running[:, None].long()], dim=1)
        hidden = self.model.model.language_model(
            inputs_embeds=self.model.get_input_embeddings()(tokens[:, None]),
            attention_mask=self._mask_of_one_token(mask),
            position_ids=state.position.expand(3, -1)[..., None],
            past_key_values=state.cache,
            use_cache=True,
        ).last_hidden_state
        self._state = State(state.cache, mask, state.position + running)
        self._logits = self.model.lm_head(hidden)[:, -1].float()

    def _mask_of_one_token(self, mask: Tensor) -> Tensor | dict[str, Tensor]:
        """What the language model would make of a (B, L) mask for one new token a row, where it can be said shorter."""
        config = self.model.config.text_config
        if config._attn_implementation == "sdpa" and set(config.layer_types) == {"full_attention"}:
            return {"full_attention": mask[:, None, None, :].bool()}
        return mask

    def _forward(self, ids: Tensor, mask: Tensor, position: Tensor, features: list[Tensor]) -> None:
        """Run the model on a block of new columns: ids and mask (B, Q), position (3, B, Q)."""
        past = self._state
        cache = past.cache if past else Cache(layer_class_to_replicate=RoomyLayer)
        mask = mask if past is None else torch.cat([past.mask, mask], dim=1)
        encoded = BaseModelOutputWithPooling(pooler_output=features)
        pictures = {"mm_encoder_outputs": {"image": encoded}} if features else {}
        output = self.model(
            input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True,
            logits_to_keep=1, **pictures,
        )  # fmt: skip
        self._state = State(cache, mask, position[..., -1].amax(0) + 1)
        self._logits = output.logits[:, -1].float()

    def _relative_positions(self, ids: Tensor, mask: Tensor, segments: Sequence[Segment]) -> Tensor:
        """Rotary positions (3, B, Q) of a block, counted from its own start, by the model's own rule for pictures.

        The rule walks through a row in Python; rows with pictures of equal size in the same place share a walk.
        """
        is_picture = (ids == self.model.config.image_token_id) & mask.bool()
        layouts: dict[tuple, int] = {}
        distinct = []  # the first row of each layout
        which = []
        for row, (tokens, segment) in enumerate(zip(is_picture.tolist(), segments, strict=True)):
            layout = (len(segment.token_ids), tuple(segment.grids), tuple(tokens))
            if layout not in layouts:
                layouts[layout] = len(distinct)
                distinct.append(row)
            which.append(layouts[layout])
        grids = [grid for row in distinct for grid in segments[row].grids]
        position, _ = self.model.model.get_rope_index(
            ids[distinct],
            mm_token_type_ids=is_picture[distinct].int(),
            image_grid_thw=torch.tensor(grids, device=ids.device) if grids else None,
            attention_mask=mask[distinct],
        )
        return position[:, which]


def _turns(sampled: Tensor, logprobs: Tensor) -> list[SampledTurn]:
    """Turns of (B, T) int64 tokens, `NO_TOKEN` after the last of a row, and their (B, T) log-probabilities."""
    lengths = (sampled != NO_TOKEN).sum(1).tolist()
    rows = zip(sampled.tolist(), logprobs.tolist(), lengths, strict=True)
    return [SampledTurn(tokens[:length], scores[:length]) for tokens, scores, length in rows]


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
