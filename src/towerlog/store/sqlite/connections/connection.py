"""The SQLite files: opening with the right pragmas, migrations, the size of the WAL and its checkpoints.

WAL rule: the bulk of a checkpoint runs beside the writer; only the rest that came meanwhile runs in the writer's own
thread, so that the WAL can start anew and stays bounded.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import apsw
import msgspec

from towerlog.errors import SchemaMismatch, StorageFailed
from towerlog.model.run_text import in_one_case
from towerlog.store.damage import Damages
from towerlog.store.migrate import Migration, apply_migrations, load_migrations, plan_migrations
from towerlog.store.space import Space
from towerlog.store.sqlite.connections.failures import storage_failed, text_damaged
from towerlog.store.sqlite.connections.schema import MIGRATIONS, strange
from towerlog.store.sqlite.connections.store_notes import begin_digests, keep_note

PAGE_BYTES = 8192
"""A page that is changed is written to the log whole. With 16 KiB a small group would write twice as much, and a batch
a third more, for the same processor time; with 4 KiB half, for more of it in each look-up."""
WAL_CHECKPOINT_BYTES = 16 * 1024 * 1024
"""Past this a checkpoint runs beside the writer."""
WAL_RESET_BYTES = 64 * 1024 * 1024
"""Past this the writer itself finishes the checkpoint, so that the WAL starts anew."""
WAL_HELD_BYTES = 160 * 1024 * 1024
"""Past this, where a reader keeps the WAL from starting anew, writes wait for him: with one more group and what is not
in one it stays below 256 MiB."""
LOW_LOG_BYTES = 1024 * 1024
"""Past this the log is begun anew before the next write, where it is longer than there is room beside the guard."""
BUSY_MS = 10_000
INCREMENTAL = 2
"""As `auto_vacuum`: free pages are given back when it is asked for."""
_PIECE_BYTES = 1024 * 1024
LOWER = "lower_any_script"
"""SQLite's own `lower` knows ASCII alone."""
MIN_SQLITE = (3, 51, 3)
"""Older ones can corrupt a WAL that is reset while it is read."""


class StoreConnection(apsw.Connection):
    """A connection that knows whom to tell of damage, and the disk that it writes to."""

    damages: Damages
    space: Space | None = None
    """Of the store's one writer."""


def damages_of(connection: apsw.Connection) -> Damages:
    """Whom to tell of damage that is found through this connection."""
    assert isinstance(connection, StoreConnection)
    return connection.damages


def open_connection(
    path: Path, *, read_only: bool = False, damages: Damages | None = None, space: Space | None = None
) -> apsw.Connection:
    """A connection set up by the rules: WAL, full sync, foreign writers waited for. `space`: what it leaves room on.

    Who only reads a database at rest has to hold it against `unchanged`. Raises StorageFailed; OSError where this user
    may not open the file, or nobody can; SchemaMismatch where it would change a database that is not ours.
    """
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    name = str(path)
    if read_only and is_at_rest(path):
        name, flags = immutable(path), flags | apsw.SQLITE_OPEN_URI
    connection: StoreConnection | None = None
    try:
        connection = StoreConnection(name, flags=flags, statementcachesize=200)
        connection.damages = damages or Damages(lambda: 0, is_logged=False)
        connection.space = space
        connection.set_busy_timeout(BUSY_MS)
        if read_only:
            connection.pragma("query_only", True)
        else:
            # Else whoever closes last moves the log into the database and removes it, whatever has become of either.
            # The writer does so where it means to: see `settle_log`.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            _refuse_foreign(connection)
            if not connection.pragma("page_count"):
                # Of a new file alone. In another SQLite would commit to each that it keeps its pages so: behind a log
                # that nobody has made durable yet.
                connection.pragma("page_size", PAGE_BYTES)
                # What is erased gives its pages back a few at a time.
                connection.pragma("auto_vacuum", INCREMENTAL)
            connection.pragma("journal_mode", "wal")
            # What is erased, or replaced by something else, is overwritten with zeros in the page where it was.
            connection.pragma("secure_delete", True)
            connection.pragma("synchronous", "full")
            connection.pragma("wal_autocheckpoint", 0)
            connection.pragma("journal_size_limit", WAL_RESET_BYTES)
        connection.pragma("cache_size", -8192 if read_only else -65536)
        connection.pragma("temp_store", "memory")
        connection.create_scalar_function(LOWER, _lower, 1, deterministic=True)
        return connection
    except apsw.Error as error:
        raise cannot_open(path, error, connection, os.R_OK if read_only else os.R_OK | os.W_OK) from error
    except UnicodeDecodeError as error:
        raise text_damaged(error) from error


