"""Qwen2.5-VL by name: the built-in tiny model, a local folder, or a Hub id; with its processor and LoRA.

>>> model, processor = load_model("tiny"), load_processor("tiny")

Loads safetensors only and never runs code from a checkpoint.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from groundr1.prompts import PROMPTS, PromptSet
from groundr1.tiny import Qwen2_5_VLProcessor, tiny_config

__all__ = ["TINY_PATH", "load_model", "load_processor", "lora_config", "prompt_set", "tiny_config"]

TINY_PATH = Path(__file__).parent / "assets" / "tiny"

# The attention and MLP projections of the language model; the vision tower stays frozen, as in the v2 code.
LORA_TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def resolve(name_or_path: str | Path) -> str:
    """The folder or Hub id behind a model name: ``"tiny"`` is the built-in model.

    Raises:
        FileNotFoundError: When the name looks like a path (it exists nowhere and is no ``owner/name``), or the
            folder holds no ``config.json``.
    """
    if str(name_or_path) == "tiny":
        return str(TINY_PATH)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise FileNotFoundError(
                f"The model folder {path} holds no config.json. Give a folder written by save_pretrained, a Hub id "
                'such as "Qwen/Qwen2.5-VL-7B-Instruct", or "tiny".'
            )
        return str(path)
    text = str(name_or_path)
    if path.is_absolute() or text.startswith((".", "~")) or text.count("/") != 1:
        raise FileNotFoundError(
            f"There is no model at {text!r}. Give an existing folder written by save_pretrained, a Hub id such as "
            '"Qwen/Qwen2.5-VL-7B-Instruct", or "tiny" for the built-in model.'
        )
    return text


def load_processor(
    name_or_path: str | Path = "tiny", *, min_pixels: int | None = None, max_pixels: int | None = None
) -> Qwen2_5_VLProcessor | AutoProcessor:
    """Load the processor that belongs to a model.

    Args:
        name_or_path: ``"tiny"``, a folder, or a Hub id.
        min_pixels: Least number of pixels of the view (width x height after the resize); None keeps the model's own.
        max_pixels: Greatest number of pixels of the view. The v2 code of the paper uses 401408.

    Returns:
        A Qwen2.5-VL processor that pads on the left, as generation needs. Without torchvision it is one without the
        video part.

    Raises:
        FileNotFoundError: When there is no such model.
        ValueError: When a limit is not positive, ``min_pixels`` exceeds ``max_pixels``, or there is no chat template.
    """
    for name, pixels in {"min_pixels": min_pixels, "max_pixels": max_pixels}.items():
        if pixels is not None and pixels < 1:
            raise ValueError(f"{name}={pixels} must be 1 or more; None keeps the model's own.")
    if min_pixels is not None and max_pixels is not None and min_pixels > max_pixels:
        raise ValueError(f"min_pixels={min_pixels} exceeds max_pixels={max_pixels}; exchange the two.")
    path = resolve(name_or_path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        image_processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    except OSError as error:
        raise FileNotFoundError(
            f"No processor could be loaded from {path!r}: {error}. Check the spelling, or the connection to the Hub."
        ) from error
    size = dict(image_processor.size)
    size["shortest_edge"] = min_pixels or min(size["shortest_edge"], max_pixels or size["shortest_edge"])
    size["longest_edge"] = max_pixels or max(size["longest_edge"], min_pixels or size["longest_edge"])
    image_processor.size = size
    tokenizer.padding_side = "left"
    if tokenizer.chat_template is None:
        raise ValueError(
            f"The tokenizer of {path!r} has no chat template; put chat_template.jinja beside it, or its text into "
            "tokenizer_config.json under chat_template, as Qwen2.5-VL's repositories do."
        )
    return Qwen2_5_VLProcessor(
        image_processor=image_processor, tokenizer=tokenizer, chat_template=tokenizer.chat_template
    )


def load_model(
    name_or_path: str | Path = "tiny",
    *,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    lora: Mapping | None = None,
) -> Qwen2_5_VLForConditionalGeneration | PeftModel:
    """Load a Qwen2.5-VL model.

    Args:
        name_or_path: ``"tiny"``, a folder, or a Hub id.
        dtype: Of the weights; ``"auto"`` is the checkpoint's own (float32 for the tiny model).
        device: Where to put it; None leaves that to the caller (Accelerate moves the model itself).
        lora: Keyword arguments of :class:`peft.LoraConfig`; None trains the full model.

    Returns:
        The model, in evaluation mode.

    Raises:
        FileNotFoundError: When there is no such model.
    """
    path = resolve(name_or_path)
    try:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(path, dtype=dtype, use_safetensors=True)
    except OSError as error:
        raise FileNotFoundError(
            f"No model could be loaded from {path!r}: {error}. Check the spelling, the connection to the Hub, and "
            "that the weights are safetensors (pickled weights are refused)."
        ) from error
    if device is not None:
        model = model.to(device)
    if lora is not None:
        model = get_peft_model(model, lora_config(lora))
    return model.eval()


def lora_config(settings: Mapping) -> LoraConfig:
    """LoRA on the language model's projections; ``settings`` override rank 16, alpha 32 (our choice: common values)."""
    defaults = {"r": 16, "lora_alpha": 32, "target_modules": LORA_TARGETS, "task_type": "CAUSAL_LM"}
    try:
        return LoraConfig(**{**defaults, **settings})
    except TypeError as error:
        raise ValueError(
            f"lora={dict(settings)!r} holds a field that peft.LoraConfig lacks: {error}."
        ) from error


def prompt_set(processor: Qwen2_5_VLProcessor | AutoProcessor) -> PromptSet:
    """The prompts a processor's model expects: ``short`` for the tiny model, which was trained on it, else ``full``.

    The tiny model is known by its vocabulary, which holds the turn tags as tokens.
    """
    return PROMPTS["short" if "<box>" in processor.tokenizer.get_vocab() else "full"]
