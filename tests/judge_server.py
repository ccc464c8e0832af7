"""A chat-completions endpoint on this machine that misbehaves as told, for test_judge.py."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Handler"], None]


def completion(text: Any, finish: str = "stop", model: str = "judge-2026-01-01") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"model": model, "choices": [{"index": 0, "finish_reason": finish, "message": message}]}


def says(text: Any, **more: str) -> Behaviour:
    """A proper completion with this text."""
    return lambda handler: handler.send(200, completion(text, **more))


def sends(status: int, content: Any = None, **headers: str) -> Behaviour:
    """A status with a body (JSON unless bytes); the names of headers have `_` for `-`."""
    return lambda handler: handler.send(status, content, headers)


def fails(status: int, code: str = "", message: str = "told to fail", **headers: str) -> Behaviour:
    return sends(status, {"error": {"message": message, "code": code}}, **headers)


def hangs(handler: "Handler") -> None:
    """Nothing at all, until the client has gone or the server stops."""
    handler.server.stopping.wait(5)


def drips(handler: "Handler") -> None:
    """A proper answer, a byte at a time, each of them sooner than any timeout between two bytes."""
    content = json.dumps(completion("0.5")).encode()
    handler.head(200, {"Content-Length": str(len(content))})
    for byte in content:
        handler.wfile.write(bytes([byte]))
        if handler.server.stopping.wait(0.03):
            return


def breaks_off(handler: "Handler") -> None:
    """A connection reset in the middle of the body."""
    content = json.dumps(completion("0.5")).encode()
    handler.head(200, {"Content-Length": str(len(content))})
    handler.wfile.write(content[:20])
    handler.wfile.flush()
    time.sleep(0.02)
    handler.reset()


def hangs_up(handler: "Handler") -> None:
    """A connection closed without a word."""
    handler.reset()


def floods(handler: "Handler") -> None:
    """A body without end."""
    handler.head(200, {"Connection": "close"})
    while not handler.server.stopping.is_set():
        handler.wfile.write(b" " * 100_000)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms between its head and its body
    server: "JudgeServer"

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.body = json.loads(self.rfile.read(length))
        behaviour = self.server.begin(self)
        try:
            behaviour(self)
        except OSError:
            self.close_connection = True  # the client had enough
        finally:
            self.server.end()

    do_GET = do_POST  # what a followed redirect would send

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.head(status, {"Content-Length": str(len(raw)), **(headers or {})})
        self.wfile.write(raw)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        raise ConnectionResetError

    def log_message(self, *_: object) -> None:
        pass


class JudgeServer(ThreadingHTTPServer):
    """Answers each request as the next of `script` says, then as `default` does.

    Attributes:
        requests: bodies of the requests, as they came.
        headers: their headers.
        most_at_once: how many it was answering at the same time, at most.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script: Sequence[Behaviour] = (), default: Behaviour = says("0.5"), port: int = 0):  # noqa: B008
        super().__init__(("127.0.0.1", port), Handler)
        self.script = list(script)
        self.default = default
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self.stopping = threading.Event()
        self._now = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def answers(self) -> list[str]:
        """The last message of each request."""
        return [body["messages"][-1]["content"] for body in self.requests]

    def begin(self, handler: Handler) -> Behaviour:
        with self._lock:
            self.requests.append(handler.body)
            self.headers.append(dict(handler.headers) | {":path": handler.path})
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            return self.script.pop(0) if self.script else self.default

    def end(self) -> None:
        with self._lock:
            self._now -= 1

    def handle_error(self, *_: object) -> None:
        pass  # a client that goes away is what some tests want


@contextmanager
def serve(*script: Behaviour, default: Behaviour | None = None, port: int = 0) -> Iterator[JudgeServer]:
    """A running server; the rest of `script` is not asked for, `default` says 0.5 unless given."""
    server = JudgeServer(script, default or says("0.5"), port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
