"""Whether SQLite's own structures are whole: pages, indexes against their tables, what may stand there only once.

An index that disagrees with its table hides rows from whoever looks them up: an event id could be stored twice. Rows
are named as people look them up, as far as the row can still be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import apsw

from towerlog.model.principal import SHARD_BITS
from towerlog.store.migrate import load_migrations
from towerlog.store.sqlite.connections.connection import damages_of
from towerlog.store.sqlite.connections.failures import storage_failed, unread_in
from towerlog.store.sqlite.connections.schema import made_by, objects_of
from towerlog.store.sqlite.connections.store_notes import note_faults
from towerlog.store.sqlite.reads import one as first

UNREADABLE = (apsw.Error, UnicodeDecodeError)
"""What a place raises that a disk has damaged: text there may be none."""
MAX_STRUCTURE_FAULTS = 100
"""Faults of SQLite's structures that are named; a page that is gone has one for each of its rows."""
_ROW = re.compile(r"row (\d+) missing from index (\w+)|non-unique entry in index (\w+)")
_NO_FAULT = ("ok", "*** in database main ***")
_TREE = re.compile(r"Tree (\d+) ")
_NUMBER_MASK = (1 << SHARD_BITS) - 1
_UNIQUE = {
    # By the table alone: the index that should have refused the second one may be what is damaged.
    "event id": (
        "SELECT +run, +event_id, count(*), max(seq) FROM event NOT INDEXED WHERE event_id IS NOT NULL"
        " GROUP BY +run, +event_id HAVING count(*) > 1"
    ),
    "foreign id": (
        "SELECT +org, +foreign_id, count(*), max(run) FROM run NOT INDEXED WHERE foreign_id IS NOT NULL"
        " GROUP BY +org, +foreign_id HAVING count(*) > 1"
    ),
}


def structure_faults(db: apsw.Connection) -> list[str]:
    """What is wrong with the database below its rows; empty for nothing. Reads all of it."""
    faults = [_named(db, str(found)) for found in _integrity(db) if found not in _NO_FAULT]
    faults += _schema_faults(db)
    faults += note_faults(db)
    # Where the unique index of event ids is as its table, that proves it; to sort all of them takes long.
    for noun, sql in _UNIQUE.items():
        if faults or noun != "event id":
            faults += _repeated(db, noun, sql)
    unread = unread_in(faults, db)
    if unread is not None:
        damages_of(db).note_lack(unread)
    return faults


def _integrity(db: apsw.Connection) -> Iterator[str]:
    try:
        for (found,) in db.execute(f"PRAGMA integrity_check({MAX_STRUCTURE_FAULTS})"):
            yield from str(found).split("\n")
    except UNREADABLE as error:
        yield f"the check of the database broke off: {_words(db, error)}"


def _words(db: apsw.Connection, error: Exception) -> str:
    """SQLite's, or what a disk that has failed a read says; that is told to who asks as well."""
    if not isinstance(error, apsw.Error):
        return str(error)
    failed = storage_failed(error, db)
    damages_of(db).note_lack(failed)
    return failed.message if failed.is_unread else str(error)


def _named(db: apsw.Connection, found: str) -> str:
    """SQLite's words, with the row that they are about named for people."""
    row = _ROW.search(found)
    if found.startswith("Tree "):
        return f"the database file: {_of_tree(db, found)}"
    if row is None or row[1] is None or not row[2].startswith(("event_", "run_")):
        return f"the database file: {found}"
    place = _place_of_row(db, row[2].partition("_")[0], int(row[1]))
    return f"{place}: is missing from the index {row[2]}, so that it is not found by it"


def _of_tree(db: apsw.Connection, found: str) -> str:
    """SQLite's words about a tree, which it calls by its first page, with the name of its table or index."""
    number = _TREE.match(found)
    sql = "SELECT type || ' ' || name FROM sqlite_schema WHERE rootpage = ?"
    try:
        name = None if number is None else first(db, sql, (int(number[1]),))
    except UNREADABLE:
        name = None
    return found if name is None else f"{name}: {found}"


def _place_of_row(db: apsw.Connection, table: str, ordinal: int) -> str:
    """A row by how many come before it in its table, which is how SQLite names it."""
    number = {"event": "key", "run": "run"}[table]
    try:
        sql = f"SELECT {number} FROM {table} NOT INDEXED ORDER BY {number} LIMIT 1 OFFSET ?"
        key = int(str(db.execute(sql, (ordinal - 1,)).get))
    except (*UNREADABLE, ValueError):
        return f"row {ordinal} of {table}"
    return _place_of_event(db, key) if table == "event" else _place_of_run(db, key)


def _place_of_event(db: apsw.Connection, key: int) -> str:
    try:
        for run, seq in db.execute("SELECT run, seq FROM event NOT INDEXED WHERE key = ?", (key,)):
            return f"position {key & _NUMBER_MASK}: seq {seq} of {_place_of_run(db, run)}"
    except UNREADABLE:
        return f"position {key & _NUMBER_MASK}: an event that cannot be read"
    return f"position {key & _NUMBER_MASK}"


def _place_of_run(db: apsw.Connection, run: int) -> str:
    try:
        for (run_id,) in db.execute("SELECT run_id FROM run NOT INDEXED WHERE run = ?", (run,)):
            return f"run {run_id}"
    except UNREADABLE:
        return f"run number {run & _NUMBER_MASK}, whose row cannot be read"
    return f"run number {run & _NUMBER_MASK}"


def _schema_faults(db: apsw.Connection) -> list[str]:
    """Tables and indexes that are not as the migrations make them."""
    try:
        found = objects_of(db)
    except UNREADABLE as error:
        return [f"the database file: its schema cannot be read: {_words(db, error)}"]
    return [
        f"the database file: {key[1]} is {'missing' if key not in found else 'not as this version makes it'}"
        for key, sql in made_by(tuple(load_migrations("sqlite"))).items()
        if found.get(key) != sql
    ]


def _repeated(db: apsw.Connection, noun: str, sql: str) -> list[str]:
    try:
        found = list(db.execute(f"{sql} LIMIT {MAX_STRUCTURE_FAULTS}"))
    except UNREADABLE as error:
        return [f"the database file: whether each {noun} is there once cannot be told: {_words(db, error)}"]
    faults = []
    for owner, text, count, last in found:
        where = _place_of_run(db, owner) if noun == "event id" else f"organisation {owner}"
        which = f"seq {last}" if noun == "event id" else _place_of_run(db, last)
        faults.append(f"{where}: the {noun} {text!r} is there {count} times, last as {which}")
    return faults
