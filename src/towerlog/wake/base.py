"""The contract of a wake: one call after each commit, on which everything hangs that waits for news.

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
from towerlog.model.run import RunRow


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
    """(organisation, budget id) → the row as it is now; None for one that is gone."""
    approvals: Mapping[tuple[int, int], ApprovalRow | None] = {}
    """(run number, seq) → what is open there as it is now; None for what is not any more. What an ended run has left
    open is not named."""
    alerts: Mapping[tuple[int, str], AlertRow] = {}
    """(organisation, alert id) → the alert as it is now."""
    messages_of: frozenset[int] = frozenset()
    """Organisations of which new messages to people wait in the outbox since this commit."""


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
