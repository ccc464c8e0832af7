"""Data: one `Example` form, generated scenes, readers for the public data sets, their validation, balance and card."""

from groundr1.data.archives import BadArchive, unpack
from groundr1.data.areas import area_pool, area_quantiles, load_area_quantiles
from groundr1.data.balance import balance_by_scale, scale_distribution
from groundr1.data.benchmarks import BENCHMARKS, find_benchmarks, read_benchmark
from groundr1.data.card import CardSplit, write_card
from groundr1.data.deepeyes import read_deepeyes
from groundr1.data.example import EXAMPLE_FEATURES, Example, Rejected, load_image
from groundr1.data.items import Item, items_of
from groundr1.data.picture_check import BadPicture, Limits, check_picture, to_rgb
from groundr1.data.readers import read_jsonl, read_refcoco, read_viscot, read_viscot_conversations
from groundr1.data.scenes import make_scenes
from groundr1.data.validation import InvalidRow, Validation, load_validation, validate

__all__ = [
    "BENCHMARKS",
    "EXAMPLE_FEATURES",
    "BadArchive",
    "BadPicture",
    "CardSplit",
    "Example",
    "InvalidRow",
    "Item",
    "Limits",
    "Rejected",
    "Validation",
    "area_pool",
    "area_quantiles",
    "balance_by_scale",
    "check_picture",
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
    "scale_distribution",
    "to_rgb",
    "unpack",
    "validate",
    "write_card",
]
