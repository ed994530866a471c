"""The log: events in the order of their commits, and the feeds of agents, which are parts of it.

Laws:

* **Positions rise by commit order** inside an organisation; **seq is dense** in a run. Both are given by the engine
  from what the counters and the run's row showed it, and the store refuses a second event at the same place.
* **An event id appends once** per run, for the run's life.
* A trim takes events away from a run's beginning; what is left keeps its seq and its position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from towerlog.model.event import Event
from towerlog.store.values import Found


class LogStore(Protocol):
    """Reads of the log, and its trim."""

    async def events(
        self, org: int, run: int, after_seq: int, limit: int, types: Sequence[str] | None = None
    ) -> Found[Event]:
        """A run's events after a seq, in order; fewer than `limit` when their bodies fill `PAGE_BODY_BYTES` before."""
        ...

    async def events_at(self, org: int, run: int, seqs: Sequence[int]) -> dict[int, Event]:
        """Some events of a run by their seqs."""
        ...

    async def feed(self, org: int, agent: int, limit: int, after: int | None) -> Found[Event]:
        """An agent's feed, oldest first: after a position, or (None) the newest."""
        ...

    async def feed_start(self, org: int, agent: int, tail: int) -> int | None:
        """The position of the oldest of a feed's newest `tail` events, without reading them; None for an empty feed."""
        ...

    async def log(self, org: int, after: int, limit: int) -> Found[Event]:
        """The organisation's whole log after a position, in order; paged like `events`."""
        ...

    async def run_trim(self, org: int, run: int, before_seq: int) -> None:
        """Drops a run's events below a seq; what is left keeps its seq."""
        ...
