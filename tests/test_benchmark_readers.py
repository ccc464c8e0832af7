"""Readers turn the official files of every benchmark, in every form, into examples with their pictures on disk."""

import base64
import csv
import hashlib
import io
import json
import logging
import os
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import Dataset, Features, List
from datasets import Image as ImageFeature
from PIL import Image
from test_items import ANNOTATIONS, COUNTS, ROWS, needs_annotations

from groundr1.boxes import Box
from groundr1.data import BENCHMARKS, Example, find_benchmarks, items_of, read_benchmark
from groundr1.data import benchmarks as reader
from groundr1.data.benchmarks import BENCHMARK_FEATURES
from groundr1.data.benchmarks.files import refcoco_dataset
from groundr1.data.paper import paper_results

SIZE = (100, 80)


def encoded(colour: str = "teal", size: tuple[int, int] = SIZE, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, form)
    return buffer.getvalue()


def as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def write_jsonl(path: Path, *rows: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_tsv(path: Path, *rows: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list({key: None for row in rows for key in row}), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: list[dict], **features: object) -> Path:
    """As the Hub stores it: columns of pictures are records of bytes and path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hub_dataset(rows, **features).to_parquet(path)
    return path


def hub_dataset(rows: list[dict], **features: object) -> Dataset:
    columns = {key: [row.get(key) for row in rows] for key in rows[0]}
    inferred = Dataset.from_list(
        [{key: row.get(key) for key in rows[0] if key not in features} for row in rows]
    )
    return Dataset.from_dict(columns, features=Features({**inferred.features, **features}))


def hub_row(benchmark: str, **changes: object) -> dict:
    """A row of the Hub, as it is stored: with its picture, without what a reader adds."""
    row = {
        key: value for key, value in ROWS[benchmark, "hub"].items() if key not in ("dataset", "image_path")
    }
    return row | {"image": {"bytes": encoded(), "path": None}} | changes


def read(name: str, source: object, image_root: Path | None = None, **settings: object):
    return read_benchmark(name, source, image_root, progress=False, **settings)


def pictures_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Every form


@pytest.mark.parametrize("benchmark", [name for name, form in ROWS if form == "jsonl"])
def test_ground_r1_jsonl(tmp_path: Path, benchmark):
    row = ROWS[benchmark, "jsonl"]
    stated = row.get("image", row.get("Image"))
    place = tmp_path / "root" / stated.split("cot_image_data/")[-1]
    place = place if place.suffix else place.with_name(f"{place.name}.jpg")  # SEED leaves the suffix out
    place.parent.mkdir(parents=True)
    Image.new("RGB", SIZE if benchmark != "mme" else (9, 9)).save(place)
    dataset, rejected = read(benchmark, write_jsonl(tmp_path / "x.jsonl", row), tmp_path / "root")
    assert rejected == [] and dataset.features == BENCHMARK_FEATURES
    items = items_of(benchmark, row)
    assert dataset["id"][:] == [item.id for item in items]
    assert dataset["question"][:] == [item.question for item in items]
    example = Example.from_row(dataset[0])
    assert example.image.size == Image.open(place).size
    assert example.boxes == ([items[0].box] if items[0].box else [])
    assert example.source == items[0].groups[BENCHMARKS[benchmark].group]


@pytest.mark.parametrize("benchmark", [name for name, form in ROWS if form == "tsv"])
def test_tsv_with_pictures_in_base64(tmp_path: Path, benchmark):
    row = ROWS[benchmark, "tsv"] | {"image": as_base64(encoded())}
    path = write_tsv(tmp_path / "x.tsv", row)
    dataset, rejected = read(benchmark, path)
    assert rejected == [] and len(dataset) == 1
    (name,) = pictures_in(tmp_path / "x.tsv.pictures")
    assert name == hashlib.sha256(encoded()).hexdigest() + ".png"
    assert Example.from_row(dataset[0]).image.size == SIZE
    assert row["image"] not in dataset[0]["annotation"]


@pytest.mark.parametrize("benchmark", [name for name, form in ROWS if form == "hub"])
@pytest.mark.parametrize("how", ["folder", "file", "data set", "streamed", "mappings"])
def test_hub_rows(tmp_path: Path, benchmark, how):
    """lmms-eval's columns; HR-Bench and MME-RealWorld have base64 in their parquet files, SEED lists of pictures."""
    row, features = hub_row(benchmark), {"image": ImageFeature()}
    if benchmark == "hrbench":
        row, features = row | {"image": as_base64(encoded())}, {}
    elif benchmark == "mme_realworld_lite":
        row, features = {key: value for key, value in row.items() if key != "image"}, {}
        row["bytes"] = as_base64(encoded())
    elif benchmark == "seed":
        row, features = row | {"image": [row["image"]]}, {"image": List(ImageFeature())}
    hub = BENCHMARKS[benchmark].hubs[0]
    folder = tmp_path / hub.name
    split = "testA" if benchmark == "refcoco" else hub.splits[0]
    file = write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet", [row], **features)
    streamed = datasets.load_dataset("parquet", data_files=str(file), streaming=True, split="train")
    source = {"folder": folder, "file": file, "data set": hub_dataset([row], **features), "streamed": streamed,
              "mappings": [row]}[how]  # fmt: skip
    if benchmark == "refcoco" and how in ("data set", "streamed", "mappings"):
        with pytest.raises(ValueError, match="does not say its data set and split"):
            read(benchmark, source, tmp_path / "out")
        return
    dataset, rejected = read(benchmark, source, tmp_path / "out")
    assert rejected == [] and len(dataset) == (2 if benchmark == "refcoco" else 1)
    assert len(pictures_in(tmp_path / "out")) == 1
    assert {Example.from_row(each).image.size for each in dataset} == {SIZE}
    expected = items_of(benchmark, ROWS[benchmark, "hub"])[0]
    again = items_of(benchmark, json.loads(dataset[0]["annotation"]))[0]
    assert (again.question, again.solution, again.groups, again.box) == (
        expected.question, expected.solution, expected.groups, expected.box
    )  # fmt: skip
    assert again.id == dataset[0]["id"] and again.image == pictures_in(tmp_path / "out")[0]


def test_pictures_decoded_by_pillow_are_kept_as_png(tmp_path: Path):
    picture = Image.fromarray(np.arange(7500, dtype=np.uint8).reshape(50, 50, 3))
    dataset, _ = read("vstar", [hub_row("vstar", image=picture)], tmp_path)
    assert np.array_equal(np.asarray(dataset[0]["image"]), np.asarray(picture))


def test_an_id_of_the_hub_is_streamed(tmp_path: Path, monkeypatch):
    asked = []

    def load(repository, config, split, streaming):
        asked.append((repository, config, split, streaming))
        return hub_dataset([hub_row("pope", question_id=split)], image=ImageFeature()).to_iterable_dataset()

    monkeypatch.setattr("groundr1.data.benchmarks.files.load_dataset", load)
    dataset, _ = read("pope", "lmms-lab-encoder/POPE", tmp_path)
    assert dataset["id"][:] == ["popular-test"]
    dataset, _ = read("pope", "lmms-lab/POPE/random", tmp_path)
    assert asked == [("lmms-lab-encoder/POPE", None, "test", True), ("lmms-lab/POPE", "Full", "random", True)]


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("mmmu", "x.jsonl", "is no benchmark"),
        ("pope", "lmms-lab-encoder/POPE", "give image_root"),
        ("hrbench", "DreamMr/HR-Bench", "add the split. Known for HR-Bench: DreamMr/HR-Bench/hrbench_4k"),
        ("pope", "somebody/else", "leaves open what to read"),
        ("pope", [ROWS["pope", "hub"]], "give image_root"),
    ],
)
def test_what_is_not_said_is_asked_for(name, source, message):
    with pytest.raises(ValueError, match=message):
        read(name, source)


