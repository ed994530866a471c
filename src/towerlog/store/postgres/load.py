"""Everything that a group of commands may touch: what nearly every group asks for in one statement, all else after it.

Each part of that statement is a question about keys that stand in arrays, and gives (kind, place of the key, numbers,
texts, bytes). What is not among them is asked kind by kind. The locks of the organisations are held by now, so that
several statements see the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from towerlog.model.alert import MAX_CALLS
from towerlog.model.event import EventType, NamedRun, RunByForeignId, RunById, RunByTrace
from towerlog.model.principal import SHARD_BITS, Counters, shard_org
from towerlog.model.span import RESPONSE
from towerlog.store.columns import rows, state
from towerlog.store.lookup_keys import Claimant, Family
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.reading import content, descent, events, lanes, registry, runs, span_ways, threads
from towerlog.store.postgres.subjects import alerts, approvals, money, people, policies
from towerlog.store.postgres.times import NOW_SQL
from towerlog.store.values import Kind, Loaded, StoredReply, Wanted

NO_ROW = "NULL::bigint[], NULL::text[]"
_CLOCK = -1
"""The kind of the row that tells the database's time."""


class Together(NamedTuple):
    """A question within the one statement."""

    sql: str
    """With `{0}`, `{1}` … for the numbers of its parameters, and `{kind}`."""
    values: Callable[[Sequence[Any]], Sequence[Sequence[Any]]]
    """Its parameters from the keys, each an array."""
    value: Callable[[Db, Any, Any], Any]
    """The value of a key from its row."""


class Told(NamedTuple):
    """A row of the one statement."""

    numbers: Any
    texts: Any
    parts: Any
    """Bytes; the row itself, as JSON text, stands first."""


def _of_org(table: str, key: str, kind: str) -> str:
    """Rows by (org, key)."""
    return (
        f"SELECT {{kind}}, (wanted.place - 1)::integer, {NO_ROW}, ARRAY[{table}.doc]"
        f" FROM unnest({{0}}::bigint[], {{1}}::{kind}[]) WITH ORDINALITY AS wanted (org, key, place)"
        f" JOIN {table} ON {table}.org = wanted.org AND {table}.{key} = wanted.key"
    )


def _all_of_org(table: str) -> str:
    """All rows of an organisation, in the order of their numbers."""
    return (
        f"SELECT {{kind}}, (wanted.place - 1)::integer, {NO_ROW},"
        f" array_agg({table}.doc ORDER BY {table}.number) FROM unnest({{0}}::bigint[]) WITH ORDINALITY"
        f" AS wanted (org, place) JOIN {table} ON {table}.org = wanted.org GROUP BY wanted.place"
    )


