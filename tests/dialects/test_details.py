"""Details: what describes an event never costs it, in whichever dialect; what could not be used is kept and named."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.calls import AGENT, RUN, call, endpoint
from towerlog.dialects import DIALECTS, details, fields
from towerlog.dialects.base import Reply, with_warnings
from towerlog.dialects.checkpoints.events import _KINDS as RUNNER_KINDS
from towerlog.dialects.members import read_singly, whole_number
from towerlog.dialects.native import NATIVE
from towerlog.dialects.native.client_events import KINDS as CLIENT_KINDS
from towerlog.dialects.run_events import ROWS
from towerlog.dialects.steps import _KINDS as SDK_KINDS
from towerlog.errors import Invalid, Malformed, TooLarge
from towerlog.model.command import Append, Report
from towerlog.model.event import AgentHeartbeat, Draft, FieldWarning, Refusal

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["x" * 250, "x" * 9000, "a/b", "..", "150", "150.0", "-1", "0001-01-01T00:00:00Z", "12:60:60"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
READ = [
    "error", "error_message", "error_type", "traceback", "phase", "log_line", "duration_ms", "content", "tool", "name",
    "tool_name", "tool_call_id", "success", "fatal", "message", "model", "status", "question", "channel", "reason",
    "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens", "tokens_used",
    "prompt_tokens", "completion_tokens", "total_tokens", "cost_usd", "run_cost_usd", "budget_usd", "wait_seconds",
    "recovered", "responded_by", "framework", "node_name", "input_preview", "output_preview", "span_id", "note",
    "parent_span_id", "metadata", "labels", "command_id", "budget_warning", "turn_start_history_len",
    "pending_tool_calls", "parent_run_id", "parent_run_key", "towerlog_invalid",
]  # fmt: skip
"""Names of details that some type of some dialect reads."""
PAYLOADS = st.dictionaries(st.sampled_from(READ), ODD, max_size=5)


def sent(name: str, body: Any, **path: str) -> Append | Report:
    """The command of a request as it came."""
    dialects = {dialect.name: dialect for dialect in (*DIALECTS, NATIVE)}
    dialect = name.partition(".")[0]
    found = endpoint(dialects.get(dialect, NATIVE), name).decode(call(body, path=path))
    assert isinstance(found, Append | Report)
    return found


def stored(command: Append | Report, index: int, payload: dict[str, Any]) -> None:
    """All of the batch is stored, all of the payload kept, and a warning names what is in it."""
    assert not [item for item in command.items if isinstance(item, Refusal)]
    draft = command.items[index]
    if isinstance(draft, AgentHeartbeat):
        return
    assert isinstance(draft, Draft)
    kept = json.loads(draft.data)
    for member, value in payload.items():
        if member not in ("towerlog_invalid", "tool_call_id"):
            assert kept[member] == value
    for warning in command.warnings:
        assert warning.index in (index, None)
        assert warning.message.startswith(f"{warning.field}: ")


@given(st.sampled_from(sorted(SDK_KINDS)), PAYLOADS, ODD)
def test_steps(kind: str, payload: dict[str, Any], occurred_at: Any) -> None:
    body = {"event_type": kind, "sdk_run_id": "r", "payload": payload, "occurred_at": occurred_at}
    stored(sent("steps.ingest", body), 0, payload)


@given(st.sampled_from([*sorted(RUNNER_KINDS), "budget_note", "workflow_step_done"]), PAYLOADS, ODD, ODD)
def test_checkpoints(kind: str, payload: dict[str, Any], occurred_at: Any, number: Any) -> None:
    odd = {"type": kind, "data": {"thread_id": "t", **payload}, "occurred_at": occurred_at, "sequence_num": number}
    good = {"type": "note", "data": {"thread_id": "t"}}
    stored(sent("checkpoints.events", {"events": [good, odd]}), 1, payload)


@given(PAYLOADS)
def test_a_turn(payload: dict[str, Any]) -> None:
    data = {"thread_id": "t", "step_index": 1, "history": [{"role": "user"}], **payload}
    stored(sent("checkpoints.events", {"events": [{"type": "checkpoint", "data": data}]}), 0, payload)


@given(st.sampled_from([*sorted(ROWS), "own"]), PAYLOADS | ODD, ODD, ODD)
def test_lanes(kind: str, payload: Any, phase: Any, log_line: Any) -> None:
    events = [{"type": "heartbeat"}, {"type": kind, "payload": payload}]
    command = sent("lanes.report", {"worker_id": "w", "events": events, "phase": phase, "log_line": log_line}, id=RUN)
    stored(command, 1, payload if isinstance(payload, dict) else {})


@given(st.sampled_from(sorted(CLIENT_KINDS)), PAYLOADS | ODD, ODD)
def test_native(kind: str, data: Any, time: Any) -> None:
    if kind == "other":
        # Its name is the sender's own type.
        data = {**(data if isinstance(data, dict) else {}), "name": "own"}
    event = {"event_id": "e", "client_seq": 1, "run_key": "k", "type": kind, "data": data, "time": time}
    good = {"event_id": "f", "client_seq": 2, "run_key": "k", "type": "run.paused"}
    command = sent("tell_events", {"client_id": "c", "events": [good, event]})
    stored(command, 1, data if isinstance(data, dict) else {})


@given(
    st.sampled_from(["command_start", "file_read", "inference_complete", "own"]),
    st.dictionaries(st.sampled_from(["timestamp", "tool", "output_summary", "duration_ms", "success"]), ODD),
    st.dictionaries(st.sampled_from(["thread_id", "session_id", "model_name", *READ]), ODD, max_size=4) | ODD,
)
def test_activity(kind: str, event: dict[str, Any], metadata: Any) -> None:
    if isinstance(metadata, dict):
        metadata.pop("run_id", None)
    whole = {**event, "type": kind, "metadata": metadata}
    stored(sent("activity.push", [{"type": "health_check"}, whole], id=AGENT), 1, whole)


class Thing(msgspec.Struct):
    """Something with a required member, a count and a text."""

    name: str
    count: fields.Count | None = None
    text: str = "none"
    own: str | None = msgspec.field(default=None, name="ownName")


THING = msgspec.json.Decoder(Thing)


def test_a_detail_that_does_not_fit_has_its_default_and_is_named_below_its_place() -> None:
    warnings: list[FieldWarning] = []
    found = fields.read(THING, b'{"name":"n","count":-1,"text":7,"ownName":[],"other":1}', "data", warnings)
    assert found == Thing("n")
    assert [warning.field for warning in warnings] == ["data.count", "data.text", "data.ownName"]


@pytest.mark.parametrize(
    ("text", "strict", "field"),
    [
        (b'{"count":-1}', set(), "data.name"),
        (b'{"name":7,"count":-1}', set(), "data.name"),
        (b'{"name":"n","count":-1}', {"count"}, "data.count"),
        (b'{"name":"n","ownName":7}', {"own"}, "data.ownName"),
        (b"[]", set(), "data"),
        (b"7", set(), "data"),
    ],
)
def test_what_is_no_detail_is_refused(text: bytes, strict: set[str], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        fields.read(THING, text, "data", [], frozenset(strict))
    assert caught.value.field == field


def test_what_is_no_json_is_malformed() -> None:
    with pytest.raises(Malformed):
        fields.read(THING, b'{"name":', "data", [])
    # Although a member before it does not fit either.
    with pytest.raises(Malformed):
        fields.read(THING, b'{"name":"n","count":-1,"text":NaN}', "data", [])


def test_a_good_object_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "read_singly", pytest.fail)
    assert fields.read(THING, b'{"name":"n","count":3}', "data", []) == Thing("n", 3)


@pytest.mark.parametrize("text", [b"150", b"150.0", b'"150"', b'"150.0"', b"1.5e2", b"150.00"])
def test_a_whole_number_has_many_forms(text: bytes) -> None:
    assert whole_number(text) == 150
    assert read_singly(THING, b'{"name":"n","count":' + text + b"}", frozenset()) == (Thing("n", 150), [])


@pytest.mark.parametrize(
    "text", [b"1.5", b'"1.5"', b'""', b'" 1"', b'"-1"', b"true", b"1e400", b"9e99", b'"1e2"', b"[1]"]
)
def test_other_texts_are_no_whole_numbers(text: bytes) -> None:
    assert whole_number(text) is None


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2016-12-31T23:59:60.250+00:00", 1_483_228_800_250),
        ("20161231T235960Z", 1_483_228_800_000),
        ("1998-12-31 23:59:60", 915_148_800_000),
    ],
)
def test_a_leap_second_counts_as_the_second_after_it(value: str, milliseconds: int) -> None:
    warnings: list[FieldWarning] = []
    assert details.timed(value, "time", b"{}", warnings) == (milliseconds, b"{}")
    assert [warning.field for warning in warnings] == ["time"]


@pytest.mark.parametrize(
    "value",
    ["0001-01-01T00:00:00Z", "2016-12-31T23:60:60Z", "60", "yesterday", 7, 1.5, True, ["now"], {"a": 1}, 10**20],
)
def test_a_time_that_cannot_be_used_is_kept_beside_what_was_kept_before(value: Any) -> None:
    warnings: list[FieldWarning] = []
    found, data = details.timed(value, "time", b'{"a":1.50,"towerlog_invalid":{"b":"c"}}', warnings)
    assert found is None
    assert json.loads(data) == {"towerlog_invalid": {"b": "c", "time": value}, "a": 1.5}
    assert b'"a":1.50' in data
    assert [warning.field for warning in warnings] == ["time"]


def test_what_is_kept_has_a_bound() -> None:
    warnings: list[FieldWarning] = []
    assert details.timed("x" * 9000, "time", b"{}", warnings) == (None, b"{}")
    assert "too long to be kept" in warnings[-1].message


@pytest.mark.parametrize("text", [b"7", b'"text"', b"[1,2]", b"true"])
def test_data_that_is_no_object_is_kept(text: bytes) -> None:
    warnings: list[FieldWarning] = []
    assert details.as_object(text, "data", 100, warnings) == b'{"towerlog_invalid":{"data":' + text + b"}}"
    assert [warning.field for warning in warnings] == ["data"]
    with pytest.raises(TooLarge):
        details.as_object(b'"' + b"x" * 100 + b'"', "data", 100, [])


def test_warnings_stand_beside_the_members_of_a_reply() -> None:
    warnings = (FieldWarning(index=1, field="a", message="a: is odd"), FieldWarning(field="b", message="b: too"))
    told = [{"index": 1, "field": "a", "message": "a: is odd"}, {"field": "b", "message": "b: too"}]
    assert json.loads(with_warnings(Reply(200, b'{"ok":true}'), warnings).body) == {"ok": True, "warnings": told}
    assert json.loads(with_warnings(Reply(200, b"{}"), warnings).body) == {"warnings": told}
    for other in (Reply(204, b""), Reply(200, b"[]"), Reply(409, b'{"message":"m"}')):
        assert with_warnings(other, warnings) is other