@pytest.mark.parametrize("source", ["missing.jsonl", "missing.tsv", "missing folder"])
def test_a_missing_source_is_named(tmp_path: Path, source):
    with pytest.raises(FileNotFoundError, match=source):
        read("pope", tmp_path / source, tmp_path)


# Pictures


def test_a_picture_that_rows_repeat_is_one_file_and_written_once(tmp_path: Path):
    rows = [ROWS["hrbench", "tsv"] | {"index": str(n), "image": as_base64(encoded())} for n in range(4)]
    path = write_tsv(tmp_path / "hr_bench_4k.tsv", *rows)
    dataset, _ = read("hrbench", path)
    folder = tmp_path / "hr_bench_4k.tsv.pictures"
    (name,) = pictures_in(folder)
    written = (folder / name).stat().st_mtime_ns
    assert len(dataset) == 4
    again, _ = read("hrbench", path)
    assert (folder / name).stat().st_mtime_ns == written and again["annotation"][:] == dataset["annotation"][
        :
    ]


def test_rows_point_to_earlier_and_later_pictures(tmp_path: Path):
    first, second = as_base64(encoded("red")), as_base64(encoded("blue", (60, 40), "JPEG"))
    images = {"1": first, "2": "1", "3": "9", "9": second, "10": "9", "11": "77"}
    rows = [ROWS["seed", "tsv"] | {"index": index, "image": image} for index, image in images.items()]
    path = write_tsv(tmp_path / "x.tsv", *rows)
    dataset, (lost,) = read("seed", path)
    assert dataset["id"][:] == ["1", "2", "3", "9", "10"], "in the order of the file"
    assert [each["image"].size for each in dataset] == [SIZE, SIZE, (60, 40), (60, 40), (60, 40)]
    clusters = [items_of("seed", json.loads(each))[0].cluster for each in dataset["annotation"]]
    assert len(set(clusters)) == 2
    assert lost.line == 7 and "'77', which is not there" in lost.reason
    some, rejected = read("seed", path, limit=3)
    assert some["id"][:] == ["1", "2", "3"] and rejected == [], "the fourth row is read for its picture"


