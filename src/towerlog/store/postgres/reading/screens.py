"""What screens ask: how many runs a filter finds by what they have in common, how long they took, outlines."""

from __future__ import annotations

import msgspec

from towerlog.model.event import EventType
from towerlog.model.outline import NO_MOMENT_FACTS, Moment, MomentFacts
from towerlog.model.question import RunFilter
from towerlog.model.usage import RunSum, Usage
from towerlog.store.columns.questions.searches import MAX_SEARCH_MS
from towerlog.store.postgres.connections import Db, numbered, told_text
from towerlog.store.postgres.reading.runs import run_conditions
from towerlog.store.postgres.reading.usage import FIGURE_SUMS
from towerlog.store.values import Durations

FACETS = ("status", "agent", "model", "persona_id")
MAX_VALUES = 100
"""Values of a facet: those that most runs have."""
_GROUPS = {
    "hour": "began_at / 3600000",
    "day": "began_at / 86400000",
    "agent": "agent",
    "model": "model",
    "status": "status",
    "thread": "thread_id",
}
_decode = msgspec.json.Decoder(MomentFacts).decode
_TYPES = {kind.value: kind for kind in EventType}


async def run_facets(db: Db, org: int, wanted: RunFilter) -> dict[str, list[tuple[str | None, int]] | None]:
    """Facet → (value, how many runs), the most first; None for one that would take longer than there is time."""
    where, values = await run_conditions(db, org, wanted)
    found: dict[str, list[tuple[str | None, int]] | None] = {}
    for name in FACETS:
        sql = f"SELECT {name}, count(*) FROM run WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1 NULLS FIRST"
        counted = await db.rows_in_time(MAX_SEARCH_MS, numbered(f"{sql} LIMIT {MAX_VALUES}"), *values)
        found[name] = None if counted is None else [(_told(value), count) for value, count in counted]
    return found


async def run_durations(db: Db, org: int, by: str, wanted: RunFilter, limit: int) -> list[Durations] | None:
    """Of ended runs, by what they are grouped by: the newest hours and days, the largest of other groups first.

    None where that would take longer than there is time.
    """
    where, values = await run_conditions(db, org, wanted)
    order = "1 DESC" if by in ("hour", "day") else "2 DESC, 1 NULLS FIRST"
    took = f"SELECT {_GROUPS[by]} AS name, took_ms FROM run WHERE took_ms IS NOT NULL AND {where}"
    ranked = (
        "SELECT name, took_ms, row_number() OVER (PARTITION BY name ORDER BY took_ms) AS rank,"
        f" count(*) OVER (PARTITION BY name) AS runs FROM ({took}) AS took"
    )
    # The smallest that is not below so large a part of them.
    sql = (
        "SELECT name, max(runs), min(took_ms) FILTER (WHERE rank * 100 >= runs * 50),"
        f" min(took_ms) FILTER (WHERE rank * 100 >= runs * 95), max(took_ms) FROM ({ranked}) AS ranked"
        f" GROUP BY name ORDER BY {order} LIMIT ?"
    )
    found = await db.rows_in_time(MAX_SEARCH_MS, numbered(sql), *values, limit)
    return None if found is None else [(_told(row[0]), row[1], row[2], row[3], row[4]) for row in found]


def _told(value: str | None) -> str | None:
    return told_text(value) if isinstance(value, str) else value


async def run_sums(db: Db, org: int, by: str, wanted: RunFilter, limit: int) -> list[RunSum] | None:
    """What runs have used, by what they are grouped by: the newest hours and days, the dearest of other groups first.

    None where that would take longer than there is time.
    """
    where, values = await run_conditions(db, org, wanted)
    order = "1 DESC" if by in ("hour", "day") else "coalesce(sum(cost_nanos), 0) DESC, 2 DESC, 1 NULLS FIRST"
    sql = f"SELECT {_GROUPS[by]}, count(*), {FIGURE_SUMS} FROM run WHERE {where} GROUP BY 1 ORDER BY {order} LIMIT ?"
    found = await db.rows_in_time(MAX_SEARCH_MS, numbered(sql), *values, limit)
    return None if found is None else [RunSum(_told(row[0]), row[1], Usage(*tuple(row)[2:])) for row in found]


async def moments(db: Db, org: int, run: int, after_seq: int, limit: int) -> list[Moment]:
    """A run's events without their bodies, in order, after a seq. They are not held against their hashes."""
    sql = (
        # Of text only when it came is needed, and most events are text.
        "SELECT place.seq, told.type, place.recorded_at, told.occurred_at, told.agent,"
        " CASE told.type WHEN 'message.delta' THEN NULL ELSE told.facts END FROM place CROSS JOIN LATERAL"
        " (SELECT type, occurred_at, agent, facts FROM event WHERE event.org = place.org"
        " AND event.position = place.position AND event.recorded_at = place.recorded_at OFFSET 0) AS told"
        " WHERE place.org = $1 AND place.run = $2 AND place.seq > $3 ORDER BY place.seq LIMIT $4"
    )
    return [
        Moment(seq, _TYPES[kind], recorded_at, occurred_at, agent, _decode(facts) if facts else NO_MOMENT_FACTS)
        for seq, kind, recorded_at, occurred_at, agent, facts in await db.rows(sql, org, run, after_seq, limit)
    ]
