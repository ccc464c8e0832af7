"""The other kits' parsers: what each does with an answer, case by case, and what is peculiar about their totals.

The cases are described behaviour of lmms-eval, VLMEvalKit and Ground-R1 (August 2026, August 2026, June 2025), most of
them executed against those kits when they were surveyed; a few follow from their rules and are worked out here.
"""

import doctest
import importlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundr1.boxes import Box
from groundr1.data.items import Item
from groundr1.evaluation.compat import (
    COMPATIBLE,
    HEADLINES,
    NO_SCORER,
    gr,
    lmms,
    measures,
    pope_counts,
    pope_scores,
    vlmeval,
)
from groundr1.parsing import parse_box

BENCHMARKS = (
    *("viscot", "mme", "mmvet", "seed", "mme_realworld_lite"),
    *("realworldqa", "pope", "vstar", "hrbench", "refcoco"),
)
KINDS = {**dict.fromkeys(("mme", "pope"), "yes_no"), "refcoco": "box"}
OPTIONS = {"A": "pear", "B": "apple", "C": "plum", "D": "fig"}


def question(benchmark, solution, options=OPTIONS, **fields) -> Item:
    kind = KINDS.get(benchmark, "choice" if len(solution) == 1 else "exact")
    if benchmark == "mme_realworld_lite":
        options = {**options, "E": "none of them"}
    options = options if kind == "choice" else {}
    return Item("1", "Which fruit?", (solution,), kind, "picture", options=options, **fields)


def judge(parser, benchmark, item, prediction):
    return COMPATIBLE[parser](benchmark, item, prediction)


