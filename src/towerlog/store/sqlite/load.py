"""Everything that a group of commands may touch, read in one turn of the writer's thread.

One function a kind of `store/values.Kind`; each takes the keys of its kind and gives the values that there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import apsw

from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import Event, EventType
from towerlog.model.key import Key
from towerlog.model.lane import Lane
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.principal import Counters, User, shard_org
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow
from towerlog.model.thread import ThreadRow
from towerlog.store.sqlite import descent, lookups, personas, queue, reads
from towerlog.store.values import Claimant, Family, Found, Kind, Loaded, Respelled, StoredReply, Wanted

K = TypeVar("K")
V = TypeVar("V")
MAX_KEYS_AT_ONCE = 512
"""A history no longer than this is looked up key by key instead of by a binary search."""
MAX_RUNS_AT_ONCE = 500
"""Runs to one statement."""


def load(db: apsw.Connection, wanted: Wanted, now_ms: int) -> Loaded:
    """The values of all kinds that are asked for."""
    found: Loaded = {kind: _ANSWERS[kind](db, keys) for kind, keys in wanted.items() if kind is not Kind.CLAIMS}
    if Kind.CLAIMS in wanted:
        found[Kind.CLAIMS] = _claims(db, wanted[Kind.CLAIMS], now_ms)
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


def _threads(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], ThreadRow]:
    return lookups.threads(db, keys)


def _agents(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], AgentRow]:
    return lookups.agents_by_name(db, keys)


def _agent_ids(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], AgentRow]:
    return _each(keys, lambda key: reads.agent(db, *key))


def _event_ids(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], Event]:
    return lookups.events_by_id(db, keys)


def _same(db: apsw.Connection, keys: list[Respelled]) -> dict[Respelled, bool]:
    return _each(keys, lambda key: lookups.says_the_same(db, key))


def _events(db: apsw.Connection, keys: list[tuple[int, int]]) -> dict[tuple[int, int], Event]:
    return _each(keys, lambda key: reads.events_at(db, shard_org(key[0]), key[0], [key[1]]).get(key[1]))


def _started(db: apsw.Connection, runs: list[int]) -> dict[int, Event]:
    kinds = [EventType.RUN_STARTED]
    return {run: found[0] for run in runs if (found := reads.events(db, shard_org(run), run, 0, 1, kinds))}


def _checkpoints(db: apsw.Connection, keys: list[tuple[int, str, int]]) -> dict[tuple[int, str, int], CheckpointRow]:
    return _each(keys, lambda key: lookups.checkpoint(db, *key))


def _decisions(
    db: apsw.Connection, keys: list[tuple[int, str, int]]
) -> dict[tuple[int, str, int], list[CheckpointRow]]:
    return {key: lookups.checkpoints_waiting(db, *key) for key in keys}


def _nodes(db: apsw.Connection, keys: list[tuple[int, tuple[bytes, ...]]]) -> dict[tuple[int, tuple[bytes, ...]], int]:
    return {key: _known_prefix(db, *key) for key in keys}


def _known_prefix(db: apsw.Connection, org: int, prefixes: tuple[bytes, ...]) -> int:
    """A stored prefix has all its own prefixes stored, so a binary search finds the end."""
    if len(prefixes) <= MAX_KEYS_AT_ONCE:
        return len(lookups.nodes_known(db, org, prefixes))
    low, high = 0, len(prefixes)
    while low < high:
        middle = (low + high) // 2
        if lookups.nodes_known(db, org, [prefixes[middle]]):
            low = middle + 1
        else:
            high = middle
    return low


def _chains(db: apsw.Connection, keys: list[tuple[int, bytes]]) -> dict[tuple[int, bytes], int]:
    return _each(keys, lambda key: lookups.chain_length(db, *key))


def _metas(db: apsw.Connection, keys: list[tuple[int, tuple[bytes, ...]]]) -> dict[tuple[int, tuple[bytes, ...]], int]:
    return {key: _longest_list(db, *key) for key in keys}


def _longest_list(db: apsw.Connection, org: int, prefixes: tuple[bytes, ...]) -> int:
    """Only the ends of turns are stored, so each prefix has to be asked for."""
    stored = lookups.metas_known(db, org, prefixes)
    return next((index + 1 for index in range(len(prefixes) - 1, -1, -1) if prefixes[index] in stored), 0)


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
    return _each(keys, lambda key: reads.users(db, key[0], [key[1]]).get(key[1]))


def _replies(db: apsw.Connection, keys: list[tuple[int, str]]) -> dict[tuple[int, str], StoredReply]:
    return _each(keys, lambda key: lookups.reply(db, *key))


_ANSWERS: dict[Kind, Callable[[apsw.Connection, list[Any]], dict[Any, Any]]] = {
    Kind.COUNTERS: _counters,
    Kind.REF: _refs,
    Kind.RUN: _runs,
    Kind.THREAD: _threads,
    Kind.THREAD_RUNS: _thread_runs,
    Kind.AGENT: _agents,
    Kind.AGENT_ID: _agent_ids,
    Kind.LANE: _lanes,
    Kind.EVENT_ID: _event_ids,
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
    Kind.REPLY: _replies,
}