def denied(path: Path, error: apsw.Error, access: int = os.R_OK) -> OSError | None:
    """What SQLite leaves out of an error, if it is that: this user may not, or the file system lets nobody write."""
    if not isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError) or not path.exists():
        return None
    if is_read_only(path.parent):
        return OSError(errno.EROFS, "its file system is read-only", str(path))
    if not os.access(path, access):
        # A restored file that root has put here is the usual case.
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if not os.access(path.parent, os.W_OK):
        # The log of another user's server is read by its index, which who reads has to write to as well.
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
    return None


def immutable(path: Path) -> str:
    """The name by which SQLite opens a database alone, whatever lies beside it, as one that nobody changes."""
    return f"{path.absolute().as_uri()}?immutable=1"


def cannot_open(
    path: Path, error: apsw.Error, connection: apsw.Connection | None, access: int = os.R_OK
) -> StorageFailed | OSError:
    """In words; with the cause that SQLite leaves out."""
    refusal = denied(path, error, access)
    if refusal is not None:
        return refusal
    cause = storage_failed(error, connection)
    failed = StorageFailed(f"cannot open {path}: {cause.message}")
    failed.is_lack = cause.is_lack
    return failed


def _refuse_foreign(connection: apsw.Connection) -> None:
    # Before the pragmas: the journal mode is a change to the file, and a file of somebody else is left as it was.
    tables = [str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if tables and "migration" not in tables:
        name = connection.filename
        connection.close()
        raise SchemaMismatch(f"{name} is another program's database: it has tables, but none of towerlog's")


def _lower(*values: apsw.SQLiteValue) -> str | None:
    [text] = values
    return in_one_case(text) if isinstance(text, str) else None


def check_library() -> None:
    """Refuses a SQLite with the WAL-reset fault."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < MIN_SQLITE:
        raise StorageFailed(f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or newer is needed")


def log_of(path: Path) -> Path:
    """The write-ahead log of a database."""
    return path.with_name(path.name + "-wal")


def log_bytes(path: Path) -> int:
    """How long the log of a database is; 0 where there is none."""
    log = log_of(path)
    return log.stat().st_size if log.exists() else 0


def is_read_only(folder: Path) -> bool:
    """Whether nobody can write on the file system of this folder. Raises OSError."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def is_at_rest(path: Path) -> bool:
    """Whether a database can be read as it stands, and in no other way, see `at_rest`. Raises OSError."""
    if os.access(path.parent, os.W_OK) or log_bytes(path):
        return False
    journal = path.with_name(path.name + "-journal")  # of a copy that was being written, which has no log
    return not (journal.exists() and journal.stat().st_size)


def is_long(path: Path, room_bytes: int) -> bool:
    """Whether the log of a database is longer than there is room for beside it."""
    return log_bytes(path) > max(room_bytes, LOW_LOG_BYTES)


def write_again(connection: apsw.Connection, log: Path) -> None:
    """Writes the log that is there once more, over itself, and syncs it. Nobody else writes meanwhile.

    A sync that failed in an earlier process may have marked pages as written that never came to the disk: they are read
    from memory as if they were there, no later sync writes them, and all that is appended behind them would be lost
    with the next power cut. Written again they must be synced, or the start fails. Raises apsw.Error, StorageFailed.
    """
    # A command that began beside the writer before this one may still commit. It does so under SQLite's write lock, as
    # does all else that changes the log; who reads it meanwhile reads the same bytes.
    connection.execute("BEGIN IMMEDIATE")
    try:
        with log.open("r+b", buffering=0) as file:
            at = 0
            while piece := os.pread(file.fileno(), _PIECE_BYTES, at):
                at += os.pwrite(file.fileno(), piece, at)
            os.fdatasync(file.fileno())
    except OSError as error:
        failed = StorageFailed(f"{log} cannot be written again: {error.strerror}")
        failed.fatal = True
        raise failed from error
    finally:
        connection.execute("ROLLBACK")


def migrate(connection: apsw.Connection) -> int:
    """Brings the schema up to this version; returns its number.

    Raises SchemaMismatch for a newer one, and for a database with anything in it that no migration makes.
    """
    connection.execute(MIGRATIONS.replace("TABLE", "TABLE IF NOT EXISTS", 1))
    applied = {int(row[0]): str(row[1]) for row in connection.execute("SELECT number, checksum FROM migration")}
    known = load_migrations("sqlite")
    pending = plan_migrations(applied, known, connection.filename)
    # Before anything is written: a trigger would be carried out with it.
    _refuse_strange(connection, known[: len(known) - len(pending)])

    def apply_one(migration: Migration) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO migration VALUES (?, ?, ?)", (migration.number, migration.name, migration.checksum)
            )
            connection.execute("COMMIT")
        except apsw.Error:
            # A full disk, for one, has ended the transaction already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    apply_migrations(pending, apply_one)
    return len(known)


