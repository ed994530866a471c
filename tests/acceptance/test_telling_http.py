"""HTTP as the telling dialects share it: trace ids, keys, encodings, limits, repeats, bodies from hell.

One table of doors, every test at each of them; each door answers errors in its own dialect's form.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import zstandard

from tests.acceptance.conftest import Scoped, Unique
from tests.support.readback import ReadBack
from tests.support.senders import (
    INGEST_PATH,
    LOCAL_RUNNER_PATH,
    RUNNER_PATH,
    Json,
    container_event,
    runner_event,
    sdk_event,
    tell,
)
from tests.support.tables import table

# Keys, secrets and limits are the same at every door.
pytestmark = pytest.mark.every_value


MEBIBYTE = 2**20
BODY_LIMIT = 16 * MEBIBYTE
EVENT_LIMIT = 4 * MEBIBYTE
JSON_TYPE = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Transport:
    """One place to post to: a body of one event, how many events are stored there by now, the key of its errors."""

    name: str
    path: str
    body: Callable[[str, Any], Json]
    count: Callable[[], int]
    error_key: str

    def assert_refused(self, reply: httpx2.Response, *statuses: int) -> None:
        """Nothing taken: an error in this dialect's form, or a batch whose every event is refused by index."""
        body = reply.json()
        if "rejected" not in body:
            self.assert_error(reply, *statuses)
            return
        assert reply.status_code == 422
        assert body.get("saved", body.get("accepted")) == 0
        assert [one["index"] for one in body["rejected"]] == list(range(len(body["rejected"])))
        assert body["rejected"] != []

    def assert_error(self, reply: httpx2.Response, *statuses: int) -> None:
        """One of these statuses, in this dialect's form."""
        assert reply.status_code in statuses, f"{reply.status_code} {reply.text[:500]}"
        assert isinstance(reply.json()[self.error_key], str)
        assert reply.json()[self.error_key]
        assert reply.headers["X-Trace-Id"]


@pytest.fixture(params=["checkpoints", "checkpoints-local", "steps", "activity"])
def door(request: pytest.FixtureRequest, client: httpx2.Client, back: ReadBack, unique: Unique) -> Transport:
    """Each door in turn, over a run or an agent of this test's own."""
    name, own = str(request.param), unique("own")
    if name == "steps":
        return steps_door(back, own)
    if name == "activity":
        tell(client, "run_start", unique("run"), agent_name=own)
        return activity_door(back, back.agent_id(own))
    return checkpoints_door(back, own, RUNNER_PATH if name == "checkpoints" else LOCAL_RUNNER_PATH)


def checkpoints_door(back: ReadBack, thread: str, path: str) -> Transport:
    """A runner's batch of one event in this thread."""

    def body(text: str, deep: Any) -> Json:
        return {"events": [runner_event("workflow_step", thread, "t", n=text, deep=deep)]}

    return Transport("checkpoints", path, body, lambda: stored_in(back, thread), "detail")


def steps_door(back: ReadBack, sdk_run_id: str) -> Transport:
    """An SDK's step in this run."""

    def body(text: str, deep: Any) -> Json:
        return sdk_event("step", sdk_run_id, {"n": text, "deep": deep})

    return Transport("steps", INGEST_PATH, body, lambda: stored_in(back, sdk_run_id), "message")


def activity_door(back: ReadBack, agent_id: str) -> Transport:
    """A container's event for this agent."""

    def body(text: str, deep: Any) -> Json:
        return container_event(input_summary=text, metadata={"deep": deep})

    return Transport("activity", f"/agents/{agent_id}/events", body, lambda: len(back.activity(agent_id)), "error")


def stored_in(back: ReadBack, thread: str) -> int:
    """How many events the only run of a thread has; 0 when there is no run."""
    return len(back.events(thread)) if back.runs(thread_id=thread) else 0


def nested(depth: int) -> Any:
    """Arrays in arrays."""
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    return value


