"""From a `TrainConfig` to what a run needs: data, trainer settings, the record that is kept, the saved
model."""

import dataclasses
import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from datasets import Dataset, concatenate_datasets
from datasets import Image as ImageFeature
from peft import PeftModel
from tqdm.auto import tqdm
from transformers import PrinterCallback, ProcessorMixin, TrainerCallback
from transformers.integrations import unset_hf_deepspeed_config

from groundr1.config import TrainConfig
from groundr1.data import make_scenes
from groundr1.data.balance import balance_by_scale
from groundr1.data.collect import check_places, open_saved, paths_of
from groundr1.data.readers import read_form
from groundr1.model import load_model
from groundr1.runs import Run
from groundr1.srpo_config import SRPOConfig
from groundr1.storage import replace_folder, unfinished_folder

logger = logging.getLogger(__name__)

# Fields that say where a run lies and what is kept of it, and do not move its numbers.
NOT_PARAMETERS = ("name", "runs", "save_every", "keep_checkpoints", "report_to")

# metrics.csv begins with these, in this order; TRL's other metrics follow.
FIRST_COLUMNS = (
    "step", "loss", "reward", "reward_format", "reward_answer", "response_length", "iou", "giou_score", "kl",
    "grad_norm", "learning_rate", "step_seconds",
)  # fmt: skip


class SupportsRollouts(Protocol):
    """The trainer as the recorder sees it."""

    def take_rollouts(self) -> list[dict[str, Any]]:
        """Rows of the rollout table since the last call."""


def parameters_of(config: TrainConfig) -> dict[str, Any]:
    """What makes two runs the same run."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in NOT_PARAMETERS}


def load_training_data(config: TrainConfig) -> Dataset:
    """The data set of a run.

    A file is read into memory, row by row under the rules of `groundr1.data.validate` but those that need more than a
    row at a time (the same question twice, another split), and nothing is written: each process of a run reads it by
    itself, and a slip shows in a moment. Large files are validated first, and the folder given in their place.

    A saved data set or a validation is taken as it is.

    Raises FileNotFoundError or ValueError when `config.data` does not name one, or it holds fewer rows than a
    step needs.
    """
    options = dict(config.data)
    if "scenes" in options:
        dataset = make_scenes(options.pop("scenes"), **options)
    else:
        balance = options.pop("balance", False)
        dataset = _read(options)
        if balance:
            num = None if balance is True else balance
            dataset = balance_by_scale(dataset, num=num, seed=config.seed)
    if len(dataset) < config.prompts_per_step:
        raise ValueError(
            f"data={config.data!r} has {len(dataset)} usable rows, fewer than prompts_per_step="
            f"{config.prompts_per_step}; give more data, or take fewer prompts a step."
        )
    return dataset


def _read(source: Mapping[str, Any]) -> Dataset:
    """Rows of the files that a source names, or of a folder, whose rows know where their pictures are."""
    check_places(source)
    paths, root = paths_of(source), source.get("image_root")
    if paths[0].is_dir():
        return open_saved(paths[0])
    form, image_root = source.get("format", "jsonl"), None if root is None else Path(root)
    # What is set aside, the reader logs.
    dataset = concatenate_datasets([read_form(path, form, image_root)[0] for path in paths])
    if len(set(dataset["id"])) < len(dataset):
        name, _ = Counter(dataset["id"]).most_common(1)[0]
        raise ValueError(
            f"The id {name!r} stands in several of {', '.join(map(str, paths))}; validate them together"
            " (groundr1.data.validate), and give the folder of that as 'path'."
        )
    return dataset


def with_encoded_pictures(dataset: Any) -> Any:
    """Leave pictures encoded in the rows: a batch repeats each row for its group, and each is decoded
    once."""
    if isinstance(dataset, Mapping):
        return {name: with_encoded_pictures(each) for name, each in dataset.items()}
    if dataset is None or dataset.column_names is None:
        return dataset
    missing = {"id", "image", "question"} - set(dataset.column_names)
    if missing:
        raise ValueError(
            f"The dataset lacks the column {', '.join(sorted(missing))} (it has {', '.join(dataset.column_names)})."
            " Make it with a reader of groundr1.data, or give it the columns of groundr1.data.EXAMPLE_FEATURES."
        )
    is_image = isinstance(dataset.features["image"], ImageFeature)
    return dataset.cast_column("image", ImageFeature(decode=False)) if is_image else dataset


def trainer_settings(
    config: TrainConfig, output_dir: Path, dtype: torch.dtype, num_processes: int
) -> SRPOConfig:
    """The trainer's settings for one of `num_processes` processes.

    Raises ValueError when a step's trajectories cannot be shared out evenly.
    """
    total = config.prompts_per_step * config.group_size
    if config.prompts_per_step % num_processes:
        raise ValueError(
            f"prompts_per_step={config.prompts_per_step} cannot be shared out to {num_processes} processes; make it a"
            " multiple, so that a prompt's trajectories stay on one of them."
        )
    micro = config.micro_batch_size or total // num_processes
    if (total // num_processes) % micro:
        raise ValueError(
            f"micro_batch_size={micro} does not divide the {total // num_processes} trajectories that each process"
            " has in a step; choose a divisor."
        )
    known = {each.name for each in dataclasses.fields(SRPOConfig)}
    if unknown := sorted(set(config.trainer) - known):
        raise ValueError(f"trainer={config.trainer!r}: SRPOConfig has no field {', '.join(unknown)}.")
    settings = SRPOConfig(
        output_dir=str(output_dir),
        max_steps=config.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=total // num_processes // micro,
        num_iterations=config.generations_reused_for,
        reward_weights=[config.format_weight, config.answer_weight],
        bf16=dtype == torch.bfloat16,
        save_strategy="steps",
        save_steps=config.save_every,
        save_total_limit=config.keep_checkpoints,
        logging_steps=1,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.accelerator.is_available(),  # without it, transformers refuses bfloat16 on a CPU
        ddp_find_unused_parameters=False,  # whatever is trained takes part in every forward
        disable_tqdm=True,  # the recorder shows its own bar, with a few numbers instead of thirty
        **{
            name: getattr(config, name)
            for name in (
                "advantage", "num_groundings", "num_answers", "num_scale_bins", "max_crops", "max_turn_tokens",
                "temperature", "learning_rate", "beta", "freeze_vision", "gradient_checkpointing", "seed", "report_to",
            )
        },
        **config.trainer,
    )  # fmt: skip
    if settings.world_size != num_processes:
        raise RuntimeError(
            f"transformers counts {settings.world_size} processes where accelerate counts {num_processes}; launch"
            " with accelerate launch or torchrun, and with the same device settings for both."
        )
    return settings


class RunRecorder(TrainerCallback):
    """Writes metrics.csv and the rollout table of a run as it goes, and shows a bar."""

    def __init__(self, run: Run, trainer: SupportsRollouts) -> None:
        self.run, self.trainer = run, trainer
        self.bar: tqdm | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the progress bar, at the step where a resumed run goes on."""
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.run.name, unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the step's trajectories into the rollout table."""
        rows = self.trainer.take_rollouts()
        if rows:
            self.run.write_rollouts(state.global_step, pd.DataFrame(rows))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Append a step to metrics.csv, and show it on the bar."""
        if not logs or "loss" not in logs:
            return  # the summary that the Trainer logs at the end of a run
        values = {**logs, "step": state.global_step, "step_seconds": logs["step_time"]}
        del values["step_time"]
        first = {name: values.pop(name) for name in FIRST_COLUMNS if name in values}
        self.run.append_metrics({**first, **values})
        if self.bar is not None:
            self.bar.set_postfix(
                {name: f"{first[name]:.3f}" for name in ("reward", "iou") if first.get(name) is not None}
            )
            self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()


def attach_recorder(trainer: Any, run: Run) -> None:
    """Record a trainer's run, in place of the printing that transformers does."""
    trainer.remove_callback(PrinterCallback)
    if trainer.accelerator.is_main_process:
        trainer.add_callback(RunRecorder(run, trainer))


