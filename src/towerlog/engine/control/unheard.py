"""Time in which nobody could be heard, as those see it who had to say something by a time of the wall clock.

A start, a full disk, a process that stood still: what was to be said by then may be in a socket, or come with the next
attempt. So it is waited for HEARD_LATE_MS longer, and what that time decides is decided afterwards, once.
"""

from __future__ import annotations

from towerlog.ambient import ServingTime
from towerlog.engine.plan.plan import Plan

HEARD_LATE_MS = 60_000
"""For so long after an outage, in serving time, an answer counts whose time ended in it. People try again by then."""


class Unheard:
    """Of one engine."""

    def __init__(self, serving: ServingTime) -> None:
        """`serving`: when it could be heard."""
        self._serving = serving
        self._latest_ms = 0

    def stretches(self) -> list[tuple[int, int]]:
        """(after, until) in wall ms, the earliest first: what was to come in one of them has not come yet."""
        self.latest_wall()
        leaps, since = self._serving.leaps(), self._serving.now().serving_ms - HEARD_LATE_MS
        return sorted((before, after) for at, before, after in leaps if at > since and before < after)

    def heard(self) -> list[tuple[int, int]]:
        """What is between them, up to now."""
        found, heard_after, now_ms = [], 0, self._serving.now().wall_ms
        for after, until in [*self.stretches(), (now_ms, now_ms)]:
            if heard_after < min(after, now_ms):
                found.append((heard_after, min(after, now_ms)))
            heard_after = max(heard_after, until)
        return found

    def latest_wall(self) -> int:
        """The latest time, in ms, that the wall clock has shown here: setting it back does not take that back. It is
        read with each look at what expires, so at least each time that a timer looks."""
        self._latest_ms = max(self._latest_ms, self._serving.now().wall_ms)
        return self._latest_ms

    def is_ended(self, at_ms: int) -> bool:
        """As `has_ended`, as of now."""
        return at_ms <= self.latest_wall()


def has_come(plan: Plan, at_ms: int) -> bool:
    """Whether it is too late for what was to be said by then, in wall ms, when this group is placed.

    Only of what leaves an event when its time comes: a process that begins knows nothing of the time before it, and
    takes all of it for time in which nobody could be heard.
    """
    return at_ms <= plan.now_ms and not any(after < at_ms <= until for after, until in plan.reactions.unheard())


def has_ended(plan: Plan, at_ms: int) -> bool:
    """Whether a right that was given until then, in wall ms, has ended: it leaves no trace by which a later process
    would know, so no outage, no start and no setting of the clock gives it more time."""
    return at_ms <= max(plan.now_ms, plan.reactions.latest_wall())
