"""What can be followed. `subjects` says where an event is published; nothing else decides that.

A new subject (an organisation) is one more name here, its cursor, and one more line in `subjects`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from towerlog.model.event import Event, Logged
from towerlog.model.feed import has_feed_place
from towerlog.model.run import RunRow

Subject = tuple[str, int | str]
"""(what it is, its number; of a user its id)"""

RUN, AGENT, AGENT_LOG, USER = "run", "agent", "agent log", "user"
"""A run; an agent's feed; all events of an agent; all events of the runs that a user's keys have begun."""

CURSORS: Mapping[str, Callable[[Logged], int]] = {
    RUN: attrgetter("seq"),
    AGENT: attrgetter("position"),
    AGENT_LOG: attrgetter("position"),
    USER: attrgetter("position"),
}
"""By what a reader of such a subject counts."""

DENSE = frozenset({RUN})
"""Subjects whose cursors have no holes, so that a missing one is a gap; of the others only the order is known."""


def subjects(event: Event, row: RunRow) -> Iterable[Subject]:
    """Every subject that this event belongs to; `row`: of its run, with this event folded in."""
    found: list[Subject] = [(RUN, event.run)]
    if row.created_by is not None:
        found.append((USER, row.created_by))
    if event.agent:
        found.append((AGENT_LOG, event.agent))
        if has_feed_place(event):
            found.append((AGENT, event.agent))
    return found
