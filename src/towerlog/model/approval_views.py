"""What is shown of approvals: one of the inbox, one that was answered, a link for one."""

from __future__ import annotations

import msgspec

from towerlog.model.approval import AnswerLink, ApprovalRef, ApprovalRow, ApprovalState, ClosedApproval
from towerlog.model.run import RunRow


class ApprovalView(msgspec.Struct, frozen=True, gc=False):
    """What waits for a person, or has waited, with its run and the data of the event that asks: a JSON object."""

    row: ApprovalRow
    run: RunRow
    data: bytes
    closed: ClosedApproval | None = None
    """None while it is open."""


class ApprovalAnswered(msgspec.Struct, frozen=True, gc=False):
    """An approval after its answer."""

    ref: ApprovalRef
    state: ApprovalState


class LinkMade(msgspec.Struct, frozen=True, gc=False):
    """A link, not signed yet."""

    link: AnswerLink
