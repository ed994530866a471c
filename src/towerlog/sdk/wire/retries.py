"""The one retry policy: whether a request is made again, after which pause, when it is given up. Does no waiting."""

from __future__ import annotations

import random
from dataclasses import dataclass

from towerlog.sdk.wire.errors import ApiError, BadAnswer, SdkError

FIRST_PAUSE_S = 0.05
"""The first pause of what is tried until it works: a recorder's batch, a worker's claim, a report under a lease."""
MAX_DOUBLINGS = 30
"""Keeps the power of two a number; the longest pause is reached long before."""

HELD_S = 1.0
"""From how long on a wait is one that the server has held back, as it was asked to."""
HURRIED_S = 0.1
"""The first pause after a poll that was answered at once."""

_RANDOM = random.Random()
"""A source of its own: a host program that has seeded the common one gets the numbers that it expects."""


@dataclass(frozen=True)
class Retries:
    """How often and when a request is repeated: pauses double from the first to the longest, with jitter."""

    attempts: int = 5
    """The first one counted."""
    first_s: float = 0.2
    longest_s: float = 5.0
    longest_told_s: float = 30.0
    """The longest `Retry-After` that is waited for; told to wait longer, a client gives up."""

    def pause_s(self, tried: int, error: SdkError) -> float | None:
        """How long to wait after the `tried`th failure (from 1); None to give up."""
        if tried >= self.attempts or not is_worth_repeating(error):
            return None
        told = error.retry_after if isinstance(error, ApiError) else None
        if told is not None and told > self.longest_told_s:
            return None
        return max(jittered_s(tried, self.first_s, self.longest_s), told or 0.0)


class Backoff:
    """The pauses of one thing that is repeated until it works."""

    def __init__(self, longest_s: float, first_s: float = FIRST_PAUSE_S) -> None:
        """Nothing has failed yet."""
        self._first_s = first_s
        self._longest_s = longest_s
        self._tried = 0

    def next_s(self, wanted_s: float | None = None) -> float:
        """The pause after one more failure, in seconds; not shorter than the server has asked for."""
        self._tried += 1
        return max(wanted_s or 0.0, jittered_s(self._tried, self._first_s, self._longest_s))

    def reset(self) -> None:
        """Notes a success, so the next pause is the shortest again."""
        self._tried = 0


class Pace:
    """The pauses between long polls: none after one that the server has held, a moment after one that brought news.

    What is answered at once again and again, by a server or by something before it, is asked more and more rarely.
    """

    def __init__(self, longest_s: float) -> None:
        """Nothing has been asked yet."""
        self._hurried = Backoff(longest_s, HURRIED_S)

    def pause_s(self, took_s: float, is_news: bool) -> float:
        """The pause after a poll that took so long, in seconds."""
        if took_s < HELD_S and not is_news:
            return self._hurried.next_s()
        self._hurried.reset()
        # A command that is still pending would make the next reply come at once.
        return HURRIED_S if is_news else 0.0


def jittered_s(tried: int, first_s: float, longest_s: float) -> float:
    """The pause after the `tried`th failure in a row (from 1), drawn from the upper half of its range.

    The jitter keeps many clients of one server from coming back at the same moment.
    """
    ceiling_s: float = min(longest_s, first_s * 2.0 ** min(tried - 1, MAX_DOUBLINGS))
    return ceiling_s * _RANDOM.uniform(0.5, 1.0)


def is_worth_repeating(error: SdkError) -> bool:
    """Whether the same request may be accepted later."""
    if isinstance(error, ApiError):
        return error.is_temporary
    return not isinstance(error, BadAnswer)