def test_every_reply_has_a_trace_id(client: httpx2.Client, anonymous: httpx2.Client, door: Transport) -> None:
    replies = [
        client.post(door.path, json=door.body("x", 0)),
        client.post(door.path, content=b"{", headers=JSON_TYPE),
        anonymous.post(door.path, json=door.body("x", 0)),
        client.put(door.path),
        client.get("/nowhere"),
    ]
    assert (replies[0].status_code, replies[3].status_code) == (200, 405)
    traces = [reply.headers["X-Trace-Id"] for reply in replies]
    assert all(re.fullmatch(r"[0-9a-f]{32}", trace) for trace in traces)
    assert len(set(traces)) == len(traces)


def test_a_traceparent_is_honoured(client: httpx2.Client, door: Transport) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert client.post(door.path, json=door.body("x", 0), headers=headers).headers["X-Trace-Id"] == trace
    for wrong in ("garbage", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"ff-{trace}-00f067aa0ba902b7-01", "00-\xff"):
        reply = client.post(door.path, json=door.body("x", 0), headers={"traceparent": wrong.encode("latin-1")})
        assert reply.status_code == 200
        assert re.fullmatch(r"[0-9a-f]{32}", reply.headers["X-Trace-Id"])


@table("given", ["Bearer nobody", "Bearer", "Basic YWRtOmFkbQ==", "nonsense", "", "Bearer a b"])
def test_a_bad_key_is_a_401(anonymous: httpx2.Client, door: Transport, given: str) -> None:
    reply = anonymous.post(door.path, json=door.body("x", 0), headers={"Authorization": given})
    door.assert_error(reply, 401)
    assert door.count() == 0


def test_no_key_is_a_401_whatever_the_body(anonymous: httpx2.Client, door: Transport) -> None:
    for body in (json.dumps(door.body("x", 0)).encode(), b"{", b""):
        door.assert_error(anonymous.post(door.path, content=body, headers=JSON_TYPE), 401)


def test_a_key_in_the_url_is_no_key(anonymous: httpx2.Client, client: httpx2.Client, door: Transport) -> None:
    key = client.headers["Authorization"].removeprefix("Bearer ")
    for name in ("key", "api_key", "token", "access_token"):
        door.assert_error(anonymous.post(door.path, json=door.body("x", 0), params={name: key}), 401)


@table("scope", ["read", "control", "worker"])
def test_a_key_without_the_scope_is_a_403(scoped: Scoped, door: Transport, scope: str) -> None:
    door.assert_error(scoped(scope).post(door.path, json=door.body("x", 0)), 403)
    assert door.count() == 0


def test_the_scope_ingest_is_enough(scoped: Scoped, door: Transport) -> None:
    assert scoped("ingest").post(door.path, json=door.body("x", 0)).status_code == 200
    assert door.count() == 1


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_compressed_body_is_taken(client: httpx2.Client, door: Transport, encoding: str) -> None:
    body = ENCODERS[encoding](json.dumps(door.body("x" * 10_000, 0)).encode())
    reply = client.post(door.path, content=body, headers={**JSON_TYPE, "Content-Encoding": encoding})
    assert reply.status_code == 200, reply.text
    assert door.count() == 1


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    """A body in each encoding that is too large once it is decoded."""
    body = b'{"events": "' + b" " * (BODY_LIMIT + MEBIBYTE) + b'"}'
    return {name: pack(body) for name, pack in ENCODERS.items()}


