"""A fresh database with all that no rebuild can make: the log, identities, content, lanes, whatever else is damaged.

Tables are read without their indexes; around pages that cannot be read, the rest is read from both ends. Projections
are not copied: whoever calls folds them anew. Agents and threads are, for what no event says of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from towerlog.errors import DiskFull, StorageFailed
from towerlog.model.principal import SHARD_BITS
from towerlog.store.placing import discard, partial_beside
from towerlog.store.space import no_room
from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.failures import WAY_OUT, is_full
from towerlog.store.sqlite.connections.store_notes import begin_digests_anew, note_faults, whole
from towerlog.store.sqlite.upkeep.backup import without_log
from towerlog.store.sqlite.upkeep.pages import Progress

BATCH_ROWS = 500
NOT_COPIED = "indexed"
"""A column that says in which indexes a row is: in a fresh database in none of these."""
MADE_ANEW = frozenset({"migration", "run", "run_text", "usage", "checkpoint", "approval"})
"""Tables that are not copied: the fresh schema has the first, and the others are folded from the log."""
_FROM_INDEXES = (
    "INSERT OR IGNORE INTO agent SELECT name.agent, name.org, id.agent_id, name.name, x'' FROM"
    " (SELECT agent, org, name FROM old.agent INDEXED BY agent_by_name) AS name JOIN"
    " (SELECT agent, agent_id FROM old.agent INDEXED BY agent_by_id) AS id USING (agent)",
    "INSERT OR IGNORE INTO thread SELECT org, thread_id, created_at, number, x'' FROM old.thread INDEXED BY"
    " thread_by_number",
)
"""What names agents and threads stands in their indexes too; the rest of such a row is folded anew."""
_NO_WAY = "nothing of it can be read by a rebuild: restore a backup with `towerlog restore`"
_READ_ERRORS = (apsw.CorruptError, apsw.IOError, UnicodeDecodeError)


def salvage(source: Path, target: Path, progress: Progress) -> tuple[Path, list[str]]:
    """The fresh database, under a name of its own beside `target`; and what of the old one could not be read.

    Raises OSError, StorageFailed.
    """
    partial = partial_beside(target)
    try:
        return partial, _copied(source, partial, progress)
    except apsw.Error as error:
        discard(partial)
        raise StorageFailed(f"the store cannot be read: {type(error).__name__}: {error}") from error
    except StorageFailed as error:
        discard(partial)
        # Who is told so by a rebuild must not be sent back to it.
        error.message = error.message.replace(WAY_OUT, _NO_WAY)
        error.args = (error.message,)
        raise
    except BaseException:
        discard(partial)
        raise


def salvage_beside_log(source: Path, progress: Progress) -> tuple[Path, list[str]]:
    """As `salvage`, of a database whose log is damaged: what it holds alone, or with what can be read of the log.

    Up to the damage the log may be older than what has been moved from it into the database, and then hides that; or
    it is newer, where nothing was moved. Both are copied, and the one that has come further is kept. Raises
    StorageFailed where neither can be read.
    """
    found: list[tuple[Path, list[str]]] = []
    try:
        with without_log(source, source) as alone:
            for one in (source, alone):
                try:
                    found.append(salvage(one, source, progress))
                except DiskFull:
                    raise
                except StorageFailed:
                    if one == alone and not found:
                        raise
    except BaseException:
        for partial, _ in found:
            discard(partial)
        raise
    best, *others = sorted(found, key=lambda one: _reach(one[0]), reverse=True)
    for partial, _ in others:
        discard(partial)
    return best


def _reach(fresh: Path) -> tuple[int, int, int]:
    """How far a fresh database has come: the last positions of the organisations' logs together, its events, and what
    the organisations count. Pages of two moments may agree in the first two."""
    db = apsw.Connection(files.immutable(fresh), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        [(last, events)] = db.execute(
            "SELECT coalesce(sum(last), 0), coalesce(sum(events), 0) FROM"
            " (SELECT max(key) - (key >> ?1 << ?1) AS last, count(*) AS events FROM event GROUP BY key >> ?1)",
            (SHARD_BITS,),
        )
        [(counted,)] = db.execute("SELECT coalesce(sum(position + audited), 0) FROM org")
        return last, events, counted
    finally:
        db.close()


def _copied(source: Path, partial: Path, progress: Progress) -> list[str]:
    lost: list[str] = []
    into = files.open_connection(partial)
    # Nobody else's file: once it is closed all of it is in the database.
    into.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    old = files.open_connection(source, read_only=True)
    try:
        files.migrate(into)
        done = 0
        for table, names, columns in _tables(into):
            rows = _named(old, table, names, columns, lost) if names else _numbered(old, table, columns, lost)
            verb = "INSERT" if table == "event" else "INSERT OR IGNORE"
            with whole(into):
                for row in rows:
                    into.execute(f"{verb} INTO {table} ({columns}) VALUES ({', '.join('?' * len(row))})", row)
                    done += 1
                    if done % BATCH_ROWS == 0:
                        progress(done, 0)
        into.execute("DELETE FROM meta WHERE name = 'log'")
        lost += [f"{fault}; it counts as it is" for fault in note_faults(into)]
        begin_digests_anew(into)
        _from_indexes(into, source)
    except apsw.Error as error:
        if not is_full(error, into.system_errno):
            raise
        words = f"no room for the new file in {partial.parent} ({no_room(into.system_errno)}); nothing was changed"
        raise DiskFull(words) from error
    finally:
        old.close()
        into.close()
    return lost


def _tables(fresh: apsw.Connection) -> list[tuple[str, str, str]]:
    """Each table that is copied, the columns that order it where it has no numbers of its own, and those that are
    copied."""
    found: list[tuple[str, str, str]] = []
    for _, table, kind, _, has_names, _ in fresh.execute("PRAGMA main.table_list"):
        if kind == "table" and not str(table).startswith("sqlite_") and table not in MADE_ANEW:
            columns = list(fresh.execute(f"PRAGMA table_info({table})"))
            keys = sorted((column[5], str(column[1])) for column in columns if has_names and column[5])
            copied = ", ".join(str(column[1]) for column in columns if column[1] != NOT_COPIED)
            found.append((str(table), ", ".join(name for _, name in keys), copied))
    return found


def _from_indexes(into: apsw.Connection, source: Path) -> None:
    into.execute("ATTACH ? AS old", (str(source),))
    for sql in _FROM_INDEXES:
        try:
            into.execute(sql)
        except apsw.Error:
            continue  # the table itself was read as far as it could be, and what is missing is in `lost`
    into.execute("DETACH old")


def _numbered(old: apsw.Connection, table: str, columns: str, lost: list[str]) -> Iterator[tuple[Any, ...]]:
    """A table's rows by number; behind a row that cannot be read, the next ones that can."""
    last, step = -1, 0
    highest = 1 << 62
    while last + step < highest:
        try:
            sql = f"SELECT rowid, {columns} FROM {table} NOT INDEXED WHERE rowid > ? ORDER BY rowid"
            for found, *row in old.execute(sql, (last + step,)):
                # Where the tree is out of order a lower number may follow. The place to go on from never goes back.
                if found > last:
                    last, step = found, 0
                yield tuple(row)
            return
        except _READ_ERRORS as error:
            if not step:
                lost.append(f"{table}: rows behind number {last} cannot be read: {error}")
            step = step * 2 or 1


def _named(old: apsw.Connection, table: str, order: str, columns: str, lost: list[str]) -> Iterator[tuple[Any, ...]]:
    """A table's rows by name, from both ends where one cannot be read; some may come twice."""
    try:
        yield from old.execute(f"SELECT {columns} FROM {table} ORDER BY {order}")
        return
    except _READ_ERRORS as error:
        lost.append(f"{table}: some rows cannot be read: {error}")
    backwards = ", ".join(f"{column} DESC" for column in order.split(", "))
    try:
        yield from old.execute(f"SELECT {columns} FROM {table} ORDER BY {backwards}")
    except _READ_ERRORS:
        return
