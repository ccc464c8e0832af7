"""What `SRPOTrainer` relies on inside TRL, checked, and TRL's sampler made resumable."""

import inspect
from collections.abc import Callable, Iterator

import trl
from torch.utils.data import Sampler
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

# The methods of GRPOTrainer that are overridden, with their parameters as of this version.
TRL_VERSION = "1.16"
TRL_HOOKS = {
    "_generate": ("prompts",),
    "_generate_and_score_completions": ("inputs",),
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_get_train_sampler": ("dataset",),
    "_load_from_checkpoint": ("resume_from_checkpoint", "model"),
    "training_step": ("model", "inputs", "num_items_in_batch"),
}


def check_trl() -> None:
    """Raise ImportError unless the installed TRL is the version whose internals are overridden here."""
    found = [
        name
        for name, parameters in TRL_HOOKS.items()
        if not hasattr(GRPOTrainer, name)
        or tuple(inspect.signature(getattr(GRPOTrainer, name)).parameters)[1:] != parameters
    ]
    if not trl.__version__.startswith(f"{TRL_VERSION}.") or found:
        differs = f", where {', '.join(found)} of GRPOTrainer differ" if found else ""
        raise ImportError(
            f"groundr1 overrides methods of TRL {TRL_VERSION}, but TRL {trl.__version__} is installed{differs}. Install"
            f" the tested one: pip install 'trl=={TRL_VERSION}.*'."
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
