"""Evaluation of one model on one dataset: greedy rollouts, one row an example, kept batch by batch.

    <out>/settings.json        model, its weights' fingerprint, dataset, settings: what the predictions belong to
          predictions/         one parquet file a batch, written whole or not at all
          summary.csv          accuracy and IoU by scale of the annotated evidence, with bootstrap intervals
          report.json          the same over all examples, in a few numbers

Calling `evaluate` again does the examples that are missing and no other. Greedy decoding is not in the paper: our
choice, because then the same model gives the same numbers.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Dataset
from torch import nn
from tqdm.auto import tqdm
from transformers import ProcessorMixin

from groundr1.diagnostics import accuracy_by_scale, scale_of
from groundr1.rollout import ground_and_answer
from groundr1.rollout_table import table_row
from groundr1.storage import atomic_write, read_json, remove_unfinished, write_json

__all__ = ["evaluate", "read_predictions"]

logger = logging.getLogger(__name__)

SAMPLES_PER_TENSOR = 64  # numbers of each weight tensor that enter the fingerprint
_TEXTS, _NUMBERS = pa.list_(pa.string()), pa.list_(pa.float64())
SCHEMA = pa.schema(
    {
        **dict.fromkeys(["model", "prompt_id", "source", "scale"], pa.string()),
        "true_area": pa.float64(),
        "box": _NUMBERS,
        **dict.fromkeys(["relative_area", "iou", "giou", "correct", "format"], pa.float64()),
        **dict.fromkeys(["num_turns", "num_tokens"], pa.int64()),
        "turns": _TEXTS,
        **dict.fromkeys(["answer", "solution"], pa.string()),
    }
)


def evaluate(
    model: nn.Module,
    processor: ProcessorMixin,
    dataset: Dataset,
    *,
    out: str | Path,
    name: str = "model",
    batch_size: int = 64,
    max_crops: int = 1,
    max_turn_tokens: int = 512,
    progress: bool = True,
) -> pd.DataFrame:
    """Roll out every example greedily and score the answers.

    Args:
        model: Qwen2.5-VL, with or without LoRA.
        processor: its processor.
        dataset: rows as `EXAMPLE_FEATURES`, ids unique.
        out: folder of this evaluation; made if need be, resumed if it belongs to the same evaluation.
        name: of the model in tables and figures ("base", "GRPO", ...).
        batch_size: examples rolled out together, and lost at most when the process is killed.
        max_crops: crops shown at most; 0 asks for the answer from the view alone.
        max_turn_tokens: limit of tokens a turn.
        progress: show a bar over the examples.

    Returns:
        One row an example, in the dataset's order. Columns: model, prompt_id, source; scale and true_area (relative
        area, in [0, 1]) of the annotated evidence, null without annotation; box (last one, image frame, null where the
        whole picture was shown) and its relative_area, iou and giou with the annotation; correct (answer reward, in
        [0, 1]); format (format reward, in [0, 1]); num_turns, num_tokens (generated), turns, answer, solution. It can
        be given to `diagnostics.accuracy_by_scale` and, several models concatenated, to `paired_differences`.

    Raises:
        ValueError: ids repeat, or `out` holds the evaluation of something else.
    """
    out = Path(out)
    ids = [str(each) for each in dataset["id"]]
    _require_unique(ids)
    _open(out, {
        "model": name,
        "weights": weights_fingerprint(model),
        "dataset": _fingerprint(ids, dataset["question"], dataset["solution"]),
        "max_crops": max_crops,
        "max_turn_tokens": max_turn_tokens,
    })  # fmt: skip
    done = set(_parts(out)["prompt_id"])
    missing = [index for index, each in enumerate(ids) if each not in done]
    description = f"evaluating {name}"
    with tqdm(
        total=len(ids), initial=len(done), desc=description, unit="example", disable=not progress
    ) as bar:
        for start in range(0, len(missing), batch_size):
            chosen = missing[start : start + batch_size]
            examples = [dataset[index] for index in chosen]
            groups = ground_and_answer(
                model,
                processor,
                examples,
                max_crops=max_crops,
                max_turn_tokens=max_turn_tokens,
                batch_size=batch_size,
            )
            rows = [_row(name, example, group[0]) for example, group in zip(examples, groups, strict=True)]
            _write_part(out, rows)
            bar.update(len(chosen))
    predictions = _parts(out).set_index("prompt_id").loc[ids].reset_index()[SCHEMA.names]
    _report(out, predictions)
    return predictions


def read_predictions(out: str | Path) -> pd.DataFrame:
    """Read the predictions in the folder of an evaluation, in the order in which they were made.

    Raises:
        FileNotFoundError: no evaluation there.
    """
    if not (Path(out) / "settings.json").is_file():
        raise FileNotFoundError(
            f"There is no evaluation in {out}; run `evaluate(..., out={str(out)!r})` first."
        )
    return _parts(Path(out))


def weights_fingerprint(model: nn.Module) -> str:
    """Short hash of a model's weights: up to 64 numbers spread over each tensor, the same on every device.

    Not every number enters, so that a large model takes a moment only; any training step moves all trained tensors.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, -(-flat.numel() // SAMPLES_PER_TENSOR))].to(torch.float32).cpu().numpy()
        digest.update(f"{name} {tuple(tensor.shape)}".encode() + sample.tobytes())
    return digest.hexdigest()[:16]


def _fingerprint(*columns: Sequence[Any]) -> str:
    return hashlib.sha256(repr([list(column) for column in columns]).encode()).hexdigest()[:16]


def _require_unique(ids: Sequence[str]) -> None:
    values, counts = np.unique(np.asarray(ids, dtype=object), return_counts=True)
    if (counts > 1).any():
        repeated = values[counts > 1][:3].tolist()
        raise ValueError(
            f"{int((counts > 1).sum())} ids of the dataset repeat, {repeated} among them; make ids unique, so that"
            " every example has one row."
        )


def _open(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder, or check that what it holds belongs to these settings."""
    path = out / "settings.json"
    if path.is_file():
        recorded = read_json(path)
        differing = [key for key in settings if recorded.get(key) != settings[key]]
        if differing:
            pairs = "; ".join(f"{key} was {recorded.get(key)!r}, now {settings[key]!r}" for key in differing)
            raise ValueError(
                f"{out} holds the evaluation of something else: {pairs}. Choose another folder, or delete this one if"
                " its predictions are no longer wanted."
            )
        remove_unfinished(out)
    else:
        write_json(path, settings)


def _row(name: str, example: dict[str, Any], trajectory: Any) -> dict[str, Any]:
    row = table_row(example, trajectory)
    scale = None if row["true_area"] is None else scale_of(row["true_area"])
    return row | {
        "model": name,
        "scale": scale,
        "correct": row["reward_answer"],
        "format": row["reward_format"],
    }


def _part_paths(out: Path) -> list[Path]:
    return sorted((out / "predictions").glob("part_*.parquet"))


def _write_part(out: Path, rows: list[dict[str, Any]]) -> None:
    number = len(_part_paths(out))
    with atomic_write(out / "predictions" / f"part_{number:05d}.parquet") as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)


def _parts(out: Path) -> pd.DataFrame:
    tables = [pq.ParquetFile(path).read() for path in _part_paths(out)]
    return pa.concat_tables([SCHEMA.empty_table(), *tables]).to_pandas()


def _report(out: Path, predictions: pd.DataFrame) -> None:
    """Write summary.csv and report.json; an empty dataset has neither."""
    if predictions.empty:
        return
    summary = accuracy_by_scale(predictions)
    with atomic_write(out / "summary.csv") as temporary:
        summary.to_csv(temporary, index=False)
    overall = summary[summary["scale"] == "all"].iloc[0]
    report = {key: overall[key] for key in ("model", "count", "accuracy", "accuracy_low", "accuracy_high")}
    report |= {key: overall[key] for key in ("iou", "iou_low", "iou_high")}
    means = {"format": "format", "tokens": "num_tokens", "turns": "num_turns"}
    report |= {key: predictions[column].mean() for key, column in means.items()}
    report["without_box"] = int(predictions["box"].isna().sum())
    report["without_answer"] = int(predictions["answer"].isna().sum())
    write_json(out / "report.json", report)
    logger.info(
        "%s: accuracy %.3f on %d examples, in %s", report["model"], report["accuracy"], report["count"], out
    )
