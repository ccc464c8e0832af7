"""Rollouts: what is shown after which turn, groups, seeds, and what models and callers do wrong."""

import dataclasses

import pytest
import small_model
import torch
from datasets import Dataset
from datasets import Image as DatasetImage

from groundr1.boxes import Box
from groundr1.chat import VISION_TOKENS
from groundr1.cropping import crop_evidence
from groundr1.pictures import Pictures
from groundr1.rollout import ground_and_answer

PROCESSOR = small_model.processor()
model_turns = small_model.model_turns


@pytest.fixture(scope="module")
def model():
    return small_model.talking_model()


def test_sampled_tokens_are_exactly_the_model_turns(model) -> None:
    groups = ground_and_answer(
        model,
        PROCESSOR,
        small_model.examples(3),
        num_groundings=4,
        num_answers=2,
        temperature=1.0,
        max_turn_tokens=30,
    )
    assert [len(group) for group in groups] == [8, 8, 8]
    for group in groups:
        assert [(one.grounding, one.answer_index) for one in group] == [
            (g, a) for g in range(4) for a in range(2)
        ]
        for one in group:
            decoded = [PROCESSOR.tokenizer.decode(ids).removesuffix("<|im_end|>") for ids in model_turns(one)]
            assert decoded == one.turns
            assert one.num_generated_tokens == sum(map(len, model_turns(one)))
            assert len(one.images) == len(one.boxes) + 1 == len(one.turns)
        for first, second in zip(group[::2], group[1::2], strict=True):
            assert model_turns(first)[0] == model_turns(second)[0], "answers of a grounding share its tokens"
            assert first.boxes[:1] == second.boxes[:1]


def test_an_example_samples_the_same_alone_and_in_any_batch(model) -> None:
    rows = small_model.examples(5)
    settings = {"num_groundings": 2, "num_answers": 2, "temperature": 1.0, "max_turn_tokens": 25}
    together = ground_and_answer(model, PROCESSOR, rows, seed=[11, 12, 13, 14, 15], **settings)
    chunked = ground_and_answer(model, PROCESSOR, rows, seed=[11, 12, 13, 14, 15], batch_size=2, **settings)
    [alone] = ground_and_answer(model, PROCESSOR, rows[3:4], seed=[14], **settings)
    other = ground_and_answer(model, PROCESSOR, rows, seed=[21, 22, 23, 24, 25], **settings)
    tokens = [[one.token_ids for one in group] for group in together]
    assert tokens == [[one.token_ids for one in group] for group in chunked]
    assert tokens[3] == [one.token_ids for one in alone]
    assert tokens != [[one.token_ids for one in group] for group in other]
    assert len({tuple(ids) for ids in tokens[0]}) > 1, "samples differ within a group"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_regression_image_placeholder_is_never_sampled(temperature: float) -> None:
    """TRL users crash when the model samples <|image_pad|>; here it is the likeliest token everywhere, and
    never comes."""
    model = small_model.random_model()
    banned = small_model.banned_ids()
    assert {PROCESSOR.tokenizer.convert_ids_to_tokens(i) for i in banned} == set(VISION_TOKENS) - {
        "<|vision_pad|>"
    }
    bias = torch.zeros(model.config.text_config.vocab_size)
    bias[banned] = 50.0
    model.lm_head.register_forward_hook(lambda module, args, output: output + bias)
    groups = ground_and_answer(
        model,
        PROCESSOR,
        small_model.examples(2),
        num_groundings=2,
        temperature=temperature,
        max_turn_tokens=8,
    )
    for one in (one for group in groups for one in group):
        assert not set(banned) & {
            t for t, sampled in zip(one.token_ids, one.loss_mask, strict=True) if sampled
        }


def scripted(monkeypatch: pytest.MonkeyPatch, texts: list[str], end: bool = True) -> None:
    """Make every row of the n-th turn write the n-th text."""
    scripts = [
        PROCESSOR.tokenizer(text)["input_ids"] + [PROCESSOR.tokenizer.eos_token_id] * end for text in texts
    ]
    queue = [token for script in scripts for token in script]

    def next_token(logits, uniforms, temperature, top_p, banned):
        return torch.full((len(logits),), queue.pop(0)), torch.zeros(len(logits))

    monkeypatch.setattr("groundr1.generation.pick", next_token)


BOX = "<think> look </think> <box>[28,14,56,42]</box>"
ANSWER = "<think> see </think> <answer> 1 </answer>"
WHOLE = None
TURN_CASES = [
    # texts of the turns, max_crops, boxes expected, answer expected, reason
    ([BOX, ANSWER], 1, ["box"], "1", "ground, crop, answer"),
    ([ANSWER], 1, [], "1", "an answer straight away needs no evidence"),
    ([BOX, BOX, ANSWER], 2, ["box", "box"], "1", "refinement"),
    ([BOX, BOX], 1, ["box"], None, "the last turn is the last, whatever it is"),
    (["look", ANSWER], 1, [WHOLE], "1", "a malformed turn shows the whole picture"),
    (
        ["<think> look </think> <box>[56,14,28,42]</box>", ANSWER],
        1,
        [WHOLE],
        "1",
        "an inverted box is not repaired",
    ),
    (
        ["<think> look </think> <box>[500,500,600,600]</box>", ANSWER],
        1,
        [WHOLE],
        "1",
        "a box outside is refused",
    ),
    (["<answer> 2 </answer>"], 1, [], "2", "an ill-formed answer ends the conversation all the same"),
    ([ANSWER], 0, [], "1", "no grounding at all"),
]


