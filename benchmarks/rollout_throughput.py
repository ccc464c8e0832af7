"""Trajectories per second: ours against the official Ground-R1 procedure and TRL's own tool loop.

Same model, prompts, crops and sampling; the three take turns in one process. Lengths follow the same distribution,
and the table shows their mean. Every prompt has 8 trajectories: 4 groundings of 2 answers in ours and the official
procedure; TRL samples 8 conversations apart. See `plain_rollouts.py` for what the other two do.

    python -m benchmarks.rollout_throughput
    python -m benchmarks.rollout_throughput --prompts 8 --crops 3 --repeats 3
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.common import interleaved, parser, print_table, summary, write_results
from benchmarks.plain_rollouts import OfficialProcedure, TRLToolLoop
from groundr1.boxes import Box
from groundr1.data import make_scenes
from groundr1.model import load_model, load_processor
from groundr1.parsing import Turn, parse_turn
from groundr1.rollout import ground_and_answer
from groundr1.trajectory import Trajectory

GROUNDINGS, ANSWERS = 4, 2


@contextmanager
def many_crops(model: Any, processor: Any) -> Iterator[None]:
    """Conversations of as many crops as are allowed; the tiny model, taught to answer after one, does not ask for more.

    The head's `<answer>` counts as `<box>`, and a turn without a usable box gets one drawn by the hash of its text.
    """
    answer, box = processor.tokenizer.convert_tokens_to_ids(["<answer>", "<box>"])

    def exchange(_module: Any, _inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        logits = logits.clone()
        logits[..., box] = torch.logaddexp(logits[..., box], logits[..., answer])
        logits[..., answer] = -1e9
        return logits

    def read(text: str) -> Turn:
        turn = parse_turn(text)
        if turn.box is not None:
            return turn
        left, top, width, height = np.random.default_rng(zlib.crc32(text.encode())).uniform(8, 50, 4)
        return replace(turn, kind="box", box=Box(left, top, left + width, top + height))

    hook = model.lm_head.register_forward_hook(exchange)
    with patch("groundr1.rollout.parse_turn", read), patch("benchmarks.plain_rollouts.parse_turn", read):
        yield
    hook.remove()


def measure(model: Any, processor: Any, num_prompts: int, max_crops: int, options: Any) -> list[dict]:
    """Rows of the table for one number of prompts and crops."""
    scenes = make_scenes(num_prompts, seed=1)
    examples = [{**scene, "image": scene["image"].convert("RGB")} for scene in scenes]
    split = {"num_groundings": GROUNDINGS, "num_answers": ANSWERS, "max_turn_tokens": options.turn_tokens}
    official = OfficialProcedure(model, processor, max_crops)
    last: dict[str, list[Trajectory]] = {}

    def ours() -> None:
        groups = ground_and_answer(model, processor, examples, max_crops=max_crops, temperature=1.0, **split)
        last["ours"] = [one for group in groups for one in group]

    def plain() -> None:
        last["official procedure"] = [one for group in official(examples, **split) for one in group]

    functions = {"ours": ours, "official procedure": plain}
    if not options.without_trl:
        loop = TRLToolLoop(model, processor, max_crops)

        def trl() -> None:
            group_size = GROUNDINGS * ANSWERS
            last["TRL tool loop"] = loop(examples, group_size=group_size, max_turn_tokens=options.turn_tokens)

        functions["TRL tool loop"] = trl
    times = interleaved(functions, repeats=options.repeats)
    rows = []
    for name, own in times.items():
        pair = {name: own, "ours": times["ours"]}
        row = summary(pair, baseline=name)[-1]
        rows.append(
            {"prompts": num_prompts, "crops": max_crops, "name": name}
            | described(last[name], summary({name: own})[0]["median_s"])
            | {
                "ours_is_times_faster": row["times_faster"],
                "least": row["least"],
                "greatest": row["greatest"],
            }
            | {"seconds": own}
        )
    return rows


def described(trajectories: Sequence[Trajectory], seconds: float) -> dict[str, float]:
    """Throughput, and what shows that like was measured with like."""
    num = len(trajectories)
    return {
        "trajectories": num,
        "trajectories_per_s": num / seconds,
        "crops_shown": sum(box is not None for one in trajectories for box in one.boxes) / num,
        "sampled_tokens": sum(one.num_generated_tokens for one in trajectories) / num,
        "all_tokens": sum(len(one.prompt_ids) + len(one.token_ids) for one in trajectories) / num,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the json file."""
    options = parser(__doc__)
    options.add_argument("--model", default="tiny", help="name, folder or Hub id (tiny)")
    options.add_argument("--prompts", type=int, nargs="+", default=[8, 32], help="numbers of prompts (8 32)")
    options.add_argument("--crops", type=int, nargs="+", default=[1, 3], help="crops a conversation (1 3)")
    options.add_argument("--turn-tokens", type=int, default=32, help="limit of tokens a turn (32)")
    options.add_argument("--without-trl", action="store_true", help="leave TRL's loop out")
    options = options.parse_args(arguments)
    processor = load_processor(options.model)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    model = load_model(options.model, device=device)
    rows = []
    for max_crops in options.crops:
        with many_crops(model, processor) if max_crops > 1 else nullcontext():
            for num_prompts in options.prompts:
                rows += measure(model, processor, num_prompts, max_crops, options)
    print_table(rows, "Trajectories per second")
    write_results("rollout_throughput", rows, vars(options))


if __name__ == "__main__":
    main()
