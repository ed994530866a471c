"""An SQLite store as it is given to another backend: every row in the form of `columns/tables`. Must not write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import apsw

from towerlog.model import folds
from towerlog.model.principal import SHARD_BITS
from towerlog.store.columns.moving import PAGE_BYTES, PAGE_ROWS, Row
from towerlog.store.columns.tables import METAS, TABLES, Table
from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.failures import named, storage_failed, text_damaged
from towerlog.store.sqlite.upkeep.matching_files import check_whole

_MASK = (1 << SHARD_BITS) - 1
_ORG_OF_RUN = {"org": f"run >> {SHARD_BITS}"}


class _Kept(NamedTuple):
    """Where a table's rows lie here, where that is not under its own names."""

    key: str = ""
    """Columns by which its rows are told apart here, led by an index; as the table's key, if empty."""
    of: Mapping[str, str] = {}
    """Column → what it is here."""
    table: str = ""


_KEPT: Mapping[str, _Kept] = {
    "org_user": _Kept(table="user"),
    "audit_entry": _Kept("key", {"number": f"key & {_MASK}"}),
    "event": _Kept("key", {"org": f"key >> {SHARD_BITS}", "position": f"key & {_MASK}"}),
    "trim": _Kept("run", _ORG_OF_RUN),
    "run": _Kept("run"),
    "run_text": _Kept("run"),
    "agent": _Kept("agent"),
    "checkpoint": _Kept("run, agent, step_index"),
    "approval": _Kept("run, seq"),
    "message": _Kept("message", {"number": "message"}),
    "node": _Kept("node", {"number": "node"}),
    "meta_list": _Kept("meta_list", {"number": "meta_list"}),
    "cancel_spread": _Kept("run"),
    "erasing": _Kept("run"),
    "lane": _Kept("run"),
    "quarantine": _Kept("run, number", _ORG_OF_RUN),
}


class Departure:
    """A store that is read for its move. Made by `departing`; what cannot be read raises StorageFailed."""

    def __init__(self, db: apsw.Connection) -> None:
        """Needs an open transaction: all reads see one snapshot."""
        self._db = db

    def fingerprint(self) -> str:
        """The name of the log that was written last, and how far each organisation is."""
        meta = self._db.execute("SELECT name, value FROM meta WHERE name IN ('epoch', 'log') ORDER BY name").fetchall()
        orgs = self._db.execute("SELECT org, position, audited FROM org ORDER BY org").fetchall()
        return repr((meta, orgs))

    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        names = {table.name: _KEPT.get(table.name, _Kept()).table or table.name for table in TABLES}
        return {name: int(self._db.execute(f"SELECT count(*) FROM {here}").get) for name, here in names.items()}

    def page(self, table: Table, after: Row | None) -> tuple[list[Row], Row | None]:
        """The next rows, and behind which key they end; None for the last ones."""
        kept = _KEPT.get(table.name, _Kept())
        key = kept.key or ", ".join(table.key)
        columns = ", ".join(kept.of.get(name, name) for name in table.columns)
        where = "" if after is None else f" WHERE ({key}) > ({', '.join('?' * len(after))})"
        sql = f"SELECT {key}, {columns} FROM {kept.table or table.name}{where} ORDER BY {key} LIMIT {PAGE_ROWS}"
        width = key.count(",") + 1
        rows: list[Row] = []
        size = 0
        with _told():
            for found in self._db.execute(sql, after or ()):
                rows.append(found[width:])
                size += sum(len(value) for value in found if isinstance(value, str | bytes))
                if size >= PAGE_BYTES or len(rows) == PAGE_ROWS:
                    return rows, found[:width]
        return rows, None

    def metas(self) -> dict[str, str]:
        """What is known of the store as a whole."""
        found = {str(row[0]): str(row[1]) for row in self._db.execute("SELECT name, value FROM meta")}
        return {name: value for name, value in found.items() if name in METAS or name.startswith(f"{folds.NOTE}:")}


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise storage_failed(error, None) from error
    except UnicodeDecodeError as error:
        raise text_damaged(error) from error


@contextmanager
def departing(path: Path) -> Iterator[Departure]:
    """The store at `path`, whose writer's place the caller holds. Raises SchemaMismatch, StoreTorn, StorageFailed."""
    check_whole(path)
    with named(path), _told():
        db = files.open_connection(path, read_only=True)
    try:
        with named(path):
            files.check_schema(db)
            db.execute("BEGIN")
            yield Departure(db)
    finally:
        db.close()