def test_a_pointer_to_an_index_of_several_rows_points_nowhere(tmp_path: Path):
    images = [("1", as_base64(encoded("red"))), ("2", "1"), ("1", as_base64(encoded("blue")))]
    rows = [ROWS["seed", "tsv"] | {"index": index, "image": image} for index, image in images]
    dataset, rejected = read("seed", write_tsv(tmp_path / "x.tsv", *rows))
    assert dataset["id"][:] == ["1"]
    assert [(each.line, each.reason[-22:]) for each in rejected] == [(3, "'1', and several rows are"[-22:]),
                                                                     (4, "id '1' is that of line 2"[-22:])]  # fmt: skip


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (as_base64(encoded()[:60]), "cannot be read"),
        (as_base64(b"not a picture, but long enough to be one" * 3), "cannot be read"),
        ("A" * 301, "not base64"),
        ("", "neither a picture nor a path"),
        (as_base64(encoded(size=(1000, 2))), "200 times its breadth"),
    ],
)
def test_a_damaged_picture_sets_its_rows_aside(tmp_path: Path, image, reason, caplog):
    good = ROWS["vstar", "tsv"] | {"image": as_base64(encoded())}
    bad = ROWS["vstar", "tsv"] | {"index": "4", "image": image}
    with caplog.at_level(logging.WARNING, logger="groundr1.data"):
        dataset, (fault,) = read("vstar", write_tsv(tmp_path / "x.tsv", good, bad))
    assert len(dataset) == 1 and fault.line == 3 and reason in fault.reason
    assert "1 of 2 rows set aside" in caplog.text
    assert len(pictures_in(tmp_path / "x.tsv.pictures")) == 1, "nothing half written"


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ("images/missing.png", "no picture"),
        ("images/torn.png", "cannot be read"),
        ("../outside.png", "may lead out of the image root"),
        ("/etc/hostname", "not below the image root"),
        ("images/link.png", "is a link out of the image root"),
        ("images/" + "x" * 300 + ".png", "too long"),
    ],
)
def test_no_path_leads_out_of_the_image_root(tmp_path: Path, stated, reason):
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    (tmp_path / "outside.png").write_bytes(encoded())
    (root / "images" / "img_7.png").write_bytes(encoded())
    (root / "images" / "torn.png").write_bytes(encoded()[:60])
    os.symlink(tmp_path / "outside.png", root / "images" / "link.png")
    good = ROWS["pope", "jsonl"]
    path = write_jsonl(tmp_path / "POPE.jsonl", good, good | {"Question_id": "9", "Image": stated})
    dataset, (fault,) = read("pope", path, root)
    assert dataset["id"][:] == ["popular-8"] and fault.line == 2 and reason in fault.reason


