"""What the tiny base model is pretrained on: batches of short conversations about generated scenes.

Three exercises, all in the very token format of the rollouts:

- *read*: a crop stands as the picture and the question is answered at once;
- *point*: the view stands as the picture and the turn gives the box of the evidence region;
- *talk*: both turns, the crop being the one that the box of the first turn asks for.

Pictures are prepared in worker processes with NumPy; :func:`patchify` equals the processor, by test.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from groundr1.boxes import Box, clip, relative_area, rescale
from groundr1.cropping import crop_evidence
from groundr1.data.drawing import COLOURS, KINDS, Query, Scene, draw_scene
from groundr1.prompts import PROMPTS
from groundr1.tiny import VIEW_SIDE, Qwen2_5_VLProcessor

# Scenes of pretraining come from a range of seeds of its own, after those of make_scenes' two splits.
SEED_START = 2**33

CELL = 28  # view pixels a merged token covers
ANSWER_WEIGHT, COORDINATE_WEIGHT, TEMPLATE_WEIGHT = 8.0, 2.0, 0.2
THOUGHTS = {"tile": "find the tile", "print": "find the mark", "relation": "find both"}


@dataclass(frozen=True)
class Mix:
    """Shares of one stage of pretraining.

    Attributes:
        read, point, talk: Number of conversations of each exercise in a batch.
        loose: Share of *talk* and *point* boxes that are loose: larger than the evidence region, and shifted.
    """

    read: int
    point: int
    talk: int
    loose: float


def patchify(pixels: np.ndarray) -> np.ndarray:
    """One picture as the vision tower takes it.

    Args:
        pixels: ``(height, width, 3)`` uint8, both sides multiples of 28.

    Returns:
        ``(height * width / 196, 1176)`` uint8 patches in the order of Qwen2.5-VL, not yet normalised.
    """
    height, width, _ = pixels.shape
    grid = (
        pixels.transpose(2, 0, 1)
        .reshape(3, height // 28, 2, 14, width // 28, 2, 14)
        .transpose(1, 4, 2, 5, 0, 3, 6)
    )
    patches = np.repeat(grid[:, :, :, :, :, None], 2, axis=5)
    return patches.reshape(height * width // 196, 1176)


def normalise(patches: torch.Tensor, processor: Qwen2_5_VLProcessor) -> torch.Tensor:
    """Patches of :func:`patchify` as float32, normalised as the image processor does."""
    image_processor = processor.image_processor
    std = torch.tensor(image_processor.image_std)
    scale = (1 / (255 * std)).repeat_interleave(392)
    shift = (-torch.tensor(image_processor.image_mean) / std).repeat_interleave(392)
    return torch.addcmul(shift, patches.float(), scale)


def as_seen(image: Image.Image) -> np.ndarray:
    """The picture after the processor's resize: ``(height, width, 3)`` uint8, about ``VIEW_SIDE**2`` pixels."""
    height, width = smart_resize(
        image.height, image.width, factor=28, min_pixels=VIEW_SIDE**2, max_pixels=VIEW_SIDE**2
    )
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def cell_targets(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """What the tokens of a square view should say.

    Returns:
        ``(16, colours)`` float32, 1 where the token lies on the thing of that colour, and ``(16, colours, 4)`` float32,
        the corners of that thing from the token's centre, in cells.
    """
    side = VIEW_SIDE // CELL
    centres = (
        np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) + 0.5
    ) * CELL  # x, y
    present = np.zeros((side * side, len(COLOURS)), dtype=np.float32)
    corners = np.zeros((side * side, len(COLOURS), 4), dtype=np.float32)
    for index, colour in enumerate(COLOURS):
        if colour not in scene.objects:
            continue
        box = rescale(scene.objects[colour], scene.image.size, (VIEW_SIDE, VIEW_SIDE))
        low, high = centres - CELL / 2, centres + CELL / 2
        overlap = np.clip(np.minimum(high, box[2:]) - np.maximum(low, box[:2]), 0, None).prod(1)
        present[:, index] = overlap > 0.2 * min(box.area, CELL**2)
        corners[:, index] = (np.asarray(box)[None] - np.tile(centres, 2)) / CELL
    return present, corners


