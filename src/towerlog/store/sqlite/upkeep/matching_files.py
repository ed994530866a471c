"""Whether the files of a store belong together: the database and the write-ahead log beside it (`-wal`).

Each log that the writer begins has a name, which is committed as the first thing in it and then moved into the
database: from then on the database itself says that this log belongs to it and may not be missing. Only at a stop,
before the log is emptied for good, does the database say that it is whole without one. So what was copied without its
log, or lies beside the log of another database, is found when it is opened and not years later.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

import apsw

from towerlog.errors import StorageFailed, StoreTorn
from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.frames import HEADER_BYTES, UNSYNCED, unread_commits
from towerlog.store.sqlite.upkeep.replacement import is_unfinished

_MAGIC = b"\x37\x7f\x06"
"""Of any write-ahead log of SQLite; the next byte is the order of bytes in its checksums."""
LOOKS = 3
"""A reader beside a server may look between two of its steps; what is torn is so each time."""
NEW_LOG = "new"
_ADVICE = "Restore a backup with `towerlog restore`"


def begin_log(db: apsw.Connection, name: str) -> None:
    """Names the log that is written from now on, in it and in the database.

    Where a reader keeps the database from taking in the log, the log keeps its name: it knows one name before its own,
    and after a second change the database would still say one that the log no longer knows. A reader who was there
    before the first start after an orderly stop keeps the database saying that it is whole, until he ends.
    """
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    # Where the log begins anew, SQLite cuts off behind the first commit what an earlier one has left there.
    db.pragma("journal_size_limit", 0)
    try:
        _name_log(db, name)
    finally:
        db.pragma("journal_size_limit", files.WAL_RESET_BYTES)


def _name_log(db: apsw.Connection, name: str) -> None:
    before, earlier, _ = _marks(_mark(db))
    _write(db, f"{before} {earlier} open")
    pages, moved = files.checkpoint(db)
    if not 0 <= pages == moved:
        return
    _write(db, f"{name} {before} open")
    files.checkpoint(db)
    # All of it is in the database now, so that the next commit begins the log anew: with its name.
    _write(db, f"{name} {before} open")


def settle_log(db: apsw.Connection) -> bool:
    """Empties the log: the database is whole without it, and says so. False where a reader keeps the log.

    For the last thing that this process commits: where a reader comes in between, the database may say that it is whole
    while the log says that it is not. Whoever closes this connection last may remove a log that was emptied.
    """
    # All of it is moved, and it is not cut yet: the database does not say so far that it needs no log.
    if not _is_done(db, apsw.SQLITE_CHECKPOINT_RESTART):
        return False
    name, before, _ = _marks(_mark(db))
    _write(db, f"{name} {before} whole")
    if not _is_cut(db):
        # Somebody has begun to read meanwhile.
        _write(db, f"{name} {before} open")
        return False
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    return True


def _is_cut(db: apsw.Connection) -> bool:
    """Whether the log, all of which is in the database and synced, was cut.

    Raises StorageFailed, which is not final, where the disk has refused that alone: the next start reads the log again.
    """
    try:
        return _is_done(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.IOError as error:
        if getattr(error, "extendedresult", 0) != apsw.SQLITE_IOERR_TRUNCATE:
            raise
        raise StorageFailed(f"the log could not be cut: {os.strerror(db.system_errno)}; nothing is lost") from error


def renew_log(db: apsw.Connection, name: str) -> None:
    """Begins the log anew, under a name of its own. Not where a reader keeps it.

    The database never says meanwhile that it is whole without a log: a reader who comes in between would keep it from
    saying anything else, while commits went on.
    """
    if _is_done(db, apsw.SQLITE_CHECKPOINT_RESTART):
        begin_log(db, name)


def _is_done(db: apsw.Connection, mode: int) -> bool:
    pages, _ = files.checkpoint(db, mode)
    return pages >= 0


def check_whole(path: Path, lost: list[str] | None = None) -> None:
    """Raises StoreTorn, in words, where the files at `path` do not belong together, or a part of the log is lost.

    With `lost` that is told there instead. Changes nothing.

    Raises StorageFailed or OSError where that cannot be told, as they cannot be read together.
    """
    for look in range(LOOKS):
        try:
            _check(path, lost)
        except StoreTorn:
            if look == LOOKS - 1:
                raise
        else:
            return


def check_not_alone(path: Path) -> None:
    """Raises StoreTorn where there is a part of a store and no database; IsADirectoryError."""
    log = files.log_of(path)
    if is_unfinished(path):
        raise StoreTorn(
            f"{path} is being replaced: `towerlog restore` or `rebuild` broke off. The next start of the server goes on"
            " with it."
        )
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not _size(path) and _size(log):
        raise StoreTorn(
            f"{log} is there and {path.name} is not: the database was moved away, or putting one there broke off."
            f" {_ADVICE}, or put {path.name} back."
        )


def _check(path: Path, lost: list[str] | None) -> None:
    check_not_alone(path)
    log = files.log_of(path)
    if not _size(path):
        return  # nothing yet, one that is being made, or `take_database` refuses it
    # Of the database alone before that of both: a writer beside this may go on meanwhile, and goes back nowhere.
    alone = _said_alone(path)
    if alone.mark is None:
        return
    name, earlier, state = _marks(alone.mark)
    if not _has_header(log):
        if state == "open":
            raise StoreTorn(
                f"{path} was copied without the {path.name}-wal that belongs to it: what was stored last is not there."
                f" {_ADVICE}, or put that file beside it."
            )
        return
    both = _read(path, str(path), apsw.SQLITE_OPEN_READONLY)
    now, before, _ = _marks(both.mark)
    is_named = name in (now, before) if both.mark is not None else _names(log, name, earlier)
    if not is_named:
        raise StoreTorn(f"{log} belongs to another database than {path}. {_ADVICE}; it takes the -wal away.")
    hiding = _hiding(log, alone, both)
    # Together they may be no database that could be asked any more.
    damage = hiding if both.counters is None and hiding else _damage(path, log) or hiding
    if damage and lost is None:
        raise StoreTorn(f"{damage}. {_ADVICE}, or keep what can be read with `towerlog rebuild`.")
    if damage and lost is not None:
        lost.append(damage)


def _names(log: Path, name: str, before: str) -> bool:
    """Whether anything in the log says that it has this name, or had it: of one that cannot be read in its order."""
    return any(said in log.read_bytes() for said in (f"{name} {before} ".encode(), f" {name} open".encode()))


def _hiding(log: Path, alone: _Said, both: _Said) -> str:
    """In words, that the log hides what is newer in the database; empty where it does not.

    A log is cut off, or SQLite reads no further than to a frame that was damaged; but more of it had been moved. So
    pages from its beginning stand before those that followed them.
    """
    if alone.counters is None:
        return ""
    there = both.counters
    if there is None or any(reached > there.get(counter, reached) for counter, reached in alone.counters.items()):
        return f"{log} is damaged: it ends before what the database has of it already, and hides that"
    return ""


def _damage(path: Path, log: Path) -> str:
    """What is wrong inside the log, in words; empty for nothing."""
    try:
        read, unread = unread_commits(path, log)
    except apsw.Error as error:
        raise files.cannot_open(path, error, None) from error
    return f"{log} is damaged: what was stored behind its frame {read} cannot be read" if unread > UNSYNCED else ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _has_header(log: Path) -> bool:
    """Whether a log was begun. It need not have frames: those that it had may all be in the database.

    Where something stands behind it, whatever stands in its place counts as one: what is wrong with it, `_damage` says.
    """
    size = _size(log)
    if size != HEADER_BYTES:
        return size > HEADER_BYTES
    with log.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


class _Said(NamedTuple):
    mark: str | None
    """What the store says of its log; None where it says nothing."""
    counters: dict[tuple[int, str], int] | None
    """How far each organisation's log and audit have come, which never go back; None where that cannot be read."""


