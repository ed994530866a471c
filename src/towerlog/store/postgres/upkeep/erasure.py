"""An erasure, carried out a step at a time, and content that nothing points at. Each step is one transaction.

What is erased is out of every row at once; its old versions go with the next vacuum, and with the write-ahead log as it
is recycled. `wipe` vacuums the tables that erasures touch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from towerlog.model.alert import AlertRow
from towerlog.model.delivery import ERASED_BODY, Delivery, DeliveryBody
from towerlog.model.event import Event, EventType
from towerlog.model.facts import Erases
from towerlog.model.principal import SHARD_BITS
from towerlog.model.retention import NOTHING_FREED, Erasing
from towerlog.store.columns import rows, state
from towerlog.store.columns.erasure import (
    REPLIES_AT_ONCE,
    STEP_BYTES,
    STEP_ROWS,
    ErasedEvents,
    Gone,
    Room,
    alert_left,
    delivery_left,
    ids_left,
    is_about,
    lane_left,
    told_left,
    with_content,
)
from towerlog.store.columns.order import advanced
from towerlog.store.compression import Packer
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.locks import hold
from towerlog.store.postgres.reading import events
from towerlog.store.postgres.subjects import policies

SWEPT_ROWS = 1000
SWEPT_BYTES = 1024 * 1024
"""Of one step of a sweep."""
WIPED = (
    "event", "run_text", "checkpoint", "message", "node", "meta_list", "quarantine", "reply", "lane", "alert",
    "delivery",
)  # fmt: skip
"""Tables that something is erased of."""
_BODY = f"CASE told.type WHEN '{EventType.RUN_WAITING}' THEN NULL WHEN 'erased' THEN told.data ELSE ''::bytea END"
"""A body is read only where something of it is left."""
_EVENTS = (
    f"SELECT {events.joined(_BODY, f'told.flags & ~{rows.PACKED}')}, length(told.data), {events.BEFORE}"
    f" FROM place{events.TOLD} WHERE place.org = $1 AND place.run = $2 AND place.seq > $3 AND place.seq < $4"
    " ORDER BY place.seq LIMIT $5"
)
_LEFT = (
    "UPDATE event SET type = $4, feed = $5, flags = $6, facts = $7, data = $8, content = $9"
    " WHERE org = $1 AND position = $2 AND recorded_at = $3"
)
_ID_LEFT = "UPDATE place SET event_id = $4 WHERE org = $1 AND run = $2 AND seq = $3"
_NODE_HELD = (
    "SELECT EXISTS (SELECT 1 FROM checkpoint WHERE org = $1 AND node = $2)"
    " OR EXISTS (SELECT 1 FROM checkpoint WHERE org = $1 AND held_node = $2)"
    " OR EXISTS (SELECT 1 FROM node WHERE org = $1 AND parent = $2 AND parent <> '')"
)
_METAS_HELD = (
    "SELECT EXISTS (SELECT 1 FROM checkpoint WHERE org = $1 AND metas = $2)"
    " OR EXISTS (SELECT 1 FROM checkpoint WHERE org = $1 AND held_metas = $2)"
    " OR EXISTS (SELECT 1 FROM meta_list WHERE org = $1 AND parent = $2 AND parent <> '')"
)
_replace = msgspec.structs.replace
Part = Callable[[Db, Erasing, Room], Awaitable[Erasing]]
Erase = Callable[[Db, int, list[bytes], Room, Gone], Awaitable[list[bytes]]]


async def erase_step(db: Db, run: int) -> Erasing | None:
    """One step of the erasure of a run, in the transaction that is open; how far it has come. None where there is
    none."""
    erasing = await policies.erasing_of(db, run)
    if erasing is not None:
        erasing = await _step(db, _replace(erasing, freed=NOTHING_FREED), Room(STEP_ROWS, STEP_BYTES))
        await policies.keep(db, erasing)
        await policies.note_step(db)
    return erasing


async def _step(db: Db, erasing: Erasing, room: Room) -> Erasing:
    for part in _PARTS:
        erasing = await part(db, erasing, room)
        if not room.is_left:
            return erasing
    return _replace(erasing, is_done=True)


async def _content(db: Db, erasing: Erasing, room: Room) -> Erasing:
    """What was pointed at."""
    gone = Gone()
    nodes = await erase_nodes(db, erasing.org, list(map(bytes.fromhex, erasing.nodes)), room, gone)
    metas = await erase_metas(db, erasing.org, list(map(bytes.fromhex, erasing.metas)), room, gone)
    left = _replace(erasing, nodes=tuple(key.hex() for key in nodes), metas=tuple(key.hex() for key in metas))
    return left.counted("messages", gone.count, gone.size).with_freed(content=gone.size)


async def _checkpoints(db: Db, erasing: Erasing, room: Room) -> Erasing:
    """Rows of checkpoints: the newest first, so that of each history only the end is free."""
    if erasing.scope is Erases.DELTAS:
        return erasing
    sql = (
        "SELECT agent, step_index, node, metas, held_node, held_metas, length(doc) FROM checkpoint"
        " WHERE org = $1 AND run = $2 ORDER BY agent DESC, step_index DESC LIMIT $3"
    )
    nodes: list[str] = []
    metas: list[str] = []
    gone = Gone()
    found = await db.rows(sql, erasing.org, erasing.run, room.rows)
    for agent, step, node, meta, held_node, held_metas, size in found:
        where = "org = $1 AND run = $2 AND agent = $3 AND step_index = $4"
        await db.do(f"DELETE FROM checkpoint WHERE {where}", erasing.org, erasing.run, agent, step)
        nodes += [key.hex() for key in (node, held_node) if key is not None]
        metas += [key.hex() for key in (meta, held_metas) if key is not None]
        gone.add(size)
        room.take(size)
    left = with_content(erasing, nodes, metas)
    return await _content(db, left.counted("checkpoints", gone.count, gone.size), room)


async def _events(db: Db, erasing: Erasing, room: Room) -> Erasing:
    """Events become tombstones."""
    packer, erased = Packer(), ErasedEvents(erasing, room)
    found = await db.rows(_EVENTS, erasing.org, erasing.run, erasing.after_seq, erasing.until_seq, room.rows)
    for *columns, body_bytes, before in found:
        if not room.is_left:
            break
        left = erased.take(await _event(db, erasing.org, columns), body_bytes, before or b"")
        if left is not None:
            await _leave(db, left, packer)
    return await _content(db, erased.done(), room) if room.is_left else erased.done()


async def _event(db: Db, org: int, columns: list[Any]) -> Event:
    """An event without its body, unless something of it is left."""
    if columns[13] is None:
        sql = "SELECT flags, data FROM event WHERE org = $1 AND position = $2 AND recorded_at = $3"
        columns[10], columns[13] = await db.row(sql, org, columns[0] - (org << SHARD_BITS), columns[4])
    return rows.event_value(columns)


async def _leave(db: Db, left: Event, packer: Packer) -> None:
    row = rows.event_row(left, packer)
    kind, recorded_at, event_id, feed, flags, facts, data, content = (row[i] for i in (3, 4, 7, 9, 10, 12, 13, 14))
    await db.do(_LEFT, left.org, left.position, recorded_at, kind, feed, flags, facts, data, content)
    if event_id is not None:
        await db.do(_ID_LEFT, left.org, left.run, left.seq, event_id)


async def _quarantine(db: Db, erasing: Erasing, room: Room) -> Erasing:
    """What workers without the lease have sent."""
    if erasing.scope is not Erases.EVENTS:
        return erasing
    gone = Gone()
    sql = "SELECT number, length(doc) FROM quarantine WHERE org = $1 AND run = $2 LIMIT $3"
    for number, size in await db.rows(sql, erasing.org, erasing.run, room.rows):
        where = "org = $1 AND run = $2 AND number = $3"
        await db.do(f"DELETE FROM quarantine WHERE {where}", erasing.org, erasing.run, number)
        gone.add(size)
        room.take(size)
    return erasing.counted("quarantined", gone.count, gone.size)


async def _lane(db: Db, erasing: Erasing, room: Room) -> Erasing:
    """Labels, and the last words of a worker."""
    if erasing.scope is not Erases.EVENTS:
        return erasing
    doc = await db.value("SELECT doc FROM lane WHERE org = $1 AND run = $2", erasing.org, erasing.run)
    if doc is not None:
        sql = "UPDATE lane SET label_set = '', doc = $3 WHERE org = $1 AND run = $2"
        await db.do(sql, erasing.org, erasing.run, lane_left(doc))
        room.take()
    return erasing


_TOLD = "SELECT body, doc FROM delivery_body WHERE org = $1 AND alert_id = $2"
_SENT = "SELECT doc FROM delivery WHERE org = $1 AND alert_id = $2"


async def _messages_out(db: Db, erasing: Erasing, room: Room) -> Erasing:
    """What alerts say of the run, and the bodies of their messages; those that were not sent are not sent any more."""
    if erasing.scope is not Erases.EVENTS:
        return erasing
    gone = Gone()
    about = "SELECT doc FROM alert WHERE org = $1 AND subject = $2"
    found = await db.rows(about, erasing.org, f"run:{erasing.run_id}")
    for alert in [state.decode_alert(row[0]) for row in found]:
        if alert.message:
            await _erase_alert(db, alert)
            room.take()
        for body, doc in await db.rows(_TOLD, alert.org, alert.alert_id):
            if body != ERASED_BODY:
                gone.add(len(body))
                room.take(len(body))
                await _erase_body(db, state.decode_body(doc))
        sent = await db.rows(_SENT, alert.org, alert.alert_id)
        for delivery in [state.decode_delivery(row[0]) for row in sent]:
            left = delivery_left(delivery)
            if left is not None:
                await _end_delivery(db, left)
    return erasing.counted("alert_messages", gone.count, gone.size)


async def _erase_alert(db: Db, alert: AlertRow) -> None:
    doc = alert_left(alert)
    await db.do("UPDATE alert SET doc = $3 WHERE org = $1 AND alert_id = $2", alert.org, alert.alert_id, doc)


async def _erase_body(db: Db, told: DeliveryBody) -> None:
    sql = "UPDATE delivery_body SET unwritten = 0, body = $3, doc = $4 WHERE org = $1 AND body_id = $2"
    await db.do(sql, told.org, told.body_id, ERASED_BODY, told_left(told))


async def _end_delivery(db: Db, left: Delivery) -> None:
    *_, doc = state.delivery_row(left)
    sql = "UPDATE delivery SET state = $3, due_at = $4, doc = $5 WHERE org = $1 AND delivery_id = $2"
    await db.do(sql, left.org, left.delivery_id, left.state.value, left.due_at, doc)


async def _replies(db: Db, erasing: Erasing, room: Room) -> Erasing:
    """Replies kept for Idempotency-Keys that are about the run: a repeat is answered anew, of what is left."""
    after = erasing.replies_after or ""
    while erasing.scope is Erases.EVENTS and room.is_left:
        asked = "SELECT name, run, ids, body FROM reply WHERE org = $1 AND name > $2 ORDER BY name LIMIT $3"
        page = await db.rows(asked, erasing.org, after, REPLIES_AT_ONCE)
        after = advanced("reply", after, page[-1][0]) if page else after
        for name, run, ids, body in page:
            if is_about(erasing, run, ids, body):
                sql = "UPDATE reply SET body = '', status = 0, ids = $3 WHERE org = $1 AND name = $2"
                await db.do(sql, erasing.org, name, ids_left(ids))
                erasing = erasing.counted("replies", 1, len(body))
        if len(page) < REPLIES_AT_ONCE:
            return erasing
        room.rows -= STEP_ROWS // 4
    return _replace(erasing, replies_after=after) if erasing.scope is Erases.EVENTS else erasing


_PARTS: tuple[Part, ...] = (_content, _checkpoints, _events, _quarantine, _lane, _messages_out, _replies)
"""In this order: what was begun of the content store first, so that what waits to be looked at stays short."""


async def erase_nodes(db: Db, org: int, keys: list[bytes], room: Room, gone: Gone) -> list[bytes]:
    """Takes out what is free of these nodes and of what they go on from; those that there was no room for."""
    while keys and room.is_left:
        key = keys.pop()
        found = await db.row("SELECT parent, message, length(block) FROM node WHERE org = $1 AND key = $2", org, key)
        room.take()
        if found is None or await db.value(_NODE_HELD, org, key):
            continue
        parent, message, size = found
        await db.do("DELETE FROM node WHERE org = $1 AND key = $2", org, key)
        gone.add(size)
        room.take(size or 0)
        if message:
            await _erase_message(db, org, message, room, gone)
        if parent:
            keys.append(parent)
    return keys


async def _erase_message(db: Db, org: int, key: bytes, room: Room, gone: Gone) -> None:
    sql = "SELECT 1 FROM node WHERE org = $1 AND message = $2 AND message <> '' LIMIT 1"
    if await db.value(sql, org, key) is not None:
        return
    size = await db.value("DELETE FROM message WHERE org = $1 AND key = $2 RETURNING length(body)", org, key)
    gone.add(size)
    room.take(size or 0)


async def erase_metas(db: Db, org: int, keys: list[bytes], room: Room, gone: Gone) -> list[bytes]:
    """The same of lists of metas."""
    while keys and room.is_left:
        key = keys.pop()
        found = await db.row("SELECT parent, length(body) FROM meta_list WHERE org = $1 AND key = $2", org, key)
        room.take()
        if found is None or await db.value(_METAS_HELD, org, key):
            continue
        parent, size = found
        await db.do("DELETE FROM meta_list WHERE org = $1 AND key = $2", org, key)
        gone.add(size)
        room.take(size or 0)
        if parent:
            keys.append(parent)
    return keys


async def content_end(db: Db) -> tuple[int, int]:
    """The last numbers of nodes and of lists of metas, whichever organisation they are of."""
    found = [
        await db.value(
            f"SELECT max(last) FROM org CROSS JOIN LATERAL (SELECT max(number) AS last FROM {table}"
            f" WHERE {table}.org = org.org) AS newest"
        )
        for table in ("node", "meta_list")
    ]
    return found[0] or 0, found[1] or 0


async def sweep_content(db: Db, before: tuple[int, int]) -> tuple[int, int] | None:
    """Takes some of what no event was stored with out, of any organisation; the newest first.

    `before`: numbers of nodes and of lists of metas up to which are looked at; the next ones, None for no more.
    """
    room, gone = Room(SWEPT_ROWS, SWEPT_BYTES), Gone()
    nodes = await _swept(db, "node", before[0], room, gone, erase_nodes)
    metas = await _swept(db, "meta_list", before[1], room, gone, erase_metas) if not nodes else before[1]
    return (nodes, metas) if nodes or metas else None


def swept_sql(table: str) -> str:
    """The newest of a table up to a number: (number, org, key)."""
    return (
        f"SELECT newest.number, org.org, newest.key FROM org CROSS JOIN LATERAL (SELECT number, key FROM {table}"
        f" WHERE {table}.org = org.org AND number <= $1 ORDER BY number DESC LIMIT $2) AS newest"
        " ORDER BY newest.number DESC LIMIT $2"
    )


async def _swept(db: Db, table: str, before: int, room: Room, gone: Gone, erase: Erase) -> int:
    """The newest first: what goes on from something is looked at before it."""
    found = await db.rows(swept_sql(table), before, SWEPT_ROWS)
    await hold(db, {org for _, org, _ in found})
    for number, org, key in found:
        if not room.is_left:
            return min(int(number), before)
        await erase(db, org, [key], room, gone)
        # Two organisations may have the same number: the other's is looked at the next time that all is gone over.
        before = number - 1
    return before if len(found) == SWEPT_ROWS else 0


async def wipe(db: Db, page: int) -> int:
    """Vacuums one of the tables that erasures touch, 1 the first; the next, 0 at the end. In no transaction."""
    if page > len(WIPED):
        return 0
    # Only the owner may.
    await db.do("SET ROLE NONE")
    try:
        await db.do(f"VACUUM {WIPED[page - 1]}")
    finally:
        await db.do("RESET ROLE")
    return page + 1 if page < len(WIPED) else 0


async def gives_back(db: Db) -> bool:
    """A vacuum gives back only what lies at the end of a table."""
    return False
