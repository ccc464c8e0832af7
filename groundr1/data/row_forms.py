"""The forms in which training rows come, each a function from a parsed row to a `Draft`.

Two frames share a key: `bboxs` holds corners in Ground-R1's Visual-CoT files and x, y, width, height in its RefCOCO
file. The form says which; `groundr1.data.frames` refuses a file whose numbers say otherwise.
"""

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from groundr1.boxes import Box
from groundr1.data.items.boxes import VISCOT_KINDS, viscot_answer, viscot_question
from groundr1.data.rows import (
    BadRow,
    Draft,
    boxes_field,
    field,
    id_field,
    size_field,
    text_field,
    texts_field,
    writable,
)

__all__ = [
    "KINDS",
    "WrongForm",
    "conversation",
    "deepeyes",
    "form_of",
    "metadata",
    "plain",
    "refcoco",
    "viscot",
]

KINDS = ("choice", "contains", "exact", "math", "ocr", "rouge", "yes_no")  # those of groundr1.rewards

# What Visual-CoT appends to a question to ask for a box; ours has its own prompt.
BOX_REQUEST = re.compile(
    r"\s*Please provide the bounding box coordinate of the region that can help you.*", re.DOTALL
)
# What DeepEyes appends to a question to explain its tool.
TOOL_HINT = re.compile(r"\s*Think first, call \*\*.*", re.DOTALL)
# What stands between the instructions of its ThinkLite rows and the question.
QUESTION_MARK = "Question:\n"
# Sets of Ground-R1's training file: beside those of Visual-CoT one for which its v2 code has a rule.
TRAINED_KINDS = {**VISCOT_KINDS, "CLEVR": "math"}
# Folder of a set's pictures in Visual-CoT's archive, where it is not that of its name.
SET_FOLDERS = {"textcap": "textvqa"}
MISSPELT_BOXES = ("bbox", "bboxes", "bboxs", "box")
# Keys that every row of a form of texts has.
KEYS = {
    "jsonl": ("image", "question", "solution", "kind"),
    "viscot": ("image", "problem", "solution", "bboxs", "dataset", "problem_id"),
    "viscot-metadata": ("image", "question", "answer", "bboxs", "dataset"),
    "viscot-conversations": ("image", "conversations"),
}


class WrongForm(ValueError):
    """A row shows that the whole file is of another form."""


def form_of(row: Mapping[str, Any]) -> str | None:
    """The form of texts whose keys a row has; None where it has those of none, or of several.

    >>> form_of({"image": "1.jpg", "conversations": []})
    'viscot-conversations'
    """
    forms = [form for form, keys in KEYS.items() if all(row.get(key) is not None for key in keys)]
    if forms == ["viscot"] and str(row["dataset"]).startswith("RefCOCO"):
        return "refcoco"
    return forms[0] if len(forms) == 1 else None


def plain(row: Mapping[str, Any], stem: str, line: int) -> Draft:
    """Our plain form, described in `groundr1.data.readers.read_jsonl`; of a data set the picture may be in the row.

    `boxes` may be left out, so boxes under another name would be lost in silence.
    """
    kind = text_field(row, "kind")
    if kind not in KINDS:
        raise BadRow(f"kind is {kind!r:.60}; it must be one of {', '.join(KINDS)}")
    is_made = row.get("id") is None
    name = f"{stem}-{line}" if is_made else id_field(row, "id")
    corners = boxes_field(row, "boxes") if row.get("boxes") is not None else _no_boxes(row)
    has_size = row.get("width") is not None and row.get("height") is not None
    size = size_field(row) if has_size else None
    source = id_field(row, "source") if row.get("source") else stem
    image, question = _picture(row), text_field(row, "question")
    boxes = [Box(*each) for each in corners]
    return Draft(
        name, image, question, texts_field(row, "solution"), kind, boxes, source, size, id_is_made=is_made
    )


def _no_boxes(row: Mapping[str, Any]) -> list[list[float]]:
    """None at all; BadRow where they are under another name."""
    for key in MISSPELT_BOXES:
        if row.get(key) is not None:
            raise BadRow(f"the field {key!r} is not read: boxes are in 'boxes', as [[x1, y1, x2, y2], ...]")
    return []


def _picture(row: Mapping[str, Any]) -> str | bytes:
    """A path, or the record with the encoded picture or its path that `datasets` makes of one."""
    image = row.get("image")
    if not isinstance(image, Mapping):
        return image if isinstance(image, bytes) and image else text_field(row, "image")
    return image["bytes"] if image.get("bytes") else text_field({"image": image.get("path")}, "image")


