"""What a commit writes: one `Changes` in the transaction that is open.

What nearly every commit has (events, runs, agents, usage, counters) goes in one statement, a list for each column. All
else is written before, a statement for each table that has something; the values of each are sent together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from towerlog.model.computed_costs import SEVERAL_VERSIONS
from towerlog.model.event import Event
from towerlog.model.principal import SHARD_BITS, Counters, shard_org
from towerlog.model.run import RunRow
from towerlog.model.usage import MAX_SUM
from towerlog.store.columns import rows, state
from towerlog.store.compression import Packer
from towerlog.store.content import Content
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.locks import NEW_STAMP, hold
from towerlog.store.postgres.per_org import each_org
from towerlog.store.postgres.reading.run_columns import COLUMNS as RUN_COLUMNS
from towerlog.store.postgres.reading.run_columns import FIXED, run_columns
from towerlog.store.postgres.subjects import alerts, approvals, audit, lost_rows, money, people, policies, texts
from towerlog.store.postgres.subjects.folds import keep_folds
from towerlog.store.postgres.times import moved_lane
from towerlog.store.values import MAX_QUARANTINED, MAX_QUARANTINED_BYTES, Changes, Quarantined

_EVENT_TYPES = (
    "bigint", "bigint", "bigint", "bigint", "bigint", "text", "bytea",
    "text", "bigint", "text", "bigint", "bigint", "integer", "bytea", "bytea", "bytea",
)  # fmt: skip
"""(org, run, seq, position, recorded_at, event_id, hash; type, occurred_at, dialect, agent, feed, flags, facts, data,
content)."""
_USAGE_TYPES = ("bigint", "bigint", "text", "text", "text", *["bigint"] * 12, "text")
_AGENT_TYPES = ("bigint", "bigint", "text", "text", "bytea")
_COUNTER_TYPES = ("bigint", "bigint", "bigint", "bigint")
"""(position, runs, agents, org), nulls for what stays."""
_RUN_TYPES = tuple(kind for _, kind in RUN_COLUMNS)
_RUN_NAMES = ", ".join(name for name, _ in RUN_COLUMNS)
_PARTS = (_EVENT_TYPES, _RUN_TYPES, _RUN_TYPES, _AGENT_TYPES, _USAGE_TYPES, _COUNTER_TYPES)
_FIRST = [1 + sum(len(part) for part in _PARTS[:index]) for index in range(len(_PARTS))]
"""The number of each part's first parameter."""


def _lists(part: int, picked: Sequence[int] | None = None) -> str:
    """`$1::bigint[], …` for the columns of a part, or for some of them."""
    types, first = _PARTS[part], _FIRST[part]
    chosen = range(len(types)) if picked is None else picked
    return ", ".join(f"${first + index}::{types[index]}[]" for index in chosen)


def _added(name: str) -> str:
    """Unknown + unknown stays unknown; unknown + a figure is the figure; past MAX_SUM it is MAX_SUM."""
    return (
        f"{name} = CASE WHEN usage.{name} IS NULL THEN excluded.{name} WHEN excluded.{name} IS NULL THEN usage.{name}"
        f" WHEN usage.{name} = {MAX_SUM} OR excluded.{name} = {MAX_SUM} THEN {MAX_SUM}"
        f" ELSE greatest(-{MAX_SUM}, least(usage.{name}::numeric + excluded.{name}, {MAX_SUM}))::bigint END"
    )