# (parser, benchmark, prediction, what is read: None = not understood, reason)
READ = [
    # MME: prefix of four characters (lmms, gr) or set of words (vlmeval)
    ("lmms", "mme", "Yes", "yes", "exact"),
    ("lmms", "mme", "Yes.", "yes", "the full stop is removed"),
    ("lmms", "mme", "y", "yes", "one character"),
    ("lmms", "mme", "N.", "no", "one character once the full stop is gone"),
    ("lmms", "mme", "None of them", "no", "its first four characters contain no"),
    ("lmms", "mme", "Not sure", "no", "its first four characters contain no"),
    ("lmms", "mme", "Know", "no", "its first four characters contain no"),
    ("lmms", "mme", "I think no", None, "not among the first four characters"),
    ("lmms", "mme", "<answer>Yes</answer>", None, "tags are not removed"),
    ("lmms", "mme", "<think>No way.</think> Yes", "yes", "thoughts are"),
    ("lmms", "mme", "<analysis>No way.</analysis> Yes", "yes", "and so is the other tag of its default"),
    ("lmms", "mme", "No way.</think> Yes", "yes", "the opening tag was in the prompt"),
    ("lmms", "mme", "<think>No way. Yes", None, "an unclosed thought is left alone"),
    ("lmms", "mme", "", None, "nothing"),
    ("vlmeval", "mme", "I think no", "no", "a word of the text"),
    ("vlmeval", "mme", "Yes, it is.", "yes", "a word of the text"),
    ("vlmeval", "mme", "No, yes", None, "both: left to the judge"),
    ("vlmeval", "mme", "None of them", None, "neither: left to the judge"),
    ("vlmeval", "mme", "Not sure", None, "neither: left to the judge"),
    ("vlmeval", "mme", "<answer>Yes</answer>", "yes", "no space beside a bracket: it ends the word"),
    ("vlmeval", "mme", "<think>so</think> <answer>Yes</answer>", None, "a space beside one: brackets vanish"),
    ("vlmeval", "mme", "2,5 m (yes)", "yes", "brackets beside a space vanish, and nothing is joined"),
    ("vlmeval", "mme", "2,500/yes", None, "a comma in a number joins what other marks part"),
    ("vlmeval", "mme", "so. " * 32 + "Yes.", None, "only 32 full stops are removed"),
    ("vlmeval", "mme", "so. " * 31 + "Yes.", "yes", "only 32 full stops are removed"),
    ("gr", "mme", "<answer>Yes</answer>", "yes", "the answer is extracted"),
    ("gr", "mme", "<answer>None of them</answer>", "no", "its first four characters contain no"),
    ("gr", "mme", "<answer>y</answer>", None, "one character is not enough"),
    ("gr", "mme", "<answer>.no</answer>", "no", "the full stop stays, and the prefix has room for it"),
    ("gr", "mme", "<answer> .. no</answer>", None, "the full stops stay and push the word out"),
    ("gr", "mme", "<answer>Yes</answer> <answer>No</answer>", "yes", "the first answer counts"),
    ("gr", "mme", "<think>no</think> <answer>Yes", "yes", "an unclosed answer reaches to the end"),
    ("gr", "mme", "I think no", None, "not among the first four characters"),
    # POPE
    ("lmms", "pope", " YES ", "yes", "exact but for case and white space"),
    ("lmms", "pope", "Yes.", None, "exact equality: the full stop is too much"),
    ("lmms", "pope", "yes, there is", None, "exact equality"),
    ("lmms", "pope", "<answer>yes</answer>", None, "exact equality"),
    ("lmms", "pope", "<think>no</think>yes", "yes", "thoughts are removed first"),
    ("vlmeval", "pope", "yes, there is", "yes", "a word of the text"),
    ("vlmeval", "pope", "There is no cat", "no", "a word of the text"),
    ("gr", "pope", "<answer>Yes, there is</answer>", "yes", "prefix"),
    ("gr", "pope", "There is no cat", None, "not among the first four characters"),
    ("gr", "pope", "Unknown", None, "the no is the fourth and fifth character"),
    ("gr", "pope", "nothing", "no", "prefix"),
    # SEED: first character (lmms, gr) or inference (vlmeval)
    ("lmms", "seed", "b", "B", "any case"),
    ("lmms", "seed", "(A)", None, "the first character is a bracket"),
    ("lmms", "seed", "Option A", None, "the first character is an O"),
    ("lmms", "seed", "Blue", "B", "the first character, whatever it opens"),
    ("lmms", "seed", "<answer>B</answer>", None, "tags are not removed"),
    ("vlmeval", "seed", "(A)", "A", "brackets become spaces"),
    ("vlmeval", "seed", "Option A", "A", "a whole token"),
    ("vlmeval", "seed", "The answer is an apple.", "A", "rule 2 knows no case and no end of a word"),
    ("vlmeval", "seed", "<answer>B</answer>", None, "angle brackets and slashes are not split at"),
    ("vlmeval", "seed", "A red car is there", "A", "the article is read as an option"),
    ("vlmeval", "seed", "B is right because nothing else is here", None, "more than five words from the end"),
    ("vlmeval", "seed", "A or B", None, "two letters"),
    ("vlmeval", "seed", "Z", "Z", "none of the options, and wrong"),
    ("vlmeval", "seed", "an apple", "B", "the text of one option"),
    ("vlmeval", "seed", "apple or plum", None, "the texts of two options"),
    ("vlmeval", "seed", "what lies there, on that table, is certainly an apple", None, "too long for rule 3"),
    ("gr", "seed", "<answer>B</answer>", "B", "first character of the answer"),
    ("gr", "seed", "<answer>(A)</answer>", None, "the first character is a bracket"),
    ("gr", "seed", "<answer>Blue</answer>", "B", "the first character, whatever it opens"),
    ("gr", "seed", "Option A", None, "the first character is an O"),
    ("gr", "seed", "<answer></answer>", None, "crash (IndexError): counted as invalid"),
    ("gr", "seed", "", None, "crash (IndexError): counted as invalid"),
    # MME-RealWorld-Lite: first capital A to E
    ("lmms", "mme_realworld_lite", "Based on the image, (C)", "B", "the capital of Based"),
    ("lmms", "mme_realworld_lite", "RED", "E", "inside a word"),
    ("lmms", "mme_realworld_lite", "red", None, "no capital, and not part of (a) to (e)"),
    ("lmms", "mme_realworld_lite", "The best answer is (D)", "D", "the prefix is removed"),
    ("lmms", "mme_realworld_lite", "Best answer: D", "D", "the prefix is removed, with its B"),
    ("lmms", "mme_realworld_lite", "The answer: A", "A", "the prefix is removed"),
    ("lmms", "mme_realworld_lite", "c)", "C", "in lower case only as a part of (c)"),
    ("lmms", "mme_realworld_lite", "c. the crane", None, "in lower case only as a part of (c)"),
    ("lmms", "mme_realworld_lite", "", "A", "the empty text is a part of (a)"),
    ("lmms", "mme_realworld_lite", "a b c d e f g h i j k", None, "more than ten words without a capital"),
    ("lmms", "mme_realworld_lite", "<think>Ego..</think><answer>A</answer>", "A", "the thought is removed"),
    ("lmms", "mme_realworld_lite", "<think>Ego.. <answer>A</answer>", "E", "an unclosed thought is not"),
    ("vlmeval", "mme_realworld_lite", "<answer>red</answer>", "E", "upper-cased when in tags"),
    ("vlmeval", "mme_realworld_lite", "<think>Ego..</think><answer>A</answer>", "A", "it reads the tag"),
    (
        "vlmeval",
        "mme_realworld_lite",
        "<answer>The answer is B</answer>",
        "E",
        "THE: no prefix is in capitals",
    ),
    ("vlmeval", "mme_realworld_lite", "<think>Ego..</think> (A)", "E", "without the tag thoughts count"),
    ("vlmeval", "mme_realworld_lite", "Based on the image, (C)", "B", "as lmms-eval"),
    ("gr", "mme_realworld_lite", "<answer>(A)</answer>", None, "the first character is a bracket"),
    ("gr", "mme_realworld_lite", "<answer>E</answer>", "E", "the fifth option"),
    # RealWorldQA's choices
    ("lmms", "realworldqa", "A.", "A", "full stops at the ends are removed"),
    ("lmms", "realworldqa", "(A)", "A", "in brackets"),
    ("lmms", "realworldqa", "A. The object on the right.", "A", "start of the text"),
    ("lmms", "realworldqa", "The answer is (B).", "B", "after the phrase, before the brackets"),
    ("lmms", "realworldqa", "A dog, so C", "A", "the start beats the end"),
    ("lmms", "realworldqa", "It is not A, it is C", "C", "the end beats what stands inside"),
    ("lmms", "realworldqa", "(A) looks right but (B) fits", "B", "of equal places the later one"),
    ("lmms", "realworldqa", "It is a Dog", "D", "any capital when there is nothing else"),
    ("lmms", "realworldqa", "it is b", None, "small letters are no options"),
    ("lmms", "realworldqa", "<answer>B</answer>", "B", "any capital when there is nothing else"),
    ("vlmeval", "realworldqa", "A. The object on the right.", None, "six words from the end"),
    ("vlmeval", "realworldqa", "(A)", "A", "a whole token"),
    ("gr", "realworldqa", "A", "A", "equal but for case"),
    ("gr", "realworldqa", "<answer>a</answer>", "a", "equal but for case"),
    # V*
    ("lmms", "vstar", "Blue", "B", "starts with the letter"),
    ("lmms", "vstar", "Answer: red", "A", "starts with the A of ANSWER"),
    ("lmms", "vstar", "<answer>D</answer>", None, "the only rules left want it alone, and ANSWER has an A"),
    ("lmms", "vstar", "The answer is C", "C", "what follows the phrase"),
    ("lmms", "vstar", "It is (d).", "D", "upper-cased, in brackets"),
    ("lmms", "vstar", "It must be c.", "C", "the capital before the full stop"),
    ("lmms", "vstar", "It is b here", "B", "alone between spaces"),
    ("lmms", "vstar", "Stop", None, "no A to D at all"),
    ("lmms", "vstar", "hub", "B", "the only A to D there is"),
    ("vlmeval", "vstar", "Blue", None, "no whole token and no option text"),
    ("vlmeval", "vstar", "(b)", None, "small letters are no options"),
    # HR-Bench
    ("lmms", "hrbench", "B is right because nothing else is here", "B", "the older copy has no last words"),
    ("lmms", "hrbench", "The answer is an orange.", None, "and no rule for what follows answer is"),
    (
        "lmms",
        "hrbench",
        "what lies there, on that table, is certainly an apple",
        "B",
        "and no limit of length",
    ),
    ("lmms", "hrbench", "Z", "Z", "none of the options, and wrong"),
    ("lmms", "hrbench", "something else", None, "left to the judge"),
    ("vlmeval", "hrbench", "C) plum", "C", "a whole token"),
]


