"""Pictures by reference through TRL's batches: everything stays aligned, and gradients are those of plain pixels."""

import pytest
import torch
from small_trainer import GROUP, generate, history, make_trainer, weights
from trl import GRPOTrainer


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


def test_shared_features_give_the_gradients_of_plain_pixels() -> None:
    """Frozen tower: features once a picture. Trained tower: pixels. The language model's gradients agree."""
    gradients, entries = [], []
    for freeze_vision in (True, False):
        trainer = make_trainer(freeze_vision=freeze_vision)
        batch = generate(trainer)
        entries.append(batch["pixel_values"].numel())
        trainer.current_gradient_accumulation_steps = 1
        trainer._compute_loss(trainer.model, batch).backward()
        named = trainer.model.named_parameters()
        gradients.append({name: one.grad for name, one in named if "visual" not in name})
        towers = [one.grad is not None for name, one in trainer.model.named_parameters() if "visual" in name]
        assert any(towers) is not freeze_vision
    assert entries[0] == entries[1]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-6, rtol=1e-4, msg=name)


def test_each_picture_is_encoded_once_a_generation(monkeypatch) -> None:
    trainer = make_trainer(beta=0.1)
    encoded, tower = [], type(trainer.model.model.visual).forward

    def count(self, pixels, grid_thw, **options):
        encoded.append(len(grid_thw))
        return tower(self, pixels, grid_thw, **options)

    monkeypatch.setattr(type(trainer.model.model.visual), "forward", count)
    trainer.train()
    assert sum(encoded) == len(trainer._pictures["train"]) <= 4 + 4 * 2, (
        "four pictures, at most two crops of each"
    )
