"""SRPOTrainer on TRL: what is trained on, what moves, which advantages, and that nothing is misaligned on the way."""

import tempfile

import pandas as pd
import peft
import pytest
import small_model
import torch
from small_trainer import GROUP, dataset, generate, history, make_trainer, moved, weights
from trl import GRPOTrainer

from groundr1.model import lora_config
from groundr1.srpo import grpo_advantages, srpo_advantages
from groundr1.trainer import SRPOConfig, SRPOTrainer, answer_reward_func, format_reward_func

PROCESSOR = small_model.processor()


def test_loss_is_on_exactly_the_model_turns() -> None:
    """Decoding the tokens that count for the loss gives the model's turns, and nothing of prompt, crop or template."""
    trainer = make_trainer()
    batch = generate(trainer)
    rows = trainer.take_rollouts()
    assert len(rows) == 4 * GROUP
    counted = batch["tool_mask"] * batch["completion_mask"]
    for row, ids, mask in zip(rows, batch["completion_ids"], counted, strict=True):
        text = PROCESSOR.tokenizer.decode(ids[mask.bool()])
        assert [turn for turn in text.split("<|im_end|>") if turn] == row["turns"]
        assert int(mask.sum()) == row["num_tokens"]
    assert any(row["num_turns"] == 2 for row in rows)


def test_answers_of_a_grounding_share_its_tokens() -> None:
    trainer = make_trainer()
    batch = generate(trainer)
    for first in range(0, 4 * GROUP, 2):
        turn_ends = (batch["completion_ids"][first] == PROCESSOR.tokenizer.eos_token_id).nonzero()[0, 0]
        pair = batch["completion_ids"][first : first + 2, : turn_ends + 1]
        assert torch.equal(pair[0], pair[1])


@pytest.mark.parametrize("advantage", ["srpo", "srpo-intra", "srpo-inter", "grpo"])
def test_advantages_are_those_of_the_mode(advantage) -> None:
    trainer = make_trainer(advantage=advantage, reward_weights=[2.0, 1.0])
    batch = generate(trainer)
    rows = pd.DataFrame(trainer.take_rollouts())
    rewards = 2 * rows["reward_format"] + rows["reward_answer"]
    assert rewards.tolist() == pytest.approx(rows["reward"].tolist())
    rewards, areas = torch.tensor(rewards.tolist()), torch.tensor(rows["relative_area"].tolist())
    if advantage == "grpo":
        expected = grpo_advantages(rewards, GROUP)
    else:
        expected = srpo_advantages(
            rewards, areas, GROUP, intra=advantage != "srpo-inter", inter=advantage != "srpo-intra"
        )
    torch.testing.assert_close(batch["advantages"], expected, atol=1e-5, rtol=1e-5)
    assert rows["advantage"].tolist() == batch["advantages"].tolist() == list(trainer._logs["advantages"])


def test_mode_grpo_keeps_trls_own_advantages(monkeypatch) -> None:
    """Bit for bit what TRL's method returns, whatever TRL's options ask for."""
    theirs = {}
    original = GRPOTrainer._generate_and_score_completions

    def spy(self, inputs):
        output = original(self, inputs)
        theirs["advantages"] = output["advantages"].clone()
        return output

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", spy)
    batch = generate(make_trainer(advantage="grpo", scale_rewards="batch"))
    assert torch.equal(batch["advantages"], theirs["advantages"])


def test_vision_tower_is_frozen_by_default() -> None:
    trainer = make_trainer(max_steps=2)
    before = weights(trainer)
    trainer.train()
    changed = moved(trainer, before)
    assert changed and not [name for name in changed if "visual" in name]
    assert not any(one.requires_grad for one in trainer.model.model.visual.parameters())
    trainer = make_trainer(max_steps=2, freeze_vision=False)
    before = weights(trainer)
    trainer.train()
    assert [name for name in moved(trainer, before) if "visual" in name]


def test_lora_moves_only_the_adapters() -> None:
    trainer = make_trainer(peft_config=lora_config({"r": 4}), max_steps=2, beta=0.1)
    assert isinstance(trainer.model, peft.PeftModel)
    before = weights(trainer)
    trainer.train()
    changed = moved(trainer, before)
    assert changed and all("lora_" in name for name in changed)
    assert not [name for name in changed if "visual" in name]


