"""How VLMEvalKit reads answers (its `dataset/*` and `utils/matching_util.py`, August 2026), one function a parser.

VLMEvalKit removes no tags, except that MME-RealWorld reads `<answer>`. What its rules cannot read goes to a judge
model, and after three failures of that to a random option; here such an answer is invalid, hence wrong, which is what
VLMEvalKit does itself when told to match exactly.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from groundr1.boxes import Box
from groundr1.data.items import Item
from groundr1.evaluation.answers import Verdict
from groundr1.evaluation.compat.common import Scorer, compared, overlapped, picture_size, scorer_of
from groundr1.evaluation.compat.lmms import read_first_capital

NO_SCORER: Mapping[str, str] = MappingProxyType(
    {
        "viscot": "VLMEvalKit has no Visual-CoT benchmark",
        "mmvet": "VLMEvalKit scores MM-Vet with a judge model only; give `score` a judge",
    }
)
LAST_WORDS = 5  # a letter further from the end than this is taken for a part of the explanation


def verdict(benchmark: str, item: Item, prediction: str) -> Verdict:
    """What VLMEvalKit makes of one raw prediction, its judge left out: what it would ask the judge about is invalid.

    "Z" (none of the options) is valid and wrong.

    Raises:
        ValueError: a benchmark that VLMEvalKit does not have or leaves to a judge; a RefCOCO item without size.
    """
    return scorer_of(benchmark, _SCORERS, NO_SCORER)(item, prediction)


_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'


def read_yes_no(text: str) -> str | None:
    """MME's and POPE's "yes" or "no": the one that is among the words while the other is not, wherever it stands.

    Punctuation ends a word only if no such character has a space beside it anywhere in the text, nor any two digits a
    comma between them; otherwise it vanishes and joins its neighbours. So one tag is read, and several usually are not.

    >>> read_yes_no("I think no"), read_yes_no("No, yes"), read_yes_no("<answer>Yes</answer>")
    ('no', None, 'yes')
    >>> read_yes_no("<think>so</think> <answer>Yes</answer>") is None
    True
    """
    text = words = text.lower()
    comma_in_number = re.search(r"\d,\d", text)
    for mark in _PUNCTUATION:
        vanishes = comma_in_number or f"{mark} " in text or f" {mark}" in text
        words = words.replace(mark, "" if vanishes else " ")
    # A full stop vanishes unless a digit follows, and VLMEvalKit, by a slip, removes no more than 32 of them.
    found = {"yes", "no"} & set(re.sub(r"\.(?!\d)", "", words, count=32).split())
    return found.pop() if len(found) == 1 else None


_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)


def infer_choice(text: str, options: Mapping[str, str]) -> str | None:
    """The letter of a multiple choice, or "Z" for none of them, by three rules; None when VLMEvalKit asks its judge.

    1. The only option letter that is a word by itself, if it is among the last five words ("Z" if no option is and it
       is): the article of "A red car is there" is one.
    2. What follows "answer is", in any case and inside a word: "The answer is an apple." is A.
    3. The only option whose text the answer contains, if the answer is at most twice as long as all options together.

    >>> infer_choice("The answer is an apple.", {"A": "pear", "B": "apple"})
    'A'
    >>> infer_choice("<answer>B</answer>", {"A": "pear", "B": "apple"}) is None
    True
    """
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1 and words.index(letters[0]) >= len(words) - LAST_WORDS:
        return letters[0]
    if not letters and "Z" in words:
        return "Z"
    match = _ANSWER_IS.search(text)
    if match and match[1].upper() in options:
        return match[1].upper()
    if len(text) > 2 * sum(map(len, options.values())):
        return None
    named = [letter for letter, option in options.items() if option.lower() in text.lower()]
    return named[0] if len(named) == 1 else None


def read_mme_realworld(text: str) -> str | None:
    """MME-RealWorld's letter: the first capital A to E, of the first `<answer>` block in capitals if there is one.

    >>> read_mme_realworld("<answer>red</answer>"), read_mme_realworld("the red one (B)")
    ('E', 'B')
    """
    answer, closed, _ = text.partition("<answer>")[2].partition("</answer>")
    return read_first_capital(answer.strip().upper() if closed else text)


_NUMBER = r"([-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?)"
_QUADRUPLE = re.compile(r"\[\s*" + r"(?:\s*,\s*|\s+)".join([_NUMBER] * 4) + r"\s*\]")


def predicted_box(item: Item, text: str) -> Box | None:
    """RefCOCO's box in the image frame: the first four numbers in brackets, else the first four numbers of the text.

    What they count is guessed: none above 1.5 are fractions of the picture, none above 1000 are thousandths, others
    are pixels. COCO pictures are at most 640 pixels wide, so a box in their pixels is taken for thousandths and
    misplaced. The box is then cut to the picture, and its corners sorted.

    Raises:
        ValueError: the item does not state the size of its picture.
    """
    size = picture_size(item, "VLMEvalKit")
    match = _QUADRUPLE.search(text)
    numbers = [float(number) for number in (match.groups() if match else re.findall(_NUMBER, text)[:4])]
    if len(numbers) < 4:
        return None
    largest = max(map(abs, numbers))
    unit = 1.0 if largest <= 1.5 else 1000.0 if largest <= 1000.0 else None
    if unit:
        numbers = [number / unit * side for number, side in zip(numbers, 2 * size, strict=True)]
    x1, y1, x2, y2 = (
        min(max(number, 0.0), float(side)) for number, side in zip(numbers, 2 * size, strict=True)
    )
    return Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _yes_no(item: Item, text: str) -> Verdict:
    return compared(item, read_yes_no(text), "word", "left to the judge")


def _choice(item: Item, text: str) -> Verdict:
    """Without options (an open question of RealWorldQA) nothing can be inferred: every answer is left to the judge."""
    return compared(item, infer_choice(text, item.options), "inferred", "left to the judge")


def _mme_realworld(item: Item, text: str) -> Verdict:
    return compared(item, read_mme_realworld(text), "first capital", "no letter")


def _refcoco(item: Item, text: str) -> Verdict:
    return overlapped(item, predicted_box(item, text), "guessed scale")


_SCORERS: Mapping[str, Scorer] = MappingProxyType(
    {
        **dict.fromkeys(("mme", "pope"), _yes_no),
        **dict.fromkeys(("seed", "realworldqa", "vstar", "hrbench"), _choice),
        "mme_realworld_lite": _mme_realworld,
        "refcoco": _refcoco,
    }
)
