"""From judged predictions to a benchmark's scores: what each question adds, and what is made of the sums.

A `Scorer` says what is summed and what the sums make; to add a benchmark, write these functions and enter them in
`SCORERS`. Scores are in per cent, MME's in points; NaN where nothing was counted.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from groundr1.data.items.questions import MME_PARTS, POPE_CATEGORIES
from groundr1.evaluation.compat import pope_counts, pope_scores
from groundr1.evaluation.scorer import Cells, Scorer, Scores, Sums, missing, per_cent, together
from groundr1.evaluation.verdicts import HIT_IOU

__all__ = ["MME_COGNITION", "MME_PERCEPTION", "SCORERS", "VISCOT_11", "VISCOT_12", "VISCOT_13"]

MME_PERCEPTION = tuple(name for name, part in MME_PARTS.items() if part == "perception")
MME_COGNITION = tuple(name for name, part in MME_PARTS.items() if part == "cognition")
# The sets of Visual-CoT's own average; Ground-R1's paper averages over one more, and its files hold another.
VISCOT_11 = (
    *("docvqa", "textcap", "textvqa", "dude", "sroie", "infographicsvqa", "flickr30k", "gqa", "openimages"),
    *("vsr", "cub"),
)
VISCOT_12 = (*VISCOT_11, "v7w")
VISCOT_13 = (*VISCOT_12, "emotic")


def _right(table: pd.DataFrame, parser: str) -> Scores:
    return {"count": np.ones(len(table)), "right": table["score"].to_numpy(np.float64)}


def _accuracy(sums: Sums) -> Scores:
    return {"accuracy": per_cent(sums["right"], sums["count"])}


def _with_groups(group: str, names: Mapping[str, str]) -> Callable[[Scores, Cells], Scores]:
    """Totals that repeat the accuracy of some groups under names of their own."""

    def totals(scores: Scores, cells: Cells) -> Scores:
        of_groups = {name: cells.mean(scores["accuracy"], group, [value]) for name, value in names.items()}
        return together(scores) | of_groups

    return totals


def _pope_sums(table: pd.DataFrame, parser: str) -> Scores:
    return pope_counts(parser, table["solution"] == "yes", table["read"])


def _pope_totals(scores: Scores, cells: Cells) -> Scores:
    """`mean_f1`, the mean of the three categories' F1, is LLaVA's convention."""
    return together(scores) | {"mean_f1": cells.mean(scores["f1"], "category", POPE_CATEGORIES)}


def _mme_sums(table: pd.DataFrame, parser: str) -> Scores:
    """A picture is right if all its questions are; one with a single question says nothing about pairs."""
    pairs = table.groupby("cluster")["score"]
    counted = ~table["cluster"].duplicated() & (pairs.transform("size") > 1)
    return _right(table, parser) | {
        "pictures": counted.to_numpy(np.float64),
        "pictures_right": (counted * pairs.transform("min")).to_numpy(np.float64),
    }


def _mme_scores(sums: Sums) -> Scores:
    accuracy = per_cent(sums["right"], sums["count"])
    accuracy_plus = per_cent(sums["pictures_right"], sums["pictures"])
    return {"score": accuracy + accuracy_plus, "accuracy": accuracy, "accuracy_plus": accuracy_plus}


def _mme_totals(scores: Scores, cells: Cells) -> Scores:
    """Points of the paper's scale: 2000 for perception, 800 for cognition."""
    perception = cells.total(scores["score"], "subtask", MME_PERCEPTION)
    cognition = cells.total(scores["score"], "subtask", MME_COGNITION)
    shares = {name: values for name, values in together(scores).items() if name != "score"}
    return {"total": perception + cognition, "perception": perception, "cognition": cognition} | shares


def _mme_extras(table: pd.DataFrame) -> dict[str, Any]:
    incomplete = int((table["cluster"].value_counts() == 1).sum())
    return {"incomplete_pictures": incomplete} | missing(table, "subtask", MME_PERCEPTION + MME_COGNITION)


def _hrbench_sums(table: pd.DataFrame, parser: str) -> Scores:
    right, sums = table["score"].to_numpy(np.float64), _right(table, parser)
    for category in ("single", "cross"):
        inside = (table["category"] == category).to_numpy(np.float64)
        sums |= {f"{category}_count": inside, f"{category}_right": inside * right}
    return sums


def _hrbench_scores(sums: Sums) -> Scores:
    return {
        "single": per_cent(sums["single_right"], sums["single_count"]),
        "cross": per_cent(sums["cross_right"], sums["cross_count"]),
        "average": per_cent(sums["right"], sums["count"]),
    }


def _hrbench_totals(scores: Scores, cells: Cells) -> Scores:
    """The mean over the rotations ("cycles") that are there, as lmms-eval and VLMEvalKit have it."""
    return {name: cells.mean(values, "cycle", cells.present("cycle")) for name, values in scores.items()}


