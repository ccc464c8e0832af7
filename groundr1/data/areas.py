"""How large the evidence is: relative areas of the Visual-CoT evidence boxes, per set, as committed quantiles.

Ground-R1 (arXiv 2505.20272) explains the scale-driven bias by the size of the evidence region. To make generated
scenes whose evidence has realistic sizes, we measured the 150 validation rows of each of the 13 Visual-CoT sets
(`area_quantiles`) and keep only the resulting numbers, in `viscot_area_quantiles.csv`. No annotation row is shipped.

    >>> float(area_pool(["docvqa", "vsr"]).max())
    1.0
"""

import functools
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from groundr1.boxes import Box, clip, relative_area

__all__ = ["QUANTILE_LEVELS", "area_pool", "area_quantiles", "load_area_quantiles"]

QUANTILES_FILE = Path(__file__).with_name("viscot_area_quantiles.csv")
QUANTILE_LEVELS = np.round(np.linspace(0.0, 1.0, 21), 2)  # 0 (smallest box), 0.05, ..., 1 (largest box)


def area_quantiles(jsonl: str | Path) -> pd.DataFrame:
    """Measure the relative-area quantiles of every set in a Visual-CoT annotation file.

    The area of a box is that of its part inside the image over the image's area. Boxes that are inverted or have
    no part inside (known faults of the official files) say nothing about size and are left out.

    Args:
        jsonl: official Visual-CoT rows with `dataset`, `width`, `height` and `bboxs`, corners in image pixels.

    Returns:
        One row a set (index `set`, sorted), column `num_boxes` and one column a quantile level, named "0.00" to
        "1.00", relative areas in (0, 1] rounded to six significant digits. Linear interpolation between boxes.

    Raises:
        ValueError: a line lacks one of the fields.
    """
    areas: dict[str, list[float]] = defaultdict(list)
    for number, line in enumerate(Path(jsonl).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            size = (row["width"], row["height"])
            boxes = [Box(*map(float, corners)) for corners in row["bboxs"]]
            name = row["dataset"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{jsonl}, line {number}: not a Visual-CoT annotation row ({error!r})."
            ) from error
        for box in boxes:
            if clip(box, size) is not None:
                areas[name].append(relative_area(box, size))
    columns = [f"{level:.2f}" for level in QUANTILE_LEVELS]
    records = []
    for name in sorted(areas):
        quantiles = [float(f"{value:.6g}") for value in np.quantile(areas[name], QUANTILE_LEVELS)]
        records.append(
            {"set": name, "num_boxes": len(areas[name]), **dict(zip(columns, quantiles, strict=True))}
        )
    return pd.DataFrame.from_records(records, columns=["set", "num_boxes", *columns]).set_index("set")


@functools.cache
def load_area_quantiles() -> dict[str, np.ndarray]:
    """Return the committed quantiles: set name -> (21,) float64 relative areas at `QUANTILE_LEVELS`, ascending."""
    table = pd.read_csv(QUANTILES_FILE, index_col="set").drop(columns="num_boxes")
    return {str(name): row.to_numpy(dtype=np.float64) for name, row in table.iterrows()}


def area_pool(sets: Sequence[str], limits: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """Areas to draw from: a uniform choice of one of them follows the distribution of the sets, each weighing the same.

    Between two quantiles an area is interpolated in the logarithm (not in the paper: our choice, because the areas of
    one set span up to three orders of magnitude and a linear scale would all but lose its smallest boxes).

    Args:
        sets: Visual-CoT set names, for instance `["docvqa", "textvqa"]`; a name given twice weighs twice.
        limits: least and greatest relative area; what lies outside is left out.

    Returns:
        (num,) float64, relative areas within the limits: 401 levels of each set, less those outside.

    Raises:
        ValueError: no set given, or one of them is not a Visual-CoT set.
    """
    quantiles = load_area_quantiles()
    unknown = sorted(set(sets) - quantiles.keys())
    if unknown or not sets:
        raise ValueError(f"Unknown Visual-CoT sets {unknown}; give at least one of {sorted(quantiles)}.")
    levels = np.linspace(0.0, 1.0, 401)
    pool = np.concatenate(
        [np.exp(np.interp(levels, QUANTILE_LEVELS, np.log(quantiles[name]))) for name in sets]
    )
    return pool[(pool >= limits[0]) & (pool <= limits[1])]
