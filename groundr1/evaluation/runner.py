"""Evaluation of one model on one data set: greedy rollouts, one row an example, kept batch by batch.

    <out>/settings.json        model, its weights' fingerprint, data set, views, prompts: what the predictions belong to
          predictions/         one parquet file a batch, written whole or not at all
          report.json          the scores in numbers: those of the benchmark, or accuracy and IoU
          scores.csv           of a benchmark: headline and groups as a table, with intervals
          summary.csv          accuracy and IoU by scale of the annotated evidence, where there is any
          rejected.csv, failures.csv      rows that the reader set aside, examples that could not be rolled out

Calling `evaluate` again does the examples that are missing and no other, in however many processes. Under
`accelerate launch` all processes of the launch call it together, and each does its share. Greedy decoding is not in the
paper: our choice, because then the same model gives the same numbers.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from datasets import Image as ImageFeature
from PIL import Image
from torch import nn
from tqdm.auto import tqdm
from transformers import ProcessorMixin

from groundr1.chat import Chat
from groundr1.data.example import Rejected
from groundr1.data.items import items_of
from groundr1.evaluation.folder import open_folder, settings_of
from groundr1.evaluation.predictions import predicted_box, prediction_row, read_parts, write_part
from groundr1.evaluation.questions import word_question
from groundr1.evaluation.reports import write_report
from groundr1.evaluation.scoring import score_rows
from groundr1.model import prompt_set
from groundr1.pictures import Pictures, in_threads, open_picture
from groundr1.rollout import ground_and_answer
from groundr1.storage import alone_in

__all__ = ["evaluate", "processes"]

logger = logging.getLogger(__name__)

# Processes wait for the one with the slowest share, and for a data set being read; torch gives up after 10 minutes. One
# that has died is none of theirs to notice: the launcher ends them.
PATIENCE = timedelta(days=1)


def evaluate(
    model: nn.Module,
    processor: ProcessorMixin,
    dataset: Dataset,
    *,
    out: str | Path,
    name: str = "model",
    benchmark: str | None = None,
    rejected: Sequence[Rejected] = (),
    judge: Any = None,
    batch_size: int = 64,
    max_crops: int = 1,
    max_turn_tokens: int = 512,
    make_session: Callable[[nn.Module, Chat], Any] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Roll out every example greedily and score the answers.

    Args:
        model: Qwen2.5-VL, with or without LoRA.
        processor: its processor, which sets how many pixels of a picture the model sees.
        dataset: rows as `EXAMPLE_FEATURES`, ids unique; of a benchmark what `read_benchmark` gives, with `annotation`.
        out: folder of this evaluation; made if need be, resumed if it belongs to the same evaluation.
        name: of the model in tables and figures ("base", "GRPO", ...).
        benchmark: one of `groundr1.data.items.BENCHMARK_NAMES`: its questions are then put as
            `groundr1.evaluation.questions` says, and scored by its rules. None: answers are right by the reward of
            their kind.
        rejected: rows that the reader set aside, to be counted in the report.
        judge: a `groundr1.evaluation.judge.Judge`, for MM-Vet and Visual-CoT.
        batch_size: examples rolled out together by a process, and lost at most when it is killed.
        max_crops: crops shown at most; 0 asks for the answer from the view alone.
        max_turn_tokens: limit of tokens a turn.
        make_session: as in `ground_and_answer`, for vLLM.
        progress: show a bar over the examples; the main process shows its share.

    Returns:
        One row an example that has a picture, in the data set's order, the same in all processes. Columns: model,
        prompt_id, source; scale and true_area (relative area, in [0, 1]) of the annotated evidence, null without
        annotation; box (last one, image frame, null where the whole picture was shown) and its relative_area, iou and
        giou with the annotation; correct (in [0, 1]: the benchmark's rule without a judge, else the answer reward);
        format (format reward, in [0, 1]); num_turns, num_tokens (generated), turns, answer, solution; row (in the data
        set), benchmark, question (as it was put), prediction (the turns joined by newlines), annotation, note; boxes
        (one an evidence shown, image frame, null for the whole picture); view_width, view_height (frame of the boxes
        in the turns), image_width and image_height. It can be given to `diagnostics.accuracy_by_scale` and, several
        models concatenated, to `paired_differences`.

    Raises:
        ValueError: ids repeat, a setting is out of range, `out` holds the evaluation of something else or is being
            written to by another job, or a benchmark's data set has no annotations.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be 1 or more.")
    out, state = Path(out), processes()
    ids = [str(each) for each in dataset["id"]]
    _require_unique(ids)
    questions = _questions(dataset, benchmark)
    limits = {"max_crops": max_crops, "max_turn_tokens": max_turn_tokens}
    columns = [ids, questions, dataset["solution"]]
    settings = {"model": name, **limits, **settings_of(model, processor, columns, benchmark)}
    rollouts = _Rollouts(
        model.get_base_model() if hasattr(model, "get_base_model") else model,
        processor,
        _with_encoded_pictures(dataset),
        questions,
        {**limits, "make_session": make_session},
        {"model": name, "benchmark": benchmark},
        out,
    )
    with alone_in(out, "evaluation") if state.is_main_process else nullcontext():
        with state.main_process_first():  # the others check, too: their weights must be the same
            open_folder(out, settings)
        done = set(read_parts(out / "predictions")["prompt_id"])
        missing = [number for number, each in enumerate(ids) if each not in done]
        state.wait_for_everyone()  # all know what is missing before anyone adds to it
        failures = gather_object(rollouts.do(missing, state, batch_size, progress))
        predictions = read_parts(out / "predictions")
        if state.is_main_process:
            facts = {"benchmark": benchmark, "rejected": rejected, "failures": failures}
            write_report(out, predictions, **facts)
            if judge is not None:  # which may fail, and then leaves the scores that need none
                write_report(out, predictions, judge=judge, **facts)
    return predictions


def processes() -> PartialState:
    """The processes of this launch, one without a launcher."""
    # Without the flag, a process started by torchrun on a machine without accelerator believes to be alone.
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)


@dataclass(frozen=True)
class _Rollouts:
    """What it takes to answer any of the examples, by their numbers in the data set."""

    model: nn.Module
    processor: ProcessorMixin
    dataset: Dataset  # pictures encoded
    questions: Sequence[str]
    limits: Mapping[str, Any]
    labels: Mapping[str, Any]
    out: Path

    def do(
        self, missing: Sequence[int], state: PartialState, batch_size: int, progress: bool
    ) -> list[dict[str, str]]:
        """Answer this process's share of the missing examples, batch by batch; returns those that cannot be."""
        share = missing[state.process_index :: state.num_processes]
        longest = -(-len(missing) // state.num_processes)
        failures: list[dict[str, str]] = []
        description = f"evaluating {self.labels['model']}"
        if state.num_processes > 1:
            description += f" (1 of {state.num_processes} processes)"
        hidden = not progress or not state.is_main_process
        with tqdm(total=len(share), desc=description, unit="example", disable=hidden) as bar:
            for start in range(0, longest, batch_size):  # as many batches as any other process has
                numbers = share[start : start + batch_size]
                failures += self._batch(numbers)
                bar.update(len(numbers))
        return failures

    def _batch(self, numbers: Sequence[int]) -> list[dict[str, str]]:
        examples = [
            {**self.dataset[number], "question": self.questions[number], "row": number} for number in numbers
        ]
        opened = in_threads(_opened, examples)
        failures = [
            {"prompt_id": str(example["id"]), "reason": picture}
            for example, picture in zip(examples, opened, strict=True)
            if isinstance(picture, str)
        ]
        examples = [
            {**example, "image": picture}
            for example, picture in zip(examples, opened, strict=True)
            if not isinstance(picture, str)
        ]
        if examples:
            write_part(self.out, self._answered(examples))
        elif self.limits["make_session"] is not None:
            # Processes that share an engine make all its calls together, also those that have nothing to ask.
            chat = Chat(self.processor, prompt_set(self.processor))
            self.limits["make_session"](self.model, chat).close()
        return failures

    def _answered(self, examples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows of examples whose pictures are open."""
        store = Pictures(self.processor, self.model)
        groups = ground_and_answer(
            self.model, self.processor, examples, batch_size=len(examples), pictures=store, **self.limits
        )
        entries = store.add([example["image"] for example in examples])
        rows = [
            prediction_row(example, trajectory, store.view_size(entry))
            | self.labels
            | {"row": example["row"]}
            for example, (trajectory,), entry in zip(examples, groups, entries, strict=True)
        ]
        return rows if self.labels["benchmark"] is None else _scored(self.labels["benchmark"], rows)


def _scored(benchmark: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `correct` by the benchmark's own rule."""
    scores = score_rows(
        benchmark,
        [json.loads(row["annotation"]) for row in rows],
        [row["prediction"] for row in rows],
        boxes=[predicted_box(benchmark, row) for row in rows],
    )
    return [{**row, "correct": score} for row, score in zip(rows, scores["score"], strict=True)]


def _opened(example: Mapping[str, Any]) -> Image.Image | str:
    """The picture of an example, or what is wrong with it."""
    try:
        return open_picture(example["image"], str(example["id"]))
    except (FileNotFoundError, ValueError) as error:
        return str(error)


def _with_encoded_pictures(dataset: Dataset) -> Dataset:
    """The dataset with pictures left encoded, so that a damaged one can be set aside."""
    if not isinstance(dataset.features["image"], ImageFeature):
        return dataset
    return dataset.cast_column("image", ImageFeature(decode=False))


def _questions(dataset: Dataset, benchmark: str | None) -> list[str]:
    """The questions as they are put."""
    if benchmark is None:
        return list(dataset["question"])
    if "annotation" not in dataset.column_names:
        raise ValueError(
            f"benchmark={benchmark!r}, but the data set has no column 'annotation'; read it with"
            " groundr1.data.read_benchmark."
        )
    annotations = [json.loads(each) for each in dataset["annotation"]]
    return [word_question(items_of(benchmark, row, number)[0]) for number, row in enumerate(annotations)]


def _require_unique(ids: Sequence[str]) -> None:
    values, counts = np.unique(np.asarray(ids, dtype=object), return_counts=True)
    if (counts > 1).any():
        repeated = values[counts > 1][:3].tolist()
        raise ValueError(
            f"{int((counts > 1).sum())} ids of the dataset repeat, {repeated} among them; make ids unique, so that"
            " every example has one row."
        )
