"""Unpacking of downloaded archives, none of which is trusted: zip, and tar, plain or compressed by gzip, bzip2 or xz.

Nothing is written outside the folder, nothing but plain files and folders is made, no more than allowed is written
whatever the headers say, and the folder appears under its name only when all of the archive is in it.

>>> paths = unpack("downloads/gqa.zip", "pictures/gqa")                                      # doctest: +SKIP
"""

import bz2
import errno
import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm.auto import tqdm

__all__ = ["BadArchive", "unpack"]

MAX_BYTES = 256 * 2**30
MAX_FILES = 2_000_000
MAX_DEPTH = 100  # folders in a path; deeper ones could be made, and hardly be deleted
CHUNK = 2**18
# Of a tar's headers, for one entry. A path of 4096 bytes fits; `tarfile` reads a header whole, and some versions of it
# take quadratic time.
MAX_HEADER = 2**15
TAR_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # the latter is an empty one
UNNAMEABLE = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
ENCRYPTED = 1  # bit of a zip entry's flags


class BadArchive(ValueError):
    """An archive is not unpacked; the message names it, the entry, and the reason."""


class _Refused(ValueError):
    """Why an entry is refused, without the names of archive and entry."""


@dataclass(frozen=True)
class _Entry:
    name: str
    chunks: Iterator[bytes] | None  # None: a folder


