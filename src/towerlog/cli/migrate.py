"""`towerlog migrate`: moves an SQLite store into PostgreSQL, and proves that it is the same there."""

from __future__ import annotations

import asyncio

import click

from towerlog.ambient import Clock, SystemClock
from towerlog.cli.account import operator
from towerlog.cli.exits import FOUND_WRONG
from towerlog.cli.findings import Findings
from towerlog.cli.formatting import counted
from towerlog.cli.maintenance import verify_store
from towerlog.cli.options import as_json
from towerlog.cli.output import answer, note, progress, say
from towerlog.cli.server_options import with_server_settings
from towerlog.config import Settings, database_path
from towerlog.engine.audit.outside import store_migrated
from towerlog.storage import arriving_at, database_name, leaving, moved, opened_as_it_is, opened_for_reading
from towerlog.store.columns.moving import StoreSource, compare, move

_DAMAGED = (
    "the file is damaged, and nothing was moved: the database is as it was. `towerlog rebuild` settles what was lost"
    " and folds the rest anew, unless a line is about the log; then call this again."
)
_ADVICE = (
    "the new store is not what the file is, and stays closed: see what `towerlog verify` says of the file, and begin"
    " anew with an empty database."
)


@click.command()
@with_server_settings()
@click.option(
    "--to", "target", metavar="URL", required=True, help="postgresql://USER@HOST/DATABASE, an empty database."
)
@as_json
def migrate(settings: Settings, target: str, as_json: bool) -> None:
    """Moves the store in the data folder into a PostgreSQL database. Stop the server first.

    The file is checked first as `verify` does: where that finds anything, nothing is moved. Positions, seqs, hashes and
    cursors stay what they are, so that readers go on where they were. What breaks off goes on where it was when it is
    called again, until the store is written to. In the end every row is held against its original and the new store is
    checked as the file was; no server opens it before that. The file is only read, and stays as it was.
    """
    findings = Findings()
    rows, events = asyncio.run(_moved(settings, target, findings))
    where = database_name(moved(settings, target))
    fields = {
        "ok": not findings.count,
        "rows": rows,
        "events": events,
        "database": where,
        "differences": findings.count,
        "shown": findings.shown,
    }
    if findings.count:
        findings.end()
        note(f"towerlog: {_ADVICE if rows else _DAMAGED}")
    answer(as_json, fields, lambda: say(_words(settings, where, rows, events, findings)))
    if findings.count:
        raise SystemExit(FOUND_WRONG)


def _words(settings: Settings, where: str, rows: int, events: int, findings: Findings) -> str:
    if findings.count:
        return f"{counted(rows, 'row')} moved, {counted(findings.count, 'difference')}."
    return (
        f"Moved {counted(events, 'event')}, {counted(rows, 'row')}, checked. From now on: towerlog serve --database-url"
        f" {where}\n{database_path(settings)} is as it was. Do not start a server on it any more: it would go on beside"
        " the other."
    )


async def _moved(settings: Settings, target: str, findings: Findings) -> tuple[int, int]:
    """(rows that were moved, events that were checked)."""
    clock = SystemClock()
    with leaving(settings, target) as source:
        async with opened_for_reading(settings, clock) as store:
            await verify_store(store, findings)
        if findings.count:
            return 0, 0
        return await _taken(settings, target, source, findings, clock)


async def _taken(
    settings: Settings, target: str, source: StoreSource, findings: Findings, clock: Clock
) -> tuple[int, int]:
    async with arriving_at(target, source) as arrival:
        total = sum(source.counts().values())
        with progress("moving", total) as done:
            rows = await move(source, arrival, done)
        with progress("comparing", total) as done:
            for difference in await compare(source, arrival, done):
                findings.report(difference)
        async with opened_as_it_is(moved(settings, target), clock, unfinished=True) as store:
            events = await verify_store(store, findings)
            orgs = await store.orgs()
        if not findings.count:
            said, at = {"rows": rows, "events": events}, clock.now_ms()
            await arrival.finish(source.metas(), [store_migrated(operator(), org, at, said) for org in orgs])
    return rows, events
