"""Finding benchmarks under a folder, by the names of their files and by what is in their first row."""

import logging
import os
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from groundr1.data.benchmarks.files import SourceRow, refcoco_dataset, rows_of_file, take_picture
from groundr1.data.benchmarks.picture_store import PictureStore
from groundr1.data.benchmarks.sources import repository_name, split_files
from groundr1.data.benchmarks.table import BENCHMARKS, MARKERS, Benchmark, plain_name
from groundr1.data.items import items_of
from groundr1.data.items.forms import LeftOut
from groundr1.data.rows import BadRow

__all__ = ["Found", "find_benchmarks"]

logger = logging.getLogger(__name__)

FORMS = {".jsonl": "jsonl", ".tsv": "tsv", ".parquet": "hub"}
# Folders of pictures: nothing to find in them, and a hundred thousand files to look at.
PICTURE_FOLDERS = {"images", "image", "cot_image_data", "train2014", "val2014", "pictures"}
DEPTH = 6  # of folders looked into below the root
PROBED = 3  # rows whose pictures tell whether a folder is the image root


@dataclass(frozen=True)
class Found:
    """A benchmark on disk; `read_benchmark(found.benchmark, found.path, found.image_root)` reads it.

    Attributes:
        benchmark: its name in `BENCHMARKS`.
        label: what to call it, unique among those found together: "pope", "hrbench_4k", "pope_tsv".
        form: "jsonl", "tsv" or "hub".
        path: the file, or the folder of parquet files.
        image_root: the folder of its pictures, or where the reader will write them.
    """

    benchmark: str
    label: str
    form: str
    path: Path
    image_root: Path


def find_benchmarks(data_root: str | Path) -> list[Found]:
    """Find Ground-R1 jsonl files with their pictures, VLMEvalKit TSV files and snapshots of the Hub.

    A file is told by its name and confirmed by its first row; one with another name is told by its first row alone,
    except for RealWorldQA, whose rows could be anybody's. What is passed over is logged with the reason.

    Args:
        data_root: the folder to look in; hidden folders and folders of pictures are left out.

    Returns:
        What was found, sorted by benchmark and label.

    Raises:
        FileNotFoundError: no such folder.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}; give the folder that holds the benchmarks.")
    files, folders = _walk(root)
    found = []
    for path in files:
        if path.suffix == ".parquet":
            continue
        try:
            found.append(_look_at(path, folders))
        except (BadRow, OSError, ValueError) as reason:
            logger.info("passed over %s: %s", path, reason)
    found += _snapshots(root, [path for path in files if path.suffix == ".parquet"])
    found.sort(key=lambda each: (list(BENCHMARKS).index(each.benchmark), each.label, str(each.path)))
    return _with_unique_labels(found)


def _walk(root: Path) -> tuple[list[Path], list[Path]]:
    """Files that may be a benchmark and folders that may be an image root, both sorted."""
    files: list[Path] = []
    folders: list[Path] = [root]
    for folder, names, here in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        names[:] = sorted(
            name for name in names if not name.startswith(".") and not name.endswith(".pictures")
        )
        folders += [Path(folder, name) for name in names]
        names[:] = [name for name in names if name.lower() not in PICTURE_FOLDERS and depth < DEPTH]
        files += [
            Path(folder, name) for name in here if Path(name).suffix in FORMS and not name.startswith(".")
        ]
    return sorted(files), folders


def _look_at(path: Path, folders: Sequence[Path]) -> Found:
    """What a jsonl or TSV file is; BadRow or ValueError with the reason when it is none that can be read."""
    form = FORMS[path.suffix]
    head = _head(path)
    benchmark = _recognise(path.stem, form, head)
    if form == "tsv":
        return Found(
            benchmark.name, _label(benchmark, path.stem), form, path, path.with_name(f"{path.name}.pictures")
        )
    images = [items_of(benchmark.name, row)[0].image for row in head[:PROBED]]
    image_root = _image_root(benchmark, path, [image for image in images if image], folders)
    return Found(benchmark.name, _label(benchmark, path.stem), form, path, image_root)


def _head(path: Path) -> list[dict]:
    """The first rows that are rows, without their pictures."""
    rows: Iterator[SourceRow] = rows_of_file(path)
    head = []
    for each, _ in zip(rows, range(PROBED), strict=False):
        if isinstance(each.row, BadRow):
            raise each.row
        row = take_picture(each.row)[0]
        if "bbox" in row and (name := refcoco_dataset(str(path.absolute()))) is not None:
            row.setdefault("dataset", name)
        head.append(row)
    if not head:
        raise BadRow("it has no rows")
    return head


def _recognise(name: str, form: str, head: Sequence[dict]) -> Benchmark:
    """The benchmark a file's name says, if its first row agrees; else the one benchmark that the row is of."""
    named = [
        (len(plain_name(start)), benchmark)
        for benchmark in BENCHMARKS.values()
        for start in (benchmark.jsonl if form == "jsonl" else benchmark.tsv)
        if plain_name(name).startswith(plain_name(start))
    ]
    if named:
        benchmark = max(named, key=lambda each: each[0])[1]
        try:
            items_of(benchmark.name, head[0])
        except LeftOut:
            return benchmark
        except BadRow as reason:
            raise BadRow(f"named like {benchmark.title}, but {reason}") from reason
        return benchmark
    fitting = [each for each in BENCHMARKS.values() if each.name != "realworldqa" and _fits(each, head[0])]
    if len(fitting) != 1:
        raise BadRow(
            "its rows are of no benchmark" if not fitting else "its rows could be of several benchmarks"
        )
    return fitting[0]


