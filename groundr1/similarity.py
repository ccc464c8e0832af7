"""How alike two sequences of words are: edits, common subsequence, common n-grams. The caller says what a word is.

>>> edit_distance("the red bus".split(), "a red bus stop".split()), longest_common("abcd", "xbyd")
(2, 2)
"""

from collections import Counter
from collections.abc import Sequence

__all__ = ["edit_distance", "f_measure", "longest_common", "ngram_f"]


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance of two word sequences; a row of the table is held in bits (Myers 1999, as by Hyyrö 2003)."""
    a, b = sorted((a, b), key=len)  # the bits of the shorter one
    places, top, full = _places(a), 1 << len(a) >> 1, (1 << len(a)) - 1
    distance, more, less = len(a), full, 0  # more, less: where a row of the table goes up and down
    for word in b:
        here = places.get(word, 0)
        diagonal = ((here & more) + more ^ more) | here | less
        up, down = less | (full & ~(diagonal | more)), more & diagonal
        distance += bool(up & top) - bool(down & top)
        up, down = up << 1 | 1, down << 1
        more, less = full & (down | ~(diagonal | up)), full & up & diagonal
    return distance if a else len(b)


def _places(words: Sequence[str]) -> dict[str, int]:
    """Word -> number whose bits are the places where it stands."""
    places: dict[str, int] = {}
    for place, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << place
    return places


def f_measure(matches: int, num_answer: int, num_solution: int) -> float:
    """Harmonic mean of precision and recall; 0.0 without a match."""
    return 2 * matches / (num_answer + num_solution) if matches else 0.0


def ngram_f(answer: Sequence[str], solution: Sequence[str], n: int) -> float:
    """ROUGE-n of two word sequences: F measure of their common n-grams."""
    grams_answer, grams_solution = (
        Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in (answer, solution)
    )
    matches = (grams_answer & grams_solution).total()
    return f_measure(matches, grams_answer.total(), grams_solution.total())


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence; a row of the table is held in the bits of one number (Hyyrö 2004)."""
    a, b = sorted((a, b), key=len, reverse=True)  # the bits of the shorter one
    places = _places(b)
    full = row = (1 << len(b)) - 1
    for word in a:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & full
    return len(b) - row.bit_count()
