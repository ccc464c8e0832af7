"""Format and answer rewards: pure functions of text, each in [0, 1]; no box annotation is ever used.

Weights live in the training config (the v2 code of arXiv 2505.20272 weighs the format reward 2). How an
answer is compared depends on its kind; `ANSWER_KINDS` names the kind of every data set. To add one: write
`_kind(answer, solution) -> float` and enter it in `_SCORERS`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

from groundr1.parsing import parse_answer, parse_turn
from groundr1.similarity import edit_distance, f_measure, longest_common, ngram_f

CONTAINED = 0.6  # what an answer earns that holds the solution among other words (v2 code)

_OUTER_OPENING = " \t\n\r,;:!?\"'`“”‘’«»()[]{}<>*_~…"
_OUTER_CLOSING = _OUTER_OPENING + "."  # a leading dot may be a decimal point, a trailing one never is


def format_reward(turns: Sequence[str]) -> float:
    """Share of turns that match their format: every turn but the last a box turn, the last an answer turn.

    Method section 2 of the paper; `parse_turn` is the judge. A single answer turn without any box is
    well-formed. No turn at all earns 0.0. Raises TypeError for a bare string, which would be read as a
    sequence of letters.

    >>> format_reward(["<think>there</think> <box>[1,2,30,40]</box>", "<answer>dog</answer>"])
    0.5
    """
    if isinstance(turns, str):
        raise TypeError(
            "turns is one string; pass the list of a trajectory's turns, [turn] if there is only one."
        )
    if not turns:
        return 0.0
    expected = ["box"] * (len(turns) - 1) + ["answer"]
    return sum(parse_turn(turn).kind == kind for turn, kind in zip(turns, expected, strict=True)) / len(turns)


def answer_reward(answer: str | None, solution: str | Sequence[str], kind: str) -> float:
    """How right an answer is, in [0, 1]; None (no answer was given) and a blank one earn 0.0.

    `solution` may be wrapped in `<answer>` tags; of a list of solutions the best-scoring one counts. Kinds:

    - "choice": the letter as a whole token ("B", "(b)", "B. blue", "the answer is B"), one letter and no other;
      never a capital inside a word, the article "A" or the pronoun "I". A solution that is no letter (Visual7W,
      open questions of RealWorldQA) is compared as "exact".
    - "yes_no": the first word of both, case-folded.
    - "exact": equal after case folding; outer punctuation and runs of white space are ignored.
    - "contains": 1 if exact, 0.6 if the solution occurs in the answer as whole words.
    - "ocr": 1 - WER, the smaller of the two directions, not below 0. Case-folded, outer punctuation ignored: not
      in the paper, our choice, because TextVQA's solutions are lower case whatever the picture shows.
    - "rouge": mean F of ROUGE-1, ROUGE-2 and ROUGE-L; words case-folded, not stemmed; ROUGE-2 is left out when
      the solution is a single word: our choice, because an identical answer must earn 1.
    - "math": equal as numbers, compared exactly (decimals, thousands separators, fractions, per cent, LaTeX
      `\\frac` and `\\boxed`, what follows the last "="); what is no number must be equal as text.

    Raises ValueError for an unknown kind or an empty list of solutions.

    >>> answer_reward("(b) blue", "<answer>B</answer>", "choice")
    1.0
    >>> answer_reward("It is a dog.", ["cat", "Dog"], "contains")
    0.6
    """
    if kind not in _SCORERS:
        raise ValueError(
            f"kind is {kind!r}, which is not one of {', '.join(sorted(_SCORERS))}; see ANSWER_KINDS."
        )
    solutions = [solution] if isinstance(solution, str) else list(solution)
    if not solutions:
        raise ValueError(
            "solution is an empty list, so no answer could be right; give at least one solution."
        )
    if answer is None or not answer.strip():
        return 0.0
    return max(float(_SCORERS[kind](answer.strip(), _unwrap(text))) for text in solutions)


def _unwrap(solution: str) -> str:
    inner = parse_answer(solution)
    return solution.strip() if inner is None else inner


def normalise(text: str) -> str:
    """Case-folded text with single spaces and without outer punctuation; a text of punctuation only keeps it.

    >>> normalise('"Bud  Light."')
    'bud light'
    """
    folded = " ".join(text.casefold().split())
    return folded.rstrip(_OUTER_CLOSING).lstrip(_OUTER_OPENING) or folded


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


# A letter of a word or a compound; Latin ones only, because Chinese sets no spaces around an option ("答案是B").
_WORD = "0-9A-Za-zÀ-ɏ_'’-"
# The letter that opens a line, set off from what follows: "B", "(b) blue", "b: blue", "B. blue", "**B**".
_OPENING_LETTER = re.compile(r"^[\s(\[{*_\"']*([A-Za-z])(?:[)\]}:]|[.*_\"']+(?=\s|$)|[ \t]*$)", re.MULTILINE)
# "(A) or (B)": what follows an opening letter that is not the only one.
_ALTERNATIVE = re.compile(rf"\s*(?:,|/|&|or\b|and\b)\s*(?:\([A-Za-z]\)|[A-HJ-Z](?![{_WORD}]))")
# A before a word is the article, unless the word is one that no article precedes.
_OPTION_A = r"A(?![ \t]+(?!(?i:and|or|is|because|since|as|but|not)\b)\w\w)"
# A letter in brackets, or a capital that stands alone: not in a word nor a compound (B-52, it's). "I" is a pronoun.
_LONE_LETTER = re.compile(rf"\(([A-Za-z])\)|(?<![{_WORD}])([B-HJ-Z]|{_OPTION_A})(?![{_WORD}])")
# A small letter counts where it is the answer's last word after one of these.
_STATED_LETTER = re.compile(r"\b(?:answer|option|choice)(?:\s+is)?[\s:]+([a-z])\W*$", re.IGNORECASE)


def opening_letter(answer: str) -> str | None:
    """The option letter, in upper case, that an answer opens with, set off from what follows; None without one.

    None also where another follows at once ("(A) or (B)") or opens a later line: listing the options is no answer.

    >>> opening_letter("(b) blue"), opening_letter("Blue"), opening_letter("A. red\\nB. blue")
    ('B', None, None)
    """
    first = _OPENING_LETTER.match(answer)
    if first is None or _ALTERNATIVE.match(answer, first.end()):
        return None
    letters = {letter.upper() for letter in _OPENING_LETTER.findall(answer)}
    return letters.pop() if len(letters) == 1 else None


def lone_letters(answer: str) -> set[str]:
    """All option letters, in upper case, that an answer names anywhere as whole tokens.

    In brackets, as a capital that is part of no word, or as the last word after "answer", "option" or "choice". The
    article "A" and the pronoun "I" are none.

    >>> sorted(lone_letters("Not A but (b)")), lone_letters("A car"), lone_letters("The answer is c.")
    (['A', 'B'], set(), {'C'})
    """
    letters = {(bracketed or lone).upper() for bracketed, lone in _LONE_LETTER.findall(answer)}
    stated = _STATED_LETTER.search(answer)
    return letters | {stated[1].upper()} if stated else letters


def _answer_letter(answer: str) -> str | None:
    """The one option letter an answer names; None without one, and when it names several (no prize for listing)."""
    letters = lone_letters(answer)
    return opening_letter(answer) or (letters.pop() if len(letters) == 1 else None)


def _choice(answer: str, solution: str) -> float:
    letter = opening_letter(solution)
    if letter is None:
        return _exact(answer, solution)
    return float(_answer_letter(answer) == letter)


def _yes_no(answer: str, solution: str) -> float:
    answer_words, solution_words = _words(answer), _words(solution)
    return float(bool(answer_words) and answer_words[:1] == solution_words[:1])


def _exact(answer: str, solution: str) -> float:
    return float(normalise(answer) == normalise(solution))


def _contains(answer: str, solution: str) -> float:
    inside, whole = normalise(solution), normalise(answer)
    if inside == whole:
        return 1.0
    found = inside and inside in whole and re.search(rf"(?<!\w){re.escape(inside)}(?!\w)", whole)
    return CONTAINED if found else 0.0


def _ocr(answer: str, solution: str) -> float:
    answer_words, solution_words = normalise(answer).split(), normalise(solution).split()
    if not answer_words or not solution_words:
        return 0.0
    # The two directions share the edits and divide by either length: the longer one gives the smaller WER.
    wer = edit_distance(answer_words, solution_words) / max(len(answer_words), len(solution_words))
    return max(0.0, 1.0 - wer)


def _rouge(answer: str, solution: str) -> float:
    answer_words, solution_words = _words(answer), _words(solution)
    lcs = longest_common(answer_words, solution_words)
    scores = [
        ngram_f(answer_words, solution_words, 1),
        f_measure(lcs, len(answer_words), len(solution_words)),
    ]
    if len(solution_words) > 1:
        scores.append(ngram_f(answer_words, solution_words, 2))
    return sum(scores) / len(scores)


_DECIMAL = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?"
_FRACTION = re.compile(rf"({_DECIMAL})(?:/({_DECIMAL}))?(%?)")
_LATEX_FRACTION = re.compile(r"(?<!\d)\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_LONGEST_NUMBER = (
    200  # characters; a longer answer is no number, and exact arithmetic on it would only cost time
)


def _math_text(text: str) -> str:
    """What is left to compare of a mathematical answer: no mark-up, no white space, the right side of an equation."""
    start, end = text.find("\\boxed{"), text.rfind("}")
    text = text[start + len("\\boxed{") : end] if 0 <= start < end else text
    text = re.sub(r"\\[,;! ]|\\left|\\right|[$\s]", "", text).replace("\\%", "%").replace("−", "-")
    text = _LATEX_FRACTION.sub(r"\1/\2", text)
    return text.rpartition("=")[2].strip("*").rstrip(".").casefold()


def _to_fraction(text: str) -> Fraction | None:
    match = _FRACTION.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    try:
        if match is None:
            return None
        numerator, denominator, percent = match.groups()
        value = Fraction(numerator.replace(",", "")) / Fraction((denominator or "1").replace(",", ""))
        return value / 100 if percent else value
    except (ValueError, ZeroDivisionError):
        return None


def _math(answer: str, solution: str) -> float:
    answer_text, solution_text = _math_text(answer), _math_text(solution)
    answer_value, solution_value = _to_fraction(answer_text), _to_fraction(solution_text)
    if answer_value is not None and solution_value is not None:
        return float(answer_value == solution_value)
    return float(bool(answer_text) and answer_text == solution_text)


_SCORERS: Mapping[str, Callable[[str, str], float]] = MappingProxyType(
    {
        "choice": _choice,
        "yes_no": _yes_no,
        "exact": _exact,
        "contains": _contains,
        "ocr": _ocr,
        "rouge": _rouge,
        "math": _math,
    }
)

# Data set -> kind of its answers. The Visual-CoT sets, CLEVR and ThinkLite as in the v2 code, except emotic, for
# which it has no rule: its answers are lists of labels. MM-Vet wants a judge, and ROUGE only stands in for one.
# The last row are the question kinds of our own scenes.
ANSWER_KINDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("v7w", "visual7w", "gqa", "openimages"), "choice"),
        **dict.fromkeys(("docvqa", "infographicsvqa", "textcap", "textvqa", "dude", "sroie"), "ocr"),
        **dict.fromkeys(("flickr30k", "emotic", "mmvet"), "rouge"),
        **dict.fromkeys(("vsr", "cub"), "contains"),
        **dict.fromkeys(("clevr", "thinklite"), "math"),
        **dict.fromkeys(("mme", "pope"), "yes_no"),
        **dict.fromkeys(
            ("seed", "mme_realworld_lite", "realworldqa", "vstar", "hrbench", "arxivqa"), "choice"
        ),
        **dict.fromkeys(("tile", "print", "relation"), "exact"),
    }
)
