"""Peak memory of a rollout and of a training step, each measured in a process of its own.

Rollouts: ours, the official procedure and TRL's tool loop, on the same prompts. Steps: SRPOTrainer on grounded two-turn
conversations, its pictures shared and, in TRL's own way, every picture of every trajectory as pixels; and on one-turn
prompts against GRPOTrainer. Turns are equally long. The first run of each gives `resident_mb`, how far the process grew
over what it held with the models loaded (gradients and optimizer states included, which a first step makes); the second
`tensors_mb`, how much the tensors made meanwhile held at once (PyTorch's record of allocations; on a GPU its peak).
Memory that is asked for and never touched counts there only: TRL's fused head works in a buffer of 537 MB. MB are 10^6
bytes.

    python -m benchmarks.memory
    python -m benchmarks.memory --only step-shared step-pixels --prompts 16
"""

import argparse
import contextlib
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import PrinterCallback, TrainerCallback

from benchmarks.common import Row, parser, print_table, write_results
from benchmarks.models import folder_of, never_ending, processor_of
from benchmarks.plain_rollouts import OfficialProcedure, TRLToolLoop
from benchmarks.training_step import trainers
from groundr1 import srpo_trainer
from groundr1.data import make_scenes
from groundr1.model import load_model
from groundr1.rollout import ground_and_answer
from groundr1.trainer import SRPOConfig, SRPOTrainer

MEGABYTE = 10**6
ROLLOUTS = ("rollout-ours", "rollout-official", "rollout-trl")
STEPS = ("step-shared", "step-pixels", "one-turn-SRPOTrainer", "one-turn-GRPOTrainer")
MARK = "measured: "


class Meter:
    """Measures what runs between `start` and `stop`: the first time `resident_mb`, the second `tensors_mb`."""

    def __init__(self) -> None:
        self.found: Row = {}

    def start(self) -> None:
        gc.collect()
        if not self.found:
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")  # resets the peak, which loading may have set
            self.before = _status("VmRSS")
        elif torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        else:
            self.profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True)
            self.profile.start()

    def stop(self) -> None:
        if not self.found:
            self.found["resident_mb"] = (_status("VmHWM") - self.before) / MEGABYTE
        elif torch.cuda.is_available():
            self.found["tensors_mb"] = (torch.cuda.max_memory_allocated() - self.before) / MEGABYTE
        else:
            self.profile.stop()
            self.found["tensors_mb"] = _peak(self.profile) / MEGABYTE


def _status(name: str) -> int:
    """Bytes, from /proc (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def _peak(record: profile) -> int:
    """The most bytes that were held at once, of those allocated under the profiler."""
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


class StepMeter(TrainerCallback):
    """Measures the steps of a training."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.meter.start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.meter.stop()


def rollout(case: str, options: argparse.Namespace) -> Callable[[], Any]:
    """A rollout of the case, of 8 trajectories a prompt."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    model, processor = load_model(folder_of(options.model), device=device), processor_of(options.model)
    scenes = make_scenes(options.prompts, seed=1, progress=False)
    examples = [{**scene, "image": scene["image"].convert("RGB")} for scene in scenes]
    split = {"num_groundings": 4, "num_answers": 2, "max_turn_tokens": options.turn_tokens}
    never_ending(model, processor).__enter__()  # this process does nothing else with the model
    if case == "rollout-ours":
        return lambda: ground_and_answer(model, processor, examples, temperature=1.0, **split)
    if case == "rollout-official":
        official = OfficialProcedure(model, processor, 1)
        return lambda: official(examples, **split)
    loop = TRLToolLoop(model, processor, 1)
    return lambda: loop(examples, group_size=8, max_turn_tokens=options.turn_tokens)


def trainer_of(case: str, options: argparse.Namespace) -> Any:
    """A trainer that takes two steps of the case."""
    if case.startswith("one-turn"):
        return trainers(options.model, options, steps=2)[case.removeprefix("one-turn-")]
    args = SRPOConfig(
        tempfile.mkdtemp(), max_turn_tokens=options.turn_tokens, beta=options.beta, max_steps=2, learning_rate=1e-5,
        per_device_train_batch_size=options.prompts * 8 // options.micro_batches,
        gradient_accumulation_steps=options.micro_batches, bf16=torch.accelerator.is_available(),
        use_cpu=not torch.accelerator.is_available(), gradient_checkpointing=False, save_strategy="no",
        report_to="none", disable_tqdm=True,
    )  # fmt: skip
    return SRPOTrainer(
        load_model(folder_of(options.model)),
        args=args,
        train_dataset=make_scenes(max(4 * options.prompts, 8), seed=1, progress=False),
        processing_class=processor_of(options.model),
    )


def measure(case: str, options: argparse.Namespace) -> Row:
    """Peaks of one case, in this process."""
    meter = Meter()
    if case in ROLLOUTS:
        run = rollout(case, options)
        for _ in range(2):
            meter.start()
            run()
            meter.stop()
        return meter.found
    with contextlib.ExitStack() as patches:
        if case == "step-pixels":
            patches.enter_context(patch.object(srpo_trainer, "SharedPictures", lambda _, real: real))
            patches.enter_context(patch.object(srpo_trainer, "reads_shared_pictures"))
        trainer = trainer_of(case, options)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(StepMeter(meter))
        patches.enter_context(never_ending(trainer.model, trainer.processing_class))
        trainer.train()
    return meter.found


def in_own_process(case: str, arguments: Sequence[str]) -> Row:
    """Peaks of one case, in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", *arguments, "--inside", case]
    run = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith(MARK)]
    if run.returncode or not lines:
        raise RuntimeError(f"The process of {case} failed (exit code {run.returncode}); its error is above.")
    return {"case": case, **json.loads(lines[-1].removeprefix(MARK))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the json file."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parser(__doc__)
    options.add_argument("--model", default="tiny", help="tiny, larger, 3b, 7b, a folder or a Hub id (tiny)")
    options.add_argument("--only", nargs="+", choices=ROLLOUTS + STEPS, default=ROLLOUTS + STEPS)
    options.add_argument("--prompts", type=int, default=8, help="prompts, of 8 trajectories (8)")
    options.add_argument("--turn-tokens", type=int, default=32, help="tokens of every turn (32)")
    options.add_argument("--micro-batches", type=int, default=1, help="gradient accumulation (1)")
    options.add_argument("--beta", type=float, default=0.01, help="of the KL term; 0 has no reference (0.01)")
    options.add_argument("--inside", choices=ROLLOUTS + STEPS, help=argparse.SUPPRESS)
    options = options.parse_args(arguments)
    if options.inside:
        print(MARK + json.dumps(measure(options.inside, options)))
        return
    rows = [in_own_process(case, arguments) for case in options.only]
    print_table(rows, "Peak memory over what was there before, MB")
    settings = {name: value for name, value in vars(options).items() if name not in ("inside", "repeats")}
    write_results("memory", rows, settings)


if __name__ == "__main__":
    main()
