"""Shapes of a Qwen2.5-VL model by its name, without its weights and without the network.

>>> published_config("Qwen/Qwen2.5-VL-7B-Instruct").text_config.hidden_size
3584
"""

from functools import cache
from pathlib import Path

import torch
from transformers import AutoImageProcessor, Qwen2_5_VLConfig
from transformers.utils.hub import try_to_load_from_cache

from groundr1.model import resolve

MAX_PIXELS = 12845056  # of the published models' image processor: 16,384 tokens

_VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "in_channels": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "tokens_per_second": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
_TEXT = {
    "max_position_embeddings": 128000,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}
# Width, MLP width, layers, heads, key/value heads, vocabulary, tied embeddings: from the config.json of each.
_SHAPES = {
    "Qwen/Qwen2.5-VL-3B-Instruct": (2048, 11008, 36, 16, 2, 151936, True),
    "Qwen/Qwen2.5-VL-7B-Instruct": (3584, 18944, 28, 28, 4, 152064, False),
}
PUBLISHED = tuple(_SHAPES)


def model_config(name: str) -> Qwen2_5_VLConfig:
    """The model's configuration from its folder, the Hub's local cache, or what the kit knows; never from the network.

    Raises FileNotFoundError when it is in none of these.
    """
    if folder := _folder(name):
        return Qwen2_5_VLConfig.from_pretrained(folder)
    if name in PUBLISHED:
        return published_config(name)
    raise FileNotFoundError(
        f"The configuration of {name!r} is not on this machine, and a dry run downloads nothing. Give a folder with its"
        f" config.json, load the model once, or take one that the kit knows: {', '.join(PUBLISHED)}."
    )


@cache
def own_pixels(name: str) -> int:
    """`max_pixels` of a model's own image processor; the published one's where there is none on this machine."""
    folder = _folder(name)
    if folder is None or not list(folder.glob("*processor_config.json")):
        return MAX_PIXELS
    return AutoImageProcessor.from_pretrained(folder, backend="pil").size["longest_edge"]


def published_config(name: str) -> Qwen2_5_VLConfig:
    """The configuration of one of `PUBLISHED`, as transformers reads it from the Hub.

    Raises KeyError for any other name.
    """
    width, mlp, layers, heads, kv_heads, vocabulary, tied = _SHAPES[name]
    text = {
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }
    return Qwen2_5_VLConfig(
        text_config=_TEXT | text,
        vision_config=_VISION | {"out_hidden_size": width},
        tie_word_embeddings=tied,
        dtype=torch.bfloat16,
    )


def _folder(name: str) -> Path | None:
    """Where a model's configuration lies on this machine; asking transformers would open a connection."""
    path = resolve(name)
    if Path(path).is_dir():
        return Path(path)
    found = try_to_load_from_cache(path, "config.json")
    return Path(found).parent if isinstance(found, str) else None
