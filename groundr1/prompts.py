"""Every prompt of the kit, once, by name.

A prompt set holds the user texts of one conversation: the first asks to ground or to answer, the others stand under
a crop. The content is that of the paper's prompt (Ground-R1, arXiv 2505.20272, and its v2 code), in our words;
``short`` says the same in a few tokens, for the tiny model, which is trained on it and reads no instructions.

`QUESTIONS` says how a benchmark's question is put where its text does not say what form the answer shall have.
A `JudgePrompt` asks another model how right an answer is.
"""

from typing import NamedTuple


class PromptSet(NamedTuple):
    """The user texts of one grounded conversation.

    Attributes:
        name: Key in :data:`PROMPTS`.
        ground: Turn 1, beside the picture. Fields: ``question``, ``width``, ``height`` (of the view, in view pixels).
        after_crop: Under a crop, while a further crop may be asked for. No fields.
        last: Under the last crop allowed; the model must answer. No fields.
        direct: Ask for the answer from the view alone, without grounding (the paper's Vanilla-R1). Field: ``question``.

    Example:
        >>> PROMPTS["short"].ground.format(question="What is on the red tile?", width=112, height=112)
        '112 x 112. What is on the red tile?'
    """

    name: str
    ground: str
    after_crop: str
    last: str
    direct: str


_FORMATS = (
    "Write one of these and nothing after it:\n"
    "<think> your reasoning </think> <box>[x1,y1,x2,y2]</box>\n"
    "<think> your reasoning </think> <answer> your answer </answer>"
)

PROMPTS = {
    "short": PromptSet(
        name="short",
        ground="{width} x {height}. {question}",
        after_crop="More?",
        last="Answer.",
        direct="Answer. {question}",
    ),
    "full": PromptSet(
        name="full",
        ground=(
            "{question}\n\n"
            "Think first about whether looking closer at one region of this picture would help you to answer. If it "
            "would, give that region as a box; you will then be shown an enlarged crop of it, taken from the original "
            "picture. You may look closer several times. The picture is {width} pixels wide and {height} pixels high; "
            "every box is given in these pixels, on this picture and never on a crop, with 0 <= x1 < x2 <= {width} "
            "and 0 <= y1 < y2 <= {height}. As soon as you need no closer look, give the answer.\n" + _FORMATS
        ),
        after_crop=(
            "This is the crop of the region that you chose. Look closer at another region of the original picture if "
            "you need to, or give the answer.\n" + _FORMATS
        ),
        last=(
            "This is the crop of the region that you chose. Give the answer now.\n"
            "<think> your reasoning </think> <answer> your answer </answer>"
        ),
        direct=(
            "{question}\n\nThink first, then give the answer, in this form:\n"
            "<think> your reasoning </think> <answer> your answer </answer>"
        ),
    ),
}

# By the kind of question. Fields: ``question``, as the benchmark packages it; for "box" the expression to be found.
QUESTIONS = {
    "choice": "{question}\nAnswer with the letter of the option.",
    "yes_no": "{question}\nAnswer yes or no.",
    "box": (
        "Which region of this picture is meant by: {question}\n"
        "Look closer at it, then answer with its box [x1,y1,x2,y2] on this picture."
    ),
}


class JudgePrompt(NamedTuple):
    """What a judge model is told about one answer.

    Attributes:
        user: its message. Fields, each filled in once and as it is: ``{question}``, ``{solution}``, ``{answer}``;
            other braces are text.
        system: what goes before it, without fields; "" for nothing.
    """

    user: str
    system: str = ""


# As MM-Vet and Visual-CoT have their judges asked, in our words and with examples of ours: published numbers come from
# the official texts, which `Judge(prompts=...)` takes.
JUDGE_PROMPTS = {
    "mmvet": JudgePrompt(
        user="""\
You grade answers to questions about pictures. Compare the prediction with the ground truth and say how correct it is: \
a number from 0.0 (nothing of it is right) to 1.0 (all of it is right), in steps of 0.1.
Parts of a ground truth joined by <AND> must all be in the prediction for 1.0; some of them earn their share. Of \
alternatives joined by <OR>, any one is enough for 1.0.
Fill in the last cell of this table. Write the number and nothing else.

Question | Ground truth | Prediction | Correctness
--- | --- | --- | ---
Which numbers do the two dice show? | 2<AND>6 | They show 3 and 4. | 0.0
Which numbers do the two dice show? | 2<AND>6 | One of them shows a 6. | 0.5
Which numbers do the two dice show? | 2<AND>6 | 2 and 5 | 0.5
Which numbers do the two dice show? | 2<AND>6 | A six and a two. | 1.0
What time is it? | 14:30<OR>half past two | It is about four o'clock. | 0.0
What time is it? | 14:30<OR>half past two | The clock says half past two. | 1.0
Why is this drawing funny? | A fisherman sits on the bank and waits for a bite, while behind his back a cat eats all \
the fish that he has already caught. | A man is fishing at a river and looks patient. | 0.3
Why is this drawing funny? | A fisherman sits on the bank and waits for a bite, while behind his back a cat eats all \
the fish that he has already caught. | The cat is eating fish from a bucket, which cats like to do. | 0.6
Why is this drawing funny? | A fisherman sits on the bank and waits for a bite, while behind his back a cat eats all \
the fish that he has already caught. | He waits for the next fish and does not see that the cat behind him eats his \
whole catch. | 1.0
{question} | {solution} | {answer} | """
    ),
    "viscot": JudgePrompt(
        system="""\
You grade answers to questions about pictures. You are given a question, the reference answer and the answer of a \
student. Give the student's answer a score from 0 to 1: the closer it is to the reference answer in meaning, the \
higher; 1 for the same meaning in whatever words, 0 for a wrong one.
Reply in this form and write nothing else:
score: <number>""",
        user="Question: {question}\nReference answer: {solution}\nStudent's answer: {answer}",
    ),
}
