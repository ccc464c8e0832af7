"""Two processes make the run that one makes, under TRL's own configurations of Accelerate; on CPUs, over gloo."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import small_model
import torch
import trl
import yaml
from datasets import Dataset
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers.integrations import deepspeed

from groundr1.data import EXAMPLE_FEATURES
from groundr1.model import load_model, lora_config
from groundr1.runs import load_run
from groundr1.sharding import whole_model
from groundr1.srpo import grpo_advantages, srpo_advantages
from groundr1.trainer import train
from groundr1.training import save_final_model

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGURATIONS = Path(trl.__file__).parent / "accelerate_configs"
GROUP = 4
BINS = 8
KINDS = {
    # Other processes have other micro-batches, over which kl and entropy are averaged unweighted.
    "all weights": {"micro_batch_size": 4, "gradient_checkpointing": True},
    "lora": {"lora": {"r": 2}},
}
SECONDS = 300  # for a launch, on a machine that does other things too


def settings(folder: Path, engine: str, kind: str) -> Path:
    """A configuration file: four steps of four prompts, two of them for each of two processes."""
    values = {
        "name": f"{engine} {kind}".replace(" ", "-"),
        "runs": str(folder / "runs"),
        "model": str(small_model.model_folder()),
        "data": {"path": str(folder / "data")},
        "steps": 4,
        "prompts_per_step": 4,
        "num_groundings": GROUP,
        "num_answers": 1,
        "num_scale_bins": BINS,
        "max_turn_tokens": 24,
        "learning_rate": 2e-4,
        "save_every": 2,
        "seed": 1,
        "trainer": {"adam_epsilon": 1e-3},  # 1e-8 makes full steps of gradients that are rounding errors
        **KINDS[kind],
    }
    path = folder / f"{values['name']}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def run_of(config: Path) -> Path:
    return config.parent / "runs" / config.stem


def command(configuration: str, *program: str | Path) -> list[str]:
    """`accelerate launch` of two processes under a configuration of TRL's."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch"]
    options = ["--config_file", CONFIGURATIONS / f"{configuration}.yaml", "--num_processes", "2"]
    return [*map(str, [*launcher, *options, "--mixed_precision", "no", *program])]


def start(command: Sequence[str], log: Path) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    with log.open("w") as output:
        return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output)


def stop(process: subprocess.Popen) -> None:
    """SIGKILL the launcher, if it still runs, and its processes."""
    with suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(process.pid)
        for each in [launcher, *launcher.children(recursive=True)]:
            each.kill()
    process.wait()


def launch(command: Sequence[str], log: Path) -> None:
    process = start(command, log)
    try:
        assert process.wait(SECONDS) == 0, log.read_text()[-5000:]
    finally:
        stop(process)


