"""The questions of `SqliteStore` about what waits for a person."""

from __future__ import annotations

from towerlog.store.sqlite.approvals import approvals as approval_queries
from towerlog.store.sqlite.connections.pools import Ask, HasPools, Where


class ApprovalAsks(HasPools):
    """A part of the store; see `store/base/approvals` for what each method promises."""

    approvals = Ask(approval_queries.approvals)
    approval = Ask(approval_queries.approval)
    checkpoints_undecided = Ask(approval_queries.checkpoints_undecided)
    spent_links_drop = Ask(approval_queries.drop_spent_links, Where.BETWEEN_UNITS)
