"""Sockets of live push under a clock in the hand: who is asked whether he is there, who is ended, whose turn it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.asgi.conversation import HandClock
from tests.asgi.sockets import listening
from tests.support.pusher import TEXT, PusherClient, frame
from tests.support.wait import wait_until_async
from towerlog.asgi.app import App
from towerlog.asgi.push.sockets import REST, ROUND_MS, Sockets
from towerlog.dialects.pusher.messages import ACTIVITY_TIMEOUT_S


@asynccontextmanager
async def connected(app: App) -> AsyncIterator[tuple[PusherClient, Callable[..., Any]]]:
    """A client, and a way to have it do something that waits for an answer."""

    async def does(what: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(what, *arguments)

    async with listening(app) as port:
        client = await does(PusherClient, f"http://127.0.0.1:{port}")
        with client:
            await does(client.connect)
            yield client, does


def after(app: App, clock: HandClock, seconds: int) -> Sockets:
    """The sockets so much later."""
    assert app.sockets is not None
    clock.move(seconds)
    app.sockets.tick(clock.steady_ms())
    return app.sockets


async def test_a_silent_client_is_asked_and_ended_where_it_does_not_answer(app: App, clock: HandClock) -> None:
    async with connected(app) as (client, does):
        after(app, clock, ACTIVITY_TIMEOUT_S)
        sockets = after(app, clock, 1)
        assert (await does(client.message))["event"] == "pusher:ping"
        after(app, clock, 29)
        assert len(sockets) == 1
        after(app, clock, 1)
        code, _, said = await does(client.end)
        assert code == 4201
        assert [one["data"]["code"] for one in said] == [4201], "it was asked once"
        assert len(sockets) == 0


async def test_a_client_that_answers_stays(app: App, clock: HandClock) -> None:
    async with connected(app) as (client, does):
        for _ in range(3):
            after(app, clock, ACTIVITY_TIMEOUT_S + 1)
            assert (await does(client.message))["event"] == "pusher:ping"
            client.send(frame(TEXT, b'{"event":"pusher:pong"}'), frame(TEXT, b'{"event":"pusher:ping"}'))
            assert (await does(client.message))["event"] == "pusher:pong"
        assert len(after(app, clock, 30)) == 1


async def test_a_client_that_is_gone_in_this_moment_keeps_no_server_from_ending(app: App) -> None:
    """The event loop has not heard of it yet, and the last frame is answered with a reset."""
    async with connected(app) as (client, _):
        assert app.sockets is not None
        [one] = app.sockets._open.values()
        client.socket.close()
        one.shutdown()
        await wait_until_async(lambda: not app.sockets, "the socket to be gone")


async def test_a_socket_that_raises_takes_no_other_its_turn(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = app.sockets
    assert sockets is not None
    delivered: list[int] = []
    raised: list[BaseException] = []

    class Failing:
        """Of three one is broken."""

        def __init__(self, number: int) -> None:
            self.socket_id = str(number)

        def deliver(self) -> bool:
            if self.socket_id == "1":
                raise RuntimeError("a defect of one socket")
            delivered.append(int(self.socket_id))
            return False

    asyncio.get_running_loop().set_exception_handler(lambda _, about: raised.append(about["exception"]))
    failing: list[Any] = [Failing(number) for number in range(3)]
    monkeypatch.setattr(sockets, "_open", {one.socket_id: one for one in failing})
    for one in failing:
        sockets.note(one)
    await wait_until_async(lambda: delivered == [0, 2], "the others to have their turn")
    assert len(raised) == 1


async def test_a_round_ends_in_time_and_is_followed_by_a_rest(
    app: App, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each delivery takes a millisecond: a round has four of them, and the next comes after three times as long."""
    sockets = app.sockets
    assert sockets is not None
    delivered: list[int] = []
    rests: list[int] = []

    class Busy:
        """Has something to deliver, once."""

        def __init__(self, number: int) -> None:
            self.socket_id = str(number)

        def deliver(self) -> bool:
            delivered.append(int(self.socket_id))
            clock.move(0.001)
            return False

    monkeypatch.setattr(sockets, "_ask_for_round", lambda: rests.append(sockets._rests_until - clock.ms))
    busy: list[Any] = [Busy(number) for number in range(10)]
    monkeypatch.setattr(sockets, "_open", {one.socket_id: one for one in busy})
    for one in busy:
        sockets.note(one)
    rests.clear()
    for expected in (4, 8, 10):
        sockets._round()
        assert delivered == list(range(expected)), "in their turns"
    assert rests == [ROUND_MS * REST] * 2
