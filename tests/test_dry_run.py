"""The dry run: real parameter counts, a report without network, verdicts and advice that hold."""

import shutil
import socket
from dataclasses import replace

import pytest
import torch
from huggingface_hub import constants
from transformers import Qwen2_5_VLForConditionalGeneration

from groundr1 import dry_run as module
from groundr1.config import TrainConfig
from groundr1.dry_run import (
    Setup,
    advice,
    count_parameters,
    dry_run,
    evaluate,
    fits,
    setups,
    step_of,
)
from groundr1.model import TINY_PATH, load_model
from groundr1.shapes import PUBLISHED, model_config, published_config
from groundr1.train import main

SEVEN = "Qwen/Qwen2.5-VL-7B-Instruct"
CONFIG = TrainConfig(
    name="seven",
    model=SEVEN,
    max_crops=4,
    max_turn_tokens=512,
    max_pixels=401408,
    beta=0.04,
    gradient_checkpointing=True,
    micro_batch_size=1,
    lora={},
)
TINY = TrainConfig(name="tiny")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    attempts = []

    def refuse(*address, **_options):
        attempts.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(
        module, "setups", lambda: [Setup("laptop", 1, 16 * 2**30, on_gpu=False), *setups()[1:]]
    )
    yield
    assert not attempts, "a dry run looks nothing up in the network"


@pytest.mark.parametrize(
    ("name", "total", "vision"),
    [
        # total_size of the published weights' index is 16,584,333,312 and 7,509,245,952 bytes, of 2 each.
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8_292_166_656, 676_550_144),
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3_754_622_976, 668_684_288),
    ],
)
def test_published_shapes_have_the_published_number_of_parameters(name, total, vision) -> None:
    config = replace(CONFIG, model=name, lora=None)
    counted = count_parameters(model_config(name), config)
    assert (counted.total, counted.trainable, counted.adapters) == (total, total - vision, 0)
    assert count_parameters(model_config(name), replace(config, freeze_vision=False)).trainable == total


def test_lora_counts_adapters_only() -> None:
    """7B, rank 16: q, k, v, o, gate, up and down of 28 layers, (inputs + outputs) x 16 each."""
    width, key, wide = 3584, 512, 18944
    each = 2 * (width + width) + 2 * (width + key) + 3 * (width + wide)
    counted = count_parameters(model_config(SEVEN), CONFIG)
    assert counted.trainable == counted.adapters == 28 * 16 * each
    assert counted.total == 8_292_166_656


def test_counts_are_those_of_the_loaded_model() -> None:
    model = load_model("tiny")
    counted = count_parameters(model_config("tiny"), TINY)
    vision = sum(each.numel() for each in model.model.visual.parameters())
    assert counted.total == model.num_parameters() and counted.trainable == counted.total - vision


def test_published_configurations_are_accepted_by_transformers_as_they_are() -> None:
    """A model of these shapes, two layers deep, runs; transformers fills in nothing that contradicts."""
    for name in PUBLISHED:
        config = published_config(name)
        assert config.dtype == torch.bfloat16 and config.text_config.layer_types[0] == "full_attention"
        assert config.text_config.rope_parameters["mrope_section"] == [16, 24, 24]
        config.text_config.num_hidden_layers = config.vision_config.depth = 2
        with torch.device("meta"):
            model = Qwen2_5_VLForConditionalGeneration(config)
            ids = torch.zeros(1, 5, dtype=torch.long)
            assert model(input_ids=ids).logits.shape == (1, 5, config.text_config.vocab_size)


def test_report_of_the_7b_model_needs_no_network() -> None:
    report = dry_run(CONFIG)
    assert "8,292,166,656 parameters, bfloat16" in report
    table = {line.split("  ")[0].strip(): line.split()[-4:] for line in report.splitlines()}
    assert table["trainable parameters (millions)"] == ["40.4", "40.4", "7,615.6", "7,615.6"]
    # 8.29e9 weights in bfloat16 are 15.4 GiB, adapters add 0.15; under ZeRO-3 a quarter and an eighth of it.
    assert table["weights"] == ["15.6", "15.6", "3.9", "1.9"]
    # 12 bytes for each of 7.6156e9: 85.1 GiB, by 4 and by 8.
    assert table["optimizer (AdamW)"] == ["0.3", "0.3", "21.3", "10.6"]
    assert table["reference model"] == ["-", "-", "3.9", "1.9"]
    assert report.count("DOES NOT FIT") == 1 and "laptop: does not fit with" in report
    assert "Assumptions" in report


