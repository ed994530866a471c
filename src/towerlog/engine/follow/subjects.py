"""What can be followed. `subjects` says where an event is published; nothing else decides that.

A new subject (a user, an organisation) is one more name here, its cursor, and one more line in `subjects`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from towerlog.model.event import Event, Logged, has_feed_place

Subject = tuple[str, int]
"""(what it is, its number)"""

RUN, AGENT = "run", "agent"

CURSORS: Mapping[str, Callable[[Logged], int]] = {RUN: attrgetter("seq"), AGENT: attrgetter("position")}
"""By what a reader of such a subject counts."""

DENSE = frozenset({RUN})
"""Subjects whose cursors have no holes, so that a missing one is a gap; of the others only the order is known."""


def subjects(event: Event) -> Iterable[Subject]:
    """Every subject that this event belongs to."""
    run = (RUN, event.run)
    return (run, (AGENT, event.agent)) if event.agent and has_feed_place(event) else (run,)
