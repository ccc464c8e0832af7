"""A judge model for MM-Vet and Visual-CoT, behind any OpenAI-compatible chat-completions endpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Judge", "JudgeQuestion", "Judgement"]


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
        score: in [0, 1]; None where it is unjudged: the reply, if there is one, holds no score.
        reason: the judge's reply, or why there is no score.
    """

    score: float | None
    reason: str


class Judge:
    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        cache: str | Path,
        prompts: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        retries: int = 5,
        timeout: float = 60.0,
        parallel: int = 8,
        ask_again: bool = False,
        skip_unanswered: bool = False,
        progress: bool = True,
    ):
        raise NotImplementedError

    def ask(self, questions: Sequence[JudgeQuestion]) -> list[Judgement]:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        raise NotImplementedError
