"""What a unit of work asks SQLite before it plans: rows by reference, name and state, run in the writer's thread."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import assert_never

import apsw
from msgspec import json

from towerlog.model.agent import AgentRow
from towerlog.model.chain import SPELLED_BYTES
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.content import same_json
from towerlog.model.event import Logged, NamedRun, RunByForeignId, RunById, RunByTrace
from towerlog.model.facts import LinkAbove
from towerlog.model.key import Key
from towerlog.model.principal import SHARD_BITS, Counters
from towerlog.model.run import RunRow
from towerlog.model.span import RESPONSE
from towerlog.model.thread import ThreadRow
from towerlog.model.tombstone import erased_id
from towerlog.store.columns import rows
from towerlog.store.columns.people import name_rows
from towerlog.store.columns.questions.span_ways import links_of
from towerlog.store.compression import Packer, unpacked_bytes
from towerlog.store.lookup_keys import Respelled, SpanWay, trace_of
from towerlog.store.sqlite.connections.connection import damages_of
from towerlog.store.sqlite.reads import marks, one
from towerlog.store.values import StoredReply

MAX_COMPARED_BYTES = 2 * SPELLED_BYTES
"""A stored body that is longer is none of a repeat that may be spelled in another way."""
_ABOVE = "CAST(facts AS TEXT)"
_SPANS_ABOVE = (
    "WITH RECURSIVE way (at) AS (SELECT value FROM json_each(?1) UNION SELECT coalesce("
    "CASE WHEN at NOT GLOB '*[^0-9a-f]*' THEN ?3 ->> at END,"
    f" (SELECT CASE WHEN json_valid({_ABOVE}) THEN {_ABOVE} ->> 'parent_span_id' END"
    " FROM json_each(?2) AS runs CROSS JOIN event WHERE event.run = runs.value"
    " AND event.event_id IN (at, at || '.start', at || '.call')"
    " ORDER BY runs.key, CASE event.event_id WHEN at THEN 0 WHEN at || '.start' THEN 1 ELSE 2 END LIMIT 1),"
    " CASE WHEN at NOT GLOB '*[^0-9a-f]*' THEN ?4 ->> at END)"
    " FROM way WHERE at IS NOT NULL LIMIT ?5) SELECT json_group_array(json_array(at, (SELECT hex(coalesce(facts, x''))"
    " FROM json_each(?2) AS runs CROSS JOIN event WHERE event.run = runs.value AND event.event_id = at LIMIT 1)))"
    " FROM way WHERE at IS NOT NULL"
)
"""Spans on ways up, the ids of which are digits and small letters. A circle ends where it closes. All are one row: apsw
gives the interpreter lock back for each, and waits up to half a millisecond for it while the event loop is at work."""
_WITHOUT_DATA = rows.EVENT_COLUMNS.replace("flags", f"flags & ~{rows.PACKED}").replace("data", "x''")
_EVENTS_BY_ID = (
    "WITH wanted (nth, of_run, id, erased) AS (SELECT key, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1))"
    f" SELECT {_WITHOUT_DATA}, nth FROM wanted CROSS JOIN event WHERE run = of_run AND event_id IN (id, erased)"
)
"""Asks for all ids by one statement, for the same reason: most are new, and have no row."""
MAX_IDS_AT_ONCE = 500
_LAST_NODE, _LAST_METAS = (
    "SELECT wanted.key FROM json_each(?2) AS wanted WHERE EXISTS"
    f" (SELECT 1 FROM {table} AS stored WHERE stored.org = ?1 AND stored.key = unhex(wanted.value)) LIMIT 1"
    for table in ("node", "meta_list")
)
_read_spans = json.Decoder(list[tuple[str, str | None]]).decode


def counters(db: apsw.Connection, org: int) -> Counters:
    """The numbers that an organisation has given out."""
    for row in db.execute("SELECT position, runs, agents FROM org WHERE org = ?", (org,)):
        return Counters(*row)
    return Counters()


def runs_by_ref(db: apsw.Connection, wanted: Sequence[tuple[int, NamedRun]]) -> list[RunRow | None]:
    """The run of each reference."""
    found: list[RunRow | None] = []
    for org, ref in wanted:
        doc = _run_doc(db, org, ref)
        found.append(None if doc is None else rows.decode_run(doc))
    return found


def runs_by_number(db: apsw.Connection, numbers: Sequence[int]) -> dict[int, RunRow]:
    """Runs by number, of any organisation."""
    found = db.execute(f"SELECT run, doc FROM run WHERE run IN ({marks(len(numbers))})", tuple(numbers))
    return {row[0]: rows.decode_run(row[1]) for row in found}


def _run_doc(db: apsw.Connection, org: int, ref: NamedRun) -> bytes | None:
    match ref:
        case RunById(run_id):
            doc = one(db, "SELECT doc FROM run WHERE org = ? AND run_id = ?", (org, run_id))
        case RunByForeignId(foreign_id, _):
            sql = "SELECT doc FROM run WHERE org = ? AND foreign_id = ? ORDER BY run DESC LIMIT 1"
            doc = one(db, sql, (org, foreign_id))
            if doc is None:
                # An agent that was started for one of our runs may report under that run's own id.
                own = foreign_id.partition(":")[2].lower()
                doc = one(db, "SELECT doc FROM run WHERE org = ? AND run_id = ?", (org, own))
        case RunByTrace(thread_id, trace_id, _):
            sql = "SELECT doc FROM run WHERE org = ? AND trace_id = ? AND thread_id = ? ORDER BY run DESC LIMIT 1"
            doc = one(db, sql, (org, trace_id, thread_id))
        case _:
            assert_never(ref)
    return None if doc is None else bytes(doc)


def threads(db: apsw.Connection, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], ThreadRow]:
    """Threads by (org, thread id)."""
    found = ((key, one(db, "SELECT doc FROM thread WHERE org = ? AND thread_id = ?", key)) for key in wanted)
    return {key: rows.decode_thread(doc) for key, doc in found if doc is not None}


def agents_by_name(db: apsw.Connection, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], AgentRow]:
    """Agents by (org, name)."""
    found = ((key, one(db, "SELECT doc FROM agent WHERE org = ? AND name = ?", key)) for key in wanted)
    return {key: rows.decode_agent(doc) for key, doc in found if doc is not None}


def events_by_id(db: apsw.Connection, wanted: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Logged]:
    """Events by (run, event id), without their data: whether it is a repeat is known by the digest.

    What is not read cannot be held against its hash: nothing of such an event is shown but its place.
    """
    found: dict[tuple[int, str], Logged] = {}
    for start in range(0, len(wanted), MAX_IDS_AT_ONCE):
        some = wanted[start : start + MAX_IDS_AT_ONCE]
        ids = json.encode([(run, event_id, erased_id(event_id)) for run, event_id in some]).decode()
        for row in db.execute(_EVENTS_BY_ID, (ids,)):
            found[some[row[-1]]] = _readable(db, row[:-1])
    return found


def spans_above(db: apsw.Connection, ways: Sequence[SpanWay]) -> dict[SpanWay, dict[str, LinkAbove | None]]:
    """Ways up from spans, those of one trace in one statement."""
    found: dict[SpanWay, dict[str, LinkAbove | None]] = {}
    for trace, some in groupby(ways, trace_of):
        of_trace = list(some)
        starts, runs = (json.encode(one).decode() for one in ([way.span_id for way in of_trace], trace.runs))
        bound = sum([way.levels for way in of_trace])
        spans = _read_spans(one(db, _SPANS_ABOVE, (starts, runs, trace.turns, trace.unstored, bound)))
        links = links_of((at, None if facts is None else bytes.fromhex(facts)) for at, facts in spans)
        found |= dict.fromkeys(of_trace, links)
    return found


def response_by_id(db: apsw.Connection, org: int, event_id: str) -> Logged | None:
    """The newest event of an organisation under the id of a response, without its data."""
    sql = (
        f"SELECT {_WITHOUT_DATA} FROM event WHERE event_id = ? AND event_id GLOB '{RESPONSE}*' AND key >= ? AND key < ?"
        " ORDER BY key DESC LIMIT 1"
    )
    for row in db.execute(sql, (event_id, org << SHARD_BITS, (org + 1) << SHARD_BITS)):
        return _readable(db, row)
    return None


def _readable(db: apsw.Connection, row: rows.Row) -> Logged:
    try:
        return rows.event_value(row)
    except rows.UNDECODABLE as error:
        damaged = rows.damaged_event(row[0], row[1], row[2], f"cannot be read: {error}")
        damages_of(db).note(damaged)
        return damaged


def says_the_same(db: apsw.Connection, repeat: Respelled) -> bool | None:
    """True when the event of this id says the same JSON as the text; None when it does not, or cannot be read."""
    sql = "SELECT flags, data FROM event WHERE run = ? AND event_id = ? AND length(data) <= ?"
    for flags, data in db.execute(sql, (repeat.run, repeat.event_id, MAX_COMPARED_BYTES)):
        try:
            if flags & rows.PACKED and unpacked_bytes(data) > MAX_COMPARED_BYTES:
                return None
            text = Packer().unpack(data) if flags & rows.PACKED else data
            return same_json(text, repeat.text, repeat.added) or None
        except rows.UNDECODABLE:
            return None
    return None


def checkpoint(db: apsw.Connection, run: int, agent: str, step_index: int) -> CheckpointRow | None:
    """One checkpoint row."""
    sql = "SELECT doc FROM checkpoint WHERE run = ? AND agent = ? AND step_index = ?"
    doc = one(db, sql, (run, agent, step_index))
    return None if doc is None else rows.decode_checkpoint(doc)


def checkpoints_waiting(db: apsw.Connection, org: int, trace_id: str, step_index: int) -> list[CheckpointRow]:
    """The checkpoints of a step, newest run first, newest position first."""
    sql = (
        "SELECT checkpoint.doc FROM run JOIN checkpoint USING (run)"
        " WHERE run.org = ? AND run.trace_id = ? AND checkpoint.step_index = ?"
        " ORDER BY run DESC, checkpoint.position DESC LIMIT 100"
    )
    return [rows.decode_checkpoint(row[0]) for row in db.execute(sql, (org, trace_id, step_index))]


def last_node(db: apsw.Connection, org: int, keys: Sequence[bytes]) -> int:
    """The number of the last of these history nodes that is stored, from 1 on; 0: none is."""
    return _last_stored(db, _LAST_NODE, org, keys)


def chain_length(db: apsw.Connection, org: int, key: bytes) -> int | None:
    """How many messages the history has that ends in this node; None if it is not stored."""
    found: int | None = one(db, "SELECT length FROM node WHERE org = ? AND key = ?", (org, key))
    return found


def last_metas(db: apsw.Connection, org: int, keys: Sequence[bytes]) -> int:
    """The number of the last of these meta lists that is stored, from 1 on; 0: none is."""
    return _last_stored(db, _LAST_METAS, org, keys)


def _last_stored(db: apsw.Connection, sql: str, org: int, keys: Sequence[bytes]) -> int:
    newest_first = json.encode([key.hex() for key in reversed(keys)]).decode()
    place: int | None = one(db, sql, (org, newest_first))
    return 0 if place is None else len(keys) - place


def runs_cancelling(db: apsw.Connection, after: tuple[int, int], limit: int) -> list[RunRow]:
    """Runs that are being cancelled, by the time of the request."""
    named = "status = 'cancelling' AND (cancel_requested_at, run) > (?, ?)"
    sql = f"SELECT doc FROM run WHERE {named} ORDER BY cancel_requested_at, run LIMIT ?"
    return [rows.decode_run(row[0]) for row in db.execute(sql, (*after, limit))]


def runs_silent(db: apsw.Connection, noted: bool, before_ms: int, after: tuple[int, int], limit: int) -> list[RunRow]:
    """Runs whose silence is timed and may have lasted since before this time, the longest silent first."""
    named = "quiet = ? AND seen_at <= ? AND (seen_at, run) > (?, ?)"
    sql = f"SELECT doc FROM run WHERE {named} ORDER BY seen_at, run LIMIT ?"
    return [rows.decode_run(row[0]) for row in db.execute(sql, (int(noted), before_ms, *after, limit))]


def reply(db: apsw.Connection, org: int, name: str) -> StoredReply | None:
    """The stored reply of an Idempotency-Key."""
    sql = f"SELECT {rows.REPLY_COLUMNS} FROM reply WHERE org = ? AND name = ?"
    for row in db.execute(sql, (org, name)):
        return StoredReply(*row)
    return None


def key(db: apsw.Connection, org: int, key_id: str) -> Key | None:
    """One API key."""
    sql = f"SELECT {rows.KEY_COLUMNS} FROM api_key WHERE org = ? AND key_id = ?"
    for row in db.execute(sql, (org, key_id)):
        return rows.key_value(row)
    return None


def stored_names(db: apsw.Connection, org: int) -> tuple[list[rows.Row], list[rows.Row]]:
    """The names that users have, as rows; and those that are kept for them."""
    users = db.execute("SELECT user_id, name, email, removed_at FROM user WHERE org = ? ORDER BY number", (org,))
    kept = db.execute("SELECT org, folded, user_id, is_member FROM user_name WHERE org = ?", (org,))
    return list(name_rows(org, users)), [(*row, bool(is_member)) for *row, is_member in kept]
