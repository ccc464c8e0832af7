"""Memory by part: hand-computed sizes, real layers and real rollouts piece by piece, and whole training runs."""

import contextlib
from dataclasses import replace

import pytest
import torch
from peft import get_peft_model
from PIL import Image

from benchmarks.dry_run_memory import CASES, LiveTensors, make_trainer, measure, predict, small_model
from groundr1 import memory
from groundr1.generation import Segment, Session, pick
from groundr1.kv_cache import ROOM
from groundr1.memory import Parameters, Plan, Step
from groundr1.model import load_processor, lora_config
from groundr1.pictures import Pictures
from groundr1.shapes import published_config

SEVEN = published_config("Qwen/Qwen2.5-VL-7B-Instruct")
THREE = published_config("Qwen/Qwen2.5-VL-3B-Instruct")
FULL = Parameters(total=1000, trainable=800)
LORA = Parameters(total=1000, trainable=40, adapters=40)
STEP = Step(
    prompts=4,
    num_groundings=4,
    num_answers=2,
    max_crops=2,
    picture_tokens=64,
    prompt_tokens=100,
    evidence_tokens=80,
    turn_tokens=50,
    micro_batch=2,
    accumulates=True,
)


@pytest.fixture(scope="module")
def processor():
    return load_processor("tiny", min_pixels=224**2, max_pixels=224**2)


def tracked(*tensors) -> tuple[LiveTensors, int]:
    live = LiveTensors()
    for each in tensors:
        live.track(each.data)
    return live, live.now


@pytest.mark.parametrize(
    ("parameters", "plan", "expected"),
    [
        (FULL, Plan(element=4), (4000, 3200, 6400)),  # float32: weights, gradients, two moments
        (
            FULL,
            Plan(element=2),
            (2000, 1600, 3200),
        ),  # bfloat16 moments too: accelerate keeps no float32 copies
        (LORA, Plan(element=2), (2160, 160, 320)),  # adapters in float32 on bfloat16 weights
        (FULL, Plan(element=2, zero3=True, shards=4), (500, 400, 2400)),  # 4 + 4 + 4 bytes of optimizer, by 4
        (LORA, Plan(element=2, zero3=True, shards=4), (520, 20, 120)),  # adapters as the weights are
    ],
    ids=["float32", "bfloat16", "lora", "zero3", "zero3-lora"],
)
def test_what_is_kept_of_each_parameter(parameters, plan, expected) -> None:
    found = tuple(each(parameters, plan) for each in (memory.weights, memory.gradients, memory.optimizer))
    assert found == expected


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_zero3_divides_all_of_the_model(gpus) -> None:
    counts = Parameters(total=8_000_000_000, trainable=7_200_000_000)
    alone, shared = (Plan(element=2, zero3=True, shards=each, reference=True) for each in (1, gpus))
    for part in (memory.weights, memory.gradients, memory.optimizer, memory.reference):
        assert part(counts, shared) * gpus == part(counts, alone) > 0


def test_reference_is_there_only_without_adapters() -> None:
    assert memory.reference(FULL, Plan(element=2, reference=True)) == 2000
    assert (
        memory.reference(FULL, Plan(element=2))
        == memory.reference(LORA, Plan(element=2, reference=True))
        == 0
    )


@pytest.mark.parametrize(("config", "expected"), [(SEVEN, 57344), (THREE, 36864)], ids=["7B", "3B"])
def test_cache_of_a_token(config, expected) -> None:
    """7B: 28 layers x 2 x 4 heads x 128 x 2 bytes; 3B: 36 x 2 x 2 x 128 x 2."""
    assert memory.kv_cache(config, 1, 1, Plan(element=2)) == expected
    assert memory.kv_cache(config, 8, 100, Plan(element=4)) == 1600 * expected


def test_lengths_and_pictures_of_a_step() -> None:
    assert (STEP.completion, STEP.sequence, STEP.micro_tokens) == (3 * 50 + 2 * 80, 410, 820)
    assert STEP.pictures == 4 + 16 + 32  # originals, a crop a grounding, a second crop an answer
    assert replace(STEP, max_crops=0).pictures == 4


def test_logits_are_tiles_not_all_tokens_by_all_words() -> None:
    step = replace(STEP, micro_batch=1, turn_tokens=10_000)
    counts = Parameters(total=1000, trainable=10, adapters=10)
    tile = 4096 * 32768 * 2
    assert memory.logits(SEVEN, counts, step, Plan(element=2)) == tile + step.completion * 3584 * 4
    assert step.completion * SEVEN.text_config.vocab_size * 4 > 50 * tile


def test_eight_times_the_prompts_take_eight_times_the_cache() -> None:
    plan = Plan(element=2)
    caches = [
        max(cache for cache, _ in memory.rollout_moments(SEVEN, replace(STEP, prompts=prompts), plan))
        for prompts in (1, 8)
    ]
    assert caches[1] == 8 * caches[0]
    final = memory.kv_cache(SEVEN, 8, STEP.sequence + ROOM, plan)
    assert caches[0] == pytest.approx(1.75 * final, rel=0.15)  # rows that end at different times are copied
    even = memory.rollout_moments(SEVEN, replace(STEP, prompts=1, ragged=False), plan)
    assert max(cache for cache, _ in even) == final


def test_rows_are_there_twice_while_they_are_copied() -> None:
    """One prompt of 1000 tokens becomes 8 rows that hardly grow: the greatest moment is the copying, of 9 rows."""
    step = replace(STEP, prompts=1, max_crops=0, prompt_tokens=1000, turn_tokens=10, ragged=False)
    largest = max(cache for cache, _ in memory.rollout_moments(SEVEN, step, Plan(element=2)))
    assert largest == memory.kv_cache(SEVEN, 9, 1000 + ROOM, Plan(element=2))