_SUMS = ", ".join(f"{name} = usage.{name} + excluded.{name}" for name in ("events", "runs_started", "runs_ended"))
_VERSION = (
    f"price_version = CASE WHEN usage.price_version <> excluded.price_version THEN '{SEVERAL_VERSIONS}'"
    " ELSE coalesce(usage.price_version, excluded.price_version) END"
)
_MOVED = ", ".join(f"{name} = excluded.{name}" for name, _ in RUN_COLUMNS if name not in FIXED)
_WRITE = (
    f"WITH given AS MATERIALIZED (SELECT {NEW_STAMP} AS stamp),"
    " placed AS (INSERT INTO place (org, run, seq, position, recorded_at, event_id, hash)"
    f" SELECT * FROM unnest({_lists(0, range(7))})),"
    " told AS (INSERT INTO event (org, position, recorded_at, type, occurred_at, dialect, agent, feed, flags, facts,"
    f" data, content) SELECT * FROM unnest({_lists(0, (0, 3, 4, *range(7, 16)))})),"
    f" begun AS (INSERT INTO run ({_RUN_NAMES}) SELECT * FROM unnest({_lists(1)})),"
    # Its rows are there. An update that is joined with what is new may be carried out by any index: planned while there
    # are few runs, it goes through all of the organisation for each. This one goes by the key alone.
    f" moved AS (INSERT INTO run ({_RUN_NAMES}) SELECT * FROM unnest({_lists(2)})"
    f" ON CONFLICT (org, run) DO UPDATE SET {_MOVED}),"
    f" agents AS (INSERT INTO agent (agent, org, agent_id, name, doc) SELECT * FROM unnest({_lists(3)})"
    " ON CONFLICT (org, agent) DO UPDATE SET doc = excluded.doc),"
    f" used AS (INSERT INTO usage SELECT * FROM unnest({_lists(4)}) ON CONFLICT (org, hour, agent, model, status)"
    f" DO UPDATE SET {_SUMS}, {', '.join(map(_added, rows.USAGE_FIGURES))}, {_VERSION}),"
    " counted AS (UPDATE org_count SET position = coalesce(new.position, org_count.position),"
    " runs = coalesce(new.runs, org_count.runs), agents = coalesce(new.agents, org_count.agents), stamp = given.stamp"
    f" FROM unnest({_lists(5)}) AS new (position, runs, agents, org), given WHERE org_count.org = new.org)"
    " SELECT pg_current_xact_id()::text, stamp::text FROM given"
)
_THREAD = (
    "INSERT INTO thread (org, thread_id, created_at, number, doc)"
    " VALUES ($1, $2, $3, (SELECT coalesce(max(number), 0) + 1 FROM thread WHERE org = $1), $4)"
    " ON CONFLICT (org, thread_id) DO UPDATE SET doc = excluded.doc"
)
_THREAD_LEFT = "DELETE FROM thread WHERE org = $1 AND thread_id = $2"
_RUN_THREAD = "UPDATE run SET thread_id = $3 WHERE org = $1 AND run = $2"
_CHECKPOINTS_OF = "SELECT doc FROM checkpoint WHERE org = $1 AND run = $2"
_CHECKPOINT_MOVED = (
    "UPDATE checkpoint SET thread_id = $2, doc = $3 WHERE org = $1 AND run = $4 AND agent = $5 AND step_index = $6"
)
_LANE = (
    "INSERT INTO lane (run, org, state, agent, label_set, queue_position, queued_at, expires_at, doc)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    " ON CONFLICT (org, run) DO UPDATE SET state = excluded.state, queue_position = excluded.queue_position,"
    " queued_at = excluded.queued_at, expires_at = excluded.expires_at, doc = excluded.doc"
)
# Most reports only renew: leave the indexes of the queue alone.
_LANE_RENEWED = "UPDATE lane SET expires_at = $3, doc = $4 WHERE org = $1 AND run = $2"
_PERSONA = (
    "INSERT INTO persona (org, persona_key, version, doc, number)"
    " VALUES ($1, $2, $3, $4, (SELECT coalesce(max(number), 0) + 1 FROM persona WHERE org = $1))"
)
_ROUTE = (
    "INSERT INTO provider_route (org, route_id, version, doc, number)"
    " VALUES ($1, $2, $3, $4, (SELECT coalesce(max(number), 0) + 1 FROM provider_route WHERE org = $1))"
)
_CHECKPOINT = (
    "INSERT INTO checkpoint (run, agent, step_index, org, thread_id, status, initial, position, node, metas,"
    " held_node, held_metas, doc) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
    " ON CONFLICT (org, run, agent, step_index) DO UPDATE SET status = excluded.status, initial = excluded.initial,"
    " position = excluded.position, node = excluded.node, metas = excluded.metas, held_node = excluded.held_node,"
    " held_metas = excluded.held_metas, doc = excluded.doc"
)
_MESSAGE = "INSERT INTO message (org, key, number, packed, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
_NODE = (
    "INSERT INTO node (org, key, number, parent, message, block, length) VALUES ($1, $2, $3, $4, $5, $6, $7)"
    " ON CONFLICT DO NOTHING"
)
_METAS = (
    "INSERT INTO meta_list (org, key, number, parent, packed, body) VALUES ($1, $2, $3, $4, $5, $6)"
    " ON CONFLICT DO NOTHING"
)
# Rises with time over all organisations, so that what is newer than a number may be on its way to its event.
_CONTENT_NUMBERS = (
    "UPDATE org_count SET contents = new.count"
    " + greatest(contents, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
    " FROM unnest($1::bigint[], $2::bigint[]) AS new (org, count) WHERE org_count.org = new.org"
    " RETURNING org_count.org, contents"
)
_SPREAD = (
    "INSERT INTO cancel_spread (run, org, doc) VALUES ($1, $2, $3)"
    " ON CONFLICT (org, run) DO UPDATE SET doc = excluded.doc"
)
_SPREAD_OVER = "DELETE FROM cancel_spread WHERE org = $1 AND run = $2"
_REPLY = (
    f"INSERT INTO reply ({rows.REPLY_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (org, name)"
    " DO UPDATE SET digest = excluded.digest, status = excluded.status, body = excluded.body,"
    " created_at = excluded.created_at, run = excluded.run, lease_epoch = excluded.lease_epoch, ids = excluded.ids"
)
_REPLY_BODY = "UPDATE reply SET status = $1, body = $2 WHERE org = $3 AND name = $4 AND status = 0"
# A worker that does not hear its 409 sends the same again: kept once, and never more than a bound of one run and key.
_QUARANTINE = (
    "INSERT INTO quarantine (org, number, run, name, key_id, doc) VALUES ($1, $2, $3, $4, $5, $6)"
    " ON CONFLICT DO NOTHING"
)
_QUARANTINED = (
    "SELECT coalesce(max(number), 0), count(*) FILTER (WHERE key_id = $3),"
    " coalesce(sum(length(doc)) FILTER (WHERE key_id = $3), 0)::bigint FROM quarantine WHERE org = $1 AND run = $2"
)
PROJECTIONS = ("run", "run_text", "thread", "agent", "usage", "checkpoint", "approval")


