"""Answers of judges on disk, so that the same question to the same judge is paid for once.

A file of SQLite, every answer its own transaction: kept as soon as it is here, whatever is killed afterwards, and
several processes may share it. Not in WAL mode, which network file systems of clusters cannot do. What is kept is the
reply, not its score: a score is read out anew each time.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from groundr1.evaluation.judge.texts import JudgeQuestion, Reply

__all__ = ["AnswerCache", "JudgeCacheError", "request_key"]

LOCK_TIMEOUT = 60.0  # seconds to wait for another process that is writing
TABLE = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, question TEXT NOT NULL, reply TEXT NOT NULL)"
)


class JudgeCacheError(RuntimeError):
    """The cache cannot be read or written; nothing in it was changed."""


def request_key(body: dict[str, Any]) -> str:
    """Hash of all that a request says: model, messages and parameters. The address is no part of it."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("ascii")).hexdigest()


class AnswerCache:
    """An open cache, to be used in a `with` statement, by several threads if need be.

    Args:
        path: the file, made if need be.

    Raises:
        JudgeCacheError: on opening, reading or writing: the file is damaged, or something else, or cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(
                path, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._explained(error) from error
        try:
            faults = self._run("PRAGMA quick_check(1)")
            if faults != [("ok",)]:
                raise self._explained(faults[0][0])
            self._run(TABLE)
        except JudgeCacheError:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The answers that are there, by key."""
        found = {}
        self._run("BEGIN")  # one lock for all, because on a network file system each takes milliseconds
        for key in keys:
            for (reply,) in self._run("SELECT reply FROM answers WHERE key = ?", key):
                try:
                    found[key] = Reply(**json.loads(reply))
                except (ValueError, TypeError) as error:
                    raise self._explained(f"the answer {key[:12]} cannot be read") from error
        self._run("COMMIT")
        return found

    def put(self, key: str, question: JudgeQuestion, reply: Reply) -> None:
        """Keep an answer, in the place of an earlier one; on disk when this returns."""
        texts = json.dumps(question._asdict()), json.dumps(reply._asdict())
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", key, *texts)

    def _run(self, command: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(command, values).fetchall()
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: object) -> JudgeCacheError:
        reason = " ".join(str(error).split())
        return JudgeCacheError(
            f"The judge's answers in {self.path} cannot be used: {reason}. If the file is damaged, or no such cache,"
            " move it away or give another cache=: its answers are then asked for again. If it is locked, full or may"
            " not be written, see to that and start the same command again."
        )
