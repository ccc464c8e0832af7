"""Predictions: what a model said to each question, in a form from which any model can be scored.

A run of ours keeps parquet parts, `read_predictions`. Any other model hands in a JSON line a question: the prediction
beside the annotation, or beside the row's own keys.

    {"prediction": "<answer> B </answer>", "annotation": {"problem": "Which?", "solution": "B", ...}}
    {"prediction": "The bus.", "box": [310, 161, 408, 220], "problem": "Which?", "solution": "the bus", ...}

    >>> score_predictions("pope", "runs/srpo/evaluation/pope")["headline"]                      # doctest: +SKIP
    {'accuracy': 86.4, 'f1': 86.1}
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from groundr1.boxes import Box, clip, rescale
from groundr1.data.example import Rejected
from groundr1.data.items import BadRow, LeftOut, items_of
from groundr1.data.rows import Row, as_row, log_rejected, read_lines
from groundr1.diagnostics import scale_of
from groundr1.evaluation.answers import extract_answer
from groundr1.evaluation.scoring import score
from groundr1.parsing import parse_box
from groundr1.rollout_table import table_row
from groundr1.storage import write_bytes
from groundr1.trajectory import Trajectory

__all__ = ["Predictions", "load_predictions", "read_predictions", "score_predictions"]

logger = logging.getLogger(__name__)

NAMED = 5  # bad lines that the log names
_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()
SCHEMA = pa.schema(
    {
        **dict.fromkeys(["model", "prompt_id", "source", "scale"], _TEXT),
        "true_area": _NUMBER,
        "box": pa.list_(_NUMBER),
        **dict.fromkeys(["relative_area", "iou", "giou", "correct", "format"], _NUMBER),
        **dict.fromkeys(["num_turns", "num_tokens"], _COUNT),
        "turns": pa.list_(_TEXT),
        **dict.fromkeys(["answer", "solution"], _TEXT),
        "row": _COUNT,
        **dict.fromkeys(["benchmark", "question", "prediction", "annotation", "note"], _TEXT),
        "boxes": pa.list_(pa.list_(_NUMBER)),
        **dict.fromkeys(["view_width", "view_height", "image_width", "image_height"], _COUNT),
    }
)


@dataclass
class Predictions:
    """Annotation rows with one raw prediction each, ready for `scoring.score`.

    Attributes:
        rows: annotation rows in an official form.
        texts: raw predictions, all turns of one joined by newlines.
        boxes: predicted boxes, image frame; None where none was drawn. None altogether: to be read from the texts.
        rejected: what could not be used of the file, each with its line.
    """

    rows: list[Mapping[str, Any]] = field(default_factory=list)
    texts: list[Any] = field(default_factory=list)
    boxes: list[Any] | None = None
    rejected: list[Rejected] = field(default_factory=list)


def prediction_row(
    example: Mapping[str, Any], trajectory: Trajectory, view_size: tuple[int, int]
) -> dict[str, Any]:
    """The row of one example: how it was answered, by which boxes, in which frames.

    Args:
        example: a row in `EXAMPLE_FEATURES`, with `annotation` and `note` if it is a benchmark's.
        trajectory: how it was answered.
        view_size: (width, height) of the picture as the model saw it, the frame of the boxes in the turns.

    Returns:
        What `SCHEMA` has, but for model, benchmark and row. `correct` is the answer reward.
    """
    row = table_row(example, trajectory)
    return row | {
        "scale": None if row["true_area"] is None else scale_of(row["true_area"]),
        "correct": row["reward_answer"],
        "format": row["reward_format"],
        "question": example["question"],
        "prediction": "\n".join(trajectory.turns),
        "annotation": example.get("annotation"),
        "note": example.get("note"),
        "boxes": [None if box is None else list(box) for box in trajectory.boxes],
        "view_width": view_size[0],
        "view_height": view_size[1],
        "image_width": trajectory.image_size[0],
        "image_height": trajectory.image_size[1],
    }


def predicted_box(benchmark: str, row: Mapping[str, Any]) -> Box | None:
    """The box by which a row of ours is scored, image frame: the last one drawn, None if none was.

    RefCOCO asks for a box, so there a box in the answer comes first (view frame in the text), and where none was
    drawn, one that stands in a malformed turn counts too: as in the public scripts, which take any quadruple.
    """
    drawn = [Box(*map(float, box)) for box in _listed(row["boxes"]) if box is not None]
    last_drawn = drawn[-1] if drawn else None
    if benchmark != "refcoco":
        return last_drawn
    view, size = (row["view_width"], row["view_height"]), (row["image_width"], row["image_height"])
    answered, written = parse_box(extract_answer(row["prediction"]).text), parse_box(row["prediction"])
    box_view = answered or (written if last_drawn is None else None)
    return last_drawn if box_view is None else clip(rescale(box_view, view, size), size)


def write_part(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of one batch durably; the first row's number is the part's name, which no other part has."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), buffer)
    write_bytes(out / "predictions" / f"part_{rows[0]['row']:06d}.parquet", buffer.getvalue().to_pybytes())


def read_parts(folder: Path) -> pd.DataFrame:
    """All rows of the parts in a folder, in the data set's order, each once."""
    tables = [pq.ParquetFile(path).read() for path in sorted(folder.glob("part_*.parquet"))]
    table = pa.concat_tables([SCHEMA.empty_table(), *tables], promote_options="default").to_pandas()
    # A process that outlives the one it was launched with may finish a batch that the next launch does again.
    return table.sort_values("row", kind="stable").drop_duplicates("prompt_id", ignore_index=True)[
        SCHEMA.names
    ]