@pytest.mark.parametrize(("parser", "benchmark", "prediction", "expected", "reason"), READ)
def test_what_is_read(parser, benchmark, prediction, expected, reason):
    solution = "no" if benchmark in ("mme", "pope") else "D"
    verdict = judge(parser, benchmark, question(benchmark, solution), prediction)
    assert (verdict.read, verdict.valid) == (expected, expected is not None), reason
    right = expected is not None and expected.lower() == solution.lower()
    assert verdict.score == right, reason


# (parser, benchmark, prediction, solution, score, reason) where the solution takes part in the reading
SCORED = [
    ("gr", "seed", "Because it is green. <answer>C</answer>", "B", 1, "first chance: the whole text"),
    ("gr", "seed", "Because it is green. <answer>C</answer>", "C", 1, "second chance: the answer"),
    (
        "gr",
        "seed",
        "A <answer></answer>",
        "A",
        0,
        "an answer that crashes is not counted by its other chance",
    ),
    ("lmms", "realworldqa", "Yes.", "Yes", 1, "a final full stop is removed"),
    ("lmms", "realworldqa", "two", "2", 0, "number words are not read"),
    ("lmms", "realworldqa", "It is 2", "2", 0, "the whole text must be equal"),
    ("gr", "realworldqa", "A.", "A", 0, "whole string"),
    ("gr", "realworldqa", "(A)", "A", 0, "whole string"),
    ("gr", "realworldqa", "A. The object on the right.", "A", 0, "whole string"),
    ("gr", "realworldqa", "Yes.", "Yes", 0, "whole string"),
    ("gr", "realworldqa", "<answer> yes </answer>", "Yes", 1, "white space and case aside"),
    (
        "vlmeval",
        "realworldqa",
        "Yes",
        "Yes",
        0,
        "an open question has no options to infer: left to the judge",
    ),
]


