"""Splits of an experiment: drawn or checked once, kept on disk, and every row that was read accounted for."""

import io
import json
import shutil
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import datasets
import pytest
from datasets import Dataset, DatasetDict, load_from_disk
from datasets import Image as ImageFeature
from huggingface_hub import DatasetCard

from groundr1 import splits as splits_module
from groundr1.config import TrainConfig
from groundr1.data import collect as collect_module
from groundr1.data import make_scenes
from groundr1.data.collect import open_saved, save_rows
from groundr1.data.validation import InvalidRow, load_validation, validate
from groundr1.runs import RunExistsError
from groundr1.splits import (
    balanced_scales,
    fault_table,
    kept_table,
    load_checks,
    load_split,
    prepare_data,
)
from groundr1.training import load_training_data
from tests.small_annotations import noise, write_picture
from tests.small_training_set import (
    BAD_ROWS,
    HELDOUT_FAULTS,
    NUM_HELDOUT,
    NUM_TRAIN,
    TRAIN_FAULTS,
    write_plain,
    write_training_set,
)

SCENES = {
    "train": {"scenes": 6, "seed": 1, "progress": False},
    "heldout": {"scenes": 3, "seed": 1, "split": "heldout", "progress": False},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    return write_training_set(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, files) -> Path:
    """An experiment whose splits were read from files."""
    experiment = tmp_path_factory.mktemp("runs") / "own"
    prepare_data(experiment, files)
    return experiment


# Scenes


def test_scenes_are_drawn_once_and_read_back(tmp_path: Path, monkeypatch):
    made = prepare_data(tmp_path, SCENES)
    assert {split: len(dataset) for split, dataset in made.items()} == {"train": 6, "heldout": 3}
    monkeypatch.setattr(collect_module, "make_scenes", None)  # drawing again would fail
    again = prepare_data(tmp_path, SCENES)
    assert again["train"]["id"][:] == made["train"]["id"][:]
    assert load_split(tmp_path, "heldout")[0]["image"].size == (448, 448)


def test_saved_scenes_are_those_that_were_drawn(tmp_path: Path):
    """In ids, bytes and order: the committed figures stand on them."""
    saved = prepare_data(tmp_path, SCENES)["train"]
    drawn = make_scenes(6, seed=1, progress=False)
    assert saved.features == drawn.features
    encoded = [each.cast_column("image", ImageFeature(decode=False))[:] for each in (saved, drawn)]
    assert encoded[0] == encoded[1]


def test_data_cut_short_is_made_again(tmp_path: Path):
    prepare_data(tmp_path, SCENES)
    (tmp_path / "data" / "summary.json").unlink()
    with pytest.raises(FileNotFoundError, match="01_data_preparation"):
        load_split(tmp_path, "train")
    assert len(prepare_data(tmp_path, SCENES)["train"]) == 6


def test_other_sources_are_refused_and_nothing_is_overwritten(tmp_path: Path):
    prepare_data(tmp_path, SCENES)
    with pytest.raises(RunExistsError, match="sources"):
        prepare_data(tmp_path, {**SCENES, "train": {"scenes": 9, "seed": 1, "progress": False}})
    assert len(load_split(tmp_path, "train")) == 6


def test_a_scene_in_both_splits_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="stands in both 'train' and 'heldout'"):
        prepare_data(tmp_path, {"train": SCENES["train"], "heldout": SCENES["train"]})
    with pytest.raises(FileNotFoundError):
        load_split(tmp_path, "train")


def test_of_scenes_the_tables_say_that_nothing_was_checked(tmp_path: Path):
    prepare_data(tmp_path, SCENES)
    assert load_checks(tmp_path) == {} and balanced_scales(tmp_path) == {}
    assert fault_table({}).empty
    table = kept_table(tmp_path)
    assert table.loc["train"].to_dict() == {
        "made from": "scenes, drawn", "read": 6, "set aside": 0, "kept": 6, "used": 6,
    }  # fmt: skip
    assert "without a check" in (tmp_path / "data/README.md").read_text(encoding="utf-8")


