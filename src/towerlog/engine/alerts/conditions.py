"""What a rule that goes by time finds of a run or a budget at a look: whether it is so, and in which words. Pure."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple, Protocol

from towerlog.engine.alerts.busy import Kind, kind_of
from towerlog.engine.alerts.messages import MAX_MESSAGE_CHARS
from towerlog.model.alert import AlertRule, AlertTrigger
from towerlog.model.budget import BudgetRow, warn_nanos
from towerlog.model.lane import Lane, QueueState
from towerlog.model.liveness import standstill_ms
from towerlog.model.run import RunRow, Status
from towerlog.projections.budgets import current


class ServingElapsed(Protocol):
    """What tells how long the server could have heard something: `ambient.ServingTime`."""

    def elapsed_ms(self, stamp_ms: int, /) -> int:
        """Since a moment of the wall clock."""
        ...


class Serves(Protocol):
    """What knows which workers ask for work: `workers.Workers`."""

    def serves(self, lane: Lane, serving_ms: int) -> bool:
        """Whether some worker that could take this lane has asked lately."""
        ...


class Look(NamedTuple):
    """When something is looked at, and by whose clocks."""

    serving: ServingElapsed
    workers: Serves
    wall_ms: int
    serving_ms: int
    busy: Container[Kind] = ()
    """Kinds of lanes that some worker serves which holds one."""


class Holds(NamedTuple):
    """A condition that holds. `mark`: what it began with, see `AlertRow`."""

    message: str
    mark: int = 0


def of_run(rule: AlertRule, row: RunRow, lane: Lane | None, look: Look) -> Holds | None:
    """Whether it holds of a run now; None where it does not."""
    wait_ms = rule.config.wait_ms or 0
    match rule.trigger:
        case AlertTrigger.WAITING_TOO_LONG:
            return _waiting(row, wait_ms, look.wall_ms)
        case AlertTrigger.STALLED:
            return _stalled(row, wait_ms, look.serving)
        case AlertTrigger.QUEUE_WAIT | AlertTrigger.UNSERVED:
            return _queued(rule, row, lane, wait_ms, look)
        case _:
            return None


def _waiting(row: RunRow, wait_ms: int, now_ms: int) -> Holds | None:
    if row.status is not Status.WAITING:
        return None
    question = row.awaited()
    if question is None:
        since, mark, words = row.progress_at or row.last_event_at, 0, "an approval"
    else:
        since, mark = question.asked_at, question.question_id
        words = "an answer" + (f": {question.text}" if question.text else "")
    waited_ms = now_ms - since
    if waited_ms < wait_ms:
        return None
    return Holds(f"{_whose(row)} has waited {_span(waited_ms)} for {words}"[:MAX_MESSAGE_CHARS], mark)


def _stalled(row: RunRow, wait_ms: int, serving: ServingElapsed) -> Holds | None:
    if row.status is not Status.RUNNING or row.idle:
        return None
    lasted_ms = standstill_ms(row, serving.elapsed_ms)
    return Holds(f"{_whose(row)} has made no progress for {_span(lasted_ms)}") if lasted_ms >= wait_ms else None


def _queued(rule: AlertRule, row: RunRow, lane: Lane | None, wait_ms: int, look: Look) -> Holds | None:
    if lane is None or lane.state is not QueueState.QUEUED or row.is_terminal():
        return None
    waited_ms = look.serving_ms - lane.queued_at
    if waited_ms < wait_ms:
        return None
    told = f"{_whose(row)} has waited {_span(waited_ms)} in the queue"
    if rule.trigger is AlertTrigger.QUEUE_WAIT:
        return Holds(told)
    served = is_served(lane, look.workers, look.busy, look.serving_ms)
    return None if served else Holds(f"{told}, and no worker serves it")


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