@pytest.mark.parametrize(("parser", "benchmark", "prediction", "solution", "score", "reason"), SCORED)
def test_what_is_scored(parser, benchmark, prediction, solution, score, reason):
    assert judge(parser, benchmark, question(benchmark, solution), prediction).score == score, reason


@pytest.mark.parametrize(
    ("benchmark", "prediction"),
    [("seed", "<answer></answer>"), ("seed", ""), ("mme_realworld_lite", "<answer> </answer>")],
)
def test_an_answer_on_which_ground_r1_crashes_is_invalid_and_says_so(benchmark, prediction):
    verdict = judge("gr", benchmark, question(benchmark, "A"), prediction)
    assert (verdict.score, verdict.valid, verdict.status) == (0.0, False, "empty: theirs crashes")


def test_an_unstripped_thought_is_what_the_shared_parser_of_mme_realworld_reads():
    assert lmms.read_first_capital("<think>Ego..</think><answer>A</answer>") == "E"


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("<think>a</think> B", "B", "a block"),
        (
            "<think>a</think> <box>b</box>\n<think>c</think> D",
            "<box>b</box>\n D",
            "every block, other tags stay",
        ),
        ("a</think> B", "B", "a lone closing tag: what follows it"),
        ("<think>a", "<think>a", "an unclosed block stays"),
        ("a</think> B <think>c", "a</think> B <think>c", "not lone: an opening tag is left"),
        ("<analysis>a</analysis>B", "B", "the other tag"),
        ("<reasoning>a</reasoning>B", "<reasoning>a</reasoning>B", "no tag of the default"),
    ],
)
def test_lmms_eval_removes_reasoning(text, expected, reason):
    assert lmms.strip_reasoning(text) == expected, reason


# --- agreement

BY_RULE = [
    (parser, benchmark)
    for parser, benchmark in itertools.product(COMPATIBLE, BENCHMARKS)
    if benchmark not in NO_SCORER[parser]
]


@pytest.mark.parametrize(
    ("parser", "benchmark"), [pair for pair in BY_RULE if pair[1] not in ("viscot", "refcoco")]
)
def test_all_parsers_agree_on_clean_answers(parser, benchmark):
    answers = ("yes", "no") if benchmark in ("mme", "pope") else "ABCD"
    for answer, solution in itertools.product(answers, repeat=2):
        verdict = judge(parser, benchmark, question(benchmark, solution), answer)
        assert (verdict.valid, verdict.score) == (True, float(answer == solution))


PIECES = (
    "yes",
    "No",
    "A",
    "(B)",
    "c.",
    " ",
    "\n",
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "[1, 2",
    ", 3, 4]",
)


SETS = ("textvqa", "gqa", "vsr", "flickr30k", "emotic")


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)))
def test_no_text_breaks_a_parser(text):
    for (parser, benchmark), name in itertools.product(BY_RULE, SETS):
        solution = "no" if benchmark in ("mme", "pope") else "D"
        item = question(benchmark, solution, box=Box(0, 0, 10, 10), size=(40, 30), groups={"set": name})
        verdict = judge(parser, benchmark, item, text)
        assert 0.0 <= verdict.score <= 1.0
        assert verdict.valid == (verdict.read is not None)
        assert verdict.valid or not verdict.score


