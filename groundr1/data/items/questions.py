"""Rows of the benchmarks without boxes: MME, POPE, MM-Vet, SEED, MME-RealWorld-Lite, RealWorldQA, V*, HR-Bench.

Each function takes a row in any of its official forms (Ground-R1 jsonl, Hub data set as lmms-eval reads it, VLMEvalKit
TSV) and its position in the file, and gives the row's items. `groundr1.data.items.items_of` is the way in.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from groundr1.data.items.forms import (
    Item,
    LeftOut,
    answer_of,
    choice,
    known,
    picture_of,
    question_of,
    shared_picture,
    text,
    yes_or_no,
)
from groundr1.data.rows import BadRow

__all__ = ["MME_PARTS", "MMVET_CAPABILITIES", "POPE_CATEGORIES", "SEED_TYPES", "VSTAR_CATEGORIES"]

MME_PARTS: Mapping[str, str] = {
    **dict.fromkeys((
        "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "ocr",
    ), "perception"),
    **dict.fromkeys((
        "commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning",
    ), "cognition"),
}  # fmt: skip
POPE_CATEGORIES = ("adversarial", "popular", "random")
MMVET_CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")
SEED_TYPES: Mapping[int, str] = {
    1: "scene understanding", 2: "instance identity", 3: "instance attribute", 4: "instance location",
    5: "instance counting", 6: "spatial relation", 7: "instance interaction", 8: "visual reasoning",
    9: "text recognition",
}  # fmt: skip
SEED_VIDEO_TYPES = ("10", "11", "12")
# Type 9 goes by two names; the rest differ by plurals, which `_seed_type` takes off.
SEED_SYNONYMS = {"text understanding": "text recognition"}
VSTAR_CATEGORIES = ("direct_attributes", "relative_position")
HRBENCH_CATEGORIES = ("single", "cross")
# RealWorldQA rows name no group; one of these names shows that a row is of another benchmark.
OTHERS_GROUPS = {
    *MME_PARTS, *POPE_CATEGORIES, *MMVET_CAPABILITIES, *SEED_TYPES.values(), *SEED_SYNONYMS, *VSTAR_CATEGORIES,
    *HRBENCH_CATEGORIES,
}  # fmt: skip
OTHERS_KEYS = (
    "Question_id", "Question_Type", "cycle_category", "capability", "choice_a", "data_type", "l2-category", "bbox",
    "bboxs",
)  # fmt: skip


def mme(row: Mapping[str, Any], number: int) -> list[Item]:
    """The subtask is `dataset` in Ground-R1's form, whose `split` says nothing, and `category` in the others.

    The Hub's `question_id` and Ground-R1's `problem_id` are not unique: the former is of both questions on a picture,
    of which one is answered yes and one no, the latter counts anew in each subtask.
    """
    subtask = text(row, "dataset", "category").lower()
    if subtask not in MME_PARTS:
        raise BadRow(f"{subtask!r:.60} is no MME subtask; those are {', '.join(MME_PARTS)}")
    solution = yes_or_no(answer_of(row))
    if known(row, "problem_id") or known(row, "index"):
        identity = text(row, "problem_id", "index")
        cluster = shared_picture(row, identity)
    else:
        cluster = text(row, "question_id")
        identity = f"{cluster}-{solution[0]}"
    return [
        Item(
            id=f"{subtask}-{identity}",
            question=question_of(row),
            solution=solution,
            kind="yes_no",
            cluster=f"{subtask}/{cluster}",
            groups={"subtask": subtask, "part": MME_PARTS[subtask]},
            image=picture_of(row),
        )
    ]


def pope(row: Mapping[str, Any], number: int) -> list[Item]:
    """One item a category: VLMEvalKit's TSV merges equal questions and joins their categories by commas.

    A question's number counts anew in each category. In Ground-R1's form every row has a picture file of its own; the
    picture is then told by the number, six consecutive ones being of one picture in every category (checked on the
    official file: in 459 of 500 such blocks the three categories ask after the same three objects that are there, and
    the rest differ by a spelling). The Hub names the picture in `image_source`.
    """
    categories = [each.strip().lower() for each in text(row, "Category", "category").split(",")]
    if unknown := [each for each in categories if each not in POPE_CATEGORIES]:
        raise BadRow(f"{unknown[0]!r:.60} is no POPE category; those are {', '.join(POPE_CATEGORIES)}")
    identity = text(row, "Question_id", "question_id", "index")
    picture = picture_of(row)
    if known(row, "Question_id"):
        if not identity.isdigit() or int(identity) < 1:
            raise BadRow(f"Question_id is {identity!r:.60}; it must be a number from 1")
        cluster = f"picture-{(int(identity) - 1) // 6}"
    else:
        cluster = text(row, "image_source", default=shared_picture(row, f"question-{identity}"))
    return [
        Item(
            id=f"{category}-{identity}",
            question=question_of(row),
            solution=yes_or_no(answer_of(row)),
            kind="yes_no",
            cluster=cluster,
            groups={"category": category},
            image=picture,
        )
        for category in categories
    ]


def mmvet(row: Mapping[str, Any], number: int) -> list[Item]:
    """The solution keeps its `<AND>` and `<OR>`, which the judge's prompt needs."""
    listed = text(row, "Category", "capability", "category")
    capabilities = [each.strip().lower() for each in listed.split(",")]
    if not set(capabilities) <= set(MMVET_CAPABILITIES):
        raise BadRow(f"{listed!r:.60} are no MM-Vet capabilities; those are {', '.join(MMVET_CAPABILITIES)}")
    identity, picture = text(row, "Question_id", "question_id", "index"), picture_of(row)
    return [
        Item(
            id=identity,
            question=question_of(row),
            solution=(answer_of(row),),
            kind="rouge",
            cluster=shared_picture(row, identity),
            groups={"combination": ",".join(sorted(capabilities))},
            image=picture,
        )
    ]