_COUNTERS = (
    "SELECT {kind}, (wanted.place - 1)::integer, ARRAY[position, runs, agents], NULL::text[], NULL::bytea[]"
    " FROM unnest({0}::bigint[]) WITH ORDINALITY AS wanted (org, place) JOIN org_count ON org_count.org = wanted.org"
)
_EVENT_IDS = (
    f"SELECT {{kind}}, (wanted.place - 1)::integer, ARRAY[{events.KEY}, place.run, place.seq, place.recorded_at,"
    f" told.occurred_at, told.agent, told.feed, told.flags & ~{rows.PACKED}],"
    " ARRAY[told.type, told.dialect, place.event_id], ARRAY[place.hash, told.facts, told.content]"
    " FROM unnest({0}::bigint[], {1}::bigint[], {2}::text[], {3}::text[]) WITH ORDINALITY"
    " AS wanted (org, run, id, erased, place) JOIN place ON place.org = wanted.org AND place.run = wanted.run"
    f" AND place.event_id IN (wanted.id, wanted.erased){events.TOLD}"
)
_RESPONSES = (
    f"SELECT {{kind}}, (wanted.nth - 1)::integer, ARRAY[{events.KEY}, place.run, place.seq, place.recorded_at,"
    f" told.occurred_at, told.agent, told.feed, told.flags & ~{rows.PACKED}],"
    " ARRAY[told.type, told.dialect, place.event_id], ARRAY[place.hash, told.facts, told.content]"
    " FROM unnest({0}::bigint[], {1}::text[]) WITH ORDINALITY AS wanted (org, id, nth)"
    " CROSS JOIN LATERAL (SELECT * FROM place AS one WHERE one.org = wanted.org AND one.event_id = wanted.id"
    f" AND one.event_id LIKE '{RESPONSE}%' ORDER BY one.position DESC LIMIT 1) AS place{events.TOLD}"
)
_REFS = (
    f"SELECT {{kind}}, (wanted.place - 1)::integer, {NO_ROW}, ARRAY[found.doc]"
    " FROM unnest({0}::bigint[], {1}::text[], {2}::text[], {3}::text[]) WITH ORDINALITY"
    " AS wanted (org, way, id, more, place) CROSS JOIN LATERAL (SELECT doc FROM ("
    " (SELECT doc, 1 AS rank FROM run WHERE wanted.way = 'id' AND run.org = wanted.org AND run.run_id = wanted.id)"
    " UNION ALL (SELECT doc, 1 FROM run WHERE wanted.way = 'trace' AND run.org = wanted.org"
    " AND run.trace_id = wanted.id AND run.thread_id = wanted.more ORDER BY run.run DESC LIMIT 1)"
    " UNION ALL (SELECT doc, 1 FROM run WHERE wanted.way = 'foreign' AND run.org = wanted.org"
    " AND run.foreign_id = wanted.id ORDER BY run.run DESC LIMIT 1)"
    # An agent that was started for one of our runs may report under that run's own id.
    " UNION ALL (SELECT doc, 2 FROM run WHERE wanted.way = 'foreign' AND run.org = wanted.org"
    " AND run.run_id = wanted.more)) AS ways ORDER BY rank LIMIT 1) AS found"
)


def _ref_values(keys: Sequence[tuple[int, NamedRun]]) -> Sequence[Sequence[Any]]:
    asked = [(org, *_way(ref)) for org, ref in keys]
    return [[one[index] for one in asked] for index in range(4)]


def _way(ref: NamedRun) -> tuple[str, str, str]:
    """(way, id, what else is needed)."""
    if isinstance(ref, RunById):
        return "id", ref.run_id, ""
    if isinstance(ref, RunByForeignId):
        return "foreign", ref.foreign_id, ref.foreign_id.partition(":")[2].lower()
    assert isinstance(ref, RunByTrace)
    return "trace", ref.trace_id, ref.thread_id


def _pairs(keys: Sequence[tuple[int, Any]]) -> Sequence[Sequence[Any]]:
    return [[key[0] for key in keys], [key[1] for key in keys]]


def _by_run(keys: Sequence[int]) -> Sequence[Sequence[Any]]:
    return [[shard_org(run) for run in keys], list(keys)]


def _by_org(keys: Sequence[int]) -> Sequence[Sequence[Any]]:
    return [list(keys)]


def _event_id_values(keys: Sequence[tuple[int, str]]) -> Sequence[Sequence[Any]]:
    names = [events.ids_of(event_id) for _, event_id in keys]
    return [
        [shard_org(run) for run, _ in keys],
        [run for run, _ in keys],
        [name for name, _ in names],
        [erased for _, erased in names],
    ]


def _event_of(db: Db, told: Told, _: Any) -> Any:
    key, run, seq, recorded_at, occurred_at, agent, feed, flags = told.numbers
    kind, dialect, event_id = told.texts
    digest, facts, digest_of_data = told.parts
    row = (key, run, seq, kind, recorded_at, occurred_at, dialect, event_id, agent, feed, flags, digest, facts)
    return events.by_id(db, (*row, b"", digest_of_data))


def _doc(decode: Callable[[bytes], Any]) -> Callable[[Db, Told, Any], Any]:
    return lambda db, told, key: decode(told.parts[0])


def _docs(decode: Callable[[bytes], Any]) -> Callable[[Db, Told, Any], Any]:
    return lambda db, told, key: tuple(decode(doc) for doc in told.parts)


