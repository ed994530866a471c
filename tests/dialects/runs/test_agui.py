"""AG-UI: what each event becomes, and that whatever order events have, their stream is one that AG-UI allows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.calls import event
from tests.support.agui import check_order, events_of
from tests.support.factories import run_row
from towerlog.dialects.runs.agui import AGUI, AguiFraming, begin_frame, damaged_frame, end_frame, frame, gap_frame
from towerlog.dialects.runs.model_answers import MAX_SPANS
from towerlog.dialects.views.event_members import text_of
from towerlog.model.agent_share import AgentShare
from towerlog.model.event import DamagedEvent, Event, EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.run import TERMINAL, RunRow, Status
from towerlog.model.usage import Usage

E = EventType
ROW = run_row()
AT = 1_775_124_000_123


def said(type_: EventType, data: Any = None, facts: Facts | None = None, row: RunRow = ROW, **fields: Any) -> list[Any]:
    """The events of AG-UI that an event becomes, without their times."""
    made = frame(event(type_, data, facts or Facts(), **fields), "e", row)
    found = [] if made is None else events_of(made)
    assert {one.pop("timestamp") for one in found} <= {AT}
    return found


def test_a_piece_of_text_belongs_to_its_message() -> None:
    message = f"{ROW.run_id}:agent-2"
    assert said(E.MESSAGE_DELTA, {"content": "looking"}, agent=2) == [
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": message, "delta": "looking"}
    ]
    (named,) = said(E.MESSAGE_DELTA, {"content": "x", "message_id": "m1", "span_id": "s1"})
    assert named["messageId"] == f"{ROW.run_id}:m1"
    (of_span,) = said(E.MESSAGE_DELTA, {"text": "x", "span_id": "s1"})
    assert of_span["messageId"] == f"{ROW.run_id}:s1"
    (unusable,) = said(E.MESSAGE_DELTA, {"text": "x", "message_id": "m" * 201}, agent=2)
    assert unusable["messageId"] == message


ANSWERS = [
    "three towers",
    {"role": "assistant", "content": "three towers", "tool_calls": [{"id": "c1"}]},
    {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "three towers"}],
    },
    {"role": "ai", "type": "ai", "content": "three towers"},
    [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "three towers"}]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
    ],
    {"choices": [{"message": {"role": "assistant", "content": "three towers"}}, {"message": {"content": "or four"}}]},
    {"role": "assistant", "parts": [{"type": "text", "content": "three towers"}]},
]


@pytest.mark.parametrize("response", ANSWERS)
def test_the_answer_of_a_call_is_a_message_in_whichever_form_it_comes(response: Any) -> None:
    found = said(E.MODEL_CALL, {"model": "m", "response": response})
    assert [one["type"].removeprefix("TEXT_MESSAGE_") for one in found] == ["START", "CONTENT", "END", "RAW"]
    assert (found[0]["role"], found[1]["delta"]) == ("assistant", "three towers")


@pytest.mark.parametrize(
    "response",
    [None, "", 7, [], {"role": "user", "content": "x"}, {"content": [{"type": "tool_use", "text": "x"}]}, "x" * 2**20],
)
def test_what_is_no_answer_is_telemetry_alone(response: Any) -> None:
    assert [one["type"] for one in said(E.MODEL_CALL, {"response": response})] == ["RAW"]


def framed(*events: Event) -> list[str]:
    """The texts that a stream of these events, in order, tells."""
    framing = AguiFraming()
    made = [msgspec.structs.replace(one, seq=place + 1) for place, one in enumerate(events)]
    assert all(framing.is_next(one) and framing.frame(one, "e", ROW) for one in made)
    # Whoever comes later gets the same.
    body = b"".join(framing.frame(one, "e", ROW) or b"" for one in made)
    return [one["delta"] for one in events_of(body) if one["type"].startswith("TEXT") and "delta" in one]


def test_an_answer_that_came_in_pieces_is_not_told_again() -> None:
    def piece(**data: Any) -> Event:
        return event(E.MESSAGE_DELTA, {"content": "a", **data}, Facts())

    def answered(**data: Any) -> Event:
        return event(E.MODEL_CALL, {"response": "b", **data}, Facts())

    assert framed(piece(span_id="s"), answered(span_id="s")) == ["a"]
    assert framed(piece(parent_span_id="s"), answered(span_id="s")) == ["a"]
    assert framed(piece(), answered()) == ["a"]
    assert framed(piece(), answered(span_id="s")) == ["a", "b"]
    assert framed(answered(span_id="s"), piece(span_id="t"), answered(span_id="u")) == ["b", "a", "b"]
    thought = event(E.MESSAGE_DELTA, {"content": "hm", "channel": "thinking", "span_id": "s"}, Facts())
    assert framed(thought, answered(span_id="s")) == ["b"]


def test_what_is_remembered_of_a_run_has_a_bound() -> None:
    framing = AguiFraming()
    for seq in range(1, MAX_SPANS + 100):
        made = event(E.MESSAGE_DELTA, {"content": "a", "span_id": f"s{seq}"}, Facts())
        framing.frame(msgspec.structs.replace(made, seq=seq), "e", ROW)
    assert len(framing._told._first) == MAX_SPANS


def test_thinking_is_reasoning() -> None:
    (found,) = said(E.MESSAGE_DELTA, {"content": "hm", "channel": "thinking", "message_id": "m1"})
    assert found == {"type": "REASONING_MESSAGE_CHUNK", "messageId": f"{ROW.run_id}:thoughts-m1", "delta": "hm"}


def test_a_piece_without_text_is_passed_on_and_an_empty_one_says_nothing() -> None:
    assert [one["type"] for one in said(E.MESSAGE_DELTA, {"content": {"parts": []}})] == ["RAW"]
    assert said(E.MESSAGE_DELTA, {"content": ""}) == []


def test_a_long_piece_is_whole() -> None:
    (found,) = said(E.MESSAGE_DELTA, {"content": "é" * 200_000})
    assert found["delta"] == "é" * 200_000


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"arguments": {"q": "a"}}, '{"q": "a"}'),
        ({"input_preview": "ls -l"}, "ls -l"),
        ({}, None),
        ({"args": None}, None),
    ],
    ids=["object", "text", "none", "null"],
)
def test_a_tool_call_is_opened_and_closed_at_once(arguments: Any, text: str | None) -> None:
    found = said(E.TOOL_CALL, arguments, Facts(tool="search", tool_call_id="c1"))
    assert found[0] == {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "search"}
    assert found[-1] == {"type": "TOOL_CALL_END", "toolCallId": "c1"}
    assert [one["delta"] for one in found[1:-1]] == ([] if text is None else [text])


def test_a_result_has_the_id_of_its_call_and_the_reason_of_a_failure() -> None:
    facts = Facts(tool="search", tool_call_id="call-2")
    whole, call_id = f"{ROW.run_id}:3", f"{ROW.run_id}:call-2"
    assert said(E.TOOL_CALL, {}, facts)[0]["toolCallId"] == call_id, "ids of our own are unique in their run alone"
    told = {"type": "TOOL_CALL_RESULT", "messageId": whole, "toolCallId": call_id, "role": "tool"}
    assert said(E.TOOL_RESULT, {"result": {"n": 3}}, facts) == [{**told, "content": '{"n": 3}'}]
    assert said(E.TOOL_RESULT, {"output_preview": "three"}, facts) == [{**told, "content": "three"}]
    assert said(E.TOOL_RESULT, {"error": "no network"}, facts) == [{**told, "content": "no network"}]
    assert said(E.TOOL_RESULT, {}, facts) == [{**told, "content": ""}]


def test_a_step_is_told_of_where_it_ends() -> None:
    assert [one["type"] for one in said(E.STEP, {"name": "plan"}, Facts(begins="plan"))] == ["RAW"]
    both = [{"type": "STEP_STARTED", "stepName": "plan"}, {"type": "STEP_FINISHED", "stepName": "plan"}]
    assert said(E.STEP, {"name": "plan", "span_id": "s"}, Facts(ends="s")) == both
    assert said(E.STEP, {"node_name": "plan"}) == both


def test_what_people_and_agents_say_to_each_other_are_messages() -> None:
    def spoken(found: list[Any]) -> tuple[str, str, str]:
        start, content, end, custom = found
        assert (start["type"], end["type"], custom["type"]) == ("TEXT_MESSAGE_START", "TEXT_MESSAGE_END", "CUSTOM")
        return start["role"], content["delta"], custom["name"]

    assert spoken(said(E.RUN_QUEUED, {"input": "count"})) == ("user", "count", "run.queued")
    assert spoken(said(E.RUN_STARTED, {"input": {"n": 1}})) == ("user", '{"n": 1}', "run.started")
    asked = said(E.RUN_WAITING, {"question": "go?"}, Facts(question="go?"))
    assert spoken(asked) == ("assistant", "go?", "run.waiting_for_input")
    assert asked[-1]["value"]["question_id"] == 3
    assert spoken(said(E.RUN_INPUT, {"content": "yes"})) == ("user", "yes", "run.input")
    assert spoken(said(E.RUN_MESSAGE, {"content": "hurry"})) == ("user", "hurry", "run.message")


def test_what_has_no_word_there_is_passed_on_as_the_stream_of_runs_has_it() -> None:
    (found,) = said(E.MODEL_CALL, {"model": "m"}, Facts(effects=Effects(model="m")))
    assert (found["type"], found["source"]) == ("RAW", "towerlog")
    assert found["event"]["type"] == "model.call"
    assert found["event"]["data"] == {"model": "m"}
    (late,) = said(E.RUN_COMPLETED, {}, row=run_row(ended_seq=2))
    assert (late["type"], late["name"]) == ("CUSTOM", "run.completed"), "a second end ends nothing"


def the_end(status: Status, end: Event | None = None, **fields: Any) -> Any:
    """The last event of a run that ended so."""
    (found,) = events_of(end_frame(run_row(status=status, ended_seq=3, ended_at=AT, **fields), end))
    assert found.pop("timestamp") == AT
    return found


def test_an_end_is_finished_cancelled_or_an_error() -> None:
    of_run = {"type": "RUN_FINISHED", "threadId": ROW.thread_id, "runId": ROW.run_id}
    done = event(E.RUN_COMPLETED, {"result": {"answer": 42}})
    assert the_end(Status.COMPLETED, done) == {**of_run, "result": {"answer": 42}}
    assert the_end(Status.COMPLETED, event(E.RUN_COMPLETED, {"output": "x"})) == {**of_run, "result": "x"}
    assert the_end(Status.COMPLETED) == of_run
    assert the_end(Status.CANCELLED) == {**of_run, "outcome": {"type": "cancelled"}}
    assert the_end(Status.FAILED, error="broke") == {"type": "RUN_ERROR", "message": "broke", "code": "failed"}
    for status in TERMINAL - {Status.COMPLETED, Status.CANCELLED}:
        assert the_end(status)["code"] == status.value
        assert the_end(status)["message"]


def test_usage_is_totals_and_their_parts_with_the_model_where_it_is_one() -> None:
    used = Usage(input_tokens=200, cached_input_tokens=1000, output_tokens=50, reasoning_tokens=40, total_tokens=1300)
    (found,) = the_end(Status.COMPLETED, usage=used, model="m", shares={"a": AgentShare(model="m")})["usage"]
    assert found == {
        "model": "m",
        "inputTokens": 1200,
        "outputTokens": 90,
        "totalTokens": 1290,
        "cachedInputTokens": 1000,
        "reasoningTokens": 40,
    }
    for share in (AgentShare(model="n"), AgentShare(model="m", several_models=True)):
        (found,) = the_end(Status.COMPLETED, usage=used, model="m", shares={"a": share})["usage"]
        assert "model" not in found
    assert "usage" not in the_end(Status.COMPLETED, usage=Usage(cost_nanos=5)), "what is unknown is not told"


def test_a_stream_begins_with_its_run() -> None:
    (found,) = events_of(begin_frame(run_row(parent_key="run:p1")))
    assert (found["runId"], found["threadId"], found["parentRunId"]) == (ROW.run_id, ROW.thread_id, "p1")
    (found,) = events_of(begin_frame(run_row(parent_key="trace:p1")))
    assert "parentRunId" not in found


def test_a_gap_is_told_in_the_form_of_an_event() -> None:
    (found,) = events_of(gap_frame(2, 6))
    assert (found["name"], found["value"]["missing"]) == ("towerlog.gap", 3)
    (found,) = events_of(damaged_frame(DamagedEvent(1, 4, 1, 9, 7, "torn"), None))
    assert (found["value"]["first_seq"], found["value"]["seq"]) == (7, 9)


TEXTS = st.sampled_from(["", "a", "call-1", "ü\u2028", "x" * 300])
FACTS = st.builds(
    Facts, name=TEXTS, tool=TEXTS, tool_call_id=TEXTS, begins=st.none() | TEXTS, ends=st.none() | TEXTS, question=TEXTS
)
VALUES = TEXTS | st.none() | st.booleans() | st.integers(0, 9) | st.just({"a": [1]})
MEMBERS = [
    "content", "text", "message_id", "span_id", "channel", "input", "question", "arguments", "result", "error", "name",
    "response",
]  # fmt: skip
EVENTS = st.builds(
    event, st.sampled_from(EventType), st.dictionaries(st.sampled_from(MEMBERS), VALUES), FACTS, agent=st.integers(0, 2)
)


@given(st.lists(EVENTS, min_size=1, max_size=30), st.sampled_from(sorted(TERMINAL)))
def test_whatever_is_reported_in_whatever_order_is_a_stream_that_ag_ui_allows(events: Any, status: Status) -> None:
    row = run_row(status=status, ended_seq=len(events))
    logged = [msgspec.structs.replace(one, seq=place + 1) for place, one in enumerate(events)]
    body = begin_frame(row) + b"".join(AGUI.frame(one, "e", row) or b"" for one in logged)
    found = events_of(body + end_frame(row, logged[-1]))
    check_order(found)
    assert all(one["timestamp"] for one in found)
    texts = [text_of(one.data) or "" for one in logged[:-1] if one.type is E.MESSAGE_DELTA]
    assert "".join(one["delta"] for one in found if one["type"].endswith("_CHUNK")) == "".join(texts)