# Files


def test_rows_of_files_are_kept_or_set_aside_by_reason(checked: Path):
    checks = load_checks(checked)
    assert checks["train"].counts["faults"] == TRAIN_FAULTS and len(BAD_ROWS) + 2 == sum(
        TRAIN_FAULTS.values()
    )
    assert checks["heldout"].counts["faults"] == HELDOUT_FAULTS
    assert (len(load_split(checked, "train")), len(load_split(checked, "heldout"))) == (
        NUM_TRAIN,
        NUM_HELDOUT,
    )
    for found in checks.values():
        assert found.counts["rows"] == len(found.dataset) + len(found.rejected)
    table = fault_table(checks)
    assert table.index[0] in ("leakage", "picture missing") and table.to_dict() == {
        "train": {**dict.fromkeys(HELDOUT_FAULTS, 0), **TRAIN_FAULTS},
        "heldout": {**dict.fromkeys(TRAIN_FAULTS, 0), **HELDOUT_FAULTS},
    }
    assert kept_table(checked).loc["train"].to_dict() == {
        "made from": "viscot, checked", "read": NUM_TRAIN + 10, "set aside": 10, "in another split": 2,
        "kept": NUM_TRAIN, "different pictures": NUM_TRAIN, "look alike": 1, "used": NUM_TRAIN,
    }  # fmt: skip


def test_a_drawn_and_a_checked_split_stand_in_one_table(tmp_path: Path):
    """Whole numbers stay whole beside cells that are empty."""
    prepare_data(tmp_path / "run", {"train": write_plain(tmp_path / "mine"), "heldout": SCENES["heldout"]})
    assert kept_table(tmp_path / "run").astype(str).loc[:, "in another split":].to_numpy().tolist() == [
        ["0", "4", "4", "0", "4"], ["", "3", "", "", "3"],
    ]  # fmt: skip


def test_what_is_held_out_is_set_aside_from_the_training_split_and_not_the_other_way(checked: Path):
    rejected = load_checks(checked)["train"].rejected.query("fault == 'leakage'")
    assert len(rejected) == 2 and all("heldout.jsonl" in reason for reason in rejected["reason"])
    assert "leakage" not in load_checks(checked)["heldout"].counts["faults"]


def test_pictures_that_are_files_are_not_copied(checked: Path, files):
    saved = load_split(checked, "train").cast_column("image", ImageFeature(decode=False))
    assert all(
        row["bytes"] is None and row["path"].startswith(files["train"]["image_root"])
        for row in saved["image"]
    )
    assert load_split(checked, "train")[0]["image"].size == (200, 160)
    size = sum(path.stat().st_size for path in (checked / "data").rglob("*") if path.is_file())
    assert size < 100_000


def test_a_training_run_reads_the_split_and_the_validation_alike(checked: Path):
    for folder in ("data/train", "validated/train"):
        config = TrainConfig(name="run", data={"path": str(checked / folder)})
        assert load_training_data(config)["id"][:] == load_split(checked, "train")["id"][:]


def test_the_card_counts_what_was_kept_and_loads(checked: Path, files, tmp_path: Path, monkeypatch):
    text = (checked / "data/README.md").read_text(encoding="utf-8")
    assert f"train: of {NUM_TRAIN + 10} rows {NUM_TRAIN} were kept and 10 set aside." in text
    assert "| leakage | 2 |" in text and "unknown: that of the source." in text
    assert f"prepare_data({str(checked)!r}, {{\n    'train': {{'path':" in text and "}, root='.')" in text
    assert "# paths start in the folder where this was run\n" in text
    assert f"| {files['train']['path']} | read |" in text, "with the hash of what was read"
    assert DatasetCard.load(checked / "data/README.md").data.license == "unknown"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    loaded = datasets.load_dataset(str(checked / "data"))
    assert {split: len(part) for split, part in loaded.items()} == {
        "train": NUM_TRAIN,
        "heldout": NUM_HELDOUT,
    }


