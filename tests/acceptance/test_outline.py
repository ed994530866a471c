"""`GET /api/v1/runs/{run_id}/outline`: a run as spans that can be drawn."""

from __future__ import annotations

from tests.acceptance.feeds import claim, complete, create_run, ok, report, step


def outline(client, run_id: str, **query):
    return ok(client.get(f"/api/v1/runs/{run_id}/outline", params=query))


def test_what_a_run_spent_its_time_on(client, unique) -> None:
    run_id = create_run(client, unique("thread"), agent=unique("agent"))["run_id"]
    found = outline(client, run_id)
    assert [(span["kind"], span["end"]) for span in found["spans"]] == [("queue", None)]
    claim(client, run_id, "w")
    report(
        client, run_id, "w",
        {"type": "tool.call", "payload": {"tool": "ls", "call_id": "c1"}},
        {"type": "tool.result", "payload": {"tool": "ls", "call_id": "c1", "success": False}},
        *({"type": "message.delta", "payload": {"content": "x"}} for _ in range(20)),
    )  # fmt: skip
    complete(client, run_id, "w")
    found = outline(client, run_id, width=4000)
    kinds = {span["kind"]: span for span in found["spans"]}
    assert {"queue", "lease", "text"} <= set(kinds)
    assert kinds["lease"]["name"] == "w"
    assert kinds["text"]["count"] == 20
    assert all(span["end"] is not None for span in found["spans"])
    assert found["whole"] is True
    assert found["events"] == ok(client.get(f"/v1/runs/{run_id}"))["last_seq"]


def test_a_long_run_is_few_spans_and_zooming_shows_more(client, unique) -> None:
    key, agent, began_ms = unique("run"), unique("agent"), 1_700_000_000_000
    events = []
    for n in range(3000):
        call = {"type": "tool.result", "data": {"tool": f"t{n % 3}", "duration_ms": 40, "success": n % 5 != 0}}
        # One each second of most of an hour that is over.
        named = {"run_key": key, "event_id": str(n), "client_seq": n + 1, "agent": agent}
        events.append({**named, "time": began_ms + n * 1000, **call})
    for start in range(0, len(events), 500):
        ok(client.post("/api/v1/events", json={"client_id": "c", "events": events[start : start + 500]}))
    [run] = ok(client.get("/api/v1/runs", params={"agent": agent}))["data"]
    hour = {"since": "2023-11-14T22:13:19.000Z", "until": "2023-11-14T23:03:21.000Z"}
    whole = outline(client, run["run_id"], width=300, **hour)
    assert whole["events"] >= 3000
    tools = [span for span in whole["spans"] if span["kind"] == "tool"]
    assert len(whole["spans"]) <= 600
    assert sum(span["count"] for span in tools) == 3000
    assert sum(span["failed"] for span in tools) == 600
    assert [(one["tool"], one["calls"], one["failed"], one["p50_ms"], one["p95_ms"]) for one in whole["tools"]] == [
        (f"t{n}", 1000, 200, 40, 40) for n in range(3)
    ]
    since, until = tools[len(tools) // 3]["begin"], tools[len(tools) * 2 // 3]["begin"]
    part = outline(client, run["run_id"], width=4000, since=since, until=until)
    zoomed = [span for span in part["spans"] if span["kind"] == "tool"]
    assert 0 < sum(span["count"] for span in zoomed) < 3000
    assert len(zoomed) > len(tools) / 3
    assert (part["begin"], part["end"], part["tools"]) == (since, until, whole["tools"])


def test_children_are_spans_with_their_ids(client, unique) -> None:
    parent = create_run(client, unique("thread"))["run_id"]
    child = create_run(client, unique("thread"), agent="below", parent_run_id=parent)["run_id"]
    spans = [span for span in outline(client, parent)["spans"] if span["kind"] == "child"]
    assert [(span["run_id"], span["name"], span["first_seq"]) for span in spans] == [(child, "below", 0)]


def test_agents_of_a_run_are_named(client, unique) -> None:
    key, names = unique("run"), [unique("a"), unique("b")]
    step = {"type": "step", "data": {"name": "s"}, "run_key": key}
    events = [
        {**step, "event_id": str(n), "client_seq": n + 1, "agent": name, "time": 1_700_000_000_000 + n * 1000}
        for n, name in enumerate(names)
    ]
    ok(client.post("/api/v1/events", json={"client_id": "c", "events": events}))
    [run] = ok(client.get("/api/v1/runs", params={"agent": names[0]}))["data"]
    found = outline(client, run["run_id"], since="2023-11-14T22:13:19.000Z", until="2023-11-14T22:13:23.000Z")
    numbers = {span["agent"] for span in found["spans"]} - {0}
    assert {found["agents"][number - 1] for number in numbers} == set(names)


def test_what_is_refused(client, other_org, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    assert other_org.get(f"/api/v1/runs/{run_id}/outline").status_code == 404
    late, early = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
    for query in ({"width": 0}, {"width": 4001}, {"since": late, "until": early}, {"since": "x"}, {"zoom": 1}):
        assert client.get(f"/api/v1/runs/{run_id}/outline", params=query).status_code == 422, query
    outline(client, run_id, since="1999-01-01T00:00:00Z", until="1999-01-02T00:00:00Z")
    step(client, unique("sdk"), "run_start")
