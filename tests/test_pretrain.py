"""Pretraining of the tiny model: what it is fed is what the rollout will feed it, and it learns."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from groundr1.boxes import Box
from groundr1.chat import Chat
from groundr1.data.drawing import COLOURS, KINDS, draw_scene
from groundr1.parsing import parse_turn
from groundr1.pretrain import loop
from groundr1.pretrain.curriculum import (
    ANSWER_WEIGHT,
    COORDINATE_WEIGHT,
    Conversations,
    Mix,
    as_seen,
    cell_targets,
    loosen,
    normalise,
    patchify,
)
from groundr1.pretrain.losses import batch_loss, number_targets
from groundr1.pretrain.vision import Heads, warm_up_loss
from groundr1.pretrain.vision import batches as view_batches
from groundr1.prompts import PROMPTS
from groundr1.tiny import build_processor, build_tokenizer, tiny_config


@pytest.fixture(scope="module")
def processor():
    return build_processor(build_tokenizer(loop.corpus()))


def first_batch(processor, **counts):
    mix = Mix(**{"read": 0, "point": 0, "talk": 0, "loose": 0.0, **counts})
    return next(iter(Conversations(processor, mix, seed=1)))


@pytest.mark.parametrize("size", [(448, 448), (90, 30), (33, 200), (112, 112)])
def test_pictures_are_prepared_as_the_processor_does(processor, size):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    ours = normalise(torch.from_numpy(patchify(as_seen(image))), processor)
    theirs = processor.image_processor(images=[image], return_tensors="pt")["pixel_values"]
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-5


def test_a_conversation_is_written_in_the_tokens_of_a_rollout(processor):
    """The rollout's own chat gives the same tokens around the model's turns."""
    batch = first_batch(processor, talk=1)
    ids = batch["input_ids"][0].tolist()
    own = (batch["weights"][0] > 0).tolist()
    chat = Chat(processor, PROMPTS["short"])
    tokens = (batch["image_grid_thw"].prod(1) // 4).tolist()
    text = processor.tokenizer.decode([i for i in ids if i != processor.image_token_id])
    question = text.split("112 x 112. ")[1].split("<|im_end|>")[0]
    start = own.index(True)
    assert ids[:start] == list(chat.opening(question, (112, 112), tokens[0], grounds=True))
    end = own.index(False, start)
    again = own.index(True, end)
    assert ids[end:again] == list(chat.evidence(tokens[1], is_last=True, finished=ids[end - 1]))


def test_turns_are_well_formed_and_weighted_by_what_they_hold(processor):
    batch = first_batch(processor, talk=2, read=1, point=1)
    for ids, weights in zip(batch["input_ids"], batch["weights"], strict=True):
        turns = processor.tokenizer.decode(ids[weights > 0]).split("<|im_end|>")[:-1]
        assert [parse_turn(turn).kind for turn in turns] in (["box", "answer"], ["answer"], ["box"])
        coordinates = processor.tokenizer.decode(ids[weights == COORDINATE_WEIGHT])
        assert coordinates == "" or coordinates.isdigit()
        answered = (weights == ANSWER_WEIGHT).sum().item()
        assert answered == sum(parse_turn(turn).kind == "answer" for turn in turns)


def test_two_processes_share_a_batch_and_no_scene(processor):
    mix = Mix(read=0, point=4, talk=0, loose=0.0)
    batches = [next(iter(Conversations(processor, mix, seed=1, rank=rank, processes=2))) for rank in (0, 1)]
    assert [len(batch["input_ids"]) for batch in batches] == [2, 2]
    assert not torch.equal(batches[0]["patches"], batches[1]["patches"])


def test_a_loose_box_holds_the_evidence():
    rng = np.random.default_rng(0)
    box = Box(100, 120, 180, 150)
    for _ in range(200):
        loose = loosen(box, (448, 448), rng)
        assert loose.x1 <= box.x1 and loose.y1 <= box.y1 and loose.x2 >= box.x2 and loose.y2 >= box.y2
        assert box.area <= loose.area <= 3.5**2 * box.area + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_cell_targets_lead_back_to_the_box(kind):
    scene = draw_scene(kind, 3)
    present, corners = cell_targets(scene)
    assert present.sum(0).astype(bool).sum() == len(scene.objects), "every thing lies on a cell"
    for index, colour in enumerate(COLOURS):
        for cell in np.flatnonzero(present[:, index]):
            centre = np.array([cell % 4, cell // 4, cell % 4, cell // 4]) * 28 + 14
            np.testing.assert_allclose(
                corners[cell, index] * 28 + centre, np.array(scene.objects[colour]) / 4, atol=1e-4
            )


def test_a_coordinate_is_blurred_and_a_word_is_not(processor):
    targets = number_targets(processor, 512, blur=1.0)
    torch.testing.assert_close(targets.sum(1), torch.ones(512))
    ids = processor.tokenizer.convert_tokens_to_ids(["39", "40", "41"])
    left, middle, right = targets[ids[1]][ids].tolist()
    assert left == pytest.approx(right)
    assert middle / left == pytest.approx(np.exp(0.5))
    word = processor.tokenizer.convert_tokens_to_ids("cat")
    assert targets[word, word] == 1


def test_the_learning_rate_rises_then_falls_to_the_end_of_its_stage():
    stage = loop.Stage(steps=1000, mix=None, start=1e-2, end=1e-4)
    rates = [loop.learning_rate(step, stage) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-2 / loop.WARM_UP)
    assert rates[500] == pytest.approx(1e-3)
    assert rates[999] == pytest.approx(1e-4, rel=0.01)


def test_both_losses_fall_on_a_batch_seen_again(processor):
    torch.manual_seed(0)
    config = tiny_config(processor.tokenizer)
    config.text_config._attn_implementation = "eager"
    model = Qwen2_5_VLForConditionalGeneration(config)
    heads = Heads(128)
    optimizer = torch.optim.AdamW([*model.parameters(), *heads.parameters()], lr=1e-3)
    views = next(view_batches(processor, 4, seed=1, rank=0, processes=1))
    talks = first_batch(processor, talk=4)
    targets = number_targets(processor, model.config.text_config.vocab_size, 1.0)
    losses = []
    for _ in range(12):
        seen, _ = warm_up_loss(model, heads, views)
        said, parts = batch_loss(model, heads, talks, targets, processor)
        (seen + said).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append((seen.item(), said.item()))
    assert losses[-1][0] < 0.7 * losses[0][0]
    assert losses[-1][1] < 0.7 * losses[0][1]
    assert set(parts) == {"right", "coordinate", "place", "attention", "target"}


def test_a_pretraining_that_was_killed_goes_on_and_saves_a_model(processor, tmp_path, monkeypatch):
    """One process, in this one: two steps of a warm-up, killed; then the rest."""
    stages = (
        loop.Stage(steps=2, mix=None, start=1e-3, end=1e-3),
        loop.Stage(steps=2, mix=Mix(read=1, point=1, talk=1, loose=0.5), start=1e-3, end=1e-3),
    )
    monkeypatch.setattr(loop, "VIEWS", 3)
    monkeypatch.setattr(loop, "STAGES", stages[:1])
    threads = torch.get_num_threads()
    try:
        loop._run(0, 1, tmp_path, seed=0, save_every=2)
        assert torch.load(tmp_path / "training.pt", weights_only=True)["step"] == 2
        monkeypatch.setattr(loop, "STAGES", stages)
        loop._run(0, 1, tmp_path, seed=0, save_every=2)
    finally:
        torch.set_num_threads(threads)
    assert torch.load(tmp_path / "training.pt", weights_only=True)["step"] == 4
    assert (tmp_path / "model.safetensors").is_file()
