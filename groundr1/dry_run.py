"""What a training would take, without weights, network or GPU: `python -m groundr1.train config.yaml --dry-run`.

Builds the model on the meta device to count its parameters, and prints the memory of `groundr1.memory` for this
machine, for one GPU with LoRA, and for four and eight with ZeRO-3. Not in the paper: our choice, because a run that
does not fit should be found out before a cluster is booked.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft import get_peft_model
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from groundr1.config import TrainConfig
from groundr1.memory import Parameters, Plan, Step, estimate
from groundr1.model import lora_config
from groundr1.prompts import PROMPTS
from groundr1.shapes import model_config, own_pixels

GIB, MIB = 2**30, 2**20
RESERVE = 0.1  # of a device's memory
CHAT_TOKENS, QUESTION_TOKENS, LETTERS = 24, 64, 4  # markup of a turn; a long question; letters a token
PIXELS_V2 = 401408  # of the paper's v2 code

ROWS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer (AdamW)",
    "reference": "reference model",
    "zero3_buffers": "ZeRO-3 buffers",
    "vllm": "vLLM",
    "features": "image features",
    "gathered": "rollout: all weights gathered",
    "kv_cache": "rollout: KV cache",
    "rollout_scratch": "rollout: scratch",
    "activations": "update: activations",
    "logits": "update: logits",
    "update_scratch": "update: a layer's scratch",
    "rollout": "peak of the rollout",
    "update": "peak of the update",
}

ASSUMPTIONS = f"""\
Assumptions
- Tensors as TRL 1.16, transformers 5.23, PEFT 0.21, torch 2.13 and DeepSpeed 0.19 allocate them. A tenth of each device
  is left for the CUDA context, NCCL, what kernels use inside, and fragmentation.
- The worst case: every turn has max_turn_tokens, every picture and crop max_pixels, every trajectory max_crops. A
  token is 28 x 28 pixels or {LETTERS} letters of prompt; a question has {QUESTION_TOKENS}, markup {CHAT_TOKENS} a turn.
- Weights lie in the type they are loaded in, and so do gradients and AdamW's two moments (DDP adds a second copy of the
  gradients, not counted). LoRA adapters are float32, and the reference model is the base without them.