def test_a_picture_that_rows_share_is_decoded_once(tmp_path: Path, monkeypatch):
    (tmp_path / "images" / "existence").mkdir(parents=True)
    (tmp_path / "images" / "existence" / "1.jpg").write_bytes(encoded())
    looked = []
    real = reader.PictureStore.find.__globals__["load_image"]
    monkeypatch.setattr(
        "groundr1.data.benchmarks.picture_store.load_image", lambda path: looked.append(path) or real(path)
    )
    row = ROWS["mme", "jsonl"]
    path = write_jsonl(tmp_path / "MME.jsonl", row, row | {"problem_id": 8, "solution": "Yes"})
    assert len(read("mme", path, tmp_path)[0]) == 2 and len(looked) == 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])  # Pillow swaps the sides of a TIFF when it opens it
def test_a_turned_picture_has_the_size_that_is_shown(tmp_path: Path, form: str):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (100, 80), "red").save(buffer, form, exif=exif)
    row = hub_row("refcoco", dataset="RefCOCO/val", bbox=[60.0, 10.0, 20.0, 80.0], image=buffer.getvalue())
    for _ in ("written", "found there"):
        dataset, _ = read("refcoco", [row], tmp_path)
        assert json.loads(dataset[0]["annotation"])["picture_size"] == [80, 100]
        assert (dataset[0]["image"].size, dataset[0]["boxes"], dataset[0]["note"]) == (
            (80, 100),
            [[60, 10, 80, 90]],
            "",
        )


# Rows


def write_viscot(tmp_path: Path, *changes: dict, size: tuple[int, int] = SIZE) -> Path:
    (tmp_path / "root" / "gqa").mkdir(parents=True)
    Image.new("RGB", size).save(tmp_path / "root" / "gqa" / "1.jpg")
    rows = [ROWS["viscot", "jsonl"] | {"problem_id": number} | each for number, each in enumerate(changes)]
    return write_jsonl(tmp_path / "viscot.jsonl", *rows)


def test_boxes_of_visual_cot_are_repaired_and_the_question_stays(tmp_path: Path, caplog):
    boxes = [[10, 20, 30, 40]] * 11 + [[30, 40, 10, 20], [90, 20, 120, 40], [100, 20, 130, 40], [9, 9, 9, 9]]
    boxes += [[10, 20, 30, 40]] * 10
    path = write_viscot(tmp_path, *({"bboxs": [box]} for box in boxes))
    with caplog.at_level(logging.INFO, logger="groundr1.data"):
        dataset, rejected = read("viscot", path, tmp_path / "root")
    assert rejected == [] and len(dataset) == 25
    assert dataset["note"][11:15] == [
        "corners sorted", "cut to the picture", "outside the picture, left out", "empty, left out"
    ]  # fmt: skip
    assert dataset["boxes"][11:15] == [[[10, 20, 30, 40]], [[90, 20, 100, 40]], [], []]
    assert "'corners sorted': 1" in caplog.text and "'outside the picture, left out': 1" in caplog.text


