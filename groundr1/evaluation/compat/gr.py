"""How Ground-R1's official scripts (`eval/`, `eval_general_dataset/`, June 2025) read answers, one function a parser.

All of them take the first `<answer>` block, and of a dialogue the last turn; a prediction holds all turns here, which
is the same as long as no earlier turn answers. Their runner crashes on an empty answer, and the RefCOCO script on an
inverted box: here such an answer is invalid, hence wrong. Their VisCoT script prints sums over a set, not means.
"""

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from groundr1.boxes import Box
from groundr1.data.items import Item
from groundr1.evaluation.answers import Verdict
from groundr1.evaluation.compat.common import Scorer, compared, overlapped, scorer_of
from groundr1.evaluation.compat.measures import rouge_stemmed, word_error_rate

NO_SCORER: Mapping[str, str] = MappingProxyType(
    {
        "mmvet": "Ground-R1's code has no grader of MM-Vet, which wants a judge; give `score` one",
        "vstar": "Ground-R1's code has no V*",
        "hrbench": "Ground-R1's code has no HR-Bench",
    }
)
_CHOICE_SETS = ("v7w", "visual7w", "gqa", "openimages")
_READING_SETS = ("docvqa", "infographicsvqa", "textcap", "textvqa", "dude", "sroie")
_CONTAINING_SETS = ("vsr", "cub")


def verdict(benchmark: str, item: Item, prediction: str) -> Verdict:
    """What Ground-R1's scripts make of one raw prediction; VisCoT by their rules ("manual" score), not by the judge.

    Validity is ours: invalid is what reads as no option and neither yes nor no, what has no box, and what they crash
    on. Boxes are taken in the image frame, as everywhere in this kit; theirs come in the view frame and are converted.

    Raises:
        ValueError: a benchmark that Ground-R1's code does not score.
    """
    return scorer_of(benchmark, _SCORERS, NO_SCORER)(item, prediction)


def first_answer(text: str) -> str:
    """Stripped content of the first `<answer>` block, up to the end if it is not closed; without one the whole text.

    >>> first_answer("<answer>A</answer> or rather <answer>B</answer>"), first_answer(" B ")
    ('A', 'B')
    """
    _, opening, rest = text.partition("<answer>")
    return (rest.partition("</answer>")[0] if opening else text).strip()


def read_yes_no(text: str) -> str | None:
    """MME's and POPE's "yes" or "no": which of the two the first four characters of the answer contain.

    >>> read_yes_no("<answer>Not sure</answer>"), read_yes_no("I think no")
    ('no', None)
    """
    start = first_answer(text).lower()[:4]
    return next((word for word in ("yes", "no") if word in start), None)


def predicted_box(item: Item, text: str) -> Box | None:
    """RefCOCO's box, image frame: the first "[a, b, c, d]", decimals cut off; None without one or if it is inverted."""
    match = _QUADRUPLE.search(text)
    box_image = Box(*map(float, match.groups())) if match else None
    if box_image is None or box_image.x1 >= box_image.x2 or box_image.y1 >= box_image.y2:
        return None
    return Box(*map(float, map(math.trunc, box_image)))


_NUMBER = r"(-?\d++(?:\.\d*+)?+)"  # as theirs, -?\d+\.?\d*; theirs takes long over long numbers
_QUADRUPLE = re.compile(r"\[\s*" + r"\s*,\s*".join([_NUMBER] * 4) + r"\s*\]")


def _yes_no(item: Item, text: str) -> Verdict:
    return compared(item, read_yes_no(text), "first four characters", "neither yes nor no")


def _first_character(item: Item, text: str) -> Verdict:
    """Two chances: the first character of the whole text or of the answer, which need not stand alone ("Blue" is B)."""
    characters = [part[:1].upper() for part in (text, first_answer(text))]
    if not all(characters):
        return Verdict(0.0, False, None, "empty: theirs crashes")
    if item.solution[0].upper() in characters:
        return Verdict(1.0, True, item.solution[0].upper(), "first character")
    letter = characters[1] if characters[1] in (item.options or "ABCDE") else None
    return compared(item, letter, "first character", "no letter")


def _whole_answer(item: Item, text: str) -> Verdict:
    """RealWorldQA: equal but for case, so that neither "A." nor "Yes." is right."""
    return compared(item, first_answer(text) or None, "whole answer", "empty")


def _refcoco(item: Item, text: str) -> Verdict:
    unread = "inverted: theirs crashes" if _QUADRUPLE.search(text) else "no box"
    return overlapped(item, predicted_box(item, text), "first box", unread)


def score_choice(text: str, solution: str) -> float:
    """VisCoT's v7w, gqa and openimages: 1 if one of three readings equals the solution but for case, else 0.

    The letter A to D right behind the first `<answer>` that one follows, alone or not; the first "A." that starts a
    word anywhere in the text; the first answer as text.

    >>> score_choice("<answer>Bus.</answer>", "B"), score_choice("<answer>Bus</answer>", "Bus.")
    (1.0, 0.0)
    """
    letters = [re.search(pattern, text) for pattern in (r"<answer>\s*([A-Da-d])", r"\b([A-D])\.")]
    readings = [match[1] if match else text.strip() for match in letters] + [first_answer(text)]
    return float(solution.lower() in [reading.lower() for reading in readings])


def score_containing(answer: str, solution: str) -> float:
    """VisCoT's vsr and cub: 1 if equal but for case, 0.6 if the solution occurs in the answer, inside a word or not.

    >>> score_containing("not known", "No")
    0.6
    """
    answer, solution = answer.lower(), solution.lower()
    return 1.0 if answer == solution else 0.6 if solution in answer else 0.0


def score_reading(answer: str, solution: str) -> float:
    """VisCoT's text sets: 1 - the smaller of the two word error rates, not below 0; case ignored, punctuation not."""
    answer, solution = answer.lower(), solution.lower()
    error = min(word_error_rate(solution, answer), word_error_rate(answer, solution))
    return min(1.0, max(0.0, 1.0 - error))


def _viscot(item: Item, text: str) -> Verdict:
    name, answer = item.groups.get("set", ""), first_answer(text)
    solution = first_answer(item.solution[0])
    if name in _CHOICE_SETS:
        score = score_choice(text, solution)
    elif name in _CONTAINING_SETS:
        score = score_containing(answer, solution)
    elif name in _READING_SETS:
        score = score_reading(answer, solution)
    elif name == "flickr30k":
        score = rouge_stemmed(answer, solution)
    else:  # they have no rule for emotic and score every answer 0
        return Verdict(0.0, False, None, f"no rule for {name}")
    read = answer or (text.strip() if score else None)  # a letter may have been read beside an empty answer
    return Verdict(score, read is not None, read, "first answer")


_SCORERS: Mapping[str, Scorer] = MappingProxyType(
    {
        **dict.fromkeys(("mme", "pope"), _yes_no),
        **dict.fromkeys(("seed", "mme_realworld_lite"), _first_character),
        "realworldqa": _whole_answer,
        "refcoco": _refcoco,
        "viscot": _viscot,
    }
)
