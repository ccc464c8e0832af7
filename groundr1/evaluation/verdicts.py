"""Our rules: what one prediction says and how right it is, whichever benchmark it answers.

- yes or no (MME, POPE) and letters (SEED, MME-RealWorld-Lite, RealWorldQA's choices, V*, HR-Bench, and Visual-CoT's gqa
  and openimages): read by `groundr1.evaluation.answers`, right or wrong.
- Visual-CoT's other sets: `groundr1.rewards.answer_reward` by their kind, the rule that Ground-R1 trains with.
- RealWorldQA's open questions: equal but for case, outer punctuation and number words; yes and no as above. lmms-eval
  asks for equal texts: our choice, because "two" and "2", "Yes." and "Yes, it is" are the same answer.
- MM-Vet: an offline stand-in, see `facts_score`; MM-Vet's own score needs a judge.
- RefCOCO: a hit if the box overlaps the object's with an IoU of at least 0.5, in floats.
"""

import re
from types import EllipsisType

from groundr1.boxes import Box, iou
from groundr1.data.items import Item
from groundr1.evaluation.answers import Verdict, extract_answer, read_letter, read_yes_no
from groundr1.parsing import parse_box
from groundr1.rewards import answer_reward, normalise

__all__ = ["HIT_IOU", "facts_score", "read_box", "verdict"]

HIT_IOU = 0.5  # from here on a box has found its object; Visual-CoT's scripts alone want more than that
LONGEST_FACT = 10  # words; MM-Vet's short solutions have up to 6, its essays from 17

_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)}
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(_NUMBER_WORDS)})\b")


def verdict(benchmark: str, item: Item, prediction: str, box: Box | EllipsisType | None = ...) -> Verdict:
    """Judge one raw prediction by our rules.

    Args:
        benchmark: a contract name, such as "pope".
        item: the question.
        prediction: the raw text.
        box: predicted box in the image frame, None for none. Left out: `read_box(prediction)`, which then must be in
            the image frame. Only RefCOCO looks at it. Its status is "given" where the text has no box.
    """
    if item.kind == "box":
        return _located(item, prediction, box)
    text, status = extract_answer(prediction)
    if not text:
        return Verdict(0.0, False, None, status)
    if item.kind == "yes_no":
        return _compared(read_yes_no(text), item.solution[0], status)
    if item.kind == "choice" and (item.options or benchmark != "viscot"):
        return _compared(read_letter(text, item.options), item.solution[0], status)
    if benchmark == "realworldqa":
        return _open(text, item.solution[0], status)
    if benchmark == "mmvet":
        return Verdict(facts_score(text, item.solution[0]), True, text, status)
    return Verdict(answer_reward(text, item.solution, item.kind), True, text, status)


def read_box(prediction: str) -> Box | None:
    """The box that a prediction ends on, in the frame its text speaks of; None without one.

    The last `<box>` block; without any the first bracketed quadruple of the answer, a JSON's "bbox_2d" included, and
    without one there the first of the whole text.

    >>> read_box('<think>not [1, 1, 2, 2]</think> {"bbox_2d": [10, 20, 30, 40.5], "label": "dog"}')
    Box(x1=10.0, y1=20.0, x2=30.0, y2=40.5)
    """
    if "</box>" in prediction:
        return parse_box(prediction)
    return parse_box(extract_answer(prediction).text) or parse_box(prediction)


def facts_score(answer: str, solution: str) -> float:
    """MM-Vet's offline stand-in, in [0, 1]; it is not MM-Vet's score, which a judge model gives.

    A solution names facts joined by `<AND>`, and alternatives joined by `<OR>`: the score is the greatest share of an
    alternative's facts that the answer has as whole words, number words read as digits; a fact "yes" or "no" is what
    the answer says. An essay (more than 10 words, no alternatives) is compared by ROUGE. Not in the paper: our choice.

    >>> facts_score("x is -1 or five", "-1<AND>-5"), facts_score("It costs 14,8 euros", "14.8<OR>14,8")
    (0.5, 1.0)
    """
    if len(solution.split()) > LONGEST_FACT and "<AND>" not in solution and "<OR>" not in solution:
        return answer_reward(answer, solution, "rouge")
    shares = []
    for alternative in solution.split("<OR>"):
        facts = alternative.split("<AND>")
        shares.append(sum(_holds(answer, fact) for fact in facts) / len(facts))
    return max(shares)


# Around a fact: no letter (Latin, because Chinese sets no spaces), no sign or digits that make another number of it.
_BEFORE, _AFTER = r"(?<![0-9a-zà-ɏ_])(?<![0-9][.,])", r"(?![0-9a-zà-ɏ_])(?![.,][0-9])"


def _holds(answer: str, fact: str) -> bool:
    wanted = _with_digits(fact)
    if wanted in ("yes", "no"):
        return read_yes_no(answer) == wanted
    sign = "(?<![-−])" if wanted[:1].isdigit() else ""
    return (
        bool(wanted)
        and re.search(_BEFORE + sign + re.escape(wanted) + _AFTER, _with_digits(answer)) is not None
    )


def _with_digits(text: str) -> str:
    """Normalised text with the words zero to twenty as digits."""
    return _NUMBER_WORD.sub(lambda match: _NUMBERS[match[0]], normalise(text))


def _compared(read: str | None, solution: str, status: str) -> Verdict:
    if read is None:
        return Verdict(0.0, False, None, status)
    return Verdict(float(read == solution), True, read, status)


def _open(text: str, solution: str, status: str) -> Verdict:
    wanted = _with_digits(solution)
    if wanted in ("yes", "no"):
        return _compared(read_yes_no(text), wanted, status)
    return Verdict(float(_with_digits(text) == wanted), True, text, status)


def _located(item: Item, prediction: str, box: Box | EllipsisType | None) -> Verdict:
    written = read_box(prediction)
    box_image = written if box is ... else box
    if box_image is None:
        return Verdict(0.0, False, None, "no box" if prediction.strip() else "empty")
    if written is None:
        status = "given"
    else:
        status = "box tag" if "</box>" in prediction else extract_answer(prediction).status
    return Verdict(float(iou(box_image, item.box) >= HIT_IOU), True, str(list(box_image)), status)
