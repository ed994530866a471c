"""What `verify` reads: every row with a look at its own columns, and the whole content store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.feed import FEED_TYPES_ALWAYS, FEED_TYPES_SOMETIMES
from towerlog.model.lane import Lane, QueueState
from towerlog.model.run import TERMINAL, RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.store.columns import rows, state
from towerlog.store.columns.people import name_faults
from towerlog.store.columns.questions.money import hold_faults, pause_faults
from towerlog.store.columns.questions.searches import TEXT_COLUMNS, text_value
from towerlog.store.compression import Packer
from towerlog.store.content import Content, HistoryNode, Message, MetaList
from towerlog.store.postgres.connections import Db, told_text
from towerlog.store.postgres.reading.run_columns import COLUMNS as RUN_COLUMNS
from towerlog.store.postgres.reading.run_columns import run_columns
from towerlog.store.postgres.subjects.folds import folds_of
from towerlog.store.postgres.subjects.lost_rows import stored_names, unfound
from towerlog.store.postgres.subjects.money import budgets_pausing
from towerlog.store.postgres.upkeep.indexes import index_faults
from towerlog.store.stock import Stock
from towerlog.store.values import Rows

T = TypeVar("T")
MAX_FAULTS = 50
_RUN = ", ".join(name for name, _ in RUN_COLUMNS[:-1])
_LANE = rows.LANE_COLUMNS.removesuffix(", doc")
# By their names: a later version may add columns while this one runs.
_CELLS = (
    "SELECT org, hour, agent, model, status, events, runs_started, runs_ended,"
    f" {', '.join(rows.USAGE_FIGURES)}, price_version FROM usage WHERE org = $1 ORDER BY hour, agent, model, status"
)
_TEXTS = f"SELECT {TEXT_COLUMNS} FROM run_text WHERE org = $1"
_CHECKPOINT = "run, agent, step_index, org, thread_id, status, initial, position, node, metas, held_node, held_metas"
_AS_MADE = " ORDER BY number"
"""So that a rebuild, which writes them anew, numbers them as they were."""
_STATE: tuple[tuple[str, str, Callable[[bytes], Any], Callable[[Any], rows.Row]], ...] = (
    ("persona", "org, persona_key, version", rows.decode_persona, rows.persona_row),
    ("provider_route", "org, route_id, version", rows.decode_route, rows.route_row),
    ("retention", "org, kind", state.decode_policy, state.policy_row),
    ("price", "org, price_id, number", state.decode_price, state.price_row),
    ("budget", "org, budget_id, number, due_at", state.decode_budget, state.budget_row),
    (
        "reservation", "org, reservation_id, key_id, run, expires_at", state.decode_reservation, state.reservation_row,
    ),
    ("alert_rule", "org, rule_id, number, timed", state.decode_rule, state.rule_row),
    (
        "alert", "org, alert_id, rule_id, subject, episode, state, fired_at, position", state.decode_alert,
        state.alert_row,
    ),
    (
        "delivery", "org, delivery_id, rule_id, alert_id, state, receiver, due_at, created_at, body_id",
        state.decode_delivery, state.delivery_row,
    ),
    ("delivery_body", "org, body_id, alert_id, unwritten", state.decode_body, state.body_row),
)  # fmt: skip
"""What is no projection, and is held against its own columns alone."""


class _Reading:
    """Reads the rows of one organisation, and notes what contradicts itself."""

    def __init__(self, db: Db, org: int) -> None:
        self.db = db
        self.org = org
        self.faults: list[str] = []
        self.run_names: dict[int, str] = {}

    def name_of(self, run: int) -> str:
        """A run by the id that people look it up by; by its number where no row has it."""
        run_id = self.run_names.get(run)
        return f"a run that is not there (number {run})" if run_id is None else f"run {run_id}"

    async def read(
        self,
        table: str,
        columns: str,
        decode: Callable[[bytes], T],
        values: Callable[[T], rows.Row],
        heal: Callable[[T | None, list[Any]], T | None] = lambda row, _: row,
        name: Callable[[list[Any]], object] = lambda given: given[1],
        order: str = "",
    ) -> list[T]:
        """All rows of a table that can be read, or healed."""
        found = []
        for *given, doc in await self.db.rows(f"SELECT {columns}, doc FROM {table} WHERE org = $1{order}", self.org):
            row, fault = _decoded(decode, doc)
            if row is not None and _told(given) != _told(values(row)[: len(given)]):
                fault = "its columns do not say what the row says"
            if fault:
                self.faults.append(f"{table} {name(given)}: {fault}")
                row = heal(row, given)
            if row is not None:
                found.append(row)
        return found


async def all_rows(db: Db, org: int) -> Rows:
    """Every projection row, read in one transaction."""
    async with db.connection.transaction(isolation="repeatable_read", readonly=True):
        reading = _Reading(db, org)
        found = await db.rows("SELECT run, run_id FROM run WHERE org = $1", org)
        reading.run_names = {row[0]: row[1] for row in found}
        return await _all_rows(reading)


async def _all_rows(reading: _Reading) -> Rows:
    db, org, read = reading.db, reading.org, reading.read
    reading.faults += await _feed_faults(db, org) + await _place_faults(db, org)

    def of_run(given: list[Any]) -> str:
        return f"of {reading.name_of(given[0])}"

    def step(given: list[Any]) -> str:
        return f"{of_run(given)}, agent {given[1]}, step {given[2]}"

    lanes = await read("lane", _LANE, rows.decode_lane, rows.lane_row, name=of_run)
    kept = {table: await read(table, columns, decode, values) for table, columns, decode, values in _STATE}
    # Budgets count what is spent by themselves; what they hold is what reservations do.
    reading.faults += hold_faults(kept["budget"], kept["reservation"])
    reading.faults += pause_faults(kept["budget"], await budgets_pausing(db, org))
    erasing = await read("erasing", "run, org", state.decode_erasing, state.erasing_row, name=of_run)
    runs = await read("run", _RUN, rows.decode_run, run_columns, name=lambda given: given[2])
    reading.faults += _lane_faults(reading, runs, lanes)
    reading.faults += await _key_faults(db, org) + await _counter_faults(db, org)
    return Rows(
        position=await db.value("SELECT position FROM org_count WHERE org = $1", org) or 0,
        runs=runs,
        threads=await read(
            "thread", "org, thread_id, created_at", rows.decode_thread, rows.thread_row, _same_thread, order=_AS_MADE
        ),
        agents=await read("agent", "agent, org, agent_id, name", rows.decode_agent, rows.agent_row, _same_agent, _last),
        usage=[rows.usage_value(_as_told(row)) for row in await db.rows(_CELLS, org)],
        checkpoints=await read("checkpoint", _CHECKPOINT, rows.decode_checkpoint, rows.checkpoint_row, name=step),
        approvals=await read(
            "approval", "run, seq, org, position, step_index, due_at", state.decode_approval, state.approval_row,
            name=of_run,
        ),
        texts=[text_value(_as_told(row)) for row in await db.rows(_TEXTS, org)],
        faults=reading.faults,
        erasing=frozenset(one.run for one in erasing),
        folds=await folds_of(db, org),
    )  # fmt: skip


def _told(values: Sequence[Any]) -> list[Any]:
    """Values of columns, alike whichever way they are told: truth as a number, texts as they were written."""
    return [
        told_text(value) if isinstance(value, str) else int(value) if isinstance(value, bool) else value
        for value in values
    ]


def _as_told(row: Any) -> rows.Row:
    return tuple(told_text(value) if isinstance(value, str) else value for value in row)


def _last(given: list[Any]) -> object:
    return given[-1]


def _decoded(decode: Callable[[bytes], T], doc: bytes) -> tuple[T | None, str]:
    """The row, or what is wrong with it: the check of a damaged store goes on where any other reader gives up."""
    try:
        return decode(doc), ""
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        return None, f"cannot be read: {error}"


def _same_agent(row: AgentRow | None, given: list[Any]) -> AgentRow:
    """The agent that the columns name: an identity is no projection, and a rebuild must not lose it."""
    agent, org, agent_id, name = given
    if row is None:
        return AgentRow(agent, org, agent_id, told_text(name), created_at=0)
    return msgspec.structs.replace(row, agent=agent, org=org, agent_id=agent_id, name=told_text(name))


def _same_thread(row: ThreadRow | None, given: list[Any]) -> ThreadRow:
    """The thread that the columns name; its title is lost where the row cannot be read."""
    org, thread_id, created_at = given
    if row is None:
        return ThreadRow(org, told_text(thread_id), created_at)
    return msgspec.structs.replace(row, org=org, thread_id=told_text(thread_id), created_at=created_at)


def _lane_faults(reading: _Reading, runs: list[RunRow], lanes: list[Lane]) -> list[str]:
    """Runs for workers without a lane, lanes without a run, and lanes of ended runs that are not done."""
    made = {row.run: row for row in runs if row.has_lane}
    known = {lane.run for lane in lanes}
    faults = [
        f"run {row.run_id}: was made for workers, and has no lane" for run, row in made.items() if run not in known
    ]
    for lane in lanes:
        row = made.get(lane.run)
        if row is None:
            faults.append(f"lane of {reading.name_of(lane.run)}: there is no run that was made for workers")
        elif row.is_terminal() and lane.state is not QueueState.DONE:
            faults.append(f"lane of run {row.run_id}: is {lane.state}, its run has ended")
    return faults


async def _key_faults(db: Db, org: int) -> list[str]:
    """Keys that nobody has, or whose scopes nobody knows: who shows one is not let in. And names that are not those of
    the members they are kept for."""
    users = {row[0] for row in await db.rows("SELECT user_id FROM org_user WHERE org = $1", org)}
    faults = []
    for row in await db.rows(f"SELECT {rows.KEY_COLUMNS} FROM api_key WHERE org = $1", org):
        try:
            key = rows.key_value(row)
        except (ValueError, TypeError, AttributeError) as error:
            faults.append(f"api_key {row[1]}: cannot be read: {error}")
            continue
        if key.user_id not in users:
            faults.append(f"api_key {key.key_id}: its user is not there")
    faults += [f"{one}: is not found by its digest: who shows it is not let in" for one in await unfound(db, org)]
    return faults + name_faults(*await stored_names(db, org))


async def _counter_faults(db: Db, org: int) -> list[str]:
    """Counters that would give a number out twice."""
    faults = []
    for counter, table, key in (
        ("position", "place", "position"),
        ("runs", "run", "run"),
        ("agents", "agent", "agent"),
    ):
        given = await db.value(f"SELECT {counter} FROM org_count WHERE org = $1", org) or 0
        last = await db.value(f"SELECT max({key} & {(1 << 40) - 1}) FROM {table} WHERE org = $1", org)
        if last is not None and last > given:
            faults.append(f"org {org}: has counted {given} {counter}, and {last} is taken")
    return faults


async def _feed_faults(db: Db, org: int) -> list[str]:
    """Events whose place in an agent's feed is not the one that their type and agent give them.

    Whether one of a type that shows only sometimes should have a place, its facts alone can say: here it may.
    """
    sql = (
        "SELECT position FROM event WHERE org = $1 AND feed IS DISTINCT FROM"
        " (CASE WHEN agent <> 0 AND type = ANY($2::text[]) THEN agent"
        " WHEN feed IS NOT NULL AND agent <> 0 AND type = ANY($3::text[]) THEN agent END) LIMIT $4"
    )
    sure, maybe = sorted(FEED_TYPES_ALWAYS), sorted(FEED_TYPES_SOMETIMES)
    found = await db.rows(sql, org, sure, maybe, MAX_FAULTS)
    return [f"position {row[0]}: its place in its agent's feed is wrong" for row in found]


async def _place_faults(db: Db, org: int) -> list[str]:
    """Events without a place: nobody finds them. (One that is missing at its place is damaged for all readers.)"""
    sql = (
        "SELECT position FROM event WHERE org = $1 AND NOT EXISTS (SELECT 1 FROM place WHERE place.org = event.org"
        " AND place.position = event.position AND place.recorded_at = event.recorded_at) LIMIT $2"
    )
    return [f"position {row[0]}: an event without a place" for row in await db.rows(sql, org, MAX_FAULTS)]


_DRAWING = ", ".join(f"('draw_stamp', '{name}')" for name in ("draw_own_stamp", "draw_stamp", "draw_stamps"))
"""(trigger, function): see the second migration."""


async def structure_faults(db: Db) -> list[str]:
    """What is wrong below the rows: indexes, and what would be carried out with a read or a write."""
    return await index_faults(db) + await strange(db)


async def strange(db: Db) -> list[str]:
    """Triggers and rules on the tables of the store that no version makes."""
    sql = (
        "SELECT 'trigger', tgname, tgrelid::regclass::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal"
        f" AND (tgname, tgfoid::regproc::text) NOT IN ({_DRAWING})"
        " UNION ALL SELECT 'rule', rulename, ev_class::regclass::text FROM pg_rewrite JOIN pg_class"
        " ON pg_class.oid = ev_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
    )
    return [f"{kind} {name} on {table}: no version of towerlog makes it" for kind, name, table in await db.rows(sql)]


async def content_page(db: Db, org: int, kind: str, after: int, limit: int) -> list[tuple[int, Content]]:
    """A page of the content store."""
    table, columns, value = _CONTENT[kind]
    sql = f"SELECT number, {columns} FROM {table} WHERE org = $1 AND number > $2 ORDER BY number LIMIT $3"
    return [(row[0], value(org, tuple(row)[1:])) for row in await db.rows(sql, org, after, limit)]


def _message(org: int, row: rows.Row) -> Message:
    key, packed, body = row
    return Message(org, key, _unpacked(packed, body))


def _node(org: int, row: rows.Row) -> HistoryNode:
    key, parent, message, length, block = row
    return HistoryNode(org, key, parent, message, length, b"" if block is None else _unpacked(True, block))


def _metas(org: int, row: rows.Row) -> MetaList:
    key, parent, packed, body = row
    return MetaList(org, key, parent, _unpacked(packed, body))


def _unpacked(packed: bool, body: bytes) -> bytes:
    """The text; what cannot be unpacked is handed out as it is, and then does not fit its name."""
    try:
        return Packer().unpack(body) if packed else body
    except ValueError:
        return body


_CONTENT: dict[str, tuple[str, str, Callable[[int, Any], Content]]] = {
    "messages": ("message", "key, packed, body", _message),
    "nodes": ("node", "key, parent, message, length, block", _node),
    "metas": ("meta_list", "key, parent, packed, body", _metas),
}


async def stock(db: Db) -> Stock:
    """What the store holds, over all organisations."""
    # The organisations first: within one, the index has the statuses in their order.
    sql = (
        "SELECT status, sum(count)::bigint FROM org CROSS JOIN LATERAL (SELECT status, count(*) FROM run"
        " WHERE run.org = org.org GROUP BY status) AS counted GROUP BY status"
    )
    runs = {row[0]: row[1] for row in await db.rows(sql)}
    open_runs = [status.value for status in Status if status not in TERMINAL]
    silent = (
        "SELECT coalesce(sum(count), 0)::bigint FROM org CROSS JOIN LATERAL (SELECT count(*) FROM run"
        " WHERE run.org = org.org AND status = ANY($1::text[]) AND silent) AS counted"
    )
    oldest = await db.value("SELECT min(queued_at) FROM lane WHERE state = 'queued'")
    return Stock(
        events=await db.value("SELECT coalesce(sum(position), 0)::bigint FROM org_count"),
        runs=runs,
        silent=await db.value(silent, open_runs),
        queued=await db.value("SELECT count(*) FROM lane WHERE state = 'queued'"),
        held=await db.value("SELECT count(*) FROM lane WHERE state = 'held'"),
        oldest_queued_at=None if oldest is None else oldest - db.times.offset_ms,
        database_bytes=await db.value("SELECT pg_database_size(current_database())"),
        wal_bytes=0,
    )
