"""Lanes: lists and counts, and the lanes that a worker may claim among any that it may not.

A run's labels must all be among the worker's. The queue is walked by an index from one set of labels to the next, in
the database, and only sets whose labels are all wanted are looked into: a claim costs what the different sets cost,
however many lanes are queued. Times of rows are on the shared clock, those of values on this node's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from towerlog.model.lane import Lane
from towerlog.model.run import Status
from towerlog.store.columns import rows
from towerlog.store.postgres.connections import MAX_PARAMETER, Db
from towerlog.store.postgres.per_org import each_org
from towerlog.store.postgres.times import moved_lane
from towerlog.store.values import Found, Quarantined

_DIGITS = rows.LABEL_DIGITS


def _sets(of: str) -> str:
    """Sets of labels that lanes wait with, one seek each."""
    first = f"SELECT label_set FROM lane WHERE org = $1 AND state = 'queued'{of} ORDER BY label_set LIMIT 1"
    following = (
        f"SELECT label_set FROM lane WHERE org = $1 AND state = 'queued'{of} AND label_set > sets.label_set"
        " ORDER BY label_set LIMIT 1"
    )
    return (
        f"WITH RECURSIVE sets (label_set) AS (({first})"
        f" UNION ALL SELECT ({following}) FROM sets WHERE label_set IS NOT NULL)"
    )


def _heads(of: str) -> str:
    """The first lanes of each set whose labels are all among `$2`, at most `$3` of a set."""
    # No digit but those of wanted digests, in places of their length.
    fits = (
        "NOT EXISTS (SELECT 1 FROM generate_series(1, length(sets.label_set), $4::integer) AS at"
        " WHERE substr(sets.label_set, at, $4::integer) <> ALL($2::text[]))"
    )
    return (
        f"{_sets(of)} SELECT head.doc FROM sets CROSS JOIN LATERAL (SELECT doc, queue_position FROM lane"
        f" WHERE org = $1 AND state = 'queued'{of} AND lane.label_set = sets.label_set"
        " ORDER BY queue_position LIMIT $3) AS head"
        f" WHERE sets.label_set IS NOT NULL AND {fits} ORDER BY head.queue_position LIMIT $3"
    )


_HEADS, _HEADS_FOR = _heads(""), _heads(" AND agent = $5")


async def lanes_claimable(
    db: Db, org: int, agents: Collection[str] | None, labels: Mapping[str, str], now_ms: int, limit: int
) -> list[Lane]:
    """The oldest queued lanes that fit; behind them, as far as there is room, held ones that ran out."""
    wanted = rows.label_digests(labels)
    docs: list[bytes] = []
    if agents is None:
        docs += [row[0] for row in await db.rows(_HEADS, org, wanted, limit, _DIGITS)]
    else:
        for agent in sorted(set(agents)):
            docs += [row[0] for row in await db.rows(_HEADS_FOR, org, wanted, limit, _DIGITS, agent)]
    # The digests are short: two sets may share a name, though nobody will ever see it.
    heads = [lane for lane in _lanes(db, docs) if lane.may_be_taken_by(None, labels)]
    found = sorted(heads, key=lambda lane: lane.queue_position)[:limit]
    if len(found) < limit:
        found += (await _held_past(db, org, agents, labels, now_ms))[: limit - len(found)]
    return found


async def _held_past(
    db: Db, org: int, agents: Collection[str] | None, labels: Mapping[str, str], now_ms: int
) -> list[Lane]:
    # Few: the sweep takes what ran out once a second.
    sql = "SELECT doc FROM lane WHERE org = $1 AND state = 'held' AND expires_at <= $2 ORDER BY queue_position"
    served = None if agents is None else tuple(agents)
    found = await db.rows(sql, org, now_ms + db.times.offset_ms)
    return [lane for lane in _lanes(db, [row[0] for row in found]) if lane.may_be_taken_by(served, labels)]


def lane_value(db: Db, doc: bytes) -> Lane:
    """A lane from its row, with its times on this node's clock."""
    return moved_lane(rows.decode_lane(doc), -db.times.offset_ms)


