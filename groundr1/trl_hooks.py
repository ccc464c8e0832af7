"""What `SRPOTrainer` relies on inside TRL, checked, and TRL's sampler made resumable."""

import inspect
from collections.abc import Callable, Iterator

import trl
from torch.utils.data import Sampler
from trl import GRPOTrainer
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer.utils import RepeatSampler

# The methods of GRPOTrainer that are overridden, with their parameters as of this version.
TRL_VERSION = "1.16"
TRL_HOOKS = {
    "_generate": ("prompts",),
    "_generate_and_score_completions": ("inputs",),
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_get_train_sampler": ("dataset",),
    "_load_from_checkpoint": ("resume_from_checkpoint", "model"),
    "_save_checkpoint": ("model", "trial"),
    "_run_epoch": (
        "model", "epoch", "train_dataloader", "steps_in_epoch", "num_update_steps_per_epoch", "trial",
        "ignore_keys_for_eval", "start_time", "resume_from_checkpoint", "epochs_trained",
        "steps_trained_in_current_epoch",
    ),
    "training_step": ("model", "inputs", "num_items_in_batch"),
}  # fmt: skip

_SAMPLING = ("repetition_penalty", "temperature", "top_p", "top_k", "min_p")
# What vLLM is reached through. `VLLMSession` sets attributes that bear the names of the constructor's parameters.
VLLM_HOOKS = {
    VLLMGeneration: {
        "__init__": (
            "model", "accelerator", "processing_class", "mode", "structured_outputs_regex", "server_base_url",
            "server_host", "server_port", "server_timeout", "group_port", "tensor_parallel_size",
            "gpu_memory_utilization", "max_model_length", "max_num_seqs", "enable_sleep_mode", "model_impl",
            "trust_remote_code", *_SAMPLING, "max_completion_length", "logprobs", "generation_kwargs",
        ),
        "generate": ("prompts", "images", "num_generations", "profiler"),
        "sync_weights": (),
    },
    VLLMClient: {
        "generate": (
            "prompts", "features", "n", *_SAMPLING, "max_tokens", "logprobs", "structured_outputs_regex",
            "generation_kwargs",
        ),
        "image_features": ("images", "max_concurrent_requests"),
    },
}  # fmt: skip


def check_trl() -> None:
    """Raise ImportError unless the installed TRL is the version whose internals are relied on here."""
    found = [
        f"{owner.__name__}.{name}"
        for owner, hooks in {GRPOTrainer: TRL_HOOKS, **VLLM_HOOKS}.items()
        for name, parameters in hooks.items()
        if not hasattr(owner, name)
        or tuple(inspect.signature(getattr(owner, name)).parameters)[1:] != parameters
    ]
    if not trl.__version__.startswith(f"{TRL_VERSION}.") or found:
        differs = f", where {', '.join(found)} differ" if found else ""
        raise ImportError(
            f"groundr1 relies on the inside of TRL {TRL_VERSION}, but TRL {trl.__version__} is installed{differs}."
            f" Install the tested one: pip install 'trl=={TRL_VERSION}.*'."
        )


class EpochSampler(Sampler[int]):
    """TRL's sampler, its order drawn anew from (seed, epoch), so that a resumed run meets the order it left.

    TRL's own draws the order of an epoch from a generator that has drawn those before, which a resumed
    process has not.
    """

    def __init__(self, sampler: RepeatSampler, seed: int, current_epoch: Callable[[], int]) -> None:
        self.sampler, self.seed, self.current_epoch = sampler, seed, current_epoch

    def __iter__(self) -> Iterator[int]:
        if self.sampler.shuffle:
            self.sampler.generator.manual_seed(self.seed + self.current_epoch())
        return iter(self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)
