"""Schema migrations: forward-only numbered SQL files, each in one transaction, recorded with its checksum.

Killable at any instruction: a migration is there whole or not at all. A newer version's database is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import resources

import msgspec

from towerlog.errors import SchemaMismatch


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations(backend: str) -> list[Migration]:
    """All migrations of a backend by number; they count 1, 2, 3 … without holes."""
    folder = resources.files("towerlog.store").joinpath("sql", backend)
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    found = [
        Migration(int(name.split("_", 1)[0]), name.removesuffix(".sql"), folder.joinpath(name).read_text())
        for name in files
    ]
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise SchemaMismatch(f"the migrations of {backend} do not count 1, 2, 3 …: {files}")
    return found


def plan_migrations(applied: dict[int, str], known: list[Migration], database: str = "the database") -> list[Migration]:
    """What is still to be applied. Raises SchemaMismatch, which names the database, for a newer schema or a changed
    migration.
    """
    newest = known[-1].number if known else 0
    if applied and max(applied) > newest:
        raise SchemaMismatch(f"{database} has schema {max(applied)}, this version knows {newest}: use a newer version")
    for migration in known:
        checksum = applied.get(migration.number)
        if checksum is not None and checksum != migration.checksum:
            # Those of a release never change.
            raise SchemaMismatch(
                f"{database} was made by a development build that this version cannot read (the migration"
                f" {migration.name} was changed since). Start with a new data folder, or go on with the old build"
            )
    return [migration for migration in known if migration.number not in applied]


def apply_migrations(pending: list[Migration], apply_one: Callable[[Migration], None]) -> None:
    """Applies in order; `apply_one` runs the SQL and records number and checksum in one transaction."""
    for migration in pending:
        apply_one(migration)
