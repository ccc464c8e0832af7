"""GRPO and SRPO on grounded conversations: TRL's `GRPOTrainer`, with our rollouts and our advantages in it.

`SRPOTrainer` replaces how completions are generated (`groundr1.rollout`) and, unless `advantage="grpo"`, the
advantages (`groundr1.srpo`). Loss, clipping, KL to the reference, accumulation, logging and checkpoints are
TRL's. The crops of a conversation travel as TRL's tool images: pictures inside a completion whose tokens are
masked out of the loss.

    >>> trainer = SRPOTrainer(model, args=SRPOConfig("out"), train_dataset=make_scenes(64, seed=1))  # doctest: +SKIP
    >>> trainer.train()                                                                              # doctest: +SKIP
"""

import zlib
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather, gather_object
from datasets import Dataset, IterableDataset
from torch import Tensor
from torch.utils.data import Sampler

from groundr1.model import load_processor, resolve
from groundr1.pictures import Pictures
from groundr1.preparation import PicturesAhead
from groundr1.resumable import ResumableTrainer
from groundr1.reward_functions import answer_reward_func, format_reward_func
from groundr1.rollout import ground_and_answer
from groundr1.rollout_table import statistics, table_row
from groundr1.sharding import whole_model
from groundr1.shared_pictures import SharedPictures, reads_shared_pictures
from groundr1.srpo import srpo_advantages
from groundr1.srpo_config import SRPOConfig
from groundr1.training import with_encoded_pictures
from groundr1.trajectory import Trajectory
from groundr1.trl_hooks import EpochSampler, check_trl
from groundr1.vllm_session import synced_session