def test_a_picture_of_another_size_keeps_its_question_without_the_box(tmp_path: Path):
    dataset, rejected = read("viscot", write_viscot(tmp_path, {}, size=(50, 40)), tmp_path / "root")
    assert rejected == [] and dataset[0]["boxes"] == []
    assert dataset[0]["note"] == "the picture is of another size, left out"


def test_refcoco_gives_a_row_an_expression(tmp_path: Path):
    (tmp_path / "RefCOCO" / "testA" / "images").mkdir(parents=True)
    (tmp_path / "RefCOCO" / "testA" / "images" / "1.png").write_bytes(encoded())
    dataset, _ = read("refcoco", write_jsonl(tmp_path / "x.jsonl", ROWS["refcoco", "jsonl"]), tmp_path)
    assert dataset["question"][:] == ["left man", "man in red"]
    assert (
        dataset["solution"][:] == [["left man"], ["man in red"]] and dataset["source"][0] == "RefCOCO/testA"
    )
    assert dataset["boxes"][:] == [[[10, 20, 30, 40]]] * 2
    again = [items_of("refcoco", json.loads(each)) for each in dataset["annotation"]]
    assert [[item.id for item in each] for each in again] == [["RefCOCO/testA-3-0"], ["RefCOCO/testA-3-1"]]


def test_rec_files_say_their_split_in_their_name(tmp_path: Path):
    (tmp_path / "COCO_1.jpg").write_bytes(encoded())
    row = {key: value for key, value in ROWS["refcoco", "REC"].items() if key != "dataset"}
    dataset, _ = read("refcoco", write_jsonl(tmp_path / "REC_refcoco+_unc_testB.jsonl", row), tmp_path)
    assert dataset["source"][:] == ["RefCOCOplus/testB"] and dataset["boxes"][0] == [[10, 20, 30, 40]]


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        (("/data/RefCOCOg/data/test-00000-of-00002.parquet",), "RefCOCOg/test"),
        (("/data/RefCOCOplus", "testA"), "RefCOCOplus/testA"),
        (("/val/refcoco/REC_refcoco_unc_testB.jsonl",), "RefCOCO/testB"),
        (("datasets--lmms-lab--RefCOCO", "val"), "RefCOCO/val"),
        (("ref_coc_oplus", "testA"), "RefCOCOplus/testA"),
        (("RefCOCO", "None"), None),
        (("COCO", "val"), None),
    ],
)
def test_names_of_refcoco_files(texts, name):
    assert refcoco_dataset(*texts) == name


def test_a_hub_snapshot_of_refcoco_has_its_official_splits(tmp_path: Path):
    folder = tmp_path / "lmms-lab__RefCOCO"
    for split in ("val", "test", "testA", "testB"):
        write_parquet(folder / "data" / f"{split}-0-of-1.parquet", [hub_row("refcoco")], image=ImageFeature())
    dataset, rejected = read("refcoco", folder)
    assert rejected == []
    assert sorted(set(dataset["source"])) == ["RefCOCO/testA", "RefCOCO/testB", "RefCOCO/val"]


def test_a_hub_snapshot_of_pope_is_read_once(tmp_path: Path):
    folder = tmp_path / "POPE"
    write_parquet(folder / "data" / "test-0-of-1.parquet", [hub_row("pope")], image=ImageFeature())
    full = write_parquet(folder / "Full" / "popular-0-of-1.parquet", [hub_row("pope")], image=ImageFeature())
    assert len(read("pope", folder)[0]) == 1
    assert len(read("pope", full.parent, tmp_path / "out")[0]) == 1


def test_two_versions_of_hr_bench_are_not_read_as_one(tmp_path: Path):
    row = ROWS["hrbench", "hub"] | {"image": as_base64(encoded())}
    for name in ("hr_bench_4k", "hr_bench_8k"):
        write_parquet(tmp_path / "HR-Bench" / f"{name}.parquet", [row])
    with pytest.raises(ValueError, match="hrbench_4k and hrbench_8k; read one of its files"):
        read("hrbench", tmp_path / "HR-Bench")


