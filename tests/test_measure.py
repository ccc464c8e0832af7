"""The committed base model can do what the experiment needs of it: read crops, need them, and point at every scale."""

import pytest

from groundr1.data import make_scenes
from groundr1.data.drawing import KINDS
from groundr1.model import TINY_PATH, load_model, load_processor
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
    """The bounds that the experiment needs; the card has the figures, over 1,000 scenes."""
    pointing = figures.loc["IoU of the greedy box with the true region"]
    assert pointing["small"] >= 0.30 and pointing["medium"] >= 0.40 and pointing["large"] >= 0.50
    drawn = [
        figures.loc[f"boxes drawn {scale}, temperature 1", "all"] for scale in ("small", "medium", "large")
    ]
    assert min(drawn) > 0.1
    assert sum(drawn) == pytest.approx(1)
    assert figures.loc["boxes that hold the true region and stay under 10 %, temperature 1", "small"] >= 0.1


def test_the_table_goes_between_the_marks_of_a_card(tmp_path, monkeypatch):
    card = tmp_path / "README.md"
    card.write_text("about\n<!-- measured -->\nstale\n<!-- end -->\nmore\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["measure", "--scenes", str(len(KINDS)), "--card", str(card)])
    module.main()
    text = card.read_text(encoding="utf-8")
    assert text.startswith(
        "about\n<!-- measured -->\n`python -m groundr1.pretrain.measure --scenes 3 --seed 0`"
    )
    assert "| answers right from a tight crop of the true region |" in text
    assert text.endswith("<!-- end -->\nmore\n")
    assert "stale" not in text


def test_a_card_without_marks_is_left_alone(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("about", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the marks"):
        module.write_into_card(card, "table", "command")
    assert card.read_text(encoding="utf-8") == "about"


def test_the_committed_card_has_the_measured_table():
    card = (TINY_PATH / "README.md").read_text(encoding="utf-8")
    assert "measure --scenes 1000" in card
    assert "| IoU of the greedy box with the true region |" in card
