"""The folder of an evaluation: what its predictions belong to."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import ProcessorMixin

from groundr1 import provenance
from groundr1.model import prompt_set
from groundr1.prompts import QUESTIONS
from groundr1.storage import read_json, remove_unfinished, write_json

__all__ = ["open_folder", "settings_of", "weights_fingerprint"]

SAMPLES_PER_TENSOR = 64  # numbers of each weight tensor that enter the fingerprint


def settings_of(
    model: nn.Module, processor: ProcessorMixin, columns: Sequence[Sequence[Any]], benchmark: str | None
) -> dict[str, Any]:
    """What predictions depend on: weights, dtype, data (`columns`), the view's pixels, prompts, decoding."""
    return {
        "weights": weights_fingerprint(model),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "benchmark": benchmark,
        "dataset": _fingerprint(columns),
        "min_pixels": processor.image_processor.size["shortest_edge"],
        "max_pixels": processor.image_processor.size["longest_edge"],
        "prompts": prompt_set(processor)._asdict(),
        "questions": None if benchmark is None else dict(QUESTIONS),
        "temperature": 0,
    }


def weights_fingerprint(model: nn.Module) -> str:
    """Short hash of a model's weights: up to 64 numbers spread over each tensor, the same on every device.

    Not every number enters, so that a large model takes a moment only; any training step moves all trained tensors.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, -(-flat.numel() // SAMPLES_PER_TENSOR))].to(torch.float32).cpu().numpy()
        digest.update(f"{name} {tuple(tensor.shape)}".encode() + sample.tobytes())
    return digest.hexdigest()[:16]


def _fingerprint(columns: Sequence[Sequence[Any]]) -> str:
    return hashlib.sha256(repr([list(column) for column in columns]).encode()).hexdigest()[:16]


def open_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Record the settings in a new folder, or check that what it holds belongs to them; remove what a kill left.

    Raises ValueError when it belongs to others; nothing in it is touched then.
    """
    path = out / "settings.json"
    if not path.is_file():
        write_json(path, {**settings, "made_with": provenance.versions()})
        return
    recorded = read_json(path)
    differing = [key for key in settings if recorded.get(key) != settings[key]]
    if differing:
        pairs = "; ".join(f"{key} was {recorded.get(key)!r}, now {settings[key]!r}" for key in differing)
        raise ValueError(
            f"{out} holds the evaluation of something else: {pairs}. Choose another folder, or delete this one if"
            " its predictions are no longer wanted."
        )
    remove_unfinished(out)
