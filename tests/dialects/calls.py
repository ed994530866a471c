"""Requests and events as a dialect sees them, for its tests: no server, no store, no clock."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from towerlog.dialects.base import Call, Dialect, Endpoint, Settings
from towerlog.model.event import Event, EventType
from towerlog.model.facts import NO_FACTS, Facts
from towerlog.model.outcome import RunView
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow, Status

AGENT = "0189d3f0-1111-7000-8000-00000000a9e7"
RUN = "0189d3f0-0000-7000-8000-000000000007"
OTHER_RUN = "0189d3f0-0000-7000-8000-000000000008"
ORG = "0189d3f0-2222-7000-8000-000000000001"
NOW = 1_775_124_000_123
"""2026-04-02T10:00:00.123Z"""

PRINCIPAL = Principal(1, ORG, "user-1", "key-1", frozenset())


def call(body: Any = b"", **fields: Any) -> Call:
    """A request; a body that is no bytes is sent as JSON. The other fields are those of a `Call`."""
    given: dict[str, Any] = {"path": {}, "query": {}, "headers": {}, "settings": Settings(), **fields}
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(principal=PRINCIPAL, body=text, trace_id="t" * 32, now_ms=NOW, **given)


def endpoint(dialect: Dialect, name: str) -> Endpoint:
    """The endpoint of this name."""
    (found,) = [one for one in dialect.endpoints if one.name == name]
    return found


def event(type_: EventType, data: Any = None, facts: Facts = NO_FACTS, **fields: Any) -> Event:
    """An event as the log returns it; `data` is written the way a sender would."""
    text = data if isinstance(data, bytes) else json.dumps(data or {}).encode()
    given: dict[str, Any] = {"position": 41, "seq": 3, "dialect": "steps", **fields}
    return Event(org=1, run=7, type=type_, recorded_at=NOW, data=text, facts=facts, **given)


def view(**row: Any) -> RunView:
    """A run as the engine shows it, with the row's fields as given."""
    fields: dict[str, Any] = {"status": Status.RUNNING, **row}
    whole = RunRow(
        run=7,
        org=1,
        run_id=RUN,
        thread_id="thread-1",
        trace_id="trace-1",
        created_at=NOW,
        created_by="user-1",
        **fields,
    )
    return RunView(whole, ORG, agent_id=AGENT, created_by_name="alice", created_by_email="alice@example.com")


def with_view(base: RunView, **fields: Any) -> RunView:
    """The same view with other fields beside its row."""
    return msgspec.structs.replace(base, **fields)
