"""Unpacking of downloaded archives, none of which is trusted: zip, and tar, plain or compressed by gzip, bzip2 or xz.

Nothing is written outside the folder, nothing but plain files and folders is made, no more than allowed is written
whatever the headers say, and the folder appears under its name only when all of the archive is in it. An archive may
lie in parts, which are read one behind the other and need not be joined on disk first.

>>> paths = unpack("downloads/gqa.zip", "pictures/gqa")                                      # doctest: +SKIP
>>> paths = unpack("Visual-CoT/cot_images_tar_split", "cot")                                 # doctest: +SKIP
"""

import errno
import io
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from groundr1.data.archives.entries import Entry, Refused, entries
from groundr1.data.archives.parts import Joined, parts_of

__all__ = ["BadArchive", "parts_of", "unpack"]

MAX_BYTES = 256 * 2**30
MAX_FILES = 2_000_000
MAX_DEPTH = 100  # folders in a path; deeper ones could be made, and hardly be deleted
READ_AHEAD = 1 << 20
UNNAMEABLE = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}


class BadArchive(ValueError):
    """An archive is not unpacked; the message names it, the entry, and the reason."""


def unpack(
    archive: str | Path | Sequence[str | Path],
    folder: str | Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    progress: bool = True,
) -> list[Path]:
    """Unpack an archive into a new folder: all of it or, after any error or kill, nothing.

    Refused are entries whose path is absolute, has a drive letter or "..", links of any kind, devices and whatever else
    is neither file nor folder, a path that stands twice, encrypted and sparse entries, and a tar without its end mark,
    which was cut off. Permissions, owners and times are not taken over. A backslash in a path separates folders.

    Args:
        archive: zip or tar; which one is told by its first bytes. One file, its parts in order, or a folder that holds
            its parts (`parts_of`).
        folder: made by this call; may exist only empty. While unpacking, files are in a folder ".unpacking-<name>"
            beside it, which the next call deletes if this one was killed.
        max_bytes: of all files together, counted while they are written; our choice.
        max_files: files and folders; our choice.
        progress: whether to show a bar, of the archive's bytes.

    Returns:
        The files, in the order of the archive.

    Raises:
        FileNotFoundError: no such archive, or a part of it is left out.
        FileExistsError: the folder has something in it.
        ValueError: a folder whose files are not the parts of one archive.
        BadArchive: no archive, damaged, or with an entry that is refused.
        OSError: the disk is full, has less room than the archive is large, or may not be written.
    """
    parts, folder = parts_of(archive), Path(folder).resolve()
    archive = parts[0] if len(parts) == 1 else f"{parts[0]} and {len(parts) - 1} more parts"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already; delete it, or unpack {archive} elsewhere.")
    unfinished = folder.with_name(f".unpacking-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    name = ""
    try:
        writer = _Writer(unfinished, max_bytes, max_files)
        with io.BufferedReader(Joined(parts), READ_AHEAD) as stream:
            num_bytes = stream.raw.num_bytes
            if shutil.disk_usage(unfinished).free < num_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            what = f"unpacking {parts[0].name}"
            with tqdm(total=num_bytes, desc=what, unit="B", unit_scale=True, disable=not progress) as bar:
                for entry in entries(stream):
                    name = entry.name
                    writer.write(entry)
                    bar.update(stream.tell() - bar.n)
        os.sync()  # so that a name never stands for files that a power cut has emptied
        os.replace(unfinished, folder)
    except Refused as error:
        entry_named = f", entry {name!r:.300}" if name else ""
        raise BadArchive(f"{archive}{entry_named}: {error}.") from error
    except OSError as error:
        reason = (
            f"{error.strerror}: {archive} could not be unpacked into {folder}; make room, or mend the disk"
        )
        raise OSError(error.errno, reason) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return [folder.joinpath(path) for path in writer.files]


class _Writer:
    """Writes entries below a folder that it has to itself, and keeps count of them."""

    def __init__(self, folder: Path, max_bytes: int, max_files: int) -> None:
        self.folder, self.bytes_left, self.max_bytes, self.max_files = folder, max_bytes, max_bytes, max_files
        self.files: list[PurePosixPath] = []
        self.folders: set[PurePosixPath] = {PurePosixPath(".")}

    def write(self, entry: Entry) -> None:
        """Write one file or folder; raises Refused."""
        path = _safe_path(entry.name)
        try:
            self._make_folder(path if entry.chunks is None else path.parent)
            if entry.chunks is None:
                return
            if path in self.folders:
                raise Refused("it is a folder already; get the archive from its source again")
            self._count_one_more()
            # "x": never into what is there, be it the same name or one that this file system cannot tell from it.
            with self.folder.joinpath(path).open("xb") as file:
                for chunk in entry.chunks:
                    self.bytes_left -= len(chunk)
                    if self.bytes_left < 0:
                        raise Refused(
                            f"with it more than {self.max_bytes:,} bytes (a bomb?); raise max_bytes if that is so"
                        )
                    file.write(chunk)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise Refused("its path, or a folder of it, is that of an earlier file") from error
        except OSError as error:
            if error.errno not in UNNAMEABLE:
                raise
            raise Refused(f"no file can have its name here ({error.strerror})") from error
        self.files.append(path)

    def _make_folder(self, path: PurePosixPath) -> None:
        for each in [*reversed(path.parents), path]:
            if each not in self.folders:
                self._count_one_more()
                self.folder.joinpath(each).mkdir(exist_ok=True)
                self.folders.add(each)

    def _count_one_more(self) -> None:
        if len(self.files) + len(self.folders) > self.max_files:  # "." stands for the one more
            raise Refused(
                f"with it more than {self.max_files:,} files and folders; raise max_files if that is so"
            )


def _safe_path(name: str) -> PurePosixPath:
    """Path of an entry, relative; Refused for one that leads out of the folder or that no file system holds."""
    plain = name.replace("\\", "/")
    path = PurePosixPath(plain)
    if path.is_absolute() or re.match(r"[A-Za-z]:", plain):
        raise Refused("its path is absolute; an archive of pictures has relative paths")
    if ".." in path.parts:
        raise Refused("its path has '..' in it and may lead out of the folder")
    if re.search(r"[\x00-\x1f\x7f]", plain):
        raise Refused("its path has control characters in it")
    if re.search(r"[\ud800-\udfff]", plain):
        raise Refused("its path is not text in UTF-8; pack the archive anew with names in UTF-8")
    if len(path.parts) > MAX_DEPTH:
        raise Refused(f"its path is more than {MAX_DEPTH} folders deep")
    return path