def test_report_of_the_tiny_model_is_in_mib(capsys, tmp_path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"name: tiny\nruns: {tmp_path / 'runs'}\n")
    assert main([str(path), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "MiB on each device" in printed and "1,499,584 parameters, float32" in printed
    assert sorted(tmp_path.iterdir()) == [path], "a dry run writes nothing"


def test_a_folder_gives_its_own_shapes_and_view() -> None:
    config = replace(TINY, model=str(TINY_PATH))
    assert model_config(config.model).text_config.hidden_size == 128
    assert step_of(config, model_config(config.model), 1).picture_tokens == 16  # 112 x 112 pixels


def test_a_model_in_the_hub_cache_is_read_from_there(monkeypatch, tmp_path) -> None:
    snapshot = tmp_path / "models--someone--other" / "snapshots" / ("0" * 40)
    shutil.copytree(TINY_PATH, snapshot)
    (tmp_path / "models--someone--other" / "refs").mkdir()
    (tmp_path / "models--someone--other" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    config = replace(TINY, model="someone/other")
    assert model_config(config.model).text_config.hidden_size == 128
    assert step_of(config, model_config(config.model), 1).picture_tokens == 16


def test_an_unknown_hub_id_is_refused_without_a_download(capsys, tmp_path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: other\nmodel: someone/other-model\n")
    with pytest.raises(SystemExit) as stop:
        main([str(path), "--dry-run"])
    message = capsys.readouterr().err
    assert stop.value.code == 2 and "someone/other-model" in message and SEVEN in message


def test_the_published_view_is_taken_where_there_is_no_processor() -> None:
    config = replace(CONFIG, max_pixels=None)
    assert step_of(config, model_config(SEVEN), 1).picture_tokens == 16384  # 12,845,056 pixels
    assert step_of(replace(config, max_pixels=401408), model_config(SEVEN), 1).picture_tokens == 512


def test_step_is_shared_out_to_the_gpus() -> None:
    one, four = (step_of(CONFIG, model_config(SEVEN), gpus) for gpus in (1, 4))
    assert (one.prompts, four.prompts, four.micro_batch, four.accumulates) == (8, 2, 1, True)
    whole = step_of(replace(CONFIG, micro_batch_size=None), model_config(SEVEN), 4)
    assert (whole.micro_batch, whole.accumulates) == (16, False)
    assert "4 x 80 GB: prompts_per_step must be a multiple of 4" in dry_run(
        replace(CONFIG, prompts_per_step=6)
    )


def test_advice_makes_it_fit_and_names_only_what_helps() -> None:
    greedy = replace(CONFIG, max_pixels=None, micro_batch_size=None, gradient_checkpointing=False)
    model, setup = model_config(SEVEN), setups()[1]
    counted = count_parameters(model, greedy)
    assert not fits(evaluate(greedy, model, setup, counted), setup)
    text = advice(greedy, model, setup, counted)
    assert text.startswith("fits with gradient_checkpointing: true") and "micro_batch_size: 1" in text
    followed = replace(greedy, gradient_checkpointing=True, micro_batch_size=1, max_pixels=401408)
    parts = evaluate(followed, model, setup, counted)
    assert fits(parts, setup)
    assert text.endswith(f"max_pixels: 401408 ({parts['total'] / 2**30:.1f} GiB).") and "beta" not in text


def test_advice_says_so_when_nothing_helps() -> None:
    small = Setup("small", 1, 8 * 2**30)
    text = advice(CONFIG, model_config(SEVEN), small, count_parameters(model_config(SEVEN), CONFIG))
    assert text.startswith("does not fit with prompts_per_step: 1") and "vLLM server" in text


def test_reserve_is_left() -> None:
    setup = Setup("card", 1, 100)
    assert fits({"total": 90}, setup) and not fits({"total": 91}, setup)


@pytest.mark.parametrize(
    ("trainer", "taken"),
    [
        ({}, None),
        ({"use_vllm": True}, int(0.3 * 79 * 2**30)),
        ({"use_vllm": True, "vllm_gpu_memory_utilization": 0.5}, int(0.5 * 79 * 2**30)),
        ({"use_vllm": True, "vllm_mode": "server"}, 0),
    ],
    ids=["ours", "colocate", "half", "server"],
)
def test_vllm_is_counted_where_it_runs(trainer, taken) -> None:
    config, setup = replace(CONFIG, trainer=trainer), setups()[1]
    parts = evaluate(config, model_config(SEVEN), setup, count_parameters(model_config(SEVEN), config))
    assert parts["vllm"] == (taken or 0)
    assert (parts["kv_cache"] > 0) == (taken is None)
