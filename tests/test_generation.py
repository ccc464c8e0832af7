"""Sampling from the shared cache: token for token what plain generation gives, with its log-probabilities."""

import pytest
import small_model
import torch
from plain_generation import assert_plain_generation_agrees, every_turn_asks_for_a_box, largest_error

from groundr1.generation import pick
from groundr1.pictures import Pictures
from groundr1.prompts import PROMPTS
from groundr1.rollout import ground_and_answer

PROCESSOR = small_model.processor()
LIMIT = 20


@pytest.fixture(scope="module")
def model():
    return small_model.talking_model()


@pytest.mark.parametrize("weights", ["random", "talking"])
@pytest.mark.parametrize("max_crops", [0, 1, 3])
def test_greedy_rollouts_equal_plain_generation(weights: str, max_crops: int, model) -> None:
    """A ragged batch (questions and picture shapes differ): every turn is what generate gives on its own."""
    model = small_model.random_model(3) if weights == "random" else model
    groups = ground_and_answer(
        model,
        PROCESSOR,
        small_model.examples(6),
        max_crops=max_crops,
        max_turn_tokens=LIMIT,
        num_groundings=2,
    )
    assert all(one.token_ids == group[0].token_ids for group in groups for one in group), "copies agree"
    assert_plain_generation_agrees(model, PROCESSOR, [group[0] for group in groups], LIMIT)


def test_three_unequal_crops_equal_plain_generation(model, monkeypatch) -> None:
    """Four pictures a conversation, of many shapes: positions go on correctly across every one of them."""
    every_turn_asks_for_a_box(monkeypatch, side=112)
    groups = ground_and_answer(model, PROCESSOR, small_model.examples(5), max_crops=3, max_turn_tokens=LIMIT)
    trajectories = [one for group in groups for one in group]
    assert all(len(one.images) == 4 for one in trajectories)
    assert len({image.size for one in trajectories for image in one.images[1:]}) >= 8
    assert_plain_generation_agrees(model, PROCESSOR, trajectories, LIMIT)


@pytest.mark.parametrize("max_crops", [1, 3])
def test_sampled_logprobs_equal_a_full_forward(max_crops, model, monkeypatch) -> None:
    if max_crops == 3:
        every_turn_asks_for_a_box(monkeypatch, side=112)
    groups = ground_and_answer(
        model,
        PROCESSOR,
        small_model.examples(4),
        num_groundings=3,
        num_answers=2,
        max_crops=max_crops,
        temperature=0.7,
        max_turn_tokens=24,
        seed=5,
    )
    assert largest_error(model, PROCESSOR, [one for group in groups for one in group], 0.7) < 1e-4


def test_template_tokens_equal_the_chat_template(model) -> None:
    """Prompt, crop turn and turn heads are what apply_chat_template renders for the full conversation."""
    [[trajectory]] = ground_and_answer(model, PROCESSOR, small_model.examples(1), max_turn_tokens=40)
    assert len(trajectory.turns) == 2 and trajectory.finished
    size = Pictures(PROCESSOR, model)
    [entry] = size.add(trajectory.images[:1])
    width, height = size.view_size(entry)
    question = small_model.examples(1)[0]["question"]
    texts = [
        PROMPTS["short"].ground.format(question=question, width=width, height=height),
        PROMPTS["short"].last,
    ]
    messages = []
    for user, assistant in zip(texts, trajectory.turns, strict=True):
        messages.append({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": user}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": assistant}]})
    rendered = PROCESSOR.apply_chat_template(messages, tokenize=False)
    fields = PROCESSOR(text=[rendered.removesuffix("\n")], images=trajectory.images)
    assert trajectory.prompt_ids + trajectory.token_ids == list(fields["input_ids"][0])


def test_top_p_and_temperature_follow_the_distribution() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(2000, -1)
    uniforms = (torch.arange(2000) + 0.5) / 2000
    none = torch.empty(0, dtype=torch.long)
    tokens, logprobs = pick(logits, uniforms, 1.0, 1.0, none)
    assert torch.bincount(tokens).tolist() == [1000, 600, 300, 100]
    torch.testing.assert_close(logprobs, logits.gather(1, tokens[:, None])[:, 0])
    tokens, logprobs = pick(logits, uniforms, 1.0, 0.7, none)
    assert torch.bincount(tokens).tolist() == [1250, 750], (
        "0.5 and 0.3 are the smallest set of 0.7, rescaled by 0.8"
    )
    torch.testing.assert_close(logprobs[0].exp(), torch.tensor(0.5), msg="log-probabilities are untruncated")
    tokens, _ = pick(logits, uniforms, 1.0, 1.0, torch.tensor([0]))
    assert torch.bincount(tokens, minlength=4).tolist() == [0, 1200, 600, 200], (
        "a banned token's share goes to the others"
    )
    tokens, _ = pick(logits, torch.ones(2000), 1.0, 1.0, torch.tensor([3]))
    assert set(tokens.tolist()) == {2}, "rounding at the end of the distribution lands on a possible token"
