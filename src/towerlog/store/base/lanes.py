"""Lanes: the queue of runs that wait for a worker, and what was refused to workers without the lease.

Laws:

* A lane is state, no projection: the last one written stands. It is found by its run's number.
* **Oldest first.** Of the lanes that a worker may take (`Kind.CLAIMS`), it is given the queued one with the lowest
  place, else such a held one that ran out. Lanes that do not fit cost nothing by their number, only by how many
  different sets of labels they ask for.
* What is quarantined is kept once however often it is sent, and at most `MAX_QUARANTINED` items of
  a run and key, and about `MAX_QUARANTINED_BYTES` of them.
* Deadlines of leases are on the steady clock; opening a store gives each held lane one full new length, so that a
  restart makes a lease longer by at most itself and never shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from towerlog.model.lane import Lane
from towerlog.model.run import Status
from towerlog.store.values import Found, Quarantined


class LaneStore(Protocol):
    """Reads of lanes."""

    async def lane(self, org: int, run: int) -> Lane | None:
        """One lane."""
        ...

    async def lanes(self, org: int, limit: int, statuses: Sequence[Status] | None = None) -> list[Lane]:
        """Lanes that are not done, oldest first; or (`statuses`) those of runs in one of these, newest first."""
        ...

    async def lanes_of(self, org: int, runs: Sequence[int]) -> list[Lane]:
        """The lanes of some runs of this organisation, done or not."""
        ...

    async def lanes_held(self, org: int, limit: int) -> list[Lane]:
        """Held lanes, oldest first; those among them whose lease ran out too."""
        ...

    async def lanes_queued(self, org: int, after: int, limit: int) -> list[Lane]:
        """Lanes that wait for a worker, behind a place of the queue, the lowest place first."""
        ...

    async def lane_counts(self, org: int) -> tuple[int, int, int | None]:
        """(queued, held, oldest queued_at)."""
        ...

    async def quarantined(self, org: int, run: int, limit: int, after: int) -> Found[tuple[int, Quarantined]]:
        """What was refused to workers without the lease, with a rising number each."""
        ...
