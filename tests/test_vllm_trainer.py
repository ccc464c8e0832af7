"""Training on rollouts from vLLM: weights, log-probabilities, pictures and settings, on `vllm_double`."""

from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import small_model
import torch
from small_trainer import GROUP, generate, history, make_trainer
from vllm_double import Engine, install

from groundr1 import srpo_trainer
from groundr1.model import lora_config
from groundr1.sharding import whole_model
from groundr1.trainer import TrainConfig
from groundr1.training import trainer_settings


@pytest.fixture
def engine(monkeypatch) -> Engine:
    """A vLLM whose own weights are wrong until it is given the trainer's."""
    engine = Engine(model=small_model.random_model())
    install(monkeypatch, engine)
    return engine


def make_vllm_trainer(mode: str = "server", **settings):
    return make_trainer(
        use_vllm=True, vllm_mode=mode, per_device_train_batch_size=2 * GROUP, max_turn_tokens=16, **settings
    )


@pytest.mark.parametrize("lora", [False, True])
def test_each_step_samples_from_its_own_weights(engine, lora) -> None:
    """vLLM is given the weights once a step, LoRA merged in, and gives the log-probabilities of the tokens that the
    loss is on: the trainer's own differ by rounding, and by the ban on a few tokens, though each step moves them."""
    trainer = make_vllm_trainer(
        max_steps=3, learning_rate=3e-3, peft_config=lora_config({"r": 4}) if lora else None
    )
    trainer.train()
    assert (engine.loads, engine.cache_resets) == (3, 3)
    logged = history(trainer)
    assert (logged["grad_norm"] > 0).any()
    assert logged["sampling/sampling_logp_difference/max"].max() < 5e-3
    assert logged["sampling/importance_sampling_ratio/mean"].tolist() == pytest.approx([1.0] * 3, abs=0.02)
    assert len(trainer.take_rollouts()) == 3 * 2 * GROUP
    trainer.evaluate(trainer.train_dataset.select(range(GROUP)))
    assert engine.loads == 4, "the weights after the last step"


def test_log_probabilities_line_up_with_the_loss(engine) -> None:
    batch = generate(make_vllm_trainer())
    on_loss = (batch["tool_mask"] * batch["completion_mask"]).bool()
    sampled = batch["sampling_per_token_logps"]
    assert (sampled[~on_loss] == 0).all() and (sampled[on_loss] < 0).all()
    torch.testing.assert_close(sampled[on_loss], batch["old_per_token_logps"][on_loss], atol=5e-3, rtol=0)


def test_a_missing_log_probability_corrects_nothing(engine) -> None:
    def reply(ids, pictures, params):
        tokens, scores = engine._sample(ids, pictures, params)
        return tokens, [None, *scores[1:]]

    engine.reply = reply
    trainer = make_vllm_trainer(max_steps=1)
    trainer.train()
    logged = history(trainer)
    assert logged["sampling/importance_sampling_ratio/mean"].tolist() == pytest.approx([1.0], abs=0.02)
    assert logged["loss"].notna().all() and (logged["grad_norm"] > 0).all()


def test_each_picture_is_encoded_once_for_training(engine, monkeypatch) -> None:
    """By the frozen tower, for old log-probabilities, policy and reference together: two prompts, and their crops.
    All of it where sharded weights are whole: processes with unequal numbers of pictures would wait for each other."""
    depth, encoded = [0], []

    @contextmanager
    def watched(*args):
        depth[0] += 1
        with whole_model(*args) as model:
            yield model
        depth[0] -= 1

    monkeypatch.setattr(srpo_trainer, "whole_model", watched)
    trainer = make_vllm_trainer(max_steps=1, beta=0.1)
    for model in (trainer.model, trainer.ref_model):
        model.model.visual.register_forward_pre_hook(
            lambda module, args, options: encoded.append((len(options["grid_thw"]), depth[0])),
            with_kwargs=True,
        )
    trainer.train()
    rows = pd.DataFrame(trainer.take_rollouts())
    crops = rows[rows["num_turns"] == 2].groupby(["prompt_id", "grounding"]).size()
    assert encoded == [(len(trainer._current_pictures()), 1)]
    assert 2 < encoded[0][0] <= 2 + len(crops)


def test_a_colocated_vllm_sleeps_between_turns(engine) -> None:
    trainer = make_vllm_trainer("colocate", vllm_enable_sleep_mode=True, max_steps=2)
    trainer.train()
    llm = trainer.vllm_generation.llm
    assert llm.options["enable_sleep_mode"] and llm.options["logprobs_mode"] == "processed_logprobs"
    assert len(llm.calls) == 4, "two turns of two steps"
    turn = ["wake weights", "load", "wake kv_cache", "sleep 2"]
    assert llm.log == ["sleep 2", *turn * 4]
    assert history(trainer)["sampling/sampling_logp_difference/max"].max() < 5e-3


def test_a_training_configuration_passes_vllm_on() -> None:
    config = TrainConfig(
        name="a", trainer={"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": "http://a:8000"}
    )
    settings = trainer_settings(config, Path("out"), torch.float32, 1)
    assert (
        settings.use_vllm and settings.vllm_mode == "server" and settings.vllm_importance_sampling_correction
    )
    assert settings.vllm_server_base_url == "http://a:8000"


def test_without_vllm_installed_it_is_named() -> None:
    with pytest.raises(ImportError, match="vLLM is not available"):
        make_vllm_trainer()
