# Generated from async_calls.py by tools/blocking_from_async.py: change the source, then run `make blocking`.
"""`Approvals`: the calls of `Client` about approvals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from towerlog.sdk.api import endpoints
from towerlog.sdk.api import fleet_shapes as fleet
from towerlog.sdk.api.caller import Caller


class Approvals(Caller):
    """A part of a client."""

    def list_approvals(self, kind: str | None = None, run_id: str | None = None) -> Iterator[fleet.Approval]:
        """What waits for a person, oldest first. `kind`: only `question` or `approval`; `run_id`: only of this run."""
        return self._all(endpoints.list_approvals(kind, run_id))

    def get_approval(self, approval_id: str) -> fleet.Approval:
        """An approval, and what became of it."""
        return self._send(endpoints.get_approval(approval_id))

    def answer_approval(self, approval_id: str, content: Any) -> fleet.Answered:
        """Answers a question: with a text, or with any JSON value where it has a schema. The first answer counts."""
        return self._send(endpoints.answer_approval(approval_id, {"content": content}))

    def approve(self, approval_id: str, reason: str | None = None) -> fleet.Answered:
        """Approves tool calls; a question is answered with `approve`."""
        return self._send(endpoints.answer_approval(approval_id, {"decision": "approve", "reason": reason}))

    def deny(self, approval_id: str, reason: str | None = None) -> fleet.Answered:
        """Denies tool calls; a question is answered with `deny`."""
        return self._send(endpoints.answer_approval(approval_id, {"decision": "deny", "reason": reason}))

    def create_answer_link(
        self, approval_id: str, sent_to: str, expires_in_seconds: int | None = None
    ) -> fleet.AnswerLink:
        """Makes a link by which whoever has it answers this approval once, named as `sent_to`; at first for a day."""
        given = {"sent_to": sent_to, "expires_in_seconds": expires_in_seconds}
        return self._send(endpoints.create_answer_link(approval_id, given))
