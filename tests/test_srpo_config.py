"""SRPOConfig: the paper's defaults, and contradictions named with their fix."""

import pytest

from groundr1.srpo_config import SRPOConfig

CONFIG_CASES = [
    ({"advantage": "ppo"}, "advantage='ppo'"),
    ({"num_groundings": 0}, "num_groundings=0"),
    ({"max_crops": -1}, "max_crops=-1"),
    ({"num_scale_bins": 2.5}, r"num_scale_bins=2\.5"),
    ({"num_generations": 6}, "num_generations=6.* is 8"),
    ({"per_device_train_batch_size": 12}, r"generation_batch_size \(12\).*\(8\)"),
    ({"top_k": 5}, "top_k=5"),
    ({"use_vllm": True, "generation_kwargs": {"seed": 1}}, "generation_kwargs="),
    ({"ds3_gather_for_generation": False}, "leave it at True"),  # processes sample unequal numbers of tokens
]


@pytest.mark.parametrize(("settings", "words"), CONFIG_CASES)
def test_contradictory_settings_are_named(settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        SRPOConfig("out", bf16=False, **settings)


def test_a_prompts_trajectories_stay_on_one_process(monkeypatch) -> None:
    monkeypatch.setattr(SRPOConfig, "world_size", 2)
    with pytest.raises(ValueError, match="per_device_train_batch_size=12.*group size 8.*multiple of 8"):
        SRPOConfig("out", bf16=False, per_device_train_batch_size=12)


def test_config_defaults_are_the_papers() -> None:
    config = SRPOConfig("out", bf16=False)
    assert (config.num_groundings, config.num_answers, config.num_generations, config.num_scale_bins) == (
        4,
        2,
        8,
        3,
    )
    assert (config.advantage, config.max_crops, config.freeze_vision, config.loss_type) == (
        "srpo",
        1,
        True,
        "grpo",
    )
    assert config.max_completion_length == 2 * 512
