"""A backend as a whole: the parts of the contract together, and the unit of work.

Laws:

* **One unit, one transaction.** What stands in a `Changes` is committed and on stable storage together, or not at all.
* At most one unit is open in a process; a second one waits. What it read stays true until its commit.
* A commit that was begun runs to its end, whatever becomes of the caller.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from towerlog.model.alert import WindowCount
from towerlog.model.approval import ApprovalRow
from towerlog.model.budget import BudgetRow, Reservation
from towerlog.model.event import Logged
from towerlog.model.lane import Lane
from towerlog.model.removal import RemovedOrg
from towerlog.model.retention import Erasing
from towerlog.model.run import RunRow
from towerlog.store.base.alerts import AlertStore
from towerlog.store.base.approvals import ApprovalStore
from towerlog.store.base.audit import AuditStore
from towerlog.store.base.budgets import BudgetStore
from towerlog.store.base.content import ContentStore
from towerlog.store.base.identities import IdentityStore
from towerlog.store.base.lanes import LaneStore
from towerlog.store.base.log import LogStore
from towerlog.store.base.members import MemberStore
from towerlog.store.base.prices import PriceStore
from towerlog.store.base.retention import RetentionStore
from towerlog.store.base.rows import RowStore
from towerlog.store.base.verification import VerificationStore
from towerlog.store.damage import Damages
from towerlog.store.space import Space
from towerlog.store.stock import Stock
from towerlog.store.trouble import Trouble
from towerlog.store.values import Changes, Found, Loaded, Spread, Wanted


class Unit(Protocol):
    """A unit of work: a consistent view for planning, then one commit."""

    async def hold(self, orgs: frozenset[int]) -> bool:
        """Before anything else: keeps others from changing these organisations until the unit ends.

        False where one of them has changed otherwise than by units that held it in this process, since one did last:
        rows that are remembered of any organisation may then not be what is stored.
        """
        ...

    async def load(self, wanted: Wanted, serving_ms: int) -> Loaded:
        """All of it in one question. Every kind asked for is in the answer; keys and values are described at `Kind`.

        `serving_ms` tells which leases have run out.
        """
        ...

    async def lanes_expired(self, serving_ms: int, limit: int) -> list[Lane]:
        """Held lanes of any organisation whose lease ran out, oldest deadline first."""
        ...

    async def runs_cancelling(self, after: tuple[int, int], limit: int) -> list[RunRow]:
        """Runs of any organisation that are being cancelled, by (wall ms of the request, run number)."""
        ...

    async def spreads(self, limit: int) -> list[Spread]:
        """Cancels of any organisation that have not reached all runs below theirs."""
        ...

    async def runs_silent(self, noted: bool, before_ms: int, after: tuple[int, int], limit: int) -> list[RunRow]:
        """Runs of any organisation whose silence is timed and whose `seen_at` is no later, by (`seen_at`, run number).

        `noted`: those whose silence does not matter, or was noted; else the others.
        """
        ...

    async def budget_due(self, now_ms: int) -> BudgetRow | None:
        """The budget of any organisation about which there is something to do by now (wall ms), the oldest first."""
        ...

    async def runs_of_step(self, row: BudgetRow, limit: int) -> list[RunRow]:
        """The next runs that its step has to reach, by number: open ones in its scope, or those that it paused."""
        ...

    async def reservations_expired(self, now_ms: int, limit: int) -> list[Reservation]:
        """Reservations of any organisation whose time is over, oldest first."""
        ...

    async def approvals_due(self, after_ms: int, until_ms: int, limit: int) -> list[ApprovalRow]:
        """What has expired after one moment and until another (wall ms) in any organisation and is not marked as such,
        the oldest expiry first."""

    async def alert_window(self, org: int, rule_id: str, since_minute: int) -> WindowCount:
        """What a rule has added up from this minute since the epoch on."""
        ...

    def erase(self, run: int) -> Awaitable[Erasing | None]:
        """A step of the erasure of a run, in a transaction of its own; how far it has come, None where there is none.

        Raises StorageFailed, and then nothing of the step is written.
        """
        ...

    def erase_org(self, org: int, now_ms: int) -> Awaitable[tuple[RemovedOrg, int] | None]:
        """A step of the erasure of a removed organisation, in a transaction of its own: how far it has come, and how
        many rows it has erased. None where it is not removed, or nothing is left. `now_ms`: wall ms.

        Raises StorageFailed, and then nothing of the step is written.
        """
        ...

    def sweep_content(self, before: tuple[int, int]) -> Awaitable[tuple[int, int] | None]:
        """Takes some content out that nothing points at, up to these numbers, in a transaction of its own.

        The numbers before which the next is to begin, the same where it has only made ready to look; None for no more.
        """
        ...

    def give_back(self) -> Awaitable[int]:
        """Gives some of the free pages back to the file system, in a transaction of its own; how many are left."""
        ...

    def try_to_write(self) -> Awaitable[None]:
        """Writes next to nothing, durably, to find out whether that is possible. Raises StorageFailed when awaited."""
        ...

    def commit(self, changes: Changes) -> Awaitable[None]:
        """Writes all of it durably, in one transaction; to be awaited before the unit ends, once.

        Raises StorageFailed, at once or when awaited, and then nothing is written.
        """
        ...


class NodeStore(Protocol):
    """What the nodes of one store agree on by it. Times are by a clock that all of them share.

    Raises Overloaded and StorageFailed where the store does not answer soon.
    """

    async def meet(self, node: str, about: str, ttl_ms: int) -> dict[str, str]:
        """Says that a node is there for so long; the others that are, with what they say of themselves."""
        ...

    async def lead(self, node: str, ttl_ms: int) -> bool:
        """Takes or keeps the lead for so long; False where another node has it."""
        ...

    async def leave(self, node: str) -> None:
        """It is there no more, and leads no more."""
        ...

    async def spend(self, name: str, ttl_ms: int) -> bool:
        """Uses something up that can be used once; False where it was. It is known for so long."""
        ...

    async def positions(self) -> dict[int, int]:
        """Organisation → the position of its newest event."""
        ...

    async def logged(self, org: int, after: int, limit: int) -> Found[Logged]:
        """The organisation's log after a position, in order, each event as it may be shown; paged like `events`."""
        ...


