"""Identities: organisations, users and keys, written at once and found by what they are looked up by."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.support.factories import identity
from tests.support.lookups import looked_up
from towerlog.engine.audit.outside import key_created, key_revoked, organisation_renamed
from towerlog.errors import Conflict
from towerlog.model.audit import SERVER
from towerlog.model.principal import Counters, Scope
from towerlog.store.base import Store
from towerlog.store.values import Changes, Kind

# Rights are held by each backend.
pytestmark = pytest.mark.every_value


async def test_an_organisation_comes_with_its_user_and_key(store: Store) -> None:
    org, user, key, told = identity(1, name="ours", scopes=(Scope.READ, Scope.INGEST))
    made = await store.org_create(org, user, key, told)
    assert made == msgspec.structs.replace(org, org=made.org)
    assert made.org > 0
    assert await store.orgs() == [made]
    found = await store.key_by_digest(key.digest)
    assert found is not None
    assert (found.org_id, found.key) == (org.org_id, msgspec.structs.replace(key, org=made.org))
    assert await store.users(made.org, [user.user_id, "nobody"]) == {
        user.user_id: msgspec.structs.replace(user, org=made.org)
    }
    assert await store.users(made.org, []) == {}
    async with store.begin() as unit:
        assert await looked_up(unit, Kind.COUNTERS, made.org) == {made.org: Counters(0, 0, 0)}
        assert await looked_up(unit, Kind.KEY, at := (made.org, key.key_id)) == {at: found.key}


async def test_organisations_are_numbered_by_the_store_oldest_first(store: Store) -> None:
    made = [await store.org_create(*identity(n, name=f"org {n}")) for n in range(5)]
    assert [one.org for one in made] == sorted({one.org for one in made})
    assert await store.orgs() == made


async def test_a_name_belongs_to_one_organisation(store: Store, org: int) -> None:
    with pytest.raises(Conflict):
        await store.org_create(*identity(7, name="ours"))
    assert len(await store.orgs()) == 1
    assert await store.key_by_digest(identity(7)[2].digest) is None, "half an organisation was left"


@pytest.mark.parametrize(
    "name", ["Ours", "OURS", "\uff4f\uff55\uff52\uff53", "\u043eurs", "\u03bfu\u0433s", "o\u1d58rs"]
)
async def test_a_name_that_would_be_taken_for_anothers_is_taken(store: Store, org: int, other: int, name: str) -> None:
    with pytest.raises(Conflict, match="'ours'"):
        await store.org_create(*identity(7, name=name))
    before = next(one for one in await store.orgs() if one.org == other)
    told = [organisation_renamed(SERVER, other, before, before, 5)]
    with pytest.raises(Conflict, match="'ours'"):
        await store.org_rename(msgspec.structs.replace(before, name=name), told)
    await store.org_rename(msgspec.structs.replace(before, name="Theirs"), told)  # its own name is no obstacle
    assert [one.name for one in await store.orgs()] == ["ours", "Theirs"]


async def test_an_organisation_is_renamed_and_both_audits_tell_it(store: Store, org: int, other: int) -> None:
    before = next(one for one in await store.orgs() if one.org == other)
    after = msgspec.structs.replace(before, name="renamed")
    told = [organisation_renamed(SERVER, number, before, after, 5) for number in (other, org)]
    heads = [(await store.audit_head(number)).number for number in (org, other)]
    await store.org_rename(after, told)
    assert [one.name for one in await store.orgs()] == ["ours", "renamed"]
    assert [(await store.audit_head(number)).number for number in (org, other)] == [head + 1 for head in heads]
    with pytest.raises(Conflict):
        await store.org_rename(msgspec.structs.replace(before, name="ours"), told)
    assert [one.name for one in await store.orgs()] == ["ours", "renamed"]
    assert [(await store.audit_head(number)).number for number in (org, other)] == [head + 1 for head in heads]


async def test_who_makes_an_organisation_for_another_has_it_in_its_own_audit(store: Store, org: int) -> None:
    head = (await store.audit_head(org)).number
    made, user, key, told = identity(3, name="third")
    await store.org_create(made, user, key, told, None, msgspec.structs.replace(told, org=org))
    assert (await store.audit_head(org)).number == head + 1


async def test_there_are_no_more_organisations_than_asked_for_however_many_are_made_at_once(
    store: Store, org: int, other: int
) -> None:
    most = len(await store.orgs()) + 2
    making = [store.org_create(*identity(number, name=f"more {number}"), None, None, most) for number in range(3, 9)]
    made = await asyncio.gather(*making, return_exceptions=True)
    assert len([one for one in made if isinstance(one, Conflict)]) == len(making) - 2
    assert len(await store.orgs()) == most


async def test_an_unknown_digest_finds_nothing(store: Store, org: int) -> None:
    assert await store.key_by_digest(b"nobody's") is None


async def test_a_key_is_put_and_revoked_at_once(store: Store, org: int, other: int) -> None:
    key = msgspec.structs.replace(identity(9)[2], org=org)
    await store.key_put(key, key_created(SERVER, key))
    revoked = msgspec.structs.replace(key, revoked_at=77)
    await store.key_put(revoked, key_revoked(SERVER, key, revoked))
    found = await store.key_by_digest(key.digest)
    assert found is not None
    assert found.key == revoked
    assert [one.key_id for one in await store.keys(org, 10, None)].count(key.key_id) == 1
    async with store.begin() as unit:
        ours, theirs = (org, key.key_id), (other, key.key_id)
        assert await looked_up(unit, Kind.KEY, ours, theirs) == {ours: revoked}


async def test_a_key_commits_with_its_unit(store: Store, org: int) -> None:
    key = msgspec.structs.replace(identity(9)[2], org=org)
    async with store.begin() as unit:
        await unit.commit(Changes(keys=[key]))
    found = await store.key_by_digest(key.digest)
    assert found is not None
    assert found.key == key


async def test_the_store_answers(store: Store) -> None:
    await store.ping()
    assert store.epoch


async def test_the_secret_is_the_first_that_was_kept(store: Store) -> None:
    assert await store.secret("first") == "first"
    assert await store.secret("second") == "first"
