"""Pictures for Qwen2.5-VL: opened once, resized once, and through the vision tower once, however often they
are shown.

A grounded conversation shows the same picture to all trajectories of a prompt, and the same crop to all
answers of a grounding. The official trainer and TRL process every one of these again; here each distinct
picture is one entry of a `Pictures` store, and conversations refer to entries.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import ProcessorMixin
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from groundr1.data.example import MAX_ASPECT, check_aspect, load_image
from groundr1.data.picture_check import to_rgb

ENCODE_AT_ONCE = (
    32  # pictures a vision forward: bounds the memory of activations, far above where batching still pays
)
T, R = TypeVar("T"), TypeVar("R")


def open_picture(picture: Any, example_id: str) -> Image.Image:
    """Open a picture as RGB pixels in memory, by the one rule of `groundr1.data.picture_check.to_rgb`.

    Args:
        picture: A Pillow image, a path, encoded bytes, or the `{"bytes", "path"}` of an undecoded
            `datasets.Image`.
        example_id: Named in errors.

    Raises:
        FileNotFoundError: No such file. ValueError: not a picture, or a damaged one; no picture at all.
    """
    source: Any = picture
    if isinstance(source, Mapping):
        source = source.get("bytes") or source.get("path")
    if not isinstance(source, Image.Image):
        if not isinstance(source, str | Path | bytes):
            raise ValueError(
                f"Example {example_id!r} has no picture (its image is {picture!r:.80}). Give a Pillow image, a path or"
                " the encoded bytes as 'image', or leave the row out."
            )
        try:
            source = load_image(source)
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"Example {example_id!r}: {error}") from error
    check_aspect(source, f"The picture of example {example_id!r}")
    return to_rgb(source)


def in_threads(function: Callable[[T], R], values: Iterable[T]) -> list[R]:
    """`[function(value) for value in values]`, on all cores where the function lets go of the interpreter."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(function, values))


class Pictures:
    """Distinct pictures, processed and encoded once each.

    Pictures are told apart by identity (the Pillow object), which the store keeps alive; showing the same
    crop twice means adding the same object twice.

    Attributes:
        grids: One `(t, h, w)` an entry, in patches (`image_grid_thw`).
    """

    def __init__(self, processor: ProcessorMixin, model: nn.Module) -> None:
        self.image_processor = processor.image_processor
        self.model = model
        self.grids: list[tuple[int, int, int]] = []
        self._pixels: list[Tensor] = []
        self._features: list[Tensor] = []
        self._entries: dict[int, int] = {}
        self._kept: list[Image.Image] = []

    def __len__(self) -> int:
        return len(self.grids)

    def add(self, images: Sequence[Image.Image]) -> list[int]:
        """Entries of `images` in order, processing those not seen before."""
        new = {id(image): image for image in images if id(image) not in self._entries}
        if new:
            processed = in_threads(self._process, new.values())
            self._entries.update({key: len(self) + i for i, key in enumerate(new)})
            self._kept += new.values()
            self._pixels += [fields["pixel_values"] for fields in processed]
            self.grids += [tuple(fields["image_grid_thw"][0].tolist()) for fields in processed]
        return [self._entries[id(image)] for image in images]

    def _process(self, image: Image.Image) -> Mapping[str, Tensor]:
        # One call a picture: a call for many makes one array of all their patches, which costs more than the rest.
        view = self._view(image)
        return self.image_processor(images=[view], do_resize=False, do_convert_rgb=False, return_tensors="pt")

    def _view(self, image: Image.Image) -> Image.Image:
        """The picture in the size that the processor would give it, by the same filter.

        The processor resizes one picture after the other and goes through an array each time; Pillow's resize lets
        other threads run.
        """
        size, factor = (
            self.image_processor.size,
            self.image_processor.patch_size * self.image_processor.merge_size,
        )
        height, width = smart_resize(
            image.height,
            image.width,
            factor,
            min_pixels=size["shortest_edge"],
            max_pixels=size["longest_edge"],
        )
        return image.resize((width, height), self.image_processor.resample)

    def view_size(self, entry: int) -> tuple[int, int]:
        """`(width, height)` in pixels of the picture as the model sees it."""
        _, height, width = self.grids[entry]
        patch = self.image_processor.patch_size
        return width * patch, height * patch

    def num_tokens(self, entry: int) -> int:
        """Image tokens the picture takes in the prompt."""
        t, h, w = self.grids[entry]
        return t * h * w // self.image_processor.merge_size**2

    def view(self, entry: int) -> Image.Image:
        """The picture resized to its view, for an engine that runs an image processor of its own.

        Processed again, by the same kind of processor, it keeps its size and its pixels wherever that one's bounds
        hold its area. A view longer than processors take (rounding to whole patches may do that to a picture that
        is just short enough) is given as the picture it was made from.
        """
        width, height = self.view_size(entry)
        if max(width, height) > MAX_ASPECT * min(width, height):
            return self._kept[entry]
        return self._view(self._kept[entry])

    def pixels(self, entry: int) -> Tensor:
        """`(patches, patch_dim)` float32, the processor's `pixel_values` of one picture, on the CPU."""
        return self._pixels[entry]

    @torch.no_grad()
    def features(self, entry: int) -> Tensor:
        """`(num_tokens, hidden)`, what the vision tower makes of the picture; computed at the first request,
        no gradient.

        All entries that have none yet are encoded together.
        """
        while entry >= len(self._features):
            start = len(self._features)
            stop = min(start + ENCODE_AT_ONCE, len(self))
            device = self.model.get_input_embeddings().weight.device
            pixels = torch.cat(self._pixels[start:stop]).to(device)
            grids = torch.tensor(self.grids[start:stop], device=device)
            with _patches_by_matrix(self.model):
                encoded = self.model.get_image_features(pixels, grids, return_dict=True)
            self._features += encoded.pooler_output
        return self._features[entry]


@contextmanager
def _patches_by_matrix(model: nn.Module) -> Iterator[None]:
    """Let the tower embed patches by a matrix product: the same as its convolution, whose kernels do not overlap, and
    which is three times as slow (CPU)."""
    convolution = model.model.visual.patch_embed.proj
    convolution.forward = lambda patches: nn.functional.linear(
        patches.flatten(1), convolution.weight.flatten(1)
    )
    try:
        yield
    finally:
        del convolution.forward
