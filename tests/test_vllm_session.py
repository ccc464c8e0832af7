"""Rollouts through TRL's vLLM client: exactly what is sent, what comes out, and several processes together.

vLLM itself was never run with this: `vllm_double` stands in its place, behind TRL's own `VLLMGeneration`.
"""

import math
import re
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_model
import torch
import vllm_double
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from plain_generation import every_turn_asks_for_a_box
from transformers import Qwen2VLImageProcessorPil
from trl.generation import vllm_generation
from vllm_double import IMAGE, Engine, Processes, generation, install

import groundr1
from groundr1 import rollout, vllm_session
from groundr1.chat import Chat
from groundr1.pictures import Pictures
from groundr1.prompts import PROMPTS
from groundr1.rollout import ground_and_answer
from groundr1.trajectory import Trajectory
from groundr1.vllm_session import VLLMSession

PROCESSOR = small_model.processor()
CHAT = Chat(PROCESSOR, PROMPTS["short"])
END = PROCESSOR.tokenizer.eos_token_id
BOX = "<think> look </think> <box>[28,14,56,42]</box>"
ANSWER = "<think> see </think> <answer> 1 </answer>"


@pytest.fixture(scope="module")
def model():
    return small_model.talking_model()


def tokens(text: str) -> list[int]:
    return [*PROCESSOR.tokenizer(text)["input_ids"], END]


def roll_out(model, rows, backend, **options) -> list[list[Trajectory]]:
    return ground_and_answer(
        model,
        PROCESSOR,
        rows,
        make_session=lambda model, chat: VLLMSession(backend, chat.end_ids(model), chat.banned_ids),
        **options,
    )


def by_turn(*texts: str):
    """Replies with the n-th text while n pictures are shown; log-probability -0.5 each token."""

    def reply(ids, pictures, params):
        turn = tokens(texts[len(pictures) - 1])
        return turn, [-0.5] * len(turn)

    return reply


@pytest.mark.parametrize("mode", ["server", "colocate"])
def test_trajectories_equal_those_of_the_local_model(monkeypatch, mode) -> None:
    """The most probable tokens of random weights, which no two prompts or crops share; turns that end at any of many
    tokens or at the limit, and conversations of one to three turns."""
    model = small_model.random_model()
    unlikely = torch.zeros(model.config.text_config.vocab_size)
    unlikely[CHAT.banned_ids] = -20.0  # vLLM gives log-probabilities after the ban, the local model before it
    model.generation_config.eos_token_id = [END, *range(40)]
    model.lm_head.register_forward_hook(lambda module, args, output: output + unlikely)
    engine = small_model.random_model()
    engine.lm_head.register_forward_hook(lambda module, args, output: output + unlikely)
    install(monkeypatch, Engine(model=engine))
    every_turn_asks_for_a_box(monkeypatch, 112)
    monkeypatch.setattr(
        rollout, "parse_answer", lambda text: "1" if zlib.crc32(text.encode()) % 3 == 0 else None
    )
    rows = small_model.examples(6)
    options = {"num_answers": 2, "max_crops": 2, "max_turn_tokens": 12}
    local = ground_and_answer(model, PROCESSOR, rows, **options)
    theirs = roll_out(model, rows, generation(mode), **options)
    pairs = [pair for groups in zip(local, theirs, strict=True) for pair in zip(*groups, strict=True)]
    assert {len(ours.turns) for ours, _ in pairs} == {1, 2, 3}
    assert {ours.finished for ours, _ in pairs} == {True, False}
    for ours, other in pairs:
        assert other.logprobs == pytest.approx(ours.logprobs, abs=1e-4)
        assert vars(other) | {"logprobs": None} == vars(ours) | {"logprobs": None}


SETTINGS = {"num_groundings": 2, "num_answers": 2, "temperature": 0.7, "top_p": 0.9, "max_turn_tokens": 17}
BANNED = dict.fromkeys(sorted(CHAT.banned_ids), -100.0)


def views(row: dict) -> list[Image.Image]:
    """Of a picture of 200 x 200, and of the crop that `BOX` stands for: (28, 14, 56, 42) in a view of 112 x 112."""
    pictures = row["image"], row["image"].crop((50, 25, 100, 75))
    return [one.resize((112, 112), Image.Resampling.BICUBIC) for one in pictures]


def expected_ids(row: dict) -> tuple[list[int], list[int]]:
    """Tokens that stand before the first turn and before the second, a placeholder for each of a picture's tokens."""
    opening = CHAT.opening(row["question"], (112, 112), 16, grounds=True)
    return opening, [*opening, *tokens(BOX), *CHAT.evidence(16, is_last=True, finished=END)]


