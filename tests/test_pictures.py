"""Pictures: opened in every form, named when bad, processed and encoded once each."""

import io
from pathlib import Path

import pytest
import small_model
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groundr1.pictures import Pictures, open_picture
from groundr1.rollout import ground_and_answer
from groundr1.shared_pictures import SharedPictures, reads_shared_pictures

PROCESSOR = small_model.processor()


@pytest.fixture(scope="module")
def model():
    return small_model.random_model()


def picture_bytes() -> bytes:
    buffer = io.BytesIO()
    small_model.random_picture(0).save(buffer, format="PNG")
    return buffer.getvalue()


def test_every_form_of_picture_opens(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(picture_bytes())
    expected = small_model.random_picture(0).tobytes()
    forms = [
        str(path),
        path,
        path.read_bytes(),
        {"bytes": path.read_bytes(), "path": None},
        {"bytes": None, "path": str(path)},
    ]
    for form in [*forms, Image.open(path), small_model.random_picture(0)]:
        assert open_picture(form, "a").tobytes() == expected
    assert open_picture(Image.new("L", (4, 4)), "grey").mode == "RGB"
    with pytest.raises(ValueError, match="example 'long' is 402 x 2 pixels"):
        open_picture(Image.new("RGB", (402, 2)), "long")


@settings(max_examples=30)
@given(width=st.integers(4, 400), height=st.integers(4, 400), seed=st.integers(0, 99))
def test_pixels_are_those_of_the_processor(width: int, height: int, seed: int) -> None:
    """The store resizes by itself, and in threads; the result is the processor's to the last bit."""
    images = [small_model.random_picture(seed, (width, height)), small_model.random_picture(seed + 1)]
    expected = PROCESSOR.image_processor(images=images, return_tensors="pt")
    store = Pictures(PROCESSOR, small_model.random_model())
    entries = store.add(images)
    assert [list(store.grids[entry]) for entry in entries] == expected["image_grid_thw"].tolist()
    assert torch.equal(torch.cat([store.pixels(entry) for entry in entries]), expected["pixel_values"])


def test_features_are_those_of_the_tower(model) -> None:
    """Patches are embedded by a matrix product, and the tower is left with its convolution."""
    images = [small_model.random_picture(seed, (160 + 40 * seed, 120)) for seed in range(4)]
    store = Pictures(PROCESSOR, model)
    entries = store.add(images)
    found = torch.cat([store.features(entry) for entry in entries])
    fields = PROCESSOR.image_processor(images=images, return_tensors="pt")
    with torch.no_grad():
        expected = model.get_image_features(**fields, return_dict=True).pooler_output
    torch.testing.assert_close(found, torch.cat(tuple(expected)), atol=1e-5, rtol=1e-5)
    assert "forward" not in vars(model.model.visual.patch_embed.proj)


BAD_PICTURES = [
    ("/nowhere/cat.png", FileNotFoundError, "cat.png"),
    (b"not a picture", ValueError, "cannot be read"),
    (picture_bytes()[:300], ValueError, "cannot be read"),
    (None, ValueError, "no picture"),
    ({"bytes": None, "path": None}, ValueError, "no picture"),
]


@pytest.mark.parametrize(("picture", "error", "words"), BAD_PICTURES)
def test_a_bad_picture_is_named(model, picture, error, words) -> None:
    row = {**small_model.examples(1)[0], "image": picture, "id": "the-row"}
    with pytest.raises(error, match="the-row") as caught:
        ground_and_answer(model, PROCESSOR, [row])
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_picture_is_processed_as_the_processor_does_and_once(model) -> None:
    images = [
        small_model.random_picture(i, size) for i, size in enumerate([(160, 120), (50, 300), (448, 448)])
    ]
    store = Pictures(PROCESSOR, model)
    assert store.add([images[0], images[1], images[0]]) == [0, 1, 0]
    assert store.add([images[2], images[1]]) == [2, 1] and len(store) == 3
    fields = PROCESSOR.image_processor(images=images, return_tensors="pt")
    assert torch.equal(torch.cat([store.pixels(i) for i in range(3)]), fields["pixel_values"])
    assert [list(grid) for grid in store.grids] == fields["image_grid_thw"].tolist()
    for entry, grid in enumerate(fields["image_grid_thw"].tolist()):
        assert store.view_size(entry) == (grid[2] * 14, grid[1] * 14)
        assert store.num_tokens(entry) == grid[1] * grid[2] // 4
    with torch.no_grad():
        expected = model.get_image_features(fields["pixel_values"], fields["image_grid_thw"]).pooler_output
    for entry in (2, 0, 1):
        torch.testing.assert_close(store.features(entry), expected[entry], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("reuse_features", [True, False])
def test_model_reads_pictures_by_number(reuse_features) -> None:
    """In any order and number, as TRL's batches hold them; real pixels still work."""
    model = small_model.random_model()
    images = [small_model.random_picture(0), small_model.random_picture(1, (50, 300))]
    fields = PROCESSOR.image_processor(images=images, return_tensors="pt")
    store = Pictures(PROCESSOR, model)
    stand_in = SharedPictures(store, PROCESSOR.image_processor)
    assert stand_in.merge_size == 2
    numbered = stand_in(images=[images[1], images[0], images[1]], return_tensors="pt")
    assert numbered["pixel_values"].shape == (numbered["image_grid_thw"].prod(-1).sum(),)
    with torch.no_grad():
        expected = model.model.get_image_features(
            fields["pixel_values"], fields["image_grid_thw"]
        ).pooler_output
        reads_shared_pictures(model, lambda: store, reuse_features=reuse_features)
        found = model.model.get_image_features(**numbered).pooler_output
        plain = model.model.get_image_features(fields["pixel_values"], fields["image_grid_thw"]).pooler_output
    for one, other in zip(found, (expected[1], expected[0], expected[1]), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert all(map(torch.equal, plain, expected))
