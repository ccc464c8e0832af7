"""The rollout's turns from vLLM, through TRL's `VLLMGeneration`, in server and in colocate mode.

`VLLMSession` has the interface of `groundr1.generation.Session`. Where that keeps keys and values, a row here is
its tokens and its pictures: each turn sends the whole conversation, and vLLM's prefix cache, which is on unless
vLLM was told otherwise, finds what earlier turns and other copies have left there. Not in the paper: our choice,
because TRL's client is what clusters are run with.

What is sent, and why (vLLM 0.22 to 0.31, TRL 1.16):

- The pictures as the model sees them, crops included, at the size that the placeholders were counted for. vLLM
  resizes by the bounds it was started with, not by ours; a view lies within any wider bounds and stays as it is.
- Placeholders: to a server one for each of a picture's tokens, because TRL points the server's features at runs of
  them; to a colocated vLLM one a picture, because it puts one for each token in the place of the first it finds. TRL
  1.16 itself sends all of them there, which doubles them (https://github.com/huggingface/trl/issues/6294).
- Banned tokens by `logit_bias`, which names ids and which both modes take; end tokens by `stop_token_ids`, so that a
  turn ends where ours do, whatever generation configuration the server has.
- No seed: one seed would be the same for all prompts of a call, and for all copies in colocate mode. Runs with
  vLLM do not repeat.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from accelerate.utils import gather_object
from PIL import Image
from torch import Tensor, nn
from trl import GRPOTrainer
from trl.generation.vllm_generation import VLLMGeneration

from groundr1.chat import Chat
from groundr1.generation import SampledTurn
from groundr1.pictures import Pictures

BAN = -100.0  # the least bias that OpenAI's interface knows: a probability times 4e-44


@dataclass
class Conversation:
    """Token ids, with a placeholder for each of a picture's tokens, and the pictures in their order."""

    token_ids: list[int]
    pictures: list[Image.Image]

    def copy(self) -> "Conversation":
        """The same conversation, sharing no list with it."""
        return Conversation(list(self.token_ids), list(self.pictures))


