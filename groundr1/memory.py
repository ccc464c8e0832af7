"""How much memory a training step takes on one GPU, part by part, from shapes alone.

Every part is one small function that returns bytes. Counted are tensors, as TRL 1.16, transformers 5.23, PEFT 0.21,
torch 2.13 and DeepSpeed 0.19 allocate them, at their worst: every turn as long as it may be, every picture as large.
`groundr1.dry_run` prints them, with the assumptions; `benchmarks/dry_run_memory.py` measures them. Not in the paper.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from transformers import Qwen2_5_VLConfig

from groundr1.generation import COMPACT_BELOW
from groundr1.kv_cache import ROOM
from groundr1.pictures import ENCODE_AT_ONCE

FLOAT32 = 4
TILE_TOKENS, TILE_WORDS = 4096, 32768  # of TRL's fused language model head
# DeepSpeed's defaults: parameters gathered at once, elements of a gradient bucket, parameters stepped at once.
LIVE_PARAMETERS, REDUCE_BUCKET, SUB_GROUP = 10**9, 5 * 10**8, 10**9


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Counts: `total` of the model without adapters, `trainable`, LoRA's `adapters` (0: all weights are trained)."""

    total: int
    trainable: int
    adapters: int = 0


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one GPU does in a training step, in rows and tokens.

    `picture_tokens` is of a picture or crop (28 x 28 pixels a token); `prompt_tokens` and `evidence_tokens` (what is
    appended for a crop) include them. `accumulates`: the update takes more than one micro-batch. `ragged`: rows may
    end their turns at different times, and the rollout then copies those that go on.
    """

    prompts: int
    num_groundings: int
    num_answers: int
    max_crops: int
    picture_tokens: int
    prompt_tokens: int
    evidence_tokens: int
    turn_tokens: int
    micro_batch: int
    accumulates: bool
    ragged: bool = True

    @property
    def completion(self) -> int:
        """Tokens of a trajectory behind its prompt, those of the crops included."""
        return (self.max_crops + 1) * self.turn_tokens + self.max_crops * self.evidence_tokens

    @property
    def sequence(self) -> int:
        """Tokens of a trajectory."""
        return self.prompt_tokens + self.completion

    @property
    def micro_tokens(self) -> int:
        """Tokens of a micro-batch."""
        return self.micro_batch * self.sequence

    @property
    def pictures(self) -> int:
        """Distinct pictures: one a prompt, a crop a grounding, then a crop a trajectory."""
        first = self.num_groundings if self.max_crops else 0
        later = max(self.max_crops - 1, 0) * self.num_groundings * self.num_answers
        return self.prompts * (1 + first + later)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the step is computed: bytes of a weight (`element`), whether ZeRO-3 shares the model out and over how many
    GPUs (`shards`), a reference model, gradient checkpointing, a trained vision tower; `vllm`: bytes that it has taken
    on this GPU, 0 where it runs elsewhere, None: the rollout is ours."""

    element: int
    zero3: bool = False
    shards: int = 1
    on_gpu: bool = True
    reference: bool = False
    checkpointing: bool = False
    trains_vision: bool = False
    vllm: int | None = None


def weights(parameters: Parameters, plan: Plan) -> int:
    """The policy's weights on this GPU, adapters included."""
    adapters = parameters.adapters * _trained_element(parameters, plan)
    return (parameters.total * plan.element + adapters) // plan.shards


def gradients(parameters: Parameters, plan: Plan) -> int:
    """Gradients of what is trained, in its type."""
    return parameters.trainable * _trained_element(parameters, plan) // plan.shards


def optimizer(parameters: Parameters, plan: Plan) -> int:
    """AdamW: two moments in the parameters' type; under ZeRO-3 in float32, with a float32 copy of the parameters."""
    bytes_each = 3 * FLOAT32 if plan.zero3 else 2 * _trained_element(parameters, plan)
    return parameters.trainable * bytes_each // plan.shards


def reference(parameters: Parameters, plan: Plan) -> int:
    """The reference model; with LoRA it is the policy without its adapters, and takes nothing."""
    return parameters.total * plan.element // plan.shards if plan.reference and not parameters.adapters else 0


def zero3_buffers(parameters: Parameters, plan: Plan) -> int:
    """ZeRO-3's gathered parameters and its bucket of gradients, at DeepSpeed's default sizes."""
    return (min(parameters.total, LIVE_PARAMETERS) + REDUCE_BUCKET) * plan.element if plan.zero3 else 0


def image_features(config: Qwen2_5_VLConfig, step: Step, plan: Plan) -> int:
    """What the vision tower made of each distinct picture, kept from the rollout to the end of the update."""
    return step.pictures * step.picture_tokens * config.text_config.hidden_size * plan.element