_TOGETHER: dict[Kind, Together] = {
    Kind.COUNTERS: Together(_COUNTERS, _by_org, lambda db, told, key: Counters(*told.numbers)),
    Kind.REF: Together(_REFS, _ref_values, _doc(rows.decode_run)),
    Kind.RUN: Together(_of_org("run", "run", "bigint"), _by_run, _doc(rows.decode_run)),
    Kind.THREAD: Together(_of_org("thread", "thread_id", "text"), _pairs, _doc(rows.decode_thread)),
    Kind.AGENT: Together(_of_org("agent", "name", "text"), _pairs, _doc(rows.decode_agent)),
    Kind.AGENT_ID: Together(_of_org("agent", "agent_id", "text"), _pairs, _doc(rows.decode_agent)),
    Kind.LANE: Together(
        _of_org("lane", "run", "bigint"), _by_run, lambda db, told, key: lanes.lane_value(db, told.parts[0])
    ),
    Kind.EVENT_ID: Together(_EVENT_IDS, _event_id_values, _event_of),
    Kind.RESPONSE: Together(_RESPONSES, _pairs, _event_of),
    Kind.BUDGETS: Together(_all_of_org("budget"), _by_org, _docs(state.decode_budget)),
    Kind.PRICES: Together(_all_of_org("price"), _by_org, _docs(state.decode_price)),
    Kind.ALERT_RULES: Together(_all_of_org("alert_rule"), _by_org, _docs(state.decode_rule)),
}
_WHEN_ABSENT: dict[Kind, Callable[[], Any]] = {
    Kind.COUNTERS: Counters,
    Kind.BUDGETS: tuple,
    Kind.PRICES: tuple,
    Kind.ALERT_RULES: tuple,
}
"""What there is of an organisation that has none: it is in the answer."""


async def load(db: Db, wanted: Wanted, now_ms: int, here_ms: int) -> Loaded:
    """The values of all kinds that are asked for. `here_ms`: the clock of leases, now."""
    together = [kind for kind in wanted if kind in _TOGETHER and wanted[kind]]
    found: Loaded = {kind: {} for kind in wanted}
    if together or Kind.CLAIMS in wanted or Kind.RESERVATION in wanted or Kind.RUN_RESERVATIONS in wanted:
        await _load_together(db, wanted, together, found, here_ms)
    for kind, keys in wanted.items():
        if kind in _WHEN_ABSENT:
            found[kind] = {key: found[kind].get(key, _WHEN_ABSENT[kind]()) for key in keys}
        elif kind is Kind.CLAIMS:
            for one in keys:
                found[kind][one] = await _claims(db, one, now_ms)
        elif kind is Kind.SPAN_WAY:
            found[kind] = await span_ways.spans_above(db, keys)
        elif kind not in _TOGETHER:
            answers = [(key, await _ALONE[kind](db, key)) for key in keys]
            found[kind] = {key: value for key, value in answers if value is not None}
    return found


async def _load_together(db: Db, wanted: Wanted, kinds: Sequence[Kind], found: Loaded, here_ms: int) -> None:
    statements = [f"SELECT {_CLOCK}, 0, ARRAY[{NOW_SQL}], NULL::text[], NULL::bytea[]"]
    values: list[Any] = []
    for number, kind in enumerate(kinds):
        part = _TOGETHER[kind]
        arrays = part.values(wanted[kind])
        places = [f"${len(values) + index + 1}" for index in range(len(arrays))]
        statements.append(part.sql.format(*places, kind=number))
        values += arrays
    read = await db.rows(" UNION ALL ".join(f"({statement})" for statement in statements), *values)
    for row in read:
        if row[0] == _CLOCK:
            db.times.note(row[2][0], here_ms)
    for number, place, *told in read:
        if number != _CLOCK:
            kind = kinds[number]
            key = wanted[kind][place]
            found[kind][key] = _TOGETHER[kind].value(db, Told(*told), key)


async def _claims(db: Db, one: Claimant, now_ms: int) -> list[tuple[Any, Any]]:
    found = await lanes.lanes_claimable(db, one.org, one.agents, dict(one.labels), now_ms, one.limit)
    known = await runs.runs_by_number(db, one.org, [lane.run for lane in found])
    return [(lane, known[lane.run]) for lane in found if lane.run in known]


