"""Events, read from SQLite: each is held against its hash in the thread that reads it, before anybody sees it.

What is not what was written is a `DamagedEvent`, and so is what is missing between two events of a run. Where a result
breaks off on a damaged page, the rest of it is read one by one, so that one bad page costs only what lies on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import apsw

from towerlog.model.event import DamagedEvent, Event, Logged
from towerlog.model.principal import shard_bounds, shard_key
from towerlog.store.columns import rows
from towerlog.store.columns.order import advanced
from towerlog.store.sqlite.connections.connection import damages_of
from towerlog.store.sqlite.connections.failures import storage_failed
from towerlog.store.sqlite.reads import MAX_INTEGER, marks
from towerlog.store.sqlite.reads import one as first
from towerlog.store.values import PAGE_BODY_BYTES, Found

MAX_LOOKED_THROUGH = 5000
"""Events of a run that are looked through for its last tool calls."""
UNREADABLE = (apsw.CorruptError, apsw.IOError, UnicodeDecodeError)
"""What a row raises that a disk has damaged; other rows of the same table may be whole."""


def events(
    db: apsw.Connection,
    org: int,
    run: int,
    after_seq: int,
    limit: int,
    types: Sequence[str] | None = None,
    known_last: int = 0,
) -> Found[Logged]:
    """A run's events in order. `known_last`: the run has had so many, and those that are not there were lost."""
    wanted = "" if types is None else f" AND type IN ({marks(len(types))})"
    sql = f"SELECT {rows.CHECKED_COLUMNS} FROM event WHERE run = ? AND seq > ?{wanted} ORDER BY seq LIMIT ?"
    keys = "SELECT key, run, seq FROM event WHERE run = ? AND seq > ? ORDER BY seq"

    def behind(seq: int) -> Iterator[Logged]:
        place = (run, min(seq, MAX_INTEGER))
        return _found(db, sql, (*place, *(types or ()), limit), keys, place)

    if types is None:
        found = _with_holes(db, org, run, after_seq, limit, known_last, behind)
    else:
        found = (one for one in behind(after_seq) if isinstance(one, DamagedEvent) or one.type in types)
    return _up_to_a_page(db, org, found, limit)


def events_at(db: apsw.Connection, org: int, run: int, seqs: Sequence[int]) -> dict[int, Logged]:
    """Some events of a run."""
    where, values = f"run = ? AND seq IN ({marks(len(seqs))})", (run, *seqs)
    sql = f"SELECT {rows.CHECKED_COLUMNS} FROM event WHERE {where}"
    found = _found(db, sql, values, f"SELECT key, run, seq FROM event WHERE {where}", values)
    return {one.seq: one for one in _up_to_a_page(db, org, found, len(seqs))}


def feed(db: apsw.Connection, org: int, agent: int, limit: int, after: int | None) -> Found[Logged]:
    """An agent's feed, oldest first."""
    newest_first = after is None
    where = "feed = ? ORDER BY key DESC" if newest_first else "feed = ? AND key > ? ORDER BY key"
    values = (agent,) if after is None else (agent, _event_key(org, after))
    sql = f"SELECT {rows.CHECKED_COLUMNS} FROM event WHERE {where} LIMIT ?"
    found = _found(db, sql, (*values, limit), f"SELECT key, 0, 0 FROM event WHERE {where}", values)
    page = _up_to_a_page(db, org, found, limit)
    if newest_first:
        page.reverse()
    return page


def tool_calls(db: apsw.Connection, run: int, limit: int) -> list[Event]:
    """The last tool calls of a run, oldest first, of its newest MAX_LOOKED_THROUGH events; those that are damaged are
    left out."""
    where = "run = ?1 AND type = 'tool.call' AND seq > (SELECT max(seq) FROM event WHERE run = ?1) - ?2"
    where += " ORDER BY seq DESC LIMIT ?3"
    values = (run, MAX_LOOKED_THROUGH, limit)
    sql = f"SELECT {rows.CHECKED_COLUMNS} FROM event WHERE {where}"
    found = _found(db, sql, values, f"SELECT key, run, seq FROM event WHERE {where}", values)
    return [one for one in found if isinstance(one, Event)][::-1]


def log(db: apsw.Connection, org: int, after: int, limit: int) -> Found[Event]:
    """An organisation's log, as it is stored: whoever verifies it holds it against its hashes."""
    sql = f"SELECT {rows.EVENT_COLUMNS} FROM event WHERE key > ? AND key <= ? ORDER BY key LIMIT ?"
    page: Found[Event] = Found()
    size = 0
    for row in db.execute(sql, (_event_key(org, after), shard_bounds(org)[1], limit)):
        page.append(rows.event_value(row))
        size += len(page[-1].data)
        if size >= PAGE_BODY_BYTES:
            page.cut = True
            break
    return page


def runs_touched(db: apsw.Connection, org: int, after: int, until: int) -> list[int] | None:
    """Runs with events between two positions; None where not every position has its event."""
    sql = "SELECT run, count(*) FROM event WHERE key > ? AND key <= ? GROUP BY run"
    found = list(db.execute(sql, (_event_key(org, after), _event_key(org, until))))
    return [run for run, _ in found] if sum(count for _, count in found) == until - after else None


