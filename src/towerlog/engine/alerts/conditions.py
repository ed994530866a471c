"""What a rule that goes by time finds of a run or a budget at a look: whether it is so, and in which words. Pure.

What opens an alert is what is known to have lasted so long: a start, and time in which the server could not hear, begin
that anew. So what ends one is asked in its own way: whether something shows that it is over.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple, Protocol

from towerlog.engine.alerts.busy import Kind, kind_of
from towerlog.engine.alerts.messages import MAX_MESSAGE_CHARS
from towerlog.model.alert import AlertRow, AlertRule, AlertTrigger
from towerlog.model.budget import BudgetRow, warn_nanos
from towerlog.model.lane import Lane, QueueState
from towerlog.model.liveness import standstill_ms, standstill_since
from towerlog.model.run import RunRow, Status
from towerlog.projections.budgets import current


class ServingElapsed(Protocol):
    """What tells how long the server could have heard something: `ambient.ServingTime`."""

    def elapsed_ms(self, stamp_ms: int, /) -> int:
        """Since a moment of the wall clock, as far as is known."""
        ...

    def since_ms(self, stamp_ms: int, /) -> int:
        """The same with the time in which it may not have heard."""
        ...


class Serves(Protocol):
    """What knows which workers ask for work: `workers.Workers`."""

    def serves(self, lane: Lane, serving_ms: int) -> bool:
        """Whether some worker that could take this lane has asked lately, or may have."""
        ...


class Sees(Serves, Protocol):
    """`Serves` that also says whether a worker was really seen."""

    def is_seen(self, lane: Lane, serving_ms: int) -> bool:
        """Whether one is known to have asked lately."""
        ...


class Look(NamedTuple):
    """When something is looked at, and by whose clocks."""

    serving: ServingElapsed
    workers: Sees
    wall_ms: int
    serving_ms: int
    busy: Container[Kind] = ()
    """Kinds of lanes that some worker serves which holds one."""


class Holds(NamedTuple):
    """A condition that holds. `mark`: what it began with, see `AlertRow`; `lasted_ms`: how long it may have lasted, if
    nothing was missed of it."""

    message: str
    mark: int = 0
    lasted_ms: int = 0


def of_run(rule: AlertRule, row: RunRow, lane: Lane | None, look: Look) -> Holds | None:
    """Whether it holds of a run now; None where it does not."""
    wait_ms = rule.config.wait_ms or 0
    match rule.trigger:
        case AlertTrigger.WAITING_TOO_LONG:
            return _waiting(row, wait_ms, look)
        case AlertTrigger.STALLED:
            return _stalled(row, wait_ms, look)
        case AlertTrigger.QUEUE_WAIT | AlertTrigger.UNSERVED:
            return _queued(rule, row, lane, wait_ms, look)
        case _:
            return None


def is_over(rule: AlertRule, alert: AlertRow, row: RunRow | None, lane: Lane | None, look: Look) -> bool:
    """Whether something shows that what an open alert is about has passed: the run has gone on, was answered or taken,
    has ended, or some worker asks for its like; or the rule lets it last longer by now."""
    lasts = None if row is None else _lasting(rule.trigger, row, lane, look)
    if lasts is None or not alert.is_of(lasts.mark):
        return True
    wait_ms = rule.config.wait_ms or 0
    if rule.trigger is AlertTrigger.UNSERVED and lane is not None and _is_seen(lane, look):
        return True
    return alert.wait_ms < wait_ms and lasts.for_ms < wait_ms


class _Lasting(NamedTuple):
    """A state that has lasted for `for_ms` since `mark`."""

    mark: int
    for_ms: int


def _lasting(trigger: AlertTrigger, row: RunRow, lane: Lane | None, look: Look) -> _Lasting | None:
    match trigger:
        case AlertTrigger.WAITING_TOO_LONG if row.status is Status.WAITING:
            question = row.awaited()
            since = (row.progress_at or row.last_event_at) if question is None else question.asked_at
            return _Lasting(-since if question is None else question.question_id, look.wall_ms - since)
        case AlertTrigger.STALLED if row.status is Status.RUNNING and not row.idle:
            return _Lasting(standstill_since(row), standstill_ms(row, look.serving.since_ms))
        case AlertTrigger.QUEUE_WAIT | AlertTrigger.UNSERVED:
            is_queued = lane is not None and lane.state is QueueState.QUEUED and not row.is_terminal()
            return _Lasting(lane.queue_position, look.serving_ms - lane.queued_at) if lane and is_queued else None
        case _:
            return None


def _waiting(row: RunRow, wait_ms: int, look: Look) -> Holds | None:
    lasts = _lasting(AlertTrigger.WAITING_TOO_LONG, row, None, look)
    if lasts is None or lasts.for_ms < wait_ms:
        return None
    question = row.awaited()
    words = "an approval" if question is None else "an answer" + (f": {question.text}" if question.text else "")
    message = f"{_whose(row)} has waited {_span(lasts.for_ms)} for {words}"
    return Holds(message[:MAX_MESSAGE_CHARS], lasts.mark, lasts.for_ms)


def _stalled(row: RunRow, wait_ms: int, look: Look) -> Holds | None:
    lasts = _lasting(AlertTrigger.STALLED, row, None, look)
    known_ms = 0 if lasts is None else standstill_ms(row, look.serving.elapsed_ms)
    if lasts is None or known_ms < wait_ms:
        return None
    return Holds(f"{_whose(row)} has made no progress for {_span(known_ms)}", lasts.mark, lasts.for_ms)


def _queued(rule: AlertRule, row: RunRow, lane: Lane | None, wait_ms: int, look: Look) -> Holds | None:
    lasts = _lasting(rule.trigger, row, lane, look)
    if lane is None or lasts is None or lasts.for_ms < wait_ms:
        return None
    told = f"{_whose(row)} has waited {_span(lasts.for_ms)} in the queue"
    if rule.trigger is AlertTrigger.UNSERVED:
        if is_served(lane, look.workers, look.busy, look.serving_ms):
            return None
        told = f"{told}, and no worker serves it"
    return Holds(told, lasts.mark, lasts.for_ms)


def _is_seen(lane: Lane, look: Look) -> bool:
    return kind_of(lane) in look.busy or look.workers.is_seen(lane, look.serving_ms)


def is_served(lane: Lane, workers: Serves, busy: Container[Kind], serving_ms: int) -> bool:
    """Whether a worker that could take it has asked for work lately, or is at work (`busy`) and comes back for the
    next."""
    return kind_of(lane) in busy or workers.serves(lane, serving_ms)


def of_budget(rule: AlertRule, row: BudgetRow | None, now_ms: int) -> bool:
    """Whether so much of a budget is still spent; None: the budget is gone."""
    if row is None or row.deleted:
        return False
    now = current(row, now_ms)
    return now.spent_nanos >= warn_nanos(
        now.amount_nanos, 1.0 if rule.config.fraction is None else rule.config.fraction
    )


def _whose(row: RunRow) -> str:
    return f"A run of agent '{row.agent or 'default'}'"


def _span(span_ms: int) -> str:
    seconds = span_ms // 1000
    if seconds < 120:
        return f"{seconds} seconds"
    return f"{seconds // 60} minutes" if seconds < 7200 else f"{seconds // 3600} hours"
