"""A worker's events: what each type becomes, what the folds get to know of it, and which fields are refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.dialects.calls import RUN
from towerlog import errors
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.fields import facts_named
from towerlog.dialects.run_events import WorkerEvent, failure_text, worker_draft
from towerlog.model.event import Draft, EventType, FieldWarning, RunById
from towerlog.model.facts import Effects, Facts, LaneFacts
from towerlog.model.usage import Usage, UsageReport


def told(
    type_: str, payload: Any = None, event_id: str | None = None, settings: DialectSettings | None = None
) -> Draft:
    """The draft of one event, the second of its report."""
    raw = msgspec.Raw(json.dumps(payload).encode())
    return worker_draft(WorkerEvent(type_, raw, event_id), 1, RunById(RUN), settings or DialectSettings(), [])


def warned(field: str, type_: str, payload: Any) -> Draft:
    """The draft of an event with one detail that cannot be used, which is kept as it was sent."""
    warnings: list[FieldWarning] = []
    raw = msgspec.Raw(json.dumps(payload).encode())
    draft = worker_draft(WorkerEvent(type_, raw), 1, RunById(RUN), DialectSettings(), warnings)
    assert [warning.field for warning in warnings] == [field]
    assert warnings[0].message.startswith(f"{field}: ")
    assert json.loads(draft.data) == payload
    return draft


def refused(field: str, type_: str, payload: Any = None, event_id: str | None = None) -> None:
    with pytest.raises(errors.Invalid) as found:
        told(type_, payload, event_id)
    assert found.value.field == field


@pytest.mark.parametrize("type_", ["heartbeat", "log_line", "phase_change"])
def test_telemetry_is_a_lane_report(type_) -> None:
    draft = told(type_, {"n": 1}, "e1")
    assert draft == Draft(EventType.LANE_REPORT, RunById(RUN), b'{"n": 1}', facts_named(type_), event_id="e1")


def test_a_phase_change_says_the_phase() -> None:
    assert told("phase_change", {"phase": "building"}).effects.lane == LaneFacts(phase="building")
    for phase in (7, "p" * 201):
        assert warned("payload.phase", "phase_change", {"phase": phase}).effects.lane is None


KEPT = [
    "run.started", "run.paused", "run.resumed", "run.waiting_for_input", "run.input", "run.question_withdrawn",
    "run.completed", "run.failed", "run.cancelled", "budget.warning", "budget.exceeded", "tool.call", "tool.result",
    "model.call", "step", "command.acknowledged",
]  # fmt: skip


@pytest.mark.parametrize("type_", KEPT)
def test_types_of_the_runs_dialect_keep_their_type_and_payload(type_) -> None:
    draft = told(type_, {"content": "c", "n": 1})
    assert draft.type == type_
    assert json.loads(draft.data) == {"content": "c", "n": 1}


SERVERS_OWN = [
    "run.queued", "run.cancel_requested", "run.pause_requested", "run.resume_requested", "run.silent", "run.lost",
    "run.message", "approval.expired", "cost.repriced", "usage.recounted", "run.erased", "erased",
    "command.delivered", "lane.claimed", "lane.report", "lane.released", "lane.lost",
]  # fmt: skip


@pytest.mark.parametrize("type_", [*SERVERS_OWN, "action", "other", "coffee_break", "Heartbeat", "ünknown \n"])
def test_everything_else_is_kept_under_its_own_name(type_) -> None:
    draft = told(type_, {"cups": 2})
    assert (draft.type, draft.facts, draft.data) == (EventType.OTHER, Facts(name=type_), b'{"cups": 2}')


def test_every_type_of_the_log_is_decided_on() -> None:
    decided = {*KEPT, *SERVERS_OWN, "message.delta", "checkpoint", "other"}
    assert decided == {type_.value for type_ in EventType}


def test_ship_complete_is_a_good_end() -> None:
    draft = told("ship_complete", {"url": "u"})
    assert (draft.type, draft.facts.name, draft.facts.success) == (EventType.RUN_COMPLETED, "ship_complete", True)


@pytest.mark.parametrize("fatal", [None, False, 0, 1, "true", "yes"])
def test_an_error_is_only_told(fatal) -> None:
    draft = told("error", {"message": "m", "fatal": fatal})
    assert (draft.type, draft.facts) == (EventType.OTHER, Facts(name="error"))


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"message": "boom"}, "boom"),
        ({"error": "boom"}, "boom"),
        ({"error": {"message": "boom", "code": 7}}, "boom"),
        ({"error": {"code": 7}}, '{"code": 7}'),
        ({"error": "", "message": "m"}, "m"),
        ({"error": "a\nb  c"}, "a b c"),
        ({"error": "x" * 900}, "x" * 499 + "…"),
        ({"error": 7}, "failed"),
        ({}, "failed"),
    ],
)
def test_a_failure_says_why_on_one_line(payload, why) -> None:
    for draft in [told("error", {**payload, "fatal": True}), told("run.failed", payload)]:
        assert draft.type is EventType.RUN_FAILED
        assert draft.facts == Facts(error=why, success=False)


def test_why_of_a_string_or_an_object() -> None:
    assert failure_text(b'"the disk is full"') == "the disk is full"
    assert failure_text(b"null") == "failed"
    assert failure_text(b"", None) is None


def test_a_cancelled_run_may_say_why() -> None:
    assert told("run.cancelled", {}).facts == Facts()
    assert told("run.cancelled", {"error": "stopped"}).facts.error == "stopped"


def test_a_delta_is_text() -> None:
    assert told("message.delta", {"content": "hé\n"}).type is EventType.MESSAGE_DELTA
    for payload in [{}, {"content": None}, {"content": 7}, {"content": ["x"]}]:
        warned("payload.content", "message.delta", payload)


@pytest.mark.parametrize("name", ["name", "tool", "tool_name"])
def test_a_tool_is_known_by_any_of_its_names(name) -> None:
    assert told("tool.call", {name: "ls", "tool_call_id": "c1"}).facts == Facts(tool="ls", tool_call_id="c1")
    assert told("tool.result", {name: "ls"}).facts == Facts(tool="ls")


def test_a_tool_call_without_a_usable_name_is_kept() -> None:
    assert told("tool.call", {"name": {"x": 1}, "tool_call_id": ""}).facts == Facts()
    for wrong in (7, ["c"], "x" * 8193):
        assert warned("payload.tool_call_id", "tool.call", {"tool_call_id": wrong}).facts.tool_call_id is None
    assert warned("payload.name", "tool.call", {"name": "n" * 201, "tool": "t"}).facts.tool == "t"
    for call_id in ("a/b", "call_" + "x+/" * 1500, "x" * 8192, "line\n", ".."):
        assert told("tool.result", {"tool_call_id": call_id}).facts.tool_call_id == call_id


@pytest.mark.parametrize(
    ("payload", "success"),
    [
        ({}, None),
        ({"success": True}, True),
        ({"success": False}, False),
        ({"success": "yes"}, None),
        ({"error": "boom"}, False),
        ({"error": None}, None),
        ({"success": True, "error": "warned"}, True),
    ],
)
def test_how_a_tool_ended(payload, success) -> None:
    assert told("tool.result", payload).facts.success is success


def test_how_long_a_tool_took() -> None:
    for usable in [12, 12.0, "12", 12.4]:
        assert told("tool.result", {"duration_ms": usable}).facts.duration_ms == 12
    assert told("tool.result", {"duration_ms": None}).facts.duration_ms is None
    for unusable in [-1, "soon", 10**20]:
        assert warned("payload.duration_ms", "tool.result", {"duration_ms": unusable}).facts.duration_ms is None


def test_a_model_call_is_an_increment() -> None:
    payload = {
        "model": "gpt-4",
        "input_tokens": 1,
        "cached_input_tokens": 2,
        "cache_write_tokens": 3,
        "output_tokens": 4,
        "reasoning_tokens": 5,
        "cost_usd": 0.0000001,
        "duration_ms": 740,
        "status": "success",
    }
    facts = told("model.call", payload).facts
    assert facts.effects.report == UsageReport(Usage(1, 2, 3, 4, 5, None, 100), "delta")
    assert (facts.effects.model, facts.duration_ms, facts.success, facts.name) == ("gpt-4", 740, True, None)
    bare = told("model.call", {"output_tokens": 4, "total_tokens": 9}).facts
    assert bare.effects.report == UsageReport(Usage(output_tokens=4, total_tokens=9), "delta")
    failed = told("model.call", {"status": "rate_limited"}).facts
    assert (failed.success, failed.name) == (False, "inference_rate_limited")
    assert told("model.call").effects.report == UsageReport(Usage(), "delta")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", 7),
        ("model", "m" * 201),
        ("input_tokens", -1),
        ("cached_input_tokens", 1.5),
        ("cache_write_tokens", "one"),
        ("cache_write_tokens", "1.5"),
        ("output_tokens", 2**53 + 1),
        ("reasoning_tokens", []),
        ("cost_usd", -0.1),
        ("cost_usd", "cheap"),
        ("cost_usd", 1e300),
        ("duration_ms", -1),
        ("status", 7),
    ],
)
def test_a_wrong_figure_is_named(field, value) -> None:
    facts = warned(f"payload.{field}", "model.call", {field: value}).facts
    assert facts.effects is not None
    assert (facts.effects.report, facts.effects.model) == (UsageReport(Usage(), "delta"), None)
    assert facts.duration_ms is None


@pytest.mark.parametrize("value", [150, 150.0, "150", "150.0"], ids=repr)
def test_a_whole_number_may_be_written_otherwise(value) -> None:
    facts = told("model.call", {"input_tokens": value, "duration_ms": value}).facts
    assert facts.effects is not None
    assert facts.effects.report == UsageReport(Usage(input_tokens=150), "delta")
    assert facts.duration_ms == 150


def test_money_may_be_a_string_and_a_duration_have_a_fraction() -> None:
    facts = told("model.call", {"cost_usd": "0.0023", "duration_ms": 740.5}).facts
    assert facts.effects is not None
    assert facts.effects.report == UsageReport(Usage(cost_nanos=2_300_000), "delta")
    assert facts.duration_ms == 740


def test_a_question_and_its_answer() -> None:
    assert told("run.waiting_for_input", {"question": "go?"}).facts.question == "go?"
    assert told("run.waiting_for_input").facts == Facts()
    assert warned("payload.question", "run.waiting_for_input", {"question": 7}).facts == Facts()
    assert told("run.input", {"command_id": 9}).facts == Facts(effects=Effects(command_id=9))
    assert told("run.input").facts == Facts(effects=Effects(acknowledges="input"))
    assert told("command.acknowledged", {"command_id": 9}).facts == Facts(effects=Effects(command_id=9))
    untaken = told("command.acknowledged", {"command_id": 9, "taken": False})
    assert untaken.facts == Facts(effects=Effects(command_id=9, untaken=True))
    assert told("run.paused").facts == Facts(effects=Effects(acknowledges="pause"))
    assert warned("payload.command_id", "command.acknowledged", {"command_id": "x"}).facts == Facts()
    assert warned("payload.command_id", "command.acknowledged", {}).facts == Facts(), "it acknowledges nothing"


def test_a_checkpoint_is_read_as_the_runners_send_it() -> None:
    payload = {"step_index": 2, "status": "in_progress", "history": [{"role": "user"}], "agent_id": "a"}
    draft = told("checkpoint", payload, "e1")
    assert (draft.type, draft.run, draft.event_id) == (EventType.CHECKPOINT, RunById(RUN), "e1")
    assert draft.effects.checkpoint is not None
    assert draft.effects.checkpoint.step_index == 2
    assert draft.history is not None
    assert list(draft.history.messages) == [b'{"role":"user"}']
    with pytest.raises(errors.Invalid) as found:
        told("checkpoint", {"step_index": "x"})
    assert found.value.field == "events.1.payload.step_index"


def test_an_absent_payload_is_an_empty_one_and_a_blank_id_is_none() -> None:
    assert told("heartbeat").data == b"{}"
    assert told("heartbeat", {}, "").event_id is None


@pytest.mark.parametrize("type_", ["", "t" * 201])
def test_a_type_has_a_length(type_) -> None:
    refused("events.1.type", type_)


@pytest.mark.parametrize("payload", [7, "text", [], True])
def test_a_payload_that_is_no_object_is_kept(payload) -> None:
    for type_ in ["heartbeat", "tool.call", "unknown"]:
        warnings: list[FieldWarning] = []
        raw = msgspec.Raw(json.dumps(payload).encode())
        draft = worker_draft(WorkerEvent(type_, raw), 1, RunById(RUN), DialectSettings(), warnings)
        assert [warning.field for warning in warnings] == ["payload"]
        assert json.loads(draft.data) == {"towerlog_invalid": {"payload": payload}}
    # The state of an agent is whole or it is refused.
    refused("events.1.payload", "checkpoint", payload)


@pytest.mark.parametrize("event_id", ["i" * 201, "i\x01", "a/b"])
def test_a_wrong_id_is_named(event_id) -> None:
    refused("events.1.id", "heartbeat", {}, event_id)


def test_size_and_depth_are_bounded() -> None:
    with pytest.raises(errors.TooLarge):
        told("step", {"x": "y" * 200}, settings=DialectSettings(max_event_bytes=100))
    with pytest.raises(errors.Invalid):
        told("step", {"a": {"b": {"c": {}}}}, settings=DialectSettings(max_depth=3))
