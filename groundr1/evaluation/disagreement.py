"""How much of a difference between two published scores is parsing: one set of predictions under every kit's parser.

`disagreement` tabulates any predictions. `noisy_predictions` makes some up whose truth is known: right and wrong
answers in the styles in which models give them, so that each parser can be held against what was meant.

>>> row = {"Question_id": "1", "Image": "1.png", "problem": "Is there a cat?", "solution": "yes", "Category": "random"}
>>> table = disagreement("pope", [row], ["Yes."])
>>> table.loc["groundr1", ["right", "differs from lmms"]].tolist(), table.loc["lmms", ["right", "invalid"]].tolist()
([100.0, 1.0], [0.0, 1.0])
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from groundr1.data.items import Item
from groundr1.evaluation.compat import NO_SCORER
from groundr1.evaluation.scoring import score, score_rows

PARSERS = ("groundr1", "lmms", "vlmeval", "gr")
TRUTH = "meant"


class Style(NamedTuple):
    """A way of answering: its name, how often it occurs, and its text.

    `{answer}` is the letter, "yes" or "no", or the open answer; `{Answer}` the same with a capital; `{text}` the text
    of the option, or the answer where there is none; `{other}` another option. A style without a place for the answer
    gives none, and is never right.
    """

    name: str
    weight: float
    template: str

    @property
    def answers(self) -> bool:
        """Whether it says an answer at all."""
        return "{" in self.template


# It has a letter that stands alone and "either" and "no" among its words, as thoughts do.
_THOUGHT = (
    "<think>A closer look is needed. Either option could be meant here, and no sign is in sight.</think>"
)
_SHARED_STYLES = (
    Style("tag", 0.16, "<answer>{Answer}</answer>"),
    Style(
        "dialogue",
        0.16,
        f"{_THOUGHT} <box>[12, 30, 200, 180]</box>\n<think>Now it is clear.</think> <answer>{{Answer}}</answer>",
    ),
    Style("thought, no tag", 0.06, f"{_THOUGHT}\n{{Answer}}"),
    Style("sentence in tag", 0.05, "<answer>The answer is {answer}.</answer>"),
    Style("unclosed tag", 0.03, f"{_THOUGHT} <answer>{{Answer}}"),
    Style("empty", 0.02, ""),
    Style("empty tag", 0.01, f"{_THOUGHT} <answer></answer>"),
    Style("cut off in thought", 0.03, "<think>A closer look is needed. Because the sign"),
    Style("refusal", 0.02, "None of them can be seen. Cannot tell."),
)
# What models write, and roughly how often: our choice, measured on no model. The weights of a kind add up to 1.
STYLES: Mapping[str, tuple[Style, ...]] = MappingProxyType(
    {
        "choice": (
            *_SHARED_STYLES,
            Style("bare", 0.13, "{answer}"),
            Style("brackets", 0.07, "({answer})"),
            Style("with text", 0.08, "{answer}. {text}"),
            Style("sentence", 0.05, "The answer is {answer}."),
            Style("capital before", 0.05, "Based on the picture, the answer is ({answer})."),
            Style(
                "explained",
                0.03,
                "{answer} is right because there is nothing else of this kind to be seen there.",
            ),
            Style("option text", 0.03, "{text}"),
            Style("after another", 0.02, "It is not {other} but {answer}."),
        ),
        "yes_no": (
            *_SHARED_STYLES,
            Style("bare", 0.18, "{Answer}"),
            Style("full stop", 0.10, "{Answer}."),
            Style("and a clause", 0.10, "{Answer}, that is how it looks in the picture."),
            Style("sentence", 0.04, "The answer is {answer}."),
            Style("opinion", 0.02, "I think {answer}"),
            Style("after another", 0.02, "No doubt: {answer}."),
        ),
        "exact": (
            *_SHARED_STYLES,
            Style("bare", 0.30, "{Answer}"),
            Style("full stop", 0.12, "{Answer}."),
            Style("sentence", 0.04, "The answer is {answer}."),
        ),
    }
)


def noisy_predictions(items: Sequence[Item], seed: int, right: float = 0.7) -> pd.DataFrame:
    """Predictions with known truth: an answer meant for each item, right with probability `right`, in a random style.

    Wrong are another option, the other of yes and no, or the solution of another open question. The styles and their
    weights are `STYLES`; the same seed gives the same predictions.

    Returns:
        One row an item: id, prediction, style, meant (whether the right answer was given; False where none was).

    Raises:
        ValueError: an item that is neither a choice of letters nor yes-no nor an open question with a short answer.
    """
    random = np.random.default_rng(seed)
    open_answers = sorted({item.solution[0] for item in items if _kind(item) == "exact"})
    rows = []
    for item in items:
        styles = STYLES[_kind(item)]
        style = styles[random.choice(len(styles), p=[style.weight for style in styles])]
        is_right = bool(random.random() < right)
        wrong = _wrong_answers(item, open_answers)
        answer = item.solution[0] if is_right or not wrong else wrong[random.integers(len(wrong))]
        prediction = style.template.format(
            answer=answer,
            Answer=answer[:1].upper() + answer[1:],
            text=item.options.get(answer, answer),
            other=next(letter for letter in (item.options or "ABCD") if letter != answer),
        )
        rows.append((item.id, prediction, style.name, style.answers and answer == item.solution[0]))
    return pd.DataFrame(rows, columns=["id", "prediction", "style", "meant"])


def _kind(item: Item) -> str:
    if item.kind not in STYLES or (item.kind == "choice" and len(item.solution[0]) != 1):
        raise ValueError(
            f"item {item.id!r} is of kind {item.kind!r} with the solution {item.solution}; answers are made up for "
            "letters, yes and no, and short open answers only."
        )
    return item.kind


def _wrong_answers(item: Item, open_answers: Sequence[str]) -> list[str]:
    """Answers to draw from when the item is to be missed; an option that reads like the right one is none."""
    if item.kind == "yes_no":
        return ["no" if item.solution[0] == "yes" else "yes"]
    if item.kind == "exact":
        return [answer for answer in open_answers if answer.lower() != item.solution[0].lower()]
    right_text = item.options.get(item.solution[0])
    options = item.options or dict.fromkeys("ABCD")
    return [
        letter
        for letter, text in options.items()
        if letter != item.solution[0] and (text is None or text != right_text)
    ]


def disagreement(
    benchmark: str,
    rows: Sequence[Mapping[str, Any]],
    predictions: Sequence[str],
    parsers: Sequence[str] = PARSERS,
    meant: Sequence[bool] | None = None,
) -> pd.DataFrame:
    """One set of predictions under several parsers.

    Args:
        benchmark: a contract name, such as "pope".
        rows: the official rows, in any of their forms.
        predictions: raw texts, as for `score`.
        parsers: of "groundr1", "lmms", "vlmeval", "gr".
        meant: one a row of `rows`: whether its prediction is truly right, where that is known; adds a row "meant".

    Returns:
        One row a parser: `right` (mean score of the questions in per cent), what that kit quotes of the benchmark
        (`score`'s headline), `invalid` (answers not understood) of `count`, "differs from P" (questions that P scores
        otherwise) for each P, and `note`: why a kit has no scorer of the benchmark, its numbers then being missing.
    """
    lines: dict[str, dict[str, Any]] = {}
    scores: dict[str, np.ndarray] = {}
    for parser in parsers:
        if reason := NO_SCORER.get(parser, {}).get(benchmark):
            lines[parser] = {"note": reason}
            continue
        report = score(benchmark, rows, predictions, parser=parser, num_resamples=0)
        table = score_rows(benchmark, rows, predictions, parser=parser)
        scores[parser] = table["score"].to_numpy()
        if meant is not None:
            scores[TRUTH] = np.asarray(meant, dtype=np.float64)[table["row"]]
        lines[parser] = {
            **report["headline"],
            "invalid": report["invalid"],
            "count": report["count"],
            "note": "",
        }
    if TRUTH in scores:
        scores[TRUTH] = scores.pop(TRUTH)  # last
        lines[TRUTH] = {"count": len(scores[TRUTH]), "note": ""}
    for name, line in lines.items():
        line["right"] = 100.0 * scores[name].mean() if name in scores else np.nan
        for other, theirs in scores.items():
            line[f"differs from {other}"] = int((scores[name] != theirs).sum()) if name in scores else np.nan
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis("parser")
    counts = [*(name for name in table if name.startswith("differs")), "invalid", "count"]
    table = table.reindex(columns=table.columns.union(counts, sort=False)).astype(
        dict.fromkeys(counts, "Int64")
    )
    last = [*counts, "note"]
    return table[["right", *table.columns.difference(["right", *last], sort=False), *last]]


def read_as_meant(
    benchmark: str, rows: Sequence[Mapping[str, Any]], noisy: pd.DataFrame, parsers: Sequence[str] = PARSERS
) -> pd.DataFrame:
    """Where parsers go wrong: of each style of `noisy_predictions` the answers that were judged as they were meant.

    Returns:
        One row a style: `count`, and for each parser that scores the benchmark the share in per cent.
    """
    tables = {
        parser: score_rows(benchmark, rows, noisy["prediction"].tolist(), parser=parser)
        for parser in parsers
        if benchmark not in NO_SCORER.get(parser, {})
    }
    shares = {}
    for parser, table in tables.items():
        truth = noisy.iloc[table["row"]].reset_index(drop=True)
        agrees = table["score"] == truth["meant"]
        shares["count"] = truth.groupby("style", sort=False).size()
        shares[parser] = 100.0 * agrees.groupby(truth["style"], sort=False).mean()
    return pd.DataFrame(shares).sort_values("count", ascending=False, kind="stable")
