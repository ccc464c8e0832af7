"""What preparing pictures costs, and how long the model waits for it.

a picture    milliseconds to open (decode), to resize to its view, to crop, to cut into patches: a generated scene with
             the tiny model's view, and photographs with the paper's view (401,408 pixels at most)
a batch      opening the originals, and processing them and four crops of each: one after the other by the image
             processor, and as `Pictures` does it
a step       of SRPOTrainer on the tiny model: seconds in which it waits for pictures, with the next batch's prepared
             during the step before, and without
a fast step  the share that such a batch of photographs would have of a step of so many seconds, nothing overlapped:
             an estimate for an accelerator, from this machine's processor

python -m benchmarks.picture_preparation
"""

import argparse
import io
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from transformers import PrinterCallback

from benchmarks.common import Row, interleaved, parser, print_table, summary, write_results
from benchmarks.models import folder_of, processor_of
from groundr1.boxes import Box
from groundr1.cropping import crop_evidence
from groundr1.data import EXAMPLE_FEATURES, make_scenes
from groundr1.model import load_model, load_processor
from groundr1.pictures import Pictures, in_threads, open_picture
from groundr1.preparation import PicturesAhead
from groundr1.trainer import SRPOConfig, SRPOTrainer

VIEW_PIXELS = 401408  # of the paper's v2 code
CROPS = 4
FAST_STEPS = (1, 5, 20)  # seconds


def photograph(size: tuple[int, int], seed: int = 0) -> bytes:
    """A JPEG file of smooth noise, about as hard to decode as a photograph."""
    width, height = size
    blocks = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def quarters(image: Image.Image) -> list[Image.Image]:
    """Crops of half its width and height."""
    width, height = image.size
    boxes = [Box(x, y, x + width / 2, y + height / 2) for x in (0, width / 2) for y in (0, height / 2)]
    return [crop_evidence(image, box).image for box in boxes[:CROPS]]


def a_picture(options: argparse.Namespace) -> list[Row]:
    """Milliseconds of each stage for one picture, medians."""
    scene = io.BytesIO()
    make_scenes(1, seed=1, progress=False)[0]["image"].save(scene, "PNG")
    paper = load_processor("tiny", min_pixels=56 * 56, max_pixels=VIEW_PIXELS)
    pictures = {"scene, 448 x 448 PNG": (scene.getvalue(), load_processor("tiny"))}
    for size in options.photographs:
        pictures["photograph, {} x {} JPEG".format(*size)] = (photograph(size), paper)
    rows = []
    for name, (encoded, processor) in pictures.items():
        image = open_picture(encoded, name)
        store = Pictures(processor, None)
        [entry] = store.add([image])
        view = store.view(entry)
        stages: dict[str, Callable[[], Any]] = {
            "open_ms": lambda: open_picture(encoded, "picture"),  # noqa: B023 (called before the next round)
            "resize_ms": lambda: store.view(entry),  # noqa: B023
            "crop_ms": lambda: quarters(image)[0],  # noqa: B023
            "patches_ms": lambda: processor.image_processor(  # noqa: B023
                images=[view],  # noqa: B023
                do_resize=False,
                return_tensors="pt",
            ),
        }
        times = summary(interleaved(stages, repeats=max(options.repeats, 3)))
        row = {each["name"]: 1000 * each["median_s"] for each in times}
        rows.append({"picture": name, **row, "all_ms": sum(row.values())})
    return rows


def a_batch(options: argparse.Namespace) -> list[Row]:
    """Seconds for all pictures of a batch of photographs, with their crops."""
    encoded = [photograph(options.photographs[0], seed) for seed in range(options.prompts)]
    processor = load_processor("tiny", min_pixels=56 * 56, max_pixels=VIEW_PIXELS)

    def one_by_one() -> None:
        images = [open_picture(each, "picture") for each in encoded]
        crops = [crop for image in images for crop in quarters(image)]
        for shown in [*images, *crops]:
            processor.image_processor(images=[shown], return_tensors="pt")

    def together() -> None:
        store = Pictures(processor, None)
        images = in_threads(lambda each: open_picture(each, "picture"), encoded)
        store.add(images)
        store.add([crop for image in images for crop in quarters(image)])

    times = interleaved({"one by one": one_by_one, "Pictures": together}, repeats=options.repeats)
    rows = summary(times, baseline="one by one")
    return [{"prompts": options.prompts, "pictures": options.prompts * (1 + CROPS), **row} for row in rows]