- ZeRO-3 (TRL's zero3.yaml) trains all weights in bfloat16, shares out weights, reference, gradients and optimizer, and
  keeps float32 copies and float32 moments of what is trained. It gathers 1e9 parameters at a time and reduces buckets
  of 5e8, DeepSpeed's defaults; for the rollout it gathers all weights.
- Our rollout's cache has one row a trajectory, each with its own copy of the prefix; while rows are copied, because
  some have ended, the old ones are still there.
- Attention is sdpa: no matrix of tokens by tokens a head, but a mask that each layer keeps. Gradient checkpointing
  keeps each layer's input and recomputes one layer at a time.
- TRL projects the logits of the update in tiles of 4,096 tokens by 32,768 words; all of them never exist at once.
- The two peaks are those of their moments: what is not there at the same time is not added up. Host memory is not
  counted, where each process first holds all weights.
- Checked against measured runs of a small model on a CPU; the ZeRO-3 parts follow DeepSpeed's source, unmeasured."""


@dataclass(frozen=True)
class Setup:
    """One column of the table: devices of `memory` bytes, and what of the configuration it sets."""

    name: str
    gpus: int
    memory: int
    zero3: bool = False
    on_gpu: bool = True
    trains: str = "as configured"  # or "LoRA" or "all weights"

    def apply(self, config: TrainConfig) -> TrainConfig:
        """The configuration as this setup runs it."""
        if self.trains == "as configured":
            return config
        return replace(config, lora=(config.lora or {}) if self.trains == "LoRA" else None)


def setups() -> list[Setup]:
    """This machine, and the three that the kit is laid out for; an 80 GB card shows 79 GiB."""
    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        here = Setup(found.name, 1, found.total_memory)
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        here = Setup("this CPU", 1, memory, on_gpu=False)
    return [
        here,
        Setup("1 x 80 GB", 1, 79 * GIB, trains="LoRA"),
        Setup("4 x 80 GB", 4, 79 * GIB, zero3=True, trains="all weights"),
        Setup("8 x 80 GB", 8, 79 * GIB, zero3=True, trains="all weights"),
    ]


def dry_run(config: TrainConfig) -> str:
    """The report of a configuration, some fifty lines of text.

    Raises:
        FileNotFoundError: The model's configuration is neither here nor known to the kit.
    """
    model = model_config(config.model)
    columns = []
    for setup in setups():
        parameters = count_parameters(model, setup.apply(config))
        columns.append((setup, parameters, evaluate(config, model, setup, parameters)))
    step, dtype = step_of(config, model, 1), str(_dtype(config, model)).removeprefix("torch.")
    lines = [
        f"{config.name}: {config.model}, {columns[0][1].total:,} parameters, {dtype}",
        f"A trajectory: {step.prompt_tokens:,} tokens of prompt, {step.max_crops + 1} turns of {step.turn_tokens:,},"
        f" {step.max_crops} crops of {step.evidence_tokens:,}: {step.sequence:,} tokens."
        f" A step: {config.prompts_per_step} prompts of {config.group_size} trajectories.",
        "",
        *_table(columns),
        "",
    ]
    for setup, parameters, parts in columns:
        if config.prompts_per_step % setup.gpus:
            lines.append(
                f"{setup.name}: prompts_per_step must be a multiple of {setup.gpus}, and is rounded up here."
            )
        if not fits(parts, setup):
            lines.append(f"{setup.name}: {advice(setup.apply(config), model, setup, parameters)}")
    return "\n".join([*lines, "", ASSUMPTIONS, ""])


def count_parameters(model: Qwen2_5_VLConfig, config: TrainConfig) -> Parameters:
    """Parameters of the model as the trainer trains it, counted on the meta device."""
    with torch.device("meta"):
        made = Qwen2_5_VLForConditionalGeneration(model)
        total = sum(each.numel() for each in made.parameters())
        if config.lora is not None:
            adapted = get_peft_model(made, lora_config(config.lora))
            adapters = sum(each.numel() for each in adapted.parameters() if each.requires_grad)
            return Parameters(total=total, trainable=adapters, adapters=adapters)
    frozen = sum(each.numel() for each in made.model.visual.parameters()) if config.freeze_vision else 0
    return Parameters(total=total, trainable=total - frozen)


def step_of(config: TrainConfig, model: Qwen2_5_VLConfig, gpus: int) -> Step:
    """What each of `gpus` GPUs does in a step, at its worst."""
    vision = model.vision_config
    prompts = PROMPTS["short" if config.model == "tiny" else "full"]
    picture = math.ceil(_pixels(config) / (vision.patch_size * vision.spatial_merge_size) ** 2)
    opening = prompts.ground if config.max_crops else prompts.direct
    follow_up = max(len(prompts.after_crop), len(prompts.last))
    rows = math.ceil(config.prompts_per_step / gpus) * config.group_size
    micro = min(config.micro_batch_size or rows, rows)
    return Step(
        prompts=rows // config.group_size,
        num_groundings=config.num_groundings,
        num_answers=config.num_answers,
        max_crops=config.max_crops,
        picture_tokens=picture,
        prompt_tokens=picture + len(opening) // LETTERS + QUESTION_TOKENS + CHAT_TOKENS,
        evidence_tokens=picture + follow_up // LETTERS + CHAT_TOKENS,
        turn_tokens=config.max_turn_tokens,
        micro_batch=micro,
        accumulates=micro < rows,
    )


def evaluate(
    config: TrainConfig, model: Qwen2_5_VLConfig, setup: Setup, parameters: Parameters
) -> dict[str, int]:
    """Bytes of each part on one device of a setup, see `groundr1.memory.estimate`."""
    plan = Plan(
        element=2 if setup.zero3 else _dtype(config, model).itemsize,
        zero3=setup.zero3,
        shards=setup.gpus if setup.zero3 else 1,
        on_gpu=setup.on_gpu,
        reference=config.beta > 0,
        checkpointing=config.gradient_checkpointing,
        trains_vision=not (parameters.adapters or config.freeze_vision),
        vllm=_vllm(config, setup),
    )
    return estimate(model, parameters, step_of(config, model, setup.gpus), plan)


def fits(parts: dict[str, int], setup: Setup) -> bool:
    """Whether the peak leaves the reserve free."""
    return parts["total"] <= (1 - RESERVE) * setup.memory


def advice(config: TrainConfig, model: Qwen2_5_VLConfig, setup: Setup, parameters: Parameters) -> str:
    """What to change until it fits, with the peak after each change: first what costs nothing but time, then sizes,
    then what changes the training."""
    changes: list[dict[str, Any]] = [
        {"gradient_checkpointing": True},
        {"micro_batch_size": 1},
        {"max_pixels": PIXELS_V2},
        {"prompts_per_step": setup.gpus},
        {"max_turn_tokens": 256},
        {"max_crops": 1},
        {"beta": 0.0},
        *([{"lora": {}}] if setup.trains == "as configured" and config.lora is None else []),
    ]
    peak = evaluate(config, model, setup, parameters)["total"]
    done = []
    for change in changes:
        changed = replace(config, **change)
        counted = count_parameters(model, changed) if "lora" in change else parameters
        parts = evaluate(changed, model, setup, counted)
        if parts["total"] > 0.99 * peak:  # it is so already, or decides nothing
            continue
        config, parameters, peak = changed, counted, parts["total"]
        [(field, value)] = change.items()
        done.append(f"{field}: {str(value).lower()} ({peak / GIB:,.1f} GiB)")
        if fits(parts, setup):
            return f"fits with {', then '.join(done)}."
    tried = ", then ".join(done) or "anything tried here"
    return f"does not fit with {tried}. It needs more or larger GPUs, or rollouts on a vLLM server."


def _table(columns: Sequence[tuple[Setup, Parameters, dict[str, int]]]) -> list[str]:
    largest = max(parts["total"] for _, _, parts in columns)
    unit, name = (GIB, "GiB") if largest >= 4 * GIB else (MIB, "MiB")
    rows = [
        [f"{name} on each device", *(setup.name for setup, _, _ in columns)],
        ["", *("LoRA" if counted.adapters else "all weights" for _, counted, _ in columns)],
        ["", *("ZeRO-3" if setup.zero3 else "" for setup, _, _ in columns)],
        [
            "trainable parameters (millions)",
            *(f"{counted.trainable / 1e6:,.1f}" for _, counted, _ in columns),
        ],
    ]
    for key, label in ROWS.items():
        if any(parts[key] for _, _, parts in columns):
            rows.append([label, *(_amount(parts[key], unit) for _, _, parts in columns)])
    rows.append(["there is", *(_amount(setup.memory, unit) for setup, _, _ in columns)])
    rows.append(["", *("fits" if fits(parts, setup) else "DOES NOT FIT" for setup, _, parts in columns)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    ]


def _amount(number: int, unit: int) -> str:
    return f"{number / unit:,.1f}" if number else "-"


def _dtype(config: TrainConfig, model: Qwen2_5_VLConfig) -> torch.dtype:
    return (model.dtype or torch.float32) if config.dtype == "auto" else getattr(torch, config.dtype)


def _pixels(config: TrainConfig) -> int:
    return config.max_pixels or max(own_pixels(config.model), config.min_pixels or 0)


def _vllm(config: TrainConfig, setup: Setup) -> int | None:
    """Memory that vLLM takes beside the trainer; TRL's default is to run it there, in 0.3 of the GPU."""
    if not config.trainer.get("use_vllm"):
        return None
    if config.trainer.get("vllm_mode", "colocate") == "server":
        return 0
    return int(config.trainer.get("vllm_gpu_memory_utilization", 0.3) * setup.memory)