async def _event(db: Db, key: tuple[int, int]) -> Any:
    return (await events.events_at(db, shard_org(key[0]), key[0], [key[1]])).get(key[1])


async def _started(db: Db, run: int) -> Any:
    found = await events.events(db, shard_org(run), run, 0, 1, [EventType.RUN_STARTED.value])
    return found[0] if found else None


async def _family(db: Db, family: Family) -> Any:
    return await descent.open_below(db, family)


async def _user(db: Db, key: tuple[int, str]) -> Any:
    return (await people.users(db, key[0], [key[1]])).get(key[1])


async def _reply(db: Db, key: tuple[int, str]) -> StoredReply | None:
    row = await db.row(f"SELECT {rows.REPLY_COLUMNS} FROM reply WHERE org = $1 AND name = $2", *key)
    return None if row is None else StoredReply(*row)


def _spread(function: Callable[..., Awaitable[Any]]) -> Callable[[Db, Any], Awaitable[Any]]:
    """A question whose arguments are the members of the key."""
    return lambda db, key: function(db, *key)


_ALONE: dict[Kind, Callable[[Db, Any], Awaitable[Any]]] = {
    Kind.THREAD_RUNS: _spread(runs.newest_of_thread),
    Kind.TRACE_RUNS: _spread(runs.runs_of_trace),
    Kind.SAME: events.says_the_same,
    Kind.EVENT: _event,
    Kind.STARTED: _started,
    Kind.CHECKPOINT: _spread(threads.checkpoint),
    Kind.DECISION: _spread(threads.checkpoints_waiting),
    Kind.NODES: _spread(content.known_nodes),
    Kind.METAS: _spread(content.known_metas),
    Kind.CHAIN: _spread(content.chain_length),
    Kind.FAMILY: _family,
    Kind.PERSONA: lambda db, key: registry.persona(db, key[0], key[1], key[2] or None),
    Kind.ROUTE: _spread(registry.route),
    Kind.KEY: _spread(people.key),
    Kind.USER: _user,
    Kind.MEMBER_COUNTS: people.member_counts,
    Kind.MEMBER_NAME: _spread(people.name_owner),
    Kind.SIGN_IN_LINK: _spread(people.link),
    Kind.SIGN_IN_LINK_ID: _spread(people.link_by_id),
    Kind.SESSION: _spread(people.session_by_id),
    Kind.CALLS_WAITING: approvals.calls_waiting,
    Kind.SPENT_LINK: _spread(approvals.link_spent),
    Kind.REPLY: _reply,
    Kind.BUDGET_SPENT: money.spent_since,
    Kind.RESERVATION: _spread(money.reservation),
    Kind.RESERVATIONS: money.reservations_open,
    Kind.RUN_RESERVATIONS: money.reservations_of,
    Kind.ALERT: _spread(alerts.newest_alert),
    Kind.ALERT_ID: _spread(alerts.alert),
    Kind.DELIVERY: _spread(alerts.delivery),
    Kind.DELIVERIES_AFTER: alerts.deliveries_after,
    Kind.OUTBOX_COUNTS: alerts.outbox_counts,
    Kind.BODIES_UNWRITTEN: _spread(alerts.bodies_unwritten),
    Kind.RETENTION: policies.policies_of,
    Kind.TOOL_CALLS: lambda db, run: events.tool_calls(db, run, MAX_CALLS),
}
_OF_RUN = frozenset(
    {
        Kind.RUN, Kind.LANE, Kind.STARTED, Kind.EVENT_ID, Kind.SAME, Kind.EVENT, Kind.CHECKPOINT,
        Kind.CALLS_WAITING, Kind.RUN_RESERVATIONS, Kind.TOOL_CALLS,
    }
)  # fmt: skip
"""Kinds whose keys are a run's number, or begin with it."""


def orgs_of(wanted: Wanted) -> set[int]:
    """The organisations that these keys are of."""
    return {_org_of(kind, key) for kind, keys in wanted.items() for key in keys}


def _org_of(kind: Kind, key: Any) -> int:
    if kind is Kind.FAMILY:
        return int(key.parent.org)
    first = key[0] if isinstance(key, tuple) else key
    return int(first >> SHARD_BITS if kind in _OF_RUN else first)
