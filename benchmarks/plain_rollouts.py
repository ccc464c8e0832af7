"""How others roll out, written here from the description of it: what `rollout_throughput.py` measures ours against.

Both use the same model, prompts, crops and chat tokens as `groundr1.rollout`, so that only the procedure differs.
"""

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from trl import GRPOConfig, GRPOTrainer
from trl.trainer import grpo_trainer

from groundr1.boxes import clip, rescale
from groundr1.chat import Chat
from groundr1.cropping import crop_evidence
from groundr1.model import prompt_set
from groundr1.parsing import parse_answer, parse_turn
from groundr1.trajectory import Trajectory


class PlainConversation:
    """What both procedures need of a conversation: its prompt, and the crop and the tokens that follow a turn."""

    def __init__(self, model: Any, processor: Any, max_crops: int) -> None:
        self.model, self.processor, self.max_crops = model, processor, max_crops
        self.chat = Chat(processor, prompt_set(processor))
        self.end_ids = self.chat.end_ids(model)

    def view(self, image: Image.Image) -> tuple[tuple[int, int], int]:
        """(width, height) of the view and its number of image tokens, counted without processing the picture."""
        processor = self.processor.image_processor
        side = processor.patch_size * processor.merge_size  # of what one token stands for
        bounds = {"min_pixels": processor.size["shortest_edge"], "max_pixels": processor.size["longest_edge"]}
        height, width = smart_resize(image.height, image.width, side, **bounds)
        return (width, height), (width // side) * (height // side)

    def prompt(self, example: dict[str, Any]) -> list[int]:
        """Token ids of the first prompt."""
        size, num_tokens = self.view(example["image"])
        return self.chat.opening(example["question"], size, num_tokens, grounds=True)

    def read(self, row: Trajectory, token_ids: list[int]) -> None:
        """Take a turn: its tokens up to the first end token."""
        ends = [i for i, token in enumerate(token_ids) if token in self.end_ids]
        token_ids = token_ids[: ends[0] + 1] if ends else token_ids
        row.extend(token_ids, logprobs=[0.0] * len(token_ids))
        row.finished = bool(ends)
        row.turns.append(self.chat.text(token_ids[:-1] if ends else token_ids))
        row.answer = parse_answer(row.turns[-1])

    def show_evidence(self, row: Trajectory) -> None:
        """Append the crop the last turn asks for, or the picture."""
        image, box_view = row.images[0], parse_turn(row.turns[-1]).box
        box_image = box_view and clip(rescale(box_view, self.view(image)[0], image.size), image.size)
        evidence = crop_evidence(image, box_image)
        shown = image if evidence.refused else evidence.image
        row.boxes.append(None if shown is image else box_image)
        row.images.append(shown)
        is_last = len(row.boxes) == self.max_crops
        row.extend(self.chat.evidence(self.view(shown)[1], is_last=is_last, finished=row.token_ids[-1]))


class OfficialProcedure(PlainConversation):
    """One prompt at a time, as the official Ground-R1 trainer: `generate` returns as many sequences as groundings, each
    with its copy of the picture; then the whole conversation, with both pictures, from nothing for every answer."""

    def __call__(
        self,
        examples: Sequence[dict[str, Any]],
        *,
        num_groundings: int,
        num_answers: int,
        max_turn_tokens: int,
    ) -> list[list[Trajectory]]:
        self.options = {
            "max_new_tokens": max_turn_tokens, "do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
            "suppress_tokens": self.chat.banned_ids,
        }  # fmt: skip
        with torch.no_grad():
            return [
                self._one_prompt(index, example, num_groundings, num_answers)
                for index, example in enumerate(examples)
            ]

    def _one_prompt(
        self, index: int, example: dict[str, Any], num_groundings: int, num_answers: int
    ) -> list[Trajectory]:
        ids = self.prompt(example)
        first = Trajectory(index, 0, 0, ids, [example["image"]])
        turns = self._generate([first], num_return_sequences=num_groundings)
        rows = [Trajectory(index, i, 0, ids, [example["image"]]) for i in range(num_groundings)]
        for row, turn in zip(rows, turns, strict=True):
            self.read(row, turn)
            if row.answer is None:
                self.show_evidence(row)
        rows = [row.copy(answer_index) for row in rows for answer_index in range(num_answers)]
        while going_on := [row for row in rows if row.answer is None and len(row.turns) <= self.max_crops]:
            for row, turn in zip(going_on, self._generate(going_on), strict=True):
                self.read(row, turn)
                if row.answer is None and len(row.turns) <= self.max_crops:
                    self.show_evidence(row)
        return rows

    def _generate(self, rows: Sequence[Trajectory], **options: Any) -> list[list[int]]:
        """One turn a row, all pictures and tokens from the start."""
        conversations = [row.prompt_ids + row.token_ids for row in rows]
        length = max(map(len, conversations))
        pad = self.processor.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (length - len(one)) + one for one in conversations])
        mask = torch.tensor([[0] * (length - len(one)) + [1] * len(one) for one in conversations])
        images = [image for row in rows for image in row.images]
        pictures = self.processor.image_processor(images=images, return_tensors="pt")
        inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            "mm_token_type_ids": (ids == self.chat.image_id).int(),
        }
        inputs = {name: value.to(self.model.device) for name, value in (inputs | dict(pictures)).items()}
        output = self.model.generate(**inputs, **self.options, **options)
        return output[:, length:].tolist()


