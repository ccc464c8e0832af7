"""The card: `datasets` loads the folder by it, and its numbers are those of the data."""

import hashlib
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
import yaml
from datasets import Dataset
from huggingface_hub import DatasetCard

import groundr1
from groundr1.data import EXAMPLE_FEATURES, Example, make_scenes
from groundr1.data.balance import scale_distribution
from groundr1.data.card import CardSplit, write_card


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "checked"
    (folder / "rows").mkdir(parents=True)
    (folder / "rows" / "other.csv").write_text("fault\nbox\n")
    return folder


def saved(folder: Path, num: int = 7) -> Dataset:
    scenes = make_scenes(num, seed=0, progress=False)
    scenes.save_to_disk(folder / "clean")
    return scenes


def card_of(folder: Path, dataset: Dataset, **changes: object) -> str:
    arguments = {"name": "Scenes", "command": "make_scenes(7, seed=0)"} | changes
    split = {"source": "generated scenes"}
    for each in ("source", "set_aside", "drawn_from"):
        if each in arguments:
            split[each] = arguments.pop(each)
    path = write_card(folder, {"train": CardSplit(dataset, **split)}, **arguments)
    assert path == folder / "README.md"
    return path.read_text(encoding="utf-8")


def test_the_folder_loads_by_its_card(folder: Path):
    scenes = saved(folder)
    card_of(folder, scenes)
    loaded = datasets.load_dataset(str(folder), split="train")
    assert loaded.features == EXAMPLE_FEATURES and loaded["id"][:] == scenes["id"][:]
    first, second = Example.from_row(loaded[0]), Example.from_row(scenes[0])
    assert first.boxes == second.boxes and first.image.tobytes() == second.image.tobytes()


def test_several_parts_are_one_split_and_an_empty_part_does_not_matter(folder: Path):
    scenes = make_scenes(5, seed=0, progress=False)
    (folder / "clean").mkdir()
    for number, (start, num) in enumerate([(0, 3), (3, 0), (3, 2)]):
        table = scenes.data.table.slice(start, num)
        with pa.ipc.new_stream(str(folder / "clean" / f"part-{number:05d}.arrow"), table.schema) as stream:
            stream.write_table(table)
    card_of(folder, scenes)
    assert datasets.load_dataset(str(folder), split="train")["id"][:] == scenes["id"][:]


