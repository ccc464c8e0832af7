"""The other kits' answer parsers, quirks included, so that a reader sees how much of a published difference is parsing.

`COMPATIBLE[parser](benchmark, item, prediction)` reads one raw prediction as lmms-eval ("lmms"), VLMEvalKit ("vlmeval")
or Ground-R1's official scripts ("gr") would: written from descriptions of what those kits do, not copied from them.
Where VLMEvalKit would ask a judge model, or draw an option at random after three failures, the answer counts as
invalid, hence wrong. The rest of this module is what is peculiar about the kits' totals.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from groundr1.data.items import Item
from groundr1.evaluation.answers import Verdict
from groundr1.evaluation.compat.gr import NO_SCORER as NOT_IN_GR
from groundr1.evaluation.compat.gr import verdict as gr_verdict
from groundr1.evaluation.compat.lmms import NO_SCORER as NOT_IN_LMMS
from groundr1.evaluation.compat.lmms import verdict as lmms_verdict
from groundr1.evaluation.compat.vlmeval import NO_SCORER as NOT_IN_VLMEVAL
from groundr1.evaluation.compat.vlmeval import verdict as vlmeval_verdict

COMPATIBLE: Mapping[str, Callable[[str, Item, str], Verdict]] = MappingProxyType(
    {"lmms": lmms_verdict, "vlmeval": vlmeval_verdict, "gr": gr_verdict}
)

# Benchmarks that a kit's own rules cannot score, and why; COMPATIBLE raises ValueError with the reason.
NO_SCORER: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"lmms": NOT_IN_LMMS, "vlmeval": NOT_IN_VLMEVAL, "gr": NOT_IN_GR}
)

# What a kit quotes for a benchmark, in the names of `score`, where it is not simply what we quote. lmms-eval and
# VLMEvalKit report no total of MME and Ground-R1 only the total; VLMEvalKit calls POPE's F1 "Overall", and its RefCOCO
# average is the plain mean of the splits; Ground-R1 counts a RefCOCO object as found once one expression finds it.
HEADLINES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "lmms": {
            "mme": ("perception", "cognition"),
            "pope": ("accuracy", "precision", "recall", "f1", "yes_ratio"),
        },
        "vlmeval": {"mme": ("perception", "cognition"), "pope": ("f1",)},
        "gr": {"mme": ("total",), "pope": ("accuracy",), "refcoco": ("any_expression",)},
    }
)


def pope_counts(
    parser: str, truth_is_yes: Sequence[bool] | np.ndarray, read: Sequence[str | None]
) -> dict[str, np.ndarray]:
    """What each POPE row adds to the counts behind accuracy, precision, recall, F1 and yes-ratio under a parser.

    A row that was not understood is wrong everywhere, and says "no" where precision, recall and F1 are concerned (as
    VLMEvalKit has it, and our choice). lmms-eval differs twice: such a row leaves the denominator of its recall, and
    its yes-ratio counts the solutions, not the predictions, so that it is always 0.5 on the full benchmark.

    Args:
        parser: "groundr1", "lmms", "vlmeval" or "gr".
        truth_is_yes: (n,) whether the solution is "yes", the positive class.
        read: (n,) "yes", "no" or None: `Verdict.read`.

    Returns:
        count, right, true_positive, false_positive, false_negative, says_yes: (n,) float64 each, 0 or 1. Add up any
        selection of rows and give the sums to `pope_scores`.

    >>> counts = pope_counts("lmms", [True, True, False], ["yes", None, "no"])
    >>> float(pope_scores({name: values.sum() for name, values in counts.items()})["recall"])
    100.0
    """
    truth = np.asarray(truth_is_yes, dtype=bool)
    yes = np.array([answer == "yes" for answer in read], dtype=bool)
    no = np.array([answer == "no" for answer in read], dtype=bool)
    columns = {
        "count": np.ones(len(truth), dtype=bool),
        "right": (truth & yes) | (~truth & no),
        "true_positive": truth & yes,
        "false_positive": ~truth & yes,
        "false_negative": truth & (no if parser == "lmms" else ~yes),
        "says_yes": truth if parser == "lmms" else yes,
    }
    return {name: column.astype(np.float64) for name, column in columns.items()}


def pope_scores(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Accuracy, precision, recall, F1 and yes-ratio in per cent, from sums over rows of the columns of `pope_counts`.

    The sums may be numbers or arrays of one shape (one entry a bootstrap resample). A ratio of 0 to 0 is 0, as in
    lmms-eval: never having said yes is no precision.
    """

    def per_cent(part, whole):
        whole = np.asarray(whole, dtype=np.float64)
        return 100.0 * np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)[()]

    hits, false_yes, missed = sums["true_positive"], sums["false_positive"], sums["false_negative"]
    return {
        "accuracy": per_cent(sums["right"], sums["count"]),
        "precision": per_cent(hits, hits + false_yes),
        "recall": per_cent(hits, hits + missed),
        "f1": per_cent(2 * hits, 2 * hits + false_yes + missed),
        "yes_ratio": per_cent(sums["says_yes"], sums["count"]),
    }