class SRPOTrainer(ResumableTrainer):
    """TRL's `GRPOTrainer` on two-phase grounded rollouts, with scale-relative advantages.

    The constructor is that of `GRPOTrainer`, without its tools, environments and `rollout_func`, which the
    rollout replaces.

    Args:
        model: A Qwen2.5-VL model, a folder, a Hub id or "tiny". With `beta > 0` and without LoRA the
            reference model is loaded anew from where the model came from, as in TRL.
        reward_funcs: Called as TRL calls them, with the dataset's columns and `trajectory` (a `Trajectory`
            each). None means format and answer reward, weighted `args.reward_weights`, (1, 1) by default:
            SRPO's r^intra.
        args: An `SRPOConfig`.
        train_dataset: Rows as in `groundr1.data.EXAMPLE_FEATURES`; `id`, `image`, `question` are needed,
            `solution` and `kind` for the answer reward, `boxes` and `source` for the rollout table.
        eval_dataset, processing_class, reward_processing_classes, callbacks, optimizers, quantization_config,
            peft_config: As in `GRPOTrainer`.

    Raises:
        ImportError: TRL is not the pinned version. ValueError: A column is missing, or settings contradict.
    """

    _tag_names = ["trl", "srpo"]
    _name = "SRPO"
    _paper = {
        "title": "Ground-R1: Thinking with Images via Scale Relative Policy Optimization",
        "id": "2505.20272",
        "citation": "@article{groundr1, eprint = {arXiv:2505.20272}}",
    }

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: SRPOConfig | None = None,
        train_dataset: Dataset | IterableDataset | None = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        reward_processing_classes: Any = None,
        callbacks: Any = None,
        optimizers: Any = (None, None),
        quantization_config: Any = None,
        peft_config: Any = None,
    ) -> None:
        check_trl()
        model = resolve(model) if isinstance(model, str | Path) else model
        args = args or SRPOConfig("srpo-output")
        source = model if isinstance(model, str) else model.config._name_or_path
        if args.beta and not source:
            raise ValueError(
                f"beta={args.beta} needs a reference model, which is loaded from where the model came from, but"
                " this one was not loaded from anywhere. Save it and load it from there, or set beta to 0."
            )
        super().__init__(
            model=model,
            reward_funcs=[format_reward_func, answer_reward_func] if reward_funcs is None else reward_funcs,
            args=args,
            train_dataset=with_encoded_pictures(train_dataset),
            eval_dataset=with_encoded_pictures(eval_dataset),
            processing_class=processing_class or load_processor(source),
            reward_processing_classes=reward_processing_classes,
            callbacks=callbacks,
            optimizers=optimizers,
            quantization_config=quantization_config,
            peft_config=peft_config,
        )
        # Whatever is truthy here makes TRL take pictures inside completions; it is never called.
        self.tools = [ground_and_answer]
        bare = self._bare_model()
        if args.freeze_vision:
            bare.model.visual.requires_grad_(False)
        self._pictures: dict[str, Pictures] = {}
        self._pictures_ahead = PicturesAhead(partial(Pictures, self.processing_class, bare))
        if not self.args.dataloader_num_workers:  # what is under way in a thread cannot change process
            self.data_collator = self._pictures_ahead
        for each in [bare, self.ref_model]:
            if each is not None:
                each = self.accelerator.unwrap_model(each)
                reads_shared_pictures(each, self._current_pictures, reuse_features=args.freeze_vision)
        self._rollout_rows: list[dict[str, Any]] = []

    def take_rollouts(self) -> list[dict[str, Any]]:
        """Rows of the rollout table since the last call, of all processes; empty except on the main
        process."""
        rows, self._rollout_rows = self._rollout_rows, []
        return rows

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """As TRL, which counts micro-steps from 0 in a resumed process, and generates batches by that count."""
        self._step = max(self._step, self.state.global_step * self.args.gradient_accumulation_steps)
        return super().training_step(model, inputs, num_items_in_batch)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """As transformers, but really: it saves Qwen2.5-VL under the Hub's key names and, loading, matches
        none of them."""
        bare = self._bare_model()
        if bare is not self.accelerator.unwrap_model(self.model) or self.is_fsdp_enabled:
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        bare.load_state_dict(
            type(bare).from_pretrained(resume_from_checkpoint, dtype=bare.dtype).state_dict()
        )

    def _get_train_sampler(self, dataset: Dataset | None = None) -> Sampler:
        sampler = super()._get_train_sampler(dataset)
        return EpochSampler(sampler, self.args.seed, lambda: int(self.state.epoch or 0))

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _group_size(self) -> int:
        return self.num_generations if self._mode == "train" else self.num_generations_eval

    def _bare_model(self) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    def _current_pictures(self) -> Pictures:
        return self._pictures[self._mode]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's, on our rollouts; then our advantages, statistics and rollout table."""
        self._examples, self._pictures[self._mode] = self._pictures_ahead.arrived(inputs)
        # TRL hands pictures around with every prompt, between processes too; ours stay in the store.
        without_picture = [{key: value for key, value in row.items() if key != "image"} for row in inputs]
        prompts = [[{"role": "user", "content": row["question"]}] for row in inputs]
        rows = [{**row, "prompt": prompt} for row, prompt in zip(without_picture, prompts, strict=True)]
        image_processor = self.processing_class.image_processor
        self.processing_class.image_processor = SharedPictures(self._pictures[self._mode], image_processor)
        try:
            output = super()._generate_and_score_completions(rows)
        finally:
            self.processing_class.image_processor = image_processor
        rewards = (self._rewards * self.reward_weights.to(self._rewards.device)).nansum(dim=1)
        if self.args.advantage != "grpo":
            output["advantages"] = self._scale_relative_advantages(rewards)
        self._note_rollouts(self._examples, rewards, output["advantages"])
        return output

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        """Roll out the current examples; TRL's tuple of ids, mask, messages and pictures, one entry a
        trajectory."""
        group_size = self._group_size()
        examples = self._distinct_examples(group_size)
        if self.use_vllm:
            groups = self._roll_out(self._bare_model(), examples, group_size)
            self._encode_pictures()
        else:
            with whole_model(self.model_wrapped, self.accelerator, self.args) as model:
                groups = self._roll_out(model, examples, group_size)
        trajectories = [one for group in groups for one in group]
        self._trajectories = trajectories
        self._log_lengths(trajectories)
        images = [one.images for one in trajectories]
        extra = {"trajectory": trajectories, "image": [one.images[0] for one in trajectories]}
        return (
            [one.prompt_ids for one in trajectories],
            [one.token_ids for one in trajectories],
            [one.loss_mask for one in trajectories],
            [one.messages() for one in trajectories],
            [one.logprobs for one in trajectories],
            extra,
            images,
            images,  # as tool images: this is what makes TRL read the pictures of the whole conversation
        )

    def _encode_pictures(self) -> None:
        """Put all pictures through a frozen vision tower, which the local rollout does and vLLM does for itself."""
        pictures = self._current_pictures()
        if self.args.freeze_vision:
            with whole_model(self.model_wrapped, self.accelerator, self.args):
                pictures.features(len(pictures) - 1)

    def _distinct_examples(self, group_size: int) -> list[dict[str, Any]]:
        """The examples behind the batch, each once; TRL's sampler repeats each `group_size` times in a
        row."""
        rows = self._examples
        for start in range(0, len(rows), group_size):
            if len({row["id"] for row in rows[start : start + group_size]}) > 1:
                raise RuntimeError(
                    "A batch does not hold whole groups; this TRL's sampler is not the one relied on."
                )
        return rows[::group_size]

    def _roll_out(
        self, model: Any, examples: list[dict[str, Any]], group_size: int
    ) -> list[list[Trajectory]]:
        split = (self.args.num_groundings, self.args.num_answers)
        num_groundings, num_answers = split if group_size == split[0] * split[1] else (group_size, 1)
        # An example's sample depends on its id and the optimizer step, not on the process, nor on the micro-batches.
        step = (self.args.seed, int(self._mode == "eval"), self.state.global_step)
        return ground_and_answer(
            model,
            self.processing_class,
            examples,
            num_groundings=num_groundings,
            num_answers=num_answers,
            max_crops=self.args.max_crops,
            temperature=self.temperature,
            top_p=self.top_p,
            max_turn_tokens=self.args.max_turn_tokens,
            seed=[(*step, zlib.crc32(str(row["id"]).encode())) for row in examples],
            pictures=self._current_pictures(),
            make_session=partial(synced_session, self) if self.use_vllm else None,
        )

    def _log_lengths(self, trajectories: list[Trajectory]) -> None:
        """TRL's metrics of completions, of sampled tokens only."""
        device = self.accelerator.device
        lengths = torch.tensor([one.num_generated_tokens for one in trajectories], device=device)
        prompts = torch.tensor([len(one.prompt_ids) for one in trajectories], device=device)
        cut = torch.tensor([not one.finished for one in trajectories], device=device)
        lengths, prompts, cut = (self.accelerator.gather(each) for each in (lengths, prompts, cut))
        metrics = self._metrics[self._mode]
        if self._mode == "train":
            self.state.num_input_tokens_seen += int(prompts.sum() + lengths.sum())
        metrics["num_tokens"] = [self.state.num_input_tokens_seen]
        metrics["completions/mean_length"].append(lengths.float().mean().item())
        metrics["completions/max_length"].append(lengths.float().max().item())
        metrics["completions/clipped_ratio"].append(cut.float().mean().item())

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Tensor:
        self._rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        return self._rewards

    def _scale_relative_advantages(self, rewards: Tensor) -> Tensor:
        """(B,) advantages of this process; rewards are those of all processes, as TRL gathered them."""
        areas = gather(torch.tensor([one.relative_area for one in self._trajectories], device=rewards.device))
        advantages = srpo_advantages(
            rewards,
            areas,
            self._group_size(),
            num_bins=self.args.num_scale_bins,
            intra=self.args.advantage != "srpo-inter",
            inter=self.args.advantage != "srpo-intra",
        )
        logged = self._logs["advantages"]
        for _ in range(min(len(advantages), len(logged))):
            logged.pop()  # TRL has put its own there
        logged.extend(advantages.tolist())
        return self._local(advantages)

    def _local(self, values: Tensor) -> Tensor:
        """This process's part of gathered values."""
        size = len(self._trajectories)
        return values[self.accelerator.process_index * size :][:size]

    def _note_rollouts(self, inputs: list[dict[str, Any]], rewards: Tensor, advantages: Tensor) -> None:
        """Log the statistics of the generation, and keep its table rows until they are taken."""
        scores = zip(self._local(rewards).tolist(), advantages.tolist(), strict=True)
        rows = [
            {**table_row(example, one), "reward": reward, "advantage": advantage}
            for example, one, (reward, advantage) in zip(inputs, self._trajectories, scores, strict=True)
        ]
        rows = gather_object(rows)
        for name, value in statistics(rows).items():
            self._metrics[self._mode][name].append(value)
        if self._mode == "train" and self.accelerator.is_main_process:
            self._rollout_rows += rows
