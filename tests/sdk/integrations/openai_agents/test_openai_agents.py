"""What the runner of the OpenAI Agents SDK does, with its own model of OpenAI's responses, as runs of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.integrations.frameworks import VERSIONS, Told, told_by
from towerlog.sdk.api.shapes import RunInfo

HERE = Path(__file__).parent
USED = {"input_tokens": 200, "cached_input_tokens": 1000, "output_tokens": 50, "reasoning_tokens": 40}


@pytest.fixture(scope="module", params=VERSIONS)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("agents")
    env = {"OPENAI_AGENTS_DISABLE_TRACING": "0"}
    with told_by(folder, "openai", HERE / "reports.py", request.param, **env) as found:
        yield found


def datas(told: Told, run: RunInfo, *types: str) -> list[dict[str, Any]]:
    return [event.data for event in told.events(run, *types)]


def types(told: Told, run: RunInfo) -> list[str]:
    return [event.type for event in told.events(run)]


def test_a_run_of_the_runner_is_a_run(told: Told) -> None:
    run = told.run("sync")
    assert (run.agent, run.status, run.model) == ("forecaster", "completed", "gpt-offline")
    assert types(told, run) == ["run.started", "message.delta", "model.call", "run.completed"]
    [started], [ended] = datas(told, run, "run.started"), datas(told, run, "run.completed")
    assert (started["input"], ended["result"]) == ("Oslo?", "Cold.")


def test_a_model_call_tells_its_usage_once(told: Told) -> None:
    run = told.run("sync")
    [call] = datas(told, run, "model.call")
    assert {name: call[name] for name in USED} == USED
    assert [message["role"] for message in call["messages"]] == ["system", "user"]
    assert call["provider"] == "openai"
    assert "Cold." in str(call["response"])
    assert (run.total_input_tokens, run.total_output_tokens) == (1200, 90)


def test_a_tool_has_the_models_own_id_and_its_failure_is_one(told: Told) -> None:
    run = told.run("tools")
    called, ended = datas(told, run, "tool.call"), datas(told, run, "tool.result")
    assert [(data["tool"], data["tool_call_id"], data["arguments"]) for data in called] == [
        ("weather", "call_weather_0", {"city": "Oslo"}),
        ("weather", "call_weather_1", {"city": "Atlantis"}),
    ]
    assert [(data["tool_call_id"], data["success"]) for data in ended] == [
        ("call_weather_0", True),
        ("call_weather_1", False),
    ]
    assert ended[0]["result"] == "cold in Oslo"
    assert "An error occurred while running the tool" in ended[1]["error"]
    assert "looked" in [data["name"] for data in datas(told, run, "step")], "a tool knows its run"


def test_text_comes_as_it_is_streamed(told: Told) -> None:
    run = told.run("streamed")
    assert [data["content"] for data in datas(told, run, "message.delta")] == ["It ", "is ", "cold."]
    assert (run.status, len(datas(told, run, "model.call"))) == ("completed", 1)


def test_a_handoff_changes_the_agent_of_what_follows(told: Told) -> None:
    [run] = told.runs("handoff")
    assert (run.agent, run.status) == ("planner", "completed")
    planner, writer = told.agents(run, "model")
    assert planner != writer
    assert [data["payload"] for data in datas(told, run, "step")] == [{"from": "planner", "to": "writer"}]


def test_an_agent_that_is_a_tool_is_a_child(told: Told) -> None:
    outer, inner = told.runs("agent_as_tool")
    assert (outer.agent, inner.agent, inner.parent_run_id) == ("editor", "observer", outer.run_id)
    assert [data["tool"] for data in datas(told, outer, "tool.call")] == ["look"]
    assert len(datas(told, outer, "model.call")) == 2
    assert len(datas(told, inner, "model.call")) == 1


@pytest.mark.parametrize("thread", ["approved", "denied"])
def test_a_call_that_needs_approval_is_a_question_of_the_run_which_goes_on(told: Told, thread: str) -> None:
    [run] = told.runs(thread)
    assert run.status == "completed"
    [asked] = datas(told, run, "run.waiting_for_input")
    assert asked["question"] == 'Approve publish(text="cold")? Answer yes, or say why not.'
    found = types(told, run)
    assert found.index("run.waiting_for_input") < found.index("run.input") < found.index("run.completed")
    assert len(datas(told, run, "tool.call")) == (thread == "approved")


def test_what_the_program_decides_is_withdrawn(told: Told) -> None:
    [run] = told.runs("decided_here")
    assert run.status == "completed"
    assert [data["reason"] for data in datas(told, run, "run.question_withdrawn")] == ["the program has decided"]


@pytest.mark.parametrize("thread", ["written_here", "written_elsewhere"])
def test_a_run_goes_on_with_a_state_that_was_written_down(told: Told, thread: str) -> None:
    [run] = told.runs(thread)
    assert (run.agent, run.status, run.total_input_tokens) == ("press", "completed", 3600)
    asked, withdrawn = datas(told, run, "run.waiting_for_input"), datas(told, run, "run.question_withdrawn")
    assert [data["question_key"] for data in asked] == [data["question_key"] for data in withdrawn]
    assert len(asked) == 2
    assert len(datas(told, run, "tool.result")) == 2
    assert datas(told, run, "run.completed")[0]["result"] == "Done."


def taken(told: Told, run: RunInfo) -> list[bool]:
    """Of each answer to the run, in order of the answers, whether it was used; the end of a run settles the rest."""
    given = [event.seq for event in told.events(run, "run.input")]
    said = {data["command_id"]: data.get("taken", True) for data in datas(told, run, "command.acknowledged")}
    return [said.get(number, True) for number in given]


@pytest.mark.parametrize("thread", ["answered_meanwhile", "decided_and_written"])
def test_answers_that_came_while_no_process_waited_are_used_by_the_next(told: Told, thread: str) -> None:
    [run] = told.runs(thread)
    assert run.status == "completed"
    assert taken(told, run) == [True, True]
    assert len({data["question_key"] for data in datas(told, run, "run.waiting_for_input")}) == 2
    assert [data["tool"] for data in datas(told, run, "tool.call")] == ["publish"]
    assert not datas(told, run, "run.question_withdrawn")


def test_an_answer_is_used_where_the_program_decides_on_another_call(told: Told) -> None:
    [run] = told.runs("half_answered_meanwhile")
    assert (run.status, taken(told, run)) == ("completed", [True])
    assert [data["tool"] for data in datas(told, run, "tool.call")] == ["publish"]
    assert [data["reason"] for data in datas(told, run, "run.question_withdrawn")] == ["the program has decided"]


def test_an_answer_to_one_call_is_none_to_the_same_call_of_a_later_turn(told: Told) -> None:
    [run] = told.runs("overruled")
    assert (run.status, taken(told, run)) == ("completed", [False, True])
    first, second = datas(told, run, "run.waiting_for_input")
    assert first["question"] == second["question"]
    assert first["question_key"] != second["question_key"]
    assert not datas(told, run, "tool.call")


def test_of_more_calls_than_a_server_keeps_answers_of_all_are_asked_and_decided_once(told: Told) -> None:
    [run] = told.runs("many")
    asked = [data["question_key"] for data in datas(told, run, "run.waiting_for_input")]
    assert (run.status, len(asked), len({*asked})) == ("completed", 40, 40)
    assert len(datas(told, run, "run.input")) == 40
    assert len({data["tool"] for data in datas(told, run, "tool.call")}) == 40
    acknowledged = datas(told, run, "command.acknowledged")
    assert len(acknowledged) == 40
    assert not [data for data in acknowledged if data.get("taken") is False]


def test_usage_that_nobody_has_told_is_unknown(told: Told) -> None:
    run = told.run("unknown_usage")
    [call] = datas(told, run, "model.call")
    assert not [name for name in call if name.endswith("_tokens")]
    assert (run.total_input_tokens, run.total_output_tokens) == (None, None)


def test_what_the_runner_raises_fails_the_run(told: Told) -> None:
    run = told.run("failed")
    assert run.status == "failed"
    assert str(run.error).startswith("MaxTurnsExceeded")


def test_a_cancel_stops_the_runner_before_the_next_model_call(told: Told) -> None:
    run = told.run("cancelled")
    assert (run.status, run.cancel.reason) == ("cancelled", "never mind")
    assert len(datas(told, run, "model.call")) == 1


def test_a_defect_of_the_adapter_never_reaches_the_program(told: Told) -> None:
    assert told.run("broken_adapter").status == "completed"


def test_a_call_has_the_terms_on_which_it_was_served(told: Told) -> None:
    [data] = [event.data for event in told.events(told.run("served_flexibly"), "model.call")]
    assert data["service_tier"] == "flex"


@pytest.mark.parametrize("thread", ["chatted", "chatted_streamed"])
def test_a_call_of_chat_completions_has_what_the_provider_says_of_its_price(told: Told, thread: str) -> None:
    [data] = [event.data for event in told.events(told.run(thread), "model.call")]
    assert (data["service_tier"], data["cost_usd"], data["input_audio_tokens"]) == ("flex", 0.5, 7)
    assert (data["input_tokens"], data["output_tokens"], data["reasoning_tokens"]) == (1200, 50, 40)


def test_a_call_that_a_client_tells_as_well_is_told_once(told: Told) -> None:
    run = told.run("told_by_both")
    assert (run.status, run.usage.total_tokens) == ("completed", 1290)
    assert len(told.events(run, "model.call")) == 1


@pytest.mark.parametrize("thread", ["failed_response", "incomplete_response", "failed_stream"])
def test_a_call_that_fails_has_failed_with_its_usage(told: Told, thread: str) -> None:
    run = told.run(thread)
    [data] = [event.data for event in told.events(run, "model.call")]
    assert (run.status, data["status"], run.usage.total_tokens) == ("failed", "error", 1290)
    assert "response" in data["error"]


def test_a_response_that_has_failed_is_a_failed_call_of_a_client(told: Told) -> None:
    [data] = [event.data for event in told.events(told.run("read_by_a_client"), "model.call")]
    assert (data["status"], data["error"], data["output_tokens"]) == ("error", "boom", 50)


def test_each_way_of_the_runner_counts_each_call_once_in_its_run(told: Told) -> None:
    for way, client, kind in product(["run", "run_sync", "run_streamed"], ["plain", "wrapped"], ["flat", "nested"]):
        check_calls(told, way, client, kind)


def check_calls(told: Told, way: str, client: str, kind: str) -> None:
    outer, *inner = told.runs(f"{way}_{client}_{kind}")
    assert [(one.agent, one.parent_run_id) for one in inner] == ([("deep", outer.run_id)] if kind == "nested" else [])
    for run in (outer, *inner):
        assert run.status == "completed"
        calls = len(datas(told, run, "model.call"))
        assert run.total_input_tokens == 1200 * calls
    assert len(datas(told, outer, "model.call")) == (2 if kind == "nested" else 1)
    assert [data["name"] for data in datas(told, outer, "step")] == (["inside"] if kind == "nested" else [])


def test_no_call_is_a_run_of_its_own(told: Told) -> None:
    assert not [run for run in told.all_runs() if run.agent == "openai"]


@pytest.mark.parametrize(
    ("thread", "agents", "published"),
    [
        ("inner_yes", ["editor", "observer"], True),
        ("inner_no", ["editor", "observer"], False),
        ("deep_yes", ["chief", "editor", "observer"], True),
        ("inner_elsewhere", ["editor", "observer"], True),
    ],
)
def test_a_call_of_an_agent_that_is_a_tool_is_asked_about_once(
    told: Told, thread: str, agents: list[str], published: bool
) -> None:
    runs = told.runs(thread)
    assert [(run.agent, run.status) for run in runs] == [(name, "completed") for name in agents]
    assert [run.parent_run_id for run in runs] == [None, *(run.run_id for run in runs[:-1])]
    keys = [{data["question_key"] for data in datas(told, run, "run.waiting_for_input")} for run in runs]
    assert [len(some) for some in keys] == [1, *[0] * (len(runs) - 1)]
    assert not [one for run in runs for one in datas(told, run, "run.question_withdrawn")]
    assert taken(told, runs[0]) == [True]
    assert len(datas(told, runs[-1], "tool.result")) == published


def test_an_inner_agent_that_asks_again_is_asked_for_by_the_outer_run(told: Told) -> None:
    outer, inner = told.runs("inner_twice")
    assert (outer.status, inner.status, inner.agent) == ("completed", "completed", "press")
    assert [len(datas(told, run, "run.waiting_for_input")) for run in (outer, inner)] == [2, 0]
    assert [len(datas(told, run, "tool.result")) for run in (outer, inner)][1] == 2
    assert taken(told, outer) == [True, True]


def test_a_cancel_ends_a_run_that_waits_for_people_and_those_inside_it(told: Told) -> None:
    for run in told.runs("inner_cancelled"):
        assert (run.status, run.forced) == ("cancelled", False)


@pytest.mark.parametrize("thread", ["stream_cancelled", "stream_unread"])
def test_a_stream_that_the_program_cancels_is_a_cancelled_run(told: Told, thread: str) -> None:
    assert told.run(thread).status == "cancelled"


def test_who_leaves_a_stream_has_its_call_once(told: Told) -> None:
    run = told.run("stream_left")
    assert (run.status, len(datas(told, run, "model.call"))) == ("completed", 1)
