"""Data: one `Example` schema, generated scenes, and readers for the public data sets."""

from groundr1.data.areas import area_quantiles, load_area_quantiles, sample_areas

__all__ = ["area_quantiles", "load_area_quantiles", "sample_areas"]
