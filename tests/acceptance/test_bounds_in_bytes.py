"""What one sender stores or asks for costs the server a bounded number of bytes: rows, pages, memory.

Resident memory is that of the process, before and after, on a server of each test's own where it matters.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import claim, create_run, ok
from tests.acceptance.test_loop_blocks import batch, event, post, results
from tests.support.figures import MIB
from tests.support.server import Server

PAGE_BYTES = 4 * MIB
ROW_BYTES = 64 * 1024


@pytest.fixture
def own(fresh_server: Callable[..., Server]) -> Server:
    return fresh_server()


@pytest.fixture
def sender(own: Server) -> httpx2.Client:
    return own.client(timeout=120)


def stored_rows(server: Server) -> list[int]:
    """The length of each run's row in the database."""
    return [length for (length,) in server.stored("SELECT length(doc) FROM run ORDER BY run")]


def pages(client: httpx2.Client, path: str, **query: Any) -> list[list[dict[str, Any]]]:
    """All pages of a list; none is longer than a page and the row that filled it."""
    found: list[list[dict[str, Any]]] = []
    cursor = None
    while True:
        reply = client.get(path, params={**query, **({"cursor": cursor} if cursor else {})})
        page = ok(reply)
        assert len(reply.content) <= PAGE_BYTES + MIB, f"{path}: a page of {len(reply.content)} bytes"
        found.append(page["data"])
        cursor = page["next"]
        if cursor is None:
            return found


def test_metadata_past_its_bound_stays_in_the_event(own: Server, sender: httpx2.Client) -> None:
    told = {f"key {n}": "x" * 1000 for n in range(3900)}
    before = own.resident_bytes()
    run_ids = []
    for n in range(10):
        reply = post(sender, "/api/v1/events", batch(event(f"e{n}", f"r{n}", "run.started", metadata=told)))
        [warning] = ok(reply)["warnings"]
        assert (warning["index"], warning["field"]) == (0, "data.metadata")
        assert "16384 bytes" in warning["message"]
        run_ids.append(ok(reply)["results"][0]["run_id"])
        for seq in range(5):
            key = f"e{n}-{seq}"
            results(post(sender, "/api/v1/events", batch(event(key, f"r{n}", "step", seq + 2, name="n"))))
    assert max(stored_rows(own)) < 4096
    assert own.resident_bytes("VmHWM") - before < 120 * MIB
    [page] = pages(sender, "/api/v1/runs", limit=200)
    assert [row["metadata"] for row in page] == [{}] * 10
    [kept] = ok(sender.get(f"/api/v1/runs/{run_ids[0]}/events", params={"limit": 1}))["data"]
    assert kept["data"]["metadata"] == told


def test_metadata_that_does_not_fit_any_more_leaves_what_is_there(own: Server, sender: httpx2.Client) -> None:
    for n in range(3):
        told = {f"part {n}": "x" * 7000}
        reply = post(sender, "/api/v1/events", batch(event(f"e{n}", "r", "run.started", n + 1, metadata=told)))
        found = [(one["index"], one["field"]) for one in ok(reply).get("warnings", [])]
        assert found == ([(0, "data.metadata")] if n == 2 else [])
    [[row]] = pages(sender, "/api/v1/runs")
    assert sorted(row["metadata"]) == ["part 0", "part 1"]


def test_metadata_of_a_new_run_past_its_bound_is_warned_about(own: Server, sender: httpx2.Client) -> None:
    reply = sender.post("/v1/threads/t/runs", json={"input": {"a": 1}, "metadata": {"x": "y" * MIB}})
    made = ok(reply, 201)
    assert [warning["field"] for warning in made["warnings"]] == ["metadata"]
    assert ok(sender.get(f"/api/v1/runs/{made['run_id']}"))["metadata"] == {}
    assert max(stored_rows(own)) < 4096
    again = ok(post(sender, f"/v1/runs/{made['run_id']}:cancel", {}))
    assert again == {"ok": True}


