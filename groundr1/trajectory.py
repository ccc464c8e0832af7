"""One rolled-out conversation, as text for people and rewards, and as tokens for the loss."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from PIL import Image

from groundr1.boxes import Box, relative_area


@dataclass
class Trajectory:
    """One conversation: a picture and a question, boxes and crops, an answer.

    Attributes:
        prompt_index: Index of the example. grounding: Index of the first turn among the example's.
            answer_index: Index among the continuations of that first turn.
        turns: Texts of the model's turns, the end token stripped.
        boxes: One an evidence shown, in the image frame, cut to the image; None where the whole image was
            shown.
        answer: The answer given, or None.
        relative_area: Of the last box, in [0, 1]; 1.0 where the whole image is the evidence, or none was
            asked for.
        images: The picture, then each evidence as it was shown.
        image_size: `(width, height)` of the picture in pixels.
        prompt_ids: Tokens of the first prompt. token_ids: All that follow, crops and template tokens
        included. loss_mask: 1 for each of `token_ids` that the model sampled, else 0.
        logprobs: Log-probability of each sampled token at the sampling temperature, 0.0 for the others.
        finished: Whether the last turn ended by itself, and not at the limit of tokens.
    """

    prompt_index: int
    grounding: int
    answer_index: int
    prompt_ids: list[int]
    images: list[Image.Image]
    turns: list[str] = field(default_factory=list)
    boxes: list[Box | None] = field(default_factory=list)
    answer: str | None = None
    token_ids: list[int] = field(default_factory=list)
    loss_mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False

    @property
    def image_size(self) -> tuple[int, int]:
        """`(width, height)` of the picture in pixels."""
        return self.images[0].size

    @property
    def relative_area(self) -> float:
        """Of the last box; 1.0 where the whole image is the evidence."""
        return relative_area(self.boxes[-1] if self.boxes else None, self.image_size)

    @property
    def num_generated_tokens(self) -> int:
        """Tokens the model sampled."""
        return sum(self.loss_mask)

    def messages(self) -> list[dict[str, str]]:
        """The conversation after the prompt, as reward functions and logs expect it; evidence stands as
        "<image>"."""
        messages = [{"role": "assistant", "content": self.turns[0]}]
        for turn in self.turns[1:]:
            messages += [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": turn}]
        return messages

    def copy(self, answer_index: int) -> "Trajectory":
        """A continuation of the same conversation, sharing no list with it."""
        lists = {name: list(value) for name, value in vars(self).items() if isinstance(value, list)}
        return replace(self, answer_index=answer_index, **lists)

    def extend(self, token_ids: Sequence[int], *, logprobs: Sequence[float] | None = None) -> None:
        """Append tokens: sampled ones with their log-probabilities, or tokens of the template without."""
        self.token_ids += token_ids
        self.loss_mask += [int(logprobs is not None)] * len(token_ids)
        self.logprobs += [0.0] * len(token_ids) if logprobs is None else logprobs