def test_kl_and_clipping_work_as_in_trl() -> None:
    """KL to the reference is 0 before the first update, not after; a second pass over a batch leaves the ratio of 1."""
    trainer = make_trainer(beta=0.1, num_iterations=2, max_steps=4, learning_rate=1e-2, epsilon=0.01)
    trainer.train()
    logged = history(trainer)
    assert logged["kl"].iloc[0] == pytest.approx(0.0, abs=1e-6) and logged["kl"].iloc[-1] > 1e-4
    assert logged["clip_ratio/region_mean"].iloc[0] == 0 and logged["clip_ratio/region_mean"].iloc[1] > 0


def test_statistics_are_logged_for_any_tracker() -> None:
    trainer = make_trainer(max_steps=2)
    trainer.train()
    logged, rows = history(trainer), pd.DataFrame(trainer.take_rollouts())
    last = rows.tail(4 * GROUP)
    for column in ("reward_format", "reward_answer", "iou"):
        assert logged[column].iloc[-1] == pytest.approx(last[column].mean())
    assert logged["response_length"].iloc[-1] == pytest.approx(last["num_tokens"].mean())
    assert logged["giou_score"].iloc[-1] == pytest.approx((last["giou"].mean() + 1) / 2)
    assert logged[["share_small", "share_medium", "share_large"]].sum(axis=1).tolist() == pytest.approx(
        [1.0, 1.0]
    )
    assert logged["reward"].iloc[-1] == pytest.approx(last["reward"].mean())
    assert trainer.take_rollouts() == []


def test_reward_functions_are_called_as_in_trl() -> None:
    seen = {}

    def length_reward(prompts, completions, trajectory, solution, source, image, **kwargs):
        seen.update(
            kwargs, prompts=prompts, completions=completions, solution=solution, source=source, image=image
        )
        return [float(one.num_generated_tokens) for one in trajectory]

    trainer = make_trainer(
        reward_funcs=[length_reward, format_reward_func, answer_reward_func], reward_weights=[0.1, 0.0, 0.0]
    )
    generate(trainer)
    rows = trainer.take_rollouts()
    assert [row["reward"] for row in rows] == pytest.approx([0.1 * row["num_tokens"] for row in rows])
    assert {"boxes", "kind", "id", "trainer_state", "completion_ids"} <= seen.keys()
    assert seen["prompts"][0] == [{"role": "user", "content": dataset()[0]["question"]}]
    assert [part["content"] for part in seen["completions"][0] if part["role"] == "assistant"] == rows[0][
        "turns"
    ]
    assert seen["image"][0].size == dataset()[0]["image"].size


def test_evaluation_rolls_out_too() -> None:
    trainer = make_trainer(
        eval_dataset=dataset().select(range(4)), per_device_eval_batch_size=8, num_generations_eval=2
    )
    metrics = trainer.evaluate()
    assert 0 <= metrics["eval_reward_format"] <= 1
    assert trainer.take_rollouts() == [], "the rollout table is of training"


def test_order_of_an_epoch_depends_on_the_epoch_alone() -> None:
    trainer = make_trainer()
    sampler = trainer._get_train_sampler()
    orders = []
    for epoch in (0.0, 1.0, 1.5, 0.0):
        trainer.state.epoch = epoch
        orders.append(list(sampler))
    assert len(sampler) == len(orders[0])
    assert orders[0] == orders[3] != orders[1] == orders[2]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(list(range(12)) * GROUP)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="lacks the column question"):
        args = SRPOConfig("out", bf16=False)
        SRPOTrainer(
            small_model.talking_model(), args=args, train_dataset=dataset().remove_columns("question")
        )
    with pytest.raises(ValueError, match="beta=0.1 needs a reference"):
        SRPOTrainer(
            small_model.random_model(), args=SRPOConfig("out", bf16=False, beta=0.1), train_dataset=dataset()
        )
    trainer = make_trainer()
    with pytest.raises(RuntimeError, match="whole groups"):
        trainer._generate_and_score_completions([dataset()[i] for i in range(GROUP)])


def test_the_constructor_is_trls() -> None:
    """Positional use works as with GRPOTrainer, and a folder is enough."""
    folder = str(small_model.model_folder())
    args = SRPOConfig(
        tempfile.mkdtemp(), bf16=False, num_groundings=2, per_device_train_batch_size=4, max_turn_tokens=8
    )
    trainer = SRPOTrainer(folder, format_reward_func, args, dataset())
    assert trainer.reward_func_names == ["format_reward_func"]
