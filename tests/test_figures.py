"""Figures: the csv beside each holds what is drawn, the bytes repeat, nothing is hidden or overlaps."""

import json
import math
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from small_training_set import write_training_set

from groundr1 import figures
from groundr1.boxes import Box
from groundr1.data import make_scenes
from groundr1.data.balance import scale_distribution
from groundr1.data.paper import paper_results
from groundr1.data.validation import validate
from groundr1.diagnostics import SCALES, accuracy_by_scale, by_scale
from groundr1.figure_style import ARM_COLOURS, INK, SCALE_COLOURS, colours_of, png_bytes


def metrics(steps: int = 30) -> pd.DataFrame:
    step = np.arange(1, steps + 1)
    return pd.DataFrame(
        {
            "step": step,
            "reward_format": 1 - 0.5 / step,
            "reward_answer": step / steps,
            "response_length": 20.0 + step % 3,
            "giou_score": np.where(step == 2, np.nan, 0.5),
        }
    )


def rollouts(steps: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    num = steps * 16
    return pd.DataFrame(
        {
            "step": np.repeat(np.arange(1, steps + 1), 16),
            "prompt_id": np.repeat(np.arange(num // 8), 8),
            "relative_area": rng.random(num),
            "true_area": rng.random(num),
            "reward": rng.random(num),
            "advantage": rng.normal(size=num),
            "iou": rng.random(num),
        }
    )


@pytest.fixture(scope="module")
def accuracy():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"prompt_id": range(30), "true_area": np.tile([0.01, 0.2, 0.9], 10)})
    arms = [
        table.assign(model=name, correct=rng.random(30) < 0.7, iou=rng.random(30)) for name in ARM_COLOURS
    ]
    return accuracy_by_scale(pd.concat(arms), num=50)


@pytest.fixture(scope="module")
def example():
    return {
        "id": "s1",
        "image": Image.new("RGB", (80, 60), "teal"),
        "question": "What costs $5 or $6 at the red mark on the left side of the page?",
        "solution": ["key", "a key"],
        "kind": "exact",
        "boxes": [[10.0, 10.0, 20.0, 20.0]],
        "source": "print",
    }


@pytest.fixture(scope="module")
def trajectory():
    turns = ["<think> there </think> <box>[1,2,3,4]</box>", "<think> $x$ </think> <answer>key</answer>"]
    return SimpleNamespace(turns=turns, boxes=[Box(5.0, 5.0, 40.0, 30.0)], answer="key")


def gallery_data(example, model: str = "base") -> tuple[list[dict], pd.DataFrame]:
    """Twelve questions: small ones hit, medium ones missed or not answered, large ones not judged, one unannotated."""
    scales = ["small"] * 5 + ["medium"] * 4 + ["large"] * 2 + [None]
    rows = [
        {
            "model": model,
            "prompt_id": f"q{number}",
            "scale": scale,
            "box": None if number == 5 else [5.0, 5.0, 40.0, 30.0],
            "correct": {"small": 1.0, "medium": 0.0, "large": math.nan}.get(scale, 1.0),
            "answer": "no $ key that fits here" if number % 2 else None if scale == "medium" else "key",
            "iou": 0.125,
            "relative_area": 0.18,
        }
        for number, scale in enumerate(scales)
    ]
    dataset = Dataset.from_list([{**example, "id": row["prompt_id"]} for row in rows])
    return dataset, pd.DataFrame(rows)


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """Folder of a validation that has found every kind of fault."""
    folder = tmp_path_factory.mktemp("validated")
    source = write_training_set(folder / "files")["train"]
    options = {"form": source["format"], "image_root": source["image_root"], "progress": False}
    return validate(source["path"], folder / "out", **options).folder


@pytest.fixture(scope="module")
def every_figure(accuracy, example, trajectory, validated):
    """One of each, small."""
    silent = SimpleNamespace(turns=["hm"], boxes=[None], answer=None)
    return {
        "curves": figures.plot_training_curves({"GRPO": metrics(), "SRPO": metrics(10)}),
        "bias": figures.plot_scale_bias({"GRPO": rollouts(), "SRPO": rollouts(3)}, window=2),
        "accuracy": figures.plot_accuracy_by_scale(accuracy),
        "areas": figures.plot_area_distribution(
            {"tile": [0.01, 0.1, 0.3]}, {"vsr": np.linspace(0.01, 1, 21)}
        ),
        "scenes": figures.plot_scenes([example] * 3, columns=2),
        "one": figures.plot_trajectory(example, trajectory),
        "arms": figures.plot_trajectory(example, {"base": silent, "SRPO": trajectory}),
        "paper": figures.plot_paper_results(paper_results(), accuracy),
        "gallery": figures.plot_gallery(*gallery_data(example), per_group=2),
        "distribution": figures.plot_scale_distribution(
            *2 * [scale_distribution(make_scenes(6, seed=0, progress=False))]
        ),
        "worst": figures.plot_worst(validated, num=7, columns=4),
    }


# -------------------------------------------------------------------------------------------------------
# saving


def test_saved_files_have_the_same_bytes_each_time(every_figure, tmp_path):
    for name, figure in every_figure.items():
        assert figures.save_figure(figure, name, folder=tmp_path / "a") is figure
        figures.save_figure(figure, name, data=figure.table, folder=tmp_path / "b")
        for suffix in (".png", ".csv"):
            first, second = (tmp_path / folder / f"{name}{suffix}" for folder in "ab")
            assert first.read_bytes() == second.read_bytes(), name
    again = figures.plot_training_curves({"GRPO": metrics(), "SRPO": metrics(10)})
    assert png_bytes(again) == (tmp_path / "a" / "curves.png").read_bytes()
    with Image.open(tmp_path / "a" / "curves.png") as picture:
        assert picture.width == 1440
        assert not {"Software", "Creation Time"} & set(picture.info), (
            "a version or date would change the bytes"
        )


def test_csv_holds_what_the_figure_drew(every_figure, tmp_path):
    for name, figure in every_figure.items():
        figures.save_figure(figure, name, folder=tmp_path)
        read = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False, na_values=[""])
        assert read.columns.tolist() == figure.table.columns.tolist()
        assert len(read) == len(figure.table) > 0
        for column in figure.table.select_dtypes("float"):
            np.testing.assert_allclose(
                read[column], figure.table[column], rtol=1e-5, err_msg=f"{name}.{column}"
            )


