"""Entries of a zip or tar, one after the other, none of which is trusted."""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["MAX_HEADER", "Entry", "Refused", "entries"]

CHUNK = 2**18
# Of a tar's headers, for one entry. A path of 4096 bytes fits; `tarfile` reads a header whole, and some versions of it
# take quadratic time.
MAX_HEADER = 2**15
TAR_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # the latter is an empty one
ENCRYPTED = 1  # bit of a zip entry's flags


class Refused(ValueError):
    """Why an entry is refused, without the names of archive and entry."""


@dataclass(frozen=True)
class Entry:
    """A file of an archive: its path as it stands there, and its bytes in chunks; None instead of them: a folder."""

    name: str
    chunks: Iterator[bytes] | None


def entries(raw: BinaryIO) -> Iterator[Entry]:
    """Entries of an archive, in its order; what it is, its first bytes say. Raises Refused."""
    start = raw.read(6)
    raw.seek(0)
    if start.startswith(ZIP_STARTS):
        return _zip_entries(raw)
    opener = next((each for magic, each in TAR_OPENERS.items() if start.startswith(magic)), None)
    return _tar_entries(raw if opener is None else opener(raw))


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what the standard library makes of a damaged archive into Refused; around reading only, not writing."""
    try:
        yield
    except Refused:
        raise
    except (
        Exception
    ) as error:  # beside their own errors the modules raise EOFError, zlib.error, RecursionError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Refused(f"no zip or tar (gz, bz2, xz), or damaged ({reason}); download it again") from error


def _zip_entries(raw: BinaryIO) -> Iterator[Entry]:
    with _reading():
        file = zipfile.ZipFile(raw)
    for info in file.infolist():
        name = info.orig_filename  # as it stands in the archive; ZipInfo.filename ends at a NUL
        yield Entry(name, None if name.endswith(("/", "\\")) else _zip_chunks(file, info))


def _zip_chunks(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise Refused("it is a link, a device or the like; only files and folders are unpacked")
    if info.flag_bits & ENCRYPTED:
        raise Refused("it is encrypted; unpack it by hand")
    with _reading():
        stream = file.open(info)
    while True:
        with _reading():
            chunk = stream.read(CHUNK)
        if not chunk:
            return
        yield chunk


def _tar_entries(stream: BinaryIO) -> Iterator[Entry]:
    forward = _Forward(stream)
    with _reading():
        tar = tarfile.open(fileobj=forward, mode="r:", errors="surrogateescape")
    while True:
        with _reading():
            info = tar.next()
        if info is None:
            break
        tar.members.clear()  # it keeps every entry that it has read
        yield Entry(info.name, None if info.isdir() else _tar_chunks(forward, info))
        forward.headers_left = MAX_HEADER
    if forward.last.strip(b"\0"):
        raise Refused("what follows is no header of a tar; the archive is damaged: download it again")
    if len(forward.last) < tarfile.BLOCKSIZE:
        raise Refused("after it the archive ends without its end mark; it was cut off: download it again")


def _tar_chunks(forward: "_Forward", info: tarfile.TarInfo) -> Iterator[bytes]:
    if not info.isreg() or info.issparse():
        raise Refused(
            "it is a link, a device, a sparse file or the like; only plain files and folders are unpacked"
        )
    if info.size < 0:
        raise Refused("it claims a size below 0; the archive is damaged or hostile")
    left = info.size
    while left > 0:
        with _reading():
            chunk = forward.stream.read(min(CHUNK, left))
        if not chunk:
            raise Refused("it is cut off; download the archive again")
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
            raise Refused("its entries overlap; the archive is damaged or hostile")
        self.read(ahead)

    def read(self, size: int) -> bytes:
        """Bytes of a header."""
        self.headers_left -= size
        if size < 0 or self.headers_left < 0:
            raise Refused(f"a header is longer than {MAX_HEADER:,} bytes; the archive is damaged or hostile")
        self.last = self.stream.read(size)
        return self.last
