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

from groundr1.boxes import Box, rescale
from groundr1.cropping import crop_evidence
from groundr1.data.drawing import COLOURS, KINDS, WORDS, Scene, draw_scene
from groundr1.pretrain.curriculum import SEED_START, as_seen, loosen, normalise, patchify
from groundr1.tiny import VIEW_SIDE, TinyProcessor

CLASSES = (*(str(digit) for digit in range(10)), *WORDS)
CELL = 28  # view pixels a merged token covers


class Heads(nn.Module):
    """Linear read-outs of merged image features: where each colour is, and what is written."""

    def __init__(self, width: int):
        super().__init__()
        self.where = nn.Linear(width, len(COLOURS) * 5)
        self.what = nn.Linear(width, len(CLASSES))


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


def batches(
    processor: TinyProcessor, num: int, *, seed: int, rank: int, processes: int
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
