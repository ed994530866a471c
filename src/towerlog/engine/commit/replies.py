"""Idempotency-Keys: what a commit keeps of an outcome, so that its reply can be made again.

The ids are written with the commit itself; the reply's bytes follow in a later one. Between the two, and for good when
the process is lost there, a repeat is answered from the ids.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, assert_never

import msgspec

from towerlog.engine.commit.submission import name_of
from towerlog.errors import IdempotencyMismatch, InProgress
from towerlog.model import outcome as o
from towerlog.model.alert import AlertNow, RuleNow
from towerlog.model.approval import AnswerLink
from towerlog.model.approval_views import ApprovalAnswered, LinkMade
from towerlog.model.budget import BudgetNow, ReservationNow, Reserved
from towerlog.model.command import Idempotency
from towerlog.model.delivery import DeliveryNow, Redelivered
from towerlog.model.event import Refusal, RunByForeignId
from towerlog.model.key import Key
from towerlog.model.member import (
    MemberNow,
    SessionEnded,
    SessionsEnded,
    SessionStarted,
    SignInLinkEnded,
    SignInLinkMade,
)
from towerlog.model.price import PriceView
from towerlog.model.principal import Principal
from towerlog.model.retention import RetentionNow
from towerlog.store.values import ReplyBody

MAX_WAITING_BYTES = 8 * 1024 * 1024
"""Of replies that wait to be stored."""


class WaitingBodies:
    """Replies to be stored with the next group; past a bound the oldest is left to be made again of its ids."""

    def __init__(self, most: int) -> None:
        """At most so many."""
        self.waiting: deque[ReplyBody] = deque(maxlen=most)
        """Oldest first."""
        self._size = 0

    def add(self, body: ReplyBody) -> None:
        """One more."""
        if len(self.waiting) == self.waiting.maxlen:
            self._size -= len(self.waiting[0].body)
        self.waiting.append(body)
        self._size += len(body.body)
        while self._size > MAX_WAITING_BYTES:
            self._size -= len(self.waiting.popleft().body)

    def take(self) -> list[ReplyBody]:
        """All of them; none is left."""
        taken = list(self.waiting)
        self.waiting.clear()
        self._size = 0
        return taken


class InFlight:
    """Idempotency-Keys of commands that wait for their commit; as many as may wait."""

    def __init__(self) -> None:
        """Starts empty."""
        self._digests: dict[tuple[int, str], bytes] = {}

    def enter(self, waiter: asyncio.Future[Any], principal: Principal, idempotency: Idempotency) -> None:
        """Until the waiter is told. Raises InProgress for a key that is being answered, IdempotencyMismatch where
        that was for another body."""
        name = (principal.org, name_of(idempotency))
        known = self._digests.get(name)
        if known is not None:
            raise InProgress(retry_after=1) if known == idempotency.digest else IdempotencyMismatch()
        self._digests[name] = idempotency.digest
        waiter.add_done_callback(lambda _: self._digests.pop(name, None))


class Item(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Result of one item of a batch."""

    stored: o.Stored | None = None
    refusal: Refusal | None = None


