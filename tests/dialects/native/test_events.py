"""Batches of a client's events: each event fares alone, what is wanted of a run comes back, the lease is the guard."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.asgi.conversation import ADMIN_KEY, HandClock, Listening, scope_of
from tests.dialects.native.batches import EVENTS, events_of, fates, held, report, reported, run_of, send, told
from tests.support.wait import DEADLINE_S, wait_until_async
from towerlog.dialects.native.events import MAX_EVENTS, MAX_RUNS

ABSENT = "0189d3f0-0000-7000-8000-00000000dead"


async def test_events_are_stored_in_order_and_answered_in_order(say: Any) -> None:
    body = await send(
        say, told(1, "run.started", thread="t", agent="a"), told(2), told(1, run_key="other", event_id="x")
    )
    first, second, third = body["results"]
    assert fates(body) == ["stored"] * 3
    assert [one["event_id"] for one in body["results"]] == ["e1", "e2", "x"]
    assert (first["seq"], second["seq"], third["seq"]) == (1, 2, 1)
    assert first["run_id"] == second["run_id"] != third["run_id"]
    assert set(first) == {"event_id", "status", "run_id", "seq"}
    run = await run_of(say)
    assert (run["run_id"], run["thread_id"], run["agent"], run["source"]) == (first["run_id"], "t", "a", "sdk")
    assert (await run_of(say, "other"))["thread_id"] == "other", "without a thread a run has one of its own"


async def test_our_own_run_id_is_a_run_key(say: Any) -> None:
    run_id = await held(say)
    body = await send(say, told(1, run_key=run_id))
    assert body["results"][0]["run_id"] == run_id


async def test_the_same_event_again_is_a_duplicate_with_its_first_place(say: Any) -> None:
    await send(say, told(1), told(2))
    again = await send(say, told(2), told(3), told(1, data={"name": "n"}))
    assert fates(again) == ["duplicate", "stored", "duplicate"]
    assert [one["seq"] for one in again["results"]] == [2, 3, 1]
    assert len(await events_of(say)) == 3


async def test_an_id_with_another_body_is_refused(say: Any) -> None:
    await send(say, told(1, data={"name": "n"}))
    for other in (told(1, data={"name": "m"}), told(1, "message.delta", {"content": "n"})):
        body = await send(say, other)
        assert fates(body) == [("refused", "events.0.event_id")]
        assert body["results"][0]["code"] == "id_reused"
    assert len(await events_of(say)) == 1


async def test_a_refused_event_refuses_nothing_else(say: Any) -> None:
    wrong = [7, {}, told(9, "nonsense"), told(9, event_id=5), told(9, event_id="x" * 5000, data=[])]
    body = await send(say, told(1), *wrong, told(2))
    assert fates(body) == [
        "stored",
        ("refused", "events.1"),
        ("refused", "events.2.event_id"),
        ("refused", "events.3.type"),
        ("refused", "events.4.event_id"),
        ("refused", "events.5.event_id"),
        "stored",
    ]
    assert [one["event_id"] for one in body["results"]] == ["e1", None, None, "e9", None, None, "e2"]
    for one in body["results"][1:-1]:
        assert (one["run_id"], one["seq"], one["code"]) == (None, None, "validation_failed")
        assert one["message"].startswith(one["field"])


async def test_too_deep_an_event_is_refused_alone(say: Any) -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = [deep]
    body = await send(say, told(1, "other", {"name": "n", "payload": deep}), told(2))
    assert fates(body) == [("refused", "events.0.data"), "stored"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"client_id": ...}, "client_id"),
        ({"client_id": None}, "client_id"),
        ({"client_id": 5}, "client_id"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": "x" * 129}, "client_id"),
        ({"client_id": "a b"}, "client_id"),
        ({"client_id": "a\n"}, "client_id"),
        ({"client_id": "\u00fc"}, "client_id"),
        ({"events": ...}, "events"),
        ({"events": None}, "events"),
        ({"events": {}}, "events"),
        ({"events": "x"}, "events"),
        ({"events": [told(n) for n in range(1, MAX_EVENTS + 2)]}, "events"),
        ({"events": [0] * (MAX_EVENTS + 1)}, "events"),
        ({"events": [0], "runs": "x"}, "runs"),
        ({"runs": "k"}, "runs"),
        ({"runs": [1]}, "runs.0"),
        ({"runs": ["k", ""]}, "runs.1"),
        ({"runs": ["k", "a b"]}, "runs.1"),
        ({"runs": ["x" * 129]}, "runs.0"),
        ({"runs": ["k"] * (MAX_RUNS + 1)}, "runs"),
        ({"wait_seconds": -1}, "wait_seconds"),
        ({"wait_seconds": 31}, "wait_seconds"),
        ({"wait_seconds": "1"}, "wait_seconds"),
        ({"wait_seconds": 1.5}, "wait_seconds"),
    ],
)
async def test_a_wrong_field_of_the_batch_refuses_it_whole(say: Any, change: Any, field: str) -> None:
    value = {"client_id": "c", "events": [told(1)], **change}
    reply = await say("POST", EVENTS, value={name: given for name, given in value.items() if given is not ...})
    assert (reply.status, list(reply.json["errors"])) == (422, [field]), reply.body
    assert (await say("GET", "/api/v1/runs")).json["data"] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'{"client_id":"c","events":[}'])
async def test_what_is_no_batch_at_all_is_refused(say: Any, body: bytes) -> None:
    reply = await say("POST", EVENTS, body=body, headers={"Content-Type": "application/json"})
    assert reply.status in (400, 422), reply.body


async def test_the_largest_batch_is_taken(say: Any) -> None:
    body = await send(say, *(told(number) for number in range(1, MAX_EVENTS + 1)), runs=["k"] * MAX_RUNS)
    assert fates(body) == ["stored"] * MAX_EVENTS
    assert (await run_of(say))["delivery"]["clients"][0]["received"] == MAX_EVENTS


# What is wanted of the runs


async def asked(say: Any, key: str = "k") -> str:
    """A run of this key whose cancel was asked for; its id."""
    run_id = str((await run_of(say, key))["run_id"])
    assert (await say("POST", f"/v1/runs/{run_id}:cancel", value={})).status == 200
    return run_id


async def test_commands_come_until_an_event_acknowledges_them(say: Any) -> None:
    await send(say, told(1, "run.started"), told(1, run_key="idle", event_id="i"))
    run_id = await asked(say)
    (command,) = (await send(say, told(2)))["commands"]
    assert command == {"run_key": "k", "run_id": run_id, "command_id": command["command_id"], "type": "cancel"}
    assert (await send(say, runs=["k", "idle", "nobody"]))["commands"] == [command], "asked for without an event"
    assert (await send(say, told(2, run_key="idle", event_id="j")))["commands"] == [], "none of another run"
    done = {"command_id": command["command_id"], "type": "cancel"}
    assert (await send(say, told(3, "command.acknowledged", done)))["commands"] == []
    assert (await send(say, runs=["k"]))["commands"] == []


async def test_an_input_brings_its_content(say: Any) -> None:
    await send(say, told(1, "run.waiting_for_input", {"question": "Which?"}))
    run_id = (await run_of(say))["run_id"]
    assert (await say("POST", f"/v1/runs/{run_id}/input", value={"content": "this"})).status == 200
    (command,) = (await send(say, runs=["k"]))["commands"]
    assert (command["type"], command["content"]) == ("input", "this")


async def test_a_duplicate_still_learns_what_is_wanted(say: Any) -> None:
    await send(say, told(1))
    await asked(say)
    body = await send(say, told(1))
    assert (fates(body), [one["type"] for one in body["commands"]]) == (["duplicate"], ["cancel"])


async def stored(say: Any, count: int) -> bool:
    """Whether the run `k` has so many events."""
    return len(await events_of(say)) == count


def polling(app: Any, value: Any) -> Listening:
    """A long poll under way."""
    body = json.dumps(value).encode()
    headers = {
        "Authorization": f"Bearer {ADMIN_KEY}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    return Listening(app, scope_of("POST", EVENTS, headers, ("127.0.0.1", 50_000)), [body])


async def test_a_reply_is_held_back_until_something_is_wanted(app: Any, say: Any) -> None:
    await send(say, told(1), told(1, run_key="l", event_id="l"))
    poll = polling(app, {"client_id": "c", "events": [told(2)], "runs": ["l"], "wait_seconds": 30})
    await wait_until_async(lambda: stored(say, 2), "what it brought to be stored, though it waits")
    await send(say, told(3))
    await asked(say, "l")
    await asyncio.wait_for(poll.task, DEADLINE_S)
    assert [one["run_key"] for one in poll.answer.json["commands"]] == ["l"]
    assert fates(poll.answer.json) == ["stored"]


@pytest.mark.parametrize("runs", [[], ["nobody"], ["k"]])
async def test_nobody_waits_for_what_cannot_come(say: Any, runs: list[str]) -> None:
    await send(say, told(1, "run.completed"))
    await asyncio.wait_for(send(say, runs=runs, wait_seconds=30), DEADLINE_S)


async def test_a_large_batch_waits_like_any_other(app: Any, say: Any) -> None:
    await send(say, told(1))
    large = told(2, "message.delta", {"content": "x" * 80_000})
    poll = polling(app, {"client_id": "c", "events": [large, 5], "wait_seconds": 30})
    await wait_until_async(lambda: stored(say, 2), "what it brought to be stored, though it waits")
    await asked(say)
    await asyncio.wait_for(poll.task, DEADLINE_S)
    assert fates(poll.answer.json) == ["stored", ("refused", "events.1")]
    assert [one["event_id"] for one in poll.answer.json["results"]] == ["e2", None]
    assert [one["type"] for one in poll.answer.json["commands"]] == ["cancel"]


# Reports under a lease


async def test_a_report_stores_renews_and_shows_the_lease(say: Any, clock: HandClock) -> None:
    run_id = await held(say)
    clock.move(30)
    reply = await report(say, run_id, reported(1), reported(2, "stop"), 5, lease_seconds=100)
    assert reply.status == 200, reply.body
    assert fates(reply.json) == ["stored", ("refused", "events.1.type"), ("refused", "events.2")]
    lanes = (await say("GET", "/api/v1/lanes")).json["data"]
    assert reply.json["run"] in lanes
    assert reply.json["run"]["lease_seconds"] == 100
    assert (await report(say, run_id, reported(1))).json["results"][0]["status"] == "duplicate"


async def test_an_end_is_an_event_like_the_others(say: Any) -> None:
    run_id = await held(say)
    body = (await report(say, run_id, reported(1), reported(2, "run.completed", {"result": 42}))).json
    assert fates(body) == ["stored", "stored"]
    assert body["run"]["lease"]["state"] == "done"
    run = (await say("GET", f"/api/v1/runs/{run_id}")).json
    assert (run["status"], run["result"]) == ("completed", 42)
    again = (await report(say, run_id, reported(1), reported(2, "run.completed", {"result": 42}))).json
    assert fates(again) == ["duplicate", "duplicate"]


@pytest.mark.parametrize("who", [{"worker": "thief"}, {"lease_epoch": 2}])
async def test_who_does_not_hold_the_lease_is_refused_and_quarantined(say: Any, who: Any) -> None:
    run_id = await held(say)
    await report(say, run_id, reported(1))
    late = await report(say, run_id, reported(2, "message.delta", {"content": "canary"}), **who)
    assert (late.status, late.json["code"]) == (409, "lease_lost")
    (kept,) = (await say("GET", f"/api/v1/runs/{run_id}/quarantine")).json["data"]
    assert (kept["type"], kept["data"]) == ("message.delta", {"content": "canary"})
    assert b"canary" not in (await say("GET", f"/api/v1/runs/{run_id}/events")).body
    (client,) = (await say("GET", f"/api/v1/runs/{run_id}")).json["delivery"]["clients"]
    assert (client["received"], client["highest"]) == (1, 1), "what is quarantined has not arrived"


async def logged(say: Any, run_id: str, event_id: str) -> bool:
    """Whether a run's log has this event."""
    log = (await say("GET", f"/api/v1/runs/{run_id}/events")).json["data"]
    return any(event["event_id"] == event_id for event in log)


