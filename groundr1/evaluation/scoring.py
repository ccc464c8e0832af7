"""Scores of a benchmark from its annotation rows and one raw prediction a row; no model is needed.

>>> rows = [
...     {"Question_id": "1", "problem": "Is there a dog?", "solution": "yes", "Category": "random"},
...     {"Question_id": "7", "problem": "Is there a cat?", "solution": "no", "Category": "random"},
... ]
>>> result = score("pope", rows, ["<answer>Yes</answer>", "Not sure."])
>>> result["accuracy"], result["invalid"], result["headline"]["f1"]
(50.0, 1, 100.0)
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from groundr1.boxes import Box, iou, rescale
from groundr1.data.items import Item
from groundr1.evaluation.answers import extract_answer
from groundr1.evaluation.compat import COMPATIBLE, HEADLINES
from groundr1.evaluation.judge import JUDGED, Judge, Judgement, JudgeQuestion
from groundr1.evaluation.pairing import Question, pair
from groundr1.evaluation.scorers import SCORERS
from groundr1.evaluation.tally import Tally
from groundr1.evaluation.verdicts import verdict
from groundr1.parsing import parse_box

__all__ = ["score", "score_rows"]


def score(
    benchmark: str,
    rows: Iterable[Mapping[str, Any]],
    predictions: Sequence[str | Sequence[str]],
    *,
    parser: str = "groundr1",
    judge: Judge | None = None,
    boxes: Sequence[Any] | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score a benchmark: headline, all sub-scores and 95 % cluster-bootstrap intervals.

    Args:
        benchmark: viscot, mme, mmvet, seed, mme_realworld_lite, realworldqa, pope, vstar, hrbench or refcoco.
        rows: annotation rows in any official form (`groundr1.data.items.items_of`). A row may carry `view_size`
            (width, height): boxes in its prediction are then in the frame of that view, else in the image frame.
        predictions: one raw text a row, in the rows' order: all turns joined by newlines, or another kit's output; ""
            where the model said nothing. A RefCOCO object with several expressions takes a list of one text each; a
            single text stands for its first expression, and the others are not scored.
        parser: "groundr1", or whose reading of answers to reproduce: "lmms", "vlmeval" or "gr".
        judge: for MM-Vet and Visual-CoT; what it could not judge is left out of its mean and counted. The rule score is
            given beside it.
        boxes: predicted boxes in the image frame, None for none, nested like `predictions`; read from the texts if
            left out. They matter to RefCOCO, and to Visual-CoT's IoU.
        num_resamples: resamples behind the intervals; 0 for none.
        seed: of the resampling.

    Returns:
        Scores over everything at the top level and in "groups" by kind of group and group; in per cent, IoU too, MME in
        points; None where nothing was there to be scored, or a set of a mean over sets is missing. "headline" has what
        is quoted, "intervals" [low, high] by score ("accuracy", "category/random/accuracy"), "invalid" the answers that
        could not be read and count as wrong, "status" where answers were found, "clusters" what was resampled.

    Raises:
        ValueError: unknown benchmark or parser, a row that cannot be used, not one prediction a row, a parser that has
            no rule for the benchmark. Nothing is dropped in silence.
    """
    table = score_rows(benchmark, rows, predictions, parser=parser, judge=judge, boxes=boxes)
    scorer = SCORERS[benchmark]
    counted = Tally(scorer, table, parser)
    if num_resamples:
        counted.resample(num_resamples, seed)
    scores = counted.scores
    headline = HEADLINES.get(parser, {}).get(benchmark, scorer.headline)
    statuses = table["status"].value_counts().sort_index()
    return {
        "benchmark": benchmark,
        "parser": parser,
        "unit": scorer.unit,
        "count": len(table),
        "invalid": int((~table["valid"]).sum()),
        "left_out": table.attrs["left_out"],
        "clusters": int(table["cluster"].nunique()),
        "headline": {name: scores[name] for name in headline if scores[name] is not None},
        **scores,
        "groups": counted.groups,
        "intervals": counted.intervals,
        "status": {str(status): int(number) for status, number in statuses.items()},
        **scorer.extras(table),
        **_judge_report(table, judge),
    }


