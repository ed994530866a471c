"""One seed's world lived through from an empty store to the end of its last run, and the fingerprint of what it left.

Owns the template (a store with one organisation, copied for each seed) and the order of steps; what happens inside a
world is in `world`, `telemetry` and `money`.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from tests.simulation.laws import check_laws
from tests.simulation.money import Spending
from tests.simulation.telemetry import Reporting
from tests.simulation.world import World, Wrong
from tests.support.backends import SqliteBackend
from tests.support.factories import identity
from tests.support.fakes import FakeClock, SeededIds
from towerlog.store.base import Store

LEASE_SEEDS = 300
TELEMETRY_SEEDS = 120
MONEY_SEEDS = 120
SEEDS_A_TEST = 5
QUICK_TESTS = 24
"""Of the tests that go through all seeds, one of so many is in the quick tier."""


def batches(count: int) -> list[Any]:
    """The first seeds of the tests that go through `count` seeds together, as parameters: most are marked slow."""
    return [
        pytest.param(first, marks=pytest.mark.slow if number % QUICK_TESTS else ())
        for number, first in enumerate(range(0, count, SEEDS_A_TEST))
    ]


class Template(msgspec.Struct, frozen=True):
    """A folder with a database, and the number and id of the organisation in it."""

    folder: Path
    org: tuple[int, str]


class Fingerprint(msgspec.Struct, frozen=True):
    """What two ways of computing the same seed must agree on."""

    position: int
    """The organisation's last position."""
    log: str
    """SHA-256 over the hashes of all events and the bodies of all quarantined ones."""
    rows: str
    """SHA-256 over all projection rows and lanes, without the hashes of the log."""


class SeededWorld(Protocol):
    """What both kinds of world have in common."""

    told: list[str]
    org: int

    @property
    def store(self) -> Store:
        """The store, as it is open now."""
        ...

    async def open(self) -> None:
        """Opens store and engine."""
        ...

    async def live(self) -> None:
        """All steps. Raises AssertionError when a law is broken."""
        ...

    async def close(self) -> None:
        """Stops engine and store."""
        ...


@contextmanager
def open_template() -> Iterator[Template]:
    """A store with one organisation, to be copied: making one costs more than a whole world."""
    with tempfile.TemporaryDirectory() as folder:
        yield Template(Path(folder), asyncio.run(_make_org(Path(folder))))


async def _make_org(folder: Path) -> tuple[int, str]:
    store = await SqliteBackend.fresh(folder).open(FakeClock(), SeededIds())
    made = await store.org_create(*identity(1))
    await store.close()
    return made.org, made.org_id


async def live_leases(seed: int, template: Template) -> Fingerprint:
    """A world of workers and leases. Raises Wrong."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(seed, _home(Path(folder), template), template.org)
        return await _live(seed, world)


async def live_telemetry(seed: int, template: Template) -> Fingerprint:
    """A world of senders that only report. Raises Wrong."""
    with tempfile.TemporaryDirectory() as folder:
        world = Reporting(seed, _home(Path(folder), template), template.org)
        return await _live(seed, world)


async def live_money(seed: int, template: Template) -> Fingerprint:
    """A world of runs that spend under budgets. Raises Wrong."""
    with tempfile.TemporaryDirectory() as folder:
        world = Spending(seed, _home(Path(folder), template), template.org)
        return await _live(seed, world)


def _home(folder: Path, template: Template) -> Path:
    home = folder / "home"
    home.mkdir()
    shutil.copy(template.folder / "towerlog.db", home)
    return home


async def _live(seed: int, world: SeededWorld) -> Fingerprint:
    await world.open()
    try:
        await world.live()
        if isinstance(world, World):
            await check_laws(world)
        return await fingerprint(world)
    except AssertionError as broken:
        steps = "\n".join(f"{number:3} {step}" for number, step in enumerate(world.told, start=1))
        raise Wrong(f"seed {seed}: {broken}\n{steps}") from broken
    finally:
        await world.close()


async def fingerprint(world: SeededWorld) -> Fingerprint:
    """Of all that the world's organisation has stored."""
    store, org = world.store, world.org
    rows = await store.rows(org)
    log = hashlib.sha256()
    for event in await store.log(org, 0, 100_000):
        log.update(event.hash)
    lanes = []
    for row in sorted(rows.runs, key=lambda one: one.run):
        for _, item in await store.quarantined(org, row.run, 10_000, 0):
            log.update(item.data)
        lanes.append(await store.lane(org, row.run))
    # The log has its own digest: without its hashes in them, rows can be compared although the log's form has changed.
    runs = [msgspec.structs.replace(row, last_hash=b"") for row in rows.runs]
    folded = [by_value(part) for part in (runs, rows.threads, rows.agents, rows.usage, rows.checkpoints, lanes)]
    told = msgspec.json.encode([sorted(part, key=repr) for part in folded])
    return Fingerprint(rows.position, log.hexdigest(), hashlib.sha256(told).hexdigest())


def by_value(value: object) -> object:
    """A value as plain lists: structs by their fields' order, so that renaming a field or a class changes nothing."""
    match value:
        case enum.Enum():
            return by_value(value.value)
        case msgspec.Struct():
            return [by_value(part) for part in msgspec.structs.astuple(value)]
        case Mapping():
            return sorted(([by_value(key), by_value(part)] for key, part in value.items()), key=repr)
        case list() | tuple():
            return [by_value(part) for part in value]
        case set() | frozenset():
            return sorted((by_value(part) for part in value), key=repr)
        case bytes() | msgspec.Raw():
            return bytes(value).hex()
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"no plain form for {type(value).__name__}")
