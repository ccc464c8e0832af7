"""A `GRPOTrainer` whose checkpoints are complete or said not to be, and whose end is an end.

Of saving and resuming, this is what transformers gets wrong and can be put right around it; what is in a
checkpoint stays its own. It reads optimizer, scheduler, scaler and random states by `torch.load` with
`weights_only=True`, so no code runs from a checkpoint (DeepSpeed reads its own files, its own way); of
training_args.bin, which that would refuse, it reads nothing at all. Not in the paper: our choice.
"""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers.trainer import TRAINING_ARGS_NAME
from trl import GRPOTrainer

from groundr1 import checkpoints


class ResumableTrainer(GRPOTrainer):
    """Writes an index into each checkpoint when all of it is on disk, and deletes old ones only then."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """transformers', between the two marks of `groundr1.checkpoints`.

        Raises NoSpaceError when the disk is full; what there is of it is deleted, those before are whole.
        """
        folder = Path(self._get_output_dir(trial))
        checkpoint = folder / f"checkpoint-{self.state.global_step}"
        needed = checkpoints.bytes_of(folder) or self._bytes_to_save()
        number, self.args.save_total_limit = self.args.save_total_limit, None  # it deletes too early
        try:
            with checkpoints.emptied_on_error(checkpoint, needed):
                if self.accelerator.is_main_process:
                    checkpoints.begin(checkpoint)
                self.accelerator.wait_for_everyone()
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.accelerator.is_main_process:
                    (checkpoint / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle, which nothing reads
                    checkpoints.complete(checkpoint)
        finally:
            self.args.save_total_limit = number
        if self.accelerator.is_main_process:
            checkpoints.keep_newest(folder, number, self.state.best_model_checkpoint)

    def _run_epoch(self, **arguments: Any) -> None:
        """transformers', which trains a step more when it resumes from the last one in the middle of an
        epoch."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**arguments)

    def _bytes_to_save(self) -> int:
        """Size of weights and optimizer state on this process: of a checkpoint, where nothing is sharded."""
        adapters_only = isinstance(self.accelerator.unwrap_model(self.model), PeftModel)
        saved = [each for each in self.model.parameters() if each.requires_grad or not adapters_only]
        state = [value for each in self.optimizer.state.values() for value in each.values()]
        return sum(each.nbytes for each in [*saved, *state] if isinstance(each, torch.Tensor))
