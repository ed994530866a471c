"""What a rule makes of a run that comes into its scope after something has happened. Pure, and one law for a rule and
for a trial of it.

Senders' events overtake each other: what a run has spent, called and come to may be told before its thread, its parent,
its labels or its agent. It is judged as it stands with the event by which it comes into the scope.
"""

from __future__ import annotations

from collections.abc import Callable

from towerlog.engine.alerts.words import ENDS, told_of_cost, told_of_end, told_of_loop, window_ms_of
from towerlog.model.alert import MINUTE_MS, AlertRule, AlertTrigger, WindowCount
from towerlog.model.facts import Moved
from towerlog.model.run import RunRow
from towerlog.model.usage import summed
from towerlog.projections.alerts.conditions import crosses, holds_loop, split_calls


def as_it_stands(rule: AlertRule, row: RunRow, calls: Callable[[], bytes]) -> str | None:
    """What a rule tells of it; None for nothing. `calls`: the digests of what it has called last."""
    match rule.trigger:
        case AlertTrigger.COST_THRESHOLD:
            return told_of_cost(row) if (row.usage.cost_nanos or 0) >= (rule.config.amount_nanos or 0) else None
        case AlertTrigger.ERROR | AlertTrigger.LOST:
            return told_of_end(row) if ENDS.get(row.status) is rule.trigger else None
        case AlertTrigger.LOOP:
            is_one = holds_loop(split_calls(calls()), rule.config.times)
            return told_of_loop(row, None, rule.config.times) if is_one else None
        case _:
            return None


def counted_of_end(rule: AlertRule, row: RunRow, now_ms: int) -> tuple[int, WindowCount] | None:
    """(minute since the epoch, what a rule counts there) of a run that has ended before; None where that was before its
    window, or before the rule."""
    ended_at = row.ended_at if row.is_terminal() else None
    if ended_at is None or ended_at < max(rule.created_at, now_ms - window_ms_of(rule)):
        return None
    return ended_at // MINUTE_MS, WindowCount(1, int(row.status in ENDS))


def is_of_event(rule: AlertRule, before: RunRow, after: RunRow, moved: list[Moved]) -> bool:
    """Whether the very event has brought about what the rule watches for: it fires by that."""
    match rule.trigger:
        case AlertTrigger.COST_THRESHOLD:
            cost_nanos = after.usage.cost_nanos or 0
            spent_nanos = summed(*[one.nanos for one in moved])
            return crosses(cost_nanos - spent_nanos, cost_nanos, rule.config.amount_nanos or 0)
        case AlertTrigger.ERROR | AlertTrigger.LOST | AlertTrigger.FAILURE_RATE:
            return before.status is not after.status
        case _:
            return False
