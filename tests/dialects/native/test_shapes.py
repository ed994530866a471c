"""Shapes: rows become what is promised, unknown stays null, what was stored goes out as it is."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from towerlog.dialects.native import shapes
from towerlog.model.agent import AgentRow
from towerlog.model.event import Event, EventType
from towerlog.model.facts import Facts
from towerlog.model.key import Key
from towerlog.model.outcome import RunView
from towerlog.model.principal import Scope
from towerlog.model.run import RunRow, Status
from towerlog.model.usage import Usage, UsageRow

ROW = RunRow(run=1, org=1, run_id="r", thread_id="t", trace_id="x", status=Status.LOST, created_at=1000)


def wire(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value), parse_float=str)


def test_an_event_keeps_its_body_to_the_byte() -> None:
    event = Event(
        org=1, position=5, run=1, seq=2, type=EventType.OTHER, recorded_at=1000, data=b'{"b":1.0e2,"a":[ ]}',
        facts=Facts(name="foreign"), dialect="steps", late=True, hash=b"\x01\xff",
    )  # fmt: skip
    encoded = msgspec.json.encode(shapes.event_of(event))
    assert b'"data":{"b":1.0e2,"a":[ ]}' in encoded
    assert wire(shapes.event_of(event)) | {"data": 0} == {
        "seq": 2, "position": 5, "type": "other", "name": "foreign", "data": 0, "dialect": "steps", "event_id": None,
        "occurred_at": None, "recorded_at": "1970-01-01T00:00:01.000Z", "duration_ms": None, "late": True,
            "foreign": False, "future": False, "hash": "01ff",
    }  # fmt: skip


def test_unknown_is_null_and_never_nothing() -> None:
    agent = wire(shapes.agent_of(AgentRow(1, 1, "id", "a", 0)))
    assert agent["cost_usd"] is None
    assert agent["usage"]["input_tokens"] is None
    assert agent["last_heartbeat_at"] is None


def test_money_is_exact() -> None:
    row = UsageRow(1, 10, "a", "m", "completed", usage=Usage(cost_nanos=2_310_001))
    assert wire(shapes.usage_of(row, "agent"))["cost_usd"] == "0.002310001"
    assert wire(shapes.usage_of(row, "hour"))["hour"] == "1970-01-01T10:00:00.000Z"


def test_a_tree_is_as_deep_as_it_is() -> None:
    leaf = RunView(ROW, "o")
    tree = wire(shapes.tree_of(RunView(ROW, "o", children=(RunView(ROW, "o", children=(leaf,)), leaf)), 1000))
    assert [len(child["children"]) for child in tree["children"]] == [1, 0]
    assert tree["status"] == "lost"
    assert set(wire(shapes.run_of(leaf, 1000))) | {"unserved", "busy_worker", "children"} == set(tree)


def test_a_key_never_has_its_digest() -> None:
    key = Key(1, "k", "u", "n", (Scope.READ,), b"digest", "tl_live_", 0)
    assert b"digest" not in msgspec.json.encode(shapes.key_of(key))
