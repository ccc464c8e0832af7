"""Peak memory of a validation against the number of rows, each size in a process of its own.

Three forms: lines of JSON, one JSON array (Visual-CoT's own), and parquet with the pictures in it (DeepEyes').
Rows share a few tiny pictures on disk, or hold one of some 25 kB, so that the number of rows is what grows.
`peak_mb` is the greatest resident memory of the process, `over_start_mb` how much of it came after the imports; it has
no child processes. Of the data set, which is mapped from disk, no page is read. MB are 10^6 bytes.

    python -m benchmarks.validation_memory
    python -m benchmarks.validation_memory --rows 1000 1000000 --only jsonl
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.common import Row, parser, print_table, write_results
from groundr1.data.row_forms import BOX_REQUEST
from groundr1.data.validation import validate

MEGABYTE = 10**6
MARK = "measured: "
FORMS = ("jsonl", "viscot-conversations", "deepeyes")
PICTURES = 64
REQUEST = (
    "Please provide the bounding box coordinate of the region that can help you answer the question better."
)
assert BOX_REQUEST.search(REQUEST)


def tiny(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture of noise."""
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    )


def plain_rows(number: int) -> Iterator[str]:
    """Lines of our plain form."""
    for i in range(number):
        row = {
            "image": f"gqa/{i % PICTURES}.jpg",
            "question": f"What is number {i}?",
            "solution": f"it is {i}",
        }
        yield json.dumps({**row, "kind": "exact", "boxes": [[1, 2, 20, 14]], "source": f"set {i % 13}"})


def conversations(number: int) -> Iterator[str]:
    """Rows of Visual-CoT's own form."""
    for i in range(number):
        image = f"cot/gqa/{i % PICTURES}.jpg"
        texts = (f"<image>\nWhat is {i}? {REQUEST}", "[0.042, 0.250, 0.833, 0.750]", "<image>", f"it is {i}")
        turns = [{"from": ("human", "gpt")[k % 2], "value": text} for k, text in enumerate(texts)]
        row = {"question_id": i, "image": [image, f"{image}###[1, 2, 20, 14]"], "conversations": turns}
        yield json.dumps({**row, "dataset": "gqa", "split": "train"})


def write_source(folder: Path, form: str, number: int) -> Path:
    """A file of `number` rows, written a row at a time."""
    for seed in range(PICTURES):
        path = folder / "gqa" / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny(seed, (24, 16)).save(path)
    path = folder / f"rows.{'parquet' if form == 'deepeyes' else 'json'}"
    if form == "deepeyes":
        _write_parquet(path, folder, number)
        return path
    with path.open("w", encoding="utf-8") as stream:
        if form == "jsonl":
            stream.writelines(line + "\n" for line in plain_rows(number))
        else:
            stream.write("[")
            stream.writelines((",\n" if i else "") + row for i, row in enumerate(conversations(number)))
            stream.write("]")
    return path


def _write_parquet(path: Path, folder: Path, number: int) -> None:
    tiny(1, (96, 90)).save(folder / "one.bmp")
    encoded = (folder / "one.bmp").read_bytes()
    writer = None
    for start in range(0, number, 500):
        rows = [
            {
                "data_source": "vstar",
                "prompt": [{"role": "user", "content": f"<image>\nWhat is number {i}?"}],
                "images": [{"bytes": encoded + i.to_bytes(8, "big"), "path": None}],
                "reward_model": {"ground_truth": f"it is {i}", "style": "model"},
            }
            for i in range(start, min(number, start + 500))
        ]
        table = pa.Table.from_pylist(rows)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def measure(form: str, source: Path) -> Row:
    """Validate a file in this process; its peak memory, and what it held before."""
    before = peak()
    start = time.perf_counter()
    root = None if form == "deepeyes" else source.parent
    found = validate(source, source.parent / "out", form=form, image_root=root, progress=False)
    return {
        "start_mb": before / MEGABYTE,
        "peak_mb": peak() / MEGABYTE,
        "over_start_mb": (peak() - before) / MEGABYTE,
        "rows_per_s": found.counts["rows"] / (time.perf_counter() - start),
        "kept": found.counts["clean"],
    }


def peak() -> int:
    """Greatest resident memory of this process so far, in bytes, from /proc (Linux).

    Not `getrusage`, which gives a child the greatest memory of its parent.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def in_own_process(form: str, number: int) -> Row:
    """Peaks of one size, in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        source = write_source(Path(folder), form, number)
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "benchmarks.validation_memory",
            "--inside",
            form,
            str(source),
        ]
        run = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=False, cwd=Path(__file__).parents[1]
        )
        lines = [line for line in run.stdout.splitlines() if line.startswith(MARK)]
        if run.returncode or not lines:
            raise RuntimeError(
                f"The process of {form} failed (exit code {run.returncode}); its error is above."
            )
        size = source.stat().st_size / MEGABYTE
    row = {"form": form, "rows": number, "file_mb": size, **json.loads(lines[-1].removeprefix(MARK))}
    if row["kept"] != number:
        raise RuntimeError(f"{form}: {row['kept']} of {number} rows were kept; all are good.")
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the json file."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 400_000])
    options.add_argument("--embedded-rows", type=int, nargs="+", default=[1_000, 10_000, 40_000])
    options.add_argument("--only", nargs="+", choices=FORMS, default=list(FORMS))
    options.add_argument("--inside", nargs=2, metavar=("FORM", "FILE"), help=argparse.SUPPRESS)
    options = options.parse_args(arguments)
    if options.inside:
        form, source = options.inside
        print(MARK + json.dumps(measure(form, Path(source))))
        return
    rows = [
        in_own_process(form, number)
        for form in options.only
        for number in (options.embedded_rows if form == "deepeyes" else options.rows)
    ]
    print_table(rows, "Peak memory of a validation")
    settings = {name: value for name, value in vars(options).items() if name not in ("inside", "repeats")}
    write_results("validation_memory", rows, settings)


if __name__ == "__main__":
    main()