def launch_and_kill(command: Sequence[str], log: Path, reached: Callable[[], bool]) -> None:
    """Launch, and kill as soon as `reached()`."""
    process, deadline = start(command, log), time.monotonic() + SECONDS
    try:
        while not reached():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-5000:]
            time.sleep(0.01)
    finally:
        stop(process)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and the runs of one process."""
    folder = tmp_path_factory.mktemp("processes")
    Dataset.from_list(small_model.examples(12), features=EXAMPLE_FEATURES).save_to_disk(folder / "data")
    for kind in KINDS:
        train(yaml.safe_load(settings(folder, "one", kind).read_text()))
    return folder


def assert_same_run(found: Path, expected: Path) -> None:
    """Same trajectories, rewards and advantages; losses and all else that is logged; final weights."""
    runs = [load_run(path) for path in (found, expected)]
    pd.testing.assert_frame_equal(*(run.rollouts() for run in runs), rtol=1e-6)
    averaged_otherwise = ["kl", "entropy"] if "all-weights" in found.name else []
    tables = [run.metrics().drop(columns=["step_seconds", *averaged_otherwise]) for run in runs]
    pd.testing.assert_frame_equal(*tables, rtol=1e-4, atol=2e-7)
    weights, same = [load_file(run.path / "model" / "model.safetensors") for run in runs]
    base = load_file(small_model.model_folder() / "model.safetensors")
    for name, weight in same.items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=1e-6, msg=name)
    assert max((weight - base[name]).abs().max() for name, weight in same.items()) > 1e-4, "it was trained"


def test_the_run_compares_boxes_with_boxes_of_their_size(folder: Path) -> None:
    """The runs that are compared hold what they test: groups over several bins, where SRPO is not GRPO."""
    table = load_run(folder / "runs" / "one-all-weights").rollouts()
    groups = table.groupby(["step", "prompt_id"], sort=False)
    assert set(groups.size()) == {GROUP}
    bins = np.minimum(table["relative_area"] * BINS, BINS - 1).astype(int)
    rewards, areas = table["reward"].tolist(), table["relative_area"].tolist()
    advantages = torch.tensor(table["advantage"].tolist())
    torch.testing.assert_close(advantages, srpo_advantages(rewards, areas, GROUP, num_bins=BINS))
    differs = (advantages - grpo_advantages(rewards, GROUP)).abs() > 0.1
    assert differs.view(-1, GROUP).any(dim=1).sum() >= 2
    assert bins.groupby([table["step"], table["prompt_id"]]).nunique().max() >= 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_data_parallel_processes_equal_one(folder: Path, kind: str) -> None:
    config = settings(folder, "ddp", kind)
    launch(command("multi_gpu", "-m", "groundr1.train", config), folder / "ddp.log")
    assert_same_run(run_of(config), folder / "runs" / f"one-{kind.replace(' ', '-')}")


@pytest.mark.slow
def test_fsdp_processes_equal_one_after_a_kill(folder: Path) -> None:
    """FSDP2, killed after its first checkpoint and resumed; then LoRA in the same processes."""
    configs = [settings(folder, "fsdp", kind) for kind in KINDS]
    program = command("fsdp2", REPOSITORY / "tests" / "fsdp_on_cpu.py", *configs)
    metrics, log = run_of(configs[0]) / "metrics.csv", folder / "fsdp.log"
    launch_and_kill(program, log, lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 3)
    assert load_run(run_of(configs[0])).summary() is None
    launch(program, log)
    for config, kind in zip(configs, KINDS, strict=True):
        assert_same_run(run_of(config), folder / "runs" / f"one-{kind.replace(' ', '-')}")
    checkpoints = [path.name for path in (run_of(configs[0]) / "checkpoints").glob("checkpoint-*")]
    assert sorted(checkpoints) == ["checkpoint-2", "checkpoint-4"]


def test_the_first_fsdp_is_refused() -> None:
    state = SimpleNamespace(fsdp_plugin=SimpleNamespace(fsdp_version=1))
    with pytest.raises(ValueError, match="fsdp_version=1.*set it to 2"):
        with whole_model(torch.nn.Linear(1, 1), SimpleNamespace(state=state), SimpleNamespace()):
            pass


def test_adapters_are_merged_where_each_process_has_a_part_of_the_base(tmp_path: Path, monkeypatch) -> None:
    """ZeRO-3 leaves empty weights between forwards, and makes every loading one that all processes join."""
    model = get_peft_model(load_model(small_model.model_folder()), lora_config({"r": 2}))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(tmp_path / "whole")
    adapters = PeftModel.from_pretrained(load_model(small_model.model_folder()), tmp_path / "whole")
    expected = adapters.merge_and_unload().state_dict()

    def save_model(folder: str) -> None:
        (tmp_path / "whole").rename(folder)  # as DeepSpeed gathers the adapters

    for weight in model.parameters():
        weight.data = torch.empty(0)
    zero = SimpleNamespace(is_zero3=lambda: True)
    monkeypatch.setattr(deepspeed, "_hf_deepspeed_config_weak_ref", lambda: zero)
    accelerator = SimpleNamespace(
        unwrap_model=lambda model: model, is_main_process=True, wait_for_everyone=lambda: None
    )
    trainer = SimpleNamespace(accelerator=accelerator, model=model, save_model=save_model)
    save_final_model(trainer, small_model.processor(), tmp_path / "model")
    found = load_model(tmp_path / "model").state_dict()
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=0, msg=name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