@pytest.mark.parametrize(
    ("parser", "benchmark", "reason"),
    [
        ("gr", "vstar", "Ground-R1's code has no V"),
        ("gr", "hrbench", "Ground-R1's code has no HR-Bench"),
        ("gr", "mmvet", "give `score` one"),
        ("lmms", "mmvet", "give `score` a judge"),
        ("vlmeval", "mmvet", "give `score` a judge"),
        ("lmms", "viscot", "has no Visual-CoT"),
        ("vlmeval", "viscot", "has no Visual-CoT"),
        ("lmms", "imagenet", "is not among"),
    ],
)
def test_no_scorer_is_invented(parser, benchmark, reason):
    with pytest.raises(ValueError, match=reason):
        judge(parser, benchmark, question("seed", "A"), "A")


def test_every_benchmark_is_scored_or_refused_with_a_reason():
    for parser in COMPATIBLE:
        item = question("seed", "A", box=Box(0, 0, 1, 1), size=(4, 4), groups={"set": "gqa"})
        refused = set()
        for benchmark in BENCHMARKS:
            try:
                judge(parser, benchmark, item, "A")
            except ValueError:
                refused.add(benchmark)
        assert refused == set(NO_SCORER[parser])


# --- RefCOCO

OBJECT = Box(100.0, 50.0, 300.0, 250.0)  # of a picture 640 x 480


@pytest.mark.parametrize(
    ("parser", "prediction", "score", "box_image", "reason"),
    [
        ("lmms", "[0.15625, 0.1041666667, 0.46875, 0.5208333333]", 1, OBJECT, "fractions of the picture"),
        ("lmms", "[100, 50, 300, 250]", 0, Box(64000, 24000, 192000, 120000), "pixels taken for fractions"),
        ("lmms", "no box", 0, None, "none"),
        ("lmms", "[0.1 0.1 0.5 0.5]", 0, None, "commas are wanted"),
        (
            "vlmeval",
            "[100, 50, 300, 250]",
            0,
            Box(64, 24, 192, 120),
            "pixels up to 1000 taken for thousandths",
        ),
        ("vlmeval", "[156.25, 104.1666667, 468.75, 520.8333333]", 1, OBJECT, "thousandths"),
        ("vlmeval", "[0.15625 0.1041666667 0.46875 0.5208333333]", 1, OBJECT, "fractions, spaces between"),
        (
            "vlmeval",
            "100 50 1100 250",
            0,
            Box(100, 50, 640, 250),
            "above 1000 pixels, cut; first four numbers",
        ),
        ("vlmeval", "[468.75, 520.8333333, 156.25, 104.1666667]", 1, OBJECT, "inverted corners are swapped"),
        ("vlmeval", "1 2 3", 0, None, "three numbers are none"),
        ("gr", "[100, 50, 300, 250]", 1, OBJECT, "pixels"),
        ("gr", '```json [{"bbox_2d": [100.9, 50.9, 300.9, 250.9]}]', 1, OBJECT, "decimals are cut off"),
        ("gr", "[-0.9, 50, 300, 250]", 1, Box(0, 50, 300, 250), "towards zero: IoU 2/3"),
        ("gr", "[0, 0, 9, 9] or [100, 50, 300, 250]", 0, Box(0, 0, 9, 9), "the first box counts"),
        ("gr", "[300, 50, 100, 250]", 0, None, "crash (ValueError): counted as invalid"),
        ("gr", "(100, 50, 300, 250)", 0, None, "square brackets are wanted"),
    ],
)
def test_refcoco_boxes(parser, prediction, score, box_image, reason):
    item = question("refcoco", "a dog", box=OBJECT, size=(640, 480))
    verdict = judge(parser, "refcoco", item, prediction)
    assert (verdict.score, verdict.valid) == (score, box_image is not None), reason
    if box_image is not None:
        assert parse_box(verdict.read) == pytest.approx(box_image, rel=1e-6), reason


