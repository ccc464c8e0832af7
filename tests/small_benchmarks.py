"""A data root of five benchmarks, a handful of rows each, in the official forms; pictures are generated scenes.

The built-in model knows such pictures and their questions; questions of the benchmarks' own kind it only gets wrong.
"""

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from groundr1.data import make_scenes

LABELS = ("viscot", "mme", "pope", "hrbench_4k", "refcoco")


def write_data_root(folder: Path) -> Path:
    """Write the files; one row of Visual-CoT has no picture and one box lies partly outside."""
    scenes = list(make_scenes(4, seed=11, progress=False))
    pictures = [scene["image"] for scene in scenes]
    for name in ("viscot", "POPE", "RefCOCO/testB"):
        (folder / name / "images").mkdir(parents=True)
        for number, picture in enumerate(pictures):
            picture.save(folder / name / "images" / f"{number}.png")
    _write_jsonl(folder / "viscot" / "viscot.jsonl", _viscot(scenes))
    _write_jsonl(folder / "POPE" / "POPE.jsonl", _pope())
    _write_jsonl(folder / "RefCOCO" / "RefCOCO_eval_subset.jsonl", _refcoco(scenes))
    _write_tsv(folder / "MME.tsv", _mme(pictures))
    _write_tsv(folder / "hr_bench_4k.tsv", _hrbench(pictures))
    return folder


def _viscot(scenes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sets = ("docvqa", "textvqa", "v7w", "vsr", "cub")
    boxes = [[list(map(round, scene["boxes"][0]))] for scene in scenes]
    boxes[1] = [[300, 300, 460, 450]]
    return [
        {
            "image": f"/home/somebody/cot_image_data/images/{number}.png",
            "width": 448,
            "height": 448,
            "bboxs": boxes[number % 4],
            "dataset": sets[number],
            "split": "val",
            "problem": scenes[number % 4]["question"],
            "solution": scenes[number % 4]["solution"][0],
            "problem_id": number,
        }
        for number in range(5)  # the fifth picture is not there
    ]


def _pope() -> list[dict[str, Any]]:
    return [
        {
            "Question_id": str(1 + 6 * (number // 2) + number % 2),
            "Image": f"images/{number // 2}.png",
            "problem": "Is there a red tile in the image?",
            "solution": ("yes", "no")[number % 2],
            "Category": category,
        }
        for category in ("adversarial", "popular", "random")
        for number in range(4)
    ]


def _refcoco(scenes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "image": f"RefCOCO/testB/images/{number}.png",
            "width": 448,
            "height": 448,
            "bboxs": [[x1, y1, x2 - x1, y2 - y1]],
            "dataset": "RefCOCO/testB",
            "problem": "",
            "solution": ["the red tile", "red"],
            "problem_id": number,
        }
        for number, (x1, y1, x2, y2) in enumerate(scene["boxes"][0] for scene in scenes)
    ]


def _mme(pictures: list[Image.Image]) -> list[dict[str, Any]]:
    """Two questions a picture; the second points at the first's picture."""
    return [
        {
            "index": number,
            "image": _base64(pictures[number // 2]) if number % 2 == 0 else str(number - 1),
            "image_path": f"{number // 2}.png",
            "question": "Is there a tile? Please answer yes or no.",
            "answer": ("Yes", "No")[number % 2],
            "category": ("existence", "code_reasoning")[number // 4],
        }
        for number in range(8)
    ]


def _hrbench(pictures: list[Image.Image]) -> list[dict[str, Any]]:
    """One question of each category in its four rotations."""
    options = ["red", "blue", "green", "pink"]
    return [
        {
            "index": 4 * question + cycle,
            "image": _base64(pictures[question]),
            "question": "Which colour has the tile?",
            **dict(zip("ABCD", options[cycle:] + options[:cycle], strict=True)),
            "answer": "ABCD"[-cycle % 4],
            "category": ("single", "cross")[question],
            "cycle_category": str(cycle),
        }
        for question in range(2)
        for cycle in range(4)
    ]


def _base64(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def _write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_tsv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
