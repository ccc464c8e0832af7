"""Balanced sampling: equal shares, nothing twice before everything once, and the same rows for the same seed."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from groundr1 import diagnostics
from groundr1.data import EXAMPLE_FEATURES, make_scenes
from groundr1.data.balance import EDGES, SCALES, balance_by_scale, evidence_areas, scale_distribution
from groundr1.data.example import to_dataset
from groundr1.figures import plot_scale_distribution

# Boxes of a picture of 100 x 50 pixels, and the scale of their hull by hand.
BOXES = {
    "small": [[0.0, 0.0, 10.0, 10.0]],  # 100 of 5000: 2 %
    "small, just": [[0.0, 0.0, 49.9, 10.0]],  # 499: 9.98 %
    "medium, just": [[0.0, 0.0, 50.0, 10.0]],  # 500: 10 %
    "medium": [[0.0, 0.0, 30.0, 50.0]],  # 1500: 30 %
    "large": [[0.0, 0.0, 30.1, 50.0]],  # 1505: 30.1 %
    "large by two": [[0.0, 0.0, 5.0, 5.0], [95.0, 45.0, 100.0, 50.0]],  # their hull is the picture
    "wide": [[0.0, 0.0, 80.0, 20.0]],
    "none": [],
}


def dataset_of(
    folder: Path,
    *names: str,
    size: tuple[int, int] = (100, 50),
    turned: int | None = None,
    name: str = "a.jpg",
) -> Dataset:
    exif = Image.Exif()
    if turned is not None:
        exif[0x0112] = turned
    Image.new("RGB", size).save(folder / name, exif=exif)
    image = {"path": str(folder / name), "bytes": None}
    return to_dataset(
        [
            {
                "id": str(number), "image": image, "question": "q", "solution": ["7"], "kind": "exact",
                "boxes": BOXES[name], "source": name,
            }
            for number, name in enumerate(names)
        ]
    )  # fmt: skip


def test_scales_are_those_of_the_diagnostics(tmp_path: Path):
    assert (SCALES, EDGES) == (diagnostics.SCALES, diagnostics.EDGES)
    names = [name for name in BOXES if name.startswith(SCALES)]
    areas = evidence_areas(dataset_of(tmp_path, *names))
    assert areas.tolist() == pytest.approx([0.02, 0.0998, 0.1, 0.3, 0.301, 1.0])
    assert [diagnostics.scale_of(area) for area in areas] == [
        name.split(",")[0].split(" ")[0] for name in names
    ]


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
@pytest.mark.parametrize(
    ("turned", "area"), [(None, 0.2), (1, 0.2), (3, 0.2), (5, 0.32), (6, 0.32), (8, 0.32)]
)
def test_evidence_is_measured_in_the_upright_picture(
    tmp_path: Path, name: str, turned: int | None, area: float
):
    """50 x 100 pixels on disk; a quarter turn makes it 100 wide, and the box of 80 x 20 fits whole."""
    dataset = dataset_of(tmp_path, "wide", size=(50, 100), turned=turned, name=name)
    assert dataset[0]["image"].size == ((100, 50) if area == 0.32 else (50, 100)), "as datasets turns it"
    assert evidence_areas(dataset).tolist() == [pytest.approx(area)]


def test_regression_pictures_are_not_decoded_for_their_size(tmp_path: Path, monkeypatch):
    """Pillow's `getexif` of a PNG decodes it: 20 rows of 3000 x 3000 pixels took ten times as long as to check them."""
    dataset = dataset_of(tmp_path, "wide", "none", name="a.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)  # decoding would fail
    assert evidence_areas(dataset).tolist() == [pytest.approx(0.32), pytest.approx(float("nan"), nan_ok=True)]


def test_known_sizes_are_not_read_again(tmp_path: Path):
    dataset = dataset_of(tmp_path, "wide", "none", "small")
    (tmp_path / "a.jpg").unlink()
    areas = evidence_areas(dataset, np.array([[100, 50], [0, 0], [50, 100]]))
    assert areas[[0, 2]].tolist() == pytest.approx([0.32, 0.02]) and np.isnan(areas[1])


def test_without_a_number_the_rarest_scale_decides_and_nothing_comes_twice(tmp_path: Path, caplog):
    dataset = dataset_of(tmp_path, *["small"] * 7, *["medium"] * 3, *["large"] * 5, *["none"] * 2)
    with caplog.at_level(logging.INFO, logger="groundr1.data.balance"):
        balanced = balance_by_scale(dataset, seed=1)
    assert Counter(balanced["source"]) == {"small": 3, "medium": 3, "large": 3}
    assert len(set(balanced["id"])) == 9 and balanced.features == EXAMPLE_FEATURES
    assert balanced["source"][:] != sorted(balanced["source"]), "in random order"
    assert "9 of 17 rows, 0 of them repetitions; 2 without a box left out" in caplog.text
    assert "before: small 7, medium 3, large 5" in caplog.text


@pytest.mark.parametrize(
    ("num", "expected", "repeated"),
    [
        (9, {"small": 3, "medium": 3, "large": 3}, 1),
        (10, {"small": 4, "medium": 3, "large": 3}, 1),
        (11, {"small": 4, "medium": 4, "large": 3}, 2),
        (1, {"small": 1}, 0),
        (60, {"small": 20, "medium": 20, "large": 20}, 16 + 18 + 15),
    ],
)
def test_with_a_number_rows_repeat_only_when_their_scale_is_used_up(
    tmp_path: Path, num, expected, repeated, caplog
):
    dataset = dataset_of(tmp_path, *["small"] * 4, *["medium"] * 2, *["large"] * 5)
    with caplog.at_level(logging.INFO, logger="groundr1.data.balance"):
        balanced = balance_by_scale(dataset, num=num)
    assert Counter(balanced["source"]) == expected
    times = Counter(balanced["id"])
    for scale in SCALES:
        of_scale = [times[row["id"]] for row in dataset if row["source"] == scale]
        assert max(of_scale) - min(of_scale) <= 1, "each as often as the others, give or take one"
    assert f"{repeated} of them repetitions" in caplog.text and num - len(times) == repeated


def test_the_seed_decides(tmp_path: Path):
    dataset = dataset_of(tmp_path, *["small"] * 50, *["medium"] * 20, *["large"] * 20)
    first, again, other = (balance_by_scale(dataset, seed=seed)["id"][:] for seed in (3, 3, 4))
    assert first == again and first != other and set(first) != set(other)


def test_a_scale_without_rows_is_left_out_with_a_warning(tmp_path: Path, caplog):
    dataset = dataset_of(tmp_path, "small", "small", "large", "none")
    balanced = balance_by_scale(dataset)
    assert sorted(balanced["source"]) == ["large", "small"] and "no evidence is medium" in caplog.text


def test_other_edges_give_other_scales(tmp_path: Path):
    dataset = dataset_of(tmp_path, "small", "medium", "large", "large")
    table = scale_distribution(dataset, edges=(0.01, 0.02))
    assert table["count"].tolist() == [0, 1, 3, 0], "2 % is the upper edge, which belongs to medium"
    assert len(balance_by_scale(dataset, edges=(0.01, 0.02))) == 2


def test_what_cannot_be_balanced_is_said(tmp_path: Path):
    with pytest.raises(ValueError, match="None of the 2 rows has a box"):
        balance_by_scale(dataset_of(tmp_path, "none", "none"))
    with pytest.raises(ValueError, match="num=0 must be 1 or more"):
        balance_by_scale(dataset_of(tmp_path, "small"), num=0)
    with pytest.raises(ValueError, match="must increase"):
        balance_by_scale(dataset_of(tmp_path, "small"), edges=(0.3, 0.1))
    with pytest.raises(ValueError, match="no column boxes"):
        balance_by_scale(Dataset.from_dict({"image": ["a"]}))
    gone = dataset_of(tmp_path, "small")
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(ValueError, match=r"a.jpg cannot be read .* read the data set anew"):
        balance_by_scale(gone)


def test_the_distribution_counts_every_row(tmp_path: Path):
    table = scale_distribution(dataset_of(tmp_path, "small", "small, just", "medium", "large", "none"))
    assert table["scale"].tolist() == ["small", "medium", "large", "not annotated"]
    assert table["count"].tolist() == [2, 1, 1, 1]
    assert table["share"].tolist()[:3] == [0.5, 0.25, 0.25] and np.isnan(table["share"][3])
    empty = scale_distribution(to_dataset([]))
    assert empty["count"].tolist() == [0, 0, 0, 0] and empty["share"].isna().all()


def test_generated_scenes_are_balanced_too_and_the_figure_shows_it():
    scenes = make_scenes(30, seed=0, progress=False)
    areas = evidence_areas(scenes)
    before, after = (
        scale_distribution(each) for each in (scenes, balance_by_scale(scenes, num=30, areas=areas))
    )
    assert before["count"].sum() == 30 and after["count"].tolist() == [10, 10, 10, 0]
    figure = plot_scale_distribution(before, after)
    assert figure.table["data"].unique().tolist() == ["before", "after"]
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([*(100 * before["share"][:3]), *[100 / 3] * 3])
    assert [text.get_text() for text in figure.legends[0].get_texts()][
        1
    ] == "after: 30 rows,\n0 not annotated"


@given(
    st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, float("nan")]), min_size=1, max_size=40),
    st.none() | st.integers(1, 100),
    st.integers(0, 99),
)
def test_every_sample_is_balanced(areas, num, seed):
    if np.isnan(areas).all():
        return
    dataset = Dataset.from_dict({"area": areas})
    chosen = balance_by_scale(dataset, num=num, seed=seed, areas=np.array(areas))["area"][:]
    counts = Counter(diagnostics.scale_of(area) for area in chosen)
    present = {diagnostics.scale_of(area) for area in areas if not np.isnan(area)}
    assert set(counts) <= present
    assert max(counts.values()) - min(counts.get(scale, 0) for scale in present) <= 1
    assert len(chosen) == (num or len(chosen)) and len(chosen) >= 1
