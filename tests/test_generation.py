"""Sampling from the shared cache: token for token what plain generation gives, with its log-probabilities."""

import pytest
import small_model
import torch
from PIL import Image

from groundr1.generation import pick
from groundr1.pictures import Pictures
from groundr1.prompts import PROMPTS
from groundr1.rollout import ground_and_answer
from groundr1.trajectory import Trajectory

PROCESSOR = small_model.processor()


@pytest.fixture(scope="module")
def model():
    return small_model.talking_model()


def plain_turn(model, ids: list[int], images: list[Image.Image], limit: int) -> list[int]:
    """One turn from `model.generate` on the whole conversation, everything encoded afresh."""
    fields = PROCESSOR.image_processor(images=images, return_tensors="pt")
    input_ids = torch.tensor([ids])
    output = model.generate(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        mm_token_type_ids=(input_ids == model.config.image_token_id).int(),
        pixel_values=fields["pixel_values"],
        image_grid_thw=fields["image_grid_thw"],
        do_sample=False,
        max_new_tokens=limit,
        suppress_tokens=small_model.banned_ids(),
    )
    return output[0, len(ids) :].tolist()


def full_logprobs(model, trajectory: Trajectory, temperature: float = 1.0) -> torch.Tensor:
    """Log-probability of each completion token from one forward over the whole conversation."""
    fields = PROCESSOR.image_processor(images=trajectory.images, return_tensors="pt")
    input_ids = torch.tensor([trajectory.prompt_ids + trajectory.token_ids])
    with torch.no_grad():
        logits = model(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            mm_token_type_ids=(input_ids == model.config.image_token_id).int(),
            pixel_values=fields["pixel_values"],
            image_grid_thw=fields["image_grid_thw"],
        ).logits[0, len(trajectory.prompt_ids) - 1 : -1]
    return (
        (logits / temperature)
        .log_softmax(-1)
        .gather(1, input_ids[0, len(trajectory.prompt_ids) :, None])[:, 0]
    )


@pytest.mark.parametrize("weights", ["random", "talking"])
@pytest.mark.parametrize("max_crops", [0, 1, 3])
def test_greedy_rollouts_equal_plain_generation(weights: str, max_crops: int, model) -> None:
    """A ragged batch (questions and picture shapes differ): every turn is what generate gives on its own."""
    model = small_model.random_model(3) if weights == "random" else model
    limit = 20
    groups = ground_and_answer(
        model,
        PROCESSOR,
        small_model.examples(6),
        max_crops=max_crops,
        max_turn_tokens=limit,
        num_groundings=2,
    )
    for group in groups:
        trajectory = group[0]
        assert group[1].token_ids == trajectory.token_ids, "greedy copies agree"
        turns = small_model.model_turns(trajectory)
        assert len(turns) == len(trajectory.turns)
        ids, shown = list(trajectory.prompt_ids), 1
        rest = list(trajectory.token_ids)
        for turn in turns:
            assert plain_turn(model, ids, trajectory.images[:shown], limit) == turn
            following = (
                rest.index(PROCESSOR.image_token_id) if PROCESSOR.image_token_id in rest else len(rest)
            )
            next_turn = trajectory.loss_mask[len(trajectory.token_ids) - len(rest) :]
            stop = next((i for i in range(following, len(rest)) if next_turn[i]), len(rest))
            ids, rest, shown = ids + rest[:stop], rest[stop:], shown + 1


def test_sampled_logprobs_equal_a_full_forward(model) -> None:
    groups = ground_and_answer(
        model,
        PROCESSOR,
        small_model.examples(4),
        num_groundings=3,
        num_answers=2,
        temperature=0.7,
        max_turn_tokens=24,
        seed=5,
    )
    for trajectory in (one for group in groups for one in group):
        expected = full_logprobs(model, trajectory, temperature=0.7)
        sampled = torch.tensor(trajectory.loss_mask, dtype=torch.bool)
        torch.testing.assert_close(
            torch.tensor(trajectory.logprobs)[sampled], expected[sampled], atol=1e-4, rtol=0
        )


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