def _fits(benchmark: Benchmark, row: dict) -> bool:
    try:
        items_of(benchmark.name, row)
    except LeftOut:
        return True
    except BadRow:
        return False
    return True


def _image_root(benchmark: Benchmark, path: Path, images: Sequence[str], folders: Sequence[Path]) -> Path:
    """The folder below which the first rows' pictures are; one named like the benchmark before others."""
    names = {plain_name(name) for name in (benchmark.name, *benchmark.jsonl)}

    def preference(folder: Path) -> tuple[bool, bool, int, str]:
        own = any(name in plain_name(str(folder.relative_to(folders[0]))) for name in names)
        return not own, folder != path.parent, len(folder.parts), str(folder)

    for folder in sorted({path.parent, *folders}, key=preference):
        store = PictureStore(folder, MARKERS.get(benchmark.name))
        try:
            if images and all(store.locate(image).is_file() for image in images):
                return folder
        except BadRow:
            continue
    raise BadRow(f"rows of {benchmark.title}, but no folder holds the picture {images[:1]}; download them")


def _snapshots(root: Path, files: Sequence[Path]) -> list[Found]:
    """Data sets of the Hub: folders of parquet files, told by a folder's name, else by the first row."""
    names = {plain_name(hub.name): benchmark for benchmark in BENCHMARKS.values() for hub in benchmark.hubs}
    found: dict[Path, list[Found]] = {}
    for path in files:
        folder, name = _repository(root, path, names)
        if folder in found:
            continue
        found[folder] = []
        try:
            benchmark = names.get(repository_name(name)) or _recognise("", "hub", _head(path))
            found[folder] = _versions(benchmark, folder, name)
        except (BadRow, OSError, ValueError) as reason:
            logger.info("passed over %s: %s", folder, reason)
    return [each for several in found.values() for each in several]


def _repository(root: Path, path: Path, names: Container[str]) -> tuple[Path, str]:
    """Folder of the data set that a parquet file is of, and its name.

    In the cache of the Hub the folder is datasets--<owner>--<name>/snapshots/<hash>, of which there may be several.
    """
    for folder in path.parents:
        if folder.parent.name == "snapshots" and repository_name(folder.parent.parent.name) in names:
            return folder, folder.parent.parent.name
        if repository_name(folder.name) in names:
            return folder, folder.name
        if folder == root:
            break
    return path.parent, path.parent.name


def _versions(benchmark: Benchmark, folder: Path, name: str) -> list[Found]:
    """One snapshot, or of HR-Bench, whose two versions have the same ids, one for each file."""
    if benchmark.name != "hrbench":
        split_files(benchmark, folder)
        pictures = folder.with_name(f"{folder.name}.pictures")
        return [Found(benchmark.name, _label(benchmark, name), "hub", folder, pictures)]
    return [
        Found("hrbench", _label(benchmark, path.stem), "hub", path, path.with_name(f"{path.name}.pictures"))
        for path in sorted(folder.rglob("*.parquet"))
    ]


def _label(benchmark: Benchmark, name: str) -> str:
    """The benchmark's name, with what tells versions of it apart."""
    plain = plain_name(name)
    if benchmark.name == "hrbench":
        return next((f"hrbench_{size}" for size in ("4k", "8k") if size in plain), "hrbench")
    if benchmark.name == "viscot" and "subset" in plain:
        return "viscot_subset"
    if benchmark.name == "refcoco":
        split = refcoco_dataset(name)
        if split is not None:
            return split.lower().replace("/", "_")
        return next((each for each in ("refcocoplus", "refcocog") if each in plain), "refcoco")
    return benchmark.name


def _with_unique_labels(found: Sequence[Found]) -> list[Found]:
    """Labels that occur more than once get the form, and a number if that is not enough."""
    counts = Counter(each.label for each in found)
    labels = [each.label if counts[each.label] == 1 else f"{each.label}_{each.form}" for each in found]
    seen: Counter[str] = Counter()
    unique = []
    for each, label in zip(found, labels, strict=True):
        seen[label] += 1
        unique.append(replace(each, label=label if seen[label] == 1 else f"{label}_{seen[label]}"))
    return unique
