"""Tokens and money over HTTP: told by increments, by totals, by halves, too late; every reader shows the same sums."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import FreshServer, Unique
from tests.support.readback import ReadBack
from tests.support.senders import Json, checkpoint, push_activity, runner_event, save_batch, tell


def call(back: ReadBack, agent: str, thread: str, **figures: Any) -> None:
    """One model call of an agent, pushed into the open run of a thread."""
    metadata = {"thread_id": thread, "model_name": figures.pop("model", "m"), **figures}
    reply = push_activity(back.client, back.agent_id(agent), {"type": "inference_complete", "metadata": metadata})
    assert reply.status_code == 200, reply.text


def figures(row: Json) -> tuple[Any, ...]:
    """Input, output, all tokens and cost of a run."""
    names = ("total_input_tokens", "total_output_tokens")
    return (*(row[name] for name in names), row["usage"]["total_tokens"], row["total_cost_usd"])


def run_figures(back: ReadBack, thread: str) -> tuple[Any, ...]:
    """Those of the only run of a thread."""
    return figures(back.detail(back.run(thread)["run_id"]))


def summaries(back: ReadBack, agent: str) -> list[str]:
    """What an agent's feed shows of its model calls, without their durations."""
    return [event["output_summary"].rpartition(",")[0] for event in back.activity(back.agent_id(agent))]


def test_a_runner_that_tells_its_last_call_beside_a_running_total(back: ReadBack, unique: Unique) -> None:
    thread, agent = unique("thread"), unique("agent")
    seen = []
    for step, (sent, told_in, told_out) in enumerate(((210, 200, 10), (210, 0, 0), (490, 260, 20))):
        turn = {"tokens_used": sent, "input_tokens": told_in, "output_tokens": told_out, "agent_id": agent}
        save_batch(back.client, checkpoint(thread, "r", step, **turn))
        seen.append(run_figures(back, thread)[:3])
    assert seen == [(200, 10, 210), (200, 10, 210), (460, 30, 490)]
    assert summaries(back, agent) == ["200+10 tokens, $?", "260+20 tokens, $?"]


def test_an_end_that_tells_only_its_cost_keeps_the_tokens(back: ReadBack, unique: Unique) -> None:
    run, agent = unique("run"), unique("agent")
    tell(back.client, "run_start", run, agent_name=agent)
    call(back, agent, run, input_tokens=70, output_tokens=30)
    tell(back.client, "run_end", run, {"cost_usd": 0.25}, agent_name=agent)
    assert run_figures(back, run) == (70, 30, 100, 0.25)
    assert summaries(back, agent) == ["70+30 tokens, $?", "0+0 tokens, $0.25"]


def test_a_failed_run_has_a_cost(back: ReadBack, unique: Unique) -> None:
    run, agent = unique("run"), unique("agent")
    tell(back.client, "run_start", run, agent_name=agent)
    tell(back.client, "error", run, {"error_type": "Timeout"})
    spent = {"prompt_tokens": 900, "completion_tokens": 80, "cost_usd": 0.5, "model": "late-model"}
    tell(back.client, "run_end", run, spent)
    assert (back.run(run)["status"], *run_figures(back, run)) == ("failed", 900, 80, 980, 0.5)
    assert summaries(back, agent) == ["900+80 tokens, $0.5"]


