"""The bus of a NATS server: heard by all who know the secret, and there again after the server was killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nats
import pytest

from tests.support.nats import NatsServer
from tests.support.wait import wait_until_async
from tests.wake.buses import check_all_hear_in_order, opened
from towerlog.wake.base import NotSent
from towerlog.wake.nats import NatsBus


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path) as started:
        yield started


def bus(server: NatsServer, subject: str = "store") -> NatsBus:
    """One end."""
    return NatsBus(server.url, subject, "a secret")


async def test_all_hear_all_messages_in_order(server: NatsServer) -> None:
    async with opened(lambda: bus(server)) as ends:
        await check_all_hear_in_order(ends)


async def test_a_server_that_was_killed_is_found_again_and_that_is_told(server: NatsServer) -> None:
    async with opened(lambda: bus(server)) as ends:
        server.stop()
        await wait_until_async(lambda: fails(ends[0][0]), "a message that cannot be sent")
        server.start()
        for _, ear in ends:
            await wait_until_async(lambda ear=ear: ear.healed >= 1, "a new connection")
        await ends[0][0].send(b"again")
        for _, ear in ends:
            await wait_until_async(lambda ear=ear: ear.heard == [b"again"], "a message after it")


async def fails(end: object) -> bool:
    try:
        await end.send(b"lost")  # type: ignore[attr-defined]
    except NotSent:
        return True
    return False


async def test_strangers_and_other_stores_are_not_heard(server: NatsServer) -> None:
    async with opened(lambda: bus(server)) as ends:
        stranger = await nats.connect(server.url)
        await stranger.publish("store", b"forged" * 20)
        await stranger.publish("store", b"")
        await stranger.flush()
        await stranger.close()
        other, liar = bus(server, "another.store"), NatsBus(server.url, "store", "guessed")
        for one in (other, liar):
            await one.open(lambda _: None, lambda: None)
            await one.send(b"not for you")
            await one.close()
        await ends[0][0].send(b"true")
        for _, ear in ends:
            await wait_until_async(lambda ear=ear: bool(ear.heard), "the one message")
            assert ear.heard == [b"true"]


async def test_a_server_that_is_not_there_is_said(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.wake.nats.CONNECT_S", 0.5)
    server.stop()
    with pytest.raises(NotSent):
        await bus(server).open(lambda _: None, lambda: None)
