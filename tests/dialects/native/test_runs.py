"""Runs, events, checkpoints and threads over the native API: found by every filter, paged without gap or repeat."""

from __future__ import annotations

from typing import Any

import pytest

from tests.asgi.conversation import HandClock
from tests.dialects.native.feeds import checkpoint, newest_run, pages_of, tell
from tests.support.tables import table

ABSENT = "0189d3f0-0000-7000-8000-00000000dead"


async def ids(say: Any, query: str) -> list[str]:
    reply = await say("GET", f"/api/v1/runs?{query}")
    assert reply.status == 200, reply.body
    return [row["thread_id"] for row in reply.json["data"]]


async def test_runs_are_paged_newest_first(say: Any, clock: HandClock) -> None:
    for n in range(7):
        clock.move(1)
        await tell(say, f"r{n}")
    pages = await pages_of(say, "/api/v1/runs", limit=3)
    assert [[row["thread_id"] for row in page] for page in pages] == [["r6", "r5", "r4"], ["r3", "r2", "r1"], ["r0"]]


async def test_runs_are_found_by_the_beginning_of_their_ids(say: Any, clock: HandClock) -> None:
    for n in range(25):
        await tell(say, f"r{n}")
    made = sorted([row["run_id"] for page in await pages_of(say, "/api/v1/runs", limit=9) for row in page])
    # Ids begin with the time, which stands still here: all of them have the same beginning.
    found = (await say("GET", f"/api/v1/run-ids?prefix={made[0][:13]}")).json
    assert found == {"data": made[:20], "next": None}
    assert (await say("GET", f"/api/v1/run-ids?prefix={made[7].replace('-', '').upper()}")).json["data"] == [made[7]]
    assert (await say("GET", "/api/v1/run-ids?prefix=ffff")).json["data"] == []
    assert (await say("GET", "/api/v1/run-ids")).json["data"] == made[:20]


@pytest.mark.parametrize("prefix", ["%25", "g", "_", "0" * 33])
async def test_what_is_no_beginning_of_an_id_is_refused_by_name(say: Any, prefix: str) -> None:
    reply = await say("GET", f"/api/v1/run-ids?prefix={prefix}")
    assert (reply.status, list(reply.json["errors"])) == (422, ["prefix"])


async def test_every_filter_holds(say: Any, clock: HandClock) -> None:
    await tell(say, "old", "run_start", agent_name="a")
    clock.move(100)
    await tell(say, "mid", "run_start", agent_name="b")
    await tell(say, "mid", "run_end", {"model": "gpt-4", "cost_usd": 0.5})
    clock.move(100)
    await tell(say, "new", "error", {"error_message": "no"}, agent_name="a")
    parent = await newest_run(say, "old")
    child = await say("POST", "/v1/threads/child/runs", value={"parent_run_id": parent})
    assert child.status == 201
    expected = {
        "status=completed": ["mid"],
        "status=failed,completed": ["new", "mid"],
        "agent=a": ["new", "old"],
        "agent=a&status=running": ["old"],
        "thread_id=mid": ["mid"],
        "model=gpt-4": ["mid"],
        f"parent_run_id={parent}": ["child"],
        f"parent_run_id={parent.upper()}": ["child"],
        "q=mi": ["mid"],
        "q=nobody": [],
        "since=2099-01-01T00:00:00Z": [],
        "until=2020-01-01T00:00:00Z": [],
    }
    assert {query: await ids(say, query) for query in expected} == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=nonsense", "status"),
        ("status=running,nonsense", "status"),
        ("since=yesterday", "since"),
        ("until=1", "until"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=nonsense", "cursor"),
        ("q=" + "x" * 201, "q"),
    ],
)
async def test_a_wrong_filter_is_named(say: Any, query: str, field: str) -> None:
    reply = await say("GET", f"/api/v1/runs?{query}")
    assert reply.status == 422
    assert field in reply.json["errors"]
    assert reply.headers["content-type"] == "application/problem+json"


NO_WORDS = ("%22", "%22%22", "%20", "%00", "%22%20%22", "%22%00+%22%22", "%09%22")
"""Of a search, as a URL has them: signs that are no words."""


async def test_a_search_without_a_word_is_refused_and_finds_not_everything(say: Any) -> None:
    run_id = (await say("POST", "/v1/threads/sought/runs", value={})).json["run_id"]
    for path in (
        "/api/v1/runs", "/api/v1/run-facets", "/api/v1/run-sums?by=agent", "/v1/runs", "/api/v1/threads",
        "/api/v1/prices/listed",
    ):  # fmt: skip
        join = "&" if "?" in path else "?"
        for q in NO_WORDS:
            reply = await say("GET", f"{path}{join}q={q}")
            assert reply.status == 422, (path, q)
            assert b"has no word" in reply.body or b"must not be blank" in reply.body, (path, q)
        assert (await say("GET", f"{path}{join}q=")).status == 422, path
        assert (await say("GET", f"{path}{join}q=**")).status == 200, path
    assert (await say("GET", "/api/v1/runs?q=...")).json["data"] == []
    assert [one["run_id"] for one in (await say("GET", "/api/v1/runs?q=%22sought")).json["data"]] == [run_id]


