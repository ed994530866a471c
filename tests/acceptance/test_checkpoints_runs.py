"""What each runner event does to its run, as the other dialects see it: status, totals, order, descent."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.support.readback import ReadBack
from tests.support.senders import checkpoint, runner_event, save_batch


def totals(row: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Input tokens, output tokens and dollars of a row."""
    return row["total_input_tokens"], row["total_output_tokens"], row["total_cost_usd"]


def usage(inputs: int, outputs: int, cost_usd: float) -> dict[str, Any]:
    """The figures of a checkpoint."""
    return {
        "tokens_used": inputs + outputs,
        "input_tokens": inputs,
        "output_tokens": outputs,
        "run_cost_usd": cost_usd,
    }


def test_thread_started_begins_a_run(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace, agent = unique("thread"), unique("trace"), unique("agent")
    save_batch(client, runner_event("thread_started", thread, trace, agent_id=agent, model="claude-sonnet-4-6"))
    row = back.run(thread)
    assert (row["thread_id"], row["status"], row["model"]) == (thread, "running", "claude-sonnet-4-6")
    assert totals(row) == (None, None, None), "what is unknown is null, never 0"
    assert (row["completed_at"], row["failed_at"]) == (None, None)
    assert back.detail(row["run_id"])["trace_id"] == trace
    assert back.types(thread) == ["run.started"]
    assert back.runs(agent=agent) == [row]
    assert back.agent_id(agent)
    assert client.get(f"/v1/threads/{thread}").json()["thread_id"] == thread


def test_a_checkpoint_alone_makes_its_run(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, checkpoint(thread, trace, 3, model="claude-sonnet-4-6", **usage(310, 110, 0.002310)))
    row = back.run(thread)
    assert (row["status"], row["model"]) == ("running", "claude-sonnet-4-6")
    assert totals(row) == (310, 110, 0.00231)
    assert back.types(thread) == ["checkpoint"]


def test_a_start_that_was_overtaken_fills_in_what_was_missing(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace, agent = unique("thread"), unique("trace"), unique("agent")
    save_batch(client, runner_event("workflow_step", thread, trace))
    assert (back.run(thread)["status"], back.run(thread)["model"]) == ("running", None)
    save_batch(client, runner_event("thread_started", thread, trace, agent_id=agent, model="m-1"))
    assert (back.run(thread)["status"], back.run(thread)["model"]) == ("running", "m-1")
    assert back.types(thread) == ["other", "run.started"]
    assert len(back.runs(agent=agent)) == 1


def test_an_end_that_comes_first_makes_an_ended_run(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    save_batch(client, runner_event("thread_completed", thread, "t", tokens_used=1))
    assert back.status(thread) == "completed"
    assert back.types(thread) == ["run.completed"]


def test_the_result_is_what_the_model_said_last_and_never_the_record_of_the_wire(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    asked = {"role": "user", "content": "Cold?"}
    save_batch(client, checkpoint(thread, trace, 1, history=[asked, {"role": "assistant", "content": "Let me see."}]))
    answered = [asked, {"role": "assistant", "content": [{"type": "text", "text": "It is cold."}]}]
    save_batch(client, checkpoint(thread, trace, 2, history=answered))
    assert back.detail(back.run(thread)["run_id"])["result"] is None
    save_batch(client, runner_event("thread_completed", thread, trace, tokens_used=1290, model="m"))
    assert back.detail(back.run(thread)["run_id"])["result"] == "It is cold."


@pytest.mark.parametrize("history", [[], [{"role": "user", "content": "Cold?"}], [{"role": "assistant"}], [7]])
def test_a_runner_that_saved_no_answer_has_no_result(
    client: httpx2.Client, back: ReadBack, unique: Unique, history: list[Any]
) -> None:
    thread = unique("thread")
    save_batch(client, checkpoint(thread, "t", 1, history=history))
    save_batch(client, runner_event("thread_completed", thread, "t", tokens_used=1290))
    assert back.detail(back.run(thread)["run_id"])["result"] is None


def test_the_events_of_a_checkpoint_are_figures_without_history(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    said = {"history": [{"role": "user", "content": "swordfish"}], "history_meta": [{"ts": "2026-01-01T00:00:00Z"}]}
    save_batch(client, checkpoint(thread, trace, 3, **said, **usage(310, 110, 0.00231)))
    [event] = back.events(thread)
    assert event["type"] == "checkpoint"
    assert event["data"]["step_index"] == 3
    assert "swordfish" not in str(event)


ENDS = {
    "thread_completed": ("completed", "run.completed", {"tokens_used": 420, "model": "m-1"}),
    "thread_error": ("failed", "run.failed", {"error": "it broke"}),
    "thread_budget_exceeded": ("budget_exceeded", "budget.exceeded", {"run_cost_usd": 0.51, "budget_usd": 0.5}),
}


@pytest.mark.parametrize(("kind", "status", "shown_as", "data"), [(k, *v) for k, v in ENDS.items()], ids=ENDS.keys())
def test_a_terminal_event_ends_the_run(
    client: httpx2.Client,
    back: ReadBack,
    unique: Unique,
    kind: str,
    status: str,
    shown_as: str,
    data: dict[str, Any],
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, runner_event("thread_started", thread, trace), runner_event(kind, thread, trace, **data))
    row = back.run(thread)
    assert row["status"] == status
    assert back.types(thread) == ["run.started", shown_as]
    assert (row["completed_at"] is not None) == (status == "completed")
    assert row in back.runs(status=status, thread_id=thread)


def test_completion_merges_tokens_and_model_into_the_metadata(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread = unique("thread")
    save_batch(client, runner_event("thread_started", thread, "t", model="m-1"))
    save_batch(client, runner_event("thread_completed", thread, tokens_used=420, model="m-2"))
    metadata = back.detail(back.run(thread)["run_id"])["metadata"]
    assert (metadata["tokens_used"], metadata["model"]) == (420, "m-2")


def test_an_exceeded_budget_merges_its_cost_into_the_metadata(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread = unique("thread")
    save_batch(client, runner_event("thread_budget_exceeded", thread, "t", run_cost_usd=0.51, budget_usd=0.5))
    metadata = back.detail(back.run(thread)["run_id"])["metadata"]
    assert (metadata["run_cost_usd"], metadata["budget_usd"]) == (0.51, 0.5)


@pytest.mark.parametrize(
    "error", ["the tool timed out", {"type": "Timeout", "message": "the tool timed out"}], ids=["text", "object"]
)
def test_the_error_is_kept_and_shown(client: httpx2.Client, back: ReadBack, unique: Unique, error: Any) -> None:
    thread = unique("thread")
    save_batch(client, runner_event("thread_error", thread, "t", error=error))
    [event] = back.events(thread)
    assert event["data"]["error"] == error
    assert "the tool timed out" in str(back.detail(back.run(thread)["run_id"]))


def test_a_budget_warning_is_shown_and_changes_no_row(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, checkpoint(thread, trace, 1, **usage(3, 4, 0.4)))
    before, state = back.run(thread), back.state(thread)
    save_batch(client, runner_event("budget_warning", thread, trace, run_cost_usd=0.41, budget_usd=0.5))
    assert back.types(thread) == ["checkpoint", "budget.warning"]
    assert {**back.run(thread), "duration_ms": None} == {**before, "duration_ms": None}
    assert back.state(thread) == state


@pytest.mark.parametrize(
    "kind",
    ["thread_rate_limited", "workflow_started", "team_member_joined", "agent_transfer_requested", "nobody_knows_this"],
)
def test_other_events_are_kept_under_their_own_name(
    client: httpx2.Client, back: ReadBack, unique: Unique, kind: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, runner_event("thread_started", thread, trace))
    save_batch(client, runner_event(kind, thread, trace, wait_seconds=2.5, flavour={"of": ["the", "day"]}))
    event = back.events(thread)[-1]
    assert (event["type"], event["data"]["name"]) == ("other", kind)
    assert event["data"]["payload"]["wait_seconds"] == 2.5
    assert event["data"]["payload"]["flavour"] == {"of": ["the", "day"]}
    assert back.status(thread) == "running"


def test_an_idle_thread_is_running_and_its_state_says_idle(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, checkpoint(thread, trace, 1), runner_event("thread_idle", thread, trace))
    assert back.status(thread) == "running"
    assert len(back.events(thread)) == 2
    assert back.state(thread)["status"] == "idle"


def test_a_heartbeat_needs_only_its_agent(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    agent = unique("agent")
    save_batch(client, runner_event("heartbeat", None, agent_id=agent))
    assert back.agent_id(agent)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("in_progress", "running"),
        ("waiting_for_approval", "waiting_for_input"),
        ("approved", "running"),
        ("rejected", "running"),
        ("idle", "running"),
        ("completed", "running"),
        ("error", "running"),
        ("budget_exceeded", "running"),
        ("pondering", "running"),
    ],
)
def test_the_status_of_a_checkpoint_is_kept_and_maps_to_the_run(
    client: httpx2.Client, back: ReadBack, unique: Unique, word: str, status: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, runner_event("thread_started", thread, trace), checkpoint(thread, trace, 1, status=word))
    assert back.status(thread) == status
    assert back.state(thread)["status"] == word


def test_work_that_goes_on_ends_the_waiting(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, checkpoint(thread, trace, 1, status="waiting_for_approval"))
    assert back.status(thread) == "waiting_for_input"
    save_batch(client, checkpoint(thread, trace, 2, status="in_progress"))
    assert back.status(thread) == "running"


def test_figures_are_running_totals_not_increments(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, checkpoint(thread, trace, 1, **usage(100, 10, 0.1)))
    save_batch(client, checkpoint(thread, trace, 2, **usage(250, 30, 0.3)))
    assert totals(back.run(thread)) == (250, 30, 0.3)


def test_totals_are_the_sum_over_agents_of_the_newest_of_each(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(
        client,
        checkpoint(thread, trace, 1, agent_id="one", **usage(100, 10, 0.1)),
        checkpoint(thread, trace, 1, agent_id="two", **usage(1_000, 100, 0.000000001)),
        checkpoint(thread, trace, 2, agent_id="one", **usage(150, 15, 0.2)),
        checkpoint(thread, trace, 1, agent_id=None, **usage(7, 3, 0.7)),
    )
    # Tokens are of each agent; the cost is the run's one counter, whichever agent's checkpoint carries it.
    assert totals(back.run(thread)) == (1_157, 118, 0.7)
    save_batch(client, checkpoint(thread, trace, 3, agent_id="one", **usage(160, 16, 0.8)))
    assert totals(back.run(thread)) == (1_167, 119, 0.8)


def test_cost_is_exact_to_the_nano_dollar(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    turns = (checkpoint(thread, "t", n, run_cost_usd=n / 10) for n in range(1, 11))
    save_batch(client, *turns, checkpoint(thread, "t", 11, run_cost_usd=1.123456789))
    reply = client.get("/v1/runs", params={"thread_id": thread})
    assert '"total_cost_usd":1.123456789' in reply.text.replace(" ", "")


def test_the_same_checkpoint_again_stores_nothing_new(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    turn = checkpoint(thread, trace, 1, **usage(100, 10, 0.1))
    save_batch(client, turn)
    save_batch(client, turn, turn)
    assert back.types(thread) == ["checkpoint"]
    assert totals(back.run(thread)) == (100, 10, 0.1)


def test_the_same_checkpoint_with_other_content_is_a_revision(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, checkpoint(thread, trace, 1, **usage(100, 10, 0.1)))
    save_batch(client, checkpoint(thread, trace, 1, **usage(90, 9, 0.09)))
    # The lower total counts, as in any other order, and the higher one what it says beyond it.
    assert back.types(thread) == ["checkpoint", "usage.recounted", "checkpoint"]
    # No figure falls: the run is flagged instead.
    assert totals(back.run(thread)) == (100, 10, 0.1)


def test_another_agent_at_the_same_step_is_another_checkpoint(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, checkpoint(thread, trace, 1, agent_id="one"), checkpoint(thread, trace, 1, agent_id="two"))
    assert back.types(thread) == ["checkpoint", "checkpoint"]


def test_times_never_order_the_log(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    times = ["2031-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "1999-01-01T00:00:00Z", "2025-06-01T00:00:00.001Z"]
    events = [runner_event("workflow_step", thread, trace, number=n) for n in range(len(times))]
    save_batch(client, *({**event, "occurred_at": time} for event, time in zip(events, times, strict=True)))
    assert [event["data"]["payload"]["number"] for event in back.events(thread)] == [0, 1, 2, 3]