@contextmanager
def waiting(seconds: list[float]) -> Iterator[None]:
    """Note the seconds that the main thread spends on opening and processing pictures."""
    inside = threading.local()

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread() is not threading.main_thread() or getattr(inside, "it", False):
                return method(*arguments, **options)
            inside.it, start = True, time.perf_counter()
            try:
                return method(*arguments, **options)
            finally:
                inside.it = False
                seconds[-1] += time.perf_counter() - start

        return wrapped

    with ExitStack() as patches:
        for owner, name in (
            (Pictures, "add"),
            (SRPOTrainer, "_distinct_examples"),
            (PicturesAhead, "arrived"),
        ):
            patches.enter_context(patch.object(owner, name, timed(getattr(owner, name))))
        yield


class TimedTrainer(SRPOTrainer):
    """Notes the seconds of each step, and of the waiting in it."""

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        self.waited.append(0.0)
        start = time.perf_counter()
        loss = super().training_step(*arguments, **options)
        self.steps.append(time.perf_counter() - start)
        return loss


def a_step(options: argparse.Namespace, *, ahead: bool) -> Row:
    """Median seconds of a step on photographs, and of its waiting for pictures."""
    size = options.photographs[0]
    rows = [
        {
            "id": str(seed), "image": {"bytes": photograph(size, seed), "path": None}, "question": "What is it?",
            "solution": ["a"], "kind": "exact", "boxes": [[0.0, 0.0, 50.0, 50.0]], "source": "tile",
        }
        for seed in range(4 * options.step_prompts)
    ]  # fmt: skip
    args = SRPOConfig(
        tempfile.mkdtemp(), max_turn_tokens=options.turn_tokens, max_steps=options.repeats + 1, learning_rate=1e-5,
        per_device_train_batch_size=options.step_prompts * 8, bf16=torch.accelerator.is_available(),
        use_cpu=not torch.accelerator.is_available(), gradient_checkpointing=False, save_strategy="no",
        report_to="none", disable_tqdm=True,
    )  # fmt: skip
    trainer = TimedTrainer(
        load_model(folder_of(options.model)),
        args=args,
        train_dataset=Dataset.from_list(rows, features=EXAMPLE_FEATURES),
        processing_class=processor_of(options.model),
    )
    if not ahead:
        trainer.data_collator = list
    trainer.remove_callback(PrinterCallback)
    trainer.steps, trainer.waited = [], []
    with waiting(trainer.waited):
        trainer.train()
    step, waited = statistics.median(trainer.steps[1:]), statistics.median(trainer.waited[1:])
    found = {"prepared": "ahead" if ahead else "in the step", "step_s": step, "waiting_s": waited}
    return found | {"waiting_percent": 100 * waited / step}


def size_of(text: str) -> tuple[int, int]:
    """`1024x768` as (1024, 768)."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write the json file."""
    options = parser(__doc__)
    options.add_argument("--model", default="tiny", help="of the measured step (tiny)")
    options.add_argument(
        "--photographs", type=size_of, nargs="+", default=[(1024, 768), (3000, 2000)],
        help="sizes; batch and step take the first (1024x768 3000x2000)",
    )  # fmt: skip
    options.add_argument("--prompts", type=int, default=32, help="prompts of the batch (32)")
    options.add_argument("--step-prompts", type=int, default=8, help="prompts of the measured step (8)")
    options.add_argument("--turn-tokens", type=int, default=32, help="limit of tokens a turn (32)")
    options = options.parse_args(arguments)
    pictures, batch = a_picture(options), a_batch(options)
    steps = [a_step(options, ahead=ahead) for ahead in (False, True)]
    needed = batch[-1]["median_s"]
    fast = [
        {"step_s": step, "preparation_s": needed, "percent": 100 * needed / (step + needed)}
        for step in FAST_STEPS
    ]
    print_table(pictures, "A picture")
    print_table(batch, f"A batch of photographs with {CROPS} crops each")
    print_table(steps, "A training step on photographs")
    print_table(fast, f"Share of a fast step of {options.prompts} prompts, estimated, nothing overlapped")
    write_results("picture_preparation", [*pictures, *batch, *steps, *fast], vars(options))


if __name__ == "__main__":
    main()
