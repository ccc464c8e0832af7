"""Small annotation files and pictures for the tests of readers and validation."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from groundr1.data.validation import Validation, validate

SIZE = (100, 80)


def noise(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture with contrast, unlike those of other seeds."""
    cells = np.random.default_rng(seed).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """A picture as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def write_picture(path: Path, seed: int, size: tuple[int, int] = SIZE, **options: object) -> Path:
    """`noise` as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(seed, size).save(path, **options)
    return path


def plain(seed: int = 0, **changes: object) -> dict[str, object]:
    """A good row of our plain form on the picture `<seed>.png`; "absent" leaves a field out."""
    row = {
        "image": f"{seed}.png",
        "question": "Which?",
        "solution": "7",
        "kind": "exact",
        "boxes": [[10, 20, 30, 40]],
    }
    return {key: value for key, value in (row | changes).items() if value != "absent"}


def write_lines(path: Path, *rows: object) -> Path:
    """A JSONL file; texts are written as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def validate_rows(tmp_path: Path, root: Path, *rows: object, **options: object) -> Validation:
    """Rows as a file, validated into the folder `out`."""
    options = {"image_root": root, "progress": False} | options
    return validate(write_lines(tmp_path / "q.jsonl", *rows), tmp_path / "out", **options)