@pytest.mark.parametrize("name", ["", "a/b", "fig.png", "../up"])
def test_names_that_are_no_file_names(every_figure, tmp_path, name):
    with pytest.raises(ValueError, match="without a suffix"):
        figures.save_figure(every_figure["curves"], name, folder=tmp_path)


def test_a_figure_without_numbers_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no numbers behind it"):
        figures.save_figure(Figure(), "bare", folder=tmp_path)
    figures.save_figure(Figure(), "given", data=pd.DataFrame({"x": [1 / 3]}), folder=tmp_path)
    assert (tmp_path / "given.csv").read_text() == "x\n0.333333\n"


# --------------------------------------------------------------------------------------------------------
# style


def test_the_users_matplotlib_is_neither_changed_nor_obeyed():
    before = png_bytes(figures.plot_training_curves({"GRPO": metrics(5)}))
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "xtick.labelsize": 25}):
        settings = dict(matplotlib.rcParams)
        assert png_bytes(figures.plot_training_curves({"GRPO": metrics(5)})) == before
        assert dict(matplotlib.rcParams) == settings


def test_figures_show_themselves_and_stay_out_of_pyplot(every_figure):
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []
    assert every_figure["curves"]._repr_png_().startswith(b"\x89PNG")


def test_arms_keep_their_colours_and_never_share_one():
    colours = colours_of(["base", "SRPO", "srpo-intra", "srpo-inter", "GRPO", "SFT"])
    assert colours["base"] == ARM_COLOURS["base"]
    assert colours["SRPO"] == ARM_COLOURS["SRPO"]
    assert colours_of(["run-srpo-1"])["run-srpo-1"] == ARM_COLOURS["SRPO"]
    assert len(set(colours.values())) == 6