@pytest.mark.parametrize(("balance", "expected"), [(True, [4, 4, 4]), (20, [7, 7, 6])])
def test_scales_are_balanced_when_asked(tmp_path: Path, files, balance, expected):
    made = prepare_data(tmp_path, {**files, "train": files["train"] | {"balance": balance}})
    before, after = balanced_scales(tmp_path)["train"]
    assert list(balanced_scales(tmp_path)) == ["train"]
    assert before["count"].tolist() == [13, 8, 4, 0] and after["count"].tolist() == [*expected, 0]
    assert Counter(made["train"]["source"])["openimages"] == expected[2], "the only set with large evidence"
    assert kept_table(tmp_path).loc["train", ["kept", "used"]].tolist() == [NUM_TRAIN, sum(expected)]
    assert f"From those kept, {sum(expected)} were drawn" in (tmp_path / "data/README.md").read_text()
    again = prepare_data(tmp_path, {**files, "train": files["train"] | {"balance": balance}})
    assert again["train"]["id"][:] == made["train"]["id"][:]


def test_the_seed_of_the_balance_chooses_the_rows(tmp_path: Path, files):
    chosen = []
    for seed in (0, 1):
        sources = {"train": files["train"] | {"balance": True, "seed": seed}}
        chosen.append(prepare_data(tmp_path / str(seed), sources)["train"]["id"][:])
    assert chosen[0] != chosen[1] and len(chosen[0]) == len(chosen[1]) == 12


def test_paths_start_from_the_root(tmp_path: Path):
    write_plain(tmp_path / "mine")
    source = {"path": "mine/questions.jsonl", "image_root": "mine"}
    assert len(prepare_data(tmp_path / "runs", {"train": source}, root=tmp_path)["train"]) == 4
    assert "| mine/questions.jsonl | read |" in (tmp_path / "runs/data/README.md").read_text()


def test_one_file_gives_both_splits_without_a_picture_in_both(tmp_path: Path):
    """Every fifth row is held out; the training split is the file, less what is held out."""
    source = write_plain(tmp_path / "files", 10)
    made = prepare_data(tmp_path / "run", {"train": source, "heldout": source | {"shard": [0, 5]}})
    assert made["heldout"]["id"][:] == ["questions-1", "questions-6"]
    assert not set(made["train"]["id"]) & set(made["heldout"]["id"]) and len(made["train"]) == 8
    assert load_checks(tmp_path / "run")["train"].counts["faults"] == {"leakage": 2}


def test_several_files_are_one_split(tmp_path: Path):
    a, b = write_plain(tmp_path / "a", 3), write_plain(tmp_path / "a", 3)
    other = tmp_path / "a" / "more.jsonl"
    row = {"image": "new.png", "question": "What?", "solution": "go", "kind": "exact"}
    other.write_text(json.dumps(row), encoding="utf-8")
    noise(300).save(tmp_path / "a" / "new.png")
    made = prepare_data(tmp_path / "run", {"train": {**a, "path": [b["path"], str(other)]}})
    assert made["train"]["id"][:] == ["questions-1", "questions-2", "questions-3", "more-1"]


def test_a_saved_data_set_is_checked_like_a_file(tmp_path: Path):
    rows = {"image": [noise(seed) for seed in (1, 2, 3)], "question": ["What?"] * 3}
    saved = Dataset.from_dict(rows | {"solution": ["a", "b", " "], "kind": ["exact"] * 3})
    saved.cast_column("image", ImageFeature()).save_to_disk(tmp_path / "saved")
    made = prepare_data(tmp_path / "run", {"train": {"path": str(tmp_path / "saved")}})["train"]
    assert made["solution"][:] == [["a"], ["b"]] and made[0]["image"].size == (100, 80)
    assert load_checks(tmp_path / "run")["train"].rejected["line"].tolist() == [3]
    DatasetDict({"one": saved}).save_to_disk(tmp_path / "several")
    with pytest.raises(ValueError, match="holds the data sets one; give the folder of one"):
        prepare_data(tmp_path / "other", {"train": {"path": str(tmp_path / "several")}})


