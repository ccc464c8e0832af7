"""What the advantages cost: SRPO's and GRPO's by themselves, and SRPO's as a share of a real training step.

By themselves for 64 to 65,536 trajectories in groups of 8, with the slope of log(seconds) against log(trajectories)
over the three largest, where the calls themselves no longer count; inside a step of SRPOTrainer (grounded, two turns)
by timing the trainer's own call.

    python -m benchmarks.advantage_share
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial

import torch
from transformers import PrinterCallback

from benchmarks.common import Row, interleaved, parser, print_table, summary, write_results
from benchmarks.models import folder_of, processor_of
from benchmarks.scaling import slope
from groundr1.data import make_scenes
from groundr1.model import load_model
from groundr1.srpo import grpo_advantages, srpo_advantages
from groundr1.trainer import SRPOConfig, SRPOTrainer

GROUP = 8


def alone(options: argparse.Namespace) -> tuple[list[Row], list[Row]]:
    """Seconds of each advantage at each number of trajectories, and the slopes."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    rows: list[Row] = []
    for number in options.trajectories:
        generator = torch.Generator().manual_seed(number)
        rewards, areas = torch.rand((2, number), generator=generator).to(device)
        functions = {
            "SRPO": partial(srpo_advantages, rewards, areas, GROUP),
            "GRPO": partial(grpo_advantages, rewards, GROUP),
        }
        times = interleaved(functions, repeats=options.repeats, warmup=3)
        rows += [
            {"trajectories": number, **row, "us_a_trajectory": 1e6 * row["median_s"] / number}
            for row in summary(times)
        ]
    fits = []
    largest = sorted(options.trajectories)[-3:]
    for name in ("SRPO", "GRPO") if len(largest) > 1 else ():
        seconds = {row["trajectories"]: row["median_s"] for row in rows if row["name"] == name}
        gradient, fit = slope(largest, [seconds[number] for number in largest])
        fits.append({"name": name, "slope": gradient, "R2": fit})
    return rows, fits


class TimedTrainer(SRPOTrainer):
    """Notes the seconds of each step and of the advantages in it."""

    def training_step(self, *arguments, **options):
        start = time.perf_counter()
        loss = super().training_step(*arguments, **options)
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        self.step_seconds.append(time.perf_counter() - start)
        return loss

    def _scale_relative_advantages(self, rewards):
        start = time.perf_counter()
        advantages = super()._scale_relative_advantages(rewards)
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        self.advantage_seconds.append(time.perf_counter() - start)
        return advantages


def in_a_step(options: argparse.Namespace) -> list[Row]:
    """Medians over the steps of a short training; the optimizer's own step is not counted, so that the share is rather
    too large than too small."""
    args = SRPOConfig(
        tempfile.mkdtemp(), num_groundings=4, num_answers=2, max_turn_tokens=options.turn_tokens, beta=0.01,
        per_device_train_batch_size=options.prompts * GROUP, max_steps=1 + options.repeats, learning_rate=1e-5,
        bf16=torch.accelerator.is_available(), use_cpu=not torch.accelerator.is_available(),
        gradient_checkpointing=False, save_strategy="no", report_to="none", disable_tqdm=True,
    )  # fmt: skip
    trainer = TimedTrainer(
        load_model(folder_of(options.model)),
        args=args,
        train_dataset=make_scenes(max(4 * options.prompts, 8), seed=1, progress=False),
        processing_class=processor_of(options.model),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.step_seconds, trainer.advantage_seconds = [], []
    trainer.train()
    step = statistics.median(trainer.step_seconds[1:])
    advantage = statistics.median(trainer.advantage_seconds[1:])
    row = {"trajectories": options.prompts * GROUP, "step_s": step, "advantage_s": advantage}
    return [row | {"share_percent": 100 * advantage / step}]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write the json file."""
    options = parser(__doc__, repeats=9)
    options.add_argument("--model", default="tiny", help="tiny, larger, 3b, 7b, a folder or a Hub id (tiny)")
    options.add_argument(
        "--trajectories", type=int, nargs="+", default=[64, 256, 1024, 4096, 16384, 65536],
        help="numbers of trajectories (64 to 65536)",
    )  # fmt: skip
    options.add_argument("--prompts", type=int, default=8, help="prompts of the measured step (8)")
    options.add_argument("--turn-tokens", type=int, default=32, help="limit of tokens a turn (32)")
    options = options.parse_args(arguments)
    rows, fits = alone(options)
    share = in_a_step(options)
    print_table(rows, "Advantages by themselves")
    print_table(fits, "Slope of log(seconds) against log(trajectories), three largest")
    print_table(share, "In a training step")
    write_results("advantage_share", [*rows, *fits, *share], vars(options))


if __name__ == "__main__":
    main()
