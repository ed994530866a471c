"""Hostile requests of OpenTelemetry: real spans and records, broken in all ways; no 5xx, and memory does not grow."""

from __future__ import annotations

import json
import random
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import FreshServer
from tests.support.otlp import JSON, PROTOBUF, as_protobuf, exports
from tests.support.server import ADMIN_KEY, Server

MANY = [1_500, pytest.param(1_000_000, marks=pytest.mark.slow)]
AT_ONCE = 50
"""Requests that are sent before their replies are read."""
MAX_GROWTH_BYTES = 96 * 1024 * 1024
"""Of the server from the first fifth of them on: what its caches may still take in."""
DEADLINE_S = 120.0
ODD: list[Any] = [
    None, True, -1, 2**70, 1.5, "", "x", "\ud800", "9" * 25, [], {}, [[]], {"stringValue": 1}, {"intValue": "one"},
    {"arrayValue": {"values": [{"arrayValue": {}}]}}, {"kvlistValue": {"values": [{"key": "a"}]}},
    {"doubleValue": "NaN"},
]  # fmt: skip


def samples() -> Iterator[tuple[str, Any]]:
    """Path and body of each span by itself, and of a few small exports as they are."""
    for export in exports():
        if export.path == "/v1/traces":
            yield from ((export.path, body) for body in export.one_by_one())
        if len(export.sent(JSON)) < 8000:
            yield export.path, export.body


def broken_bytes(body: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut out, repeated, put in."""
    told = bytearray(body)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(told) + 1)
        match chance.randrange(6):
            case 0:
                told[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del told[at : at + chance.randrange(1, 40)]
            case 2:
                told[at:at] = told[at : at + chance.randrange(1, 200)]
            case 3:
                told[at:at] = chance.randbytes(chance.randrange(1, 20))
            case 4:
                told[at : at + 1] = b"\xff" * chance.randrange(1, 12)
            case _:
                del told[at:]
    return bytes(told)


def broken_value(value: Any, chance: random.Random) -> Any:
    """JSON with one of its members, somewhere, changed to something odd."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = chance.choice([*value])
        return {**value, name: broken_value(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        return [*value[:at], broken_value(value[at], chance), *value[at + 1 :]]
    return chance.choice(ODD)


def hostile(count: int) -> Iterator[bytes]:
    """Complete requests."""
    chance = random.Random(13)
    told = [(path, body, json.dumps(body).encode(), as_protobuf(path, body)) for path, body in samples()]
    for _ in range(count):
        path, body, text, binary = chance.choice(told)
        match chance.randrange(3):
            case 0:
                yield request(path, PROTOBUF, broken_bytes(binary, chance))
            case 1:
                yield request(path, JSON, broken_bytes(text, chance))
            case _:
                yield request(path, JSON, json.dumps(broken_value(body, chance)).encode())


def request(path: str, kind: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN_KEY}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Talk:
    """A connection on which several requests are under way."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), DEADLINE_S)
        self._rest = b""

    def replies(self, requests: list[bytes]) -> Iterator[int]:
        """The status of each."""
        self._socket.sendall(b"".join(requests))
        for _ in requests:
            yield self._reply()

    def _reply(self) -> int:
        while b"\r\n\r\n" not in self._rest:
            self._read()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
        while len(self._rest) < length:
            self._read()
        self._rest = self._rest[length:]
        return int(lines[0].split()[1])

    def _read(self) -> None:
        part = self._socket.recv(1 << 16)
        assert part, "the server has closed the connection"
        self._rest += part

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("count", MANY)
def test_broken_requests_neither_break_nor_fill_the_server(fresh_server: FreshServer, count: int) -> None:
    server = fresh_server()
    statuses: Counter[int] = Counter()
    before, group = 0, []
    talk = Talk(server)
    for number, one in enumerate(hostile(count), start=1):
        group.append(one)
        if len(group) == AT_ONCE or number == count:
            statuses.update(talk.replies(group))
            group = []
        if number == count // 5:
            before = server.resident_bytes()
    talk.close()
    assert set(statuses) <= {200, 400, 413}, statuses
    assert statuses[200] > count // 6
    assert statuses[400] > count // 20
    assert server.resident_bytes() - before <= MAX_GROWTH_BYTES
    assert server.client().get("/readyz").status_code == 200
