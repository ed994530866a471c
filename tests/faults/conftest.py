"""A database that a real server has filled; each test damages a copy and starts a real server on that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.disk import Faulty, FaultyServer, build
from tests.faults.rotten import copy_of, fill
from tests.support.server import NO_LIMITS, Server

Serve = Callable[[], Server]


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a server that was stopped in an orderly way."""
    server = Server(tmp_path_factory.mktemp("filled") / "data", NO_LIMITS)
    try:
        server.start()
        fill(server)
        server.stop()
    finally:
        server.close()
    return server.data_dir / "towerlog.db"


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage, in a data folder of its own."""
    return copy_of(filled, tmp_path / "data")


@pytest.fixture
def serve(path: Path) -> Iterator[Serve]:
    """Starts a server on the copy."""
    server = Server(path.parent, NO_LIMITS)
    yield server.start
    server.close()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("library"))


@pytest.fixture
def faulty(library: Path, tmp_path: Path) -> Iterator[Faulty]:
    made: list[FaultyServer] = []

    def start(*changes: str, at: Path | None = None, **settings: str) -> FaultyServer:
        made.append(FaultyServer(library, tmp_path / f"server{len(made)}", *changes, at=at, **settings))
        made[-1].start()
        return made[-1]

    yield start
    for server in made:
        server.close()
