"""Retention: policies, what they would erase, and erasures under way. They are written by units alone.

Laws:

* A policy is state, no projection: a rebuild leaves it alone.
* An erasure that the log tells of is carried out in steps (`Unit.erase`), and is found again after a restart until it
  is done. A step leaves tombstones that keep run, seq, position and hash, and takes out of the content store only what
  no checkpoint of another run points at.
* What a step has erased is in no page of the store any more once `wipe` has gone over it.
"""

from __future__ import annotations

from typing import Protocol

from towerlog.model.facts import Erases
from towerlog.model.retention import HeldBytes, RetentionPolicy
from towerlog.model.run import RunRow
from towerlog.store.values import Found


class RetentionStore(Protocol):
    """Reads of retention."""

    async def policies_of(self, org: int) -> tuple[RetentionPolicy, ...]:
        """All policies of an organisation, by kind."""
        ...

    async def policies_all(self) -> list[RetentionPolicy]:
        """Those of all organisations."""
        ...

    async def runs_held(self, org: int, kind: Erases, before_ms: int | None, limit: int) -> Found[RunRow]:
        """Runs that have such content, the first to end first.

        By time those that ended before one (wall ms); with None all, in the order in which their ends stand in the
        log, whatever the clock was then.
        """
        ...

    async def erasing_next(self, after: int, limit: int) -> list[int]:
        """Runs of any organisation whose erasure is under way, by number."""
        ...

    async def held_bytes(self, org: int, after: int, limit: int) -> HeldBytes:
        """What the events after a position hold that may be erased, so many of them; `until` is `after` where there are
        none. Tombstones and what tells of an erasure hold nothing."""
        ...

    async def content_bytes(self, org: int, after: tuple[int, int, int], limit: int) -> tuple[int, int, int, int]:
        """What the content store holds beyond these numbers of its three parts: the new numbers, and the bytes."""
        ...

    async def content_end(self) -> tuple[int, int]:
        """The last numbers that the content store has given out: what comes later may be on its way to an event."""
        ...

    async def gives_back(self) -> bool:
        """Whether the files become smaller when something is erased; else its room is used anew."""
        ...

    async def age_kept(self) -> tuple[str | None, int | None]:
        """What `age_keep` wrote last, and when (wall ms) the newest event of any organisation was recorded."""
        ...

    async def age_keep(self, state: str) -> None:
        """Keeps the state of the clock by which things grow old."""
        ...

    async def age_confirmed(self) -> str | None:
        """What `Identities.clock_confirm` wrote last."""
        ...

    async def unwiped(self) -> int:
        """How many steps of erasures nobody has gone over the pages after, also before a restart: see `wiped`."""
        ...

    async def wiped(self, steps: int) -> None:
        """All pages were gone over since there were so many; where there are more by now, these are still to be."""
        ...

    async def wipe(self, page: int) -> int:
        """Overwrites what is free in some pages of the store from a page on; the next page, 0 at the end.

        Nothing is overwritten, and the same page given back, while what was committed is not in the pages yet.
        """
        ...
