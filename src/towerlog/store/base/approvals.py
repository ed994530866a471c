"""What is open in an organisation's inbox, as it is read. It is written by units alone.

Laws:

* The inbox is a projection: each row follows from a run's questions or from a checkpoint that waits, and what has ended
  has none. A rebuild makes it anew.
* A link that was used is remembered at least until it would have expired.
"""

from __future__ import annotations

from typing import Protocol

from towerlog.model.approval import ApprovalKind, ApprovalRow
from towerlog.model.checkpoint import CheckpointRow
from towerlog.store.values import Found


class ApprovalStore(Protocol):
    """Reads of the inbox."""

    async def approvals(
        self, org: int, limit: int, after: int, kind: ApprovalKind | None, run: int | None
    ) -> Found[ApprovalRow]:
        """What was asked after a position, oldest first; of one kind and of one run, where these are given."""
        ...

    async def approval(self, org: int, run: int, seq: int) -> ApprovalRow | None:
        """One, if it is open."""
        ...

    async def checkpoints_undecided(self, org: int, run: int, limit: int) -> list[CheckpointRow]:
        """Checkpoints of a run that wait for approval, or did when it ended, by agent and step."""
        ...

    async def spent_links_drop(self, now_ms: int, limit: int) -> int:
        """Forgets used links that have expired by now (wall ms), at most so many; how many. Meanwhile no unit is
        open."""
        ...
