"""Changes to the program under test, by the names in FAULTY_CHANGES: a shorter wait, or a defect that a test must find.

Python imports this module by itself in each process whose PYTHONPATH names this folder. What takes more than a piece of
source in place of another is a function here; the rest is in `replacing.py`.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from pathlib import Path
from typing import Any

import apsw
from replacing import replace_on_import


def hurried() -> None:
    """Checkpoints that would wait for a full log or an idle moment come at once."""
    from towerlog.store.sqlite import store
    from towerlog.store.sqlite.connections import connection

    connection.WAL_CHECKPOINT_BYTES = 256 * 1024
    store.IDLE_TRUNCATE_SECONDS = 0.2


def short_log() -> None:
    """A log that holds writes up after 2 MiB."""
    from towerlog.store.sqlite.connections import connection

    connection.WAL_CHECKPOINT_BYTES = 256 * 1024
    connection.WAL_RESET_BYTES = 1024 * 1024
    connection.WAL_HELD_BYTES = 2 * 1024 * 1024


def log_without_a_bound() -> None:
    """Nothing holds writes up."""
    from towerlog.store.sqlite.connections import connection

    short_log()
    connection.WAL_HELD_BYTES = 1 << 60


def synchronous_off() -> None:
    """Nothing is ever synced."""
    _synchronous("off")


def synchronous_normal() -> None:
    """The log is synced by checkpoints alone."""
    _synchronous("normal")


def _synchronous(how: str) -> None:
    from towerlog.store.sqlite.connections import connection

    before = connection.open_connection

    def open_connection(path: Path, **more: Any) -> apsw.Connection:
        opened = before(path, **more)
        opened.pragma("synchronous", how)
        return opened

    connection.open_connection = open_connection


def ack_before_commit() -> None:
    """A sender is answered while its commit is under way."""
    from towerlog.store.sqlite.store import SqliteUnit, write

    def commit(self: SqliteUnit, changes: Any) -> Any:
        self.written = self._store.writer.submit(write.write_changes, changes)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    SqliteUnit.commit = commit  # type: ignore[method-assign]


def error_swallowed() -> None:
    """What a commit fails with is told to nobody."""
    from towerlog.store.sqlite import write

    before = write.write_changes

    def write_changes(db: apsw.Connection, changes: Any) -> None:
        try:
            before(db, changes)
        except apsw.Error:
            return

    write.write_changes = write_changes


def sync_retried() -> None:
    """A sync that failed counts as any other failure: what it was for is tried again."""
    from towerlog.store.sqlite.connections import pools

    before = pools.storage_failed

    def storage_failed(error: apsw.Error, db: apsw.Connection | None) -> Any:
        failed = before(error, db)
        failed.fatal = False
        return failed

    pools.storage_failed = storage_failed
    pools.is_final = lambda error, cause: False


def no_room_is_final() -> None:
    """A disk without room counts as one that has failed."""
    from towerlog.store.sqlite.connections import failures

    failures.is_full = lambda error, cause: False


def checkpoint_remembered() -> None:
    """Any checkpoint that failed is held against all later commits."""
    from towerlog.store.trouble import Trouble

    before = Trouble.note_checkpoint

    def note_checkpoint(self: Trouble, error: Any) -> None:
        before(self, error)
        if error is not None:
            self.final = error

    Trouble.note_checkpoint = note_checkpoint  # type: ignore[method-assign]


def log_taken_as_found() -> None:
    """A start builds on the log that it reads, whether or not that is on disk."""
    from towerlog.store.sqlite.connections import connection

    connection.write_again = lambda connection, log: None


def log_written_unlocked() -> None:
    """A start writes the log that it finds once more, whoever else writes to it."""
    from towerlog.store.sqlite.connections import connection

    before = connection.write_again

    class Unlocked:
        def execute(self, sql: str) -> None:
            """Nothing."""

    def write_again(connection: apsw.Connection, log: Path) -> None:
        connection.execute("BEGIN IMMEDIATE; ROLLBACK")
        before(Unlocked(), log)

    connection.write_again = write_again


def command_takes_no_place() -> None:
    """A command writes beside the server, whether or not there is one."""
    from towerlog.store.sqlite import identities
    from towerlog.store.sqlite.connections import connection

    identities._place_or_connection = connection.open_connection


def folder_sync_ignored() -> None:
    """Whether the names of a new store are on disk is left to SQLite, which says nothing where it fails."""
    from towerlog.store import lock

    lock.sync = lambda path: None
    lock.sync_opened = lambda descriptor, path: None


def place_emptied_first() -> None:
    """A restore moves the old store away, and then puts the new one there."""
    from towerlog.store.sqlite.upkeep import replacement

    def replace(path: Path, partial: Path, aside: Path) -> None:
        for side in ("", "-wal", "-shm"):
            path.with_name(path.name + side).rename(aside.with_name(aside.name + side))
        partial.rename(path)

    replacement.replace = replace


def folder_not_synced() -> None:
    """A finished copy gets its name, and whether that is on disk is left to chance."""
    from towerlog.store import placing
    from towerlog.store.sqlite.upkeep import replacement

    before = placing.sync
    placing.sync = replacement.sync = lambda path: None if path.is_dir() else before(path)


def hash_not_checked() -> None:
    """What is read is served, whether or not it is what was written."""
    from towerlog.store.columns import rows

    rows.found_event = lambda row: rows.event_value(row[:-1])


def standstill_counts() -> None:
    """A process that was stopped believes that it has listened meanwhile."""
    from towerlog.ambient import ServerClock

    ServerClock.MAX_UNREAD_MS = 10**15


def killed() -> None:
    """The process kills itself at the point FAULTY_POINT, see `points`."""
    from points import plant

    plant(os.environ["FAULTY_POINT"])


def one_snapshot() -> None:
    """A copy that keeps its first snapshot to its end."""
    from towerlog.store.sqlite.upkeep import pages

    before = pages._begin
    pages._begin = lambda db: None if db.in_transaction else before(db)
    pages._let_go = lambda db: None


def log_passed_over() -> None:
    """A copy that knows nothing of what is committed while it is made."""
    from towerlog.store.sqlite.upkeep import pages

    pages._Log.fresh = lambda self, put: 0  # type: ignore[method-assign]


def verified_in_place() -> None:
    """What is read for long is read in the store itself, also beside a server."""
    from towerlog.store.sqlite.upkeep import backup

    backup.may_write_beside = lambda log: False


def slow_reader() -> None:
    """Who reads all rows keeps his snapshot until the log was written to for five seconds, as with a large store."""
    from towerlog.store.sqlite.upkeep import verification

    before = verification._all_rows

    def all_rows(db: apsw.Connection, org: int) -> Any:
        rows = before(db, org)
        log = Path(f"{db.filename}-wal")
        began_at = log.stat().st_mtime_ns
        while log.stat().st_mtime_ns < began_at + 5 * 10**9:
            log.read_bytes()
        return rows

    verification._all_rows = all_rows


def _plant() -> None:
    """Python goes on where this module fails, and the process would run as it is: it ends instead."""
    try:
        replace_on_import()
        for name in filter(None, os.environ.get("FAULTY_CHANGES", "").split(",")):
            globals()[name]()
    except BaseException:
        traceback.print_exc()
        os._exit(99)


_plant()
