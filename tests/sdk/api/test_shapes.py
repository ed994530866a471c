"""Answers become values: what is known by name, what is not in `raw`, and what is no answer is said so."""

from __future__ import annotations

from typing import Any

import pytest

from towerlog.sdk.api.shapes import Cancel, RunEvent, RunInfo, Usage, many
from towerlog.sdk.wire.errors import BadAnswer

ROW = {
    "run_id": "r",
    "org_id": "o",
    "thread_id": "t",
    "status": "running",
    "created_at": "2026-01-01T00:00:00Z",
    "trace_id": "x",
    "last_seq": 3,
}


def test_what_is_not_said_is_unknown_and_what_is_new_is_kept() -> None:
    run = RunInfo.read({**ROW, "invented_later": [1]})
    assert (run.run_id, run.last_seq, run.agent, run.delivery, run.children) == ("r", 3, None, None, ())
    assert run.raw["invented_later"] == [1]


def test_what_is_inside_is_read_as_well() -> None:
    client = {"client_id": "c", "received": 2, "highest": 3, "missing": [[2, 2]], "dropped": 0}
    run = RunInfo.read(
        {
            **ROW,
            "usage": {"input_tokens": 5},
            "lane": {"state": "held", "worker_id": "w", "lease_epoch": 2},
            "delivery": {"complete": False, "clients": [client]},
            "cancel": {"requested_at": "then"},
            "liveness": {"verdict": "silent"},
            "children": [{**ROW, "run_id": "c", "children": [{**ROW, "run_id": "g"}]}],
        }
    )
    assert isinstance(run.usage, Usage)
    assert run.usage.input_tokens == 5
    assert run.lane is not None
    assert run.lane.lease_epoch == 2
    assert run.delivery is not None
    assert run.delivery.clients[0].missing == [[2, 2]]
    assert run.cancel == Cancel(requested_at="then", raw={})
    assert run.liveness is not None
    assert run.liveness.verdict == "silent"
    assert run.children[0].children[0].run_id == "g"


def test_null_is_unknown_also_where_a_value_would_be_read() -> None:
    assert RunInfo.read({**ROW, "usage": None, "lane": None}).lane is None


@pytest.mark.parametrize("said", [None, [], "text", {k: v for k, v in ROW.items() if k != "run_id"}])
def test_what_is_no_run_is_no_answer(said) -> None:
    with pytest.raises(BadAnswer):
        RunInfo.read(said)


def test_a_list_must_be_one() -> None:
    assert [usage.input_tokens for usage in many(Usage)([{"input_tokens": 1}, {}])] == [1, None]
    with pytest.raises(BadAnswer):
        many(Usage)({"data": []})


@pytest.mark.parametrize(
    ("kind", "members", "data", "expected"),
    [
        ("tool.call", {"tool": "search"}, {"tool_name": "search"}, ("search", None, None, None)),
        ("tool.result", {"tool": "search", "result": [1]}, {"output": [1]}, ("search", None, [1], None)),
        ("tool.result", {"tool": "search"}, {"result": 0}, ("search", None, 0, None)),
        ("message.delta", {"text": "hi"}, {"content": "hi"}, (None, "hi", None, None)),
        ("run.input", {"content": "yes"}, {"response": "yes"}, (None, "yes", None, None)),
        ("run.input", {}, {"content": "yes"}, (None, "yes", None, None)),
        ("run.input", {"content": '{"a": 1}'}, {"content": {"a": 1}}, (None, '{"a": 1}', None, None)),
        ("tool.result", {"result": 7}, {"content": "seven", "output": 7}, (None, None, 7, None)),
        ("step", {"name": "plan"}, {"node_name": "plan"}, (None, None, None, "plan")),
        ("run.completed", {}, {"result": None}, (None, None, None, None)),
        ("other", {}, "no object", (None, None, None, None)),
        ("other", {"name": "n"}, {"name": "n", "payload": {}, "result": 1}, (None, None, None, "n")),
        ("message.delta", {"text": 7}, {}, (None, None, None, None)),
    ],
)
def test_members_have_one_name_whatever_the_dialect_calls_them(
    kind: str, members: dict[str, Any], data: Any, expected: tuple[Any, ...]
) -> None:
    raw = {**members, "seq": 1, "type": kind, "data": data, "created_at": "2026-01-01T00:00:00.000Z"}
    event = RunEvent.read(raw)
    assert (event.tool, event.text, event.result, event.label) == expected
    assert event.data == data