def read_predictions(out: str | Path) -> pd.DataFrame:
    """Read the predictions in the folder of an evaluation, in the order of its data set.

    Returns:
        One row an example that was answered, as `evaluate` returns it.

    Raises:
        FileNotFoundError: no evaluation there.
    """
    if not (Path(out) / "settings.json").is_file():
        raise FileNotFoundError(
            f"There is no evaluation in {out}; run `evaluate(..., out={str(out)!r})` first."
        )
    return read_parts(Path(out) / "predictions")


def score_predictions(
    benchmark: str,
    path: str | Path,
    *,
    parser: str = "groundr1",
    judge: Any = None,
    num_resamples: int = 1000,
) -> dict[str, Any]:
    """Score a benchmark from a file of predictions; no model is needed.

    Args:
        benchmark: a contract name, such as "pope".
        path: what `load_predictions` reads.
        parser, judge, num_resamples: of `groundr1.evaluation.scoring.score`.

    Returns:
        What `score` returns, with "rejected", the number of lines that could not be used.

    Raises:
        FileNotFoundError, ValueError: as `load_predictions` and `score`.
    """
    found = load_predictions(benchmark, path)
    report = score(
        benchmark,
        found.rows,
        found.texts,
        boxes=found.boxes,
        parser=parser,
        judge=judge,
        num_resamples=num_resamples,
    )
    return {**report, "rejected": len(found.rejected)}


