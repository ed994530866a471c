"""Measures the disk: how long a sync takes, and how many events a second a store on it can take in.

Both work in a temporary folder beside the store: nothing is written into the log.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from towerlog.ambient import Clock, SystemIds
from towerlog.config import Settings
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, Item, RunByForeignId
from towerlog.model.principal import Principal, Scope
from towerlog.server import Node
from towerlog.store.placing import held_folder

SYNCS = 50
SYNC_BYTES = 4096
BATCH = 100
SCRATCH = ".towerlog-doctor-"
"""How the name of the folder begins: nobody else's folder may."""
INGEST_MS = 1000
"""How long ingest is measured."""


class Disk(msgspec.Struct, frozen=True):
    """How long a write takes that is synced before the next one begins."""

    fsync_mean_ms: float
    fsync_slowest_ms: int


class Ingest(msgspec.Struct, frozen=True):
    """Durable events a second in batches by one sender, and how long a single one takes."""

    events_per_second: int
    one_event_mean_ms: float


def scratch(folder: Path) -> AbstractContextManager[Path]:
    """A temporary folder on the same disk, as `held_folder`. Raises OSError where nothing may be written."""
    return held_folder(folder, SCRATCH)


def measure_disk(folder: Path, clock: Clock) -> Disk:
    """Writes a page and syncs it, `SYNCS` times."""
    slowest_ms = 0
    began_at = clock.steady_ms()
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            before = clock.steady_ms()
            file.write(b"\0" * SYNC_BYTES)
            os.fsync(file.fileno())
            slowest_ms = max(slowest_ms, clock.steady_ms() - before)
    # The clock counts whole milliseconds, which is too coarse for one sync and fine for all of them.
    return Disk(round((clock.steady_ms() - began_at) / SYNCS, 3), slowest_ms)


async def measure_ingest(folder: Path, clock: Clock) -> Ingest:
    """Appends events to a store of its own, through the engine that a server has."""
    node = Node(Settings(data_dir=str(folder / "store")), clock, SystemIds(clock), lambda _: None)
    await node.start()
    try:
        assert node.minted is not None
        org = node.minted.org
        principal = Principal(org.org, org.org_id, "doctor", "doctor", frozenset(Scope))
        return await _taken_in(node, principal, clock)
    finally:
        await node.stop()


async def _taken_in(node: Node, principal: Principal, clock: Clock) -> Ingest:
    # What a process does once, before its first event, is no part of a rate.
    await node.engine.execute(principal, Append("steps", _drafts(BATCH)), "steps")
    events = 0
    began_at = clock.steady_ms()
    while clock.steady_ms() - began_at < INGEST_MS:
        await node.engine.execute(principal, Append("steps", _drafts(BATCH)), "steps")
        events += BATCH
    per_second = round(events * 1000 / (clock.steady_ms() - began_at))
    began_at = clock.steady_ms()
    for _ in range(SYNCS):
        await node.engine.execute(principal, Append("steps", _drafts(1)), "steps")
    return Ingest(per_second, round((clock.steady_ms() - began_at) / SYNCS, 3))


def _drafts(count: int) -> list[Item]:
    run = RunByForeignId("steps:doctor", "doctor")
    data = b'{"name":"doctor","payload":{"text":"' + b"x" * 200 + b'"}}'
    return [Draft(EventType.STEP, run, data) for _ in range(count)]
