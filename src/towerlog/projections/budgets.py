"""The counter of a budget: what spending, a new period and a change of its amount make of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import msgspec

from towerlog.model.budget import (
    MAX_COUNTED_HOLDERS,
    MAX_REFUSALS_TOLD,
    BudgetAction,
    BudgetRow,
    BudgetScope,
    BudgetStep,
    Period,
    PeriodCount,
    Reservation,
    SpendingPace,
    period_start,
)
from towerlog.model.computed_costs import MINUTE_MS
from towerlog.model.times import LATEST_MS
from towerlog.model.usage import MAX_SUM, summed
from towerlog.projections.usage import HOUR_MS

MIN_PACE_MS = 300_000
"""What was spent in less is taken for what is spent in so much: nothing follows from the first seconds of a period."""
MAX_AHEAD = 4
"""Periods ahead of the present one that are known of a clock that was ahead."""
_replace = msgspec.structs.replace
Counted = TypeVar("Counted", BudgetRow, PeriodCount)


class Crossed(NamedTuple):
    """A budget after some money was spent, and which of its thresholds are to be told of with that."""

    row: BudgetRow
    warns: bool
    exceeds: bool


def current(row: BudgetRow, now_ms: int) -> BudgetRow:
    """The budget in the period of this moment: a new one begins with nothing spent.

    Wherever the clock was set to in between, a period goes on with what it has counted.
    """
    if row.period is Period.TOTAL:
        return row
    start = period_start(row.period, now_ms)
    if start == row.period_start:
        return row
    counts = {one.start: one for one in row.aside}
    counts[row.period_start] = PeriodCount(
        row.period_start,
        row.spent_nanos,
        row.warning_told,
        row.exceeded_told,
        row.kept_nanos,
        row.unpriced_calls,
    )
    now = counts.pop(start, PeriodCount(start))
    row = _replace(
        row,
        period_start=start,
        spent_nanos=now.spent_nanos,
        warning_told=now.warning_told,
        exceeded_told=now.exceeded_told,
        kept_nanos=now.kept_nanos,
        unpriced_calls=now.unpriced_calls,
        aside=_aside(counts, start),
    )
    return stopping(row) if row.is_stopping() else _going_on(row)


def _aside(counts: dict[int, PeriodCount], start: int) -> tuple[PeriodCount, ...]:
    """Of other periods, the last one before this one and the first ones after it."""
    before = [one for one in sorted(counts) if one < start][-1:]
    ahead = [one for one in sorted(counts) if one > start][:MAX_AHEAD]
    return tuple(counts[one] for one in before + ahead)


def spent(row: BudgetRow, cost_nanos: int, now_ms: int) -> Crossed:
    """After money was spent; less than 0 where a correction takes some back. Each threshold is told of once a period;
    what it stops, and what goes on, follows the sum.

    Who spends the whole amount at once is told that it is exceeded, and warned as well.
    """
    return spent_in_period(current(row, now_ms), cost_nanos)


def unnoticed_below(row: BudgetRow) -> int:
    """The sum below which nothing follows from what is spent of it: nobody is told, and no run is stopped."""
    if row.is_stopping() or row.is_held_up():
        return -MAX_SUM
    if not row.warning_told:
        return min(row.warn_nanos, row.amount_nanos)
    # Once it was told of, a correction may have ended it: whoever spends it again begins it again.
    return MAX_SUM if row.exceeded_told and row.is_exceeded else row.amount_nanos


def spent_in_period(row: BudgetRow, cost_nanos: int) -> Crossed:
    """The same of a budget that is in the period of this moment."""
    # A period that began with what the roll-ups had of it, by the senders' clocks, may get back more than it has.
    least = -MAX_SUM if row.period is Period.TOTAL else 0
    after = _replace(row, spent_nanos=max(least, summed(row.spent_nanos, cost_nanos)))
    if after.is_stopping() and not row.is_stopping():
        after = stopping(after)
    elif after.is_held_up():
        after = _going_on(after)
    return told(after)


def told(row: BudgetRow) -> Crossed:
    """A budget after all was told of that its sum has crossed, and what of that was not told before."""
    exceeds = row.is_exceeded and not row.exceeded_told
    warns = (exceeds or row.spent_nanos >= row.warn_nanos) and not row.warning_told
    if warns or exceeds:
        row = _replace(row, warning_told=True, exceeded_told=row.exceeded_told or exceeds)
    return Crossed(row, warns, exceeds)


def changed(asked: BudgetRow, now_ms: int, was: BudgetRow | None = None) -> BudgetRow:
    """A budget that was made or changed; `was`: it as it was before. What is over new thresholds is yet to be told.

    One that is not used up any more lets its runs go on.
    """
    asked = current(asked, now_ms)
    keeps_warning, keeps_end = _kept_thresholds(asked, was)
    after = _told_of(asked, keeps_warning, keeps_end)
    after = _replace(after, aside=tuple(_told_of(one, keeps_warning, keeps_end) for one in asked.aside))
    if not after.is_stopping():
        return _going_on(after)
    is_stopped = was is not None and was.is_stopping() and was.action is after.action
    return after if is_stopped and after.step is not BudgetStep.RESUME else stopping(after)


def deleted(row: BudgetRow) -> BudgetRow | None:
    """After it was deleted; None where nothing is left to be done for it."""
    return _going_on(_replace(row, deleted=True)) if row.has_paused else None


def lost(org: int, budget_id: str, number: int, name: str, now_ms: int) -> BudgetRow:
    """What stands for a budget that is gone and has paused runs: until they are asked to go on, as after a deletion."""
    row = BudgetRow(
        org=org,
        budget_id=budget_id,
        number=number,
        name=name,
        scope=BudgetScope(thread_id=""),  # of nothing
        amount_nanos=0,
        period=Period.TOTAL,
        action=BudgetAction.PAUSE,
        warn_at=1.0,
        warn_nanos=0,
        created_at=now_ms,
        deleted=True,
        has_paused=True,
    )
    return _going_on(row)


def held(row: BudgetRow, amount_nanos: int, key_id: str) -> BudgetRow:
    """With a reservation of a key more; or, for an amount below 0, less."""
    holders = {name: nanos for name, nanos in row.held_by.items() if name != key_id}
    own = row.held_by.get(key_id, 0) + amount_nanos
    if own > 0 and len(holders) < MAX_COUNTED_HOLDERS:
        holders[key_id] = own
    return _replace(row, reserved_nanos=max(0, row.reserved_nanos + amount_nanos), held_by=holders)


def joined(row: BudgetRow, reservations: Iterable[Reservation], *, has_paused: bool) -> BudgetRow:
    """A budget with all that open reservations hold of it, oldest first; `has_paused`: it has paused runs, which go on
    where nothing stops them."""
    row = _replace(row, reserved_nanos=0, held_by={}, has_paused=row.has_paused or has_paused)
    for one in reservations:
        row = held(row, one.amount_nanos, one.key_id)
    return _going_on(row) if row.is_held_up() else row


def kept(row: BudgetRow, amount_nanos: int, key_id: str) -> BudgetRow:
    """After a call whose cost nobody knows has settled a reservation of so much: it stays held in this period."""
    return _replace(held(row, -amount_nanos, key_id), kept_nanos=summed(row.kept_nanos, amount_nanos))


def unpriced(row: BudgetRow, calls: int) -> BudgetRow:
    """With so many calls more whose cost nobody knows; less than 0: theirs is known now. With the last of them, nothing
    is held for any."""
    if not calls:
        return row
    left = max(0, row.unpriced_calls + calls)
    return _replace(row, unpriced_calls=left, kept_nanos=row.kept_nanos if left or calls > 0 else 0)


def has_room(row: BudgetRow, amount_nanos: int) -> bool:
    """Whether so much more may be spent, whatever is held already."""
    return row.spent_nanos + row.held_nanos() + amount_nanos <= row.amount_nanos


def refused(row: BudgetRow, now_ms: int) -> BudgetRow | None:
    """After a reservation that it refused and tells of; None where it has told of enough of them in this minute."""
    is_new = not 0 <= now_ms - row.refused_since < MINUTE_MS
    if is_new:
        return _replace(row, refused_since=now_ms, refusals_told=1)
    return _replace(row, refusals_told=row.refusals_told + 1) if row.refusals_told < MAX_REFUSALS_TOLD else None


def stepped(row: BudgetRow, after: int | None) -> BudgetRow | None:
    """After a step, which reached runs up to this number; None: all of them. The budget is None once that is over."""
    if after is not None:
        return _replace(row, step_after=after)
    is_over = row.step is BudgetStep.RESUME
    row = _replace(row, step=None, step_after=0, has_paused=row.has_paused and not is_over)
    return None if row.deleted and is_over else row


def pace(row: BudgetRow, spent_nanos: int, elapsed_ms: int, now_ms: int) -> SpendingPace:
    """The pace of what was spent in so many milliseconds, and when the budget ends if it goes on like this."""
    left, resets_at, elapsed_ms = row.amount_nanos - row.spent_nanos, row.resets_at(), max(MIN_PACE_MS, elapsed_ms)
    nanos_per_hour = max(0, spent_nanos) * HOUR_MS // elapsed_ms
    if left <= 0 or spent_nanos <= 0:
        return SpendingPace(nanos_per_hour, None)
    ends_at = min(now_ms + left * elapsed_ms // spent_nanos, LATEST_MS)
    return SpendingPace(nanos_per_hour, None if resets_at is not None and ends_at >= resets_at else ends_at)


def _kept_thresholds(row: BudgetRow, was: BudgetRow | None) -> tuple[bool, bool]:
    """Whether the budget warns, and whether it ends, where it did before: what was told of that stays told."""
    if was is None or row.period is not was.period:
        return False, False
    return row.warn_nanos == was.warn_nanos, row.amount_nanos == was.amount_nanos


def _told_of(counted: Counted, warning: bool, end: bool) -> Counted:
    """What was told of a period, without that of thresholds which are not the same any more."""
    return _replace(counted, warning_told=counted.warning_told and warning, exceeded_told=counted.exceeded_told and end)


def stopping(row: BudgetRow) -> BudgetRow:
    """All open runs in its scope are to be asked to pause or to end."""
    return _replace(row, step=BudgetStep.STOP, step_after=0)


def _going_on(row: BudgetRow) -> BudgetRow:
    """A stop that is under way ends where it is; what was paused goes on, by the action that paused it."""
    return _replace(row, step=BudgetStep.RESUME if row.has_paused else None, step_after=0)