class Written(NamedTuple):
    """A transaction in which all is written and that is not committed yet."""

    name: str
    """By which it can be asked whether it has committed, if the connection is lost just then."""
    stamp: str
    """What its organisations have from then on, see `locks`."""


async def write_changes(db: Db, changes: Changes, orgs: Iterable[int]) -> Written:
    """All of it, in the transaction that is open. `orgs`: those of which something changes."""
    packer = Packer()
    if changes.replaces is not None:
        for table in PROJECTIONS:
            await db.do(f"DELETE FROM {table} WHERE org = $1", changes.replaces)
        await lost_rows.write_anew(db, changes.replaces)
        await keep_folds(db, changes.replaces)
    if changes.messages or changes.nodes or changes.metas:
        await _write_content(db, changes, packer)
    await _write_state(db, changes)
    await _write_people(db, changes)
    parts: tuple[Sequence[rows.Row], ...] = (
        [_event_columns(event, packer) for event in changes.events],
        [run_columns(one.after) for one in changes.runs.values() if one.before is None],
        [run_columns(one.after) for one in changes.runs.values() if one.before is not None],
        list(map(rows.agent_row, changes.agents.values())),
        list(map(rows.usage_row, changes.usage.values())),
        [(*_counted(changes.counters.get(org)), org) for org in orgs],
    )
    values = [column for part, types in zip(parts, _PARTS, strict=True) for column in _columns(part, len(types))]
    return Written(*await db.row(_WRITE, *values))


def _counted(counters: Counters | None) -> rows.Row:
    return (None, None, None) if counters is None else (counters.position, counters.runs, counters.agents)


def _columns(part: Sequence[rows.Row], count: int) -> list[Sequence[Any]]:
    """A list for each column."""
    return list(zip(*part, strict=True)) if part else [()] * count


