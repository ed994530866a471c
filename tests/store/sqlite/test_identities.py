"""Organisations and keys beside the writer: made at the first use, read and written while another holds the store."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

import apsw
import msgspec
import pytest

from tests.support.factories import identity
from tests.support.fakes import START_MS, FakeClock, SeededIds
from towerlog.engine.audit.outside import key_created, key_revoked
from towerlog.errors import Conflict, SchemaMismatch, StorageFailed, StoreLocked
from towerlog.model.audit import SERVER
from towerlog.model.key import Key
from towerlog.model.member import SignInLink
from towerlog.store.sqlite import identities as module
from towerlog.store.sqlite.identities import SqliteIdentities, open_identities
from towerlog.store.sqlite.store import open_store
from towerlog.store.sqlite.upkeep import start

TOLD = partial(key_revoked, SERVER)
"""Makes the entry about a key that is revoked."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "towerlog.db"


async def made(path: Path, number: int = 1, name: str = "ours") -> SqliteIdentities:
    """An open store with one organisation."""
    identities = await open_identities(path, "1")
    await identities.org_create(*identity(number, name=name))
    return identities


def key(number: int, org: int) -> Key:
    return msgspec.structs.replace(identity(number)[2], org=org, name=f"key {number}")


async def test_the_first_use_makes_the_store_and_keeps_others_out(path, monkeypatch) -> None:
    monkeypatch.setattr(start, "TURNS", 2)
    identities = await open_identities(path, "1")
    assert identities.is_alone
    assert await identities.orgs() == []
    with pytest.raises(StoreLocked):
        await open_store(path, FakeClock(), SeededIds())
    identities.close()
    assert sorted(os.listdir(path.parent)) == ["towerlog.db", "towerlog.db.lock"], "its log is empty again"
    assert path.stat().st_mode & 0o777 == 0o600
    store = await open_store(path, FakeClock(), SeededIds())
    assert store.epoch == "e1"
    await store.close()


async def test_a_command_takes_the_writers_place_unless_a_server_has_it(path) -> None:
    (await made(path)).close()
    identities = await open_identities(path, "2")
    assert identities.is_alone
    serving = asyncio.create_task(open_store(path, FakeClock(), SeededIds()))
    await asyncio.sleep(0)
    assert not serving.done(), "a server waits until the command is done"
    identities.close()
    store = await asyncio.wait_for(serving, 60)
    assert store.epoch == "e1"
    identities = await open_identities(path, "3")
    assert not identities.is_alone
    identities.close()
    await store.close()


async def test_a_second_server_does_not_wait(path, monkeypatch) -> None:
    monkeypatch.setattr(start, "TURN_PAUSE_S", 1e6)
    store = await open_store(path, FakeClock(), SeededIds())
    with pytest.raises(StoreLocked, match="in use by another"):
        await open_store(path, FakeClock(), SeededIds())
    await store.close()


async def test_nothing_is_written_beside_a_server_that_has_ended_meanwhile(path, monkeypatch) -> None:
    """It would be appended to a log that nobody has made whole."""
    store = await open_store(path, FakeClock(), SeededIds())
    await store.org_create(*identity(1, name="ours"))
    asked: list[bool] = []

    def may_write_beside(log: Path) -> bool:
        asked.append(not asked)
        return asked[-1]

    monkeypatch.setattr(module, "may_write_beside", may_write_beside)
    monkeypatch.setattr(start, "TURNS", 0)
    with pytest.raises(StoreLocked):
        await open_identities(path, "2")
    assert asked == [True, False], "asked once more with the log open"
    await store.close()


async def test_what_is_written_beside_the_writer_is_seen_by_it(path) -> None:
    store = await open_store(path, FakeClock(), SeededIds())
    await store.org_create(*identity(1, name="ours"))
    identities = await open_identities(path, "2")
    other = await identities.org_create(*identity(2, name="theirs"))
    mine = key(3, other.org)
    identities.key_put(mine, key_created(SERVER, mine))
    assert [org.name for org in await store.orgs()] == ["ours", "theirs"]
    found = await store.key_by_digest(mine.digest)
    assert found is not None
    assert (found.key, found.org_id) == (mine, other.org_id)
    identities.key_revoke(other.org, mine.key_id, START_MS + 5, TOLD)
    again = await store.key_by_digest(mine.digest)
    assert again is not None
    assert again.key.revoked_at == START_MS + 5
    identities.close()
    await store.close()


