"""Every prompt of the kit, once, by name.

A prompt set holds the user texts of one conversation: the first asks to ground or to answer, the others stand under
a crop. The content is that of the paper's prompt (Ground-R1, arXiv 2505.20272, and its v2 code), in our words;
``short`` says the same in a few tokens, for the tiny model, which is trained on it and reads no instructions.
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