def load_predictions(benchmark: str, path: str | Path) -> Predictions:
    """Read predictions in whichever form they are.

    Args:
        benchmark: the benchmark that the rows must be of.
        path: the folder of an evaluation of ours, or one of its parquet parts, or a jsonl file. A line has
            "prediction", a text (or for a RefCOCO object with several expressions one text each); beside it
            "annotation", the official row (or its JSON text), or the row's own keys; and "box", if the model drew
            one, [x1, y1, x2, y2] in the image frame.

    Returns:
        The rows that can be scored. A line that is no JSON object, lacks something, is no row of the benchmark or
        repeats a question is set aside, counted, and named in the log.

    Raises:
        FileNotFoundError: nothing there. ValueError: predictions of another benchmark, or nothing that can be used.
    """
    path = Path(path)
    if path.is_dir():
        entries = _entries(benchmark, read_parts(path / "predictions"), path)
    elif path.suffix == ".parquet" and path.is_file():
        entries = _entries(benchmark, pq.ParquetFile(path).read().to_pandas(), path)
    else:
        entries = read_lines(path)
    found = _usable(benchmark, entries, str(path))
    log_rejected(found.rejected, len(found.rows) + len(found.rejected))
    for each in found.rejected[1:NAMED]:
        logger.warning("%s", each)
    if not found.rows:
        reason = f"; the first: {found.rejected[0]}" if found.rejected else ""
        raise ValueError(f"{path} holds no prediction for {benchmark} that can be used{reason}.")
    return found


def _entries(benchmark: str, table: pd.DataFrame, path: Path) -> Iterator[tuple[int, Row]]:
    """Rows of ours as the lines that another kit would hand in."""
    if missing := {"benchmark", "annotation", "prediction"} - set(table):
        raise ValueError(
            f"{path} has no column {' and '.join(sorted(missing))}; it is no part of an evaluation."
        )
    if others := set(table["benchmark"]) - {benchmark}:
        known = ", ".join(sorted(map(str, others - {None}))) or "examples that are of no benchmark"
        raise ValueError(f"{path} holds predictions for {known}, not for {benchmark}.")
    for number, row in enumerate(table.to_dict("records"), 1):
        kept = {key: row[key] for key in ("annotation", "prediction")}
        view_size = [int(row["view_width"]), int(row["view_height"])]
        yield number, kept | {"box": predicted_box(benchmark, row), "view_size": view_size}


def _usable(benchmark: str, entries: Iterable[tuple[int, Row | BadRow]], name: str) -> Predictions:
    """The entries that can be scored, and the others with what is wrong with them."""
    found, boxes = Predictions(), []
    first_line: dict[str, int] = {}
    for line, entry in entries:
        try:
            row = _annotation(entry, line)
            try:
                ids = [item.id for item in items_of(benchmark, row)]
            except LeftOut:
                ids = []  # the scorers count it
            if repeated := [each for each in ids if each in first_line]:
                raise BadRow(f"question {repeated[0]!r} is that of line {first_line[repeated[0]]}")
            text = _prediction(entry)
        except BadRow as error:
            found.rejected.append(Rejected(name, line, str(error)))
            continue
        if "annotation" in entry and "view_size" in entry:
            row["view_size"] = entry["view_size"]  # the frame of the boxes in our texts
        first_line |= dict.fromkeys(ids, line)
        found.rows.append(row)
        found.texts.append(text)
        boxes.append(entry.get("box", ...))
    if any(box is not ... for box in boxes):
        found.boxes = [None if box is ... else box for box in boxes]
    return found


def _annotation(entry: Row | BadRow, line: int) -> Row:
    if isinstance(entry, BadRow):
        raise entry
    row = entry.get("annotation", {key: entry[key] for key in entry if key not in ("prediction", "box")})
    try:
        row = json.loads(row) if isinstance(row, str) else row
    except (ValueError, RecursionError) as error:
        raise BadRow(f"the annotation is not JSON ({error})") from error
    if not isinstance(row, dict):
        raise BadRow(f"the annotation is a {type(row).__name__}; give the official row, or its JSON text")
    if isinstance(as_row(row), BadRow):
        raise as_row(row)
    return {"row_number": line - 1, **row}


def _prediction(entry: Row) -> str | list[str]:
    text = entry.get("prediction")
    texts = text if isinstance(text, list) and text else [text]
    if not all(isinstance(each, str) for each in texts):
        raise BadRow(f'prediction is {text!r:.60}; it must be a text, "" where the model said nothing')
    return text


def _listed(values: Any) -> list[Any]:
    return [] if values is None else list(values)
