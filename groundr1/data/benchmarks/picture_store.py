"""Pictures of a benchmark on disk: found under their root by the path a row states, or written there once.

A data set then holds paths and memory stays flat, however large the file that the pictures came in. What is written is
named by its content, so a picture that several rows repeat is one file, and a second reading writes nothing.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from groundr1.data.example import load_image
from groundr1.data.rows import BadRow, find_picture
from groundr1.data.upright import upright_size

__all__ = ["PictureStore"]

Size = tuple[int, int]

SUFFIXES = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "GIF": ".gif",
    "TIFF": ".tif",
    "MPO": ".jpg",
}
TRIED = ("", ".jpg", ".png", ".jpeg", ".JPG", ".webp")  # SEED's rows leave the suffix out


class PictureStore:
    """The folder of a benchmark's pictures.

    Args:
        root: the folder; made when a picture is written.
        marker: folder name in the paths of a foreign machine behind which paths are the same everywhere.
    """

    def __init__(self, root: Path, marker: str | None = None):
        self.root = root.absolute()  # the data set outlives the working directory
        self.marker = marker
        self._seen: dict[str, tuple[Path, Size] | str] = {}  # a text is what is wrong with the picture

    def keep(self, encoded: bytes) -> tuple[Path, Size]:
        """Write a picture, unless it is there; returns its path and (width, height). BadRow if it is damaged."""
        digest = hashlib.sha256(encoded).hexdigest()
        return self._once(digest, lambda: self._write(encoded, digest))

    def find(self, stated: str) -> tuple[Path, Size]:
        """Path and (width, height) of a picture that a row names; BadRow if missing, damaged or outside the root."""
        path = self.locate(stated)
        return self._once(str(path), lambda: (path, load_image(path).size))

    def locate(self, stated: str) -> Path:
        """Where the picture a row names should be; BadRow for a path that leads out of the root, by a link too."""
        path = find_picture(stated, self.root, self.marker)
        try:
            candidates = [path.with_name(path.name + suffix) for suffix in TRIED]
            path = next((each for each in candidates if each.is_file()), path)
            inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root))
        except (OSError, ValueError) as error:  # a name that the file system cannot hold
            raise BadRow(str(error)) from error
        if not inside:
            raise BadRow(
                f"the picture {path} is a link out of the image root {self.root}; give the folder it leads to"
            )
        return path

    def _once(self, key: str, look: Callable[[], tuple[Path, Size]]) -> tuple[Path, Size]:
        if key not in self._seen:
            try:
                self._seen[key] = look()
            except (BadRow, OSError, ValueError) as error:
                self._seen[key] = str(error)
        found = self._seen[key]
        if isinstance(found, str):
            raise BadRow(found)
        return found

    def _write(self, encoded: bytes, digest: str) -> tuple[Path, Size]:
        try:
            with Image.open(io.BytesIO(encoded)) as image:
                suffix = SUFFIXES.get(image.format or "", ".img")
            size = upright_size(encoded)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise BadRow(f"the picture in the row cannot be read ({error})") from error
        path = self.root / f"{digest}{suffix}"
        if path.is_file():
            return path, size
        load_image(encoded)
        self.root.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".writing-", suffix=suffix, dir=self.root)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(encoded)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return path, size
