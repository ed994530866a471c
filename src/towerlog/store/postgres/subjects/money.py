"""What is asked about budgets and prices, and their writing: rows, runs in a budget's scope, what was spent there."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import msgspec

from towerlog.model.budget import BudgetRow, BudgetScope, BudgetStep, HeldWanted, Reservation
from towerlog.model.price import PriceRow
from towerlog.model.principal import shard_org
from towerlog.model.run import TERMINAL, RunRow
from towerlog.model.usage import summed
from towerlog.store.columns import rows, state
from towerlog.store.columns.questions.money import is_wanted, span_of, spent_by_facts, spent_by_row
from towerlog.store.lookup_keys import Parent, SpentSince
from towerlog.store.postgres.connections import MAX_PARAMETER, Db, told_text
from towerlog.store.postgres.per_org import each_org
from towerlog.store.postgres.reading import descent, runs, usage
from towerlog.store.postgres.times import moved_reservation
from towerlog.store.values import MAX_DESCENDANTS, Changes, Found

_BEHIND_ALL = "~"
"""Comes after every id of a reservation."""
_ENDED = [status.value for status in sorted(TERMINAL)]
_BUDGET = (
    "INSERT INTO budget (org, budget_id, number, due_at, doc, period_start) VALUES ($1, $2, $3, $4, $5, $6)"
    " ON CONFLICT (org, budget_id) DO UPDATE SET number = excluded.number, due_at = excluded.due_at,"
    " doc = excluded.doc, period_start = excluded.period_start"
)
_BUDGET_GONE = "DELETE FROM budget WHERE org = $1 AND budget_id = $2"
_PAUSES_GONE = "DELETE FROM budget_pause WHERE org = $1 AND budget_id = $2"
_PAUSED = "INSERT INTO budget_pause (org, budget_id, run) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_PAUSE_OVER = "DELETE FROM budget_pause WHERE org = $1 AND budget_id = $2 AND run = $3"
_HELD = (
    "INSERT INTO reservation (org, reservation_id, key_id, run, expires_at, doc) VALUES ($1, $2, $3, $4, $5, $6)"
    " ON CONFLICT (org, reservation_id) DO UPDATE SET key_id = excluded.key_id, run = excluded.run,"
    " expires_at = excluded.expires_at, doc = excluded.doc"
)
_SETTLED = "DELETE FROM reservation WHERE org = $1 AND reservation_id = $2"
_PRICE = (
    "INSERT INTO price (org, price_id, number, doc) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (org, price_id) DO UPDATE SET number = excluded.number, doc = excluded.doc"
)
_PRICE_GONE = "DELETE FROM price WHERE org = $1 AND price_id = $2"


async def write(db: Db, changes: Changes) -> None:
    """What a unit has changed of them."""
    gone = [key for key, row in changes.budgets.items() if row is None]
    await db.each(_BUDGET_GONE, gone)
    await db.each(_PAUSES_GONE, gone)
    kept = [row for row in changes.budgets.values() if row is not None]
    await db.each(_BUDGET, [(*state.budget_row(row), row.period_start) for row in kept])
    for (org, budget_id, run), is_paused in changes.budget_pauses.items():
        if changes.budgets.get((org, budget_id), True) is not None:
            await db.do(_PAUSED if is_paused else _PAUSE_OVER, org, budget_id, run)
    await db.each(_SETTLED, [key for key, held in changes.reservations.items() if held is None])
    held = [moved_reservation(one, db.times.offset_ms) for one in changes.reservations.values() if one is not None]
    await db.each(_HELD, map(state.reservation_row, held))
    await db.each(_PRICE_GONE, [key for key, price in changes.prices.items() if price is None])
    await db.each(_PRICE, [state.price_row(price) for price in changes.prices.values() if price is not None])


async def refresh_reservations(db: Db, database_ms: int) -> None:
    """After a restart every reservation gets its whole time anew: whoever holds it could not settle it meanwhile."""
    held = [state.decode_reservation(row[0]) for row in await db.rows("SELECT doc FROM reservation")]
    fresh = [msgspec.structs.replace(one, expires_at=database_ms + one.ttl_ms) for one in held]
    await db.each(_HELD, map(state.reservation_row, fresh))


async def budgets_of(db: Db, org: int) -> tuple[BudgetRow, ...]:
    """All of an organisation, oldest first."""
    found = await db.rows("SELECT doc FROM budget WHERE org = $1 ORDER BY number", org)
    return tuple(state.decode_budget(row[0]) for row in found)


async def budgets(db: Db, org: int, limit: int, before: int | None) -> Found[BudgetRow]:
    """Those that are not deleted, newest first, below a number."""
    sql = "SELECT doc FROM budget WHERE org = $1 AND number < $2 ORDER BY number DESC"
    found = await db.rows(sql, org, MAX_PARAMETER if before is None else before)
    kept = (row for row in found if not state.decode_budget(row[0]).deleted)
    return rows.up_to_a_page(islice(kept, limit), lambda row: state.decode_budget(row[0]))


async def budget(db: Db, org: int, budget_id: str) -> BudgetRow | None:
    """One that is not deleted."""
    doc = await db.value("SELECT doc FROM budget WHERE org = $1 AND budget_id = $2", org, budget_id)
    row = None if doc is None else state.decode_budget(doc)
    return None if row is None or row.deleted else row


async def budget_due(db: Db, now_ms: int) -> BudgetRow | None:
    """The one of any organisation about which there has been something to do for longest."""
    due = each_org("budget", "due_at IS NOT NULL", "due_at, doc", "due_at <= $1", "due_at", "1")
    found = await db.row(due, now_ms)
    if found is None:
        # Those that have paused runs in a period that is not there yet: the clock was ahead.
        ahead = "period_start > $1 AND due_at > $1"
        sql = each_org("budget", "due_at IS NOT NULL", "period_start, doc", ahead, "period_start", "1")
        found = await db.row(sql, now_ms)
    return None if found is None else state.decode_budget(found["doc"])


async def runs_of_step(db: Db, row: BudgetRow, limit: int) -> list[RunRow]:
    """The next runs that a budget's step has to reach, by number: open ones in its scope; else those that it paused."""
    if row.step is BudgetStep.RESUME:
        sql = (
            "SELECT run.doc FROM budget_pause AS paused JOIN run USING (org, run) WHERE paused.org = $1"
            " AND budget_id = $2 AND paused.run > $3 ORDER BY paused.run LIMIT $4"
        )
        found = await db.rows(sql, row.org, row.budget_id, row.step_after, limit)
        return [rows.decode_run(doc) for (doc,) in found]
    scope = row.scope
    if scope.run_id is not None:
        return (await _open_in_tree(db, row.org, scope.run_id, row.step_after))[:limit]
    where, values = _where(scope)
    sql = f"SELECT doc FROM run WHERE org = $1 AND run > $2 AND status <> ALL($3::text[]){where} ORDER BY run LIMIT $4"
    found = await db.rows(sql, row.org, row.step_after, _ENDED, limit, *values)
    return [rows.decode_run(doc) for (doc,) in found]