def test_sampling_takes_six_times_the_logits() -> None:
    torch.manual_seed(0)
    config = small_model(load_processor("tiny").tokenizer, torch.float32).config
    config.text_config.vocab_size = 20_000
    logits, banned = torch.randn(32, 20_000), torch.tensor([3])
    live, _ = tracked(logits)
    with live:
        pick(logits, torch.rand(32), 0.7, 1.0, banned)
    assert memory.sampling(config, 32) == pytest.approx(live.peak, rel=0.05)


def test_vllm_takes_the_place_of_our_rollout() -> None:
    zero3 = Plan(element=2, zero3=True, shards=4, reference=True)
    ours = memory.estimate(SEVEN, FULL, STEP, zero3)
    server = memory.estimate(SEVEN, FULL, STEP, replace(zero3, vllm=0))
    beside = memory.estimate(SEVEN, FULL, STEP, replace(zero3, vllm=10**9))
    assert ours["kv_cache"] > server["kv_cache"] == 0 and ours["gathered"] == 2000 and server["gathered"] == 0
    assert beside["update"] - server["update"] == beside["rollout"] - server["rollout"] == 10**9


@pytest.mark.parametrize("lora", [False, True], ids=["all-weights", "lora"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_decoder_layer_keeps_what_is_listed(processor, dtype, lora) -> None:
    """Against the storages that autograd saves, and the peak of the layer's forward and backward."""
    model = small_model(processor.tokenizer, dtype)
    if lora:
        model = get_peft_model(model, lora_config({})).get_base_model()
    language = model.model.language_model
    step = replace(STEP, micro_batch=2)
    shape = (step.micro_batch, step.sequence)
    hidden = torch.randn(*shape, 512, dtype=dtype, requires_grad=True)
    rotary = language.rotary_emb(hidden, torch.arange(shape[1]).expand(3, *shape))
    mask = torch.ones(shape[0], 1, shape[1], shape[1], dtype=torch.bool).tril()
    live, before = tracked(*model.parameters(), hidden, mask, *rotary)
    autocast = torch.autocast("cpu", dtype) if dtype == torch.bfloat16 else contextlib.nullcontext()
    with live:
        with autocast:
            output = language.layers[1].train()(hidden, attention_mask=mask, position_embeddings=rotary)
        kept = live.now - before
        output.backward(torch.ones_like(output))
    counts = Parameters(total=1000, trainable=1000, adapters=1000 * lora)
    plan = Plan(element=dtype.itemsize, on_gpu=False)
    listed = memory.layer_activations(model.config, counts, step, plan)
    assert listed == pytest.approx(kept, rel=0.07)
    model.config.text_config.vocab_size = (
        0  # a layer has no embeddings, whose gradient is part of the scratch
    )
    weight_gradients = 0 if lora else sum(each.nbytes for each in language.layers[1].parameters()) / 2
    peak = listed + memory.layer_scratch(model.config, counts, step, plan) + weight_gradients
    assert peak == pytest.approx(live.peak - before, rel=0.15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_pieces_of_a_rollout(processor, dtype) -> None:
    """Encoding, prefill, copying, sampling and appending, each against the peak of the real thing."""
    model = small_model(processor.tokenizer, dtype)
    config, plan = model.config, Plan(element=dtype.itemsize, on_gpu=False)
    pictures = Pictures(processor, model)
    pictures.add([Image.effect_noise((224, 224), i + 1).convert("RGB") for i in range(8)])
    live, before = tracked(*model.parameters(), *model.buffers(), *map(pictures.pixels, range(8)))
    with live, torch.no_grad():
        features = [pictures.features(i) for i in range(8)]
        assert memory.encoding(config, 8, STEP, plan) == pytest.approx(live.peak - before, rel=0.15)
        assert sum(each.nbytes for each in features) == 8 * 64 * 512 * dtype.itemsize
        del features, pictures
        session, found = Session(model, {480}, []), []

        def peak_of(call) -> None:
            live.restart()
            call()
            found.append(live.peak - before)

        kept = live.now
        before = kept
        peak_of(lambda: session.append([Segment(list(range(1, 201))) for _ in range(6)]))
        peak_of(lambda: session.repeat(3))
        peak_of(lambda: session.sample(torch.rand(18, 30), temperature=1.0))
        peak_of(lambda: session.append([Segment(list(range(1, 41))) for _ in range(18)]))
    expected = [
        memory.kv_cache(config, 6, 200 + ROOM, plan) + memory.prefill(config, 6, 200, 200, plan),
        memory.kv_cache(config, 24, 200 + ROOM, plan),
        memory.kv_cache(config, 18, 200 + ROOM, plan) + memory.sampling(config, 18),
        memory.kv_cache(config, 18, 240 + ROOM, plan) + memory.prefill(config, 18, 40, 240, plan),
    ]
    assert found == [pytest.approx(each, rel=0.15) for each in expected]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["all weights", "all weights, checkpointing", "all weights and vision", "LoRA", "LoRA, checkpointing"],
)
def test_a_training_run_peaks_where_the_estimate_says(name) -> None:
    """Two real steps of 30 million weights; the parts that are known to the byte, and the peaks within 15 %."""
    trainer = make_trainer(**{"prompts": 1, "micro": 2, "turn_tokens": 24} | CASES[name])
    measured, step = measure(trainer)
    predicted = predict(trainer, step)
    for part in ("weights", "reference", "gradients", "optimizer"):
        assert predicted[part] == measured[part], part
    for part in ("rollout", "update"):
        assert predicted[part] == pytest.approx(measured[part], rel=0.15), part
    assert predicted["total"] == max(predicted["rollout"], predicted["update"])
