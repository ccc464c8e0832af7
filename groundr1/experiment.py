"""One experiment: data, the arms trained on it, their evaluation. What the five notebooks share, and find on disk.

    runs/<name>/validated/     a validation each of train/ and heldout/, where they were read from files  notebook 01
                data/          train/ and heldout/ as saved data sets, manifest.json, the data set card
                grpo/, srpo/   a run folder each (`groundr1.runs`), model/ in it when trained  notebook 02
                evaluation/    predictions of each model on the held-out questions            notebook 05
                notebooks/     executed copies

Each notebook runs alone from these files; what is missing is an error that names the notebook to run first. Not in the
paper: our choice, because a figure can then be drawn again without training.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset
from datasets import Image as ImageFeature
from PIL import Image

from groundr1.boxes import relative_area
from groundr1.config import TrainConfig
from groundr1.cropping import crop_evidence
from groundr1.data.picture_check import to_rgb
from groundr1.data.upright import upright_size
from groundr1.diagnostics import scale_of
from groundr1.rollout_table import evidence_hull
from groundr1.runs import Run, load_run
from groundr1.splits import load_split as load_split  # with the arms, what the later notebooks begin with

__all__ = ["as_seen", "evidence_table", "load_arms", "load_split", "train_arms"]

logger = logging.getLogger(__name__)

TRAINING_NOTEBOOK = "notebooks/02_training.ipynb"


def train_arms(experiment: str | Path, arms: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Run]:
    """Train one run for each kind of advantage, on the experiment's data; alike in everything else.

    Args:
        experiment: folder of the experiment; an arm's run is <experiment>/<arm>/.
        arms: "grpo", "srpo", "srpo-intra" or "srpo-inter".
        settings: further fields of `TrainConfig`, the same for all arms.

    Returns:
        Label as in `load_arms` -> run. An arm that was killed resumes, one that is complete is left alone.

    Raises:
        FileNotFoundError: the data or the model is not there. ValueError: a setting is wrong; nothing is trained then.
    """
    from groundr1.trainer import train

    load_split(experiment, "train")
    data = {"path": str(Path(experiment).resolve() / "data" / "train")}
    fixed = {"runs": str(experiment), "data": data}
    configs = [TrainConfig.from_mapping({**settings, **fixed, "name": arm, "advantage": arm}) for arm in arms]
    return {_label(config.name): load_run(train(config)) for config in configs}


def load_arms(experiment: str | Path, arms: Sequence[str], *, complete: bool = False) -> dict[str, Run]:
    """Runs of the arms that notebook 02 trained, by label: "grpo" is "GRPO" in tables and figures.

    An arm that is still training may be looked at, unless `complete`.

    Raises FileNotFoundError, saying what to run, when an arm has not made a step, or is wanted complete and is not.
    """
    runs = {}
    for arm in arms:
        run = Run(Path(experiment) / arm)
        trained = run.summary() is not None if run.path.is_dir() else False
        if not trained and (complete or run.metrics().empty):
            raise FileNotFoundError(
                f"{run.path} holds no {'completely ' if complete else ''}trained arm. Run {TRAINING_NOTEBOOK} first,"
                " with the same `runs` and `name`; a training that was interrupted goes on where it was."
            )
        if not trained:
            logger.warning("%s is not complete: what is shown is what there is so far.", run.path)
        runs[_label(arm)] = run
    return runs


def evidence_table(dataset: Dataset) -> pd.DataFrame:
    """How large the annotated evidence is: one row an example, in order.

    Returns:
        Columns id, source, answer, width, height (pixels), relative_area (of the hull of its boxes, in [0, 1]; NaN
        without annotation) and scale ("small", "medium", "large"; None without annotation).
    """
    rows = []
    # Sizes stand in the head of a picture file; its pixels need not be decoded.
    for row in dataset.cast_column("image", ImageFeature(decode=False)):
        stored = row["image"]["bytes"]
        size = upright_size(stored or row["image"]["path"])
        hull = evidence_hull(row["boxes"])
        area = None if hull is None else relative_area(hull, size)
        about = {"id": row["id"], "source": row["source"], "answer": " / ".join(row["solution"])}
        about |= {"width": size[0], "height": size[1], "relative_area": area}
        rows.append({**about, "scale": None if area is None else scale_of(area)})
    return pd.DataFrame(rows).astype({"relative_area": "float64"})


def as_seen(example: Mapping[str, Any], processor: Any, *, crop: bool = False) -> dict[str, Any]:
    """The example with its picture as the model sees it: at the size of the view, boxes left out.

    Args:
        example: a row of a dataset with EXAMPLE_FEATURES.
        processor: of the model, as `load_processor` gives it.
        crop: the crop of the annotated evidence in place of the whole picture, at the size that the model sees it.
    """
    image = to_rgb(example["image"])
    hull = evidence_hull(example["boxes"]) if crop else None
    shown = image if hull is None else crop_evidence(image, hull).image
    _, height, width = processor.image_processor(images=[shown], return_tensors="pt")["image_grid_thw"][
        0
    ].tolist()
    patch = processor.image_processor.patch_size
    view = shown.resize((width * patch, height * patch), Image.Resampling.BICUBIC)
    return {**example, "image": view, "boxes": []}


def _label(arm: str) -> str:
    return arm.upper()
