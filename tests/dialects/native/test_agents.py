"""Agents, lanes, workers and usage over the native API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.asgi.conversation import HandClock, ask
from tests.dialects.native.feeds import pages_of, tell
from towerlog.asgi.app import App


async def test_agents_are_paged_by_name_and_found_by_it(say: Any) -> None:
    for name in ("b", "a", "ü c", "d"):
        await tell(say, f"r-{name}", "run_start", agent_name=name)
    pages = await pages_of(say, "/api/v1/agents", limit=3)
    assert [[row["name"] for row in page] for page in pages] == [["a", "b", "d"], ["ü c"]]
    (found,) = (await say("GET", "/api/v1/agents?name=%C3%BC%20c")).json["data"]
    assert found == pages[1][0]
    assert (await say("GET", f"/api/v1/agents/{found['agent_id'].upper()}")).json == found
    assert found["event_count"] == 1
    assert (await say("GET", "/api/v1/agents?name=nobody")).json == {"data": [], "next": None}
    assert (await say("GET", "/api/v1/agents/nobody")).status == 404


async def test_an_agent_is_registered_once(app: App, say: Any) -> None:
    first = await say("POST", "/api/v1/agents", value={"name": "new"})
    again = await say("POST", "/api/v1/agents", value={"name": "new"})
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    for wrong in ({}, {"name": ""}, {"name": 7}, {"name": "x" * 201}, {"name": "a/b"}, []):
        assert (await say("POST", "/api/v1/agents", value=wrong)).status == 422, wrong
    reader = (await say("POST", "/api/v1/keys", value={"name": "k", "scopes": ["read"]})).json["key"]
    assert (await ask(app, "POST", "/api/v1/agents", key=reader, value={"name": "x"})).status == 403


async def test_the_queue_and_who_holds_what(say: Any, clock: HandClock) -> None:
    waiting = (await say("POST", "/v1/threads/t1/runs", value={"labels": {"gpu": "yes"}})).json["run_id"]
    clock.move(5)
    held = (await say("POST", "/v1/threads/t2/runs")).json["run_id"]
    claim = {"worker_id": "w", "lease_seconds": 60}
    assert (await say("POST", f"/api/agents/runs/{held}/claim", value=claim)).status == 200
    lanes = (await say("GET", "/api/v1/lanes")).json
    assert (lanes["queued"], lanes["held"], lanes["next"]) == (1, 1, None)
    assert {lane["run_id"]: (lane["lease"]["state"], lane["lease"]["worker_id"]) for lane in lanes["data"]} == {
        waiting: ("queued", None),
        held: ("held", "w"),
    }
    assert [lane["labels"] for lane in lanes["data"] if lane["run_id"] == waiting] == [{"gpu": "yes"}]
    assert [lane["run_id"] for lane in (await say("GET", "/api/v1/lanes?state=held")).json["data"]] == [held]
    assert [lane["run_id"] for lane in (await say("GET", "/api/v1/lanes?state=queued")).json["data"]] == [waiting]
    (worker,) = (await say("GET", "/api/v1/workers")).json["data"]
    assert (worker["worker_id"], worker["run_ids"]) == ("w", [held])
    assert (await say("GET", "/api/v1/workers?worker_id=w")).json["data"] == [worker]
    assert (await say("GET", "/api/v1/workers?worker_id=x")).json["data"] == []
    for wrong in ("lanes?state=nonsense", "lanes?limit=0", "workers?limit=x", f"workers?worker_id={'w' * 201}"):
        assert (await say("GET", f"/api/v1/{wrong}")).status == 422


@pytest.mark.parametrize(("by", "expected"), [("agent", {"a", "b"}), ("model", {"gpt-4"})])
async def test_usage_is_told_by_what_it_is_asked_for(say: Any, by: str, expected: set[str]) -> None:
    for agent, cost in (("a", 0.25), ("b", 0.000000001)):
        await tell(say, f"r-{agent}", "run_start", agent_name=agent)
        await tell(say, f"r-{agent}", "run_end", {"model": "gpt-4", "cost_usd": cost, "prompt_tokens": 10})
    rows = [row for page in await pages_of(say, "/api/v1/usage", by=by, limit=1) for row in page]
    named = {row[by] for row in rows if row[by]}
    assert named == expected
    assert {key for row in rows for key in ("hour", "agent", "model") if key != by and row[key] is not None} == set()
    body = (await say("GET", f"/api/v1/usage?by={by}")).body
    costs = [row["cost_usd"] for row in json.loads(body, parse_float=str)["data"]]
    assert sum(round(float(cost) * 10**9) for cost in costs if cost is not None) == 250_000_001


async def test_usage_by_hour_has_hours(say: Any) -> None:
    await tell(say, "r", "run_start")
    (row,) = (await say("GET", "/api/v1/usage")).json["data"]
    assert row["hour"].endswith(":00:00.000Z")
    assert row["runs_started"] == 1
    for wrong in ("by=year", "since=x", "cursor=x", "limit=0"):
        assert (await say("GET", f"/api/v1/usage?{wrong}")).status == 422, wrong
