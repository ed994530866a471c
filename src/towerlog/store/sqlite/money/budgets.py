"""What SQLite is asked about budgets: their rows, the runs in their scope, what was spent there; and their writing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

import apsw
import msgspec

from towerlog.model.budget import BudgetRow, BudgetScope, BudgetStep, HeldWanted, Reservation
from towerlog.model.run import TERMINAL, RunRow
from towerlog.model.usage import summed
from towerlog.store.columns import rows, state
from towerlog.store.columns.questions.money import is_wanted, span_of, spent_by_facts, spent_by_row
from towerlog.store.lookup_keys import Parent, SpentSince
from towerlog.store.sqlite import descent, reads
from towerlog.store.values import MAX_DESCENDANTS, Found

_MAX_NUMBER = 2**62
_BEHIND_ALL = "~"
"""Comes after every id of a reservation."""
_ENDED = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL))
# Not "or replace": that would take the row out of all indexes and put it in again, and most keys stay as they are.
_BUDGET = (
    "INSERT INTO budget (org, budget_id, number, due_at, doc) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (org, budget_id) DO UPDATE SET due_at = excluded.due_at, doc = excluded.doc"
)
_BUDGET_GONE = "DELETE FROM budget WHERE org = ? AND budget_id = ?"
_PAUSES_GONE = "DELETE FROM budget_pause WHERE org = ? AND budget_id = ?"
_PAUSED = "INSERT OR IGNORE INTO budget_pause (org, budget_id, run) VALUES (?, ?, ?)"
_PAUSE_OVER = "DELETE FROM budget_pause WHERE org = ? AND budget_id = ? AND run = ?"
_HELD = (
    "INSERT OR REPLACE INTO reservation (org, reservation_id, key_id, run, expires_at, doc) VALUES (?, ?, ?, ?, ?, ?)"
)
_SETTLED = "DELETE FROM reservation WHERE org = ? AND reservation_id = ?"


def write(
    db: apsw.Connection,
    budgets: Mapping[tuple[int, str], BudgetRow | None],
    pauses: Mapping[tuple[int, str, int], bool],
    reservations: Mapping[tuple[int, str], Reservation | None],
) -> None:
    """What a unit has changed of them."""
    for key, row in budgets.items():
        if row is None:
            db.execute(_BUDGET_GONE, key)
            db.execute(_PAUSES_GONE, key)
        else:
            db.execute(_BUDGET, state.budget_row(row))
    for (org, budget_id, run), is_paused in pauses.items():
        if budgets.get((org, budget_id), True) is not None:
            db.execute(_PAUSED if is_paused else _PAUSE_OVER, (org, budget_id, run))
    for held_key, held in reservations.items():
        if held is None:
            db.execute(_SETTLED, held_key)
        else:
            db.execute(_HELD, state.reservation_row(held))


def refresh_reservations(db: apsw.Connection, now_ms: int) -> None:
    """After a restart every reservation gets its whole time anew: whoever holds it could not settle it meanwhile."""
    held = [state.decode_reservation(row[0]) for row in db.execute("SELECT doc FROM reservation")]
    fresh = [msgspec.structs.replace(one, expires_at=now_ms + one.ttl_ms) for one in held]
    db.executemany(_HELD, map(state.reservation_row, fresh))


def budgets_of(db: apsw.Connection, org: int) -> tuple[BudgetRow, ...]:
    """All of an organisation, oldest first."""
    found = db.execute("SELECT doc FROM budget WHERE org = ? ORDER BY number", (org,))
    return tuple(state.decode_budget(row[0]) for row in found)


def budgets(db: apsw.Connection, org: int, limit: int, before: int | None) -> Found[BudgetRow]:
    """Those that are not deleted, newest first, below a number."""
    sql = "SELECT doc FROM budget WHERE org = ? AND number < ? ORDER BY number DESC"
    found = db.execute(sql, (org, _MAX_NUMBER if before is None else before))
    kept = (row for row in found if not state.decode_budget(row[0]).deleted)
    return rows.up_to_a_page(islice(kept, limit), lambda row: state.decode_budget(row[0]))


def budget(db: apsw.Connection, org: int, budget_id: str) -> BudgetRow | None:
    """One that is not deleted."""
    doc = reads.one(db, "SELECT doc FROM budget WHERE org = ? AND budget_id = ?", (org, budget_id))
    row = None if doc is None else state.decode_budget(doc)
    return None if row is None or row.deleted else row


def budget_due(db: apsw.Connection, now_ms: int) -> BudgetRow | None:
    """The one of any organisation about which there has been something to do for longest."""
    sql = "SELECT doc FROM budget WHERE due_at <= ? ORDER BY due_at LIMIT 1"
    # Those that have paused runs in a period that is not there yet: the clock was ahead.
    # The plus keeps SQLite from the index of `due_at`, by which it would read nearly all of them.
    ahead = "SELECT doc FROM budget WHERE json_extract(CAST(doc AS TEXT), '$.period_start') > ? AND +due_at > ? LIMIT 1"
    doc = db.execute(sql, (now_ms,)).get or db.execute(ahead, (now_ms, now_ms)).get
    return None if doc is None else state.decode_budget(doc)


def runs_of_step(db: apsw.Connection, row: BudgetRow, limit: int) -> list[RunRow]:
    """The next runs that a budget's step has to reach, by number: open ones in its scope; else those that it paused."""
    if row.step is BudgetStep.RESUME:
        sql = "SELECT run FROM budget_pause WHERE org = ? AND budget_id = ? AND run > ? ORDER BY run LIMIT ?"
        numbers = [found[0] for found in db.execute(sql, (row.org, row.budget_id, row.step_after, limit))]
        return descent.runs_in_order(db, numbers)
    scope = row.scope
    if scope.run_id is not None:
        return _open_in_tree(db, row.org, scope.run_id, row.step_after)[:limit]
    where, values = _where(scope)
    sql = f"SELECT doc FROM run WHERE org = ? AND run > ? AND status NOT IN ({_ENDED}){where} ORDER BY run LIMIT ?"
    found = db.execute(sql, (row.org, row.step_after, *values, limit))
    return [rows.decode_run(doc) for (doc,) in found]


