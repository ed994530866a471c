"""Messages of JSON-RPC: which are none, and what errors may say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from towerlog.asgi.pages.mcp import messages
from towerlog.asgi.pages.mcp.messages import bounded, fault_of


def fault(body: bytes) -> tuple[Any, int] | None:
    """The id and the number of a refusal."""
    reply = fault_of(body)
    if reply is None:
        return None
    told = msgspec.json.decode(reply.body)
    assert (reply.status, told["jsonrpc"]) == (400, "2.0")
    return told["id"], told["error"]["code"]


@pytest.mark.parametrize(
    "members",
    [
        b'"id":1,"method":"ping"',
        b'"id":-7,"method":"ping","params":null',
        b'"id":"a","method":"ping","params":{}',
        b'"method":"notifications/initialized"',
        b'"id":3,"result":{}',
        b'"id":null,"error":{"code":1,"message":"x"}',
    ],
)
def test_messages(members: bytes) -> None:
    assert fault(b'{"jsonrpc":"2.0",' + members + b"}") is None


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", (None, -32700)),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', (None, -32700)),
        (b"[" * 100_000, (None, -32600)),
        (b'{"a":' * 100_000, (None, -32700)),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', (None, -32600)),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', (None, -32600)),
        (b'{"jsonrpc":"2.0","id":1,"id":[],"method":"ping"}', (None, -32600)),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', (None, -32600)),
        (b'{"jsonrpc":"2.0","id":{},"result":{}}', (None, -32600)),
        (b'{"id":1,"method":"ping"}', (1, -32600)),
        (b'{"jsonrpc":"2.0","id":"a"}', ("a", -32600)),
        (b'{"jsonrpc":"2.0","id":1,"method":null}', (1, -32600)),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', (1, -32602)),
    ],
)
def test_what_is_none(body: bytes, found: tuple[Any, int]) -> None:
    assert fault(body) == found


def test_a_result_goes_as_it_is() -> None:
    for body in (b"", b'{"jsonrpc":"2.0","id":1,"result":{"error":{"code":1,"message":"' + b"x" * 5000 + b'"}}}'):
        assert bounded(body) is body


def test_texts_of_an_error_are_cut_at_any_depth() -> None:
    long = "é" * 5000
    error = {"code": -1, "message": long, "data": {"a": [long, 1, {"b": long}], long: None}}
    told = msgspec.json.decode(bounded(msgspec.json.encode({"jsonrpc": "2.0", "id": "a", "error": error})))
    assert (told["id"], told["error"]["code"], len(told["error"]["message"])) == ("a", -1, messages.MAX_ERROR_CHARS)
    cut = long[: messages.MAX_ERROR_DATA_CHARS - 1] + "…"
    assert told["error"]["data"] == {"a": [cut, 1, {"b": cut}], cut: None}
    error["data"] = [long] * 100
    told = msgspec.json.decode(bounded(msgspec.json.encode({"jsonrpc": "2.0", "id": "a", "error": error})))
    assert "data" not in told["error"]
