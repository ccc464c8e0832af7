"""Pictures in a training batch by reference: TRL carries entry numbers where pixels would be.

TRL shuffles and splits `pixel_values` with the samples, a row a patch. A batch of grounded conversations
shows one picture to all trajectories of a prompt, so the pixels would be there 8 times over, and each copy
would go through the vision tower in every forward of policy and reference. Here a row holds the number of its
picture in a `Pictures` store, and the model looks it up: the features themselves where the tower is frozen,
else the pixels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from groundr1.pictures import Pictures


class SharedPictures:
    """Stands where TRL calls the image processor, and gives entry numbers instead of pixels."""

    def __init__(self, pictures: Pictures, image_processor: Any) -> None:
        self.pictures = pictures
        self.image_processor = image_processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.image_processor, name)

    def __call__(self, images: Sequence[Image.Image], **options: Any) -> dict[str, Tensor]:
        """`pixel_values` (patches,) int64, the picture's entry for each of its patches; `image_grid_thw` as
        usual."""
        entries = torch.tensor(self.pictures.add(images))
        grids = torch.tensor([self.pictures.grids[entry] for entry in entries.tolist()])
        return {"pixel_values": entries.repeat_interleave(grids.prod(-1)), "image_grid_thw": grids}


def reads_shared_pictures(
    model: Qwen2_5_VLForConditionalGeneration, pictures: Callable[[], Pictures], *, reuse_features: bool
) -> None:
    """Let a model take entry numbers as `pixel_values`; real pixels go on working.

    Args:
        model: Policy or reference, changed in place.
        pictures: The store that the numbers of the current batch refer to.
        reuse_features: Take the store's features, which have no gradient. Only right while no tower is
            trained.
    """
    inner = model.model
    encode = inner.get_image_features

    def get_image_features(
        pixel_values: Tensor, image_grid_thw: Tensor | None = None, **options: Any
    ) -> BaseModelOutputWithPooling:
        if pixel_values.is_floating_point():
            return encode(pixel_values, image_grid_thw, **options)
        first_patch = image_grid_thw.prod(-1).cumsum(0) - image_grid_thw.prod(-1)
        entries = pixel_values[first_patch].tolist()
        store = pictures()
        if reuse_features:
            return BaseModelOutputWithPooling(pooler_output=tuple(store.features(entry) for entry in entries))
        pixels = torch.cat([store.pixels(entry) for entry in entries]).to(pixel_values.device)
        return encode(pixels, image_grid_thw, **options)

    inner.get_image_features = get_image_features