@pytest.mark.parametrize(
    "name", ["curves", "bias", "accuracy", "areas", "scenes", "one", "arms", "paper", "gallery", "worst"]
)
def test_no_text_lies_on_another_or_outside(every_figure, monkeypatch, name):
    figure = every_figure[name]
    drawn = []
    # Noted as they are drawn, because figures hold many texts that never are, such as ticks beyond their axis.
    monkeypatch.setattr(Text, "draw", lambda text, renderer: drawn.append(text))
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    shown = [text for text in drawn if text.get_visible() and text.get_text().strip()]
    places = [(text.get_text(), text.get_window_extent(renderer)) for text in shown]
    assert len(places) > 3
    width, height = figure.bbox.max
    for number, (text, place) in enumerate(places):
        assert min(place.x0, place.y0) > -2 and place.x1 < width + 2 and place.y1 < height + 2, (
            f"{text!r} is cut"
        )
        for other, there in places[:number]:
            assert not place.padded(-1.5).overlaps(there.padded(-1.5)), f"{text!r} lies on {other!r}"


# ------------------------------------------------------------------------------------------------- single
# figures


def test_training_curves_draw_every_logged_step(every_figure):
    figure = every_figure["curves"]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == list(figures.TRAINING_PANELS.values())
    table = figure.table.query("arm == 'GRPO' and metric == 'reward_answer'")
    faint, strong = figure.axes[1].lines[:2]
    np.testing.assert_array_equal(faint.get_ydata(), metrics()["reward_answer"])
    np.testing.assert_array_equal(strong.get_ydata(), table["smoothed"])
    assert len(figure.table.query("arm == 'GRPO' and metric == 'giou_score'")) == 29, (
        "a step without GIoU has no point"
    )


@pytest.mark.parametrize(
    ("smooth", "expected", "reason"),
    [(1, [1.0, 2.0, 6.0], "every step"), (3, [1.5, 3.0, 4.0], "centred mean, cut at the ends")],
)
def test_smoothing_by_hand(smooth, expected, reason):
    table = metrics(3).assign(response_length=[1.0, 2.0, 6.0])
    drawn = figures.plot_training_curves({"a": table}, smooth=smooth).table
    assert drawn.query("metric == 'response_length'")["smoothed"].tolist() == expected, reason


def test_training_curves_name_missing_columns():
    with pytest.raises(ValueError, match=r"metrics of 'SRPO' lack the columns \['giou_score'\]"):
        figures.plot_training_curves({"SRPO": metrics().drop(columns="giou_score")})


def test_scale_bias_draws_the_table_of_by_scale(every_figure):
    figure = every_figure["bias"]
    expected = by_scale(rollouts(), window=2)
    drawn = figure.table.query("arm == 'GRPO'").drop(columns="arm")
    pd.testing.assert_frame_equal(drawn.reset_index(drop=True), expected)
    panel = figure.axes[4]  # third row (share), first column (GRPO)
    for line, scale in zip(panel.lines, SCALES, strict=True):
        assert line.get_color() == SCALE_COLOURS[scale]
        np.testing.assert_array_equal(line.get_ydata(), expected.query("scale == @scale")["share"])
        np.testing.assert_array_equal(line.get_xdata(), [1.5, 3.5, 5.5])


def test_scale_bias_by_annotation_and_without_iou():
    table = rollouts(2).assign(iou=math.nan)
    figure = figures.plot_scale_bias({"SRPO": table}, area="true_area")
    assert figure.legends[0].get_title().get_text() == "area of the annotated evidence, share of the picture"
    assert [axes.get_ylabel() for axes in figure.axes] == ["mean reward", "IoU with the evidence"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["no annotated evidence"]


def test_accuracy_bars_and_whiskers_are_the_table(every_figure, accuracy):
    axes = every_figure["accuracy"].axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, 100 * accuracy["accuracy"])
    whiskers = np.concatenate([lines.get_segments() for lines in axes.collections])
    np.testing.assert_allclose(whiskers[:, :, 1], 100 * accuracy[["accuracy_low", "accuracy_high"]])
    assert axes.get_xticklabels()[0].get_text() == "small\n< 10 %\nn = 10"


def test_accuracy_without_iou_or_with_an_empty_scale(accuracy):
    table = accuracy.drop(columns=["iou", "iou_low", "iou_high"]).assign(
        accuracy=[math.nan, *accuracy["accuracy"][1:]]
    )
    figure = figures.plot_accuracy_by_scale(table)
    assert len(figure.axes) == 1
    assert figure.axes[0].texts[0].get_text() == "–"