def test_refcoco_counts_an_iou_of_exactly_one_half():
    item = question("refcoco", "a dog", box=Box(0.0, 0.0, 100.0, 100.0), size=(100, 100))
    assert judge("gr", "refcoco", item, "[0, 0, 50, 100]").score == 1
    assert judge("vlmeval", "refcoco", item, "[0, 0, 0.5, 1]").score == 1
    assert judge("lmms", "refcoco", item, "[0, 0, 0.5, 1]").score == 1
    assert judge("gr", "refcoco", item, "[0, 0, 49, 100]").score == 0


def test_ground_r1_says_which_box_it_would_have_crashed_on():
    item = question("refcoco", "a dog", box=OBJECT)
    assert judge("gr", "refcoco", item, "[300, 50, 100, 250]").status == "inverted: theirs crashes"
    assert judge("gr", "refcoco", item, "there").status == "no box"


@pytest.mark.parametrize("parser", ["lmms", "vlmeval"])
def test_a_share_of_the_picture_needs_its_size(parser):
    with pytest.raises(ValueError, match="no size"):
        judge(parser, "refcoco", question("refcoco", "a dog", box=OBJECT), "[0, 0, 1, 1]")


# --- VisCoT by Ground-R1's rules

VISCOT = [
    ("gqa", "<answer>B</answer>", "B", 1, "letter behind the tag"),
    ("gqa", "<answer>blue</answer>", "B", 1, "letter behind the tag, of a word"),
    ("openimages", "It is B. the door", "B", 1, "a letter with a full stop anywhere"),
    ("openimages", "<answer>A</answer> no, B. the door", "B", 1, "a second chance after the wrong letter"),
    ("gqa", "<answer>(B)</answer>", "B", 0, "neither letter nor text"),
    ("v7w", "<answer>Foliage.</answer>", "Foliage.", 1, "exact text, full stop included"),
    ("v7w", "<answer>Foliage</answer>", "Foliage.", 0, "the final full stop is missing"),
    ("v7w", "<answer>Bus</answer>", "Bus.", 0, "letter B first, then the text without its full stop"),
    ("v7w", "<answer>Bus.</answer>", "Bus.", 1, "letter B first, then the text"),
    ("visual7w", "foliage.", "Foliage.", 1, "the other name of the set; without tags"),
    ("textvqa", "<answer>bud light</answer>", "Bud Light", 1, "case is folded"),
    ("textvqa", "<answer>bud light.</answer>", "bud light", 0.5, "punctuation is not"),
    ("docvqa", "<answer>a b c d</answer>", "a", 0.25, "the smaller error rate: 3 edits of 4 words"),
    ("sroie", "<answer>x</answer>", "y", 0, "nothing in common"),
    ("flickr30k", "<answer>A man walking</answer>", "a man walks", 1, "words are stemmed"),
    ("flickr30k", "<answer>dog</answer>", "dog", 2 / 3, "one word has no pairs: ROUGE-2 is 0"),
    ("vsr", "<answer>no</answer>", "No", 1, "case is folded"),
    ("vsr", "<answer>not here</answer>", "No", 0.6, "the solution inside a word"),
    ("cub", "<answer>I know</answer>", "No", 0.6, "the solution inside a word"),
    ("cub", "<answer>No.</answer>", "No", 0.6, "not equal: the full stop"),
    ("cub", "<answer>Yes</answer>", "No", 0, "wrong"),
    ("vsr", "<answer>dog</answer><answer>cat</answer>", "dog", 1, "the first answer counts"),
    ("emotic", "<answer>Peace</answer>", "Peace", 0, "no rule: always 0"),
]


@pytest.mark.parametrize(("name", "prediction", "solution", "score", "reason"), VISCOT)
def test_viscot_by_ground_r1_s_rules(name, prediction, solution, score, reason):
    for wrapped in (solution, f"<answer>{solution}</answer>"):
        item = question("viscot", wrapped, groups={"set": name})
        assert judge("gr", "viscot", item, prediction).score == pytest.approx(score), reason


def test_emotic_counts_as_invalid_because_nothing_is_read():
    verdict = judge("gr", "viscot", question("viscot", "Peace", groups={"set": "emotic"}), "Peace")
    assert (verdict.valid, verdict.status) == (False, "no rule for emotic")