def _refuse_strange(connection: apsw.Connection, applied: list[Migration]) -> None:
    found = strange(connection, applied)
    if found:
        raise SchemaMismatch(
            f"{connection.filename} has what no version of towerlog makes: {', '.join(found)}. Remove that"
            " (sqlite3: DROP …), or copy the rest with `towerlog rebuild`"
        )


def check_schema(connection: apsw.Connection, *, may_be_older: bool = False) -> None:
    """Refuses a database whose schema is not this version's, or has more in it, without changing it.

    `may_be_older`: one that can be migrated is taken as well. Raises SchemaMismatch.
    """
    name = connection.filename
    try:
        applied = {int(row[0]): str(row[1]) for row in connection.execute("SELECT number, checksum FROM migration")}
    except apsw.SQLError:
        raise SchemaMismatch(f"{name} is not a towerlog database") from None
    known = load_migrations("sqlite")
    pending = plan_migrations(applied, known, name)
    if pending and not may_be_older:
        # Nothing in a file tells whether it is served or is a backup.
        raise SchemaMismatch(
            f"{name} has an older schema. Of a server: start `towerlog serve` once, it brings it up to date."
            " Of a backup: `towerlog restore` takes it as it is, and checks it before anything is moved"
        )
    _refuse_strange(connection, known[: len(known) - len(pending)])


def ensure_epoch(connection: apsw.Connection, fresh: str) -> str:
    """The name of this log; a new database gets `fresh`."""
    keep_note(connection, "epoch", fresh, "OR IGNORE")
    begin_digests(connection)
    return str(connection.execute("SELECT value FROM meta WHERE name = 'epoch'").get)


def read_epoch(connection: apsw.Connection) -> str:
    """The name of this log."""
    return str(connection.execute("SELECT value FROM meta WHERE name = 'epoch'").get)


def make_a_copy(connection: apsw.Connection, fresh: str) -> None:
    """Gives the log a new name, and notes where it was copied: what was restored is another log than what went on."""
    positions = {str(org): position for org, position in connection.execute("SELECT org, position FROM org")}
    text = msgspec.json.encode(positions).decode()
    keep_note(connection, "epoch", fresh)
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('log', 'copy - whole')")
    # Of a copy of a copy the first counts: a bare seq was given out by the first log alone.
    keep_note(connection, "copied", text, "OR IGNORE")


def read_copied(connection: apsw.Connection) -> dict[int, int] | None:
    """Organisation → the position at which the log was first copied; None for one that is no copy."""
    found = connection.execute("SELECT value FROM meta WHERE name = 'copied'").get
    return None if found is None else msgspec.json.decode(str(found), type=dict[int, int])


def checkpoint(connection: apsw.Connection, mode: int = apsw.SQLITE_CHECKPOINT_PASSIVE) -> tuple[int, int]:
    """Moves the WAL into the database; (pages in the WAL, pages moved), or (-1, 0) where somebody is in the way.

    Waits for nobody: a backup that reads for a minute must not hold the writer's thread up.
    """
    connection.set_busy_timeout(0)
    try:
        return connection.wal_checkpoint(mode=mode)
    except apsw.BusyError:
        return (-1, 0)
    finally:
        connection.set_busy_timeout(BUSY_MS)
