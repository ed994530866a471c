"""The contract of a wake: one call after each commit, on which everything hangs that waits for news. And that of a bus,
which carries messages between the nodes of one store.

A wake-up is only a reason to read. Whoever is woken looks at the store (or at what it was handed, where that saves the
look) and must be right when a wake-up comes twice or for nothing. A backend for one process may hand over the committed
events themselves, as an optimisation; one between processes hands over what identifies them. No listener may need more
than that to be correct.

Laws, each a test in `tests/wake` or, with a store, in `tests/contract/test_wake.py`:

* What does not commit is never told.
* Each listener that has an audience is called once for each commit, in commit order, after the commit is durable.
* A listener that raises is logged; the others are called all the same, and the caller of `committed` sees nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.alert import AlertRow
from towerlog.model.approval import ApprovalRow
from towerlog.model.budget import BudgetRow
from towerlog.model.event import Event
from towerlog.model.lane import Lane
from towerlog.model.run import RunRow, Status


class Change(Protocol):
    """A run's row before and after a commit; `before` is None for a new run."""

    @property
    def before(self) -> RunRow | None:
        """As it was before the commit."""
        ...

    @property
    def after(self) -> RunRow:
        """As it is now."""
        ...

    @property
    def moves(self) -> tuple[tuple[int, Status], ...]:
        """(seq, status from that event on) of each event of the commit that has moved the status."""
        ...

    def row_at(self, seq: int) -> RunRow:
        """As it is now, but with the status that it had after this event of the commit."""
        ...


class Commit(msgspec.Struct, frozen=True):
    """What one commit changed, by reference: nothing here is copied or computed before somebody asks for it."""

    events: Sequence[Event] = ()
    """In the order of their positions."""
    runs: Mapping[int, Change] = {}
    """Run number → its row before and after."""
    lanes: Mapping[int, Lane] = {}
    """Run number → its lane as it is now, for lanes that changed in any way, heartbeats included."""
    agents: Mapping[int, AgentRow] = {}
    """Agent number → its row as it is now, of every agent that an event names, or that has changed without one."""
    budgets: Mapping[tuple[int, str], BudgetRow | None] = {}
    """(organisation, budget id) → the row as it is now; None for one that is gone, or not at hand."""
    approvals: Mapping[tuple[int, int], ApprovalRow | None] = {}
    """(run number, seq) → what is open there as it is now; None for what is not any more, or not at hand. What an ended
    run has left open is not named."""
    alerts: Mapping[tuple[int, str], AlertRow | None] = {}
    """(organisation, alert id) → the alert as it is now; None for one that is not at hand."""
    messages_of: frozenset[int] = frozenset()
    """Organisations of which new messages to people wait in the outbox since this commit."""
    unknown: frozenset[int] = frozenset()
    """Organisations in which more may have changed than is named here: what was kept of them is to be read anew."""


def has_news(change: Change) -> bool:
    """Whether the run's agent, if it waits for commands, has something new to be told: a command, or the end."""
    return change.after.has_undelivered() or change.after.is_terminal()


Listener = Callable[[Commit], None]
"""Called on the event loop; must return soon and must not wait."""


class Wake(Protocol):
    """Tells its listeners of each commit."""

    def subscribe(
        self, listener: Listener, audience: Collection[object] | None = None, *, of_messages: bool = False
    ) -> None:
        """Adds a listener, for good. Listeners are called in the order in which they subscribed.

        `audience`: those for whom it listens. While there are none it need not be called. `of_messages`: it need not be
        called of commits without messages to people.
        """
        ...

    def committed(self, commit: Commit) -> None:
        """Calls every listener. To be called once for each commit, in commit order. Never raises."""
        ...

    def is_heard(self) -> bool:
        """Whether any audience is there; while there is none, only messages to people are of interest."""
        ...


class NotSent(Exception):
    """The bus cannot carry anything at the moment; the words are for the log."""


class Bus(Protocol):
    """Carries messages between nodes. One may be lost, and then `healed` is called or the store is looked at in time;
    none comes twice, and those of one node come in their order."""

    max_bytes: int
    """Of one message."""
    attaches: bool
    """Whether there is room for what was committed itself, beside what names it."""

    async def open(self, heard: Callable[[bytes], None], healed: Callable[[], None]) -> None:
        """Connects, and goes on connecting until `close`. Raises NotSent where that fails at first.

        `heard` is called with each message, also with those that were sent here. `healed`: after a connection was lost
        and made anew; messages may have been missed.
        """
        ...

    async def send(self, message: bytes) -> None:
        """To all nodes. Raises NotSent."""
        ...

    async def close(self) -> None:
        """Lets go of the connection."""
        ...
