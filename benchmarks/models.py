"""The models that benchmarks run: the built-in tiny one, or random weights in a named shape with the tiny tokenizer.

What a step costs depends on the shapes, not on what the weights know; `never_ending` makes turns equally long.
"""

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from groundr1.model import TINY_PATH, load_processor, resolve
from groundr1.tiny import tiny_config

# Text and vision settings; 3b and 7b are Qwen2.5-VL's, "larger" is what two cores do in seconds.
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "larger": {
        "text_config": {
            "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
        },
        "vision_config": {
            "depth": 4, "hidden_size": 192, "intermediate_size": 512, "num_heads": 6,
            "fullatt_block_indexes": [1, 3],
        },
    },
    "3b": {
        "text_config": {
            "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
            "num_key_value_heads": 2, "vocab_size": 151936,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        "vision_config": {
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
    },
    "7b": {
        "text_config": {
            "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
            "num_key_value_heads": 4, "vocab_size": 152064,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        "vision_config": {
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
    },
}  # fmt: skip


@functools.cache
def folder_of(name: str) -> str:
    """Where a model's weights lie: "tiny", a folder or a Hub id; for a name in `SHAPES` random ones are saved first.

    Random weights are float32 without an accelerator and bfloat16 with one.
    """
    if name not in SHAPES:
        return resolve(name)
    tokenizer = load_processor("tiny").tokenizer
    tiny = tiny_config(tokenizer)
    tokens = {
        key: getattr(tiny, key) for key in ("image_token_id", "video_token_id", "vision_start_token_id")
    }
    ends = {key: getattr(tiny.text_config, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    shape, tied = SHAPES[name], name != "7b"
    config = Qwen2_5_VLConfig(
        text_config=shape["text_config"] | ends | {"tie_word_embeddings": tied},
        vision_config=shape["vision_config"] | {"out_hidden_size": shape["text_config"]["hidden_size"]},
        tie_word_embeddings=tied,
        **tokens,
    )
    on_gpu = torch.accelerator.is_available()
    torch.manual_seed(0)
    with torch.device(torch.accelerator.current_accelerator() if on_gpu else "cpu"):
        model = Qwen2_5_VLForConditionalGeneration._from_config(
            config, dtype=torch.bfloat16 if on_gpu else torch.float32
        )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    folder = Path(tempfile.mkdtemp(prefix=f"groundr1-{name}-"))
    model.save_pretrained(folder)
    return str(folder)


def processor_of(name: str, view_side: int | None = None) -> Any:
    """The processor: the tiny one for random weights; every view has about `view_side ** 2` pixels, the tiny model's
    own 112 if None."""
    pixels = None if view_side is None else view_side**2
    return load_processor(str(TINY_PATH) if name in SHAPES else name, min_pixels=pixels, max_pixels=pixels)


@contextmanager
def never_ending(model: Any, processor: Any) -> Iterator[None]:
    """Let no turn end before its limit of tokens, and none hold an answer: conversations are equally long."""
    vocabulary = processor.tokenizer.get_vocab()
    never = [vocabulary[token] for token in ("<|im_end|>", "<|endoftext|>", "<answer>")]

    def forbid(_module: Any, _inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        logits = logits.clone()
        logits[..., never] = -1e4
        return logits

    hook = model.get_output_embeddings().register_forward_hook(forbid)
    try:
        yield
    finally:
        hook.remove()
