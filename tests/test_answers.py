"""Reading of answers: where a prediction has its answer, which letter it names, and each benchmark's own rule."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundr1.boxes import Box
from groundr1.data.items import Item
from groundr1.evaluation import answers, intervals, verdicts
from groundr1.evaluation.answers import extract_answer, read_letter, read_yes_no
from groundr1.evaluation.verdicts import facts_score, read_box, verdict

BOX_TURN = "<think>the sign</think> <box>[12,8,40,30]</box>"
OPTIONS = {"A": "a red car", "B": "Vitamin C", "C": "Blue", "D": "on the left."}


@pytest.mark.parametrize("module", [answers, intervals, verdicts], ids=lambda module: module.__name__)
def test_documented_examples_hold(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("prediction", "text", "status", "reason"),
    [
        ("B", "B", "whole text", "bare"),
        ("  B\n", "B", "whole text", "white space"),
        ("<answer> B </answer>", "B", "answer tag", "tagged"),
        (
            "<answer>A</answer> no, <answer>B</answer>",
            "B",
            "answer tag",
            "the last block; Ground-R1 takes the first",
        ),
        ("<think>cut</think> <answer>a dog and", "a dog and", "answer tag", "not closed"),
        (f"{BOX_TURN}\n<think>so</think> <answer>B</answer>", "B", "answer tag", "two turns"),
        ("<think>A or B?</think>\nB", "B", "after thought", "no tag: after the thought"),
        ("Ego says A</think> B", "B", "after thought", "an opening tag in the prompt"),
        (f"{BOX_TURN} B", "B", "after box", "after the box"),
        (f"{BOX_TURN}\n<think>so</think> B", "B", "after thought", "whichever is later"),
        (
            f"<think>so</think> {BOX_TURN} <answer>B</answer>",
            "B",
            "answer tag",
            "the tag wins wherever it is",
        ),
        ("<think>the answer is B</think>", "", "empty", "what was thought was not answered"),
        ("<think>B</think> <answer> </answer>", "", "empty", "an empty block: no other place is tried"),
        ("", "", "empty", "nothing"),
        (" \n", "", "empty", "blank"),
        ("<think>it is B because", "<think>it is B because", "whole text", "a thought that never ended"),
    ],
)
def test_extract_answer(prediction, text, status, reason):
    assert extract_answer(prediction) == (text, status), reason


LETTERS = [
    ("B", "B", "bare"),
    ("b", "B", "small"),
    ("B\n", "B", "with a newline"),
    ("(B)", "B", "brackets"),
    ("B.", "B", "full stop"),
    ("**B**", "B", "bold"),
    ("B. Vitamin C", "B", "with its text, which has a letter of its own"),
    ("B: Vitamin C", "B", "colon"),
    ("B) Vitamin C", "B", "bracket"),
    ("(B) Vitamin C", "B", "brackets and text"),
    ("Answer: B", "B", "announced"),
    ("answer: b", "B", "announced, small"),
    ("Option B", "B", "option"),
    ("The correct option is (C).", "C", "in a sentence"),
    ("The answer is B.", "B", "in a sentence, full stop"),
    ("The answer is B. Vitamin C", "B", "the letter within the option's text is not counted"),
    ("The answer is A", "A", "A at the end is no article"),
    (r"\boxed{B}", "B", "boxed"),
    ("答案是B", "B", "Chinese"),
    ("<answer>B</answer>", "B", "tags of another kit's output"),
    ("a red car", "A", "the text of an option"),
    ("A red car.", "A", "the text of an option, article and full stop"),
    ("Vitamin C", "B", "the text, not the letter in it"),
    ("BLUE", "C", "text in capitals"),
    ("On the left", "D", "text without its full stop"),
    ("It is vitamin C", None, "the letter of a text is none, and the text alone is not the answer"),
    ("Blue car", None, "not the first letter, not part of a text"),
    ("A car", None, "the article"),
    ("I see nothing", None, "the pronoun"),
    ("RED", None, "capitals of a word"),
    ("B or C", None, "two"),
    ("(B) or (C)", None, "two, the first opening"),
    ("A. a red car\nB. Vitamin C\nC. Blue", None, "the list of options"),
    ("A, B, C and D", None, "all"),
    ("E", None, "not among the options"),
    ("(E) none of them", None, "not among the options, opening"),
    ("The plate S is on option C", "C", "a letter that is no option is a mere text"),
    ("yes, there is", None, "no option at all"),
    ("", None, "nothing"),
    ("42", None, "a number"),
]


@pytest.mark.parametrize(("text", "letter", "reason"), LETTERS)
def test_read_letter(text, letter, reason):
    assert read_letter(text, OPTIONS) == letter, reason


def test_an_option_text_that_two_options_share_names_neither():
    options = {"A": "left", "B": "right", "C": "right"}
    assert (read_letter("left", options), read_letter("right", options)) == ("A", None)
    assert read_letter("550", {"A": "550", "B": "(550)"}) == "A", (
        "an equal text comes before one that differs by brackets"
    )


def test_without_options_any_letter_is_one():
    assert [read_letter(text) for text in ("E", "The answer is (F)", "red", "A or B")] == [
        "E",
        "F",
        None,
        None,
    ]


@given(
    st.sampled_from("ABCD"),
    st.sampled_from(["{}", "({})", "{}.", "**{}**", "Answer: {}", "The answer is {}."]),
)
def test_every_letter_is_read_from_every_plain_form(letter, form):
    assert read_letter(form.format(letter), OPTIONS) == letter


@given(st.text(max_size=60))
def test_whatever_is_read_is_an_option(text):
    assert read_letter(text, OPTIONS) in {None, *OPTIONS}
    assert read_yes_no(text) in {None, "yes", "no"}
    found = extract_answer(text)
    assert (found.text == "") == (found.status == "empty")


@pytest.mark.parametrize(
    ("text", "read", "reason"),
    [
        ("Yes", "yes", "bare"),
        ("no.", "no", "full stop"),
        ("Yes\n", "yes", "newline"),
        ("**No**", "no", "bold"),
        ("_yes_", "yes", "underscores are no letters"),
        ("Yes, there is no dog.", "yes", "the first word decides"),
        ("No, yes", "no", "the first word decides"),
        ("The answer is yes.", "yes", "the only one of the two"),
        ("There is no dog.", "no", "the only one of the two"),
        ("I would say yes, but no", None, "both"),
        ("Yes or no?", None, "the question repeated"),
        ("yes/no", None, "both"),
        ("Not sure", None, "lmms-eval reads no"),
        ("None of them", None, "lmms-eval reads no"),
        ("I know", None, "Ground-R1 reads no within a word"),
        ("eyes", None, "within a word"),
        ("1", None, "a number"),
        ("", None, "nothing"),
    ],
)
def test_read_yes_no(text, read, reason):
    assert read_yes_no(text) == read, reason


@pytest.mark.parametrize(
    ("prediction", "box", "reason"),
    [
        ("<box>[1, 2, 30.5, 40]</box>", (1, 2, 30.5, 40), "tag"),
        (f"{BOX_TURN}\n<think>[1,1,2,2]</think> <answer>dog</answer>", (12, 8, 40, 30), "the box turn"),
        ("[1, 2, 30, 40]", (1, 2, 30, 40), "bare"),
        ('```json\n[{"bbox_2d": [1, 2, 30, 40], "label": "dog"}]\n```', (1, 2, 30, 40), "Qwen's JSON"),
        ("<think>from [1,1,2,2]</think> <answer>[1, 2, 30, 40]</answer>", (1, 2, 30, 40), "the answer's own"),
        ("<think>at [1,2,30,40]</think> <answer>there</answer>", (1, 2, 30, 40), "none in the answer"),
        ("[30, 40, 1, 2]", None, "inverted"),
        ("at 1, 2, 30, 40", None, "no brackets"),
        ("", None, "nothing"),
    ],
)
def test_read_box(prediction, box, reason):
    assert read_box(prediction) == (None if box is None else Box(*box)), reason


def item(kind="choice", solution="B", options=None, box=None):
    return Item("1", "?", (solution,) if solution else (), kind, "c", options=options or {}, box=box)


@pytest.mark.parametrize(
    ("benchmark", "kind", "solution", "prediction", "score", "valid", "reason"),
    [
        ("mme", "yes_no", "yes", "<answer>Yes</answer>", 1, True, "lmms-eval reads no yes from the tags"),
        ("pope", "yes_no", "no", "There is no dog in it.", 1, True, "the only word of the two"),
        ("pope", "yes_no", "no", "Cannot tell", 0, False, "neither is invalid, not a no"),
        ("seed", "choice", "B", "The answer is B.", 1, True, "lmms-eval looks at the first character"),
        ("seed", "choice", "B", "Bus", 0, False, "the first character of a word"),
        ("mme_realworld_lite", "choice", "E", "(E) not there", 1, True, "the fifth option"),
        ("realworldqa", "choice", "A", "A.", 1, True, "Ground-R1 asks for equal texts"),
        ("realworldqa", "exact", "2", "two", 1, True, "a number word"),
        ("realworldqa", "exact", "2", "Two.", 1, True, "a number word and full stop"),
        ("realworldqa", "exact", "11", "eleven", 1, True, "a number word"),
        ("realworldqa", "exact", "2", "20", 0, True, "another number"),
        ("realworldqa", "exact", "2", "2 cars", 0, True, "not equal"),
        ("realworldqa", "exact", "Yes", "Yes, it is closer.", 1, True, "the first word"),
        ("realworldqa", "exact", "Yes", "Maybe", 0, False, "neither yes nor no"),
        ("realworldqa", "exact", "Green", "green.", 1, True, "case and full stop"),
        ("realworldqa", "exact", "Green", "", 0, False, "nothing"),
        ("viscot", "choice", "Foliage.", "foliage", 1, True, "Visual7W: a sentence is compared as text"),
        ("viscot", "choice", "Bus.", "B", 0, True, "Ground-R1 reads the solution's B"),
        ("viscot", "contains", "No", "I do not know", 0, True, "Ground-R1 gives 0.6 for no within a word"),
        ("viscot", "contains", "No", "No, it does not.", 0.6, True, "the word among others"),
        ("viscot", "ocr", "bud light", "bud", 0.5, True, "half of the words"),
        ("viscot", "ocr", "bud light", "<think>bud light</think>", 0, False, "nothing was answered"),
    ],
)
def test_verdict(benchmark, kind, solution, prediction, score, valid, reason):
    made = verdict(benchmark, item(kind, solution), prediction)
    assert (made.score, made.valid) == (pytest.approx(score), valid), reason
    assert (made.read is None) == (not valid)


def test_visual_cots_letters_are_read_with_their_options():
    """gqa and openimages have options, so that the text of one is an answer, as in the other multiple choices."""
    question = item("choice", "B", {"A": "Door", "B": "Wall"})
    assert [
        verdict("viscot", question, text).score for text in ("B", "wall", "Door", "<answer>(B)</answer>")
    ] == [
        1.0,
        1.0,
        0.0,
        1.0,
    ]


def test_a_box_hits_from_an_iou_of_one_half():
    """[0, 0, 10, 10] against [0, 0, 10, 5] is 50 / 100. Visual-CoT's scripts want more, Ground-R1's truncate to int."""
    question = item("box", "", box=Box(0, 0, 10, 10))
    assert verdict("refcoco", question, "<box>[0, 0, 10, 5]</box>") == (
        1.0,
        True,
        "[0.0, 0.0, 10.0, 5.0]",
        "box tag",
    )
    assert verdict("refcoco", question, "[0, 0, 10, 4.99]").score == 0.0
    assert verdict("refcoco", question, "[0, 0, 10, 5.9]").score == 1.0, "int() would make it 5"
    assert verdict("refcoco", question, "in the middle") == (0.0, False, None, "no box")
    assert verdict("refcoco", question, "") == (0.0, False, None, "empty")
    given = verdict("refcoco", question, "in the middle", Box(0, 0, 10, 10))
    assert (given.score, given.status) == (1.0, "given")
    assert not verdict("refcoco", question, "[0, 0, 10, 10]", None).valid, (
        "None is no box, whatever the text says"
    )


@pytest.mark.parametrize(
    ("answer", "solution", "expected", "reason"),
    [
        ("x is -1 or -5", "-1<AND>-5", 1, "both facts"),
        ("x = -1", "-1<AND>-5", 0.5, "one of two"),
        ("x = 1 and 5", "-1<AND>-5", 0, "other signs"),
        ("x = -5", "5", 0, "another sign"),
        ("it is 12.5", "12", 0, "part of a number"),
        ("3.12", "12", 0, "part of a number"),
        ("it is 12.", "12", 1, "a full stop is no decimal point"),
        ("It costs 14,8 euros", "14.8<OR>14,8", 1, "either"),
        ("6 birds", "six", 1, "number words are digits"),
        ("There are six.", "6", 1, "digits are number words"),
        ("60 birds", "6", 0, "part of a number"),
        ("catalogue", "cat", 0, "part of a word"),
        ("They look the same to me.", "same", 1, "a word"),
        ("No, it is bigger.", "no", 1, "no is what the answer says"),
        ("Yes, there is no doubt.", "no", 0, "not a word somewhere in it"),
        ("It seems empty.", "no<OR>empty", 1, "the other alternative"),
        ("oscar 2023", "oscar<AND>2023", 1, "both"),
        ("图中写着马曳和著", "马曳<AND>著<AND>光", 2 / 3, "Chinese sets no spaces"),
        ("88% at 5:30PM", "5:30PM<AND>88%", 1, "signs and case"),
    ],
)
def test_mm_vets_stand_in(answer, solution, expected, reason):
    assert facts_score(answer, solution) == pytest.approx(expected), reason


def test_mm_vets_essays_are_compared_by_rouge():
    essay = "The Mona Lisa is a half-length portrait painting by the Italian artist Leonardo da Vinci."
    assert facts_score(essay, essay) == 1.0
    assert 0.0 < facts_score("The Mona Lisa is by Leonardo.", essay) < 0.6
    assert facts_score("A dog.", essay) < 0.1
