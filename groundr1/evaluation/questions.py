"""How a benchmark's question is put to the model: as it is packaged, with one line more where it leaves the form of
the answer open.

Not in the paper, whose code asks some benchmarks with such a line and others without: our choice, because a model that
is not told to give a letter is then marked for its wording.
"""

import re

from groundr1.data.items import Item
from groundr1.data.items.forms import split_options
from groundr1.prompts import QUESTIONS

__all__ = ["word_question"]

_YES_OR_NO = re.compile(r"\byes\b.*\bno\b", re.IGNORECASE | re.DOTALL)


def word_question(item: Item) -> str:
    """The text that is asked, out of `groundr1.prompts.QUESTIONS` or as it is.

    A multiple choice gets a line that asks for the letter unless an instruction follows its options, a yes-no question
    one that asks for yes or no unless it has both words, an expression of RefCOCO becomes a question for its box. Open
    questions stay as they are.

    >>> word_question(Item("1", "Is it red?", ("yes",), "yes_no", "1"))
    'Is it red?\\nAnswer yes or no.'
    >>> word_question(Item("1", "Is it red? Please answer yes or no.", ("yes",), "yes_no", "1"))
    'Is it red? Please answer yes or no.'
    """
    asks_for_form = {
        "choice": not item.options or bool(split_options(item.question).instruction),
        "yes_no": bool(_YES_OR_NO.search(item.question)),
        "box": False,
    }
    if asks_for_form.get(item.kind, True):
        return item.question
    return QUESTIONS[item.kind].format(question=item.question)
