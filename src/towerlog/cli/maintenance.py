"""`towerlog verify`, `rebuild` and `backup`: check the store, rebuild its projections, copy it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

import click

from towerlog.ambient import SystemClock, SystemIds
from towerlog.cli.exits import FOUND_WRONG
from towerlog.cli.formatting import counted
from towerlog.cli.options import as_json, with_settings
from towerlog.cli.output import answer, note, progress, say
from towerlog.config import Settings
from towerlog.engine.audit import rebuild_org, verify_org
from towerlog.errors import TowerlogError
from towerlog.model.principal import Org
from towerlog.server import copied, opened_for_reading, opened_for_writing
from towerlog.store.base import Store
from towerlog.store.values import Kind

T = TypeVar("T")
MAX_SHOWN = 50
"""Differences that are printed; the rest is counted."""


class Findings:
    """Differences that `verify` has found: the first ones in words, and how many."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.count = 0
        self.shown: list[str] = []

    def report(self, difference: str) -> None:
        """Adds a difference."""
        self.count += 1
        if len(self.shown) < MAX_SHOWN:
            self.shown.append(difference)

    def show(self) -> None:
        """Prints them on standard error."""
        for difference in self.shown:
            note(difference)
        if self.count > len(self.shown):
            note(f"… and {self.count - len(self.shown)} more.")


@click.command()
@with_settings()
@as_json
def verify(settings: Settings, as_json: bool) -> None:
    """Checks the log and compares the projections with it.

    Positions must rise, every run's seq must be dense, its hash chain must hold, and the projections must be what a
    rebuild would make. Works while the server runs. Exits with 1 when anything differs.
    """
    findings = Findings()
    events = run_over(opened_for_reading(settings, SystemClock()), lambda store: verify_store(store, findings))
    findings.show()
    fields = {"ok": not findings.count, "events": events, "differences": findings.count, "shown": findings.shown}
    verdict = counted(findings.count, "difference") if findings.count else "no difference"
    answer(as_json, fields, lambda: say(f"{counted(events, 'event')}, {verdict}."))
    if findings.count:
        raise SystemExit(FOUND_WRONG)


@click.command()
@with_settings()
@as_json
def rebuild(settings: Settings, as_json: bool) -> None:
    """Rebuilds the projections from the log: runs, threads, agents, usage, checkpoints. Stop the server first."""
    clock = SystemClock()
    events = run_over(opened_for_writing(settings, clock, SystemIds(clock)), rebuild_store)
    answer(as_json, {"ok": True, "events": events}, lambda: say(f"Rebuilt from {counted(events, 'event')}."))


@click.command()
@with_settings()
@click.argument("file", type=click.Path(path_type=Path))
@as_json
def backup(settings: Settings, file: Path, as_json: bool) -> None:
    """Writes a copy of the store to FILE, which must not exist. Works while the server runs.

    The copy is the store as it is at the time of the call. It is checked before it gets its name: by SQLite's integrity
    check, then as `verify` does. To restore, replace towerlog.db with it while no server runs.
    """
    findings = Findings()
    clock = SystemClock()
    with progress("copying") as pages:
        copy = copied(settings, file, SystemIds(clock), lambda done, _: pages(done))
    try:
        reading = opened_for_reading(copy.settings, clock)
        events = run_over(reading, lambda store: verify_store(store, findings))
        if findings.count:
            findings.show()
            note("towerlog: the copy is not valid and was not kept; see `towerlog verify`.")
            raise SystemExit(FOUND_WRONG)
        size_bytes = copy.publish()
    finally:
        copy.discard()
    fields = {"ok": True, "file": str(file), "bytes": size_bytes, "events": events}
    answer(as_json, fields, lambda: say(f"{file}: {size_bytes} bytes, {counted(events, 'event')}, checked."))


def run_over(opened: AbstractAsyncContextManager[Store], act: Callable[[Store], Awaitable[T]]) -> T:
    """Opens the store, acts, closes it."""

    async def run() -> T:
        async with opened as store:
            return await act(store)

    return asyncio.run(run())


async def verify_store(store: Store, findings: Findings) -> int:
    """Verifies every organisation; how many events could be read."""
    events = 0
    for org in await store.orgs():
        with progress(org.name, await _last_position(store, org.org)) as done:
            events += await _verify_org(store, org, findings, done)
    return events


async def _verify_org(store: Store, org: Org, findings: Findings, done: Callable[[int], None]) -> int:
    read = 0

    def note_read(events: int) -> None:
        nonlocal read
        read = events
        done(events)

    def report(difference: str) -> None:
        findings.report(f"{org.name}: {difference}")

    try:
        await verify_org(store, org.org, report, note_read)
    except TowerlogError:
        raise
    except Exception as error:
        # A corrupt row can raise anything; that it cannot be read is a finding, not a defect of this program.
        report(f"stored data cannot be read: {type(error).__name__}: {error}")
    return read


async def rebuild_store(store: Store) -> int:
    """Rebuilds every organisation; how many events it has folded."""
    events = 0
    for org in await store.orgs():
        with progress(org.name, await _last_position(store, org.org)) as done:
            events += await rebuild_org(store, org.org, done)
    return events


async def _last_position(store: Store, org: int) -> int:
    async with store.begin() as unit:
        counters = (await unit.load({Kind.COUNTERS: [org]}, 0))[Kind.COUNTERS][org]
    return int(counters.position)
