"""No answer leaves its request's body to the collector, which looks through everything only once in 300 requests."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from tests.asgi.conversation import ADMIN_KEY, HandClock
from tests.asgi.sockets import listening
from tests.support.backends import SqliteBackend
from tests.support.wait import DEADLINE_S
from towerlog.ambient import SystemIds
from towerlog.config import Settings
from towerlog.server import build

LONG = 200_000
"""Characters of a payload."""
LARGE = 10_000
"""What is left is counted from here on: what belongs to a connection without a body is shorter."""
TIMES = 5
EVENTS = "/api/v1/events"
NO_RUN = "00000000-0000-7000-8000-000000000001"


def told(event_id: str, more: str = "", **batch: Any) -> bytes:
    """A batch of one long event; all are of one run."""
    data = {"name": "s", "payload": "x" * LONG + more}
    event = {"event_id": event_id, "client_seq": 1, "run_key": "r", "type": "step", "data": data}
    return json.dumps({"client_id": "k", "events": [event], **batch}).encode()


def span() -> bytes:
    """One span of OTLP with a long attribute."""
    attribute = {"key": "input.value", "value": {"stringValue": "x" * LONG}}
    one = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "s", "attributes": [attribute]}
    one |= {"startTimeUnixNano": "1790000000000000000", "endTimeUnixNano": "1790000001000000000"}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}).encode()


ODD = {"type": "step", "data": {"name": "s", "payload": "x" * LONG}}
"""An event without its id."""
WHOLE = {**ODD, "event_id": "z", "client_seq": 1}
BATCH = {"client_id": "k", "events": [ODD, WHOLE]}
REPORT = {"worker_id": "w", "lease_epoch": 1, "events": [WHOLE]}
ODD_REPORT = {**REPORT, "events": [ODD]}
KINDS: dict[str, tuple[int, str, Sequence[bytes], Sequence[str]]] = {
    "stored": (200, EVENTS, [told(f"a{n}") for n in range(TIMES)], ()),
    "duplicate": (200, EVENTS, [told("a0")] * TIMES, ()),
    "respelled duplicate": (200, EVENTS, [told("a0").replace(b'", "', b'" , "')] * TIMES, ()),
    "duplicate in gzip": (200, EVENTS, [gzip.compress(told("a0"), mtime=0)] * TIMES, ("Content-Encoding: gzip",)),
    "duplicate that waits": (200, EVENTS, [told("a0", wait_seconds=1)], ()),
    "id_reused": (200, EVENTS, [told("a0", "z")] * TIMES, ()),
    "refused in its form": (422, EVENTS, [json.dumps({"client_id": "x" * LONG}).encode()] * TIMES, ()),
    "an event of another form": (200, EVENTS, [json.dumps(BATCH).encode()] * TIMES, ()),
    "refused by the engine": (404, f"/api/v1/runs/{NO_RUN}:report", [json.dumps(REPORT).encode()] * TIMES, ()),
    "of another form, and refused": (
        404,
        f"/api/v1/runs/{NO_RUN}:report",
        [json.dumps(ODD_REPORT).encode()] * TIMES,
        (),
    ),
    "no JSON": (400, EVENTS, [b'{"client_id":"' + b"x" * LONG] * TIMES, ()),
    "no such route": (404, "/nowhere", [b"x" * LONG] * TIMES, ()),
    "too large": (413, EVENTS, [b"x" * (5 * LONG)] * TIMES, ()),
    "no such key": (401, EVENTS, [told("a0")] * TIMES, ("Authorization: Bearer tl_adm_wrong",)),
    "replayed": (200, EVENTS, [told("a0")] * TIMES, ("Idempotency-Key: one",)),
    "another body under a key": (422, EVENTS, [told(f"b{n}") for n in range(TIMES)], ("Idempotency-Key: two",)),
    "a repeated span": (200, "/v1/traces", [span()] * TIMES, ()),
}
"""Status of the last, path, bodies, further headers."""


def exchange(port: int, path: str, body: bytes, headers: Sequence[str], missing: int = 0) -> int:
    """Sends a request; the status of its reply. `missing`: so much of the body never comes, and there is none."""
    keyed = any(one.startswith("Authorization") for one in headers)
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body) + missing}", *headers]
    lines += [] if keyed else [f"Authorization: Bearer {ADMIN_KEY}"]
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as one:
        one.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        if missing:
            return 0
        reply = b""
        while part := one.recv(65_536):
            reply += part
    return int(reply.split(b" ", 2)[1])


def held_by(one: Any) -> list[Any]:
    """What an object holds. Of most of our structs the collector knows nothing."""
    if isinstance(one, msgspec.Struct):
        return [getattr(one, name) for name in one.__struct_fields__]
    return gc.get_referents(one)


def left() -> int:
    """Bytes of long texts that only the collector frees."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
    finally:
        gc.set_debug(0)
    found = list(gc.garbage)
    gc.garbage.clear()
    texts: dict[int, int] = {}
    seen: set[int] = set()
    while found:
        for one in held_by(found.pop()):
            if isinstance(one, bytes | bytearray | str | msgspec.Raw):
                texts[id(one)] = len(bytes(one)) if isinstance(one, msgspec.Raw) else len(one)
            elif not gc.is_tracked(one) and id(one) not in seen:
                seen.add(id(one))
                found.append(one)
    return sum(size for size in texts.values() if size >= LARGE)


@pytest.fixture
async def port(tmp_path: Any, clock: HandClock) -> AsyncIterator[int]:
    """The application behind its own connection."""
    SqliteBackend.fresh(tmp_path).make()
    settings = Settings(data_dir=str(tmp_path), bootstrap_key=ADMIN_KEY, max_body_bytes=4 * LONG)
    made, _ = build(settings, clock, SystemIds(clock))
    await made.start()
    async with listening(made) as number:
        yield number
    await made.stop()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_leaves_no_body_to_the_collector(port: int, kind: str) -> None:
    status, path, bodies, headers = KINDS[kind]
    await asyncio.to_thread(exchange, port, EVENTS, told("a0"), ())
    await asyncio.to_thread(exchange, port, path, bodies[0], headers)
    gc.collect()
    gc.disable()
    try:
        said = [await asyncio.to_thread(exchange, port, path, body, headers) for body in bodies]
        assert said[-1] == status
        assert left() == 0
    finally:
        gc.enable()


async def test_a_connection_that_is_cut_leaves_no_body_to_the_collector(port: int) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(TIMES):
            await asyncio.to_thread(exchange, port, EVENTS, told("a0"), (), 1)
        await asyncio.to_thread(exchange, port, EVENTS, told("a0"), ())
        assert left() == 0
    finally:
        gc.enable()
