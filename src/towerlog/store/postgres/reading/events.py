"""Events: each is held against its hash before anybody sees it.

An event is put together from its place and from what its month has of it. What is not what was written is a
`DamagedEvent`, and so is what is missing between two events of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from towerlog.model.chain import SPELLED_BYTES
from towerlog.model.content import same_json
from towerlog.model.event import DamagedEvent, Event, Logged
from towerlog.model.principal import SHARD_BITS, shard_org
from towerlog.model.tombstone import erased_id
from towerlog.store.columns import rows
from towerlog.store.compression import Packer, unpacked_bytes
from towerlog.store.lookup_keys import Respelled
from towerlog.store.postgres.connections import MAX_PARAMETER, Db, told_text
from towerlog.store.values import PAGE_BODY_BYTES, Found

MAX_LOOKED_THROUGH = 5000
"""Events of a run that are looked through for its last tool calls."""
MAX_COMPARED_BYTES = 2 * SPELLED_BYTES
"""A stored body that is longer is none of a repeat that may be spelled in another way."""
KEY = f"(place.org << {SHARD_BITS} | place.position)"


def joined(body: str = "data", flags: str = "flags") -> str:
    """The columns of `rows.EVENT_COLUMNS` from `place` and its `told`, which `TOLD` adds."""
    return (
        f"{KEY}, place.run, place.seq, told.type, place.recorded_at, told.occurred_at, told.dialect, place.event_id,"
        f" told.agent, told.feed, {flags}, place.hash, told.facts, {body}, told.content"
    )


# A lookup for each place and its month alone, whatever the planner thinks of either table.
TOLD = (
    " LEFT JOIN LATERAL (SELECT type, occurred_at, dialect, agent, feed, flags, facts, data, content FROM event"
    " WHERE event.org = place.org AND event.position = place.position AND event.recorded_at = place.recorded_at"
    " OFFSET 0) AS told ON true"
)
BEFORE = (
    "coalesce((SELECT before.hash FROM place AS before WHERE before.org = place.org AND before.run = place.run"
    " AND before.seq = place.seq - 1), (SELECT trim.hash FROM trim WHERE trim.org = place.org"
    " AND trim.run = place.run AND trim.seq = place.seq - 1))"
)
"""What an event's own hash covers beside it: the hash before it in its run, which a trim leaves."""
CHECKED_COUNT, DATA = 16, 13
"""Columns of an event with what it is checked with, and the place of its body among them."""


def _page(where: str, order: str, limit: str) -> str:
    """Events with what they are checked with, until their bodies as stored fill a page. `order`: of places."""
    size = f"sum(length(told.data)) OVER (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    inner = f"SELECT {joined()}, {BEFORE}, coalesce({size}, 0) FROM place{TOLD} WHERE {where} ORDER BY {order}"
    columns = ", ".join(f"c{index}" for index in range(CHECKED_COUNT + 1))
    return (
        f"SELECT * FROM ({inner} LIMIT {limit}) AS page ({columns})"
        f" WHERE c{CHECKED_COUNT} < {PAGE_BODY_BYTES} ORDER BY c0{' DESC' if order.endswith(' DESC') else ''}"
    )


_OF_RUN = "place.org = $1 AND place.run = $2 AND place.seq > $3"
_EVENTS = _page(_OF_RUN, "place.seq", "$4")
_EVENTS_OF_TYPES = _page(f"{_OF_RUN} AND told.type = ANY($5::text[])", "place.seq", "$4")
_EVENTS_AT = _page("place.org = $1 AND place.run = $2 AND place.seq = ANY($3::bigint[])", "place.seq", "$4")


