"""First stage of the tiny model's pretraining: the vision tower alone learns to see, with heads that are thrown away.

Every merged image token of a view says which colours it lies on and where that thing's corners are, seen from the
token's centre; a crop says which digit or word stands on it. Through the language model the same things are learned
too, but only after a long plateau. Not in the paper: our choice, it stands for the vision pretraining of Qwen2.5-VL.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from groundr1.boxes import Box
from groundr1.cropping import crop_evidence
from groundr1.data.drawing import COLOURS, KINDS, WORDS, Scene, draw_scene
from groundr1.pretrain.curriculum import CELL, SEED_START, as_seen, cell_targets, loosen, normalise, patchify
from groundr1.tiny import VIEW_SIDE, Qwen2_5_VLProcessor

CLASSES = (*(str(digit) for digit in range(10)), *WORDS)


class Heads(nn.Module):
    """Linear read-outs that only pretraining has.

    ``where`` and ``what`` read merged image features: where each colour is, and what is written. ``place`` reads the
    language model's states at the image tokens: where each colour is in the whole view; ``target`` its state at the
    end of the prompt: the box that the question is about.
    """

    def __init__(self, width: int):
        super().__init__()
        self.where = nn.Linear(width, len(COLOURS) * 5)
        self.what = nn.Linear(width, len(CLASSES))
        self.place = nn.Linear(width, len(COLOURS) * 4 + 2)
        self.target = nn.Linear(width, 4)


def batches(
    processor: Qwen2_5_VLProcessor, num: int, *, seed: int, rank: int, processes: int
) -> Iterator[dict[str, Tensor]]:
    """Endless batches of ``num`` views, with a tight and a loose crop for each that has something written on it."""
    index = SEED_START + seed * 10**7 + rank
    rng = np.random.default_rng(index)
    while True:
        views, crops, labels, targets = [], [], [], []
        for _ in range(num):
            scene = draw_scene(KINDS[index // processes % len(KINDS)], index)
            index += processes
            views.append(as_seen(scene.image))
            targets.append(cell_targets(scene))
            if scene.kind == "relation":
                continue
            for query in scene.queries[:3]:
                crops.append(as_seen(crop_evidence(scene.image, _wider(query.box, scene, rng)).image))
                labels.append(CLASSES.index(query.answer))
        pictures = views + crops
        yield {
            "pixel_values": normalise(
                torch.from_numpy(np.concatenate([patchify(p) for p in pictures])), processor
            ),
            "image_grid_thw": torch.tensor([[1, p.shape[0] // 14, p.shape[1] // 14] for p in pictures]),
            "present": torch.from_numpy(np.concatenate([present for present, _ in targets])),
            "corners": torch.from_numpy(np.concatenate([corners for _, corners in targets])),
            "labels": torch.tensor(labels),
        }


def _wider(box: Box, scene: Scene, rng: np.random.Generator) -> Box:
    return box if rng.random() < 0.6 else loosen(box, scene.image.size, rng)


def warm_up_loss(model: nn.Module, heads: Heads, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch, and its parts: what is written, which colour, and the mean corner error in view pixels."""
    features = model.model.get_image_features(batch["pixel_values"], batch["image_grid_thw"]).pooler_output
    num_views = len(batch["present"]) // (VIEW_SIDE // CELL) ** 2
    seen = heads.where(torch.cat(features[:num_views])).view(-1, len(COLOURS), 5)
    written = heads.what(torch.stack([tokens.mean(0) for tokens in features[num_views:]]))
    on = batch["present"] > 0
    colour = F.binary_cross_entropy_with_logits(seen[..., 0], batch["present"])
    corner = F.l1_loss(seen[..., 1:][on], batch["corners"][on])
    word = F.cross_entropy(written, batch["labels"])
    right = (written.argmax(1) == batch["labels"]).float().mean()
    parts = {"word": right.item(), "colour": colour.item(), "corner": corner.item() * CELL}
    return word + 5 * colour + corner, parts