def test_questions_on_videos_are_counted_and_not_set_aside(tmp_path: Path, caplog):
    rows = [
        hub_row("seed"),
        hub_row("seed", question_id="2", data_type="video", image=[{"bytes": encoded()}] * 8),
    ]
    rows[0]["image"] = [rows[0]["image"]]
    with caplog.at_level(logging.INFO, logger="groundr1.data"):
        dataset, rejected = read("seed", rows, tmp_path)
    assert len(dataset) == 1 and rejected == []
    assert "{'a question on a video': 1}" in caplog.text


def test_an_id_that_occurs_twice_is_set_aside(tmp_path: Path):
    row = ROWS["vstar", "tsv"] | {"image": as_base64(encoded())}
    dataset, (fault,) = read("vstar", write_tsv(tmp_path / "x.tsv", row, row | {"question": "What?"}))
    assert (
        len(dataset) == 1 and fault.line == 3 and "id 'direct_attributes-3' is that of line 2" in fault.reason
    )


def test_equal_rows_of_mme_realworld_are_all_read(tmp_path: Path):
    (tmp_path / "1.png").write_bytes(encoded())
    row = ROWS["mme_realworld_lite", "jsonl"]
    dataset, rejected = read("mme_realworld_lite", write_jsonl(tmp_path / "x.jsonl", row, row), tmp_path)
    assert rejected == [] and len(set(dataset["id"])) == 2


def test_annotations_know_their_row_when_others_are_set_aside(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "img_0.png").write_bytes(encoded())
    good = ROWS["realworldqa", "jsonl"]
    path = write_jsonl(tmp_path / "RealworldQA.jsonl", {"problem": "Why?", "Image": "images/img_0.png"}, good)
    dataset, _ = read("realworldqa", path, tmp_path)
    assert (
        dataset["id"][:] == ["row-1"] == [items_of("realworldqa", json.loads(dataset[0]["annotation"]))[0].id]
    )


def test_a_limit_is_a_number_of_rows(tmp_path: Path):
    rows = [ROWS["vstar", "tsv"] | {"index": str(n), "image": as_base64(encoded())} for n in range(5)]
    assert len(read("vstar", write_tsv(tmp_path / "x.tsv", *rows), limit=2)[0]) == 2


@pytest.mark.parametrize(
    ("fed", "source", "names"),
    [
        ("refcoco", "viscot", "Visual-CoT, not of RefCOCO"),
        ("viscot", "refcoco", "RefCOCO/+/g, not of Visual-CoT"),
        ("mme", "pope", "POPE, not of MME"),
        ("realworldqa", "mmvet", "MM-Vet, not of RealWorldQA"),
    ],
)
def test_a_file_of_another_benchmark_is_refused_by_name(tmp_path: Path, fed, source, names):
    path = write_jsonl(tmp_path / "x.jsonl", ROWS[source, "jsonl"])
    with pytest.raises(ValueError) as error:
        read(fed, path, tmp_path)
    assert names in str(error.value) and str(path) in str(error.value)


def test_boxes_in_the_other_frame_are_refused(tmp_path: Path):
    """Names as they should be, but corners where RefCOCO has x, y, width, height, and the other way round."""
    (tmp_path / "1.png").write_bytes(encoded())
    corners = [[50, 40, 60 + n, 50 + n] for n in range(12)]
    rows = [
        ROWS["refcoco", "jsonl"] | {"image": "1.png", "bboxs": [c], "problem_id": n}
        for n, c in enumerate(corners)
    ]
    with pytest.raises(ValueError, match="24 of 24 boxes cannot be x, y, width, height"):
        read("refcoco", write_jsonl(tmp_path / "x.jsonl", *rows), tmp_path)
    path = write_viscot(tmp_path, *({"bboxs": [[50, 40, 20 + n, 10]]} for n in range(12)))
    with pytest.raises(ValueError, match="12 of 12 boxes cannot be corners"):
        read("viscot", path, tmp_path / "root")


