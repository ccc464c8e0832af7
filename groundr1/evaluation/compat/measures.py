"""Word error rate and stemmed ROUGE as Ground-R1's VisCoT script computes them, for `groundr1.evaluation.compat.gr`.

Our own rules (`groundr1.rewards`) differ: they ignore outer punctuation, do not stem, and leave ROUGE-2 out for
one-word solutions. ROUGE here follows the package rouge_score: words are runs of a-z and 0-9, and those longer than
three letters are stemmed by Porter's algorithm (Program 14(3), 1980) with the changes that NLTK makes by default.
"""

import re

from groundr1.similarity import edit_distance, f_measure, longest_common, ngram_f


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Edits between the white-space separated words of both, over the number of words of the reference (at least 1).

    >>> word_error_rate("total 12.50", "12.50"), word_error_rate("12.50", "total 12.50")
    (0.5, 1.0)
    """
    words = reference.split()
    return edit_distance(words, hypothesis.split()) / max(1, len(words))


def rouge_stemmed(answer: str, solution: str) -> float:
    """Mean F of ROUGE-1, ROUGE-2 and ROUGE-L over stemmed words; ROUGE-2 of a single word is 0.

    >>> rouge_stemmed("A man walking", "a man walks"), rouge_stemmed("yes", "yes") == 2 / 3
    (1.0, True)
    """
    ours, theirs = (
        [stem(word) if len(word) > 3 else word for word in re.findall("[a-z0-9]+", text.lower())]
        for text in (answer, solution)
    )
    common = f_measure(longest_common(ours, theirs), len(ours), len(theirs))
    return (ngram_f(ours, theirs, 1) + ngram_f(ours, theirs, 2) + common) / 3


_IRREGULAR = {
    **dict.fromkeys(("sky", "skies"), "sky"),
    **{"dying": "die", "lying": "lie", "tying": "tie", "news": "news", "howe": "howe"},
    **dict.fromkeys(("inning", "innings"), "inning"),
    **dict.fromkeys(("outing", "outings"), "outing"),
    **dict.fromkeys(("canning", "cannings"), "canning"),
    **{word: word for word in ("proceed", "exceed", "succeed")},
}
# Suffix -> what replaces it. The longest suffix of a step decides, whether its condition holds or not.
_STEP_2 = {
    **{"ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble"},
    **{"alli": "al", "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate"},
    **{"ator": "ate", "alism": "al", "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al"},
    **{"iviti": "ive", "biliti": "ble", "fulli": "ful", "logi": "log"},
}
_STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4 = dict.fromkeys(
    "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize".split(), ""
)


def stem(word: str) -> str:
    """Stem of a lower-case word by Porter's algorithm in NLTK's variant; words of one or two letters stay.

    >>> [stem(word) for word in ("caresses", "hopping", "relational", "electricity", "dies")]
    ['caress', 'hop', 'relat', 'electr', 'die']
    """
    if word in _IRREGULAR or len(word) <= 2:
        return _IRREGULAR.get(word, word)
    word = _past_and_gerund(_plural(word))
    if word.endswith("y") and len(word) > 2 and _form(word)[-2] == "c":
        word = word[:-1] + "i"
    if word.endswith("alli") and _measure(word[:-4]):
        word = word[:-2]
    word = _replaced(word, _STEP_2, 0)
    word = _replaced(word, _STEP_3, 0)
    word = _replaced(word, _STEP_4, 1)
    if word.endswith("e"):
        measure = _measure(word[:-1])
        word = word[:-1] if measure > 1 or (measure == 1 and not _short(word[:-1])) else word
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _form(word: str) -> str:
    """Consonants and vowels of a word as "c" and "v"; y is a vowel after a consonant."""
    form = ""
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and form.endswith("c"))
        form += "v" if vowel else "c"
    return form


def _measure(word: str) -> int:
    """Number of times a vowel is followed by a consonant."""
    return _form(word).count("vc")


def _short(word: str) -> bool:
    """Whether it ends in consonant, vowel, consonant other than w, x and y, or is a vowel and a consonant."""
    form = _form(word)
    return (form.endswith("cvc") and word[-1] not in "wxy") or form == "vc"


def _plural(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past_and_gerund(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) else word
    suffix = next((suffix for suffix in ("ed", "ing") if word.endswith(suffix)), None)
    if suffix is None or "v" not in _form(word.removesuffix(suffix)):
        return word
    word = word.removesuffix(suffix)
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if word[-1] == word[-2:-1] and _form(word)[-1] == "c":
        return word if word[-1] in "lsz" else word[:-1]
    return word + "e" if _measure(word) == 1 and _short(word) else word


def _replaced(word: str, suffixes: dict[str, str], least: int) -> str:
    """The word with its longest suffix of a step replaced, if what remains has a measure above `least`."""
    suffix = max((suffix for suffix in suffixes if word.endswith(suffix)), key=len, default=None)
    if suffix is None:
        return word
    remains = word.removesuffix(suffix)
    # "ion" goes only after s or t, and the l of "logi" counts as a part of what remains.
    if (suffix == "ion" and not remains.endswith(("s", "t"))) or (
        _measure(remains + "l" * (suffix == "logi")) <= least
    ):
        return word
    return remains + suffixes[suffix]
