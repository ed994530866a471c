"""What is written to SQLite: one `Changes` in one transaction, and the few rows that are written on their own."""

from __future__ import annotations

import apsw
import msgspec

from towerlog.model.computed_costs import SEVERAL_VERSIONS
from towerlog.model.lane import Lane
from towerlog.model.run import RunRow
from towerlog.model.usage import MAX_SUM
from towerlog.store.columns import rows, state
from towerlog.store.compression import Packer
from towerlog.store.sqlite import texts
from towerlog.store.sqlite.alerts import alerts
from towerlog.store.sqlite.approvals import approvals
from towerlog.store.sqlite.audit import entries
from towerlog.store.sqlite.connections.store_notes import keep_folds
from towerlog.store.sqlite.connections.transaction import commit, roll_back, transaction
from towerlog.store.sqlite.erasure import policies
from towerlog.store.sqlite.money import budgets, prices
from towerlog.store.sqlite.people import members, organisations
from towerlog.store.values import MAX_QUARANTINED, MAX_QUARANTINED_BYTES, Changes, Quarantined

_EVENT = f"INSERT INTO event ({rows.EVENT_COLUMNS}) VALUES ({', '.join('?' * 15)})"
_RUN_NEW = f"INSERT INTO run ({rows.RUN_COLUMNS}) VALUES ({', '.join('?' * 19)})"
_RUN_MOVED = (
    "UPDATE run SET foreign_id = ?6, agent = ?7, status = ?8, model = ?9, persona_id = ?10, parent_key = ?11,"
    " began_at = ?12, cancel_requested_at = ?13, quiet = ?14, seen_at = ?15, ended_at = ?16,"
    " ended_position = ?17, held = ?18, doc = ?19 WHERE run = ?1"
    " AND org = ?2 AND run_id = ?3 AND thread_id = ?4 AND trace_id = ?5"
)
_RUN_THREAD = "UPDATE run SET thread_id = ? WHERE run = ?"
_THREAD_LEFT = "DELETE FROM thread WHERE org = ? AND thread_id = ?"
_RUN_TOUCHED = "UPDATE run SET doc = ?2 WHERE run = ?1"
_THREAD = (
    "INSERT INTO thread (org, thread_id, created_at, number, doc)"
    " VALUES (?1, ?2, ?3, (SELECT ifnull(max(number), 0) + 1 FROM thread WHERE org = ?1), ?4)"
    " ON CONFLICT (org, thread_id) DO UPDATE SET doc = excluded.doc"
)
# The look for the newest number takes six times as long as the rest of a row, and most threads are there.
_THREAD_KEPT = "UPDATE thread SET doc = ?4 WHERE org = ?1 AND thread_id = ?2"
_AGENT = (
    "INSERT INTO agent (agent, org, agent_id, name, doc) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (agent) DO UPDATE SET doc = excluded.doc"
)
_LANE = (
    f"INSERT INTO lane ({rows.LANE_COLUMNS}) VALUES ({', '.join('?' * 9)})"
    " ON CONFLICT (run) DO UPDATE SET state = excluded.state, queue_position = excluded.queue_position,"
    " queued_at = excluded.queued_at, expires_at = excluded.expires_at, doc = excluded.doc"
)
# Most reports only renew: leave the indexes of the queue alone.
_LANE_RENEWED = "UPDATE lane SET expires_at = ?2, doc = ?3 WHERE run = ?1"
_PERSONA = (
    "INSERT INTO persona (number, org, persona_key, version, doc)"
    " SELECT coalesce(max(number), 0) + 1, ?1, ?2, ?3, ?4 FROM persona WHERE org = ?1"
)
_ROUTE = (
    "INSERT INTO provider_route (number, org, route_id, version, doc)"
    " SELECT coalesce(max(number), 0) + 1, ?1, ?2, ?3, ?4 FROM provider_route WHERE org = ?1"
)
_CHECKPOINT = (
    "INSERT INTO checkpoint (run, agent, step_index, org, thread_id, status, initial, position, node, metas,"
    " held_node, held_metas, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (run, agent, step_index) DO UPDATE SET status = excluded.status, initial = excluded.initial,"
    " position = excluded.position, node = excluded.node, metas = excluded.metas, held_node = excluded.held_node,"
    " held_metas = excluded.held_metas, doc = excluded.doc"
)
_CHECKPOINT_MOVED = "UPDATE checkpoint SET thread_id = ?, doc = ? WHERE run = ? AND agent = ? AND step_index = ?"
_SUMS = ("events", "runs_started", "runs_ended")
_USAGE = (
    f"INSERT INTO usage VALUES ({', '.join('?' * 18)}) ON CONFLICT (org, hour, agent, model, status) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
    + ", "
    # Unknown + unknown stays unknown; unknown + a figure is the figure. Past 64 bits SQLite would go on in floats.
    + ", ".join(
        f"{name} = CASE WHEN {name} = {MAX_SUM} OR excluded.{name} = {MAX_SUM} THEN {MAX_SUM} ELSE"
        f" coalesce(CAST(max(-{MAX_SUM}, min({name} + excluded.{name}, {MAX_SUM})) AS INTEGER),"
        f" {name}, excluded.{name}) END"
        for name in rows.USAGE_FIGURES
    )
    + ", price_version = CASE WHEN price_version <> excluded.price_version"
    + f" THEN '{SEVERAL_VERSIONS}' ELSE coalesce(price_version, excluded.price_version) END"
)
_USAGE_COUNT = (
    "INSERT INTO usage (org, hour, agent, model, status, events, runs_started, runs_ended)"
    " VALUES (?, ?, ?, ?, ?, ?, 0, 0)"
    " ON CONFLICT (org, hour, agent, model, status) DO UPDATE SET events = events + excluded.events"
)
_PREPARED = (_EVENT, _RUN_NEW, _RUN_MOVED, _RUN_TOUCHED, _AGENT, _USAGE_COUNT, _USAGE)
_MESSAGE = "INSERT OR IGNORE INTO message (org, key, packed, body) VALUES (?, ?, ?, ?)"
_NODE = "INSERT OR IGNORE INTO node (org, key, parent, message, block, length) VALUES (?, ?, ?, ?, ?, ?)"
_METAS = "INSERT OR IGNORE INTO meta_list (org, key, parent, packed, body) VALUES (?, ?, ?, ?, ?)"
# A worker that does not hear its 409 sends the same again: kept once, and never more than a bound of one run and key.
_QUARANTINE = "INSERT OR IGNORE INTO quarantine (number, run, name, key_id, doc) VALUES (?, ?, ?, ?, ?)"
_QUARANTINED = (
    "SELECT coalesce(max(number), 0), count(*) FILTER (WHERE key_id = ?2),"
    " total(length(doc)) FILTER (WHERE key_id = ?2) FROM quarantine WHERE run = ?1"
)
_SPREAD = "INSERT OR REPLACE INTO cancel_spread (run, org, doc) VALUES (?, ?, ?)"
_SPREAD_OVER = "DELETE FROM cancel_spread WHERE run = ?"
_REPLY = f"INSERT OR REPLACE INTO reply ({rows.REPLY_COLUMNS}) VALUES ({', '.join('?' * 9)})"
_REPLY_BODY = "UPDATE reply SET status = ?, body = ? WHERE org = ? AND name = ? AND status = 0"
# Not "or replace": a digest that is there already belongs to somebody else's key, which must not go.
_COUNTERS = "UPDATE org SET position = ?, runs = ?, agents = ? WHERE org = ?"


