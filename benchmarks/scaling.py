"""How the cost of a rollout grows: with the number of prompts, with G, with the picture's size, with the crops shown.

One quantity varies at a time, the others stay at their defaults; turns all have the same length, and every conversation
shows as many crops as are allowed. The slope of log(seconds) against log(quantity) is 1 where cost is proportional and
below 1 where batching pays; R2 says how well a power law fits. All points of a line take turns.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --only crops --repeats 3
"""

import argparse
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.common import Row, interleaved, parser, print_table, summary, write_results
from benchmarks.models import folder_of, never_ending, processor_of
from benchmarks.rollout_throughput import many_crops
from groundr1.data import make_scenes
from groundr1.model import load_model
from groundr1.rollout import ground_and_answer

# What varies: the values, and what one unit of the fit is.
LINES = {
    "prompts": ([2, 4, 8, 16, 32], "prompts"),
    "group": ([2, 4, 8, 16], "trajectories of a prompt (G1 = G / 2, G2 = 2)"),
    "view": ([56, 112, 224, 448], "pixels of the view (side squared), of picture and crops"),
    "picture": ([224, 448, 896, 1792], "pixels of the original picture (side squared), the view as it is"),
    "crops": ([0, 1, 2, 3, 4], "turns (crops + 1)"),
}
SMOKE = {"prompts": [1, 2], "group": [2, 4], "view": [56, 112], "picture": [112, 224], "crops": [0, 1]}


def units(line: str, value: int) -> int:
    """What the cost is fitted against."""
    return {"view": value**2, "picture": value**2, "crops": value + 1}.get(line, value)


def rollout(model: Any, line: str, value: int, options: argparse.Namespace) -> Callable[[], None]:
    """One rollout with `line` at `value`."""
    settings = {"prompts": options.prompts, "group": options.group, "view": 112, "picture": 448, "crops": 1}
    settings[line] = value
    scenes = make_scenes(settings["prompts"], seed=1, progress=False)
    side = settings["picture"]
    examples = [{**scene, "image": scene["image"].convert("RGB").resize((side, side))} for scene in scenes]
    processor = processor_of(options.model, settings["view"])

    def run() -> None:
        ground_and_answer(
            model, processor, examples, num_groundings=settings["group"] // 2, num_answers=2,
            max_crops=settings["crops"], temperature=1.0, max_turn_tokens=options.turn_tokens,
        )  # fmt: skip

    return run


def slope(quantity: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Slope and R2 of the straight line through log(quantity), log(seconds)."""
    x, y = np.log(quantity), np.log(seconds)
    gradient, intercept = np.polyfit(x, y, 1)
    spread = ((y - y.mean()) ** 2).sum()
    left = ((y - gradient * x - intercept) ** 2).sum()
    return float(gradient), float(1 - left / spread) if spread > 0 else 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write the json file."""
    options = parser(__doc__)
    options.add_argument("--model", default="tiny", help="tiny, larger, 3b, 7b, a folder or a Hub id (tiny)")
    options.add_argument("--only", nargs="+", choices=LINES, default=list(LINES), help="what to vary (all)")
    options.add_argument("--prompts", type=int, default=8, help="prompts where they do not vary (8)")
    options.add_argument(
        "--group", type=int, default=8, help="trajectories a prompt where they do not vary (8)"
    )
    options.add_argument("--turn-tokens", type=int, default=24, help="tokens of every turn (24)")
    options.add_argument("--smoke", action="store_true", help="two small values of each")
    options = options.parse_args(arguments)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    model, processor = load_model(folder_of(options.model), device=device), processor_of(options.model)
    points, fits = [], []
    with contextlib.ExitStack() as hooks:
        hooks.enter_context(many_crops(model, processor))
        hooks.enter_context(never_ending(model, processor))
        for line in options.only:
            values = SMOKE[line] if options.smoke else LINES[line][0]
            runs = {str(value): rollout(model, line, value, options) for value in values}
            rows = summary(interleaved(runs, repeats=options.repeats))
            against = [units(line, value) for value in values]
            points += [{"line": line, "value": value, **row} for value, row in zip(values, rows, strict=True)]
            gradient, fit = slope(against, [row["median_s"] for row in rows])
            fits.append({"line": line, "slope": gradient, "R2": fit, "against": LINES[line][1]})
    for row in points:
        del row["name"]
    print_table(points, "Seconds of a rollout")
    print_table(fits, "Slope of log(seconds)")
    both: list[Row] = [*points, *fits]
    write_results("scaling", both, vars(options))


if __name__ == "__main__":
    main()