def seed(row: Mapping[str, Any], number: int) -> list[Item]:
    """Image questions; the Hub's data set holds those on videos too, which are `LeftOut`."""
    if text(row, "data_type", default="image").lower() != "image":
        raise LeftOut("a question on a video")
    named = text(row, "Question_Type", "question_type_id", "question_type", "category", default="unknown")
    if named in SEED_VIDEO_TYPES:
        raise LeftOut("a question on a video")
    question_type = SEED_TYPES.get(int(named)) if named.isdigit() else _seed_type(named)
    if question_type not in SEED_TYPES.values() and not (named == "unknown" and known(row, "choice_a")):
        raise BadRow(
            f"{named!r:.60} is no SEED question type; those are 1 to 9, or {SEED_TYPES[1]!r} and the like"
        )
    identity, picture = text(row, "Question_id", "question_id", "index"), picture_of(row)
    return [
        Item(
            id=identity,
            cluster=shared_picture(row, text(row, "data_id", default=identity)),
            groups={"question_type": question_type},
            image=picture,
            **choice(row, question_of(row), answer_of(row)),
        )
    ]


def _seed_type(name: str) -> str:
    """A type's name in the singular: the files write "Instances Counting" and "Instance Attributes"."""
    words = [
        word.removesuffix("s") if word in ("instances", "attributes") else word
        for word in name.lower().replace("_", " ").split()
    ]
    return SEED_SYNONYMS.get(" ".join(words), " ".join(words))


