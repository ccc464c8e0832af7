"""The same on the shapes of Qwen2.5-VL-3B: its heads, rotary sections and window attention, two layers of each."""

import functools

import pytest
import small_model
import torch
from plain_generation import assert_plain_generation_agrees, every_turn_asks_for_a_box, largest_error
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from groundr1.rollout import ground_and_answer
from groundr1.tiny import Qwen2_5_VLProcessor, tiny_config

LIMIT = 12
VOCABULARY = ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")
SPREAD = 0.04  # twice the usual initializer range: two layers should say more than the last token does
SIZES = ((336, 224), (120, 500), (90, 70))


@functools.cache
def processor() -> Qwen2_5_VLProcessor:
    """The small tokenizer, and views of many sizes: from 4 to 64 image tokens, up to four windows."""
    small = small_model.processor()
    images = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=224 * 224)
    return Qwen2_5_VLProcessor(images, small.tokenizer, small.chat_template)


@pytest.fixture(scope="module")
def model():
    """Random weights, about 90 M. Depth, MLP widths and vocabulary are cut; all that positions go through is not."""
    small = tiny_config(small_model.processor().tokenizer)
    text = {
        **{name: getattr(small.text_config, name) for name in VOCABULARY},
        "hidden_size": 2048,
        "intermediate_size": 1024,
        "num_hidden_layers": 2,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128000,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "initializer_range": SPREAD,
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": 2,
        "hidden_size": 1280,
        "intermediate_size": 512,
        "num_heads": 16,
        "out_hidden_size": 2048,
        "window_size": 112,
        "fullatt_block_indexes": [1],
        "initializer_range": SPREAD,
    }
    tokens = {
        name: getattr(small, name) for name in ("image_token_id", "video_token_id", "vision_start_token_id")
    }
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True, initializer_range=SPREAD, **tokens
    )
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = processor().tokenizer.eos_token_id
    return model.eval()


def rollouts(model, **settings):
    groups = ground_and_answer(
        model,
        processor(),
        small_model.examples(len(SIZES), SIZES),
        max_crops=3,
        max_turn_tokens=LIMIT,
        **settings,
    )
    return [one for group in groups for one in group]


def test_three_unequal_crops_equal_plain_generation(model, monkeypatch) -> None:
    every_turn_asks_for_a_box(monkeypatch, side=200)
    trajectories = rollouts(model)
    assert all(len(one.images) == 4 for one in trajectories)
    assert len({image.size for one in trajectories for image in one.images[1:]}) >= 8
    assert_plain_generation_agrees(model, processor(), trajectories, LIMIT)


def test_sampled_logprobs_equal_a_full_forward(model, monkeypatch) -> None:
    every_turn_asks_for_a_box(monkeypatch, side=200)
    trajectories = rollouts(model, num_groundings=2, num_answers=2, temperature=1.0, seed=1)
    assert len({tuple(one.token_ids) for one in trajectories}) == len(trajectories) == 12
    assert largest_error(model, processor(), trajectories, 1.0) < 1e-4
