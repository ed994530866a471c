"""Everything that a group of commands may touch, read in one turn of the writer's thread.

One function a kind of `store/values.Kind`; each takes the keys of its kind and gives the values that there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import apsw

from towerlog.model.agent import AgentRow
from towerlog.model.alert import MAX_CALLS, AlertRow, AlertRule
from towerlog.model.approval import ApprovalRow
from towerlog.model.budget import BudgetRow, Reservation
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.delivery import DeliveriesAfter, Delivery, DeliveryBody, OutboxCounts
from towerlog.model.event import Event, EventType, Logged
from towerlog.model.facts import LinkAbove
from towerlog.model.key import Key
from towerlog.model.lane import Lane
from towerlog.model.member import Session, SignInLink
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.price import PriceRow
from towerlog.model.principal import Counters, User, shard_org
from towerlog.model.question import RunFilter
from towerlog.model.retention import RetentionPolicy
from towerlog.model.run import RunRow
from towerlog.model.thread import ThreadRow
from towerlog.store.lookup_keys import Claimant, Family, MemberCounts, Respelled, SpanWay, SpentSince
from towerlog.store.sqlite import descent, events, lookups, personas, queue, reads
from towerlog.store.sqlite.alerts import alerts
from towerlog.store.sqlite.approvals import approvals
from towerlog.store.sqlite.erasure import policies
from towerlog.store.sqlite.money import budgets, prices
from towerlog.store.sqlite.people import members
from towerlog.store.values import Found, Kind, Loaded, StoredReply, Wanted

K = TypeVar("K")
V = TypeVar("V")
FIRST_KEYS, MAX_KEYS_AT_ONCE = 8, 512
"""Prefixes of a history, or of a meta list, that are looked up at first, and at most, by one statement."""
MAX_RUNS_AT_ONCE = 500
"""Runs to one statement."""


def load(db: apsw.Connection, wanted: Wanted, serving_ms: int) -> Loaded:
    """The values of all kinds that are asked for."""
    found: Loaded = {kind: _ANSWERS[kind](db, keys) for kind, keys in wanted.items() if kind is not Kind.CLAIMS}
    if Kind.CLAIMS in wanted:
        found[Kind.CLAIMS] = _claims(db, wanted[Kind.CLAIMS], serving_ms)
    return found


def _each(keys: Iterable[K], answer: Callable[[K], V | None]) -> dict[K, V]:
    found = ((key, answer(key)) for key in keys)
    return {key: value for key, value in found if value is not None}


def _counters(db: apsw.Connection, orgs: list[int]) -> dict[int, Counters]:
    return {org: lookups.counters(db, org) for org in orgs}


def _refs(db: apsw.Connection, keys: list[Any]) -> dict[Any, RunRow]:
    found = zip(keys, lookups.runs_by_ref(db, keys), strict=True)
    return {key: row for key, row in found if row is not None}


def _runs(db: apsw.Connection, numbers: list[int]) -> dict[int, RunRow]:
    found: dict[int, RunRow] = {}
    for start in range(0, len(numbers), MAX_RUNS_AT_ONCE):
        found |= lookups.runs_by_number(db, numbers[start : start + MAX_RUNS_AT_ONCE])
    return found


def _lanes(db: apsw.Connection, numbers: list[int]) -> dict[int, Lane]:
    found: dict[int, Lane] = {}
    for start in range(0, len(numbers), MAX_RUNS_AT_ONCE):
        found |= queue.lanes_of_runs(db, numbers[start : start + MAX_RUNS_AT_ONCE])
    return found


def _thread_runs(db: apsw.Connection, keys: list[tuple[int, str, int]]) -> dict[tuple[int, str, int], list[RunRow]]:
    return {key: reads.runs(db, key[0], RunFilter(thread_id=key[1]), key[2], None) for key in keys}


def _trace_runs(db: apsw.Connection, keys: list[tuple[int, str, int]]) -> dict[tuple[int, str, int], list[RunRow]]:
    return {key: reads.runs_of_trace(db, *key) for key in keys}


def _threads(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], ThreadRow]:
    return lookups.threads(db, keys)


def _agents(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], AgentRow]:
    return lookups.agents_by_name(db, keys)


def _agent_ids(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], AgentRow]:
    return _each(keys, lambda key: reads.agent(db, *key))


def _event_ids(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], Logged]:
    return lookups.events_by_id(db, keys)


def _span_ways(db: apsw.Connection, ways: list[SpanWay]) -> dict[SpanWay, dict[str, LinkAbove | None]]:
    return lookups.spans_above(db, ways)


def _responses(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], Logged]:
    return _each(keys, lambda key: lookups.response_by_id(db, *key))


def _same(db: apsw.Connection, keys: list[Respelled]) -> dict[Respelled, bool]:
    return _each(keys, lambda key: lookups.says_the_same(db, key))


def _events(db: apsw.Connection, keys: list[tuple[int, int]]) -> dict[tuple[int, int], Logged]:
    return _each(keys, lambda key: events.events_at(db, shard_org(key[0]), key[0], [key[1]]).get(key[1]))


def _started(db: apsw.Connection, runs: list[int]) -> dict[int, Logged]:
    kinds = [EventType.RUN_STARTED]
    return {run: found[0] for run in runs if (found := events.events(db, shard_org(run), run, 0, 1, kinds))}


def _checkpoints(db: apsw.Connection, keys: list[tuple[int, str, int]]) -> dict[tuple[int, str, int], CheckpointRow]:
    return _each(keys, lambda key: lookups.checkpoint(db, *key))


def _decisions(
    db: apsw.Connection, keys: list[tuple[int, str, int]]
) -> dict[tuple[int, str, int], list[CheckpointRow]]:
    return {key: lookups.checkpoints_waiting(db, *key) for key in keys}


def _nodes(db: apsw.Connection, keys: list[tuple[int, tuple[bytes, ...]]]) -> dict[tuple[int, tuple[bytes, ...]], int]:
    return {key: known_nodes(db, *key) for key in keys}


def known_nodes(db: apsw.Connection, org: int, prefixes: Sequence[bytes]) -> int:
    """How long the longest of the prefixes of a history is that has a node."""
    return _longest(prefixes, lambda some: lookups.last_node(db, org, some))


def _chains(db: apsw.Connection, keys: list[tuple[int, bytes]]) -> dict[tuple[int, bytes], int]:
    return _each(keys, lambda key: lookups.chain_length(db, *key))


def _metas(db: apsw.Connection, keys: list[tuple[int, tuple[bytes, ...]]]) -> dict[tuple[int, tuple[bytes, ...]], int]:
    return {key: known_metas(db, *key) for key in keys}


def known_metas(db: apsw.Connection, org: int, prefixes: Sequence[bytes]) -> int:
    """How long the longest of the prefixes of a meta list is that is stored."""
    return _longest(prefixes, lambda some: lookups.last_metas(db, org, some))


def _longest(prefixes: Sequence[bytes], last_stored: Callable[[Sequence[bytes]], int]) -> int:
    """Not each prefix is stored, so each is asked for; the longest first, since a turn mostly adds a little."""
    end, count = len(prefixes), FIRST_KEYS
    while end:
        begin = max(0, end - count)
        if stored := last_stored(prefixes[begin:end]):
            return begin + stored
        end, count = begin, min(count * FIRST_KEYS, MAX_KEYS_AT_ONCE)
    return 0


def _families(db: apsw.Connection, families: list[Family]) -> dict[Family, Found[RunRow]]:
    return {family: descent.open_below(db, family) for family in families}


def _claims(db: apsw.Connection, claimants: list[Claimant], now_ms: int) -> dict[Claimant, list[tuple[Lane, RunRow]]]:
    found: dict[Claimant, list[tuple[Lane, RunRow]]] = {}
    for one in claimants:
        lanes = queue.lanes_claimable(db, one.org, one.agents, dict(one.labels), now_ms, one.limit)
        runs = _runs(db, [lane.run for lane in lanes])
        found[one] = [(lane, runs[lane.run]) for lane in lanes if lane.run in runs]
    return found


def _personas(db: apsw.Connection, keys: list[tuple[int, str, str]]) -> dict[tuple[int, str, str], Persona]:
    return _each(keys, lambda key: personas.persona(db, key[0], key[1], key[2] or None))


def _routes(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], ProviderRoute]:
    return _each(keys, lambda key: personas.route(db, *key))


def _keys(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], Key]:
    return _each(keys, lambda key: lookups.key(db, *key))


def _users(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], User]:
    return _each(keys, lambda key: members.users(db, key[0], [key[1]]).get(key[1]))


def _member_counts(db: apsw.Connection, orgs: list[int]) -> dict[int, MemberCounts]:
    return {org: members.member_counts(db, org) for org in orgs}


def _member_names(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], str]:
    return _each(keys, lambda key: members.name_owner(db, *key))


def _sign_in_links(db: apsw.Connection, keys: list[tuple[int, bytes]]) -> dict[tuple[int, bytes], SignInLink]:
    return _each(keys, lambda key: members.link(db, *key))


def _sign_in_links_by_id(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], SignInLink]:
    return _each(keys, lambda key: members.link_by_id(db, *key))


def _sessions(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], Session]:
    return _each(keys, lambda key: members.session_by_id(db, *key))


def _replies(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], StoredReply]:
    return _each(keys, lambda key: lookups.reply(db, *key))


def _budgets(db: apsw.Connection, orgs: list[int]) -> dict[int, tuple[BudgetRow, ...]]:
    return {org: budgets.budgets_of(db, org) for org in orgs}


def _spent(db: apsw.Connection, keys: list[SpentSince]) -> dict[SpentSince, int]:
    return {key: budgets.spent_since(db, key) for key in keys}


def _reservations(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], Reservation]:
    return _each(keys, lambda key: budgets.reservation(db, *key))


def _reservation_counts(db: apsw.Connection, orgs: list[int]) -> dict[int, dict[str, int]]:
    return {org: budgets.reservations_open(db, org) for org in orgs}


def _reservations_of(db: apsw.Connection, runs: list[int]) -> dict[int, list[Reservation]]:
    return {run: budgets.reservations_of(db, run) for run in runs}


def _prices(db: apsw.Connection, orgs: list[int]) -> dict[int, tuple[PriceRow, ...]]:
    return {org: prices.prices_of(db, org) for org in orgs}


def _retention(db: apsw.Connection, orgs: list[int]) -> dict[int, tuple[RetentionPolicy, ...]]:
    return {org: policies.policies_of(db, org) for org in orgs}


def _calls_waiting(db: apsw.Connection, runs: list[int]) -> dict[int, ApprovalRow]:
    return _each(runs, lambda run: approvals.calls_waiting(db, run))


def _spent_links(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], int]:
    return _each(keys, lambda key: approvals.link_spent(db, *key))


def _rules(db: apsw.Connection, orgs: list[int]) -> dict[int, tuple[AlertRule, ...]]:
    return {org: alerts.rules_of(db, org) for org in orgs}


def _alerts(db: apsw.Connection, keys: list[tuple[int, str, str]]) -> dict[tuple[int, str, str], AlertRow]:
    return _each(keys, lambda key: alerts.newest_alert(db, *key))


def _alerts_by_id(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], AlertRow]:
    return _each(keys, lambda key: alerts.alert(db, *key))


def _deliveries(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], Delivery]:
    return _each(keys, lambda key: alerts.delivery(db, *key))


def _deliveries_after(db: apsw.Connection, keys: list[DeliveriesAfter]) -> dict[DeliveriesAfter, list[Delivery]]:
    return {key: alerts.deliveries_after(db, key) for key in keys}


def _outbox_counts(db: apsw.Connection, orgs: list[int]) -> dict[int, OutboxCounts]:
    return {org: alerts.outbox_counts(db, org) for org in orgs}


def _unwritten(db: apsw.Connection, keys: list[tuple[int, int]]) -> dict[tuple[int, int], list[DeliveryBody]]:
    return {key: alerts.bodies_unwritten(db, *key) for key in keys}


def _tool_calls(db: apsw.Connection, runs: list[int]) -> dict[int, list[Event]]:
    return {run: events.tool_calls(db, run, MAX_CALLS) for run in runs}


_ANSWERS: dict[Kind, Callable[[apsw.Connection, list[Any]], dict[Any, Any]]] = {
    Kind.COUNTERS: _counters,
    Kind.REF: _refs,
    Kind.RUN: _runs,
    Kind.THREAD: _threads,
    Kind.THREAD_RUNS: _thread_runs,
    Kind.TRACE_RUNS: _trace_runs,
    Kind.AGENT: _agents,
    Kind.AGENT_ID: _agent_ids,
    Kind.LANE: _lanes,
    Kind.EVENT_ID: _event_ids,
    Kind.SPAN_WAY: _span_ways,
    Kind.RESPONSE: _responses,
    Kind.SAME: _same,
    Kind.EVENT: _events,
    Kind.STARTED: _started,
    Kind.CHECKPOINT: _checkpoints,
    Kind.DECISION: _decisions,
    Kind.NODES: _nodes,
    Kind.METAS: _metas,
    Kind.CHAIN: _chains,
    Kind.FAMILY: _families,
    Kind.PERSONA: _personas,
    Kind.ROUTE: _routes,
    Kind.KEY: _keys,
    Kind.USER: _users,
    Kind.MEMBER_COUNTS: _member_counts,
    Kind.MEMBER_NAME: _member_names,
    Kind.SIGN_IN_LINK: _sign_in_links,
    Kind.SIGN_IN_LINK_ID: _sign_in_links_by_id,
    Kind.SESSION: _sessions,
    Kind.CALLS_WAITING: _calls_waiting,
    Kind.SPENT_LINK: _spent_links,
    Kind.REPLY: _replies,
    Kind.BUDGETS: _budgets,
    Kind.BUDGET_SPENT: _spent,
    Kind.RESERVATION: _reservations,
    Kind.RESERVATIONS: _reservation_counts,
    Kind.RUN_RESERVATIONS: _reservations_of,
    Kind.PRICES: _prices,
    Kind.ALERT_RULES: _rules,
    Kind.ALERT: _alerts,
    Kind.ALERT_ID: _alerts_by_id,
    Kind.DELIVERY: _deliveries,
    Kind.DELIVERIES_AFTER: _deliveries_after,
    Kind.OUTBOX_COUNTS: _outbox_counts,
    Kind.BODIES_UNWRITTEN: _unwritten,
    Kind.RETENTION: _retention,
    Kind.TOOL_CALLS: _tool_calls,
}
