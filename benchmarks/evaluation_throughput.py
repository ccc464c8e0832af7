"""Examples a second of an evaluation: batched against one example at a time, by us and by the official procedure.

Same model, prompts, crops and pictures, all greedy; the three take turns in one process. Ours is `evaluate` as it is
used, into a new folder each time: pictures opened, rows scored, parts flushed to disk, a report written. The official
Ground-R1 evaluation rolls out one example after another with `generate`, as in `plain_rollouts.py`; here it writes
nothing. `same_turns` is the share of examples whose conversation is, to the letter, that of our batches.

    python -m benchmarks.evaluation_throughput
    python -m benchmarks.evaluation_throughput --examples 32 --repeats 3
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Row, interleaved, parser, print_table, summary, write_results
from benchmarks.plain_rollouts import OfficialProcedure
from groundr1.data import make_scenes
from groundr1.evaluation import evaluate
from groundr1.model import load_model, load_processor
from groundr1.trajectory import Trajectory

BATCHED, SINGLE, OFFICIAL = "evaluate, batched", "evaluate, one at a time", "official procedure"


class GreedyProcedure(OfficialProcedure):
    """The official procedure as an evaluation runs it: one conversation an example, greedy."""

    def answer(self, examples: Sequence[dict[str, Any]], max_turn_tokens: int) -> list[Trajectory]:
        """One trajectory an example."""
        self.options = {
            "max_new_tokens": max_turn_tokens,
            "do_sample": False,
            "suppress_tokens": self.chat.banned_ids,
        }
        with torch.no_grad():
            return [self._one_prompt(number, each, 1, 1)[0] for number, each in enumerate(examples)]


def measure(options: Any) -> list[Row]:
    """Rows of the table."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    processor = load_processor(options.model)
    model = load_model(options.model, device=device)
    scenes = make_scenes(options.examples, seed=1, progress=False)
    examples = [{**scene, "image": scene["image"].convert("RGB")} for scene in scenes]
    official = GreedyProcedure(model, processor, options.crops)
    turns: dict[str, list[list[str]]] = {}

    def ours(name: str, batch_size: int) -> Callable[[], None]:
        def run() -> None:
            with tempfile.TemporaryDirectory() as folder:
                table = evaluate(
                    model,
                    processor,
                    scenes,
                    out=Path(folder) / "out",
                    batch_size=batch_size,
                    max_crops=options.crops,
                    max_turn_tokens=options.turn_tokens,
                    progress=False,
                )
            turns[name] = [list(each) for each in table["turns"]]

        return run

    def plain() -> None:
        turns[OFFICIAL] = [each.turns for each in official.answer(examples, options.turn_tokens)]

    functions = {BATCHED: ours(BATCHED, options.batch_size), SINGLE: ours(SINGLE, 1), OFFICIAL: plain}
    times = interleaved(functions, repeats=options.repeats)
    rows = []
    for name, own in times.items():
        pair = summary({name: own, BATCHED: times[BATCHED]}, baseline=name)[-1]
        same = [one == other for one, other in zip(turns[name], turns[BATCHED], strict=True)]
        rows.append(
            {"name": name, "examples": len(examples), "median_s": summary({name: own})[0]["median_s"]}
            | {"examples_per_s": len(examples) / summary({name: own})[0]["median_s"]}
            | {"batched_is_times_faster": pair["times_faster"]}
            | {end: pair[end] for end in ("least", "greatest")}
            | {"same_turns": sum(same) / len(same), "seconds": own}
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the json file."""
    options = parser(__doc__)
    options.add_argument("--model", default="tiny", help="name, folder or Hub id (tiny)")
    options.add_argument("--examples", type=int, default=128, help="generated scenes (128)")
    options.add_argument("--batch-size", type=int, default=64, help="examples rolled out together (64)")
    options.add_argument("--crops", type=int, default=1, help="crops a conversation (1)")
    options.add_argument("--turn-tokens", type=int, default=32, help="limit of tokens a turn (32)")
    options = options.parse_args(arguments)
    rows = measure(options)
    print_table(rows, "Examples a second")
    write_results("evaluation_throughput", rows, vars(options))


if __name__ == "__main__":
    main()