def test_a_cost_of_the_process_is_no_sum_over_agents(back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    for agent, cost in (("lead", 0.02), ("lead:scout", 0.05), ("lead", 0.06)):
        save_batch(back.client, checkpoint(thread, "r", 1, agent_id=agent, run_cost_usd=cost))
    assert run_figures(back, thread) == (None, None, None, 0.06)


def test_what_exhausted_the_budget_is_counted(back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    save_batch(back.client, checkpoint(thread, "r", 1, run_cost_usd=0.4))
    save_batch(back.client, runner_event("thread_budget_exceeded", thread, "r", run_cost_usd=0.55, budget_usd=0.5))
    assert run_figures(back, thread)[3] == 0.55


def test_a_counter_that_falls_is_flagged(back: ReadBack, unique: Unique) -> None:
    thread = unique("thread")
    for step, tokens in ((1, 500), (2, 80)):
        save_batch(back.client, checkpoint(thread, "r", step, input_tokens=tokens, output_tokens=1))
    detail = back.detail(back.run(thread)["run_id"])
    assert (figures(detail)[:3], detail["usage_flags"]) == ((500, 1, 501), ["total_decreased"])


def test_a_tree_is_shown_beside_its_own_figures(back: ReadBack, unique: Unique) -> None:
    """Tokens are added up; a cost that one process tells in several runs is one counter."""
    thread = unique("thread")
    main = {"tokens_used": 110, "input_tokens": 100, "output_tokens": 10, "run_cost_usd": 0.02}
    save_batch(back.client, checkpoint(thread, "main", 1, **main))
    sub = {"tokens_used": 44, "input_tokens": 40, "output_tokens": 4, "run_cost_usd": 0.03, "parent_trace_id": "main"}
    save_batch(back.client, checkpoint(thread, "sub", 1, **sub))
    save_batch(back.client, runner_event("thread_started", thread, "below", parent_trace_id="sub"))
    [mother] = [row for row in back.runs(thread_id=thread) if row["total_input_tokens"] == 100]
    expected = {
        "runs": 3,
        "total_input_tokens": 140,
        "total_output_tokens": 14,
        "total_tokens": 154,
        "total_cost_usd": 0.03,
        "cost_source": "reported",
        "unpriced_calls": 0,
        "complete": True,
    }
    for path in ("/v1/runs/", "/api/v1/runs/"):
        detail = back.client.get(path + mother["run_id"]).json()
        assert (figures(detail), detail["tree"]) == ((100, 10, 110, 0.02), expected)
    listed = back.client.get("/api/v1/runs", params={"thread_id": thread}).json()["data"]
    assert {run["tree"] for run in listed} == {None}


def test_every_reader_shows_the_same_sums(fresh_server: FreshServer) -> None:
    """Bare totals beside splits, increments beside totals, two agents of two models, ends that came too late."""
    client = fresh_server().client()
    back = ReadBack(client)
    save_batch(client, checkpoint("t", "r", 1, agent_id="p", tokens_used=420, model="big"))
    save_batch(client, checkpoint("t", "r", 1, agent_id="q", input_tokens=500, output_tokens=100, model="small"))
    save_batch(client, checkpoint("t", "r", 2, agent_id="p", tokens_used=500, run_cost_usd=0.5))
    tell(client, "run_start", "s", agent_name="p")
    call(back, "p", "s", input_tokens=7, output_tokens=3, cost_usd=0.125, model="big")
    tell(client, "run_end", "s", {"total_tokens": 1000, "model": "big"}, agent_name="p")
    tell(client, "run_end", "s", {"total_tokens": 1200, "cost_usd": 1, "model": "big"}, agent_name="p")
    runs = [back.detail(row["run_id"]) for row in back.runs()]
    sums = {"input": 507, "output": 103, "total": 2300, "cost": 1.5}

    def added(rows: list[Json], cost: str) -> dict[str, Any]:
        usage = [row["usage"] for row in rows]
        return {
            "input": sum(one["input_tokens"] or 0 for one in usage),
            "output": sum(one["output_tokens"] or 0 for one in usage),
            "total": sum(one["total_tokens"] or 0 for one in usage),
            "cost": sum(row[cost] or 0 for row in rows),
        }

    assert added(runs, "total_cost_usd") == sums
    assert added(client.get("/api/v1/agents").json()["data"], "cost_usd") == sums
    for by in ("hour", "agent", "model"):
        assert added(client.get("/api/v1/usage", params={"by": by}).json()["data"], "cost_usd") == sums, by
    models = {row["model"]: row["usage"]["total_tokens"] for row in client.get("/api/v1/usage?by=model").json()["data"]}
    assert models == {"big": 1700, "small": 600}, "no agent's tokens stand under the model of another"


# The sender's clock


def test_an_imported_session_stands_in_its_own_day(back: ReadBack, unique: Unique) -> None:
    thread, agent = unique("thread"), unique("agent")
    turn = checkpoint(thread, "r", 1, agent_id=agent, input_tokens=10, output_tokens=1, run_cost_usd=0.5)
    save_batch(
        back.client,
        {**runner_event("thread_started", thread, "r", agent_id=agent), "occurred_at": "2020-05-05T09:00:00Z"},
        {**turn, "occurred_at": "2020-05-05T09:30:00Z"},
        {**runner_event("thread_completed", thread, "r"), "occurred_at": "2020-05-05T11:00:00Z"},
    )
    day = {"since": "2020-05-05T00:00:00Z", "until": "2020-05-06T00:00:00Z"}
    [row] = [row for row in back.runs(**day) if row["thread_id"] == thread]
    assert (row["duration_ms"], row["completed_at"]) == (7_200_000, "2020-05-05T11:00:00.000Z")
    assert back.detail(row["run_id"])["started_at"] == "2020-05-05T09:00:00.000Z"
    usage = back.client.get("/api/v1/usage", params={"by": "hour", "agent": agent, **day}).json()["data"]
    assert [(hour["hour"], hour["cost_usd"]) for hour in usage] == [
        ("2020-05-05T09:00:00.000Z", 0.5),
        ("2020-05-05T11:00:00.000Z", None),
    ]


@pytest.mark.parametrize("end", ["1999-12-31T23:00:00Z", "2020-05-05T08:59:00Z", None], ids=["absurd", "back", "none"])
def test_a_span_is_never_negative(back: ReadBack, unique: Unique, end: str | None) -> None:
    run = unique("run")
    tell(back.client, "run_start", run, occurred_at="2020-05-05T09:00:00Z")
    tell(back.client, "run_end", run, **({} if end is None else {"occurred_at": end}))
    row = back.run(run)
    assert 0 <= row["duration_ms"] < 60_000
    assert row["completed_at"] >= row["created_at"]


def test_an_id_that_no_sender_gave_is_shown_nowhere(back: ReadBack, unique: Unique) -> None:
    """Starts and ends are kept under names of ours."""
    run, thread = unique("run"), unique("thread")
    tell(back.client, "run_start", run)
    tell(back.client, "run_end", run, event_id="mine")
    save_batch(back.client, runner_event("thread_error", thread, "r"), checkpoint(thread, "r", 1))
    for name in (run, thread):
        run_id = back.run(name)["run_id"]
        shown = [back.client.get(f"/api/v1/runs/{run_id}/events").text]
        shown.append(back.client.get(f"/v1/runs/{run_id}/events", params={"follow": "false"}).text)
        assert not [text for text in shown if "\\u001f" in text or "\x1f" in text]
    events = back.client.get(f"/api/v1/runs/{back.run(run)['run_id']}/events").json()["data"]
    assert [event["event_id"] for event in events] == [None, "mine"]


def test_a_prompt_that_includes_cached_tokens_adds_none(back: ReadBack, unique: Unique) -> None:
    """An SDK reports its calls with what came from a cache; at the end it tells the whole prompt, as providers do."""
    run, agent = unique("run"), unique("agent")
    created = back.client.post(f"/v1/threads/{run}/runs", json={"agent": agent}).json()
    claimed = {"worker_id": "w", "agents": [agent], "lease_seconds": 60}
    assert back.client.post("/api/agents/runs/claim", json=claimed).status_code == 200
    told = {"model": "m", "input_tokens": 86, "cached_input_tokens": 1920, "output_tokens": 300}
    report = {"worker_id": "w", "events": [{"type": "model.call", "payload": told}]}
    assert back.client.post(f"/api/agents/runs/{created['run_id']}/events", json=report).status_code == 200
    whole = {"input_tokens": 2006, "output_tokens": 300, "tokens_used": 2306, "agent_id": agent}
    trace = back.detail(created["run_id"])["trace_id"]
    save_batch(back.client, checkpoint(run, trace, 1, **whole))
    assert run_figures(back, run)[:3] == (2006, 300, 2306)
    assert back.detail(created["run_id"])["cache_hit_rate"] == pytest.approx(1920 / 2006)


def sub_agent(trace: str, agent: str, cost: float, **data: Any) -> Json:
    """What a sub-agent tells in the thread of its main run: the cost of the whole process so far."""
    return {"trace_id": trace, "agent_id": agent, "run_cost_usd": cost, **data}


@pytest.mark.parametrize("order", ["the main run first", "a sub-agent first"])
def test_the_cost_of_a_process_is_counted_once_for_all_its_runs(fresh_server: FreshServer, order: str) -> None:
    """A main run, a sub-agent that asks one of its own, and another one, all of one process."""
    client = fresh_server().client()
    back = ReadBack(client)
    told = [
        sub_agent("main", "lead", 0.04, model="big"),
        sub_agent("scout", "lead:scout", 0.05, parent_trace_id="main"),
        sub_agent("below", "lead:scout:below", 0.07, parent_trace_id="scout"),
        sub_agent("clerk", "lead:clerk", 0.075, parent_trace_id="main"),
        sub_agent("main", "lead", 0.08, model="big"),
    ]
    if order == "a sub-agent first":
        told = [told[1], told[0], *told[2:]]
    for step, data in enumerate(told):
        save_batch(client, checkpoint("t", data.pop("trace_id"), step, **data))
    cells = client.get("/api/v1/usage", params={"by": "agent"}).json()["data"]
    assert round(sum(cell["cost_usd"] for cell in cells), 9) == 0.08
    assert round(sum(row["cost_usd"] for row in back.agents()), 9) == 0.08
    if order == "the main run first":
        costs = {row["name"]: row["cost_usd"] for row in back.agents()}
        assert costs == {"lead": 0.045, "lead:scout": 0.01, "lead:scout:below": 0.02, "lead:clerk": 0.005}
    main = max(back.runs(), key=lambda row: row["total_cost_usd"])
    assert (main["total_cost_usd"], back.detail(main["run_id"])["tree"]["total_cost_usd"]) == (0.08, 0.08)


def test_runs_of_two_processes_in_a_thread_are_counted_apart(fresh_server: FreshServer) -> None:
    """A runner that was started again counts from nothing, and so does a sub-agent of its own."""
    client = fresh_server().client()
    for step, (trace, parent, cost) in enumerate((("one", None, 0.5), ("two", None, 0.1), ("sub", "two", 0.3))):
        save_batch(client, checkpoint("t", trace, step, run_cost_usd=cost, parent_trace_id=parent))
    save_batch(client, checkpoint("elsewhere", "one", 1, run_cost_usd=1))
    # Two hours, where one ends meanwhile.
    hours = client.get("/api/v1/usage", params={"by": "hour"}).json()["data"]
    assert sum(hour["cost_usd"] or 0 for hour in hours) == pytest.approx(1.8)


def test_an_imported_session_stands_in_its_own_hour(back: ReadBack, unique: Unique) -> None:
    """Sums of the last days do not have it, and say which days they are of."""
    thread, agent = unique("thread"), unique("agent")
    old = {**checkpoint(thread, "r", 1, agent_id=agent, run_cost_usd=0.5), "occurred_at": "2025-03-05T10:20:00Z"}
    save_batch(back.client, old)
    asked = {"by": "hour", "agent": agent}
    recent = back.client.get("/api/v1/usage", params=asked).json()
    assert recent["data"] == []
    assert "2025-03-05T11" < recent["since"] < recent["until"]
    then = back.client.get(
        "/api/v1/usage", params={**asked, "since": "2025-03-05T10:00:00Z", "until": "2025-03-05T12:00:00Z"}
    )
    found = then.json()
    assert [(row["hour"], row["cost_usd"]) for row in found["data"]] == [("2025-03-05T10:00:00.000Z", 0.5)]
    assert found["since"] == "2025-03-05T10:00:00.000Z"


Told = tuple[str, str, float]
"""Trace, agent, and the cost of its process so far."""
ONE_PROCESS: dict[str, list[list[Told]]] = {
    "a new trace a call": [[("a", "lead", 0.01)], [("b", "lead", 0.02)], [("c", "lead", 0.03)]],
    "a run that went on": [[("a", "lead", 0.01), ("a", "lead", 0.02)], [("b", "lead", 0.025), ("b", "lead", 0.03)]],
    "nothing spent in between": [[("a", "lead", 0.03)], [("b", "lead", 0.03)]],
}


@pytest.mark.parametrize("ends", [True, False], ids=["ended", "left open"])
@pytest.mark.parametrize("told", ONE_PROCESS.values(), ids=ONE_PROCESS)
def test_a_process_that_goes_on_in_a_new_run_is_one_counter(
    fresh_server: FreshServer, told: list[list[Told]], ends: bool
) -> None:
    client = fresh_server().client()
    for run in told:
        for step, (trace, agent, cost) in enumerate(run):
            save_batch(client, checkpoint("t", trace, step, agent_id=agent, run_cost_usd=cost, model="m"))
        if ends:
            save_batch(client, runner_event("thread_completed", "t", run[0][0]))
    assert process_totals(client) == {"lead": 0.03}


def test_runs_side_by_side_of_one_process_share_its_counter(fresh_server: FreshServer) -> None:
    """An older run that tells again what a newer one has counted adds nothing, and what is lower is no new process."""
    client = fresh_server().client()
    for step, (trace, cost) in enumerate((("a", 0.5), ("b", 0.6), ("a", 0.55), ("b", 0.6), ("a", 0.7), ("c", 0.7))):
        save_batch(client, checkpoint("t", trace, step, agent_id="lead", run_cost_usd=cost))
    assert process_totals(client) == {"lead": 0.7}


def test_another_agent_or_a_lower_counter_is_another_process(fresh_server: FreshServer) -> None:
    client = fresh_server().client()
    told = (("a", "lead", 0.5), ("b", "peer", 0.6), ("c", "peer", 0.7), ("d", "lead", 0.1), ("e", "lead", 0.15))
    for step, (trace, agent, cost) in enumerate(told):
        save_batch(client, checkpoint("t", trace, step, agent_id=agent, run_cost_usd=cost))
    assert process_totals(client) == {"lead": 0.65, "peer": 0.7}


@pytest.mark.parametrize(
    ("told", "total"),
    [
        ([[0.04], [0.01, 0.02]], 0.06),
        ([[0.04], [0.02]], 0.06),
        ([[0.01, 0.04], [0.02, 0.05], [0.06]], 0.1),
        ([[0.04], [0.02], [0.01, 0.03]], 0.09),
        ([[0.02], [0.04]], 0.04),
    ],
    ids=["twice", "once", "and goes on", "three times", "not at all"],
)
@pytest.mark.parametrize("trace", ["one", "another"])
def test_a_runner_that_was_restarted_counts_anew_whatever_its_trace(
    fresh_server: FreshServer, told: list[list[float]], total: float, trace: str
) -> None:
    client = fresh_server().client()
    for number, run in enumerate(told):
        name = "a" if trace == "one" else f"a{number}"
        save_batch(client, runner_event("thread_started", "t", name, agent_id="lead"))
        for step, cost in enumerate(run):
            save_batch(client, checkpoint("t", name, step, agent_id="lead", run_cost_usd=cost))
        save_batch(client, runner_event("thread_completed", "t", name))
    assert process_totals(client) == {"lead": total}


def process_totals(client: httpx2.Client) -> dict[str, float]:
    """Dollars by agent, as the roll-ups have them; the rows of the agents must agree."""
    cells = client.get("/api/v1/usage", params={"by": "agent"}).json()["data"]
    costs = {cell["agent"]: cell["cost_usd"] for cell in cells}
    assert {row["name"]: row["cost_usd"] for row in ReadBack(client).agents()} == costs
    return costs


def by_model(client: httpx2.Client, agent: str) -> dict[str | None, tuple[Any, Any]]:
    """Input tokens and dollars of an agent, by model."""
    rows = client.get("/api/v1/usage", params={"by": "model", "agent": agent}).json()["data"]
    return {row["model"]: (row["usage"]["input_tokens"], row["cost_usd"]) for row in rows}


def test_what_is_told_of_several_models_stands_under_none_of_them(back: ReadBack, unique: Unique) -> None:
    run, agent = unique("run"), unique("agent")
    tell(back.client, "run_start", run, agent_name=agent)
    call(back, agent, run, model="big", input_tokens=1000, output_tokens=100)
    call(back, agent, run, model="small", input_tokens=10, output_tokens=1)
    tell(back.client, "run_end", run, {"prompt_tokens": 1500, "completion_tokens": 200, "cost_usd": 0.5})
    assert by_model(back.client, agent) == {None: (490, 0.5), "big": (1000, None), "small": (10, None)}
    assert summaries(back, agent)[-1] == "490+99 tokens, $0.5"


def test_the_cost_of_a_process_stands_under_the_only_model_of_its_agent(back: ReadBack, unique: Unique) -> None:
    for models, under in ((("m",), "m"), (("m", "m"), "m"), (("m", "n"), None), (("n", "m", "m"), None)):
        thread, agent = unique("thread"), unique("agent")
        save_batch(back.client, runner_event("thread_started", thread, "t", agent_id=agent))
        for model in models:
            call(back, agent, thread, model=model, input_tokens=5)
        save_batch(back.client, checkpoint(thread, "t", 1, agent_id=agent, run_cost_usd=0.25))
        assert by_model(back.client, agent)[under][1] == 0.25


def test_who_told_no_cost_spent_an_unknown_one(back: ReadBack, unique: Unique) -> None:
    thread, lead, scout = unique("thread"), unique("lead"), unique("scout")
    save_batch(back.client, checkpoint(thread, "t", 1, agent_id=lead, run_cost_usd=0.5))
    save_batch(back.client, checkpoint(thread, "t", 1, agent_id=scout, tokens_used=7))
    costs = {row["name"]: row["cost_usd"] for row in back.agents() if row["name"] in (lead, scout)}
    assert costs == {lead: 0.5, scout: None}
    assert {by_model(back.client, agent)[None][1] for agent in (lead, scout)} == {0.5, None}


def test_the_last_hour_that_can_be_asked_for_is_shown(back: ReadBack) -> None:
    reply = back.client.get("/api/v1/usage?since=9999-12-31T22:00:00Z&until=9999-12-31T23:59:59Z")
    assert (reply.status_code, reply.json()["until"]) == (200, "9999-12-31T23:59:59.999Z")


def test_a_model_that_was_only_tried_is_not_the_runs(back: ReadBack, unique: Unique) -> None:
    run, agent = unique("run"), unique("agent")
    calls = (("used", None, 1000), ("tried", "rate_limited", None), ("broken", "error", None))
    events = [
        {
            "event_id": f"{run}-{at}",
            "client_seq": at,
            "run_key": run,
            "agent": agent,
            "type": "model.call",
            "data": {"model": model, "status": status, "input_tokens": tokens},
        }
        for at, (model, status, tokens) in enumerate(calls, 1)
    ]
    reply = back.client.post("/api/v1/events", json={"client_id": run, "events": events})
    assert reply.status_code == 200, reply.text
    assert back.run(run)["model"] == "used"
    shown = [(event["type"], event["metadata"]["model_name"]) for event in back.activity(back.agent_id(agent))]
    assert shown == [("inference_complete", "used"), ("inference_rate_limited", "tried"), ("inference_error", "broken")]


def test_tokens_that_only_the_end_tells_count_beyond_the_checkpoints(back: ReadBack, unique: Unique) -> None:
    thread, agent, sub, bare = (unique(name) for name in ("thread", "agent", "sub", "bare"))
    told = {"tokens_used": 6000, "input_tokens": 5000, "output_tokens": 1000, "model": "claude-sonnet-4-6"}
    save_batch(back.client, checkpoint(thread, "one", 1, agent_id=agent, **told))
    save_batch(back.client, runner_event("thread_completed", thread, "one", tokens_used=12000))
    save_batch(back.client, checkpoint(thread, "two", 1, agent_id=agent, tokens_used=70))
    save_batch(back.client, checkpoint(thread, "two", 1, agent_id=sub, tokens_used=50))
    save_batch(back.client, runner_event("thread_completed", thread, "two", tokens_used=100))
    save_batch(back.client, runner_event("thread_completed", thread, "three", tokens_used=9, agent_id=bare))
    details = {row["trace_id"]: row for row in (back.detail(row["run_id"]) for row in back.runs(thread_id=thread))}
    assert {trace: row["usage"]["total_tokens"] for trace, row in details.items()} == {
        "one": 12000,
        "two": 120,
        "three": 9,
    }
    assert (details["one"]["usage"]["input_tokens"], details["one"]["usage"]["output_tokens"]) == (5000, 1000)
    reply = back.client.get("/api/v1/usage", params={"by": "agent", "limit": 200})
    told_of = {row["agent"]: row["usage"]["total_tokens"] for row in reply.json()["data"]}
    assert (told_of[agent], told_of[sub], told_of[bare]) == (12070, 50, 9)
