"""The service: one request through all its checks to its reply, in the words of the dialect that it speaks."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import json
import re
import tracemalloc
import uuid
from typing import Any

import pytest

from tests.asgi.arrivals import in_flight
from tests.asgi.conversation import ADMIN_KEY, HERE, HandClock, Listening, ask, listen, scope_of
from tests.support.wait import DEADLINE_S, wait_until_async
from towerlog.ambient import SystemIds
from towerlog.asgi.app import App
from towerlog.asgi.guard.ledger import MAX_READS, MAX_READS_OF_ONE, MAX_SEARCHES, MAX_SEARCHES_OF_ONE, Account
from towerlog.asgi.shares.share import Bounds, Resource
from towerlog.config import Settings
from towerlog.errors import Overloaded, Unauthenticated
from towerlog.model.principal import Principal
from towerlog.model.question import may_take_long
from towerlog.server import build
from towerlog.store.sqlite.store import READERS

ABSENT = "0189d3f0-0000-7000-8000-00000000dead"


def sdk_event(run: str = "r", **more: Any) -> dict[str, Any]:
    return {"event_type": "step", "sdk_run_id": run, "payload": {"node_name": "n"}, **more}


async def key_of(say: Any, *scopes: str) -> str:
    made = await say("POST", "/api/v1/keys", value={"name": "k", "scopes": scopes})
    assert made.status == 201, made.body
    return str(made.json["key"])


async def test_a_request_goes_all_the_way(say: Any) -> None:
    reply = await say("POST", "/api/ingest", value=sdk_event())
    assert (reply.status, reply.json) == (200, {"status": "ok", "event_id": 1})
    assert reply.headers["content-length"] == str(len(reply.body))
    assert re.fullmatch(r"[0-9a-f]{32}", reply.headers["x-trace-id"])
    assert [row["thread_id"] for row in (await say("GET", "/v1/runs")).json] == ["r"]


@pytest.mark.parametrize("is_packed", [False, True], ids=["to be repaired", "compressed"])
async def test_an_organisation_has_one_body_in_work_beside_the_loop(app: App, say: Any, is_packed: bool) -> None:
    letters = hashlib.shake_128(b"x").hexdigest(20_000)
    body = json.dumps(sdk_event(payload={"x": letters, "y": float("nan")})).encode()
    packed = {"Content-Encoding": "gzip"} if is_packed else {}
    await say("GET", "/v1/runs")
    [account] = app.arrivals.ledger.accounts.values()
    async with account.organisation.aside:
        waits = asyncio.create_task(
            say("POST", "/api/ingest", body=gzip.compress(body) if is_packed else body, headers=packed)
        )
        await wait_until_async(lambda: account.organisation.aside._waiters, "it to wait")
        assert (await say("POST", "/api/ingest", value=sdk_event())).status == 200, "a short one does not"
        assert not waits.done()
    assert (await waits).status == 200
    assert not account.organisation.aside.locked()


def another(app: App) -> Account:
    """The account of a key of another organisation."""
    return app.arrivals.ledger.account(Principal(2, "another", "u", "another key", frozenset()))


async def test_a_body_that_waits_to_be_decoded_is_given_up_for_who_holds_less(app: App, say: Any) -> None:
    await say("GET", "/v1/runs")
    ledger = app.arrivals.ledger
    [account] = ledger.accounts.values()
    body = json.dumps(sdk_event() | {"y": float("nan"), "x": "z" * 40_000}).encode()
    async with account.organisation.aside:
        waits = asyncio.create_task(say("POST", "/api/ingest", body=body))
        await wait_until_async(lambda: account.organisation.aside._waiters, "it to wait")
        ledger.process.bounds = Bounds("server", 60_000, {})
        ledger.process.free_bytes = 60_000 - len(body)
        ledger.take_bytes(another(app).shares, 30_000)
        refused = await waits
    assert (refused.status, "retry-after" in refused.headers) == (503, True)
    assert "for somebody who holds less" in refused.body.decode()
    assert (account.organisation.is_idle, ledger.process.held_bytes) == (True, 30_000)
    assert (await say("POST", "/api/ingest", value=sdk_event())).status == 200


async def test_the_oldest_poll_of_the_organisation_with_most_ends_for_another(app: App, say: Any) -> None:
    await say("GET", "/v1/runs")
    ledger = app.arrivals.ledger
    [account] = ledger.accounts.values()
    ledger.process.bounds = Bounds("server", ledger.process.bounds.byte_count, {Resource.POLL: 2})
    claims = []
    for worker in "ab":
        asked = say("POST", "/api/agents/runs/claim", value={"worker_id": worker, "wait_seconds": 30})
        claims.append(asyncio.create_task(asked))
        await wait_until_async(lambda: account.key.places[Resource.POLL] == len(claims), "it to wait")
    place = ledger.take_place(another(app).shares, Resource.POLL)
    refused = await claims[0]
    assert (refused.status, "retry-after" in refused.headers) == (503, True)
    assert not claims[1].done()
    with pytest.raises(Overloaded):
        ledger.take_place(account.shares, Resource.POLL)
    place.give_back()
    claims[1].cancel()
    await asyncio.wait(claims[1:])
    assert ledger.process.is_idle


async def test_an_organisation_has_so_many_answers_in_work_and_leaves_one_to_the_others(
    app: App, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is in work until it is written: what is made of a page takes several times its bytes."""
    assert app._service is not None
    go_on, begun, real = asyncio.Event(), list[Any](), app._service._engine.execute

    async def slow(*given: Any) -> Any:
        begun.append(given)
        await go_on.wait()
        return await real(*given)

    await say("GET", "/v1/runs")
    monkeypatch.setattr(app._service._engine, "execute", slow)
    reads = app.arrivals.ledger.reads
    asked = [asyncio.create_task(say("GET", "/v1/runs")) for _ in range(MAX_READS_OF_ONE + 2)]
    await wait_until_async(lambda: reads.waiting == 2, "the last two to wait")
    assert len(begun) == MAX_READS_OF_ONE
    assert reads.is_free("another organisation", "and its key")
    asked[-1].cancel()
    await asyncio.wait(asked[-1:])
    assert reads.waiting == 1, "who gives up leaves the line"
    go_on.set()
    assert [(await one).status for one in asked[:-1]] == [200] * (MAX_READS_OF_ONE + 1)
    assert reads.taken == 0


