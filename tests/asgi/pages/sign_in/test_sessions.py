"""A session that nobody uses is over, in the whole application and by a clock that is moved."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie

import pytest

from tests.asgi.conversation import HandClock, ask
from towerlog.ambient import SystemIds
from towerlog.asgi.app import App
from towerlog.config import Settings
from towerlog.server import build

MINUTES = 20
OWN = {"Origin": "http://localhost", "Host": "localhost", "X-Towerlog-Request": "1"}


@pytest.fixture
async def app(settings: Settings, clock: HandClock) -> AsyncIterator[App]:
    """With an idle time-out of its own; it ticks when it is told to."""
    made, _ = build(dataclasses.replace(settings, session_idle_minutes=MINUTES), clock, SystemIds(clock))
    await made.start()
    assert made._ticker is not None
    await made._ticker.stop()
    yield made
    await made.stop()


async def signed_in(app: App) -> dict[str, str]:
    """The headers of a browser in which the admin is signed in."""
    link = await ask(app, "POST", "/api/v1/sign-in-links", value={})
    reply = await ask(app, "POST", "/api/v1/sign-in", key=None, headers=OWN, value={"token": link.json["token"]})
    assert reply.status == 204, reply.body
    cookie: SimpleCookie = SimpleCookie(reply.headers["set-cookie"])
    return {**OWN, "Cookie": f"towerlog={cookie['towerlog'].value}"}


async def status(app: App, headers: dict[str, str]) -> int:
    return (await ask(app, "GET", "/api/v1/session", key=None, headers=headers)).status


async def ticked(app: App) -> None:
    """One tick."""
    assert app._ticker is not None
    await app._ticker.tick()


async def test_a_session_is_over_when_nobody_uses_it(app: App, clock: HandClock) -> None:
    used, left = await signed_in(app), await signed_in(app)
    for _ in range(6):
        clock.move(MINUTES * 60 / 4)
        assert await status(app, used) == 200
        await ticked(app)
    assert await status(app, left) == 401
    clock.move(MINUTES * 60 + 1)
    assert await status(app, used) == 401


async def test_no_session_is_longer_than_two_weeks_however_much_it_is_used(app: App, clock: HandClock) -> None:
    used = await signed_in(app)
    for _ in range(14 * 24 * 4 - 1):
        clock.move(15 * 60)
        assert await status(app, used) == 200
        await ticked(app)
    clock.move(15 * 60)
    assert await status(app, used) == 401
