"""One OpenAI-compatible chat-completions endpoint: one try of one request, and what its failure means.

The key goes into the header of a request and nowhere else: not into an error, a log, a repr or a reply, even where the
server sends it back. Redirects are not followed, so that neither the key nor an answer goes to an address that nobody
gave. Proxies and certificates are found as httpx finds them.
"""

import datetime
import email.utils
import json
import math
import time
from typing import Any

import httpx

from groundr1.evaluation.judge.texts import REFUSALS, Reply

__all__ = ["Endpoint", "JudgeRefusedError", "TryAgain"]

LONGEST_BODY = 2_000_000  # bytes; a judgement takes a few hundred, a page of something else can be endless
TRANSIENT = (408, 409, 425, 429)  # and 500 and above
FIXES = {
    400: "Where it names a parameter, change that with parameters={...}; None as its value leaves one out.",
    401: "Give the right key as key=... or in the environment variable OPENAI_API_KEY.",
    403: "This key may not use this model or this address.",
    404: "Give the url up to /v1 (/chat/completions is added) and a model that is served there.",
}


class JudgeRefusedError(RuntimeError):
    """The endpoint refuses, and would refuse every question again: wrong key, model, address or parameters."""


class TryAgain(Exception):
    """A try failed in a way that may pass.

    Attributes:
        wait: seconds that the endpoint asks to wait, or 0.
        busy: whether it only asks for fewer questions at a time.
    """

    def __init__(self, reason: str, wait: float = 0.0, busy: bool = False):
        super().__init__(reason)
        self.wait = wait
        self.busy = busy


class Endpoint:
    """Where the judge lives.

    Args:
        url: up to "/v1", or with "/chat/completions" as well; a query (`?api-version=...`) is kept.
        key: sent as bearer token; "" for none.
        timeout: seconds for a whole answer.

    Raises:
        ValueError: the url is none, or holds a password; the key cannot be one.
    """

    def __init__(self, url: str, key: str, timeout: float):
        self._url = _completions_url(url)
        self._key = key.strip()
        self._timeout = timeout
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise ValueError(
                "The judge's key holds characters that no key has; was something else pasted with it?"
            )

    def __repr__(self) -> str:
        return f"Endpoint({self.address!r})"

    @property
    def address(self) -> str:
        """The url as it may be shown and recorded: without a query."""
        return str(self._url.copy_with(query=None)).removesuffix("/chat/completions")

    def open(self) -> httpx.Client:
        """A client with the key in its headers, for use by several threads."""
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return httpx.Client(headers=headers, timeout=self._timeout, follow_redirects=False)

    def ask(self, client: httpx.Client, body: dict[str, Any]) -> Reply:
        """Send one request, once.

        Raises:
            TryAgain: no connection, too slow, 408, 409, 425, 429, 5xx, or what came is no chat completion.
            JudgeRefusedError: anything else that is no success.
        """
        try:
            response, content = self._post(client, body)
        except httpx.RequestError as error:
            raise TryAgain(self._clean(f"{type(error).__name__}: {error}")) from None
        if response.is_success:
            return self._reply(content)
        code, message = self._error(content)
        status = f"HTTP {response.status_code}" + (f" ({message})" if message else "")
        if response.status_code == 400 and code in REFUSALS:
            return Reply("", code, body["model"], _today())
        transient = response.status_code in TRANSIENT or response.status_code >= 500
        if transient and code != "insufficient_quota":
            wait = _retry_after(response.headers.get("Retry-After", ""))
            raise TryAgain(status, wait, busy=response.status_code == 429)
        fix = FIXES.get(response.status_code, "")
        if response.has_redirect_location:
            target = self._clean(response.headers["Location"].partition("?")[0])
            fix = f"It sends elsewhere, which is not followed; if that is right, give the url of {target}."
        sent = "with a key" if self._key else "without a key"
        raise JudgeRefusedError(
            f"The judge {body['model']!r} at {self.address}, asked {sent}, refused: {status}. {fix}".strip()
        )

    def _post(self, client: httpx.Client, body: dict[str, Any]) -> tuple[httpx.Response, bytes]:
        """Read the answer part by part, because a timeout of httpx starts anew with every byte."""
        deadline = time.monotonic() + self._timeout
        content = bytearray()
        # ASCII, because answers of a model may hold halves of surrogate pairs, which UTF-8 has no bytes for.
        with client.stream("POST", self._url, content=json.dumps(body).encode("ascii")) as response:
            for part in response.iter_bytes():
                content += part
                if len(content) > LONGEST_BODY:
                    raise TryAgain(f"an answer of more than {LONGEST_BODY} bytes")
                if time.monotonic() > deadline:
                    raise TryAgain(f"no whole answer within {self._timeout:g} s")
        return response, bytes(content)

    def _reply(self, content: bytes) -> Reply:
        try:
            answer = json.loads(content)
            choice = answer["choices"][0]
            message = choice["message"]
            text = message.get("content") or message.get("refusal") or ""
            if isinstance(text, list):  # some servers send it in parts
                text = "".join(part.get("text") or "" for part in text)
            if not isinstance(text, str):
                raise TypeError(f"a content of type {type(text).__name__}")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            # OpenRouter, for one, answers 200 with an error inside.
            raise TryAgain(f"what came is no chat completion ({self._error(content)[1]})") from None
        finish, model = str(choice.get("finish_reason") or ""), str(answer.get("model") or "")
        return Reply(self._clean(text), self._clean(finish), self._clean(model), _today())

    def _error(self, content: bytes) -> tuple[str, str]:
        """Code and message of an error, in the forms that servers have for it; else the beginning of its text."""
        text = content.decode("utf-8", errors="replace")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = text
        if isinstance(found, dict):
            found = found.get("error") or found.get("detail") or found.get("message") or found
        code = str(found.get("code") or "") if isinstance(found, dict) else ""
        message = (found.get("message") or found) if isinstance(found, dict) else found
        message = self._clean(" ".join(str(message).split()))
        return self._clean(code), message if len(message) <= 300 else message[:300] + " ..."

    def _clean(self, text: str) -> str:
        """`text` without the key; one of fewer than 8 characters ("EMPTY", "x") is no secret."""
        return text.replace(self._key, "[key]") if len(self._key) >= 8 else text


def _completions_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.userinfo:
        raise ValueError("The judge's url holds a user name or a password; leave it out and give key=.")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(
            f"The judge's url is {url.partition('?')[0]!r}; give one such as https://api.openai.com/v1 or"
            " http://localhost:8000/v1."
        )
    path = parsed.path.rstrip("/").removesuffix("/chat/completions")
    return parsed.copy_with(path=path + "/chat/completions", fragment=None)


def _retry_after(header: str) -> float:
    """Seconds to wait that a Retry-After header asks for, in seconds or as a date; 0 where it says neither."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