@pytest.mark.parametrize(("texts", "max_crops", "boxes", "answer", "reason"), TURN_CASES)
def test_turns(monkeypatch, model, texts, max_crops, boxes, answer, reason) -> None:
    scripted(monkeypatch, texts)
    [row] = small_model.examples(1, sizes=((200, 200),))
    [group] = ground_and_answer(model, PROCESSOR, [row], num_groundings=2, num_answers=2, max_crops=max_crops)
    assert [(one.grounding, one.answer_index) for one in group] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for one in group:
        assert one.turns == texts, reason
        assert one.answer == answer, reason
        # The view of a 200 x 200 picture is 112 x 112: (28, 14, 56, 42) becomes (50, 25, 100, 75), 1/16 of
        # the area.
        assert one.boxes == [Box(50.0, 25.0, 100.0, 75.0) if box == "box" else box for box in boxes], reason
        assert one.relative_area == pytest.approx(1 / 16 if boxes[-1:] == ["box"] else 1.0), reason
        for shown, box in zip(one.images[1:], one.boxes, strict=True):
            expected = row["image"] if box is None else crop_evidence(row["image"], box).image
            assert shown.tobytes() == expected.tobytes(), reason


def test_box_partly_outside_counts_the_part_inside(monkeypatch, model) -> None:
    scripted(monkeypatch, ["<think> look </think> <box>[84,84,140,140]</box>", ANSWER])
    [[one]] = ground_and_answer(model, PROCESSOR, small_model.examples(1, sizes=((200, 200),)))
    assert one.boxes == [Box(150.0, 150.0, 200.0, 200.0)]
    assert one.relative_area == pytest.approx(1 / 16)


def test_turn_cut_at_the_limit_is_closed_by_the_template(monkeypatch, model) -> None:
    """A turn without its end token gets one that is not trained on."""
    scripted(monkeypatch, ["look", "look"], end=False)
    cut = len(PROCESSOR.tokenizer("look")["input_ids"])
    [[one]] = ground_and_answer(model, PROCESSOR, small_model.examples(1), max_turn_tokens=cut)
    end = PROCESSOR.tokenizer.eos_token_id
    assert one.turns == ["look", "look"] and one.token_ids[cut] == end and one.loss_mask[cut] == 0
    assert not one.finished


def test_equal_boxes_share_one_crop(monkeypatch, model) -> None:
    scripted(monkeypatch, [BOX, ANSWER])
    store = Pictures(PROCESSOR, model)
    ground_and_answer(
        model,
        PROCESSOR,
        small_model.examples(3),
        num_groundings=4,
        num_answers=2,
        temperature=1.0,
        pictures=store,
    )
    assert len(store) == 6, "three pictures and three crops for 24 trajectories"


def test_settings_out_of_range_are_named(model) -> None:
    for setting in ("num_groundings", "num_answers", "max_turn_tokens", "batch_size"):
        with pytest.raises(ValueError, match=f"{setting}=0"):
            ground_and_answer(model, PROCESSOR, [], **{setting: 0})
    with pytest.raises(ValueError, match="temperature=-1"):
        ground_and_answer(model, PROCESSOR, [], temperature=-1)
    with pytest.raises(ValueError, match="2 seeds for 1 examples"):
        ground_and_answer(model, PROCESSOR, small_model.examples(1), seed=[1, 2])


def test_what_an_example_lacks_is_named(model) -> None:
    row = small_model.examples(1)[0]
    with pytest.raises(ValueError, match="has no 'question'"):
        ground_and_answer(model, PROCESSOR, [{name: row[name] for name in ("id", "image")}])
    with pytest.raises(ValueError, match=f"{row['id']}.*its question is None"):
        ground_and_answer(model, PROCESSOR, [{**row, "question": None}])


def test_placeholder_in_a_question_is_refused(model) -> None:
    row = {**small_model.examples(1)[0], "question": "What is <|image_pad|>?"}
    with pytest.raises(ValueError, match="image_pad"):
        ground_and_answer(model, PROCESSOR, [row])


def test_examples_may_be_a_dataset(model) -> None:
    rows = small_model.examples(3)
    table = Dataset.from_list(rows).cast_column("image", DatasetImage(decode=False))
    settings = {"max_turn_tokens": 12, "batch_size": 2}
    expected = ground_and_answer(model, PROCESSOR, rows, **settings)
    found = ground_and_answer(model, PROCESSOR, table, **settings)
    assert [group[0].token_ids for group in found] == [group[0].token_ids for group in expected]


def test_examples_may_be_objects_and_the_model_keeps_its_mode(model) -> None:
    example = dataclasses.make_dataclass("Row", ["id", "image", "question"])(
        "a", small_model.random_picture(1), "Which?"
    )
    model.train()
    [[one]] = ground_and_answer(model, PROCESSOR, [example], max_turn_tokens=3)
    assert model.training and one.prompt_index == 0
    model.eval()
    assert ground_and_answer(model, PROCESSOR, []) == []