def test_numbers_of_low_bars_are_legible(accuracy):
    """White numbers on bars of no height were not."""
    figure = figures.plot_accuracy_by_scale(accuracy.assign(accuracy=[0.0, 0.05, *accuracy["accuracy"][2:]]))
    zero, low, high = figure.axes[0].texts[:3]
    assert (zero.get_text(), low.get_text()) == ("0", "5")
    assert zero.get_color() == low.get_color() == INK and high.get_color() == "white"
    assert low.get_position()[1] > 0.05, "above its bar"


def test_area_distribution_by_hand(every_figure):
    table = every_figure["areas"].table.set_index("name")
    assert table.index.tolist() == ["tile", "vsr"], "ours first"
    assert table.loc["vsr", "q50"] == pytest.approx(0.505)
    assert table.loc["tile", "q25"] == pytest.approx(0.055)


def test_scenes_state_the_evidence(every_figure, example):
    table = every_figure["scenes"].table
    assert table.loc[0, ["x1", "y1", "x2", "y2"]].tolist() == example["boxes"][0]
    assert table.loc[0, "relative_area"] == pytest.approx(100 / 4800)
    assert "(2.1 %)" in every_figure["scenes"].axes[0].get_xlabel()
    unannotated = figures.plot_scenes([{**example, "boxes": []}])
    assert unannotated.table["x1"].isna().all()
    with pytest.raises(ValueError, match="no examples"):
        figures.plot_scenes([])


def test_scenes_take_examples_as_objects(example):
    assert len(figures.plot_scenes([SimpleNamespace(**example)]).table) == 1


def test_trajectory_shows_exactly_the_evidence_that_was_shown(every_figure):
    picture, crop, _ = every_figure["one"].axes
    assert (*crop.get_xlim(), *crop.get_ylim()) == (5.0, 40.0, 30.0, 5.0)
    assert crop.get_title(loc="left") == "crop, 18 % of the picture"
    corners = {
        (patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()) for patch in picture.patches
    }
    assert corners == {(10.0, 10.0, 10.0, 10.0), (5.0, 5.0, 35.0, 25.0)}
    table = every_figure["arms"].table
    assert table["name"].tolist() == ["base", "SRPO", "SRPO"]
    assert table["turn"].tolist() == [1, 1, 2]
    assert table["x2"].fillna(0).tolist() == [0.0, 40.0, 0.0]
    assert every_figure["arms"].axes[1].get_title(loc="left") == "no box: whole picture"


def test_gallery_draws_hits_and_misses_by_lot(every_figure, example):
    dataset, predictions = gallery_data(example)
    table = every_figure["gallery"].table
    drawn = table.groupby(["group", "verdict"], sort=False).size()
    assert drawn.to_dict() == {
        ("small", "hit"): 2,
        ("medium", "miss"): 2,
        ("medium", "invalid"): 2,
        ("large", "unscored"): 2,
    }, "the question without annotation has no place among scales"
    shuffled = predictions.sample(frac=1, random_state=5)
    pd.testing.assert_frame_equal(figures.plot_gallery(dataset, shuffled, per_group=2).table, table)
    small = [
        figures.plot_gallery(dataset, predictions, per_group=2, seed=seed).table["id"][:2]
        for seed in range(9)
    ]
    assert len({tuple(ids) for ids in small}) > 1, "another seed draws others"


def test_gallery_shows_the_pictures_with_their_boxes_and_crops(every_figure):
    figure = every_figure["gallery"]
    table = figure.table
    row = table.index[table["id"] == "q5"].item()
    assert table.loc[row, ["x1", "y1", "x2", "y2"]].isna().all()
    assert table.drop(row)["x2"].eq(40.0).all()
    picture, crop, below = figure.axes[3 * row : 3 * row + 3]
    assert len(picture.patches) == 2, "the annotated box, on its rim"
    assert crop.get_title(loc="left") == "whole picture"
    assert below.texts[1].get_text() == "→ no $ key that fit… (solution: key / a key)"
    picture, crop, _ = figure.axes[:3]
    assert len(picture.patches) == 4
    assert (*crop.get_xlim(), *crop.get_ylim()) == (5.0, 40.0, 30.0, 5.0)
    assert picture.get_ylabel() == "small\nhit"


