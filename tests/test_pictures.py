"""Pictures: opened in every form, named when bad, processed and encoded once each."""

import io
from pathlib import Path

import pytest
import small_model
import torch
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
