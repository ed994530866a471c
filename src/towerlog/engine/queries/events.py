"""Events, read back: of a run, an agent's feed, and what was refused to workers without the lease."""

from __future__ import annotations

from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import Invalid, NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.event import Event, EventType
from towerlog.model.principal import Principal
from towerlog.store.values import Quarantined


async def answer(source: QueryContext, principal: Principal, command: q.ListEvents) -> o.Page:
    """A page of a run's events. Raises NotFound."""
    run = await source.run_of(principal, command.run_id)
    limit = command.limit
    if command.quarantined:
        items = await source.store.quarantined(principal.org, run.run, limit + 1, command.after_seq)
        kept, more = page_of(items, limit)
        page = [_as_event(number, item) for number, item in kept]
    else:
        found = await source.store.events(principal.org, run.run, command.after_seq, limit + 1, command.types)
        page, more = page_of(found, limit)
    return o.Page(page, str(page[-1].seq) if more else None)


async def tail(source: QueryContext, principal: Principal, command: q.Tail) -> o.FeedPage:
    """The newest of an agent's feed, or what came after a cursor. Raises NotFound, Invalid."""
    agent = await source.store.agent(principal.org, command.agent_id)
    if agent is None:
        raise NotFound("agent")
    after = None if command.after is None else position_of(command.after, source.store.epoch)
    events = await source.store.feed(principal.org, agent.agent, command.limit, after) if command.limit else []
    return o.FeedPage(agent, events, source.store.epoch)


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
