"""The questions of `SqliteStore` about what waits for a person."""

from __future__ import annotations

from towerlog.store.sqlite.asking import approvals as asking
from towerlog.store.sqlite.pools import Ask, HasPools, Where


class ApprovalAsks(HasPools):
    """A part of the store; see `store/base/approvals` for what each method promises."""

    approvals = Ask(asking.approvals)
    approval = Ask(asking.approval)
    checkpoints_undecided = Ask(asking.checkpoints_undecided)
    spent_links_drop = Ask(asking.drop_spent_links, Where.BETWEEN_UNITS)
