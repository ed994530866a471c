"""Values for tests, whole and valid, with only what matters to the test left to say."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.fakes import START_MS
from towerlog.engine.audit.outside import organisation_created
from towerlog.model.audit import SERVER, AuditEntry
from towerlog.model.chain import chain_hash
from towerlog.model.event import Draft, Event, EventType, OpenRun, RunByTrace, RunRef
from towerlog.model.facts import Effects, Facts
from towerlog.model.key import Key
from towerlog.model.principal import Counters, Org, Scope, User, shard_key
from towerlog.model.run import RunRow, Status
from towerlog.store.values import Changes, RunChange


def draft(kind: EventType = EventType.STEP, run: RunRef | str = "thread", data: Any = None, **fields: Any) -> Draft:
    """An event as a dialect proposes it; a text for `run` is the thread whose open run is meant."""
    body = data if isinstance(data, bytes) else msgspec.json.encode(data or {})
    return Draft(kind, OpenRun(run) if isinstance(run, str) else run, body, **fields)


def facts_of(**named: Any) -> Facts:
    """Facts and their effects, all named as one."""
    effects = {name: named.pop(name) for name in Effects.__struct_fields__ if name in named}
    return Facts(**named, effects=Effects(**effects) if effects else None)


def traced(trace_id: str, thread_id: str = "thread", *, reopen: bool = False) -> RunByTrace:
    """The run of a thread and a trace."""
    return RunByTrace(thread_id, trace_id, reopen)


def event(position: int, seq: int, *, org: int = 1, run: int = 1, **fields: Any) -> Event:
    """A stored event: `run` counts 1, 2, 3 … in the organisation."""
    known = {"type": EventType.STEP, "recorded_at": START_MS + position, "data": b'{"n":%d}' % position}
    return Event(org=org, position=position, run=shard_key(org, run), seq=seq, **{**known, **fields})


def run_row(run: int = 1, *, org: int = 1, **fields: Any) -> RunRow:
    """A running run: `run` counts 1, 2, 3 … in the organisation."""
    known: dict[str, Any] = {
        "run_id": f"00000000-0000-7000-8000-{org:04x}{run:08x}",
        "thread_id": f"thread-{run}",
        "trace_id": f"trace-{run}",
        "status": Status.RUNNING,
        "created_at": START_MS + run,
    }
    return RunRow(run=shard_key(org, run), org=org, **{**known, **fields})


def chained(events: list[Event], previous: bytes = b"") -> list[Event]:
    """The events with their hashes; `previous` is that of the event before the first of them."""
    last: dict[int, bytes] = {}
    found = []
    for one in events:
        digest = last[one.run] = chain_hash(last.get(one.run, previous), one)
        found.append(msgspec.structs.replace(one, hash=digest))
    return found


def run_changes(
    row: RunRow, events: list[Event], *, before: RunRow | None = None, previous: bytes = b"", **fields: Any
) -> Changes:
    """What an append to one run writes: its events, its row, and the organisation's numbers.

    `previous`: the hash of the run's event before these.
    """
    last = max(one.position for one in events)
    events = chained(events, previous)
    numbers = {row.org: Counters(last, row.run & ((1 << 40) - 1), 0)}
    return Changes(events=events, runs={row.run: RunChange(before, row)}, **{"counters": numbers, **fields})


def identity(
    number: int = 0, *, name: str = "default", scopes: tuple[Scope, ...] = tuple(Scope)
) -> tuple[Org, User, Key, AuditEntry]:
    """An organisation with its first user and key, and the audit's entry about it, as `org_create` takes them.

    `number` keeps their ids apart.
    """
    org = Org(0, f"00000000-0000-7000-9000-{number:012x}", name, START_MS)
    user = User(0, f"00000000-0000-7000-a000-{number:012x}", "admin", None, START_MS)
    key_id = f"00000000-0000-7000-b000-{number:012x}"
    key = Key(0, key_id, user.user_id, "admin", scopes, b"digest-%d" % number, "tl_adm_", START_MS)
    return org, user, key, organisation_created(SERVER, org, user, key)
