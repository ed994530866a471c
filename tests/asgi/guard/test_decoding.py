"""Short bodies are decoded at once, long ones in the thread, and both give the same."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
from collections.abc import Callable

import msgspec
import pytest

from tests.dialects.calls import call as call_of
from tests.support.otlp import span, traces
from tests.support.wait import wait_until_async
from towerlog.ambient import SystemClock
from towerlog.asgi.guard import decoding
from towerlog.asgi.guard.decoding import (
    DECODED_AT_ONCE_BYTES,
    DECODED_AT_ONCE_OBJECTS,
    LARGE_BYTES,
    REPAIRED_AT_ONCE_BYTES,
    Decoded,
    Decoding,
    command_of,
    is_short,
)
from towerlog.dialects.base import Call, Endpoint
from towerlog.dialects.checkpoints.dialect import DIALECT as CHECKPOINTS
from towerlog.dialects.otlp.dialect import DIALECT as OTLP
from towerlog.dialects.steps import DIALECT
from towerlog.dialects.structure import MAX_PARTS
from towerlog.errors import Malformed, TooLarge, TowerlogError
from towerlog.model.command import Append
from towerlog.model.event import Draft, Refusal

ENDPOINT = next(one for one in DIALECT.endpoints if one.ingests)


def body(payload: bytes) -> bytes:
    return b'{"event_type":"step","sdk_run_id":"r","payload":{"x":%s}}' % payload


def text(length: int) -> bytes:
    return b'"' + b"x" * length + b'"'


def at_once(one: Decoding, call: Call) -> Decoded | None:
    """As the gate does it."""
    if not is_short(ENDPOINT, call):
        return None
    try:
        return Decoded(command_of(ENDPOINT, call), b"")
    except Malformed as error:
        return one.after(error, ENDPOINT, call, None)


async def decoded(content: bytes) -> tuple[Decoded | None, Decoded | TowerlogError]:
    """At once and in the thread."""
    one, call = Decoding(SystemClock()), call_of(content)
    try:
        return at_once(one, call), await one.aside(ENDPOINT, call)
    finally:
        one.close()


async def test_a_short_body_is_decoded_at_once_and_gives_the_same_in_the_thread() -> None:
    whole, aside = await decoded(body(b"1"))
    assert whole is not None
    assert isinstance(aside, Decoded)
    assert whole.command == aside.command


@pytest.mark.parametrize(
    "content",
    [
        body(text(DECODED_AT_ONCE_BYTES)),
        body(b"[" + b'{"a": "of so many objects each takes its time"},' * (DECODED_AT_ONCE_OBJECTS + 9) + b"1]"),
        body(b"[NaN," + text(REPAIRED_AT_ONCE_BYTES) + b"]"),
    ],
    ids=["long", "of many objects", "to be repaired"],
)
async def test_a_long_body_is_left_to_the_thread(content: bytes) -> None:
    whole, aside = await decoded(content)
    assert whole is None
    assert isinstance(aside, Decoded)
    assert bool(aside.warnings) is (b"NaN" in content)


async def test_long_data_comes_with_its_digests() -> None:
    _, aside = await decoded(body(text(DECODED_AT_ONCE_BYTES)))
    assert isinstance(aside, Decoded)
    assert isinstance(aside.command, Append)
    [draft] = aside.command.items
    assert isinstance(draft, Draft)
    assert len(draft.content) == 16
    assert len(draft.chained) == 32


async def test_what_is_refused_is_told_and_holds_nothing_of_the_body() -> None:
    content = b'{"event_type":"step"' + b" " * DECODED_AT_ONCE_BYTES
    before = sys.getrefcount(content)
    gc.disable()
    try:
        _, aside = await decoded(content)
        assert isinstance(aside, Malformed)
        assert aside.__traceback__ is None
        assert sys.getrefcount(content) == before
    finally:
        gc.enable()


async def test_a_body_of_too_many_parts_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "prepared", None)
    broken = msgspec.structs.replace(ENDPOINT, decode=lambda _call: pytest.fail("decoded"))
    one = Decoding(SystemClock())
    aside = await one.aside(broken, call_of(body(b"[" + b"0," * (MAX_PARTS + 9) + b"0]")))
    one.close()
    assert isinstance(aside, TooLarge)


RUNNERS = next(one for one in CHECKPOINTS.endpoints if one.ingests)


@pytest.mark.parametrize("levels", [200, 950, 990, 1000, 1010, 1023, 1024, 1100, 5000])
async def test_an_event_that_is_too_deep_is_refused_alone_however_deep_it_is(levels: int) -> None:
    deep = b'{"type":"budget_warning","data":{"thread_id":"t","x":%s}}' % (b"[" * levels + b"]" * levels)
    plain = b'{"type":"budget_warning","data":{"thread_id":"t"}}'
    one = Decoding(SystemClock())
    try:
        found = await one.aside(RUNNERS, call_of(b'{"events":[%s,%s,%s]}' % (plain, deep, plain)))
    finally:
        one.close()
    assert isinstance(found, Decoded)
    assert isinstance(found.command, Append)
    assert [type(item) for item in found.command.items] == [Draft, Refusal, Draft]


# Several at a time

EXPORT = next(one for one in OTLP.endpoints if one.ingests)


def dear(spans: int) -> bytes:
    """A request whose text has to be looked at all over for secrets."""
    return json.dumps(traces(*(span(n + 2, 1, trace=7, input__value="key'='" * 20_000) for n in range(spans)))).encode()


async def test_a_body_is_decoded_before_a_longer_one_that_came_first() -> None:
    one, order = Decoding(SystemClock()), list[str]()
    begun = threading.Event()
    first = msgspec.structs.replace(EXPORT, decode=lambda call: (begun.set(), EXPORT.decode(call))[1])

    async def decode(name: str, endpoint: Endpoint, content: bytes) -> None:
        assert isinstance(await one.aside(endpoint, call_of(content)), Decoded)
        order.append(name)

    long = asyncio.create_task(decode("long", first, dear(8)))
    await asyncio.to_thread(begun.wait)
    await decode("short", ENDPOINT, body(text(DECODED_AT_ONCE_BYTES)))
    await long
    one.close()
    assert order == ["short", "long"]


async def test_large_bodies_are_decoded_one_by_one_and_others_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    one, begun, may_end = Decoding(SystemClock()), list[str](), asyncio.Event()
    run = one._turns.run

    async def noted(work: Callable[..., Decoded | TowerlogError]) -> Decoded | TowerlogError:
        task = asyncio.current_task()
        assert task is not None
        begun.append(task.get_name())
        await may_end.wait()
        return await run(work)

    monkeypatch.setattr(one._turns, "run", noted)
    large, small = body(text(LARGE_BYTES)), body(text(DECODED_AT_ONCE_BYTES))
    sent = [("large", large), ("larger", large + b" "), ("small", small)]
    tasks = [asyncio.create_task(one.aside(ENDPOINT, call_of(content)), name=name) for name, content in sent]
    await wait_until_async(lambda: len(begun) >= 2, "two of them to begin")
    may_end.set()
    assert begun == ["large", "small"]
    await asyncio.gather(*tasks)
    assert begun == ["large", "small", "larger"]
    one.close()
