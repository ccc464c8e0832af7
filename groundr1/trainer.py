"""Training: `SRPOTrainer` with its `SRPOConfig`, and `train`, which runs a whole experiment from a `TrainConfig`.

>>> train({"name": "srpo", "advantage": "srpo", "steps": 200})                         # doctest: +SKIP
PosixPath('runs/srpo')
"""

import logging
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from groundr1.checkpoints import step_of
from groundr1.config import TrainConfig
from groundr1.model import load_model, load_processor, lora_config
from groundr1.reward_functions import answer_reward_func, format_reward_func
from groundr1.runs import Run, check_name, load_run, open_run
from groundr1.srpo_config import SRPOConfig
from groundr1.srpo_trainer import SRPOTrainer
from groundr1.storage import explains_full_disk
from groundr1.training import (
    attach_recorder,
    load_training_data,
    parameters_of,
    save_final_model,
    summarise,
    trainer_settings,
)

__all__ = ["SRPOConfig", "SRPOTrainer", "TrainConfig", "answer_reward_func", "format_reward_func", "train"]

logger = logging.getLogger(__name__)

# Processes wait while one of them reads a large data set or flushes a checkpoint; torch would give up after 10 minutes.
PATIENCE = timedelta(hours=1)


def train(config: Mapping[str, Any] | TrainConfig) -> Path:
    """Run a training from its configuration into its run folder, or resume it there.

    A run that was killed goes on from its last complete checkpoint, to the same numbers on a CPU; one that is
    complete is returned at once. The folder holds manifest.json, metrics.csv (a row a step), rollouts/,
    checkpoints/ and, at the end, model/: weights as safetensors with the processor.

    Args:
        config: A `TrainConfig`, or its fields.

    Returns:
        The run's folder.

    Raises:
        ValueError: A field is unknown or wrong, or the folder holds a run with other parameters
        (`RunExistsError`), or its last checkpoint is damaged (`DamagedCheckpointError`).
        FileNotFoundError: The model or the data is not there.
        NoSpaceError: The disk of the runs is full. What is complete stays, and the run can be resumed.

    Example:
        >>> train({"name": "srpo", "model": "tiny", "data": {"scenes": 2000, "seed": 1}})      # doctest: +SKIP
        PosixPath('runs/srpo')
    """
    config = TrainConfig.from_mapping(config)
    check_name(config.name)
    # Without the flag, a process started by torchrun on a machine without accelerator believes to be alone.
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)
    # A folder that is there is checked first, a new one is made last: a wrong model or data set leaves no run behind.
    run = _open(config, state) if (Path(config.runs) / config.name / "manifest.json").exists() else None
    state.wait_for_everyone()
    if run is not None and run.summary() is not None:
        logger.info("%s is complete; nothing is trained.", run.path)
        return run.path
    checkpoint = (
        None if run is None else _last_checkpoint(run, state)
    )  # refused, if it is, before a model is loaded
    model = load_model(config.model, dtype=config.dtype)
    processor = load_processor(config.model, min_pixels=config.min_pixels, max_pixels=config.max_pixels)
    with state.main_process_first():  # the others find in the cache what the first has made
        dataset = load_training_data(config)
    run = run or _open(config, state)
    trainer = SRPOTrainer(
        model,
        args=trainer_settings(config, run.checkpoints, model.dtype, state.num_processes),
        train_dataset=dataset,
        processing_class=processor,
        peft_config=None if config.lora is None else lora_config(config.lora),
    )
    attach_recorder(trainer, run)
    if state.is_main_process:
        run.truncate_after(0 if checkpoint is None else step_of(checkpoint))
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    with explains_full_disk(run.path / "model", model.get_memory_footprint()):
        save_final_model(trainer, processor, run.path / "model")
    if state.is_main_process:
        run.finish(summarise(run))
    return run.path


def _open(config: TrainConfig, state: PartialState) -> Run:
    """The run's folder, made or repaired by the main process and read by the others."""
    with state.main_process_first():
        if state.is_main_process:
            return open_run(config.runs, config.name, parameters_of(config))
        return load_run(Path(config.runs) / config.name)


def _last_checkpoint(run: Run, state: PartialState) -> Path | None:
    """What to resume from; the main process alone reads and checks it."""
    found = [run.last_checkpoint() if state.is_main_process else None]
    return broadcast_object_list(found)[0]
