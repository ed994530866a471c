"""Ways up from spans of a trace: all that is on them by one statement a trace, however long they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from towerlog.model.facts import LinkAbove
from towerlog.store.columns.questions.span_ways import links_of
from towerlog.store.lookup_keys import SpanWay, trace_of
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.reading.events import TOLD

# No statement reads facts as JSON: damaged ones would end the whole group. They are bytes, read here as text in which
# all but ASCII is escaped; the name of a member stands there without a backslash, unlike the same words in a text.
_PARENT = """substring(encode(told.facts, 'escape') FROM '"parent_span_id":"([0-9a-f]+)"')"""
_SPANS = (
    "WITH RECURSIVE way (at) AS (SELECT unnest($1::text[]) UNION SELECT coalesce($4::jsonb ->> way.at,"
    f" (SELECT {_PARENT} FROM unnest($3::bigint[]) WITH ORDINALITY AS runs (run, nth)"
    " JOIN place ON place.org = $2 AND place.run = runs.run"
    f" AND place.event_id IN (way.at, way.at || '.start', way.at || '.call'){TOLD}"
    " ORDER BY runs.nth, CASE place.event_id WHEN way.at THEN 0 WHEN way.at || '.start' THEN 1 ELSE 2 END LIMIT 1),"
    " $5::jsonb ->> way.at) FROM way WHERE way.at IS NOT NULL) SELECT way.at,"
    " (SELECT CASE WHEN told.type IS NOT NULL THEN coalesce(told.facts, '') END"
    " FROM unnest($3::bigint[]) WITH ORDINALITY AS runs (run, nth)"
    f" JOIN place ON place.org = $2 AND place.run = runs.run AND place.event_id = way.at{TOLD}"
    " ORDER BY runs.nth LIMIT 1) FROM way LIMIT $6"
)
"""A circle ends where it closes. PostgreSQL makes the rows of a recursion as they are read: the limit ends it."""


async def spans_above(db: Db, ways: Sequence[SpanWay]) -> dict[SpanWay, dict[str, LinkAbove | None]]:
    """Ways up from spans, those of one trace in one statement."""
    found: dict[SpanWay, dict[str, LinkAbove | None]] = {}
    for trace, some in groupby(ways, trace_of):
        of_trace = list(some)
        starts, bound = [way.span_id for way in of_trace], sum([way.levels for way in of_trace])
        values = (starts, trace.org, list(trace.runs), trace.turns, trace.unstored, bound)
        links = links_of([(row[0], row[1]) for row in await db.rows(_SPANS, *values) if row[0] is not None])
        found |= dict.fromkeys(of_trace, links)
    return found