def test_a_validation_has_its_image_root_and_a_saved_data_set_is_given_one(checked: Path, tmp_path: Path):
    """Paths, absolute ones too, may not lead out of an image root; a saved data set was held to none."""
    kept = load_split(checked, "train")["id"][:]
    validated = {"path": str(checked / "validated" / "train")}
    assert prepare_data(tmp_path / "a", {"train": validated})["train"]["id"][:] == kept
    root = load_validation(checked / "validated" / "train").counts["image_root"]
    saved = {"path": str(checked / "data" / "train")}
    with pytest.raises(ValueError, match="names its pictures by path .*give image_root"):
        prepare_data(tmp_path / "b", {"train": saved})
    assert prepare_data(tmp_path / "b", {"train": saved | {"image_root": root}})["train"]["id"][:] == kept
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ValueError, match="has no row that can be used"):
        prepare_data(tmp_path / "c", {"train": saved | {"image_root": str(tmp_path / "elsewhere")}})


def test_an_archive_is_unpacked_once(tmp_path: Path, monkeypatch):
    source = write_plain(tmp_path / "files")
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in (tmp_path / "files").glob("*.png"):
            archive.write(path, path.name)
    source |= {"image_root": str(tmp_path / "unpacked"), "archive": str(tmp_path / "pictures.zip")}
    assert len(prepare_data(tmp_path / "a", {"train": source})["train"]) == 4
    monkeypatch.setattr(collect_module, "unpack", None)  # unpacking again would fail
    assert len(prepare_data(tmp_path / "b", {"train": source})["train"]) == 4
    other = source | {"archive": source["path"]}
    with pytest.raises(ValueError, match="give each an image_root of its own"):
        prepare_data(tmp_path / "c", {"train": source, "heldout": other})


def test_visual_cot_goes_from_download_to_training_set(tmp_path: Path):
    """Its files of one set each, and its pictures as one tar in parts, as they lie on the Hub."""
    metadata, parts, packed = tmp_path / "metadata", tmp_path / "cot_images_tar_split", io.BytesIO()
    metadata.mkdir()
    parts.mkdir()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for number, name in enumerate(("gqa/1.png", "textvqa/2.png")):
            write_picture(tmp_path / "picture.png", number)
            tar.add(tmp_path / "picture.png", f"cot_image_data/{name}")
    for number in range(3):
        (parts / f"cot_images_{number:02}").write_bytes(
            packed.getvalue()[number * 4000 :][: (4000, 4000, None)[number]]
        )
    row = {
        "question": "What?",
        "answer": "it",
        "width": 100,
        "height": 80,
        "bboxs": [[1, 2, 30, 40]],
        "split": "train",
    }
    for name, image in (("gqa", "1.png"), ("textcap", "2.png"), ("vsr", "3.png")):
        row |= {"dataset": name, "image": image}
        (metadata / f"{name}_cot_train.jsonl").write_text(json.dumps(row) + "\n")
    source = {
        "path": [str(path) for path in sorted(metadata.iterdir())], "format": "viscot-metadata",
        "image_root": str(tmp_path / "images"), "archive": str(parts),
    }  # fmt: skip
    train = prepare_data(tmp_path / "run", {"train": source})["train"]
    assert train["source"] == ["gqa", "textcap"] and train["boxes"][0] == [[1.0, 2.0, 30.0, 40.0]]
    (lost,) = load_validation(tmp_path / "run" / "validated" / "train").rejected.to_dict("records")
    assert (lost["source"], lost["fault"], lost["line"]) == ("vsr", "picture missing", 1)


