"""What each type of runner event becomes, and how its data is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.calls import tried
from tests.support.tables import table
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.checkpoints.events import Places, RunnerEvent, draft_of
from towerlog.dialects.fields import Warnings, facts_named
from towerlog.errors import Invalid, TooLarge, TowerlogError
from towerlog.model.event import AgentHeartbeat, Draft, EventType, FieldWarning, OpenRun, RunByTrace
from towerlog.model.facts import LATEST_STEP, CheckpointFacts, Effects, Facts
from towerlog.model.run import Status
from towerlog.model.usage import Usage, UsageReport

IDS = {"thread_id": "t", "trace_id": "x"}
OTHERS = [
    *("workflow_map_started", "team_member_joined", "agent_transfer_requested", "nobody_knows_this", "run.started"),
    "run_id",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def event(kind: str, data: Any = None, **fields: Any) -> RunnerEvent:
    """An event with this data; the usual ids are added unless data is given as text."""
    text = data if isinstance(data, bytes) else json.dumps({**IDS, **(data or {})}).encode()
    return RunnerEvent(kind, msgspec.Raw(text), **fields)


def draft(kind: str, data: Any = None, **fields: Any) -> Draft:
    """The draft of an event that has one."""
    found = draft_of(event(kind, data, **fields), DialectSettings(), Places(), [])
    assert isinstance(found, Draft)
    return found


def test_a_start_begins_a_run_and_its_initial_checkpoint() -> None:
    found = draft("thread_started", {"agent_id": "researcher", "model": "m-1", "parent_trace_id": "p"})
    assert found.type is EventType.RUN_STARTED
    assert found.run == RunByTrace("t", "x", reopen=True)
    assert (found.natural_key, found.agent, found.agent_default) == ("thread_started", "researcher", "unknown")
    assert found.facts == Facts(
        effects=Effects(
            is_start=True, model="m-1", parent_key="trace:p", checkpoint=CheckpointFacts(0, "in_progress", initial=True)
        )
    )


@pytest.mark.parametrize("trace", [None, ""], ids=["null", "empty"])
def test_without_a_trace_it_is_the_open_run_of_the_thread(trace: str | None) -> None:
    assert draft("thread_started", {"trace_id": trace}).run == OpenRun("t", reopen=True)
    assert draft("thread_completed", {"trace_id": trace}).run == OpenRun("t")
    assert draft("thread_completed").run == RunByTrace("t", "x")


def leaves(status: str) -> CheckpointFacts:
    """The newest checkpoint's status is this one now."""
    return CheckpointFacts(LATEST_STEP, status, decision=True)


def test_an_end_merges_its_figures_into_the_metadata() -> None:
    found = draft("thread_completed", {"tokens_used": 420, "model": "m-2"})
    assert (found.type, found.natural_key) == (EventType.RUN_COMPLETED, "thread_completed")
    assert found.facts == Facts(
        effects=Effects(
            report=UsageReport(Usage(total_tokens=420), whole_run=True, inclusive=True),
            model="m-2",
            metadata=msgspec.Raw(b'{"tokens_used":420,"model":"m-2"}'),
            checkpoint=leaves("completed"),
        )
    )
    assert draft("thread_completed", {"tokens_used": 0}).effects.metadata == msgspec.Raw(b'{"tokens_used":0}')
    assert draft("thread_completed", {"tokens_used": None}).facts == Facts(
        effects=Effects(checkpoint=leaves("completed"))
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("the tool\n timed out", "the tool timed out"),
        ({"type": "Timeout", "message": "after 3 s"}, "Timeout: after 3 s"),
        ({"error_type": "Timeout", "error_message": "after 3 s"}, "Timeout: after 3 s"),
        ({"message": "after 3 s", "type": None}, "after 3 s"),
        ({"type": "Timeout", "message": {"deep": 1}}, "Timeout"),
        ({"code": 7}, '{"code": 7}'),
        ("é" * 600, "é" * 499 + "…"),
        ({"message": "x" * 100_000}, "x" * 499 + "…"),
        ("", None),
        (None, None),
    ],
)
def test_an_error_is_a_text_or_an_object(error: Any, text: str | None) -> None:
    found = draft("thread_error", {"error": error})
    assert (found.type, found.natural_key, found.facts.error) == (EventType.RUN_FAILED, "thread_error", text)
    assert json.loads(found.data)["error"] == error


def test_an_error_without_a_reason_is_one() -> None:
    assert draft("thread_error").facts == Facts(effects=Effects(checkpoint=leaves("error")))


