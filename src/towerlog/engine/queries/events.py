"""Events, read back: of a run, an agent's feed, and what was refused to workers without the lease."""

from __future__ import annotations

from collections.abc import Sequence

from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.engine.queries.views import add_names
from towerlog.errors import Invalid, NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.event import DamagedEvent, Event, EventType, Logged
from towerlog.model.principal import Principal
from towerlog.model.span_figures import SpanFigures
from towerlog.store.values import Quarantined


async def answer(source: QueryContext, principal: Principal, command: q.ListEvents) -> o.Page:
    """A page of a run's events, up to the first that is damaged. Raises NotFound; Damaged where the page begins so."""
    run = await source.run_of(principal, command.run_id)
    limit = command.limit
    if command.quarantined:
        items = await source.store.quarantined(principal.org, run.run, limit + 1, command.after_seq)
        kept, more = page_of(items, limit)
        page = [_as_event(number, item) for number, item in kept]
    else:
        after, last = command.after_seq, run.last_seq
        found = await source.store.events(run.org, run.run, after, limit + 1, command.types, last)
        several, more = page_of(found, limit)
        page, damaged = _until_damaged(several)
        if damaged is not None and not page:
            raise damaged.error(run.run_id)
        more = more or damaged is not None
    following = str(page[-1].seq) if more else None
    if not command.names_agents:
        return o.Page(page, following)
    names: dict[int, str] = {}
    await add_names(source.store, run.org, names, page)
    if command.after_seq or following is not None:
        of_all = await source.figures.of(source.store, run)
        return o.Page(page, following, about=(run, of_all.names | names, of_all.figures))
    figures = SpanFigures(names)
    for event in page:
        figures.take(event)
    figures.finish(run)
    return o.Page(page, following, about=(run, names, figures))


def _until_damaged(found: Sequence[Logged]) -> tuple[list[Event], DamagedEvent | None]:
    """The events before the first damaged one, and that."""
    whole: list[Event] = []
    for one in found:
        if isinstance(one, DamagedEvent):
            return whole, one
        whole.append(one)
    return whole, None


async def tail(source: QueryContext, principal: Principal, command: q.Tail) -> o.FeedPage:
    """The newest of an agent's feed, or what came after a cursor; what is damaged is named beside it.

    Raises NotFound, Invalid.
    """
    agent = await source.store.agent(principal.org, command.agent_id)
    if agent is None:
        raise NotFound("agent")
    after = None if command.after is None else position_of(command.after, source.store.epoch)
    found = await source.store.feed(principal.org, agent.agent, command.limit, after) if command.limit else []
    whole = [one for one in found if not isinstance(one, DamagedEvent)]
    lost = [one for one in found if isinstance(one, DamagedEvent)]
    rows = await source.store.runs_by_number(principal.org, [one.run for one in lost]) if lost else {}
    named = tuple(
        o.DamagedPlace(rows[one.run].run_id if one.run in rows else None, one.position, one.seq) for one in lost
    )
    return o.FeedPage(agent, whole, source.store.epoch, found[-1].position if found else None, named)


def position_of(cursor: str, epoch: str) -> int | None:
    """The position of a feed cursor; None for a cursor of another log. Raises Invalid for what is no cursor."""
    log, _, digits = cursor.rpartition("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 15:
        raise Invalid("after: is not a cursor of this feed", field="after")
    return int(digits) if log in (epoch, "") else None


def _as_event(number: int, item: Quarantined) -> Event:
    """What a worker without the lease sent, in the form of the event that it did not become."""
    kind = EventType(item.type)
    return Event(
        item.org, 0, item.run, number, kind, item.recorded_at, item.data, dialect=item.dialect, event_id=item.event_id
    )
