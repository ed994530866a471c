"""A connection to a database of the test's own, with the schema of this version and nothing else around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.support.backends import SqliteBackend
from tests.support.factories import identity
from towerlog.store.sqlite.connections.connection import open_connection
from towerlog.store.sqlite.people.organisations import write_org


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "towerlog.db"


@pytest.fixture
def db(path: Path) -> Iterator[apsw.Connection]:
    """The database, opened for writing."""
    SqliteBackend(str(path)).make()
    connection = open_connection(path)
    yield connection
    connection.close()


@pytest.fixture
def org(db: apsw.Connection) -> int:
    """An organisation."""
    return write_org(db, *identity(1, name="ours")).org


@pytest.fixture
def other(db: apsw.Connection, org: int) -> int:
    """Another one."""
    return write_org(db, *identity(2, name="theirs")).org
