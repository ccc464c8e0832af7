"""How large a benchmark's pictures are shown, and how many of them at a time."""

import logging
from pathlib import Path

from transformers import ProcessorMixin

from groundr1.data.benchmarks import BENCHMARKS
from groundr1.data.benchmarks.table import PAPER_MAX_PIXELS
from groundr1.model import load_processor, prompt_set

__all__ = ["fitting_batch", "processor_for"]

logger = logging.getLogger(__name__)


def processor_for(model: str | Path, benchmark: str, max_pixels: int | str | None = None) -> ProcessorMixin:
    """The processor of a model, with the views of a benchmark.

    Args:
        model: "tiny", a folder or a Hub id.
        benchmark: one of `BENCHMARKS`.
        max_pixels: most pixels of a view; None: the benchmark's budget, "model": the model's own. The tiny model keeps
            its own in any case, since it has learnt no other; the log says what is taken.
    """
    processor = load_processor(model)
    own = processor.image_processor.size["longest_edge"]
    if prompt_set(processor).name == "short":
        logger.info("The tiny model keeps its own view of at most %d pixels; it has learnt no other.", own)
        return processor
    if max_pixels == "model":
        logger.info("%s: views of at most %d pixels, the model's own.", benchmark, own)
        return processor
    chosen = BENCHMARKS[benchmark].max_pixels if max_pixels is None else int(max_pixels)
    logger.info("%s: views of at most %d pixels; the model's own limit is %d.", benchmark, chosen, own)
    return load_processor(model, max_pixels=chosen)


def fitting_batch(processor: ProcessorMixin, batch_size: int = 64) -> int:
    """How many examples to roll out together, if `batch_size` is right for the paper's 401408 pixels a picture: as many
    pixels in all where views are larger, at least one example."""
    view = processor.image_processor.size["longest_edge"]
    return max(1, min(batch_size, batch_size * PAPER_MAX_PIXELS // view))