def _event_columns(event: Event, packer: Packer) -> rows.Row:
    """Values for both tables of an event."""
    key, run, seq, kind, at, told_at, dialect, event_id, agent, feed, flags, digest, facts, data, content = (
        rows.event_row(event, packer)
    )
    place = (event.org, run, seq, key - (event.org << SHARD_BITS), at, event_id, digest)
    return (*place, kind, told_at, dialect, agent, feed, flags, facts, data, content)


async def _write_content(db: Db, changes: Changes, packer: Packer) -> None:
    parts: tuple[Content, ...] = (*changes.messages, *changes.nodes, *changes.metas)
    counts = Counter(one.org for one in parts)
    found = await db.rows(_CONTENT_NUMBERS, list(counts), list(counts.values()))
    numbers = {row[0]: row[1] - counts[row[0]] for row in found}

    def number(org: int) -> int:
        last: int = numbers.get(org, 0) + 1
        numbers[org] = last
        return last

    await db.each(_MESSAGE, [(m.org, m.key, number(m.org), *_packed(m.body, packer)) for m in changes.messages])
    nodes = ((n, packer.pack(n.block) if n.block else None) for n in changes.nodes)
    await db.each(_NODE, [(n.org, n.key, number(n.org), n.parent, n.message, block, n.length) for n, block in nodes])
    metas = [(m.org, m.key, number(m.org), m.parent, *_packed(m.body, packer)) for m in changes.metas]
    await db.each(_METAS, metas)


def _packed(body: bytes, packer: Packer) -> tuple[bool, bytes]:
    packed = len(body) > rows.PACK_MESSAGES_ABOVE
    return packed, packer.pack(body) if packed else body


async def _write_state(db: Db, changes: Changes) -> None:
    await db.each(_THREAD_LEFT, sorted(changes.left_threads))
    await db.each(_THREAD, map(rows.thread_row, changes.threads.values()))
    await db.each(_CHECKPOINT, map(_checkpoint_columns, changes.checkpoints.values()))
    for run in changes.moved:
        await _move(db, changes.runs[run].after)
    if changes.approvals or changes.ended or changes.spent_links:
        await approvals.write(db, changes)
    if changes.texts:
        await texts.write(db, changes.texts.values())
    if changes.lanes:
        moved = [moved_lane(lane, db.times.offset_ms) for lane in changes.lanes.values()]
        renewed, others = rows.lane_rows(moved, changes.renewed)
        await db.each(_LANE_RENEWED, ((shard_org(row[0]), *row) for row in renewed))
        await db.each(_LANE, others)
    for run, spread in changes.spreads.items():
        if spread is None:
            await db.do(_SPREAD_OVER, shard_org(run), run)
        else:
            await db.do(_SPREAD, *rows.spread_row(spread))
    if changes.quarantined:
        await _write_quarantined(db, changes.quarantined)
    await db.each(_REPLY, map(msgspec.structs.astuple, changes.replies))
    await db.each(_REPLY_BODY, ((one.status, one.body, one.org, one.name) for one in changes.reply_bodies))
    await db.each(_PERSONA, map(rows.persona_row, changes.personas))
    await db.each(_ROUTE, map(rows.route_row, changes.routes))
    if changes.budgets or changes.budget_pauses or changes.reservations or changes.prices:
        await money.write(db, changes)
    if changes.retention or changes.erasing:
        await policies.write(db, changes.retention, changes.erasing)
    of_alerts = (changes.alert_rules, changes.alerts, changes.alert_windows, changes.deliveries)
    if any(of_alerts) or changes.delivery_bodies:
        await alerts.write(db, changes)


async def _move(db: Db, run: RunRow) -> None:
    """Brings what is stored of a run to the thread in which it stands now."""
    await db.do(_RUN_THREAD, run.org, run.run, run.thread_id)
    docs = [doc for (doc,) in await db.rows(_CHECKPOINTS_OF, run.org, run.run)]
    await db.each(_CHECKPOINT_MOVED, ((run.org, *row) for row in state.moved_checkpoints(docs, run.thread_id)))


async def _write_people(db: Db, changes: Changes) -> None:
    await people.write_keys(db, changes.keys)
    if changes.users or changes.sign_in_links or changes.sessions_over or changes.sessions:
        await people.write(db, changes)
    if changes.audit:
        await audit.write(db, changes.audit)