@pytest.mark.parametrize("encoding", ENCODERS)
def test_the_limit_is_on_the_decoded_size(client, door: Transport, bombs: dict[str, bytes], encoding: str) -> None:
    assert len(bombs[encoding]) < MEBIBYTE
    reply = client.post(door.path, content=bombs[encoding], headers={**JSON_TYPE, "Content-Encoding": encoding})
    door.assert_error(reply, 413)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_broken_or_cut_encoding_is_refused(client: httpx2.Client, door: Transport, encoding: str) -> None:
    whole = ENCODERS[encoding](json.dumps(door.body("x", 0)).encode())
    for body in (b"not compressed at all", whole[:-3], whole[: len(whole) // 2], b"", whole[:5]):
        reply = client.post(door.path, content=body, headers={**JSON_TYPE, "Content-Encoding": encoding})
        door.assert_error(reply, 400, 415, 422)
    assert door.count() == 0


@table("encoding", ["br", "deflate", "compress", "gzip, gzip", "utf-8"])
def test_an_unknown_encoding_is_refused(client: httpx2.Client, door: Transport, encoding: str) -> None:
    body = zlib.compress(json.dumps(door.body("x", 0)).encode())
    reply = client.post(door.path, content=body, headers={**JSON_TYPE, "Content-Encoding": encoding})
    door.assert_error(reply, 400, 415, 422)


def test_a_body_over_16_mebibytes_is_a_413(client: httpx2.Client, door: Transport) -> None:
    body = json.dumps(door.body("x", 0)).encode().ljust(BODY_LIMIT + 1)
    door.assert_error(client.post(door.path, content=body, headers=JSON_TYPE), 413)
    assert door.count() == 0
    assert client.post(door.path, content=body[:BODY_LIMIT], headers=JSON_TYPE).status_code == 200


def test_a_body_of_unknown_length_is_limited_too(client: httpx2.Client, door: Transport) -> None:
    chunks = (b" " * MEBIBYTE for _ in range(17))
    door.assert_error(client.post(door.path, content=chunks, headers=JSON_TYPE), 413)


def test_an_event_over_4_mebibytes_is_refused(client: httpx2.Client, door: Transport) -> None:
    reply = client.post(door.path, json=door.body("x" * (EVENT_LIMIT + 1), 0))
    door.assert_refused(reply, 413, 422)
    assert door.count() == 0


def test_a_depth_of_a_hundred_is_taken_and_a_thousand_refused(client: httpx2.Client, door: Transport) -> None:
    assert client.post(door.path, json=door.body("x", nested(100))).status_code == 200
    for depth in (129, 200, 100_000):
        body = json.dumps(door.body("x", "HERE")).replace('"HERE"', "[" * depth + "]" * depth)
        door.assert_refused(client.post(door.path, content=body.encode(), headers=JSON_TYPE), 400, 413, 422)
    assert door.count() == 1


HELL: dict[str, bytes] = {
    "nothing": b"",
    "blank": b"  \n ",
    "null byte": b"\x00",
    "not utf-8": b"\xff\xfe\x00",
    "utf-16": '{"events": []}'.encode("utf-16"),
    "utf-8 mark": b"\xef\xbb\xbf{}",
    "overlong": b'{"a": "\xc0\xaf"}',
    "cut": b'{"events": [{"type": "chec',
    "two values": b"{} {}",
    "nan": b'{"events": [{"type": "checkpoint", "data": {"thread_id": "t", "run_cost_usd": NaN}}]}',
    "infinity": b'{"payload": -Infinity}',
    "huge exponent": b'{"payload": 1e999999999}',
    "huge number": b'{"payload": ' + b"9" * 100_000 + b"}",
    "lone surrogate": b'{"sdk_run_id": "\\ud800", "payload": {}}',  # the half is repaired; a name is missing
    "raw newline": b'{"a": "\n"}',
    "comment": b'{"a": 1 /* no */}',
    "trailing comma": b'{"a": 1,}',
    "many keys": b"{" + b",".join(b'"k%d": 1' % n for n in range(100_000)) + b"}",
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "unclosed": b"[" * 1_000_000,
    "number": b"42",
    "text": b'"events"',
    "form": b"events=1&events=2",
}


@table("name", HELL)
def test_no_body_makes_a_server_error(client: httpx2.Client, door: Transport, name: str) -> None:
    door.assert_refused(client.post(door.path, content=HELL[name], headers=JSON_TYPE), 400, 413, 422)
    assert door.count() == 0


@table("content_type", ["text/plain", "application/xml", "multipart/form-data", "", "json", "a/b; c"])
def test_no_content_type_makes_a_server_error(client: httpx2.Client, door: Transport, content_type: str) -> None:
    body, before = json.dumps(door.body("x", 0)).encode(), door.count()
    reply = client.post(door.path, content=body, headers={"Content-Type": content_type})
    if reply.status_code != 200:
        door.assert_error(reply, 400, 415, 422)
    assert door.count() == before + (reply.status_code == 200)


def test_duplicate_keys_are_never_a_server_error(client: httpx2.Client, door: Transport) -> None:
    text = json.dumps(door.body("x", 0))
    doubled = text[:-1] + "," + text[1:]
    assert client.post(door.path, content=doubled.encode(), headers=JSON_TYPE).status_code in (200, 400, 422)


def test_the_same_key_and_body_get_the_same_reply(client: httpx2.Client, door: Transport, unique: Unique) -> None:
    headers = {"Idempotency-Key": unique("key")}
    replies = [client.post(door.path, json=door.body("x", 0), headers=headers) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 200]
    assert replies[0].content == replies[1].content == replies[2].content
    assert door.count() == 1


def test_a_key_used_by_many_at_once_stores_once(client: httpx2.Client, door: Transport, unique: Unique) -> None:
    headers, body = {"Idempotency-Key": unique("key")}, door.body("x", 0)
    with ThreadPoolExecutor(8) as senders:
        replies = list(senders.map(lambda _: client.post(door.path, json=body, headers=headers), range(24)))
    for reply in (reply for reply in replies if reply.status_code != 200):
        door.assert_error(reply, 409)
        assert reply.headers["Retry-After"] == "1", "the first was still in flight"
    assert len({reply.content for reply in replies if reply.status_code == 200}) == 1
    assert door.count() == 1


def test_the_same_key_and_another_body_is_a_422(client: httpx2.Client, door: Transport, unique: Unique) -> None:
    headers = {"Idempotency-Key": unique("key")}
    assert client.post(door.path, json=door.body("x", 0), headers=headers).status_code == 200
    door.assert_error(client.post(door.path, json=door.body("y", 0), headers=headers), 422)
    assert door.count() == 1


def test_another_key_stores_again(client: httpx2.Client, door: Transport, unique: Unique) -> None:
    for _ in range(2):
        reply = client.post(door.path, json=door.body("x", 0), headers={"Idempotency-Key": unique("key")})
        assert reply.status_code == 200
    assert door.count() == 2


@table("key", ["k" * 256, "a\tb", "ü".encode()])
def test_a_bad_idempotency_key_is_refused(client: httpx2.Client, door: Transport, key: str | bytes) -> None:
    door.assert_error(client.post(door.path, json=door.body("x", 0), headers={"Idempotency-Key": key}), 400, 422)
    assert door.count() == 0


def test_the_longest_idempotency_key_is_taken(client: httpx2.Client, door: Transport, unique: Unique) -> None:
    headers = {"Idempotency-Key": unique("key").ljust(255, "~")}
    assert client.post(door.path, json=door.body("x", 0), headers=headers).status_code == 200


def test_an_idempotency_key_belongs_to_its_organisation(
    client: httpx2.Client, other_org: httpx2.Client, unique: Unique
) -> None:
    headers = {"Idempotency-Key": unique("key")}
    ours = client.post(INGEST_PATH, json=sdk_event("step", unique("run"), {"n": 1}), headers=headers)
    theirs = other_org.post(INGEST_PATH, json=sdk_event("step", unique("run"), {"n": 2}), headers=headers)
    assert (ours.status_code, theirs.status_code) == (200, 200)


def test_a_refused_request_may_be_mended_under_its_key(client: httpx2.Client, unique: Unique) -> None:
    headers, nameless = {"Idempotency-Key": unique("key")}, sdk_event("", unique("run"), {"cost_usd": 1})
    refused, again = (client.post(INGEST_PATH, json=nameless, headers=headers) for _ in range(2))
    assert (refused.status_code, again.status_code) == (422, 422)
    assert refused.json() == again.json()
