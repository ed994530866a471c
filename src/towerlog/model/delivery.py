"""Deliveries: what is sent to people, one row for each message and channel, until it has arrived or is given up.

A row is made in the transaction of what it tells; it is the outbox. Its id is the message's own (`webhook-id`) and the
same in every attempt, so that a receiver which gets it twice takes it once.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from towerlog.model.alert_channel import AlertChannel
from towerlog.model.approval import AnswerLink

MAX_ATTEMPTS_KEPT = 20
"""Attempts that a delivery remembers, the newest."""
MAX_WAIT_MS = 3_600_000
"""A receiver that asks for more time before the next attempt gets this."""
MAX_REDELIVERED = 1000
"""Deliveries that one command sends anew."""


class DeliveryState(enum.StrEnum):
    """`failed`: it is not attempted any more, until somebody asks for it."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class NoticeKind(enum.StrEnum):
    """What a message tells of an alert."""

    FIRED = "alert.fired"
    REPEATED = "alert.repeated"
    RECOVERED = "alert.recovered"


class Attempt(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One attempt to deliver."""

    at: int
    """Wall ms."""
    duration_ms: int
    status: int | None = None
    """The HTTP status of the answer, where there was one."""
    words: str = ""
    """Why it was not accepted."""


NO_BODY = msgspec.Raw(b"null")
ERASED_BODY = b"{}"
"""Stands for a body that was erased with what it told of."""


class DeliveryBody(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is told of an alert, once for all channels that it goes through."""

    org: int
    body_id: str
    alert_id: str
    rule_id: str
    kind: NoticeKind
    created_at: int
    body: msgspec.Raw = NO_BODY
    """JSON text. The store keeps it apart, as it does that of a delivery."""
    unwritten: tuple[AlertChannel, ...] = ()
    """Channels, without secrets, whose deliveries are still to be written: the commit had no room for them."""
    with_link: bool = False
    """Each of its deliveries has a link by which what the alert asks can be answered."""


class OutboxCounts(NamedTuple):
    """How many messages of an organisation wait."""

    pending: int = 0
    """As deliveries that are to be attempted,"""
    unwritten: int = 0
    """and as channels of bodies whose deliveries are not written yet."""


class Delivery(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A message on its way through one channel."""

    org: int
    delivery_id: str
    alert_id: str
    rule_id: str
    kind: NoticeKind
    channel: AlertChannel
    created_at: int
    body_id: str
    """Of what it tells, which the messages of all channels share (`DeliveryBody`)."""
    body: msgspec.Raw = NO_BODY
    """JSON text of that: the body of a webhook; what the other channels say is made of it when it is sent. The store
    gives it with what it reads, and keeps it apart."""
    state: DeliveryState = DeliveryState.PENDING
    number: int = 0
    """Rises with each delivery of the organisation; given by the store."""
    attempts: tuple[Attempt, ...] = ()
    """The newest last."""
    tries: int = 0
    """Attempts since it was made, or since somebody asked for it anew."""
    due_at: int | None = None
    """When it is attempted next (wall ms); None: it is not."""
    ended_at: int | None = None
    link: AnswerLink | None = None
    """What its message is about can be answered by it. It is signed when the message is sent."""

    @property
    def message_id(self) -> str:
        """The name of the message, for its receiver."""
        return f"msg_{self.delivery_id}"


def after_attempt(row: Delivery, done: RecordAttempt, pauses: tuple[int, ...]) -> Delivery:
    """A delivery after one attempt more. `pauses`: seconds before each further one; a receiver can ask for more time,
    and for no more attempts."""
    attempts = (*row.attempts, done.attempt)[-MAX_ATTEMPTS_KEPT:]
    row = msgspec.structs.replace(row, attempts=attempts, tries=row.tries + 1)
    now_ms = done.attempt.at + done.attempt.duration_ms
    if done.accepted or done.final or row.tries > len(pauses):
        state = DeliveryState.DELIVERED if done.accepted else DeliveryState.FAILED
        return msgspec.structs.replace(row, state=state, due_at=None, ended_at=now_ms)
    wait_ms = max(pauses[row.tries - 1] * 1000, min(done.wait_ms, MAX_WAIT_MS))
    return msgspec.structs.replace(row, due_at=now_ms + wait_ms)


def is_given_up(row: Delivery, done: RecordAttempt, pauses: tuple[int, ...]) -> bool:
    """Whether this attempt of a delivery was its last, and it has not arrived."""
    return after_attempt(row, done, pauses).state is DeliveryState.FAILED


def sent_anew(row: Delivery, now_ms: int) -> Delivery:
    """A delivery that somebody asks for: due now, with all its attempts; its id and what it tells stay."""
    return msgspec.structs.replace(row, state=DeliveryState.PENDING, tries=0, due_at=now_ms, ended_at=None)


class DeliveriesAfter(NamedTuple):
    """Deliveries of an organisation above a number, at most so many; of a rule, and in a state, where not empty."""

    org: int
    after: int
    rule_id: str
    state: str
    limit: int


class DueWanted(NamedTuple):
    """Which messages are asked for that are due: of one organisation, of receivers behind `after`.

    One that is to wait past the horizon is due as well: no pause is that long, so the clock was set back. Wall ms.
    """

    org: int
    after: str
    """A receiver; empty: from the first."""
    now_ms: int
    horizon_ms: int
    each: int
    """Of a receiver at most so many, with those that are under way."""
    found: int
    """It ends when so many receivers have something due,"""
    looked: int
    """or so many have been looked at."""
    under_way: Mapping[str, Delivery]
    """By their ids. They are due as well, and are left out."""


class DueFound(NamedTuple):
    """What is due."""

    rows: list[Delivery]
    """Of each receiver the longest due first."""
    place: str | None
    """The last receiver that was looked at; None: all were."""
    is_more: bool
    """More is due of a receiver that was looked at."""


# Commands and questions


class RecordAttempt(msgspec.Struct, frozen=True, gc=False):
    """What came of an attempt."""

    org: int
    delivery_id: str
    attempt: Attempt
    accepted: bool
    final: bool
    """No other attempt would help."""
    wait_ms: int = 0
    """How long the receiver wants to be left alone."""


class Redeliver(msgspec.Struct, frozen=True, gc=False):
    """Send a delivery anew."""

    delivery_id: str


class RedeliverFrom(msgspec.Struct, frozen=True, gc=False):
    """Send those anew that come after this one (its number; 0 for the first), oldest first, at most so many.

    Of a rule, and in a state, where these are given.
    """

    after: int
    limit: int
    rule_id: str | None = None
    state: DeliveryState | None = DeliveryState.FAILED


class ListDeliveries(msgspec.Struct, frozen=True, gc=False):
    """Deliveries, newest first; of a rule, of an alert, in a state, where these are given."""

    limit: int
    before: int | None = None
    rule_id: str | None = None
    alert_id: str | None = None
    state: DeliveryState | None = None


class GetDelivery(msgspec.Struct, frozen=True, gc=False):
    """One delivery."""

    delivery_id: str


# Outcomes


class DeliveryNow(msgspec.Struct, frozen=True, gc=False):
    """A delivery."""

    row: Delivery


class Redelivered(msgspec.Struct, frozen=True, gc=False):
    """How many deliveries are due anew; `next`: the number after which more follow."""

    count: int
    next: int | None = None