async def budgets_pausing(db: Db, org: int) -> dict[str, int]:
    """How many runs each has paused, by its id."""
    sql = "SELECT budget_id, count(*) FROM budget_pause WHERE org = $1 GROUP BY budget_id ORDER BY budget_id"
    return {told_text(row[0]): row[1] for row in await db.rows(sql, org)}


async def reservation(db: Db, org: int, reservation_id: str) -> Reservation | None:
    """One that is open."""
    sql = "SELECT doc FROM reservation WHERE org = $1 AND reservation_id = $2"
    doc = await db.value(sql, org, reservation_id)
    return None if doc is None else _reservation(db, doc)


def _reservation(db: Db, doc: bytes) -> Reservation:
    return moved_reservation(state.decode_reservation(doc), -db.times.offset_ms)


async def reservations_open(db: Db, org: int) -> dict[str, int]:
    """How many each key of an organisation has."""
    found = await db.rows("SELECT key_id, count(*) FROM reservation WHERE org = $1 GROUP BY key_id", org)
    return {row[0]: row[1] for row in found}


async def reservations(db: Db, wanted: HeldWanted) -> Found[Reservation]:
    """Those that are open, newest first. There are so few of an organisation that a filter looks at all of them."""
    sql = "SELECT doc FROM reservation WHERE org = $1 AND reservation_id < $2 ORDER BY reservation_id DESC"
    found = await db.rows(sql, wanted.org, _BEHIND_ALL if wanted.before is None else wanted.before)
    kept = (row for row in found if is_wanted(state.decode_reservation(row[0]), wanted))
    return rows.up_to_a_page(islice(kept, wanted.limit), lambda row: _reservation(db, row[0]))


