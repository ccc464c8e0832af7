"""An archive that was cut into parts, as one stream: Visual-CoT's pictures are thirteen files of ten gigabytes."""

import bisect
import io
import os
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

__all__ = ["Joined", "parts_of"]


class Joined(io.RawIOBase):
    """Files one behind the other, to be read only."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._ends = list(accumulate(path.stat().st_size for path in paths))
        self._at, self._open, self._number = 0, None, -1

    @property
    def num_bytes(self) -> int:
        """Of all files together."""
        return self._ends[-1]

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position in the whole."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.num_bytes}[whence]
        if start + offset < 0:
            raise ValueError(f"position {start + offset} is before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Bytes up to the end of a file at most; 0 at the end of the last."""
        number = bisect.bisect_right(self._ends, self._at)
        if number == len(self._paths):
            return 0
        if number != self._number:
            self._close_part()
            self._open, self._number = self._paths[number].open("rb", buffering=0), number
        self._open.seek(self._at - (self._ends[number - 1] if number else 0))
        num = self._open.readinto(buffer)
        if not num:
            raise OSError(f"{self._paths[number]} has become shorter while it was read")
        self._at += num
        return num

    def close(self) -> None:
        """Close the file that is open."""
        self._close_part()
        super().close()

    def _close_part(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open, self._number = None, -1


def parts_of(archive: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that make up an archive, in order.

    Args:
        archive: a file; the files, in order; or a folder that holds the parts of one archive and nothing else, named
            alike up to numbers or letters that count on ("cot_images_00", .., "cot_images_12"; "xaa", "xab").

    Raises:
        FileNotFoundError: a file is not there, or a number of the parts is left out.
        ValueError: the files of the folder are not the parts of one archive.
    """
    if isinstance(archive, str | Path):
        paths = _in_folder(Path(archive)) if Path(archive).is_dir() else [Path(archive)]
    else:
        paths = [Path(each) for each in archive]
    if not paths:
        raise FileNotFoundError(f"{archive} holds no archive; download it, or correct the path.")
    if missing := [path for path in paths if not path.is_file()]:
        raise FileNotFoundError(f"There is no archive {missing[0]}; download it, or correct the path.")
    return paths


def _in_folder(folder: Path) -> list[Path]:
    """Files that are not hidden, in the order of their numbers or letters."""
    paths = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    if len(paths) < 2:
        return paths
    stem = os.path.commonprefix([path.name for path in paths]).rstrip("0123456789")
    counts = {_count(path.name.removeprefix(stem)): path for path in paths}
    if None in counts or len(counts) < len(paths):
        names = ", ".join(sorted(path.name for path in paths)[:4])
        raise ValueError(
            f"{folder} holds {names}, which are not the parts of one archive; give a file, or the parts in order."
        )
    numbers = sorted(counts)
    if gaps := set(range(numbers[0], numbers[-1])) - set(numbers):
        after = counts[max(number for number in numbers if number < min(gaps))]
        raise FileNotFoundError(f"{folder} lacks the part that follows {after.name}; download it.")
    return [counts[number] for number in numbers]


def _count(suffix: str) -> int | None:
    """What a suffix counts to, None if it does not count."""
    if re.fullmatch("[0-9]+", suffix):
        return int(suffix)
    if re.fullmatch("[a-z]+", suffix):
        return sum((ord(sign) - ord("a")) * 26**place for place, sign in enumerate(reversed(suffix)))
    return None
