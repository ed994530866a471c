"""Retention and erasure on a running server: what is gone, what is left, who was reading meanwhile, and a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import cancel, create_run, log_of, ok, snapshot, started
from tests.support.readback import ReadBack
from tests.support.samples import slow
from tests.support.senders import ingest, save_batch, sdk_event
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until

WORD = "a-word-of-a-person-81f3"


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """A server of this test's own: its files are looked through."""
    with Server(tmp_path / "data", NO_LIMITS) as server:
        yield server


def told_run(client: httpx2.Client, name: str, steps: int = 5) -> str:
    """A run that has ended, with the word in each of its events; its id."""
    ok(ingest(client, sdk_event("run_start", name, {"input": WORD}, agent_name="writer")))
    for number in range(steps):
        ok(ingest(client, sdk_event("step", name, {"node_name": WORD, "n": number}, event_id=f"s{number}")))
    ok(ingest(client, sdk_event("run_end", name, {"output": WORD, "total_cost": 0.5})))
    [row] = ok(client.get("/api/v1/runs", params={"q": f"steps:{name}"}))["data"]
    run_id: str = row["run_id"]
    return run_id


def files_with_word(server: Server) -> list[str]:
    return server.places_of(WORD)


def test_what_a_policy_would_erase_is_told_before_it_is_set(own: Server) -> None:
    client = own.client()
    run_id = told_run(client, "r1")
    told_run(client, "r2")

    def due(**policy: Any) -> Any:
        return ok(client.post("/api/v1/retention/run", json={"dry_run": True, "policy": policy}))["data"]

    assert [(one["kind"], one["runs"]) for one in due(kind="events", max_bytes=0)] == [("events", 2)]
    assert [one["runs"] for one in due(kind="events", max_age_seconds=86400)] == [0]
    # By size as much as has to go, also where there is an age.
    held = due(kind="events", max_bytes=0)[0]["held_bytes"]
    assert [one["runs"] for one in due(kind="events", max_age_seconds=86400, max_bytes=held // 2)] == [1]
    for wrong, field in (
        ({"dry_run": False, "policy": {"kind": "events", "max_bytes": 0}}, "policy"),
        ({"dry_run": True, "policy": {"kind": "all", "max_bytes": 0}}, "policy.kind"),
        ({"dry_run": True, "policy": {"kind": "events"}}, "max_age_seconds"),
    ):
        reply = client.post("/api/v1/retention/run", json=wrong)
        assert (reply.status_code, list(reply.json()["errors"])) == (422, [field]), reply.text
    assert ok(client.get("/api/v1/retention"))["data"] == []
    assert ok(client.get(f"/api/v1/runs/{run_id}"))["events_erased_at"] is None


def test_an_erased_run_keeps_its_figures_and_nothing_else(own: Server) -> None:
    client = own.client()
    run_id = told_run(client, "r1")
    before = ok(client.get(f"/api/v1/runs/{run_id}"))
    usage = ok(client.get("/api/v1/usage"))
    report = ok(client.delete(f"/api/v1/runs/{run_id}"))
    assert [one["run_id"] for one in report["runs"]] == [run_id]
    assert {one["kind"]: one["count"] for one in report["runs"][0]["erased"]} == {"events": before["last_seq"]}
    assert len(report["not_reached"]) >= 2
    after = ok(client.get(f"/api/v1/runs/{run_id}"))
    kept = ("status", "total_cost_usd", "total_input_tokens", "duration_ms", "agent", "started_at", "ended_at")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after["events_erased_at"] is not None
    assert (after["input"], after["result"], after["metadata"]) == (None, None, {})
    assert [row["events_erased_at"] for row in ok(client.get("/api/v1/runs"))["data"]] == [after["events_erased_at"]]
    events = ok(client.get(f"/api/v1/runs/{run_id}/events"))["data"]
    assert [event["seq"] for event in events] == list(range(1, after["last_seq"] + 1))
    assert {event["type"] for event in events[:-1]} == {"erased"}
    assert events[-1]["type"] == "run.erased"
    assert WORD not in str(events)
    assert sum(cell["cost_usd"] or 0 for cell in ok(client.get("/api/v1/usage"))["data"]) == sum(
        cell["cost_usd"] or 0 for cell in usage["data"]
    )
    wait_until(lambda: not files_with_word(own), "the bytes to be overwritten")


def test_what_was_said_is_gone_from_stored_replies(own: Server) -> None:
    """A reply that was kept for an Idempotency-Key, and what it could be made of again."""
    client = own.client()

    def told(number: int, kind: str, **data: Any) -> dict[str, Any]:
        event = {"event_id": f"e{number}", "client_seq": number, "run_key": "r", "type": kind, "data": data}
        batch = {"client_id": "c", "runs": ["r"], "events": [event]}
        reply = client.post("/api/v1/events", json=batch, headers={"Idempotency-Key": f"k{number}"})
        return dict(ok(reply))

    run_id = told(1, "run.started", input=WORD)["results"][0]["run_id"]
    told(2, "run.waiting_for_input", question=WORD, question_key="q")
    for number, kind in enumerate(("message", "input"), 3):
        ok(client.post(f"/v1/runs/{run_id}/input", json={"content": WORD, "type": kind}))
        assert WORD in str(told(number, "step", name=WORD)["commands"])
    told(5, "run.failed", error=WORD)
    assert files_with_word(own), "it is found where it is"
    erased = ok(client.delete(f"/api/v1/runs/{run_id}"))["runs"][0]["erased"]
    assert {one["kind"]: one["count"] for one in erased}["replies"] == 5
    wait_until(lambda: not files_with_word(own), "the bytes to be overwritten")
    again = told(3, "step", name=WORD)
    assert (again["results"][0]["run_id"], again["commands"]) == (run_id, [])


def test_all_dialects_answer_about_an_erased_run(own: Server) -> None:
    client = own.client()
    save_batch(client, started("th", "tr"), snapshot("th", "tr", 1, [{"role": "user", "content": WORD}]))
    run_id = ReadBack(client).run("th")["run_id"]
    client.post(f"/api/v1/runs/{run_id}:kill", json={})
    ok(client.delete(f"/api/v1/runs/{run_id}"))
    for path in (
        f"/v1/runs/{run_id}", f"/api/v1/runs/{run_id}", f"/api/v1/runs/{run_id}/checkpoints",
        f"/api/v1/runs/{run_id}/outline", "/v1/threads/th", "/v1/threads/th/runs", "/v1/threads/th/messages",
        "/v1/threads/th/checkpoints", "/api/agents/runs", "/approvals",
    ):  # fmt: skip
        reply = client.get(path)
        assert reply.status_code in (200, 404), f"{path}: {reply.status_code} {reply.text}"
        assert WORD not in reply.text
    [agent] = ok(client.get("/api/v1/agents"))["data"]
    assert client.get(f"/agents/{agent['agent_id']}/events").status_code == 200
    assert client.post(f"/api/v1/runs/{run_id}:retry", json={}).status_code in (201, 409)
    assert client.post(f"/api/v1/runs/{run_id}:fork", json={"step_index": 1}).status_code == 404
    assert [event["type"] for event in log_of(client, run_id)][-1] == "run.erased"


def test_a_repeat_does_not_bring_it_back(own: Server) -> None:
    client = own.client()
    run_id = told_run(client, "r1")
    ok(client.delete(f"/api/v1/runs/{run_id}"))
    before = ok(client.get(f"/api/v1/runs/{run_id}"))
    reply = ok(ingest(client, sdk_event("step", "r1", {"node_name": WORD, "n": 0}, event_id="s0")))
    assert reply["status"] == "ok"
    assert ok(client.get(f"/api/v1/runs/{run_id}"))["last_seq"] == before["last_seq"]


def test_an_open_run_is_refused_and_says_what_to_do(own: Server) -> None:
    client = own.client()
    run_id = create_run(client, "t")["run_id"]
    for path in (f"/api/v1/runs/{run_id}", "/api/v1/threads/t"):
        reply = client.delete(path)
        assert reply.status_code == 409
        assert "Cancel it first" in reply.json()["detail"]
    cancel(client, run_id)
    ok(client.delete("/api/v1/threads/t"))
    assert ok(client.get("/api/v1/threads/t"))["erased_at"] is not None


def test_content_that_another_run_has_stays(own: Server) -> None:
    client = own.client()
    history = [{"role": "user", "content": WORD}]
    for trace in ("one", "two"):
        save_batch(client, started(trace, trace), snapshot(trace, trace, 1, history))
    ids = [ReadBack(client).run(trace)["run_id"] for trace in ("one", "two")]
    for run_id in ids:
        client.post(f"/api/v1/runs/{run_id}:kill", json={})
    ok(client.delete(f"/api/v1/runs/{ids[0]}"))
    left = ok(client.get(f"/api/v1/runs/{ids[1]}/checkpoints/1"))
    assert left["history"] == history
    assert files_with_word(own)
    ok(client.delete(f"/api/v1/runs/{ids[1]}"))
    wait_until(lambda: not files_with_word(own), "the bytes to be overwritten")


def test_a_follower_goes_on_across_an_erasure(own: Server) -> None:
    client = own.client()
    run_id = told_run(client, "r1")
    events = ok(client.get(f"/api/v1/runs/{run_id}/events", params={"limit": 2}))
    ok(client.delete(f"/api/v1/runs/{run_id}"))
    rest = ok(client.get(f"/api/v1/runs/{run_id}/events", params={"cursor": events["next"]}))["data"]
    assert [event["seq"] for event in rest] == list(range(3, 9))
    frames = log_of(client, run_id, after_seq=2)
    assert [frame["seq"] for frame in frames] == list(range(3, 9))


@pytest.mark.parametrize("kill_after", [1, slow(2)])
def test_a_killed_erasure_is_gone_on_with(own: Server, kill_after: int) -> None:
    client = own.client()
    ids = [told_run(client, f"r{number}", steps=30) for number in range(8)]
    ok(client.put("/api/v1/retention/events", json={"max_bytes": 0}))
    erased = lambda: [row for row in ok(client.get("/api/v1/runs"))["data"] if row["events_erased_at"]]  # noqa: E731
    wait_until(lambda: len(erased()) >= kill_after, "the first to be erased")
    own.kill()
    own.start()
    wait_until(lambda: len(erased()) == len(ids), "all to be erased")
    for run_id in ids:
        events = ok(client.get(f"/api/v1/runs/{run_id}/events"))["data"]
        assert {event["type"] for event in events} == {"erased", "run.erased"}
    own.stop()
    assert verified(own) == 0


def verified(server: Server) -> int:
    """The exit code of `towerlog verify`."""
    done = server.cli_inside("verify")
    assert done.returncode == 0, done.stderr
    return done.returncode


def test_a_policy_by_age_takes_what_is_old_and_leaves_the_rest(own: Server) -> None:
    client = own.client()
    run_id = told_run(client, "r1")
    ok(client.put("/api/v1/retention/events", json={"max_age_seconds": 3600}))
    [due] = ok(client.post("/api/v1/retention/run", json={"dry_run": True}))["data"]
    assert (due["kind"], due["runs"]) == ("events", 0)
    ok(client.post("/api/v1/retention/run", json={"dry_run": False}))
    assert ok(client.get(f"/api/v1/runs/{run_id}"))["events_erased_at"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "max_age_seconds"), ({"max_age_seconds": 1}, "max_age_seconds"), ({"max_bytes": -1}, "max_bytes")],
)
def test_a_wrong_policy_is_refused_by_its_field(own: Server, body: dict[str, Any], field: str) -> None:
    reply = own.client().put("/api/v1/retention/events", json=body)
    assert reply.status_code == 422, reply.text
    assert field in reply.text
    assert own.client().put("/api/v1/retention/coffee", json={"max_bytes": 1}).status_code == 404
