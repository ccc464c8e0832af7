"""Parsing: what counts as a box, an answer and a well-formed turn, and that no text is too long for it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundr1.boxes import Box
from groundr1.parsing import Turn, parse_answer, parse_box, parse_turn

BOX = Box(1, 2, 30, 40)
LONG = 200_000  # characters; a pattern that backtracks would not come back from these


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("<box>[1,2,30,40]</box>", BOX, "the format"),
        ("<think>a sign</think>\n<box>[1, 2, 30, 40]</box>", BOX, "inside a turn"),
        ("<box> [ 1 ,\n2 ,\t30 , 40 ] </box>", BOX, "white space"),
        ("<box>[1.5, -2.25, 30., +.5]</box>", Box(1.5, -2.25, 30, 0.5), "decimals and signs"),
        ("<box>[0, 0, 1e2, 5E1]</box>", Box(0, 0, 100, 50), "exponents, as in JSON"),
        ("<box>[5,5,9,9]</box> no, <box>[1,2,30,40]</box>", BOX, "the last block"),
        ("<box>[1,2,30,40]</box> and <box>[5,5,9,9]", BOX, "the last closed block"),
        ("<box>[1,2,30,40]</box> or [5,5,9,9]", BOX, "a block beats a bare quadruple"),
        ("<box><box>[1,2,30,40]</box>", BOX, "opened twice"),
        ("<box>[1,2,30,40]</box></box>", BOX, "closed twice"),
        ("<box>the sign [[1,2,30,40]]</box>", BOX, "words around it, double brackets"),
        ("the sign is at [1,2,30,40], the door at [5,5,9,9]", BOX, "no block: the first quadruple"),
        ("[1,2,3] then [1,2,30,40]", BOX, "three numbers are no quadruple"),
        ("<box>[1,2,30,40]", BOX, "an unclosed block is no block, but the quadruple is there"),
        (
            "<box>[1,2,30,40]</box> <box>none</box>",
            None,
            "the last block holds none; earlier ones are not tried",
        ),
        ("<box>[30,40,1,2]</box>", None, "inverted"),
        ("[30,40,1,2] or [1,2,30,40]", None, "the first quadruple decides"),
        ("<box>[5,5,5,9]</box>", None, "no width"),
        ("<box>[0,0,0,0]</box>", None, "no extent"),
        ("<box>[nan,0,1,1]</box>", None, "not a number"),
        ("<box>[0,0,inf,1]</box>", None, "infinite by name"),
        ("<box>[0,0,1e999,1]</box>", None, "infinite by overflow"),
        (f"<box>[0,0,{'9' * 400},1]</box>", None, "infinite by length"),
        ("<box>[1,2,30]</box>", None, "three numbers"),
        ("<box>[1,2,30,40,50]</box>", None, "five numbers"),
        ("<box>1,2,30,40</box>", None, "no brackets"),
        ("<box>[1 2 30 40]</box>", None, "no commas"),
        ("<box>[a,b,c,d]</box>", None, "words"),
        ("<box></box>", None, "empty block"),
        ("</box>[1,2,30,40]<box>", BOX, "tags the wrong way round make no block"),
        ("a dog", None, "no box"),
        ("", None, "no text"),
    ],
)
def test_parse_box(text, expected, reason):
    assert parse_box(text) == expected, reason


def test_regression_no_box_is_none_and_not_zeros():
    """VLM-R1's parser returns [0, 0, 0, 0] for text without a box, which then is scored as one."""
    assert parse_box("I cannot see any sign.") is None


