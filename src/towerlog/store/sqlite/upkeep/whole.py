"""Whether the files of a store belong together: the database and the write-ahead log beside it (`-wal`).

Each log that the writer begins has a name, which is committed as the first thing in it and then moved into the
database: from then on the database itself says that this log belongs to it and may not be missing. Before the log is
emptied the database says that it is whole without one. So what was copied without its log, or lies beside the log of
another database, is found when it is opened and not years later.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from towerlog.errors import StoreTorn
from towerlog.store.sqlite import connection as files
from towerlog.store.sqlite.upkeep.replacement import is_unfinished

HEADER_BYTES = 32
_MAGIC = b"\x37\x7f\x06"
"""Of any write-ahead log of SQLite; the next byte is the order of bytes in its checksums."""
LOOKS = 3
"""A reader beside a server may look between two of its steps; what is torn is so each time."""
NEW_LOG = "new"
_ADVICE = "Restore a backup with `towerlog restore`"


def begin_log(db: apsw.Connection, name: str) -> None:
    """Names the log that is written from now on, in it and in the database."""
    before, _, _ = _marks(_mark(db))
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    _write(db, f"{name} {before} open")
    files.checkpoint(db)
    # All of it is in the database now, so that the next commit begins the log anew: with its name.
    _write(db, f"{name} {before} open")


def settle_log(db: apsw.Connection) -> None:
    """Empties the log: the database is whole without it, and says so. Not where a reader keeps it.

    Whoever closes this connection last may remove the log.
    """
    name, before, _ = _marks(_mark(db))
    _write(db, f"{name} {before} whole")
    files.checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)


def renew_log(db: apsw.Connection, name: str) -> None:
    """Empties the log and names the next one, with no commit of anybody else in between."""
    settle_log(db)
    begin_log(db, name)


def check_whole(path: Path) -> None:
    """Raises StoreTorn, in words, where the files at `path` do not belong together. Changes nothing."""
    for look in range(LOOKS):
        try:
            _check(path)
        except StoreTorn:
            if look == LOOKS - 1:
                raise
        else:
            return


def _check(path: Path) -> None:
    log = files.log_of(path)
    if is_unfinished(path):
        raise StoreTorn(
            f"{path} is being replaced: `towerlog restore` or `rebuild` broke off. The next start of the server goes on"
            " with it."
        )
    if not _size(path):
        if _size(log):
            raise StoreTorn(
                f"{log} is there and {path.name} is not: the database was moved away, or putting one there broke off."
                f" {_ADVICE}, or put {path.name} back."
            )
        return  # nothing yet, one that is being made, or `take_database` refuses it
    mark = _mark_of_database(path)
    if mark is None:
        return
    name, _, state = _marks(mark)
    if not _has_header(log):
        if state == "open":
            raise StoreTorn(
                f"{path} was copied without the {path.name}-wal that belongs to it: what was stored last is not there."
                f" {_ADVICE}, or put that file beside it."
            )
        return
    now, before, _ = _marks(_mark_with_log(path))
    if name not in (now, before):
        raise StoreTorn(f"{log} belongs to another database than {path}. {_ADVICE}; it takes the -wal away.")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _has_header(log: Path) -> bool:
    """Whether a log was begun. It need not have frames: those that it had may all be in the database."""
    if _size(log) < HEADER_BYTES:
        return False
    with log.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _mark_of_database(path: Path) -> str | None:
    """What the database itself says, whatever lies beside it; None where it says nothing."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return _read(f"{path.absolute().as_uri()}?immutable=1", flags)


def _mark_with_log(path: Path) -> str | None:
    """What database and log say together."""
    return _read(str(path), apsw.SQLITE_OPEN_READONLY)


def _read(name: str, flags: int) -> str | None:
    try:
        db = apsw.Connection(name, flags=flags)
    except apsw.Error:
        return None
    try:
        return _mark(db)
    except (apsw.Error, UnicodeDecodeError):
        # No database of ours, or one that is damaged here: whoever opens it says so.
        return None
    finally:
        db.close()


def _mark(db: apsw.Connection) -> str | None:
    found = db.execute("SELECT value FROM meta WHERE name = 'log'").get
    return None if found is None else str(found)


def _marks(mark: str | None) -> tuple[str, str, str]:
    """(name of the log, name of the one before it, `open` or `whole`)."""
    name, before, state = (mark or f"{NEW_LOG} - whole").split(" ")
    return name, before, state


def _write(db: apsw.Connection, mark: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES ('log', ?)", (mark,))
