"""An SRPOTrainer of the small model for tests: 4 prompts of 4 trajectories a step."""

import functools
import tempfile

import pandas as pd
import small_model
import torch
from datasets import Dataset

from groundr1.data import EXAMPLE_FEATURES
from groundr1.trainer import SRPOConfig, SRPOTrainer

PROCESSOR = small_model.processor()
GROUP = 4  # two groundings, two answers each


@functools.cache
def dataset() -> Dataset:
    return Dataset.from_list(small_model.examples(12), features=EXAMPLE_FEATURES)


def make_trainer(**settings) -> SRPOTrainer:
    """A trainer of the small model: 4 prompts of 4 trajectories unless `settings` say otherwise."""
    special = {
        name: settings.pop(name)
        for name in ("reward_funcs", "peft_config", "eval_dataset")
        if name in settings
    }
    defaults = {
        "output_dir": tempfile.mkdtemp(prefix="groundr1-trainer-"),
        "num_groundings": 2,
        "num_answers": 2,
        "per_device_train_batch_size": 4 * GROUP,
        "max_turn_tokens": 24,
        "max_steps": 1,
        "beta": 0.0,
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
    }
    return SRPOTrainer(
        small_model.talking_model(),
        args=SRPOConfig(**(defaults | settings)),
        train_dataset=dataset(),
        processing_class=PROCESSOR,
        **special,
    )


def generate(trainer: SRPOTrainer) -> dict:
    """One generation batch, as `_prepare_inputs` asks for it."""
    trainer.model.train()
    rows = [dataset()[i] for i in range(4)]
    return trainer._generate_and_score_completions([dict(row) for row in rows for _ in range(GROUP)])


def history(trainer: SRPOTrainer) -> pd.DataFrame:
    return pd.DataFrame([entry for entry in trainer.state.log_history if "loss" in entry])


def moved(trainer: SRPOTrainer, before: dict[str, torch.Tensor]) -> set[str]:
    return {
        name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])
    }


def weights(trainer: SRPOTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}
