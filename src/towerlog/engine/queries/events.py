"""Events, read back: of a run, an agent's feed, and what was refused to workers without the lease."""

from __future__ import annotations

from collections.abc import Sequence

from towerlog.engine.queries.context import QueryContext
from towerlog.errors import Invalid, NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.event import DamagedEvent, Event, EventType, Found
from towerlog.model.principal import Principal
from towerlog.store.values import PAGE_BODY_BYTES, Quarantined


async def answer(source: QueryContext, principal: Principal, command: q.ListEvents) -> o.Page:
    """A page of a run's events, up to the first that is damaged. Raises NotFound; Damaged where the page begins so."""
    run = await source.run_of(principal, command.run_id)
    limit = command.limit
    if command.quarantined:
        kept = await source.store.quarantined(principal.org, run.run, limit + 1, command.after_seq)
        found: list[Found] = [_as_event(number, item) for number, item in kept]
    else:
        found = await source.store.events(
            principal.org, run.run, command.after_seq, limit + 1, command.types, run.last_seq
        )
    whole, damaged = _until_damaged(found)
    if damaged is not None and not whole:
        raise damaged.error(run.run_id)
    page = whole[:limit]
    size = sum(len(event.data) for event in page)
    more = damaged is not None or len(whole) > limit or size >= PAGE_BODY_BYTES
    return o.Page(page, str(page[-1].seq) if more else None)


def _until_damaged(found: Sequence[Found]) -> tuple[list[Event], DamagedEvent | None]:
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
