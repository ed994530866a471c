"""The agents of a run, as its row remembers them: those whose shares are in full, and those that are packed."""

from __future__ import annotations

from towerlog.model.agent_share import AgentShare
from towerlog.model.run import RunRow


def agents_of(row: RunRow) -> list[str]:
    """All that have told something and are remembered by their names."""
    return list(row.shares) if row.dormant is None else [*row.dormant.names(), *row.shares]


def waiting_in(row: RunRow) -> list[tuple[str, AgentShare]]:
    """The agents of checkpoints that wait for approval."""
    found = [(agent, share) for agent, share in row.shares.items() if share.awaited_step >= 0]
    return found if row.dormant is None else [*row.dormant.waiting(), *found]


def models_in(row: RunRow) -> set[str]:
    """The models that they have named last."""
    found = {share.model for share in row.shares.values() if share.model is not None}
    return found if row.dormant is None else found | row.dormant.model_names()


def is_of_several_models(row: RunRow) -> bool:
    """Whether one of them has named more than one."""
    is_dormant = row.dormant is not None and row.dormant.several > 0
    return is_dormant or any(share.several_models for share in row.shares.values())
