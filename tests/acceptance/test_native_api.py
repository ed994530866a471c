"""The native API under /api/v1: lists and cursors, a run with its tree, checkpoints, lanes, usage, and problems."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.acceptance.feeds import (
    Json,
    cancel,
    checkpoint_ids,
    create_run,
    ended,
    held_run,
    log_of,
    newest_run_of,
    ok,
    report,
    snapshot,
    started,
    step,
)
from tests.support.senders import runner_event, save_batch
from tests.support.tables import table

ABSENT = "01890000-0000-7000-8000-00000000dead"
LISTS = ["agents", "runs", "threads", "workers", "lanes", "keys"]


@pytest.fixture
def org(server, unique) -> httpx2.Client:
    """A client of an organisation that holds nothing yet."""
    return server.client(server.make_org(unique("org"))[1])


def problem(reply: httpx2.Response, status: int) -> Json:
    """The body of a refusal, in the form of RFC 9457."""
    assert reply.status_code == status, f"{reply.status_code} {reply.text}"
    assert reply.headers["Content-Type"].split(";")[0] == "application/problem+json"
    body: Json = reply.json()
    assert {"type", "title", "status"} <= set(body)
    assert body["status"] == status
    return body


def pages(client: httpx2.Client, path: str, **query: Any) -> list[list[Json]]:
    """Every page of a list, by its cursors."""
    got: list[list[Json]] = []
    cursor: Json = {}
    for _ in range(100):
        page = ok(client.get(path, params={**query, **cursor}))
        assert set(page) >= {"data", "next"}
        got.append(page["data"])
        if page["next"] is None:
            return got
        assert isinstance(page["next"], str)
        cursor = {"cursor": page["next"]}
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("noun", LISTS)
def test_every_list_has_its_data_and_the_next_cursor(org, noun) -> None:
    page = ok(org.get(f"/api/v1/{noun}"))
    assert set(page) >= {"data", "next"}
    assert page["next"] is None
    if noun != "keys":
        assert page["data"] == []


@pytest.mark.parametrize("noun", ["agents", "runs", "threads"])
def test_pages_have_everything_once(org, unique, noun) -> None:
    for n in range(7):
        step(org, unique("sdk"), "run_start", agent_name=f"agent{n}")
    key = {"agents": "agent_id", "runs": "run_id", "threads": "thread_id"}[noun]
    whole = [row[key] for row in ok(org.get(f"/api/v1/{noun}", params={"limit": 200}))["data"]]
    assert len(set(whole)) == 7
    by_pages = pages(org, f"/api/v1/{noun}", limit=3)
    assert [len(page) for page in by_pages] == [3, 3, 1]
    assert [row[key] for page in by_pages for row in page] == whole


def test_threads_are_found_by_words_of_their_id_and_title_page_by_page(org, unique) -> None:
    made = {}
    for n, title in enumerate(["Refund of order 7", "refund asked twice", "Invoice", "A REFUND", None]):
        body = {"thread_id": unique("mail"), **({} if title is None else {"title": title})}
        made[n] = ok(org.post("/v1/threads", json=body), 201)["thread_id"]

    def found(**query: object) -> list[list[str]]:
        return [[row["thread_id"] for row in page] for page in pages(org, "/api/v1/threads", **query)]

    assert found(q="refund") == [[made[3], made[1], made[0]]]
    # A page that is full may be the last that has any.
    by_pages = found(q="refund", limit=2)
    assert by_pages == [[made[3], made[1]], [made[0]]]
    assert found(q="order refund") == [[made[0]]]
    assert found(q='"order refund"') == [[]]
    assert found(q=made[4][-6:].upper()) == [[made[4]]]
    assert found(q="nothing") == [[]]
    for unfit in ("x" * 201, "  "):
        assert "q" in problem(org.get("/api/v1/threads", params={"q": unfit}), 422)["errors"]


def test_a_page_is_not_disturbed_by_what_comes_in(org, unique) -> None:
    made = [create_run(org, unique("thread"))["run_id"] for _ in range(4)]
    first = ok(org.get("/api/v1/runs", params={"limit": 2}))
    create_run(org, unique("thread"))
    second = ok(org.get("/api/v1/runs", params={"limit": 2, "cursor": first["next"]}))
    assert [row["run_id"] for page in (first, second) for row in page["data"]] == made[::-1]


@table("noun", ["agents", "runs", "threads"])
@table("query", ["cursor=nonsense", "cursor=%00", "limit=0", "limit=x", "limit=-1", "limit=1000000"])
def test_a_bad_page_is_a_problem(org, noun, query) -> None:
    reply = org.get(f"/api/v1/{noun}?{query}")
    assert reply.status_code in {400, 422}, reply.text
    problem(reply, reply.status_code)


def test_ids_are_named_for_their_noun(org, unique) -> None:
    run_id = held_run(org, unique("thread"), "w")
    step(org, unique("sdk"), "run_start", agent_name="a")
    for noun in ["agents", "runs", "threads", "workers", "lanes", "keys"]:
        rows = ok(org.get(f"/api/v1/{noun}"))["data"]
        assert rows, noun
        assert all("id" not in row for row in rows), noun
    assert run_id in org.get("/api/v1/lanes").text
    assert "w" in [row["worker_id"] for row in ok(org.get("/api/v1/workers"))["data"]]


def test_the_filters_are_those_of_the_runs_dialect(org, unique) -> None:
    step(org, "sdk", "run_start", {"thread_id": "t"}, agent_name="a")
    step(org, "other", "run_start", agent_name="b")
    step(org, "other", "run_end", {"model": "gpt-4"})
    queries: list[dict[str, Any]] = [
        {}, {"agent": "a"}, {"thread_id": "t"}, {"model": "gpt-4"}, {"status": "running"}, {"status": "success"},
        {"since": "2120-01-01T00:00:00Z"}, {"until": "2120-01-01T00:00:00Z"}, {"agent": "a", "model": "gpt-4"},
    ]  # fmt: skip
    for query in queries:
        dialect = [row["run_id"] for row in ok(org.get("/v1/runs", params=query))]
        assert [row["run_id"] for row in ok(org.get("/api/v1/runs", params=query))["data"]] == dialect, query
    reply = org.get("/api/v1/runs", params={"status": "done"})
    problem(reply, 422)


def test_a_run_comes_with_its_tree(org, unique) -> None:
    parent = create_run(org, unique("thread"))["run_id"]
    child = create_run(org, unique("thread"), parent_run_id=parent)["run_id"]
    grandchild = create_run(org, unique("thread"), parent_run_id=child)["run_id"]
    body = ok(org.get(f"/api/v1/runs/{parent}"))
    assert body["run_id"] == parent
    (below,) = body["children"]
    assert below["run_id"] == child
    assert [row["run_id"] for row in below["children"]] == [grandchild]


def test_events_are_paged_and_filtered_by_type(org, unique) -> None:
    sdk_run = unique("sdk")
    step(org, sdk_run, "run_start", agent_name="a")
    for n in range(10):
        step(org, sdk_run, "step" if n % 2 else "tool_call", {"node_name": str(n), "tool_name": "t", "phase": "end"})
    run_id = newest_run_of(org, sdk_run)
    path = f"/api/v1/runs/{run_id}/events"
    seqs = [event["seq"] for event in ok(org.get(path, params={"limit": 200}))["data"]]
    assert seqs == [event["seq"] for event in log_of(org, run_id)]
    steps = ok(org.get(path, params={"type": "step"}))["data"]
    assert [event["data"]["node_name"] for event in steps] == ["1", "3", "5", "7", "9"]
    assert [event["seq"] for event in ok(org.get(path, params={"after_seq": 4, "limit": 3}))["data"]] == [5, 6, 7]
    assert [event["seq"] for page in pages(org, path, limit=4) for event in page] == seqs
    problem(org.get(path, params={"after_seq": "-1"}), 422)


def test_a_checkpoint_is_reconstructed_exactly(org, unique) -> None:
    thread = unique("thread")
    history = [
        {"role": "user", "content": "ä\u2028🜲\x00", "z": 1, "a": {"n": 1.0, "big": 2**60, "none": None}},
        {"role": "assistant", "content": [{"type": "tool_use", "input": {}}], "b": [], "a": ""},
    ]
    for n in (1, 2):
        save_batch(org, snapshot(thread, "tr", n, history[:n]))
    run_id = newest_run_of(org, thread)
    found = [ok(org.get(f"/api/v1/runs/{run_id}/checkpoints/{each}")) for each in checkpoint_ids(org, run_id)]
    by_step = {one["step_index"]: one["history"] for one in found}
    assert by_step == {1: history[:1], 2: history}
    assert [list(message) for message in by_step[2]] == [list(message) for message in history]
    problem(org.get(f"/api/v1/runs/{run_id}/checkpoints/nobody-has-this"), 404)


@pytest.mark.parametrize("agent", ["team/writer", "50%2F", "a/%25/b", "..", "two words"])
def test_a_checkpoint_of_any_agent_is_reached_by_its_id(org, unique, agent) -> None:
    thread = unique("thread")
    save_batch(org, snapshot(thread, "x", 1, [{"role": "user", "content": "hi"}], agent_id=agent))
    run_id = newest_run_of(org, thread)
    [row] = ok(org.get(f"/api/v1/runs/{run_id}/checkpoints"))["data"]
    assert row["agent"] == agent
    found = ok(org.get(f"/api/v1/runs/{run_id}/checkpoints/{quote(row['checkpoint_id'], safe='')}"))
    assert (found["agent"], found["checkpoint_id"]) == (agent, row["checkpoint_id"])
    latest = ok(org.get(f"/v1/runners/threads/{thread}/latest", params={"agent_id": agent}))
    assert latest["step_index"] == row["step_index"]


def test_usage_by_hour_agent_and_model(org, unique) -> None:
    for n, cost in enumerate([0.0023, 0.1, 0.000000001]):
        sdk_run = unique("sdk")
        step(org, sdk_run, "run_start", agent_name=f"agent{n % 2}")
        step(org, sdk_run, "run_end", {"prompt_tokens": 100, "completion_tokens": 10, "cost_usd": cost, "model": "m"})
    by_agent = {row["agent"]: row["cost_usd"] for row in ok(org.get("/api/v1/usage", params={"by": "agent"}))["data"]}
    assert by_agent == {"agent0": 0.002300001, "agent1": 0.1}
    by_model = ok(org.get("/api/v1/usage", params={"by": "model"}))["data"]
    assert [row["cost_usd"] for row in by_model if row["model"] == "m"] == [0.102300001]
    assert {row["model"] for row in by_model} <= {"m", None}, "unknown is null"
    by_hour = ok(org.get("/api/v1/usage", params={"by": "hour"}))["data"]
    assert sum(row["cost_usd"] or 0 for row in by_hour) == pytest.approx(0.102300001)
    problem(org.get("/api/v1/usage", params={"by": "colour"}), 422)


def test_totals_are_those_of_the_newest_figures_and_not_of_all(org, unique) -> None:
    thread = unique("thread")
    save_batch(org, started(thread, "tr"))
    for n in range(1, 5):
        figures = {"input_tokens": 100 * n, "output_tokens": 10 * n, "run_cost_usd": 0.01 * n, "model": "m"}
        save_batch(org, snapshot(thread, "tr", n, [], **figures))
    save_batch(org, ended(thread))
    (row,) = ok(org.get("/v1/runs"))
    assert (row["total_input_tokens"], row["total_output_tokens"], row["total_cost_usd"]) == (400, 40, 0.04)
    usage = ok(org.get("/api/v1/usage", params={"by": "model"}))["data"]
    assert [entry["cost_usd"] for entry in usage if entry["model"] == "m"] == [0.04]


def test_lanes_and_workers_show_who_holds_what(org, unique) -> None:
    held, queued = held_run(org, unique("thread"), "w"), create_run(org, unique("thread"))["run_id"]
    report(org, held, "w", phase="building")
    lanes = {row["run_id"]: row for row in ok(org.get("/api/v1/lanes"))["data"]}
    assert lanes[held]["lease"]["worker_id"] == "w"
    assert lanes[held]["phase"] == "building"
    assert lanes[queued]["lease"]["worker_id"] is None
    cancel(org, queued)


@table("path", ["runs", "agents", "threads"])
@table("name", [ABSENT, "not-an-id"])
def test_what_is_not_there_is_a_problem(org, path, name) -> None:
    problem(org.get(f"/api/v1/{path}/{name}"), 404)


def test_other_refusals_are_problems_too(org, anonymous, scoped) -> None:
    problem(org.get("/api/v1/nothing-here"), 404)
    problem(org.delete("/api/v1/runs"), 405)
    problem(anonymous.get("/api/v1/runs"), 401)
    problem(scoped("ingest").get("/api/v1/runs"), 403)


def test_an_agent_that_only_heartbeats_is_seen(org) -> None:
    save_batch(org, started("t", "tr", agent_id="quiet"), runner_event("heartbeat", None, agent_id="quiet"))
    (agent,) = [row for row in ok(org.get("/api/v1/agents"))["data"] if row["name"] == "quiet"]
    assert ok(org.get(f"/api/v1/agents/{agent['agent_id']}"))["name"] == "quiet"
