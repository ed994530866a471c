"""Filters of the list of runs that look into rows, counts by what runs have in common, and how long they took."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from tests.acceptance.feeds import complete, create_run, fail, held_run, ok
from tests.support.senders import tell

Json = dict[str, Any]


def ids(client, **query: Any) -> set[str]:
    return {row["run_id"] for row in ok(client.get("/api/v1/runs", params={"limit": 200, **query}))["data"]}


@pytest.fixture(scope="module")
def runs(server, client) -> Json:
    """Some runs of one thread prefix, by a name for each."""
    made: Json = {}
    meta = {"ticket": "T-1", "urgent": True, "tries": 3, "who": None, "zwölf": "ü"}
    made["plain"] = create_run(client, "figures-1", agent="figures")["run_id"]
    made["told"] = create_run(client, "figures-2", agent="figures", metadata=meta)["run_id"]
    made["labelled"] = create_run(client, "figures-3", agent="figures", labels={"gpu": "a100", "zone": "b"})["run_id"]
    made["failed"] = held_run(client, "figures-4", "fw", agent="figures", metadata={"ticket": "T-2"})
    fail(client, made["failed"], "fw", "no towers")
    made["done"] = held_run(client, "figures-5", "fw", agent="figures")
    complete(client, made["done"], "fw")
    return made


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"metadata": "ticket:T-1"}, {"told"}),
        ({"metadata": "ticket:T-1,urgent:true"}, {"told"}),
        ({"metadata": "ticket:T-1,urgent:false"}, set()),
        ({"metadata": "tries:3"}, {"told"}),
        ({"metadata": "who:null"}, {"told"}),
        ({"metadata": "zwölf:ü"}, {"told"}),
        ({"metadata": "ticket:T-2", "status": "failed"}, {"failed"}),
        ({"label": "gpu:a100"}, {"labelled"}),
        ({"label": "gpu:a100,zone:b"}, {"labelled"}),
        ({"label": "gpu:h100"}, set()),
        ({"has_errors": "true"}, {"failed"}),
        ({"has_errors": "false"}, {"plain", "told", "labelled", "done"}),
    ],
)
def test_what_filters_find(client, runs, query, names) -> None:
    assert ids(client, agent="figures", **query) == {runs[name] for name in names}


def test_a_label_is_found_whoever_gave_it(client, unique) -> None:
    """For workers, by a recorder, or as a member of the metadata: as the scope of an alert rule means it."""
    agent, told = unique("agent"), unique("run")
    queued = create_run(client, unique("thread"), agent=agent, labels={"team": "a"})["run_id"]
    tagged = create_run(client, unique("thread"), agent=agent, metadata={"team": "a", "labels": "none"})["run_id"]
    create_run(client, unique("thread"), agent=agent, labels={"team": "b"})
    event = {"run_key": told, "event_id": told, "client_seq": 1, "type": "run.started", "agent": agent}
    event["data"] = {"labels": {"team": "a"}, "metadata": {"team": "c"}}
    sent = ok(client.post("/api/v1/events", json={"client_id": unique("client"), "events": [event]}))
    recorded = sent["results"][0]["run_id"]
    assert ids(client, agent=agent, label="team:a") == {queued, tagged, recorded}
    assert ids(client, agent=agent, label="team:c") == {recorded}
    assert ids(client, agent=agent, label="labels:a") == set()


def test_cost_is_a_filter(client, unique) -> None:
    agent, events = unique("agent"), []
    for usd in (0.25, 1.5):
        key = unique("run")
        told = {"type": "run.started", "agent": agent}, {"type": "model.call", "data": {"cost_usd": usd}}
        events += [
            {"run_key": key, "event_id": f"{key}-{n}", "client_seq": n, **one} for n, one in enumerate(told, start=1)
        ]
    ok(client.post("/api/v1/events", json={"client_id": unique("client"), "events": events}))
    listed = ok(client.get("/api/v1/runs", params={"agent": agent}))["data"]
    rows = {row["total_cost_usd"]: row["run_id"] for row in listed}
    assert set(rows) == {0.25, 1.5}
    assert ids(client, agent=agent, min_cost_usd=1) == {rows[1.5]}
    assert ids(client, agent=agent, max_cost_usd=0.25) == {rows[0.25]}
    assert ids(client, agent=agent, min_cost_usd="0.26", max_cost_usd="1.49") == set()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"metadata": "ticket"}, "metadata"),
        ({"metadata": 'a"b:1'}, "metadata"),
        ({"metadata": ":1"}, "metadata"),
        ({"label": ",".join(f"n{n}:1" for n in range(9))}, "label"),
        ({"min_cost_usd": "much"}, "min_cost_usd"),
        ({"min_cost_usd": "null"}, "min_cost_usd"),
        ({"max_cost_usd": " null"}, "max_cost_usd"),
        ({"max_cost_usd": "Infinity"}, "max_cost_usd"),
        ({"max_cost_usd": "NaN"}, "max_cost_usd"),
        ({"has_errors": "null"}, "has_errors"),
        ({"since": "null"}, "since"),
        ({"has_errors": "yes"}, "has_errors"),
        ({"silent": "1"}, "silent"),
    ],
)
def test_what_is_no_filter_is_named(client, query, field) -> None:
    for path in ("runs", "run-facets", "run-durations", "run-sums"):
        refused = client.get(f"/api/v1/{path}", params=query)
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith(f"{field}:")


def test_counts_by_what_runs_have_in_common(client, runs) -> None:
    found = ok(client.get("/api/v1/run-facets", params={"agent": "figures"}))
    assert found["total"] == len(runs)
    assert found["status"] == [
        {"value": "queued", "runs": 3},
        {"value": "completed", "runs": 1},
        {"value": "failed", "runs": 1},
    ]
    assert found["agent"] == [{"value": "figures", "runs": len(runs)}]
    assert found["model"] == found["persona_id"] == [{"value": None, "runs": len(runs)}]
    few = ok(client.get("/api/v1/run-facets", params={"agent": "figures", "metadata": "ticket:T-1"}))
    assert few["total"] == 1
    assert ok(client.get("/api/v1/run-facets", params={"agent": "nobody"}))["total"] == 0


def test_how_long_runs_took(client, unique) -> None:
    agent = unique("agent")
    took = []
    for n in range(7):
        run_id = held_run(client, unique("thread"), "fw", agent=agent)
        (complete if n % 2 else lambda c, r, w: fail(c, r, w, "no"))(client, run_id, "fw")
        took.append(ok(client.get(f"/v1/runs/{run_id}"))["duration_ms"])
    create_run(client, unique("thread"), agent=agent)
    for by in ("agent", "hour", "day"):
        rows = ok(client.get("/api/v1/run-durations", params={"by": by, "agent": agent}))["data"]
        assert sum(row["runs"] for row in rows) == 7, "one that has not ended took no time yet"
    [row] = ok(client.get("/api/v1/run-durations", params={"by": "agent", "agent": agent}))["data"]
    assert row == {
        "group": agent,
        "runs": 7,
        "p50_ms": statistics.median(took),
        "p95_ms": max(took),
        "max_ms": max(took),
    }
    by_status = ok(client.get("/api/v1/run-durations", params={"by": "status", "agent": agent}))["data"]
    assert {(one["group"], one["runs"]) for one in by_status} == {("failed", 4), ("completed", 3)}
    [one] = ok(client.get("/api/v1/run-durations", params={"by": "hour", "agent": agent, "limit": 1}))["data"]
    assert one["group"].endswith(":00:00.000Z")
    assert client.get("/api/v1/run-durations", params={"by": "mood"}).status_code == 422


def test_what_the_runs_of_a_thread_have_used(client, unique) -> None:
    agent, threads = unique("agent"), [unique("thread") for _ in range(2)]
    for n, thread in enumerate([threads[0], threads[1], threads[1]]):
        name = unique("sdk")
        tell(client, "run_start", name, {"input": "x", "thread_id": thread}, agent_name=agent)
        used = {"prompt_tokens": 10, "completion_tokens": n, "model": "no-such-model", "cost_usd": 0.25}
        tell(client, "run_end", name, used if n else {"model": "no-such-model"})
    asked = {"by": "thread", "agent": agent}
    dear, cheap = ok(client.get("/api/v1/run-sums", params=asked))["data"]
    assert (dear["group"], dear["runs"], dear["cost_usd"], dear["unpriced_calls"]) == (threads[1], 2, 0.5, 0)
    assert (dear["usage"]["input_tokens"], dear["usage"]["output_tokens"], dear["usage"]["total_tokens"]) == (20, 3, 23)
    assert (cheap["group"], cheap["runs"], cheap["cost_usd"]) == (threads[0], 1, None), "unknown is not zero"
    assert ok(client.get("/api/v1/run-sums", params={**asked, "limit": 1}))["data"] == [dear]
    rows = ok(client.get("/api/v1/run-sums", params={"by": "hour", "agent": agent}))["data"]
    assert sum(row["runs"] for row in rows) == 3
    assert client.get("/api/v1/run-sums", params={"by": "mood"}).status_code == 422


def test_another_organisation_counts_its_own(other_org, runs) -> None:
    assert ok(other_org.get("/api/v1/run-facets", params={"agent": "figures"}))["total"] == 0
    assert ok(other_org.get("/api/v1/run-durations", params={"by": "agent", "agent": "figures"}))["data"] == []
    assert ok(other_org.get("/api/v1/run-sums", params={"by": "agent", "agent": "figures"}))["data"] == []
    assert ids(other_org, metadata="ticket:T-1") == set()