def _said_alone(path: Path) -> _Said:
    """What the database says, whatever lies beside it."""
    return _read(path, files.immutable(path), apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)


def _read(path: Path, name: str, flags: int) -> _Said:
    db: apsw.Connection | None = None
    mark: str | None = None
    try:
        db = apsw.Connection(name, flags=flags)
        mark = _mark(db)
        return _Said(mark, _counters(db))
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError):
        # No database of ours, or one that is damaged here: whoever opens it says so.
        return _Said(mark, None)
    except apsw.Error as error:
        # The disk, a right that is missing: that says nothing of what belongs together.
        raise files.cannot_open(path, error, db) from error
    finally:
        if db is not None:
            db.close()


def _counters(db: apsw.Connection) -> dict[tuple[int, str], int]:
    found = db.execute("SELECT org, position, audited FROM org")
    return {(org, name): reached for org, *both in found for name, reached in zip(("log", "audit"), both, strict=True)}


def _mark(db: apsw.Connection) -> str | None:
    found = db.execute("SELECT value FROM meta WHERE name = 'log'").get
    return None if found is None else str(found)


def _marks(mark: str | None) -> tuple[str, str, str]:
    """(name of the log, name of the one before it, `open` or `whole`)."""
    name, before, state = (mark or f"{NEW_LOG} - whole").split(" ")
    return name, before, state


def _write(db: apsw.Connection, mark: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES ('log', ?)", (mark,))
