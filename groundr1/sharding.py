"""All weights on every process, while it rolls out.

FSDP and DeepSpeed's ZeRO-3 leave each process a part of the weights and gather the rest layer by layer, in
every forward, with all processes taking part. In a rollout each process makes as many forwards as its own
trajectories need, and calls parts of the model alone (the vision tower), so the weights are gathered once
before and dropped after. Not in the paper: our choice, because it costs one gathering instead of one a token.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator
from torch import nn
from torch.distributed.fsdp import FSDPModule
from trl import GRPOConfig
from trl.models import unwrap_model_for_generation


@contextmanager
def whole_model(wrapped: nn.Module, accelerator: Accelerator, args: GRPOConfig) -> Iterator[nn.Module]:
    """The model behind a wrapped one, with all its weights, and without gradient checkpointing.

    All processes must enter and leave; in between they exchange nothing. Each device needs room for all weights in
    the dtype that they are computed in.

    Args:
        wrapped: The model as DistributedDataParallel, DeepSpeed or FSDP2 has wrapped it, or a plain one.
        accelerator: What wrapped it.
        args: For the settings of gradient checkpointing, which is on again afterwards if it was before.

    Raises:
        ValueError: The model is wrapped in FSDP's first version, under which inner modules cannot be called alone.
    """
    fsdp = getattr(accelerator.state, "fsdp_plugin", None)
    if fsdp is not None and fsdp.fsdp_version != 2:
        raise ValueError(
            f"Rollouts do not run under fsdp_version={fsdp.fsdp_version} of Accelerate's configuration; set it to 2, as"
            " TRL's fsdp2.yaml does."
        )
    with unwrap_model_for_generation(
        wrapped, accelerator, gradient_checkpointing_kwargs=args.gradient_checkpointing_kwargs
    ) as model:
        if fsdp is None:
            yield model
            return
        # FSDP takes the first module that is called for the root; a rollout calls inner ones first.
        model._get_fsdp_state()._lazy_init()
        parts = [each for each in model.modules() if isinstance(each, FSDPModule)]
        model.set_reshard_after_forward(False)
        for part in parts:
            part.unshard()
        try:
            yield model
        finally:
            for part in parts:
                part.reshard()
            model.set_reshard_after_forward(bool(fsdp.reshard_after_forward))
            model.set_reshard_after_forward(False, recurse=False)  # the root, as FSDP has it
