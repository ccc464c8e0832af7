"""A small Qwen2.5-VL for tests: random weights, and then taught nothing but to write well-formed turns.

The built-in model would do too, but tests of the machinery should not depend on how well it was trained.
"""

import functools
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from groundr1.chat import Chat
from groundr1.prompts import PROMPTS
from groundr1.tiny import Qwen2_5_VLProcessor, build_processor, build_tokenizer, tiny_config
from groundr1.trajectory import Trajectory

QUESTIONS = ("What is on the red tile?", "What is written at the blue mark?", "Where is it?", "Which?")


def random_picture(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Noise in coarse blocks, so that no two crops look alike."""
    width, height = size
    blocks = np.random.default_rng(seed).integers(
        0, 255, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8
    )
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)


def examples(
    num: int, sizes: tuple[tuple[int, int], ...] = ((160, 120), (120, 160), (200, 200))
) -> list[dict]:
    """Rows as the data sets give them, of unequal question length and picture shape."""
    return [
        {
            "id": f"row-{i}",
            "image": random_picture(i, sizes[i % len(sizes)]),
            "question": QUESTIONS[i % len(QUESTIONS)] * (1 + i % 2),
            "solution": [str(i % 3)],
            "kind": "exact",
            "boxes": [[10.0, 10.0, 50.0 + 10 * (i % 3), 60.0]],
            "source": "tile",
        }
        for i in range(num)
    ]


@functools.cache
def processor() -> Qwen2_5_VLProcessor:
    """The tiny model's processor, its tokenizer trained on a few words."""
    corpus = [
        *QUESTIONS,
        "<think> look </think> <box>[1,2,3,4]</box>",
        "<think> see </think> <answer> 1 </answer>",
    ]
    return build_processor(build_tokenizer(corpus * 5))


def random_model(seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    """Random weights, float32, evaluation mode."""
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(tiny_config(processor().tokenizer))
    model.generation_config.eos_token_id = processor().tokenizer.eos_token_id
    return model.eval()


@functools.cache
def model_folder() -> Path:
    """A folder with a model that writes well-formed turns (box, then answer) and sometimes answers at
    once."""
    folder = Path(tempfile.mkdtemp(prefix="groundr1-small-"))
    model = random_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    for _ in range(60):
        sequences = [_conversation(rng) for _ in range(16)]
        length = max(len(ids) for ids, _ in sequences)
        ids = torch.tensor([row + [0] * (length - len(row)) for row, _ in sequences])
        labels = torch.tensor([row + [-100] * (length - len(row)) for _, row in sequences])
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


def _conversation(rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Ids and labels, the pictures left out: this model need not see."""
    chat, tokenizer = Chat(processor(), PROMPTS["short"]), processor().tokenizer
    corner, side = rng.integers(0, 80, 2), rng.integers(8, 60, 2)
    box = [*corner, *np.minimum(corner + side, 112)]
    ground = f"<think> look </think> <box>[{','.join(map(str, box))}]</box>"
    answer = f"<think> see </think> <answer> {rng.integers(0, 3)} </answer>"
    parts = [(chat.opening(str(rng.choice(QUESTIONS)), (112, 112), 1, grounds=True), False)]
    if rng.random() < 0.8:
        parts += [(tokenizer(ground)["input_ids"] + [tokenizer.eos_token_id], True)]
        parts += [(chat.evidence(1, is_last=True, finished=tokenizer.eos_token_id), False)]
    parts += [(tokenizer(answer)["input_ids"] + [tokenizer.eos_token_id], True)]
    ids = [token for tokens, _ in parts for token in tokens]
    labels = [token if learnt else -100 for tokens, learnt in parts for token in tokens]
    # Image placeholders without a picture are plain tokens to the model; a text token keeps it from looking
    # for one.
    return [0 if token == chat.image_id else token for token in ids], labels


def talking_model() -> Qwen2_5_VLForConditionalGeneration:
    """A fresh copy of the model of `model_folder`."""
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(model_folder(), dtype=torch.float32).eval()


def banned_ids() -> list[int]:
    """Tokens that rollouts never sample."""
    return Chat(processor(), PROMPTS["short"]).banned_ids


def model_turns(trajectory: Trajectory) -> list[list[int]]:
    """The runs of sampled tokens in a completion."""
    turns, last = [], 0
    for token, sampled in zip(trajectory.token_ids, trajectory.loss_mask, strict=True):
        if sampled and not last:
            turns.append([])
        if sampled:
            turns[-1].append(token)
        last = sampled
    return turns
