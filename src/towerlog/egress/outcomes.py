"""What came of something that was sent: an answer, or one of a closed set of reasons why there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

import msgspec
import structlog

from towerlog.ambient import Clock

_log = structlog.get_logger("towerlog.egress")


class EgressFailure(StrEnum):
    """Why something could not be sent, or was not answered. Closed: a new reason is a new member."""

    REFUSED_HERE = "refused_here"
    """The guard or a check of the message forbids it; nothing was sent, and the same will be refused again."""
    FORBIDDEN_ADDRESS = "forbidden_address"
    """The host has an address that may not be connected to; nothing was sent."""
    NOT_FOUND = "not_found"
    """The name has no address, or could not be looked up."""
    NOT_CONNECTED = "not_connected"
    """Nobody listens there, or there is no way there."""
    TLS = "tls"
    """No TLS connection, or the certificate is not the host's or not trusted."""
    TOO_SLOW = "too_slow"
    """The time for the whole of it ran out."""
    BROKEN_OFF = "broken_off"
    """The other side closed the connection before it had answered."""
    NOT_UNDERSTOOD = "not_understood"
    """The answer is none of the protocol, or its head is too long."""
    REJECTED = "rejected"
    """The mail server refused it for good."""
    DEFERRED = "deferred"
    """The mail server refused it for now."""
    INTERNAL = "internal"
    """An error of Towerlog's own, which is in its log."""


FINAL = frozenset({EgressFailure.REFUSED_HERE, EgressFailure.REJECTED})
"""Reasons that another attempt with the same message does not change."""


_LATER = frozenset({429, 503})
"""Statuses by which a server says that it will take the same later."""


class Undelivered(msgspec.Struct, frozen=True):
    """Nothing was delivered, or nobody knows."""

    failure: EgressFailure
    words: str
    """For whoever owns the channel: one line, no address that was looked up, no secret."""
    duration_ms: int

    @property
    def is_final(self) -> bool:
        """Whether another attempt would end in the same way."""
        return self.failure in FINAL


class HttpAnswer(msgspec.Struct, frozen=True):
    """A server has answered; whether it has accepted what it got is in the status."""

    status: int
    """101 to 999; a redirect is an answer as well, and is not followed."""
    body: bytes
    """As it came, at most MAX_ANSWER_BYTES together with the head; nothing is decompressed."""
    is_whole: bool
    """Whether the body is all of it: neither cut at the limit, nor by the deadline, nor broken off."""
    duration_ms: int
    retry_after: str = ""
    """The header of that name, as it was sent."""

    @property
    def is_accepted(self) -> bool:
        """Whether the status is of the 200s."""
        return 200 <= self.status < 300

    def wait_ms(self, now_ms: int) -> int:
        """How long its sender wants to be left alone, from now on (wall ms): by seconds or by a date, of an answer that
        says that it cannot take anything just now; else 0."""
        if self.status not in _LATER or not self.retry_after:
            return 0
        if self.retry_after.isascii() and self.retry_after.isdecimal():
            return int(self.retry_after) * 1000
        try:
            at = parsedate_to_datetime(self.retry_after)
        except ValueError:
            return 0  # no form that there is: as if it had said nothing
        return max(0, int(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000) - now_ms)


class MailAccepted(msgspec.Struct, frozen=True):
    """The mail server has taken the message for all its recipients."""

    duration_ms: int


class EgressError(Exception):
    """Inside of this room: why an attempt ended. Callers outside get an `Undelivered`."""

    def __init__(self, failure: EgressFailure, words: str) -> None:
        """`words` as in `Undelivered`."""
        super().__init__(words)
        self.failure = failure
        self.words = words


async def attempted(work: Awaitable[None], clock: Clock, seconds: float, slow: Callable[[], str]) -> Undelivered:
    """Does it within so many seconds. Why there is nothing, if it has brought nothing, and how long it took.

    `slow` says it in words where the time ran out. Raises nothing but a cancellation.
    """
    begun_ms = clock.steady_ms()
    failure, words = EgressFailure.TOO_SLOW, ""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        words = slow()
    except EgressError as error:
        failure, words = error.failure, error.words
    except Exception:
        _log.exception("an attempt failed for a reason that is not known")
        failure, words = EgressFailure.INTERNAL, "an error of Towerlog's own; its log has it"
    return Undelivered(failure, words, clock.steady_ms() - begun_ms)
