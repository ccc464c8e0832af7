"""Unpacking: good archives come out whole, hostile ones leave nothing behind, and a kill leaves nothing half done."""

import bz2
import errno
import gzip
import io
import lzma
import os
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundr1.data import archives
from groundr1.data.archives import BadArchive, unpack
from groundr1.data.archives.entries import MAX_HEADER
from groundr1.data.archives.parts import Joined

FILES = {"gqa/1.jpg": b"one", "gqa/2.jpg": b"", "flickr30k/deep/3.jpg": b"three" * 1000, "4.jpg": b"x" * 512}
PACKERS = {
    ".tar": lambda data: data,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def tar_bytes(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_bytes(
    *entries: tuple[str | zipfile.ZipInfo, bytes], names: dict[bytes, bytes] | None = None
) -> bytes:
    """A zip; `names` are replaced by others of the same length, which `zipfile` would not write."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content, zipfile.ZIP_DEFLATED)
    data = stream.getvalue()
    for old, new in (names or {}).items():
        assert len(old) == len(new) and data.count(old) == 2, "once before the content, once in the directory"
        data = data.replace(old, new)
    return data


def link_info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("form", [*PACKERS, ".zip"])
def test_good_archives_come_out_whole(tmp_path: Path, form: str):
    packed = tar_bytes(member("gqa", type=tarfile.DIRTYPE), *(member(*each) for each in FILES.items()))
    data = zip_bytes(*FILES.items()) if form == ".zip" else PACKERS[form](packed)
    # The name says nothing; the first bytes do.
    (tmp_path / "download").write_bytes(data)
    paths = unpack(tmp_path / "download", tmp_path / "new" / "pictures", progress=False)
    assert paths == [tmp_path / "new" / "pictures" / name for name in FILES], "in the archive's order"
    assert files_below(tmp_path / "new" / "pictures") == FILES
    assert os.listdir(tmp_path / "new") == ["pictures"], "nothing else beside it"


def cut(folder: Path, data: bytes, names: list[str]) -> Path:
    """Write bytes as parts of equal size."""
    folder.mkdir()
    size = -(-len(data) // len(names))
    for number, name in enumerate(names):
        (folder / name).write_bytes(data[number * size : (number + 1) * size])
    return folder


@pytest.mark.parametrize(
    ("form", "names"),
    [
        (".tar", [f"cot_images_{number:02}" for number in range(13)]),  # as Visual-CoT's pictures come
        (".tar", [f"cot_images_0{number}" for number in range(3)]),
        (".tar.gz", [f"part{number}" for number in range(8, 12)]),  # 8, 9, 10, 11: in the order of numbers
        (".zip", ["images.zip.001", "images.zip.002"]),
        (".tar.xz", ["xaa", "xab", "xac"]),  # what `split` makes
        (".tar", ["only.tar"]),
    ],
)
def test_archives_in_parts_are_read_as_one(tmp_path: Path, form: str, names: list[str]):
    packed = tar_bytes(*(member(*each) for each in FILES.items()))
    data = zip_bytes(*FILES.items()) if form == ".zip" else PACKERS[form](packed)
    folder = cut(tmp_path / "parts", data, names)
    (folder / ".cache").mkdir()  # the Hub's client leaves one
    (folder / ".gitattributes").touch()
    unpack(folder, tmp_path / "pictures", progress=False)
    assert files_below(tmp_path / "pictures") == FILES
    unpack([folder / name for name in names], tmp_path / "again", progress=False)
    assert files_below(tmp_path / "again") == FILES


def test_parts_that_are_left_out_are_named(tmp_path: Path):
    names = [f"cot_images_{number:02}" for number in range(5)]
    folder = cut(tmp_path / "parts", tar_bytes(*(member(*each) for each in FILES.items())), names)
    (folder / names[-1]).rename(tmp_path / "last")
    with pytest.raises(BadArchive, match="cot_images_00 and 3 more parts, entry '4.jpg': .*cut off"):
        unpack(folder, tmp_path / "a", progress=False)
    (tmp_path / "last").rename(folder / names[-1])
    (folder / names[2]).unlink()
    with pytest.raises(
        FileNotFoundError, match="parts lacks the part that follows cot_images_01; download it"
    ):
        unpack(folder, tmp_path / "a", progress=False)
    with pytest.raises(FileNotFoundError, match="no archive .*cot_images_02; download it"):
        unpack([folder / name for name in names], tmp_path / "a", progress=False)
    (folder / "train.tar").touch()
    with pytest.raises(ValueError, match="cot_images_01, .*are not the parts of one archive; give a file"):
        unpack(folder, tmp_path / "a", progress=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no archive"):
        unpack(tmp_path / "empty", tmp_path / "a", progress=False)
    assert not (tmp_path / "a").exists()


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.data())
def test_joined_files_read_as_their_bytes_one_behind_the_other(parts: list[bytes], data: st.DataObject):
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(number)) for number in range(len(parts))]
        for path, part in zip(paths, parts, strict=True):
            path.write_bytes(part)
        whole = io.BytesIO(b"".join(parts))
        with io.BufferedReader(Joined(paths), 7) as joined:
            assert joined.raw.num_bytes == len(whole.getvalue())
            for _ in range(data.draw(st.integers(1, 5))):
                at, num = data.draw(st.integers(0, 110)), data.draw(st.integers(0, 110))
                assert joined.seek(at) == whole.seek(at) and joined.read(num) == whole.read(num)
            assert joined.seek(-1 if whole.getvalue() else 0, os.SEEK_END) == max(joined.raw.num_bytes - 1, 0)


def test_what_tar_and_zip_commonly_hold_is_taken(tmp_path: Path):
    """ "./" at the start, a folder after its files, a backslash from Windows, a file of a tar of 1979."""
    old = member("./old.jpg", b"old", type=tarfile.AREGTYPE)
    root, late = member(".", type=tarfile.DIRTYPE), member("./a", type=tarfile.DIRTYPE)
    (tmp_path / "a.tar").write_bytes(tar_bytes(root, old, member("./a/1.jpg", b"1"), late))
    unpack(tmp_path / "a.tar", tmp_path / "a", progress=False)
    assert files_below(tmp_path / "a") == {"old.jpg": b"old", "a/1.jpg": b"1"}
    (tmp_path / "b.zip").write_bytes(zip_bytes(("a*1.jpg", b"1"), names={b"a*1.jpg": b"a\\1.jpg"}))
    unpack(tmp_path / "b.zip", tmp_path / "b", progress=False)
    assert files_below(tmp_path / "b") == {"a/1.jpg": b"1"}


def test_long_and_foreign_names_are_kept_and_modes_are_not(tmp_path: Path):
    name = "ü" * 60 + "/" + "x" * 200 + ".jpg"
    (tmp_path / "a.tar").write_bytes(tar_bytes(member(name, b"1", mode=0o4777)))
    (path,) = unpack(tmp_path / "a.tar", tmp_path / "a", progress=False)
    assert path == tmp_path / "a" / name
    assert not path.stat().st_mode & 0o7111, "neither setuid nor executable"


def header_of(size: int, name: bytes = b"a.jpg", kind: bytes = b"0") -> bytes:
    """A tar header that claims a size, whatever follows; sizes beyond eight octal digits in base 256."""
    info = tarfile.TarInfo(name.decode())
    info.type = kind
    buffer = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    buffer[124:136] = (size & (2**95 - 1) | 2**95).to_bytes(12, "big") if size >= 0 else b"\xff" * 12
    buffer[148:156] = b" " * 8
    buffer[148:156] = f"{sum(buffer):06o}\0 ".encode()
    return bytes(buffer)


END = bytes(1024)
GOOD = member("good.jpg", b"good")
HOSTILE = {
    "parent": (tar_bytes(GOOD, member("../evil.jpg", b"x")), r"entry '../evil.jpg': its path has '\.\.'"),
    "parent within": (tar_bytes(member("a/../../evil.jpg", b"x")), r"has '\.\.'"),
    "parent with backslash": (tar_bytes(member("a\\..\\..\\evil.jpg", b"x")), r"has '\.\.'"),
    "absolute": (tar_bytes(GOOD, member("/tmp/evil.jpg", b"x")), "is absolute"),
    "absolute folder": (tar_bytes(member("/evil/", type=tarfile.DIRTYPE)), "is absolute"),
    "network path": (tar_bytes(member("\\\\host\\evil.jpg", b"x")), "is absolute"),
    "drive letter": (tar_bytes(member("C:evil.jpg", b"x")), "is absolute"),
    "symbolic link": (tar_bytes(member("a", type=tarfile.SYMTYPE, linkname="/etc")), "a link, a device"),
    "link within": (tar_bytes(GOOD, member("a", type=tarfile.SYMTYPE, linkname="good.jpg")), "a link"),
    "through a link": (
        tar_bytes(member("a", type=tarfile.SYMTYPE, linkname=".."), member("a/evil.jpg", b"x")), "entry 'a': .*link",
    ),
    "hard link": (tar_bytes(GOOD, member("a", type=tarfile.LNKTYPE, linkname="good.jpg")), "a link"),
    "pipe": (tar_bytes(member("a", type=tarfile.FIFOTYPE)), "a device"),
    "device": (tar_bytes(member("a", type=tarfile.CHRTYPE, devmajor=1, devminor=5)), "a device"),
    "unknown kind": (tar_bytes(member("a", b"x", type=b"Z")), "a device, a sparse file or the like"),
    "twice": (tar_bytes(GOOD, member("good.jpg", b"bad")), "that of an earlier file"),
    "twice, spelt otherwise": (tar_bytes(GOOD, member(".//good.jpg", b"bad")), "that of an earlier file"),
    "file, then folder": (tar_bytes(GOOD, member("good.jpg/1.jpg", b"x")), "or a folder of it, is that of"),
    "folder, then file": (tar_bytes(member("a/1.jpg", b"x"), member("a", b"x")), "is a folder already"),
    "no name": (tar_bytes(member("", b"x")), "is a folder already"),
    "control character": (tar_bytes(member("a\n.jpg", b"x")), "control characters"),
    "not UTF-8": (tar_bytes(member("a\udcff.jpg", b"x")), "not text in UTF-8"),
    "name too long": (tar_bytes(member("x" * 300, b"x")), "no file can have its name"),
    "path too deep": (tar_bytes(member("x/" * 3000 + "y", b"x")), "more than 100 folders deep"),
    "path too long": (tar_bytes(member(("x" * 200 + "/") * 9 + "x" * 4000, b"x")), "no file can have its name"),
    "too many bytes": (tar_bytes(GOOD, member("a.jpg", bytes(2000))), "more than 1,000 bytes"),
    "bomb": (gzip.compress(tar_bytes(member("a.jpg", bytes(10**7)))), "more than 1,000 bytes"),
    "claims less than the zip has": (
        zip_bytes(("a.jpg", bytes(10**6))).replace((10**6).to_bytes(4, "little"), (100).to_bytes(4, "little")),
        "damaged|more than 1,000",
    ),
    "zip bomb": (zip_bytes(("a.jpg", bytes(10**6))), "more than 1,000 bytes"),
    "too many files": (tar_bytes(*(member(f"{i}.jpg") for i in range(11))), "entry '10.jpg': .*more than 10 files"),
    "too many folders": (tar_bytes(member("a/" * 11 + "x.jpg")), "more than 10 files and folders"),
    "size of exabytes": (header_of(2**62) + b"x" + END, "more than 1,000 bytes|cut off"),
    "negative size": (header_of(-1) + END, "size below 0"),
    "long name of gigabytes": (header_of(2**33, kind=b"L") + bytes(2048), "header is longer than"),
    "extended header of gigabytes": (header_of(2**33, kind=b"x") + bytes(2048), "header is longer than"),
    "endless chain of headers": (
        (header_of(5, kind=b"L") + b"name".ljust(512, b"\0")) * 2000 + tar_bytes(GOOD), "header is longer than|damaged"
    ),
    "cut off in a file": (tar_bytes(member("a.jpg", bytes(900)))[:1000], "cut off|damaged"),
    "cut off between files": (tar_bytes(GOOD, member("b.jpg"))[:1024], "'good.jpg': after it .* cut off"),
    "cut off in a header": (tar_bytes(GOOD, member("b.jpg"))[:1200], "cut off|damaged"),
    "cut off, gzip": (gzip.compress(tar_bytes(GOOD, member("a.jpg", os.urandom(900))))[:-100], "damaged"),
    "cut off, zip": (zip_bytes(("a.jpg", b"x" * 100))[:-30], "damaged"),
    "a header overwritten": (tar_bytes(GOOD)[:1024] + b"?" * 512 + END, "no header of a tar"),
    "zip: parent": (zip_bytes(("../evil.jpg", b"x")), r"has '\.\.'"),
    "zip: absolute": (zip_bytes(("/etc/evil.jpg", b"x")), "is absolute"),
    "zip: link": (zip_bytes((link_info("a"), b"/etc/passwd")), "a link"),
    "zip: NUL": (zip_bytes(("a.jpg*.txt", b"x"), names={b"a.jpg*.txt": b"a.jpg\0.txt"}), "control characters"),
    "zip: twice": (
        zip_bytes(("a.jpg", b"x"), ("b.jpg", b"y"), names={b"b.jpg": b"a.jpg"}), "that of an earlier file"
    ),
    "zip: encrypted": (
        zip_bytes(("a.jpg", b"x")).replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"), "encrypted"
    ),
    "zip: wrong checksum": (zip_bytes(("a.jpg", b"abc")).replace(b"\xc2\x41\x24\x35", b"\xc2\x41\x24\x36"), "damaged"),
    "no archive": (b"<html>404 Not Found</html>", "no zip or tar"),
    "picture": (b"\xff\xd8\xff\xe0" + bytes(1000), "no zip or tar"),
    "empty file": (b"", "no zip or tar"),
    "gzip of text": (gzip.compress(b"some text" * 100), "no zip or tar"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_leave_nothing_behind(tmp_path: Path, name: str):
    data, reason = HOSTILE[name]
    (tmp_path / "download").write_bytes(data)
    with pytest.raises(BadArchive, match=reason) as caught:
        unpack(tmp_path / "download", tmp_path / "pictures", max_bytes=1000, max_files=10, progress=False)
    assert str(tmp_path / "download") in str(caught.value) and "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["download"]


def test_the_allowed_number_of_bytes_and_files_is_allowed(tmp_path: Path):
    (tmp_path / "a.tar").write_bytes(tar_bytes(member("a/1.jpg", bytes(600)), member("a/2.jpg", bytes(400))))
    unpack(tmp_path / "a.tar", tmp_path / "a", max_bytes=1000, max_files=3, progress=False)
    with pytest.raises(BadArchive, match="more than 2 files and folders"):
        unpack(tmp_path / "a.tar", tmp_path / "b", max_bytes=1000, max_files=2, progress=False)
    with pytest.raises(BadArchive, match="more than 999 bytes"):
        unpack(tmp_path / "a.tar", tmp_path / "b", max_bytes=999, max_files=3, progress=False)


def test_regression_headers_that_claim_gigabytes_are_not_read_into_memory(tmp_path: Path):
    """`tarfile` reads a long name or extended header whole: 300 kB of gzip are 300 MB of memory, 4 MB are 4 GB."""
    data = header_of(3 * 10**8, kind=b"x") + bytes(3 * 10**8)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(data, compresslevel=1))
    del data
    with pytest.raises(BadArchive, match=f"longer than {MAX_HEADER:,} bytes"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "a", progress=False)


def test_missing_archive_and_folder_in_use_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no archive .*absent.zip; download it"):
        unpack(tmp_path / "absent.zip", tmp_path / "a")
    (tmp_path / "a.tar").write_bytes(tar_bytes(GOOD))
    (tmp_path / "a").mkdir()
    unpack(tmp_path / "a.tar", tmp_path / "a", progress=False)  # an empty folder is no folder in use
    before = files_below(tmp_path / "a")
    with pytest.raises(FileExistsError, match="is there already; delete it"):
        unpack(tmp_path / "a.tar", tmp_path / "a", progress=False)
    assert files_below(tmp_path / "a") == before


def test_a_full_disk_is_no_fault_of_the_archive(tmp_path: Path, monkeypatch):
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a.tar").write_bytes(tar_bytes(GOOD))
    with monkeypatch.context() as patch:
        patch.setattr(archives.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
        with pytest.raises(OSError, match="No space left.*a.tar could not be unpacked into .*make room"):
            unpack(tmp_path / "a.tar", tmp_path / "a", progress=False)
    monkeypatch.setattr(archives.os, "replace", full)
    with pytest.raises(
        OSError, match="No space left.*a.tar could not be unpacked into .*make room"
    ) as caught:
        unpack(tmp_path / "a.tar", tmp_path / "a", progress=False)
    assert caught.value.errno == errno.ENOSPC and os.listdir(tmp_path) == ["a.tar"]


def test_a_kill_leaves_no_folder_and_the_next_call_starts_afresh(tmp_path: Path):
    """Killed in the middle of a long tar: there is no folder, and what there is beside it goes with the next call."""
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar_bytes(*(member(f"{i}.jpg", b"x" * 100) for i in range(3000))))
    slow = (
        "import sys, time; from groundr1.data import archives; write = archives._Writer.write\n"
        "def slowly(self, entry):\n    write(self, entry); time.sleep(0.01)\n"
        "archives._Writer.write = slowly\narchives.unpack(sys.argv[1], sys.argv[2], progress=False)"
    )
    process = subprocess.Popen([sys.executable, "-c", slow, str(archive), str(tmp_path / "a")])
    try:
        while not (tmp_path / ".unpacking-a" / "5.jpg").exists():
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "a").exists() and (tmp_path / ".unpacking-a").exists()
    assert len(unpack(archive, tmp_path / "a", progress=False)) == 3000
    assert sorted(os.listdir(tmp_path)) == ["a", "a.tar"]