def write_changes(db: apsw.Connection, changes: Changes) -> None:
    """All of it in one transaction; rolls back and raises apsw.Error or DiskFull when any of it fails."""
    packer = Packer()
    db.execute("BEGIN IMMEDIATE")
    try:
        if changes.replaces is not None:
            _drop_projections(db, changes.replaces)
        _write_content(db, changes, packer)
        _write_state(db, changes)
        events = [rows.event_row(event, packer) for event in changes.events]
        runs = rows.run_rows(changes.runs.values())
        agents = list(map(rows.agent_row, changes.agents.values()))
        usage = rows.usage_rows(changes.usage.values())
        for sql, values in zip(_PREPARED, (events, *runs, agents, *usage), strict=True):
            if values:
                db.executemany(sql, values)
        commit(db)
    except BaseException as error:
        roll_back(db, error)
        raise


def _write_content(db: apsw.Connection, changes: Changes, packer: Packer) -> None:
    if changes.messages:
        db.executemany(_MESSAGE, ((m.org, m.key, *_packed(m.body, packer)) for m in changes.messages))
    if changes.nodes:
        nodes = ((n, packer.pack(n.block) if n.block else None) for n in changes.nodes)
        db.executemany(_NODE, ((n.org, n.key, n.parent, n.message, block, n.length) for n, block in nodes))
    if changes.metas:
        db.executemany(_METAS, ((m.org, m.key, m.parent, *_packed(m.body, packer)) for m in changes.metas))