@pytest.mark.parametrize("path", ["runs?q=word", "run-facets?", "run-sums?by=agent", "run-durations?by=agent"])
async def test_searches_of_one_hold_up_neither_what_is_short_nor_those_of_others(
    app: App, say: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    assert app._service is not None
    go_on, real = asyncio.Event(), app._service._engine.execute

    async def slow(principal: Any, command: Any, *given: Any) -> Any:
        if may_take_long(command):
            await go_on.wait()
        return await real(principal, command, *given)

    await say("GET", "/v1/runs")
    monkeypatch.setattr(app._service._engine, "execute", slow)
    ledger = app.arrivals.ledger
    asked = [asyncio.create_task(say("GET", f"/api/v1/{path}")) for _ in range(READERS + MAX_READS)]
    await wait_until_async(lambda: ledger.searches.waiting == len(asked) - MAX_SEARCHES_OF_ONE, "all but one to wait")
    assert (await say("GET", "/api/v1/runs")).status == 200
    assert ledger.searches.is_free("another organisation", "and its key")
    assert MAX_SEARCHES_OF_ONE < MAX_SEARCHES < READERS
    go_on.set()
    assert {(await one).status for one in asked} == {200}
    assert not ledger.searches.taken


async def test_no_answer_is_made_for_a_key_whose_answers_are_not_taken(app: App, say: Any) -> None:
    await say("GET", "/v1/runs")
    ledger = app.arrivals.ledger
    [account] = ledger.accounts.values()
    reader = app.arrivals.visit(HERE)
    reader.enter()
    reader.admit(account)
    assert reader.hold_reply(account.key.bounds.reply_bytes + 1)
    refused = await say("GET", "/v1/runs")
    assert (refused.status, "retry-after" in refused.headers) == (503, True)
    assert (await say("POST", "/api/ingest", value=sdk_event())).status == 200, "what is sent is taken"
    reader.leave()
    assert (await say("GET", "/v1/runs")).status == 200


async def test_a_callers_trace_is_in_the_head_and_in_the_error(say: Any) -> None:
    trace = uuid.uuid4().hex
    reply = await say("GET", f"/v1/runs/{ABSENT}", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert (reply.status, reply.headers["x-trace-id"], reply.json["trace_id"]) == (404, trace, trace)


@pytest.mark.parametrize(
    ("method", "path", "status", "keys"),
    [
        ("POST", "/v1/runners/events", 401, {"detail"}),
        ("POST", "/api/ingest", 401, {"message"}),
        ("GET", f"/agents/{ABSENT}/events", 401, {"error"}),
        ("GET", "/v1/runs", 401, {"code", "message", "trace_id"}),
        ("POST", "/api/agents/runs/claim", 401, {"error", "code"}),
        ("GET", "/api/v1/runs", 401, {"type", "title", "status", "detail", "code", "trace_id"}),
        ("GET", "/api/v1/whoami", 401, {"type", "title", "status", "detail", "code", "trace_id"}),
        ("DELETE", "/v1/runs", 405, {"code", "message", "trace_id"}),
        ("GET", "/nowhere", 404, {"type", "title", "status", "detail", "code", "trace_id"}),
        ("GET", "/v1/runs/a/b/c", 404, {"code", "message", "trace_id"}),
        ("POST", f"/v1/runs/{ABSENT}:pause", 404, {"code", "message", "trace_id"}),
        ("GET", "/v1/threads/a%2fb", 400, {"code", "message", "trace_id"}),
    ],
)
async def test_each_path_is_refused_in_its_own_words(
    app: App, method: str, path: str, status: int, keys: set[str]
) -> None:
    reply = await ask(app, method, path, key=None)
    assert reply.status == status, reply.body
    assert set(reply.json) >= keys
    assert reply.headers["x-trace-id"]
    if status == 401:
        assert reply.headers["www-authenticate"].startswith("Bearer")


async def test_a_scope_that_is_missing_is_a_403(app: App, say: Any) -> None:
    key = await key_of(say, "read")
    assert (await ask(app, "GET", "/v1/runs", key=key)).status == 200
    for method, path in [("POST", "/api/ingest"), ("POST", "/v1/threads/t/runs"), ("GET", "/api/v1/keys")]:
        assert (await ask(app, method, path, key=key)).status == 403


async def test_the_key_is_asked_for_before_the_body(app: App) -> None:
    big = [b"x" * 60_000] * 5
    listening = Listening(app, scope_of("POST", "/api/ingest", {"Transfer-Encoding": "chunked"}, HERE), big)
    await listening.task
    assert listening.status == 401
    assert len(big) == 5, "nothing of it was read"


async def test_a_revoked_key_is_refused_in_the_same_words(app: App, say: Any, clock: HandClock) -> None:
    made = (await say("POST", "/api/v1/keys", value={"name": "k", "scopes": ["read"]})).json
    assert (await ask(app, "GET", "/v1/runs", key=made["key"])).status == 200
    assert (await say("DELETE", f"/api/v1/keys/{made['key_id']}")).status == 200
    clock.move(3)
    trace = {"traceparent": f"00-{'a' * 32}-00f067aa0ba902b7-01"}
    revoked = await ask(app, "GET", "/v1/runs", key=made["key"], headers=trace)
    unknown = await ask(app, "GET", "/v1/runs", key="nobody", headers=trace)
    malformed = await ask(app, "GET", "/v1/runs", key=None, headers={**trace, "Authorization": "nonsense"})
    assert revoked == unknown == malformed
    assert revoked.status == 401
    assert Unauthenticated().message in revoked.json["message"]


async def test_an_api_key_header_serves_as_well(app: App) -> None:
    assert (await ask(app, "GET", "/v1/runs", key=None, headers={"X-API-Key": ADMIN_KEY})).status == 200


async def test_a_body_may_be_compressed(say: Any) -> None:
    body = gzip.compress(b'{"event_type":"step","sdk_run_id":"r","payload":{}}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert (await say("POST", "/api/ingest", body=body, headers=headers)).status == 200
    bomb = gzip.compress(b" " * 200_000)
    assert (await say("POST", "/api/ingest", body=bomb, headers=headers)).status == 413


async def test_a_body_may_come_in_pieces(say: Any) -> None:
    text = b'{"event_type":"step","sdk_run_id":"r","payload":{}}'
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    assert (await say("POST", "/api/ingest", body=pieces)).status == 200
    assert (await say("POST", "/api/ingest", body=[b" " * 60_000] * 3)).status == 413


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=1", 415),
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Encoding": "br"}, b"{}", 415),
        ({"Content-Length": "100001"}, b"{}", 413),
        ({"Content-Length": "many"}, b"{}", 400),
        ({}, b"\xff\xfe", 400),
        ({}, b"{", 400),
        ({"Idempotency-Key": ""}, b"{}", 422),
        ({"Idempotency-Key": "k" * 256}, b'{"event_type":"step","sdk_run_id":"r","payload":{}}', 422),
        ({"Idempotency-Key": "a\tb"}, b'{"event_type":"step","sdk_run_id":"r","payload":{}}', 422),
        ({"Idempotency-Key": "ü"}, b'{"event_type":"step","sdk_run_id":"r","payload":{}}', 422),
    ],
)
async def test_a_wrong_body_is_refused(say: Any, headers: dict[str, str], body: bytes, status: int) -> None:
    reply = await say("POST", "/api/ingest", body=body, headers=headers)
    assert reply.status == status, reply.body
    assert isinstance(reply.json["message"], str)
    assert (await say("GET", "/v1/runs")).json == []


async def test_a_repeat_under_one_key_is_answered_as_the_first_time(say: Any) -> None:
    keyed = {"Idempotency-Key": "once"}
    first = await say("POST", "/api/ingest", value=sdk_event(), headers=keyed)
    again = await say("POST", "/api/ingest", value=sdk_event(), headers=keyed)
    assert (again.status, again.body) == (first.status, first.body)
    other = await say("POST", "/api/ingest", value=sdk_event("other"), headers=keyed)
    assert other.status == 422
    elsewhere = await say("POST", "/v1/threads/t/runs", headers=keyed)
    assert elsewhere.status == 201, "a key belongs to its path"


async def test_a_secret_is_in_the_first_reply_alone(app: App, say: Any) -> None:
    keyed = {"Idempotency-Key": "mint"}
    value = {"name": "k", "scopes": ["read"]}
    first = await say("POST", "/api/v1/keys", value=value, headers=keyed)
    again = await say("POST", "/api/v1/keys", value=value, headers=keyed)
    assert (first.status, again.status) == (201, 201)
    assert (await ask(app, "GET", "/v1/runs", key=first.json["key"])).status == 200
    assert again.json == {**first.json, "key": None}


async def test_a_get_ignores_a_body_and_a_key(say: Any) -> None:
    reply = await say("GET", "/v1/runs", headers={"Idempotency-Key": "\t"}, body=b"")
    assert reply.status == 200


async def test_a_name_that_is_not_ours_is_a_421(app: App) -> None:
    assert (await ask(app, "GET", "/v1/runs", headers={"Host": "evil.example"})).status == 421
    assert (await ask(app, "GET", "/v1/runs", headers={"Host": "localhost:8700"})).status == 200


async def test_the_limit_of_a_dialect_is_by_key(app: App, say: Any, clock: HandClock) -> None:
    other = await key_of(say, "ingest")
    replies = [await say("POST", "/api/ingest", value=sdk_event()) for _ in range(201)]
    assert [reply.status for reply in replies] == [200] * 200 + [429]
    assert [reply.headers["x-ratelimit-remaining"] for reply in replies[-2:]] == ["0", "0"]
    assert replies[-1].headers["retry-after"] == "60"
    assert replies[-1].json == {"message": "Too Many Attempts."}
    assert (await ask(app, "POST", "/api/ingest", key=other, value=sdk_event())).status == 200
    assert (await say("GET", "/v1/runs")).status == 200
    clock.move(60)
    assert (await say("POST", "/api/ingest", value=sdk_event())).status == 200


async def hold(say: Any, worker: str) -> str:
    run_id = str((await say("POST", "/v1/threads/t/runs")).json["run_id"])
    claim = await say("POST", f"/api/agents/runs/{run_id}/claim", value={"worker_id": worker, "lease_seconds": 60})
    assert claim.status == 200, claim.body
    return run_id


async def test_a_holders_heartbeat_passes_a_limit_that_others_have_used_up(say: Any, clock: HandClock) -> None:
    run_id = await hold(say, "quiet")
    path = f"/api/agents/runs/{run_id}/events"
    stranger = {"worker_id": "stranger"}
    codes = {(await say("POST", path, value=stranger)).status for _ in range(599)}
    assert codes == {409}
    assert (await say("POST", path, value=stranger)).status == 429
    beats = [(await say("POST", path, value={"worker_id": "quiet"})).status for _ in range(8)]
    assert beats == [200] * 6 + [429] * 2
    refused = await say("POST", path, value={"worker_id": "quiet"})
    assert 1 <= int(refused.headers["retry-after"]) <= 20, "before a third of the shortest lease is over"
    assert (await say("POST", path, body=b"{")).status == 429, "a limit is not got around by being wrong"
    clock.move(60)
    assert (await say("POST", path, value=stranger)).status == 409


async def test_a_stream_is_opened_and_its_end_is_known(app: App, say: Any) -> None:
    run_id = (await say("POST", "/v1/threads/t/runs")).json["run_id"]
    path = f"/v1/runs/{run_id}/events"
    stream = listen(app, path)
    await stream.until(b"run.queued")
    assert stream.headers["x-trace-id"]
    assert (await say("POST", f"/v1/runs/{run_id}:cancel")).status == 200
    await stream.until(b"run.cancelled")
    await asyncio.wait_for(stream.task, 60)
    assert b"event: end\n" in (await say("GET", f"{path}?after_seq=99")).body
    assert (await say("GET", path, headers={"Last-Event-ID": "2"})).status == 204
    assert (await say("HEAD", path, headers={"Last-Event-ID": "2"})).status == 204
    ahead = await say("GET", path, headers={"Last-Event-ID": "99"})
    assert (ahead.status, b"event: gap\n" in ahead.body, b"run.queued" in ahead.body) == (200, True, True)
    assert (await say("GET", f"{path}?after_seq=-1")).status == 422
    assert (await say("GET", f"/v1/runs/{ABSENT}/events")).status == 404


async def test_a_head_asks_for_the_headers_of_a_stream(app: App, say: Any) -> None:
    run_id = (await say("POST", "/v1/threads/t/runs")).json["run_id"]
    reply = await say("HEAD", f"/v1/runs/{run_id}/events")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-accel-buffering"] == "no"


async def test_streams_have_a_bound(app: App, say: Any) -> None:
    run_id = (await say("POST", "/v1/threads/t/runs")).json["run_id"]
    path = f"/v1/runs/{run_id}/events"
    streams = [listen(app, path) for _ in range(3)]
    for stream in streams:
        await stream.until(b"run.queued")
    refused = await say("GET", path)
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    streams[0].leave()
    await streams[0].task
    for _ in range(5):
        assert (await say("GET", f"{path}x")).status == 404
        assert (await say("HEAD", path)).status == 200
        assert (await say("GET", f"/v1/runs/{ABSENT}/events")).status == 404
    again = listen(app, path)
    await again.until(b"run.queued")
    for stream in (*streams, again):
        stream.leave()
        await stream.task


async def test_a_sender_that_leaves_costs_nothing(app: App, say: Any) -> None:
    scope = scope_of("POST", "/api/ingest", {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Length": "50"}, HERE)
    half = Listening(app, scope, [b'{"event_type"', b""])
    half.parts = []
    half.leave()
    await half.task
    assert half.status == 0
    metrics = (await say("GET", "/metrics")).body
    assert b"towerlog_bytes_in_flight 0.0" in metrics


async def test_what_nobody_foresaw_is_a_500_with_a_trace_and_no_more(
    settings: Settings, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, node = build(settings, clock, SystemIds(clock))
    await app.start()

    async def explode(*_: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(node.store, "runs", explode)
    reply = await ask(app, "GET", "/v1/runs")
    await app.stop()
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert reply.json["trace_id"] == reply.headers["x-trace-id"]


async def test_a_long_poll_keeps_neither_its_body_nor_its_events_in_memory(app: App, say: Any) -> None:
    """Whatever the size of its batch: so there is no bound for those that may wait."""
    run_id = await hold(say, "w")
    # The list of prices is read in a thread meanwhile; who asks for one waits for all of it.
    assert (await say("GET", "/api/v1/prices/listed")).status == 200
    event = {"event_id": "e", "client_seq": 1, "run_key": run_id, "type": "message.delta"}

    async def all_stored() -> bool:
        return bool((await say("GET", f"/api/v1/runs/{run_id}")).json["last_seq"] >= 30)

    for number in range(30):
        data = {"content": f"{number:03} " + "x" * 90_000}
        told = {**event, "event_id": f"e{number}", "client_seq": number + 1, "data": data}
        body = json.dumps({"client_id": "c", "events": [told], "wait_seconds": 30}).encode()
        if not number:
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            polls: list[Listening] = []
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Length": str(len(body))}
        polls.append(Listening(app, scope_of("POST", "/api/v1/events", headers, HERE), [body]))
        del body, told, data
    try:
        await wait_until_async(all_stored, "all of them to be stored")
        await wait_until_async(lambda: in_flight(app) == 0, "their room to be given back")
        assert (await say("POST", "/api/ingest", value=sdk_event())).status == 200, "the writer is at its next group"
        assert not any(poll.task.done() for poll in polls)
        gc.collect()  # what only waits for the collector is not kept
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 10 * 90_000, f"{kept} bytes for 30 polls"
    assert (await say("POST", f"/v1/runs/{run_id}:cancel")).status == 200
    # A command that one reply has carried ends no other wait: who looks later than the first waits on.
    answered, waiting = await asyncio.wait(
        [poll.task for poll in polls], timeout=DEADLINE_S, return_when="FIRST_COMPLETED"
    )
    assert answered
    for poll in polls:
        if poll.task in answered:
            assert [one["status"] for one in poll.answer.json["results"]] == ["stored"]
            assert [one["type"] for one in poll.answer.json["commands"]] == ["cancel"]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_long_poll_that_cannot_be_watched_gives_its_place_back(
    app: App, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever kept it from being watched."""
    assert app._service is not None

    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(app._service._auth, "watch", broken)
    claim = await say("POST", "/api/agents/runs/claim", value={"worker_id": "w", "wait_seconds": 30})
    assert claim.status == 503
    assert app.arrivals.ledger.process.is_idle
