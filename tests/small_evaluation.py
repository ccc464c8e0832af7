"""Visual-CoT with one question a set, in the official form: generated scenes, which the built-in model can read."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from groundr1.data import make_scenes
from groundr1.evaluation import read_predictions
from groundr1.evaluation.scorers import VISCOT_13

NUM = len(VISCOT_13)
OPTIONS = (
    '"  \nA. a door  \nB. a wall  \nC. a car  \nD. a tree'  # with the quotation mark of the official file
)


def write_benchmark(folder: Path) -> Path:
    """Rows and pictures below `folder`, once."""
    path, pictures = folder / "viscot.jsonl", folder / "pictures"
    if path.exists():
        return path
    pictures.mkdir(parents=True)
    rows = []
    for i, (name, scene) in enumerate(zip(VISCOT_13, make_scenes(NUM, seed=5, progress=False), strict=True)):
        scene["image"].save(pictures / f"{i}.png")
        chosen = name in ("gqa", "openimages")
        rows.append({
            "image": f"/home/somebody/cot_image_data/{i}.png",
            "width": scene["image"].width,
            "height": scene["image"].height,
            "bboxs": scene["boxes"],
            "dataset": name,
            "split": "val",
            "problem": scene["question"] + (OPTIONS if chosen else ""),
            "solution": "<answer>B</answer>" if chosen else scene["solution"][0],
            "problem_id": i,
        })  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    """Fields of a configuration: the tiny model, batches of two."""
    return {
        "name": name,
        "benchmark": "viscot",
        "source": str(write_benchmark(folder)),
        "image_root": str(folder / "pictures"),
        "out": str(folder / "out" / name),
        "batch_size": 2,
        "max_turn_tokens": 24,
        **changes,
    }


def write_config(folder: Path, name: str, **changes: Any) -> Path:
    """A configuration file."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config(folder, name, **changes)))
    return path


def rows_in_parts(out: Path) -> list[str]:
    """Ids of all rows in the parts, one as often as it is there."""
    return [
        each
        for path in sorted(out.glob("predictions/part_*.parquet"))
        for each in pd.read_parquet(path)["prompt_id"]
    ]


def assert_same_evaluation(found: Path, expected: Path) -> None:
    """The same predictions to the last bit, no row twice and none missing; the same reports but for the name."""
    tables = [read_predictions(out).drop(columns="model") for out in (found, expected)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert sorted(rows_in_parts(found)) == sorted(tables[1]["prompt_id"]) and len(tables[1]) == NUM
    reports = [json.loads((out / "report.json").read_text()) for out in (found, expected)]
    assert all(
        report.pop("model") == out.name for report, out in zip(reports, (found, expected), strict=True)
    )
    assert reports[0] == reports[1]
    assert (found / "scores.csv").read_bytes() == (expected / "scores.csv").read_bytes()
    assert not list(found.rglob(".*")), "nothing unfinished lies about"