def test_regression_inverted_boxes_are_not_repaired():
    """Ground-R1 turns an inverted box into a 28 px crop elsewhere; swapped corners are no box."""
    assert parse_box("<box>[200,150,100,50]</box>") is None
    assert parse_turn("<think>t</think><box>[200,150,100,50]</box>").kind == "malformed"


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("<answer>dog</answer>", "dog", "the format"),
        ("<answer>\n a dog \n</answer>", "a dog", "stripped"),
        ("<answer>cat</answer> no, <answer>dog</answer>", "dog", "the last block"),
        ("<answer>cat</answer> no, <answer>dog", "dog", "the last block is unclosed"),
        ("<think>t</think> <answer> dog", "dog", "unclosed, cut by the token limit"),
        ("<answer>dog</answer> that is all", "dog", "what follows is not the answer"),
        ("<answer>a</answer></answer>", "a", "closed twice"),
        ("<answer></answer>", "", "a blank answer is an answer"),
        ("dog</answer>", None, "never opened"),
        ("dog", None, "no block"),
        ("", None, "no text"),
    ],
)
def test_parse_answer(text, expected, reason):
    assert parse_answer(text) == expected, reason


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("<think>t</think><box>[1,2,30,40]</box>", Turn("box", "t", box=BOX), "box turn"),
        ("<think>t</think><answer>dog</answer>", Turn("answer", "t", answer="dog"), "answer turn"),
        (" \n<think> t </think>\n\n<box> [1, 2,30,40] </box>\n", Turn("box", "t", box=BOX), "white space"),
        ("<think></think> <answer> a dog </answer>", Turn("answer", "", answer="a dog"), "a blank thought"),
        (
            "<think>x < y > z</think> <answer>1 < 2</answer>",
            Turn("answer", "x < y > z", answer="1 < 2"),
            "< >",
        ),
        (
            "<think>[5,5,9,9]?</think><box>[1,2,30,40]</box>",
            Turn("box", "[5,5,9,9]?", box=BOX),
            "numbers in thought",
        ),
        ("<box>[1,2,30,40]</box>", None, "no thought"),
        ("<answer>dog</answer>", None, "no thought"),
        ("<think>t</think>", None, "thought only"),
        ("<think>t<box>[1,2,30,40]</box>", None, "thought not closed"),
        ("<think>t</think><answer>dog", None, "answer not closed"),
        ("<think>t</think><box>[1,2,30,40]", None, "box not closed"),
        ("<think>t</think><box>[1,2,30,40]</box><answer>dog</answer>", None, "both"),
        ("<think>t</think><box>[1,2,30,40]</box><box>[1,2,30,40]</box>", None, "two boxes"),
        ("<think>t</think><answer>dog</answer><answer>dog</answer>", None, "two answers"),
        ("<think>maybe <box>[5,5,9,9]</box></think><box>[1,2,30,40]</box>", None, "a box in the thought"),
        ("<think>a</think><think>b</think><answer>dog</answer>", None, "two thoughts"),
        ("<answer>dog</answer><think>t</think>", None, "the wrong order"),
        ("so <think>t</think><answer>dog</answer>", None, "words before"),
        ("<think>t</think> so <answer>dog</answer>", None, "words between"),
        ("<think>t</think><answer>dog</answer>.", None, "words after"),
        ("<think>t</think><box>the sign [1,2,30,40]</box>", None, "words in the box"),
        ("<think>t</think><box>[1,2,30]</box>", None, "three numbers"),
        ("<think>t</think><box>[5,5,5,9]</box>", None, "a degenerate box is no box"),
        ("<think>t</think><answer> </answer>", None, "a blank answer answers nothing"),
        ("<think>t</think><box>dog</answer>", None, "tags that do not match"),
        ("<THINK>t</THINK><answer>dog</answer>", None, "tags are lower case"),
        ("", None, "no text"),
    ],
)
def test_parse_turn(text, expected, reason):
    assert parse_turn(text) == (expected or Turn("malformed")), reason


def test_turn_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Turn("malformed").kind = "box"


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "<box>",
        "<box>[",
        "[1,",
        "[1,1,1,",
        "[ ",
        "1",
        "</box>",
        "<think>",
        "<answer>",
        "[" + "1," * 50,
        " ",
    ],
)
def test_long_input_is_read_in_one_pass(piece):
    for text in (piece * (LONG // len(piece)), "<box>[1,1,1," + piece * (LONG // len(piece))):
        assert parse_box(text) is None
        assert parse_turn(text).kind == "malformed"
        assert parse_answer(text) is None or piece == "<answer>"


@given(st.text(alphabet="<>/thinkboxanswer[]0123456789.,-+eE \n", max_size=80))
def test_any_text_is_read_without_error(text):
    box = parse_box(text)
    assert box is None or (box.x1 < box.x2 and box.y1 < box.y2)
    turn = parse_turn(f"<think>t</think>{text}")
    assert turn.kind in {"box", "answer", "malformed"}
    assert turn.kind != "malformed" or turn == Turn("malformed")


@given(st.tuples(*[st.floats(-1e4, 1e4)] * 2), st.tuples(*[st.floats(0.01, 1e4)] * 2), st.text(max_size=30))
def test_a_written_box_is_read_back(corner, extent, words):
    box = Box.from_xywh(*corner, *extent)
    written = f"[{box.x1!r}, {box.y1!r}, {box.x2!r}, {box.y2!r}]"
    assert parse_box(f"{words}<box>{written}</box>{words}") == box
    assert parse_turn(f"<think></think><box>{written}</box>").box == box