async def events(
    db: Db,
    org: int,
    run: int,
    after_seq: int,
    limit: int,
    types: Sequence[str] | None = None,
    known_last: int = 0,
) -> Found[Logged]:
    """A run's events in order. `known_last`: the run has had so many, and those that are not there were lost."""
    after_seq = min(after_seq, MAX_PARAMETER)
    if types is not None:
        found = await db.rows(_EVENTS_OF_TYPES, org, run, after_seq, limit, list(types))
        return _up_to_a_page(db, map(_found, found), limit)
    found = await db.rows(_EVENTS, org, run, after_seq, limit)
    is_whole = not found or found[-1][2] == after_seq + len(found)
    # Events that are known of and did not come although there was room for them.
    is_all = len(found) >= limit or after_seq + len(found) >= known_last or _is_full(found)
    if is_whole and is_all:
        return _up_to_a_page(db, map(_found, found), limit)
    # Asked after the events: a trim may come between the two.
    trimmed = await db.value("SELECT seq FROM trim WHERE org = $1 AND run = $2", org, run) or 0
    gone = _with_holes(org, run, max(after_seq, trimmed), 0 if is_all else known_last, map(_found, found))
    return _up_to_a_page(db, gone, limit)


def _is_full(found: Sequence[rows.Row]) -> bool:
    """Whether more may be there than has room in a page."""
    return bool(found) and found[-1][CHECKED_COUNT] + len(found[-1][DATA] or b"") >= PAGE_BODY_BYTES


def _with_holes(org: int, run: int, last: int, known_last: int, found: Iterable[Logged]) -> Iterator[Logged]:
    """The events after a seq, and in its place what is missing among them and after them."""
    for one in found:
        if one.seq > last + 1:
            yield DamagedEvent(org, 0, run, one.seq - 1, last + 1, "not there")
        last = max(last, one.seq)
        yield one
    if last < known_last:
        yield DamagedEvent(org, 0, run, known_last, last + 1, "not there")


async def events_at(db: Db, org: int, run: int, seqs: Sequence[int]) -> dict[int, Logged]:
    """Some events of a run."""
    found = await db.rows(_EVENTS_AT, org, run, list(seqs), len(seqs))
    return {one.seq: one for one in _up_to_a_page(db, map(_found, found), len(seqs))}


_FED = "SELECT position FROM event WHERE org = $1 AND feed = $2 AND position > $3 ORDER BY position{} LIMIT $4"
_FEED = _page(f"place.org = $1 AND place.position = ANY(ARRAY({_FED.format('')}))", "place.position", "$4")
_FEED_NEWEST = _page(
    f"place.org = $1 AND place.position = ANY(ARRAY({_FED.format(' DESC')}))", "place.position DESC", "$4"
)


async def feed(db: Db, org: int, agent: int, limit: int, after: int | None) -> Found[Logged]:
    """An agent's feed, oldest first."""
    if after is not None:
        found = await db.rows(_FEED, org, agent, min(after, MAX_PARAMETER), limit)
        return _up_to_a_page(db, map(_found, found), limit)
    found = await db.rows(_FEED_NEWEST, org, agent, 0, limit)
    page = _up_to_a_page(db, map(_found, found), limit)
    page.reverse()
    return page


async def feed_start(db: Db, org: int, agent: int, tail: int) -> int | None:
    """The position of the oldest of the newest `tail` events of a feed; None for an empty feed."""
    some = "SELECT position FROM event WHERE org = $1 AND feed = $2 ORDER BY position DESC LIMIT $3"
    found: int | None = await db.value(f"SELECT min(position) FROM ({some}) AS newest", org, agent, tail)
    return found


_CALLS = _page(
    "place.org = $1 AND place.run = $2 AND told.type = 'tool.call'"
    " AND place.seq > (SELECT max(seq) FROM place WHERE org = $1 AND run = $2) - $3",
    "place.seq DESC",
    "$4",
)


async def tool_calls(db: Db, run: int, limit: int) -> list[Event]:
    """The last tool calls of a run, oldest first, of its newest MAX_LOOKED_THROUGH events; those that are damaged are
    left out."""
    found = map(_found, await db.rows(_CALLS, shard_org(run), run, MAX_LOOKED_THROUGH, limit))
    return [one for one in found if isinstance(one, Event)][::-1]


