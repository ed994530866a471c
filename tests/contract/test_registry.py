"""The registry: versions are kept, the newest is the one that was made last, pages neither repeat nor skip."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.backends import Backend
from tests.support.fakes import FakeClock, SeededIds
from tests.support.lookups import looked_up
from towerlog.errors import StorageFailed
from towerlog.model.persona import Budget, Persona, ProviderRoute
from towerlog.store.base import Store
from towerlog.store.values import Changes, Kind


def persona(org: int, version: str, key: str = "writer") -> Persona:
    """A version with something in every field."""
    settings = msgspec.Raw(b'{"temperature":0.10}')
    return Persona(org, key, version, f"agent-{version}", 5, "Be\u00fc", settings, ("a", "b"), Budget(1, 2))


def route(org: int, version: int, route_id: str = "fast") -> ProviderRoute:
    """A version with something in every field."""
    return ProviderRoute(org, route_id, version, "p", f"m{version}", 5, "https://x/v1", "KEY")


async def put(store: Store, *made: Persona | ProviderRoute) -> None:
    """Registers in this order, in one unit."""
    changes = Changes(
        personas=[one for one in made if isinstance(one, Persona)],
        routes=[one for one in made if isinstance(one, ProviderRoute)],
    )
    async with store.begin() as unit:
        await unit.commit(changes)


def plain(found: Persona | ProviderRoute | None) -> Persona | ProviderRoute | None:
    """Without the number that the store gave."""
    return None if found is None else msgspec.structs.replace(found, number=0)


async def test_the_newest_persona_is_the_one_made_last_whatever_its_version_is_called(store: Store, org: int) -> None:
    for version in ("10", "9", "b", "a"):
        await put(store, persona(org, version), persona(org, version, "other"))
    assert plain(await store.persona(org, "writer", None)) == persona(org, "a")
    assert plain(await store.persona(org, "writer", "10")) == persona(org, "10")
    assert await store.persona(org, "writer", "11") is None
    assert await store.persona(org, "nobody", None) is None
    async with store.begin() as unit:
        keys = [(org, "writer", ""), (org, "writer", "9"), (org, "writer", "11")]
        found = await looked_up(unit, Kind.PERSONA, *keys)
    assert {key: plain(one) for key, one in found.items()} == {
        keys[0]: persona(org, "a"),
        keys[1]: persona(org, "9"),
    }


async def test_the_newest_route_is_the_one_with_the_highest_version(store: Store, org: int) -> None:
    await put(store, *(route(org, version) for version in range(1, 12)), route(org, 1, "slow"))
    assert plain(await store.route(org, "fast")) == route(org, 11)
    async with store.begin() as unit:
        found = await looked_up(unit, Kind.ROUTE, (org, "slow"), (org, "none"))
    assert {key: plain(one) for key, one in found.items()} == {(org, "slow"): route(org, 1, "slow")}


async def test_what_belongs_to_another_organisation_is_not_there(store: Store, org: int, other: int) -> None:
    await put(store, persona(other, "1"), route(other, 1))
    assert await store.persona(org, "writer", None) is None
    assert await store.persona(org, "writer", "1") is None
    assert await store.route(org, "fast") is None
    assert await store.personas(org, 10, None) == await store.routes(org, 10, None) == []
    await put(store, persona(org, "1"), route(org, 1))
    assert plain(await store.persona(org, "writer", "1")) == persona(org, "1")


async def test_pages_go_from_the_newest_to_the_first(store: Store, org: int, other: int) -> None:
    for version in range(1, 8):
        await put(store, persona(org, str(version)), persona(other, str(version)), route(org, version))
    for ask, wanted in (
        (store.personas, [persona(org, str(version)) for version in range(7, 0, -1)]),
        (store.routes, [route(org, version) for version in range(7, 0, -1)]),
    ):
        found: list[Persona | ProviderRoute] = []
        before = None
        while page := await ask(org, 3, before):
            found += page
            before = page[-1].number
        assert [plain(one) for one in found] == wanted


async def test_numbers_count_what_an_organisation_has_made_itself(store: Store, org: int, other: int) -> None:
    """A cursor shows them, and must not tell how much others make."""
    for version in (1, 2, 3):
        await put(store, persona(other, str(version)), route(other, version))
    await put(store, persona(org, "1"), route(org, 1))
    await put(store, persona(org, "2"), route(org, 2))
    assert [one.number for one in await store.personas(org, 10, None)] == [2, 1]
    assert [one.number for one in await store.routes(org, 10, None)] == [2, 1]


async def test_a_version_is_there_once_or_nothing_of_the_unit_is(store: Store, org: int) -> None:
    await put(store, persona(org, "1"), route(org, 1))
    with pytest.raises(StorageFailed):
        await put(store, persona(org, "2"), msgspec.structs.replace(persona(org, "1"), agent="x"))
    with pytest.raises(StorageFailed):
        await put(store, persona(org, "3"), msgspec.structs.replace(route(org, 1), model="x"))
    assert [plain(one) for one in await store.personas(org, 9, None)] == [persona(org, "1")]
    assert plain(await store.route(org, "fast")) == route(org, 1)


async def test_a_check_finds_nothing_wrong_and_a_restart_loses_nothing(
    backend: Backend, clock: FakeClock, ids: SeededIds
) -> None:
    store = await backend.open(clock, ids)
    await put(store, persona(1, "1"), route(1, 1))
    assert (await store.rows(1)).faults == []
    await store.close()
    store = await backend.open(clock, ids)
    assert plain(await store.persona(1, "writer", None)) == persona(1, "1")
    assert plain(await store.route(1, "fast")) == route(1, 1)
    await store.close()
