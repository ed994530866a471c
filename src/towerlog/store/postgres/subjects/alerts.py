"""What is asked about rules, alerts and deliveries; and their writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

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
from towerlog.store.postgres.connections import MAX_PARAMETER, Db, numbered
from towerlog.store.values import Changes, Found

T = TypeVar("T")
_RULE = (
    "INSERT INTO alert_rule (org, rule_id, number, timed, doc) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (org, rule_id) DO UPDATE SET number = excluded.number, timed = excluded.timed, doc = excluded.doc"
)
_RULE_GONE = "DELETE FROM alert_rule WHERE org = $1 AND rule_id = $2"
_WINDOWS_GONE = "DELETE FROM alert_window WHERE org = $1 AND rule_id = $2"
_WINDOWS_OLD = "DELETE FROM alert_window WHERE minute < $1"
_WINDOW = (
    "INSERT INTO alert_window AS known (org, rule_id, minute, runs, failed, spent_nanos)"
    " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (org, rule_id, minute) DO UPDATE SET"
    " runs = known.runs + excluded.runs, failed = known.failed + excluded.failed,"
    f" spent_nanos = CASE WHEN known.spent_nanos = {MAX_SUM} THEN known.spent_nanos"
    f" ELSE greatest(-{MAX_SUM}, least(known.spent_nanos::numeric + excluded.spent_nanos, {MAX_SUM}))::bigint END"
)
_ALERT = (
    "INSERT INTO alert (org, alert_id, rule_id, subject, episode, state, fired_at, position, doc, number)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, (SELECT coalesce(max(number), 0) + 1 FROM alert WHERE org = $1))"
    " ON CONFLICT (org, alert_id) DO UPDATE SET state = excluded.state, position = excluded.position,"
    " doc = excluded.doc"
)
_DELIVERY = (
    "INSERT INTO delivery (org, delivery_id, rule_id, alert_id, state, receiver, due_at, created_at, body_id, doc,"
    " number) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,"
    " (SELECT coalesce(max(number), 0) + 1 FROM delivery WHERE org = $1))"
    " ON CONFLICT (org, delivery_id) DO UPDATE SET state = excluded.state, due_at = excluded.due_at, doc = excluded.doc"
)
_BODY = (
    "INSERT INTO delivery_body (org, body_id, alert_id, unwritten, place, body, doc) VALUES ($1, $2, $3, $4,"
    " (SELECT coalesce(max(place), 0) + 1 FROM delivery_body WHERE org = $1 AND unwritten > 0), $5, $6)"
    " ON CONFLICT (org, body_id) DO UPDATE SET unwritten = excluded.unwritten, doc = excluded.doc"
)
_BODY_GONE = (
    "DELETE FROM delivery_body WHERE org = $1 AND body_id = $2 AND unwritten = 0"
    " AND NOT EXISTS (SELECT 1 FROM delivery WHERE org = $1 AND body_id = $2)"
)
_ALERT_COLUMNS = "number, doc"


async def write(db: Db, changes: Changes) -> None:
    """What a unit has changed of them."""
    gone = [key for key, rule in changes.alert_rules.items() if rule is None]
    await db.each(_RULE_GONE, gone)
    await db.each(_WINDOWS_GONE, gone)
    for rule in changes.alert_rules.values():
        if rule is not None:
            org, rule_id, number, timed, doc = rule_row(rule)
            await db.do(_RULE, org, rule_id, number, bool(timed), doc)
    windows = [
        (org, rule_id, minute, *counted)
        for (org, rule_id, minute), counted in changes.alert_windows.items()
        if changes.alert_rules.get((org, rule_id), True) is not None
    ]
    await db.each(_WINDOW, windows)
    await db.each(_ALERT, map(alert_row, changes.alerts.values()))
    await db.each(_BODY, map(body_row, changes.delivery_bodies.values()))
    await db.each(_DELIVERY, map(delivery_row, changes.deliveries.values()))


# What a unit is asked


async def rules_of(db: Db, org: int) -> tuple[AlertRule, ...]:
    """All of an organisation, oldest first."""
    found = await db.rows("SELECT doc FROM alert_rule WHERE org = $1 ORDER BY number", org)
    return tuple(decode_rule(row[0]) for row in found)


async def newest_alert(db: Db, org: int, rule_id: str, subject: str) -> AlertRow | None:
    """The last one of a rule about a subject."""
    where = "org = $1 AND rule_id = $2 AND subject = $3 ORDER BY episode DESC LIMIT 1"
    row = await db.row(f"SELECT {_ALERT_COLUMNS} FROM alert WHERE {where}", org, rule_id, subject)
    return None if row is None else alert_value(row)


async def outbox_counts(db: Db, org: int) -> OutboxCounts:
    """How many messages wait."""
    sql = (
        "SELECT (SELECT count(*) FROM delivery WHERE org = $1 AND due_at IS NOT NULL),"
        " (SELECT coalesce(sum(unwritten), 0)::bigint FROM delivery_body WHERE org = $1 AND unwritten > 0)"
    )
    return OutboxCounts(*await db.row(sql, org))


async def bodies_unwritten(db: Db, org: int, limit: int) -> list[DeliveryBody]:
    """Those of which some delivery is not written yet, in the order of their making."""
    sql = "SELECT body, doc FROM delivery_body WHERE org = $1 AND unwritten > 0 ORDER BY place LIMIT $2"
    return list(map(body_value, await db.rows(sql, org, limit)))


async def deliveries_after(db: Db, wanted: DeliveriesAfter) -> list[Delivery]:
    """Deliveries above a number, oldest first, without what they tell."""
    where, values = _where({"rule_id": wanted.rule_id or None, "state": wanted.state or None})
    sql = f"SELECT number, NULL::bytea, doc FROM delivery WHERE org = ?{where} AND number > ? ORDER BY number LIMIT ?"
    found = await db.rows(numbered(sql), wanted.org, *values, wanted.after, wanted.limit)
    return [delivery_value(tuple(row)) for row in found]


# What readers ask


async def rule(db: Db, org: int, rule_id: str) -> AlertRule | None:
    """One rule."""
    doc = await db.value("SELECT doc FROM alert_rule WHERE org = $1 AND rule_id = $2", org, rule_id)
    return None if doc is None else decode_rule(doc)


async def rules(db: Db, org: int, limit: int, before: int | None) -> Found[AlertRule]:
    """Rules, newest first, below a number."""
    sql = "SELECT doc FROM alert_rule WHERE org = $1 AND number < $2 ORDER BY number DESC LIMIT $3"
    found = await db.rows(sql, org, MAX_PARAMETER if before is None else before, limit)
    return rows.up_to_a_page(found, lambda row: decode_rule(row[0]))


async def alerts_open(db: Db, org: int) -> dict[str, int]:
    """Rule id → how many of its alerts last."""
    sql = "SELECT rule_id, count(*) FROM alert WHERE org = $1 AND state = 'ALERT' GROUP BY rule_id"
    return {row[0]: row[1] for row in await db.rows(sql, org)}


async def rules_timed(db: Db, after: tuple[int, str], limit: int) -> list[AlertRule]:
    """Rules of all organisations that the timer looks at."""
    sql = "SELECT doc FROM alert_rule WHERE timed AND (org, rule_id) > ($1, $2) ORDER BY org, rule_id LIMIT $3"
    return [decode_rule(row[0]) for row in await db.rows(sql, *after, limit)]


async def alerts_open_of(db: Db, org: int, rule_id: str, before: int | None, limit: int) -> list[AlertRow]:
    """Those of a rule that last, newest first, below a number."""
    sql = (
        "SELECT number, doc FROM alert WHERE org = $1 AND rule_id = $2 AND state = 'ALERT' AND number < $3"
        " ORDER BY number DESC LIMIT $4"
    )
    found = await db.rows(sql, org, rule_id, MAX_PARAMETER if before is None else before, limit)
    return [alert_value(row) for row in found]


async def alerts_unwatched(
    db: Db, after: tuple[int, str], rules: int, limit: int
) -> tuple[list[AlertRow], tuple[int, str] | None]:
    """Those that last although their rule is deleted or switched off, of some rules."""
    sql = (
        "SELECT org, rule_id FROM alert WHERE state = 'ALERT' AND (org, rule_id) > ($1, $2) ORDER BY org, rule_id"
        " LIMIT 1"
    )
    found: list[AlertRow] = []
    for _ in range(rules):
        place = await db.row(sql, *after)
        if place is None:
            return found, None
        org, rule_id = place
        known = await rule(db, org, rule_id)
        if known is None or not known.enabled:
            some = await alerts_open_of(db, org, rule_id, None, limit)
            found += [one for one in some if one.trigger not in FACTS]
        after = (org, rule_id)
        if len(found) >= limit:
            break
    return found, after


async def alerts_newest(db: Db, org: int, rule_id: str, subjects: Sequence[str]) -> dict[str, AlertRow]:
    """The last one of a rule about each of these."""
    sql = (
        "SELECT newest.* FROM unnest($3::text[]) AS wanted (subject) CROSS JOIN LATERAL (SELECT number, doc FROM alert"
        " WHERE org = $1 AND rule_id = $2 AND alert.subject = wanted.subject ORDER BY episode DESC LIMIT 1) AS newest"
    )
    found = [alert_value(row) for row in await db.rows(sql, org, rule_id, list(subjects))]
    return {row.subject: row for row in found}


async def alert(db: Db, org: int, alert_id: str) -> AlertRow | None:
    """One alert."""
    row = await db.row(f"SELECT {_ALERT_COLUMNS} FROM alert WHERE org = $1 AND alert_id = $2", org, alert_id)
    return None if row is None else alert_value(row)


async def alerts(
    db: Db, org: int, limit: int, before: int | None, rule_id: str | None, state: AlertState | None
) -> Found[AlertRow]:
    """Alerts, newest first, below a number."""
    wanted = {"rule_id": rule_id, "state": state}
    return await _page(db, "alert", org, limit, before, wanted, alert_value, _ALERT_COLUMNS)


async def alerts_since(db: Db, org: int, position: int, limit: int) -> list[AlertRow]:
    """Those that have changed since a position of the log."""
    sql = "SELECT number, doc FROM alert WHERE org = $1 AND position >= $2 ORDER BY position LIMIT $3"
    return [alert_value(row) for row in await db.rows(sql, org, position, limit)]


async def delivery(db: Db, org: int, delivery_id: str) -> Delivery | None:
    """One delivery."""
    sql = f"SELECT {DELIVERY_COLUMNS} FROM delivery WHERE org = $1 AND delivery_id = $2"
    row = await db.row(sql, org, delivery_id)
    return None if row is None else delivery_value(tuple(row))


async def deliveries(
    db: Db,
    org: int,
    limit: int,
    before: int | None,
    rule_id: str | None,
    alert_id: str | None,
    state: DeliveryState | None,
) -> Found[Delivery]:
    """Deliveries, newest first, below a number."""
    wanted = {"rule_id": rule_id, "alert_id": alert_id, "state": state}
    return await _page(db, "delivery", org, limit, before, wanted, delivery_value, DELIVERY_COLUMNS)


async def deliveries_waiting(db: Db, after: int, limit: int) -> list[int]:
    """Organisations with messages that wait, behind this one."""
    return await _orgs(db, "delivery WHERE due_at IS NOT NULL", after, limit)


async def bodies_waiting(db: Db, after: int, limit: int) -> list[int]:
    """Organisations with messages whose deliveries are not written yet, behind this one."""
    return await _orgs(db, "delivery_body WHERE unwritten > 0", after, limit)


async def _orgs(db: Db, among: str, after: int, limit: int) -> list[int]:
    """Without those that are removed, for which nothing is sent any more."""
    following = f"SELECT min(org) FROM {among} AND {HIDDEN} AND org >"
    sql = (
        f"WITH RECURSIVE found (org, place) AS (SELECT ({following} $1), 1 UNION ALL SELECT ({following} found.org),"
        " place + 1 FROM found WHERE org IS NOT NULL AND place < $2) SELECT org FROM found WHERE org IS NOT NULL"
    )
    return [row[0] for row in await db.rows(sql, after, limit)]


_NEXT_RECEIVER = (
    "SELECT receiver FROM delivery WHERE org = $1 AND receiver > $2 AND due_at IS NOT NULL ORDER BY receiver LIMIT 1"
)
_DUE = (
    f"SELECT {DELIVERY_COLUMNS}, delivery_id FROM delivery WHERE org = $1 AND receiver = $2 AND due_at IS NOT NULL"
    " AND (due_at <= $3 OR due_at > $4) ORDER BY due_at, number LIMIT $5"
)


async def deliveries_due(db: Db, wanted: DueWanted) -> DueFound:
    """See `DueWanted`."""
    under_way = Counter(one.channel.receiver() for one in wanted.under_way.values())
    found: list[Delivery] = []
    receiver, is_more, receivers = wanted.after, False, 0
    for _ in range(wanted.looked):
        place = await db.value(_NEXT_RECEIVER, wanted.org, receiver)
        if place is None:
            return DueFound(found, None, is_more)
        receiver = place
        room = wanted.each - under_way[receiver]
        due = await db.rows(_DUE, wanted.org, receiver, wanted.now_ms, wanted.horizon_ms, wanted.each + 1)
        fresh = [row for row in due if row[3] not in wanted.under_way]
        taken = [delivery_value(tuple(row)) for row in fresh[:room]]
        is_more = is_more or len(fresh) > len(taken)
        found += taken
        receivers += bool(taken)
        if receivers == wanted.found:
            break
    return DueFound(found, receiver, is_more)


async def drop_old(db: Db, before_ms: int, kept: int, limit: int, before_minute: int) -> int:
    """Forgets alerts and deliveries from before this, and of each organisation all but so many of the newest; at most
    `limit` of each. Messages that wait are kept. How many went. Minutes of windows before `before_minute` go too."""
    await db.do(_WINDOWS_OLD, before_minute)
    gone = 0
    for table, time, may_go, told in (
        ("delivery", "created_at", " AND due_at IS NULL", "body_id"),
        ("alert", "fired_at", "", "NULL::text"),
    ):
        for (org,) in await db.rows("SELECT org FROM org"):
            newest = await db.value(f"SELECT max(number) FROM {table} WHERE org = $1", org) or 0
            some = (
                f"SELECT number, {told} FROM {table} WHERE org = $1{may_go} AND (number <= $2 OR {time} < $3) LIMIT $4"
            )
            found = await db.rows(some, org, newest - kept, before_ms, limit)
            await db.each(f"DELETE FROM {table} WHERE org = $1 AND number = $2", [(org, row[0]) for row in found])
            await db.each(_BODY_GONE, [(org, name) for name in {row[1] for row in found} if name is not None])
            gone += len(found)
    return gone


async def windows_of(db: Db, org: int, rule_id: str, since_minute: int) -> WindowCount:
    """What a rule has added up from this minute on."""
    sql = "SELECT runs, failed, spent_nanos FROM alert_window WHERE org = $1 AND rule_id = $2 AND minute >= $3"
    counted = WindowCount()
    for row in await db.rows(sql, org, rule_id, since_minute):
        counted = counted.plus(WindowCount(*row))
    return counted


def _where(wanted: dict[str, str | None]) -> tuple[str, tuple[str, ...]]:
    given = {name: value for name, value in wanted.items() if value is not None}
    return "".join(f" AND {name} = ?" for name in given), tuple(map(str, given.values()))


async def _page(
    db: Db,
    table: str,
    org: int,
    limit: int,
    before: int | None,
    wanted: dict[str, str | None],
    value: Callable[[rows.Row], T],
    columns: str,
) -> Found[T]:
    where, values = _where(wanted)
    sql = f"SELECT {columns} FROM {table} WHERE org = ?{where} AND number < ? ORDER BY number DESC LIMIT ?"
    found = await db.rows(numbered(sql), org, *values, MAX_PARAMETER if before is None else before, limit)
    return rows.up_to_a_page(map(tuple, found), value)
