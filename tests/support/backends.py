"""The backends that the laws of the store are tested on. A second one is one more class and one more entry below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from towerlog.ambient import Clock, Ids
from towerlog.store.base import Store
from towerlog.store.sqlite import SqliteStore, open_store


class Backend(Protocol):
    """A database of a test's own, which may be opened again and again."""

    location: str
    """What another process needs, with the backend's name, to open the same database."""

    async def open(self, clock: Clock, ids: Ids) -> Store:
        """Opens it, made when new."""
        ...


class SqliteBackend:
    """A file in a folder of the test's own."""

    def __init__(self, location: str) -> None:
        self.location = location

    @classmethod
    def fresh(cls, folder: Path) -> SqliteBackend:
        """A database that is not there yet."""
        return cls(str(folder / "towerlog.db"))

    async def open(self, clock: Clock, ids: Ids) -> SqliteStore:
        """Opens it, made when new."""
        return await open_store(Path(self.location), clock, ids)


FRESH: Mapping[str, Callable[[Path], Backend]] = {"sqlite": SqliteBackend.fresh}
"""How each backend gets a database of its own below a folder."""

AGAIN: Mapping[str, Callable[[str], Backend]] = {"sqlite": SqliteBackend}
"""How each backend is found again by its location."""