def viscot(row: Mapping[str, Any], stem: str, line: int) -> Draft:
    """Visual-CoT in the form of the official Ground-R1 files, `train_33k.jsonl` and the evaluation files."""
    name = text_field(row, "dataset")
    if name.startswith("RefCOCO"):
        raise WrongForm(
            f"dataset {name!r} belongs to RefCOCO, whose boxes are not corners (x1, y1, x2, y2). Read it with"
            " read_refcoco, form 'refcoco'."
        )
    _known_set(name, TRAINED_KINDS)
    if "problem" not in row and "question" in row:
        raise WrongForm(
            "question and answer in place of problem and solution, as Visual-CoT's files of one set each have them."
            " That is form 'viscot-metadata'."
        )
    if row.get("problem") == "" and isinstance(row.get("solution"), list):
        raise WrongForm(
            "no problem, but a list of expressions, as the rows of RefCOCO have, whose boxes cannot be corners"
            " (x1, y1, x2, y2). Read it with read_refcoco, form 'refcoco'."
        )
    question = viscot_question(text_field(row, "problem"))
    solution = [viscot_answer(text) for text in texts_field(row, "solution")]
    boxes = [Box(*corners) for corners in boxes_field(row, "bboxs")]
    identity = f"{name}-{id_field(row, 'problem_id')}"
    kind, size = TRAINED_KINDS[name], size_field(row)
    return Draft(identity, text_field(row, "image"), question, solution, kind, boxes, name, size)


def metadata(row: Mapping[str, Any], stem: str, line: int) -> Draft:
    """Visual-CoT's files of one set each (`metadata/gqa_cot_train.jsonl`), as its tools read them; none was at hand.

    `image` is a path below the folder of the set. A question may have several `bboxs`, which all are kept; the same
    question as a conversation has the smallest box around them. `answer` is the only solution; what some sets have
    beside it (`possible_answers`, `full_answer`, `thought`) is left aside.
    """
    if "problem" in row and "question" not in row:
        raise WrongForm(
            "problem and solution in place of question and answer, as the files of Ground-R1 have them. Read it with"
            " read_viscot, form 'viscot'."
        )
    name = text_field(row, "dataset")
    _known_set(name)
    image = f"cot_image_data/{SET_FOLDERS.get(name, name)}/{text_field(row, 'image')}"
    question, answer = text_field(row, "question").strip(), text_field(row, "answer").strip()
    boxes = [Box(*corners) for corners in boxes_field(row, "bboxs")]
    kind, size = VISCOT_KINDS[name], size_field(row)
    return Draft(f"{stem}-{line}", image, question, [answer], kind, boxes, name, size, id_is_made=True)


def refcoco(row: Mapping[str, Any], stem: str, line: int) -> Draft:
    """RefCOCO in the form of the official Ground-R1 files: one row an object, `bboxs` x, y, width, height."""
    name = text_field(row, "dataset")
    if name in VISCOT_KINDS:
        raise WrongForm(
            f"dataset {name!r} belongs to Visual-CoT, whose boxes are not x, y, width, height. Read it with"
            " read_viscot, form 'viscot'."
        )
    expressions = texts_field(row, "solution")
    extents = boxes_field(row, "bboxs")
    if negative := [four for four in extents if four[2] < 0 or four[3] < 0]:
        raise BadRow(
            f"box {negative[0]} has a negative width or height; boxes are x, y, width, height", "box inverted"
        )
    boxes = [Box.from_xywh(*four) for four in extents]
    identity = f"{name}-{id_field(row, 'problem_id')}"
    image, size = text_field(row, "image"), size_field(row)
    return Draft(identity, image, expressions[0], expressions, "exact", boxes, name, size)


