"""Organisations and keys beside the writer: made at the first use, read and written while another holds the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import msgspec
import pytest

from tests.support.factories import identity
from tests.support.fakes import START_MS, FakeClock, SeededIds
from towerlog.errors import SchemaMismatch, StorageFailed, StoreLocked
from towerlog.model.key import Key
from towerlog.store.sqlite import identities as module
from towerlog.store.sqlite.identities import SqliteIdentities, open_identities
from towerlog.store.sqlite.store import open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "towerlog.db"


async def made(path: Path, number: int = 1, name: str = "ours") -> SqliteIdentities:
    """An open store with one organisation."""
    identities = await open_identities(path, "e1")
    await identities.org_create(*identity(number, name=name))
    return identities


def key(number: int, org: int) -> Key:
    return msgspec.structs.replace(identity(number)[2], org=org, name=f"key {number}")


async def test_the_first_use_makes_the_store_and_keeps_others_out(path) -> None:
    identities = await open_identities(path, "e1")
    assert identities.is_alone
    assert await identities.orgs() == []
    with pytest.raises(StoreLocked):
        await open_store(path, FakeClock(), SeededIds())
    identities.close()
    assert path.stat().st_mode & 0o777 == 0o600
    store = await open_store(path, FakeClock(), SeededIds())
    assert store.epoch == "e1"
    await store.close()


async def test_a_store_that_is_there_is_opened_without_the_writers_place(path) -> None:
    (await made(path)).close()
    identities = await open_identities(path, "e2")
    assert not identities.is_alone
    store = await open_store(path, FakeClock(), SeededIds())
    assert store.epoch == "e1"
    await store.close()
    identities.close()


async def test_what_is_written_beside_the_writer_is_seen_by_it(path) -> None:
    store = await open_store(path, FakeClock(), SeededIds())
    await store.org_create(*identity(1, name="ours"))
    identities = await open_identities(path, "e2")
    other = await identities.org_create(*identity(2, name="theirs"))
    mine = key(3, other.org)
    identities.key_put(mine)
    assert [org.name for org in await store.orgs()] == ["ours", "theirs"]
    found = await store.key_by_digest(mine.digest)
    assert found is not None
    assert (found.key, found.org_id) == (mine, other.org_id)
    identities.key_revoke(other.org, mine.key_id, START_MS + 5)
    again = await store.key_by_digest(mine.digest)
    assert again is not None
    assert again.key.revoked_at == START_MS + 5
    identities.close()
    await store.close()


async def test_the_first_user_is_the_one_that_the_organisation_was_made_with(path) -> None:
    identities = await made(path)
    assert identities.first_user(1).user_id == identity(1)[1].user_id
    identities.close()


async def test_all_keys_come_over_the_pages_newest_first(path, monkeypatch) -> None:
    monkeypatch.setattr(module, "KEYS_PAGE", 3)
    identities = await made(path)
    for number in range(2, 9):
        identities.key_put(msgspec.structs.replace(key(number, 1), created_at=START_MS + number))
    names = [found.name for found in identities.keys(1)]
    assert names == [f"key {number}" for number in range(8, 1, -1)] + ["admin"]
    identities.close()


async def test_a_revocation_keeps_its_first_time_and_its_organisation(path) -> None:
    identities = await made(path)
    identities.key_put(key(2, 1))
    key_id = key(2, 1).key_id
    assert identities.key_revoke(2, key_id, 10) is None
    first = identities.key_revoke(1, key_id, 10)
    assert first == identities.key_revoke(1, key_id, 20)
    assert first is not None
    assert first.revoked_at == 10
    identities.close()


async def test_one_who_comes_while_the_store_is_being_made_waits_for_it(path) -> None:
    first = await open_identities(path, "e1")
    second = asyncio.create_task(open_identities(path, "e2"))
    await asyncio.sleep(0)
    assert not second.done()
    await first.org_create(*identity(1, name="ours"))
    found = await asyncio.wait_for(second, 60)
    assert [org.name for org in await found.orgs()] == ["ours"]
    assert not found.is_alone
    found.close()
    first.close()


async def test_one_who_never_gets_it_is_told(path, monkeypatch) -> None:
    monkeypatch.setattr(module, "SETTLE_TRIES", 2)
    holder = await open_identities(path, "e1")
    with pytest.raises(StoreLocked, match="held by another"):
        await open_identities(path, "e2")
    holder.close()


async def test_a_newer_schema_is_refused_and_the_place_is_given_back(path) -> None:
    (await made(path)).close()
    db = apsw.Connection(str(path))
    db.execute("INSERT INTO migration VALUES (99, 'later', 'x')")
    db.close()
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match="newer version"):
            await open_identities(path, "e2")


async def test_a_file_that_is_no_database_is_a_storage_failure(path) -> None:
    path.parent.mkdir()
    path.write_text("these are my notes\n" * 100)
    with pytest.raises(StorageFailed):
        await open_identities(path, "e1")
    assert path.read_text().startswith("these are my notes")


async def test_a_name_that_is_taken_is_a_storage_failure_and_writes_nothing(path) -> None:
    identities = await made(path)
    with pytest.raises(StorageFailed):
        await identities.org_create(*identity(2, name="ours"))
    assert len(await identities.orgs()) == 1
    assert len(list(identities.keys(1))) == 1
    identities.close()
