"""Seconds to score whole benchmarks from predictions, intervals included, on one core: VisCoT, POPE, SEED and MME.

Rows are made up in Ground-R1's official form, as many as the benchmarks have (9,937, 9,000, 14,233 and 2,374), with
two-turn dialogues as predictions: answers in several forms, some wrong, some that cannot be read. No annotation file is
needed, and no model.

    python -m benchmarks.scoring_speed
"""

import argparse
import contextlib
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.common import Row, interleaved, parser, print_table, summary, write_results
from groundr1.evaluation import score

VISCOT = {
    "flickr30k": 1546, "v7w": 1000, "gqa": 978, "openimages": 945, "docvqa": 888, "textcap": 853, "sroie": 686,
    "emotic": 656, "dude": 603, "textvqa": 526, "cub": 492, "vsr": 404, "infographicsvqa": 360,
}  # fmt: skip
POPE_CATEGORIES = ("adversarial", "popular", "random")
SEED_TYPES = (3158, 1831, 4649, 978, 2447, 657, 97, 331, 85)
MME = {
    **dict.fromkeys(("scene", "landmark", "artwork"), 400), "celebrity": 340, "posters": 294,
    "commonsense_reasoning": 140, **dict.fromkeys(("existence", "count", "position", "color"), 60),
    **dict.fromkeys(("OCR", "numerical_calculation", "text_translation", "code_reasoning"), 40),
}  # fmt: skip
WORDS = (
    "the a of on in and two red large man woman dog table sign street number left building white is".split()
)
OPTIONS = {"A": "door", "B": "wall", "C": "window", "D": "garage"}
CHOICE = "What is it?\n" + "\n".join(f"{letter}. {text}" for letter, text in OPTIONS.items())
FORMS = ("{}", "{}", "The answer is {}.", "({})", "{}.", "cannot tell")


def viscot(generator: random.Random, share: float) -> list[Row]:
    """Solutions as long as the sets have them: sentences, lists of labels, a few words, letters."""
    lengths = {"flickr30k": 13, "emotic": 11, "sroie": 6, "dude": 4, "docvqa": 3, "textcap": 2, "textvqa": 2}
    rows: list[Row] = []
    for name, number in VISCOT.items():
        for index in range(_some(number, share)):
            solution = " ".join(generator.choices(WORDS, k=lengths.get(name, 1)))
            if name in ("gqa", "openimages"):
                solution = f"<answer>{generator.choice('ABCD')}</answer>"
            elif name in ("vsr", "cub"):
                solution = generator.choice(["Yes", "No"])
            rows.append({
                "image": f"/data/{name}/{index}.jpg", "width": 640, "height": 480, "bboxs": [[100, 100, 300, 200]],
                "dataset": name, "split": "val", "problem": CHOICE if "<answer>" in solution else "What is it?",
                "solution": solution, "problem_id": index,
            })  # fmt: skip
    return rows


def pope(generator: random.Random, share: float) -> list[Row]:
    """Three categories, six questions on each picture in each."""
    return [
        {
            "Question_id": str(index + 1), "Image": f"images/img_{index}.png", "Category": category,
            "problem": "Is there a dog in the image?", "solution": "no" if index % 2 else "yes",
        }
        for category in POPE_CATEGORIES
        for index in range(_some(3000, share))
    ]  # fmt: skip


def seed(generator: random.Random, share: float) -> list[Row]:
    """Nine types of question with four options."""
    return [
        {
            "Question_id": f"{kind}{index:05}", "Image": f"{kind}_{index}", "problem": CHOICE, "Question_Type": kind,
            "solution": generator.choice("ABCD"), "Category": "", "Subtask": "", "Task": "SEED-Bench_image",
        }
        for kind, number in enumerate(SEED_TYPES, start=1)
        for index in range(_some(number, share))
    ]  # fmt: skip


def mme(generator: random.Random, share: float) -> list[Row]:
    """Fourteen subtasks, a yes and a no on each picture."""
    return [
        {
            "Image": f"images/{name}/{index // 2:04}.png", "width": 800, "height": 600, "dataset": name, "split": "val",
            "problem": "Is it? Please answer yes or no.", "solution": "No" if index % 2 else "Yes", "problem_id": index,
        }
        for name, number in MME.items()
        for index in range(_some(number, share))
    ]  # fmt: skip


def _some(number: int, share: float) -> int:
    return max(2, round(number * share))


def dialogues(rows: Sequence[Mapping[str, Any]], generator: random.Random) -> list[str]:
    """A box turn and an answer turn a row; a third of the answers is that of another row."""
    texts = []
    for row in rows:
        told = row if generator.random() < 0.67 else generator.choice(rows)
        answer = told["solution"].replace("<answer>", "").replace("</answer>", "")
        thought = " ".join(generator.choices(WORDS, k=30))
        box = [generator.randrange(0, 200), generator.randrange(0, 150), 320, 240]
        texts.append(
            f"<think>{thought}</think> <box>{box}</box>\n<think>{thought}</think> "
            f"<answer> {generator.choice(FORMS).format(answer)} </answer>"
        )
    return texts


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Pin this process to one core where the system can, so that no library computes on others."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(options: argparse.Namespace) -> list[Row]:
    """Seconds of each benchmark, and of all four together."""
    generator = random.Random(0)
    functions, numbers = {}, {}
    for make in (viscot, pope, seed, mme):
        rows = make(generator, options.share)
        name = make.__name__
        functions[name] = partial(
            score, name, rows, dialogues(rows, generator), num_resamples=options.resamples
        )
        numbers[name] = len(rows)
    with one_core():
        times = interleaved(functions, repeats=options.repeats)
    times["together"] = [sum(each) for each in zip(*times.values(), strict=True)]
    numbers["together"] = sum(numbers.values())
    return [
        {
            "name": row["name"],
            "predictions": (number := numbers[row["name"]]),
            "us_a_prediction": 1e6 * row["median_s"] / number,
            **row,
        }
        for row in summary(times)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    made = parser(__doc__)
    made.add_argument("--share", type=float, default=1.0, help="share of the benchmarks' rows (1.0)")
    made.add_argument("--resamples", type=int, default=1000, help="resamples behind the intervals (1000)")
    options = made.parse_args(arguments)
    rows = measure(options)
    print_table(rows, "Seconds to score whole benchmarks on one core, intervals included")
    write_results("scoring_speed", rows, vars(options))


if __name__ == "__main__":
    main()