class OutcomeIds(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What an outcome is about. `kind` is the outcome's class; the rest is what that has."""

    kind: str
    run: int | None = None
    created: bool = False
    """Whether the command made it, or changed something."""
    name: str = ""
    """The own id of a run, key, agent, thread, persona, route, budget, reservation, approval, rule …"""
    trace_id: str = ""
    step_index: int = 0
    status: str = ""
    link: AnswerLink | None = None
    items: list[Item] = []
    polled: list[RunByForeignId] = []
    polled_runs: list[int] = []


_encode = msgspec.json.Encoder().encode
decode_ids = msgspec.json.Decoder(OutcomeIds).decode


def encode_ids(outcome: o.Placed) -> bytes:
    """JSON text of the outcome's ids."""
    return _encode(ids_of(outcome))


def ids_of(outcome: o.Placed) -> OutcomeIds:
    """What is kept of an outcome; the text of a new key is not."""
    kind = type(outcome).__name__
    match outcome:
        case o.Appended(results, polled):
            runs = [one.row.run for one in polled]
            return OutcomeIds(kind, items=_items(results), polled=[one.ref for one in polled], polled_runs=runs)
        case o.RunCreated(run_id, trace_id):
            return OutcomeIds(kind, name=run_id, trace_id=trace_id)
        case o.RunChanged(row, changed):
            return OutcomeIds(kind, run=row.run, created=changed)
        case o.Steered(row) | o.Begun(row) | o.Taken(row, _):
            return OutcomeIds(kind, run=row.run)
        case o.Reported(view, _, results):
            return OutcomeIds(kind, run=view.row.run, items=_items(results))
        case o.Decided(trace_id, step_index, status):
            return OutcomeIds(kind, trace_id=trace_id, step_index=step_index, status=status)
        case ApprovalAnswered(ref, state):
            return OutcomeIds(kind, name=ref.approval_id, status=state)
        case LinkMade(link):
            return OutcomeIds(kind, link=link)
        case o.KeyMinted():
            return OutcomeIds(kind, name=outcome.key.key_id)
        case Key():
            return OutcomeIds(kind, name=outcome.key_id)
        case o.ThreadView(row, created):
            return OutcomeIds(kind, name=row.thread_id, created=created)
        case o.AgentView(row, created):
            return OutcomeIds(kind, name=row.agent_id, created=created)
        case o.PersonaView(persona, created):
            return OutcomeIds(kind, name=persona.persona_id, created=created)
        case o.RouteView(route, created):
            return OutcomeIds(kind, name=route.route_id, created=created)
        case BudgetNow(row, created):
            return OutcomeIds(kind, name=row.budget_id, created=created)
        case PriceView(row, created):
            return OutcomeIds(kind, name=row.price_id, created=created)
        case RetentionNow(policy, created):
            return OutcomeIds(kind, name=policy.kind.value, created=created)
        case Reserved(reservation_id, refused_by):
            return OutcomeIds(kind, name=reservation_id or "", status=refused_by or "")
        case ReservationNow() | AlertNow() | DeliveryNow():
            return OutcomeIds(kind, name=_own_id(outcome))
        case RuleNow(rule, created):
            return OutcomeIds(kind, name=rule.rule_id, created=created)
        case Redelivered(count, after):
            return OutcomeIds(kind, step_index=count, run=after)
        case MemberNow(user, created):
            return OutcomeIds(kind, name=user.user_id, created=created)
        case SignInLinkMade(link) | SignInLinkEnded(link):
            return OutcomeIds(kind, name=link.digest.hex())
        case SessionStarted() | SessionEnded() | SessionsEnded():
            return OutcomeIds(kind)
        case o.NothingToClaim() | o.Delivered() | o.ContentKept() | o.ReplyKept():
            return OutcomeIds(kind)
        case _:
            assert_never(outcome)


def _own_id(outcome: ReservationNow | AlertNow | DeliveryNow) -> str:
    match outcome:
        case ReservationNow(held):
            return held.reservation_id
        case AlertNow(alert):
            return alert.alert_id
        case DeliveryNow(delivery):
            return delivery.delivery_id
        case _:
            assert_never(outcome)


def _items(results: list[o.Stored | Refusal]) -> list[Item]:
    return [Item(stored=_short(one)) if isinstance(one, o.Stored) else Item(refusal=one) for one in results]


def _short(result: o.Stored) -> o.Stored:
    """Without long texts of commands: every result of a run has them again, and they stand in the log."""
    if not result.commands:
        return result
    return msgspec.structs.replace(result, commands=tuple([one.short() for one in result.commands]))


def results_of(ids: OutcomeIds) -> list[o.Stored | Refusal]:
    """The results of a batch."""
    return [one.stored or one.refusal for one in ids.items]  # type: ignore[misc]  # one of the two is there
