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
from groundr1.shapes import published_config
from groundr1.tiny import tiny_config

# Shapes by a short name: Qwen2.5-VL's published ones, and one that two cores do in seconds.
PUBLISHED = {"3b": "Qwen/Qwen2.5-VL-3B-Instruct", "7b": "Qwen/Qwen2.5-VL-7B-Instruct"}
LARGER: dict[str, dict[str, Any]] = {
    "text_config": {
        "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 2048, "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
    },
    "vision_config": {
        "depth": 4, "hidden_size": 192, "intermediate_size": 512, "num_heads": 6, "out_hidden_size": 256,
        "fullatt_block_indexes": [1, 3],
    },
}  # fmt: skip
SHAPES = ("larger", *PUBLISHED)


@functools.cache
def folder_of(name: str) -> str:
    """Where a model's weights lie: "tiny", a folder or a Hub id; for a name in `SHAPES` random ones are saved first.

    Random weights are float32 without an accelerator and bfloat16 with one.
    """
    if name not in SHAPES:
        return resolve(name)
    tokenizer = load_processor("tiny").tokenizer
    config = _shape(name)
    tiny = tiny_config(tokenizer)
    for key in ("image_token_id", "video_token_id", "vision_start_token_id"):
        setattr(config, key, getattr(tiny, key))
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config.text_config, key, getattr(tiny.text_config, key))
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


def _shape(name: str) -> Qwen2_5_VLConfig:
    """Configuration of one of `SHAPES`, still with the token ids of the published models."""
    if name in PUBLISHED:
        return published_config(PUBLISHED[name])
    return Qwen2_5_VLConfig(**LARGER, tie_word_embeddings=True)


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
