"""The log: events in the order of their commits, and the feeds of agents, which are parts of it.

Laws:

* **Positions rise by commit order** inside an organisation; **seq is dense** in a run. Both are given by the engine
  from what the counters and the run's row showed it, and the store refuses a second event at the same place.
* **An event id appends once** per run, for the run's life.
* **What is read is what was written.** Where an event is not, or is not there at all, a `DamagedEvent` stands in its
  place, and `damages` has counted it. Only `log` gives what is stored, as it is: it is for `verify`.
* A trim takes events away from a run's beginning; what is left keeps its seq and its position, and is checked as it was
  before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from towerlog.model.event import Event, Logged
from towerlog.model.outline import Moment
from towerlog.model.principal import Counters
from towerlog.store.values import Found


class LogStore(Protocol):
    """Reads of the log, and its trim."""

    async def events(
        self,
        org: int,
        run: int,
        after_seq: int,
        limit: int,
        types: Sequence[str] | None = None,
        known_last: int = 0,
    ) -> Found[Logged]:
        """A run's events after a seq, in order; fewer than `limit` when their bodies fill `PAGE_BODY_BYTES` before.

        `known_last`: the run has had so many events, and those up to there that are not found and were not trimmed are
        damaged. Without `types` alone.
        """
        ...

    async def events_at(self, org: int, run: int, seqs: Sequence[int]) -> dict[int, Logged]:
        """Some events of a run by their seqs."""
        ...

    async def feed(self, org: int, agent: int, limit: int, after: int | None) -> Found[Logged]:
        """An agent's feed, oldest first: after a position, or (None) the newest."""
        ...

    async def feed_start(self, org: int, agent: int, tail: int) -> int | None:
        """The position of the oldest of a feed's newest `tail` events, without reading them; None for an empty feed."""
        ...

    async def log(self, org: int, after: int, limit: int) -> Found[Event]:
        """The organisation's whole log after a position, in order; paged like `events`."""
        ...

    async def moments(self, org: int, run: int, after_seq: int, limit: int) -> list[Moment]:
        """A run's events after a seq, in order, without their bodies, and unchecked; of text without facts."""
        ...

    async def counters(self, org: int) -> Counters:
        """The numbers that the organisation has given out, as of the last commit."""
        ...

    async def runs_touched(self, org: int, after: int, until: int) -> list[int] | None:
        """Numbers of the runs that have events after one position, up to another; None where events between them are
        gone, so that not all are known."""
        ...

    async def run_trim(self, org: int, run: int, before_seq: int) -> None:
        """Drops a run's events below a seq; what is left keeps its seq."""
        ...

    async def forwarding_begin(self) -> None:
        """Notes how far each organisation's log is, unless that was done before: from there on runs are forwarded."""
        ...

    async def forwarding_waits(self, after: int, limit: int) -> list[tuple[int, int, int]]:
        """Organisations after a number whose log is further than it was forwarded: (number, so far, its newest)."""
        ...

    async def forwarding_keep(self, org: int, position: int) -> None:
        """Notes how far an organisation's log was forwarded."""
        ...
