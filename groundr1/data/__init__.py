"""Data: one `Example` form, generated scenes, and readers for the public data sets."""

from groundr1.data.areas import area_quantiles, load_area_quantiles, sample_areas
from groundr1.data.example import EXAMPLE_FEATURES, Example, Rejected, load_image

__all__ = [
    "EXAMPLE_FEATURES",
    "Example",
    "Rejected",
    "area_quantiles",
    "load_area_quantiles",
    "load_image",
    "sample_areas",
]
