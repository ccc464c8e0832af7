"""Summary and report of a validation: what is listed, in which encoding, and which pictures are shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset

from groundr1.data.validation import Validation, load_validation, validate
from groundr1.data.validation import summary as summary_module
from groundr1.data.validation.ledger import Parts
from groundr1.data.validation.report import drawn_row, worst_rows
from groundr1.figures import plot_worst
from tests.small_annotations import plain, write_lines, write_picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(3):
        write_picture(tmp_path / "pictures" / f"{seed}.png", seed)
    return tmp_path / "pictures"


def run(tmp_path: Path, root: Path, *rows: object) -> Validation:
    lines = write_lines(tmp_path / "q.jsonl", *rows)
    return validate(lines, tmp_path / "out", image_root=root, progress=False)


@pytest.mark.parametrize("candidates", [10_000, 45])
def test_regression_of_many_sources_the_most_common_are_listed(tmp_path, root, monkeypatch, candidates):
    """60,000 addresses as sources made a report of 11.7 MB."""
    monkeypatch.setattr(summary_module, "CANDIDATES", candidates)
    often = [(number, copy) for number in range(45) for copy in range(3 if number < 39 else 2)]
    rows = [plain(question=f"{number}, {copy}?", source=f"often {number:02}") for number, copy in often]
    rows += [
        plain(question=f"once {number}?", source=f"https://example.org/{number}") for number in range(200)
    ]
    rows += [
        plain(image="gone.png", source="https://example.org/gone"),
        plain(image="gone.png", source="often 00"),
    ]
    found = run(tmp_path, root, *rows)
    sources, boxes = found.counts["sources"], found.counts["boxes"]
    assert len(sources) == 41 and list(sources)[-1] == "(all others)" and list(boxes) == list(sources)
    assert {f"often {number:02}" for number in range(39)} < set(sources)
    assert sources["often 00"] == {"rows": 4, "clean": 3, "rejected": 1}
    assert sources["(all others)"] == {"rows": 5 * 2 + 201, "clean": 5 * 2 + 200, "rejected": 1}
    for count, total in (("rows", len(rows)), ("clean", found.counts["clean"]), ("rejected", 2)):
        assert sum(each[count] for each in sources.values()) == total
    assert sum(sum(states.values()) for states in boxes.values()) == len(rows)
    page = found.report.read_text(encoding="utf-8")
    assert "<td>(all others)</td><td>211</td><td>210</td><td>1</td>" in page


def test_a_source_that_is_called_like_the_rest_is_counted_with_it(tmp_path, root, monkeypatch):
    monkeypatch.setattr(summary_module, "MOST_SOURCES", 1)
    names = ["(all others)", "(all others)", "a"]
    found = run(tmp_path, root, *(plain(seed, source=name) for seed, name in enumerate(names)))
    assert found.counts["sources"] == {"(all others)": {"rows": 3, "clean": 3, "rejected": 0}}


@pytest.mark.parametrize("by_path", [True, False])
def test_embedded_pictures_are_shown_where_a_clean_row_has_them(tmp_path: Path, root: Path, by_path: bool):
    """A row with a box cut, one that repeats it, and one whose only picture is in the file that was read."""
    rows = [
        plain(0, boxes=[[-20, 10, 30, 40]]),
        plain(0, boxes=[[-20, 10, 30, 40]]),
        plain(1, boxes=[[30, 20, 10, 40]]),
        plain(2),
    ]
    images = [str(root / row["image"]) for row in rows]
    encoded = [{"path": None, "bytes": Path(image).read_bytes()} for image in images]
    columns = {name: [row[name] for row in rows] for name in ("question", "solution", "kind", "boxes")}
    dataset = Dataset.from_dict({"image": images if by_path else encoded, **columns})
    found = validate(dataset, tmp_path / "out", image_root=root if by_path else None, progress=False)
    worst = {row["kind"]: row for row in worst_rows(Parts(found.folder))}
    assert set(worst) == {"box partly outside", "duplicate", "box inverted"}
    drawn = {kind: drawn_row(row) for kind, row in worst.items()}
    assert drawn["box partly outside"].size == (280, 187), "20 of 120 x 80 pixels are outside"
    assert drawn["duplicate"].tobytes() == drawn["box partly outside"].tobytes()
    assert (drawn["box inverted"] is not None) == by_path
    page = found.report.read_text(encoding="utf-8")
    assert page.count("<img") == 2 + by_path and page.count("picture inside the file") == 1 - by_path
    texts = [text.get_text() for axes in plot_worst(found.folder).axes for text in axes.texts]
    assert texts == ["picture inside the file"] * (1 - by_path)


def test_regression_tables_are_utf_8_whatever_the_locale(tmp_path: Path, root: Path):
    """They were written in the encoding of the locale and read as UTF-8."""
    rows = [
        plain(0, id="größe", source="日本"),
        plain(1, id="größe", source="日本"),
        plain(0, id="2", question="Ä?"),
    ]
    write_lines(tmp_path / "q.jsonl", *rows)
    code = (
        "from groundr1.data.validation import validate;"
        f"validate({str(tmp_path / 'q.jsonl')!r}, {str(tmp_path / 'out')!r}, image_root={str(root)!r}, progress=False)"
    )
    posix = {**os.environ, "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-X", "utf8=0", "-c", code], env=posix, check=True)
    (row,) = load_validation(tmp_path / "out").rejected.to_dict("records")
    assert (row["id"], row["source"], row["fault"]) == ("größe", "日本", "duplicate id")
