"""What chains and graphs do, with LangChain's own offline models, as runs of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.integrations.frameworks import VERSIONS, Told, told_by
from towerlog.sdk.api.shapes import RunInfo

HERE = Path(__file__).parent
USED = {"input_tokens": 200, "cached_input_tokens": 1000, "output_tokens": 50, "reasoning_tokens": 40}


@pytest.fixture(scope="module", params=VERSIONS)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("langchain")
    with told_by(folder, "langchain", HERE / "reports.py", request.param) as found:
        yield found


def datas(told: Told, run: RunInfo, *types: str) -> list[dict[str, Any]]:
    return [event.data for event in told.events(run, *types)]


def types(told: Told, run: RunInfo) -> list[str]:
    return [event.type for event in told.events(run)]


def test_a_chain_is_a_run_without_its_plumbing(told: Told) -> None:
    run = told.run("chain")
    assert (run.agent, run.status, run.model) == ("forecast", "completed", "offline-1")
    assert types(told, run)[0] == "run.started"
    assert types(told, run)[-2:] == ["model.call", "run.completed"]
    assert set(types(told, run)[1:-2]) == {"message.delta"}
    assert "".join(data["content"] for data in datas(told, run, "message.delta")) == "It is cold."
    [started] = datas(told, run, "run.started")
    [ended] = datas(told, run, "run.completed")
    assert (started["input"], ended["result"]) == ({"city": "Oslo"}, "It is cold.")


def test_a_model_call_tells_its_usage_once_and_all_that_was_said(told: Told) -> None:
    run = told.run("chain")
    [call] = datas(told, run, "model.call")
    assert {name: call[name] for name in USED} == USED
    assert (call["model"], call["finish_reason"]) == ("offline-1", "stop")
    assert [message["role"] for message in call["messages"]] == ["system", "user"]
    assert call["response"]["content"] == "It is cold."
    assert (run.total_input_tokens, run.total_output_tokens) == (1200, 90)


def test_what_is_streamed_names_its_call(told: Told) -> None:
    """The library's offline model drops its usage when it streams."""
    run = told.run("streamed")
    [call] = datas(told, run, "model.call")
    assert call["response"]["content"] == "It is cold."
    assert 0 <= call["time_to_first_token_ms"] <= call["duration_ms"]
    assert {data["span_id"] for data in datas(told, run, "message.delta")} == {call["span_id"]}
    assert "input" not in datas(told, run, "run.started")[0], "what a stream is given comes later than its beginning"


def test_a_tool_has_the_models_own_id_and_fails_by_itself(told: Told) -> None:
    run = told.run("tools")
    assert (run.agent, run.status) == ("forecaster", "completed")
    called = {data["tool_call_id"]: data for data in datas(told, run, "tool.call")}
    ended = {data["tool_call_id"]: data for data in datas(told, run, "tool.result")}
    assert called["call_Oslo"]["arguments"] == {"city": "Oslo"}
    assert (ended["call_Oslo"]["success"], ended["call_Oslo"]["result"]) == (True, "cold in Oslo")
    assert ended["call_Atlantis"]["success"] is False
    assert "no such city" in ended["call_Atlantis"]["error"]
    steps = [data["name"] for data in datas(told, run, "step") if data["phase"] == "start"]
    assert (steps[0], steps[-1], set(steps)) == ("model", "model", {"model", "tools"})
    by_id = {data["span_id"]: data["name"] for data in datas(told, run, "step")}
    assert {by_id[data["parent_span_id"]] for data in called.values()} == {"tools"}
    assert {by_id[data["parent_span_id"]] for data in datas(told, run, "model.call")} == {"model"}


def test_a_conversation_is_told_once_and_not_with_each_call(told: Told) -> None:
    first, second = datas(told, told.run("tools"), "model.call")
    assert [message["role"] for message in first["messages"]] == ["user"]
    assert [message["role"] for message in second["messages"]] == ["assistant", "tool", "tool"]
    assert second["messages_after"] == {"span_id": first["span_id"], "count": 1}


