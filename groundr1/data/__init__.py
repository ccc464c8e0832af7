"""Data: one `Example` form, generated scenes, readers for the public data sets, and their validation."""

from groundr1.data.areas import area_pool, area_quantiles, load_area_quantiles
from groundr1.data.benchmarks import BENCHMARKS, find_benchmarks, read_benchmark
from groundr1.data.deepeyes import read_deepeyes
from groundr1.data.example import EXAMPLE_FEATURES, Example, Rejected, load_image
from groundr1.data.items import Item, items_of
from groundr1.data.picture_check import Limits, to_rgb
from groundr1.data.readers import read_jsonl, read_refcoco, read_viscot, read_viscot_conversations
from groundr1.data.scenes import make_scenes
from groundr1.data.validation import Validation, load_validation, validate

__all__ = [
    "BENCHMARKS",
    "EXAMPLE_FEATURES",
    "Example",
    "Item",
    "Limits",
    "Rejected",
    "Validation",
    "area_pool",
    "area_quantiles",
    "find_benchmarks",
    "items_of",
    "load_area_quantiles",
    "load_image",
    "load_validation",
    "make_scenes",
    "read_benchmark",
    "read_deepeyes",
    "read_jsonl",
    "read_refcoco",
    "read_viscot",
    "read_viscot_conversations",
    "to_rgb",
    "validate",
]