def test_a_row_is_bounded_whatever_is_told_of_its_run(own: Server, sender: httpx2.Client) -> None:
    """Metadata, open calls with long ids, questions, agents with long names, clients with holes in their numbers."""
    key = "full"
    kinds: list[dict[str, Any]] = [{"type": "run.started", "data": {"metadata": {"m": "x" * 16_000}}}]
    for n in range(80):
        kinds.append({"type": "tool.call", "data": {"tool": "t" * 200, "tool_call_id": f"{n} " + "i" * 8000}})
        asked = {"question": f"{n} " + "q" * 1990, "question_key": f"{n}".rjust(100, "k")}
        kinds.append({"type": "run.waiting_for_input", "data": asked})
    for n in range(400):
        usage = {"input_tokens": 10**12 + n, "output_tokens": 10**12, "cost_usd": 12345.678901234}
        kinds.append({"type": "model.call", "agent": f"{n} " + "a" * 190, "data": {"model": "m" * 200, **usage}})
    for first in range(0, len(kinds), 100):
        events = [
            {"event_id": f"e{first + n}", "run_key": key, "client_seq": first + n + 1, **one}
            for n, one in enumerate(kinds[first : first + 100])
        ]
        ok(post(sender, "/api/v1/events", batch(*events)))
    for client in range(70):
        name = f"client-{client}-" + "c" * 100
        holes = [event(f"{name}{n}", key, "step", 1000 * n + 1, name="n") for n in range(200)]
        ok(post(sender, "/api/v1/events", batch(*holes, client_id=name)))
    [length] = stored_rows(own)
    assert length <= ROW_BYTES
    [run] = ok(sender.get("/api/v1/runs"))["data"]
    for n in range(15):
        body = {"type": "message", "content": f"{n} " + "m" * 4000}
        ok(sender.post(f"/v1/runs/{run['run_id']}/input", json=body))
    answered = [
        sender.post(
            f"/v1/runs/{run['run_id']}/input", json={"question_id": one["question_id"], "content": "a" * 2000}
        ).status_code
        for one in run["questions"][:32]
    ]
    assert set(answered) == {200}, "what can be asked can be answered"
    [length] = stored_rows(own)
    assert length <= ROW_BYTES, "with all that waits for its agent"


def test_what_waits_for_an_agent_is_bounded_in_bytes(own: Server, sender: httpx2.Client) -> None:
    [stored] = results(post(sender, "/api/v1/events", batch(event("e", "r", "run.started"))))
    path = f"/v1/runs/{stored['run_id']}/input"
    codes = [sender.post(path, json={"content": "x" * 32_000}).status_code for _ in range(4)]
    assert codes == [200, 200, 409, 409]
    assert stored_rows(own)[0] <= 4096


def large_runs(sender: httpx2.Client, count: int) -> str:
    """Runs of a thread with large rows: metadata, questions whose characters take six bytes each, and open calls."""
    told = {"x": "y" * 16_000}
    starts = [event(f"e{n}", f"r{n}", "run.started", metadata=told) | {"thread": "t"} for n in range(count)]
    results(post(sender, "/api/v1/events", batch(*starts)))
    for n in range(count):
        asked = [
            event(f"q{n}.{one}", f"r{n}", "run.waiting_for_input", one + 2, question="\x01" * 2000) for one in range(2)
        ]
        calls = [
            event(f"c{n}.{one}", f"r{n}", "tool.call", one + 4, tool="t" * 200, tool_call_id=f"{one}".rjust(190, "é"))
            for one in range(10)
        ]
        results(post(sender, "/api/v1/events", batch(*asked, *calls)))
    return "/api/v1/runs"


def large_events(sender: httpx2.Client, count: int) -> str:
    events = [event(f"e{n}", "r", "step", n + 1, name="n", text=f"{n} " + "y" * 60_000) for n in range(count)]
    stored = results(post(sender, "/api/v1/events", batch(*events)))
    return f"/api/v1/runs/{stored[0]['run_id']}/events"


