"""Where a store arrives that moves here: pages of rows as `columns/tables` has them, as this backend keeps them.

A row of `meta` says that a move is under way and how far it is. While it is there nobody else opens the database.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import NamedTuple

import asyncpg
import msgspec

from towerlog.errors import SchemaMismatch, StorageFailed, StoreLocked
from towerlog.model.audit import AuditEntry
from towerlog.store.columns import rows, state
from towerlog.store.columns.moving import Reached, Row
from towerlog.store.columns.tables import TABLES, Table
from towerlog.store.damage import Damages
from towerlog.store.postgres import connections, schema
from towerlog.store.postgres.connections import Db, sendable
from towerlog.store.postgres.failures import storage_errors
from towerlog.store.postgres.reading.run_columns import COLUMNS as RUN_COLUMNS
from towerlog.store.postgres.reading.run_columns import run_columns
from towerlog.store.postgres.subjects import audit
from towerlog.store.postgres.subjects.people import KEY, LINK, SESSION
from towerlog.store.postgres.times import OwnTimes
from towerlog.store.postgres.upkeep.presence import take_alone

_CONTENTS = ("message", "node", "meta_list")
Rows = Sequence[Row]


class _Part(NamedTuple):
    """What of a table's rows is kept in a table here."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    of: Callable[[Row], Row] = lambda row: row


def _picked(table: Table, columns: str) -> tuple[tuple[str, ...], Callable[[Row], Row]]:
    names = tuple(columns.split(", "))
    places = [table.columns.index(name) for name in names]
    return names, lambda row: tuple(row[place] for place in places)


def _event(table: Table) -> list[_Part]:
    place, of_place = _picked(table, "org, run, seq, position, recorded_at, event_id, hash")
    told, of_told = _picked(
        table, "org, position, recorded_at, type, occurred_at, dialect, agent, feed, flags, facts, data, content"
    )
    return [
        _Part("place", place, ("org", "position"), of_place),
        _Part("event", told, ("org", "position", "recorded_at"), of_told),
    ]


def _org(table: Table) -> list[_Part]:
    org, of_org = _picked(table, "org, org_id, name, created_at")
    count, of_count = _picked(table, "org, position, runs, agents, audited, audit_hash")
    return [_Part("org", org, table.key, of_org), _Part("org_count", count, table.key, of_count)]


def _run(table: Table) -> list[_Part]:
    def of_run(row: Row) -> Row:
        return (*run_columns(rows.decode_run(row[-1]))[:-1], row[-1])

    return [_Part("run", tuple(name for name, _ in RUN_COLUMNS), table.key, of_run)]


def _budget(table: Table) -> list[_Part]:
    def of_budget(row: Row) -> Row:
        return (*row, state.decode_budget(row[-1]).period_start)

    return [_Part("budget", (*table.columns, "period_start"), table.key, of_budget)]


def _with_credential(kind: int) -> Callable[[Table], list[_Part]]:
    def parts(table: Table) -> list[_Part]:
        org, digest = table.columns.index("org"), table.columns.index("digest")
        names = ("digest", "kind", "org")
        return [
            _Part(table.name, table.columns, table.key),
            _Part("credential", names, names[:2], lambda row: (row[digest], kind, row[org])),
        ]

    return parts


_KEPT: Mapping[str, Callable[[Table], list[_Part]]] = {
    "org": _org,
    "event": _event,
    "run": _run,
    "budget": _budget,
    "api_key": _with_credential(KEY),
    "session": _with_credential(SESSION),
    "sign_in_link": _with_credential(LINK),
}
"""Tables that are not kept as they come."""


def parts_of(table: Table) -> list[_Part]:
    """What becomes of a table; the first part has a row for each of its rows."""
    return _KEPT[table.name](table) if table.name in _KEPT else [_Part(table.name, table.columns, table.key)]


class _Mark(msgspec.Struct, frozen=True):
    """What is noted of a move."""

    source: str
    """Its fingerprint."""
    table: str = ""
    after: str = ""
    """The last row's key, packed; empty for none."""
    rows: int = 0