def mme_realworld_lite(row: Mapping[str, Any], number: int) -> list[Item]:
    """Groups: task ("Perception", "Reasoning"), subtask and category, the latter two in lower case without underscores.

    The other kits merge categories "<part>/attribute/..." into "<part>/attribute"; so does this. Ground-R1's file has
    137 rows that equal another, with the same `Question_id`; all 1,919 are scored, by it as by the other kits, and the
    row's number makes their ids differ.
    """
    if known(row, "Task"):
        task, subtask, category = (text(row, key) for key in ("Task", "Subtask", "Category"))
        identity = f"{text(row, 'Question_id')}#{number}"
    else:
        parts = text(row, "category").split("/")
        task, subtask, category = parts[0], parts[-1], text(row, "l2-category", default="")
        identity = text(row, "index")
    task, category = task.strip().capitalize(), category.strip().lower()
    if task not in ("Perception", "Reasoning"):
        raise BadRow(f"the task is {task!r:.60}; MME-RealWorld has Perception and Reasoning")
    if "/attribute" in category:
        category = f"{category.split('/')[0]}/attribute"
    picture = picture_of(row)
    groups = {
        "task": task,
        "subtask": subtask.strip().lower().replace("_", " "),
        "category": category.replace("_", " "),
    }
    fields = choice(row, question_of(row), answer_of(row))
    if not fields["options"]:
        raise BadRow("no options, neither in the question nor in a field 'multi-choice options' or A to E")
    return [Item(id=identity, cluster=shared_picture(row, identity), groups=groups, image=picture, **fields)]


def realworldqa(row: Mapping[str, Any], number: int) -> list[Item]:
    """Letters and open answers, 438 and 327 of the 765; a row has no id in the file, so it is its number.

    The options within the question are used where there are any: VLMEvalKit's columns have lost some.
    """
    names = text(row, "Category", "category", "dataset", default="").lower().split(",")
    strange = [key for key in OTHERS_KEYS if known(row, key)] + [
        name for name in names if {name.strip(), _seed_type(name)} & OTHERS_GROUPS or "refcoco" in name
    ]
    if strange:
        raise BadRow(f"{strange[0]!r:.60} is of another benchmark")
    question, answer = question_of(row), answer_of(row)
    is_letter = re.fullmatch(r"\(?[A-E]\)?", answer) is not None
    fields = (
        choice(row, question, answer)
        if is_letter
        else {"question": question, "solution": (answer,), "kind": "exact"}
    )
    identity, picture = f"row-{text(row, 'index', default=str(number))}", picture_of(row)
    groups = {"answer": "letter" if is_letter else "open"}
    return [Item(id=identity, cluster=shared_picture(row, identity), groups=groups, image=picture, **fields)]


def vstar(row: Mapping[str, Any], number: int) -> list[Item]:
    """The Hub's text ends in an instruction, which stays; the last option does not take it in."""
    category = text(row, "category").lower()
    if category not in VSTAR_CATEGORIES:
        raise BadRow(f"{category!r:.60} is no V* category; those are {', '.join(VSTAR_CATEGORIES)}")
    fields = choice(row, question_of(row), answer_of(row))
    if not fields["options"]:
        raise BadRow("no options, neither as lines '(A) ..' of the text nor in columns A to D")
    identity = f"{category}-{text(row, 'question_id', 'index', default=str(number))}"
    picture = picture_of(row)
    return [
        Item(
            id=identity,
            cluster=shared_picture(row, identity),
            groups={"category": category},
            image=picture,
            **fields,
        )
    ]


def hrbench(row: Mapping[str, Any], number: int) -> list[Item]:
    """Hub and TSV have the same columns. The four rotations of a question are one cluster.

    What they share is told by what a rotation leaves alone: picture (once a reader has put it on disk), question and
    set of options. The order of the rows is not relied upon.
    """
    category = text(row, "category").lower()
    if category not in HRBENCH_CATEGORIES:
        raise BadRow(f"{category!r:.60} is no HR-Bench category; those are single and cross")
    fields = choice(row, question_of(row), answer_of(row))
    if not fields["options"]:
        raise BadRow("no options in columns A to D")
    stem = question_of(row)
    picture = picture_of(row)
    shared = "\n".join([picture or "", stem, *sorted(fields["options"].values())])
    return [
        Item(
            id=text(row, "index", default=str(number)),
            cluster=hashlib.sha256(shared.encode()).hexdigest()[:16],
            groups={"category": category, "cycle": text(row, "cycle_category")},
            image=picture,
            **fields,
        )
    ]
