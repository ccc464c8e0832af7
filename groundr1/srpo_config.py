"""Settings of `SRPOTrainer`: TRL's `GRPOConfig` with the fields of Ground-R1's rollout and of SRPO."""

from dataclasses import dataclass, field

from trl import GRPOConfig

ADVANTAGES = ("srpo", "srpo-intra", "srpo-inter", "grpo")

# Fields of GRPOConfig that act on TRL's own generation, which our rollouts replace, on vLLM too, with their
# neutral values.
_REPLACED = {
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "generation_kwargs": None,
    "cache_implementation": None,
    "use_transformers_continuous_batching": False,
    "mask_truncated_completions": False,
    "ds3_gather_for_generation": True,
}


@dataclass
class SRPOConfig(GRPOConfig):
    """Configuration of `groundr1.trainer.SRPOTrainer`; every field of TRL's `GRPOConfig` keeps its meaning.

    Three defaults differ from TRL's: `num_generations` follows from the two counts below,
    `max_completion_length` from the limit a turn, and `loss_type` is "grpo", the objective of the paper,
    which averages over the tokens of a trajectory and then over trajectories.

    With `use_vllm`, both turns are sampled by vLLM, a server or one beside the trainer (`vllm_mode`), whose
    random numbers are its own: such a run does not repeat, and does not resume to the same numbers.

    Attributes:
        num_groundings: First turns sampled for a prompt; G1 = 4 in the paper.
        num_answers: Continuations sampled for a grounding; G2 = 2 in the paper.
        num_scale_bins: K, bins of relative area; 3 in the paper.
        advantage: "srpo"; "srpo-intra" or "srpo-inter", one of its two terms alone; "grpo", TRL's own.
        max_crops: Crops shown at most in a trajectory. 0 trains without grounding (the paper's Vanilla-R1).
        max_turn_tokens: Limit of tokens a turn; 512 in the paper.
        freeze_vision: Leave the vision tower as it is, as the v2 code does. Each picture then goes through it
            once a generation batch, instead of once for each trajectory and each forward.

    Raises:
        ValueError: Two settings contradict each other; both are named, with the fix.
    """

    num_groundings: int = field(default=4, metadata={"help": "First turns sampled for a prompt (G1)."})
    num_answers: int = field(default=2, metadata={"help": "Continuations sampled for a grounding (G2)."})
    num_scale_bins: int = field(default=3, metadata={"help": "Bins of relative area (K)."})
    advantage: str = field(default="srpo", metadata={"help": f"One of {', '.join(ADVANTAGES)}."})
    max_crops: int = field(default=1, metadata={"help": "Crops shown at most in a trajectory."})
    max_turn_tokens: int = field(default=512, metadata={"help": "Limit of tokens a turn."})
    freeze_vision: bool = field(default=True, metadata={"help": "Leave the vision tower as it is."})
    num_generations: int | None = field(
        default=None, metadata={"help": "Trajectories a prompt: num_groundings * num_answers."}
    )
    max_completion_length: int | None = field(
        default=None, metadata={"help": "Normaliser of the dr_grpo loss: max_turn_tokens * (max_crops + 1)."}
    )
    loss_type: str = field(default="grpo", metadata={"help": "As in GRPOConfig; the paper's is 'grpo'."})

    def __post_init__(self) -> None:
        self._check_own_fields()
        group_size = self.num_groundings * self.num_answers
        if self.num_generations not in (None, group_size):
            raise ValueError(
                f"num_generations={self.num_generations}, but num_groundings={self.num_groundings} times"
                f" num_answers={self.num_answers} is {group_size}. Leave num_generations out, or make them agree."
            )
        self.num_generations = group_size
        if self.max_completion_length is None:
            self.max_completion_length = self.max_turn_tokens * (self.max_crops + 1)
        super().__post_init__()
        local_batch = self.per_device_train_batch_size * self.steps_per_generation
        if local_batch % group_size:
            raise ValueError(
                f"per_device_train_batch_size={self.per_device_train_batch_size} times"
                f" steps_per_generation={self.steps_per_generation} is {local_batch}, which the group size"
                f" {group_size} (num_groundings * num_answers) does not divide, so a prompt's trajectories would be"
                f" split between processes. Make it a multiple of {group_size}, for instance with"
                " gradient_accumulation_steps."
            )

    def _check_own_fields(self) -> None:
        if self.advantage not in ADVANTAGES:
            raise ValueError(f"advantage={self.advantage!r} is none of {', '.join(map(repr, ADVANTAGES))}.")
        least = {
            "num_groundings": 1,
            "num_answers": 1,
            "num_scale_bins": 1,
            "max_crops": 0,
            "max_turn_tokens": 1,
        }
        for name, minimum in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
                raise ValueError(f"{name}={value!r}, but it must be a whole number of {minimum} or more.")
        for name, neutral in _REPLACED.items():
            if getattr(self, name) != neutral:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} acts on TRL's own generation, which the two-phase rollout"
                    f" replaces; leave it at {neutral!r}. Sampling is set by temperature, top_p and max_turn_tokens."
                )
