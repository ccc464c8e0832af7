"""Two-phase rollouts: ground, crop, answer, for many prompts at once (Ground-R1, arXiv 2505.20272).

For every example the model is shown the picture with the view's width and height, and samples
`num_groundings` first turns. A box is taken from the view frame to the image frame, cropped from the original
picture, and the crop is shown in a new user turn; `num_answers` continuations are sampled from there, which
share picture, grounding turn and crop. A continuation may ask for further boxes while fewer than `max_crops`
crops have been shown, and then must answer.

    >>> model, processor = load_model("tiny"), load_processor("tiny")                            # doctest: +SKIP
    >>> example = {"id": "1", "image": "board.png", "question": "What is on the red tile?"}      # doctest: +SKIP
    >>> [[trajectory]] = ground_and_answer(model, processor, [example])                          # doctest: +SKIP
    >>> trajectory.boxes, trajectory.answer                                                      # doctest: +SKIP

What the paper leaves open, and our choices: where more than one crop is allowed, the answers of a grounding
part company at the first crop, each refining on its own; a first turn that already answers counts
`num_answers` times, so that groups keep their size; a malformed turn or refused box is answered with the
whole picture, unless the turn holds an answer, which always ends the conversation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import ProcessorMixin

from groundr1.boxes import Box, clip, rescale
from groundr1.chat import Chat
from groundr1.cropping import crop_evidence
from groundr1.generation import SampledTurn, Session
from groundr1.model import prompt_set
from groundr1.parsing import parse_answer, parse_turn
from groundr1.pictures import Pictures, open_picture
from groundr1.prompts import PromptSet
from groundr1.trajectory import Trajectory

__all__ = ["Trajectory", "ground_and_answer"]


def ground_and_answer(
    model: nn.Module,
    processor: ProcessorMixin,
    examples: Sequence[Any],
    *,
    num_groundings: int = 1,
    num_answers: int = 1,
    max_crops: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    max_turn_tokens: int = 512,
    seed: int | Sequence[int | tuple[int, ...]] = 0,
    batch_size: int = 64,
    prompts: PromptSet | None = None,
    pictures: Pictures | None = None,
    make_session: Callable[[nn.Module, Chat], Any] | None = None,
    progress: bool = False,
) -> list[list[Trajectory]]:
    """Roll out grounded conversations.

    Args:
        model: Qwen2.5-VL, LoRA-wrapped or not, on whatever device and in whatever dtype it is.
        processor: Its processor; its `max_pixels` sets the view.
        examples: Rows with `id`, `image` (Pillow, path, or encoded bytes) and `question`, mappings or
            objects.
        num_groundings: First turns sampled for an example (G1 of the paper).
        num_answers: Continuations sampled for a grounding (G2). With `max_crops=0` there is one turn only,
            and `num_groundings * num_answers` of them are sampled.
        max_crops: Crops shown at most; after that many the model must answer. 0 asks for the answer straight
            away.
        temperature: 0 takes the most probable token each time.
        top_p: As in nucleus sampling.
        max_turn_tokens: Limit of tokens a turn; the paper's is 512.
        seed: Of the sampling. One number, from which each example's seed is derived with its index, or one an
            example (a number or a tuple of numbers, not negative). An example's trajectories depend on its
            seed alone, not on the other examples nor on `batch_size`.
        batch_size: Examples rolled out together.
        prompts: The prompts; those the model expects when None.
        pictures: A store that keeps the processed pictures for the caller, who will use them again.
        make_session: Makes what samples, for each batch anew: a `Session` of the model when None, or a
            `groundr1.vllm_session.VLLMSession`, which leaves `seed` unused.
        progress: Show a bar over the examples.

    Returns:
        One list an example, of `num_groundings * num_answers` trajectories: grounding by grounding, its
        answers together.

    Raises:
        FileNotFoundError, ValueError: A picture is missing or unreadable (the example is named), or a setting
            is out of range.
    """
    _check(num_groundings, num_answers, max_crops, temperature, top_p, max_turn_tokens, batch_size)
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    settings = _Settings(num_groundings, num_answers, max_crops, temperature, top_p, max_turn_tokens)
    chat = Chat(processor, prompts or prompt_set(processor))
    make_session = make_session or (lambda *_: Session(model, chat.end_ids(model), chat.banned_ids))
    seeds = [(int(seed), i) for i in range(len(examples))] if isinstance(seed, Integral) else list(seed)
    if len(seeds) != len(examples):
        raise ValueError(
            f"{len(seeds)} seeds for {len(examples)} examples; give one each, or one number for all."
        )
    groups: list[list[Trajectory]] = []
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), tqdm(total=len(examples), desc="rollouts", disable=not progress) as bar:
            for start in range(0, len(examples), batch_size):
                batch = slice(start, start + batch_size)
                rows = [examples[i] for i in range(*batch.indices(len(examples)))]
                store = Pictures(processor, model) if pictures is None else pictures
                session = make_session(model, chat)
                groups += _Rollout(session, chat, store, settings, seeds[batch]).run(rows, first_index=start)
                session.close()
                bar.update(len(groups) - bar.n)
    finally:
        model.train(was_training)
    return groups


@dataclass(frozen=True)
class _Settings:
    num_groundings: int
    num_answers: int
    max_crops: int
    temperature: float
    top_p: float
    max_turn_tokens: int


def _check(
    groundings: int, answers: int, crops: int, temperature: float, top_p: float, tokens: int, batch: int
) -> None:
    wrong = {
        f"num_groundings={groundings} (1 or more)": groundings < 1,
        f"num_answers={answers} (1 or more)": answers < 1,
        f"max_crops={crops} (0 or more)": crops < 0,
        f"temperature={temperature} (0 or more)": not temperature >= 0,
        f"top_p={top_p} (above 0, at most 1)": not 0 < top_p <= 1,
        f"max_turn_tokens={tokens} (1 or more)": tokens < 1,
        f"batch_size={batch} (1 or more)": batch < 1,
    }
    if any(wrong.values()):
        found = ", ".join(name for name, is_wrong in wrong.items() if is_wrong)
        raise ValueError(f"A rollout setting is out of range: {found}.")


def _field(example: Any, name: str) -> Any:
    try:
        return example[name] if isinstance(example, Mapping) else getattr(example, name)
    except (KeyError, AttributeError) as error:
        raise ValueError(f"An example has no {name!r}; every one needs id, image and question.") from error


def _question(example: Any) -> str:
    question = _field(example, "question")
    if not isinstance(question, str):
        raise ValueError(
            f"Example {_field(example, 'id')!r}: its question is {question!r:.80}, and not a text."
        )
    return question


class _Rollout:
    """The rollout of one batch of examples."""

    def __init__(
        self,
        session: Any,
        chat: Chat,
        pictures: Pictures,
        settings: _Settings,
        seeds: Sequence[int | tuple[int, ...]],
    ) -> None:
        self.session, self.chat, self.pictures, self.settings = session, chat, pictures, settings
        self.generators = [np.random.default_rng(seed) for seed in seeds]
        self.crops: dict[tuple[int, Box], Image.Image] = {}

    def run(self, examples: Sequence[Any], first_index: int) -> list[list[Trajectory]]:
        """All trajectories, grouped by example; `first_index` is the index of the first of them."""
        settings = self.settings
        grounds = settings.max_crops > 0
        copies = settings.num_groundings * (1 if grounds else settings.num_answers)
        rows = self._start(examples, first_index, copies)
        groups: list[list[Trajectory]] = [[] for _ in examples]
        for shown in range(settings.max_crops + 1):
            self._sample(rows, first_index, is_last=shown == settings.max_crops)
            going_on = [i for i, row in enumerate(rows) if row.answer is None and shown < settings.max_crops]
            times = settings.num_answers if shown == 0 and grounds else 1
            for i in sorted(set(range(len(rows))) - set(going_on)):
                groups[rows[i].prompt_index - first_index] += self._answers(rows[i], times)
            if not going_on:
                break
            rows = self._show_evidence(rows, going_on, times, is_last=shown + 1 == settings.max_crops)
        for group in groups:
            group.sort(key=lambda row: (row.grounding, row.answer_index))
        return groups

    def _start(self, examples: Sequence[Any], first_index: int, copies: int) -> list[Trajectory]:
        """Prefill each example's prompt once, and copy it for each first turn to be sampled."""
        images = [open_picture(_field(row, "image"), str(_field(row, "id"))) for row in examples]
        entries = self.pictures.add(images)
        grounds = self.settings.max_crops > 0
        rows, segments = [], []
        for i, (example, image, entry) in enumerate(zip(examples, images, entries, strict=True)):
            size = self.pictures.view_size(entry)
            ids = self.chat.opening(
                _question(example), size, self.pictures.num_tokens(entry), grounds=grounds
            )
            segments.append(self.session.segment(ids, self.pictures, entry))
            rows += [Trajectory(first_index + i, copy, 0, ids, [image]) for copy in range(copies)]
        self.session.append(segments)
        self.session.repeat(copies)
        return rows

    def _sample(self, rows: list[Trajectory], first_index: int, is_last: bool) -> None:
        """Sample the next turn of every row and read it."""
        settings = self.settings
        turns = self.session.sample(
            self._uniforms(rows, first_index),
            temperature=settings.temperature,
            top_p=settings.top_p,
            keep=not is_last,
        )
        for row, turn in zip(rows, turns, strict=True):
            self._record(row, turn)

    def _record(self, row: Trajectory, turn: SampledTurn) -> None:
        row.extend(turn.token_ids, logprobs=turn.logprobs)
        row.finished = turn.token_ids[-1] in self.session.end_ids
        row.turns.append(self.chat.text(turn.token_ids[:-1] if row.finished else turn.token_ids))
        row.answer = parse_answer(row.turns[-1])

    def _uniforms(self, rows: list[Trajectory], first_index: int) -> Tensor:
        """(B, T) random numbers, drawn example by example for all its trajectories, whichever still go on."""
        settings = self.settings
        group = settings.num_groundings * settings.num_answers
        if settings.temperature == 0:
            return torch.zeros(len(rows), settings.max_turn_tokens)
        drawn: dict[int, np.ndarray] = {}
        for index in dict.fromkeys(row.prompt_index for row in rows):
            generator = self.generators[index - first_index]
            drawn[index] = generator.random((group, settings.max_turn_tokens), dtype=np.float32)
        places = [row.grounding * settings.num_answers + row.answer_index for row in rows]
        if settings.max_crops == 0:
            places = [row.grounding for row in rows]
        uniforms = [drawn[row.prompt_index][place] for row, place in zip(rows, places, strict=True)]
        return torch.from_numpy(np.stack(uniforms))

    def _answers(self, row: Trajectory, times: int) -> list[Trajectory]:
        """The trajectories a finished row stands for: itself, or `times` of it when its first turn already
        answered."""
        if self.settings.max_crops == 0:  # sampled separately: the place in the group says both indices
            grounding, answer_index = divmod(row.grounding, self.settings.num_answers)
            return [replace(row, grounding=grounding, answer_index=answer_index)]
        return [row] if times == 1 else [row.copy(answer_index) for answer_index in range(times)]

    def _show_evidence(
        self, rows: list[Trajectory], going_on: list[int], times: int, *, is_last: bool
    ) -> list[Trajectory]:
        """Append the evidence of each row in `going_on`, then copy the row `times` times."""
        shown = [rows[i] for i in going_on]
        for row in shown:
            self._crop(row)
        entries = self.pictures.add([row.images[-1] for row in shown])
        segments = []
        for row, entry in zip(shown, entries, strict=True):
            ids = self.chat.evidence(
                self.pictures.num_tokens(entry), is_last=is_last, finished=row.token_ids[-1]
            )
            # The last sampled token is not in the cache yet, see Session.sample.
            segments.append(self.session.segment([row.token_ids[-1], *ids], self.pictures, entry))
            row.extend(ids)
        self.session.select(going_on)
        self.session.append(segments)
        if times == 1:
            return shown
        self.session.repeat(times)
        return [row.copy(answer_index) for row in shown for answer_index in range(times)]

    def _crop(self, row: Trajectory) -> None:
        """Turn the row's box into its next evidence; rows of a prompt that ask for the same box share the
        crop."""
        image = row.images[0]
        box_view = parse_turn(row.turns[-1]).box
        box_image = None
        if box_view is not None:
            view_size = self.pictures.view_size(self.pictures.add([image])[0])
            box_image = clip(rescale(box_view, view_size, image.size), image.size)
        crop = self.crops.get((row.prompt_index, box_image)) if box_image else image
        if crop is None:
            evidence = crop_evidence(image, box_image)
            crop = image if evidence.refused else evidence.image
            self.crops[row.prompt_index, box_image] = crop
        row.boxes.append(None if crop is image else box_image)
        row.images.append(crop)