def large_personas(sender: httpx2.Client, count: int) -> str:
    for n in range(count):
        persona = {"persona_key": f"p{n}", "version": "1", "agent": "a", "instructions": f"{n} " + "y" * 60_000}
        ok(post(sender, "/api/v1/personas", persona), 201)
    return "/api/v1/personas"


@pytest.mark.parametrize(("make", "count"), [(large_runs, 190), (large_events, 100), (large_personas, 100)])
def test_a_list_ends_a_page_by_its_size(
    own: Server, sender: httpx2.Client, make: Callable[[httpx2.Client, int], str], count: int
) -> None:
    path = make(sender, count)
    found = pages(sender, path, limit=200)
    assert len(found) == 2
    assert PAGE_BYTES // ROW_BYTES <= len(found[0]) < count
    whole = [json.dumps(row) for page in found for row in page]
    assert len(whole) == len(set(whole)) == count


def test_a_list_without_pages_is_whole(own: Server, sender: httpx2.Client) -> None:
    large_runs(sender, 190)
    assert len(ok(sender.get("/v1/threads/t/runs", params={"limit": 200}))) == 190
    first = sender.get("/v1/runs", params={"limit": 200})
    rest = sender.get(first.links["next"]["url"])
    assert len(ok(first)) < 190, "this one has pages"
    assert len({row["run_id"] for row in ok(first) + ok(rest)}) == 190


def test_what_a_lost_worker_sends_is_paged_by_its_size(own: Server, sender: httpx2.Client) -> None:
    run_id = create_run(sender, "t")["run_id"]
    claim(sender, run_id, "w", lease_seconds=3600)
    for first in range(8):
        events = [
            {"type": "log", "event_id": f"{first}-{n}", "payload": {"x": f"{first}-{n}" + "y" * 60_000}}
            for n in range(20)
        ]
        body = {"worker_id": "another", "events": events}
        assert post(sender, f"/api/agents/runs/{run_id}/events", body).status_code == 409
    found = pages(sender, f"/api/v1/runs/{run_id}/quarantine", limit=200)
    assert len(found) > 1
    numbers = [one["seq"] for page in found for one in page]
    assert numbers == list(range(1, 161)), "the run's own numbers"


def test_approvals_that_wait_are_listed_by_their_size(own: Server, sender: httpx2.Client) -> None:
    before = own.resident_bytes()
    for n in range(12):
        data = {"thread_id": f"t{n}", "trace_id": f"x{n}", "step_index": 1, "status": "waiting_for_approval"}
        body = {"org_id": "o", "events": [{"type": "checkpoint", "data": {**data, "history": [], "x": "y" * 2 * MIB}}]}
        ok(post(sender, "/internal/v1/runners/events", body))
    reply = sender.get("/approvals")
    assert reply.status_code == 200
    assert len(reply.content) <= PAGE_BYTES + MIB
    assert own.resident_bytes("VmHWM") - before < 150 * MIB


def test_bodies_that_are_refused_are_not_kept(own: Server, sender: httpx2.Client) -> None:
    body = json.dumps({"event_type": "step", "sdk_run_id": "s", "payload": {"x": "y" * 14 * MIB}}).encode()
    for _ in range(2):
        assert post(sender, "/api/ingest", body).status_code == 413
    before = own.resident_bytes()
    for _ in range(8):
        assert post(sender, "/api/ingest", body).status_code == 413
    assert own.resident_bytes() - before < 64 * MIB


def test_many_repeats_of_large_events_are_not_read_back(own: Server, sender: httpx2.Client) -> None:
    """A small request that names many large events must not fetch them."""
    for n in range(30):
        ok(post(sender, "/api/v1/events", batch(event(f"big{n}", "r", "step", n + 1, name="n", x="y" * 2 * MIB))))
    before = own.resident_bytes()
    for _ in range(3):
        again = [event(f"big{n}", "r", "step", n + 1, name="n", x="short") for n in range(30)]
        assert {one["code"] for one in results(post(sender, "/api/v1/events", batch(*again)))} == {"id_reused"}
    assert own.resident_bytes() - before < 40 * MIB