def _refcoco_sums(table: pd.DataFrame, parser: str) -> Scores:
    first = (~table["cluster"].duplicated()).to_numpy(np.float64)
    found = table.groupby("cluster")["score"].transform("max").to_numpy(np.float64)
    overlaps = table["iou"].to_numpy(np.float64)
    return _right(table, parser) | {"iou": overlaps, "objects": first, "found": first * found}


def _refcoco_scores(sums: Sums) -> Scores:
    return {
        "per_expression": per_cent(sums["right"], sums["count"]),
        "any_expression": per_cent(sums["found"], sums["objects"]),
        "mean_iou": per_cent(sums["iou"], sums["count"]),
    }


def _judged_sums(table: pd.DataFrame, parser: str) -> Scores:
    """The judge's sums are there only if there is a judge; what it did not judge is left out of its mean."""
    sums = _right(table, parser)
    if "judge" in table:
        scores = table["judge"].to_numpy(np.float64)
        sums |= {"judged": (~np.isnan(scores)).astype(np.float64), "judge": np.nan_to_num(scores)}
    return sums


def _judge_and_rule(sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    rule = per_cent(sums["right"], sums["count"])
    judge = per_cent(sums["judge"], sums["judged"]) if "judged" in sums else np.full(rule.shape, np.nan)
    return judge, rule


def _mmvet_scores(sums: Sums) -> Scores:
    judge, rule = _judge_and_rule(sums)
    return {"overall": judge, "rule": rule}


def _viscot_sums(table: pd.DataFrame, parser: str) -> Scores:
    """A prediction without a box misses a usable annotation; if none has a box, boxes are not what was predicted."""
    overlaps = table["iou"].to_numpy(np.float64)
    annotated = ~np.isnan(overlaps) & table["box"].notna().any()
    return _judged_sums(table, parser) | {
        "boxes": annotated.astype(np.float64),
        "iou": np.where(annotated, overlaps, 0.0),
        "hits": (annotated & (overlaps >= HIT_IOU)).astype(np.float64),
    }


def _viscot_scores(sums: Sums) -> Scores:
    judge, rule = _judge_and_rule(sums)
    return {
        "score": judge if "judged" in sums else rule,
        "judge": judge,
        "rule": rule,
        "mean_iou": per_cent(sums["iou"], sums["boxes"]),
        "acc_50": per_cent(sums["hits"], sums["boxes"]),
    }


def _viscot_totals(scores: Scores, cells: Cells) -> Scores:
    """Means in which each set counts as much as any other; of boxes, in which each box does."""
    means = {
        f"{prefix}mean_{len(names)}": cells.mean(scores[name], "set", names)
        for prefix, name in {"": "score", "judge_": "judge", "rule_": "rule"}.items()
        for names in (VISCOT_11, VISCOT_12, VISCOT_13)
    }
    return means | {name: scores[name][..., 0] for name in ("mean_iou", "acc_50")}


def _viscot_extras(table: pd.DataFrame) -> dict[str, Any]:
    notes = table["note"]
    boxes = {
        "valid": int(table["iou"].notna().sum()),
        "sorted": int(notes.str.contains("sorted").sum()),
        "cut": int(notes.str.contains("cut").sum()),
        "outside": int(notes.str.contains("outside").sum()),
        "predicted": int(table["box"].notna().sum()),
    }
    return {"boxes": boxes} | missing(table, "set", VISCOT_13)


SCORERS: Mapping[str, Scorer] = MappingProxyType(
    {
        "viscot": Scorer(
            _viscot_sums,
            _viscot_scores,
            ("mean_11", "mean_13", "mean_iou", "acc_50"),
            ("set",),
            _viscot_totals,
            _viscot_extras,
        ),
        "mme": Scorer(
            _mme_sums,
            _mme_scores,
            ("total", "perception", "cognition"),
            ("subtask",),
            _mme_totals,
            _mme_extras,
            "points",
        ),
        "mmvet": Scorer(_judged_sums, _mmvet_scores, ("overall", "rule"), ("capability", "combination")),
        "seed": Scorer(_right, _accuracy, ("accuracy",), ("question_type",)),
        "mme_realworld_lite": Scorer(
            _right,
            _accuracy,
            ("accuracy", "perception", "reasoning"),
            ("task", "subtask", "category", "task_subtask"),
            _with_groups("task", {"perception": "Perception", "reasoning": "Reasoning"}),
        ),
        "realworldqa": Scorer(_right, _accuracy, ("accuracy",), ("answer",)),
        "pope": Scorer(_pope_sums, pope_scores, ("accuracy", "f1"), ("category",), _pope_totals),
        "vstar": Scorer(
            _right,
            _accuracy,
            ("accuracy", "direct_attributes", "relative_position"),
            ("category",),
            _with_groups(
                "category",
                {"direct_attributes": "direct_attributes", "relative_position": "relative_position"},
            ),
        ),
        "hrbench": Scorer(
            _hrbench_sums, _hrbench_scores, ("single", "cross", "average"), ("cycle",), _hrbench_totals
        ),
        "refcoco": Scorer(_refcoco_sums, _refcoco_scores, ("per_expression", "any_expression"), ("split",)),
    }
)
