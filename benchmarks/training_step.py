"""Time of a training step: SRPOTrainer with SRPO on, against TRL's GRPOTrainer, on one-turn prompts.

Both answer from the view alone (no crop), on the same prompts, with the same model, group size, reward functions and
reference, a frozen vision tower, and turns that all run to the same limit: equal tokens. Two parts:

    whole step    generation, rewards, advantages, loss, backward, optimizer; a step of one, then a step of the other
    optimisation  loss, backward, optimizer on one and the same batch, its pictures shared in ours, as pixels in TRL's

    python -m benchmarks.training_step
    python -m benchmarks.training_step --models larger --prompts 8
"""

import argparse
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.common import Row, interleaved, parser, print_table, summary, write_results
from benchmarks.models import folder_of, never_ending, processor_of
from groundr1.data import make_scenes
from groundr1.model import load_model
from groundr1.parsing import parse_answer
from groundr1.prompts import PROMPTS
from groundr1.rewards import answer_reward, format_reward
from groundr1.trainer import SRPOConfig, SRPOTrainer

OURS, TRL = "SRPOTrainer", "GRPOTrainer"
GROUNDINGS, ANSWERS = 4, 2
WARMUP = 2  # steps of each that are not counted


def format_of_turn(completions: Sequence[list[dict]], **_: Any) -> list[float]:
    """Format reward from the text alone, so that TRL's trainer can be given it too."""
    return [format_reward([turns[-1]["content"]]) for turns in completions]


def answer_of_turn(
    completions: Sequence[list[dict]], solution: Sequence[Any], kind: Sequence[str], **_: Any
) -> list[float]:
    """Answer reward likewise."""
    rows = zip(completions, solution, kind, strict=True)
    return [answer_reward(parse_answer(turns[-1]["content"]), right, how) for turns, right, how in rows]


def one_turn_prompts(num: int) -> Dataset:
    """Scenes with the prompt that our rollouts make of them, for TRL."""
    scenes = make_scenes(num, seed=1)
    text = [PROMPTS["short"].direct.format(question=question) for question in scenes["question"]]
    return scenes.add_column("prompt", [[{"role": "user", "content": one}] for one in text])


