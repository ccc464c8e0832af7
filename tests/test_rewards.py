"""Rewards: one table per kind of answer, and the shortcuts and slips of the peers' reward functions."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundr1.rewards import ANSWER_KINDS, answer_reward, format_reward
from groundr1.similarity import edit_distance, longest_common

KINDS = ["choice", "contains", "exact", "math", "ocr", "rouge", "yes_no"]
BOX_TURN = "<think>there</think> <box>[1,2,30,40]</box>"
ANSWER_TURN = "<think>so</think> <answer>dog</answer>"
BROKEN_TURN = "<answer>dog</answer>"


@pytest.mark.parametrize(
    ("turns", "expected", "reason"),
    [
        ([BOX_TURN, ANSWER_TURN], 1.0, "ground, then answer"),
        ([BOX_TURN, BOX_TURN, ANSWER_TURN], 1.0, "one refinement"),
        ([ANSWER_TURN], 1.0, "an answer without a box is allowed"),
        ([BOX_TURN], 0.0, "the last turn must answer"),
        ([ANSWER_TURN, ANSWER_TURN], 0.5, "turns before the last must be box turns"),
        ([ANSWER_TURN, BOX_TURN], 0.0, "both at the wrong place"),
        ([BOX_TURN, BROKEN_TURN], 0.5, "no thought"),
        ([BOX_TURN, BOX_TURN, BROKEN_TURN], 2 / 3, "two of three"),
        ([], 0.0, "nothing was said"),
    ],
)
def test_format_reward(turns, expected, reason):
    assert format_reward(turns) == pytest.approx(expected), reason


def test_format_reward_refuses_a_bare_string():
    with pytest.raises(TypeError, match="list of a trajectory's turns"):
        format_reward(ANSWER_TURN)


CHOICE = [
    ("B", "B", 1, "the letter"),
    ("b", "B", 1, "any case when alone"),
    ("(b)", "B", 1, "in brackets"),
    ("[B]", "B", 1, "in square brackets"),
    ("B.", "B", 1, "with a full stop"),
    ("**B**", "B", 1, "bold"),
    ("'B'", "B", 1, "quoted"),
    ("B. blue", "B", 1, "with its text"),
    ("b) blue", "B", 1, "with its text, lower case"),
    ("B: blue", "B", 1, "with a colon"),
    ("B - blue", "B", 1, "with a dash"),
    ("B.blue", "B", 1, "no space after the full stop"),
    ("The answer is B", "B", 1, "in a sentence"),
    ("The answer is (b), blue.", "B", 1, "in a sentence, in brackets"),
    ("I think D", "D", 1, "the pronoun is no option"),
    ("Answer: A\nThe car is red.", "A", 1, "a line of its own"),
    ("The answer is A because it is red", "A", 1, "no article stands before 'because'"),
    ("A is correct", "A", 1, "no article stands before 'is'"),
    (r"\boxed{B}", "B", 1, "boxed"),
    ("A. B. King Street", "A", 1, "the opening letter decides"),
    ("b\nThe blue car.", "B", 1, "a line of its own, small"),
    ("The answer is b", "B", 1, "a small letter as the last word"),
    ("Answer: c.", "C", 1, "a small letter as the last word"),
    ("option a", "A", 1, "a small letter as the last word is no article"),
    ("答案是B", "B", 1, "Chinese sets no spaces"),
    ("答案：A。", "A", 1, "Chinese punctuation"),
    ("(A) or (B)", "A", 0, "two letters, the first in brackets"),
    ("A. or B.", "A", 0, "two letters, the first with a full stop"),
    ("A. red\nB. blue\nC. green", "A", 0, "the list of options"),
    ("the answer is a car", "A", 0, "an article is not the last word"),
    ("C", "B", 0, "another letter"),
    ("blue", "B", 0, "no letter at all"),
    ("A B C D", "B", 0, "listing them all"),
    ("A or B", "A", 0, "two letters"),
    ("A OR B", "B", 0, "two letters, in capitals"),
    ("B and C", "B", 0, "two letters"),
    ("A,B,C,D", "A", 0, "listing them all"),
    ("(a) (b)", "B", 0, "the opening one is A"),
    ("U.S.", "U", 0, "an abbreviation"),
    ("a B-52", "B", 0, "a compound"),
    ("B's car", "B", 0, "a genitive"),
    ("B", "(B)", 1, "solution in brackets"),
    ("B", "B. blue", 1, "solution with its text"),
    ("b", "<answer>B</answer>", 1, "solution in tags"),
    ("foliage", "Foliage.", 1, "Visual7W: no letter, compared as text"),
    ("F", "Foliage.", 0, "its first letter is no option"),
    ("a snow covered mountain", "A snow covered mountain.", 1, "a solution that starts with the article"),
    ("A", "A snow covered mountain.", 0, "the article of the solution is no option"),
    ("7", "7", 1, "RealWorldQA: numbers and words among the letters"),
]


@pytest.mark.parametrize(("answer", "solution", "expected", "reason"), CHOICE)
def test_choice(answer, solution, expected, reason):
    assert answer_reward(answer, solution, "choice") == expected, reason


@pytest.mark.parametrize(
    ("answer", "wrongly_read", "whose"),
    [
        ("Blue", "B", "first character, lmms-eval SEED and Ground-R1"),
        ("Bus.", "B", "first letter, Ground-R1 Visual7W"),
        ("A red car is there", "A", "the article, VLMEvalKit"),
        ("A car", "A", "the article, VLMEvalKit"),
        ("a red car", "A", "the article in lower case"),
        ("The answer is a red car", "A", "the article after 'answer is'"),
        ("The answer is an apple.", "A", "'answer is' without a word boundary, VLMEvalKit"),
        ("Answer: red", "A", "the A of ANSWER, lmms-eval V*"),
        ("RED", "E", "first capital anywhere, MME-RealWorld"),
        ("Based on the image, (C)", "B", "first capital anywhere, MME-RealWorld"),
        ("THE ANSWER IS A RED CAR", "A", "the article in capitals"),
        ("I see nothing", "I", "the pronoun"),
    ],
)
def test_regression_letters_are_not_taken_from_anywhere(answer, wrongly_read, whose):
    assert answer_reward(answer, wrongly_read, "choice") == 0.0, whose


def test_regression_a_bracketed_letter_after_words_is_right():
    """Ground-R1 and lmms-eval mark "(A)" wrong; MME-RealWorld reads "Based on the image, (C)" as B."""
    assert answer_reward("(A)", "A", "choice") == 1.0
    assert answer_reward("Based on the image, (C)", "C", "choice") == 1.0


@pytest.mark.parametrize(
    ("answer", "solution", "expected", "reason"),
    [
        ("Yes", "yes", 1, "case"),
        ("no.", "No", 1, "full stop"),
        ("Yes, there is a dog.", "yes", 1, "the first word"),
        ("**No**", "No", 1, "bold"),
        ("No", "Yes", 0, "the other"),
        ("Not sure", "No", 0, "prefix of another word (lmms-eval reads no)"),
        ("None of them", "No", 0, "prefix of another word (lmms-eval reads no)"),
        ("I think no", "No", 0, "not the first word"),
        ("...", "No", 0, "no word"),
    ],
)
def test_yes_no(answer, solution, expected, reason):
    assert answer_reward(answer, solution, "yes_no") == expected, reason


@pytest.mark.parametrize(
    ("answer", "solution", "exact", "contains", "reason"),
    [
        ("dog", "dog", 1, 1, "equal"),
        ("A  DOG.", "a dog", 1, 1, "case, white space, full stop"),
        ("'dog'!", "(dog)", 1, 1, "outer punctuation of both"),
        ("STRASSE", "straße", 1, 1, "case folded, not lowered"),
        ("a dog", "dog", 0, 0.6, "among other words"),
        ("It is a dog, yes.", "Dog", 0, 0.6, "before a comma"),
        ("a big dog", "big dog", 0, 0.6, "several words"),
        ("dog", "a dog", 0, 0, "the other way round"),
        ("dogs", "dog", 0, 0, "inside a word"),
        ("hotdog", "dog", 0, 0, "inside a word"),
        ("-5", "5", 0, 0.6, "the sign is no outer punctuation"),
        (".5", "5", 0, 0.6, "nor is a decimal point"),
        ("12", "1", 0, 0, "part of a number"),
        ("C++", "C", 0, 0.6, "symbols count"),
        ("!", "?", 0, 0, "punctuation alone is kept"),
        ("?", "", 0, 0, "an empty solution is contained in nothing"),
    ],
)
def test_exact_and_contains(answer, solution, exact, contains, reason):
    assert answer_reward(answer, solution, "exact") == exact, reason
    assert answer_reward(answer, solution, "contains") == contains, reason


@pytest.mark.parametrize("answer", ["I do not know", "know", "nothing", "snow"])
def test_regression_no_is_not_contained_in_other_words(answer):
    """Ground-R1 pays 0.6 when "no" is a substring: "not", "know" and "snow" earned it."""
    assert answer_reward(answer, "No", "contains") == 0.0


@pytest.mark.parametrize(
    ("answer", "solution", "expected", "reason"),
    [
        ("bud light", "bud light", 1, "equal"),
        ("Bud Light.", "bud light", 1, "case and full stop"),
        ("bud", "bud light", 1 / 2, "one of two words missing"),
        ("the bud light", "bud light", 2 / 3, "one word more: 1/3 and 1/2, the smaller"),
        ("bud heavy", "bud light", 1 / 2, "one substitution"),
        ("light bud", "bud light", 0, "two substitutions"),
        ("a b c d", "x", 0, "WER above 1 in one direction is clipped"),
        ("1 2 3 4 5", "1 3 4 5 6", 1 - 2 / 5, "one deletion and one insertion"),
        ("24,26,435", "24,26,435", 1, "inner punctuation"),
    ],
)
def test_ocr(answer, solution, expected, reason):
    assert answer_reward(answer, solution, "ocr") == pytest.approx(expected), reason


@pytest.mark.parametrize(
    ("answer", "solution", "expected", "reason"),
    [
        ("The dog sits.", "the dog sits", 1, "equal"),
        ("dog", "Dog.", 1, "one word, equal: ROUGE-2 is left out"),
        ("a dog", "dog", 2 / 3, "one word: F1 = FL = 2/3"),
        ("the cat sat", "the dog sat", (4 / 6 + 0 + 4 / 6) / 3, "unigrams 2 of 3, no bigram, LCS 2"),
        ("a b c d", "a b d c", (1 + 2 / 6 + 6 / 8) / 3, "unigrams all, bigram ab, LCS 3"),
        ("dog dog dog", "the dog", (2 / 5 + 0 + 2 / 5) / 3, "a repeated word counts once"),
        ("b a", "a b", (1 + 0 + 2 / 4) / 3, "order"),
        ("cat", "the dog sat", 0, "nothing in common"),
        ("...", "dog", 0, "no word"),
    ],
)
def test_rouge(answer, solution, expected, reason):
    assert answer_reward(answer, solution, "rouge") == pytest.approx(expected), reason


@pytest.mark.parametrize(
    ("answer", "solution", "expected", "reason"),
    [
        ("5", "5.0", 1, "decimals"),
        ("0.1", "1/10", 1, "exact, not in binary"),
        ("1/3", "0.333", 0, "not nearly"),
        ("1,234", "1234", 1, "thousands"),
        ("-5", "5", 0, "sign"),
        ("−5", "-5", 1, "the typographic minus"),
        (r"\frac{1}{2}", "0.5", 1, "LaTeX"),
        (r"$\dfrac{-3}{4}$", "-0.75", 1, "LaTeX in dollars"),
        (r"1\frac{1}{2}", "11/2", 0, "a mixed number is not 11/2"),
        (r"So \boxed{12}", "12", 1, "boxed"),
        ("x = 7", "7", 1, "right side of the equation"),
        ("50%", "1/2", 1, "per cent"),
        ("50\\%", "50%", 1, "escaped per cent"),
        ("7.", "7", 1, "full stop"),
        ("(1, 2)", "(1,2)", 1, "no number: as text"),
        ("(1,2)", "[1,2]", 0, "an open interval is not a closed one"),
        ("1/0", "1/0", 1, "no number: as text"),
        ("1/0", "5", 0, "no division by zero"),
        ("9" * 100_000, "9", 0, "a very long number is no number"),
        ("1e999999999", "1", 0, "no exponents, which could fill the memory"),
        ("five", "5", 0, "words are not read"),
        ("=", "", 0, "nothing against nothing"),
    ],
)
def test_math(answer, solution, expected, reason):
    assert answer_reward(answer, solution, "math") == expected, reason


@pytest.mark.parametrize("kind", KINDS)
def test_regression_right_and_wrong_do_not_score_the_same(kind):
    """VLM-R1's cosine_reward overwrites its accuracy argument: right and wrong earn the same."""
    right, wrong = {"choice": ("B", "C"), "yes_no": ("Yes", "No"), "math": ("12", "13")}.get(
        kind, ("red dog", "cat")
    )
    assert answer_reward(right, right, kind) == 1.0
    assert answer_reward(wrong, right, kind) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_no_answer_and_a_blank_one_earn_nothing(kind):
    for answer in (None, "", " \n"):
        assert answer_reward(answer, "dog", kind) == 0.0
        assert answer_reward(answer, "", kind) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_of_several_solutions_counts(kind):
    right, wrong = {"choice": ("B", "C"), "yes_no": ("Yes", "No"), "math": ("12", "13")}.get(
        kind, ("red dog", "cat")
    )
    assert answer_reward(right, [wrong, f"<answer> {right} </answer>"], kind) == 1.0
    assert answer_reward(right, (wrong, wrong), kind) == 0.0