class Arrival:
    """A database that a store moves into. Made by `arriving`; errors of the driver leave as ours."""

    def __init__(self, db: Db, mark: _Mark, kinds: Mapping[str, Mapping[str, str]]) -> None:
        """`kinds`: the types of all columns."""
        self._db = db
        self._mark = mark
        self._kinds = kinds
        after = msgspec.msgpack.decode(base64.b64decode(mark.after)) if mark.after else None
        self.reached = Reached(mark.table, None if after is None else tuple(after), mark.rows)

    async def take(self, table: Table, given: list[Row], reached: Reached) -> None:
        """Writes a page and how far the move is with it, in one transaction."""
        after = "" if reached.after is None else base64.b64encode(msgspec.msgpack.encode(reached.after)).decode()
        mark = _Mark(self._mark.source, reached.table, after, reached.rows)
        connection = self._db.connection
        with storage_errors(), _unfit_rows(table):
            if table.name == "event":
                when = table.columns.index("recorded_at")
                await schema.make_months(connection, {schema.month_of(row[when]) for row in given})
            async with connection.transaction():
                for part in parts_of(table):
                    await connection.copy_records_to_table(
                        part.name, records=self._records(part, given), columns=part.columns
                    )
                await write_mark(self._db, schema.MOVING, mark)
        self._mark, self.reached = mark, reached

    def _records(self, part: _Part, given: Rows) -> list[Row]:
        """Rows as the driver sends them: truth as such, no zero characters."""
        kinds = self._kinds[part.name]
        truths = {index for index, name in enumerate(part.columns) if kinds[name] == "boolean"}
        return [
            tuple(bool(value) if index in truths else sendable(value) for index, value in enumerate(part.of(row)))
            for row in given
        ]

    async def differing(self, table: Table, given: list[Row]) -> int:
        """How many of these rows are not there, or are there otherwise."""
        with storage_errors(), _unfit_rows(table):
            return max([await self._differing(part, given) for part in parts_of(table)])

    async def _differing(self, part: _Part, given: Rows) -> int:
        kinds = self._kinds[part.name]
        wanted = self._records(part, given)
        places = [part.columns.index(name) for name in part.key]
        lists = ", ".join(f"${number}::{kinds[name]}[]" for number, name in enumerate(part.key, 1))
        names = ", ".join(part.key)
        columns = ", ".join(f"kept.{name}" for name in part.columns)
        found = await self._db.rows(
            f"SELECT {columns} FROM unnest({lists}) AS wanted ({names}) JOIN {part.name} AS kept USING ({names})",
            *([row[place] for row in wanted] for place in places),
        )
        there = {tuple(row[place] for place in places): tuple(row) for row in found}
        return sum(there.get(tuple(row[place] for place in places)) != row for row in wanted)

    async def count(self, table: Table) -> int:
        """Rows of a table."""
        with storage_errors():
            counts = [await self._db.value(f"SELECT count(*) FROM {part.name}") for part in parts_of(table)[:1]]
        return int(counts[0])

    async def finish(self, metas: Mapping[str, str], told: Iterable[AuditEntry]) -> None:
        """From now on it is a store like any other. `told`: what its audit says of that."""
        newest = ", ".join(
            f"(SELECT max(number) FROM {table} WHERE {table}.org = org_count.org)" for table in _CONTENTS
        )
        with storage_errors():
            async with self._db.connection.transaction():
                await self._db.do(f"UPDATE org_count SET contents = coalesce(greatest({newest}), 0)")
                keep = "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
                await self._db.each(keep, metas.items())
                await audit.write(self._db, told)
                await self._db.do("DELETE FROM meta WHERE name = $1", schema.MOVING)


@contextmanager
def _unfit_rows(table: Table) -> Iterator[None]:
    """A row that was damaged where it comes from can raise anything. Raises StorageFailed."""
    try:
        yield
    except (*rows.UNDECODABLE, asyncpg.DataError) as error:
        raise StorageFailed(
            f"a row of the table {table.name} cannot be moved, see `towerlog verify`: {error}"
        ) from error


async def write_mark(db: Db, name: str, mark: msgspec.Struct) -> None:
    """Notes in the transaction that is open that something is under way, and how far it is."""
    sql = "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    await db.do(sql, name, _written(mark))


def _written(mark: msgspec.Struct) -> str:
    return msgspec.json.encode(mark).decode()


@asynccontextmanager
async def arriving(url: str, fingerprint: str) -> AsyncIterator[Arrival]:
    """The database at `url`, for a store with this fingerprint: an empty one, or one in which its move has broken off.

    Raises SchemaMismatch where other data is in it, StoreLocked where somebody has it open, StorageFailed, Overloaded.
    """
    async with AsyncExitStack() as ending:
        with storage_errors():
            connection = await connections.connect(url, {})
            ending.push_async_callback(connection.close)
        await schema.check_durable(connection)
        await schema.migrate(connection, (schema.MOVING, _written(_Mark(fingerprint))))
        db = Db(connection, Damages(lambda: 0, is_logged=False), OwnTimes())
        with storage_errors():
            if not await take_alone(db):
                raise StoreLocked("a server or a command has the target open: stop it first")
            mark = await _begun(db, fingerprint)
            kinds = await _kinds(db)
        yield Arrival(db, mark, kinds)


async def _begun(db: Db, fingerprint: str) -> _Mark:
    """What is noted of this source's move; noted anew in an empty database."""
    name = await db.value("SELECT current_database()")
    found = await db.value("SELECT value FROM meta WHERE name = $1", schema.MOVING)
    if found is not None:
        mark = msgspec.json.decode(str(found), type=_Mark)
        if mark.source != fingerprint and mark.rows:
            raise SchemaMismatch(
                f"the database {name} has a part of another store, or of this one before something was written to it:"
                " begin anew with an empty database"
            )
        if mark.source == fingerprint:
            return mark
    for part in [part for table in TABLES for part in parts_of(table)]:
        if await db.value(f"SELECT EXISTS (SELECT 1 FROM {part.name})"):
            raise SchemaMismatch(
                f"the database {name} has data already (in {part.name}): a store moves into an empty one"
            )
    mark = _Mark(fingerprint)
    await write_mark(db, schema.MOVING, mark)
    return mark


async def _kinds(db: Db) -> dict[str, dict[str, str]]:
    sql = (
        "SELECT relname, attname, format_type(atttypid, NULL) FROM pg_attribute JOIN pg_class"
        " ON pg_class.oid = attrelid WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
        " AND attnum > 0 AND NOT attisdropped"
    )
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in await db.rows(sql):
        found.setdefault(str(table), {})[str(column)] = str(kind)
    return found