def _lanes(db: Db, docs: Sequence[bytes]) -> Iterator[Lane]:
    return (lane_value(db, doc) for doc in docs)


async def _listed(db: Db, sql: str, *values: object) -> list[Lane]:
    return list(_lanes(db, [row[0] for row in await db.rows(sql, *values)]))


async def lane(db: Db, org: int, run: int) -> Lane | None:
    """One lane."""
    doc = await db.value("SELECT doc FROM lane WHERE org = $1 AND run = $2", org, run)
    return None if doc is None else lane_value(db, doc)


async def lanes(db: Db, org: int, limit: int, statuses: Sequence[Status] | None = None) -> list[Lane]:
    """Lanes that are not done, oldest first; or those of runs in some statuses, newest first."""
    if statuses is None:
        sql = "SELECT doc FROM lane WHERE org = $1 AND state <> 'done' ORDER BY queue_position LIMIT $2"
        return await _listed(db, sql, org, limit)
    sql = (
        "SELECT lane.doc FROM run JOIN lane USING (org, run) WHERE org = $1 AND run.status = ANY($3::text[])"
        " ORDER BY run DESC LIMIT $2"
    )
    return await _listed(db, sql, org, limit, [status.value for status in statuses])


async def lanes_held(db: Db, org: int, limit: int) -> list[Lane]:
    """Held lanes, oldest first."""
    sql = "SELECT doc FROM lane WHERE org = $1 AND state = 'held' ORDER BY queue_position LIMIT $2"
    return await _listed(db, sql, org, limit)


async def lanes_queued(db: Db, org: int, after: int, limit: int) -> list[Lane]:
    """Queued lanes behind a place of the queue, in order."""
    sql = "SELECT doc FROM lane WHERE org = $1 AND state = 'queued' AND queue_position > $2"
    return await _listed(db, f"{sql} ORDER BY queue_position LIMIT $3", org, after, limit)


async def lane_counts(db: Db, org: int) -> tuple[int, int, int | None]:
    """(queued, held, oldest queued_at)."""
    waiting = "FROM lane WHERE org = $1 AND state = 'queued'"
    sql = (
        f"SELECT (SELECT count(*) {waiting}), (SELECT count(*) FROM lane WHERE org = $1 AND state = 'held'),"
        f" (SELECT queued_at {waiting} ORDER BY queue_position LIMIT 1)"
    )
    queued, held, oldest = await db.row(sql, org) or (0, 0, None)
    return queued, held, None if oldest is None else oldest - db.times.offset_ms


async def quarantined(db: Db, org: int, run: int, limit: int, after: int) -> Found[tuple[int, Quarantined]]:
    """What was refused to workers without the lease."""
    sql = "SELECT number, doc FROM quarantine WHERE org = $1 AND run = $2 AND number > $3 ORDER BY number LIMIT $4"
    found = await db.rows(sql, org, run, min(after, MAX_PARAMETER), limit)
    return rows.up_to_a_page(found, lambda row: (row[0], rows.decode_quarantined(row[1])))


async def lanes_of(db: Db, org: int, runs: Sequence[int]) -> list[Lane]:
    """Lanes of an organisation by run number."""
    return await _listed(db, "SELECT doc FROM lane WHERE org = $1 AND run = ANY($2::bigint[])", org, list(runs))


async def lanes_expired(db: Db, now_ms: int, limit: int) -> list[Lane]:
    """Held lanes whose lease ran out, oldest deadline first."""
    sql = each_org("lane", "state = 'held'", "expires_at, run, doc", "expires_at <= $1", "expires_at, run", "$2")
    found = await db.rows(sql, now_ms + db.times.offset_ms, limit)
    return list(_lanes(db, [row["doc"] for row in found]))