_LOG = _page("place.org = $1 AND place.position > $2", "place.position", "$3")


async def log(db: Db, org: int, after: int, limit: int) -> Found[Event]:
    """An organisation's log, as it is stored: whoever verifies it holds it against its hashes."""
    page: Found[Event] = Found()
    size = 0
    for row in await db.rows(_LOG, org, min(after, MAX_PARAMETER), min(limit, MAX_PARAMETER)):
        page.append(rows.event_value(_texts(row)[: CHECKED_COUNT - 1]))
        size += len(page[-1].data)
        if size >= PAGE_BODY_BYTES:
            page.cut = True
            break
    return page


async def logged(db: Db, org: int, after: int, limit: int) -> Found[Logged]:
    """The same, each event held against its hash, for whoever shows them."""
    found = await db.rows(_LOG, org, min(after, MAX_PARAMETER), min(limit, MAX_PARAMETER))
    return _up_to_a_page(db, map(_found, found), limit)


async def runs_touched(db: Db, org: int, after: int, until: int) -> list[int] | None:
    """Runs with events between two positions; None where not every position has its event."""
    sql = "SELECT run, count(*) FROM place WHERE org = $1 AND position > $2 AND position <= $3 GROUP BY run"
    found = await db.rows(sql, org, min(after, MAX_PARAMETER), min(until, MAX_PARAMETER))
    return [row[0] for row in found] if sum(row[1] for row in found) == until - after else None


def by_id(db: Db, row: rows.Row) -> Logged:
    """An event without its data: whether it is a repeat is known by the digest. What is not read cannot be held against
    its hash: nothing of it is shown but its place."""
    values = _texts(row)
    try:
        return rows.event_value(values)
    except rows.UNDECODABLE as error:
        damaged = rows.damaged_event(values[0], values[1], values[2], f"cannot be read: {error}")
        db.damages.note(damaged)
        return damaged


def ids_of(event_id: str) -> tuple[str, str]:
    """What an event of this id may be kept under."""
    return event_id, erased_id(event_id)


async def says_the_same(db: Db, repeat: Respelled) -> bool | None:
    """True when the event of this id says the same JSON as the text; None when it does not, or cannot be read."""
    sql = (
        "SELECT flags, data FROM place JOIN event USING (org, position, recorded_at)"
        " WHERE org = $1 AND run = $2 AND event_id = $3 AND length(data) <= $4"
    )
    row = await db.row(sql, shard_org(repeat.run), repeat.run, repeat.event_id, MAX_COMPARED_BYTES)
    if row is None:
        return None
    flags, data = row
    try:
        if flags & rows.PACKED and unpacked_bytes(data) > MAX_COMPARED_BYTES:
            return None
        text = Packer().unpack(data) if flags & rows.PACKED else data
        return same_json(text, repeat.text, repeat.added) or None
    except rows.UNDECODABLE:
        return None


def _found(row: rows.Row) -> Logged:
    return rows.found_event(_texts(row)[:CHECKED_COUNT])


def _texts(row: rows.Row) -> rows.Row:
    """A row whose texts are as they were written."""
    values = tuple(row)
    event_id = values[7]
    return values if event_id is None else (*values[:7], told_text(event_id), *values[8:])


def _up_to_a_page(db: Db, found: Iterable[Logged], limit: int) -> Found[Logged]:
    """So many of them, or fewer whose bodies fill a page; at least one where there is one."""
    page: Found[Logged] = Found()
    size = 0
    for one in found:
        if len(page) >= limit:
            break
        if isinstance(one, DamagedEvent):
            db.damages.note(one)
        else:
            size += len(one.data)
        page.append(one)
        if size >= PAGE_BODY_BYTES:
            page.cut = True
            break
    return page