def test_a_graph_in_a_node_of_another_is_its_child(told: Told) -> None:
    outer, inner = told.runs("subgraph")
    assert (outer.agent, inner.agent, inner.parent_run_id) == ("editor", "observer", outer.run_id)
    assert (outer.status, inner.status) == ("completed", "completed")
    names = [[data["name"] for data in datas(told, run, "step") if data["phase"] == "start"] for run in (outer, inner)]
    assert names == [["ask", "write"], ["look"]]
    assert "model.call" not in types(told, outer)
    assert types(told, inner).count("model.call") == 1


def test_inherited_callbacks_tell_nothing_twice(told: Told) -> None:
    [run] = told.runs("inherited")
    assert types(told, run).count("model.call") == 1
    assert "".join(data["content"] for data in datas(told, run, "message.delta")) == "It is cold."
    assert run.total_input_tokens == 1200


@pytest.mark.parametrize(("thread", "answer"), [("asked", "yes"), ("asked_async", "no")])
def test_an_interrupt_is_a_question_of_the_run_which_goes_on(told: Told, thread: str, answer: str) -> None:
    [run] = told.runs(thread)
    assert (run.agent, run.status) == ("publisher", "completed")
    found = types(told, run)
    assert found.count("run.started") == 1
    assert found.index("run.waiting_for_input") < found.index("run.input") < found.index("run.completed")
    assert [data["question"] for data in datas(told, run, "run.waiting_for_input")] == ["Publish?"]
    [ended] = datas(told, run, "run.completed")
    assert ended["result"]["note"] == f"said {answer}"
    errors = [data.get("error") for data in datas(told, run, "step")]
    assert errors == [None] * len(errors), "an interrupt is no error"


def test_a_hand_over_to_the_graph_around_is_no_failure(told: Told) -> None:
    outer, inner = told.runs("handed_over")
    assert [(run.agent, run.status, run.error) for run in (outer, inner)] == [
        ("swarm", "completed", None),
        ("first", "completed", None),
    ]
    for run in (outer, inner):
        errors = [data.get("error") for data in datas(told, run, "step", "tool.result")]
        assert errors == [None] * len(errors)


def test_usage_that_each_piece_repeats_counts_once(told: Told) -> None:
    run = told.run("repeated_usage")
    assert (run.total_input_tokens, run.total_output_tokens) == (100, 3)


def test_a_reply_that_does_not_parse_was_paid_for(told: Told) -> None:
    found = [call for run in told.runs("unparsed") for call in datas(told, run, "model.call")]
    assert [call["status"] for call in found] == ["error"] * 3
    assert [{name: call.get(name) for name in USED} for call in found[:2]] == [USED] * 2
    assert [(call["model"], call["service_tier"], call["response"]["content"]) for call in found[:2]] == [
        ("offline-2", "flex", "It is")
    ] * 2
    assert "input_tokens" not in found[2]


def test_what_the_provider_alone_tells_counts(told: Told) -> None:
    found = [call for run in told.runs("told_by_the_provider") for call in datas(told, run, "model.call")]
    assert [(call["model"], call["output_tokens"], call.get("cost_usd")) for call in found] == [
        ("offline-1", 50, 0.5),
        ("offline-1", 50, None),
        ("adviser", 5, None),
    ]


def test_an_answer_that_the_library_had_kept_has_used_nothing(told: Told) -> None:
    asked, kept = told.runs("kept_answer")
    assert (asked.usage.total_tokens, kept.usage.total_tokens, kept.total_cost_usd) == (1290, 0, 0)


def test_a_question_that_the_program_answers_is_withdrawn(told: Told) -> None:
    [run] = told.runs("answered_here")
    assert run.status == "completed"
    [withdrawn] = datas(told, run, "run.question_withdrawn")
    assert withdrawn["reason"] == "the program has answered it"


def test_a_thread_that_begins_anew_ends_what_has_waited_in_it(told: Told) -> None:
    first, second = told.runs("abandoned")
    assert first.status == "cancelled"
    assert second.status == "waiting_for_input", "the program has ended, and its question stays"


