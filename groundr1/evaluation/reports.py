"""What an evaluation leaves beside its predictions: report.json, summary.csv by scale, scores.csv, and what was set
aside."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from groundr1.data.example import Rejected
from groundr1.data.items import items_of
from groundr1.diagnostics import accuracy_by_scale
from groundr1.evaluation.predictions import score_predictions
from groundr1.storage import write_bytes, write_json

__all__ = ["flat_scores", "write_report"]

logger = logging.getLogger(__name__)


def write_report(
    out: Path,
    predictions: pd.DataFrame,
    *,
    benchmark: str | None,
    judge: Any = None,
    rejected: Sequence[Rejected] = (),
    failures: Sequence[Mapping[str, str]] = (),
) -> None:
    """Write the reports of an evaluation into its folder; without predictions only what was set aside.

    Args:
        out: the folder, predictions in it.
        predictions: all of them, as `read_predictions` gives them.
        benchmark: whose scorer makes the report; None: answers are right by the reward of their kind.
        judge: a `groundr1.evaluation.judge.Judge`.
        rejected: rows that the reader set aside.
        failures: examples that could not be rolled out, each with prompt_id and reason.
    """
    _write_set_aside(out / "rejected.csv", [vars(each) for each in rejected])
    _write_set_aside(out / "failures.csv", failures)
    if failures:
        logger.warning("%d examples have no prediction; the first: %s", len(failures), failures[0]["reason"])
    if predictions.empty:
        return
    clusters = predictions["prompt_id"] if benchmark is None else _clusters(benchmark, predictions)
    summary = accuracy_by_scale(predictions.assign(prompt_id=clusters))
    if benchmark is None or predictions["true_area"].notna().any():
        _write_table(out / "summary.csv", summary)
    report = {"model": predictions["model"].iloc[0], "count": len(predictions)}
    if benchmark is None:
        overall = summary[summary["scale"] == "all"].iloc[0]
        keys = [f"{name}{end}" for name in ("accuracy", "iou") for end in ("", "_low", "_high")]
        report |= {key: overall[key] for key in keys}
    else:
        report |= score_predictions(benchmark, out, judge=judge)
        _write_table(out / "scores.csv", flat_scores(report))
    means = {"format": "format", "tokens": "num_tokens", "turns": "num_turns"}
    report |= {key: predictions[column].mean() for key, column in means.items()}
    report["without_box"] = int(predictions["box"].isna().sum())
    report["without_answer"] = int(predictions["answer"].isna().sum())
    report |= {"rejected": len(rejected), "failed": len(failures)}
    write_json(out / "report.json", report)
    shown = report["headline"] if benchmark else {"accuracy": report["accuracy"]}
    scores = ", ".join(f"{name} {value:.3f}" for name, value in shown.items()) or "no headline"
    logger.info("%s: %s on %d examples, in %s", report["model"], scores, len(predictions), out)


def flat_scores(report: Mapping[str, Any]) -> pd.DataFrame:
    """Headline and groups of what `score` returns, as one table.

    Returns:
        One row a score: group ("all", "category", ...), name (the group's: "adversarial"; "all"), score ("accuracy"),
        value, low, high (95 % interval; NaN without one), count and invalid (of the group). What was
        not scored has no row.
    """
    everything = {**report["headline"], "count": report["count"], "invalid": report["invalid"]}
    cells = [("all", "all", everything)]
    cells += [
        (group, name, cell) for group, names in report["groups"].items() for name, cell in names.items()
    ]
    rows = []
    for group, name, cell in cells:
        for key, value in cell.items():
            if key in ("count", "invalid") or value is None:
                continue
            path = key if group == "all" else f"{group}/{name}/{key}"
            low, high = report["intervals"].get(path, (None, None))
            rows.append(
                {"group": group, "name": name, "score": key, "value": value, "low": low, "high": high}
                | {column: cell[column] for column in ("count", "invalid")}
            )
    columns = ["group", "name", "score", "value", "low", "high", "count", "invalid"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(["value", "low", "high"], float))


def _clusters(benchmark: str, predictions: pd.DataFrame) -> list[str]:
    """What is resampled in place of questions, which are not independent where they share a picture."""
    return [items_of(benchmark, json.loads(row))[0].cluster for row in predictions["annotation"]]


def _write_set_aside(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write what was set aside; no file where nothing was."""
    if rows:
        _write_table(path, pd.DataFrame(rows))
    else:
        path.unlink(missing_ok=True)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_bytes(path, table.to_csv(index=False).encode())
