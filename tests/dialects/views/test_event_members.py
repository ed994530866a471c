"""What readers find under one name, whichever dialect an event came in through."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.dialects.calls import event
from towerlog.dialects.activity.feed import feed_event
from towerlog.dialects.views.event_members import MAX_REPEATED_BYTES, EventMembers, event_members, produced, result_of
from towerlog.model.computed_costs import Priced
from towerlog.model.event import EventType as T
from towerlog.model.facts import NO_FACTS, CheckpointFacts, Effects, Facts
from towerlog.model.usage import Usage, UsageReport
from towerlog.sdk.api.event_members import MEMBERS
from towerlog.sdk.api.shapes import RunEvent

SHELL = Facts(tool="shell", success=True)
ASKED = Facts(effects=Effects(question_id=4))
SPENT = Usage(input_tokens=86, cached_input_tokens=1920, output_tokens=290, reasoning_tokens=10, cost_nanos=12_300_000)
CALLED = Facts(success=True, effects=Effects(model="m", report=UsageReport(SPENT, "delta")))
FIGURES = {"total_input_tokens": 2006, "cached_input_tokens": 1920, "total_output_tokens": 300, "cost_usd": 0.0123}
SAVED = Facts(spent=SPENT, effects=Effects(checkpoint=CheckpointFacts(3, "idle")))
WORTH = Priced(21, "list 1")
COMPUTED = {"cost_usd": 2.1e-8, "cost_source": "computed", "price_version": "list 1"}
PRICED = Facts(effects=Effects(report=UsageReport(Usage(7), "delta"), priced=WORTH))
TURN = Facts(
    spent=Usage(7, cost_nanos=21, computed_nanos=21),
    effects=Effects(report=UsageReport(Usage(7), "turn"), priced=WORTH, checkpoint=CheckpointFacts(4, "idle")),
)
UNPRICED = Facts(effects=Effects(report=UsageReport(Usage(7), "delta"), priced=Priced()))
DECIDED = Facts(effects=Effects(checkpoint=CheckpointFacts(-1, "approved", decision=True)))


@pytest.mark.parametrize(
    ("kind", "data", "facts", "found"),
    [
        (T.TOOL_CALL, {"input_preview": "ls"}, SHELL, {"tool": "shell", "arguments": "ls"}),
        (T.TOOL_CALL, {"input_summary": "ls"}, SHELL, {"tool": "shell", "arguments": "ls"}),
        (T.TOOL_CALL, {"input": {"a": 1}}, SHELL, {"tool": "shell", "arguments": {"a": 1}}),
        (T.TOOL_CALL, {"arguments": {"a": 1}}, SHELL, {"tool": "shell"}),
        (T.TOOL_CALL, {"arguments": None, "input": 0}, NO_FACTS, {"arguments": 0}),
        (T.TOOL_RESULT, {"output_preview": "x"}, SHELL, {"tool": "shell", "success": True, "result": "x"}),
        (T.TOOL_RESULT, {"output_summary": "x"}, SHELL, {"tool": "shell", "success": True, "result": "x"}),
        (T.TOOL_RESULT, {"output": 1.50, "output_preview": "1"}, Facts(tool="t"), {"tool": "t", "result": 1.5}),
        (T.TOOL_RESULT, {"result": "x"}, SHELL, {"tool": "shell", "success": True}),
        (T.TOOL_RESULT, {"error": {"message": "no"}}, Facts(success=False), {"success": False, "error": "no"}),
        (T.STEP, {"node_name": "plan", "output": [1]}, NO_FACTS, {"name": "plan", "result": [1]}),
        (T.STEP, {"name": "plan"}, NO_FACTS, {"name": "plan"}),
        (T.MESSAGE_DELTA, {"content": "hi"}, NO_FACTS, {"text": "hi"}),
        (T.MESSAGE_DELTA, {"content": "hm", "channel": "thinking"}, NO_FACTS, {"thinking": "hm"}),
        (T.MESSAGE_DELTA, {"content": "hi", "channel": "text"}, NO_FACTS, {"text": "hi"}),
        (T.MESSAGE_DELTA, {"content": 7}, NO_FACTS, {}),
        (T.LANE_REPORT, {"log_line": "3 of 10"}, Facts(name="log_line"), {"name": "log_line", "text": "3 of 10"}),
        (T.RUN_WAITING, {"question": "Go?"}, NO_FACTS, {"question_id": 3}),
        (T.RUN_WAITING, {"question": "Go?"}, ASKED, {"question_id": 4}),
        (
            T.RUN_INPUT,
            {"response": "no", "responded_by": "inspector"},
            ASKED,
            {"content": "no", "question_id": 4, "answered_by": "inspector"},
        ),
        (T.RUN_INPUT, {"response": {"a": 1}}, NO_FACTS, {"content": '{"a": 1}'}),
        (T.RUN_INPUT, {"content": {"a": 1}}, NO_FACTS, {"content": '{"a": 1}'}),
        (T.RUN_INPUT, {"content": None, "answer": "y"}, NO_FACTS, {"content": "y"}),
        (T.RUN_INPUT, {"content": "y", "by": "7", "by_name": "ada"}, ASKED, {"question_id": 4, "answered_by": "ada"}),
        (T.RUN_QUESTION_WITHDRAWN, {}, ASKED, {"question_id": 4}),
        (T.RUN_MESSAGE, {"content": "hurry", "by_name": "ada"}, NO_FACTS, {"written_by": "ada"}),
        (T.RUN_COMPLETED, {"output": {"n": 1}}, NO_FACTS, {"result": {"n": 1}}),
        (T.RUN_COMPLETED, {"result": None, "output": {"n": 1}}, NO_FACTS, {"result": {"n": 1}}),
        (T.RUN_COMPLETED, {"tokens_used": 1}, NO_FACTS, {}),
        (T.RUN_FAILED, {"error_message": "x"}, Facts(error="E: x"), {"error": "E: x"}),
        (T.MODEL_CALL, {}, CALLED, {"model": "m", "success": True, "cost_source": "reported", **FIGURES}),
        (T.MODEL_CALL, {}, PRICED, {"total_input_tokens": 7, **COMPUTED}),
        (T.CHECKPOINT, {}, TURN, {"status": "idle", "step_index": 4, "total_input_tokens": 7, **COMPUTED}),
        (T.MODEL_CALL, {}, UNPRICED, {"total_input_tokens": 7}),
        (T.CHECKPOINT, {"thread_id": "t"}, SAVED, {"status": "idle", "step_index": 3, **FIGURES}),
        (T.CHECKPOINT, {}, DECIDED, {"status": "approved"}),
        (T.OTHER, {"a": 1}, Facts(name="stage_done"), {"name": "stage_done"}),
        (T.RUN_PAUSED, {"tool": "x"}, NO_FACTS, {}),
    ],
)
def test_readers_find_it_under_one_name(kind: T, data: Any, facts: Facts, found: dict[str, Any]) -> None:
    members = event_members(event(kind, data, facts))
    assert json.loads(msgspec.json.encode(members)) == found
    assert set(members) <= set(EventMembers.__struct_fields__)


def test_what_was_sent_is_spelled_as_it_was_sent() -> None:
    members = event_members(event(T.TOOL_RESULT, b'{"output": 1e400}'))
    assert bytes(members["result"]) == b"1e400"


def test_the_client_knows_every_member() -> None:
    assert set(MEMBERS) == set(EventMembers.__struct_fields__)


@pytest.mark.parametrize("kind", T)
def test_the_client_takes_from_the_data_what_is_not_repeated(kind: T) -> None:
    named = {"arguments": "a", "result": "r", "content": "c"}
    beside = event_members(event(kind, {"input": "a", "output": "r", "response": "c"})).keys() & named.keys()
    assert not event_members(event(kind, named)).keys() & named.keys()
    sent = {"seq": 1, "type": kind.value, "data": named, "created_at": "2026-01-01T00:00:00.000Z"}
    assert RunEvent.read(sent).members.keys() == beside


@pytest.mark.parametrize(
    ("end", "result"),
    [
        ({"result": 2, "towerlog_dropped": {"x": "y"}}, b"2"),
        ({"pages": 2}, b'{"pages": 2}'),
        ({}, None),
        ({"towerlog_dropped": {"result": "5242888 bytes are too many to be sent whole"}}, None),
    ],
)
def test_what_could_not_be_sent_is_no_result(end, result) -> None:
    assert result_of(event(T.RUN_COMPLETED, end), "runs") == (result and json.dumps(json.loads(result)).encode())


def test_a_run_has_produced_what_its_end_says_first() -> None:
    assert bytes(produced(b'{"output": 1, "result": 2}') or b"") == b"2"
    assert bytes(produced(b'{"output": 1, "result": null}') or b"") == b"1"
    assert bytes(produced(b'{"result": null}') or b"") == b"null"
    assert produced(b'{"tokens_used": 1}') is None


LONG = "x" * MAX_REPEATED_BYTES
"""With its quotes longer than what is repeated."""


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (T.TOOL_CALL, {"input": LONG}),
        (T.TOOL_RESULT, {"output": LONG, "output_preview": "x"}),
        (T.STEP, {"step": LONG, "output": [LONG]}),
        (T.MESSAGE_DELTA, {"content": LONG}),
        (T.LANE_REPORT, {"line": LONG}),
        (T.RUN_INPUT, {"response": LONG, "responded_by": LONG}),
        (T.RUN_INPUT, {"content": [LONG]}),
        (T.RUN_MESSAGE, {"text": LONG, "by_name": LONG}),
        (T.RUN_COMPLETED, {"output": LONG}),
    ],
)
def test_what_is_long_stands_in_the_data_alone(kind: T, data: Any) -> None:
    assert event_members(event(kind, data)) == {}


@pytest.mark.parametrize(
    ("data", "result", "size"),
    [
        ({"result": None, "output": "abc"}, "abc", 3),
        ({"output": None, "result": "abcd"}, "abcd", 4),
        ({"result": "abc", "output": "abcdef"}, "abc", 3),
        ({"output_summary": "abcde"}, "abcde", 5),
        ({"output_preview": "ab", "content": "abc"}, "abc", 3),
        ({"output": None}, None, 0),
    ],
)
def test_the_feed_counts_the_result_that_others_are_shown(data: Any, result: str | None, size: int) -> None:
    told = event(T.TOOL_RESULT, data)
    shown = data | json.loads(msgspec.json.encode(event_members(told)))
    assert shown.get("result") == result
    feed = feed_event(told, "e1")
    assert feed is not None
    assert feed.output_summary == f"{size} bytes"
