"""How much of the speed of bare decoding a validation keeps.

Bare decoding opens and loads the same files with Pillow in as many threads, and does nothing else. A validation also
reads rows, hashes files and pictures, checks boxes and answers, looks for duplicates, and writes data set, ledger and
report; it begins in an empty folder each time. Pictures are of about a megapixel, with the grain of photographs.
`cpu_ms` is processor time a picture, all threads together, which a machine that others use as well changes less.

    python -m benchmarks.validation_throughput
    python -m benchmarks.validation_throughput --pictures 1000 --workers 8
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import Row, interleaved, parser, print_table, summary, write_results
from groundr1.data.validation import validate

FORMATS = {"JPEG": {"quality": 85}, "PNG": {"compress_level": 6}, "WEBP": {"quality": 80}}
CELL = 24  # pixels of a blob of colour
GRAIN = 6.0  # standard deviation of the noise, of 256 levels


def photograph(seed: int, size: tuple[int, int]) -> Image.Image:
    """Soft blobs of colour under grain: compresses like a photograph."""
    random = np.random.default_rng(seed)
    width, height = size
    cells = random.integers(0, 255, (height // CELL + 2, width // CELL + 2, 3), dtype=np.uint8)
    blobs = np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC), np.float32)
    grainy = blobs + random.normal(0, GRAIN, (height, width, 1)).astype(np.float32)
    return Image.fromarray(grainy.clip(0, 255).astype(np.uint8))


def write_files(folder: Path, form: str, options: argparse.Namespace) -> tuple[list[Path], Path]:
    """The pictures, and a file of questions on them."""
    folder.mkdir()
    width, height = options.size
    paths, rows = [], []
    for seed in range(options.pictures):
        paths.append(folder / f"{seed}.{form.lower()}")
        photograph(seed, options.size).save(paths[-1], form, **FORMATS[form])
        rows.append(
            {
                "image": paths[-1].name,
                "question": f"What is written on sign {seed}?",
                "solution": f"sign {seed}",
                "kind": "ocr",
                "boxes": [[width * 0.1, height * 0.2, width * 0.6, height * 0.5]],
            }
        )
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return paths, questions


def decode(path: Path) -> None:
    """What nobody can save."""
    with Image.open(path) as image:
        image.load()


def measure(form: str, folder: Path, options: argparse.Namespace) -> list[Row]:
    """Bare decoding and validation of the same pictures, in turns."""
    paths, questions = write_files(folder / form, form, options)

    spent: dict[str, list[float]] = {"bare decoding": [], "validate": []}

    def bare() -> None:
        with processor_time(spent["bare decoding"]), ThreadPoolExecutor(options.workers) as pool:
            list(pool.map(decode, paths))

    def checked() -> None:
        shutil.rmtree(folder / "out", ignore_errors=True)
        with processor_time(spent["validate"]):
            found = validate(
                questions, folder / "out", image_root=folder / form, workers=options.workers, progress=False
            )
        assert found.counts["clean"] == len(paths), "every row is good"

    times = interleaved({"bare decoding": bare, "validate": checked}, repeats=options.repeats)
    kilobytes = sum(path.stat().st_size for path in paths) / len(paths) / 1000
    return [
        {
            "format": form,
            "kilobytes": kilobytes,
            "pictures_per_s": len(paths) / row["median_s"],
            "cpu_ms": 1000 * statistics.median(spent[row["name"]]) / len(paths),
            **row,
        }
        for row in summary(times, baseline="bare decoding")
    ]


@contextlib.contextmanager
def processor_time(spent: list[float]) -> Iterator[None]:
    """Add the processor seconds of this process in the block."""
    start = time.process_time()
    yield
    spent.append(time.process_time() - start)


def size_of(text: str) -> tuple[int, int]:
    """`1152x868` as (1152, 868)."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the json file."""
    options = parser(__doc__)
    options.add_argument("--pictures", type=int, default=400, help="pictures of each format (400)")
    options.add_argument("--size", type=size_of, default=(1152, 868), help="of a picture (1152x868)")
    options.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    options.add_argument("--workers", type=int, default=os.cpu_count(), help="threads of both (one a core)")
    options = options.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for form in options.formats:
            rows += measure(form, Path(folder), options)
    print_table(rows, f"Pictures of {options.size[0]} x {options.size[1]}, {options.workers} threads")
    write_results("validation_throughput", rows, vars(options))


if __name__ == "__main__":
    main()
