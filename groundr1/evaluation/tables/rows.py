"""The lines of the comparison table: which of a report's scores are quoted, and what the paper calls the same."""

from collections.abc import Mapping
from typing import NamedTuple

from groundr1.data.benchmarks import BENCHMARKS
from groundr1.diagnostics import SCALES
from groundr1.evaluation.scorers import VISCOT_13

__all__ = ["ROWS", "Row"]


class Row(NamedTuple):
    """One line of the comparison: where our score is, and what the paper calls the same.

    Attributes:
        score: its name in the table.
        path: its key in a report, or "group/value/key"; also its key among the report's intervals.
        paper: benchmark in `paper_results`, and its split where that matters; None where the paper has no such number.
    """

    score: str
    path: str
    paper: tuple[str, str | None] | None = None


def _paper(benchmark: str, part: str = "") -> tuple[str, None] | None:
    """The paper's number of a benchmark, or of a part of it."""
    name = BENCHMARKS[benchmark].paper.get(part)
    return None if name is None else (name, None)


def _viscot(by: str) -> tuple[Row, ...]:
    """Lines of one way of scoring Visual-CoT. The paper's numbers are a judge's, its average is over all but EMOTIC."""
    papers = by == "judge"
    titles = BENCHMARKS["viscot"].paper
    return (
        Row(f"mean of 12 sets, {by}", f"{by}_mean_12", _paper("viscot") if papers else None),
        *(
            Row(
                f"{titles.get(name, name)}, {by}",
                f"set/{name}/{by}",
                _paper("viscot", name) if papers else None,
            )
            for name in VISCOT_13
        ),
        Row(f"mean of 11 sets, {by}", f"{by}_mean_11"),
        Row(f"mean of 13 sets, {by}", f"{by}_mean_13"),
    )


def _refcoco(rule: str) -> tuple[Row, ...]:
    """Lines of one way of counting RefCOCO. The paper's script counts an object as soon as one expression finds it."""
    splits = {
        "RefCOCO": ("val", "testA", "testB"),
        "RefCOCOplus": ("val", "testA", "testB"),
        "RefCOCOg": ("val", "test"),
    }
    return tuple(
        Row(
            f"{title} {split}, {rule.replace('_', ' ')}",
            f"split/{name}/{split}/{rule}",
            (title, split) if rule == "any_expression" else None,
        )
        for name, title in BENCHMARKS["refcoco"].paper.items()
        for split in splits[name]
    )


def _hrbench(label: str) -> tuple[Row, ...]:
    return Row("average", "average", _paper("hrbench", label)), Row("single", "single"), Row("cross", "cross")


# Benchmark, or label where the paper has several of one benchmark -> its title and lines.
ROWS: Mapping[str, tuple[str, tuple[Row, ...]]] = {
    "scenes": (
        "held-out scenes",
        (*(Row(f"{scale} evidence", f"scale/{scale}/accuracy") for scale in SCALES), Row("all", "accuracy")),
    ),
    "viscot": (
        BENCHMARKS["viscot"].title,
        (*_viscot("judge"), *_viscot("rule"), Row("mean IoU", "mean_iou"), Row("Acc@0.5", "acc_50")),
    ),
    "mme": (
        BENCHMARKS["mme"].title,
        (
            Row("total", "total", _paper("mme")),
            Row("perception", "perception"),
            Row("cognition", "cognition"),
        ),
    ),
    "mmvet": (BENCHMARKS["mmvet"].title, (Row("judge", "overall", _paper("mmvet")), Row("rule", "rule"))),
    "seed": (BENCHMARKS["seed"].title, (Row("accuracy", "accuracy", _paper("seed")),)),
    "mme_realworld_lite": (
        BENCHMARKS["mme_realworld_lite"].title,
        (
            Row("accuracy", "accuracy", _paper("mme_realworld_lite")),
            Row("perception", "perception"),
            Row("reasoning", "reasoning"),
        ),
    ),
    "realworldqa": (
        BENCHMARKS["realworldqa"].title,
        (Row("accuracy", "accuracy", _paper("realworldqa")),),
    ),
    "pope": (BENCHMARKS["pope"].title, (Row("accuracy", "accuracy", _paper("pope")), Row("F1", "f1"))),
    "vstar": (
        BENCHMARKS["vstar"].title,
        (
            Row("accuracy", "accuracy", _paper("vstar")),
            Row("direct attributes", "direct_attributes"),
            Row("relative position", "relative_position"),
        ),
    ),
    "hrbench_4k": ("HR-Bench 4K", _hrbench("hrbench_4k")),
    "hrbench_8k": ("HR-Bench 8K", _hrbench("hrbench_8k")),
    "hrbench": (BENCHMARKS["hrbench"].title, _hrbench("")),
    "refcoco": (BENCHMARKS["refcoco"].title, (*_refcoco("any_expression"), *_refcoco("per_expression"))),
}
