"""A small training set in the form of the official Visual-CoT files, some of whose rows are bad in known ways."""

import json
from pathlib import Path

from tests.small_annotations import noise, write_lines

SIZE = (200, 160)
# Set -> boxes of that set's rows: 1.25 %, 20 % and 60 % of the picture, so small, medium and large.
BOXES = {"textvqa": [20, 30, 40, 50], "vsr": [40, 40, 120, 120], "openimages": [20, 10, 180, 130]}
CHOICE = 'Which is it?"  \nA. Door  \nB. Wall  \n'

TRAIN_SETS = ["textvqa"] * 12 + ["vsr"] * 8 + ["openimages"] * 4
# What is changed in a good row -> kind of fault; of the last three the faults are in the pictures or other rows.
BAD_ROWS = [
    ({"bboxs": [[80, 40, 20, 90]]}, "box inverted"),
    ({"bboxs": [[300, 300, 400, 400]]}, "box outside"),
    ({"width": SIZE[1], "height": SIZE[0]}, "picture size"),
    ({"dataset": "openimages", "problem": CHOICE, "solution": "<answer>F</answer>"}, "answer"),
    ({"image": "/home/somebody/cot_image_data/vsr/gone.jpg"}, "picture missing"),
    ({"image": "/home/somebody/cot_image_data/vsr/short.jpg"}, "picture unreadable"),
    ({"image": "/home/somebody/cot_image_data/vsr/seen.jpg"}, "leakage"),
    ({"image": "/home/somebody/cot_image_data/vsr/seen.jpg", "problem": "And now?"}, "leakage"),
]
TRAIN_FAULTS = {
    "leakage": 2,
    "box inverted": 1,
    "box outside": 1,
    "picture size": 1,
    "answer": 1,
    "picture missing": 1,
    "picture unreadable": 1,
    "row": 1,
    "duplicate": 1,
}
HELDOUT_FAULTS = {"picture missing": 1}
NUM_TRAIN, NUM_HELDOUT = len(TRAIN_SETS) + 1, 6  # one row more has a box partly outside, which is cut


def write_training_set(folder: Path) -> dict[str, dict[str, str]]:
    """Write train.jsonl, heldout.jsonl and their pictures; returns the sources as notebook 01 takes them."""
    pictures = folder / "cot"
    rows = [_row(pictures, number, name) for number, name in enumerate(TRAIN_SETS)]
    rows.append(_row(pictures, 24, "vsr", bboxs=[[150, 100, 260, 150]]))
    bad = [_row(pictures, 30 + n, "vsr", **change) for n, (change, _) in enumerate(BAD_ROWS)]
    again = rows[0] | {"problem_id": 99}
    heldout = [_row(pictures, 50 + number, "textvqa") for number in range(NUM_HELDOUT - 1)]
    heldout.append(_row(pictures, 60, "vsr", image="/data/cot_image_data/vsr/seen.jpg"))
    heldout.append(_row(pictures, 61, "vsr", image="/data/cot_image_data/vsr/gone.jpg"))
    noise(100, SIZE).save(pictures / "vsr/seen.jpg")
    noise(1, SIZE).save(pictures / "textvqa/1.jpg", quality=60)
    noise(1, SIZE).save(pictures / "textvqa/2.jpg", quality=90)  # looks like the one before
    (pictures / "vsr/short.jpg").write_bytes((pictures / "vsr/seen.jpg").read_bytes()[:900])
    write_lines(folder / "train.jsonl", *rows, *bad, again, "{not JSON")
    write_lines(folder / "heldout.jsonl", *heldout)
    return {
        split: {"path": str(folder / f"{split}.jsonl"), "format": "viscot", "image_root": str(pictures)}
        for split in ("train", "heldout")
    }


def _row(pictures: Path, number: int, name: str, **changes: object) -> dict[str, object]:
    """A good row with a picture of its own, then changed."""
    path = pictures / name / f"{number}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(number, SIZE).save(path)
    is_choice = name == "openimages"
    row = {
        "image": f"/home/somebody/cot_image_data/{name}/{number}.jpg",
        "width": SIZE[0],
        "height": SIZE[1],
        "bboxs": [BOXES[name]],
        "dataset": name,
        "split": "train",
        "problem": CHOICE if is_choice else "What does it say?",
        "solution": "<answer>B</answer>" if is_choice else "stop",
        "problem_id": number,
    }
    return row | changes


def write_plain(folder: Path, num: int = 4) -> dict[str, str]:
    """A JSONL file in our plain form on the pictures `<number>.png`; returns it as a source."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(num):
        noise(200 + number, SIZE).save(folder / f"{number}.png")
        row = {"image": f"{number}.png", "question": "What is it?", "solution": "stop", "kind": "exact"}
        lines.append(json.dumps(row | {"boxes": [[10, 10, 30, 30]]}))
    write_lines(folder / "questions.jsonl", *lines)
    return {"path": str(folder / "questions.jsonl"), "image_root": str(folder)}
