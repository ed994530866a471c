"""What is read out of files of other programs: events by their types, tokens once, money exactly, ids that stay."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.importers import samples
from tests.cli.importers.samples import at, written
from towerlog.ambient import SystemClock
from towerlog.cli.importers.delivery import ImportOutcome
from towerlog.cli.importers.events import ImportedEvent, dollars_of, key_of, plain, thread_of
from towerlog.cli.importers.files import events_in, format_of
from towerlog.cli.importers.sources import Source
from towerlog.errors import Malformed
from towerlog.sdk.wire import json_text


def read(path: Path) -> list[ImportedEvent]:
    """All events of a file."""
    source = source_of(path)
    return list(events_in(source, str(format_of(source)), lambda kind: None))


def source_of(path: Path) -> Source:
    """A file, read now."""
    return Source(path, SystemClock().now_ms())


def of_type(events: list[ImportedEvent], kind: str) -> list[dict[str, Any]]:
    """The data of the events of a type."""
    return [event.data for event in events if event.type == kind]


def total(events: list[ImportedEvent]) -> tuple[int, int, int]:
    """Model calls, tokens in, tokens out."""
    outcome = ImportOutcome()
    for event in events:
        outcome.note(event)
    return outcome.model_calls, outcome.input_tokens, outcome.output_tokens


def test_a_session_of_claude_code_counts_a_message_once(tmp_path: Path) -> None:
    events = read(written(tmp_path / "s.jsonl", *samples.claude_code()))
    main, child = key_of("claude-code", samples.SESSION), key_of("claude-code", samples.SESSION, "u7")
    own = [event for event in events if event.run_key == main]
    assert [event.type for event in own] == [
        "run.started", "message.delta", "message.delta", "tool.call", "tool.result", "tool.call", "model.call",
        "tool.result", "message.delta", "model.call", "other", "other", "message.delta", "run.failed",
    ]  # fmt: skip
    start = own[0]
    assert (start.time, start.thread, start.agent) == (at(1), samples.SESSION, "claude-code")
    assert start.data["input"] == "which towers lean?"
    assert start.data["metadata"]["git_branch"] == "main"
    assert [data.get("channel") for data in of_type(own, "message.delta")] == ["thinking", None, None, None]
    first, second = of_type(own, "tool.result")
    assert (first["tool"], first["result"], first["success"]) == ("Grep", "3 files", True)
    assert (second["tool"], second["result"], second["success"]) == ("Task", "no such agent", False)
    once, again = of_type(own, "model.call")
    assert (once["input_tokens"], once["cached_input_tokens"], once["cache_write_tokens"]) == (200, 950, 50)
    assert (once["cache_write_1h_tokens"], "service_tier" in once) == (40, False)
    assert (once["output_tokens"], again["cost_usd"]) == (90, "0.0123456789"), "the last part has the whole usage"
    assert "cost_usd" not in once
    assert own[-1].data == {"error": "API Error"}
    of_child = [event for event in events if event.run_key == child]
    assert of_child[0].data["parent_run_key"] == main
    assert (of_child[0].thread, of_child[0].data["input"]) == (samples.SESSION, "count them")
    assert total(events) == (3, 3600, 270)
    names = [data["name"] for data in of_type(own, "other")]
    assert names == ["system", "user.message"]


def test_a_session_of_codex_counts_what_its_totals_have_risen_by(tmp_path: Path) -> None:
    events = read(written(tmp_path / "rollout.jsonl", *samples.codex()))
    assert [event.type for event in events] == [
        "run.started", "message.delta", "tool.call", "tool.result", "model.call", "message.delta", "model.call",
        "other", "run.completed",
    ]  # fmt: skip
    start = events[0]
    assert (start.time, start.thread, start.data["input"]) == (at(0), samples.CODEX_SESSION, "which towers lean?")
    assert of_type(events, "tool.call")[0]["arguments"] == {"command": ["grep"]}
    [result] = of_type(events, "tool.result")
    assert (result["tool"], result["result"], result["success"]) == ("shell", "3 files", False)
    first, second = of_type(events, "model.call")
    assert first == {
        "model": "gpt-5-codex",
        "provider": "openai",
        "input_tokens": 200,
        "cached_input_tokens": 1000,
        "output_tokens": 50,
        "reasoning_tokens": 40,
    }
    assert (second["input_tokens"], second["cached_input_tokens"], second["output_tokens"]) == (200, 1100, 10)
    assert total(events) == (2, 2500, 100)
    assert events[-1].data == {"result": "Pisa."}


def test_a_trace_of_langfuse_is_in_the_order_of_its_times(tmp_path: Path) -> None:
    path = tmp_path / "page.json"
    path.write_text(json_text.write(samples.langfuse()))
    events = read(path)
    assert [(event.type, event.time) for event in events] == [
        ("run.started", at(1)),
        ("step", at(1)),
        ("step", at(3)),
        ("tool.call", at(4)),
        ("model.call", at(4)),
        ("tool.result", at(5)),
        ("step", at(6)),
        ("run.completed", at(6)),
    ]
    [call] = of_type(events, "model.call")
    assert (call["input_tokens"], call["cached_input_tokens"]) == (200, 1000)
    assert (call["output_tokens"], call["reasoning_tokens"], call["duration_ms"]) == (50, 40, 2000)
    assert call["cost_usd"] == "0.0035"
    [result] = of_type(events, "tool.result")
    assert (result["success"], result["error"], result["tool"]) == (False, "down", "search")
    assert events[0].agent == "towers"
    assert events[0].thread == thread_of("s 1")
    assert events[-1].data == {"result": {"answer": "Pisa"}}


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"input": 1200, "input_cached_tokens": 1000, "output": 90, "total": 1290}, (200, 1000, 90, 1290)),
        ({"input": 200, "input_cached_tokens": 1000, "output": 90, "total": 1290}, (200, 1000, 90, 1290)),
        ({"input": 200, "input_cached_tokens": 1000, "output": 90, "total": 7}, (None, None, None, 7)),
        ({"input": 200, "output": 90}, (200, None, 90, None)),
        ({"input": -1, "output": "90"}, (None, None, None, None)),
    ],
    ids=["inclusive", "beside", "neither", "plain", "nonsense"],
)
def test_tokens_of_langfuse_are_exact_or_unknown(tmp_path: Path, details: Any, expected: Any) -> None:
    one: Any = {"id": "o", "traceId": "t", "type": "GENERATION", "startTime": at(1), "endTime": at(2)}
    one["usageDetails"] = details
    [call] = of_type(read(written(tmp_path / "o.jsonl", one)), "model.call")
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "total_tokens")
    assert tuple(call.get(name) for name in names) == expected


def test_observations_alone_and_in_the_spelling_of_files_are_read(tmp_path: Path) -> None:
    root = {"id": "o1", "trace_id": "t9", "type": "SPAN", "name": "root", "start_time": at(1), "end_time": at(3)}
    inner = {
        "id": "o2", "trace_id": "t9", "type": "GENERATION", "name": "m", "parent_observation_id": "o1",
        "start_time": at(1), "end_time": at(2), "usage_details": {"input": 3, "output": 2, "total": 5},
        "total_cost": 0.1, "level": "ERROR", "status_message": "quota",
    }  # fmt: skip
    events = read(written(tmp_path / "observations.jsonl", inner, {**root, "level": "ERROR"}))
    assert [event.type for event in events] == ["run.started", "step", "model.call", "step", "run.failed"]
    [call] = of_type(events, "model.call")
    assert (call["status"], call["input_tokens"], call["cost_usd"]) == ("error", 3, "0.1")
    assert events[-1].data == {"error": "failed"}


def test_a_trace_of_langsmith_counts_its_models_alone(tmp_path: Path) -> None:
    events = read(written(tmp_path / "runs.jsonl", *reversed(samples.langsmith())))
    assert [(event.type, event.time) for event in events] == [
        ("run.started", "2026-03-01T10:00:01.000"),
        ("tool.call", "2026-03-01T10:00:04.000"),
        ("model.call", "2026-03-01T10:00:04.000"),
        ("tool.result", "2026-03-01T10:00:05.000"),
        ("run.completed", "2026-03-01T10:00:06.000"),
    ]
    [call] = of_type(events, "model.call")
    assert (call["input_tokens"], call["cached_input_tokens"], call["output_tokens"]) == (200, 1000, 50)
    assert (call["reasoning_tokens"], call["cost_usd"], call["model"]) == (40, "0.0035", "gpt-4o")
    assert "parent_span_id" not in call, "the root is the run itself"
    assert (events[0].thread, events[0].agent) == ("th-1", "chain")
    assert events[-1].data == {"result": {"a": "Pisa"}}
    assert total(events) == (1, 1200, 90)


def test_a_model_that_was_called_by_itself_is_a_call_in_a_run(tmp_path: Path) -> None:
    one = {**samples.langsmith()[1], "trace_id": "r-model", "parent_run_id": None, "error": "quota", "child_runs": []}
    path = tmp_path / "runs.json"
    path.write_text(json_text.write({"runs": [one]}))
    assert [event.type for event in read(path)] == ["run.started", "model.call", "run.failed"]


def test_runs_within_runs_are_found(tmp_path: Path) -> None:
    chain, model, tool = samples.langsmith()
    nested = {**chain, "child_runs": [{**model, "child_runs": []}, {**tool, "trace_id": None, "parent_run_id": None}]}
    path = tmp_path / "runs.json"
    path.write_text(json_text.write([nested]))
    assert Counter(event.type for event in read(path)) == Counter(
        ["run.started", "model.call", "tool.call", "tool.result", "run.completed"]
    )


@pytest.mark.parametrize(
    "sample", [samples.claude_code, samples.codex, samples.langsmith], ids=lambda one: one.__name__
)
def test_ids_are_those_of_the_file_and_unique_in_their_run(tmp_path: Path, sample: Any) -> None:
    path = written(tmp_path / "x.jsonl", *sample())
    events = read(path)
    named = [(event.run_key, event.event_id) for event in events]
    assert len(set(named)) == len(named)
    assert [(event.run_key, event.event_id) for event in read(path)] == named


def test_a_file_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="no file of claude-code"):
        format_of(source_of(written(tmp_path / "a.jsonl", {"a": 1}, [2])))
    path = tmp_path / "b.jsonl"
    for text in (b"\x00\x01\n", b"{\n", b"[1,\n2,\n"):
        path.write_bytes(text)
        with pytest.raises(Malformed):
            format_of(source_of(path))
    path.write_bytes(b"")
    assert format_of(source_of(path)) is None


def test_what_no_server_takes_is_made_fit() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    found = plain(
        {"a": deep, "b": json_text.read("1e400"), "c": "x" * 300_000, "d": "\ud800", "e": json_text.read("0.10")}
    )
    assert found["b"] == "1e400"
    assert found["c"].endswith("37856 more characters are not imported")
    assert found["d"] == "\ufffd"
    assert found["e"] == 0.1
    assert "nested deeper" in json_text.write(found["a"])
    assert key_of("a", "ü") != key_of("a", "ö")
    assert thread_of("a/b") != thread_of("a/c")
    long = "0.1000000000000000000001"
    told = (1, "0.5", json_text.read(long), -1, "inf", "x", True)
    assert [dollars_of(one) for one in told] == ["1", "0.5", long, None, None, None, None]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(Malformed, match="no regular file"):
        format_of(source_of(pipe))
