"""Asking until there is a reply: tries, pauses, and when an endpoint is taken for dead."""

import random
import threading
from collections.abc import Callable

from groundr1.evaluation.judge.endpoint import TryAgain
from groundr1.evaluation.judge.texts import REFUSALS, Reply, read_score

__all__ = ["Asking"]

TIMES_ASKED = 3  # at most, for a reply with a score: servers are not the same to the bit at temperature 0
DEAD_AFTER = 3  # questions given up in a row, with no answer to any other in between
LONGEST_PAUSE, LONGEST_WAIT = 60.0, 120.0  # seconds: of our own accord, and on the endpoint's word


class Asking:
    """What the threads of one `Judge.ask` share.

    Args:
        retries: further tries of a question.
        sleep: called with seconds in place of waiting.

    Attributes:
        stop: set when no thread shall try any more.
        failure: what the last try that failed failed of.
    """

    def __init__(self, retries: int, sleep: Callable[[float], object] | None = None):
        self.stop = threading.Event()
        self.failure = ""
        self._retries = retries
        self._sleep = self.stop.wait if sleep is None else sleep
        self._lock = threading.Lock()
        self._answered = 0
        self._given_up_in_a_row = 0

    def scored(self, send: Callable[[], Reply], benchmark: str) -> Reply | None:
        """A reply with a score, or the last of three without; None where none came."""
        for _ in range(TIMES_ASKED):
            reply = self.reply(send)
            if reply is None or reply.finish in REFUSALS or read_score(benchmark, reply).score is not None:
                break
        return reply

    def reply(self, send: Callable[[], Reply]) -> Reply | None:
        """Send until a reply comes; None where the tries are used up, or all shall stop.

        Told to send less at a time while others are answered, it counts its tries anew.
        """
        tries = pauses = 0
        answered_before = self._answered
        while not self.stop.is_set():
            try:
                reply = send()
            except TryAgain as failure:
                others_answered, answered_before = self._answered > answered_before, self._answered
                tries = 1 if failure.busy and others_answered else tries + 1
                self.failure = str(failure)
                if tries > self._retries:
                    self._give_up()
                    return None
                self._sleep(_pause(pauses, failure.wait))
                pauses += 1
            else:
                with self._lock:
                    self._answered += 1
                    self._given_up_in_a_row = 0
                return reply
        return None

    def _give_up(self) -> None:
        with self._lock:
            self._given_up_in_a_row += 1
            if self._given_up_in_a_row >= DEAD_AFTER:
                self.stop.set()


def _pause(pauses: int, wait: float) -> float:
    """Seconds to the next try: doubling, less up to a half at random; at least `wait`, plus up to one at random."""
    own = min(2.0 ** min(pauses, 10), LONGEST_PAUSE) * random.uniform(0.5, 1.0)
    return max(own, min(wait, LONGEST_WAIT) + random.random()) if wait else own
