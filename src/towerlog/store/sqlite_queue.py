"""How SQLite finds the lane that a worker may claim, among any number that it may not.

A run's labels must all be among the worker's. Which sets those are cannot be asked for at once, so the queue is walked
from one set of labels to the next by an index, not from lane to lane: a set's name begins with one of its labels, so
that sets which begin with a label that the worker lacks are jumped over together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping

import apsw

from towerlog.model.lease import Lane
from towerlog.store import sqlite_rows as rows


def lane_claimable(
    db: apsw.Connection,
    org: int,
    agents: Collection[str] | None,
    labels: Mapping[str, str],
    now_ms: int,
    taken: Collection[int],
) -> Lane | None:
    """The oldest queued lane that fits and is not `taken`; where there is none, the oldest held one that ran out."""
    heads: list[Lane] = []
    for agent in [None] if agents is None else sorted(set(agents)):
        heads += _heads(db, org, agent, labels, taken)
    if heads:
        return min(heads, key=lambda lane: lane.place)
    return _ran_out(db, org, agents, labels, now_ms, taken)


def _heads(
    db: apsw.Connection, org: int, agent: str | None, labels: Mapping[str, str], taken: Collection[int]
) -> Iterator[Lane]:
    """The oldest free lane of each set of labels that the worker has."""
    where = "org = ? AND state = 'queued'" + ("" if agent is None else " AND agent = ?")
    values: tuple[object, ...] = (org,) if agent is None else (org, agent)
    yield from _oldest(db, where, (*values, ""), taken)
    wanted = sorted({rows.label_head(name, value) for name, value in labels.items()})
    after = wanted[0] if wanted else None
    sql = f"SELECT label_set, doc FROM lane WHERE {where} AND label_set > ? ORDER BY label_set, place LIMIT 1"
    while after is not None:
        found = next(iter(db.execute(sql, (*values, after))), None)
        if found is None:
            return
        label_set, head = found[0], found[0][: rows.LABEL_HEAD_DIGITS]
        at = bisect_left(wanted, head)
        if at == len(wanted) or wanted[at] != head:
            after = wanted[at] if at < len(wanted) else None
            continue
        if rows.decode_lane(found[1]).may_be_taken_by(None, labels):
            yield from _oldest(db, where, (*values, label_set), taken)
        after = label_set


def _oldest(db: apsw.Connection, where: str, values: tuple[object, ...], taken: Collection[int]) -> Iterator[Lane]:
    sql = f"SELECT run, doc FROM lane WHERE {where} AND label_set = ? ORDER BY place"
    for run, doc in db.execute(sql, values):
        if run not in taken:
            yield rows.decode_lane(doc)
            return


def _ran_out(
    db: apsw.Connection,
    org: int,
    agents: Collection[str] | None,
    labels: Mapping[str, str],
    now_ms: int,
    taken: Collection[int],
) -> Lane | None:
    # Few: the sweep takes what ran out once a second.
    sql = "SELECT run, doc FROM lane WHERE state = 'held' AND expires_at <= ? AND +org = ? ORDER BY place"
    served = None if agents is None else tuple(agents)
    for run, doc in db.execute(sql, (now_ms, org)):
        lane = rows.decode_lane(doc)
        if run not in taken and lane.may_be_taken_by(served, labels):
            return lane
    return None
