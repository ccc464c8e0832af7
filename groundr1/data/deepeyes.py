"""Reader for the DeepEyes RL data, on which Ground-R1 v3 trains (arXiv 2505.20272).

Three parquet files with embedded pictures, in verl's form: columns `data_source`, `prompt` (chat messages), `images`
(encoded), `reward_model` (with `ground_truth`) and `extra_info`. Hub id `ChenShawn/DeepEyes-Datasets-47k`. The form was
taken from public code that reads the files; the files themselves were not at hand.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, concatenate_datasets
from tqdm.auto import tqdm

from groundr1.data.example import Rejected, load_image, to_dataset
from groundr1.data.rows import BadRow, log_rejected, text_field

__all__ = ["read_deepeyes"]

COLUMNS = ["data_source", "prompt", "images", "reward_model"]
BATCH = 256  # rows decoded at once: bounds the memory beyond that of the pictures kept

# What DeepEyes appends to a question to explain its tool; ours has its own prompt.
TOOL_HINT = re.compile(r"\s*Think first, call \*\*.*", re.DOTALL)


def read_deepeyes(parquet: str | Path) -> tuple[Dataset, list[Rejected]]:
    """Read one DeepEyes parquet file; the evidence is not annotated, so `boxes` is empty.

    The question is the last user message without its picture marks and the explanation of DeepEyes's tool. The kind of
    answer: ThinkLite "math", a solution that is one letter "choice", else "rouge", as v3 scores open answers.

    Args:
        parquet: the file. All its pictures are held in memory, encoded.

    Returns:
        The dataset, its `source` being `data_source`, and the rows set aside (`line` counts rows from 1).

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: not a parquet file, or one without the columns.
    """
    path = Path(parquet)
    if not path.is_file():
        raise FileNotFoundError(f"There is no parquet file {path}; download it, or correct the path.")
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not a parquet file ({error}); download it again.") from error
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {missing} of the DeepEyes form; it has {file.schema_arrow.names}."
        )
    parts = [to_dataset([])]
    rejected: list[Rejected] = []
    number = 0
    with tqdm(total=file.metadata.num_rows, desc=f"reading {path.name}", unit="row") as bar:
        for batch in file.iter_batches(batch_size=BATCH, columns=COLUMNS):
            good = []
            for row in batch.to_pylist():
                number += 1
                try:
                    good.append(_example(row, f"{path.stem}-{number}"))
                except BadRow as error:
                    rejected.append(Rejected(str(path), number, str(error)))
            parts.append(to_dataset(good))
            bar.update(batch.num_rows)
    log_rejected(rejected, number)
    return concatenate_datasets(parts), rejected


def _example(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    source = text_field(row, "data_source")
    if not isinstance(row["reward_model"], Mapping):
        raise BadRow(f"reward_model is {row['reward_model']!r:.80}, and not a record with ground_truth")
    solution = text_field(row["reward_model"], "ground_truth").strip()
    kind = (
        "math" if "thinklite" in source.lower() else "choice" if re.fullmatch(r"[A-Z]", solution) else "rouge"
    )
    return {
        "id": name,
        "image": {"path": None, "bytes": _picture(row["images"])},
        "question": _question(row["prompt"]),
        "solution": [solution],
        "kind": kind,
        "boxes": [],
        "source": source,
    }


def _question(messages: Any) -> str:
    if not isinstance(messages, list) or not all(isinstance(each, Mapping) for each in messages):
        raise BadRow(f"the prompt is {messages!r:.80}, and not a list of messages")
    texts = [message.get("content") for message in messages if message.get("role") == "user"]
    text = texts[-1] if texts and isinstance(texts[-1], str) else ""
    question = TOOL_HINT.sub("", text.replace("<image>", "")).strip()
    if not question:
        raise BadRow("the prompt has no user message with a question")
    return question


def _picture(images: Any) -> bytes:
    images = [images] if isinstance(images, bytes) else images
    if not isinstance(images, list) or len(images) != 1:
        raise BadRow(f"{len(images) if isinstance(images, list) else 0} pictures in the row; one is expected")
    encoded = images[0].get("bytes") if isinstance(images[0], Mapping) else images[0]
    if not isinstance(encoded, bytes) or not encoded:
        raise BadRow("the picture has no encoded bytes")
    try:
        load_image(encoded)
    except ValueError as error:
        raise BadRow(str(error)) from error
    return encoded
