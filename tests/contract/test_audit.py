"""The audit in any backend: written with what it tells, chained, kept over restarts, and of one organisation alone."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.backends import Backend
from tests.support.factories import identity
from tests.support.fakes import FakeClock, SeededIds
from towerlog.engine.audit.outside import key_created
from towerlog.errors import StorageFailed
from towerlog.model.audit import SERVER, Action, AuditEntry, AuditFilter, chain_link, make_entry
from towerlog.store.base import Store
from towerlog.store.values import Changes

ALL = AuditFilter()


def entry(org: int, name: str) -> AuditEntry:
    return make_entry(org, 1000, SERVER, Action.THREAD_CREATE, ("thread", name), None, {"title": name})


async def names(store: Store, org: int) -> list[str]:
    rows, following = await store.audit(org, ALL, 100, None)
    assert following is None
    assert [row.number for row in rows] == [*range(len(rows), 0, -1)]
    return [row.entry.object_id for row in rows if row.entry.object_type == "thread"]


async def is_whole(store: Store, org: int) -> bool:
    """Whether the chain holds to its end."""
    number, previous = 0, b""
    for one in await store.audit_chain(org, 0, 100):
        assert not one.fault
        assert one.number == number + 1
        assert chain_link(previous, org, one.number, one.doc) == one.hash
        number, previous = one.number, one.hash
    return (number, previous) == await store.audit_head(org)


async def put(store: Store, changes: Changes) -> None:
    async with store.begin() as unit:
        await unit.commit(changes)


async def test_an_organisation_begins_with_its_own_entry(store: Store, org: int) -> None:
    rows, _ = await store.audit(org, ALL, 10, None)
    assert [(row.number, row.entry.action, row.entry.org) for row in rows] == [(1, "organisation.create", org)]


async def test_entries_of_a_unit_are_written_with_it_or_not_at_all(store: Store, org: int, other: int) -> None:
    await put(store, Changes(audit=[entry(org, "a"), entry(other, "x"), entry(org, "b")]))
    assert await names(store, org) == ["b", "a"]
    assert await names(store, other) == ["x"]
    key = msgspec.structs.replace(identity(1)[2], org=org, key_id="new")
    with pytest.raises(StorageFailed):
        await put(store, Changes(audit=[entry(org, "c")], keys=[key]))
    assert await names(store, org) == ["b", "a"]
    assert await is_whole(store, org)


async def test_what_is_written_outside_of_units_goes_on_in_the_same_chain(store: Store, org: int) -> None:
    await put(store, Changes(audit=[entry(org, "a")]))
    key = msgspec.structs.replace(identity(9)[2], org=org)
    await store.key_put(key, key_created(SERVER, key))
    await put(store, Changes(audit=[entry(org, "b")]))
    rows, _ = await store.audit(org, ALL, 10, None)
    assert [row.entry.action for row in rows][:3] == ["thread.create", "key.create", "thread.create"]
    assert await is_whole(store, org)


async def test_a_rebuild_leaves_it_alone(store: Store, org: int) -> None:
    await put(store, Changes(audit=[entry(org, "a")]))
    await put(store, Changes(replaces=org))
    assert await names(store, org) == ["a"]
    assert await is_whole(store, org)


async def test_a_restart_keeps_it(backend: Backend, clock: FakeClock, ids: SeededIds) -> None:
    store = await backend.open(clock, ids)
    org = (await store.org_create(*identity(1))).org
    await put(store, Changes(audit=[entry(org, "a")]))
    await store.close()
    store = await backend.open(clock, ids)
    try:
        await put(store, Changes(audit=[entry(org, "b")]))
        assert await names(store, org) == ["b", "a"]
        assert await is_whole(store, org)
    finally:
        await store.close()
