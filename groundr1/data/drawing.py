"""Drawing one scene of the generated world, from its own seed; see :mod:`groundr1.data.scenes` for what it is."""

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from groundr1.boxes import Box
from groundr1.data.areas import area_pool

KINDS = ("tile", "print", "relation")
SIZE = 448  # pixels a side
COLOURS = {
    "red": (214, 39, 40), "orange": (255, 140, 20), "yellow": (240, 215, 40), "green": (44, 150, 50),
    "cyan": (40, 200, 210), "blue": (40, 80, 200), "purple": (130, 50, 170), "pink": (245, 130, 190),
}  # fmt: skip
WORDS = ("cat", "dog", "sun", "map", "bus", "key", "hat", "pen", "ice", "owl")
RELATIONS = ("left", "right", "above", "below")

# Which sets of Visual-CoT lend their areas to a kind, and the limits within which the kind can be drawn legibly.
AREA_SETS = {
    "tile": ("gqa", "openimages", "v7w", "flickr30k", "textcap"),
    "print": ("docvqa", "dude", "sroie", "infographicsvqa", "textvqa"),
    "relation": ("vsr", "emotic", "gqa"),
}
AREA_LIMITS = {"tile": (0.006, 0.5), "print": (0.008, 0.2), "relation": (0.03, 0.8)}
NUM_OBJECTS = {"tile": (3, 6), "print": (3, 6), "relation": (3, 5)}


@dataclass(frozen=True)
class Query:
    """One question about a scene: its text, its answer, and the box of its evidence region (image frame)."""

    question: str
    answer: str
    box: Box


@dataclass(frozen=True)
class Scene:
    """A picture, what can be asked about it (the first query is the example), and where each colour is in it."""

    kind: str
    image: Image.Image
    queries: tuple[Query, ...]
    objects: dict[str, Box]


def draw_scene(kind: str, seed: int, *, size: int = SIZE) -> Scene:
    """Draw one scene of a kind from its own seed."""
    rng = np.random.default_rng(seed)
    return {"tile": _draw_board, "print": _draw_page, "relation": _draw_shapes}[kind](rng, size)


@functools.cache
def kind_areas(kind: str) -> np.ndarray:
    """Relative evidence areas that a kind draws from: Visual-CoT's, without those that cannot be drawn legibly."""
    return area_pool(AREA_SETS[kind], AREA_LIMITS[kind])


def _place(rng: np.random.Generator, size: int, taken: list[Box], width: float, height: float) -> Box | None:
    """A free place for a rectangle, on whole pixels; None after 30 attempts."""
    width, height = min(round(width), size - 8), min(round(height), size - 8)
    for _ in range(30):
        x, y = int(rng.integers(2, size - width - 1)), int(rng.integers(2, size - height - 1))
        box = Box(x, y, x + width, y + height)
        if all(
            box.x2 + 4 < t.x1 or t.x2 + 4 < box.x1 or box.y2 + 4 < t.y1 or t.y2 + 4 < box.y1 for t in taken
        ):
            return box
    return None


def _place_all(
    rng: np.random.Generator, size: int, kind: str, aspects: tuple[float, float]
) -> dict[str, Box]:
    """Coloured places for a scene's objects; the first always fits, the others go around it or are left out."""
    num = int(rng.integers(*NUM_OBJECTS[kind], endpoint=True))
    boxes: list[Box] = []
    for area in rng.choice(kind_areas(kind), num):
        aspect = float(np.exp(rng.uniform(np.log(aspects[0]), np.log(aspects[1]))))
        pixels = area * size * size
        # A wide thing may not fit at its aspect; it then takes a squarer shape of the same area.
        width = min((pixels * aspect) ** 0.5, size - 8.0)
        if (box := _place(rng, size, boxes, width, pixels / width)) is not None:
            boxes.append(box)
    return dict(zip(_colours(rng, len(boxes)), boxes, strict=True))


def _colours(rng: np.random.Generator, num: int) -> list[str]:
    return [str(name) for name in rng.permutation(list(COLOURS))[:num]]