async def test_a_commit_of_the_writer_in_the_midst_of_a_change_does_not_refuse_it(path) -> None:
    """A change that reads before it writes has its turn before it reads."""
    store = await open_store(path, FakeClock(), SeededIds())
    await store.org_create(*identity(1, name="ours"))
    identities = await open_identities(path, "2")
    writer = apsw.Connection(str(path))
    committed: list[bool] = []

    def commit_first(_cursor: object, sql: str, _bindings: object) -> bool:
        if sql.startswith("INSERT"):
            with suppress(apsw.BusyError):
                writer.execute("INSERT INTO meta VALUES (?, 'x')", (f"commit {len(committed)}",))
                committed.append(True)
        return True

    identities._db.exec_trace = commit_first
    org = await identities.org_create(*identity(2, name="theirs"))
    mine = key(3, org.org)
    identities.key_put(mine, key_created(SERVER, mine))
    identities.key_revoke(org.org, mine.key_id, START_MS + 5, TOLD)
    link = SignInLink("an id", org.org, identity(2)[1].user_id, b"digest" * 5, START_MS, START_MS + 5)
    identities.link_put(link, key_created(SERVER, mine))
    assert committed == []
    writer.close()
    identities.close()
    await store.close()


async def test_the_first_user_is_the_one_that_the_organisation_was_made_with(path) -> None:
    identities = await made(path)
    first = identity(1)[1]
    identities.close()
    db = apsw.Connection(str(path))
    # Made later, by a clock that was set back.
    db.execute(
        "INSERT INTO user VALUES (1, '0', 'later', NULL, ?, 'viewer', NULL, NULL, NULL, 2)", (first.created_at - 1,)
    )
    db.close()
    identities = await open_identities(path, "2")
    assert identities.first_user(1).user_id == first.user_id
    identities.close()


async def test_all_keys_come_over_the_pages_newest_first(path, monkeypatch) -> None:
    monkeypatch.setattr(module, "KEYS_PAGE", 3)
    identities = await made(path)
    for number in range(2, 9):
        mine = msgspec.structs.replace(key(number, 1), created_at=START_MS + number)
        identities.key_put(mine, key_created(SERVER, mine))
    names = [found.name for found in identities.keys(1)]
    assert names == [f"key {number}" for number in range(8, 1, -1)] + ["admin"]
    identities.close()


async def test_a_revocation_keeps_its_first_time_and_its_organisation(path) -> None:
    identities = await made(path)
    identities.key_put(key(2, 1), key_created(SERVER, key(2, 1)))
    key_id = key(2, 1).key_id
    assert identities.key_revoke(2, key_id, 10, TOLD) is None
    first = identities.key_revoke(1, key_id, 10, TOLD)
    assert first == identities.key_revoke(1, key_id, 20, TOLD)
    assert first is not None
    assert first.revoked_at == 10
    identities.close()


async def test_one_who_comes_while_the_store_is_being_made_waits_for_it(path) -> None:
    first = await open_identities(path, "1")
    second = asyncio.create_task(open_identities(path, "2"))
    await asyncio.sleep(0)
    assert not second.done()
    await first.org_create(*identity(1, name="ours"))
    first.close()
    found = await asyncio.wait_for(second, 60)
    assert [org.name for org in await found.orgs()] == ["ours"]
    found.close()


async def test_one_who_never_gets_it_is_told(path, monkeypatch) -> None:
    monkeypatch.setattr(start, "TURNS", 2)
    holder = await open_identities(path, "1")
    with pytest.raises(StoreLocked, match="held by another"):
        await open_identities(path, "2")
    holder.close()


async def test_a_newer_schema_is_refused_and_the_place_is_given_back(path) -> None:
    (await made(path)).close()
    db = apsw.Connection(str(path))
    db.execute("INSERT INTO migration VALUES (99, 'later', 'x')")
    db.close()
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match="newer version"):
            await open_identities(path, "2")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("CREATE INDEX mine ON org (name)", r"has what no version of towerlog makes: .*mine.*towerlog rebuild"),
        ("INSERT INTO migration VALUES (99, 'later', 'x')", "use a newer version"),
    ],
)
async def test_what_is_wrong_with_a_store_is_told_beside_its_server_too(path, monkeypatch, change, words) -> None:
    """And at once: it stays so as long as that server serves it."""
    monkeypatch.setattr(start, "TURN_PAUSE_S", 1e6)
    store = await open_store(path, FakeClock(), SeededIds())
    await store.org_create(*identity(1, name="ours"))
    db = apsw.Connection(str(path))
    db.execute(change)
    with pytest.raises(SchemaMismatch, match=f"is held by its server, and .*{words}"):
        await open_identities(path, "2")
    db.close()
    await store.close()


async def test_a_file_that_is_no_database_is_a_storage_failure(path) -> None:
    path.parent.mkdir()
    path.write_text("these are my notes\n" * 100)
    with pytest.raises(StorageFailed):
        await open_identities(path, "1")
    assert path.read_text().startswith("these are my notes")


async def test_a_name_that_is_taken_is_a_conflict_and_writes_nothing(path) -> None:
    identities = await made(path)
    with pytest.raises(Conflict):
        await identities.org_create(*identity(2, name="ours"))
    assert len(await identities.orgs()) == 1
    assert len(list(identities.keys(1))) == 1
    identities.close()
