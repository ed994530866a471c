"""A run's events without their bodies, for its outline."""

from __future__ import annotations

import apsw
import msgspec

from towerlog.model.event import EventType
from towerlog.model.outline import NO_MOMENT_FACTS, Moment, MomentFacts
from towerlog.model.principal import shard_bounds

_decode = msgspec.json.Decoder(MomentFacts).decode
_TYPES = {kind.value: kind for kind in EventType}


def moments(db: apsw.Connection, org: int, run: int, after_seq: int, limit: int) -> list[Moment]:
    """In order, after a seq. What is not read of them is not held against their hashes."""
    sql = (
        # Of text only when it came is needed, and most events are text.
        "SELECT seq, type, recorded_at, occurred_at, agent, CASE type WHEN 'message.delta' THEN NULL ELSE facts END"
        " FROM event WHERE run = ? AND seq > ? AND key >= ? AND key < ? ORDER BY seq LIMIT ?"
    )
    found = db.execute(sql, (run, after_seq, *shard_bounds(org), limit))
    return [
        Moment(seq, _TYPES[kind], recorded_at, occurred_at, agent, _decode(facts) if facts else NO_MOMENT_FACTS)
        for seq, kind, recorded_at, occurred_at, agent, facts in found
    ]
