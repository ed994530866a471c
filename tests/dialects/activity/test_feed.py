"""The feed's encoder: how each kind of event looks, and that content has no way into it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from tests.dialects.calls import AGENT, call, endpoint, event
from towerlog.dialects.activity.dialect import DIALECT
from towerlog.dialects.activity.feed import default_tool, feed_event, frame
from towerlog.dialects.activity.shapes import FeedEvent
from towerlog.model.command import Append
from towerlog.model.computed_costs import Recount, TakenBack
from towerlog.model.event import Draft, Event, EventType
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.run import Status
from towerlog.model.usage import Usage, UsageReport

EPOCH = "e1"
SPENT = Usage(input_tokens=310, output_tokens=110, cost_nanos=2_310_000)
RUNNING_TOTAL = UsageReport(Usage(input_tokens=9000, output_tokens=900, cost_nanos=9_000_000_000))
SECRET = "hunter2-the-secret"


def stored(sent: dict[str, Any]) -> Event:
    """A pushed event as it comes back from the log."""
    command = endpoint(DIALECT, "activity.push").decode(call(sent, path={"id": AGENT}))
    assert isinstance(command, Append)
    (draft,) = command.items
    assert isinstance(draft, Draft), draft
    return event(draft.type, draft.data, draft.facts, dialect="activity", occurred_at=draft.occurred_at)


def shown(of: Event) -> dict[str, Any]:
    """The event in the feed, as its reader gets it."""
    found = frame(of, EPOCH)
    assert found is not None
    data, cursor = found.decode().removesuffix("\n\n").split("\n")
    assert cursor == f"id: {EPOCH}-{of.position}", "behind what it confirms"
    return dict(json.loads(data.removeprefix("data: ")))


CONTAINER = {
    "id": "7b0c4a6e-2f4b-4c43-9a64-0d9d1d6d9d11",
    "timestamp": "2023-11-07T05:31:56.000Z",
    "type": "command_complete",
    "tool": "shell",
    "input_summary": "ls -la",
    "output_summary": "exit 0, 512 bytes",
    "duration_ms": 12,
    "success": True,
    "metadata": {"exit_code": 0, "cached": False, "ratio": 0.5, "cwd": "/srv", "nothing": None},
}
INFERENCE = {
    "id": "inference-42",
    "timestamp": "2023-11-07T05:31:56.500Z",
    "type": "inference_complete",
    "tool": "inference",
    "input_summary": "gpt-4 (chat)",
    "output_summary": "310+110 tokens, $0.00231, 740 ms",
    "duration_ms": 740,
    "success": True,
    "metadata": {
        "model_name": "gpt-4",
        "request_type": "chat",
        "status": "success",
        "input_tokens": 310,
        "output_tokens": 110,
        "cost_usd": 0.00231,
    },
}


@pytest.mark.parametrize("sent", [CONTAINER, INFERENCE], ids=["container", "inference"])
def test_what_was_pushed_comes_back_as_it_was(sent) -> None:
    assert shown(stored(sent)) == sent
    assert list(shown(stored(sent))) == list(FeedEvent.__struct_fields__)


def test_what_was_left_out_is_filled_in() -> None:
    found = shown(stored({"type": "file_read"}))
    assert UUID(found["id"])
    assert found | {"id": ""} == {
        "id": "",
        "timestamp": "2026-04-02T10:00:00.123Z",
        "type": "file_read",
        "tool": "filesystem",
        "input_summary": "",
        "output_summary": None,
        "duration_ms": None,
        "success": None,
        "metadata": {},
    }


def test_ids_never_collide() -> None:
    assert shown(stored({**INFERENCE, "id": "42"}))["id"] == "inference-42"
    assert shown(stored({**CONTAINER, "id": "inference-42"}))["id"] == "42"
    call_event = event(EventType.MODEL_CALL)
    assert shown(call_event)["id"].startswith("inference-")
    assert UUID(shown(call_event)["id"].removeprefix("inference-"))


def test_an_id_that_was_not_sent_is_stable_and_its_own() -> None:
    one = event(EventType.TOOL_CALL)
    assert shown(one)["id"] == shown(one)["id"]
    others = [
        feed_event(event(EventType.TOOL_CALL, position=42), EPOCH),
        feed_event(one, "another-epoch"),
    ]
    assert all(other is not None and other.id != shown(one)["id"] for other in others)


@pytest.mark.parametrize("sent", ["2023-11-07T05:31:56Z", "2023-11-07 05:31:56", "2023-11-07T07:31:56+02:00"])
def test_every_time_leaves_in_one_form(sent) -> None:
    assert shown(stored({**CONTAINER, "timestamp": sent}))["timestamp"] == "2023-11-07T05:31:56.000Z"


def test_a_tool_call_of_another_dialect() -> None:
    facts = Facts(tool="run_bash", tool_call_id="c1", success=True, duration_ms=5)
    start = shown(event(EventType.TOOL_CALL, {"tool_name": "run_bash", "input": SECRET}, facts))
    assert start["type"] == "command_start"
    assert (start["tool"], start["input_summary"]) == ("shell", "run_bash")
    assert [start[name] for name in ["output_summary", "duration_ms", "success"]] == [None] * 3
    end = shown(event(EventType.TOOL_RESULT, {"output": "é" * 60, "exit_code": 0}, facts))
    assert end["type"] == "command_complete"
    assert end["output_summary"] == "exit 0, 120 bytes"
    assert (end["duration_ms"], end["success"]) == (5, True)


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("bash", "shell"),
        ("executeCommand", "shell"),
        ("Shell", "shell"),
        ("read_file", "filesystem"),
        ("listDirectory", "filesystem"),
        ("web_search", "runtime"),
        ("profile_lookup", "runtime"),
        (None, "runtime"),
    ],
)
def test_the_name_of_a_tool_says_its_kind(name, tool) -> None:
    assert shown(event(EventType.TOOL_CALL, {}, Facts(tool=name)))["tool"] == tool


@pytest.mark.parametrize(
    ("data", "summary"),
    [
        ({"output": "abc"}, "3 bytes"),
        ({"output": {"a": 1}}, "8 bytes"),
        ({"output_preview": "abcd"}, "4 bytes"),
        ({"content": None}, "0 bytes"),
        ({"exit_code": -9}, "exit -9"),
        ({"exit_code": SECRET}, None),
        ({"answer": SECRET}, None),
    ],
)
def test_an_output_is_told_by_its_length(data, summary) -> None:
    assert shown(event(EventType.TOOL_RESULT, data))["output_summary"] == summary


def test_a_model_call_of_another_dialect() -> None:
    facts = Facts(spent=SPENT, duration_ms=740, effects=Effects(model="gpt-4", report=RUNNING_TOTAL))
    found = shown(event(EventType.MODEL_CALL, {"prompt": SECRET}, facts))
    assert found["type"] == "inference_complete"
    assert found["tool"] == "inference"
    assert found["input_summary"] == "gpt-4 (chat)"
    assert found["output_summary"] == "310+110 tokens, $0.00231, 740 ms"
    assert found["success"] is True
    assert found["metadata"] == INFERENCE["metadata"]


@pytest.mark.parametrize(
    ("usage", "figures"),
    [
        (Usage(), "?+? tokens, $?, ? ms"),
        (Usage(input_tokens=0, output_tokens=0, cost_nanos=0), "0+0 tokens, $0, ? ms"),
        (Usage(input_tokens=5), "5+? tokens, $?, ? ms"),
        (Usage(total_tokens=420), "420 tokens, $?, ? ms"),
        (Usage(input_tokens=0, output_tokens=0, total_tokens=420), "420 tokens, $?, ? ms"),
        (Usage(input_tokens=1, cached_input_tokens=2, output_tokens=3, reasoning_tokens=4), "3+7 tokens, $?, ? ms"),
    ],
)
def test_unknown_is_not_nothing(usage, figures) -> None:
    assert shown(event(EventType.MODEL_CALL, {}, Facts(spent=usage)))["output_summary"] == figures


@pytest.mark.parametrize(
    ("facts", "type_", "status"),
    [
        (Facts(success=False), "inference_error", "error"),
        (Facts(name="inference_rate_limited", success=False), "inference_rate_limited", "rate_limited"),
        (Facts(name="generation", success=True), "inference_complete", "success"),
    ],
)
def test_how_a_call_went(facts, type_, status) -> None:
    found = shown(event(EventType.MODEL_CALL, {}, facts))
    assert (found["type"], found["metadata"]["status"]) == (type_, status)
    assert found["success"] is (type_ == "inference_complete")


@pytest.mark.parametrize("dialect", ["checkpoints", "steps", "native", "activity"])
def test_a_call_that_a_provider_has_refused_is_shown_whatever_told_it(dialect) -> None:
    facts = Facts(name="thread_rate_limited", effects=Effects(rate_limited=True))
    found = shown(event(EventType.OTHER, {"wait_seconds": 2.5, "note": SECRET}, facts, dialect=dialect))
    assert (found["type"], found["tool"], found["success"]) == ("inference_rate_limited", "inference", False)
    assert (found["input_summary"], found["output_summary"]) == ("unknown (chat)", "?+? tokens, $?, ? ms")
    assert found["metadata"]["status"] == "rate_limited"
    assert SECRET not in str(found)


def turn(status: str = "in_progress", **fields: Any) -> CheckpointFacts:
    return CheckpointFacts(step_index=1, status=status, **fields)


def test_a_turn_is_an_inference_with_what_it_added() -> None:
    facts = Facts(spent=SPENT, effects=Effects(model="m", report=RUNNING_TOTAL, checkpoint=turn()))
    found = shown(event(EventType.CHECKPOINT, {"history": SECRET}, facts))
    assert found["type"] == "inference_complete"
    assert found["input_summary"] == "m (turn)"
    assert found["output_summary"] == "310+110 tokens, $0.00231, ? ms"
    assert (
        shown(event(EventType.CHECKPOINT, {}, Facts(spent=SPENT, effects=Effects(checkpoint=turn("error")))))["success"]
        is False
    )


@pytest.mark.parametrize(
    ("type_", "facts"),
    [
        (EventType.CHECKPOINT, Facts(spent=SPENT, effects=Effects(checkpoint=turn(initial=True)))),
        (EventType.CHECKPOINT, Facts(spent=SPENT, effects=Effects(checkpoint=turn(decision=True)))),
        (EventType.CHECKPOINT, Facts(spent=Usage(), effects=Effects(report=RUNNING_TOTAL, checkpoint=turn()))),
        (EventType.RUN_COMPLETED, Facts()),
        (EventType.RUN_FAILED, Facts(error=SECRET, effects=Effects(status=Status.FAILED))),
        (EventType.MESSAGE_DELTA, Facts(spent=SPENT)),
        (EventType.STEP, Facts(spent=SPENT)),
        (EventType.OTHER, Facts(name="thread_rate_limited_no_more")),
        (EventType.RUN_INPUT, Facts()),
    ],
)
def test_what_has_no_place(type_, facts) -> None:
    assert frame(event(type_, {"content": SECRET}, facts), EPOCH) is None


@pytest.mark.parametrize(
    "type_", [EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED, EventType.BUDGET_EXCEEDED]
)
def test_an_end_that_leaves_its_mark_in_a_checkpoint_shows_what_it_added(type_) -> None:
    found = shown(event(type_, {}, Facts(spent=SPENT, effects=Effects(checkpoint=turn(decision=True)))))
    assert found["output_summary"] == "310+110 tokens, $0.00231, ? ms"


def test_what_is_taken_back_is_a_line_with_figures_below_zero() -> None:
    of = Recount(0, "m", "running", 0, Usage(), of_total=True)
    facts = Facts(
        spent=Usage(-300, output_tokens=-100, total_tokens=-400),
        taken_back=(TakenBack("a", 0, 2_000_000),),
        effects=Effects(recount=of),
    )
    found = shown(event(EventType.USAGE_RECOUNTED, {}, facts))
    assert (found["type"], found["input_summary"]) == ("inference_complete", "m (recount)")
    assert found["output_summary"] == "-300+-100 tokens, $-0.002, ? ms"
    assert found["metadata"]["cost_usd"] == -0.002


def test_ends_that_tell_a_usage() -> None:
    facts = Facts(effects=Effects(model="m", report=UsageReport(SPENT)))
    assert shown(event(EventType.RUN_COMPLETED, {}, facts))["input_summary"] == "m (run)"
    assert shown(event(EventType.RUN_FAILED, {}, facts))["type"] == "inference_error"
    assert shown(event(EventType.BUDGET_EXCEEDED))["type"] == "inference_budget_exceeded"


@pytest.mark.parametrize("type_", list(EventType))
def test_content_has_no_way_in(type_) -> None:
    content = dict.fromkeys(["prompt", "completion", "input", "output", "content", "message", "arguments"], SECRET)
    facts = Facts(
        tool="t",
        spent=SPENT,
        error=SECRET,
        question=SECRET,
        effects=Effects(checkpoint=turn(), model="m", rate_limited=True),
    )
    found = frame(event(type_, {**content, "metadata": content, "payload": content}, facts), EPOCH)
    assert found is None or SECRET.encode() not in found


def test_content_that_was_pushed_has_no_way_in_either() -> None:
    tree = {"prompt": [SECRET], "deep": {"completion": SECRET}}
    assert shown(stored({"type": "file_read", "metadata": tree, "raw": SECRET}))["metadata"] == {}
    told = {"prompt": SECRET, "completion": SECRET, "status": SECRET, "model_name": "m", **tree}
    pushed = {"type": "inference_complete", "metadata": told, "output_summary": SECRET, "input_summary": SECRET}
    assert SECRET not in json.dumps(shown(stored(pushed)))
    pushed["metadata"] = {}
    assert shown(stored(pushed))["input_summary"] == "unknown (chat)"


def test_long_text_is_cut() -> None:
    found = shown(stored({"type": "file_read", "output_summary": "x" * 999, "metadata": {"k": "y" * 999}}))
    assert len(found["output_summary"]) == len(found["metadata"]["k"]) == 200


def test_every_type_has_a_tool() -> None:
    assert default_tool("inference_error") == "inference"
    assert default_tool("health_check") == "health"
    assert default_tool("directory_list") == "filesystem"