def _grey(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    level = int(rng.integers(low, high))
    return tuple(int(v) for v in np.clip(level + rng.integers(-8, 9, size=3), 0, 255))


def _clutter(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, num: int, low: int, high: int
) -> None:
    """Grey bars, frames and strokes behind the scene."""
    xs, ys = rng.integers(0, size, size=(2, num))
    widths, heights = rng.integers(6, size // 5, size=(2, num))
    for x, y, width, height in zip(xs.tolist(), ys.tolist(), widths.tolist(), heights.tolist(), strict=True):
        shape = rng.integers(3)
        colour = _grey(rng, low, high)
        if shape == 0:
            draw.rectangle((x, y, x + width, y + height), fill=colour)
        elif shape == 1:
            draw.ellipse((x, y, x + width, y + width), outline=colour, width=2)
        else:
            draw.line((x, y, x + width, y + height - size // 10), fill=colour, width=3)


def _write(draw: ImageDraw.ImageDraw, text: str, centre: tuple[float, float], height: float, colour) -> None:
    """Write text of a given capital height in pixels, centred."""
    font = ImageFont.load_default(
        size=max(height, 8.0) / 0.7
    )  # the built-in font's capitals are 0.7 of its size
    draw.text(centre, text, fill=colour, font=font, anchor="mm")


def _ink(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever stands out."""
    return (0, 0, 0) if 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 120 else (255, 255, 255)


def _draw_board(rng: np.random.Generator, size: int) -> Scene:
    image = Image.new("RGB", (size, size), _grey(rng, 150, 215))
    draw = ImageDraw.Draw(image)
    _clutter(draw, rng, size, 24, 120, 225)
    objects = _place_all(rng, size, "tile", (0.75, 1.4))
    queries = []
    for colour, box in objects.items():
        digit = str(rng.integers(10))
        draw.rectangle((box.x1, box.y1, box.x2 - 1, box.y2 - 1), fill=COLOURS[colour])
        height = max(0.2 * min(box.width, box.height), 8.0)
        shift = rng.uniform(-0.12, 0.12, size=2)
        centre = ((box.x1 + box.x2) / 2 + shift[0] * box.width, (box.y1 + box.y2) / 2 + shift[1] * box.height)
        _write(draw, digit, centre, height, _ink(COLOURS[colour]))
        queries.append(Query(f"What is on the {colour} tile?", digit, box))
    return Scene("tile", image, tuple(queries), objects)


def _draw_page(rng: np.random.Generator, size: int) -> Scene:
    image = Image.new("RGB", (size, size), _grey(rng, 225, 250))
    draw = ImageDraw.Draw(image)
    for y in range(int(rng.integers(4, 14)), size, int(rng.integers(14, 22))):  # illegible filler lines
        x, colour = int(rng.integers(4, 40)), _grey(rng, 175, 205)
        for width in rng.integers(8, 60, size=12).tolist():
            draw.rectangle((x, y, min(x + width, size - 6), y + 3), fill=colour)
            x += width + 9
            if x >= size - 20:
                break
    objects = _place_all(rng, size, "print", (3.0, 4.2))
    queries = []
    for colour, box in objects.items():
        word = WORDS[rng.integers(len(WORDS))]
        draw.rectangle((box.x1, box.y1, box.x2 - 1, box.y2 - 1), fill=(252, 252, 248))
        mark = min(box.height, 0.3 * box.width)
        draw.rectangle((box.x1, box.y1, box.x1 + mark - 1, box.y2 - 1), fill=COLOURS[colour])
        room = box.width - mark
        height = max(min(0.36 * box.height, 0.2 * room), 7.5)
        _write(draw, word.upper(), (box.x1 + mark + room / 2, (box.y1 + box.y2) / 2), height, (20, 20, 20))
        queries.append(Query(f"What is written at the {colour} mark?", word, box))
    return Scene("print", image, tuple(queries), objects)


def _draw_shapes(rng: np.random.Generator, size: int) -> Scene:
    image = Image.new("RGB", (size, size), _grey(rng, 150, 215))
    draw = ImageDraw.Draw(image)
    _clutter(draw, rng, size, 24, 120, 225)
    horizontal = bool(rng.integers(2))
    pixels = float(rng.choice(kind_areas("relation"))) * size * size
    aspect = float(np.exp(rng.uniform(np.log(1.3), np.log(2.2))))
    length = min((pixels * aspect) ** 0.5, size - 8.0)
    width, height = (length, pixels / length) if horizontal else (pixels / length, length)
    union = _place(rng, size, [], width, height)
    first, second = _pair_within(rng, union, horizontal)
    places = [first, second]
    for _ in range(int(rng.integers(1, 3))):
        side = float(rng.uniform(0.05, 0.16)) * size
        if (box := _place(rng, size, places, side, side)) is not None:
            places.append(box)
    objects = dict(zip(_colours(rng, len(places)), places, strict=True))
    for name, box in objects.items():
        _shape(draw, rng, box, COLOURS[name])
    words = ("left", "right") if horizontal else ("above", "below")
    a, b = list(objects)[:2]
    ask = "Where is the {} shape, seen from the {} one?".format
    return Scene(
        "relation", image, (Query(ask(a, b), words[0], union), Query(ask(b, a), words[1], union)), objects
    )


def _pair_within(rng: np.random.Generator, union: Box, horizontal: bool) -> tuple[Box, Box]:
    """Two boxes whose union is exactly ``union``: one at each end of the long side, one touching each long edge."""
    long, short = (union.width, union.height) if horizontal else (union.height, union.width)
    lengths = [round(float(rng.uniform(0.28, 0.4)) * long) for _ in range(2)]
    breadths = [round(float(rng.uniform(0.6, 0.95)) * short) for _ in range(2)]
    near_edge = int(rng.integers(2))  # which of the two touches the top (or left) edge
    spans = []
    for i in range(2):
        start = 0 if i == 0 else long - lengths[1]
        offset = 0 if i == near_edge else short - breadths[i]
        spans.append((start, start + lengths[i], offset, offset + breadths[i]))
    if horizontal:
        boxes = [Box(union.x1 + s, union.y1 + o, union.x1 + e, union.y1 + p) for s, e, o, p in spans]
    else:
        boxes = [Box(union.x1 + o, union.y1 + s, union.x1 + p, union.y1 + e) for s, e, o, p in spans]
    return boxes[0], boxes[1]


def _shape(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, box: Box, colour: tuple[int, int, int]
) -> None:
    edges = (box.x1, box.y1, box.x2 - 1, box.y2 - 1)
    form = rng.integers(3)
    if form == 0:
        draw.ellipse(edges, fill=colour)
    elif form == 1:
        draw.rectangle(edges, fill=colour)
    else:
        middle_x, middle_y = (edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2
        corners = [(middle_x, edges[1]), (edges[2], middle_y), (middle_x, edges[3]), (edges[0], middle_y)]
        draw.polygon(corners, fill=colour)