def test_regression_errors_are_raised_and_not_scored_as_zero():
    """VLM-R1's rewards swallow every exception and return 0; a wrong kind or no solution is a mistake of the data."""
    with pytest.raises(
        ValueError, match="'letters', which is not one of choice, contains, exact, math, ocr, rouge, yes_no"
    ):
        answer_reward("B", "B", "letters")
    with pytest.raises(ValueError, match="letters"):
        answer_reward(None, "B", "letters")
    with pytest.raises(ValueError, match="at least one solution"):
        answer_reward("B", [], "choice")


def test_every_data_set_has_a_known_kind():
    viscot = "flickr30k v7w gqa openimages docvqa textcap sroie emotic dude textvqa cub vsr infographicsvqa".split()
    benchmarks = "mme pope seed mme_realworld_lite realworldqa vstar hrbench mmvet".split()
    scenes = {"tile": "exact", "print": "exact", "relation": "exact"}
    assert {*viscot, *benchmarks, *scenes} <= set(ANSWER_KINDS)
    assert scenes.items() <= ANSWER_KINDS.items()
    assert set(ANSWER_KINDS.values()) <= set(KINDS)
    assert (ANSWER_KINDS["docvqa"], ANSWER_KINDS["gqa"], ANSWER_KINDS["pope"]) == ("ocr", "choice", "yes_no")
    assert isinstance(ANSWER_KINDS, Mapping)
    with pytest.raises(TypeError):
        ANSWER_KINDS["gqa"] = "ocr"


