"""Organisations and keys of PostgreSQL for a command: beside its servers, each call whole."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.backends import PostgresBackend
from tests.support.factories import identity
from tests.support.fakes import FakeClock, SeededIds
from towerlog.engine.audit.outside import key_created, key_revoked
from towerlog.errors import Conflict
from towerlog.model.audit import SERVER
from towerlog.store.postgres.store import PostgresStore, open_store
from towerlog.store.postgres.upkeep.identities import open_identities


def test_a_command_makes_organisations_and_keys(backend: PostgresBackend) -> None:
    beside = open_identities(backend.location, "token")
    try:
        made = asyncio.run(beside.org_create(*identity(1, name="ours")))
        assert asyncio.run(beside.orgs()) == [made]
        assert [user.name for user in beside.members(made.org)] == [beside.first_user(made.org).name] == ["admin"]
        import msgspec

        more = [msgspec.structs.replace(identity(n)[2], org=made.org) for n in range(2, 5)]
        for key in more:
            beside.key_put(key, key_created(SERVER, key))
        assert [key.key_id for key in beside.keys(made.org)] == [
            *(key.key_id for key in reversed(more)), identity(1)[2].key_id,
        ]  # fmt: skip
        gone = beside.key_revoke(made.org, more[0].key_id, 77, lambda before, after: key_revoked(SERVER, before, after))
        assert gone is not None
        assert gone.revoked_at == 77
        assert beside.key_revoke(made.org, "none", 77, lambda before, after: key_revoked(SERVER, before, after)) is None
        with pytest.raises(Conflict):
            asyncio.run(beside.org_create(*identity(9, name="ours")))
    finally:
        beside.close()


async def test_it_writes_beside_a_server(backend: PostgresBackend) -> None:
    store: PostgresStore = await open_store(backend.location, FakeClock(), SeededIds())
    beside = await asyncio.to_thread(open_identities, backend.location, "token")
    made = await asyncio.to_thread(asyncio.run, beside.org_create(*identity(1, name="ours")))
    assert await store.orgs() == [made]
    assert not beside.is_alone
    await asyncio.to_thread(beside.close)
    await store.close()
