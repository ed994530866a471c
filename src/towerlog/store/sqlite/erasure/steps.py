"""An erasure, carried out a step at a time: each step is one transaction of bounded work, and says how far it has come.

The log tells of the erasure before the first of them, so that whatever breaks off is gone on with. `secure_delete` has
SQLite write zeros over what was freed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw
import msgspec

from towerlog.model.alert import AlertRow
from towerlog.model.delivery import ERASED_BODY, Delivery, DeliveryBody
from towerlog.model.event import Event, EventType
from towerlog.model.facts import Erases
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
from towerlog.store.sqlite.connections.transaction import transaction
from towerlog.store.sqlite.erasure import policies
from towerlog.store.sqlite.erasure.content import erase_metas, erase_nodes
from towerlog.store.sqlite.erasure.uses import index_uses
from towerlog.store.sqlite.reads import one

_BARE = rows.EVENT_COLUMNS.replace("flags", f"flags & ~{rows.PACKED}").replace(
    "data", f"CASE type WHEN '{EventType.RUN_WAITING}' THEN NULL WHEN 'erased' THEN data ELSE x'' END"
)
"""A body is read only where something of it is left."""
_EVENTS = (
    f"SELECT {_BARE}, length(data), (SELECT before.hash FROM event AS before WHERE before.run = event.run"
    " AND before.seq = event.seq - 1), (SELECT trim.hash FROM trim WHERE trim.run = event.run"
    " AND trim.seq = event.seq - 1) FROM event WHERE run = ? AND seq > ? AND seq < ? ORDER BY seq LIMIT ?"
)
_GONE = "DELETE FROM event WHERE key = ?"
_LEFT = f"INSERT INTO event ({rows.EVENT_COLUMNS}) VALUES ({', '.join('?' * 15)})"
_LEFT_IN_PLACE = (
    "UPDATE event SET type = ?4, event_id = ?8, feed = ?10, flags = ?11, facts = ?13, data = ?14, content = ?15"
    " WHERE key = ?1"
)
MOVED_ABOVE_BYTES = 200
"""Rows of more give room back: SQLite joins pages that become empty when rows are deleted, and not when they shrink."""
_replace = msgspec.structs.replace


def erase_step(db: apsw.Connection, run: int) -> Erasing | None:
    """One step of the erasure of a run, in one transaction; how far it has come. None where there is none."""
    with transaction(db, makes_room=True):
        erasing = policies.erasing_of(db, run)
        if erasing is not None:
            erasing = _step(db, _replace(erasing, freed=NOTHING_FREED), Room(STEP_ROWS, STEP_BYTES))
            policies.keep(db, erasing)
            policies.note_step(db)
    return erasing


def _step(db: apsw.Connection, erasing: Erasing, room: Room) -> Erasing:
    for part in _PARTS:
        erasing = part(db, erasing, room)
        if not room.is_left:
            return erasing
    return _replace(erasing, is_done=True)


Part = Callable[[apsw.Connection, Erasing, Room], Erasing]


def _content(db: apsw.Connection, erasing: Erasing, room: Room) -> Erasing:
    """What was pointed at. Where not all uses are in the indexes yet, the step ends once it has brought some there."""
    if not erasing.nodes and not erasing.metas:
        return erasing
    if not index_uses(db):
        room.rows = 0
        return erasing
    gone = Gone()
    nodes = erase_nodes(db, erasing.org, list(map(bytes.fromhex, erasing.nodes)), room, gone)
    metas = erase_metas(db, erasing.org, list(map(bytes.fromhex, erasing.metas)), room, gone)
    left = _replace(erasing, nodes=tuple(key.hex() for key in nodes), metas=tuple(key.hex() for key in metas))
    return left.counted("messages", gone.count, gone.size).with_freed(content=gone.size)


def _checkpoints(db: apsw.Connection, erasing: Erasing, room: Room) -> Erasing:
    """Rows of checkpoints: the newest first, so that of each history only the end is free."""
    if erasing.scope is Erases.DELTAS:
        return erasing
    sql = (
        "SELECT agent, step_index, node, metas, held_node, held_metas, length(doc) FROM checkpoint WHERE run = ?"
        " ORDER BY agent DESC, step_index DESC LIMIT ?"
    )
    nodes: list[str] = []
    metas: list[str] = []
    gone = Gone()
    for agent, step, node, meta, held_node, held_metas, size in list(db.execute(sql, (erasing.run, room.rows))):
        db.execute("DELETE FROM checkpoint WHERE run = ? AND agent = ? AND step_index = ?", (erasing.run, agent, step))
        nodes += [key.hex() for key in (node, held_node) if key is not None]
        metas += [key.hex() for key in (meta, held_metas) if key is not None]
        gone.add(size)
        room.take(size)
    left = with_content(erasing, nodes, metas)
    return _content(db, left.counted("checkpoints", gone.count, gone.size), room)


def _events(db: apsw.Connection, erasing: Erasing, room: Room) -> Erasing:
    """Events become tombstones."""
    packer, erased = Packer(), ErasedEvents(erasing, room)
    found = db.execute(_EVENTS, (erasing.run, erasing.after_seq, erasing.until_seq, room.rows))
    for *columns, body_bytes, before, trimmed in list(found):
        if not room.is_left:
            break
        event = _event(db, columns)
        left = erased.take(event, body_bytes, before or trimmed or b"")
        if left is None:
            continue
        row = rows.event_row(left, packer)
        is_moved = body_bytes + len(event.facts_json) > MOVED_ABOVE_BYTES
        if is_moved:
            db.execute(_GONE, row[:1])
        db.execute(_LEFT if is_moved else _LEFT_IN_PLACE, row)
    return _content(db, erased.done(), room) if room.is_left else erased.done()


def _event(db: apsw.Connection, columns: list[Any]) -> Event:
    """An event without its body, unless something of it is left."""
    if columns[13] is None:
        columns[10], columns[13] = db.execute("SELECT flags, data FROM event WHERE key = ?", (columns[0],)).get
    return rows.event_value(columns)


def _quarantine(db: apsw.Connection, erasing: Erasing, room: Room) -> Erasing:
    """What workers without the lease have sent."""
    if erasing.scope is not Erases.EVENTS:
        return erasing
    gone = Gone()
    sql = "SELECT rowid, length(doc) FROM quarantine WHERE run = ? LIMIT ?"
    for rowid, size in list(db.execute(sql, (erasing.run, room.rows))):
        db.execute("DELETE FROM quarantine WHERE rowid = ?", (rowid,))
        gone.add(size)
        room.take(size)
    return erasing.counted("quarantined", gone.count, gone.size)


def _lane(db: apsw.Connection, erasing: Erasing, room: Room) -> Erasing:
    """Labels, and the last words of a worker."""
    doc = None if erasing.scope is not Erases.EVENTS else one(db, "SELECT doc FROM lane WHERE run = ?", (erasing.run,))
    if doc is not None:
        db.execute("UPDATE lane SET label_set = '', doc = ? WHERE run = ?", (lane_left(doc), erasing.run))
        room.take()
    return erasing


_TOLD = "SELECT body, doc FROM delivery_body WHERE org = ? AND alert_id = ?"
_SENT = "SELECT doc FROM delivery WHERE org = ? AND alert_id = ?"


def _messages_out(db: apsw.Connection, erasing: Erasing, room: Room) -> Erasing:
    """What alerts say of the run, and the bodies of their messages; those that were not sent are not sent any more."""
    if erasing.scope is not Erases.EVENTS:
        return erasing
    gone = Gone()
    found = db.execute("SELECT doc FROM alert WHERE org = ? AND subject = ?", (erasing.org, f"run:{erasing.run_id}"))
    for alert in [state.decode_alert(row[0]) for row in found]:
        if alert.message:
            _erase_alert(db, alert)
            room.take()
        key = (alert.org, alert.alert_id)
        told: list[Any] = db.execute(_TOLD, key).fetchall()
        for body, doc in told:
            if body != ERASED_BODY:
                gone.add(len(body))
                room.take(len(body))
                _erase_body(db, state.decode_body(doc))
        sent: list[Any] = db.execute(_SENT, key).fetchall()
        for delivery in [state.decode_delivery(row[0]) for row in sent]:
            left = delivery_left(delivery)
            if left is not None:
                _end_delivery(db, left)
    return erasing.counted("alert_messages", gone.count, gone.size)


def _erase_alert(db: apsw.Connection, alert: AlertRow) -> None:
    doc = alert_left(alert)
    db.execute("UPDATE alert SET doc = ? WHERE org = ? AND alert_id = ?", (doc, alert.org, alert.alert_id))


def _erase_body(db: apsw.Connection, told: DeliveryBody) -> None:
    sql = "UPDATE delivery_body SET unwritten = 0, body = ?, doc = ? WHERE org = ? AND body_id = ?"
    db.execute(sql, (ERASED_BODY, told_left(told), told.org, told.body_id))


def _end_delivery(db: apsw.Connection, left: Delivery) -> None:
    *_, doc = state.delivery_row(left)
    sql = "UPDATE delivery SET state = ?, due_at = ?, doc = ? WHERE org = ? AND delivery_id = ?"
    db.execute(sql, (left.state, left.due_at, doc, left.org, left.delivery_id))


def _replies(db: apsw.Connection, erasing: Erasing, room: Room) -> Erasing:
    """Replies kept for Idempotency-Keys that are about the run: a repeat is answered anew, of what is left."""
    after = erasing.replies_after or ""
    while erasing.scope is Erases.EVENTS and room.is_left:
        asked = "SELECT name, run, ids, body FROM reply WHERE org = ? AND name > ? ORDER BY name LIMIT ?"
        page = list(db.execute(asked, (erasing.org, after, REPLIES_AT_ONCE)))
        after = advanced("reply", after, page[-1][0]) if page else after
        for name, run, ids, body in page:
            if is_about(erasing, run, bytes(ids), bytes(body)):
                sql = "UPDATE reply SET body = x'', status = 0, ids = ? WHERE org = ? AND name = ?"
                db.execute(sql, (ids_left(bytes(ids)), erasing.org, name))
                erasing = erasing.counted("replies", 1, len(body))
        if len(page) < REPLIES_AT_ONCE:
            return erasing
        room.rows -= STEP_ROWS // 4
    return _replace(erasing, replies_after=after) if erasing.scope is Erases.EVENTS else erasing


_PARTS: tuple[Part, ...] = (_content, _checkpoints, _events, _quarantine, _lane, _messages_out, _replies)
"""In this order: what was begun of the content store first, so that what waits to be looked at stays short."""
