"""The answer front-end: what a raw prediction says. Every scorer reads answers through this module and no other.

A prediction is one text: all turns of the model joined by newlines, or whatever another kit wrote down.
`extract_answer` finds the part of it that is the answer, `read_letter` and `read_yes_no` read that part. What they
cannot read is invalid: it scores 0 and is counted, nothing is guessed.

>>> read_letter(extract_answer("<think>B is the car.</think> <answer>(C) red</answer>").text)
'C'
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from groundr1.parsing import parse_answer
from groundr1.rewards import lone_letters, normalise, opening_letter

__all__ = ["Extracted", "Verdict", "extract_answer", "read_letter", "read_yes_no"]


class Verdict(NamedTuple):
    """What was made of one prediction.

    Attributes:
        score: in [0, 1].
        valid: whether an answer was understood at all; an invalid one scores 0 and is counted apart.
        read: what was understood: a letter, "yes", a text, a box; None when invalid.
        status: where the answer was found: "answer tag", "after thought", "whole text", "empty", ...
    """

    score: float
    valid: bool
    read: str | None
    status: str = ""


class Extracted(NamedTuple):
    """The part of a prediction that is its answer, stripped, and where it was found; `text` is "" where `status` is
    "empty"."""

    text: str
    status: str


def extract_answer(prediction: str) -> Extracted:
    """Find the answer in a prediction.

    The last `<answer>` block, closed or not ("answer tag"); without one what follows the last `</think>` ("after
    thought") or `</box>` ("after box"), whichever is later; without these the whole text ("whole text"). If nothing is
    there the status is "empty", and no other place is tried: what was thought is not what was answered.

    >>> extract_answer("<think>two of them</think> Yes.")
    Extracted(text='Yes.', status='after thought')
    >>> extract_answer("<think>the answer is B</think> <answer> </answer>")
    Extracted(text='', status='empty')
    """
    answer, status = parse_answer(prediction), "answer tag"
    if answer is None:
        thought, box = prediction.rfind("</think>"), prediction.rfind("</box>")
        if thought == box:  # neither is there
            answer, status = prediction.strip(), "whole text"
        else:
            answer = prediction[max(thought + len("</think>"), box + len("</box>")) :].strip()
            status = "after thought" if thought > box else "after box"
    return Extracted(answer, status if answer else "empty")


_ANY_OPTIONS: Mapping[str, str] = MappingProxyType({})


def read_letter(text: str, options: Mapping[str, str] = _ANY_OPTIONS) -> str | None:
    """The option that an answer names, as its letter in upper case; None if it names none or several.

    In this order, the letters being those of `groundr1.rewards.answer_reward`:

    1. the letter that opens the answer, set off from what follows: "B", "(b)", "B. blue", "**B**";
    2. the option whose text the answer is, case-folded and without outer punctuation, if exactly one is;
    3. the one letter that stands alone anywhere: "The answer is B", "Option (B)", not the article "A", nor a letter
       within the text of an option ("It is vitamin C").

    Args:
        text: the answer, as `extract_answer` gives it.
        options: letter -> text. A letter that is not among them is no option. Empty: any letter is.

    >>> options = {"A": "a red car", "B": "Vitamin C", "C": "Blue"}
    >>> [read_letter(text, options) for text in ("Answer: B", "A red car.", "blue", "B or C", "D", "A car", "(c)")]
    ['B', 'A', 'C', None, None, None, 'C']
    """
    opening = opening_letter(text)
    if opening and (not options or opening in options):
        return opening
    for form in (str.casefold, normalise) if options else ():  # "(550)" beside "550" is another number
        same = [letter for letter, option in options.items() if option and form(option) == form(text)]
        if len(same) == 1:
            return same[0]
    letters = lone_letters(_without_texts(text, options)) if opening is None else set()
    if options:
        letters &= options.keys()
    return letters.pop() if len(letters) == 1 else None


def _without_texts(text: str, options: Mapping[str, str]) -> str:
    """`text` with a word in place of each option text that has letters of its own to be misread ("Vitamin C")."""
    for option in options.values():
        if len(option) > 1 and lone_letters(option):
            text = re.sub(re.escape(option), "option", text, flags=re.IGNORECASE)
    return text


_BOTH = re.compile(r"(?:yes|no)\s*(?:/|or\b)\s*(?:yes|no)\b")


def read_yes_no(text: str) -> str | None:
    """Read "yes" or "no": the first word if it is one of them, else the one that is a word of the text alone.

    None for both or neither ("Yes or no?", "Not sure", "None of them"). The first word is what `answer_reward` looks
    at; the second rule is our choice, because nobody misunderstands "The answer is yes."

    >>> [read_yes_no(text) for text in ("Yes, there is no dog.", "There is no dog.", "Not sure", "yes or no?")]
    ['yes', 'no', None, None]
    """
    folded = text.casefold()
    words = re.findall(r"[^\W\d_]+", folded)
    if words and words[0] in ("yes", "no") and not _BOTH.search(folded):
        return words[0]
    found = {"yes", "no"} & set(words)
    return found.pop() if len(found) == 1 else None
