"""metrics.csv of a run: a table that grows by whole rows, whatever kills its writer.

Not in the paper: our choice, because a run that resumes has to end with the numbers of one that was never
killed.
"""

import csv
import io
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from groundr1.storage import explains_full_disk, write_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MetricsLog:
    """A csv file with one row a logged step, the column "step" first, cells without line breaks."""

    path: Path

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one logged step and flush it to disk.

        `row` maps column names to numbers, short texts or None (an empty cell); "step" must be among them and
        larger than every step already there. A column not seen before widens the table; earlier rows are
        empty in it.

        Raises ValueError for a row without "step", a step not after the last one, a text with a line break,
        `NoSpaceError` when the disk is full; then nothing of the row is left.
        """
        if "step" not in row:
            raise ValueError(
                f"{self.path}: a metrics row needs the column 'step'; this one has {sorted(row)}."
            )
        cells = {name: _cell(self.path, name, value) for name, value in row.items()}
        last_step = self.last_step()
        if last_step is not None and int(row["step"]) <= last_step:
            raise ValueError(
                f"{self.path}: step {row['step']} was logged when step {last_step} is already recorded. A"
                " run that resumes from a checkpoint calls Run.truncate_after(step of the checkpoint)"
                " first."
            )
        lines = self._whole_lines()
        header = next(csv.reader([lines[0].decode("utf-8")])) if lines else []
        new = [name for name in dict.fromkeys(["step", *cells]) if name not in header]
        if new:
            padding = b"," * len(new) + b"\n"
            header = [*header, *new]
            self._replace([_csv_line(header), *(line.rstrip(b"\n") + padding for line in lines[1:])])
        self._append(_csv_line([cells.get(name, "") for name in header]))

    def read(self) -> pd.DataFrame:
        """All whole rows in order; floats read back to the last bit. Only "step", and no rows, before the first.

        Raises ValueError naming the file and the row when it is not the table that was written.
        """
        lines = self._whole_lines()
        if not lines:
            return pd.DataFrame({"step": pd.Series(dtype="int64")})
        header, *rows = csv.reader(line.decode("utf-8") for line in lines)
        for number, row in enumerate(rows, start=1):
            if len(row) != len(header):
                raise ValueError(
                    f"{self.path}: row {number} has {len(row)} cells under {len(header)} columns. It was edited or"
                    f" damaged: mend that row, or move the run's folder away and train again."
                )
        # The Python engine reads floats as Python does; the C engine's default lost a last bit before pandas 3.1.
        return pd.read_csv(io.BytesIO(b"".join(lines)), engine="python")

    def last_step(self) -> int | None:
        """The last logged step; None before the first."""
        lines = self._whole_lines()
        return self._step(lines[-1]) if len(lines) > 1 else None

    def truncate_after(self, step: int) -> None:
        """Drop the rows of steps after `step`; the bytes of the others stay as they are."""
        lines = self._whole_lines()
        kept = lines[:1] + [line for line in lines[1:] if self._step(line) <= step]
        if len(kept) < len(lines):
            self._replace(kept)

    def repair(self) -> None:
        """Cut off a last row that was written half."""
        lines = self._whole_lines()
        if not self.path.exists() or len(b"".join(lines)) == self.path.stat().st_size:
            return
        logger.warning("%s ended in half a row, which is cut off.", self.path)
        if lines:
            self._replace(lines)
        else:
            self.path.unlink()

    def _whole_lines(self) -> list[bytes]:
        """The lines, header first, that end in a line break: the run may be writing, or was killed as it wrote."""
        if not self.path.exists():
            return []
        return [line + b"\n" for line in self.path.read_bytes().split(b"\n")[:-1]]

    def _step(self, line: bytes) -> int:
        try:
            return int(line.split(b",", 1)[0])
        except ValueError as error:
            raise ValueError(
                f"{self.path} has a row that does not start with its step: {line[:60]!r}. It was edited or"
                " damaged: mend that row, or move the run's folder away and train again."
            ) from error

    def _replace(self, lines: Sequence[bytes]) -> None:
        write_bytes(self.path, b"".join(lines))

    def _append(self, line: bytes) -> None:
        """A kill leaves the line whole, absent, or torn at its end, which reopening repairs."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        size = os.fstat(file).st_size
        try:
            with explains_full_disk(self.path, len(line)):
                while line:  # on a full disk, a write takes what fits before the next one fails
                    line = line[os.write(file, line) :]
                os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
        finally:
            os.close(file)


def _cell(path: Path, name: str, value: Any) -> str:
    """One cell: floats in full, so that they read back to the last bit."""
    if hasattr(value, "item"):  # numpy and torch scalars
        value = value.item()
    if value is None:
        return ""
    one_line = not isinstance(value, str) or not {"\n", "\r"} & set(value)
    if not one_line or not isinstance(value, bool | int | float | str):
        raise ValueError(
            f"{path}: the value of {name!r} is neither a number nor a text of one line: {value!r}."
        )
    return repr(value) if isinstance(value, float) else str(value)


def _csv_line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8")
