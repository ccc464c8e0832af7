"""The report of a validation: one page of HTML with counts, and pictures of the worst rows with their boxes drawn.

All text of the data is escaped, pictures are embedded, and nothing is fetched or run by opening the page.
"""

import base64
import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from datasets import Image as ImageFeature
from PIL import Image, ImageDraw

from groundr1.data.checks import BOX_STATES
from groundr1.data.picture_check import BadPicture, open_upright, to_rgb
from groundr1.data.validation.ledger import Parts
from groundr1.storage import atomic_write

__all__ = ["BAD", "STATED", "drawn_row", "no_picture", "worst_rows", "write_report"]

SIDE = 280  # pixels of an embedded picture
OF_A_KIND, IN_ALL = 3, 15  # rows that are shown
BAD, STATED, BORDER, PAPER = "#c1121f", "#f4a000", "#5c677d", "#e9ecef"
BOX_FAULTS = tuple(state for state in BOX_STATES if state != "inside")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2129; max-width: 1080px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: right }
th { border-bottom: 1px solid #adb5bd; font-weight: 600 } td:first-child, th:first-child { text-align: left }
tr:last-child.sum td { border-top: 1px solid #adb5bd }
.worst { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1.2rem }
figure { margin: 0 } figcaption { font-size: .85rem; overflow-wrap: anywhere }
.fault { color: #c1121f; font-weight: 600 }
.note { color: #5c677d; font-size: .9rem }
"""


def write_report(parts: Parts, counts: Mapping[str, Any], path: Path) -> None:
    """Write the page.

    Args:
        parts: of the validation, complete.
        counts: what `summary.summarise` returned.
        path: of the page.
    """
    title = f"{counts['rows']:,} rows read, {counts['clean']:,} kept, {counts['rejected']:,} set aside"
    sections = [
        f"<h1>{title}</h1>",
        f"<p class='note'>{html.escape(', '.join(counts['sources_read']))}; form {html.escape(counts['form'])}</p>",
        _table("Set aside, by what is wrong", ["fault", "rows"], counts["faults"].items()),
        _table("By source", ["source", "rows", "kept", "set aside"], _sources(counts), has_sum=True),
        _table(
            "Boxes: rows by the worst box of each",
            ["source", *BOX_FAULTS, "rows"],
            _boxes(counts),
            has_sum=True,
        ),
        "<p class='note'>A box partly outside is cut to its picture and the row kept; the others are set aside.</p>",
        _table("Pictures that were read, by mode", ["mode", "rows"], counts["modes"].items()),
        _table("Pictures that were read, by format", ["format", "rows"], counts["formats"].items()),
        _table("Remarks", ["remark", "rows"], counts["notes"].items()),
        f"<p>{counts['pictures']:,} different pictures among the rows kept; {counts['near_duplicates']:,} look like an"
        f" earlier one, {counts['near_other_splits']:,} like one of another split (near_duplicates.csv).</p>",
        "<h2>The worst</h2>",
        "<p class='note'>Orange: boxes as the row states them. Red: a box that cannot be used. Grey: the picture's"
        " border. What lies farther away than another picture is not shown.</p>",
        f"<div class='worst'>{''.join(map(_figure, worst_rows(parts)))}</div>",
    ]
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; style-src"
        f" 'unsafe-inline'\"><style>{STYLE}</style></head><body>{''.join(sections)}</body></html>\n"
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]], *, has_sum: bool = False) -> str:
    """A table under its title, or nothing where it has no rows."""
    rows = [list(row) for row in rows]
    if not rows:
        return ""
    if has_sum and len(rows) > 1:
        rows.append(["all", *map(sum, list(zip(*rows, strict=True))[1:])])
    cells = "".join(f"<th>{html.escape(each)}</th>" for each in head)
    body = "".join(
        f"<tr{' class=sum' if has_sum and row is rows[-1] else ''}>"
        + "".join(
            f"<td>{html.escape(f'{value:,}' if isinstance(value, int) else value)}</td>" for value in row
        )
        + "</tr>"
        for row in rows
    )
    return f"<h2>{html.escape(title)}</h2><table><tr>{cells}</tr>{body}</table>"


def _sources(counts: Mapping[str, Any]) -> list[list[Any]]:
    return [
        [name or "(not known)", found["rows"], found["clean"], found["rejected"]]
        for name, found in counts["sources"].items()
    ]


def _boxes(counts: Mapping[str, Any]) -> list[list[Any]]:
    return [
        [name or "(not known)", *(states.get(state, 0) for state in BOX_FAULTS), sum(states.values())]
        for name, states in counts["boxes"].items()
    ]


def worst_rows(parts: Parts) -> list[dict[str, Any]]:
    """One row of each kind of fault, the rarest first, then a second and a third; boxes farthest outside first.

    Returns:
        Lines of the ledger, each with its "kind", the fault or the state of a box that was cut, and "picture": its
        path or, of an embedded one that a clean row has, the encoded picture; None where there is none to show.
    """
    kinds: dict[str, list[tuple[float, int, dict[str, Any]]]] = {}
    numbers: dict[str, int] = {}
    for number, record in enumerate(parts.records()):
        kind = record["fault"] or (f"box {record['box_state']}" if record["box_state"] in BOX_FAULTS else "")
        if not kind:
            continue
        numbers[kind] = numbers.get(kind, 0) + 1
        shown = kinds.setdefault(kind, [])
        shown.append((-_farthest(record), number, record))
        shown.sort(key=lambda each: each[:2])
        del shown[OF_A_KIND:]
    ordered = sorted(kinds, key=lambda kind: (numbers[kind], kind))
    worst = [
        record | {"kind": kind}
        for place in range(OF_A_KIND)
        for kind in ordered
        for *_, record in kinds[kind][place : place + 1]
    ][:IN_ALL]
    embedded = _embedded(parts, {record["sha256"] for record in worst if not record["image"]} - {None})
    return [record | {"picture": record["image"] or embedded.get(record["sha256"])} for record in worst]


def _embedded(parts: Parts, wanted: set[bytes]) -> dict[bytes, Any]:
    """SHA-256 -> encoded picture (or path), of those wanted that clean rows have; rows set aside keep no picture."""
    places: dict[bytes, int] = {}
    num_clean = 0
    for table in parts.tables(("fault", "sha256")) if wanted else ():
        digests = table.filter(pc.equal(table["fault"], ""))["sha256"].to_pylist()
        places |= {digest: num_clean + row for row, digest in enumerate(digests) if digest in wanted}
        num_clean += len(digests)
    if not places:
        return {}
    rows = parts.dataset().cast_column("image", ImageFeature(decode=False))
    images = {digest: rows[place]["image"] for digest, place in places.items()}
    return {digest: image["bytes"] or image["path"] for digest, image in images.items()}


def _farthest(record: Mapping[str, Any]) -> float:
    """Pixels by which a box leaves the picture."""
    width, height = record["width"], record["height"]
    outside = [
        value
        for x1, y1, x2, y2 in record["boxes"]
        for value in (-x1, -y1, x2 - width, y2 - height)
        if math.isfinite(value)
    ]
    return max(outside, default=0.0)


def _figure(record: Mapping[str, Any]) -> str:
    place = html.escape(f"{record['file']}, line {record['line']}, {record['source']} {record['id']}")
    said = html.escape(record["reason"] or record["notes"] or "cut to the picture")
    drawn = drawn_row(record)
    picture = (
        f"<img alt='' src='data:image/jpeg;base64,{_jpeg(drawn)}'>"
        if drawn
        else f"<p class='note'>{no_picture(record)}</p>"
    )
    return (
        f"<figure>{picture}<figcaption><span class='fault'>{html.escape(record['kind'])}</span> {place}<br>{said}"
        "</figcaption></figure>"
    )


def no_picture(record: Mapping[str, Any]) -> str:
    """What is said in the place of a picture that `drawn_row` does not have."""
    return "no picture" if record["sha256"] is None or record["image"] else "picture inside the file"


def drawn_row(record: Mapping[str, Any]) -> Image.Image | None:
    """The picture of one of `worst_rows` with its boxes; None where there is none that can be opened."""
    if not record["picture"] or record["sha256"] is None:
        return None
    try:
        picture = to_rgb(open_upright(record["picture"]))
    except BadPicture:
        return None
    boxes = [box for box in record["boxes"] if all(map(math.isfinite, box))]
    left, top, right, bottom = _frame(boxes, picture.size)
    scale = SIDE / max(right - left, bottom - top)
    canvas = Image.new("RGB", (math.ceil((right - left) * scale), math.ceil((bottom - top) * scale)), PAPER)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    at = (round(-left * scale), round(-top * scale))
    canvas.paste(picture.resize(size), at)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((*at, at[0] + size[0] - 1, at[1] + size[1] - 1), outline=BORDER)
    colour = BAD if record["kind"].startswith("box ") and record["fault"] else STATED
    for x1, y1, x2, y2 in boxes:
        xs = [(value - left) * scale for value in sorted((x1, x2))]
        ys = [(value - top) * scale for value in sorted((y1, y2))]
        corners = (xs[0], ys[0], xs[1], ys[1])
        draw.rectangle([min(max(value, -9), 2 * SIDE) for value in corners], outline=colour, width=2)
    return canvas


def _jpeg(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode()


def _frame(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """What is shown: the picture and its boxes, but at most one more picture on each side."""
    width, height = size
    xs = [0.0, width, *(value for box in boxes for value in box[::2])]
    ys = [0.0, height, *(value for box in boxes for value in box[1::2])]
    return max(min(xs), -width), max(min(ys), -height), min(max(xs), 2 * width), min(max(ys), 2 * height)
