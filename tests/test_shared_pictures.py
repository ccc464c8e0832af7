"""Pictures by reference through TRL's batches: everything stays aligned, and gradients are those of plain pixels."""

import functools
from dataclasses import dataclass, field

import pytest
import torch
from PIL import Image
from small_trainer import GROUP, history, make_trainer, weights
from transformers import TrainerCallback
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel as Tower,
)
from trl import GRPOTrainer

from groundr1 import srpo_trainer
from groundr1.model import lora_config
from groundr1.srpo_trainer import SRPOTrainer


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("iterations", [1, 2])
def test_batches_stay_aligned(monkeypatch, accumulation, iterations) -> None:
    """After TRL's shuffling and splitting, every row still has its own pictures, mask and log-probabilities.

    On the first pass the training forward must give the log-probabilities that were sampled.
    """
    trainer = make_trainer(
        per_device_train_batch_size=4 * GROUP // accumulation,
        gradient_accumulation_steps=accumulation,
        num_iterations=iterations,
        max_steps=2 * iterations,
    )
    checked, original = [], GRPOTrainer._compute_loss

    def check(self, model, inputs):
        if self._step % (accumulation * iterations) < accumulation:
            with torch.no_grad():
                logprobs, _, _ = self._get_per_token_logps_and_entropies(
                    model,
                    torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
                    torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
                    inputs["completion_ids"].shape[1],
                    **{
                        name: inputs[name]
                        for name in ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")
                    },
                )
            mask = (inputs["completion_mask"] * inputs["tool_mask"]).bool()
            torch.testing.assert_close(
                logprobs[mask], inputs["sampling_per_token_logps"][mask], atol=1e-4, rtol=0
            )
            checked.append(len(mask))
        return original(self, model, inputs)

    monkeypatch.setattr(GRPOTrainer, "_compute_loss", check)
    trainer.train()
    assert checked == [4 * GROUP // accumulation] * 2 * accumulation
    assert len(history(trainer)) == 2 * iterations


def test_accumulated_micro_batches_equal_one_batch() -> None:
    """1 x 16 trajectories and 4 x 4 make the same step (plain SGD, because Adam's first step magnifies rounding)."""
    after = []
    for accumulation in (1, 4):
        trainer = make_trainer(
            per_device_train_batch_size=4 * GROUP // accumulation,
            gradient_accumulation_steps=accumulation,
            optim="sgd",
            beta=0.1,
        )
        trainer.train()
        after.append((history(trainer), weights(trainer)))
    assert after[0][0]["reward"].item() == after[1][0]["reward"].item()
    for name, value in after[0][1].items():
        torch.testing.assert_close(value, after[1][1][name], atol=1e-6, rtol=1e-5, msg=name)


WAYS_TO_TRAIN = {
    "all weights": {"beta": 0.1},
    "micro-batches, each generation twice": {
        "beta": 0.1,
        "per_device_train_batch_size": GROUP,
        "gradient_accumulation_steps": 4,
        "num_iterations": 2,
    },
    "LoRA, each generation twice": {
        "beta": 0.1,
        "num_iterations": 2,
        "peft_config": lora_config({"r": 4}),
    },
    "gradient checkpointing": {"beta": 0.1, "gradient_checkpointing": True},
    "trained tower": {
        "beta": 0.1,
        "freeze_vision": False,
        "per_device_train_batch_size": GROUP,
        "gradient_accumulation_steps": 4,
        "num_iterations": 2,
    },
}


@dataclass
class Training:
    """What happened in the training on one generation."""

    gradients: list[dict[str, torch.Tensor]] = field(default_factory=list)  # of each optimizer step
    losses: list[float] = field(default_factory=list)  # of each micro-batch
    encoded: int = 0  # pictures that went through the tower
    shown: list[Image.Image] = field(default_factory=list)  # all pictures of all trajectories
    turns: list[list[str]] = field(default_factory=list)


@functools.cache
def training(way: str, *, plain: bool) -> Training:
    """Train on one generation, `plain` with every picture of every trajectory as pixels, which is TRL's own way."""
    found = Training()
    with pytest.MonkeyPatch.context() as patch:
        if plain:
            patch.setattr(srpo_trainer, "SharedPictures", lambda pictures, image_processor: image_processor)
            patch.setattr(srpo_trainer, "reads_shared_pictures", lambda *model, **options: None)
        settings = WAYS_TO_TRAIN[way]
        # SGD: Adam's first step divides by the gradient, and so magnifies its rounding.
        trainer = make_trainer(
            max_steps=settings.get("num_iterations", 1), optim="sgd", max_grad_norm=0.0, **settings
        )
        _watch(trainer, found, patch)
        trainer.train()
        found.turns = [row["turns"] for row in trainer.take_rollouts()]
    return found


def _watch(trainer: SRPOTrainer, found: Training, patch: pytest.MonkeyPatch) -> None:
    encode, loss_of, generate_batch = Tower.forward, trainer._compute_loss, trainer._generate

    def forward(self, pixels, grid_thw, **options):
        found.encoded += len(grid_thw)
        return encode(self, pixels, grid_thw, **options)

    def compute_loss(model, inputs):
        loss = loss_of(model, inputs)
        found.losses.append(loss.item())
        return loss

    def generate(prompts):
        generated = generate_batch(prompts)
        found.shown += [image for one in trainer._trajectories for image in one.images]
        return generated

    class Gradients(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
            named = model.named_parameters()
            found.gradients.append({name: one.grad.clone() for name, one in named if one.grad is not None})

    patch.setattr(Tower, "forward", forward)
    trainer._compute_loss, trainer._generate = compute_loss, generate
    trainer.add_callback(Gradients())


@pytest.mark.parametrize("way", WAYS_TO_TRAIN)
def test_steps_are_those_of_plain_pixels(way) -> None:
    """Losses and gradients of policy, old policy and reference, whole steps of them, with the tower frozen and not."""
    ours, plain, settings = training(way, plain=False), training(way, plain=True), WAYS_TO_TRAIN[way]
    steps = settings.get("num_iterations", 1)
    assert ours.turns == plain.turns and any(len(turns) == 2 for turns in ours.turns)
    assert len(ours.losses) == steps * settings.get("gradient_accumulation_steps", 1)
    assert ours.losses == pytest.approx(plain.losses, abs=1e-6, rel=1e-5)
    assert len(ours.gradients) == steps
    for mine, theirs in zip(ours.gradients, plain.gradients, strict=True):
        assert mine.keys() == theirs.keys() and any(gradient.abs().max() > 1e-3 for gradient in mine.values())
        assert any("visual" in name for name in mine) is (way == "trained tower")
        assert all(mine[name].any() for name in mine if "visual.blocks" in name)
        for name, gradient in mine.items():
            torch.testing.assert_close(gradient, theirs[name], atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("way", [way for way in WAYS_TO_TRAIN if way != "trained tower"])
def test_each_picture_is_encoded_once_a_generation(way) -> None:
    """Rollout, old policy, reference, every micro-batch and iteration of the policy share what the first request for
    a picture has made: the tower sees as many pictures as there are distinct ones, by their pixels."""
    found = training(way, plain=False)
    distinct = {(image.size, image.tobytes()) for image in found.shown}
    assert found.encoded == len(distinct)
    assert 4 < len(distinct) <= 4 + 4 * 2, "four pictures, at most two crops of each"
    assert training(way, plain=True).encoded > 2 * len(found.shown) > 4 * len(distinct)