def loosen(box: Box, size: tuple[int, int], rng: np.random.Generator) -> Box:
    """A box around an evidence region, the region anywhere in it; clipped.

    Each side is 1 to 3.5 times as long for small evidence and 1 to 2 times for larger: small things are pointed at
    less well, which leaves reinforcement something to teach.
    """
    most = 3.5 if relative_area(box, size) < 0.1 else 2.0
    scale_x, scale_y = np.exp(rng.uniform(0, np.log(most), size=2))
    width, height = box.width * scale_x, box.height * scale_y
    x1 = box.x1 - rng.uniform(0, 1) * (width - box.width)
    y1 = box.y1 - rng.uniform(0, 1) * (height - box.height)
    return clip(Box(x1, y1, x1 + width, y1 + height), size) or box


class Conversations:
    """An endless stream of collated batches: process ``rank`` of ``processes`` gets its share of every batch."""

    def __init__(
        self, processor: Qwen2_5_VLProcessor, mix: Mix, *, seed: int, rank: int = 0, processes: int = 1
    ):
        self.processor, self.mix = processor, mix
        self.seed, self.rank, self.processes = seed, rank, processes
        tokenizer = processor.tokenizer
        self.numbers = {tokenizer.convert_tokens_to_ids(str(n)): n for n in range(VIEW_SIDE + 1)}

    def __iter__(self):
        index = SEED_START + self.seed * 10**7 + self.rank
        rng = np.random.default_rng(index)
        stock: list[tuple[Scene, Query]] = []
        while True:
            counts = {"read": self.mix.read, "point": self.mix.point, "talk": self.mix.talk}
            exercises = [name for name, count in counts.items() for _ in range(count // self.processes)]
            while len(stock) < len(exercises):
                scene = draw_scene(KINDS[index // self.processes % len(KINDS)], index)
                stock += [(scene, query) for query in scene.queries]
                index += self.processes
            batch = [getattr(self, "_" + name)(*stock.pop(), rng) for name in rng.permutation(exercises)]
            yield self._collate(batch)

    def _read(self, scene: Scene, query: Query, rng: np.random.Generator) -> "_Sample":
        size, draw = scene.image.size, rng.random()
        if draw < 0.15:
            picture = scene.image  # the view alone: what can be read without a crop
        else:
            box = query.box if draw < 0.4 else loosen(query.box, size, rng)
            picture = crop_evidence(scene.image, box).image
        prompt = PROMPTS["short"].direct.format(question=query.question)
        sample = _Sample(self)
        sample.user(as_seen(picture), prompt)
        sample.answer(query.answer)
        return sample

    def _point(self, scene: Scene, query: Query, rng: np.random.Generator) -> "_Sample":
        return self._pointed(scene, query, rng)[0]

    def _talk(self, scene: Scene, query: Query, rng: np.random.Generator) -> "_Sample":
        sample, box_view, view_size = self._pointed(scene, query, rng)
        shown = crop_evidence(scene.image, rescale(box_view, view_size, scene.image.size)).image
        sample.user(as_seen(shown), PROMPTS["short"].last)
        sample.answer(query.answer)
        return sample

    def _pointed(
        self, scene: Scene, query: Query, rng: np.random.Generator
    ) -> tuple["_Sample", Box, tuple[int, int]]:
        """The first turn: its sample, the box it gives, and the size of the view."""
        box = loosen(query.box, scene.image.size, rng) if rng.random() < self.mix.loose else query.box
        view = as_seen(scene.image)
        view_size = (view.shape[1], view.shape[0])
        exact = rescale(box, scene.image.size, view_size)
        x1, y1 = round(exact.x1), round(exact.y1)
        box_view = Box(x1, y1, max(round(exact.x2), x1 + 1), max(round(exact.y2), y1 + 1))
        prompt = PROMPTS["short"].ground.format(
            question=query.question, width=view_size[0], height=view_size[1]
        )
        sample = _Sample(self)
        sample.user(view, prompt)
        sample.box_view, sample.scene, sample.question = box_view, scene, query.question
        sample.box(box_view, THOUGHTS[scene.kind])
        return sample, box_view, view_size

    def _collate(self, samples: list["_Sample"]) -> dict[str, torch.Tensor]:
        length = max(len(sample.ids) for sample in samples)
        pad = self.processor.tokenizer.pad_token_id
        ids = np.full((len(samples), length), pad)
        weights = np.zeros((len(samples), length), dtype=np.float32)
        mask = np.zeros((len(samples), length), dtype=np.int64)
        for row, sample in enumerate(samples):
            ids[row, : len(sample.ids)] = sample.ids
            weights[row, : len(sample.ids)] = sample.weights
            mask[row, : len(sample.ids)] = 1
        pictures = [picture for sample in samples for picture in sample.pictures]
        pointing = [row for row, sample in enumerate(samples) if sample.scene is not None]
        cells = [cell_targets(samples[row].scene) for row in pointing]
        return {
            "pointing": torch.tensor(pointing),
            "present": torch.from_numpy(np.stack([present for present, _ in cells] or [np.zeros((16, 8))])),
            "corners": torch.from_numpy(
                np.stack([corners for _, corners in cells] or [np.zeros((16, 8, 4))])
            ),
            "boxes": torch.tensor([samples[row].box_view for row in pointing]),
            "asked": torch.tensor([[float(c in samples[row].question) for c in COLOURS] for row in pointing]),
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "weights": torch.from_numpy(weights),
            "mm_token_type_ids": torch.from_numpy((ids == self.processor.image_token_id).astype(np.int64)),
            "patches": torch.from_numpy(np.concatenate([patchify(picture) for picture in pictures])),
            "image_grid_thw": torch.tensor([[1, p.shape[0] // 14, p.shape[1] // 14] for p in pictures]),
        }


class _Sample:
    """One conversation being written: token ids, loss weights and pictures."""

    def __init__(self, stream: Conversations):
        self.stream, self.ids, self.weights, self.pictures = stream, [], [], []
        self.box_view: Box | None = None  # the box of the first turn
        self.scene: Scene | None = None  # of which the first picture is the view
        self.question = ""  # about that scene

    def _add(self, text: str, weight: float) -> None:
        ids = self.stream.processor.tokenizer.encode(text, add_special_tokens=False)
        self.ids += ids
        self.weights += [weight] * len(ids)

    def user(self, picture: np.ndarray, text: str) -> None:
        """A user's turn and the opening of the model's; nothing of it is learned."""
        start = "\n<|im_start|>user\n" if self.ids else "<|im_start|>user\n"
        self._add(start + "<|vision_start|>", 0.0)
        num_tokens = picture.shape[0] * picture.shape[1] // 784
        self.ids += [self.stream.processor.image_token_id] * num_tokens
        self.weights += [0.0] * num_tokens
        self._add(f"<|vision_end|>{text}<|im_end|>\n<|im_start|>assistant\n", 0.0)
        self.pictures.append(picture)

    def box(self, box_view: Box, thought: str) -> None:
        """A turn of the model that gives a box."""
        corners = ",".join(str(corner) for corner in box_view)
        start = len(self.ids)
        self._add(f"<think>{thought}</think><box>[{corners}]</box><|im_end|>", TEMPLATE_WEIGHT)
        for position in range(start, len(self.ids)):
            if self.ids[position] in self.stream.numbers:
                self.weights[position] = COORDINATE_WEIGHT

    def answer(self, answer: str) -> None:
        """A turn of the model that answers."""
        self._add("<think>read it</think><answer>", TEMPLATE_WEIGHT)
        self._add(answer, ANSWER_WEIGHT)
        self._add("</answer><|im_end|>", TEMPLATE_WEIGHT)