texts = st.text(alphabet="abAB12 .,/()%$\\{}=-*", max_size=40) | st.text(max_size=40)


@given(texts, st.lists(texts, min_size=1, max_size=3), st.sampled_from(KINDS))
def test_any_text_earns_between_0_and_1(answer, solutions, kind):
    reward = answer_reward(answer, solutions, kind)
    assert 0.0 <= reward <= 1.0
    assert reward == max(answer_reward(answer, solution, kind) for solution in solutions)


@given(st.lists(st.sampled_from(["dog", "red", "Door", "12"]), min_size=1, max_size=6).map(" ".join))
def test_an_identical_answer_earns_all_whatever_the_kind(text):
    for kind in KINDS:
        assert answer_reward(text, text, kind) == 1.0


@given(st.lists(st.sampled_from([BOX_TURN, ANSWER_TURN, BROKEN_TURN]), max_size=5))
def test_format_reward_is_the_share_of_turns_in_format(turns):
    wanted = [BOX_TURN] * (len(turns) - 1) + [ANSWER_TURN]
    expected = sum(turn == want for turn, want in zip(turns, wanted, strict=False)) / max(len(turns), 1)
    assert format_reward(turns) == pytest.approx(expected)


@given(*[st.lists(st.sampled_from("abcd"), max_size=80)] * 2)
def test_the_longest_common_subsequence_is_that_of_the_table(a, b):
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    assert longest_common(a, b) == row[-1]


@given(*[st.lists(st.sampled_from("abcd"), max_size=80)] * 2)
def test_the_edit_distance_is_that_of_the_table(a, b):
    """By the table of Wagner and Fischer, a row at a time."""
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    assert edit_distance(a, b) == row[-1]