def test_a_file_that_is_no_table_is_named(tmp_path: Path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really")
    (tmp_path / "x.tsv").write_bytes(b"index\timage\n1\t\xff\n")
    for name in ("x.parquet", "x.tsv"):
        with pytest.raises(ValueError, match=name):
            read("pope", tmp_path / name)
    with pytest.raises(ValueError, match="neither .jsonl nor .tsv nor .parquet"):
        read("pope", write_jsonl(tmp_path / "x.jsonl").rename(tmp_path / "x.txt"))


def test_a_short_line_of_a_tsv_is_set_aside(tmp_path: Path):
    row = ROWS["vstar", "tsv"] | {"image": as_base64(encoded())}
    path = write_tsv(tmp_path / "x.tsv", row)
    path.write_text(path.read_text() + "7\tshort\n")
    dataset, (fault,) = read("vstar", path)
    assert len(dataset) == 1 and fault.line == 3 and "fields" in fault.reason
    assert csv.field_size_limit() == 131072, "the limit of others is as it was"


# Finding


def test_benchmarks_are_found_by_name_and_by_content(tmp_path: Path, caplog):
    root = tmp_path / "data"
    for place in (
        "POPE/images/img_7.png",
        "MME/images/existence/1.jpg",
        "VisCoT/gqa/1.jpg",
        "RealworldQA/images/img_0.png",
    ):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(encoded(size=(9, 9) if "MME" in place else SIZE))
    write_jsonl(root / "jsonl" / "POPE.jsonl", ROWS["pope", "jsonl"])
    write_jsonl(root / "jsonl" / "mme.jsonl", ROWS["mme", "jsonl"])
    write_jsonl(root / "jsonl" / "RealworldQA.jsonl", ROWS["realworldqa", "jsonl"])
    write_jsonl(root / "jsonl" / "visualCoT_eval_subset150_choice.jsonl", ROWS["viscot", "jsonl"])
    write_jsonl(root / "jsonl" / "MMVet.jsonl", ROWS["mmvet", "jsonl"])  # its pictures are not there
    write_jsonl(root / "jsonl" / "MMMU_val.jsonl", {"problem": "Why?", "solution": "B", "Image": "a.png"})
    tsv = ROWS["hrbench", "tsv"] | {"image": as_base64(encoded())}
    write_tsv(root / "LMUData" / "hr_bench_4k.tsv", tsv)
    write_tsv(root / "LMUData" / "hr_bench_8k.tsv", tsv)
    write_tsv(root / "LMUData" / "renamed.tsv", ROWS["vstar", "tsv"] | {"image": as_base64(encoded())})
    write_tsv(root / "LMUData" / "POPE.tsv", tsv)  # named like POPE, and is not
    write_parquet(
        root / "lmms-lab__POPE" / "data" / "test-0-of-1.parquet", [hub_row("pope")], image=ImageFeature()
    )
    cache = root / "datasets--lmms-lab--SEED-Bench" / "snapshots" / "0123abcd" / "data"
    seed = hub_row("seed", image=[{"bytes": encoded(), "path": None}])
    write_parquet(cache / "test-0-of-1.parquet", [seed], image=List(ImageFeature()))
    write_parquet(root / "mine" / "a.parquet", [hub_row("mmvet")], image=ImageFeature())
    write_parquet(root / "scores" / "b.parquet", [{"score": 1.0}])
    with caplog.at_level(logging.INFO, logger="groundr1.data"):
        found = find_benchmarks(root)
    assert [(each.benchmark, each.label, each.form) for each in found] == [
        ("viscot", "viscot_subset", "jsonl"),
        ("mme", "mme", "jsonl"),
        ("mmvet", "mmvet", "hub"),
        ("seed", "seed", "hub"),
        ("realworldqa", "realworldqa", "jsonl"),
        ("pope", "pope_jsonl", "jsonl"),
        ("pope", "pope_hub", "hub"),
        ("vstar", "vstar", "tsv"),
        ("hrbench", "hrbench_4k", "tsv"),
        ("hrbench", "hrbench_8k", "tsv"),
    ]
    passed = [record.message for record in caplog.records if record.message.startswith("passed over")]
    for name, reason in {"MMVet.jsonl": "no folder holds the picture", "MMMU_val.jsonl": "of no benchmark",
                         "POPE.tsv": "named like POPE, but", "scores": "of no benchmark"}.items():  # fmt: skip
        assert sum(name in message and reason in message for message in passed) == 1
    assert len(passed) == 4
    for each in found:
        dataset, rejected = read(each.benchmark, each.path, each.image_root)
        assert len(dataset) == 1 and rejected == []
    assert [each.label for each in find_benchmarks(root)] == [each.label for each in found], (
        "pictures written are none"
    )


def test_pictures_of_two_benchmarks_with_equal_names_are_not_mixed_up(tmp_path: Path):
    """POPE and RealWorldQA both call theirs images/img_0.png."""
    for name, colour in {"POPE": "red", "RealworldQA": "blue"}.items():
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "images" / "img_0.png").write_bytes(encoded(colour))
    write_jsonl(tmp_path / "RealworldQA.jsonl", ROWS["realworldqa", "jsonl"])
    write_jsonl(tmp_path / "POPE.jsonl", ROWS["pope", "jsonl"] | {"Image": "images/img_0.png"})
    roots = {each.benchmark: each.image_root.name for each in find_benchmarks(tmp_path)}
    assert roots == {"pope": "POPE", "realworldqa": "RealworldQA"}


