"""What of a stretch of an organisation's log is forwarded: the spans of the runs that have ended by then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import structlog

from towerlog.dialects.views.otel_spans import RunNames, RunSpans
from towerlog.dialects.views.otlp_protobuf import span_bytes
from towerlog.engine.queries.views import add_names
from towerlog.model.event import Event
from towerlog.model.run import RunRow
from towerlog.model.span_figures import SpanFigures
from towerlog.store.base import Store

PAGE_EVENTS = 500
"""Of a run that are read at a time; the store gives fewer where their bodies are large."""
MAX_HELD_BYTES = 4 * 1024 * 1024
"""Of the events of a run that are kept after they were read for what they tell of usage, until they are told: its first
ones. The others are read again."""
EVENT_BYTES = 1000
"""About what an event takes beside its body."""
EVENTS_BEFORE_END = 1000
"""Of a run that was forwarded before: so far before its end a call may lie whose result came afterwards."""

log = structlog.get_logger("towerlog.forwarding")


async def ended_runs(store: Store, org: int, after: int, until: int) -> list[RunRow]:
    """Runs with events after one position, up to another, that have ended by now; by number."""
    numbers = await store.runs_touched(org, after, until)
    if numbers is None:
        numbers = await _left_of(store, org, after, until)
    rows = await store.runs_by_number(org, numbers)
    return [rows[number] for number in sorted(rows) if rows[number].is_terminal()]


async def _left_of(store: Store, org: int, after: int, until: int) -> list[int]:
    """The same, where events of the stretch are gone: as many numbers as are left."""
    found: set[int] = set()
    while after < until and (page := await store.log(org, after, until - after)):
        found |= {event.run for event in page if event.position <= until}
        after = page[-1].position
    return sorted(found)


async def spans_between(
    store: Store, row: RunRow, after: int, until: int, left_out: Callable[[int], None]
) -> AsyncIterator[list[bytes]]:
    """The spans of an ended run that are due in a stretch of the log, in pages. `left_out` is called with how many
    cannot be written.

    All of them where the run has ended in it; where it had ended before, those that came late; where it ends later,
    none.
    """
    ended_at, seq = await _end_of(store, row), 0
    if ended_at > until:
        return
    if ended_at <= after:
        since, seq = after, max((row.ended_seq or 0) - EVENTS_BEFORE_END, 0)
    else:
        since = 0
    agents: dict[int, str] = {}
    figures = SpanFigures(agents, since)
    held = await _take_all(store, row, seq, until, agents, figures)
    spans = RunSpans(row.run_id, RunNames(row.agent, row.thread_id, agents, row.ended_seq, figures))
    async for events in _again(store, row, seq, until, agents, held):
        found, lost = await asyncio.to_thread(_encoded, spans, events, since, until)
        if lost:
            left_out(lost)
        yield found


async def _take_all(
    store: Store, row: RunRow, seq: int, until: int, agents: dict[int, str], figures: SpanFigures
) -> list[list[Event]]:
    """Works out what events tell of usage, which takes all of them. The first pages of them, as many as are held."""
    held: list[list[Event]] = []
    held_bytes = 0
    async for events in _pages(store, row, seq, until, agents):
        for event in events:
            figures.take(event)
        held_bytes += sum(EVENT_BYTES + len(one.data) for one in events)
        if held_bytes <= MAX_HELD_BYTES:
            held.append(events)
    figures.finish(row)
    return held


async def _again(
    store: Store, row: RunRow, seq: int, until: int, agents: dict[int, str], held: list[list[Event]]
) -> AsyncIterator[list[Event]]:
    """The same pages once more: those that are held, and the others read again."""
    for events in held:
        seq = events[-1].seq if events else seq
        yield events
    held.clear()
    if seq < row.last_seq:
        async for events in _pages(store, row, seq, until, agents):
            yield events


async def _pages(store: Store, row: RunRow, seq: int, until: int, agents: dict[int, str]) -> AsyncIterator[list[Event]]:
    """The events of a run after one of them, up to a position; the names of their agents are added to `agents`."""
    while page := await store.events(row.org, row.run, seq, PAGE_EVENTS):
        events = [one for one in page if isinstance(one, Event) and one.position <= until]
        await add_names(store, row.org, agents, events)
        yield events
        seq = page[-1].seq
        if page[-1].position > until:
            return


async def _end_of(store: Store, row: RunRow) -> int:
    """The position of its end; 0 where that is gone."""
    found = await store.events_at(row.org, row.run, [row.ended_seq or 0])
    end = found.get(row.ended_seq or 0)
    return 0 if end is None else end.position


def _encoded(spans: RunSpans, events: Iterable[Event], since: int, until: int) -> tuple[list[bytes], int]:
    """Of a span that cannot be written the log tells; the others go out without it. Also how many those are."""
    found, lost = [], 0
    for event, span in spans.ended(events):
        if since < event.position <= until:
            try:
                found.append(span_bytes(span))
            except Exception:
                lost += 1
                log.exception("span_left_out", org=event.org, run=event.run, seq=event.seq)
    return found, lost