def budgets_pausing(db: apsw.Connection, org: int) -> dict[str, int]:
    """How many runs each has paused, by its id."""
    sql = "SELECT budget_id, count(*) FROM budget_pause WHERE org = ? GROUP BY budget_id ORDER BY budget_id"
    return dict(db.execute(sql, (org,)))


def reservation(db: apsw.Connection, org: int, reservation_id: str) -> Reservation | None:
    """One that is open."""
    sql = "SELECT doc FROM reservation WHERE org = ? AND reservation_id = ?"
    doc = reads.one(db, sql, (org, reservation_id))
    return None if doc is None else state.decode_reservation(doc)


def reservations_open(db: apsw.Connection, org: int) -> dict[str, int]:
    """How many each key of an organisation has."""
    return dict(db.execute("SELECT key_id, count(*) FROM reservation WHERE org = ? GROUP BY key_id", (org,)))


def reservations(db: apsw.Connection, wanted: HeldWanted) -> Found[Reservation]:
    """Those that are open, newest first. There are so few of an organisation that a filter looks at all of them."""
    sql = "SELECT doc FROM reservation WHERE org = ? AND reservation_id < ? ORDER BY reservation_id DESC"
    found = db.execute(sql, (wanted.org, _BEHIND_ALL if wanted.before is None else wanted.before))
    kept = (row for row in found if is_wanted(state.decode_reservation(row[0]), wanted))
    return rows.up_to_a_page(islice(kept, wanted.limit), lambda row: state.decode_reservation(row[0]))


def reservations_of(db: apsw.Connection, run: int) -> list[Reservation]:
    """Those of a run that are open."""
    found = db.execute("SELECT doc FROM reservation WHERE run = ? ORDER BY reservation_id", (run,))
    return [state.decode_reservation(row[0]) for row in found]


def reservations_expired(db: apsw.Connection, now_ms: int, limit: int) -> list[Reservation]:
    """Those of any organisation whose time is over."""
    sql = "SELECT doc FROM reservation WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"
    return [state.decode_reservation(row[0]) for row in db.execute(sql, (now_ms, limit))]


def spent_since(db: apsw.Connection, wanted: SpentSince) -> int:
    """Nano-dollars. Of an organisation and an agent from the roll-ups, by the hour; of a thread and a tree exactly."""
    if wanted.by in ("organisation", "agent"):
        cells = reads.usage_by(db, wanted.org, "hour", span_of(wanted), _MAX_NUMBER)
        return summed(*[cell.usage.cost_nanos or 0 for cell in cells])
    if wanted.by == "thread":
        found = db.execute("SELECT doc FROM run WHERE org = ? AND thread_id = ?", (wanted.org, wanted.name))
        runs: Iterable[RunRow] = (rows.decode_run(doc) for (doc,) in found)
    else:
        runs = _tree(db, wanted.org, wanted.name) if wanted.top is None else _tree_of(db, wanted.top)
    return summed(*[_spent_in(db, run, wanted) for run in runs])


def _spent_in(db: apsw.Connection, row: RunRow, wanted: SpentSince) -> int:
    """What a run has spent in that time; from its events where its row does not tell."""
    spent = spent_by_row(row, wanted)
    if spent is not None:
        return spent
    found = db.execute(
        "SELECT facts FROM event WHERE run = ? AND recorded_at >= ? AND recorded_at < ?",
        (row.run, wanted.since, wanted.until),
    )
    return spent_by_facts((facts for (facts,) in found), wanted.since)


def _where(scope: BudgetScope) -> tuple[str, tuple[str, ...]]:
    if scope.agent is not None:
        return " AND agent = ?", (scope.agent,)
    return ("", ()) if scope.thread_id is None else (" AND thread_id = ?", (scope.thread_id,))


def _tree(db: apsw.Connection, org: int, run_id: str) -> list[RunRow]:
    top = reads.run(db, org, run_id)
    return [] if top is None else [top, *descent.run_descendants(db, org, top, MAX_DESCENDANTS)]


def _tree_of(db: apsw.Connection, top: Parent) -> list[RunRow]:
    """The same of a run that may not be stored yet: of a trace that other runs have, the children are theirs."""
    stored = reads.run(db, top.org, top.run_id)
    if stored is None:
        has_others = "SELECT 1 FROM run WHERE org = ? AND trace_id = ? LIMIT 1"
        if db.execute(has_others, (top.org, top.trace_id)).get is not None:
            top = top._replace(trace_id="")
        return descent.run_descendants(db, top.org, top, MAX_DESCENDANTS)
    return [stored, *descent.run_descendants(db, top.org, stored, MAX_DESCENDANTS)]


def _open_in_tree(db: apsw.Connection, org: int, run_id: str, after: int) -> list[RunRow]:
    still_open = (row for row in _tree(db, org, run_id) if row.run > after and not row.is_terminal())
    return sorted(still_open, key=lambda row: row.run)
