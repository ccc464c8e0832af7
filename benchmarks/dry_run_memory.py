"""The dry run's estimate of memory against real training runs: `python -m benchmarks.dry_run_memory`.

Trains a small Qwen2.5-VL with random weights for two steps, once for each way of training, in a process of its own,
and compares peaks with `groundr1.memory` part by part. On a CPU the bytes of all live tensors are counted, operation
by operation; on a GPU they are what `torch.cuda.max_memory_allocated` says. The process's own peak, above what it had
before the model was made, stands beside it: it has the allocator's slack and what kernels use inside.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Qwen2_5_VLForConditionalGeneration

from benchmarks import common
from groundr1.data import EXAMPLE_FEATURES
from groundr1.memory import Parameters, Plan, Step, estimate
from groundr1.model import load_processor, lora_config
from groundr1.tiny import tiny_config
from groundr1.trainer import SRPOConfig, SRPOTrainer

MIB = 2**20
# The ways of training that differ in what lies in memory; 8 trajectories a step, in micro-batches of 4 unless said.
CASES: dict[str, dict[str, Any]] = {
    "all weights": {},
    "all weights, one micro-batch": {"micro": None},
    "all weights, checkpointing": {"checkpointing": True},
    "all weights, bfloat16": {"dtype": torch.bfloat16},
    "all weights and vision": {"freeze_vision": False},
    "LoRA": {"lora": True},
    "LoRA, checkpointing": {"lora": True, "checkpointing": True},
    "LoRA, bfloat16, checkpointing": {"lora": True, "checkpointing": True, "dtype": torch.bfloat16},
    "LoRA, long rollout": {"lora": True, "checkpointing": True, "micro": 1, "prompts": 10, "turn_tokens": 96},
}


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of all storages alive: those tracked by hand, and all that operations make inside the mode.

    Attributes: `now`, and `peak` since the last `restart`, in bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref] = {}

    def track(self, tensor: Tensor) -> None:
        """Count a tensor's storage, once however many tensors share it, until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def forget(_: Any) -> None:
            del self._known[key]
            self.now -= size

        self._known[key] = weakref.ref(storage, forget)
        self.now += size
        self.peak = max(self.peak, self.now)

    def restart(self) -> None:
        """Look for the next peak from here."""
        self.peak = self.now

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self.track(leaf)
        return output


class CudaMemory:
    """The same from PyTorch's allocator on a GPU."""

    def __enter__(self) -> "CudaMemory":
        self.restart()
        return self

    def __exit__(self, *_: Any) -> None: ...

    def track(self, tensor: Tensor) -> None:
        """Nothing to do: the allocator knows all."""

    @property
    def peak(self) -> int:
        return torch.cuda.max_memory_allocated()

    def restart(self) -> None:
        torch.cuda.reset_peak_memory_stats()


def small_model(tokenizer: Any, dtype: torch.dtype) -> Qwen2_5_VLForConditionalGeneration:
    """Qwen2.5-VL of 30 million random weights, in the form of the tiny model and with its tokens."""
    config = tiny_config(tokenizer)
    text, vision = config.text_config, config.vision_config
    text.hidden_size, text.intermediate_size, text.vocab_size = 512, 1536, 4096
    text.num_hidden_layers, text.num_attention_heads, text.num_key_value_heads = 8, 8, 2
    text.layer_types = ["full_attention"] * text.num_hidden_layers
    text.rope_parameters["mrope_section"] = [8, 12, 12]
    text.initializer_range = 0.02
    vision.hidden_size, vision.intermediate_size, vision.out_hidden_size = 256, 684, text.hidden_size
    torch.manual_seed(0)
    return Qwen2_5_VLForConditionalGeneration(config).to(dtype)


def make_trainer(
    *, dtype: torch.dtype = torch.float32, lora: bool = False, checkpointing: bool = False, freeze_vision: bool = True,
    micro: int | None = 4, prompts: int = 2, turn_tokens: int = 48,
) -> SRPOTrainer:  # fmt: skip
    """A trainer of the small model: four trajectories a prompt, one crop, pictures of 64 tokens."""
    folder = tempfile.mkdtemp(prefix="groundr1-memory-")
    micro = micro or 4 * prompts
    processor = load_processor("tiny", min_pixels=224**2, max_pixels=224**2)
    small_model(processor.tokenizer, dtype).save_pretrained(folder)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=dtype)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    rows = [
        {"id": str(i), "image": Image.effect_noise((224, 224), 1 + i).convert("RGB"), "kind": "exact",
         "question": "Where?" * (1 + i % 3), "solution": ["1"], "boxes": None, "source": "noise"}
        for i in range(2 * prompts)
    ]  # fmt: skip
    args = SRPOConfig(
        folder, num_groundings=2, num_answers=2, max_turn_tokens=turn_tokens, freeze_vision=freeze_vision,
        per_device_train_batch_size=micro, gradient_accumulation_steps=4 * prompts // micro, max_steps=2, beta=0.04,
        bf16=dtype == torch.bfloat16, gradient_checkpointing=checkpointing, use_cpu=not torch.cuda.is_available(),
        logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
    )  # fmt: skip
    data = Dataset.from_list(rows, features=EXAMPLE_FEATURES)
    adapters = lora_config({}) if lora else None
    return SRPOTrainer(model, args=args, train_dataset=data, processing_class=processor, peft_config=adapters)


