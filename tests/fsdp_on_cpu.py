"""Runs `groundr1.train` under FSDP on CPUs, for the test's `accelerate launch`, one configuration after the other.

torch shards on CPUs (gloo), but Accelerate 1.15 takes FSDP up only where the processes have accelerators:
`AcceleratorState` lists the kinds, and leaves MULTI_CPU out. So the processes call themselves MULTI_GPU here, on
a device that is the CPU; all else is Accelerate's, torch's and TRL's own.
"""

import os
import sys

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType

from groundr1.train import main

if __name__ == "__main__":
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    torch.distributed.init_process_group("gloo")
    for config in sys.argv[1:]:
        main([config])
    assert PartialState().distributed_type == DistributedType.FSDP
    assert not {"deepspeed", "vllm"} & set(sys.modules)
