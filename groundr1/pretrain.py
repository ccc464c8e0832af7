"""Make the tiny base model: ``python -m groundr1.pretrain --out groundr1/assets/tiny``.

The paper starts from a model that can see, point and read (Qwen2.5-VL-7B-Instruct); this makes one that fits a laptop.
Not in the paper: our choice (design: a base that cannot point collapses to large boxes under either trainer). Three
stages, each a mix of the exercises of :mod:`groundr1.curriculum`. The loss is a weighted cross-entropy on the model's
turns; a coordinate's target is spread over its neighbours, so that near misses cost less than far ones.
"""

import argparse
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import Qwen2_5_VLForConditionalGeneration

from groundr1.curriculum import THOUGHTS, Conversations, Mix, normalise
from groundr1.data.scenes import COLOURS, RELATIONS, WORDS
from groundr1.prompts import PROMPTS
from groundr1.tiny import VIEW_SIDE, TinyProcessor, build_processor, build_tokenizer, tiny_config

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A stretch of pretraining: ``steps`` batches of ``mix``, the learning rate going from ``start`` to ``end``."""

    steps: int
    mix: Mix
    start: float
    end: float
    blur: float  # standard deviation of a coordinate's target, in view pixels


STAGES = (
    Stage(steps=2500, mix=Mix(read=24, point=32, talk=0, loose=0.0), start=1.5e-3, end=1e-3, blur=1.5),
    Stage(steps=1600, mix=Mix(read=16, point=16, talk=24, loose=0.0), start=1e-3, end=3e-4, blur=1.0),
    Stage(steps=500, mix=Mix(read=8, point=8, talk=32, loose=0.4), start=3e-4, end=3e-5, blur=1.0),
)
WARM_UP = 100  # steps


def corpus() -> list[str]:
    """The texts of the tiny world, for the tokenizer."""
    prompts = PROMPTS["short"]
    questions = [f"What is on the {c} tile?" for c in COLOURS] + [f"What is written at the {c} mark?" for c in COLOURS]
    questions += [f"Where is the {c} shape, seen from the {d} one?" for c in COLOURS for d in COLOURS]
    texts = [prompts.ground.format(question=q, width=VIEW_SIDE, height=VIEW_SIDE) for q in questions]
    texts += [prompts.direct.format(question=q) for q in questions] + [prompts.last, prompts.after_crop] * 20
    return texts + [*WORDS, *RELATIONS, *THOUGHTS.values(), "read it", "user", "assistant"] * 50


def learning_rate(step: int) -> float:
    """Warm-up, then each stage's own straight line on a logarithmic scale."""
    first = 0
    for stage in STAGES:
        if step < first + stage.steps:
            done = (step - first) / stage.steps
            return min(1.0, (step + 1) / WARM_UP) * stage.start * (stage.end / stage.start) ** done
        first += stage.steps
    return STAGES[-1].end


def number_targets(processor: TinyProcessor, vocab_size: int, blur: float) -> torch.Tensor:
    """Target distributions by token id: one-hot, but a number's is a Gaussian over the numbers 0-112.

    Returns:
        ``(vocab_size, vocab_size)`` float32, rows sum to 1.
    """
    targets = torch.eye(vocab_size)
    ids = torch.tensor(processor.tokenizer.convert_tokens_to_ids([str(n) for n in range(VIEW_SIDE + 1)]))
    distance = torch.arange(VIEW_SIDE + 1.0)[:, None] - torch.arange(VIEW_SIDE + 1.0)
    spread = torch.exp(-0.5 * (distance / blur) ** 2)
    targets[ids[:, None], ids] = spread / spread.sum(1, keepdim=True)
    return targets


def batch_loss(
    model: Qwen2_5_VLForConditionalGeneration, batch: dict, targets: torch.Tensor, processor: TinyProcessor
) -> torch.Tensor:
    """Weighted cross-entropy on the model's turns. A digit answer is no coordinate: its target stays one-hot."""
    hidden = model.model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        mm_token_type_ids=batch["mm_token_type_ids"],
        pixel_values=normalise(batch["patches"], processor),
        image_grid_thw=batch["image_grid_thw"],
    ).last_hidden_state
    weights = batch["weights"][:, 1:]
    kept = weights > 0
    labels, weights = batch["input_ids"][:, 1:][kept], weights[kept]
    log_probs = F.log_softmax(model.lm_head(hidden[:, :-1][kept]), dim=-1)  # (kept tokens, vocabulary)
    exact = -log_probs.gather(1, labels[:, None])[:, 0]
    spread = -(targets[labels] * log_probs).sum(1)
    losses = torch.where(weights == 2.0, spread, exact)
    return (losses * weights).sum() / weights.sum()


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
    (out / "training.pt").unlink(missing_ok=True)
    return out


def _run(rank: int, processes: int, out: Path, seed: int, save_every: int) -> None:
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    rendezvous = torch.distributed.FileStore(str(out / "rendezvous"), processes)
    torch.distributed.init_process_group("gloo", store=rendezvous, rank=rank, world_size=processes)
    torch.manual_seed(seed)
    processor = build_processor(build_tokenizer(corpus()))
    model = Qwen2_5_VLForConditionalGeneration(tiny_config(processor.tokenizer)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02, betas=(0.9, 0.98))
    state_path, begin = out / "training.pt", 0
    if state_path.is_file():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        begin = state["step"]
    first = 0
    bar = tqdm(total=sum(stage.steps for stage in STAGES), initial=begin, unit="step", mininterval=10, disable=rank > 0)
    for number, stage in enumerate(STAGES):
        todo = range(max(begin, first), first + stage.steps)
        first += stage.steps
        if todo:
            stream = Conversations(
                processor, stage.mix, seed=seed + 10 * number + todo.start, rank=rank, processes=processes
            )
            _run_stage(model, processor, optimizer, stage, stream, todo, bar, out / "training.pt", save_every)
    if rank == 0:
        model.eval().save_pretrained(out)
        processor.save_pretrained(out)
        (out / "rendezvous").unlink(missing_ok=True)
    torch.distributed.destroy_process_group()


def _run_stage(model, processor, optimizer, stage, stream, todo, bar, state_path, save_every) -> None:
    targets = number_targets(processor, model.config.text_config.vocab_size, stage.blur)
    mean_loss, batches = math.nan, iter(stream)
    for step in todo:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        loss = batch_loss(model, next(batches), targets, processor)
        loss.backward()
        _average_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean_loss = loss.item() if math.isnan(mean_loss) else 0.98 * mean_loss + 0.02 * loss.item()
        bar.update()
        bar.set_postfix(loss=f"{mean_loss:.3f}", refresh=False)
        if (step + 1) % save_every == 0 and not bar.disable:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, state_path.with_suffix(".partial"))
            state_path.with_suffix(".partial").replace(state_path)
            logger.info(json.dumps({"step": step + 1, "loss": round(mean_loss, 4)}))


def _average_gradients(model: Qwen2_5_VLForConditionalGeneration) -> None:
    gradients = [parameter.grad for parameter in model.parameters()]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def main() -> None:
    """Command line of the pretraining."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="one core each; the batch is divided among them")
    arguments = parser.parse_args()
    pretrain(arguments.out, seed=arguments.seed, processes=arguments.processes)


if __name__ == "__main__":
    main()
