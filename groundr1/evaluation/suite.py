"""Benchmarks that were found, answered by every model: what a table of results needs, in one call.

    found = find_benchmarks("data")
    suite = evaluate_benchmarks(found, {"base": "tiny", "SRPO": "runs/default/srpo/model"}, "runs/default/evaluation")
    overview(suite), comparison(reports_of(suite), paper_results()), paired_gains(scores_of(suite))

Predictions lie in <out>/<model>/<label of the benchmark>/, as `evaluate` leaves them; the same call goes on where it
was interrupted.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset

from groundr1.data.benchmarks import BENCHMARKS, Found, read_benchmark
from groundr1.data.example import Rejected
from groundr1.diagnostics import accuracy_by_scale
from groundr1.evaluation.compat import NO_SCORER
from groundr1.evaluation.disagreement import disagreement
from groundr1.evaluation.judge import JUDGED, Judge
from groundr1.evaluation.predictions import load_predictions, score_predictions
from groundr1.evaluation.runner import evaluate
from groundr1.evaluation.scoring import score_rows
from groundr1.evaluation.views import fitting_batch, processor_for
from groundr1.model import load_model
from groundr1.storage import read_json

__all__ = [
    "Answered",
    "disagreements",
    "evaluate_benchmarks",
    "overview",
    "reports_of",
    "scale_table",
    "scores_of",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answered:
    """A benchmark, and what the models made of it.

    Attributes:
        found: what it is called and where it lies.
        dataset: its questions, as `read_benchmark` gives them.
        rejected: rows that were set aside.
        predictions: what `evaluate` returned, models concatenated; with `valid`, whether our rules can read the answer,
            and `cluster`, the questions that are no independent samples.
        scored: model -> what `score_rows` makes of its predictions by our rules.
        reports: model -> what `score` returns; no model where the parser that was asked for has no rules.
    """

    found: Found
    dataset: Dataset
    rejected: list[Rejected]
    predictions: pd.DataFrame
    scored: dict[str, pd.DataFrame]
    reports: dict[str, dict[str, Any]]

    @property
    def label(self) -> str:
        """What to call it, unique in its suite."""
        return self.found.label


def evaluate_benchmarks(
    found: Sequence[Found],
    models: Mapping[str, str | Path],
    out: str | Path,
    *,
    limit: int | None = None,
    parser: str = "groundr1",
    judge: Judge | None = None,
    batch_size: int = 64,
    dtype: str = "auto",
    device: str | None = None,
    **limits: int,
) -> list[Answered]:
    """Read benchmarks, have every model answer them, score the answers.

    Pictures have the benchmark's budget of pixels, `views.processor_for` says which.

    Args:
        found: what `find_benchmarks` returned.
        models: name in tables and figures -> "tiny", a folder or a Hub id.
        out: folder of the evaluations, one at <out>/<model>/<label>/.
        limit: read only so many rows of each benchmark, from the start; None or 0 reads all. Labels then end in
            "_first_<limit>", so that a part is never taken for the whole, nor in its place.
        parser: whose reading of answers the reports follow, as for `score`.
        judge: for MM-Vet and Visual-CoT.
        batch_size: questions rolled out together at the paper's budget of pixels; of larger pictures as many pixels.
        dtype, device: of the models, as for `load_model`.
        limits: `max_crops` and `max_turn_tokens` of `evaluate`.

    Returns:
        One a benchmark, in order.

    Raises:
        ValueError: an unknown parser, or not one row of a benchmark can be used; no model has been started then.
    """
    if parser not in ("groundr1", *NO_SCORER):
        raise ValueError(f"parser={parser!r} is unknown; give one of groundr1, {', '.join(NO_SCORER)}.")
    if limit:
        found = [replace(each, label=f"{each.label}_first_{limit}") for each in found]
    read = {each.label: _read(each, limit) for each in found}
    tables: dict[str, dict[str, pd.DataFrame]] = {label: {} for label in read}
    for name, path in models.items() if found else ():
        model = load_model(path, dtype=dtype, device=device)
        for each in found:
            dataset, rejected = read[each.label]
            processor = processor_for(path, each.benchmark)
            tables[each.label][name] = evaluate(
                model,
                processor,
                dataset,
                out=Path(out) / name / each.label,
                name=name,
                benchmark=each.benchmark,
                rejected=rejected,
                judge=judge if each.benchmark in JUDGED else None,
                batch_size=fitting_batch(processor, batch_size),
                **limits,
            )
    return [_answered(each, read[each.label], tables[each.label], Path(out), parser, judge) for each in found]


def reports_of(suite: Sequence[Answered]) -> dict[str, dict[str, dict[str, Any]]]:
    """Model -> label -> report, for `tables.comparison`."""
    models = dict.fromkeys(model for each in suite for model in each.reports)
    return {
        model: {each.label: each.reports[model] for each in suite if model in each.reports}
        for model in models
    }


def scores_of(suite: Sequence[Answered]) -> dict[str, dict[str, pd.DataFrame]]:
    """Model -> label -> scored rows, for `tables.paired_gains`."""
    models = dict.fromkeys(model for each in suite for model in each.scored)
    return {
        model: {each.label: each.scored[model] for each in suite if model in each.scored} for model in models
    }


def overview(suite: Sequence[Answered]) -> pd.DataFrame:
    """What was read: one row a benchmark.

    Returns:
        Columns benchmark (label), title, form, file, questions, boxes (usable annotations), repaired (how many boxes,
        and how), set_aside (rows that could not be read), reason (of the first of them; "" without one) and failed
        (answers that are missing, because a picture could not be opened).
    """
    columns = [
        "benchmark",
        "title",
        "form",
        "file",
        "questions",
        "boxes",
        "repaired",
        "set_aside",
        "reason",
        "failed",
    ]
    rows = []
    for each in suite:
        notes = pd.Series(each.dataset["note"])
        repaired = notes[notes != ""].value_counts()
        boxes = sum(map(bool, each.dataset["boxes"]))
        repairs = ", ".join(f"{count} {note}" for note, count in repaired.items())
        first = each.rejected[0].reason if each.rejected else ""
        found = each.found
        about = [
            found.label,
            BENCHMARKS[found.benchmark].title,
            found.form,
            found.path.name,
            len(each.dataset),
        ]
        failed = len(each.dataset) * len(each.scored) - len(each.predictions)
        rows.append([*about, boxes, repairs, len(each.rejected), first, failed])
    return pd.DataFrame(rows, columns=columns)


def scale_table(suite: Sequence[Answered], *, seed: int = 0) -> pd.DataFrame:
    """`diagnostics.accuracy_by_scale` of each benchmark that has annotated boxes, with its label as first column.

    Not questions but their clusters are resampled, as everywhere in the scores of benchmarks.
    """
    tables = [
        accuracy_by_scale(each.predictions.assign(prompt_id=each.predictions["cluster"]), seed=seed).assign(
            benchmark=each.label
        )
        for each in suite
        if each.predictions["true_area"].notna().any()
    ]
    if not tables:
        return pd.DataFrame(columns=["benchmark", "model", "scale", "count", "accuracy"])
    table = pd.concat(tables, ignore_index=True)
    return table[["benchmark", *(column for column in table if column != "benchmark")]]


def disagreements(suite: Sequence[Answered], model: str) -> pd.DataFrame:
    """One model's predictions under every kit's parser: `disagreement` of each benchmark, indexed by its label too."""
    tables = {}
    for each in suite:
        own = each.predictions[each.predictions["model"] == model]
        # Boxes in the turns are in the frame of the view.
        sizes = zip(own["view_width"], own["view_height"], strict=True)
        rows = [
            json.loads(row) | {"view_size": list(map(int, size))}
            for row, size in zip(own["annotation"], sizes, strict=True)
        ]
        tables[each.label] = disagreement(each.found.benchmark, rows, own["prediction"].tolist())
    return pd.concat(tables, names=["benchmark"]) if tables else pd.DataFrame()


def _read(found: Found, limit: int | None) -> tuple[Dataset, list[Rejected]]:
    dataset, rejected = read_benchmark(found.benchmark, found.path, found.image_root, limit=limit or None)
    if not len(dataset):
        first = f" The first: {rejected[0]}" if rejected else ""
        raise ValueError(
            f"Not one row of {found.path} can be used; mend it, or take it out of the data root.{first}"
        )
    return dataset, rejected


def _answered(
    found: Found,
    read: tuple[Dataset, list[Rejected]],
    tables: Mapping[str, pd.DataFrame],
    out: Path,
    parser: str,
    judge: Judge | None,
) -> Answered:
    """Score what the models left in their folders."""
    scored, reports, judged = {}, {}, []
    for model, table in tables.items():
        folder = out / model / found.label
        made = load_predictions(found.benchmark, folder)
        scored[model] = score_rows(found.benchmark, made.rows, made.texts, boxes=made.boxes)
        made_of = scored[model].set_index("id").loc[table["prompt_id"], ["valid", "cluster"]]
        judged.append(
            table.assign(valid=made_of["valid"].to_numpy(bool), cluster=made_of["cluster"].to_numpy())
        )
        if parser == "groundr1":
            reports[model] = read_json(folder / "report.json")
        elif reason := NO_SCORER[parser].get(found.benchmark):
            logger.warning("%s has no line under the parser %r: %s.", found.label, parser, reason)
        else:
            asked = judge if found.benchmark in JUDGED else None
            reports[model] = score_predictions(found.benchmark, folder, parser=parser, judge=asked)
    return Answered(found, *read, pd.concat(judged, ignore_index=True), scored, reports)
