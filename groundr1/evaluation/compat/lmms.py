"""How lmms-eval reads answers (its `tasks/*/utils.py`, August 2026): one small function for each of its parsers.

lmms-eval removes `<think>` and `<analysis>` blocks before it scores, and leaves `<answer>` and `<box>` tags where they
are: most of its parsers stumble over them, which is what this module shows. Every function takes the text after that
removal. Where lmms-eval would ask a judge model (HR-Bench) the answer counts as invalid, hence wrong.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from groundr1.boxes import Box, rescale
from groundr1.data.items import Item
from groundr1.evaluation.answers import Verdict
from groundr1.evaluation.compat.common import Scorer, compared, overlapped, picture_size, scorer_of

NO_SCORER: Mapping[str, str] = MappingProxyType(
    {
        "viscot": "lmms-eval has no Visual-CoT benchmark (its task of that name is another one)",
        "mmvet": "lmms-eval scores MM-Vet with a judge model only; give `score` a judge",
    }
)


def verdict(benchmark: str, item: Item, prediction: str) -> Verdict:
    """What lmms-eval makes of one raw prediction.

    Validity is ours, because lmms-eval scores most answers without asking whether they are one: invalid is what reads
    as no option and neither yes nor no, or, for RefCOCO, has no box.

    Raises:
        ValueError: a benchmark that lmms-eval does not have or leaves to a judge; a RefCOCO item without size.
    """
    return scorer_of(benchmark, _SCORERS, NO_SCORER)(item, strip_reasoning(prediction))


def strip_reasoning(text: str) -> str:
    """The text without `<think>` and `<analysis>` blocks; of an unopened block what follows it, an unclosed one whole.

    >>> strip_reasoning("<think>Ego</think> A"), strip_reasoning("Ego</think> A"), strip_reasoning("<think>Ego A")
    ('A', 'A', '<think>Ego A')
    """
    for tag in ("think", "analysis"):
        # Behind the last end no block closes, and looking for one there takes long.
        closed, end, rest = text.rpartition(f"</{tag}>")
        text = re.sub(rf"<{tag}>.*?</{tag}>", "", closed + end, flags=re.DOTALL) + rest
        if f"<{tag}>" not in text:
            text = text.rpartition(f"</{tag}>")[2]
    return text.strip()


def read_mme(text: str) -> str | None:
    """MME's "yes" or "no": which of the two the first four characters contain, full stops removed; "y" and "n" too.

    >>> read_mme("None of them"), read_mme("I think no"), read_mme("<answer>Yes</answer>")
    ('no', None, None)
    """
    text = text.lower().strip().replace(".", "")
    if text in ("y", "n"):
        return {"y": "yes", "n": "no"}[text]
    return next((word for word in ("yes", "no") if word in text[:4]), None)


def read_pope(text: str) -> str | None:
    """ "yes" or "no" when that is the whole text, in any case; "Yes." is neither."""
    text = text.lower().strip()
    return text if text in ("yes", "no") else None


def read_first_character(text: str) -> str | None:
    """The first character, upper case: SEED-Bench's letter, whatever it opens ("Because" is B, "(A)" is "(")."""
    return text.strip()[:1].upper() or None


# Every phrase that lmms-eval knows in English ends in one of these.
_PHRASES = ("answer is", "choice is", "correct option is", "best option is", "i choose", "i select", "i pick")
_FORMATS = (("({})", 6), ("{}.", 5), ("{}:", 4), ("{})", 3), ("{} ", 2))  # and the priority of each


def read_choice(text: str, letters: str = "ABCD") -> str | None:
    """The shared extractor of multiple-choice letters, which ranks every place where a capital of `letters` stands.

    Start of the text before its end, then somewhere after "the answer is", "(A)", "A.", "A:", "A)" and "A "; among
    equals the later one; any such capital at all when there is none of these. Only start and end ask for a letter by
    itself, so that the last capital of "USA." is an A.

    >>> read_choice("The answer is (B)."), read_choice("A dog, so C"), read_choice("It is a Dog")
    ('B', 'A', 'D')
    """
    bare = text.strip()
    for (
        character
    ) in ",.!?;:'\"":  # one after the other, as lmms-eval does: "A.!" loses its "!" but not its "."
        bare = bare.strip(character)
    padded, lowered = f" {bare} ", f" {bare} ".lower()
    bare = bare.strip()
    candidates = []  # (priority, position, letter)
    for letter in letters:
        candidates += [
            (priority, padded.rfind(form.format(letter)), letter)
            for form, priority in _FORMATS
            if form.format(letter) in padded
        ]
        for phrase in _PHRASES:
            place = lowered.find(phrase)
            position = padded.find(letter, place + len(phrase)) if place >= 0 else -1
            if position >= 0:
                candidates.append((7, position, letter))
        if bare.startswith(letter) and not bare[1:2].isalpha():
            candidates.append((10, 0, letter))
        if bare.endswith(letter) and not bare[-2:-1].isalpha():
            candidates.append((9, len(padded) - 1, letter))
    if not candidates:
        candidates = [(0, padded.rfind(letter), letter) for letter in letters if letter in padded]
    return max(candidates)[2] if candidates else None