def test_the_head_is_valid_and_says_what_the_columns_are(folder: Path):
    scenes = saved(folder)
    card_of(folder, scenes)
    head = DatasetCard.load(folder / "README.md").data.to_dict()
    assert head["license"] == "unknown" and head["size_categories"] == ["n<1K"]
    assert head["task_categories"] == ["visual-question-answering"]
    assert head["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "clean/*.arrow"}]}
    ]
    info = head["dataset_info"]
    assert info["splits"][0]["num_examples"] == 7
    assert [column["name"] for column in info["features"]] == list(EXAMPLE_FEATURES)


def test_the_text_has_the_numbers_of_the_data(folder: Path):
    scenes = saved(folder)
    text = card_of(
        folder,
        scenes,
        set_aside={"box outside": 2, "picture missing": 1234},
        hashes={"questions.jsonl": "ab" * 32},
    )
    assert "train: of 1,243 rows 7 were kept and 1,236 set aside." in text
    assert text.index("| picture missing | 1,234 |") < text.index("| box outside | 2 |"), (
        "the most frequent first"
    )
    for scale, count, share in scale_distribution(scenes)[:3].itertuples(index=False):
        assert f"| {scale} | {count} | {100 * share:.1f} % |" in text
    assert "| not annotated | 0 |  |" in text
    assert (
        "| tile | exact | 3 |" in text
        and "| print | exact | 2 |" in text
        and "| relation | exact | 2 |" in text
    )
    (arrow,) = (folder / "clean").glob("*.arrow")
    assert hashlib.sha256(arrow.read_bytes()).hexdigest() in text and "ab" * 32 in text
    assert "unknown: that of the source." in text and "```\nmake_scenes(7, seed=0)\n```" in text
    assert groundr1.__version__ in text
    assert card_of(folder, scenes) == card_of(folder, scenes), "the same bytes each time"
    assert "without a check" in card_of(folder, scenes)
    assert "train: of 7 rows 7 were kept and 0 set aside." in card_of(folder, scenes, set_aside={})


def test_several_splits_are_one_data_set(folder: Path):
    parts = {
        "train": make_scenes(4, seed=0, progress=False),
        "heldout": make_scenes(3, seed=9, progress=False),
    }
    for split, scenes in parts.items():
        scenes.save_to_disk(folder / split)
    splits = {
        split: CardSplit(scenes, f"scenes {split}", f"{split}/*.arrow") for split, scenes in parts.items()
    }
    text = write_card(folder, splits, name="Two", command="-").read_text(encoding="utf-8")
    assert "### train: 4 rows" in text and "### heldout: 3 rows" in text and "heldout: scenes heldout" in text
    loaded = datasets.load_dataset(str(folder))
    assert {split: part["id"][:] for split, part in loaded.items()} == {
        split: scenes["id"][:] for split, scenes in parts.items()
    }


def test_rows_that_were_drawn_are_told_from_rows_that_were_kept(folder: Path):
    """Seven rows drawn from three: with as many set aside as were kept, none of the numbers is another's."""
    text = card_of(folder, saved(folder), set_aside={"duplicate": 3}, drawn_from=3)
    assert "train: of 6 rows 3 were kept and 3 set aside. From those kept, 7 were drawn" in text


def test_texts_of_a_hostile_data_set_break_neither_head_nor_tables(folder: Path):
    scenes = saved(folder)
    evil = "x | y\n---\nlicense: mit\n<script>alert(1)</script>"
    scenes = scenes.remove_columns("source").add_column("source", [evil] * len(scenes))
    text = card_of(folder, scenes.cast(EXAMPLE_FEATURES), name=f"A: {evil}", source=evil, set_aside={evil: 1})
    head, body = text.split("\n---\n", 1)
    assert yaml.safe_load(head.removeprefix("---"))["license"] == "unknown"
    assert "<script" not in body and "| x \\| y --- license: mit &lt;script\\>" in body
    assert DatasetCard.load(folder / "README.md").data.license == "unknown"


@pytest.mark.parametrize(
    "text",
    [
        "![t](http://evil.example/x.png)",
        "[t](http://evil.example)",
        "[t][1]",
        "<img src=x onerror=alert(1)>",
        "<http://evil.example>",
        "http://evil.example and www.evil.example",
        "a | b",
        "`code` ``` and \\` \\",
        "**a** __b__ *c* _d_ ~~e~~ $f$",
        "&lt;script&gt; &copy;",
        "a \\| b \\\\| c",
        "# a",
        "@somebody",
        "größe 日本",
    ],
)
def test_texts_of_a_data_set_are_shown_as_they_stand(folder: Path, text: str):
    scenes = saved(folder)
    scenes = scenes.remove_columns("source").add_column("source", [text] * len(scenes)).cast(EXAMPLE_FEATURES)
    body = card_of(folder, scenes, name=text, source=text, set_aside={text: 1}).split("\n---\n", 1)[1]
    markdown = pytest.importorskip("markdown_it", reason="comes with huggingface_hub's command line")
    tokens = markdown.MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    inline = [each for token in tokens if token.type == "inline" for each in token.children]
    assert {each.type for each in inline} <= {"text", "text_special", "softbreak", "code_inline"}
    code = [each.content for each in inline if each.type == "code_inline"]
    assert set(code) == {"kind", "boxes"}, "the card's own"
    cells = ["".join(each.content for each in token.children) for token in tokens if token.type == "inline"]
    assert cells.count(text) == 3, "title, source, reason"
    assert f"train: {text}" in cells


def test_links_that_need_no_brackets_are_broken(folder: Path):
    """GitHub makes links of addresses in plain text."""
    body = card_of(folder, saved(folder), source="http://evil.example, www.evil.example, WWW.evil.example")
    assert "http\\://evil.example, www\\.evil.example, WWW\\.evil.example" in body
    assert "train_33k.jsonl" in card_of(folder, saved(folder), source="train_33k.jsonl"), "still legible"


def test_many_sources_are_summed_up(folder: Path):
    scenes = saved(folder, 50)
    scenes = scenes.remove_columns("source").add_column("source", [f"s{number}" for number in range(50)])
    assert "| 10 others |  | 10 |" in card_of(folder, scenes.cast(EXAMPLE_FEATURES))


def test_no_data_files_no_card(folder: Path):
    with pytest.raises(FileNotFoundError, match=r"no clean/\*.arrow in .*; save the data set there"):
        card_of(folder, make_scenes(1, seed=0, progress=False))
    assert not (folder / "README.md").exists()