def unpack(
    archive: str | Path,
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
        archive: zip or tar; which one is told by its first bytes.
        folder: made by this call; may exist only empty. While unpacking, files are in a folder ".unpacking-<name>"
            beside it, which the next call deletes if this one was killed.
        max_bytes: of all files together, counted while they are written; our choice.
        max_files: files and folders; our choice.
        progress: whether to show a bar, of the archive's bytes.

    Returns:
        The files, in the order of the archive.

    Raises:
        FileNotFoundError: no such archive.
        FileExistsError: the folder has something in it.
        BadArchive: no archive, damaged, or with an entry that is refused.
        OSError: the disk is full or may not be written.
    """
    archive, folder = Path(archive), Path(folder).resolve()
    if not archive.is_file():
        raise FileNotFoundError(f"There is no archive {archive}; download it, or correct the path.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already; delete it, or unpack {archive} elsewhere.")
    unfinished = folder.with_name(f".unpacking-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    name = ""
    try:
        writer = _Writer(unfinished, max_bytes, max_files)
        with (
            archive.open("rb") as raw,
            tqdm(
                total=archive.stat().st_size, desc=f"unpacking {archive.name}", unit="B", unit_scale=True,
                disable=not progress,
            ) as bar,
        ):  # fmt: skip
            for entry in _entries(raw):
                name = entry.name
                writer.write(entry)
                bar.update(raw.tell() - bar.n)
        os.sync()  # so that a name never stands for files that a power cut has emptied
        os.replace(unfinished, folder)
    except _Refused as error:
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

    def write(self, entry: _Entry) -> None:
        """Write one file or folder; raises _Refused."""
        path = _safe_path(entry.name)
        try:
            self._make_folder(path if entry.chunks is None else path.parent)
            if entry.chunks is None:
                return
            if path in self.folders:
                raise _Refused("it is a folder already; get the archive from its source again")
            self._count_one_more()
            # "x": never into what is there, be it the same name or one that this file system cannot tell from it.
            with self.folder.joinpath(path).open("xb") as file:
                for chunk in entry.chunks:
                    self.bytes_left -= len(chunk)
                    if self.bytes_left < 0:
                        raise _Refused(
                            f"with it more than {self.max_bytes:,} bytes (a bomb?); raise max_bytes if that is so"
                        )
                    file.write(chunk)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise _Refused("its path, or a folder of it, is that of an earlier file") from error
        except OSError as error:
            if error.errno not in UNNAMEABLE:
                raise
            raise _Refused(f"no file can have its name here ({error.strerror})") from error
        self.files.append(path)

    def _make_folder(self, path: PurePosixPath) -> None:
        for each in [*reversed(path.parents), path]:
            if each not in self.folders:
                self._count_one_more()
                self.folder.joinpath(each).mkdir(exist_ok=True)
                self.folders.add(each)

    def _count_one_more(self) -> None:
        if len(self.files) + len(self.folders) > self.max_files:  # "." stands for the one more
            raise _Refused(
                f"with it more than {self.max_files:,} files and folders; raise max_files if that is so"
            )


def _safe_path(name: str) -> PurePosixPath:
    """Path of an entry, relative; _Refused for one that leads out of the folder or that no file system holds."""
    plain = name.replace("\\", "/")
    path = PurePosixPath(plain)
    if path.is_absolute() or re.match(r"[A-Za-z]:", plain):
        raise _Refused("its path is absolute; an archive of pictures has relative paths")
    if ".." in path.parts:
        raise _Refused("its path has '..' in it and may lead out of the folder")
    if re.search(r"[\x00-\x1f\x7f]", plain):
        raise _Refused("its path has control characters in it")
    if re.search(r"[\ud800-\udfff]", plain):
        raise _Refused("its path is not text in UTF-8; pack the archive anew with names in UTF-8")
    if len(path.parts) > MAX_DEPTH:
        raise _Refused(f"its path is more than {MAX_DEPTH} folders deep")
    return path


def _entries(raw: BinaryIO) -> Iterator[_Entry]:
    start = raw.read(6)
    raw.seek(0)
    if start.startswith(ZIP_STARTS):
        return _zip_entries(raw)
    opener = next((each for magic, each in TAR_OPENERS.items() if start.startswith(magic)), None)
    return _tar_entries(raw if opener is None else opener(raw))


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what the standard library makes of a damaged archive into _Refused; around reading only, not writing."""
    try:
        yield
    except _Refused:
        raise
    except (
        Exception
    ) as error:  # beside their own errors the modules raise EOFError, zlib.error, RecursionError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _Refused(f"no zip or tar (gz, bz2, xz), or damaged ({reason}); download it again") from error


def _zip_entries(raw: BinaryIO) -> Iterator[_Entry]:
    with _reading():
        file = zipfile.ZipFile(raw)
    for info in file.infolist():
        name = info.orig_filename  # as it stands in the archive; ZipInfo.filename ends at a NUL
        yield _Entry(name, None if name.endswith(("/", "\\")) else _zip_chunks(file, info))


def _zip_chunks(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _Refused("it is a link, a device or the like; only files and folders are unpacked")
    if info.flag_bits & ENCRYPTED:
        raise _Refused("it is encrypted; unpack it by hand")
    with _reading():
        stream = file.open(info)
    while True:
        with _reading():
            chunk = stream.read(CHUNK)
        if not chunk:
            return
        yield chunk


def _tar_entries(stream: BinaryIO) -> Iterator[_Entry]:
    forward = _Forward(stream)
    with _reading():
        tar = tarfile.open(fileobj=forward, mode="r:", errors="surrogateescape")
    while True:
        with _reading():
            info = tar.next()
        if info is None:
            break
        tar.members.clear()  # it keeps every entry that it has read
        yield _Entry(info.name, None if info.isdir() else _tar_chunks(forward, info))
        forward.headers_left = MAX_HEADER
    if forward.last.strip(b"\0"):
        raise _Refused("what follows is no header of a tar; the archive is damaged: download it again")
    if len(forward.last) < tarfile.BLOCKSIZE:
        raise _Refused("after it the archive ends without its end mark; it was cut off: download it again")


def _tar_chunks(forward: "_Forward", info: tarfile.TarInfo) -> Iterator[bytes]:
    if not info.isreg() or info.issparse():
        raise _Refused(
            "it is a link, a device, a sparse file or the like; only plain files and folders are unpacked"
        )
    if info.size < 0:
        raise _Refused("it claims a size below 0; the archive is damaged or hostile")
    left = info.size
    while left > 0:
        with _reading():
            chunk = forward.stream.read(min(CHUNK, left))
        if not chunk:
            raise _Refused("it is cut off; download the archive again")
        left -= len(chunk)
        yield chunk


class _Forward:
    """What `tarfile` reads headers from: only onwards, and only as much as headers have.

    A header that claims to be gigabytes long would be read into memory whole, and one that points back makes some
    versions of `tarfile` read for ever.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.headers_left, self.last = stream, MAX_HEADER, b""

    def tell(self) -> int:
        """Position in the decompressed archive."""
        return self.stream.tell()

    def seek(self, position: int) -> None:
        """Go on to a position not far ahead."""
        ahead = position - self.stream.tell()
        if ahead < 0:
            raise _Refused("its entries overlap; the archive is damaged or hostile")
        self.read(ahead)

    def read(self, size: int) -> bytes:
        """Bytes of a header."""
        self.headers_left -= size
        if size < 0 or self.headers_left < 0:
            raise _Refused(f"a header is longer than {MAX_HEADER:,} bytes; the archive is damaged or hostile")
        self.last = self.stream.read(size)
        return self.last
