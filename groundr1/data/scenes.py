"""The generated world: pictures with a question, an answer and an evidence region, at every scale.

Three kinds of question, whose evidence differs in scale as it does between the sets of Visual-CoT:

- ``tile``: a digit on a coloured tile of a cluttered board ("What is on the red tile?");
- ``print``: a word in small print beside a coloured mark on a page ("What is written at the red mark?");
- ``relation``: how one coloured shape lies to another ("Where is the red shape, seen from the blue one?").

The picture is 448 pixels wide, the tiny model's view of it 112: small writing is legible only in a crop of the
original. Not in the paper: our choice, so that the method can be studied offline. Evidence areas are drawn from the
measured Visual-CoT distribution (:mod:`groundr1.data.areas`), limited to what can be drawn legibly.
"""

import io

from datasets import Dataset
from PIL import Image
from tqdm.auto import tqdm

from groundr1.data.drawing import KINDS, SIZE, draw_scene
from groundr1.data.example import to_dataset

# Seeds of the two splits come from disjoint ranges, so that no scene can stand in both.
SPLIT_STARTS = {"train": 0, "heldout": 2**31}


def make_scenes(
    num: int,
    *,
    seed: int,
    split: str = "train",
    kinds: tuple[str, ...] = KINDS,
    size: int = SIZE,
    progress: bool = True,
) -> Dataset:
    """Draw ``num`` scenes, one example each, the kinds in turn.

    Args:
        num: Number of examples.
        seed: The same seed, split and size give the same bytes; different seeds give different scenes.
        split: ``"train"`` or ``"heldout"``; their scenes come from disjoint ranges of seeds.
        kinds: Which kinds of question, of :data:`KINDS`.
        size: Side of the square picture in pixels.
        progress: Whether to show a progress bar.

    Returns:
        A dataset with :data:`groundr1.data.EXAMPLE_FEATURES`; pictures are PNG, boxes are in the image frame.

    Raises:
        ValueError: For an unknown split or kind, a negative number, or a picture under 224 pixels a side.

    Example:
        >>> make_scenes(3, seed=0, progress=False)["source"]
        ['tile', 'print', 'relation']
    """
    if split not in SPLIT_STARTS:
        raise ValueError(f"split={split!r} is unknown; give one of {sorted(SPLIT_STARTS)}.")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"kinds={kinds!r} holds {unknown}, which are unknown; choose from {KINDS}.")
    if not kinds:
        raise ValueError(f"kinds={kinds!r} is empty; give at least one of {KINDS}.")
    if num < 0 or size < 224:
        raise ValueError(f"num={num} must not be negative, and size={size} must be 224 pixels or more.")
    rows = []
    for index in tqdm(range(num), desc=f"drawing {split} scenes", disable=not progress, unit="scene"):
        kind = kinds[index % len(kinds)]
        scene_seed = SPLIT_STARTS[split] + (seed * 1_000_003 + index) % 2**31
        scene = draw_scene(kind, scene_seed, size=size)
        query = scene.queries[0]
        rows.append(
            {
                "id": f"{split}-{kind}-{scene_seed}",
                "image": {"bytes": png_bytes(scene.image), "path": None},
                "question": query.question,
                "solution": [query.answer],
                "kind": "exact",
                "boxes": [list(query.box)],
                "source": kind,
            }
        )
    return to_dataset(rows)


def png_bytes(image: Image.Image) -> bytes:
    """The picture as PNG; the same picture gives the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