def test_what_a_server_is_sent(monkeypatch, model) -> None:
    """Prompt ids, pictures, copies and sampling of both turns, by hand: a grounding for each copy of the prompt, and
    the two answers of each grounding as one prompt of its own."""
    install(monkeypatch, Engine(by_turn(BOX, ANSWER)))
    backend = generation("server")
    rows = small_model.examples(2, sizes=((200, 200),))
    groups = roll_out(model, rows, backend, **SETTINGS)
    first, second = backend.vllm_client.calls
    sampling = {
        "repetition_penalty": 1.0, "temperature": 0.7, "top_p": 0.9, "top_k": 0, "min_p": 0.0, "max_tokens": 17,
        "logprobs": 0, "structured_outputs_regex": None,
        "generation_kwargs": {"logit_bias": BANNED, "stop_token_ids": [END]},
    }  # fmt: skip
    for turn, (call, prompts) in enumerate(
        [(first, rows), (second, [row for row in rows for _ in range(2)])]
    ):
        assert call.pop("prompts") == [expected_ids(row)[turn] for row in prompts]
        assert call.pop("pictures") == [views(row)[: turn + 1] for row in prompts]
        assert call == {"n": 2, **sampling}
    assert [len(group) for group in groups] == [4, 4]
    for one in (one for group in groups for one in group):
        assert one.turns == [BOX, ANSWER] and one.finished
        sampled = len(tokens(BOX)), len(tokens(ANSWER))
        middle = len(one.token_ids) - sum(sampled)
        assert one.loss_mask == [1] * sampled[0] + [0] * middle + [1] * sampled[1]
        assert one.logprobs == [-0.5 * each for each in one.loss_mask]


def test_what_a_colocated_vllm_is_sent(monkeypatch, model) -> None:
    """As the server, but a placeholder for each picture, and each copy a prompt of its own."""
    install(monkeypatch, Engine(by_turn(BOX, ANSWER)))
    backend = generation("colocate")
    [row] = small_model.examples(1, sizes=((200, 200),))
    [group] = roll_out(model, [row], backend, **SETTINGS)
    assert [one.turns for one in group] == [[BOX, ANSWER]] * 4
    for turn, (call, copies) in enumerate(zip(backend.llm.calls, (2, 4), strict=True)):
        ids = expected_ids(row)[turn]
        pads = [place for place, token in enumerate(ids) if token == IMAGE]
        assert len(pads) == 16 * (turn + 1)
        single = [
            token for place, token in enumerate(ids) if token != IMAGE or place in (pads[0], *pads[16:17])
        ]
        assert [prompt["prompt_token_ids"] for prompt in call["prompts"]] == [single] * copies
        for prompt in call["prompts"]:
            sent = prompt["multi_modal_data"]["image"]
            assert sent == (views(row) if turn else views(row)[0])
        assert call["params"] == {
            "n": 1, "repetition_penalty": 1.0, "temperature": 0.7, "top_p": 0.9, "top_k": 0, "min_p": 0.0,
            "max_tokens": 17, "logprobs": 0, "logit_bias": BANNED, "stop_token_ids": [END],
        }  # fmt: skip


def test_regression_expanded_placeholders_would_be_doubled(monkeypatch, model) -> None:
    """huggingface/trl#6294: a colocated vLLM sent all placeholders puts as many again; the prompt is no longer ours."""
    install(monkeypatch, Engine(by_turn(ANSWER)))
    monkeypatch.setattr(VLLMSession, "_prompt", lambda self, row: row.token_ids)
    with pytest.raises(RuntimeError, match="vLLM continued a prompt of .* tokens where"):
        roll_out(model, small_model.examples(1), generation("colocate"))


def test_an_image_processor_with_other_bounds_is_named(monkeypatch, model) -> None:
    install(monkeypatch, Engine(by_turn(ANSWER), min_pixels=200 * 784, max_pixels=400 * 784))
    with pytest.raises(RuntimeError, match=r"pictures of 112 x 112 pixels.*min_pixels and max_pixels"):
        roll_out(model, small_model.examples(1, sizes=((200, 200),)), generation("colocate"))


def test_a_turn_cut_at_the_limit_is_not_finished(monkeypatch, model) -> None:
    """vLLM gives the end token as the last one of a turn that ended, and no other."""
    install(monkeypatch, Engine(lambda ids, pictures, params: (tokens(ANSWER)[:5], [-1.0] * 5)))
    [[one]] = roll_out(model, small_model.examples(1), generation("server"), max_turn_tokens=5)
    assert not one.finished and one.loss_mask[:7] == [1, 1, 1, 1, 1, 0, 0] and one.token_ids[5] == END


def test_a_log_probability_that_vllm_lacks_is_nan(monkeypatch, model) -> None:
    """TRL's client gives None; its trainer takes NaN and corrects nothing there."""
    scores = [None, *[-0.5] * (len(tokens(ANSWER)) - 1)]
    install(monkeypatch, Engine(lambda ids, pictures, params: (tokens(ANSWER), scores)))
    [[one]] = roll_out(model, small_model.examples(1), generation("server"))
    assert math.isnan(one.logprobs[0]) and one.logprobs[1:] == scores[1:]


