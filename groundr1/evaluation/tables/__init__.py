"""Scores in tables as papers print them: models side by side, gains over the base, the paper's own numbers apart.

    reports = load_reports("runs/default/evaluation")
    table = comparison(reports, paper_results())
    write_table(table, "runs/default/evaluation/comparison", caption=CAPTION.format(model="the tiny model"))

`score_table` has the same as numbers, one a row. What was not measured is a dash, in ours and in the paper's alike.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundr1.bootstrap import bootstrap_interval
from groundr1.data.paper import V2_ARMS, V3_ARMS
from groundr1.evaluation.tables.files import CAPTION as CAPTION  # one door to all tables
from groundr1.evaluation.tables.files import DASH
from groundr1.evaluation.tables.files import write_table as write_table
from groundr1.evaluation.tables.rows import ROWS, Row
from groundr1.storage import read_json

__all__ = [
    "CAPTION",
    "comparison",
    "load_reports",
    "paired_gains",
    "scene_reports",
    "score_table",
    "write_table",
]

Reports = Mapping[str, Mapping[str, Mapping[str, Any]]]


def load_reports(folder: str | Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Reports of an experiment's evaluation: model -> label of the benchmark -> what `score` returned.

    Args:
        folder: holds <model>/<label>/report.json. "base" comes first, further models by name.

    Raises:
        FileNotFoundError: no such folder. ValueError: a file is no JSON object, or no report of a benchmark.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}; evaluate a benchmark into it first.")
    reports: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(folder.glob("*/*/report.json"), key=lambda path: (path.parts[-3] != "base", path)):
        report = read_json(path)
        if "benchmark" not in report or "parser" not in report:
            raise ValueError(f"{path} is no report of a benchmark: it has {sorted(report)}. Score it again.")
        reports.setdefault(path.parts[-3], {})[path.parts[-2]] = report
    return reports


def scene_reports(accuracy: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """The held-out scenes in the form of a report, so that they have their lines in the comparison.

    Args:
        accuracy: what `diagnostics.accuracy_by_scale` returns.
    """
    reports = {}
    for model, part in accuracy.groupby("model", sort=False):
        cells, ends = {}, {}
        for row in part.to_dict("records"):
            cells[row["scale"]] = {"count": row["count"], "accuracy": 100 * row["accuracy"]}
            path = "accuracy" if row["scale"] == "all" else f"scale/{row['scale']}/accuracy"
            ends[path] = [100 * row["accuracy_low"], 100 * row["accuracy_high"]]
        own = {"benchmark": "scenes", "parser": "groundr1", **cells.pop("all")}
        reports[model] = {"scenes": {**own, "groups": {"scale": cells}, "intervals": ends}}
    return reports


def score_table(reports: Reports, *, baseline: str = "base") -> pd.DataFrame:
    """Every score of the comparison as numbers, one row a benchmark, score and model that was measured.

    Args:
        reports: model -> label -> what `score` returned. A label is a key of `ROWS`, or a name of your own for a report
            on one of these benchmarks.
        baseline: the model to compare with.

    Returns:
        Columns benchmark, score, model, count (questions), invalid (answers that could not be read), value, low, high
        (95 % interval; per cent, MME in points; NaN where unknown), gain (over the baseline; NaN without it, and where
        the two answered different numbers of questions).

    Raises:
        ValueError: a benchmark that has no lines here, or whose models were read by different parsers or graded by
            different judges: such scores cannot stand in one line.
    """
    records = []
    for label, title, row in _lines(reports):
        cells = {
            model: _look_up(of_model[label], row) for model, of_model in reports.items() if label in of_model
        }
        base = cells.get(baseline, {"count": None, "value": np.nan})
        for model, cell in cells.items():
            compared = model != baseline and cell["count"] == base["count"]
            gain = cell["value"] - base["value"] if compared else np.nan
            records.append({"benchmark": title, "score": row.score, "model": model, **cell, "gain": gain})
    columns = ["benchmark", "score", "model", "count", "invalid", "value", "low", "high", "gain"]
    table = pd.DataFrame(records, columns=columns).dropna(subset="value", ignore_index=True)
    return table.astype({"count": "Int64", "invalid": "Int64"})


def comparison(
    reports: Reports, paper: pd.DataFrame | None = None, *, baseline: str = "base"
) -> pd.DataFrame:
    """The table to read and to print: a line a score, a column a model, then the paper's columns.

    Args:
        reports, baseline: as in `score_table`.
        paper: what `data.paper.paper_results` returns, for three more columns, and lines for what only the paper has.

    Returns:
        Texts, indexed by benchmark and score: questions (several numbers, in the models' order, where they differ);
        each model as "75.0 (+6.8) [72.1, 77.9]" (value, gain, interval); "paper (7B): base", "paper (7B): GRPO" and
        "paper (7B): SRPO" as "75.0 (+6.8)", or "(+83.4)" where it prints the gain only. What is not known is a dash.

    Raises:
        ValueError: as `score_table`.
    """
    scores = score_table(reports, baseline=baseline)
    own = dict(list(scores.groupby(["benchmark", "score"], sort=False)))
    lines = _lines(reports, everything=paper is not None)
    # The paper's numbers stand beside ours; on a line of their own, and once, where we have none.
    shown = {row.paper for _, title, row in lines if (title, row.score) in own}
    records = []
    for _, title, row in lines:
        measured = own.get((title, row.score), scores[:0]).set_index("model")
        printed = _printed(paper, row.paper) if len(measured) or row.paper not in shown else {}
        if measured.empty and not printed:
            continue
        shown.add(row.paper)
        record = {"benchmark": title, "score": row.score, "questions": _questions(measured, list(reports))}
        for model in reports:
            known = model in measured.index
            values = measured.loc[model, ["value", "gain", "low", "high"]] if known else ()
            record[model] = _cell(*values) if known else DASH
        records.append(record | {f"paper (7B): {arm}": printed.get(arm, DASH) for arm in V3_ARMS.values()})
    names = ["benchmark", "score", "questions", *reports]
    names += [f"paper (7B): {arm}" for arm in V3_ARMS.values() if paper is not None]
    return pd.DataFrame(records, columns=names).set_index(["benchmark", "score"])


def _questions(measured: pd.DataFrame, models: Sequence[str]) -> str:
    counts = [str(measured["count"].get(model, DASH)) for model in models]
    return DASH if measured.empty else counts[0] if len(set(counts)) == 1 else " / ".join(counts)


def paired_gains(
    scored: Mapping[str, Mapping[str, pd.DataFrame]],
    *,
    baseline: str = "base",
    num: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """How much better each model answers the same questions than the baseline, with an interval of the difference.

    Args:
        scored: model -> label -> what `score_rows` returned (columns id, cluster, score).
        baseline: the model to compare with.
        num, seed: bootstrap resamples of clusters, and their seed.

    Returns:
        One row a benchmark and other model: benchmark, model, baseline, count (questions both answered), unpaired
        (questions only one answered; left out), difference (of the mean score of a question, per cent), difference_low,
        difference_high, verdict ("higher" or "lower" where the interval leaves zero out, else "no clear difference").
    """
    records = []
    for model, of_model in scored.items():
        for label, table in of_model.items():
            if model == baseline or label not in scored.get(baseline, {}):
                continue
            base = scored[baseline][label].set_index("id")["score"].rename("base")
            both = table.set_index("id")[["cluster", "score"]].join(base, how="outer")
            paired = both.dropna()
            differences = 100 * (paired["score"] - paired["base"])
            low, high = bootstrap_interval(differences, num=num, seed=seed, clusters=paired["cluster"])
            record = {"benchmark": label, "model": model, "baseline": baseline, "count": len(paired)}
            record |= {"unpaired": len(both) - len(paired), "difference": differences.mean()}
            clear = "higher" if low > 0 else "lower" if high < 0 else "no clear difference"
            records.append({**record, "difference_low": low, "difference_high": high, "verdict": clear})
    return pd.DataFrame(records)


def _lines(reports: Reports, *, everything: bool = False) -> list[tuple[str, str, Row]]:
    """(label, title, row) in the order of `ROWS`; with `everything` also of benchmarks that only the paper has."""
    keys = {
        label: label if label in ROWS else report["benchmark"]
        for of_model in reports.values()
        for label, report in of_model.items()
    }
    for label, key in keys.items():
        if key not in ROWS:
            raise ValueError(
                f"The benchmark {key!r} has no lines in the comparison; it has {', '.join(ROWS)}."
            )
        own = {model: of_model[label] for model, of_model in reports.items() if label in of_model}
        _require_one("parser", label, {model: report["parser"] for model, report in own.items()})
        judges = {model: report["judge"].get("model") for model, report in own.items() if report.get("judge")}
        _require_one("judge", label, judges)
    if everything:
        keys |= {
            key: key
            for key, (_, rows) in ROWS.items()
            if key not in keys.values() and any(r.paper for r in rows)
        }
    order = list(ROWS)
    lines = []
    for label, key in sorted(keys.items(), key=lambda item: order.index(item[1])):
        title, rows = ROWS[key]
        lines += [(label, title if label in ROWS else f"{title} ({label})", row) for row in rows]
    return lines


def _require_one(what: str, label: str, of_models: Mapping[str, str]) -> None:
    if len(set(of_models.values())) > 1:
        raise ValueError(
            f"The reports on {label!r} were made with different {what}s, {dict(of_models)}; score them again with one."
        )


def _look_up(report: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """Count, invalid, value and interval of a line in a report; the value is NaN where the report has none."""
    kind, _, rest = row.path.partition("/")
    group, _, name = rest.rpartition("/")
    part = report["groups"].get(kind, {}).get(group, {}) if rest else report
    value = part.get(name or kind)
    low, high = report["intervals"].get(row.path) or (None, None)
    numbers = {"value": value, "low": low, "high": high}
    numbers = {key: np.nan if number is None else float(number) for key, number in numbers.items()}
    return {"count": part.get("count"), "invalid": part.get("invalid"), **numbers}


def _printed(paper: pd.DataFrame | None, key: tuple[str, str | None] | None) -> dict[str, str]:
    """The paper's numbers on one line: arm -> text. Gains are within one version of the paper, never across."""
    if paper is None or key is None:
        return {}
    benchmark, split = key
    own = paper[(paper["benchmark"] == benchmark) & (paper["split"] == split if split else True)]
    cells: dict[str, str] = {}
    for version, arms in (("v2", V2_ARMS), ("v3", V3_ARMS)):
        part = own[own["source"].str.startswith(version) & own["model"].isin(arms)]
        part = part.assign(arm=part["model"].map(arms)).set_index("arm")
        values = part.loc[part["metric"] != "points", "value"]
        for arm, value in values.items():
            gain = value - values["base"] if arm != "base" and "base" in values else np.nan
            cells.setdefault(arm, _cell(value, gain))
        for arm, gain in part.loc[part["metric"] == "points", "value"].items():
            cells.setdefault(arm, f"({gain:+.1f})")
    return cells


def _cell(value: float, gain: float, low: float = np.nan, high: float = np.nan) -> str:
    text = f"{value:.1f}"
    text += "" if np.isnan(gain) else f" ({round(gain, 1) + 0.0:+.1f})"  # never -0.0
    return text if np.isnan(low) else f"{text} [{low:.1f}, {high:.1f}]"
