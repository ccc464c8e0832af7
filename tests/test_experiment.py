"""What the notebooks share: arms, errors that say which notebook to run, evidence tables, views."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_model import processor

from groundr1 import experiment
from groundr1.data import make_scenes
from groundr1.data.example import to_dataset
from groundr1.experiment import as_seen, evidence_table, load_arms, load_split, train_arms
from groundr1.runs import Run, open_run
from groundr1.splits import prepare_data

SOURCES = {
    "train": {"scenes": 6, "seed": 1, "progress": False},
    "heldout": {"scenes": 3, "seed": 1, "split": "heldout", "progress": False},
}


def test_missing_pieces_name_the_notebook_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="01_data_preparation"):
        load_split(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="01_data_preparation"):
        train_arms(tmp_path, ["grpo"], {})
    with pytest.raises(FileNotFoundError, match="02_training"):
        load_arms(tmp_path, ["grpo"])
    assert not list(tmp_path.iterdir()), "asking makes no folder"


def test_arms_under_way_may_be_looked_at_but_not_evaluated(tmp_path, caplog):
    run = open_run(tmp_path, "srpo", {"seed": 0})
    with pytest.raises(FileNotFoundError, match="02_training"):
        load_arms(tmp_path, ["srpo"])
    run.append_metrics({"step": 1, "reward": 0.5})
    assert list(load_arms(tmp_path, ["srpo"])) == ["SRPO"]
    assert "not complete" in caplog.text
    with pytest.raises(FileNotFoundError, match="goes on where it was"):
        load_arms(tmp_path, ["srpo"], complete=True)
    run.finish({"steps": 1})
    assert load_arms(tmp_path, ["srpo"], complete=True)["SRPO"].path == run.path


def test_arms_differ_in_name_and_advantage_only(tmp_path, monkeypatch):
    prepare_data(tmp_path, SOURCES)
    trained = []

    def train(config):
        trained.append(config)
        return open_run(config.runs, config.name, {}).path

    monkeypatch.setattr("groundr1.trainer.train", train)
    runs = train_arms(tmp_path, ["grpo", "srpo-intra"], {"steps": 2, "seed": 3})
    assert {label: type(run) for label, run in runs.items()} == {"GRPO": Run, "SRPO-INTRA": Run}
    assert [(config.name, config.advantage) for config in trained] == [("grpo",) * 2, ("srpo-intra",) * 2]
    same = [{**vars(config), "name": "", "advantage": ""} for config in trained]
    assert same[0] == same[1] and same[0]["steps"] == 2 and same[0]["data"]["path"].endswith("data/train")


def test_a_wrong_arm_is_refused_before_the_first_is_trained(tmp_path, monkeypatch):
    prepare_data(tmp_path, SOURCES)
    monkeypatch.setattr("groundr1.trainer.train", None)  # calling it would fail otherwise
    with pytest.raises(ValueError, match="'ppo' is none of"):
        train_arms(tmp_path, ["grpo", "ppo"], {})


def test_evidence_table_measures_pictures_upright(tmp_path):
    """A box over the whole upright picture: 60 wide and 100 high, stored lying on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (100, 60)).save(tmp_path / "a.jpg", exif=exif)
    image = {"bytes": (tmp_path / "a.jpg").read_bytes(), "path": None}
    row = {"id": "a", "image": image, "question": "?", "solution": ["a"], "kind": "exact", "source": "own"}
    table = evidence_table(to_dataset([{**row, "boxes": [[0, 0, 60, 100]]}]))
    assert table.loc[0, ["width", "height", "relative_area"]].tolist() == [60, 100, 1.0]


def test_evidence_table_measures_the_hull_of_the_boxes():
    scenes = make_scenes(2, seed=0, progress=False)
    rows = [dict(row) for row in scenes]
    rows[0]["boxes"] = [[0.0, 0.0, 44.8, 44.8], [179.2, 0.0, 224.0, 448.0]]  # hull: half of the picture
    rows[1]["boxes"] = []
    table = evidence_table(type(scenes).from_list(rows, features=scenes.features))
    assert table["relative_area"][0] == pytest.approx(0.5) and table["scale"][0] == "large"
    assert np.isnan(table["relative_area"][1]) and pd.isna(table["scale"][1])
    assert table[["width", "height"]].to_numpy().tolist() == [[448, 448]] * 2
    assert table["answer"].tolist() == [row["solution"][0] for row in rows]


def test_the_view_has_the_size_the_processor_gives_it():
    picture = Image.effect_noise((448, 224), 80).convert("RGB")
    example = {"id": "1", "image": picture, "question": "?", "boxes": [[0.0, 0.0, 56.0, 56.0]]}
    view = as_seen(example, processor())
    assert view["image"].size == (140, 56) and view["boxes"] == []  # under 112 * 112, sides multiples of 28
    crop = as_seen(example, processor(), crop=True)
    assert crop["image"].size == (112, 112)
    assert example["boxes"], "the example itself is not changed"


def test_a_view_of_a_16_bit_picture_is_not_white():
    """Pillow's own conversion cuts 16 bits off at 255."""
    picture = Image.fromarray(np.full((112, 112), 30_000, dtype=np.uint16))
    view = as_seen({"id": "1", "image": picture, "question": "?", "boxes": []}, processor())["image"]
    assert view.getpixel((50, 50)) == (116, 116, 116)


def test_the_notebook_named_in_errors_is_there():
    root = experiment.Path(experiment.__file__).resolve().parents[1]
    assert (root / experiment.TRAINING_NOTEBOOK).is_file()