def test_an_exceeded_budget_keeps_its_figures_as_they_were_sent() -> None:
    found = draft("thread_budget_exceeded", b'{"thread_id":"t","run_cost_usd":0.510,"budget_usd":5e-1}')
    assert (found.type, found.natural_key) == (EventType.BUDGET_EXCEEDED, "thread_budget_exceeded")
    assert found.effects.metadata == msgspec.Raw(b'{"run_cost_usd":0.510,"budget_usd":5e-1}')
    assert draft("thread_budget_exceeded", {"budget_usd": None}).effects.metadata is msgspec.UNSET


def test_a_budget_warning_says_nothing_of_its_run() -> None:
    found = draft("budget_warning", {"run_cost_usd": 0.41, "budget_usd": 0.5})
    assert (found.type, found.natural_key, found.facts) == (EventType.BUDGET_WARNING, None, Facts())


def test_an_idle_thread_is_running() -> None:
    found = draft("thread_idle")
    assert (found.type, found.facts) == (
        EventType.OTHER,
        Facts(name="thread_idle", effects=Effects(status=Status.RUNNING, checkpoint=leaves("idle"), idle=True)),
    )


@pytest.mark.parametrize("kind", ["thread_rate_limited", "heartbeat", *OTHERS])
def test_other_types_are_kept_under_their_own_name(kind: str) -> None:
    found = draft(kind, b'{"thread_id":"t", "wait_seconds":2.5, "flavour": {"b":1.0, "a":[]}}')
    assert (found.type, found.natural_key, found.run) == (EventType.OTHER, None, OpenRun("t"))
    assert found.facts == facts_named(kind)
    assert found.data == b'{"thread_id":"t", "wait_seconds":2.5, "flavour": {"b":1.0, "a":[]}}'
    assert (found.agent, found.agent_default) == (None, "unknown")


def test_a_heartbeat_outside_a_thread_only_touches_its_agent() -> None:
    touch = draft_of(
        event("heartbeat", b'{"agent_id":"a"}', occurred_at="1970-01-01T00:00:01Z"), DialectSettings(), {}, []
    )
    assert touch == AgentHeartbeat("a", 1000)
    for data in (b"{}", b"null", b'{"agent_id":""}'):
        assert draft_of(event("heartbeat", data), DialectSettings(), Places(), []) == AgentHeartbeat("unknown")


@pytest.mark.parametrize("group", ["workflow", "team"])
def test_a_workflow_and_a_team_have_runs_of_their_own(group: str) -> None:
    """Inside a run that an agent started the same event moves nothing: `inside` is what it is there."""
    found = draft(f"{group}_started", {f"{group}_name": "nightly/build"})
    assert (found.type, found.natural_key, found.agent) == (
        EventType.RUN_STARTED,
        f"{group}_started",
        f"{group}:nightly/build",
    )
    assert found.run == RunByTrace("t", "x", reopen=True)
    assert found.facts == Facts(effects=Effects(is_start=True, composite=True))
    assert found.inside == facts_named(f"{group}_started")
    assert draft(f"{group}_started", {f"{group}_name": "x" * 300}).agent == f"{group}:{'x' * 300}"[:199] + "…"
    assert draft(f"{group}_started").agent == group
    ended = draft(f"{group}_completed", {"parent_trace_id": "p"})
    assert (ended.type, ended.agent, ended.facts.effects) == (
        EventType.RUN_COMPLETED,
        None,
        Effects(parent_key="trace:p"),
    )
    for told, error in (({"termination_reason": "too late"}, "too late"), ({}, "terminated")):
        failed = draft(f"{group}_completed", {"terminated": True, **told})
        assert (failed.type, failed.facts.error) == (EventType.RUN_FAILED, error)


def test_what_exhausted_a_budget_is_counted() -> None:
    report = draft("thread_budget_exceeded", {"run_cost_usd": 0.5}).effects.report
    assert report == UsageReport(Usage(cost_nanos=500_000_000), process_cost=True)


@pytest.mark.parametrize("kind", ["thread_started", "checkpoint", "workflow_map_started"])
def test_the_envelope_is_taken_over(kind: str) -> None:
    found = draft(kind, {"step_index": 1}, occurred_at="1970-01-01T00:00:01Z", event_id="e-1", sequence_num=9)
    assert (found.occurred_at, found.event_id) == (1000, "e-1")
    bare = draft(kind, {"step_index": 1}, occurred_at="", event_id="")
    assert (bare.occurred_at, bare.event_id) == (None, None)