def score_rows(
    benchmark: str,
    rows: Iterable[Mapping[str, Any]],
    predictions: Sequence[str | Sequence[str]],
    *,
    parser: str = "groundr1",
    judge: Judge | None = None,
    boxes: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """What was made of every prediction; arguments and errors as `score`.

    Returns:
        One row a question (a RefCOCO expression; a POPE question in each of its categories): row (position in `rows`),
        id, cluster, its groups (`capability` a list), solution, score (in [0, 1]), valid, read (what was understood),
        status (where), box (predicted, image frame, None for none), iou (in [0, 1], NaN without a usable annotation),
        note (what was repaired of the annotation); with a judge also judge (in [0, 1], NaN unjudged), judge_reason and
        judge_reply.
    """
    if benchmark not in SCORERS:
        raise ValueError(f"benchmark={benchmark!r} is unknown; give one of {', '.join(SCORERS)}.")
    if parser != "groundr1" and parser not in COMPATIBLE:
        raise ValueError(f"parser={parser!r} is unknown; give one of groundr1, {', '.join(COMPATIBLE)}.")
    if judge is not None and benchmark not in JUDGED:
        raise ValueError(
            f"{benchmark} is scored without a judge; leave it out (it is for {', '.join(JUDGED)})."
        )
    questions, left_out = pair(benchmark, rows, predictions, boxes)
    table = pd.DataFrame([_row(benchmark, parser, question) for question in questions])
    if benchmark == "mmvet":
        table["capability"] = table["combination"].str.split(",")
    if benchmark == "mme_realworld_lite":
        table["task_subtask"] = table["task"] + "/" + table["subtask"]
    if judge is not None:
        judgements = _ask(judge, benchmark, questions)
        table["judge"] = [math.nan if each.score is None else each.score for each in judgements]
        table["judge_reason"] = [each.reason for each in judgements]
        table["judge_reply"] = [each.reply for each in judgements]
    table.attrs["left_out"] = left_out
    return table


def _row(benchmark: str, parser: str, question: Question) -> dict[str, Any]:
    item, box_image = question.item, question.box_image
    if parser == "groundr1":
        made = verdict(benchmark, item, question.prediction, box_image)
    else:
        made = COMPATIBLE[parser](benchmark, _in_view(question), question.prediction)
        if benchmark == "refcoco":  # the box as that parser has it
            box_image = _in_image(parse_box(made.read or ""), question)
    return {
        "row": question.row,
        "id": item.id,
        "cluster": item.cluster,
        **item.groups,
        "solution": item.solution[0] if item.solution else None,
        **made._asdict(),
        "box": box_image,
        "iou": _overlap(box_image, item.box),
        "note": item.note,
    }


def _in_view(question: Question) -> Item:
    """The item in the frame that the prediction speaks of, which is the only one the other kits' parsers know."""
    item, view = question.item, question.view_size
    if view is None or item.size is None or item.box is None:
        return item
    return replace(item, size=view, box=rescale(item.box, item.size, view))


def _in_image(box: Box | None, question: Question) -> Box | None:
    size, view = question.item.size, question.view_size
    return box if box is None or view is None or size is None else rescale(box, view, size)


def _overlap(box_image: Box | None, annotated_image: Box | None) -> float:
    if annotated_image is None:
        return math.nan
    return 0.0 if box_image is None else iou(box_image, annotated_image)


def _ask(judge: Judge, benchmark: str, questions: Sequence[Question]) -> list[Judgement]:
    return judge.ask(
        [
            JudgeQuestion(benchmark, item.question, item.solution[0], extract_answer(prediction).text)
            for _, item, prediction, *_ in questions
        ]
    )


def _judge_report(table: pd.DataFrame, judge: Judge | None) -> dict[str, Any]:
    if judge is None:
        return {}
    unjudged = table["judge"].isna()
    reasons = table.loc[unjudged, "judge_reason"].value_counts().sort_index()
    return {
        "judge": judge.describe(),
        "judged": int((~unjudged).sum()),
        "unjudged": int(unjudged.sum()),
        "unjudged_reasons": {str(reason): int(number) for reason, number in reasons.items()},
    }
