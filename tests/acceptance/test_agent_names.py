"""One form of an agent's name wherever it comes in: what is asked by it finds what is kept under it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import Json, ok
from tests.support.senders import ingest, sdk_event
from tests.support.tables import table

SPELLINGS = (
    "spender",
    "spender ",
    " spender",
    "spender\t",
    "spender\n",
    "spender\u00a0",
    "spender\u3000",
    "spender\u200b",
)
ASKED = (
    ("/api/v1/runs", "agent"),
    ("/v1/runs", "agent"),
    ("/api/v1/usage", "agent"),
    ("/api/v1/run-facets", "agent"),
    ("/api/v1/agents", "name"),
)
"""Lists, and the parameter that asks for an agent."""


@pytest.fixture
def org(server, unique) -> httpx2.Client:
    """A client of an organisation of its own."""
    client: httpx2.Client = server.client(server.make_org(unique("org"))[1])
    return client


def read(org: httpx2.Client, path: str, params: Json) -> Any:
    return ok(org.get(path, params=params))


def spend(org: httpx2.Client, agent: str, run: str, usd: float) -> Json:
    told: Json = ok(ingest(org, sdk_event("run_end", run, {"cost_usd": usd}, agent_name=agent)))
    return told


def budget(org: httpx2.Client, agent: str) -> Json:
    body = {"name": repr(agent), "scope": {"agent": agent}, "amount_usd": 1, "action": "pause"}
    made: Json = ok(org.post("/api/v1/budgets", json=body), 201)
    return made


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_whatever_is_asked_by_a_name_is_asked_of_one_agent(org: httpx2.Client, spelling: str) -> None:
    limit = budget(org, spelling)
    assert limit["scope"] == {"agent": "spender"}
    rule: dict[str, Any] = {"name": "r", "trigger": "error", "scope": {"agent": spelling}, "channels": []}
    told = ok(org.post("/api/v1/alert-rules", json=rule), 201)
    assert told["scope"] == {"agent": "spender"}
    ok(ingest(org, sdk_event("run_start", "holder", {}, agent_name="other")))
    hold = {"run_id": "holder", "amount_usd": 5, "agent": spelling}
    assert ok(org.post("/api/v1/budgets/reserve", json=hold))["refused_by"] == limit["budget_id"]
    assert "budget_warning" in spend(org, "spender", "a", 1)
    assert org.post("/v1/threads/t/runs", json={"input": "x", "agent": spelling}).status_code == 402
    ok(ingest(org, sdk_event("error", "b", {"error_type": "E", "error_message": "no paper"}, agent_name="spender")))
    assert len(ok(org.get("/api/v1/alerts", params={"rule_id": told["rule_id"]}))["data"]) == 1
    tried = ok(org.post("/api/v1/alert-rules:preview", json={"trigger": "error", "scope": {"agent": spelling}}))
    assert len(tried["fired"]) == 1
    for path, name in ASKED:
        given, expected, nobodys = (read(org, path, {name: agent}) for agent in (spelling, "spender", "nobody"))
        assert given == expected != nobodys, path
    persona = {"persona_key": "ed", "version": "1", "agent": spelling, "instructions": "x"}
    made, agent = org.post("/api/v1/personas", json=persona), org.post("/api/v1/agents", json={"name": spelling})
    if spelling.strip("\t\n") == spelling:
        assert (made.json()["agent"], agent.json()["name"]) == ("spender", "spender")
    else:
        assert (made.status_code, agent.status_code) == (422, 422), "who sets an agent up is told"
    assert [one["name"] for one in ok(org.get("/api/v1/agents"))["data"]] == ["other", "spender"]


@table("spelling", SPELLINGS)
def test_a_worker_takes_the_runs_of_the_agent_that_it_names(org: httpx2.Client, spelling: str) -> None:
    ok(org.post(f"/v1/threads/{SPELLINGS.index(spelling)}/runs", json={"input": "x", "agent": "spender"}), 201)
    claim = {"worker_id": "w", "agents": [spelling], "lease_seconds": 60}
    assert ok(org.post("/api/agents/runs/claim", json=claim))["run"]["role"] == "spender"


@table("blank", [" ", "\t", "\u200b"])
def test_a_name_of_blanks_alone_is_refused(org: httpx2.Client, blank: str) -> None:
    """It would mean any agent."""
    refused = [
        org.post("/api/v1/budgets", json={"name": "b", "scope": {"agent": blank}, "amount_usd": 1}),
        org.post("/api/v1/alert-rules", json={"name": "r", "trigger": "error", "scope": {"agent": blank}}),
        org.get("/api/v1/runs", params={"agent": blank}),
    ]
    assert [one.status_code for one in refused] == [422, 422, 422]
    assert "must not be blank" in refused[0].text


def test_the_ids_of_threads_stay_as_they_are(org: httpx2.Client) -> None:
    body = {"name": "b", "scope": {"thread_id": "t "}, "amount_usd": 1}
    assert ok(org.post("/api/v1/budgets", json=body), 201)["scope"] == {"thread_id": "t "}


def test_a_reservation_takes_the_name_that_a_client_gave_its_run(org: httpx2.Client) -> None:
    """A `run_key` comes before an `sdk_run_id`."""
    budget(org, "theirs")
    ok(ingest(org, sdk_event("run_start", "letter", {}, agent_name="theirs")))
    ask = {"run_id": "letter", "amount_usd": 5}
    assert not ok(org.post("/api/v1/budgets/reserve", json=ask))["granted"]
    event = {"type": "run.started", "run_key": "letter", "event_id": "1", "client_seq": 1, "agent": "free", "data": {}}
    ok(org.post("/api/v1/events", json={"client_id": "c", "events": [event]}))
    assert ok(org.post("/api/v1/budgets/reserve", json=ask))["granted"]
    assert org.post("/api/v1/budgets/reserve", json={**ask, "run_id": "unknown"}).status_code == 404