def conversation(row: Mapping[str, Any], stem: str, line: int) -> Draft:
    """Visual-CoT's own form (`viscot_363k.json`, 404,120 rows), as its own tools write it; the file was not at hand.

    `image` is the path and, with the box in pixels, once more ("cot/gqa/1.jpg###[10, 20, 30, 40]"); `conversations`
    are question with a request for a box, box as shares of the picture padded to a square, picture, answer. Without a
    box they are question and answer. The set is `dataset`, or the folder of the picture. File name and row number make
    the ids: whether `question_id` is unique across splits is not known.
    """
    images = row.get("image")
    images = [images] if isinstance(images, str) else images
    if not isinstance(images, list) or not images or not all(isinstance(each, str) for each in images):
        raise BadRow(f"the field 'image' is {images!r:.60}; it must be a path, or a list of paths")
    path = text_field({"image": images[0].partition("###")[0]}, "image")
    name = text_field(row, "dataset") if row.get("dataset") else PurePosixPath(path).parent.name
    _known_set(name)
    texts = _turns(row)
    question = BOX_REQUEST.sub("", texts[0].replace("<image>", "")).strip()
    if not question:
        raise BadRow("the first turn has no question")
    boxes = [_box_in_path(each) for each in images if "###" in each]
    square_box = _square_box(texts[1]) if len(texts) == 4 and boxes else None
    path = re.sub(r"^(\./)?cot/", "cot_image_data/", path)
    answer = writable(texts[-1].strip(), "conversations")
    question = writable(question, "conversations")
    identity, kind = f"{stem}-{line}", VISCOT_KINDS[name]
    return Draft(
        identity, path, question, [answer], kind, boxes, name, square_box=square_box, id_is_made=True
    )


def _turns(row: Mapping[str, Any]) -> list[str]:
    """Texts of a conversation of two or four turns, human and model in turn."""
    turns = field(row, "conversations")
    speakers = (
        [turn.get("from") for turn in turns if isinstance(turn, Mapping)] if isinstance(turns, list) else []
    )
    if speakers not in (["human", "gpt"], ["human", "gpt"] * 2):
        raise BadRow(
            f"the conversation is between {speakers!r:.80}; it must be question and answer, or question, box, picture"
            " and answer (human, gpt, human, gpt)"
        )
    texts = [turn.get("value") for turn in turns]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise BadRow("the conversation has a turn without a text")
    if len(texts) == 4 and not BOX_REQUEST.search(texts[0]):
        raise BadRow("the conversation has two questions; one with a request for a box is expected")
    return texts


def _box_in_path(image: str) -> Box:
    return _box_of(image.partition("###")[2], f"the box behind '###' in {image!r:.80}")


def _square_box(text: str) -> Box | None:
    try:
        return _box_of(text, "the box of the conversation")
    except BadRow:
        return None  # the box in pixels is what is read; this one only confirms it


def _box_of(text: str, what: str) -> Box:
    try:
        (numbers,) = boxes_field({"box": [json.loads(text)]}, "box")
    except (ValueError, RecursionError) as error:
        raise BadRow(f"{what} is no list of four numbers") from error
    return Box(*numbers)


def deepeyes(row: Mapping[str, Any], stem: str, line: int) -> Draft:
    """DeepEyes' parquet rows, in verl's form, described in `groundr1.data.deepeyes`."""
    source = text_field(row, "data_source")
    reward = row.get("reward_model")
    if not isinstance(reward, Mapping):
        raise BadRow(f"reward_model is {reward!r:.80}, and not a record with ground_truth")
    solution = text_field(reward, "ground_truth").strip()
    is_letter = re.fullmatch(r"[A-Z]", solution) is not None
    kind = "math" if "thinklite" in source.lower() else "choice" if is_letter else "rouge"
    question, picture = _last_user_message(row), _only_picture(row.get("images"))
    identity = f"{stem}-{line}"
    return Draft(identity, picture, question, [solution], kind, [], source, id_is_made=True)


def _last_user_message(row: Mapping[str, Any]) -> str:
    messages = row.get("prompt")
    if not isinstance(messages, list) or not all(isinstance(each, Mapping) for each in messages):
        raise BadRow(f"the prompt is {messages!r:.80}, and not a list of messages")
    texts = [message.get("content") for message in messages if message.get("role") == "user"]
    text = texts[-1] if texts and isinstance(texts[-1], str) else ""
    question, has_hint = TOOL_HINT.subn("", text.replace("<image>", ""))
    if not has_hint:
        _, _, question = question.rpartition(QUESTION_MARK)
    question = question.strip()
    if not question:
        raise BadRow("the prompt has no user message with a question")
    return question


def _only_picture(images: Any) -> bytes:
    images = [images] if isinstance(images, bytes) else images
    if not isinstance(images, list) or len(images) != 1:
        raise BadRow(f"{len(images) if isinstance(images, list) else 0} pictures in the row; one is expected")
    encoded = images[0].get("bytes") if isinstance(images[0], Mapping) else images[0]
    if not isinstance(encoded, bytes) or not encoded:
        raise BadRow("the picture has no encoded bytes", "picture missing")
    return encoded


def _known_set(name: str, known: Mapping[str, str] = VISCOT_KINDS) -> None:
    if name not in known:
        raise BadRow(f"dataset {name!r:.60} is no Visual-CoT set; known are {', '.join(known)}")
