"""The spans above a span, as far as they are stored: looked up for all spans of a group together.

What one span says leads to the next here, and a sender decides how far. So the way up is asked for by itself, once in a
group however many spans stand below it, and is not followed further than a bound. The store tells the whole way in one
answer, since a question for each span would have everybody wait for as many turns as the way is long. Which span comes
next is decided here alone: where the store's answer breaks off, or went another way, the rest is asked for from there.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.load.misses import MAX_SPANS_ABOVE, NotLoaded
from towerlog.engine.load.rows import Known, Needs
from towerlog.model.event import Event
from towerlog.model.facts import LinkAbove, link_above
from towerlog.model.run import RunRow
from towerlog.store.lookup_keys import SpanWay
from towerlog.store.values import Kind

MAX_LOOKS_ABOVE = 2048
"""Spans above one that are looked for, each counted once for every run of its trace: of many runs fewer spans."""
LOOKS_OF_SPAN = 12
"""A span that is found is an event to be read: as much work as looking for so many ids in vain."""
WORK_OF_SPAN = 1
"""Of that, in plain events."""

_encode = msgspec.json.Encoder(order="sorted").encode


class SpansOfTrace(msgspec.Struct, eq=False):
    """What is known in a group of the spans of one trace that are stored."""

    links: dict[str, str | None] = {}
    """What is above a span; None for nothing that is stored."""
    told: dict[str, str | None] = {}
    """The same of spans that the group is to store, as they tell it."""
    asked: set[str] = set()
    """Spans from which the way up has been asked for."""
    missed: set[str] = set()
    """Spans whose ids have been looked for because placing had missed one."""
    turn: Needs | None = None
    """Who has asked for what is `lacking`."""
    levels: int = 0
    """How many of them the group may read on the ways that were asked for."""
    lacking: set[str] = set()
    """Spans that are asked for in this turn: where ways meet, one of them asks."""
    otherwise: tuple[str, str] = ("", "")
    """In this turn: where ways turn, and what is above spans that are not stored, see `SpanWay`."""
    ways: list[SpanWay] = []
    """Those that the store has been asked for, and that are not taken in yet."""
    on_ways: set[str] = set()
    """Spans on those that were."""
    untold: set[str] = set()
    """Of these, those that are not stored under their own id, if at all."""
    loaded: set[str] = set()
    """Of these, those whose events have been asked for as well."""
    passed: set[str] = set()
    """Spans on ways that were asked for, as far as the writer knew these from earlier commits."""


class Way(msgspec.Struct, eq=False):
    """A way up that is being followed."""

    trace: str
    rows: list[RunRow]
    """The runs of the trace."""
    at: str | None
    """The next span to look for."""
    left: int
    """How many more are looked for."""
    is_missed: bool = False
    """Placing has missed it. Calls that are remembered as yet are looked for as well: the group may forget them."""


def ids_of(span_id: str) -> tuple[str, ...]:
    """Under which a span may be stored."""
    return (span_id, f"{span_id}.start", f"{span_id}.call")


def levels_above(runs: int) -> int:
    """How many spans above one are looked for in so many runs."""
    return min(MAX_SPANS_ABOVE, MAX_LOOKS_ABOVE // max(1, runs))


def spans_of(known: Known, org: int, trace: str) -> SpansOfTrace:
    """What is known in this group of the spans of a trace."""
    name = "spans", org, trace
    found: SpansOfTrace | None = known.notes.get(name)
    if found is None:
        found = known.notes[name] = SpansOfTrace()
    return found


def want_above(needs: Needs, trace: str, rows: list[RunRow], span_id: str) -> None:
    """The stored spans from this one on upwards. `rows`: the runs of its trace, at least one."""
    spans = spans_of(needs.known, rows[0].org, trace)
    if span_id in spans.asked or not _may_be_stored(needs.known, rows, span_id):
        return
    spans.asked.add(span_id)
    way = way_from(trace, rows, span_id)
    levels = min(_unread_of(needs, spans, way), max(0, _stored_in(rows) - spans.levels))
    spans.levels += levels
    needs.looked_up += _looks_of(way, levels)
    needs.ways.append((follow, way))


def way_from(trace: str, rows: list[RunRow], span_id: str) -> Way:
    """The whole way up from a span."""
    return Way(trace, rows, span_id, levels_above(len(rows)))


def _stored_in(rows: list[RunRow]) -> int:
    return sum([row.last_seq for row in rows])


def _levels_of(way: Way) -> int:
    """How many spans it can find."""
    return min(way.left, _stored_in(way.rows))


def _unread_of(needs: Needs, spans: SpansOfTrace, way: Way) -> int:
    """How many of them are not remembered, nor on another way that was asked for: where ways meet, one reads."""
    org, at, left = way.rows[0].org, way.at, way.left
    while at is not None and left:
        if at in spans.passed:
            return 0
        spans.passed.add(at)
        link = needs.cache.links.get((org, way.trace, at))
        if link is None:
            break
        at, left = link.above, left - 1
    return 0 if at is None else min(left, _stored_in(way.rows))


def _looks_of(way: Way, levels: int) -> int:
    """How much work so much of it is, in ids that are looked for in vain."""
    return levels * max(LOOKS_OF_SPAN, len(way.rows) * len(ids_of("")))


def _may_be_stored(known: Known, rows: list[RunRow], span_id: str) -> bool:
    ids = ids_of(span_id)
    return any(row.calls.call(span_id) is not None for row in rows) or any(
        not known.is_new_id(row.run, one) for row in rows for one in ids
    )


def follow(needs: Needs, way: Way) -> None:
    """Follows a way as far as it is known, and asks for what is on it from there on."""
    spans = spans_of(needs.known, way.rows[0].org, way.trace)
    links = spans.links
    while way.at is not None and way.left > 0:
        at = way.at
        if at not in links or (way.is_missed and at not in spans.missed):
            if spans.turn is not needs:
                spans.turn, spans.lacking, spans.otherwise = needs, set(), ("", "")
            if at in spans.lacking:
                needs.misses += 1
                return
            misses = needs.misses
            link = _link(needs, way, at)
            if needs.misses != misses:
                spans.lacking.add(at)
                _ask_above(needs, spans, way, at)
                return
            links[at] = spans.told.get(at) if link is None else link
            if way.is_missed:
                spans.missed.add(at)
        way.at = links[at]
        way.left -= 1


def _ask_above(needs: Needs, spans: SpansOfTrace, way: Way, span_id: str) -> None:
    """Asks for the whole way from a span that is not known, and then for events of which it does not tell enough."""
    if spans.ways:
        _take_in(needs, spans, way)
    for one in (spans.on_ways if way.is_missed else spans.untold) - spans.loaded:
        spans.loaded.add(one)
        for row in way.rows:
            for event_id in ids_of(one):
                needs.event_id(row.run, event_id)
    if span_id in spans.on_ways:
        return
    if not spans.otherwise[0]:
        # Also of calls that are no second account: one that names its response is not stored under its span's id.
        turns = {call.span_id: call.same_as or call.above for row in way.rows for call in row.calls.calls}
        spans.otherwise = _encode(turns).decode(), _encode(spans.told).decode()
    runs = tuple([row.run for row in way.rows])
    levels = min(way.left, _stored_in(way.rows) + len(spans.told))
    asked = SpanWay(way.rows[0].org, runs, span_id, levels, *spans.otherwise)
    spans.ways.append(asked)
    needs.want(Kind.SPAN_WAY, asked)


def _take_in(needs: Needs, spans: SpansOfTrace, way: Way) -> None:
    """What the store has told of ways that it was asked for. What a span under its own id says does not change."""
    org, known, waiting = way.rows[0].org, needs.known, list[SpanWay]()
    for asked in spans.ways:
        if not known.has(Kind.SPAN_WAY, asked):
            waiting.append(asked)
            continue
        links: dict[str, LinkAbove | None] = known.get(Kind.SPAN_WAY, asked)
        for span_id in links.keys() - spans.on_ways:
            spans.on_ways.add(span_id)
            link = links[span_id]
            if link is None:
                spans.untold.add(span_id)
            else:
                needs.cache.links[org, way.trace, span_id] = link
                known.more_work[org] += WORK_OF_SPAN
    spans.ways = waiting


def _link(needs: Needs, way: Way, span_id: str) -> str | None:
    """What is above a span that is stored; None also for one that is not."""
    rows = way.rows
    call = next((one for row in rows if (one := row.calls.call(span_id)) is not None), None)
    if call is not None and not way.is_missed:
        return call.same_as or call.above
    key, misses = (rows[0].org, way.trace, span_id), needs.misses
    known = None if way.is_missed else needs.cache.links.get(key)
    if known is not None:
        return known.above
    found: list[Event | None] = [needs.event_id(row.run, one) for row in rows for one in ids_of(span_id)]
    if call is not None:
        return call.same_as or call.above
    if needs.misses == misses:
        needs.known.more_work[rows[0].org] += WORK_OF_SPAN
    event = next((one for one in found if one is not None), None)
    if event is None:
        return None
    if any(one is event for one in found[:: len(ids_of(""))]):  # under its own id; its beginning may be told otherwise
        needs.cache.links[key] = link_above(event.facts, span_id)
    return event.facts.parent_span_id


def with_way(missing: NotLoaded, trace: str, rows: list[RunRow], span_id: str) -> NotLoaded:
    """What placing has missed of a span, with all that is above it: one of these leads to the next."""
    way = way_from(trace, rows, span_id)
    way.is_missed = True
    missing.way, missing.looks = (follow, way), _looks_of(way, _levels_of(way))
    return missing
