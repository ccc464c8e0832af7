"""Reader for the DeepEyes RL data, on which Ground-R1 v3 trains (arXiv 2505.20272).

Three parquet files with embedded pictures, in verl's form: columns `data_source`, `prompt` (chat messages), `images`
(encoded), `reward_model` (with `ground_truth`) and `extra_info`, which is not read. Hub id
`ChenShawn/DeepEyes-Datasets-47k`: 22,362 rows on fine details ("vstar"), 13,659 on charts, 11,031 of ThinkLite. The
form was taken from public code that reads the files; the files themselves were not at hand.
"""

from pathlib import Path

from datasets import Dataset

from groundr1.data.example import Rejected
from groundr1.data.readers import read_form

__all__ = ["read_deepeyes"]


def read_deepeyes(parquet: str | Path) -> tuple[Dataset, list[Rejected]]:
    """Read one DeepEyes parquet file; the evidence is not annotated, so `boxes` is empty.

    The question is the last user message without its picture marks, the explanation of DeepEyes's tool, and the
    instructions before ThinkLite's questions, which ask for an answer in another form than ours. The kind of answer:
    ThinkLite "math", a solution that is one letter "choice", else "rouge", as v3 scores open answers.

    Args:
        parquet: the file. All its pictures are held in memory, encoded; `groundr1.data.validation.validate` holds none.

    Returns:
        The dataset, its `source` being `data_source`, and the rows set aside (`line` counts rows from 1).

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: not a parquet file, or one without the columns.
    """
    return read_form(Path(parquet), "deepeyes")
