"""Readers for question files with pictures: our own plain form, Visual-CoT, RefCOCO.

Each returns `(dataset, rejected)`: the rows that can be used, as `EXAMPLE_FEATURES`, and those set aside, each with
file, line and reason. A row is set aside when it is not a JSON object, lacks a field or has it in the wrong form, when
its id has occurred before, its picture is missing, damaged, or not of the stated size, or a box is inverted, empty,
normalised or wholly outside the picture, or its answer cannot be scored. A box partly outside is cut to the picture.
Pictures are read once, here, and stay files on disk. All rows are held in memory; `groundr1.data.validation` has no
such limit, and says more.

The official Visual-CoT and RefCOCO files use one key, `bboxs`, for corners and for x, y, width, height; given the
other's file, either reader refuses it whole.

    >>> dataset, rejected = read_jsonl("questions.jsonl", "pictures")      # doctest: +SKIP
    >>> print(*rejected, sep="\\n")                                         # doctest: +SKIP
"""

from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset
from tqdm.auto import tqdm

from groundr1.data.example import Rejected, to_dataset
from groundr1.data.frames import FrameTally
from groundr1.data.items.boxes import VISCOT_KINDS
from groundr1.data.picture_check import DEFAULT_LIMITS
from groundr1.data.row_forms import KINDS
from groundr1.data.row_judge import Judged, judged
from groundr1.data.row_streams import FORMS, stream
from groundr1.data.rows import BadRow, free_id, log_rejected

__all__ = [
    "KINDS",
    "VISCOT_KINDS",
    "read_form",
    "read_jsonl",
    "read_refcoco",
    "read_viscot",
    "read_viscot_conversations",
]


def read_jsonl(jsonl: str | Path, image_root: str | Path) -> tuple[Dataset, list[Rejected]]:
    """Read our plain form: one JSON object a line.

        {"image": "street/1.jpg", "question": "What is on the sign?", "solution": "STOP", "kind": "ocr",
         "boxes": [[310, 161, 408, 220]], "id": "street-1", "source": "signs"}

    `image` is a path below the image root; `solution` a text or a list of acceptable texts; `kind` one of `KINDS`;
    `boxes` corners in image pixels. `boxes`, `id` (default: file name and line) and `source` (default: file name) may
    be left out. Where `width` and `height` are both given, a picture of another size is set aside. Other keys are not
    read, but boxes under one of them (`bbox`, `bboxes`, `bboxs`, `box`) set the row aside.

    Args:
        jsonl: the file, UTF-8.
        image_root: the folder that holds the pictures; a path that leads out of it is refused.

    Returns:
        The dataset, in the order of the file, and the rows set aside.

    Raises:
        FileNotFoundError: the file or the folder is not there.
        ValueError: the boxes are not corners in pixels: too many of them cannot be.
    """
    return read_form(Path(jsonl), "jsonl", Path(image_root))


def read_viscot(jsonl: str | Path, image_root: str | Path) -> tuple[Dataset, list[Rejected]]:
    """Read Visual-CoT rows in the form of the official Ground-R1 files, training or evaluation.

    Keys `image`, `width`, `height`, `bboxs` (corners), `dataset`, `problem`, `solution`, `problem_id`. Image paths are
    those of the authors' machine: what follows `cot_image_data/` is looked up below the image root. Answers lose their
    `<answer>` tags and the four-option questions of gqa and openimages the stray quotation mark the files have.

    Args:
        jsonl: the file.
        image_root: the folder with a folder for each set (`flickr30k`, `gqa`, ...), or one that holds it.

    Returns:
        The dataset, its `source` being the set, and the rows set aside.

    Raises:
        FileNotFoundError: the file or the folder is not there.
        ValueError: the boxes are x, y, width, height: a RefCOCO file.
    """
    return read_form(Path(jsonl), "viscot", Path(image_root))


def read_viscot_conversations(json: str | Path, image_root: str | Path) -> tuple[Dataset, list[Rejected]]:
    """Read Visual-CoT's own file, `viscot_363k.json`: one JSON array of conversations with a box.

    The set of a row is its `source`; its answers are free text, also for the sets of kind "choice", where they are then
    compared as "exact". Paths "cot/gqa/1.jpg" are looked up below the image root, with and without `cot_image_data`.

    Args:
        json: the file.
        image_root: the folder with a folder for each set (`flickr30k`, `gqa`, ...), or one that holds it.

    Returns:
        The dataset and the rows set aside, `line` being the number of the row in the array.

    Raises:
        FileNotFoundError: the file or the folder is not there.
        ValueError: no JSON array; the boxes are not corners in pixels.
    """
    return read_form(Path(json), "viscot-conversations", Path(image_root))


def read_refcoco(jsonl: str | Path, image_root: str | Path) -> tuple[Dataset, list[Rejected]]:
    """Read RefCOCO, RefCOCO+ or RefCOCOg rows in the form of the official Ground-R1 files: one row an object.

    The same keys as Visual-CoT, but `bboxs` holds x, y, width, height and `solution` the expressions that refer to the
    object. There is no question to answer: `question` is the first expression, `solution` all of them, and only the box
    is of interest.

    Args:
        jsonl: the file.
        image_root: the folder that holds `RefCOCO/...`.

    Returns:
        The dataset, boxes as corners, its `source` being data set and split ("RefCOCO/testA"), and the rows set aside.

    Raises:
        FileNotFoundError: the file or the folder is not there.
        ValueError: the boxes are corners: a Visual-CoT file.
    """
    return read_form(Path(jsonl), "refcoco", Path(image_root))


def read_form(path: Path, form: str, image_root: Path | None = None) -> tuple[Dataset, list[Rejected]]:
    """Read a file of one of `groundr1.data.row_streams.FORMS` into memory; pictures with a path stay files on disk.

    Raises:
        FileNotFoundError: the file or the folder is not there.
        ValueError: the file as a whole is of another form, or its boxes are in another frame.
    """
    root = existing_root(image_root)
    good, rejected = [], []
    first_line: dict[str, int] = {}
    tally = FrameTally(FORMS[form].frame)
    rows = judged(stream(path, form), root, FORMS[form].marker, DEFAULT_LIMITS)
    num_rows = 0
    for row in tqdm(rows, desc=f"reading {path.name}", unit="row", delay=2):
        num_rows += 1
        if row.draft is not None:
            tally.add(row.draft.boxes, row.frame_size)
        if row.example is not None:
            _check_id(row, first_line)
        if row.example is None:
            rejected.append(Rejected(str(path), row.line, row.reason, row.id, row.fault))
            continue
        good.append(row.example)
        first_line[row.example["id"]] = row.line
    if fault := tally.fault():
        raise ValueError(f"{path}: {fault}")
    log_rejected(rejected, num_rows)
    return to_dataset(good), rejected


def _check_id(row: Judged, first_line: Mapping[str, int]) -> None:
    """Set a row aside that states an id which has occurred; one made of file name and line gives way."""
    name = row.example["id"]
    if row.draft.id_is_made:
        row.example["id"] = free_id(name, first_line.__contains__)
    elif name in first_line:
        row.set_aside(BadRow(f"id {name!r} is that of line {first_line[name]}", "duplicate id"))


def existing_root(image_root: str | Path | None) -> Path | None:
    """The image root, absolute, because the data set outlives the working directory."""
    if image_root is None:
        return None
    if not Path(image_root).is_dir():
        raise FileNotFoundError(
            f"There is no image folder {image_root}; download the pictures, or correct the path."
        )
    return Path(image_root).absolute()