async def reservations_of(db: Db, run: int) -> list[Reservation]:
    """Those of a run that are open."""
    sql = "SELECT doc FROM reservation WHERE org = $1 AND run = $2 ORDER BY reservation_id"
    return [_reservation(db, row[0]) for row in await db.rows(sql, shard_org(run), run)]


async def reservations_expired(db: Db, now_ms: int, limit: int) -> list[Reservation]:
    """Those of any organisation whose time is over."""
    sql = each_org("reservation", "true", "expires_at, doc", "expires_at <= $1", "expires_at", "$2")
    return [_reservation(db, row["doc"]) for row in await db.rows(sql, now_ms + db.times.offset_ms, limit)]


async def spent_since(db: Db, wanted: SpentSince) -> int:
    """Nano-dollars. Of an organisation and an agent from the roll-ups, by the hour; of a thread and a tree exactly."""
    if wanted.by in ("organisation", "agent"):
        cells = await usage.usage_by(db, wanted.org, "hour", span_of(wanted), MAX_PARAMETER)
        return summed(*[cell.usage.cost_nanos or 0 for cell in cells])
    if wanted.by == "thread":
        found = await db.rows("SELECT doc FROM run WHERE org = $1 AND thread_id = $2", wanted.org, wanted.name)
        of_scope: Iterable[RunRow] = [rows.decode_run(doc) for (doc,) in found]
    elif wanted.top is None:
        of_scope = await _tree(db, wanted.org, wanted.name)
    else:
        of_scope = await _tree_of(db, wanted.top)
    return summed(*[await _spent_in(db, run, wanted) for run in of_scope])


async def _spent_in(db: Db, row: RunRow, wanted: SpentSince) -> int:
    """What a run has spent in that time; from its events where its row does not tell."""
    spent = spent_by_row(row, wanted)
    if spent is not None:
        return spent
    sql = (
        "SELECT facts FROM place JOIN event USING (org, position, recorded_at)"
        " WHERE org = $1 AND run = $2 AND recorded_at >= $3 AND recorded_at < $4"
    )
    found = await db.rows(sql, row.org, row.run, wanted.since, wanted.until)
    return spent_by_facts((facts for (facts,) in found), wanted.since)


def _where(scope: BudgetScope) -> tuple[str, tuple[str, ...]]:
    if scope.agent is not None:
        return " AND agent = $5", (scope.agent,)
    return ("", ()) if scope.thread_id is None else (" AND thread_id = $5", (scope.thread_id,))


async def _tree(db: Db, org: int, run_id: str) -> list[RunRow]:
    top = await runs.run(db, org, run_id)
    return [] if top is None else [top, *await descent.run_descendants(db, org, top, MAX_DESCENDANTS)]


async def _tree_of(db: Db, top: Parent) -> list[RunRow]:
    """The same of a run that may not be stored yet: of a trace that other runs have, the children are theirs."""
    stored = await runs.run(db, top.org, top.run_id)
    if stored is None:
        has_others = "SELECT 1 FROM run WHERE org = $1 AND trace_id = $2 LIMIT 1"
        if await db.value(has_others, top.org, top.trace_id) is not None:
            top = top._replace(trace_id="")
        return await descent.run_descendants(db, top.org, top, MAX_DESCENDANTS)
    return [stored, *await descent.run_descendants(db, top.org, stored, MAX_DESCENDANTS)]


async def _open_in_tree(db: Db, org: int, run_id: str, after: int) -> list[RunRow]:
    still_open = (row for row in await _tree(db, org, run_id) if row.run > after and not row.is_terminal())
    return sorted(still_open, key=lambda row: row.run)


async def prices_of(db: Db, org: int) -> tuple[PriceRow, ...]:
    """All of an organisation, oldest first."""
    found = await db.rows("SELECT doc FROM price WHERE org = $1 ORDER BY number", org)
    return tuple(state.decode_price(row[0]) for row in found)


async def prices(db: Db, org: int, limit: int, before: int | None) -> Found[PriceRow]:
    """Newest first, below a number."""
    sql = "SELECT doc FROM price WHERE org = $1 AND number < $2 ORDER BY number DESC LIMIT $3"
    found = await db.rows(sql, org, MAX_PARAMETER if before is None else before, limit)
    return rows.up_to_a_page(found, lambda row: state.decode_price(row[0]))


async def price(db: Db, org: int, price_id: str) -> PriceRow | None:
    """One."""
    doc = await db.value("SELECT doc FROM price WHERE org = $1 AND price_id = $2", org, price_id)
    return None if doc is None else state.decode_price(doc)