def _packed(body: bytes, packer: Packer) -> tuple[int, bytes]:
    packed = len(body) > rows.PACK_MESSAGES_ABOVE
    return int(packed), packer.pack(body) if packed else body


def _write_state(db: apsw.Connection, changes: Changes) -> None:
    if changes.left_threads:
        db.executemany(_THREAD_LEFT, sorted(changes.left_threads))
    if changes.threads:
        _write_threads(db, list(map(rows.thread_row, changes.threads.values())))
    if changes.checkpoints:
        db.executemany(_CHECKPOINT, map(rows.checkpoint_row, changes.checkpoints.values()))
    for run in changes.moved:
        _move(db, changes.runs[run].after)
    if changes.approvals or changes.ended or changes.spent_links:
        approvals.write(db, changes)
    if changes.texts:
        texts.write(db, changes.texts.values())
    if changes.lanes:
        renewed, moved = rows.lane_rows(changes.lanes.values(), changes.renewed)
        db.executemany(_LANE_RENEWED, renewed)
        db.executemany(_LANE, moved)
    for run, spread in changes.spreads.items():
        db.execute(*((_SPREAD_OVER, (run,)) if spread is None else (_SPREAD, rows.spread_row(spread))))
    if changes.quarantined:
        _write_quarantined(db, changes.quarantined)
    if changes.replies:
        db.executemany(_REPLY, map(msgspec.structs.astuple, changes.replies))
    if changes.reply_bodies:
        db.executemany(_REPLY_BODY, ((one.status, one.body, one.org, one.name) for one in changes.reply_bodies))
    if changes.keys:
        db.executemany(organisations.KEY, map(rows.key_row, changes.keys))
    if changes.users or changes.sign_in_links or changes.sessions_over or changes.sessions:
        members.write(db, changes)
    if changes.personas:
        db.executemany(_PERSONA, map(rows.persona_row, changes.personas))
    if changes.routes:
        db.executemany(_ROUTE, map(rows.route_row, changes.routes))
    if changes.budgets or changes.budget_pauses or changes.reservations:
        budgets.write(db, changes.budgets, changes.budget_pauses, changes.reservations)
    if changes.prices:
        prices.write(db, changes.prices)
    if changes.retention or changes.erasing:
        policies.write(db, changes.retention, changes.erasing)
    of_alerts = (changes.alert_rules, changes.alerts, changes.alert_windows, changes.deliveries)
    if any(of_alerts) or changes.delivery_bodies:
        alerts.write(db, changes)
    if changes.audit:
        entries.write(db, changes.audit)
    if changes.counters:
        counted = ((c.position, c.runs, c.agents, org) for org, c in changes.counters.items())
        db.executemany(_COUNTERS, counted)


