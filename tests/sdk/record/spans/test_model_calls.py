"""A model call from its beginning to its end: one event, and its text before it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.sdk.support.sinks import ListSink
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.run_handles import Run
from towerlog.sdk.record.spans.model_calls import ModelCall

MESSAGES = [{"role": "user", "content": "Oslo?"}]


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def run(sink: ListSink) -> Run:
    return Run(sink, "r1", "writer")


def test_a_call_tells_at_its_end_what_was_known_at_both(run: Run, sink: ListSink) -> None:
    with run.start_model_call("m", messages=MESSAGES, provider="openai") as call:
        call.delta("It ")
        call.response = {"role": "assistant", "content": "It is cold."}
        call.usage = {"prompt_tokens": 12, "completion_tokens": 3}
        call.finish_reason = "stop"
    assert sink.types == ["message.delta", "model.call"]
    delta, told = sink.data
    assert delta == {"content": "It ", "span_id": call.span_id}
    assert 0 <= told.pop("time_to_first_token_ms") <= told.pop("duration_ms")
    assert told == {
        "model": "m",
        "messages": MESSAGES,
        "provider": "openai",
        "response": {"role": "assistant", "content": "It is cold."},
        "finish_reason": "stop",
        "input_tokens": 12,
        "output_tokens": 3,
        "span_id": call.span_id,
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError("gone"), "error"),
        (asyncio.CancelledError(), "client_disconnect"),
        (RunCancelled("no longer needed"), "client_disconnect"),
    ],
    ids=["error", "task cancelled", "run cancelled"],
)
def test_an_exception_ends_the_call_and_goes_on(run: Run, sink: ListSink, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), run.start_model_call("m"):
        raise error
    assert (sink.data[0]["status"], type(error).__name__ in sink.data[0]["error"]) == (status, True)


def test_a_call_is_told_once(run: Run, sink: ListSink) -> None:
    call = run.start_model_call("m")
    call.finish()
    call.finish(OSError("late"))
    call.interrupt()
    assert sink.types == ["model.call"]
    assert "status" not in sink.data[0]


def test_thoughts_are_told_as_such_and_what_is_inside_a_call_knows_it(run: Run, sink: ListSink) -> None:
    with run.step("plan") as step, run.start_model_call("m", agent="thinker") as call:
        call.delta("Cold, I think.", channel="thinking")
        run.message_delta("Aside.")
    _, thought, aside, told, _ = sink.data
    assert thought == {"content": "Cold, I think.", "channel": "thinking", "span_id": call.span_id}
    assert aside["parent_span_id"] == call.span_id
    assert told["parent_span_id"] == step.span_id
    assert [event["agent"] for event in sink.events] == ["writer", "thinker", "writer", "thinker", "writer"]


def test_calls_that_are_open_when_their_run_ends_were_interrupted(run: Run, sink: ListSink) -> None:
    run.start_model_call("m")
    run.tool_call("t").begin()
    done = run.tool_call("done").begin()
    done.finish()
    run.fail("no more")
    assert sink.types[-3:] == ["tool.result", "model.call", "run.failed"]
    result, call = sink.data[-3:-1]
    assert (result["tool"], result["success"], result["interrupted"]) == ("t", False, True)
    assert call["status"] == "client_disconnect"


def test_a_place_that_is_given_counts_and_makes_nobody_a_child(run: Run, sink: ListSink) -> None:
    """As callbacks give it, which do not come in the context of what they tell of."""
    outer = run.step("outer", span_id="s1", parent="s0").begin()
    with run.tool_call("t", tool_call_id="call_1", span_id="s2", parent=outer, agent="other"):
        run.step("mark")
    outer.finish("broken")
    places = [(data.get("span_id"), data.get("parent_span_id")) for data in sink.data]
    assert places == [("s1", "s0"), ("s2", "s1"), (None, None), ("s2", "s1"), ("s1", "s0")]
    assert [data.get("tool_call_id") for data in sink.data] == [None, "call_1", None, "call_1", None]
    assert sink.data[-1]["error"] == "broken"


def answered(run: Run, reader: str, response_id: str | None = "resp_1") -> ModelCall:
    call = run.start_model_call("m")
    call.response_id, call.reader, call.usage = response_id, reader, {"input_tokens": 3, "output_tokens": 1}
    return call


def test_a_response_that_two_readers_tell_at_once_is_told_once(run: Run, sink: ListSink) -> None:
    outer = answered(run, "framework")
    answered(run, "client").finish()
    outer.finish()
    assert [data["response_id"] for data in sink.data] == ["resp_1"]


@pytest.mark.parametrize("readers", [("client", "client"), ("framework", "client")])
def test_a_gateway_that_gives_all_responses_one_id_loses_none(run: Run, sink: ListSink, readers: Any) -> None:
    for reader in readers:
        answered(run, reader).finish()
    together = [answered(run, "client"), answered(run, "client")]
    for call in together:
        call.finish()
    unknown = [answered(run, reader, None) for reader in ("framework", "client")]
    for call in unknown:
        call.finish()
    assert len(sink.data) == 6
