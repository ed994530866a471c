"""Times of leases and reservations: kept on one clock that all nodes share, shown on each node's own.

The engine measures leases in time in which its own process could hear. Rows have the time of the database, so that one
node can judge what another has written. The difference between the two is taken anew with each unit of work: time that
this node did not hear in went on for all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from towerlog.model.budget import Reservation
from towerlog.model.lane import Lane

ASKING_MS = 250
"""So much of a difference may come from the time that the question took."""
NOW_SQL = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
"""The database's clock, in ms."""


class LeaseTimes(Protocol):
    """Between the times in rows and those of this node."""

    offset_ms: int
    """What a time in a row is ahead of the same time here."""

    def note(self, database_ms: int, here_ms: int) -> None:
        """The two clocks at one moment."""
        ...


class DatabaseTimes:
    """Rows have the database's clock."""

    def __init__(self, database_ms: int, here_ms: int) -> None:
        """Both clocks now."""
        self.offset_ms = database_ms - here_ms

    def note(self, database_ms: int, here_ms: int) -> None:
        """From now on the two differ by this, unless asking explains it: then times in rows would be told differently
        each time that they are read."""
        found = database_ms - here_ms
        if abs(found - self.offset_ms) > ASKING_MS:
            self.offset_ms = found


class OwnTimes:
    """Rows have this node's clock: for a store that only one node uses, whose clock somebody else sets."""

    offset_ms = 0

    def note(self, database_ms: int, here_ms: int) -> None:
        """Changes nothing."""


TimesOf = Callable[[int, int], LeaseTimes]
"""From the database's clock and this node's at one moment."""


def moved_lane(lane: Lane, by_ms: int) -> Lane:
    """A lane whose times are moved to another clock."""
    if not by_ms:
        return lane
    return msgspec.structs.replace(
        lane,
        queued_at=lane.queued_at + by_ms,
        claimed_at=_moved(lane.claimed_at, by_ms),
        expires_at=_moved(lane.expires_at, by_ms),
        last_heartbeat=_moved(lane.last_heartbeat, by_ms),
    )


def moved_reservation(held: Reservation, by_ms: int) -> Reservation:
    """The same of a reservation."""
    return msgspec.structs.replace(held, expires_at=held.expires_at + by_ms) if by_ms else held


def _moved(at: int | None, by_ms: int) -> int | None:
    return None if at is None else at + by_ms
