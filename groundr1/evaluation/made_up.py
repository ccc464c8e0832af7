"""Made-up questions in official forms: parsers held against one another where no benchmark is at hand.

No picture, no model: the answers are `disagreement.noisy_predictions`, whose truth is known. The tables say how parsers
differ on the styles of answering that are listed there, in the shares that are stated there, and nothing about a model.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from groundr1.data.items import items_of
from groundr1.evaluation.disagreement import disagreement, noisy_predictions, read_as_meant

__all__ = ["made_up_disagreement", "made_up_rows"]

THINGS = ("pear", "apple", "plum", "fig", "cup", "chair", "door", "bus", "cat", "dog", "blue car", "animal")


def made_up_rows(benchmark: str, num: int, seed: int) -> list[dict[str, Any]]:
    """Rows in Ground-R1's form of SEED-Bench (four options) or POPE (yes or no); the same seed gives the same rows.

    Raises:
        ValueError: another benchmark.
    """
    if benchmark not in FORMS:
        raise ValueError(f"benchmark={benchmark!r}: questions are made up for {' and '.join(FORMS)} only.")
    random = np.random.default_rng(seed)
    return [FORMS[benchmark](random, number) for number in range(1, num + 1)]


def made_up_disagreement(num: int = 1000, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How parsers differ on made-up answers to made-up questions.

    Args:
        num: questions of each of the two forms.
        seed: of questions and answers.

    Returns:
        What `disagreement` returns, and what `read_as_meant` returns; both indexed by the form ("seed", "pope") too.
    """
    parsers, styles = {}, {}
    for benchmark in FORMS:
        rows = made_up_rows(benchmark, num, seed)
        items = [item for row in rows for item in items_of(benchmark, row)]
        noisy = noisy_predictions(items, seed)
        parsers[benchmark] = disagreement(benchmark, rows, noisy["prediction"].tolist(), meant=noisy["meant"])
        styles[benchmark] = read_as_meant(benchmark, rows, noisy)
    return pd.concat(parsers, names=["form"]), pd.concat(styles, names=["form"])


def _seed_row(random: np.random.Generator, number: int) -> dict[str, Any]:
    options = random.choice(THINGS, size=4, replace=False)
    lines = [f"{letter}. {option.capitalize()}" for letter, option in zip("ABCD", options, strict=True)]
    return {
        "Question_id": str(number),
        "Image": f"{number}_1",
        "problem": "\n".join(["What is in the picture?", *lines]),
        "Question_Type": 2,
        "solution": "ABCD"[random.integers(4)],
    }


def _pope_row(random: np.random.Generator, number: int) -> dict[str, Any]:
    return {
        "Question_id": str(number),
        "Image": f"{number}.png",
        "problem": f"Is there a {random.choice(THINGS)} in the picture?",
        "solution": ("yes", "no")[random.integers(2)],
        "Category": "random",
    }


FORMS: Mapping[str, Callable[[np.random.Generator, int], dict[str, Any]]] = {
    "seed": _seed_row,
    "pope": _pope_row,
}
