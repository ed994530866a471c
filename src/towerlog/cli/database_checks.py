"""What `towerlog doctor` finds of a store in PostgreSQL, and of copies that were left beside one of files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec

from towerlog.ambient import SystemClock
from towerlog.cli.escapes import visible
from towerlog.cli.exits import words_of
from towerlog.cli.formatting import counted, size
from towerlog.config import BadSetting, Settings
from towerlog.errors import SchemaMismatch, TowerlogError
from towerlog.model.principal import Org
from towerlog.storage import database_name, health_of, opened_for_reading
from towerlog.store.placing import PARTIAL
from towerlog.store.stock import DatabaseHealth

NO_WALL = "this user may not make the role that servers act as; see docs/operate/postgres.md"
SLOW_COMMIT_MS = 50.0
WRONG_CLOCK_MS = 5000
LEFT_OVER_S = 3600.0
"""A copy that nobody has written to for so long is left over."""
MAX_NAMED = 4
_UNREADABLE = (TowerlogError, OSError, SchemaMismatch, BadSetting)


class Finding(msgspec.Struct, frozen=True):
    """One check and its result: `verdict` is ok, warn or wrong."""

    check: str
    verdict: str
    message: str
    figures: dict[str, float] = {}


def check_database(settings: Settings) -> Iterator[Finding]:
    """Whether this version can read the store, and whether the server keeps what it acknowledges."""
    clock, name = SystemClock(), database_name(settings)
    try:
        health = asyncio.run(health_of(settings, clock))
    except _UNREADABLE as error:
        yield Finding("store", "wrong", words_of(error))
        return
    skew_ms = health.now_ms - clock.now_ms()
    try:
        orgs = asyncio.run(_orgs(settings))
    except _UNREADABLE as error:
        yield Finding("store", "wrong", words_of(error))
    else:
        said = f"{name}: {size(health.size_bytes)}, {counted(len(orgs), 'organisation')}, PostgreSQL {health.version}"
        yield Finding("store", "ok", said, {"store_bytes": health.size_bytes})
    yield from _durability(health)
    if not health.acts_as:
        yield Finding("rows", "warn", f"row-level security is not in force: {NO_WALL}")
    else:
        yield Finding("rows", "ok", f"servers act as {health.acts_as}: a query sees the rows of its organisation alone")
    if abs(skew_ms) > WRONG_CLOCK_MS:
        words = f"the clocks of the database and of this machine differ by {abs(skew_ms) / 1000:.0f} s"
        yield Finding("clock", "warn", words, {"database_clock_skew_seconds": round(skew_ms / 1000, 1)})


def _durability(health: DatabaseHealth) -> Iterator[Finding]:
    if health.is_reader:
        yield Finding("durability", "wrong", "the address leads to a standby: nothing can be written there")
    for words in health.lossy:
        yield Finding("durability", "wrong", f"{words}: switch it on; no server starts on it")
    for words in health.doubts:
        yield Finding("durability", "warn", words)
    if health.is_reader or health.lossy:
        return
    figures = {"commit_mean_ms": health.commit_mean_ms, "commit_slowest_ms": float(health.commit_slowest_ms)}
    words = f"a commit takes {health.commit_mean_ms:.2f} ms, at most {health.commit_slowest_ms} ms"
    yield Finding("durability", "warn" if health.commit_mean_ms > SLOW_COMMIT_MS else "ok", words, figures)


async def _orgs(settings: Settings) -> list[Org]:
    async with opened_for_reading(settings, SystemClock()) as store:
        await store.ping()
        return await store.orgs()


def check_copies(folder: Path) -> Iterator[Finding]:
    """Copies that a killed command has left: they take room, and keep what was erased since."""
    before = SystemClock().now_ms() / 1000 - LEFT_OVER_S
    found = [file for file in folder.glob(f".*{PARTIAL}") if file.is_file() and file.stat().st_mtime < before]
    if found:
        names = ", ".join(visible(file.name) for file in found[:MAX_NAMED]) + (", …" if len(found) > MAX_NAMED else "")
        taken = sum(file.stat().st_size for file in found)
        said = f"{size(taken)} in copies that a killed command has left in {folder}, remove them: {names}"
        yield Finding("copies", "warn", said, {"left_over_bytes": taken})
