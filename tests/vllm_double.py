"""vLLM as TRL calls it, both ways, played by a small model: what is sent is recorded, and answered from nothing else.

`install` puts the doubles where TRL's `VLLMGeneration` looks for its client and for vLLM's names, so that everything
between a rollout and vLLM is TRL's own code. What the doubles do with pictures, placeholders and sampling
parameters is written after vLLM's sources (0.22 to 0.31), and was never compared with a running vLLM.
"""

import dataclasses
import inspect
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import small_model
import torch
from accelerate import Accelerator
from PIL import Image
from transformers import Qwen2VLImageProcessorPil
from trl.generation import vllm_generation
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration

PROCESSOR = small_model.processor()
IMAGE = PROCESSOR.image_token_id
Reply = Callable[[list[int], list[Image.Image], "SamplingParams"], tuple[list[int], list[float]]]


@dataclass
class SamplingParams:
    """The fields of vLLM's that are used; another is a TypeError, as in vLLM."""

    n: int
    repetition_penalty: float
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    max_tokens: int
    logprobs: int
    logit_bias: dict[int, float] = field(default_factory=dict)
    stop_token_ids: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.temperature == 0 and self.n > 1:
            raise ValueError("n must be 1 when using greedy sampling")


def image_processor(min_pixels: int = 4 * 784, max_pixels: int = 16384 * 784) -> Qwen2VLImageProcessorPil:
    """An image processor of vLLM's own, with the bounds that Qwen2.5-VL's repositories give it."""
    return Qwen2VLImageProcessorPil(min_pixels=min_pixels, max_pixels=max_pixels)


class Engine:
    """A model with its own weights and an image processor with its own bounds."""

    def __init__(self, reply: Reply | None = None, model: Any = None, **bounds: int) -> None:
        self.model = model or small_model.talking_model()
        self.image_processor = image_processor(**bounds)
        self.reply = reply or self._sample
        self.loads = 0
        self.cache_resets = 0

    def num_tokens(self, picture: Image.Image) -> int:
        """Tokens that a picture takes here."""
        return int(self.image_processor(images=[picture], return_tensors="pt")["image_grid_thw"].prod()) // 4

    def load(self, named_params: Any) -> None:
        """Take over weights, by the names that TRL gives them."""
        own = dict(self.model.named_parameters())
        for name, value in named_params:
            own[name].data.copy_(value)
        self.loads += 1

    @torch.no_grad()
    def _sample(
        self, ids: list[int], pictures: list[Image.Image], params: SamplingParams
    ) -> tuple[list[int], list[float]]:
        """A turn of plain `model.generate`, with log-probabilities after all processing of the logits."""
        input_ids = torch.tensor([ids])
        output = self.model.generate(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            mm_token_type_ids=(input_ids == IMAGE).int(),
            **(self.image_processor(images=pictures, return_tensors="pt") if pictures else {}),
            **({"do_sample": True, "temperature": params.temperature} if params.temperature else {}),
            top_p=params.top_p,
            top_k=0,
            max_new_tokens=params.max_tokens,
            eos_token_id=params.stop_token_ids,
            sequence_bias={(token,): bias for token, bias in params.logit_bias.items()},
            return_dict_in_generate=True,
            output_scores=True,
        )
        sampled = output.sequences[0, len(ids) :]
        scores = torch.stack(output.scores)[:, 0].log_softmax(-1)
        return sampled.tolist(), scores.gather(1, sampled[:, None])[:, 0].tolist()


class ServerDouble:
    """Stands for `VLLMClient`; `calls` holds the arguments of each `generate`, with the pictures of each prompt."""

    engine: Engine

    def __init__(self, base_url: str, group_port: int, connection_timeout: float) -> None:
        self.calls: list[dict[str, Any]] = []

    def init_communicator(self, device: Any) -> None:
        pass

    def get_server_info(self) -> dict[str, Any]:
        return {"model_config": {"logprobs_mode": "processed_logprobs"}}

    def update_named_params(self, metadata: list, named_params: Any) -> None:
        self.engine.load(named_params)

    def reset_prefix_cache(self) -> None:
        self.engine.cache_resets += 1

    def image_features(self, images: list, max_concurrent_requests: int = 64) -> list[dict | None]:
        return [
            each
            and {
                "mm_placeholders": {
                    "image": [{"offset": 0, "length": self.engine.num_tokens(one)} for one in each]
                },
                "pictures": each,
            }
            for each in images
        ]

    def generate(self, prompts: list, features: list | None = None, **settings: Any) -> dict[str, list]:
        features = features or [None] * len(prompts)
        pictures = [each["pictures"] if each else [] for each in features]
        self.calls.append({"prompts": prompts, "pictures": pictures, **settings})
        options = {**settings, **json.loads(json.dumps(settings["generation_kwargs"]))}
        del options["generation_kwargs"], options["structured_outputs_regex"]
        options["logit_bias"] = {int(token): bias for token, bias in options["logit_bias"].items()}
        params = SamplingParams(**options)
        turns = []
        for ids, each, shown in zip(prompts, features, pictures, strict=True):
            places = each["mm_placeholders"]["image"] if each else []
            counted = [self.engine.num_tokens(one) for one in shown]
            if [place["length"] for place in places] != counted:
                raise RuntimeError("500: the placeholders of a picture are not as many as its features")
            turns += [self.engine.reply(ids, shown, params) for _ in range(params.n)]
        return {
            "prompt_ids": prompts,
            "completion_ids": [ids for ids, _ in turns],
            "logprobs": [[[one] for one in scores] for _, scores in turns],
            "logprob_token_ids": [[[one] for one in ids] for ids, _ in turns],
        }


