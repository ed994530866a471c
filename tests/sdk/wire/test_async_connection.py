"""Sockets for asyncio: deadlines, being interrupted, and a signal that belongs to no event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.sdk.talker import HANG, reply, talking
from tests.support.wait import DEADLINE_S
from towerlog.sdk.wire.address import read_url
from towerlog.sdk.wire.async_connection import AsyncHost, AsyncSignal, connections_closed, current_scope

REQUEST = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_is_sent_is_replied_to() -> None:
    with talking(reply(200, b"hello")) as talker:
        connection = await AsyncHost(read_url(talker.url), None).open(time.monotonic() + 5)
        await connection.send(REQUEST, time.monotonic() + 5)
        assert (await connection.receive(time.monotonic() + 5)).endswith(b"hello")
        assert connection.is_quiet
        assert not connection.has_unsent
        connection.close()
        assert not connection.is_quiet
        await connections_closed()


async def test_a_wait_ends_at_its_time() -> None:
    with talking(HANG) as talker:
        connection = await AsyncHost(read_url(talker.url), None).open(time.monotonic() + 5)
        with pytest.raises(TimeoutError):
            await connection.receive(time.monotonic() + 0.02)
        connection.close()
        await connections_closed()


async def test_nobody_there_is_an_error_of_the_system(held_port) -> None:
    with pytest.raises(OSError):
        await AsyncHost(read_url(held_port.url), None).open(time.monotonic() + 5)


async def test_a_wait_can_be_interrupted() -> None:
    with talking(HANG) as talker:
        connection = await AsyncHost(read_url(talker.url), None).open(time.monotonic() + 5)
        waiting = asyncio.create_task(connection.receive(time.monotonic() + 30))
        await asyncio.sleep(0)
        connection.interrupt()
        assert await asyncio.wait_for(waiting, DEADLINE_S) == b""
        await connections_closed()


async def test_a_signal_ends_every_wait() -> None:
    signal = AsyncSignal()
    assert not await signal.wait(0.001)
    waits = [asyncio.create_task(signal.wait(30)) for _ in range(3)]
    await asyncio.sleep(0)
    signal.set()
    assert await asyncio.gather(*waits) == [True] * 3
    assert signal.is_set()
    assert await signal.wait(30)


def test_a_signal_serves_one_event_loop_after_the_other() -> None:
    signal = AsyncSignal()
    assert not asyncio.run(signal.wait(0.001))
    assert not asyncio.run(signal.wait(0.001))


def test_each_event_loop_has_connections_of_its_own() -> None:
    async def scope() -> object:
        return current_scope()

    with asyncio.Runner() as first, asyncio.Runner() as second:
        assert first.run(scope()) == first.run(scope()) != second.run(scope())
    assert current_scope() == current_scope()