async def test_a_report_brings_commands_and_may_wait_for_them(say: Any) -> None:
    run_id = await held(say)
    poll = asyncio.create_task(report(say, run_id, reported(1), wait_seconds=60))
    await wait_until_async(lambda: logged(say, run_id, "e1"), "its event to be stored, though it waits")
    assert (await say("POST", f"/v1/runs/{run_id}:cancel", value={})).status == 200
    body = (await asyncio.wait_for(poll, 30)).json
    (command,) = body["commands"]
    assert (command["run_id"], command["type"]) == (run_id, "cancel")
    done = reported(2, "command.acknowledged", {"command_id": command["command_id"], "type": "cancel"})
    assert (await report(say, run_id, done)).json["commands"] == []


async def test_a_report_without_a_client_needs_no_numbers(say: Any) -> None:
    run_id = await held(say)
    body = (await report(say, run_id, reported(1, client_seq=...), client_id=None)).json
    assert fates(body) == ["stored"]
    assert (await say("GET", f"/api/v1/runs/{run_id}")).json["delivery"]["complete"] is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"worker_id": ...}, "worker_id"),
        ({"worker_id": ""}, "worker_id"),
        ({"worker_id": 5}, "worker_id"),
        ({"worker_id": "x" * 201}, "worker_id"),
        ({"lease_epoch": ...}, "lease_epoch"),
        ({"lease_epoch": -1}, "lease_epoch"),
        ({"lease_epoch": "1"}, "lease_epoch"),
        ({"lease_seconds": 0}, "lease_seconds"),
        ({"lease_seconds": "60"}, "lease_seconds"),
        ({"lease_seconds": 10**9}, "lease_seconds"),
        ({"client_id": "a b"}, "client_id"),
        ({"client_id": 1}, "client_id"),
        ({"events": ...}, "events"),
        ({"events": [0] * (MAX_EVENTS + 1)}, "events"),
        ({"wait_seconds": 61}, "wait_seconds"),
        ({"wait_seconds": -1}, "wait_seconds"),
    ],
)
async def test_a_wrong_field_of_a_report_refuses_it_whole(say: Any, change: Any, field: str) -> None:
    run_id = await held(say)
    value = {"worker_id": "w", "lease_epoch": 1, "client_id": "c", "events": [reported(1)], **change}
    given = {name: one for name, one in value.items() if one is not ...}
    reply = await say("POST", f"/api/v1/runs/{run_id}:report", value=given)
    assert (reply.status, list(reply.json["errors"])) == (422, [field]), reply.body