class Store(
    LogStore,
    RowStore,
    ContentStore,
    LaneStore,
    BudgetStore,
    PriceStore,
    RetentionStore,
    ApprovalStore,
    AlertStore,
    IdentityStore,
    MemberStore,
    AuditStore,
    VerificationStore,
    Protocol,
):
    """A backend, opened. Reading methods may run at any time, beside a unit."""

    name: str
    exclusive: bool
    """True when no other process writes runs: rows may then be cached between units, whatever `hold` says."""
    damages: Damages
    """What has been read and was damaged, and which reads have failed."""
    trouble: Trouble
    """Whether it may still be written: both the writer and whoever stops it look here before each act."""
    space: Space
    """The room on its disk: writes are refused while it is too little, what makes room is not."""
    copied_positions: Mapping[int, int] | None
    """Organisation → the position up to which this log is the one that it was first copied from; None for no copy."""
    nodes: NodeStore | None
    """What other nodes are met by; None where the store is one process's alone."""
    epoch: str
    """Names this log; a restored or recreated one has another."""

    def begin(self) -> AbstractAsyncContextManager[Unit]:
        """A unit of work."""
        ...

    async def close(self) -> None:
        """Finishes what is under way and lets go of the files."""
        ...

    async def stock(self) -> Stock:
        """What it holds, over all organisations. Counts by indices alone, and is for the operator's metrics."""
        ...

    async def ping(self) -> None:
        """Reads real pages. Raises StorageFailed unless it can, or where reads have failed again and again."""
        ...

    def obstacle(self) -> str | None:
        """What is in the way of writes, in one word; None where nothing is.

        `storage_failed`, for good; `disk_full`; `writes_refused`, where the last one was refused for another reason,
        which passes; `checkpoint_failed`, while writes go on.
        """
        ...
