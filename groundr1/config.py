"""What a training run is: one frozen, validated dataclass, from a YAML file or from a notebook's
parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from groundr1.configuration import Configuration
from groundr1.configuration import described as _help

# Fields of SRPOConfig that have a name of their own here, or that the run folder decides.
RESERVED = {
    "output_dir": "runs and name",
    "max_steps": "steps",
    "save_steps": "save_every",
    "save_strategy": "save_every",
    "logging_steps": "nothing: every step is logged",
    "per_device_train_batch_size": "micro_batch_size",
    "gradient_accumulation_steps": "prompts_per_step and micro_batch_size",
    "steps_per_generation": "generations_reused_for",
    "generation_batch_size": "prompts_per_step",
    "num_generations": "num_groundings and num_answers",
    "reward_weights": "format_weight and answer_weight",
    "bf16": "dtype",
}

# What `data` may hold: arguments of make_scenes, or of a reader of groundr1.data and `balance`, which samples what was
# read uniformly over small, medium and large evidence: true, or how many rows.
DATA_OPTIONS = {
    "scenes": ("scenes", "seed", "split", "kinds", "size", "progress"),
    "path": ("path", "format", "image_root", "balance"),
}


def check_data(
    data: Mapping[str, Any], *, options: Mapping[str, Sequence[str]] = DATA_OPTIONS, field: str = "data"
) -> None:
    """Raise ValueError unless `data` says what to draw or what to read, in options that go with it.

    Args:
        data: as the field `data` of `TrainConfig`.
        options: "scenes" and "path" -> what may stand beside them.
        field: name of it in messages.
    """
    if ("scenes" in data) == ("path" in data):
        raise ValueError(
            f"{field}={data!r} must hold either 'scenes' (how many to generate) or 'path' (what to read)."
        )
    kind = "scenes" if "scenes" in data else "path"
    for each, value in data.items():
        if each not in options[kind]:
            known = ", ".join(options[kind])
            raise ValueError(f"{field}={data!r}: {each!r} does not go with {kind!r}; known are {known}.")
        if value is None:
            raise ValueError(f"{field}={data!r}: {each!r} has no value; leave it out, or give one.")
    for each in ("scenes", "seed") if kind == "scenes" else ():
        if type(data.get(each)) is not int:
            raise ValueError(f"{field}={data!r} needs {each!r}, a whole number, beside {kind!r}.")
    if type(data.get("seed", 0)) is not int:
        raise ValueError(f"{field}={data!r}: 'seed' must be a whole number.")
    balance = data.get("balance", False)
    if type(balance) is not bool and not (type(balance) is int and balance >= 1):
        raise ValueError(
            f"{field}={data!r}: 'balance' must be true or false, or how many rows to take, 1 or more."
        )
    if type(data.get("strict", False)) is not bool:
        raise ValueError(f"{field}={data!r}: 'strict' must be true or false.")
    shard = data.get("shard", [0, 1])
    is_pair = isinstance(shard, list | tuple) and [type(each) for each in shard] == [int, int]
    if not is_pair or not 0 <= shard[0] < shard[1]:
        raise ValueError(
            f"{field}={data!r}: 'shard' must be [i, n], every n-th row from row i on, 0 <= i < n."
        )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Configuration):
    """Everything that shapes a run. `describe_fields` gives what each field is, as `--help` does.

    Example:
        >>> TrainConfig(name="grpo", advantage="grpo", steps=100).group_size
        8

    Raises:
        ValueError: An unknown field, a value of the wrong type or out of range; the field and the fix are
        named.
    """

    title: ClassVar[str] = "training configuration"

    name: str = _help("Name of the run; its folder is runs/<name>.")
    runs: str = _help("Folder of all runs.", "runs")
    model: str = _help("'tiny', a folder, or a Hub id such as Qwen/Qwen2.5-VL-7B-Instruct.", "tiny")
    dtype: str = _help("Of the weights: 'auto' (the checkpoint's), 'float32' or 'bfloat16'.", "auto")
    min_pixels: int | None = _help("Least pixels of the view; null keeps the model's.", None)
    max_pixels: int | None = _help(
        "Most pixels of the view; null keeps the model's; 401408 in the v2 code.", None
    )
    lora: dict[str, Any] | None = _help(
        "Fields of peft.LoraConfig, {} for our defaults; null trains all weights.", None
    )
    data: dict[str, Any] = _help(
        "{'scenes': count, 'seed': n, ...} generates scenes; {'path': file, files or folder, ...} reads a data set.",
        default_factory=lambda: {"scenes": 2000, "seed": 1},
    )
    advantage: str = _help("'srpo', 'srpo-intra', 'srpo-inter' or 'grpo'.", "srpo")
    steps: int = _help("Optimizer steps.", 200)
    prompts_per_step: int = _help("Prompts a step, over all processes; 8 in the paper.", 8)
    num_groundings: int = _help("G1: first turns sampled for a prompt; 4 in the paper.", 4)
    num_answers: int = _help("G2: continuations sampled for a grounding; 2 in the paper.", 2)
    num_scale_bins: int = _help("K: bins of relative area; 3 in the paper.", 3)
    max_crops: int = _help("Crops shown at most in a trajectory; 0 trains without grounding.", 1)
    max_turn_tokens: int = _help("Limit of tokens a turn; 512 in the paper.", 32)
    temperature: float = _help("Of the sampling; 1 in the paper.", 1.0)
    format_weight: float = _help("Weight of the format reward; SRPO's r^intra has 1, the v2 code 2.", 1.0)
    answer_weight: float = _help("Weight of the answer reward.", 1.0)
    learning_rate: float = _help("Peak learning rate of AdamW; 1e-6 in the paper, for 7B.", 1e-4)
    beta: float = _help("Weight of the KL to the reference; 0.04 in the v2 code; 0 loads no reference.", 0.01)
    freeze_vision: bool = _help("Leave the vision tower as it is.", True)
    gradient_checkpointing: bool = _help("Recompute activations in the backward pass, to save memory.", False)
    micro_batch_size: int | None = _help(
        "Trajectories a forward on each process; null takes all at once.", None
    )
    generations_reused_for: int = _help("Optimizer steps taken on each generation (TRL's num_iterations).", 1)
    seed: int = _help("Of data order, sampling and LoRA initialisation.", 0)
    save_every: int = _help("Steps between checkpoints, which a killed run resumes from.", 25)
    keep_checkpoints: int = _help("Checkpoints kept; older ones are deleted.", 2)
    report_to: str = _help(
        "Trackers as in transformers, such as 'wandb'; metrics.csv is always written.", "none"
    )
    trainer: dict[str, Any] = _help(
        "Further fields of SRPOConfig, given to it as they are.", default_factory=dict
    )

    def check(self) -> None:
        """Raise ValueError for values out of range, or that do not go together."""
        self.check_least(
            1, "steps", "prompts_per_step", "num_groundings", "num_answers", "num_scale_bins", "max_turn_tokens",
            "generations_reused_for", "save_every", "keep_checkpoints", "micro_batch_size", "min_pixels", "max_pixels",
        )  # fmt: skip
        self.check_least(0, "max_crops", "beta", "learning_rate", "format_weight", "answer_weight", "seed")
        if not self.temperature > 0:
            raise ValueError(
                f"temperature={self.temperature} must be above 0: training samples its trajectories."
            )
        self.check_choices(
            advantage=("srpo", "srpo-intra", "srpo-inter", "grpo"), dtype=("auto", "float32", "bfloat16")
        )
        check_data(self.data)
        if self.save_every % self.generations_reused_for:
            raise ValueError(
                f"save_every={self.save_every} is not a multiple of generations_reused_for="
                f"{self.generations_reused_for}, so a checkpoint would fall in the middle of a generation and could"
                " not be resumed to the same numbers."
            )
        for each in self.trainer:
            if each in RESERVED:
                raise ValueError(f"trainer={{{each!r}: ...}} is set by {RESERVED[each]}; use that.")
            if each in {own.name for own in fields(self)}:
                raise ValueError(f"{each} is a field of its own; move it from 'trainer' to the top level.")

    @property
    def group_size(self) -> int:
        """Trajectories a prompt."""
        return self.num_groundings * self.num_answers