def kv_cache(config: Qwen2_5_VLConfig, rows: int, columns: int, plan: Plan) -> int:
    """Keys and values of `rows` sequences of `columns` tokens."""
    text = config.text_config
    width = text.num_key_value_heads * (text.hidden_size // text.num_attention_heads)
    return rows * columns * 2 * text.num_hidden_layers * width * plan.element


def prefill(config: Qwen2_5_VLConfig, rows: int, new: int, columns: int, plan: Plan) -> int:
    """Scratch of a forward without gradients over `new` tokens a row, attending to `columns`: in the widest layer
    moment, either the MLP's three wide tensors or keys and values repeated for all heads."""
    text = config.text_config
    widest = max(3 * new * text.intermediate_size, 2 * (columns + new) * text.hidden_size)
    return rows * (widest + 4 * new * text.hidden_size) * plan.element


def sampling(config: Qwen2_5_VLConfig, rows: int) -> int:
    """Scratch of sampling a token a row: float32 logits, scaled, masked, as probabilities, their running sum, and
    log-probabilities."""
    return rows * config.text_config.vocab_size * 6 * FLOAT32


def encoding(config: Qwen2_5_VLConfig, pictures: int, step: Step, plan: Plan) -> int:
    """Scratch of the vision tower over pictures: pixels, and rotary positions (in float32) or the MLP, the wider."""
    vision = config.vision_config
    patches = min(pictures, ENCODE_AT_ONCE) * step.picture_tokens * vision.spatial_merge_size**2
    pixels = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    copies = FLOAT32 + (plan.element if plan.element != FLOAT32 else 0)
    rotary = vision.hidden_size * (4 * FLOAT32 + 5 * plan.element + (2 * FLOAT32 if copies != FLOAT32 else 0))
    mlp = 3 * (vision.intermediate_size + vision.hidden_size) * plan.element
    return patches * (pixels * copies + max(rotary, mlp))


def layer_activations(config: Qwen2_5_VLConfig, parameters: Parameters, step: Step, plan: Plan) -> int:
    """What one decoder layer keeps for its backward, by width: the two residual streams in float32 (RMSNorm computes
    in it); normalised and scaled inputs of attention and MLP; query, and key and value repeated for all heads;
    attention's output; gate, its activation, up, and their product; the mask.

    With LoRA the normalised inputs are not kept, and in bfloat16 each adapter keeps its own copy of its input.
    """
    text = config.text_config
    inputs = 4 if not parameters.adapters else 2 if plan.element == FLOAT32 else 6
    token = 2 * text.hidden_size * FLOAT32
    token += ((inputs + 4) * text.hidden_size + 4 * text.intermediate_size) * plan.element
    return step.micro_tokens * (token + step.sequence * plan.element)


def vision_activations(config: Qwen2_5_VLConfig, step: Step, plan: Plan) -> int:
    """What a trained vision tower keeps for its backward, over all pictures of a micro-batch; 0 when frozen. The widths
    are as in `layer_activations`; query, key and value are kept before and after their rotation."""
    if not plan.trains_vision:
        return 0
    vision = config.vision_config
    patches = step.micro_batch * (1 + step.max_crops) * step.picture_tokens * vision.spatial_merge_size**2
    block = 2 * vision.hidden_size * FLOAT32
    block += (11 * vision.hidden_size + 4 * vision.intermediate_size) * plan.element
    between = vision.depth * vision.hidden_size * plan.element
    return patches * (between + block if plan.checkpointing else vision.depth * block)


def activations(config: Qwen2_5_VLConfig, parameters: Parameters, step: Step, plan: Plan) -> int:
    """What a micro-batch keeps between forward and backward: all layers, or with checkpointing the input of each; and
    the last hidden states, in and behind their norm and as the head's input."""
    text = config.text_config
    width = step.micro_tokens * text.hidden_size
    layer = width * plan.element if plan.checkpointing else layer_activations(config, parameters, step, plan)
    last = width * (FLOAT32 + 3 * plan.element)
    return text.num_hidden_layers * layer + last + vision_activations(config, step, plan)


def logits(config: Qwen2_5_VLConfig, parameters: Parameters, step: Step, plan: Plan) -> int:
    """The head's backward: a tile of logits, float32 gradients of hidden states and, when trained, of the head.

    On a GPU the tile is worked on in place, over completion tokens only. Elsewhere TRL takes all tokens, and seven
    float32 tensors and a mask as large as the tile.
    """
    text = config.text_config
    tokens = step.micro_batch * (step.completion if plan.on_gpu else step.sequence)
    tile = min(tokens, TILE_TOKENS)
    scratch = 0 if plan.on_gpu else tile * min(text.vocab_size, TILE_WORDS) * (7 * FLOAT32 + 1)
    each = (
        FLOAT32 if plan.element == FLOAT32 else FLOAT32 + plan.element
    )  # cast to the head's type at the end
    head = 0 if parameters.adapters else text.vocab_size * text.hidden_size * each
    return tile * TILE_WORDS * plan.element + scratch + tokens * text.hidden_size * FLOAT32 + head


def layer_scratch(config: Qwen2_5_VLConfig, parameters: Parameters, step: Step, plan: Plan) -> int:
    """A layer beside what it keeps: in the backward, gradients of two wide tensors and the residual stream, and that of
    the embeddings before it is added to the others; or an adapter's float32 copy of a wide input."""
    text = config.text_config
    tokens, wide = step.micro_tokens, text.intermediate_size
    if _trained_element(parameters, plan) != plan.element:
        return tokens * (wide * (FLOAT32 + plan.element) + 4 * text.hidden_size * plan.element)
    embeddings = 0 if parameters.adapters else text.vocab_size * text.hidden_size
    return (tokens * 2 * (wide + text.hidden_size) + embeddings) * plan.element


def rollout_moments(config: Qwen2_5_VLConfig, step: Step, plan: Plan) -> Iterator[tuple[int, int]]:
    """(cache, scratch) bytes at each moment of a rollout that may be its greatest.

    After the prompt each grounding gets a row, after the first crop each answer, with its own copy of the prefix. While
    rows are copied, the old ones are still there.
    """

    def cache(rows: int) -> int:
        return kv_cache(config, rows, columns + ROOM, plan)

    rows, columns = step.prompts, step.prompt_tokens
    yield 0, encoding(config, rows, step, plan)
    yield cache(rows), prefill(config, rows, columns, columns, plan)
    copies = step.num_groundings * (1 if step.max_crops else step.num_answers)
    for shown in range(step.max_crops + 1):
        if copies > 1:
            yield cache(rows + rows * copies), 0
        rows, columns = rows * copies, columns + step.turn_tokens
        is_last = shown == step.max_crops
        copied = (COMPACT_BELOW if is_last else 1) * step.ragged  # of a last turn, ended rows are dropped
        yield int((1 + copied) * cache(rows)), sampling(config, rows)
        if is_last:
            return
        yield cache(rows), encoding(config, rows, step, plan)
        columns += step.evidence_tokens
        yield cache(rows), prefill(config, rows, step.evidence_tokens, columns, plan)
        copies = step.num_answers if shown == 0 else 1


def estimate(config: Qwen2_5_VLConfig, parameters: Parameters, step: Step, plan: Plan) -> dict[str, int]:
    """Bytes on one GPU by part.

    `gathered` are all weights, which ZeRO-3 gathers for the rollout; `kv_cache` and `rollout_scratch` are those of its
    greatest moment. `activations`, `logits` and `update_scratch` are the greatest of their kind. `rollout` and `update`
    are the peaks of the two halves of a step, with all that is kept; `total` is the greater.
    """
    parts = {
        "weights": weights(parameters, plan),
        "gradients": gradients(parameters, plan),
        "optimizer": optimizer(parameters, plan),
        "reference": reference(parameters, plan),
        "zero3_buffers": zero3_buffers(parameters, plan),
        "features": image_features(config, step, plan),
        "vllm": plan.vllm or 0,
    }
    grads = parts["gradients"]
    early = grads if step.accumulates or plan.zero3 else 0  # before the first backward of a micro-batch
    kept = sum(parts.values()) - grads
    # The update's moments: the head's backward, the last layer's, the first layer's, the optimizer's step.
    saved, head = activations(config, parameters, step, plan), logits(config, parameters, step, plan)
    layer = layer_activations(config, parameters, step, plan)
    recomputed = layer if plan.checkpointing else 0
    scratch = layer_scratch(config, parameters, step, plan)
    stepped = min(parameters.trainable // plan.shards, SUB_GROUP) * FLOAT32 if plan.zero3 else 0
    update = max(early + saved + max(head, recomputed + scratch), grads + layer + scratch, grads + stepped)

    gathered, cache, working = 0, 0, encoding(config, step.pictures, step, plan)
    if plan.vllm is None:
        gathered = parameters.total * plan.element if plan.zero3 else 0
        cache, working = max(rollout_moments(config, step, plan), key=sum)
    rollout = (grads if plan.zero3 else 0) + gathered + cache + working
    return parts | {
        "gathered": gathered,
        "kv_cache": cache,
        "rollout_scratch": working,
        "activations": saved,
        "logits": head,
        "update_scratch": recomputed + scratch,
        "rollout": kept + rollout,
        "update": kept + update,
        "total": kept + max(rollout, update),
    }


def _trained_element(parameters: Parameters, plan: Plan) -> int:
    """Bytes of a trained parameter: PEFT makes adapters float32; under ZeRO-3 TRL leaves them as the weights are."""
    return FLOAT32 if parameters.adapters and not plan.zero3 else plan.element