# Errors, kills


def test_strict_stops_at_the_first_bad_row_and_leaves_no_run(tmp_path: Path, files):
    with pytest.raises(InvalidRow, match="train.jsonl, line 26: .*box inverted"):
        prepare_data(tmp_path, {**files, "train": files["train"] | {"strict": True}})
    assert not (tmp_path / "data").exists(), "mended parameters are not refused as others"
    assert len(prepare_data(tmp_path, files)["train"]) == NUM_TRAIN


WRONG = [
    ({"path": "absent.jsonl", "image_root": "."}, FileNotFoundError, "There is no .*absent.jsonl; download"),
    ({"path": "q.jsonl"}, ValueError, "need an 'image_root'"),
    ({"path": "q.jsonl", "image_root": "absent"}, FileNotFoundError, "no image folder .*absent; download"),
    ({"path": "q.jsonl", "image_root": "x", "archive": "absent.zip"}, FileNotFoundError, "absent.zip; download"),
    ({"path": "q.jsonl", "archive": "q.jsonl"}, ValueError, "need an 'image_root'"),
    ({"path": "q.jsonl", "format": "csv", "image_root": "."}, ValueError, "format='csv' is none of jsonl, viscot"),
    ({"path": [], "image_root": "."}, ValueError, r"path=\[\] must be a file, a list of files, or the folder"),
    ({"path": 3, "image_root": "."}, ValueError, "path=3 must be a file, a list of files, or the folder"),
    ({"path": ["q.jsonl", 3], "image_root": "."}, ValueError, "must be a file, a list of files"),
    ({"path": ["q.jsonl", "."], "image_root": "."}, ValueError, "a folder among several"),
    ({"path": "q.jsonl", "image_root": ".", "balance": 0}, ValueError, "train_data=.*'balance' must be"),
    ({"path": "q.jsonl", "image_root": ".", "strict": "yes"}, ValueError, "'strict' must be true or false"),
    ({"path": "q.jsonl", "image_root": ".", "seed": 0.5}, ValueError, "'seed' must be a whole number"),
    ({"path": "q.jsonl", "image_root": ".", "limit": 3}, ValueError, "'limit' does not go with 'path'"),
    ({"path": "q.jsonl", "image_root": ".", "shard": [4, 2]}, ValueError, "'shard' must be .i, n."),
    ({"path": "q.jsonl", "image_root": ".", "shard": 3}, ValueError, "'shard' must be .i, n."),
    ({"path": "q.jsonl", "image_root": None}, ValueError, "'image_root' has no value"),
    ({"path": "q.jsonl", "image_root": "."}, ValueError, "no row that can be used. The report says why"),
    ({"scenes": 0, "seed": 1}, ValueError, "no row that can be used"),
    ({}, ValueError, "train_data={} must hold either"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "kind", "words"), WRONG, ids=[str(source) for source, *_ in WRONG])
