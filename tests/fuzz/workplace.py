"""Where hostile files are written and looked for: a folder of this process with pictures, traps and ways out."""

import functools
import os
import tempfile
from pathlib import Path

from PIL import Image

_KEPT: list[tempfile.TemporaryDirectory] = []


@functools.cache
def workplace() -> Path:
    """A folder of this process, in memory where the machine has such a place, removed at its end."""
    shared = Path("/dev/shm")
    _KEPT.append(
        tempfile.TemporaryDirectory(prefix="groundr1-fuzz-", dir=shared if shared.is_dir() else None)
    )
    return Path(_KEPT[0].name)


@functools.cache
def image_root() -> Path:
    """Pictures good and bad, and ways out of the folder."""
    root = workplace() / "pictures"
    for name in ("a.png", "gqa/1.png", "cot_image_data/gqa/1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 80), "teal").save(root / name)
    Image.new("RGB", (9, 9)).save(workplace() / "secret.png")
    Image.new("RGB", (402, 2)).save(root / "long.png")
    (root / "torn.png").write_bytes((root / "a.png").read_bytes()[:60])
    (root / "text.png").write_text("not a picture")
    (root / "empty.png").touch()
    (root / "out.png").symlink_to("../secret.png")
    (root / "out").symlink_to("..")
    (root / "loop.png").symlink_to("loop.png")
    os.mkfifo(root / "pipe")
    return root


def written(name: str, data: bytes) -> Path:
    path = workplace() / name
    path.write_bytes(data)
    return path
