"""The pretraining loop of the tiny base model: stages, optimizers, loss.

The loss is a weighted cross-entropy on the model's turns; a coordinate's target is spread over its neighbours, so that
near misses cost less than far ones.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import Qwen2_5_VLForConditionalGeneration

from groundr1.data.drawing import COLOURS, RELATIONS, WORDS
from groundr1.pretrain.curriculum import (
    THOUGHTS,
    Conversations,
    Mix,
)
from groundr1.pretrain.losses import batch_loss, number_targets
from groundr1.pretrain.vision import Heads, warm_up_loss
from groundr1.pretrain.vision import batches as view_batches
from groundr1.prompts import PROMPTS
from groundr1.tiny import VIEW_SIDE, build_processor, build_tokenizer, tiny_config

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A stretch of pretraining.

    Attributes:
        steps: Number of batches.
        mix: What a batch holds; None warms the vision tower up on ``VIEWS`` views.
        start, end: Learning rate of the matrices, from the first step to the last, on a logarithmic scale.
        blur: Standard deviation of a coordinate's target, in view pixels.
    """

    steps: int
    mix: Mix | None
    start: float
    end: float
    blur: float = 1.0


STAGES = (
    Stage(steps=1800, mix=None, start=4e-3, end=1.5e-3),
    Stage(steps=1500, mix=Mix(read=8, point=48, talk=0, loose=0.0), start=4e-3, end=2e-3, blur=1.5),
    Stage(steps=500, mix=Mix(read=8, point=16, talk=24, loose=0.0), start=2e-3, end=8e-4),
    Stage(steps=500, mix=Mix(read=12, point=8, talk=32, loose=0.8), start=1e-3, end=1e-4),
)
VIEWS = 20  # a step of the warm-up
WARM_UP = 50  # steps at the start of a stage during which the learning rate rises
VECTOR_RATE = 0.5  # learning rate of embeddings, norms and biases over that of the matrices
VISION_RATE = 0.3  # likewise of the vision tower's, after its own stage


def corpus() -> list[str]:
    """The texts of the tiny world, for the tokenizer."""
    prompts = PROMPTS["short"]
    questions = [f"What is on the {c} tile?" for c in COLOURS] + [
        f"What is written at the {c} mark?" for c in COLOURS
    ]
    questions += [f"Where is the {c} shape, seen from the {d} one?" for c in COLOURS for d in COLOURS]
    texts = [prompts.ground.format(question=q, width=VIEW_SIDE, height=VIEW_SIDE) for q in questions]
    texts += [prompts.direct.format(question=q) for q in questions] + [prompts.last, prompts.after_crop] * 20
    return texts + [*WORDS, *RELATIONS, *THOUGHTS.values(), "read it", "user", "assistant"] * 50


def learning_rate(step: int, stage: Stage) -> float:
    """Of the matrices at a step of a stage: a short rise, then a straight line on a logarithmic scale."""
    return min(1.0, (step + 1) / WARM_UP) * stage.start * (stage.end / stage.start) ** (step / stage.steps)