def test_gallery_without_scales_or_by_another_column(example):
    dataset, predictions = gallery_data(example)
    unannotated = figures.plot_gallery(dataset, predictions.assign(scale=None), per_group=1)
    assert unannotated.table["verdict"].tolist() == ["hit", "miss", "invalid", "unscored"]
    sets = predictions.assign(set=["a set with a very long name", *"bbb", *"aaaaaaaa"], valid=True)
    table = figures.plot_gallery(dataset, sets, by="set", per_group=9).table
    assert table.drop_duplicates(["group", "verdict"])[["group", "verdict"]].values.tolist() == [
        ["a", "hit"], ["a", "miss"], ["a", "unscored"], ["a set with a very long name", "hit"], ["b", "hit"]
    ]  # fmt: skip


def test_gallery_of_answers_without_a_look(example):
    """Zero crops: nothing was shown after the picture, not even the whole of it again."""
    dataset, predictions = gallery_data(example)
    figure = figures.plot_gallery(dataset, predictions.assign(boxes=[[] for _ in range(12)]), per_group=1)
    assert figure.table["x1"].isna().all()
    assert not figure.axes[1].images and figure.axes[1].get_title(loc="left") == ""


def test_a_gallery_is_of_one_model(example):
    dataset, predictions = gallery_data(example)
    both = pd.concat([predictions, predictions.assign(model="SRPO")])
    with pytest.raises(ValueError, match=r"of \['base', 'SRPO'\]"):
        figures.plot_gallery(dataset, both)
    with pytest.raises(ValueError, match="of none"):
        figures.plot_gallery(dataset, predictions[:0])


def test_large_pictures_are_drawn_at_the_size_of_a_page(example):
    large = {**example, "image": Image.new("RGB", (4000, 3000)), "boxes": [[0.0, 0.0, 4000.0, 1500.0]]}
    half = SimpleNamespace(turns=[], boxes=[Box(0.0, 0.0, 100.5, 80.0)], answer=None)
    picture, crop, _ = figures.plot_trajectory(large, half).axes
    assert picture.images[0].get_array().shape == (1200, 1600, 3)
    assert picture.get_xlim() == (0, 4000), "still in the image frame"
    assert crop.images[0].get_array().shape == (80, 101, 3), "the crop at full resolution"


# ------------------------------------------------------------------------------------------------ the paper's
# numbers


def test_paper_results_are_the_papers():
    results = paper_results()
    assert results["value"].notna().all()
    assert results["value"].dtype == np.float64
    high = results[results["table"] == "High-resolution"].pivot(
        index="model", columns="benchmark", values="value"
    )
    assert high.loc["Ground-R1"].to_dict() == {"HR-Bench-4K": 75.0, "HR-Bench-8K": 71.1, "V*": 87.4}
    average = results.query("table == 'VisCoT' and benchmark == 'AVG'").set_index("model")["value"]
    assert (average["Ground-R1"], average["Qwen2.5-VL-7B"]) == (81.7, 72.5)


def test_the_papers_numbers_are_labelled_as_the_papers(every_figure):
    table = every_figure["paper"].table
    ours = table["panel"] == "This kit, tiny model: generated scenes"
    assert table.loc[~ours, "panel"].str.startswith("Paper, 7B").all()
    assert table.loc[ours, "benchmark"].unique().tolist() == [*SCALES, "all"]
    v3 = table.query("benchmark == 'V*'").set_index("arm")["value"].to_dict()
    assert v3 == {"base": 75.5, "GRPO": 85.3, "SRPO": 87.4}, "v3's Ground-R1 is trained with SRPO"
    assert set(table.query("panel.str.contains('v2')", engine="python")["arm"]) == {"base", "GRPO"}
    assert len(figures.plot_paper_results(paper_results()).axes) == 2


def test_the_worst_rows_are_shown_with_place_reason_and_file_name_only(validated, every_figure):
    table = every_figure["worst"].table
    assert len(table) == 7 == table["kind"].nunique()
    panels = every_figure["worst"].axes[:7]
    assert [axes.get_title(loc="left") for axes in panels] == table["kind"].tolist()
    shown = {axes.get_title(loc="left"): " ".join(axes.get_xlabel().split()) for axes in panels}
    assert shown["picture missing"].startswith("line 30 There is no picture gone.jpg; download it")
    empty = [axes.texts[0].get_text() for axes in panels if axes.texts]
    pictured = {"picture missing", "picture unreadable", "row"}
    assert empty == ["no picture"] * len(pictured & set(table["kind"]))


