"""The one form of a question about a picture: every reader and the scene generator produce it, everything else reads it.

`EXAMPLE_FEATURES` is the same form as columns of a `datasets.Dataset`, whose rows then are mappings with these keys and
the picture decoded. Boxes are evidence annotations: they are logged against the model's boxes, never rewarded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from datasets import Features, List, Value
from datasets import Image as ImageFeature
from PIL import Image, UnidentifiedImageError

from groundr1.boxes import Box

__all__ = ["EXAMPLE_FEATURES", "Example", "Rejected", "load_image"]


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


@dataclass(frozen=True)
class Rejected:
    """A row that was set aside while reading.

    Attributes:
        file: the file read.
        line: 1-based line of a JSONL file, 1-based row of a parquet file.
        reason: what is wrong with it, in a sentence.
    """

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


def load_image(path: str | Path) -> Image.Image:
    """Read a picture whole, so that a truncated file is found now and not in the middle of a run.

    Returns:
        The decoded picture, in its own mode.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, or is damaged.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no picture {path}; download it, or check the image root.") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"The picture {path} cannot be read ({error}); download it again.") from error