def measure(trainer: SRPOTrainer) -> tuple[dict[str, int], Step]:
    """Train, and return peaks and parts in bytes, with the step as it was."""
    memory = CudaMemory() if torch.cuda.is_available() else LiveTensors()
    models = [one for one in (trainer.model, trainer.ref_model) if one is not None]
    for model in models:
        for tensor in [*model.parameters(), *model.buffers()]:
            memory.track(tensor.data)
    found = {"rollout": 0, "update": 0}
    lengths: list[tuple[int, int]] = []

    def watched(name: str, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            memory.restart()
            output = function(*args, **kwargs)
            found[name] = max(found[name], memory.peak)
            memory.restart()
            if name == "rollout":
                lengths.extend(
                    (len(prompt), len(rest)) for prompt, rest in zip(output[0], output[1], strict=True)
                )
            return output

        return call

    def stepped(*args: Any, **kwargs: Any) -> Any:
        found["gradients"] = sum(p.grad.nbytes for p in trainer.model.parameters() if p.grad is not None)
        return step(*args, **kwargs)

    trainer._generate = watched("rollout", trainer._generate)
    trainer.training_step = watched("update", trainer.training_step)
    trainer.create_optimizer()
    step, trainer.optimizer.step = trainer.optimizer.step, stepped
    with memory:
        trainer.train()
        found["update"] = max(
            found["update"], memory.peak
        )  # the optimizer's step comes after the last micro-batch
    found["weights"], found["reference"] = (
        sum(p.nbytes for p in one.parameters()) if one is not None else 0
        for one in (trainer.model, trainer.ref_model)
    )
    states = trainer.optimizer.state.values()
    found["optimizer"] = sum(value.nbytes for state in states for value in state.values() if value.ndim)
    return found, step_of(trainer.args, lengths)


def step_of(args: SRPOConfig, lengths: list[tuple[int, int]]) -> Step:
    """The step behind (prompt, completion) lengths; random weights hardly ever end a turn before its limit."""
    prompt, completion = (max(each) for each in zip(*lengths, strict=True))
    local = args.per_device_train_batch_size * args.gradient_accumulation_steps
    return Step(
        prompts=local // args.num_generations,
        num_groundings=args.num_groundings,
        num_answers=args.num_answers,
        max_crops=args.max_crops,
        picture_tokens=64,
        prompt_tokens=prompt,
        evidence_tokens=completion - 2 * args.max_turn_tokens,
        turn_tokens=args.max_turn_tokens,
        micro_batch=args.per_device_train_batch_size,
        accumulates=args.gradient_accumulation_steps > 1,
        ragged=False,
    )


def predict(trainer: SRPOTrainer, step: Step) -> dict[str, int]:
    """The dry run's estimate of the same."""
    every = list(trainer.model.parameters())
    trained = [one for one in every if one.requires_grad]
    is_lora = trainer.ref_model is None
    base = trainer._bare_model()
    adapters = sum(one.numel() for one in trained) if is_lora else 0
    parameters = Parameters(
        total=sum(one.numel() for one in every) - adapters,
        trainable=sum(one.numel() for one in trained),
        adapters=adapters,
    )
    plan = Plan(
        element=base.dtype.itemsize,
        on_gpu=torch.cuda.is_available(),
        reference=True,
        checkpointing=trainer.args.gradient_checkpointing,
        trains_vision=not (trainer.args.freeze_vision or is_lora),
    )
    return estimate(base.config, parameters, step, plan)


def compare(name: str) -> list[dict[str, Any]]:
    """One row a part of a case: MiB measured and predicted, and the prediction over the measurement."""
    trainer = make_trainer(**CASES[name])
    measured, step = measure(trainer)
    predicted = predict(trainer, step)
    measured["total"] = max(measured["rollout"], measured["update"])
    parts = ("weights", "reference", "gradients", "optimizer", "rollout", "update", "total")
    return [
        {
            "case": name,
            "part": part,
            "measured_mib": measured[part] / MIB,
            "predicted_mib": predicted[part] / MIB,
            "ratio": predicted[part] / measured[part] if measured[part] else None,
        }
        for part in parts
    ]


def peak_of_process() -> int:
    """Greatest resident memory so far, in bytes (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Run every case in a process of its own, print the table and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--results", default=common.RESULTS, help="folder of the json file (benchmarks/results)"
    )
    parser.add_argument("--case", choices=CASES, help="one case, in this process, as json on the last line")
    args = parser.parse_args()
    if args.case:
        before = peak_of_process()
        rows = compare(args.case)
        rows.append(
            {"case": args.case, "part": "process", "measured_mib": (peak_of_process() - before) / MIB}
        )
        print(json.dumps(rows))
        return
    rows = []
    for name in CASES:
        command = [sys.executable, "-m", "benchmarks.dry_run_memory", "--case", name]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        rows += json.loads(run.stdout.splitlines()[-1])
        common.print_table([row for row in rows if row["case"] == name], name)
    common.write_results("dry_run_memory", rows, vars(args))


if __name__ == "__main__":
    main()