# Examples of Porter's paper, step by step, and NLTK's changes (its short forms, its list of irregular words).
PORTER = (
    "caresses caress ponies poni cats cat feed feed agreed agre plastered plaster motoring motor sing sing conflated "
    "conflat troubled troubl sized size hopping hop falling fall hissing hiss fizzed fizz failing fail filing file "
    "happy happi sky sky relational relat conditional condit valenci valenc digitizer digit conformabli conform "
    "radicalli radic differentli differ vileli vile analogousli analog vietnamization vietnam predication predic "
    "operator oper feudalism feudal decisiveness decis hopefulness hope callousness callous formaliti formal "
    "sensitiviti sensit sensibiliti sensibl triplicate triplic formative form formalize formal electriciti electr "
    "electrical electr hopeful hope goodness good revival reviv allowance allow inference infer airliner airlin "
    "gyroscopic gyroscop adjustable adjust defensible defens irritant irrit replacement replac adjustment adjust "
    "dependent depend adoption adopt homologou homolog communism commun activate activ angulariti angular "
    "homologous homolog effective effect bowdlerize bowdler probate probat rate rate cease ceas controll control "
    "roll roll dies die died die dying die skies sky enjoy enjoy geologi geolog by by"
).split()


@pytest.mark.parametrize(("word", "stem"), list(zip(PORTER[::2], PORTER[1::2], strict=True)))
def test_stems(word, stem):
    assert measures.stem(word) == stem


def test_rouge_by_hand():
    # 3 and 4 words, 2 in common and in order, no pair in common: F 4/7, 0, 4/7.
    assert measures.rouge_stemmed("dogs quickly ran", "a dog never ran") == pytest.approx((4 / 7 + 4 / 7) / 3)
    assert measures.rouge_stemmed("", "a dog") == 0.0


# --- totals

TRUTH = [True, True, True, False, False, False]
READINGS = ["yes", "no", None, "no", "yes", None]


@pytest.mark.parametrize(
    ("parser", "recall", "f1", "yes_ratio", "reason"),
    [
        ("vlmeval", 1 / 3, 2 / 5, 2 / 6, "not understood is a no, except that it is wrong"),
        ("groundr1", 1 / 3, 2 / 5, 2 / 6, "our choice is the same"),
        ("lmms", 1 / 2, 2 / 4, 3 / 6, "not understood leaves the recall; yes-ratio of the solutions"),
    ],
)
def test_pope_totals(parser, recall, f1, yes_ratio, reason):
    counts = pope_counts(parser, TRUTH, READINGS)
    scores = pope_scores({name: values.sum() for name, values in counts.items()})
    expected = {
        "accuracy": 100 * 2 / 6,
        "precision": 100 * 1 / 2,
        "recall": 100 * recall,
        "f1": 100 * f1,
        "yes_ratio": 100 * yes_ratio,
    }
    assert scores == pytest.approx(expected), reason


def test_pope_scores_take_resamples_and_empty_selections():
    counts = pope_counts("vlmeval", TRUTH, READINGS)
    sums = {name: np.array([values.sum(), 0.0]) for name, values in counts.items()}
    scores = pope_scores(sums)
    assert scores["f1"] == pytest.approx([40.0, 0.0])
    assert scores["accuracy"] == pytest.approx([100 / 3, 0.0])


def test_headlines_name_what_each_kit_quotes():
    assert HEADLINES["vlmeval"]["pope"] == ("f1",)
    assert HEADLINES["gr"]["refcoco"] == ("any_expression",)
    assert HEADLINES["gr"]["mme"] == ("total",)
    assert set(HEADLINES) == set(COMPATIBLE)


@pytest.mark.parametrize(
    ("text", "letters", "expected"),
    [("USA.", "ABCD", "A"), ("A.!", "ABCD", "A"), ("", "ABCD", None), ("I choose Door", "ABCD", "D")],
)
def test_lmms_eval_s_shared_extractor_at_the_edges(text, letters, expected):
    assert lmms.read_choice(text, letters) == expected


def test_ground_r1_s_first_answer_at_the_edges():
    assert gr.first_answer("<answer>\n A \n</answer>") == "A"
    assert gr.first_answer("</answer> B") == "</answer> B"


def test_vlmevalkit_reads_no_letter_that_is_no_option():
    assert vlmeval.infer_choice("The answer is D", {"A": "left", "B": "right"}) is None


@pytest.mark.parametrize(
    "module", ["compat", "compat.lmms", "compat.vlmeval", "compat.gr", "compat.measures", "disagreement"]
)
def test_documented_examples_hold(module):
    result = doctest.testmod(importlib.import_module(f"groundr1.evaluation.{module}"))
    assert result.attempted and not result.failed
