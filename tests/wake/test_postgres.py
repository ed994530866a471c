"""The bus of PostgreSQL: heard by all, and there again after whatever has ended its connections."""

from __future__ import annotations

import pytest

from tests.support.postgres import cluster
from tests.support.wait import wait_until_async
from tests.wake.buses import check_all_hear_in_order, opened
from towerlog.wake.base import NotSent
from towerlog.wake.postgres import PostgresBus

END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'towerlog bus'"
)


@pytest.fixture
def database() -> str:
    """An empty one."""
    name = cluster().fresh_name()
    cluster().create(name)
    return name


async def test_all_hear_all_messages_in_order(database: str) -> None:
    async with opened(lambda: PostgresBus(cluster().url(database))) as ends:
        await check_all_hear_in_order(ends)


async def test_a_lost_connection_is_made_anew_and_that_is_told(database: str) -> None:
    async with opened(lambda: PostgresBus(cluster().url(database))) as ends:
        cluster().sql(END_ALL.format(database))
        for _, ear in ends:
            await wait_until_async(lambda ear=ear: ear.healed == 1, "a new connection")
        for _, ear in ends:
            ear.heard.clear()
        await ends[0][0].send(b"again")
        for _, ear in ends:
            await wait_until_async(lambda ear=ear: ear.heard == [b"again"], "a message after it")


async def test_what_cannot_be_sent_is_said(database: str) -> None:
    bus = PostgresBus(cluster().url(database))
    with pytest.raises(NotSent):
        await bus.send(b"too early")
    with pytest.raises(NotSent):
        await PostgresBus(f"postgresql://u@/none?host={cluster().folder / 'nowhere'}").open(print, print)