def _write_threads(db: apsw.Connection, threads: list[rows.Row]) -> None:
    before = db.total_changes()
    db.executemany(_THREAD_KEPT, threads)
    if db.total_changes() - before < len(threads):
        db.executemany(_THREAD, threads)


def _move(db: apsw.Connection, run: RunRow) -> None:
    """Brings what is stored of a run to the thread in which it stands now."""
    db.execute(_RUN_THREAD, (run.thread_id, run.run))
    docs = [doc for (doc,) in db.execute("SELECT doc FROM checkpoint WHERE run = ?", (run.run,))]
    db.executemany(_CHECKPOINT_MOVED, state.moved_checkpoints(docs, run.thread_id))


def _write_quarantined(db: apsw.Connection, quarantined: list[Quarantined]) -> None:
    """What there is room for. The rows of a run are looked through once for each of its keys, and not for each item."""
    rooms: dict[tuple[int, str], tuple[int, float]] = {}
    numbers: dict[int, int] = {}
    for item in quarantined:
        run, name, key_id, doc = rows.quarantine_row(item)
        if (run, key_id) not in rooms:
            numbers[run], count, size = db.execute(_QUARANTINED, (run, key_id)).get
            rooms[run, key_id] = (count, size)
        count, size = rooms[run, key_id]
        if count >= MAX_QUARANTINED or size >= MAX_QUARANTINED_BYTES:
            continue
        db.execute(_QUARANTINE, (numbers[run] + 1, run, name, key_id, doc))
        if db.changes():
            numbers[run] += 1
            rooms[run, key_id] = (count + 1, size + len(doc))


def refresh_leases(db: apsw.Connection, now_ms: int) -> None:
    """After a restart every running lease gets one full new length: late by at most one lease, never early. The same of
    the time of reservations."""
    with transaction(db):
        held = [rows.decode_lane(row[0]) for row in db.execute("SELECT doc FROM lane WHERE state = 'held'")]
        fresh = [_refreshed(lane, now_ms) for lane in held]
        db.executemany(_LANE, map(rows.lane_row, fresh))
        budgets.refresh_reservations(db, now_ms)


def _refreshed(lane: Lane, now_ms: int) -> Lane:
    return msgspec.structs.replace(lane, expires_at=now_ms + lane.lease_ms)


def try_to_write(db: apsw.Connection) -> None:
    """Changes a page and waits for its sync; what is written means nothing."""
    with transaction(db):
        db.execute("INSERT INTO meta VALUES ('tries', '1') ON CONFLICT (name) DO UPDATE SET value = value + 1")


def drop_old_replies(db: apsw.Connection, before_ms: int, limit: int) -> int:
    """Forgets replies of Idempotency-Keys that are older than this, at most so many; how many."""
    some = "SELECT rowid FROM reply WHERE created_at < ? LIMIT ?"
    with transaction(db, makes_room=True):
        db.execute(f"DELETE FROM reply WHERE rowid IN ({some})", (before_ms, limit))
        return db.changes()


def trim_run(db: apsw.Connection, org: int, run: int, before_seq: int) -> None:
    """Drops a run's events below a seq; what is left keeps its seq, and the hash that it is checked with."""
    where = "run = ? AND seq < ? AND EXISTS (SELECT 1 FROM run WHERE run.run = event.run AND run.org = ?)"
    last = f"SELECT run, seq, hash FROM event WHERE {where} ORDER BY seq DESC LIMIT 1"
    with transaction(db, makes_room=True):
        db.execute(f"INSERT OR REPLACE INTO trim {last}", (run, before_seq, org))
        db.execute(f"DELETE FROM event WHERE {where}", (run, before_seq, org))


def _drop_projections(db: apsw.Connection, org: int) -> None:
    for table in ("run", "run_text", "thread", "agent", "usage", "checkpoint", "approval"):
        db.execute(f"DELETE FROM {table} WHERE org = ?", (org,))
    members.write_names_anew(db, org)
    keep_folds(db, org)
