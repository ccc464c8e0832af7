"""Evaluate from a configuration file, `python -m groundr1.evaluate config.yaml`, or score predictions that are there.

On several GPUs: `accelerate launch -m groundr1.evaluate config.yaml`. The same command resumes an evaluation that was
killed. `python -m groundr1.evaluate score pope predictions.jsonl` needs no model, and takes any model's predictions;
`groundr1.evaluation.predictions` says in which form.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from groundr1.configuration import Configuration
from groundr1.configuration import described as _help
from groundr1.prompts import JUDGE_PROMPTS
from groundr1.storage import NoSpaceError

EXAMPLE = """\
name: srpo
model: runs/srpo/model
benchmark: pope
source: data/POPE.jsonl
image_root: data/pictures
out: runs/srpo/evaluation/pope
"""
JUDGED = tuple(JUDGE_PROMPTS)
# What `judge` may hold: arguments of Judge but its key, which belongs into no file.
JUDGE_OPTIONS = (
    *("url", "model", "cache"),
    *("prompts", "parameters", "retries", "timeout", "parallel", "ask_again", "skip_unanswered"),
)
PARSERS = ("groundr1", "lmms", "vlmeval", "gr")

logger = logging.getLogger("groundr1.evaluate")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Configuration):
    """Everything that shapes the evaluation of a model on a benchmark."""

    title: ClassVar[str] = "configuration of the evaluation"

    name: str = _help("Of the model, in tables and figures.")
    model: str = _help("'tiny', a folder, or a Hub id such as Qwen/Qwen2.5-VL-7B-Instruct.", "tiny")
    benchmark: str = _help(
        "viscot, mme, mmvet, seed, mme_realworld_lite, realworldqa, pope, vstar, hrbench or refcoco."
    )
    source: str = _help("Its rows: a jsonl, TSV or parquet file, a folder of parquet files, or a Hub id.")
    image_root: str | None = _help("Folder of its pictures; null for what is beside the source.", None)
    out: str = _help("Folder of this evaluation; made, or resumed.")
    batch_size: int | None = _help(
        "Examples a process rolls out together; null takes 64 at 401408 pixels a picture, fewer of larger ones.",
        None,
    )
    max_crops: int = _help("Crops shown at most; 0 asks for the answer from the view alone.", 1)
    max_turn_tokens: int = _help("Limit of tokens a turn; 512 in the paper.", 512)
    max_pixels: int | str | None = _help(
        "Most pixels of the view; null takes the benchmark's, 'model' the model's own. The tiny model keeps its own.",
        None,
    )
    dtype: str = _help("Of the weights: 'auto' (the checkpoint's), 'float32' or 'bfloat16'.", "auto")
    limit: int | None = _help("Read only so many rows from the start; null reads all.", None)
    judge: dict[str, Any] | None = _help(
        "For mmvet and viscot: {'url': ..., 'model': ..., 'cache': file, ...} of an OpenAI-compatible endpoint, whose"
        " key is read from the environment variable OPENAI_API_KEY.",
        None,
    )

    def check(self) -> None:
        """Raise ValueError for values out of range, or that do not go together."""
        self.check_least(1, "batch_size", "max_turn_tokens", "limit")
        self.check_least(0, "max_crops")
        self.check_choices(dtype=("auto", "float32", "bfloat16"))
        if isinstance(self.max_pixels, str) and self.max_pixels != "model":
            raise ValueError(f"max_pixels={self.max_pixels!r} must be a number, null or 'model'.")
        if isinstance(self.max_pixels, int):
            self.check_least(1, "max_pixels")
        if self.judge is not None:
            self._check_judge(self.judge)

    def _check_judge(self, judge: dict[str, Any]) -> None:
        if self.benchmark not in JUDGED:
            raise ValueError(
                f"judge={judge!r}: {self.benchmark} is scored without a judge; leave it out (it is for"
                f" {' and '.join(JUDGED)})."
            )
        if unknown := [each for each in judge if each not in JUDGE_OPTIONS]:
            raise ValueError(
                f"judge: {unknown[0]!r} is unknown; known are {', '.join(JUDGE_OPTIONS)}. A key is read from the"
                " environment variable OPENAI_API_KEY."
            )
        if missing := [each for each in JUDGE_OPTIONS[:3] if not isinstance(judge.get(each), str)]:
            raise ValueError(f"judge={judge!r} needs a text {missing[0]!r}.")


def run(config: EvaluationConfig) -> str:
    """Evaluate as configured; returns the folder."""
    # After the configuration is read: these take seconds to import, a typing error should not.
    from groundr1.data import BENCHMARKS, read_benchmark
    from groundr1.evaluation.runner import evaluate, processes
    from groundr1.evaluation.views import fitting_batch, processor_for
    from groundr1.model import load_model

    if config.benchmark not in BENCHMARKS:
        raise ValueError(f"benchmark={config.benchmark!r} is none of {', '.join(BENCHMARKS)}.")
    state = processes()
    if not state.is_main_process:
        logging.getLogger().setLevel(logging.WARNING)
    with state.main_process_first():  # the others find the pictures that the first has written
        dataset, rejected = read_benchmark(
            config.benchmark,
            config.source,
            config.image_root,
            limit=config.limit,
            progress=state.is_main_process,
        )
    processor = processor_for(config.model, config.benchmark, config.max_pixels)
    evaluate(
        load_model(config.model, dtype=config.dtype, device=state.device),
        processor,
        dataset,
        out=config.out,
        name=config.name,
        benchmark=config.benchmark,
        rejected=rejected,
        judge=make_judge(config.judge) if config.judge and state.is_main_process else None,
        batch_size=config.batch_size or fitting_batch(processor),
        max_crops=config.max_crops,
        max_turn_tokens=config.max_turn_tokens,
    )
    return config.out


def make_judge(settings: dict[str, Any]) -> Any:
    """The judge of a configuration or of the command line."""
    from groundr1.evaluation.judge import Judge

    return Judge(**settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    scores = arguments[:1] == ["score"]
    parser = _score_parser() if scores else _run_parser()
    options = parser.parse_args(arguments[1:] if scores else arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request to a judge
    try:
        shown = _scored(options) if scores else run(EvaluationConfig.from_yaml(options.config))
    except (ValueError, FileNotFoundError, NoSpaceError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_the_judges(error):
            raise
        logger.debug("", exc_info=True)
        parser.exit(2, f"{parser.prog}: {error}\n")
    sys.stdout.write(f"{shown}\n")
    return 0


def _is_the_judges(error: RuntimeError) -> bool:
    from groundr1.evaluation.judge import JudgeCacheError, JudgeRefusedError, JudgeUnavailableError

    return isinstance(error, JudgeCacheError | JudgeRefusedError | JudgeUnavailableError)


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m groundr1.evaluate",
        description="Evaluate a model on a benchmark, into a folder of predictions and scores. What was killed is"
        " resumed by the same command; what is complete is scored again. `score BENCHMARK PREDICTIONS` scores"
        " predictions that are there: see `score --help`.",
        epilog=f"fields of the configuration, with their defaults:\n{EvaluationConfig.describe_fields()}\n\n"
        f"example:\n{EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help="YAML file of 'field: value' lines")
    return parser


def _score_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m groundr1.evaluate score",
        description="Score the predictions of any model on a benchmark.",
        epilog='A jsonl line has "prediction" beside "annotation" (the official row) or beside the row\'s own keys, and'
        ' "box" ([x1, y1, x2, y2], image frame) if the model drew one.',
    )
    parser.add_argument("benchmark", help="such as pope")
    parser.add_argument(
        "predictions", help="folder of an evaluation, one of its parquet parts, or a jsonl file"
    )
    parser.add_argument(
        "--parser", choices=PARSERS, default="groundr1", help="whose reading of answers (groundr1)"
    )
    parser.add_argument(
        "--judge-url",
        help="OpenAI-compatible endpoint, for mmvet and viscot; its key is read from OPENAI_API_KEY",
    )
    parser.add_argument("--judge-model", help="model at that endpoint")
    parser.add_argument("--judge-cache", default="judge.sqlite", help="file of its answers (judge.sqlite)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def _scored(options: argparse.Namespace) -> str:
    from groundr1.evaluation.predictions import score_predictions
    from groundr1.evaluation.reports import flat_scores

    if bool(options.judge_url) != bool(options.judge_model):
        raise ValueError("--judge-url and --judge-model go together; give both or neither.")
    settings = {"url": options.judge_url, "model": options.judge_model, "cache": options.judge_cache}
    judge = make_judge(settings) if options.judge_url else None
    report = score_predictions(options.benchmark, options.predictions, parser=options.parser, judge=judge)
    if options.json:
        return json.dumps(report, indent=2)
    counts = ", ".join(f"{name}: {report[name]}" for name in ("count", "invalid", "rejected"))
    table = flat_scores(report).to_string(index=False, na_rep="-", float_format=lambda value: f"{value:.2f}")
    return f"{table}\n{options.benchmark}, parser {report['parser']}, {report['unit']}; {counts}"


if __name__ == "__main__":
    sys.exit(main())