def _checkpoint_columns(row: Any) -> rows.Row:
    columns = list(rows.checkpoint_row(row))
    columns[6] = bool(columns[6])
    return tuple(columns)


async def _write_quarantined(db: Db, quarantined: Iterable[Quarantined]) -> None:
    """What there is room for. The rows of a run are looked through once for each of its keys, and not for each item."""
    rooms: dict[tuple[int, str], tuple[int, int]] = {}
    numbers: dict[int, int] = {}
    for item in quarantined:
        run, name, key_id, doc = rows.quarantine_row(item)
        if (run, key_id) not in rooms:
            numbers[run], count, size = await db.row(_QUARANTINED, item.org, run, key_id)
            rooms[run, key_id] = (count, size)
        count, size = rooms[run, key_id]
        if count >= MAX_QUARANTINED or size >= MAX_QUARANTINED_BYTES:
            continue
        if await db.do(_QUARANTINE, item.org, numbers[run] + 1, run, name, key_id, doc):
            numbers[run] += 1
            rooms[run, key_id] = (count + 1, size + len(doc))


def orgs_of_changes(changes: Changes) -> set[int]:
    """The organisations of which something is written."""
    found = {event.org for event in changes.events} | set(changes.counters)
    found |= {shard_org(run) for run in (*changes.ended, *changes.spreads)}
    found |= {change.after.org for change in changes.runs.values()} | {text.org for text in changes.texts.values()}
    for keyed in (
        changes.threads, changes.usage, changes.spent_links, changes.users, changes.sign_in_links, changes.budgets,
        changes.budget_pauses, changes.reservations, changes.prices, changes.alert_rules, changes.alerts,
        changes.alert_windows, changes.deliveries, changes.delivery_bodies, changes.retention,
    ):  # fmt: skip
        found |= {key[0] for key in keyed}
    for owned in (changes.agents, changes.checkpoints, changes.lanes):
        found |= {row.org for row in owned.values()}
    found |= {shard_org(run) if row is None else row.org for (run, _), row in changes.approvals.items()}
    for listed in (
        changes.messages, changes.nodes, changes.metas, changes.quarantined, changes.replies, changes.reply_bodies,
        changes.keys, changes.sessions_over, changes.sessions, changes.personas, changes.routes,
        changes.erasing, changes.audit,
    ):  # fmt: skip
        found |= {row.org for row in listed}
    return found if changes.replaces is None else found | {changes.replaces}


async def try_to_write(db: Db) -> None:
    """Changes a row, durably with its transaction; what is written means nothing."""
    sql = (
        "INSERT INTO meta VALUES ('tries', '1') ON CONFLICT (name) DO UPDATE SET value = (meta.value::bigint + 1)::text"
    )
    await db.do(sql)


async def drop_old_replies(db: Db, before_ms: int, limit: int) -> int:
    """Forgets replies of Idempotency-Keys that are older than this, at most so many; how many."""
    old = each_org("reply", "true", "created_at, name", "created_at < $1", "created_at", "$2")
    return await db.do(
        f"DELETE FROM reply USING ({old}) AS old WHERE reply.org = old.org AND reply.name = old.name", before_ms, limit
    )


async def trim_run(db: Db, org: int, run: int, before_seq: int) -> None:
    """Drops a run's events below a seq; what is left keeps its seq, and the hash that it is checked with."""
    await hold(db, [org])
    where = "org = $1 AND run = $2 AND seq < $3 AND EXISTS (SELECT 1 FROM run WHERE run.org = $1 AND run.run = $2)"
    last = f"SELECT org, run, seq, hash FROM place WHERE {where} ORDER BY seq DESC LIMIT 1"
    await db.do(
        f"INSERT INTO trim (org, run, seq, hash) {last} ON CONFLICT (org, run) DO UPDATE SET seq = excluded.seq,"
        " hash = excluded.hash",
        org, run, before_seq,
    )  # fmt: skip
    await db.do(
        f"DELETE FROM event USING (SELECT position, recorded_at FROM place WHERE {where}) AS gone"
        " WHERE event.org = $1 AND event.position = gone.position AND event.recorded_at = gone.recorded_at",
        org, run, before_seq,
    )  # fmt: skip
    await db.do(f"DELETE FROM place WHERE {where}", org, run, before_seq)
