"""What SQLite is asked about rules, alerts and deliveries; and their writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import apsw

from towerlog.model.alert import FACTS, AlertRow, AlertRule, AlertState, WindowCount
from towerlog.model.delivery import (
    DeliveriesAfter,
    Delivery,
    DeliveryBody,
    DeliveryState,
    DueFound,
    DueWanted,
    OutboxCounts,
)
from towerlog.model.usage import MAX_SUM
from towerlog.store.columns import rows
from towerlog.store.columns.removal import HIDDEN
from towerlog.store.columns.state import (
    DELIVERY_COLUMNS,
    alert_row,
    alert_value,
    body_row,
    body_value,
    decode_rule,
    delivery_row,
    delivery_value,
    rule_row,
)
from towerlog.store.sqlite import reads
from towerlog.store.sqlite.connections.transaction import transaction
from towerlog.store.values import Changes, Found

T = TypeVar("T")
_MAX_NUMBER = 2**62
_RULE = "INSERT OR REPLACE INTO alert_rule (org, rule_id, number, timed, doc) VALUES (?, ?, ?, ?, ?)"
_RULE_GONE = "DELETE FROM alert_rule WHERE org = ? AND rule_id = ?"
_WINDOWS_GONE = "DELETE FROM alert_window WHERE org = ? AND rule_id = ?"
_WINDOWS_OLD = "DELETE FROM alert_window WHERE minute < ?"
_WINDOW = (
    "INSERT INTO alert_window (org, rule_id, minute, runs, failed, spent_nanos) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (org, rule_id, minute) DO UPDATE SET runs = runs + excluded.runs, failed = failed + excluded.failed,"
    f" spent_nanos = CASE WHEN spent_nanos = {MAX_SUM} THEN spent_nanos"
    f" ELSE CAST(max(-{MAX_SUM}, min(spent_nanos + excluded.spent_nanos, {MAX_SUM})) AS INTEGER) END"
)
_ALERT = (
    "INSERT INTO alert (org, alert_id, number, rule_id, subject, episode, state, fired_at, position, doc)"
    " VALUES (?1, ?2, (SELECT ifnull(max(number), 0) + 1 FROM alert WHERE org = ?1), ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    " ON CONFLICT (org, alert_id) DO UPDATE SET state = excluded.state, position = excluded.position,"
    " doc = excluded.doc"
)
_DELIVERY = (
    "INSERT INTO delivery (org, delivery_id, number, rule_id, alert_id, state, receiver, due_at, created_at, body_id,"
    " doc)"
    " VALUES (?1, ?2, (SELECT ifnull(max(number), 0) + 1 FROM delivery WHERE org = ?1), ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
    " ?10)"
    " ON CONFLICT (org, delivery_id) DO UPDATE SET state = excluded.state, due_at = excluded.due_at, doc = excluded.doc"
)
_BODY = (
    "INSERT INTO delivery_body (org, body_id, alert_id, unwritten, place, body, doc) VALUES (?1, ?2, ?3, ?4,"
    " (SELECT ifnull(max(place), 0) + 1 FROM delivery_body WHERE org = ?1 AND unwritten > 0), ?5, ?6)"
    " ON CONFLICT (org, body_id) DO UPDATE SET unwritten = excluded.unwritten, doc = excluded.doc"
)
_BODY_GONE = (
    "DELETE FROM delivery_body WHERE org = ?1 AND body_id = ?2 AND unwritten = 0"
    " AND NOT EXISTS (SELECT 1 FROM delivery WHERE org = ?1 AND body_id = ?2)"
)


def write(db: apsw.Connection, changes: Changes) -> None:
    """What a unit has changed of them."""
    for key, rule in changes.alert_rules.items():
        if rule is None:
            db.execute(_RULE_GONE, key)
            db.execute(_WINDOWS_GONE, key)
        else:
            db.execute(_RULE, rule_row(rule))
    for (org, rule_id, minute), counted in changes.alert_windows.items():
        if changes.alert_rules.get((org, rule_id), True) is not None:
            db.execute(_WINDOW, (org, rule_id, minute, *counted))
    db.executemany(_ALERT, map(alert_row, changes.alerts.values()))
    db.executemany(_BODY, map(body_row, changes.delivery_bodies.values()))
    db.executemany(_DELIVERY, map(delivery_row, changes.deliveries.values()))


# What a unit is asked


def rules_of(db: apsw.Connection, org: int) -> tuple[AlertRule, ...]:
    """All of an organisation, oldest first."""
    found = db.execute("SELECT doc FROM alert_rule WHERE org = ? ORDER BY number", (org,))
    return tuple(decode_rule(row[0]) for row in found)


def newest_alert(db: apsw.Connection, org: int, rule_id: str, subject: str) -> AlertRow | None:
    """The last one of a rule about a subject."""
    where = "org = ? AND rule_id = ? AND subject = ? ORDER BY episode DESC LIMIT 1"
    return _first(db, "alert", where, (org, rule_id, subject), alert_value)


def outbox_counts(db: apsw.Connection, org: int) -> OutboxCounts:
    """How many messages wait."""
    pending = reads.one(db, "SELECT count(*) FROM delivery WHERE org = ? AND due_at IS NOT NULL", (org,))
    unwritten = "SELECT ifnull(sum(unwritten), 0) FROM delivery_body WHERE org = ? AND unwritten > 0"
    return OutboxCounts(pending, reads.one(db, unwritten, (org,)))


def bodies_unwritten(db: apsw.Connection, org: int, limit: int) -> list[DeliveryBody]:
    """Those of which some delivery is not written yet, in the order of their making."""
    sql = "SELECT body, doc FROM delivery_body WHERE org = ? AND unwritten > 0 ORDER BY place LIMIT ?"
    found = db.execute(sql, (org, limit))
    return list(map(body_value, found))


def deliveries_after(db: apsw.Connection, wanted: DeliveriesAfter) -> list[Delivery]:
    """Deliveries above a number, oldest first, without what they tell."""
    where, values = _where(wanted.org, {"rule_id": wanted.rule_id or None, "state": wanted.state or None})
    sql = f"SELECT number, NULL, doc FROM delivery WHERE {where} AND number > ? ORDER BY number LIMIT ?"
    return [delivery_value(row) for row in db.execute(sql, (*values, wanted.after, wanted.limit))]


# What readers ask


def rule(db: apsw.Connection, org: int, rule_id: str) -> AlertRule | None:
    """One rule."""
    doc = reads.one(db, "SELECT doc FROM alert_rule WHERE org = ? AND rule_id = ?", (org, rule_id))
    return None if doc is None else decode_rule(doc)


def rules(db: apsw.Connection, org: int, limit: int, before: int | None) -> Found[AlertRule]:
    """Rules, newest first, below a number."""
    sql = "SELECT doc FROM alert_rule WHERE org = ? AND number < ? ORDER BY number DESC LIMIT ?"
    found = db.execute(sql, (org, _MAX_NUMBER if before is None else before, limit))
    return rows.up_to_a_page(found, lambda row: decode_rule(row[0]))


def alerts_open(db: apsw.Connection, org: int) -> dict[str, int]:
    """Rule id → how many of its alerts last."""
    sql = "SELECT rule_id, count(*) FROM alert WHERE org = ? AND state = 'ALERT' GROUP BY rule_id"
    return dict(db.execute(sql, (org,)))


def rules_timed(db: apsw.Connection, after: tuple[int, str], limit: int) -> list[AlertRule]:
    """Rules of all organisations that the timer looks at."""
    sql = "SELECT doc FROM alert_rule WHERE timed = 1 AND (org, rule_id) > (?, ?) ORDER BY org, rule_id LIMIT ?"
    return [decode_rule(row[0]) for row in db.execute(sql, (*after, limit))]


def alerts_open_of(db: apsw.Connection, org: int, rule_id: str, before: int | None, limit: int) -> list[AlertRow]:
    """Those of a rule that last, newest first, below a number."""
    sql = (
        "SELECT number, doc FROM alert WHERE org = ? AND rule_id = ? AND state = 'ALERT' AND number < ?"
        " ORDER BY number DESC LIMIT ?"
    )
    found = db.execute(sql, (org, rule_id, _MAX_NUMBER if before is None else before, limit))
    return [alert_value(row) for row in found]


def alerts_unwatched(
    db: apsw.Connection, after: tuple[int, str], rules: int, limit: int
) -> tuple[list[AlertRow], tuple[int, str] | None]:
    """Those that last although their rule is deleted or switched off, of some rules."""
    sql = (
        "SELECT org, rule_id FROM alert WHERE state = 'ALERT' AND (org, rule_id) > (?, ?) ORDER BY org, rule_id LIMIT 1"
    )
    found: list[AlertRow] = []
    for _ in range(rules):
        place = db.execute(sql, after).fetchone()
        if place is None:
            return found, None
        org, rule_id = place
        known = rule(db, org, rule_id)
        if known is None or not known.enabled:
            some = alerts_open_of(db, org, rule_id, None, limit)
            found += [one for one in some if one.trigger not in FACTS]
        after = place
        if len(found) >= limit:
            break
    return found, after


def alerts_newest(db: apsw.Connection, org: int, rule_id: str, subjects: Sequence[str]) -> dict[str, AlertRow]:
    """The last one of a rule about each of these."""
    found = ((subject, newest_alert(db, org, rule_id, subject)) for subject in subjects)
    return {subject: row for subject, row in found if row is not None}


def alert(db: apsw.Connection, org: int, alert_id: str) -> AlertRow | None:
    """One alert."""
    return _first(db, "alert", "org = ? AND alert_id = ?", (org, alert_id), alert_value)


def alerts(
    db: apsw.Connection, org: int, limit: int, before: int | None, rule_id: str | None, state: AlertState | None
) -> Found[AlertRow]:
    """Alerts, newest first, below a number."""
    return _page(db, "alert", org, limit, before, {"rule_id": rule_id, "state": state}, alert_value)


def alerts_since(db: apsw.Connection, org: int, position: int, limit: int) -> list[AlertRow]:
    """Those that have changed since a position of the log."""
    sql = "SELECT number, doc FROM alert WHERE org = ? AND position >= ? ORDER BY position LIMIT ?"
    return [alert_value(row) for row in db.execute(sql, (org, position, limit))]


def delivery(db: apsw.Connection, org: int, delivery_id: str) -> Delivery | None:
    """One delivery."""
    where = "org = ? AND delivery_id = ?"
    return _first(db, "delivery", where, (org, delivery_id), delivery_value, DELIVERY_COLUMNS)


def deliveries(
    db: apsw.Connection,
    org: int,
    limit: int,
    before: int | None,
    rule_id: str | None,
    alert_id: str | None,
    state: DeliveryState | None,
) -> Found[Delivery]:
    """Deliveries, newest first, below a number."""
    wanted = {"rule_id": rule_id, "alert_id": alert_id, "state": state}
    return _page(db, "delivery", org, limit, before, wanted, delivery_value, DELIVERY_COLUMNS)


def deliveries_waiting(db: apsw.Connection, after: int, limit: int) -> list[int]:
    """Organisations with messages that wait, behind this one."""
    return _orgs(db, "delivery", "due_at IS NOT NULL", after, limit)


def bodies_waiting(db: apsw.Connection, after: int, limit: int) -> list[int]:
    """Organisations with messages whose deliveries are not written yet, behind this one."""
    return _orgs(db, "delivery_body", "unwritten > 0", after, limit)


def _orgs(db: apsw.Connection, table: str, where: str, after: int, limit: int) -> list[int]:
    """Without those that are removed, for which nothing is sent any more."""
    found: list[int] = []
    sql = f"SELECT org FROM {table} WHERE {where} AND org > ? AND {HIDDEN} ORDER BY org LIMIT 1"
    while len(found) < limit and (row := db.execute(sql, (found[-1] if found else after,)).fetchone()) is not None:
        found.append(row[0])
    return found


_NEXT_RECEIVER = (
    "SELECT receiver FROM delivery WHERE org = ? AND receiver > ? AND due_at IS NOT NULL ORDER BY receiver LIMIT 1"
)
_DUE = (
    f"SELECT {DELIVERY_COLUMNS}, delivery_id FROM delivery WHERE org = ? AND receiver = ? AND due_at IS NOT NULL"
    " AND (due_at <= ? OR due_at > ?) ORDER BY due_at, number LIMIT ?"
)


def deliveries_due(db: apsw.Connection, wanted: DueWanted) -> DueFound:
    """See `DueWanted`."""
    under_way = Counter(one.channel.receiver() for one in wanted.under_way.values())
    rows: list[Delivery] = []
    receiver, is_more, found = wanted.after, False, 0
    for _ in range(wanted.looked):
        place = db.execute(_NEXT_RECEIVER, (wanted.org, receiver)).fetchone()
        if place is None:
            return DueFound(rows, None, is_more)
        receiver = place[0]
        room = wanted.each - under_way[receiver]
        due = db.execute(_DUE, (wanted.org, receiver, wanted.now_ms, wanted.horizon_ms, wanted.each + 1)).fetchall()
        fresh = [row for row in due if row[3] not in wanted.under_way]
        taken = [delivery_value(row) for row in fresh[:room]]
        is_more = is_more or len(fresh) > len(taken)
        rows += taken
        found += bool(taken)
        if found == wanted.found:
            break
    return DueFound(rows, receiver, is_more)


def drop_old(db: apsw.Connection, before_ms: int, kept: int, limit: int, before_minute: int) -> int:
    """Forgets alerts and deliveries from before this, and of each organisation all but so many of the newest; at most
    `limit` of each. Messages that wait are kept. How many went. Minutes of windows before `before_minute` go too."""
    with transaction(db, makes_room=True):
        return _drop_old(db, before_ms, kept, limit, before_minute)


def _drop_old(db: apsw.Connection, before_ms: int, kept: int, limit: int, before_minute: int) -> int:
    db.execute(_WINDOWS_OLD, (before_minute,))
    gone = 0
    for table, time, may_go, told in (
        ("delivery", "created_at", " AND due_at IS NULL", "body_id"),
        ("alert", "fired_at", "", "NULL"),
    ):
        for (org,) in db.execute("SELECT org FROM org").fetchall():
            newest = reads.one(db, f"SELECT max(number) FROM {table} WHERE org = ?", (org,)) or 0
            some = f"SELECT number, {told} FROM {table} WHERE org = ?{may_go} AND (number <= ? OR {time} < ?) LIMIT ?"
            found = db.execute(some, (org, newest - kept, before_ms, limit)).fetchall()
            db.executemany(f"DELETE FROM {table} WHERE org = ? AND number = ?", ((org, row[0]) for row in found))
            db.executemany(_BODY_GONE, ((org, name) for name in {row[1] for row in found} if name is not None))
            gone += len(found)
    return gone


def windows_of(db: apsw.Connection, org: int, rule_id: str, since_minute: int) -> WindowCount:
    """What a rule has added up from this minute on."""
    sql = "SELECT runs, failed, spent_nanos FROM alert_window WHERE org = ? AND rule_id = ? AND minute >= ?"
    counted = WindowCount()
    for row in db.execute(sql, (org, rule_id, since_minute)):
        counted = counted.plus(WindowCount(*row))
    return counted


def _first(
    db: apsw.Connection,
    table: str,
    where: str,
    values: Sequence[Any],
    value: Callable[[rows.Row], T],
    columns: str = "number, doc",
) -> T | None:
    row = db.execute(f"SELECT {columns} FROM {table} WHERE {where}", tuple(values)).fetchone()
    return None if row is None else value(row)


def _where(org: int, wanted: dict[str, str | None]) -> tuple[str, tuple[Any, ...]]:
    given = {name: value for name, value in wanted.items() if value is not None}
    where = "".join(f" AND {name} = ?" for name in given)
    return f"org = ?{where}", (org, *map(str, given.values()))


def _page(
    db: apsw.Connection,
    table: str,
    org: int,
    limit: int,
    before: int | None,
    wanted: dict[str, str | None],
    value: Callable[[rows.Row], T],
    columns: str = "number, doc",
) -> Found[T]:
    where, values = _where(org, wanted)
    sql = f"SELECT {columns} FROM {table} WHERE {where} AND number < ? ORDER BY number DESC LIMIT ?"
    found = db.execute(sql, (*values, _MAX_NUMBER if before is None else before, limit))
    return rows.up_to_a_page(found, value)