class Optimizers:
    """Muon on the hidden matrices, AdamW on the rest.

    Our choice, because on this model Muon read 38 % of crops after 500 steps of the warm-up where AdamW read 24 %.
    """

    def __init__(self, model: nn.Module, heads: nn.Module):
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in [*model.named_parameters(), *heads.named_parameters()]:
            is_matrix = parameter.ndim == 2 and "embed" not in name and name.count(".") > 1
            groups.setdefault((is_matrix, "visual" in name), []).append(parameter)
        settings = {"lr": 1e-3, "weight_decay": 0.02}
        matrices = [{"params": ps, "vision": vision} for (matrix, vision), ps in groups.items() if matrix]
        vectors = [{"params": ps, "vision": vision} for (matrix, vision), ps in groups.items() if not matrix]
        self.muon = torch.optim.Muon(matrices, **settings, momentum=0.95, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(vectors, **settings, betas=(0.9, 0.98))
        self.parameters = [parameter for parameters in groups.values() for parameter in parameters]

    def step(self, rate: float, vision_rate: float) -> None:
        """Average the gradients over the processes, clip them, and step; parameters without a gradient stay."""
        used = [parameter for parameter in self.parameters if parameter.grad is not None]
        flat = torch.cat([parameter.grad.flatten() for parameter in used])
        torch.distributed.all_reduce(flat)
        flat /= torch.distributed.get_world_size()
        for parameter, part in zip(used, flat.split([parameter.numel() for parameter in used]), strict=True):
            parameter.grad.copy_(part.view_as(parameter))
        nn.utils.clip_grad_norm_(used, 1.0)
        for optimizer, factor in ((self.muon, 1.0), (self.adamw, VECTOR_RATE)):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor * (vision_rate if group["vision"] else 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def pretrain(out: Path, *, seed: int, processes: int = 2, save_every: int = 500) -> Path:
    """Run all stages; resumes from ``out/training.pt`` when it is there.

    Args:
        out: Folder for the model, the processor and the training state.
        seed: Of the weights and of the scenes.
        processes: Each takes its share of every batch on one core: faster than one process with as many threads,
            which at this width spend their time waiting for one another.
        save_every: Steps between two savings.

    Returns:
        ``out``, holding a checkpoint as ``save_pretrained`` writes it.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.multiprocessing.spawn(_run, args=(processes, out, seed, save_every), nprocs=processes)
    for leftover in out.glob("rendezvous-*"):
        leftover.unlink()
    (out / "training.pt").unlink(missing_ok=True)
    return out


def _run(rank: int, processes: int, out: Path, seed: int, save_every: int) -> None:
    logging.basicConfig(
        level=logging.INFO if rank == 0 else logging.WARNING, format="%(asctime)s %(message)s"
    )
    torch.set_num_threads(1)
    rendezvous = torch.distributed.FileStore(str(out / f"rendezvous-{os.getppid()}"), processes)
    torch.distributed.init_process_group("gloo", store=rendezvous, rank=rank, world_size=processes)
    torch.manual_seed(seed)
    processor = build_processor(build_tokenizer(corpus()))
    config = tiny_config(processor.tokenizer)
    config.text_config._attn_implementation = "eager"  # the only one that gives attention weights
    model = Qwen2_5_VLForConditionalGeneration(config).train()
    heads = Heads(model.config.text_config.hidden_size)
    optimizers = Optimizers(model, heads)
    parts = {"model": model, "heads": heads, "muon": optimizers.muon, "adamw": optimizers.adamw}
    state_path, begin = out / "training.pt", 0
    if state_path.is_file():
        state = torch.load(state_path, weights_only=True)
        begin = state.pop("step")
        for name, part in state.items():
            parts[name].load_state_dict(part)
    first = 0
    total = sum(stage.steps for stage in STAGES)
    with tqdm(total=total, initial=begin, unit="step", mininterval=10, disable=rank > 0) as bar:
        for number, stage in enumerate(STAGES):
            losses = _losses(
                stage,
                model,
                heads,
                processor,
                seed=seed + 10 * number + max(begin, first),
                rank=rank,
                processes=processes,
            )
            for step in range(max(begin, first), first + stage.steps):
                loss, shown = next(losses)
                loss.backward()
                optimizers.step(learning_rate(step - first, stage), 1.0 if stage.mix is None else VISION_RATE)
                bar.update()
                bar.set_postfix(shown, refresh=False)
                if rank == 0 and (step + 1) % save_every == 0:
                    state = {name: part.state_dict() for name, part in parts.items()} | {"step": step + 1}
                    torch.save(state, state_path.with_suffix(".partial"))
                    state_path.with_suffix(".partial").replace(state_path)
                    logger.info("step %d: %s", step + 1, shown)
            first += stage.steps
    if rank == 0:
        model.eval().save_pretrained(out)
        processor.save_pretrained(out)
    torch.distributed.destroy_process_group()


def _losses(stage, model, heads, processor, **stream) -> Iterator[tuple[torch.Tensor, dict[str, str]]]:
    """The loss of each batch of a stage, with its parts averaged over about 50 steps, to be shown."""
    means: dict[str, float] = {}
    targets = number_targets(processor, model.config.text_config.vocab_size, stage.blur)
    if stage.mix is None:
        batches = view_batches(processor, VIEWS // stream["processes"], **stream)
    else:
        batches = iter(Conversations(processor, stage.mix, **stream))
    for batch in batches:
        if stage.mix is None:
            loss, parts = warm_up_loss(model, heads, batch)
        else:
            loss, parts = batch_loss(model, heads, batch, targets, processor)
        for name, value in parts.items():
            means[name] = value if name not in means else 0.98 * means[name] + 0.02 * value
        yield loss, {name: f"{value:.3f}" for name, value in means.items()}