def test_a_graph_that_waits_inside_another_goes_on_as_the_run_that_it_was(told: Told) -> None:
    outer, inner = told.runs("approved_inside")
    assert (outer.agent, inner.agent) == ("editor", "press")
    assert (outer.status, inner.status) == ("completed", "completed")
    assert "run.waiting_for_input" in types(told, outer)
    results = datas(told, inner, "tool.result")
    assert [(data["tool_call_id"], data["success"], data.get("interrupted")) for data in results] == [
        ("call_1", False, True),
        ("call_1", True, None),
    ]


def test_a_cancel_stops_a_graph_before_its_next_node(told: Told) -> None:
    run = told.run("cancelled")
    assert (run.status, run.cancel.reason) == ("cancelled", "never mind")
    assert {data["name"] for data in datas(told, run, "step")} == {"first", "mark"}


def test_each_input_of_a_batch_is_a_run_by_itself(told: Told) -> None:
    seen = {}
    for name in ("a", "b", "c"):
        [run] = told.runs(f"batched-{name}")
        steps = [data["name"] for data in datas(told, run, "step") if data["name"] != "mark"]
        seen[name] = run.parent_run_id, run.status, steps
        assert (run.cancel is None) is (name != "a"), "a cancel of one is not that of another"
    statuses = {"a": "cancelled", "b": "completed", "c": "completed"}
    assert seen == {name: (None, statuses[name], [f"work on batched-{name}"]) for name in seen}


def test_a_batch_inside_a_run_is_of_that_run(told: Told) -> None:
    caller, *inputs = sorted(told.runs("batched-inside"), key=lambda run: run.parent_run_id is not None)
    assert [run.parent_run_id for run in inputs] == [caller.run_id] * 2


def test_what_breaks_a_graph_fails_its_run(told: Told) -> None:
    run = told.run("failed")
    assert (run.status, run.error) == ("failed", "ZeroDivisionError: division by zero")
    assert datas(told, run, "step")[-1]["error"] == "ZeroDivisionError: division by zero"


def test_a_retriever_is_a_tool(told: Told) -> None:
    run = told.run("retrieved")
    [call] = datas(told, run, "tool.call")
    [result] = datas(told, run, "tool.result")
    assert (call["tool"], call["arguments"], result["result"]) == ("Shelf", {"query": "Oslo"}, ["about Oslo"])


def test_thoughts_are_no_part_of_the_answer(told: Told) -> None:
    run = told.run("thoughtful")
    said = [(event.text, event.members.get("thinking")) for event in told.events(run, "message.delta")]
    assert "".join(text for text, _ in said if text) == "Cold."
    assert [data["result"] for data in datas(told, run, "run.completed")] == ["Cold."]


def test_a_chain_inside_a_run_is_its_child(told: Told) -> None:
    outer, inner = told.runs("inside_a_run")
    assert (outer.agent, inner.parent_run_id) == ("outer", outer.run_id)


def test_a_defect_of_the_adapter_never_reaches_the_program(told: Told) -> None:
    """Its call is told as interrupted, since nothing has told its end."""
    assert told.run("broken_adapter").status in ("completed", "running")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The program itself looks at what becomes of a run that is lost."""
    with told_by(tmp_path_factory.mktemp("served"), "langchain", HERE / "serves.py") as found:
        yield found


def test_a_thread_of_a_served_graph_is_a_conversation(served: Told) -> None:
    first, second = served.runs("talker")
    assert (first.status, second.status) == ("completed", "completed")
    [call] = datas(served, second, "model.call")
    assert [message["content"] for message in call["messages"]] == ["Oslo?", "Cold.", "And now?"]
    assert [data["result"] for data in datas(served, second, "run.completed")] == ["Still cold."]


def test_an_interrupt_of_a_served_graph_is_a_question(served: Told) -> None:
    [run] = served.runs("publisher")
    [ended] = datas(served, run, "run.completed")
    assert ended["result"] == {"city": "Oslo", "note": "Oslo: yes"}
    assert types(served, run).count("checkpoint") > 1


def test_a_chain_is_served_as_well(served: Told) -> None:
    [run] = served.runs("shouter")
    assert [data["result"] for data in datas(served, run, "run.completed")] == ["OSLO"]
