"""What wrapped clients of OpenAI and Anthropic ask and get, with the real clients and a provider of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.integrations.frameworks import VERSIONS, Told, told_by

HERE = Path(__file__).parent
USED = {"input_tokens": 200, "cached_input_tokens": 1000, "output_tokens": 50, "reasoning_tokens": 40}
CLAUDE_USED = {"input_tokens": 200, "cached_input_tokens": 1000, "output_tokens": 90}


@pytest.fixture(scope="module", params=VERSIONS)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with told_by(tmp_path_factory.mktemp("clients"), "openai", HERE / "reports.py", request.param) as found:
        yield found


def calls(told: Told, thread: str) -> list[dict[str, Any]]:
    return [event.data for event in told.events(told.run(thread), "model.call")]


@pytest.mark.parametrize(
    ("thread", "count", "used"),
    [
        ("sync_openai", 6, USED),
        ("raw_openai", 2, USED),
        ("async_openai", 2, USED),
        ("sync_anthropic", 3, CLAUDE_USED),
        ("async_anthropic", 2, CLAUDE_USED),
    ],
)
def test_each_call_tells_its_usage_once_streamed_or_not(told: Told, thread: str, count: int, used: Any) -> None:
    found = [call for call in calls(told, thread) if call["model"] != "embed-1"]
    assert len(found) == count
    assert [{name: call.get(name) for name in used} for call in found] == [used] * count
    assert {call["finish_reason"] for call in found} <= {"stop", "completed", "end_turn"}
    assert {call["provider"] for call in found} == {thread.partition("_")[2]}
    assert "It is cold." in str([call["response"] for call in found])


@pytest.mark.parametrize(
    ("thread", "errors", "used"),
    [
        ("unparsed_openai", ["ValidationError", "ValidationError", "", "LengthFinishReasonError"], USED),
        ("unparsed_anthropic", ["ValidationError"] * 2, CLAUDE_USED),
    ],
)
def test_a_reply_that_does_not_parse_was_paid_for(told: Told, thread: str, errors: list[str], used: Any) -> None:
    found = calls(told, thread)
    assert [call.get("error", "").partition(":")[0] for call in found] == errors
    assert [{name: call.get(name) for name in used} for call in found] == [used] * len(errors)
    assert ["It is cold." in str(call["response"]) for call in found] == [True] * len(errors)


@pytest.mark.parametrize(
    ("thread", "count", "used"),
    [
        ("raw_streams_openai", 4, USED),
        ("raw_streams_async_openai", 2, USED),
        ("raw_anthropic", 3, CLAUDE_USED),
    ],
)
def test_a_raw_reply_is_told_when_it_is_parsed(told: Told, thread: str, count: int, used: Any) -> None:
    found = calls(told, thread)
    assert [call.get("status") for call in found] == [None] * count
    assert [{name: call.get(name) for name in used} for call in found] == [used] * count
    assert ["It is cold." in str(call["response"]) for call in found] == [True] * count


def test_a_raw_reply_that_the_program_reads_itself_has_ended_with_it(told: Told) -> None:
    [call] = calls(told, "unread_raw_openai")
    assert (call.get("status"), "input_tokens" in call) == (None, False)


@pytest.mark.parametrize(("thread", "ended"), [("closed_openai", 1), ("closed_anthropic", 0)])
def test_a_stream_that_the_program_closes_was_left(told: Told, thread: str, ended: int) -> None:
    *left, last = calls(told, thread)
    found = [*left, last][: -ended or None]
    assert {(call["status"], call["error"]) for call in found} == {
        ("client_disconnect", "the program has left the stream")
    }
    assert last.get("status") == (None if ended else "client_disconnect")


def test_embeddings_are_calls_without_their_numbers(told: Told) -> None:
    [call] = [call for call in calls(told, "sync_openai") if call["model"] == "embed-1"]
    assert (call["input_tokens"], "response" in call) == (7, False)


def test_text_and_thoughts_come_as_they_are_streamed(told: Told) -> None:
    for thread, streams in (("async_openai", 1), ("async_anthropic", 1)):
        said = told.events(told.run(thread), "message.delta")
        assert [event.text for event in said if event.text] == ["It ", "is ", "cold."] * streams
        assert [event.members["thinking"] for event in said if not event.text] == ["Norway."] * streams
        assert {event.data["span_id"] for event in said} == {calls(told, thread)[-1]["span_id"]}
        assert calls(told, thread)[-1]["time_to_first_token_ms"] >= 0


def test_a_conversation_is_told_once(told: Told) -> None:
    first, *later = calls(told, "async_openai")
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert [call["messages"] for call in later] == [[]]
    assert later[0]["messages_after"] == {"span_id": first["span_id"], "count": 2}


def test_a_call_that_the_provider_refuses_has_failed(told: Told) -> None:
    [call] = calls(told, "failing")
    assert call["status"] == "error"
    assert call["error"].startswith("BadRequestError")


def test_a_stream_that_is_left_early_was_broken_off(told: Told) -> None:
    [call] = calls(told, "left early")
    assert call["status"] == "client_disconnect"


def test_a_stranger_is_asked_for_nothing_that_the_program_does_not_ask_for(told: Told) -> None:
    [call] = calls(told, "a stranger")
    assert "input_tokens" not in call
    assert call["response"]["content"] == "It is cold."


def test_a_call_outside_of_any_run_is_a_run(told: Told) -> None:
    [run] = [run for run in told.all_runs() if run.agent == "lone asker"]
    assert (run.status, run.total_input_tokens) == ("completed", 1200)
    assert [event.data["input"] for event in told.events(run, "run.started")] == ["Oslo?"]


def test_a_defect_of_the_adapter_never_reaches_the_program(told: Told) -> None:
    assert len(calls(told, "broken adapter")) == 1
