"""Digests of keys, sessions and links in PostgreSQL: of one organisation, gone with what they are of."""

from __future__ import annotations

import msgspec
import pytest

from tests.contract.test_members import LATER, link_of, member, put_links, put_users, session
from tests.support.backends import PostgresBackend
from tests.support.factories import identity
from tests.support.postgres import cluster
from towerlog.engine.audit.outside import key_created
from towerlog.errors import StorageFailed
from towerlog.model.audit import SERVER
from towerlog.model.member import MAX_SESSIONS
from towerlog.store.postgres.store import PostgresStore
from towerlog.store.values import Changes


async def test_a_digest_belongs_to_one_organisation(store: PostgresStore, org: int, other: int) -> None:
    ours = identity(1)[2]
    for taken in (
        msgspec.structs.replace(ours, org=other, key_id="theirs"),
        msgspec.structs.replace(ours, org=org, key_id="another"),
    ):
        with pytest.raises(StorageFailed):
            await store.key_put(taken, key_created(SERVER, taken))
    found = await store.key_by_digest(ours.digest)
    assert found is not None
    assert (found.key.org, found.key.key_id) == (org, ours.key_id)


async def test_what_says_whose_a_digest_is_goes_with_it(
    backend: PostgresBackend, store: PostgresStore, org: int
) -> None:
    ada = member(org, 7, "Ada")
    await put_users(store, ada)
    await put_links(store, *(link_of(ada, number) for number in range(3)))
    async with store.begin() as unit:
        await unit.commit(Changes(sessions=[session(ada, number) for number in range(MAX_SESSIONS + 3)]))
    name = backend.location.partition("@/")[2].partition("?")[0]

    def credentials() -> list[list[str]]:
        return cluster().sql("SELECT kind, count(*) FROM credential GROUP BY kind ORDER BY kind", name)

    assert credentials() == [["1", "1"], ["2", str(MAX_SESSIONS)], ["3", "3"]]
    assert await store.signed_out_drop(LATER, 1000) == MAX_SESSIONS + 3
    assert credentials() == [["1", "1"]]