class LLMDouble:
    """Stands for `vllm.LLM`; `calls` holds prompts and parameters of each `generate`, `log` what else was asked."""

    engine: Engine

    def __init__(self, **options: Any) -> None:
        self.options, self.calls, self.log = options, [], []
        runner = SimpleNamespace(model=SimpleNamespace(load_weights=self._load))
        executor = SimpleNamespace(driver_worker=SimpleNamespace(model_runner=runner))
        self.llm_engine = SimpleNamespace(model_executor=executor)

    def _load(self, weights: list) -> None:
        if self.log[-1:] != ["load"]:
            self.log.append("load")
        self.engine.load(weights)

    def reset_prefix_cache(self) -> None:
        self.engine.cache_resets += 1

    def sleep(self, level: int) -> None:
        self.log.append(f"sleep {level}")

    def wake_up(self, tags: list[str]) -> None:
        self.log.append(f"wake {tags[0]}")

    def generate(self, prompts: list[dict], sampling_params: SamplingParams, use_tqdm: bool) -> list:
        self.calls.append({"prompts": prompts, "params": dataclasses.asdict(sampling_params)})
        outputs = []
        for prompt in prompts:
            shown = prompt.get("multi_modal_data", {}).get("image", [])
            shown = shown if isinstance(shown, list) else [shown]
            ids = self._expanded(prompt["prompt_token_ids"], shown)
            turns = [self.engine.reply(ids, shown, sampling_params) for _ in range(sampling_params.n)]
            completions = [
                SimpleNamespace(
                    token_ids=tokens, logprobs=[_logprob(*each) for each in zip(tokens, scores, strict=True)]
                )
                for tokens, scores in turns
            ]
            outputs.append(SimpleNamespace(prompt_token_ids=ids, outputs=completions))
        return outputs

    def _expanded(self, ids: list[int], pictures: list[Image.Image]) -> list[int]:
        """vLLM's prompt replacement: the next placeholder becomes one for each of the next picture's tokens."""
        ids, place = list(ids), 0
        for picture in pictures:
            place = ids.index(IMAGE, place)
            ids[place : place + 1] = [IMAGE] * self.engine.num_tokens(picture)
            place += self.engine.num_tokens(picture)
        return ids


def _logprob(token: int, score: float) -> dict[int, Any]:
    return {token: SimpleNamespace(logprob=score, rank=1)}


def install(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    """Let TRL find the doubles, all of one engine, where it looks for vLLM."""
    assert inspect.signature(ServerDouble.image_features).parameters.keys() == (
        inspect.signature(VLLMClient.image_features).parameters.keys()
    )
    for double in (ServerDouble, LLMDouble):
        monkeypatch.setattr(double, "engine", engine, raising=False)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")  # colocate mode sets them; here they end with the test
        monkeypatch.delenv(name)
    names = {
        "is_vllm_available": lambda min_version=None: True,
        "VLLMClient": ServerDouble,
        "LLM": LLMDouble,
        "SamplingParams": SamplingParams,
    }
    for name, value in names.items():
        monkeypatch.setattr(vllm_generation, name, value, raising=False)


def generation(mode: str, **settings: Any) -> VLLMGeneration:
    """TRL's own, on the doubles."""
    settings = {"accelerator": Accelerator(cpu=True), **settings}
    return VLLMGeneration(
        model=small_model.talking_model(), processing_class=PROCESSOR, mode=mode, logprobs=0, **settings
    )


class Processes:
    """Several processes in threads: what they gather meets in a barrier, which breaks when one stays away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num: int, modules: list[Any]) -> None:
        self.num, self.rank = num, threading.local()
        self.barrier, self.slots = threading.Barrier(num, timeout=30), [None] * num
        for module in modules:
            monkeypatch.setattr(module, "gather_object", self._gather)
        monkeypatch.setattr(vllm_generation, "broadcast_object_list", self._broadcast)

    def _meet(self, value: Any) -> list[Any]:
        self.slots[self.rank.index] = value
        self.barrier.wait()
        met = list(self.slots)
        self.barrier.wait()
        return met

    def _gather(self, values: list) -> list:
        return [value for each in self._meet(values) for value in each]

    def _broadcast(self, values: list, from_process: int) -> None:
        values[:] = self._meet(list(values))[from_process]

    def accelerator(self, index: int) -> Any:
        return SimpleNamespace(
            process_index=index,
            num_processes=self.num,
            local_process_index=index,
            is_main_process=index == 0,
            device=torch.device("cpu"),
            state=SimpleNamespace(deepspeed_plugin=None),
            wait_for_everyone=lambda: None,
        )

    def run(self, work: Callable[[int], Any]) -> list[Any]:
        """`work(index)` of every process; the first error of any."""
        results: list[Any] = [None] * self.num

        def one(index: int) -> None:
            self.rank.index = index
            try:
                results[index] = work(index)
            except Exception as error:
                results[index] = error
                self.barrier.abort()

        threads = [threading.Thread(target=one, args=(index,)) for index in range(self.num)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        errors = [each for each in results if isinstance(each, Exception)]
        for error in sorted(errors, key=lambda each: isinstance(each, threading.BrokenBarrierError)):
            raise error
        return results