async def test_a_run_comes_with_its_descendants(say: Any) -> None:
    parent = (await say("POST", "/v1/threads/p/runs", value={"metadata": {"n": 1}})).json["run_id"]
    child = (await say("POST", "/v1/threads/c/runs", value={"parent_run_id": parent})).json["run_id"]
    grandchild = (await say("POST", "/v1/threads/g/runs", value={"parent_run_id": child})).json["run_id"]
    tree = (await say("GET", f"/api/v1/runs/{parent}")).json
    assert (tree["run_id"], tree["status"], tree["metadata"]) == (parent, "queued", {"n": 1})
    assert [one["run_id"] for one in tree["children"]] == [child]
    assert [one["run_id"] for one in tree["children"][0]["children"]] == [grandchild]
    assert tree["children"][0]["parent_run_id"] == parent


async def test_events_are_paged_in_order_and_filtered_by_type(say: Any) -> None:
    await tell(say, "r", "run_start")
    for n in range(8):
        await tell(say, "r", "tool_call" if n % 2 else "step", {"phase": "start", "n": n})
    path = f"/api/v1/runs/{await newest_run(say, 'r')}/events"
    pages = await pages_of(say, path, limit=4)
    assert [[row["seq"] for row in page] for page in pages] == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]
    steps = await pages_of(say, path, limit=3, type="step")
    assert [[row["seq"] for row in page] for page in steps] == [[2, 4, 6], [8]]
    assert steps[0][0]["data"] == {"phase": "start", "n": 0}
    assert steps[0][0]["dialect"] == "steps"
    both = await pages_of(say, path, type="run.started,tool.call")
    assert {row["type"] for row in both[0]} == {"run.started", "tool.call"}
    whole = (await say("GET", f"{path}?limit=1000")).json
    assert (len(whole["data"]), whole["next"]) == (9, None)
    for wrong in ("type=nonsense", "limit=1001", "quarantined=maybe"):
        assert (await say("GET", f"{path}?{wrong}")).status == 422


async def test_what_a_worker_without_the_lease_sent_is_shown(say: Any) -> None:
    run_id = (await say("POST", "/v1/threads/t/runs")).json["run_id"]
    claim = {"worker_id": "w", "lease_seconds": 60}
    assert (await say("POST", f"/api/agents/runs/{run_id}/claim", value=claim)).status == 200
    late = {"worker_id": "late", "events": [{"type": "message.delta", "payload": {"content": "canary"}}]}
    assert (await say("POST", f"/api/agents/runs/{run_id}/events", value=late)).status == 409
    for path in (f"/api/v1/runs/{run_id}/quarantine", f"/api/v1/runs/{run_id}/events?quarantined=true"):
        (kept,) = (await say("GET", path)).json["data"]
        assert kept["data"] == {"content": "canary"}
    assert b"canary" not in (await say("GET", f"/api/v1/runs/{run_id}/events")).body


async def test_checkpoints_are_listed_and_read_back_whole(say: Any) -> None:
    messages: list[Any] = [{"role": "user", "content": "ü"}, {"z": 1, "a": None}]
    await checkpoint(say, "t", 1, messages[:1], tokens_used=5)
    await checkpoint(say, "t", 2, messages)
    await checkpoint(say, "t", 2, [], agent_id="o:ther")
    run_id = await newest_run(say, "t")
    path = f"/api/v1/runs/{run_id}/checkpoints"
    pages = await pages_of(say, path, limit=2)
    assert [[row["checkpoint_id"] for row in page] for page in pages] == [["1:writer", "2:o:ther"], ["2:writer"]]
    assert [row["message_count"] for row in pages[0]] == [1, 0]
    state = (await say("GET", f"{path}/2:writer")).json
    assert state["history"] == messages
    assert list(state["history"][1]) == ["z", "a"], "the order of keys is kept"
    assert (state["run_id"], state["trace_id"], state["status"]) == (run_id, "tr", "in_progress")
    assert (await say("GET", f"{path}/1")).json["figures"]["tokens_used"] == 5
    assert (await say("GET", f"{path}/2:o%3Ather")).json["agent"] == "o:ther"
    for wrong in ("9", "x", "-1", "2:nobody", "9" * 30, ":writer"):
        assert (await say("GET", f"{path}/{wrong}")).status == 404, wrong


async def test_threads_are_paged_and_found(say: Any, clock: HandClock) -> None:
    for n in range(5):
        clock.move(1)
        assert (await say("POST", "/v1/threads", value={"thread_id": f"t{n}", "title": f"T{n}"})).status == 201
    pages = await pages_of(say, "/api/v1/threads", limit=2)
    assert [row["thread_id"] for page in pages for row in page] == ["t4", "t3", "t2", "t1", "t0"]
    assert (await say("GET", "/api/v1/threads/t3")).json["title"] == "T3"
    assert (await say("GET", "/api/v1/threads/nobody")).status == 404


@table("run_id", [ABSENT, "not-a-uuid", "%00"])
@table("path", ["", "/events", "/quarantine", "/checkpoints", "/checkpoints/1"])
async def test_a_run_that_is_not_there(say: Any, run_id: str, path: str) -> None:
    reply = await say("GET", f"/api/v1/runs/{run_id}{path}")
    assert (reply.status, reply.json["code"]) == (404, "not_found")
