"""What is sent is data, whatever it looks like: nothing but JSON is read, and no statement of SQL holds any of it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tests.asgi.conversation import ADMIN_KEY, Answer, HandClock, ask
from towerlog.ambient import SystemIds
from towerlog.asgi.pages.examples import conversations
from towerlog.config import Settings
from towerlog.dialects import DIALECTS
from towerlog.dialects.base import BODY_TYPES, Endpoint
from towerlog.dialects.native import NATIVE
from towerlog.server import build

ENDPOINTS = [endpoint for dialect in (*DIALECTS, NATIVE) for endpoint in dialect.endpoints]
WITH_A_BODY = [endpoint for endpoint in ENDPOINTS if endpoint.request is not None]
OTHER_TYPES = [
    "application/xml",
    "application/yaml",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/x-python-pickle",
    "application/msgpack",
    "application/x-protobuf",
    "text/plain",
    "text/html",
]
CANARY = "c4n4ry"
"""What is looked for in every statement."""
SENT = (CANARY, f"{CANARY}' OR '1'='1", f'{CANARY}"; DROP TABLE run; --')
"""A word that any field takes, and two that end a text of SQL where they are put into one."""
MAX_FIELDS = 40
DEADLINE_S = 60.0
"""Of one request: none of them waits for anything."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=str(tmp_path), bootstrap_key=ADMIN_KEY, steps_rate_per_minute=0, lanes_rate_per_minute=0)


def filled(endpoint: Endpoint, value: str) -> str:
    """The path, each of whose parameters has this value."""
    quoted = "".join(letter if letter.isalnum() else f"%{ord(letter):02X}" for letter in value)
    return re.sub(r"\{[^}:]*\}", quoted, endpoint.path)


def name_of(endpoint: Endpoint) -> str:
    return endpoint.name


async def answer_of(app: Any, endpoint: Endpoint, target: str, **sent: Any) -> Answer:
    """The reply. A request that does not end fails by its own name, and does not hold the others."""
    asking = asyncio.create_task(ask(app, endpoint.method, target, **sent))
    # Not `wait_for`: a stream that is cancelled ends as if that were its end.
    await asyncio.wait([asking], timeout=DEADLINE_S)
    if not asking.done():
        asking.cancel()
        await asyncio.wait([asking])
        pytest.fail(f"{endpoint.method} {target} has no end: {sent}")
    return asking.result()


async def test_a_request_that_has_no_end_fails_by_its_name(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "DEADLINE_S", 0.05)
    following = next(one for one in ENDPOINTS if one.name == "live")
    with pytest.raises(pytest.fail.Exception, match=f"GET {following.path} has no end"):
        await answer_of(app, following, following.path)


@pytest.mark.parametrize("endpoint", WITH_A_BODY, ids=name_of)
async def test_a_body_that_is_not_json_is_not_read(app: Any, endpoint: Endpoint) -> None:
    for kind in set(OTHER_TYPES) - set(BODY_TYPES[endpoint.body]):
        headers = {"Content-Type": kind}
        reply = await answer_of(app, endpoint, filled(endpoint, "x"), body=b"{}", headers=headers)
        assert reply.status == 415, f"{kind}: {reply.status} {reply.body!r}"


def with_each_text(value: Any, sent: str) -> Iterator[Any]:
    """A JSON value, once for each text in it, with that one replaced."""
    if isinstance(value, str):
        yield sent
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from ({**value, name: changed} for changed in with_each_text(inner, sent))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from ([*value[:at], changed, *value[at + 1 :]] for changed in with_each_text(inner, sent))


def queries_of(endpoint: Endpoint, sent: str) -> Iterator[str]:
    """Query strings, each with one of the endpoint's parameters."""
    quoted = "".join(letter if letter.isalnum() else f"%{ord(letter):02X}" for letter in sent)
    fields = () if endpoint.query is None else msgspec.structs.fields(endpoint.query)
    return (f"?{field.encode_name}={quoted}" for field in fields)


@pytest.fixture
def traced() -> Iterator[tuple[set[str], set[object]]]:
    """All statements of all connections that are opened from now on, and the values that were bound to them."""
    statements: set[str] = set()
    values: set[object] = set()

    def note(_: Any, statement: str, bound: Sequence[object] | dict[str, object] | None) -> bool:
        statements.add(statement)
        values.update(value for value in bound or () if isinstance(value, str | bytes))
        return True

    def hook(connection: apsw.Connection) -> None:
        connection.exec_trace = note

    apsw.connection_hooks.append(hook)
    yield statements, values
    apsw.connection_hooks.remove(hook)


def requests_of(endpoint: Endpoint, sent: str) -> Iterator[tuple[str, Any]]:
    """(target, body): what is sent once in each part of the path, each parameter and each text of a body."""
    known = (
        conversations().get(endpoint.name, {}).get("request") if endpoint.sample is None else endpoint.sample.request
    )
    yield filled(endpoint, sent) + ("?follow=false" if endpoint.stream else ""), known
    for query in queries_of(endpoint, sent):
        yield filled(endpoint, "x") + query + ("&follow=false" if endpoint.stream else ""), known
    for body in islice(with_each_text(known, sent), MAX_FIELDS):
        yield filled(endpoint, "x"), body


async def test_no_statement_holds_what_was_sent(settings: Settings, traced: tuple[set[str], set[object]]) -> None:
    statements, values = traced
    clock = HandClock()
    app, _ = build(settings, clock, SystemIds(clock))
    await app.start()
    try:
        for endpoint, sent in product(ENDPOINTS, SENT):
            for target, body in requests_of(endpoint, sent):
                reply = await answer_of(app, endpoint, target, value=body)
                assert reply.status < 500, f"{endpoint.method} {target}: {reply.body!r}"
    finally:
        await app.stop()
    assert [statement for statement in statements if CANARY in statement] == []
    # Each of the three has come as far as the store, as a value.
    texts = {value for value in values if isinstance(value, str)}
    assert [sent for sent in SENT if not any(sent in text for text in texts)] == []
