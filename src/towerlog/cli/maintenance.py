"""`towerlog verify`, `rebuild`, `backup`, `restore`: check the store, rebuild it, copy it, put a copy there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import TypeVar

import click

from towerlog.ambient import Clock, SystemClock, SystemIds
from towerlog.cli.account import operator
from towerlog.cli.exits import FOUND_WRONG
from towerlog.cli.findings import Findings
from towerlog.cli.formatting import counted
from towerlog.cli.lost_rows import LOST_ORG, LOST_REMOVAL, Settled
from towerlog.cli.options import NewFile, as_json
from towerlog.cli.output import answer, note, progress, say
from towerlog.cli.server_options import with_server_settings
from towerlog.cli.signals import ended_after, not_broken_off, unwound_by_signals
from towerlog.config import Settings, is_shared
from towerlog.engine.audit.chain import check_audit
from towerlog.engine.audit.outside import store_rebuilt, store_restored
from towerlog.engine.audit.removals import lost_removals
from towerlog.engine.audit.told import LostRow
from towerlog.engine.erasure.age_clock import kept_state
from towerlog.engine.verify import rebuild_org, verify_org
from towerlog.errors import StorageFailed
from towerlog.model.audit import AuditEntry
from towerlog.model.principal import Org
from towerlog.model.times import format_ms
from towerlog.storage import (
    Replacing,
    copied,
    make_indexes_anew,
    opened_for_reading,
    opened_for_writing,
    place_of,
    readable_at_length,
    replacing,
    settings_of,
    writable_store,
)
from towerlog.store.base import Store
from towerlog.store.values import Kind

T = TypeVar("T")
_IN_A_NAME = str.maketrans("", "", "-:.")


@click.command()
@with_server_settings()
@click.option(
    "--copy-in",
    metavar="FOLDER",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the copy is made while a server runs, if not beside the database.",
)
@as_json
def verify(settings: Settings, copy_in: Path | None, as_json: bool) -> None:
    """Checks the log and compares the projections with it.

    Positions must rise, every run's seq must be dense, its hash chain must hold, and the projections must be what a
    rebuild would make. The database's own structures must be whole, and every index must say what its table
    says. While a server runs, a copy of the store is checked, which is removed in the end: there must be room for it.
    Exits with 1 when anything differs.
    """
    findings = Findings()
    clock = SystemClock()
    with ExitStack() as reading:
        reading.enter_context(unwound_by_signals())
        with progress("copying") as pages:
            made = readable_at_length(settings, copy_in, SystemIds(clock), lambda done, _: pages(done))
            copy, lost = reading.enter_context(made)
        for one in lost:
            findings.report(one)
        opened = opened_for_reading(settings_of(settings, copy), clock)
        is_copy = copy.partial != copy.target
        events = run_over(opened, lambda store: verify_store(store, findings), is_copy=is_copy)
    findings.end()
    fields = {
        "ok": not findings.count,
        "events": events,
        "differences": findings.count,
        "shown": findings.shown,
        "outdated": sum(findings.outdated.values()),
    }
    verdict = counted(findings.count, "difference") if findings.count else "no difference"
    answer(as_json, fields, lambda: say(f"{counted(events, 'event')}, {verdict}."))
    if findings.count:
        raise SystemExit(FOUND_WRONG)


@click.command()
@with_server_settings()
@as_json
def rebuild(settings: Settings, as_json: bool) -> None:
    """Rebuilds the projections from the log: runs, threads, agents, usage, checkpoints. Stop the server first.

    The log and all that is not made from it are copied into a new file, which takes the place of the old one when all
    of it is there; so it works whatever else is damaged, and needs as much room again. The old file is kept. In
    PostgreSQL the indexes are made anew and each organisation is rebuilt in one transaction instead, and nothing is
    kept. Refused where the log itself is damaged.

    What people have set and damage has lost (a budget, a price, a rule, a policy of retention, a member) is made anew
    where the audit tells all of it; the rest, keys above all, is gone. Either is printed, with what to do, and is an
    entry of the audit. The audit itself and the histories of checkpoints are kept as they are: what is wrong with them
    is named, and stays wrong. Exits with 0 in all these cases.
    """
    clock, unmended, settled = SystemClock(), Findings(), Settled()
    rebuilt = _rebuilt_in_place if is_shared(settings) else _rebuilt_file
    with unwound_by_signals():
        events, lost, aside = rebuilt(settings, clock, unmended, settled)
    for one in lost:
        note(f"lost: {one}")
    settled.tell()
    if unmended.count:
        unmended.end()
        note("towerlog: what is named here is damaged, and no rebuild mends it: nothing tells what stood there.")
    fields = {
        "ok": True,
        "events": events,
        "lost": lost,
        "moved_to": aside,
        "not_mended": unmended.shown,
        "made_anew": settled.restored,
        "gone": settled.gone,
        "no_keys": settled.shut,
    }
    kept = "" if aside is None else f" What was there before is {aside}."
    answer(as_json, fields, lambda: say(f"Rebuilt from {counted(events, 'event')}.{kept}"))


Rebuilt = tuple[int, list[str], str | None]
"""(events, what could not be read, where the old store is)."""


def _rebuilt_file(settings: Settings, clock: Clock, unmended: Findings, settled: Settled) -> Rebuilt:
    writable_store(settings)
    with place_of(settings) as place:
        with progress("copying") as rows:
            copy, lost = place.salvage(lambda done, _: rows(done))
        try:
            writing = opened_for_writing(settings_of(settings, copy), clock, SystemIds(clock))
            events = run_over(writing, lambda store: rebuild_store(store, clock, lost, unmended, settled))
            with not_broken_off():
                aside, _ = place.fill(copy, _kept_as(clock))
        finally:
            with not_broken_off():
                copy.discard()
    return events, lost, str(aside)


def _rebuilt_in_place(settings: Settings, clock: Clock, unmended: Findings, settled: Settled) -> Rebuilt:
    with progress("indexes") as done:
        make_indexes_anew(settings, done)
    writing = opened_for_writing(settings, clock, SystemIds(clock))
    return run_over(writing, lambda store: rebuild_store(store, clock, [], unmended, settled)), [], None


def _kept_as(clock: Clock) -> str:
    """How what was there before is called."""
    return f"before-{format_ms(clock.now_ms()).translate(_IN_A_NAME)}"


@click.command()
@with_server_settings()
@click.argument("file", type=NewFile())
@as_json
def backup(settings: Settings, file: Path, as_json: bool) -> None:
    """Writes a copy of the store to FILE, which must not exist. Works while the server runs.

    The copy is the store of one moment, with all that was stored before the call. It is checked before it gets its
    name: by SQLite's integrity check, then as `verify` does. Of PostgreSQL it is what pg_dump writes: that is read
    back, and the store is checked as `verify` does. To restore it: `towerlog restore`.
    """
    findings = Findings()
    clock = SystemClock()
    with unwound_by_signals():
        events, size_bytes = _backed_up(settings, file, clock, findings)
    fields = {"ok": True, "file": str(file), "bytes": size_bytes, "events": events}
    answer(as_json, fields, lambda: say(f"{file}: {size_bytes} bytes, {counted(events, 'event')}, checked."))


def _backed_up(settings: Settings, file: Path, clock: Clock, findings: Findings) -> tuple[int, int]:
    """How many events the copy has, and bytes."""
    with progress("copying") as pages:
        copy = copied(settings, file, SystemIds(clock), lambda done, _: pages(done))
    try:
        reading = opened_for_reading(settings_of(settings, copy), clock)
        events = run_over(reading, lambda store: verify_store(store, findings), is_copy=not is_shared(settings))
        findings.end()
        if findings.count:
            note("towerlog: the copy is not valid and was not kept; see `towerlog verify`.")
            raise SystemExit(FOUND_WRONG)
        return events, copy.publish()
    finally:
        copy.discard()


@click.command()
@with_server_settings()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--without-wal", is_flag=True, help="Take FILE although the -wal that belongs to it is lost.")
@as_json
def restore(settings: Settings, file: Path, without_wal: bool, as_json: bool) -> None:
    """Replaces the store in the data folder with the backup FILE. Stop the server first.

    FILE is copied, with the -wal beside it if there is one, and the copy is checked as `backup` does before anything is
    moved. What was in the data folder is moved aside, with its -wal, and kept. The restored log has a new epoch, so
    that followers which have seen more are told. In PostgreSQL the tables that were there are kept in a schema of their
    own.
    """
    clock = SystemClock()
    with unwound_by_signals(), replacing(settings, SystemIds(clock), _kept_as(clock)) as place:
        try:
            events, aside, size_bytes = _restored(place, file, without_wal, clock)
        finally:
            with not_broken_off():
                place.discard()
    fields = {"ok": True, "bytes": size_bytes, "events": events, "moved_to": aside}
    moved = "" if aside is None else f" What was there before is {aside}."
    answer(as_json, fields, lambda: say(f"Restored {counted(events, 'event')}, checked.{moved}"))


def _restored(place: Replacing, file: Path, without_wal: bool, clock: Clock) -> tuple[int, str | None, int]:
    """How many events it has, where the store is that was there before, and bytes."""
    findings = Findings()
    with progress("copying") as pages:
        place.take(file, without_wal, lambda done, _: pages(done))
    events = run_over(place.opened(clock), lambda store: verify_store(store, findings), is_copy=True)
    findings.end()
    if findings.count:
        note(f"towerlog: {file} is not valid; nothing was changed.")
        raise SystemExit(FOUND_WRONG)
    orgs = run_over(place.opened(clock), lambda store: store.orgs())
    said = {"file": file.name, "events": events}
    with not_broken_off():
        aside, size_bytes = place.fill([store_restored(operator(), org, clock.now_ms(), said) for org in orgs])
    return events, aside, size_bytes


def run_over(
    opened: AbstractAsyncContextManager[Store], act: Callable[[Store], Awaitable[T]], *, is_copy: bool = False
) -> T:
    """Opens the store, acts, closes it. Raises what it could not look with, whatever the act has made of that.

    `is_copy`: it was made for this a moment ago, so that a read which the disk fails is no finding either.
    """

    async def run() -> T:
        async with opened as store:
            try:
                return await act(store)
            finally:
                failed = store.damages.lack or (store.damages.unread if is_copy else None)
                if failed is not None:
                    raise failed

    with ExitStack() as stack:
        with ended_after():
            running = run()
            stack.callback(running.close)  # where it was ended before it has begun
        return asyncio.run(running)


async def verify_store(store: Store, findings: Findings) -> int:
    """Verifies every organisation; how many events could be read."""
    events = 0
    try:
        for fault in await store.structure_faults():
            findings.report(fault)
        kept, _ = await store.age_kept()
        if kept is not None and kept_state(kept) is None:
            findings.report("meta 'age': is not what was written")
        orgs = await store.orgs()
        for number in await store.orgs_lost():
            findings.report(LOST_ORG.format(number))
        for one in await lost_removals(store):
            findings.report(LOST_REMOVAL.format(one.told_in.name, one.number, one.removed.org_id))
        positions = [await _last_position(store, org.org) for org in orgs]
    except OSError:  # the system's, and no row's
        raise
    except Exception as error:
        findings.report(f"the organisations cannot be read: {_unread(error)}")
        return events
    for org, position in zip(orgs, positions, strict=True):
        with progress(org.name, position) as done:
            events += await _verify_org(store, org, findings, done)
    return events


def _unread(error: Exception) -> str:
    """A corrupt row can raise anything; that it cannot be read is a finding, not a defect of this program."""
    return str(error) if isinstance(error, StorageFailed) else f"{type(error).__name__}: {error}"


async def _verify_org(store: Store, org: Org, findings: Findings, done: Callable[[int], None]) -> int:
    read = 0

    def note_read(events: int) -> None:
        nonlocal read
        read = events
        done(events)

    # Beside its servers it may be removed while it is read: what differs then is on its way out.
    held = findings if store.nodes is None else Findings(is_held=True)

    def report(difference: str) -> None:
        held.report(f"{org.name}: {difference}")

    try:
        await verify_org(store, org.org, report, note_read, lambda _: held.report_outdated(org.name))
    except OSError:
        raise
    except Exception as error:
        report(f"stored data cannot be read: {_unread(error)}")
    if held is not findings and any(one.org_id == org.org_id for one in await store.orgs()):
        findings.take(held)
    return read


async def rebuild_store(store: Store, clock: Clock, lost: list[str], unmended: Findings, settled: Settled) -> int:
    """Rebuilds every organisation, and says so in its audit; how many events it has folded.

    `unmended`: told what is wrong with the audit, and with the histories of checkpoints. `settled`: what has become of
    rows that people had set and that are not there.
    """
    events = 0
    await settled.put_orgs_back(store, unmended.report, clock)
    await settled.remove_again(store, clock)
    for org in await store.orgs():

        def differs(fault: str, name: str = org.name) -> None:
            unmended.report(f"not mended: {name}: {fault}")

        def made(line: str, name: str = org.name) -> None:
            settled.restored.append(f"{name}: {line}")

        # Before anything is added to the audit, which would hide that its end is missing.
        rows: list[LostRow] = []
        await check_audit(store, differs, org.org, rows.append)

        def told(folded: int, org: Org = org) -> list[AuditEntry]:
            return [store_rebuilt(operator(), org, clock.now_ms(), folded, lost)]

        with progress(org.name, await _last_position(store, org.org)) as done:
            events += await rebuild_org(store, org.org, done, told, differs, made, clock.steady_ms())
        await settled.settle(store, org, rows, clock)
    return events


async def _last_position(store: Store, org: int) -> int:
    async with store.begin() as unit:
        counters = (await unit.load({Kind.COUNTERS: [org]}, 0))[Kind.COUNTERS][org]
    return int(counters.position)