def test_a_source_that_cannot_be_used_is_named_and_leaves_no_run(tmp_path: Path, source, kind, words):
    (tmp_path / "q.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(kind, match=words):
        prepare_data(tmp_path / "run", {"train": source}, root=tmp_path)
    assert not (tmp_path / "run/data").exists()


def test_a_wrong_training_file_is_named_before_the_other_split_is_checked(tmp_path: Path, files):
    sources = {"train": files["train"] | {"path": "absent.jsonl"}, "heldout": files["heldout"]}
    with pytest.raises(FileNotFoundError, match=r"absent\.jsonl"):
        prepare_data(tmp_path, sources)
    assert not list(tmp_path.iterdir())


def test_a_finished_experiment_is_read_back_without_its_files(tmp_path: Path):
    source = write_plain(tmp_path / "files")
    prepare_data(tmp_path / "run", {"train": source})
    (tmp_path / "files/questions.jsonl").unlink()
    assert len(prepare_data(tmp_path / "run", {"train": source})["train"]) == 4


def test_regression_a_mended_file_does_not_give_the_old_rows(tmp_path: Path):
    """The old answer came back without a word."""
    source = write_plain(tmp_path / "files", 4)
    file = Path(source["path"])
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([*lines[:2], "{torn", "{torn"]), encoding="utf-8")
    assert len(prepare_data(tmp_path / "run", {"train": source})["train"]) == 2
    file.touch()
    assert len(prepare_data(tmp_path / "run", {"train": source})["train"]) == 2, (
        "the same bytes, copied or touched"
    )
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(
        RunExistsError, match=r"questions\.jsonl has changed since .*data was made of it.*Delete"
    ):
        prepare_data(tmp_path / "run", {"train": source})
    assert len(load_split(tmp_path / "run", "train")) == 2, "nothing was touched"
    shutil.rmtree(tmp_path / "run" / "data")
    assert len(prepare_data(tmp_path / "run", {"train": source})["train"]) == 4


def test_a_saved_data_set_that_has_changed_is_noticed_too(tmp_path: Path):
    folder, sources = tmp_path / "saved", {"train": {"path": str(tmp_path / "saved")}}
    make_scenes(4, seed=0, progress=False).save_to_disk(folder)
    prepare_data(tmp_path / "run", sources)
    assert len(prepare_data(tmp_path / "run", sources)["train"]) == 4
    save_rows(make_scenes(4, seed=1, progress=False), folder)
    with pytest.raises(RunExistsError, match=r"saved/data.*\.arrow has changed"):
        prepare_data(tmp_path / "run", sources)


def test_the_command_of_the_card_makes_the_same_data(tmp_path: Path, monkeypatch):
    write_plain(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    source = {"path": "questions.jsonl", "image_root": "."}
    made = prepare_data("runs/own", {"train": source}, root="mine")["train"]
    text = Path("runs/own/data/README.md").read_text(encoding="utf-8")
    shutil.rmtree("runs")
    exec(text.split("```")[1], {})
    assert load_split("runs/own", "train")["id"][:] == made["id"][:]


def test_killed_in_the_second_split_the_first_is_not_checked_again(tmp_path: Path, files, monkeypatch):
    """Checking the held-out split anew would change its summary, and so begin the training split anew."""
    passes = []

    def killed(source, folder, **options):
        passes.append(Path(folder).name)
        if len(passes) == 2:
            raise KeyboardInterrupt
        return validate(source, folder, **options)

    monkeypatch.setattr(collect_module, "validate", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare_data(tmp_path, files)
    written = (tmp_path / "validated/heldout/summary.json").stat().st_mtime_ns
    assert len(prepare_data(tmp_path, files)["train"]) == NUM_TRAIN
    assert passes == ["heldout", "train", "heldout", "train"]
    assert (tmp_path / "validated/heldout/summary.json").stat().st_mtime_ns == written


def test_saved_rows_keep_what_tells_them_from_others(tmp_path: Path):
    """`datasets` finds what it has cached by the fingerprint; two samples of one data set must not share it."""
    scenes = make_scenes(6, seed=0, progress=False)
    for name, rows in {"a": [3, 1], "b": [1, 3], "empty": []}.items():
        save_rows(scenes.select(rows), tmp_path / name)
        assert load_from_disk(str(tmp_path / name))["id"][:] == [scenes["id"][row] for row in rows]
    prints = {open_saved(tmp_path / name)._fingerprint for name in ("a", "b", "empty")}
    assert len(prints) == 3
    save_rows(scenes, tmp_path / "a")
    assert open_saved(tmp_path / "a")["id"][:] == scenes["id"][:], "what was there is replaced"


def test_the_notebook_named_in_errors_is_there():
    root = Path(splits_module.__file__).resolve().parents[1]
    assert (root / splits_module.DATA_NOTEBOOK).is_file()