def trainers(name: str, options: argparse.Namespace, steps: int) -> dict[str, GRPOTrainer]:
    """The two trainers, each with a model and a processor of its own."""
    dataset = one_turn_prompts(max(4 * options.prompts, 8))
    shared: dict[str, Any] = {
        "per_device_train_batch_size": options.prompts * GROUNDINGS * ANSWERS // options.micro_batches,
        "gradient_accumulation_steps": options.micro_batches,
        "beta": options.beta,
        "max_steps": steps,
        "learning_rate": 1e-5,
        "loss_type": "grpo",
        "top_k": 0,
        "bf16": torch.accelerator.is_available(),
        "use_cpu": not torch.accelerator.is_available(),
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    ours = SRPOConfig(
        tempfile.mkdtemp(), num_groundings=GROUNDINGS, num_answers=ANSWERS, max_crops=0,
        max_turn_tokens=options.turn_tokens, **shared,
    )  # fmt: skip
    theirs = GRPOConfig(
        tempfile.mkdtemp(),
        num_generations=GROUNDINGS * ANSWERS,
        max_completion_length=options.turn_tokens,
        **shared,
    )
    made = {}
    for kind, args in ((SRPOTrainer, ours), (GRPOTrainer, theirs)):
        model = load_model(folder_of(name))
        model.model.visual.requires_grad_(False)
        made[kind.__name__] = kind(
            model=model,
            reward_funcs=[format_of_turn, answer_of_turn],
            args=args,
            train_dataset=dataset,
            processing_class=processor_of(name),
        )
        made[kind.__name__].remove_callback(PrinterCallback)
    return made


class Turns(TrainerCallback):
    """Lets trainers that each run in a thread take one step in turn, and times the steps, from the moment a trainer may
    go on until its step has ended: the data loader's next batch is part of it."""

    def __init__(self, name: str, order: list[str], condition: threading.Condition) -> None:
        self.name, self.order, self.condition = name, order, condition
        self.seconds: list[float] = []

    def wait(self) -> None:
        """Until it is our turn."""
        with self.condition:
            self.condition.wait_for(lambda: self.order[0] == self.name)
        self.start = time.perf_counter()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.wait()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        self.seconds.append(time.perf_counter() - self.start)
        with self.condition:
            self.order.append(self.order.pop(0))
            self.condition.notify_all()
        self.wait()

    def leave(self) -> None:
        """No more steps of ours."""
        with self.condition:
            self.order.remove(self.name)
            self.condition.notify_all()


def step_by_step(made: dict[str, GRPOTrainer]) -> dict[str, list[float]]:
    """Seconds of the steps of each trainer, taken in turns; the first `WARMUP` are left out."""
    condition, order = threading.Condition(), list(made)
    turns = {name: Turns(name, order, condition) for name in made}

    def train(name: str) -> None:
        made[name].add_callback(turns[name])
        try:
            made[name].train()
        finally:
            turns[name].leave()

    with ThreadPoolExecutor(len(made)) as pool:
        list(pool.map(train, made))
    return {name: each.seconds[WARMUP:] for name, each in turns.items()}


def same_batch(made: dict[str, GRPOTrainer]) -> dict[str, dict[str, Any]]:
    """One generation batch of ours, as each trainer reads it: by entry number, and as pixels."""
    trainer = made[OURS]
    trainer.model.train()
    rows = [trainer.train_dataset[i] for i in range(trainer._train_batch_size // trainer.num_generations)]
    ours = trainer._generate_and_score_completions(
        [dict(row) for row in rows for _ in range(trainer.num_generations)]
    )
    store, starts = trainer._current_pictures(), ours["image_grid_thw"].prod(-1).cumsum(0)
    entries = ours["pixel_values"][
        starts - 1
    ].tolist()  # an entry number stands at each of a picture's patches
    pixels = torch.cat([store.pixels(entry) for entry in entries]).to(ours["pixel_values"].device)
    return {OURS: ours, TRL: ours | {"pixel_values": pixels}}


def optimisation(trainer: GRPOTrainer, batch: dict[str, Any]) -> Callable[[], None]:
    """Loss, backward and optimizer step on a batch."""
    trainer.current_gradient_accumulation_steps = 1

    def step() -> None:
        trainer.model.train()
        trainer.accelerator.backward(trainer.compute_loss(trainer.model, batch))
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()

    return step


def measure(model: str, options: argparse.Namespace) -> list[Row]:
    """Rows of the table for one model."""
    made = trainers(model, options, WARMUP + options.repeats)
    with contextlib.ExitStack() as hooks:
        for trainer in made.values():
            hooks.enter_context(never_ending(trainer.model, trainer.processing_class))
        times = {"whole step": step_by_step(made)}
        tokens = {name: tokens_a_step(trainer) for name, trainer in made.items()}
        batches = same_batch(made)
        functions = {name: optimisation(trainer, batches[name]) for name, trainer in made.items()}
        times["optimisation"] = interleaved(functions, repeats=options.repeats, warmup=WARMUP)
    num = len(batches[OURS]["prompt_ids"])
    rows = []
    for part, seconds in times.items():
        for row in summary(seconds, baseline=TRL):
            rows.append(
                {"part": part, "model": model, "trajectories": num}
                | {"tokens_a_step": tokens[row["name"]] if part == "whole step" else tokens[OURS]}
                | row
                | {"of_trl": 1 / row["times_faster"]}
            )
    return rows


def tokens_a_step(trainer: GRPOTrainer) -> float:
    """Tokens of prompts and completions, over the training, as the trainer counted them."""
    return trainer.state.num_input_tokens_seen / trainer.state.global_step


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the json file."""
    options = parser(__doc__, repeats=5)
    options.add_argument(
        "--models", nargs="+", default=["tiny", "larger"], help="tiny, larger, 3b, 7b, or a folder"
    )
    options.add_argument("--prompts", type=int, default=4, help="prompts a step, of 8 trajectories (4)")
    options.add_argument("--turn-tokens", type=int, default=32, help="tokens of every turn (32)")
    options.add_argument("--micro-batches", type=int, default=1, help="gradient accumulation (1)")
    options.add_argument("--beta", type=float, default=0.01, help="of the KL term; 0 has no reference (0.01)")
    options = options.parse_args(arguments)
    rows = []
    for model in options.models:
        rows += measure(model, options)
    print_table(rows, "Training step, one turn, equal tokens")
    write_results("training_step", rows, vars(options))


if __name__ == "__main__":
    main()