class TRLToolLoop:
    """TRL's own multi-turn path: every trajectory is a conversation of its own, a box turn is a tool call, its crop the
    tool's picture. TRL has no two-phase sampling: each trajectory samples its own first turn.

    The tiny model's turns are not in the JSON that TRL parses tool calls from, and its template has no tool role; so
    the parser and the tokens around a tool's result are replaced by ours, and nothing else.
    """

    def __init__(self, model: Any, processor: Any, max_crops: int) -> None:
        self.conversation = conversation = PlainConversation(model, processor, max_crops)
        outer = self

        class Trainer(GRPOTrainer):
            def _get_tool_suffix_ids(self, tool_messages: Any) -> list[int]:
                return outer.suffixes.pop(0)

        self.trainer = Trainer(
            model=model,
            args=GRPOConfig(
                tempfile.mkdtemp(), per_device_train_batch_size=8, num_generations=8, report_to="none", bf16=False,
                use_cpu=not torch.accelerator.is_available(), top_k=0, gradient_checkpointing=False,
            ),
            reward_funcs=[lambda **_: []],
            train_dataset=Dataset.from_list([{"prompt": "unused"}]),
            processing_class=processor,
        )  # fmt: skip
        self.trainer.tools = [zoom]
        self.trainer.max_tool_calling_iterations = max_crops
        self.trainer.max_completion_length = model.config.text_config.max_position_embeddings
        self.trainer.generation_config.suppress_tokens = conversation.chat.banned_ids
        self.trainer._tokenizer.response_schema = {}  # its presence makes TRL parse what the model wrote

    def __call__(
        self, examples: Sequence[dict[str, Any]], *, group_size: int, max_turn_tokens: int
    ) -> list[Trajectory]:
        """`group_size` trajectories an example."""
        self.trainer.generation_config.max_new_tokens = max_turn_tokens
        prompts = [self._messages(example) for example in examples for _ in range(group_size)]
        self.trainer._sync_tool_dicts = [{"zoom": zoom}] * len(prompts)
        self.trainer._async_tool_dicts = [{}] * len(prompts)
        rows = [
            Trajectory(index, i, 0, [], [example["image"]])
            for index, example in enumerate(examples)
            for i in range(group_size)
        ]
        self.waiting, self.suffixes = list(rows), []
        original, grpo_trainer.parse_response = grpo_trainer.parse_response, self._parse
        try:
            self.trainer._generate(prompts)
        finally:
            grpo_trainer.parse_response = original
        return rows

    def _messages(self, example: dict[str, Any]) -> list[dict[str, Any]]:
        width, height = self.conversation.view(example["image"])[0]
        text = self.conversation.chat.prompts.ground.format(
            question=example["question"], width=width, height=height
        )
        content = [{"type": "image", "image": example["image"]}, {"type": "text", "text": text}]
        return [{"role": "user", "content": content}]

    def _parse(
        self, tokenizer: Any, token_ids: list[int], *, prefix: list[int], tools: Any
    ) -> dict[str, Any]:
        """A turn as TRL wants it parsed; it asks in the order of the rows that still go on."""
        row = self.waiting.pop(0)
        row.prompt_ids = row.prompt_ids or prefix
        self.conversation.read(row, token_ids)
        message = {"role": "assistant", "content": row.turns[-1]}
        if row.answer is not None or len(row.turns) > self.conversation.max_crops:
            return message
        before = len(row.token_ids)
        self.conversation.show_evidence(row)
        self.suffixes.append(row.token_ids[before:])
        self.waiting.append(row)
        call = {"name": "zoom", "arguments": {"image": row.images[-1]}}
        return message | {"tool_calls": [{"type": "function", "function": call}]}


def zoom(image: Image.Image) -> list[dict[str, Any]]:
    """The crop a turn asks for.

    Args:
        image: The crop.
    """
    return [{"type": "image", "image": image}]
