"""Usage for people: roll-up cells added up by hour, agent or model, in the store; and budgets with their pace."""

from __future__ import annotations

from typing import assert_never

import msgspec

from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import Invalid, NotFound
from towerlog.model.budget import (
    BudgetNow,
    BudgetRow,
    GetBudget,
    HeldWanted,
    ListBudgets,
    ListReservations,
    ReservationNow,
    SpendingPace,
)
from towerlog.model.outcome import Page
from towerlog.model.principal import Principal
from towerlog.model.question import GetUsage
from towerlog.model.usage import UsageRow, summed
from towerlog.projections import budgets as fold
from towerlog.projections.usage import HOUR_MS
from towerlog.store.values import UsageSpan

DEFAULT_SPAN_HOURS = 24 * 7
MAX_SPAN_HOURS = 24 * 366
_HOUR_DIGITS = 12


async def answer(source: QueryContext, principal: Principal, wanted: GetUsage) -> Page:
    """Groups in the order of their name (or hour). Raises Invalid for a span of more than a year."""
    until = -(-wanted.until // HOUR_MS) if wanted.until is not None else source.clock.now_ms() // HOUR_MS + 1
    since = wanted.since // HOUR_MS if wanted.since is not None else until - DEFAULT_SPAN_HOURS
    if until - since > MAX_SPAN_HOURS:
        raise Invalid("since: is more than 366 days before the end", field="since")
    after: int | str | None = wanted.after
    if wanted.by == "hour" and wanted.after is not None:
        after = _hour_of(wanted.after)
    span = UsageSpan(since, until, wanted.agent, wanted.model, after)
    rows = await source.store.usage_by(principal.org, wanted.by, span, wanted.limit + 1)
    page = rows[: wanted.limit]
    more = _key_of(page[-1], wanted.by) if len(rows) > wanted.limit else None
    return Page(page, more, (since * HOUR_MS, until * HOUR_MS))


def _hour_of(key: str) -> int:
    """The hour of a page's key. Raises Invalid."""
    if not (key.isascii() and key.isdigit() and len(key) == _HOUR_DIGITS):
        raise Invalid("cursor: is not a cursor of this list", field="cursor")
    return int(key)


def _key_of(row: UsageRow, by: str) -> str:
    """What the next page begins after."""
    match by:
        case "agent":
            return row.agent
        case "model":
            return row.model
        case _:
            return f"{row.hour:0{_HOUR_DIGITS}d}"


# Budgets

PACE_HOURS = 24
"""The pace is that of so many hours at most: of the present period, or of the last ones."""


async def answer_budgets(
    source: QueryContext, principal: Principal, command: ListBudgets | GetBudget
) -> Page | BudgetNow:
    """One budget, or a page of them. Raises NotFound."""
    store, org, now_ms = source.store, principal.org, source.clock.now_ms()
    match command:
        case GetBudget(budget_id):
            row = await store.budget(org, budget_id)
            if row is None:
                raise NotFound("budget")
            return await budget_now(source, row, now_ms)
        case ListBudgets(limit, before):
            found = await store.budgets(org, limit + 1, before)
            page, more = page_of(found, limit)
            return Page([await budget_now(source, row, now_ms) for row in page], str(page[-1].number) if more else None)
        case _:
            assert_never(command)


async def answer_reservations(source: QueryContext, principal: Principal, command: ListReservations) -> Page:
    """A page of open reservations. Raises NotFound for a run that is not there."""
    store, org = source.store, principal.org
    run = None if command.run_id is None else (await source.run_of(principal, command.run_id)).run
    wanted = HeldWanted(org, command.limit + 1, command.before, command.budget_id, run, command.key_id)
    page, more = page_of(await store.reservations(wanted), command.limit)
    rows = await store.runs_by_number(org, list({one.run for one in page})) if page else {}
    walls = source.serving.walls()
    views = [
        ReservationNow(msgspec.structs.replace(one, expires_at=walls(one.expires_at)), rows[one.run].run_id)
        for one in page
        if one.run in rows
    ]
    return Page(views, page[-1].reservation_id if more else None)


async def budget_now(source: QueryContext, stored: BudgetRow, now_ms: int) -> BudgetNow:
    """A budget in its present period, with its pace."""
    row = fold.current(stored, now_ms)
    return BudgetNow(row, pace=await _pace(source, row, now_ms))


async def _pace(source: QueryContext, row: BudgetRow, now_ms: int) -> SpendingPace:
    """Of an organisation and an agent by the roll-ups, since the first hour in which they spent something; of others by
    what the budget has counted."""
    scope = row.scope
    if scope.organisation or scope.agent is not None:
        first, end = max(row.period_start, now_ms - PACE_HOURS * HOUR_MS) // HOUR_MS, now_ms // HOUR_MS + 1
        cells = await source.store.usage_by(row.org, "hour", UsageSpan(first, end, scope.agent), PACE_HOURS + 1)
        spent = summed(*[cell.usage.cost_nanos or 0 for cell in cells])
        began = min((cell.hour for cell in cells if cell.usage.cost_nanos), default=first) * HOUR_MS
    else:
        spent, began = row.spent_nanos - row.begun_nanos, row.period_start or row.begun_at
    return fold.pace(row, spent, now_ms - began, now_ms)