def test_a_missing_data_root_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        find_benchmarks(tmp_path / "data")


# The table


def test_the_table_agrees_with_the_paper_and_the_items():
    names = set(paper_results()["benchmark"])
    for benchmark in BENCHMARKS.values():
        assert set(benchmark.paper.values()) <= names
        example = next(row for (name, _), row in ROWS.items() if name == benchmark.name)
        assert benchmark.group in items_of(benchmark.name, example)[0].groups
    assert {name for each in BENCHMARKS.values() for name in each.paper.values()} == names


def test_high_resolution_benchmarks_have_their_own_budget():
    large = {name for name, each in BENCHMARKS.items() if each.max_pixels > 401408}
    assert large == {"vstar", "hrbench", "mme_realworld_lite"}
    assert {BENCHMARKS[name].max_pixels for name in large} == {12845056}


# The official annotation files, with stand-ins for their pictures


@needs_annotations
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pages of 94 million pixels
@pytest.mark.parametrize("benchmark", COUNTS)
def test_official_files_are_read_with_stand_in_pictures(tmp_path: Path, benchmark):
    """Every row of each file but Visual-CoT's, of which every tenth; pictures of one size are links to one file."""
    lines = (ANNOTATIONS / f"{COUNTS[benchmark][0]}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines][:: 10 if benchmark == "viscot" else 1]
    made: dict[tuple[int, int], Path] = {}
    for row in rows:
        stated = row.get("image", row.get("Image")).split("cot_image_data/")[-1]
        place = tmp_path / "root" / stated
        place.parent.mkdir(parents=True, exist_ok=True)
        size = (row.get("width", 8), row.get("height", 8))
        if size not in made:
            made[size] = tmp_path / f"{size}.png"
            Image.new("1", size).save(made[size])
        if not place.exists():
            os.link(made[size], place)
    dataset, rejected = read(benchmark, write_jsonl(tmp_path / "x.jsonl", *rows), tmp_path / "root")
    assert rejected == []
    expected = [item for number, row in enumerate(rows) for item in items_of(benchmark, row, number)]
    assert dataset["id"][:] == [item.id for item in expected]
    again = [items_of(benchmark, json.loads(each)) for each in dataset["annotation"]]
    assert [item.id for items in again for item in items] == dataset["id"][:]
    assert [Box(*boxes[0]) if boxes else None for boxes in dataset["boxes"]] == [
        item.box for item in expected
    ]
