"""What SQLite is asked about lanes: lists and counts, and the lanes that a worker may claim among any that it may not.

A run's labels must all be among the worker's. The queue is walked by an index from one set of labels to the next, not
from lane to lane. A set's name is that of its labels, one after the other, so that the names make a tree: where the
worker lacks a label, everything below it is jumped over at once. So a claim costs what the sets cost that the worker
has the first labels of, however many others are queued.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

import apsw

from towerlog.model.lane import Lane
from towerlog.model.run import Status
from towerlog.store.columns import rows
from towerlog.store.columns.order import advanced
from towerlog.store.sqlite.reads import MAX_INTEGER, marks, one
from towerlog.store.values import Found, Quarantined

_BEFORE_DIGITS, _BEHIND_DIGITS = "!", "~"
"""Sort before and behind every digit: behind a set but before those that begin like it, and behind all of those."""


def lanes_claimable(
    db: apsw.Connection,
    org: int,
    agents: Collection[str] | None,
    labels: Mapping[str, str],
    now_ms: int,
    limit: int,
) -> list[Lane]:
    """The oldest queued lanes that fit; behind them, as far as there is room, held ones that ran out."""
    heads: list[Lane] = []
    for agent in [None] if agents is None else sorted(set(agents)):
        heads += _heads(db, org, agent, labels, limit)
    found = sorted(heads, key=lambda lane: lane.queue_position)[:limit]
    if len(found) < limit:
        found += islice(_held_past(db, org, agents, labels, now_ms), limit - len(found))
    return found


def _heads(db: apsw.Connection, org: int, agent: str | None, labels: Mapping[str, str], limit: int) -> Iterator[Lane]:
    """The oldest free lanes of each set of labels that the worker has, at most so many of a set."""
    where = "org = ? AND state = 'queued'" + ("" if agent is None else " AND agent = ?")
    values: tuple[object, ...] = (org,) if agent is None else (org, agent)
    wanted = rows.label_digests(labels)
    at: str | None = ""
    while at is not None:
        sql = f"SELECT label_set FROM lane WHERE {where} AND label_set >= ? ORDER BY label_set LIMIT 1"
        label_set = one(db, sql, (*values, at))
        if label_set is None:
            return
        if label_set != at:
            advanced("lane", at, label_set)
        at = _jump(label_set, wanted)
        if at == label_set + _BEFORE_DIGITS:
            yield from islice(_oldest(db, where, (*values, label_set), labels), limit)


def _jump(label_set: str, wanted: list[str]) -> str | None:
    """Where to look next: behind this set if all its labels are wanted, else behind all that share the first wrong one.

    None when nothing that is wanted lies behind.
    """
    for start in range(0, len(label_set), rows.LABEL_DIGITS):
        digest = label_set[start : start + rows.LABEL_DIGITS]
        at = bisect_left(wanted, digest)
        if at < len(wanted) and wanted[at] == digest:
            continue
        if at < len(wanted):
            return label_set[:start] + wanted[at]
        return label_set[:start] + _BEHIND_DIGITS if start else None
    return label_set + _BEFORE_DIGITS


def _oldest(
    db: apsw.Connection,
    where: str,
    values: tuple[object, ...],
    labels: Mapping[str, str],
) -> Iterator[Lane]:
    sql = f"SELECT doc FROM lane WHERE {where} AND label_set = ? ORDER BY queue_position"
    for (doc,) in db.execute(sql, values):
        lane = rows.decode_lane(doc)
        # The digests are short: two sets may share a name, though nobody will ever see it.
        if lane.may_be_taken_by(None, labels):
            yield lane


def _held_past(
    db: apsw.Connection, org: int, agents: Collection[str] | None, labels: Mapping[str, str], now_ms: int
) -> Iterator[Lane]:
    # Few: the sweep takes what ran out once a second.
    sql = "SELECT doc FROM lane WHERE state = 'held' AND expires_at <= ? AND +org = ? ORDER BY queue_position"
    served = None if agents is None else tuple(agents)
    for (doc,) in db.execute(sql, (now_ms, org)):
        lane = rows.decode_lane(doc)
        if lane.may_be_taken_by(served, labels):
            yield lane


def lane(db: apsw.Connection, org: int, run: int) -> Lane | None:
    """One lane."""
    doc = one(db, "SELECT doc FROM lane WHERE run = ? AND +org = ?", (run, org))
    return None if doc is None else rows.decode_lane(doc)


def lanes(db: apsw.Connection, org: int, limit: int, statuses: Sequence[Status] | None = None) -> list[Lane]:
    """Lanes that are not done, oldest first; or those of runs in some statuses, newest first."""
    if statuses is None:
        sql = "SELECT doc FROM lane WHERE org = ? AND state <> 'done' ORDER BY queue_position LIMIT ?"
        found = db.execute(sql, (org, limit))
    else:
        sql = (
            "SELECT lane.doc FROM run JOIN lane USING (run)"
            f" WHERE run.org = ? AND run.status IN ({marks(len(statuses))}) ORDER BY run.run DESC LIMIT ?"
        )
        found = db.execute(sql, (org, *statuses, limit))
    return [rows.decode_lane(row[0]) for row in found]


def lanes_held(db: apsw.Connection, org: int, limit: int) -> list[Lane]:
    """Held lanes, oldest first."""
    sql = "SELECT doc FROM lane WHERE org = ? AND state = 'held' ORDER BY queue_position LIMIT ?"
    return [rows.decode_lane(row[0]) for row in db.execute(sql, (org, limit))]


def lanes_queued(db: apsw.Connection, org: int, after: int, limit: int) -> list[Lane]:
    """Queued lanes behind a place of the queue, in order."""
    sql = (
        "SELECT doc FROM lane WHERE org = ? AND state = 'queued' AND queue_position > ? ORDER BY queue_position LIMIT ?"
    )
    return [rows.decode_lane(row[0]) for row in db.execute(sql, (org, after, limit))]


def lane_counts(db: apsw.Connection, org: int) -> tuple[int, int, int | None]:
    """(queued, held, oldest queued_at)."""
    waiting = "FROM lane WHERE org = ? AND state = 'queued'"
    queued = one(db, f"SELECT count(*) {waiting}", (org,))
    oldest = one(db, f"SELECT queued_at {waiting} ORDER BY queue_position LIMIT 1", (org,))
    held = one(db, "SELECT count(*) FROM lane WHERE org = ? AND state = 'held'", (org,))
    return queued, held, oldest


def quarantined(db: apsw.Connection, org: int, run: int, limit: int, after: int) -> Found[tuple[int, Quarantined]]:
    """What was refused to workers without the lease."""
    sql = "SELECT number, doc FROM quarantine WHERE run = ? AND number > ? ORDER BY number LIMIT ?"
    found = db.execute(sql, (run, min(after, MAX_INTEGER), limit))
    items = rows.up_to_a_page(found, lambda row: (row[0], rows.decode_quarantined(row[1])))
    return items if all(item.org == org for _, item in items) else Found()


def lanes_of_runs(db: apsw.Connection, runs: Sequence[int]) -> dict[int, Lane]:
    """Lanes by run number."""
    found = db.execute(f"SELECT run, doc FROM lane WHERE run IN ({marks(len(runs))})", tuple(runs))
    return {row[0]: rows.decode_lane(row[1]) for row in found}


def lanes_of(db: apsw.Connection, org: int, runs: Sequence[int]) -> list[Lane]:
    """Lanes of an organisation by run number."""
    sql = f"SELECT doc FROM lane WHERE +org = ? AND run IN ({marks(len(runs))})"
    return [rows.decode_lane(row[0]) for row in db.execute(sql, (org, *runs))]


def lanes_expired(db: apsw.Connection, serving_ms: int, limit: int) -> list[Lane]:
    """Held lanes whose lease ran out, oldest deadline first."""
    sql = "SELECT doc FROM lane WHERE state = 'held' AND expires_at <= ? ORDER BY expires_at LIMIT ?"
    return [rows.decode_lane(row[0]) for row in db.execute(sql, (serving_ms, limit))]
