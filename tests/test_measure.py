"""The committed base model can do what the experiment needs of it: read crops, need them, and point at every scale."""

import pytest

from groundr1.data import make_scenes
from groundr1.data.drawing import KINDS
from groundr1.model import load_model, load_processor
from groundr1.pretrain import measure as module
from groundr1.pretrain.measure import measure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def figures():
    scenes = make_scenes(120, seed=11, split="heldout", progress=False)
    table = measure(load_model("tiny"), load_processor("tiny"), scenes, num_sampled=2)
    return table.set_index("figure")


def test_every_scene_is_counted_once(figures):
    assert figures.loc["scenes", ["small", "medium", "large"]].sum() == figures.loc["scenes", "all"] == 120
    assert (figures.drop("scenes").stack() <= 1).all()


def test_it_reads_from_a_crop_and_not_from_the_view(figures):
    assert figures.loc["answers right from a tight crop of the true region", "all"] >= 0.85
    assert figures.loc["answers right from the view alone", "small"] <= 0.45


def test_it_writes_well_formed_turns(figures):
    assert figures.loc["well-formed turns, greedy", "all"] >= 0.95


def test_it_points_loosely_at_every_scale(figures):
    """Bounds a little under the model card's, which are over 1,000 scenes: these are 120."""
    pointing = figures.loc["IoU of the greedy box with the true region"]
    assert pointing["small"] >= 0.25 and pointing["medium"] >= 0.35 and pointing["large"] >= 0.45
    drawn = [figures.loc[f"boxes drawn {scale}, temperature 1", "all"] for scale in ("small", "medium", "large")]
    assert min(drawn) > 0.1
    assert sum(drawn) == pytest.approx(1)
    assert figures.loc["boxes that hold the true region and stay under 10 %, temperature 1", "small"] >= 0.1


def test_the_card_is_written_with_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["measure", "--scenes", str(len(KINDS)), "--card", str(tmp_path / "README.md")])
    module.main()
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "answers right from a tight crop" in card
    assert "3 held-out scenes" in card