def save_final_model(trainer: Any, processor: ProcessorMixin, folder: Path) -> None:
    """Save weights (safetensors, LoRA merged in) and processor, so that `load_model(folder)` gives the
    trained model. All processes must call this: FSDP and ZeRO-3 gather the weights that each holds a part of.

    Adapters are merged into the base as it was loaded, on the main process alone, so the base is never gathered.
    """
    unfinished = unfinished_folder(folder)
    model = trainer.accelerator.unwrap_model(trainer.model)
    adapters = unfinished_folder(folder.with_name("adapters")) if isinstance(model, PeftModel) else None
    trainer.save_model(str(adapters or unfinished))
    if trainer.accelerator.is_main_process:
        if adapters is not None:
            unset_hf_deepspeed_config()  # under ZeRO-3, loading a model would wait for the other processes
            base = load_model(model.get_base_model().config._name_or_path, dtype=model.dtype)
            PeftModel.from_pretrained(base, adapters).merge_and_unload().save_pretrained(unfinished)
            shutil.rmtree(adapters)
        (unfinished / "training_args.bin").unlink(missing_ok=True)  # a pickle, which nothing here reads
        processor.save_pretrained(unfinished)
        replace_folder(unfinished, folder)
    trainer.accelerator.wait_for_everyone()


def summarise(run: Run, window: int = 20) -> dict[str, float]:
    """Means of the last steps' metrics, for the run's summary."""
    last = run.metrics().tail(window)
    wanted = (
        "reward",
        "reward_format",
        "reward_answer",
        "iou",
        "giou_score",
        "response_length",
        "step_seconds",
    )
    return {"steps": int(last["step"].iloc[-1])} | {
        name: float(last[name].mean()) for name in wanted if name in last and last[name].notna().any()
    }
