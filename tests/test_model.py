"""Names of models, the tiny tokenizer and processor, prompts."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from groundr1.model import TINY_PATH, load_model, load_processor, prompt_set
from groundr1.prompts import PROMPTS

TURNS = ("<think>find the tile</think><box>[1,22,105,112]</box>", "<think>read it</think><answer>7</answer>")


@pytest.fixture(scope="module")
def processor():
    return load_processor("tiny")


@pytest.fixture(scope="module")
def model():
    return load_model("tiny")


def test_the_tiny_model_is_a_real_qwen_of_a_few_megabytes(model):
    assert isinstance(model, Qwen2_5_VLForConditionalGeneration)
    assert not model.training
    assert model.dtype == torch.float32
    files = {file.name: file.stat().st_size for file in TINY_PATH.iterdir()}
    assert "model.safetensors" in files
    assert sum(files.values()) < 8 * 2**20
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))], "safetensors only"


def test_whole_numbers_to_112_are_single_tokens(processor):
    assert all(len(processor.tokenizer.encode(str(number))) == 1 for number in range(113))


@pytest.mark.parametrize("text", [*TURNS, "<box>[448, 7.5]</box>", "Grüße, 世界! 🙂", "a  b\n\tc", ""])
def test_any_text_comes_back_from_its_tokens(processor, text):
    assert processor.tokenizer.decode(processor.tokenizer.encode(text)) == text


def test_tags_are_single_tokens_that_stay_in_decoded_text(processor):
    for tag in ("<think>", "</think>", "<box>", "</box>", "<answer>", "</answer>"):
        assert len(processor.tokenizer.encode(tag)) == 1
        assert processor.tokenizer.decode(processor.tokenizer.encode(tag), skip_special_tokens=True) == tag


@pytest.mark.parametrize(
    ("size", "view"), [((448, 448), (112, 112)), ((40, 40), (112, 112)), ((400, 100), (224, 56))]
)
def test_every_picture_is_seen_at_about_the_same_number_of_pixels(processor, size, view):
    inputs = processor(text=["<|vision_start|><|image_pad|><|vision_end|>"], images=[Image.new("RGB", size)])
    _, height, width = np.asarray(inputs["image_grid_thw"])[0]
    assert (width * 14, height * 14) == view
    assert (np.asarray(inputs["input_ids"]) == processor.image_token_id).sum() == view[0] * view[1] / 784


def test_pixel_limits_move_the_view():
    inputs = load_processor("tiny", min_pixels=3136, max_pixels=56 * 56).image_processor(
        [Image.new("RGB", (448, 448))]
    )
    assert np.asarray(inputs["image_grid_thw"]).tolist() == [[1, 4, 4]]
    with pytest.raises(ValueError, match="min_pixels=9 exceeds max_pixels=4"):
        load_processor("tiny", min_pixels=9, max_pixels=4)
    with pytest.raises(ValueError, match="max_pixels=0 must be 1 or more"):
        load_processor("tiny", max_pixels=0)


def test_a_processor_without_chat_template_is_refused(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "config.json").write_text((TINY_PATH / "config.json").read_text())
    with pytest.raises(ValueError, match="has no chat template"):
        load_processor(tmp_path)


def test_an_unknown_lora_field_is_named():
    with pytest.raises(ValueError, match=r"lora=\{'rank': 2\} holds a field that peft.LoraConfig lacks"):
        load_model("tiny", lora={"rank": 2})


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "nowhere", "a/b/c"])
def test_a_model_that_is_not_there_is_named_with_the_fix(name):
    for load in (load_model, load_processor):
        with pytest.raises(FileNotFoundError, match=r"no model at .*save_pretrained.*tiny"):
            load(name)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        load_model(tmp_path)


def test_lora_leaves_the_vision_tower_alone():
    model = load_model("tiny", lora={"r": 4})
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name and "visual" not in name for name in trained)


def test_saved_and_loaded_again_it_computes_the_same(model, processor, tmp_path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert load_processor(tmp_path).tokenizer.get_vocab() == processor.tokenizer.get_vocab()


def test_prompts_state_the_view_and_name_no_missing_field(processor):
    assert prompt_set(processor).name == "short"
    for prompts in PROMPTS.values():
        text = prompts.ground.format(question="What is it?", width=112, height=84)
        assert "What is it?" in text
        assert "112" in text
        assert "84" in text
        assert "What is it?" in prompts.direct.format(question="What is it?")
        assert prompts.last.format() == prompts.last