# Removed wherever they stand, in this order: "The answer is" leaves nothing for "The answer" to do.
_PREFIXES = (
    *("The best answer is", "The correct answer is", "The answer is", "The answer"),
    *("The best option is", "The correct option is", "Best answer:", "Best option:"),
)


def read_first_capital(text: str) -> str | None:
    """MME-RealWorld's letter: the first capital A to E anywhere, inside a word or not.

    Without one, the first of "(a)" to "(e)" that holds the whole text in lower case, if the text has at most ten
    words: "c" is C, and so is "c)", but no text at all is A.

    >>> read_first_capital("Based on the image, (C)"), read_first_capital("RED"), read_first_capital("")
    ('B', 'E', 'A')
    """
    text = text.strip()
    for prefix in _PREFIXES:
        text = text.replace(prefix, "")
    match = re.search("[A-E]", text)
    if match or len(text.split()) > 10:
        return match[0] if match else None
    return next((letter for letter in "ABCDE" if text.lower() in f"({letter.lower()})"), None)


_VSTAR = tuple(
    re.compile(pattern)
    for pattern in (
        r"^([A-D])",
        r"(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])",
        r"\(([A-D])\)",
        r"([A-D])\s*[.)\]]",
        r"(?:^|\s)([A-D])(?:\s|$)",
    )
)


def read_vstar(text: str) -> str | None:
    """V*'s letter, by the first of these that finds one in the text in capitals: its first character, what follows
    "answer", "choice" or "option", "(A)", "A." or "A)" or "A]", a letter between spaces, the only A to D there is.

    >>> read_vstar("Blue"), read_vstar("Answer: red"), read_vstar("<answer>D</answer>")
    ('B', 'A', None)
    """
    text = text.strip().upper()
    match = next(filter(None, (pattern.search(text) for pattern in _VSTAR)), None)
    letters = re.findall("[A-D]", text)
    return match[1] if match else letters[0] if len(letters) == 1 else None


def infer_choice(text: str, options: Mapping[str, str]) -> str | None:
    """HR-Bench's letter, by an older copy of VLMEvalKit's rules: no limit of length or place, no "the answer is".

    The one option letter that is a word by itself ("Z", none of them, if no option is and it is); else the one option
    whose text the answer contains; else None, and lmms-eval asks a judge.
    """
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1:
        return letters[0]
    if not letters and "Z" in words:
        return "Z"
    named = [letter for letter, option in options.items() if option.lower() in text.lower()]
    return named[0] if len(named) == 1 else None


_NUMBER = r"(-?\d+(?:\.\d+)?)"
_QUADRUPLE = re.compile(rf"\[\s*{_NUMBER},\s*{_NUMBER},\s*{_NUMBER},\s*{_NUMBER}\s*\]")


def predicted_box(item: Item, text: str) -> Box | None:
    """RefCOCO's box in the image frame: the first "[a, b, c, d]", taken for fractions of the picture.

    Pixels are taken for fractions too, so that a model that answers in pixels misses every object.

    Raises:
        ValueError: the item does not state the size of its picture.
    """
    match = _QUADRUPLE.search(text)
    return (
        rescale(Box(*map(float, match.groups())), (1.0, 1.0), picture_size(item, "lmms-eval"))
        if match
        else None
    )


def _letters(item: Item) -> str:
    return "".join(item.options) or "ABCD"


def _among(letters: str, read: str | None) -> str | None:
    return read if read is not None and read in letters else None


def _yes_no(read: Callable[[str], str | None], status: str) -> Scorer:
    return lambda item, text: compared(item, read(text), status, "neither yes nor no")


def _seed(item: Item, text: str) -> Verdict:
    letter = _among(_letters(item), read_first_character(text))
    return compared(item, letter, "first character", "no letter")


def _mme_realworld(item: Item, text: str) -> Verdict:
    return compared(item, read_first_capital(text), "first capital", "no letter")


def _realworldqa(item: Item, text: str) -> Verdict:
    """A letter where the solution is one of A to D; else the whole text but for case and final full stops."""
    if item.solution[0] in tuple("ABCD"):
        return compared(item, read_choice(text), "ranked formats", "no letter")
    return compared(item, text.lower().strip().rstrip(".") or None, "whole text", "empty")


def _vstar(item: Item, text: str) -> Verdict:
    return compared(item, read_vstar(text), "cascade", "no letter")


def _hrbench(item: Item, text: str) -> Verdict:
    return compared(item, infer_choice(text, item.options), "inferred", "left to the judge")


def _refcoco(item: Item, text: str) -> Verdict:
    return overlapped(item, predicted_box(item, text), "fractions")


_SCORERS: Mapping[str, Scorer] = MappingProxyType(
    {
        "mme": _yes_no(read_mme, "first four characters"),
        "pope": _yes_no(read_pope, "whole text"),
        "seed": _seed,
        "mme_realworld_lite": _mme_realworld,
        "realworldqa": _realworldqa,
        "vstar": _vstar,
        "hrbench": _hrbench,
        "refcoco": _refcoco,
    }
)
