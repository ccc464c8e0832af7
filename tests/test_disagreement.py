"""Disagreement between parsers: the table on a small fixed set counted by hand, and noise whose truth is known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from groundr1.data.items import items_of
from groundr1.evaluation.disagreement import (
    PARSERS,
    STYLES,
    TRUTH,
    disagreement,
    noisy_predictions,
    read_as_meant,
)

ANNOTATIONS = Path(__file__).resolve().parents[2] / "shared/data/annotations"
FILES = {
    **{"mme": "mme", "pope": "pope", "seed": "seed_bench_sample"},
    **{"mme_realworld_lite": "mme_realworld_lite", "realworldqa": "realworldqa"},
}


def seed_row(number: int, solution: str) -> dict:
    return {
        "Question_id": str(number),
        "Image": f"{number}_1",
        "problem": "What is on the table?\nA. Pear\nB. Apple\nC. Plum\nD. Fig",
        "Question_Type": 5,
        "solution": solution,
    }


def pope_row(number: int, solution: str) -> dict:
    return {
        "Question_id": str(number),
        "Image": f"{number}.png",
        "problem": "Is there a cat?",
        "solution": solution,
        "Category": "random",
    }


# prediction, solution B meant?, right under groundr1, lmms, vlmeval, gr
SMALL = [
    ("B", True, 1, 1, 1, 1),
    ("(B)", True, 1, 0, 1, 0),
    ("<answer>B</answer>", True, 1, 0, 0, 1),
    ("Blue, so it must be something else", False, 0, 1, 0, 1),
    ("The answer is an apple, so B, I am quite sure of it", True, 1, 0, 0, 0),  # vlmeval: "an" is A
    ("Apple", True, 1, 0, 1, 0),
    ("<answer></answer>", False, 0, 0, 0, 0),
    ("C", False, 0, 0, 0, 0),
]


def test_the_table_of_a_small_set():
    rows = [seed_row(number, "B") for number in range(len(SMALL))]
    table = disagreement("seed", rows, [case[0] for case in SMALL], meant=[case[1] for case in SMALL])
    right = np.array([case[2:] for case in SMALL])
    assert table.index.tolist() == [*PARSERS, TRUTH]
    assert table["right"].tolist() == [62.5, 25.0, 37.5, 37.5, 62.5]
    assert table["accuracy"].tolist()[:4] == [62.5, 25.0, 37.5, 37.5]
    for column, parser in enumerate(PARSERS):
        differing = (right != right[:, [column]]).sum(axis=0)
        assert table.loc[list(PARSERS), f"differs from {parser}"].tolist() == differing.tolist()
    assert table["differs from meant"].tolist() == [0, 5, 2, 4, 0]
    assert table.loc[list(PARSERS), "invalid"].tolist() == [2, 4, 3, 3]
    assert table["count"].tolist() == [8] * 5


def test_a_kit_without_a_scorer_has_a_reason_instead_of_numbers():
    row = {
        "text": "Which?\n(A) red\n(B) blue",
        "label": "A",
        "category": "direct_attributes",
        "question_id": "1",
    }
    table = disagreement("vstar", [row], ["A"])
    assert table.loc["gr", "note"] == "Ground-R1's code has no V*"
    assert table.loc["gr", ["right", "invalid", "differs from lmms"]].isna().all()
    assert table.loc[["groundr1", "lmms", "vlmeval"], "right"].tolist() == [100.0] * 3
    assert "differs from gr" not in table


def test_each_kit_s_headline_is_quoted():
    rows = [pope_row(1, "yes"), pope_row(7, "no"), pope_row(13, "yes")]
    table = disagreement("pope", rows, ["yes", "no", "Yes."], parsers=("groundr1", "lmms", "vlmeval", "gr"))
    assert table.loc["groundr1", ["accuracy", "f1"]].tolist() == [100.0, 100.0]
    # "Yes." is not read: wrong, but out of the recall; the yes-ratio is that of the solutions.
    assert table.loc["lmms", ["accuracy", "recall", "yes_ratio"]].tolist() == pytest.approx(
        [200 / 3, 100.0, 200 / 3]
    )
    assert table.loc["vlmeval", ["f1"]].tolist() == [100.0] and np.isnan(table.loc["vlmeval", "accuracy"])
    assert table.loc["gr", ["accuracy"]].tolist() == [100.0] and np.isnan(table.loc["gr", "f1"])


# --- noise


@pytest.mark.parametrize("kind", STYLES)
def test_the_weights_of_a_mixture_add_up(kind):
    assert sum(style.weight for style in STYLES[kind]) == pytest.approx(1.0)
    assert len({style.name for style in STYLES[kind]}) == len(STYLES[kind])


def items(number=400):
    return [items_of("seed", seed_row(n, "ABCD"[n % 4]))[0] for n in range(number)]


def test_noise_is_the_seed_s():
    pd.testing.assert_frame_equal(noisy_predictions(items(), 3), noisy_predictions(items(), 3))
    assert not noisy_predictions(items(), 3).equals(noisy_predictions(items(), 4))


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_what_was_meant_is_right_unless_nothing_was_said(right):
    noisy = noisy_predictions(items(), 0, right=right)
    silent = {style.name for style in STYLES["choice"] if not style.answers}
    assert silent == {"empty", "empty tag", "cut off in thought", "refusal"}
    assert (noisy["meant"] == (right == 1.0) & ~noisy["style"].isin(silent)).all()


def test_half_are_right_of_those_that_say_something():
    noisy = noisy_predictions(items(4000), 0, right=0.5)
    said = noisy["style"].isin([style.name for style in STYLES["choice"] if style.answers])
    assert noisy.loc[said, "meant"].mean() == pytest.approx(0.5, abs=0.03)  # 4 standard errors


def test_wrong_answers_are_other_options_of_other_text():
    (item,) = items_of("seed", seed_row(1, "B") | {"problem": "Which?\nA. Fig\nB. Apple\nC. Apple\nD. Plum"})
    noisy = noisy_predictions([item] * 300, 0, right=0.0)
    assert set(noisy.loc[noisy["style"] == "bare", "prediction"]) == {"A", "D"}


def test_open_questions_are_missed_by_the_answer_to_another():
    rows = [{"problem": "How many?", "solution": str(n % 3), "Image": f"{n}.png"} for n in range(300)]
    noisy = noisy_predictions(
        [items_of("realworldqa", row, n)[0] for n, row in enumerate(rows)], 0, right=0.0
    )
    bare = noisy[noisy["style"] == "bare"]
    assert len(bare) and set(bare["prediction"]) == {"0", "1", "2"}
    assert all(text != rows[n]["solution"] for n, text in bare["prediction"].items())


def test_noise_is_for_short_answers_only():
    row = {
        "Question_id": "v1_0",
        "Image": "v1_0.png",
        "problem": "What is x?",
        "solution": "-1",
        "Category": "math",
    }
    with pytest.raises(ValueError, match="letters, yes and no, and short open answers only"):
        noisy_predictions(items_of("mmvet", row), 0)


def test_each_parser_s_blind_spots_show_by_style():
    rows = [seed_row(n, "ABCD"[n % 4]) for n in range(2000)]
    noisy = noisy_predictions(items(2000), 0, right=1.0)
    table = read_as_meant("seed", rows, noisy)
    assert table["count"].sum() == 2000
    assert table.loc["bare", list(PARSERS)].tolist() == [100.0] * 4
    assert table.loc["tag", list(PARSERS)].tolist() == [100.0, 0.0, 0.0, 100.0]
    assert table.loc["brackets", list(PARSERS)].tolist() == [100.0, 0.0, 100.0, 0.0]
    assert (
        table.loc["after another", list(PARSERS)].tolist() == [0.0] * 4
    )  # "It is not A but B.": ours neither


@pytest.mark.parametrize("benchmark", FILES)
def test_on_the_real_questions_ours_is_closest_to_what_was_meant(benchmark):
    path = ANNOTATIONS / f"{FILES[benchmark]}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in {ANNOTATIONS}")
    rows = [json.loads(line) for line in path.open(encoding="utf-8")][:1500]
    noisy = noisy_predictions([items_of(benchmark, row, n)[0] for n, row in enumerate(rows)], 0)
    table = disagreement(benchmark, rows, noisy["prediction"].tolist(), meant=noisy["meant"])
    wrong = table.loc[list(PARSERS), "differs from meant"]
    assert wrong.idxmin() == "groundr1"
    assert wrong["groundr1"] < 0.04 * len(rows)
    assert (wrong.drop("groundr1") > 0.05 * len(rows)).all()