def test_an_empty_turn_is_refused(monkeypatch, model) -> None:
    install(monkeypatch, Engine(lambda ids, pictures, params: ([], [])))
    with pytest.raises(RuntimeError, match="empty turn.*vllm_max_model_length"):
        roll_out(model, small_model.examples(1), generation("server"))


def by_question(ids, pictures, params):
    """ "Which?" is answered at once; the others ask for the same box first. The answer tells the question apart."""
    text = PROCESSOR.tokenizer.decode(ids)
    asks = "Which?" not in text and len(pictures) == 1
    turn = tokens(BOX if asks else f"<think> see </think> <answer> {len(text)} </answer>")
    return turn, [-0.5] * len(turn)


@pytest.mark.parametrize("mode", ["server", "colocate"])
def test_processes_call_together_though_their_rows_end_apart(monkeypatch, model, mode) -> None:
    """Three processes of one prompt each; the second needs no crop, and stays for the others' second turn."""
    questions = ["What is on the red tile?", "Which?", "Where is it?"]
    rows = [{**small_model.examples(1, sizes=((200, 200),))[0], "question": each} for each in questions]
    install(monkeypatch, Engine(by_question))
    alone = [roll_out(model, [row], generation(mode), **SETTINGS) for row in rows]
    install(monkeypatch, Engine(by_question))
    processes = Processes(monkeypatch, 3, [vllm_generation, vllm_session])
    backends = [generation(mode, accelerator=processes.accelerator(index)) for index in range(3)]
    together = processes.run(lambda index: roll_out(model, [rows[index]], backends[index], **SETTINGS))
    assert [[len(one.turns) for one in groups[0]] for groups in together] == [[2] * 4, [1] * 4, [2] * 4]
    for groups, expected in zip(together, alone, strict=True):
        assert [one.token_ids for one in groups[0]] == [one.token_ids for one in expected[0]]
        assert [one.answer for one in groups[0]] == [one.answer for one in expected[0]]
    if mode == "server":
        first, second = backends[0].vllm_client.calls
        prompts = [expected_ids(row) for row in rows]
        assert (first["n"], first["prompts"]) == (2, [before for before, _ in prompts])
        # Two groundings of each process, two copies each; the second process fills its place with what it had.
        ended = prompts[1][0] + by_question(prompts[1][0], [None], None)[0][:-1]
        theirs = [prompts[0][1]] * 2, [ended] * 2, [prompts[2][1]] * 2
        assert (second["n"], second["prompts"]) == (2, [ids for each in theirs for ids in each])
    else:
        assert [[len(call["prompts"]) for call in backend.llm.calls] for backend in backends] == [[2, 4]] * 3


def test_batches_stay_in_step(monkeypatch, model) -> None:
    """A process whose first batch ends early does not begin its second while the others are in their first."""
    rows = [{**row, "question": "Which?"} for row in small_model.examples(2)], small_model.examples(2)
    install(monkeypatch, Engine(by_question))
    processes = Processes(monkeypatch, 2, [vllm_generation, vllm_session])
    backends = [generation("server", accelerator=processes.accelerator(index)) for index in range(2)]
    options = {**SETTINGS, "num_groundings": 4, "batch_size": 1}
    found = processes.run(lambda index: roll_out(model, rows[index], backends[index], **options))
    assert [call["n"] for call in backends[0].vllm_client.calls] == [4, 2, 4, 2]
    assert [[len(one.turns) for one in group] for group in found[0]] == [[1] * 8] * 2
    assert [[len(one.turns) for one in group] for group in found[1]] == [[2] * 8] * 2


SIDES = st.integers(1, 4000)


@settings(max_examples=60, deadline=None)
@given(width=SIDES, height=SIDES, least=st.integers(4, 64), times=st.integers(4, 64))
def test_a_view_is_left_as_it_is_by_wider_bounds(width, height, least, times) -> None:
    """For the sizes of any picture: an image processor with the bounds of Qwen2.5-VL's repositories gives a view the
    same grid and the same pixel values as ours gave the picture."""
    if max(width, height) > 200 * min(width, height):
        width = height
    ours = Qwen2VLImageProcessorPil(min_pixels=least * 784, max_pixels=least * times * 784)
    store = Pictures(SimpleNamespace(image_processor=ours), None)
    [entry] = store.add([small_model.random_picture(0, (width, height))])
    fields = vllm_double.image_processor()(images=[store.view(entry)], return_tensors="pt")
    assert fields["image_grid_thw"].tolist() == [list(store.grids[entry])]
    assert torch.equal(fields["pixel_values"], store.pixels(entry))


def test_no_module_imports_an_extra() -> None:
    """vLLM and DeepSpeed come in through TRL and Accelerate alone, where they are asked for."""
    for path in Path(groundr1.__file__).parent.rglob("*.py"):
        assert not re.search(
            r"^\s*(import|from) (vllm|deepspeed)\b", path.read_text(encoding="utf-8"), re.M
        ), path
