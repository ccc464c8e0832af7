"""The judge: what it is told, how its replies are read, and an endpoint that misbehaves in every way."""

import datetime
import doctest
import email.utils
import itertools
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_server import (
    breaks_off,
    completion,
    drips,
    fails,
    floods,
    hangs,
    hangs_up,
    says,
    sends,
    serve,
)

from groundr1.evaluation.judge import (
    Judge,
    JudgeCacheError,
    JudgeQuestion,
    JudgeRefusedError,
    JudgeUnavailableError,
    texts,
)
from groundr1.evaluation.judge.endpoint import Endpoint
from groundr1.evaluation.judge.texts import Judgement, Reply, messages, read_prompt, read_score
from groundr1.prompts import JUDGE_PROMPTS, JudgePrompt

KEY = "sk-secret-0123456789abcdef"
QUESTION = JudgeQuestion("mmvet", "What is x?", "-1<AND>-5", "x is -1")


def questions(num: int, benchmark: str = "mmvet") -> list[JudgeQuestion]:
    return [JudgeQuestion(benchmark, f"question {i}?", f"solution {i}", f"answer {i}") for i in range(num)]


class Naps(list):
    """Stands for time.sleep: remembers, and does not sleep."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No key and no proxy of whoever runs the tests."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name == "OPENAI_API_KEY"]:
        monkeypatch.delenv(name)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def make_judge(tmp_path: Path, naps):
    def make(url: str, model: str = "judge", key: str | None = None, **settings) -> Judge:
        settings = {
            "cache": tmp_path / "judge.sqlite",
            "progress": False,
            "sleep": naps,
            "timeout": 5,
        } | settings
        return Judge(url, model, key, **settings)

    return make


# Reading -------------------------------------------------------------------------------------------------------------

EITHER = [
    ("score: 0.7", 0.7, "the form asked for"),
    ("Score: 0.7", 0.7, "any case"),
    ("score:0.7", 0.7, "no space"),
    ("**Score:** 0.7", 0.7, "bold"),
    ("Score: **0.7**", 0.7, "bold number"),
    ('{"score": 0.7}', 0.7, "JSON"),
    ("Score: 1.", 1.0, "with a full stop"),
    ("The answer names 1 of the 2 parts. Score: 0.5", 0.5, "other numbers before"),
    ("Score: 0.5\nThe answer names 1 of the 2 parts.", 0.5, "other numbers after"),
    ("I score this answer high. Score: 0.9", 0.9, "a label without number is none"),
    ("score: 0.5/1", 0.5, "of one"),
    ("score: 0.5 / 1.0", 0.5, "of one, spaced"),
    ("score: 0", 0.0, "nothing right"),
    ("score: .5", 0.5, "as lmms-eval's float reads it"),
    ("<think>score: 0.2? No.</think>score: 0.6", 0.6, "thoughts do not count"),
    ("score: 1.5", None, "above 1: the official script clips it to 1, lmms-eval asks for ever"),
    ("score: -0.5", None, "below 0: the official pattern finds no number and scores 0"),
    ("score: 50%", None, "a percentage"),
    ("score: 1%", None, "a percentage within 0 to 1"),
    ("score: 1/2", None, "a fraction is not 1"),
    ("score: 7/10", None, "another scale"),
    ("score: 0,5", None, "a decimal comma is not 0"),
    ("score: 0.5-0.7", None, "a range"),
    ("score: 1e-1", None, "another notation is not 1"),
    ("score: nan", None, "not a number"),
    ("score: inf", None, "not a number either"),
    ("score: high", None, "a word"),
    ("score: 0.4\nscore: 0.6", None, "two scores"),
    ("", None, "empty"),
    (" \n", None, "blank"),
    ("I'm sorry, but I can't help with that.", None, "a refusal"),
    ("<think>score: 0.7", None, "unfinished thoughts"),
    ("score: \N{ARABIC-INDIC DIGIT ONE}", None, "digits of other scripts"),
    ("score: " + "9" * 400, None, "beyond a float"),
]  # fmt: skip

MMVET_ONLY = [
    ("0.5", 0.5, "the form asked for"),
    ("0.5\n", 0.5, "a line break, which VLMEvalKit's float allows too"),
    (" 1.0 ", 1.0, "spaces"),
    ("0", 0.0, "an integer"),
    ("0.9 because only the colour is missing", 0.9, "with a reason"),
    ("0.9. The 2 colours are right", 0.9, "a sentence, and numbers after"),
    ("0.5 |", 0.5, "the table's line goes on"),
    ("| 0.5 |", 0.5, "the table's cell"),
    ("**0.5**", 0.5, "bold"),
    ("`0.5`", 0.5, "quoted"),
    ("$0.5$", 0.5, "as maths"),
    (r"\boxed{0.5}", 0.5, "boxed"),
    ("0.5 out of 1.0, as 1 of 2 is there", 0.5, "of one"),
    ("0.5\nWhat is y? | 3 | 4 | 0.0", 0.5, "the table goes on: the first row is ours"),
    ("Correctness: 0.5", 0.5, "the only number"),
    ("The score is 0.5.", 0.5, "the only number, at the end"),
    ("A score of 0.0 would be too low, so 0.5", None, "which number?"),
    ("1. All is there.", 1.0, "the only number, with full stop"),
    ("1. x is right. 2. y is missing. So 0.5", None, "a numbered list is not 1"),
    ("1 out of 2 elements is there, hence 0.5", None, "a share's numerator is not 1"),
    ("10 of 20 elements", None, "nor its first digit"),
    ("-1 is there, -5 is not: 0.5", None, "an answer's number comes first"),
    ("The prediction has -1 but not -5: 0.5", None, "which number?"),
    ("1.5", None, "above 1"),
    ("-0.5", None, "below 0"),
    ("0.5-0.7", None, "a range"),
    ("1/2", None, "a fraction"),
    ("NaN", None, "Python's float reads it, and it is no score"),
    ("inf", None, "likewise"),
    ("half", None, "a word"),
    ("v2", None, "a name"),
]  # fmt: skip


@pytest.mark.parametrize("benchmark", ["mmvet", "viscot"])
@pytest.mark.parametrize(("text", "expected", "reason"), EITHER)
def test_scores_with_a_label(benchmark, text, expected, reason):
    assert read_score(benchmark, Reply(text)).score == expected, reason


@pytest.mark.parametrize(("text", "expected", "reason"), MMVET_ONLY)
def test_scores_without_a_label_are_mm_vets_alone(text, expected, reason):
    assert read_score("mmvet", Reply(text)).score == expected, reason
    assert read_score("viscot", Reply(text)) == Judgement(None, "no score", text)


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("0.9 because the colour", 0.9, "the score came before the cut"),
        ("0.", None, "0.5 was meant, perhaps"),
        ("0", None, "likewise"),
        ("So the score is: 0.", None, "likewise at the end"),
        ("Score: 1.0 ", 1.0, "the number was over"),
        ("I think that", None, "nothing yet"),
    ],
)
def test_replies_that_were_cut_off(text, expected, reason):
    judgement = read_score("mmvet", Reply(text, "length"))
    assert judgement.score == expected, reason
    assert expected is not None or "max_tokens" in judgement.reason


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(""), "empty reply"),
        (Reply("no idea"), "no score"),
        (Reply("score: 2"), "no number from 0 to 1"),
        (Reply("score: 0.1, score: 0.2"), "more than one number in the reply"),
        (Reply("", "content_filter"), "refused by the endpoint (content_filter)"),
        (Reply("score: 0.5", "content_filter"), "refused by the endpoint (content_filter)"),
    ],
)
def test_reasons_are_few_so_that_they_can_be_counted(reply, reason):
    assert read_score("viscot", reply) == Judgement(None, reason, reply.text)


@given(
    st.floats(0, 1),
    st.sampled_from(["{}", "{} because 1 of 2 is there", "score: {}", "**Score: {}**\n", "| {} |"]),
)
def test_every_score_is_read_back(score, form):
    text = f"{score:.6f}"
    assert read_score("mmvet", Reply(form.format(text))).score == float(text)


@given(
    st.text(st.sampled_from("scoretkink</>0159.,-%: |\n"), max_size=60), st.sampled_from(["stop", "length"])
)
def test_what_is_read_is_a_score_or_nothing(text, finish):
    for benchmark in ("mmvet", "viscot"):
        judgement = read_score(benchmark, Reply(text, finish))
        assert (judgement.score is None) == bool(judgement.reason)
        assert judgement.score is None or 0 <= judgement.score <= 1


@pytest.mark.parametrize(
    "piece", ["a", "_", "/", " ", "-", "score: a ", "score ", "score:", "0", "<think>", "1 of 2 "]
)
def test_no_reply_takes_long_to_read(piece):
    # In quadratic time this would take minutes: no clock is needed.
    assert read_score("mmvet", Reply(piece * (1_000_000 // len(piece)))).score in (None, 0.0)


def test_documented_examples_hold():
    assert doctest.testmod(texts).failed == 0


# What the judge is told ----------------------------------------------------------------------------------------------


def test_messages_hold_the_texts_as_they_are():
    (user,) = messages(JUDGE_PROMPTS["mmvet"], QUESTION)
    assert user["role"] == "user" and user["content"].endswith("\nWhat is x? | -1<AND>-5 | x is -1 | ")
    system, user = messages(JUDGE_PROMPTS["viscot"], JudgeQuestion("viscot", "Which?", "dog", "a dog"))
    assert system["role"] == "system" and "score: <number>" in system["content"]
    assert user["content"] == "Question: Which?\nReference answer: dog\nStudent's answer: a dog"


def test_texts_cannot_fill_in_other_fields():
    prompt = JudgePrompt("{question}|{solution}|{answer}|{0}|{x}|{{}}")
    (user,) = messages(prompt, JudgeQuestion("mmvet", "{answer}", "{solution}", r"\1{question}"))
    assert user["content"] == r"{answer}|{solution}|\1{question}|{0}|{x}|{{}}"


def test_our_prompts_say_what_the_official_ones_say():
    mmvet, viscot = JUDGE_PROMPTS["mmvet"].user, JUDGE_PROMPTS["viscot"]
    assert "<AND>" in mmvet and "<OR>" in mmvet
    assert {line.rpartition("| ")[2] for line in mmvet.splitlines()} >= {"0.0", "0.5", "1.0"}
    assert "0 to 1" in viscot.system and viscot.system.endswith("score: <number>")
    for prompt in JUDGE_PROMPTS.values():
        assert read_prompt(prompt) is prompt
        assert [prompt.user.count(field) for field in ("{question}", "{solution}", "{answer}")] == [1, 1, 1]


FIELDS = "{question} | {solution} | {answer} | "


@pytest.mark.parametrize(
    ("content", "expected", "reason"),
    [
        (FIELDS, JudgePrompt(FIELDS), "the space at the end is part of MM-Vet's official prompt"),
        (FIELDS + "\n", JudgePrompt(FIELDS), "an editor's last line break is not"),
        (FIELDS + "\n\n", JudgePrompt(FIELDS + "\n"), "a second one is"),
        (f"[system]\nYou grade.\nWell.\n[user]\n{FIELDS}\n", JudgePrompt(FIELDS, "You grade.\nWell."), "two messages"),
    ],
)  # fmt: skip
def test_prompts_from_texts_and_files(tmp_path: Path, content, expected, reason):
    path = tmp_path / "official.txt"
    path.write_text(content, encoding="utf-8")
    assert read_prompt(path) == read_prompt(str(path)) == read_prompt(content) == expected, reason


def test_a_prompt_without_a_field_is_refused(tmp_path: Path, make_judge):
    path = tmp_path / "official.txt"
    path.write_text("{question} | {answer}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"official\.txt lacks \{solution\}"):
        make_judge("http://localhost/v1", prompts={"mmvet": path})
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make_judge("http://localhost/v1", prompts={"mmvet": tmp_path / "nowhere.txt"})


# Asking --------------------------------------------------------------------------------------------------------------


def test_a_request(make_judge):
    with serve(says("0.5")) as server:
        judge = make_judge(server.url, "gpt-x", KEY, prompts={"mmvet": FIELDS})
        assert judge.ask([QUESTION]) == [Judgement(0.5, "", "0.5")]
    assert server.requests == [
        {
            "model": "gpt-x",
            "messages": [{"role": "user", "content": "What is x? | -1<AND>-5 | x is -1 | "}],
            "temperature": 0,
            "max_tokens": 128,
        }
    ]
    (headers,) = server.headers
    assert headers[":path"] == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"


def test_judgements_come_in_order_and_equal_questions_are_asked_once(make_judge):
    asked = questions(30) + questions(30)
    by_answer = {each.answer: i / 29 for i, each in enumerate(asked[:30])}

    def grades(handler):
        number = handler.body["messages"][-1]["content"].rpartition("Student's answer: ")[2]
        time.sleep(0.02 * (1 - by_answer[number]))  # the first come last
        handler.send(200, completion(f"score: {by_answer[number]:.4f}"))

    asked = [each._replace(benchmark="viscot") for each in asked]
    with serve(default=grades) as server:
        judgements = make_judge(server.url, parallel=5).ask(asked)
    assert [each.score for each in judgements] == [round(by_answer[each.answer], 4) for each in asked]
    assert len(server.requests) == 30
    assert 1 < server.most_at_once <= 5


def test_a_rerun_asks_nothing_even_elsewhere(make_judge):
    with serve() as server:
        first = make_judge(server.url).ask(questions(10))
        assert make_judge(server.url).ask(questions(10)) == first
        assert len(server.requests) == 10
    assert make_judge("http://127.0.0.1:9/v1").ask(questions(10)) == first  # nobody listens there


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        ({}, 1),
        ({"key": KEY}, 1),
        ({"retries": 1, "parallel": 1, "timeout": 9}, 1),
        ({"parameters": {"max_tokens": 128}}, 1),
        ({"model": "another"}, 2),
        ({"parameters": {"temperature": 1}}, 2),
        ({"parameters": {"max_tokens": None}}, 2),
        ({"prompts": {"viscot": FIELDS}}, 1),
        ({"prompts": {"mmvet": FIELDS}}, 2),
    ],
)
def test_what_makes_a_question_another_one(make_judge, changed, asked):
    with serve() as server:
        make_judge(server.url).ask([QUESTION])
        make_judge(server.url, **changed).ask([QUESTION])
        assert len(server.requests) == asked


def test_parameters_are_added_replaced_and_left_out(make_judge):
    with serve() as server:
        parameters = {"max_tokens": None, "max_completion_tokens": 2000, "temperature": 1}
        make_judge(server.url, parameters=parameters).ask([QUESTION])
    sent = server.requests[0].keys() - {"model", "messages"}
    assert {name: server.requests[0][name] for name in sent} == {
        "max_completion_tokens": 2000,
        "temperature": 1,
    }


def test_an_empty_answer_scores_0_unasked_and_nothing_asks_nothing(make_judge):
    judge = make_judge("http://127.0.0.1:9/v1")
    assert judge.ask([QUESTION._replace(answer=" \n")]) == [Judgement(0.0, "no answer")]
    assert judge.ask([]) == []


def test_half_a_surrogate_pair_is_sent_and_kept(make_judge):
    # Decoded byte by byte, a model's answer can hold one; UTF-8 cannot, and httpx's own JSON raises UnicodeEncodeError.
    with serve(says("0.5 \ud83d")) as server:
        for _ in range(2):
            (judgement,) = make_judge(server.url).ask([QUESTION._replace(answer="a \ud83d b")])
            assert judgement == Judgement(0.5, "", "0.5 \ud83d")
        assert server.answers[0].endswith("| a \ud83d b | ") and len(server.requests) == 1


def test_only_two_benchmarks_have_a_judge(make_judge):
    with pytest.raises(ValueError, match="Only mmvet and viscot are scored by a judge, not pope"):
        make_judge("http://localhost/v1").ask([QUESTION._replace(benchmark="pope")])
    with pytest.raises(ValueError, match="not mme"):
        make_judge("http://localhost/v1", prompts={"mme": FIELDS})


@pytest.mark.parametrize("path", ["", "/", "/chat/completions", "/chat/completions/"])
def test_forms_of_the_url(make_judge, path):
    with serve() as server:
        judge = make_judge(server.url + path)
        assert judge.ask([QUESTION])[0].score == 0.5
        assert server.headers[0][":path"] == "/v1/chat/completions"
        assert judge.describe()["url"] == server.url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000/v1", "http://localhost:8000/v1"),
        ("", "give one such as"),
        ("ftp://host/v1", "'ftp://host/v1'"),
        ("http://", "give one such as"),
        ("http://host:port/v1", "give one such as"),
        (f"https://me:{KEY}@host/v1", "user name or a password"),
    ],
)
def test_urls_that_are_none(make_judge, url, message):
    with pytest.raises(ValueError) as caught:
        make_judge(url)
    assert message in str(caught.value) and KEY not in str(caught.value)


@pytest.mark.parametrize("settings", [{"model": ""}, {"retries": -1}, {"timeout": 0}, {"parallel": 0}])
def test_settings_that_cannot_be(make_judge, settings):
    with pytest.raises(ValueError, match="retries >= 0, timeout > 0 and parallel >= 1"):
        make_judge("http://localhost/v1", **settings)


# An endpoint that misbehaves -----------------------------------------------------------------------------------------

PASSING = {
    "429 with Retry-After": fails(429, "rate_limit_exceeded", Retry_After="7"),
    "408": fails(408),
    "409": fails(409),
    "500": fails(500),
    "503 with a page": sends(503, b"<html>Service unavailable</html>"),
    "529": sends(529, b""),
    "nothing at all": hangs,
    "a byte at a time": drips,
    "a body without end": floods,
    "a reset in the body": breaks_off,
    "a reset before it": hangs_up,
    "no JSON": sends(200, b"<html>Sign in</html>"),
    "half of a JSON": sends(200, json.dumps(completion("0.5")).encode()[:40]),
    "no UTF-8": sends(200, b'{"choices": "\xff\xfe"}'),
    "too deep a JSON": sends(200, b"[" * 100_000),
    "no object": sends(200, [1, 2]),
    "null": sends(200, None),
    "no choices": sends(200, {"model": "judge"}),
    "empty choices": sends(200, {"choices": []}),
    "choices of another kind": sends(200, {"choices": {"0": 1}}),
    "no message": sends(200, {"choices": [{"text": "0.5"}]}),
    "a message of another kind": sends(200, {"choices": [{"message": "0.5"}]}),
    "a content of another kind": says({"text": "0.5"}),
    "a number for content": says(0.5),
    "an error within a 200": sends(200, {"error": {"message": "upstream is down", "code": 502}}),
    "bad compression": sends(200, b"not gzip", Content_Encoding="gzip"),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_tried_again(make_judge, naps, name):
    with serve(PASSING[name], PASSING[name], says("0.5")) as server:
        judge = make_judge(server.url, timeout=0.25, retries=2)
        assert judge.ask([QUESTION]) == [Judgement(0.5, "", "0.5")]
        assert len(server.requests) == 3 and len(naps) == 2


@pytest.mark.parametrize("name", PASSING)
def test_what_does_not_pass_is_an_unavailable_judge(make_judge, naps, name):
    with serve(default=PASSING[name]) as server:
        with pytest.raises(JudgeUnavailableError) as caught:
            make_judge(server.url, timeout=0.15, retries=1).ask([QUESTION])
        assert len(server.requests) == 2 and len(naps) == 1
    assert "'judge' at http://127.0.0.1" in str(caught.value) and "0 of 1 questions" in str(caught.value)
    assert "failure: ." not in str(caught.value)


def test_a_body_without_end_is_cut(make_judge):
    with serve(default=floods) as server:
        with pytest.raises(JudgeUnavailableError, match="an answer of more than 2000000 bytes"):
            make_judge(server.url, timeout=60, retries=0).ask([QUESTION])


def test_nobody_listens(make_judge, naps):
    with serve() as server:
        url = server.url
    with pytest.raises(JudgeUnavailableError, match="ConnectError"):
        make_judge(url, retries=2).ask([QUESTION])
    assert len(naps) == 2


@pytest.mark.parametrize(
    ("failure", "low", "high", "reason"),
    [
        (fails(429, Retry_After="7"), 7, 8, "seconds"),
        (fails(503, Retry_After="7.5"), 7.5, 8.5, "parts of seconds, and not only for 429"),
        (fails(429, Retry_After="100000"), 120, 121, "capped"),
        (fails(429, Retry_After="0"), 0.5, 1, "our own pause is the least"),
        (fails(429, Retry_After="-5"), 0.5, 1, "in the past"),
        (fails(429, Retry_After="soon"), 0.5, 1, "neither seconds nor a date"),
        (fails(429, Retry_After="nan"), 0.5, 1, "not a number"),
        (fails(429, Retry_After="inf"), 0.5, 1, "never"),
        (fails(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), 0.5, 1, "a date in the past"),
        (fails(429, Retry_After="Wed, 21 Oct 99999 07:28:00 GMT"), 0.5, 1, "a date that is none"),
        (fails(429), 0.5, 1, "nothing said"),
    ],
)
def test_retry_after(make_judge, naps, failure, low, high, reason):
    with serve(failure) as server:
        make_judge(server.url).ask([QUESTION])
    assert len(naps) == 1 and low <= naps[0] <= high, reason


def test_retry_after_as_a_date(make_judge, naps):
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    with serve(fails(429, Retry_After=email.utils.format_datetime(then, usegmt=True))) as server:
        make_judge(server.url).ask([QUESTION])
    assert 20 < naps[0] <= 31


def test_pauses_double_up_to_a_minute_less_a_half_at_random(make_judge, naps):
    with serve(default=fails(500)) as server, pytest.raises(JudgeUnavailableError):
        make_judge(server.url, retries=9).ask([QUESTION])
    assert len(naps) == 9
    for nap, longest in zip(naps, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert longest / 2 <= nap <= longest
    assert len(set(naps)) == 9


REFUSALS = [
    (fails(400, "unsupported_parameter", "no 'max_tokens' here"), "no 'max_tokens' here.*parameters="),
    (fails(401, "invalid_api_key", "Incorrect API key"), "with a key.*HTTP 401.*Incorrect.*OPENAI_API_KEY"),
    (fails(403, "forbidden"), "HTTP 403.*may not use this model"),
    (fails(404, "model_not_found", "no such model"), "HTTP 404.*no such model.*up to /v1"),
    (sends(404, b"<html>404 page not found</html>"), "404 page not found"),
    (sends(404, {"detail": "Not Found"}), r"\(Not Found\)"),
    (sends(405, b""), "HTTP 405"),
    (fails(422, message="unprocessable"), "HTTP 422"),
    (fails(429, "insufficient_quota", "You exceeded your current quota"), "exceeded your current quota"),
]  # fmt: skip


@pytest.mark.parametrize(("refusal", "message"), REFUSALS)
def test_what_will_not_pass_stops_at_once(make_judge, naps, refusal, message):
    with serve(default=refusal) as server:
        with pytest.raises(JudgeRefusedError, match=message) as caught:
            make_judge(server.url, "gpt-x", KEY).ask([QUESTION])
        assert len(server.requests) == 1 and not naps
        assert f"'gpt-x' at {server.url}" in str(caught.value)


def test_a_refusal_stops_the_other_questions_too_and_keeps_their_answers(make_judge):
    with serve(says("0.5"), says("0.5"), default=fails(401)) as server:
        with pytest.raises(JudgeRefusedError, match="without a key.*2 of 50 questions were answered now"):
            make_judge(server.url, parallel=1).ask(questions(50))
        assert len(server.requests) == 3
        server.default = says("0.5")
        make_judge(server.url).ask(questions(50))
        assert len(server.requests) == 3 + 48


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed_and_the_key_stays(make_judge, status):
    with (
        serve() as elsewhere,
        serve(default=sends(status, None, Location=f"{elsewhere.url}/x?key={KEY}")) as server,
    ):
        with pytest.raises(JudgeRefusedError, match="give the url of") as caught:
            make_judge(server.url, key=KEY).ask([QUESTION])
        assert not elsewhere.requests and len(server.requests) == 1
    assert f"{elsewhere.url}/x." in str(caught.value) and KEY not in str(caught.value)


@pytest.mark.parametrize("code", ["content_filter", "context_length_exceeded"])
def test_one_question_that_is_refused_does_not_stop_the_others(make_judge, code):
    with serve(fails(400, code)) as server:
        for _ in range(2):  # the second time from the cache
            judgements = make_judge(server.url, parallel=1).ask(questions(3))
            assert judgements[0] == Judgement(None, f"refused by the endpoint ({code})")
            assert [each.score for each in judgements] == [None, 0.5, 0.5]
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (says("I cannot judge that."), "I cannot judge that."),
        (says("1.5"), "1.5"),
        (says(""), ""),
        (says(None), ""),
        (sends(200, {"choices": [{"message": {"refusal": "No."}}]}), "No."),
        (
            sends(200, {"choices": [{"message": {"content": [{"type": "text", "text": "No"}, {"x": 1}]}}]}),
            "No",
        ),
    ],
)
def test_rubbish_is_asked_for_three_times_then_unjudged_and_kept(make_judge, naps, behaviour, text):
    with serve(default=behaviour) as server:
        for _ in range(2):
            (judgement,) = make_judge(server.url).ask([QUESTION])
            assert judgement.score is None and judgement.reason and judgement.reply == text
            assert len(server.requests) == 3 and not naps
        server.default = says("0.5")
        assert make_judge(server.url, ask_again=True).ask([QUESTION])[0].score == 0.5
        assert make_judge(server.url, ask_again=True).ask([QUESTION])[0].score == 0.5
        assert len(server.requests) == 4


def test_rubbish_once_is_forgotten(make_judge):
    with serve(says("hm"), says("0.5")) as server:
        assert make_judge(server.url).ask([QUESTION])[0].score == 0.5
        assert len(server.requests) == 2


def test_contents_in_parts(make_judge):
    parts = [{"type": "text", "text": "0."}, {"type": "text", "text": "5"}]
    with serve(says(parts)) as server:
        assert make_judge(server.url).ask([QUESTION])[0].score == 0.5


# A judge that goes away ----------------------------------------------------------------------------------------------


def test_a_judge_that_goes_away_loses_nothing(make_judge, tmp_path: Path):
    with serve(*[says("0.5")] * 7, default=hangs_up) as server:
        with pytest.raises(JudgeUnavailableError) as caught:
            make_judge(server.url, parallel=1).ask(questions(40))
        # Seven are answered; then three questions in a row use up six tries each, and the other 30 are left alone.
        assert len(server.requests) == 7 + 3 * 6
    assert "7 of 40 questions were answered now and are kept in" in str(caught.value)
    assert str(tmp_path / "judge.sqlite") in str(caught.value) and "same command" in str(caught.value)
    with serve() as server:
        assert [each.score for each in make_judge(server.url).ask(questions(40))] == [0.5] * 40
        assert len(server.requests) == 33


def test_a_question_that_always_fails_leaves_the_others_theirs(make_judge):
    def chokes(handler):
        bad = "answer 3 |" in handler.body["messages"][-1]["content"]
        handler.send(500 if bad else 200, {"error": "choked"} if bad else completion("0.5"))

    with serve(default=chokes) as server:
        with pytest.raises(JudgeUnavailableError, match=r"HTTP 500 \(choked\).*19 of 20"):
            make_judge(server.url, parallel=4).ask(questions(20))
        judgements = make_judge(server.url, skip_unanswered=True).ask(questions(20))
        assert judgements[3] == Judgement(None, "the judge did not answer")
        assert [each.score for each in judgements[:3] + judgements[4:]] == [0.5] * 19
        assert len(server.requests) == 19 + 6 + 6


def test_an_endpoint_that_answers_now_and_then_is_not_dead(make_judge):
    script = [fails(500), fails(500), says("0.5")] * 4
    with serve(*script) as server:
        judge = make_judge(server.url, parallel=1, retries=0, skip_unanswered=True)
        assert [each.score for each in judge.ask(questions(12))] == [None, None, 0.5] * 4


def test_told_to_go_slowly_it_goes_on_as_long_as_others_are_answered(make_judge, naps):
    # One request in 40 is served: the question that is served last has been told 429 more than a hundred times.
    requests = itertools.count(1)

    def serves_one_in_forty(handler):
        busy = next(requests) % 40 != 0
        handler.send(429 if busy else 200, {"error": "slowly"} if busy else completion("0.5"))

    with serve(default=serves_one_in_forty) as server:
        judge = make_judge(server.url, parallel=12, retries=60)
        assert [each.score for each in judge.ask(questions(12))] == [0.5] * 12
        assert len(server.requests) == 12 * 40 and len(naps) == 12 * 39


def test_skipping_a_dead_judge_is_quick_and_keeps_nothing(make_judge):
    with serve(says("0.5"), default=fails(503)) as server:
        judge = make_judge(server.url, parallel=1, retries=1, skip_unanswered=True)
        assert [each.score for each in judge.ask(questions(200))] == [0.5] + [None] * 199
        assert len(server.requests) == 1 + 3 * 2
        server.default = says("0.5")
        assert all(each.score == 0.5 for each in judge.ask(questions(200)))


def test_an_interrupt_stops_all_threads_and_keeps_what_came(make_judge, monkeypatch):
    with serve(default=says("0.5")) as server:
        judge = make_judge(server.url, parallel=2)
        monkeypatch.setattr("groundr1.evaluation.judge.as_completed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            judge.ask(questions(500))
        monkeypatch.undo()
        before = len(server.requests)
        assert before < 500
        assert len(judge.ask(questions(500))) == 500
        assert len(server.requests) == 500


def interrupted(futures):
    yield futures[0]
    raise KeyboardInterrupt


# The cache -----------------------------------------------------------------------------------------------------------

ASKER = """
import sys
from groundr1.evaluation.judge import Judge, JudgeQuestion
url, cache, num = sys.argv[1], sys.argv[2], int(sys.argv[3])
questions = [JudgeQuestion("mmvet", f"question {i}?", f"solution {i}", f"answer {i}") for i in range(num)]
scores = [each.score for each in Judge(url, "judge", cache=cache, progress=False, parallel=2).ask(questions)]
assert scores == [0.5] * num, scores
"""


def asker(url: str, cache: Path, num: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ASKER), url, str(cache), str(num)],
        cwd=Path(__file__).resolve().parents[1],
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
    )


def test_a_kill_loses_nothing_that_was_answered(make_judge, tmp_path: Path):
    def slow(handler):
        time.sleep(0.01)
        handler.send(200, completion("0.5"))

    with serve(default=slow) as server:
        process = asker(server.url, tmp_path / "judge.sqlite", 400)
        while len(server.requests) < 20:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.05)
        before = len(server.requests)
        assert before < 400
        make_judge(server.url).ask(questions(400))
        # Its two threads had at most one question each under way.
        assert len(server.requests) <= 400 + 2


def test_processes_share_a_cache(make_judge, tmp_path: Path):
    with serve() as server:
        processes = [asker(server.url, tmp_path / "judge.sqlite", 60) for _ in range(2)]
        assert [process.wait(60) for process in processes] == [0, 0]
        before = len(server.requests)
        make_judge(server.url).ask(questions(60))
        assert len(server.requests) == before


def filled(make_judge, path: Path, num: int = 300) -> None:
    with serve() as server:
        make_judge(server.url, cache=path).ask(questions(num))


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_cache_is_said_to_be_damaged(make_judge, tmp_path: Path, kept):
    path = tmp_path / "cut.sqlite"
    filled(make_judge, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(JudgeCacheError, match=r"cut\.sqlite cannot be used.*move it away"):
        make_judge("http://127.0.0.1:9/v1", cache=path).ask(questions(300))
    assert path.read_bytes() == content[: int(len(content) * kept)]


def test_damage_shows_even_where_nothing_is_read(make_judge, tmp_path: Path):
    path = tmp_path / "judge.sqlite"
    filled(make_judge, path)
    content = bytearray(path.read_bytes())
    pages = len(content) // 4096
    for page in range(pages // 2, pages):
        content[page * 4096 : page * 4096 + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(JudgeCacheError, match="judge.sqlite cannot be used"):
        make_judge("http://127.0.0.1:9/v1").ask([])


def test_a_cache_that_is_something_else(make_judge, tmp_path: Path):
    notes, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    notes.write_text("not a database, but long enough to be taken for one " * 100, encoding="utf-8")
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE answers (number INTEGER)")
    for path in (notes, other):
        before = path.read_bytes()
        with pytest.raises(JudgeCacheError, match=f"{path.name} cannot be used"):
            make_judge("http://127.0.0.1:9/v1", cache=path).ask([QUESTION])
        assert path.read_bytes() == before


def test_a_damaged_answer_is_not_taken_for_one(make_judge, tmp_path: Path):
    path = tmp_path / "judge.sqlite"
    filled(make_judge, path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute('UPDATE answers SET reply = \'{"text": "0.\'')
    with pytest.raises(JudgeCacheError, match="cannot be read"):
        make_judge("http://127.0.0.1:9/v1").ask(questions(3))


def test_an_empty_file_is_an_empty_cache_and_a_folder_holds_one(make_judge, tmp_path: Path):
    empty, folder = tmp_path / "empty.sqlite", tmp_path / "folder"
    empty.touch()
    folder.mkdir()
    for path in (empty, folder, tmp_path / "new" / "folder" / "judge.sqlite"):
        filled(make_judge, path, 3)
        assert [each.score for each in make_judge("http://127.0.0.1:9/v1", cache=path).ask(questions(3))] == [
            0.5
        ] * 3
    assert (folder / "judge.sqlite").is_file()


def test_a_cache_that_cannot_be_written_stops_before_more_is_paid(make_judge, tmp_path: Path):
    path = tmp_path / "judge.sqlite"
    filled(make_judge, path, 3)
    with sqlite3.connect(path) as connection:  # stands for a full disk, which root would not see as rights
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON answers BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
        )
    with serve() as server:
        with pytest.raises(JudgeCacheError, match="disk is full"):
            make_judge(server.url, parallel=2).ask(questions(500))
        assert len(server.requests) < 100


def test_the_cache_can_be_read_by_people(make_judge, tmp_path: Path):
    with serve(says("0.5")) as server:
        make_judge(server.url).ask([QUESTION])
    with sqlite3.connect(tmp_path / "judge.sqlite") as connection:
        ((key, question, reply),) = connection.execute("SELECT * FROM answers")
    assert len(key) == 64 and json.loads(question) == QUESTION._asdict()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    assert json.loads(reply) == Reply("0.5", "stop", "judge-2026-01-01", today)._asdict()


# The key -------------------------------------------------------------------------------------------------------------


def echoes(status: int):
    """Sends back, in every place, the header that came."""

    def behave(handler):
        said = handler.headers["Authorization"]
        error = {"message": f"Incorrect API key provided: {said}", "code": said}
        content = {"error": error} if status >= 400 else completion(f"{said} 0.5", finish=said, model=said)
        handler.send(status, content)

    return behave


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
def test_the_key_is_nowhere_even_if_the_server_sends_it_back(make_judge, tmp_path: Path, caplog, status):
    caplog.set_level(logging.DEBUG)  # of httpx and httpcore, too
    shown = []
    with serve(default=echoes(status)) as server:
        judge = make_judge(server.url, key=KEY, retries=1)
        try:
            shown += [judge.ask([QUESTION])]
        except (JudgeRefusedError, JudgeUnavailableError) as error:
            shown += ["".join(traceback.format_exception(error)), error.__cause__]
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    shown += [judge, judge._endpoint, vars(judge), judge.describe(), caplog.text]
    assert KEY not in "\n".join(map(repr, shown)) + "\n".join(map(str, shown))
    for path in tmp_path.rglob("*"):
        assert KEY.encode() not in path.read_bytes()


def test_a_query_is_sent_but_not_shown(make_judge):
    with serve(default=fails(404)) as server:
        judge = make_judge(server.url + f"?token={KEY}")
        with pytest.raises(JudgeRefusedError) as caught:
            judge.ask([QUESTION])
        assert server.headers[0][":path"] == f"/v1/chat/completions?token={KEY}"
    assert KEY not in f"{caught.value} {judge!r} {judge.describe()}"


def test_the_key_comes_from_the_environment_only_where_none_is_given(make_judge, monkeypatch):
    def sent(key: str | None) -> str | None:
        with serve() as server:
            make_judge(server.url, f"judge {server.url}", key=key).ask([QUESTION])
        return server.headers[0].get("Authorization")

    assert sent(None) is None
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert sent(None) == f"Bearer {KEY}"
    assert sent("EMPTY") == "Bearer EMPTY"
    assert sent("") is None


def test_a_key_with_a_line_break_at_its_end_is_meant_without(make_judge):
    with serve() as server:
        make_judge(server.url, key=f" {KEY}\n").ask([QUESTION])
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"OPENAI_API_KEY= {KEY}", f"{KEY}é", f"{KEY}\x00"])
def test_a_key_that_cannot_be_sent_is_not_shown_either(key):
    # httpx would name the illegal header value in its error.
    with pytest.raises(ValueError, match="no key has") as caught:
        Endpoint("http://localhost/v1", key, 1)
    assert KEY not in str(caught.value)


# The report ----------------------------------------------------------------------------------------------------------


def test_describe(make_judge):
    with serve() as server:
        judge = make_judge(server.url + "?api-version=1", "gpt-x", KEY, prompts={"mmvet": FIELDS})
        before = judge.describe()
        judge.ask([QUESTION])
        after = judge.describe()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    assert before["first_answer"] is None and before["served"] == []
    assert after == before | {"served": ["judge-2026-01-01"], "first_answer": today, "last_answer": today}
    assert after["url"] == server.url and after["model"] == "gpt-x"
    assert after["parameters"] == {"temperature": 0, "max_tokens": 128}
    assert {name: each["ours"] for name, each in after["prompts"].items()} == {"mmvet": False, "viscot": True}
    assert json.loads(json.dumps(after)) == after
    again = make_judge(server.url, "gpt-x", prompts={"mmvet": FIELDS})
    again.ask([QUESTION])
    assert again.describe() == after


def test_a_bar_counts_what_was_known_too(make_judge, capsys):
    with serve() as server:
        make_judge(server.url).ask(questions(2))
        make_judge(server.url, "judge", progress=True).ask(questions(5))
    assert "judging with judge" in capsys.readouterr().err