@pytest.mark.parametrize("run_id", [ABSENT, "no-uuid", "%00"])
async def test_a_run_that_is_not_there(say: Any, run_id: str) -> None:
    assert (await report(say, run_id, reported(1))).status == 404


# Whether everything has arrived


async def test_a_run_shows_what_is_missing(say: Any) -> None:
    await send(say, told(1), told(2), told(5), told(9))
    delivery = (await run_of(say))["delivery"]
    assert delivery == {
        "complete": False,
        "truncated": False,
        "clients": [
            {
                "client_id": "c",
                "received": 4,
                "highest": 9,
                "missing": [[3, 4], [6, 8]],
                "dropped": 0,
                "truncated": False,
            }
        ],
    }
    lost = {"name": "client.dropped", "payload": {"from_seq": 6, "to_seq": 8, "reason": "buffer full"}}
    await send(say, told(10, "other", lost), told(4), told(3), told(3))
    delivery = (await run_of(say))["delivery"]
    (client,) = delivery["clients"]
    assert (client["received"], client["missing"], client["dropped"]) == (7, [], 3)
    assert delivery["complete"] is False, "it is known what is lost, but it is lost"
    await send(say, told(6), told(7), told(8))
    assert (await run_of(say))["delivery"]["complete"] is True


async def test_refused_events_leave_their_number_missing_and_late_ones_fill_it(say: Any) -> None:
    await send(say, told(1), told(2, "nonsense"), told(3, "run.completed"))
    assert (await run_of(say))["delivery"]["clients"][0]["missing"] == [[2, 2]]
    await send(say, told(2))
    run = await run_of(say)
    assert (run["delivery"]["complete"], run["late_events"], run["status"]) == (True, 1, "completed")