def _found(
    db: apsw.Connection, sql: str, values: Sequence[Any], keys: str, key_values: Sequence[Any]
) -> Iterator[Logged]:
    """The events of a result, each held against its hash. Where the result breaks off, the rest of them one by one.

    `keys` gives (key, run, seq) of the same events, or of more, in the same order; 0 for what its index does not tell.
    Raises apsw.Error where that fails too: then it is the index that cannot be read.
    """
    keys_seen: list[int] = []
    note = keys_seen.append
    try:
        for row in db.execute(sql, tuple(values)):
            note(row[0])
            yield rows.found_event(row)
        return
    except UNREADABLE as error:
        _note_failure(db, error)
    seen = set(keys_seen)
    for key, run, seq in db.execute(keys, tuple(key_values)):
        if key not in seen:
            yield from _one(db, key, run, seq)


def _one(db: apsw.Connection, key: int, run: int, seq: int) -> Iterator[Logged]:
    """One event whose key an index has; damaged where its row, or the one before it, cannot be read, or is not found:
    a page above the rows leads somewhere else then."""
    try:
        found = False
        for row in db.execute(f"SELECT {rows.CHECKED_COLUMNS} FROM event WHERE key = ?", (key,)):
            found = True
            yield rows.found_event(row)
        if found:
            return
        reason = "an index has it, and the table does not"
    except UNREADABLE as error:
        reason = f"cannot be read: {_told(db, error)}"
    if not run:
        run, seq = _place_of(db, key)
    yield rows.damaged_event(key, run, seq, reason)


def _told(db: apsw.Connection, error: Exception) -> str:
    """Why a row cannot be read: a disk that does not hand it out is no damage of the store."""
    if not isinstance(error, apsw.Error):
        return str(error)
    failed = storage_failed(error, db)
    damages_of(db).note_lack(failed)
    return failed.message


def _place_of(db: apsw.Connection, key: int) -> tuple[int, int]:
    """(run, seq) of an event, as far as that much of its row can be read."""
    try:
        for run, seq in db.execute("SELECT run, seq FROM event WHERE key = ?", (key,)):
            return run, seq
    except UNREADABLE:
        return 0, 0
    return 0, 0


def _note_failure(db: apsw.Connection, error: Exception) -> None:
    if isinstance(error, apsw.Error):
        damages_of(db).note_failure(storage_failed(error, db))


def _with_holes(
    db: apsw.Connection,
    org: int,
    run: int,
    after_seq: int,
    limit: int,
    known_last: int,
    behind: Callable[[int], Iterator[Logged]],
) -> Iterator[Logged]:
    """A run's events after a seq, and in its place what is missing among them and after them, unless it was trimmed.

    Up to where a run was trimmed is asked after its events: a trim may come between the two. Each turn comes further
    than the one before, or is the last: an index may have events that nothing can be read of.
    """
    last = start = after_seq
    while True:
        count, reached = 0, last
        for one in behind(start):
            count += 1
            if one.seq == last + 1 and not isinstance(one, DamagedEvent):  # nearly all
                last += 1
                yield one
                continue
            begins = one.first_seq if isinstance(one, DamagedEvent) else one.seq
            known = last if begins <= last + 1 else max(last, _trimmed_to(db, run))
            if begins > known + 1:
                yield DamagedEvent(org, 0, run, begins - 1, known + 1, "not there")
            last = max(last, one.seq)
            yield one
        if count >= limit or last >= known_last:
            return
        if count and start > after_seq:
            advanced("event", reached, last)
        last = max(last, _trimmed_to(db, run))
        if last >= known_last:
            return
        comes_further = last > reached or start == after_seq
        found = _next_start(db, run, last, known_last) if comes_further else None
        if found is None:
            yield DamagedEvent(org, 0, run, known_last, last + 1, "not there")
            return
        start = found


def _next_start(db: apsw.Connection, run: int, last: int, known_last: int) -> int | None:
    """Where an index that was changed finds events of the run again; None where it does not."""
    step = 1
    while last + step < known_last:
        if first(db, "SELECT 1 FROM event WHERE run = ? AND seq > ? LIMIT 1", (run, last + step)) is not None:
            return last + step
        step *= 2
    return None


def _trimmed_to(db: apsw.Connection, run: int) -> int:
    """The last event of a run that is gone for a reason; 0 where none is."""
    return first(db, "SELECT seq FROM trim WHERE run = ?", (run,)) or 0


def _up_to_a_page(db: apsw.Connection, org: int, found: Iterable[Logged], limit: int) -> Found[Logged]:
    """So many of them, or fewer whose bodies fill a page; at least one where there is one."""
    page: Found[Logged] = Found()
    size = 0
    for one in islice(found, limit):
        if isinstance(one, DamagedEvent):
            damages_of(db).note(one)
        elif one.org != org:
            # Callers take the number of a run or an agent from a row of the same organisation; this is the second wall.
            continue
        else:
            size += len(one.data)
        page.append(one)
        if size >= PAGE_BODY_BYTES:
            page.cut = True
            break
    return page


def feed_start(db: apsw.Connection, org: int, agent: int, tail: int) -> int | None:
    """The position of the oldest of the newest `tail` events of a feed; None for an empty feed."""
    sql = "SELECT min(key) FROM (SELECT key FROM event WHERE feed = ? ORDER BY key DESC LIMIT ?)"
    key = first(db, sql, (agent, tail))
    return None if key is None else key - shard_bounds(org)[0]


def _event_key(org: int, position: int) -> int:
    return shard_key(org, min(position, (1 << 40) - 1))