class VLLMSession:
    """A batch of conversations whose turns vLLM samples.

    With several processes, all must make the same calls of vLLM together, though their rows may end in different
    turns: each sends as many rows as the process that has most, and none leaves before all have closed their
    sessions. What is sent beyond the rows is the last conversation with its turn, which costs a token or so; what
    comes of it is dropped.

    Args:
        generation: TRL's, of `GRPOTrainer.vllm_generation`. Its sampling settings are set for each turn.
        end_ids: Tokens that end a turn.
        banned_ids: Tokens that are never sampled.
    """

    def __init__(
        self, generation: VLLMGeneration, end_ids: Collection[int], banned_ids: Collection[int]
    ) -> None:
        self.generation = generation
        self.end_ids = frozenset(end_ids)
        self.banned_ids = frozenset(banned_ids)
        self._rows: list[Conversation] = []
        self._copies = 1  # rows that are alike stand together, this many each
        self._last_sent = Conversation([min(end_ids)], [])
        self._views: dict[int, Image.Image] = {}

    def segment(self, token_ids: list[int], pictures: Pictures, entry: int) -> Conversation:
        """What `append` takes: tokens with one picture, entry `entry` of `pictures`."""
        if entry not in self._views:
            self._views[entry] = pictures.view(entry)
        return Conversation(list(token_ids), [self._views[entry]])

    def append(self, segments: Sequence[Conversation]) -> None:
        """Append a segment to each row; the first call makes the rows."""
        self._rows = self._rows or [Conversation([], []) for _ in segments]
        for row, segment in zip(self._rows, segments, strict=True):
            row.token_ids += segment.token_ids
            row.pictures += segment.pictures
        self._copies = 1

    def repeat(self, times: int) -> None:
        """Copy every row `times` times, the copies standing together."""
        self._rows = [row.copy() for row in self._rows for _ in range(times)]
        self._copies *= times

    def select(self, rows: Sequence[int]) -> None:
        """Keep `rows`, in that order."""
        self._rows = [self._rows[i].copy() for i in rows]
        self._copies = 1

    def sample(
        self, uniforms: Tensor, *, temperature: float, top_p: float = 1.0, keep: bool = True
    ) -> list[SampledTurn]:
        """Sample one turn for every row, until an end token or `uniforms.shape[1]` tokens.

        As in `Session.sample`, the last token of a turn belongs at the head of the row's next segment.

        Args:
            uniforms: (B, T), of which only the shape counts: vLLM draws its own random numbers.
            temperature: 0 takes the most probable token.
            top_p: Sample from the smallest set of tokens of this total probability.
            keep: Without meaning here.

        Returns:
            One turn a row. Log-probabilities are vLLM's, of the distribution sampled from: at this temperature,
            after `top_p` and the ban, provided vLLM runs with `logprobs_mode=processed_logprobs`. NaN where it
            gives none, as TRL has it.

        Raises:
            RuntimeError: vLLM counts the tokens of a picture otherwise, or returns an empty turn.
        """
        generation = self.generation
        generation.temperature, generation.top_p = temperature, top_p
        generation.max_completion_length = uniforms.shape[1]
        generation.generation_kwargs = {
            "logit_bias": dict.fromkeys(sorted(self.banned_ids), BAN),
            "stop_token_ids": sorted(self.end_ids),
        }
        copies = self._copies if temperature > 0 else 1  # vLLM refuses several of the most probable
        turns = self._call(self._rows, copies)
        for row, turn in zip(self._rows, turns, strict=True):
            row.token_ids += turn.token_ids[:-1]
        self._copies = 1
        return turns

    def close(self) -> None:
        """Stay with the other processes until all have closed; no row is continued."""
        self._rows = []
        while self._call([], 1) is not None:
            pass

    def _call(self, rows: list[Conversation], copies: int) -> list[SampledTurn] | None:
        """Turns of `rows`, each `copies` of which are alike; None when no process has any."""
        counts = gather_object([(len(rows), copies)])
        most, copies = (max(each) for each in zip(*counts, strict=True))
        if most == 0:
            return None
        self._last_sent = rows[-1] if rows else self._last_sent
        sent = rows + [self._last_sent] * (most - len(rows))
        found_ids, token_ids, logprobs, _ = self.generation.generate(
            prompts=[self._prompt(row) for row in sent],
            images=[row.pictures or None for row in sent],
            num_generations=copies,
        )
        for row, found in zip(rows, found_ids[: len(rows)], strict=True):
            _check_prompt(row, found)
        pairs = zip(token_ids[: len(rows)], logprobs[: len(rows)], strict=True)
        return [_turn(ids, scores) for ids, scores in pairs]

    def _prompt(self, row: Conversation) -> list[int]:
        """The row's tokens, its pictures marked as vLLM wants them in this mode."""
        if self.generation.mode == "server":
            return list(row.token_ids)
        image_id = self.generation.processing_class.image_token_id
        pairs = pairwise([None, *row.token_ids])
        return [token for before, token in pairs if not before == token == image_id]


def synced_session(trainer: GRPOTrainer, model: nn.Module, chat: Chat) -> VLLMSession:
    """A session on a trainer's vLLM, which is given the weights first unless it has those of this step.

    All processes must call it together. In colocate mode with `vllm_enable_sleep_mode`, TRL gives them again before
    every further turn, because a sleeping vLLM has dropped them.
    """
    if trainer.state.global_step != trainer._last_loaded_step:
        trainer.vllm_generation.sync_weights()
        trainer._last_loaded_step = trainer.state.global_step
    return VLLMSession(trainer.vllm_generation, chat.end_ids(model), chat.banned_ids)


def _check_prompt(row: Conversation, found: Sequence[int]) -> None:
    """Raise RuntimeError unless the tokens that vLLM continued are the row's."""
    if list(found) != row.token_ids:
        raise RuntimeError(
            f"vLLM continued a prompt of {len(found)} tokens where {len(row.token_ids)} were meant, with pictures of"
            f" {', '.join(f'{width} x {height}' for width, height in (each.size for each in row.pictures))} pixels: its"
            " image processor resizes them once more, or lays them out otherwise. Let min_pixels and max_pixels in"
            " the preprocessor_config.json of the model it loads be wider than those of the training."
        )


def _turn(token_ids: Sequence[int], logprobs: Sequence[Sequence[float | None]]) -> SampledTurn:
    if not token_ids:
        raise RuntimeError(
            "vLLM returned an empty turn, as it does when a conversation fills its context. Raise"
            " vllm_max_model_length (or the server's --max-model-len), or lower max_pixels, max_crops or"
            " max_turn_tokens."
        )
    sampled = [scores[0] for scores in logprobs]  # the only one asked for
    return SampledTurn(list(token_ids), [float("nan") if one is None else one for one in sampled])
