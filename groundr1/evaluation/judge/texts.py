"""What a judge model is told, and how a score is read out of what it writes.

>>> read_score("mmvet", Reply("0.5 because one of the two is missing")).score
0.5
>>> read_score("viscot", Reply("Score: 1.5"))
Judgement(score=None, reason='no number from 0 to 1', reply='Score: 1.5')
"""

import re
from pathlib import Path
from typing import NamedTuple

from groundr1.prompts import JUDGE_PROMPTS, JudgePrompt

__all__ = ["JUDGED", "Judgement", "JudgeQuestion", "Reply", "messages", "read_prompt", "read_score"]

JUDGED = tuple(JUDGE_PROMPTS)  # the benchmarks that are scored by a judge
REFUSALS = (
    "content_filter",
    "context_length_exceeded",
)  # what endpoints call a question that they will not answer


class JudgeQuestion(NamedTuple):
    """One answer to be judged.

    Attributes:
        benchmark: "mmvet" or "viscot".
        question: as the benchmark asks it, without instructions of ours.
        solution: reference answer in the benchmark's form; MM-Vet's keeps its `<AND>` and `<OR>`.
        answer: the answer alone, as `extract_answer` finds it: no tags, no thoughts. An empty one scores 0 unasked.
    """

    benchmark: str
    question: str
    solution: str
    answer: str


class Judgement(NamedTuple):
    """What the judge made of one answer.

    Attributes:
        score: in [0, 1]; None where it is unjudged.
        reason: why it is unjudged, in a few words that can be counted, or not asked; else "".
        reply: what the judge wrote, as it is; "" where it wrote nothing.
    """

    score: float | None
    reason: str = ""
    reply: str = ""


class Reply(NamedTuple):
    """What an endpoint answered.

    Attributes:
        text: what the model wrote, as it is; "" where the endpoint refused the question.
        finish: why it stopped: "stop", "length" (cut off), one of `REFUSALS`, or whatever the endpoint says.
        model: as the endpoint names it, often with its date ("gpt-4o-2024-11-20").
        date: of the answer, UTC: "2026-08-20".
    """

    text: str
    finish: str = "stop"
    model: str = ""
    date: str = ""


def read_prompt(prompt: JudgePrompt | str | Path) -> JudgePrompt:
    """A judge's prompt from a text, or from a file.

    A file with a system message starts with a line `[system]` and has a line `[user]` before the other; without, the
    whole file is the user's message. The last line break is not part of it.

    Args:
        prompt: a `Path`, or a `str` with the field `{answer}`, which is the text itself; another `str` is a path.

    Raises:
        ValueError: one of the fields {question}, {solution}, {answer} is missing.
        FileNotFoundError: no such file.
    """
    if isinstance(prompt, JudgePrompt):
        name, found = "the prompt", prompt
    else:
        is_text = isinstance(prompt, str) and "{answer}" in prompt
        name = "the prompt" if is_text else str(prompt)
        text = str(prompt) if is_text else Path(prompt).read_text(encoding="utf-8")
        parts = re.fullmatch(r"\[system\]\n(.*?)\n\[user\]\n(.*)", text.removesuffix("\n"), re.DOTALL)
        found = JudgePrompt(parts[2], parts[1]) if parts else JudgePrompt(text.removesuffix("\n"))
    missing = [each for each in ("{question}", "{solution}", "{answer}") if each not in found.user]
    if missing:
        raise ValueError(
            f"A judge's prompt has the fields {{question}}, {{solution}} and {{answer}}; {name} lacks"
            f" {', '.join(missing)}: write them where the texts belong."
        )
    return found


def messages(prompt: JudgePrompt, question: JudgeQuestion) -> list[dict[str, str]]:
    """The chat messages that ask for a judgement; fields are filled in one pass, so no text can add a field."""
    user = re.sub(r"\{(question|solution|answer)\}", lambda field: getattr(question, field[1]), prompt.user)
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return [*system, {"role": "user", "content": user}]


# A number and all that sticks to it is one token: "0.5", "50%", "1/2", "-1", "0,5", "v2". A judge may write anything,
# so nothing here backtracks.
_TOKEN = r"[-+−–.,/%\w]++"
_LABELLED = re.compile(rf"\bscore\b[*_`\"']*+\s*+:[*_`\"'$\[(\s]*+({_TOKEN})", re.IGNORECASE)
_OPENING = re.compile(rf"[\s*_`\"'$|\[({{]*+({_TOKEN})(?!\s*+(?:out\s++)?of\s++(?!1(?:\.0+)?\b)[0-9])")
_NUMBERING = re.compile(r"\s*+[0-9]+\.\s++\S")


def read_score(benchmark: str, reply: Reply) -> Judgement:
    """Read the score in [0, 1] out of a judge's reply.

    VisCoT: the number in "score: x", any case, where the reply has that once. MM-Vet: the same; where the reply never
    says "score", the number that it begins with ("0.9 because ..."), or else the only number in it. "x/1" is x. Not
    counted: thoughts up to `</think>`, and the last word of a reply that was cut off.

    Unjudged is everything else, nothing is guessed or clipped: a number outside [0, 1], a percentage, a fraction, a
    decimal comma, a list's "1.", two scores, a refusal, nothing at all. Here the other kits guess: lmms-eval scores 0
    after some tries and asks for ever where the number is outside [0, 1]; VLMEvalKit wants the whole reply to be one
    number, and scores 0 after five tries; Visual-CoT's and Ground-R1's script scores 0, and clips.
    """
    if reply.finish in REFUSALS:
        return Judgement(None, f"refused by the endpoint ({reply.finish})", reply.text)
    text = reply.text.rpartition("</think>")[2]
    if reply.finish == "length":
        text = " ".join(re.split(r"\s", text)[:-1])
    text = "" if "<think>" in text else "/".join(part.strip() for part in text.split("/"))
    found = _with_digits(_LABELLED.findall(text))
    if not found and benchmark == "mmvet":
        found = _unlabelled(text)
    if len(found) != 1:
        return Judgement(None, _why_none(found, reply), reply.text)
    number = re.fullmatch(r"((?:[0-9]*+\.)?+[0-9]++)(?:/1(?:\.0+)?)?", found[0].rstrip(".,"), re.ASCII)
    if number is None or float(number[1]) > 1.0:
        return Judgement(None, "no number from 0 to 1", reply.text)
    return Judgement(float(number[1]), "", reply.text)


def _why_none(found: list[str], reply: Reply) -> str:
    if found:
        return "more than one number in the reply"
    if not reply.text.strip():
        return "empty reply"
    return "cut off before a score: allow more max_tokens" if reply.finish == "length" else "no score"


def _unlabelled(text: str) -> list[str]:
    """The number that a reply begins with, or else all its numbers."""
    numbers = _with_digits(re.findall(_TOKEN, text))
    opening = _OPENING.match(text)
    if opening and _with_digits([opening[1]]) and not (len(numbers) > 1 and _NUMBERING.match(text)):
        return [opening[1]]
    return numbers


def _with_digits(tokens: list[str]) -> list[str]:
    return [token for token in tokens if re.search("[0-9]", token)]
