"""A judge model for MM-Vet and Visual-CoT, behind any OpenAI-compatible chat-completions endpoint.

    judge = Judge("https://api.openai.com/v1", "gpt-4o-2024-11-20", cache="runs/judge.sqlite")
    score("mmvet", rows, predictions, judge=judge)

The key is `key=` or the environment variable OPENAI_API_KEY, the only one that is read; it is stored nowhere, so do not
make it a parameter of a notebook, which records its parameters.

Published numbers came from the official prompts and from other models: MM-Vet's from gpt-4-0613 (its authors),
gpt-4-turbo (VLMEvalKit) or gpt-4o-2024-11-20 (lmms-eval), Visual-CoT's from gpt-3.5-turbo-1106, Ground-R1's on it from
gpt-4o-mini. Our prompts (`groundr1.prompts.JUDGE_PROMPTS`) ask for the same in other words: to compare with such a
number give its prompt in `prompts=`, and its model. Not in the paper: all the rest, our choice, because a judge
should be paid once and never be guessed at.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
from tqdm.auto import tqdm

from groundr1.evaluation.judge.asking import Asking
from groundr1.evaluation.judge.cache import AnswerCache, JudgeCacheError, request_key
from groundr1.evaluation.judge.endpoint import Endpoint, JudgeRefusedError
from groundr1.evaluation.judge.texts import (
    JUDGED,
    Judgement,
    JudgeQuestion,
    Reply,
    messages,
    read_prompt,
    read_score,
)
from groundr1.prompts import JUDGE_PROMPTS, JudgePrompt

__all__ = [
    "JUDGED",
    "Judge",
    "JudgeCacheError",
    "JudgeQuestion",
    "JudgeRefusedError",
    "JudgeUnavailableError",
    "Judgement",
]

logger = logging.getLogger(__name__)

PARAMETERS = {"temperature": 0, "max_tokens": 128}


class JudgeUnavailableError(RuntimeError):
    """Questions were not answered, all tries used up; the answers that came are in the cache."""


class Judge:
    """A model that says how right an answer is.

    Answers are kept in `cache` under the model, the messages and the parameters (not the url: local servers move), so
    a rerun asks nothing; give local models names that tell them apart. A reply without a score is asked for again, up
    to three times in all, then kept too: its answer is unjudged in every rerun, until `ask_again`.

    Tried again, after 1, 2, 4, ... up to 60 seconds (less up to a half at random), or what Retry-After says, up to 120:
    no connection, no whole answer within `timeout`, HTTP 408, 409, 425, 429 and 5xx, and what is no chat completion.
    Anything else that is no success stops at once. A question whose tries are used up is left unanswered while the
    others go on; three in a row, with none answered in between, stop everything.

    Args:
        url: of the endpoint, up to "/v1".
        model: its name there.
        key: bearer token; None: the environment variable OPENAI_API_KEY, or none; "": none.
        cache: file of the answers (SQLite), or the folder for one; made if need be.
        prompts: by benchmark, in place of ours: the text, or the path, of a template with the fields {question},
            {solution} and {answer}; see `texts.read_prompt`.
        parameters: of the request, beside or in place of temperature 0 and max_tokens 128; None leaves one out.
        retries: further tries of a question.
        timeout: seconds for one answer.
        parallel: questions asked at a time.
        ask_again: ask anew for the answers in the cache that hold no score.
        skip_unanswered: make what was not answered unjudged, in place of raising JudgeUnavailableError.
        progress: show a bar.
        sleep: called with seconds in place of waiting between tries, for tests.

    Raises:
        ValueError: an argument cannot be right.
        FileNotFoundError: a prompt's file is not there.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        cache: str | Path,
        prompts: Mapping[str, JudgePrompt | str | Path] | None = None,
        parameters: Mapping[str, Any] | None = None,
        retries: int = 5,
        timeout: float = 60.0,
        parallel: int = 8,
        ask_again: bool = False,
        skip_unanswered: bool = False,
        progress: bool = True,
        sleep: Callable[[float], object] | None = None,
    ):
        if not model or retries < 0 or timeout <= 0 or parallel < 1:
            raise ValueError(
                f"A judge has a model, retries >= 0, timeout > 0 and parallel >= 1; given were model={model!r},"
                f" retries={retries}, timeout={timeout}, parallel={parallel}."
            )
        _require_judged(prompts or {})
        self._endpoint = Endpoint(url, os.environ.get("OPENAI_API_KEY", "") if key is None else key, timeout)
        self.model = model
        self.cache = Path(cache) / "judge.sqlite" if Path(cache).is_dir() else Path(cache)
        self.prompts = JUDGE_PROMPTS | {name: read_prompt(each) for name, each in (prompts or {}).items()}
        given = PARAMETERS | dict(parameters or {})
        self.parameters = {name: value for name, value in given.items() if value is not None}
        self._retries, self._parallel, self._sleep = retries, parallel, sleep
        self._ask_again, self._skip_unanswered, self._progress = ask_again, skip_unanswered, progress
        self._dates: set[str] = set()
        self._served: set[str] = set()

    def __repr__(self) -> str:
        return f"Judge({self._endpoint.address!r}, {self.model!r}, cache={str(self.cache)!r})"

    def describe(self) -> dict[str, Any]:
        """Who judged, for a report.

        Returns:
            url (nothing secret in it), model, served (the models' names in the answers), prompts (by benchmark:
            whether it is ours, and its hash), parameters, first_answer and last_answer: the days (UTC) of the
            answers that `ask` has used so far, from the cache or not; None before.
        """
        prompts = {
            name: {
                "ours": each == JUDGE_PROMPTS[name],
                "sha256": sha256(repr(each).encode()).hexdigest()[:16],
            }
            for name, each in self.prompts.items()
        }
        return {
            "url": self._endpoint.address,
            "model": self.model,
            "served": sorted(self._served),
            "prompts": prompts,
            "parameters": dict(self.parameters),
            "first_answer": min(self._dates, default=None),
            "last_answer": max(self._dates, default=None),
        }

    def ask(self, questions: Sequence[JudgeQuestion]) -> list[Judgement]:
        """Judge answers; equal ones are asked once, those in the cache not at all.

        Returns:
            One judgement a question, in order.

        Raises:
            ValueError: a benchmark that has no judge.
            JudgeRefusedError: the endpoint refuses all questions, and what to repair.
            JudgeUnavailableError: it does not answer; the same command asks for what is missing, and for no more.
            JudgeCacheError: the cache is damaged, or cannot be written.
        """
        _require_judged(question.benchmark for question in questions)
        keys = [request_key(self._body(each)) if each.answer.strip() else None for each in questions]
        wanted = {key: each for key, each in zip(keys, questions, strict=True) if key is not None}
        with AnswerCache(self.cache) as cache:
            replies = cache.get(wanted)
            if self._ask_again:
                judged = {key for key in replies if _judgement(wanted[key], replies[key]).score is not None}
                replies = {key: replies[key] for key in judged}
            missing = {key: each for key, each in wanted.items() if key not in replies}
            if missing:
                replies |= self._ask_missing(missing, cache, len(wanted))
        self._dates |= {reply.date for reply in replies.values()}
        self._served |= {reply.model for reply in replies.values()}
        judgements = {key: _judgement(wanted[key], reply) for key, reply in replies.items()}
        judgements[None] = Judgement(0.0, "no answer")
        return [judgements.get(key, Judgement(None, "the judge did not answer")) for key in keys]

    def _body(self, question: JudgeQuestion) -> dict[str, Any]:
        texts = messages(self.prompts[question.benchmark], question)
        return {"model": self.model, "messages": texts, **self.parameters}

    def _ask_missing(
        self, missing: Mapping[str, JudgeQuestion], cache: AnswerCache, total: int
    ) -> dict[str, Reply]:
        """Ask, and keep each answer as it comes; returns the answers by key."""
        asking = Asking(self._retries, self._sleep)
        replies: dict[str, Reply] = {}
        bar = tqdm(
            desc=f"judging with {self.model}",
            total=total,
            initial=total - len(missing),
            unit="answer",
            disable=not self._progress,
        )
        with bar, self._endpoint.open() as client, ThreadPoolExecutor(self._parallel) as pool:
            answer = partial(self._answer, client, asking, cache)
            futures: list[Future] = [pool.submit(answer, *each) for each in missing.items()]
            try:
                for future in as_completed(futures):
                    key, reply = future.result()
                    if reply is not None:
                        replies[key] = reply
                        bar.update()
            except BaseException as error:
                asking.stop.set()
                if isinstance(error, JudgeRefusedError):
                    raise JudgeRefusedError(f"{error} {self._kept(replies, missing)}") from None
                raise
        left = len(missing) - len(replies)
        logger.info("%s: %d answers, %d of them asked for, %d missing", self.model, total, len(replies), left)
        if left and not self._skip_unanswered:
            raise JudgeUnavailableError(
                f"The judge {self.model!r} at {self._endpoint.address} does not answer; last failure:"
                f" {asking.failure}. {self._kept(replies, missing)} Start the same command again once it does, or"
                " give skip_unanswered=True to count the rest as unjudged."
            )
        return replies

    def _answer(
        self, client: httpx.Client, asking: Asking, cache: AnswerCache, key: str, question: JudgeQuestion
    ) -> tuple[str, Reply | None]:
        """Ask one question, in a thread, and keep the answer."""
        try:
            reply = asking.scored(
                partial(self._endpoint.ask, client, self._body(question)), question.benchmark
            )
            if reply is not None:
                cache.put(key, question, reply)
        except BaseException:
            asking.stop.set()  # here, because the other threads would ask on until the main one hears of it
            raise
        return key, reply

    def _kept(self, replies: Mapping[str, Reply], missing: Mapping[str, JudgeQuestion]) -> str:
        return f"{len(replies)} of {len(missing)} questions were answered now and are kept in {self.cache}."


def _judgement(question: JudgeQuestion, reply: Reply) -> Judgement:
    return read_score(question.benchmark, reply)


def _require_judged(benchmarks: Iterable[str]) -> None:
    unknown = sorted(set(benchmarks) - set(JUDGED))
    if unknown:
        raise ValueError(f"Only {' and '.join(JUDGED)} are scored by a judge, not {', '.join(unknown)}.")