@pytest.mark.parametrize("kind", ["thread_started", "checkpoint", "thread_error", "heartbeat", "other"])
def test_an_agents_name_is_one_line_and_may_have_a_slash(kind: str) -> None:
    assert draft(kind, {"step_index": 1, "agent_id": "team/writer"}).agent == "team/writer"
    warnings: Warnings = []
    told = event(kind, {"thread_id": "t", "step_index": 1, "agent_id": "one\n two\x00"})
    found = draft_of(told, DialectSettings(), Places(), warnings)
    assert isinstance(found, Draft)
    assert (found.agent, [one.field for one in warnings]) == ("one two", ["data.agent_id"])


COMMON: list[tuple[str, Any]] = [
    *(("thread_id", value) for value in (None, "", 7, [], "x" * 201, "a/b", "a\x00")),
    *((field, value) for field in ("trace_id", "parent_trace_id", "agent_id") for value in (7, {}, "x" * 201)),
    *((field, "a\n") for field in ("trace_id", "parent_trace_id")),
]
DETAILS: list[tuple[str, str, Any]] = [
    *(
        (kind, field, value)
        for kind in ("thread_started", "thread_completed")
        for field, value in (("model", 4), ("model", "x" * 201), ("tokens_used", -1), ("tokens_used", 0.5))
    ),
    *(("thread_error", "error", value) for value in (5, True, ["x"])),
    *(
        (kind, field, value)
        for kind in ("thread_budget_exceeded", "budget_warning")
        for field in ("run_cost_usd", "budget_usd")
        for value in (-0.01, "cheap", True, {}, 1e300)
    ),
    *(("thread_rate_limited", "wait_seconds", value) for value in (-1, "long", [])),
    *(("command_acknowledged", "command_id", value) for value in (None, "one", -1)),
]


@table(
    "kind, field, value",
    [(kind, *one) for kind in ("thread_started", "thread_error", "thread_idle", "other") for one in COMMON],
    ids=lambda value: str(value)[:20],
)
def test_a_wrong_field_is_named(kind: str, field: str, value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        draft(kind, {field: value})
    assert caught.value.field == f"data.{field}"
    assert caught.value.message.startswith(f"data.{field}: ")


@pytest.mark.parametrize(("kind", "field", "value"), DETAILS, ids=lambda value: str(value)[:20])
def test_a_detail_that_cannot_be_used_costs_no_event(kind: str, field: str, value: Any) -> None:
    warnings: list[FieldWarning] = []
    found = draft_of(event(kind, {field: value}), DialectSettings(), Places(), warnings)
    assert isinstance(found, Draft)
    assert json.loads(found.data) == {**IDS, field: value}
    assert [warning.field for warning in warnings] == [f"data.{field}"]
    assert warnings[0].message.startswith(f"data.{field}: ")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": ""}, "type"),
        ({"kind": "x" * 201}, "type"),
        ({"event_id": ".."}, "event_id"),
        ({"event_id": "x" * 201}, "event_id"),
        ({"event_id": "a/b"}, "event_id"),
        ({"data": b"[]"}, "data"),
        ({"data": b"null"}, "data.thread_id"),
        ({"data": b'{"thread_id":"t","a":' + b"[" * 128 + b"]" * 128 + b"}"}, "data"),
    ],
)
def test_a_wrong_envelope_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        draft_of(event(**{"kind": "thread_started", **fields}), DialectSettings(), Places(), [])
    assert caught.value.field == field


def test_a_large_event_is_too_large() -> None:
    with pytest.raises(TooLarge, match=r"^data: is larger than 1000 bytes"):
        draft_of(event("note", {"text": "x" * 1000}), DialectSettings(max_event_bytes=1000), Places(), [])


KINDS = ["thread_started", "thread_completed", "thread_error", "thread_budget_exceeded", "budget_warning", "heartbeat"]


@given(st.sampled_from([*KINDS, "thread_rate_limited", "x"]), st.dictionaries(st.text(), JSON))
def test_any_object_is_kept_whole_or_refused_by_a_field(kind: str, data: dict[str, Any]) -> None:
    found = tried(lambda: draft_of(event(kind, {**data, "thread_id": "t"}), DialectSettings(), Places(), []))
    if isinstance(found, TowerlogError):
        assert found.field is not None
        assert found.field.removeprefix("data.") in data
        return
    assert isinstance(found, Draft)
    assert json.loads(found.data) == {**IDS, **data, "thread_id": "t"}
