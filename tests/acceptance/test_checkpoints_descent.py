"""Which run a runner's event belongs to: natural keys, missing traces, parents, resumption, what comes late."""

from __future__ import annotations

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.support.readback import ReadBack
from tests.support.senders import Json, checkpoint, runner_event, save_batch, send_batch


def run_of_trace(back: ReadBack, thread: str, trace: str) -> Json:
    """The run of a thread that has this trace."""
    details = [back.detail(row["run_id"]) for row in back.runs(thread_id=thread)]
    [found] = [detail for detail in details if detail["trace_id"] == trace]
    return found


@pytest.mark.parametrize("kind", ["thread_started", "thread_completed", "thread_error", "thread_budget_exceeded"])
def test_what_happens_once_a_run_is_stored_once(
    client: httpx2.Client, back: ReadBack, unique: Unique, kind: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    event = runner_event(kind, thread, trace, model="m-1")
    save_batch(client, event)
    save_batch(client, event)
    save_batch(client, event, event)
    assert len(back.events(thread)) == 1


def test_a_whole_batch_sent_again_adds_nothing(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    batch = [
        runner_event("thread_started", thread, trace, agent_id="researcher", model="m-1"),
        checkpoint(thread, trace, 3, input_tokens=310, output_tokens=110),
        runner_event("thread_completed", thread, tokens_used=420, model="m-1"),
    ]
    save_batch(client, *batch)
    save_batch(client, *batch)
    assert back.types(thread) == ["run.started", "checkpoint", "run.completed"], "a retry is no second run"


def a_turn(thread: str, trace: str, *texts: str, start: str = "thread_started") -> list[Json]:
    """A turn of a chat in one batch: it starts, says what its state is at each step, and ends."""
    kind = start.removesuffix("_started")
    states = [checkpoint(thread, trace, 0, tokens_used=100, history=[{"content": text}]) for text in texts]
    return [runner_event(start, thread, trace), *states, runner_event(f"{kind}_completed", thread, trace)]


@pytest.mark.parametrize("start", ["thread_started", "workflow_started", "team_started"])
def test_a_turn_that_says_something_new_is_a_run_of_its_own(
    client: httpx2.Client, back: ReadBack, unique: Unique, start: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    for texts in (("one",), ("two",), ("two", "three"), ("three",)):
        save_batch(client, *a_turn(thread, trace, *texts, start=start))
    runs = back.runs(thread_id=thread)
    assert [row["status"] for row in runs] == ["completed"] * 3, "what is left of the last two turns is the same"
    assert {back.detail(row["run_id"])["usage"]["total_tokens"] for row in runs} == {100}


def test_a_turn_under_ids_of_its_own_is_news_and_under_the_same_a_repeat(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    for name in ("one", "one", "two", "two"):
        start, state, end = a_turn(thread, trace, "same")
        save_batch(client, start, {**state, "event_id": name}, end)
    assert len(back.runs(thread_id=thread)) == 2


def test_a_second_end_is_late_and_changes_nothing(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, runner_event("thread_completed", thread, trace, tokens_used=1, model="m-1"))
    before = back.run(thread)
    save_batch(client, runner_event("thread_error", thread, trace, error="too late"))
    assert back.run(thread) == before
    assert len(back.events(thread)) == 2, "it is stored all the same"


def test_a_late_checkpoint_is_kept_and_moves_nothing_but_what_was_spent(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, trace = unique("thread"), unique("trace")
    save_batch(client, checkpoint(thread, trace, 1, input_tokens=5, output_tokens=5, run_cost_usd=0.1))
    save_batch(client, runner_event("thread_error", thread, trace, error="x"))
    before = back.run(thread)
    save_batch(client, checkpoint(thread, trace, 2, input_tokens=50, output_tokens=50, run_cost_usd=1, status="idle"))
    spent = {"total_input_tokens": 50, "total_output_tokens": 50, "total_cost_usd": 1, "credits_used": 1000}
    assert back.run(thread) == {**before, **spent}
    assert back.types(thread) == ["checkpoint", "run.failed", "checkpoint"]


def test_an_event_without_a_trace_belongs_to_the_open_run(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread = unique("thread")
    save_batch(client, runner_event("thread_started", thread, "first"), runner_event("thread_error", thread, "first"))
    save_batch(client, runner_event("thread_started", thread, "second"))
    save_batch(client, checkpoint(thread, None, 1), runner_event("thread_completed", thread, tokens_used=420))
    assert run_of_trace(back, thread, "first")["status"] == "failed"
    second = run_of_trace(back, thread, "second")
    assert second["status"] == "completed"
    assert [event["type"] for event in back.events_of(second["run_id"])] == [
        "run.started",
        "checkpoint",
        "run.completed",
    ]


def test_the_open_run_is_not_always_the_newest(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    save_batch(client, runner_event("thread_started", thread, "older"), runner_event("thread_started", thread, "newer"))
    save_batch(client, runner_event("thread_completed", thread, "newer"))
    save_batch(client, runner_event("thread_error", thread, error="no trace here"))
    assert run_of_trace(back, thread, "older")["status"] == "failed"
    assert run_of_trace(back, thread, "newer")["status"] == "completed"


def test_without_an_open_run_it_is_late_in_the_newest(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    for trace in ("older", "newer"):
        save_batch(client, runner_event("thread_started", thread, trace))
        save_batch(client, runner_event("thread_completed", thread, trace))
    save_batch(client, runner_event("workflow_step", thread))
    older, newer = run_of_trace(back, thread, "older"), run_of_trace(back, thread, "newer")
    assert len(back.events_of(older["run_id"])) == 2
    assert [event["type"] for event in back.events_of(newer["run_id"])][2:] == ["other"]
    assert newer["status"] == "completed"


def test_an_event_without_a_trace_in_a_new_thread_makes_a_run(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread = unique("thread")
    save_batch(client, checkpoint(thread, None, 1), checkpoint(thread, None, 2))
    assert back.types(thread) == ["checkpoint", "checkpoint"]


def test_traces_of_the_same_name_in_two_threads_are_two_runs(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    one, two, trace = unique("thread"), unique("thread"), unique("trace")
    save_batch(client, runner_event("thread_started", one, trace), runner_event("thread_started", two, trace))
    save_batch(client, runner_event("thread_completed", two, trace))
    assert (back.status(one), back.status(two)) == ("running", "completed")


@pytest.mark.parametrize("order", ["parent first", "child first", "together", "together, child first"])
def test_a_parent_trace_makes_a_child_whichever_comes_first(
    client: httpx2.Client, back: ReadBack, unique: Unique, order: str
) -> None:
    thread = unique("thread")
    parent = runner_event("thread_started", thread, "parent")
    child = runner_event("thread_started", thread, "child", parent_trace_id="parent")
    events = [child, parent] if order.endswith("child first") else [parent, child]
    if order.startswith("together"):
        save_batch(client, *events)
    else:
        for event in events:
            save_batch(client, event)
    mother, kid = run_of_trace(back, thread, "parent"), run_of_trace(back, thread, "child")
    assert kid["parent_run_id"] == mother["run_id"]
    assert [row["run_id"] for row in back.runs(parent_run_id=mother["run_id"])] == [kid["run_id"]]
    assert mother.get("parent_run_id") is None


def test_a_checkpoint_names_the_parent_as_well(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    save_batch(client, checkpoint(thread, "child", 1, parent_trace_id="parent"))
    save_batch(client, checkpoint(thread, "parent", 1))
    mother = run_of_trace(back, thread, "parent")
    assert [row["thread_id"] for row in back.runs(parent_run_id=mother["run_id"])] == [thread]


def test_a_new_trace_in_an_ended_thread_resumes_it(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    save_batch(client, runner_event("thread_started", thread, "one"), runner_event("thread_completed", thread, "one"))
    save_batch(client, runner_event("thread_started", thread, "two"))
    assert [row["status"] for row in back.runs(thread_id=thread)] == ["running", "completed"]
    assert run_of_trace(back, thread, "two")["resumed_from"] == run_of_trace(back, thread, "one")["run_id"]


@pytest.mark.parametrize("trace", ["again", None], ids=["the same trace", "no trace"])
def test_a_start_for_an_ended_run_begins_a_new_one(
    client: httpx2.Client, back: ReadBack, unique: Unique, trace: str | None
) -> None:
    thread = unique("thread")
    save_batch(client, runner_event("thread_started", thread, trace, model="m-1"))
    save_batch(client, runner_event("thread_completed", thread, trace))
    save_batch(client, runner_event("thread_started", thread, trace, model="m-2"))
    newer, older = back.runs(thread_id=thread)
    assert [(row["status"], row["model"]) for row in (newer, older)] == [("running", "m-2"), ("completed", "m-1")]
    assert back.detail(newer["run_id"])["resumed_from"] == older["run_id"]
    save_batch(client, checkpoint(thread, trace, 1), runner_event("thread_error", thread, trace, error="x"))
    assert [row["status"] for row in back.runs(thread_id=thread)] == ["failed", "completed"]


def test_a_resumed_thread_still_has_its_state(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    said = {"history": [{"role": "user", "content": "remember"}], "history_meta": [{"ts": "2026-01-01T00:00:00.000Z"}]}
    save_batch(client, checkpoint(thread, "one", 4, **said), runner_event("thread_completed", thread, "one"))
    state = back.state(thread)
    assert (state["trace_id"], state["step_index"], state["history"]) == ("one", 4, said["history"])


def test_refused_events_make_no_run(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    assert send_batch(client, checkpoint(thread, "t", -1)).status_code == 422
    assert back.runs(thread_id=thread) == []
    assert back.latest(thread).status_code == 404
