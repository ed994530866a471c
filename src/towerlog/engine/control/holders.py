"""Holders of leases: what one sees of its run, and whether what it was answered still holds."""

from __future__ import annotations

from towerlog.model.agent import AgentRow
from towerlog.model.command import Claim, ClaimRun, Finish, Report
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import RunView
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow

BY_LEASE_HOLDER = (Report, Finish, ClaimRun, Claim)
"""Commands whose answer is worth something to the holder of the lease alone."""


def lane_view(principal: Principal, row: RunRow, lane: Lane, agent: AgentRow | None) -> RunView:
    """A run as its worker sees it."""
    return RunView(row, principal.org_id, agent_id=None if agent is None else agent.agent_id, lane=lane)


def may_repeat(principal: Principal, worker_id: str, epoch: int | None, lane: Lane | None) -> bool:
    """Whether what a worker was answered under an Idempotency-Key still holds: not once its lease is gone.

    `epoch` is that of the lease which the answer granted; None for an answer that granted none.
    """
    if lane is None or lane.state not in (QueueState.HELD, QueueState.DONE):
        return False
    return lane.belongs_to(worker_id, epoch, principal.key_id)
