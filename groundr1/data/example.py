"""The one form of a question about a picture: readers and the scene generator produce it, everything else reads it.

`EXAMPLE_FEATURES` is the same form as columns of a `datasets.Dataset`, whose rows then are mappings with these keys and
the picture decoded. Boxes are evidence annotations: they are logged against the model's boxes, never rewarded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from datasets import Dataset, Features, List, Value
from datasets import Image as ImageFeature
from PIL import Image

from groundr1.boxes import Box
from groundr1.data.picture_check import BadPicture, open_upright

__all__ = ["EXAMPLE_FEATURES", "Example", "Rejected", "check_aspect", "load_image", "to_dataset"]

MAX_ASPECT = 200


@dataclass(frozen=True)
class Example:
    """One question about one picture.

    Attributes:
        id: unique within its data set.
        image: the picture, of any size.
        question: the bare question, no prompt template around it.
        solution: acceptable answers; a prediction scores its best match.
        kind: how an answer is compared, a kind of `groundr1.rewards.answer_reward`.
        boxes: annotated evidence in the image frame, inside the picture; empty where there is none.
        source: the data set, or the kind of scene.

    >>> Example("1", Image.new("RGB", (64, 48)), "What is red?", ["the bus"], "exact").boxes
    []
    """

    id: str
    image: Image.Image
    question: str
    solution: list[str]
    kind: str
    boxes: list[Box] = field(default_factory=list)
    source: str = ""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Example of a dataset row; further columns are left aside."""
        values = {each.name: row[each.name] for each in fields(cls)}
        return cls(**values | {"boxes": [Box(*corners) for corners in row["boxes"]]})


EXAMPLE_FEATURES = Features(
    {
        "id": Value("string"),
        "image": ImageFeature(),
        "question": Value("string"),
        "solution": List(Value("string")),
        "kind": Value("string"),
        "boxes": List(List(Value("float64"))),  # [x1, y1, x2, y2], image frame
        "source": Value("string"),
    }
)


def to_dataset(rows: Sequence[Mapping[str, Any]]) -> Dataset:
    """Dataset of rows that have the keys of `EXAMPLE_FEATURES`, none of them included.

    `Dataset.from_list` forgets the columns of an empty list; a file whose rows are all set aside still has them.
    """
    return Dataset.from_dict(
        {name: [row[name] for row in rows] for name in EXAMPLE_FEATURES}, features=EXAMPLE_FEATURES
    )


@dataclass(frozen=True)
class Rejected:
    """A row that was set aside while reading.

    Attributes:
        file: the file read.
        line: 1-based line of a JSONL file, 1-based row of a parquet file.
        reason: what is wrong with it, in a sentence.
        id: of the row, as far as it could be read.
        fault: kind of what is wrong, such as "picture missing".
    """

    file: str
    line: int
    reason: str
    id: str = ""
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


def load_image(source: str | Path | bytes) -> Image.Image:
    """Read a picture whole, so that a truncated file is found now and not in the middle of a run.

    Args:
        source: path of an image file, or its encoded bytes.

    Returns:
        The decoded picture, in its own mode, turned upright by its EXIF orientation as `datasets` does;
        `groundr1.data.picture_check.to_rgb` makes it RGB.

    Raises:
        FileNotFoundError: no such file, or none that can be opened.
        ValueError: not a picture, a damaged one, or one out of the bounds of `picture_check.Limits`.
    """
    try:
        return open_upright(source)
    except BadPicture as error:
        raise (FileNotFoundError if error.fault == "picture missing" else ValueError)(str(error)) from error


def check_aspect(image: Image.Image, what: str) -> None:
    """Raise ValueError, naming `what`, for a picture so long that Qwen2.5-VL's processor refuses it."""
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise ValueError(
            f"{what} is {image.width} x {image.height} pixels, longer than {MAX_ASPECT} times its breadth, which the"
            " model's processor refuses; cut it into pieces, or leave the row out."
        )