async def test_each_client_of_a_run_has_numbers_of_its_own(say: Any) -> None:
    await send(say, told(1), client="one")
    await send(say, told(2, event_id="other"), client="two")
    delivery = (await run_of(say))["delivery"]
    assert [(one["client_id"], one["missing"]) for one in delivery["clients"]] == [("one", []), ("two", [[1, 1]])]
    assert delivery["complete"] is False


async def test_the_same_state_again_is_no_lost_number(say: Any) -> None:
    """Two checkpoints of one step with one content are two events of this client: both its numbers have arrived."""
    state = {"step_index": 1, "history": [{"role": "user", "content": "hi"}]}
    body = await send(say, told(1, "checkpoint", state), told(2, "checkpoint", state), told(3))
    assert fates(body) == ["stored"] * 3
    assert (await run_of(say))["delivery"]["complete"] is True
    assert fates(await send(say, told(1, "checkpoint", state))) == ["duplicate"]


async def test_every_view_of_a_run_tells_of_its_delivery(say: Any) -> None:
    await send(say, told(1), told(3))
    run_id = (await run_of(say))["run_id"]
    assert (await say("GET", f"/v1/runs/{run_id}")).json["delivery"]["clients"][0]["missing"] == [[2, 2]]
    (row,) = (await say("GET", "/api/v1/runs")).json["data"]
    assert row["delivery"] == {"complete": False, "truncated": False, "clients": None}
    await say("POST", "/api/ingest", value={"event_type": "step", "sdk_run_id": "s", "payload": {}})
    rows = (await say("GET", "/api/v1/runs?thread_id=s")).json["data"]
    assert rows[0]["delivery"]["complete"] is None, "nobody numbered its events"


async def test_a_child_without_a_thread_stands_in_its_parents(say: Any) -> None:
    parent = (await send(say, told(1, "run.started", {}, run_key="p", thread="family")))["results"][0]["run_id"]
    starts = (
        told(2, "run.started", {"parent_run_key": "p"}, run_key="by-key"),
        told(3, "run.started", {"parent_run_id": parent}, run_key="by-id"),
        told(4, "run.started", {"parent_run_key": "p"}, run_key="own", thread="alone"),
        told(5, "run.started", {"parent_run_key": "not-there-yet"}, run_key="early"),
    )
    await send(say, *starts)
    threads = {key: (await run_of(say, key))["thread_id"] for key in ("by-key", "by-id", "own", "early")}
    assert threads == {"by-key": "family", "by-id": "family", "own": "alone", "early": "early"}
    assert (await run_of(say, "by-key"))["parent_run_id"] == parent
