"""What `verify` reads from SQLite: every row with a look at its own columns, and the whole content store."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import apsw
import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.feed import FEED_TYPES_ALWAYS, FEED_TYPES_SOMETIMES
from towerlog.model.lane import Lane, QueueState
from towerlog.model.principal import shard_bounds
from towerlog.model.run import TERMINAL, RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.store.columns import rows, state
from towerlog.store.columns.people import name_faults
from towerlog.store.columns.questions.money import hold_faults, pause_faults
from towerlog.store.columns.questions.searches import TEXT_COLUMNS, text_value
from towerlog.store.compression import Packer
from towerlog.store.content import Content, HistoryNode, Message, MetaList
from towerlog.store.sqlite.connections.store_notes import folds_of
from towerlog.store.sqlite.lookups import stored_names
from towerlog.store.sqlite.money.budgets import budgets_pausing
from towerlog.store.sqlite.reads import marks, one
from towerlog.store.stock import Stock
from towerlog.store.values import Rows

T = TypeVar("T")
MAX_FAULTS = 50

_RUN = rows.RUN_COLUMNS.removesuffix(", doc")
_LANE = rows.LANE_COLUMNS.removesuffix(", doc")
_CELLS = "SELECT * FROM usage WHERE org = ? ORDER BY hour, agent, model, status"
_THREAD = "org, thread_id, created_at"
_CHECKPOINT = "run, agent, step_index, org, thread_id, status, initial, position, node, metas, held_node, held_metas"
_TEXTS = f"SELECT {TEXT_COLUMNS} FROM run_text WHERE org = ?"
_APPROVAL = "run, seq, org, position, step_index, due_at"
_RESERVATION = "org, reservation_id, key_id, run, expires_at"
_ALERT = "org, alert_id, rule_id, subject, episode, state, fired_at, position"
_DELIVERY = "org, delivery_id, rule_id, alert_id, state, receiver, due_at, created_at, body_id"
_AS_MADE = " ORDER BY number"
"""So that a rebuild, which writes them anew, numbers them as they were."""


def all_rows(db: apsw.Connection, org: int) -> Rows:
    """Every projection row, read in one transaction."""
    db.execute("BEGIN")
    try:
        return _all_rows(db, org)
    finally:
        if db.in_transaction:  # a read that the disk has failed may have ended it
            db.execute("COMMIT")


def _all_rows(db: apsw.Connection, org: int) -> Rows:
    faults = _feed_faults(db, org)

    def of_run(given: list[Any]) -> str:
        return f"of {_run_name(db, given[0])}"

    def step(given: list[Any]) -> str:
        return f"{of_run(given)}, agent {given[1]}, step {given[2]}"

    def read(
        table: str,
        columns: str,
        decode: Callable[[bytes], T],
        values: Callable[[T], rows.Row],
        heal: Callable[[T | None, list[Any]], T | None] = lambda row, _: row,
        name: Callable[[list[Any]], object] = lambda given: given[1],
        order: str = "",
    ) -> list[T]:
        found = []
        for *given, doc in db.execute(f"SELECT {columns}, doc FROM {table} WHERE org = ?{order}", (org,)):
            row, fault = _decoded(decode, doc)
            if row is not None and tuple(given) != values(row)[: len(given)]:
                fault = "its columns do not say what the row says"
            if fault:
                faults.append(f"{table} {name(given)}: {fault}")
                row = heal(row, given)
            if row is not None:
                found.append(row)
        return found

    lanes = read("lane", _LANE, rows.decode_lane, rows.lane_row, name=of_run)
    # What people have registered is folded from nothing: it can only be held against its own columns.
    read("persona", "org, persona_key, version", rows.decode_persona, rows.persona_row)
    read("provider_route", "org, route_id, version", rows.decode_route, rows.route_row)
    read("retention", "org, kind", state.decode_policy, state.policy_row)
    erasing = read("erasing", "run, org", state.decode_erasing, state.erasing_row, name=of_run)
    read("price", "org, price_id, number", state.decode_price, state.price_row)
    # Budgets count what is spent by themselves, and hold what reservations do.
    budgets = read("budget", "org, budget_id, number, due_at", state.decode_budget, state.budget_row)
    held = read("reservation", _RESERVATION, state.decode_reservation, state.reservation_row)
    faults += hold_faults(budgets, held) + pause_faults(budgets, budgets_pausing(db, org))
    read("alert_rule", "org, rule_id, number, timed", state.decode_rule, state.rule_row)
    read("alert", _ALERT, state.decode_alert, state.alert_row)
    read("delivery", _DELIVERY, state.decode_delivery, state.delivery_row)
    read("delivery_body", "org, body_id, alert_id, unwritten", state.decode_body, state.body_row)
    runs = read("run", _RUN, rows.decode_run, rows.run_indexed, name=lambda given: given[2])
    faults += _lane_faults(db, runs, lanes) + _key_faults(db, org) + _counter_faults(db, org)
    return Rows(
        position=one(db, "SELECT position FROM org WHERE org = ?", (org,)) or 0,
        runs=runs,
        threads=read("thread", _THREAD, rows.decode_thread, rows.thread_row, _same_thread, order=_AS_MADE),
        agents=read("agent", "agent, org, agent_id, name", rows.decode_agent, rows.agent_row, _same_agent, _last),
        usage=[rows.usage_value(row) for row in db.execute(_CELLS, (org,))],
        checkpoints=read("checkpoint", _CHECKPOINT, rows.decode_checkpoint, rows.checkpoint_row, name=step),
        approvals=read("approval", _APPROVAL, state.decode_approval, state.approval_row, name=of_run),
        texts=[text_value(row) for row in db.execute(_TEXTS, (org,))],
        faults=faults,
        erasing=frozenset(one.run for one in erasing),
        folds=folds_of(db, org),
    )


def _last(given: list[Any]) -> object:
    return given[-1]


def _run_name(db: apsw.Connection, run: int) -> str:
    """A run by the id that people look it up by; by its number where no row has it."""
    run_id = one(db, "SELECT run_id FROM run WHERE run = ?", (run,))
    return f"a run that is not there (number {run})" if run_id is None else f"run {run_id}"


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
        return AgentRow(agent, org, agent_id, name, created_at=0)
    return msgspec.structs.replace(row, agent=agent, org=org, agent_id=agent_id, name=name)


def _same_thread(row: ThreadRow | None, given: list[Any]) -> ThreadRow:
    """The thread that the columns name; its title is lost where the row cannot be read."""
    org, thread_id, created_at = given
    if row is None:
        return ThreadRow(org, thread_id, created_at)
    return msgspec.structs.replace(row, org=org, thread_id=thread_id, created_at=created_at)


def _lane_faults(db: apsw.Connection, runs: list[RunRow], lanes: list[Lane]) -> list[str]:
    """Runs for workers without a lane, lanes without a run, and lanes of ended runs that are not done."""
    made = {row.run: row for row in runs if row.has_lane}
    known = {lane.run for lane in lanes}
    faults = [
        f"run {row.run_id}: was made for workers, and has no lane" for run, row in made.items() if run not in known
    ]
    for lane in lanes:
        row = made.get(lane.run)
        if row is None:
            faults.append(f"lane of {_run_name(db, lane.run)}: there is no run that was made for workers")
        elif row.is_terminal() and lane.state is not QueueState.DONE:
            faults.append(f"lane of run {row.run_id}: is {lane.state}, its run has ended")
    return faults


def _key_faults(db: apsw.Connection, org: int) -> list[str]:
    """Keys that nobody has, or whose scopes nobody knows: who shows one is not let in. And names that are not those of
    the members they are kept for."""
    users = {row[0] for row in db.execute("SELECT user_id FROM user WHERE org = ?", (org,))}
    faults = []
    for row in db.execute(f"SELECT {rows.KEY_COLUMNS} FROM api_key WHERE org = ?", (org,)):
        try:
            key = rows.key_value(row)
        except (ValueError, TypeError, AttributeError) as error:
            faults.append(f"api_key {row[1]}: cannot be read: {error}")
            continue
        if key.user_id not in users:
            faults.append(f"api_key {key.key_id}: its user is not there")
    return faults + name_faults(*stored_names(db, org))


def _counter_faults(db: apsw.Connection, org: int) -> list[str]:
    """Counters that would give a number out twice."""
    lowest, highest = shard_bounds(org)
    faults = []
    for counter, table, key in (("position", "event", "key"), ("runs", "run", "run"), ("agents", "agent", "agent")):
        given = one(db, f"SELECT {counter} FROM org WHERE org = ?", (org,)) or 0
        last = one(db, f"SELECT max({key}) FROM {table} WHERE {key} BETWEEN ? AND ?", (lowest, highest))
        if last is not None and last - lowest > given:
            faults.append(f"org {org}: has counted {given} {counter}, and {last - lowest} is taken")
    return faults


def _feed_faults(db: apsw.Connection, org: int) -> list[str]:
    """Events whose place in an agent's feed is not the one that their type and agent give them.

    Whether one of a type that shows only sometimes should have a place, its facts alone can say: here it may.
    """
    sure, maybe = sorted(FEED_TYPES_ALWAYS), sorted(FEED_TYPES_SOMETIMES)
    sql = (
        "SELECT key FROM event WHERE key BETWEEN ? AND ? AND feed IS NOT"
        f" (CASE WHEN agent <> 0 AND type IN ({marks(len(sure))}) THEN agent"
        f" WHEN feed IS NOT NULL AND agent <> 0 AND type IN ({marks(len(maybe))}) THEN agent END) LIMIT ?"
    )
    lowest, highest = shard_bounds(org)
    found = db.execute(sql, (lowest, highest, *sure, *maybe, MAX_FAULTS))
    return [f"position {row[0] - lowest}: its place in its agent's feed is wrong" for row in found]


def content_page(db: apsw.Connection, org: int, kind: str, after: int, limit: int) -> list[tuple[int, Content]]:
    """A page of the content store."""
    table, columns, value = _CONTENT[kind]
    # The unary plus keeps SQLite on the primary key: by its index each page would read and sort everything.
    sql = f"SELECT {table}, {columns} FROM {table} WHERE +org = ? AND {table} > ? ORDER BY {table} LIMIT ?"
    return [(row[0], value(org, row[1:])) for row in db.execute(sql, (org, after, limit))]


def _message(org: int, row: rows.Row) -> Message:
    key, packed, body = row
    return Message(org, key, _unpacked(packed, body))


def _node(org: int, row: rows.Row) -> HistoryNode:
    key, parent, message, length, block = row
    return HistoryNode(org, key, parent, message, length, b"" if block is None else _unpacked(1, block))


def _metas(org: int, row: rows.Row) -> MetaList:
    key, parent, packed, body = row
    return MetaList(org, key, parent, _unpacked(packed, body))


def _unpacked(packed: int, body: bytes) -> bytes:
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


def stock(db: apsw.Connection) -> Stock:
    """What the store holds, over all organisations."""
    runs: dict[str, int] = {}
    # The organisations first: within one, the index has the statuses in their order.
    for status, count in db.execute("SELECT status, count(*) FROM org CROSS JOIN run USING (org) GROUP BY org, status"):
        runs[status] = runs.get(status, 0) + count
    open_runs = tuple(status.value for status in Status if status not in TERMINAL)
    silent = (
        "SELECT count(*) FROM org CROSS JOIN run USING (org)"
        f" WHERE status IN ({marks(len(open_runs))}) AND json_extract(CAST(doc AS TEXT), '$.silent_at') IS NOT NULL"
    )
    return Stock(
        events=one(db, "SELECT sum(position) FROM org", ()) or 0,
        runs=runs,
        silent=one(db, silent, open_runs),
        # The words stand in the text, so that SQLite takes the indices that have these lanes alone.
        queued=one(db, "SELECT count(*) FROM lane WHERE state = 'queued'", ()),
        held=one(db, "SELECT count(*) FROM lane WHERE state = 'held'", ()),
        oldest_queued_at=one(db, "SELECT min(queued_at) FROM lane WHERE state = 'queued'", ()),
        database_bytes=_size(db.filename),
        wal_bytes=_size(f"{db.filename}-wal"),
    )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
