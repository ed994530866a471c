"""Whose turn it is, and who is told to come again."""

from __future__ import annotations

import asyncio

import pytest

from towerlog.asgi.pages.sign_in.places import (
    MAX_WAITING,
    MAX_WAITING_OF_ONE,
    MAX_WAITING_OF_ORGANISATION,
    SharedPlaces,
)
from towerlog.errors import Overloaded


class Crowd:
    """Callers that hold their places until they are let go."""

    def __init__(self, places: SharedPlaces) -> None:
        self.places, self.let_go = places, asyncio.Event()
        self.inside: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def _hold(self, organisation: str, one: str) -> None:
        async with self.places.place(organisation, one):
            self.inside.append(one)
            await self.let_go.wait()

    async def come(self, organisation: str, *ones: str) -> list[str]:
        """Who is inside once these have come."""
        self.tasks += [asyncio.ensure_future(self._hold(organisation, one)) for one in ones]
        for _ in range(5):
            await asyncio.sleep(0)
        return self.inside

    async def go(self) -> list[BaseException | None]:
        """What became of each."""
        self.let_go.set()
        return await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_an_organisation_leaves_a_place_to_others() -> None:
    crowd = Crowd(SharedPlaces(2, 1, 1))
    assert await crowd.come("evil", *(f"e{n}" for n in range(100))) == ["e0"]
    assert await crowd.come("", "grace") == ["e0", "grace"]
    assert await crowd.go() == [None] * 101
    assert crowd.inside.count("grace") == 1


async def test_addresses_take_turns() -> None:
    crowd = Crowd(SharedPlaces(2, 1, 1))
    await crowd.come("", *["a"] * 4, "b")
    await crowd.go()
    assert crowd.inside == ["a", "a", "b", "a", "a"]


@pytest.mark.parametrize(
    ("bound", "name"),
    [
        (MAX_WAITING_OF_ONE + 1, lambda n: ("", "a")),
        (MAX_WAITING_OF_ORGANISATION + 1, lambda n: ("evil", f"a{n}")),
        (MAX_WAITING + 2, lambda n: (f"o{n}", f"a{n}")),
    ],
)
async def test_who_has_as_many_waiting_as_may_wait_is_told_to_come_again(bound: int, name) -> None:
    places = SharedPlaces(2, 1, 1)
    crowd = Crowd(places)
    for n in range(bound + 3):
        await crowd.come(*name(n))
    done = await crowd.go()
    assert [type(one) for one in done] == [type(None)] * bound + [Overloaded] * 3
    async with places.place(*name(0)):
        pass


async def test_who_goes_away_while_it_waits_leaves_its_place() -> None:
    places = SharedPlaces(1, 1, 1)
    crowd = Crowd(places)
    await crowd.come("", "a", "b")
    crowd.tasks[1].cancel()
    assert await crowd.come("other", "c") == ["a"]
    done = await crowd.go()
    assert isinstance(done[1], asyncio.CancelledError)
    assert crowd.inside == ["a", "c"]