def test_there_are_no_worst_rows_without_a_fault(tmp_path):
    scenes = make_scenes(2, seed=0, progress=False)
    with pytest.raises(ValueError, match="Nothing is wrong with the rows"):
        figures.plot_worst(validate(scenes, tmp_path / "out", progress=False).folder)


def test_other_data_than_scenes_stand_above_visual_cot_under_their_own_name():
    figure = figures.plot_area_distribution({"gqa": [0.1]}, {"gqa": [0.2, 0.3]}, label="Own data")
    assert figure.table["group"].tolist() == ["Own data", "Visual-CoT"]
    heights = [height for axes in figure.axes for height in axes.get_yticks()]
    assert heights == [0, 2], "a row is left free between the groups"


TEX = "docs $\\frac{$ and \\alpha_$x^$"  # matplotlib would raise ParseException, or draw a formula


def test_regression_texts_of_files_are_no_tex(example, trajectory, tmp_path):
    """A source named like this ended notebook 01 with a ParseSyntaxException."""
    folder = write_training_set(tmp_path / "files")["train"]["image_root"]
    row = {"image": f"vsr/{TEX}.jpg", "question": TEX, "solution": TEX, "kind": "exact", "source": TEX}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    found = validate(tmp_path / "rows.jsonl", tmp_path / "out", image_root=folder, progress=False)
    named = {**example, "question": TEX, "solution": [TEX], "source": TEX, "id": TEX}
    rows, predictions = gallery_data(named, model=TEX)
    predictions = predictions.assign(scale=TEX, answer=TEX)
    said = SimpleNamespace(turns=[TEX, TEX], boxes=trajectory.boxes, answer=TEX)
    levels = np.linspace(0.01, 1, 21)
    made = {
        "curves": figures.plot_training_curves({TEX: metrics()}),
        "bias": figures.plot_scale_bias({TEX: rollouts()}),
        "areas": figures.plot_area_distribution({TEX: [0.1, 0.2]}, {TEX: levels}, label=TEX),
        "scenes": figures.plot_scenes([named]),
        "trajectory": figures.plot_trajectory(named, {TEX: said}, title=TEX),
        "gallery": figures.plot_gallery(rows, predictions, by="scale"),
        "worst": figures.plot_worst(found.folder),
    }
    for name, figure in made.items():
        texts = " ".join(text.get_text() for text in figure.findobj(Text))
        assert "frac{$" in texts and "\\$" not in texts, f"{name}: as it stands in the file"
        figures.save_figure(figure, name, folder=tmp_path / "figures")


@pytest.mark.filterwarnings("error")
def test_regression_long_answers_leave_the_pictures_their_size(example, tmp_path):
    """Layout made room for a text wider than its column, until no picture was left."""
    rows, predictions = gallery_data({**example, "solution": ["W" * 14]})
    short = figures.plot_gallery(*gallery_data(example), per_group=2)
    wide = figures.plot_gallery(rows, predictions.assign(answer="W" * 18), per_group=2)
    figures.save_figure(short, "short", folder=tmp_path)
    figures.save_figure(wide, "wide", folder=tmp_path)
    assert wide.axes[0].get_position().width > 0.9 * short.axes[0].get_position().width


def test_regression_a_source_of_its_own_for_each_row_fits_on_a_page():
    place = "https://example.org/" + "folder/" * 40
    areas = {f"{place}{number}": [0.01] * (3 if number < 45 else 1) for number in range(900)}
    figure = figures.plot_area_distribution(areas, {"vsr": np.linspace(0.01, 1, 21)})
    names = figure.table["name"].tolist()
    assert len(names) == 42 and "860 others" in names and figure.get_figheight() < 12
    assert set(names) - {"vsr", "860 others"} <= {f"{place}{number}" for number in range(45)}
    assert max(len(label.get_text()) for label in figure.axes[0].get_yticklabels()) == 40
    assert figure.axes[0].get_position().width > 0.5, "names leave room for the numbers"
