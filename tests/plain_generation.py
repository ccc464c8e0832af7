"""The plain way, to compare rollouts with: every turn from the whole conversation, pictures and all, by itself."""

import zlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from groundr1 import rollout
from groundr1.boxes import Box
from groundr1.chat import VISION_TOKENS
from groundr1.parsing import Turn
from groundr1.trajectory import Trajectory


def fields_of(processor: Any, ids: list[int], images: list[Image.Image]) -> dict[str, torch.Tensor]:
    """What the model takes for one conversation."""
    input_ids = torch.tensor([ids])
    return {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "mm_token_type_ids": (input_ids == processor.image_token_id).int(),
        **processor.image_processor(images=images, return_tensors="pt"),
    }


def plain_turn(
    model: Any, processor: Any, ids: list[int], images: list[Image.Image], limit: int
) -> tuple[list[int], float]:
    """One greedy turn of `model.generate`, and the least lead that a chosen token had over the second, in logits."""
    vocabulary = processor.tokenizer.get_vocab()
    output = model.generate(
        **fields_of(processor, ids, images),
        do_sample=False,
        max_new_tokens=limit,
        suppress_tokens=[vocabulary[token] for token in VISION_TOKENS if token in vocabulary],
        return_dict_in_generate=True,
        output_scores=True,
    )
    best = torch.stack(output.scores)[:, 0].topk(2).values
    return output.sequences[0, len(ids) :].tolist(), (best[:, 0] - best[:, 1]).min().item()


@torch.no_grad()
def full_logprobs(
    model: Any, processor: Any, trajectory: Trajectory, temperature: float = 1.0
) -> torch.Tensor:
    """Log-probability of each completion token from one forward over the whole conversation."""
    start = len(trajectory.prompt_ids)
    fields = fields_of(processor, trajectory.prompt_ids + trajectory.token_ids, trajectory.images)
    logits = model(**fields).logits[0, start - 1 : -1]
    targets = fields["input_ids"][0, start:, None]
    return (logits / temperature).log_softmax(-1).gather(1, targets)[:, 0]


def turns_in_context(trajectory: Trajectory) -> Iterator[tuple[list[int], list[Image.Image], list[int]]]:
    """Each turn of the model with all tokens before it and the pictures they show."""
    ids, shown = list(trajectory.prompt_ids), 1
    sampled = zip(trajectory.token_ids, trajectory.loss_mask, strict=True)
    for by_model, run in groupby(sampled, key=lambda pair: pair[1]):
        tokens = [token for token, _ in run]
        if by_model:
            yield ids, trajectory.images[:shown], tokens
        ids, shown = ids + tokens, shown + (not by_model)


def assert_plain_generation_agrees(
    model: Any, processor: Any, trajectories: list[Trajectory], limit: int
) -> None:
    """Token for token, and no token chosen by rounding: the closest second of all must be farther off than ten times
    the greatest error of a log-probability."""
    leads = []
    for trajectory in trajectories:
        turns = list(turns_in_context(trajectory))
        assert len(turns) == len(trajectory.turns)
        for ids, images, tokens in turns:
            expected, lead = plain_turn(model, processor, ids, images, limit)
            assert tokens == expected
            leads.append(lead)
    assert min(leads) > 10 * largest_error(model, processor, trajectories, 1.0)


def largest_error(model: Any, processor: Any, trajectories: list[Trajectory], temperature: float) -> float:
    """Greatest difference between a rollout's log-probabilities and those of a full forward, sampled tokens only."""
    errors = []
    for one in trajectories:
        difference = torch.tensor(one.logprobs) - full_logprobs(model, processor, one, temperature)
        errors.append(difference[torch.tensor(one.loss_mask, dtype=torch.bool)].abs().max().item())
    return max(errors)


def every_turn_asks_for_a_box(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """Let rollouts read a box in the view frame, of any shape within `side` pixels, out of whatever a turn says.

    A model of random weights writes no box; its conversations would show the whole picture again and again.
    """

    def parse_turn(text: str) -> Turn:
        rng = np.random.default_rng(zlib.crc32(text.encode()))
        x, y = rng.uniform(0, side / 2, 2)
        width, height = rng.uniform(side / 8, side / 2, 2)
        return Turn("box", thought="", box=Box(x, y, x + width, y + height))

    monkeypatch.setattr(rollout, "parse_turn", parse_turn)
    monkeypatch.setattr(rollout, "parse_answer", lambda text: None)
