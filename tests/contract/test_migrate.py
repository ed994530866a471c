"""Migrations: applied once, refused where they do not fit, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.backends import FRESH, Backend
from tests.support.factories import identity
from tests.support.fakes import FakeClock, SeededIds
from towerlog.errors import SchemaMismatch, StorageFailed
from towerlog.store.migrate import Migration, load_migrations, plan_migrations

MORE = "CREATE TABLE more (number INTEGER PRIMARY KEY); ALTER TABLE org ADD COLUMN more TEXT;"


@pytest.fixture
def known(backend_name: str) -> list[Migration]:
    """The backend's own migrations."""
    return load_migrations(backend_name)


def give(monkeypatch: pytest.MonkeyPatch, backend: Backend, migrations: list[Migration]) -> None:
    """From now on this version of the product has these."""
    monkeypatch.setattr(backend.loader, lambda _: migrations)


def following(known: list[Migration], sql: str) -> list[Migration]:
    """One migration more."""
    return [*known, Migration(len(known) + 1, f"{len(known) + 1:04}_more", sql)]


def test_the_migrations_of_every_backend_count_up(known: list[Migration]) -> None:
    assert known
    assert [one.number for one in known] == list(range(1, len(known) + 1))
    assert plan_migrations({}, known) == known
    assert plan_migrations({one.number: one.checksum for one in known}, known) == []


async def test_opening_again_changes_nothing(backend: Backend, clock: FakeClock, ids: SeededIds) -> None:
    first = await backend.open(clock, ids)
    made = await first.org_create(*identity(1))
    await first.close()
    tables = backend.tables()
    again = await backend.open(clock, ids)
    assert again.epoch == first.epoch
    assert await again.orgs() == [made]
    await again.close()
    assert backend.tables() == tables


async def test_fresh_equals_migrated(
    backend: Backend,
    backend_name: str,
    known: list[Migration],
    clock: FakeClock,
    ids: SeededIds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = await backend.open(clock, ids)
    made = await old.org_create(*identity(1))
    await old.close()
    give(monkeypatch, backend, following(known, MORE))
    migrated = await backend.open(clock, ids)
    assert await migrated.orgs() == [made]
    await migrated.close()
    (tmp_path / "fresh").mkdir()
    fresh = FRESH[backend_name](tmp_path / "fresh")
    await (await fresh.open(clock, ids)).close()
    assert backend.tables() == fresh.tables()
    assert "more" in fresh.tables()


async def test_the_schema_of_a_newer_version_is_refused(
    backend: Backend, known: list[Migration], clock: FakeClock, ids: SeededIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        give(newer, backend, following(known, MORE))
        await (await backend.open(clock, ids)).close()
    tables = backend.tables()
    with pytest.raises(SchemaMismatch, match="newer version"):
        await backend.open(clock, ids)
    assert backend.tables() == tables


async def test_a_migration_that_was_changed_is_refused(
    backend: Backend, known: list[Migration], clock: FakeClock, ids: SeededIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await backend.open(clock, ids)).close()
    changed = [*known[:-1], Migration(known[-1].number, known[-1].name, known[-1].sql + " ")]
    give(monkeypatch, backend, changed)
    with pytest.raises(SchemaMismatch, match="was changed"):
        await backend.open(clock, ids)


async def test_a_migration_is_there_whole_or_not_at_all(
    backend: Backend, known: list[Migration], clock: FakeClock, ids: SeededIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await backend.open(clock, ids)
    made = await store.org_create(*identity(1))
    await store.close()
    tables = backend.tables()
    with monkeypatch.context() as broken:
        give(broken, backend, following(known, MORE + "INSERT INTO nowhere VALUES (1);"))
        with pytest.raises(StorageFailed):
            await backend.open(clock, ids)
    assert backend.tables() == tables, "half a migration was left"
    give(monkeypatch, backend, following(known, MORE))
    mended = await backend.open(clock, ids)
    assert await mended.orgs() == [made]
    await mended.close()
    assert "more" in backend.tables()
