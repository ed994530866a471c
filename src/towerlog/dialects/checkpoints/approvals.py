"""Approvals of the dialect `checkpoints`: the list of checkpoints that wait for a person, and the decision about one.

A path names a step, not what waits there: with `asked_seq` a decision is about the tool calls that were read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

import msgspec

from towerlog import errors
from towerlog.dialects import base, fields
from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_asked
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json
from towerlog.dialects.fields import NULL
from towerlog.errors import NotFound
from towerlog.model.approval import ApprovalKind
from towerlog.model.approval_views import ApprovalView
from towerlog.model.checkpoint import APPROVED, REJECTED
from towerlog.model.command import Decide
from towerlog.model.outcome import Decided, Page
from towerlog.model.principal import Scope
from towerlog.model.question import ListApprovals
from towerlog.model.times import format_ms

MAX_APPROVALS = 1000
_STEP = re.compile(r"[0-9]{1,16}")


class Approval(msgspec.Struct, frozen=True):
    """A checkpoint that waits for a person."""

    trace_id: v.TraceId
    thread_id: v.ThreadId
    agent_id: Annotated[str, v.said("The agent, as the runner names it.", "researcher")]
    step_index: v.StepIndex
    pending_tool_calls: Annotated[
        msgspec.Raw,
        v.said(
            "The tool calls that wait for the decision.", [{"id": "call_1", "name": "delete_page", "arguments": {}}]
        ),
    ]
    created_at: v.CreatedAt


class ApprovalsQuery(msgspec.Struct, frozen=True):
    """The most approvals to list."""

    limit: Annotated[int, v.limit(MAX_APPROVALS)] = MAX_APPROVALS


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Optional body of an approval: the agent, if several wait at one step, and a reason."""

    agent_id: (
        Annotated[str, v.said("Whose checkpoint, where several agents wait at one step.", "researcher")] | None
    ) = None
    asked_seq: (
        Annotated[
            Annotated[int, msgspec.Meta(ge=1)],
            v.said(
                "The event whose tool calls were read: the last number of the `approval_id`. 409 for any other.",
                12,
            ),
        ]
        | None
    ) = None
    reason: v.Reason | None = None


class DecisionTaken(msgspec.Struct, frozen=True):
    """The checkpoint after the decision."""

    ok: v.Ok
    trace_id: v.TraceId
    step_index: v.StepIndex
    status: v.CheckpointStatus


class Shown(msgspec.Struct, frozen=True):
    turn_start_history_len: msgspec.Raw = NULL
    pending_tool_calls: msgspec.Raw = NULL


SHOWN = msgspec.json.Decoder(Shown)
_NO_CALLS = msgspec.Raw(b"[]")


def calls_in(shown: Shown) -> msgspec.Raw:
    return _NO_CALLS if bytes(shown.pending_tool_calls) == b"null" else shown.pending_tool_calls


def _decode_approvals(call: Call) -> ListApprovals:
    limit = fields.query_int(call.query, "limit", MAX_APPROVALS, 1, MAX_APPROVALS)
    return ListApprovals(limit, kind=ApprovalKind.APPROVAL)


def _encode_approvals(page: Page, command: object, _call: Call) -> Reply:
    return reply_json([_approval(view) for view in page.rows if isinstance(view, ApprovalView)])


def _approval(view: ApprovalView) -> Approval:
    row, run = view.row, view.run
    calls = calls_in(SHOWN.decode(view.data))
    return Approval(run.trace_id, run.thread_id, row.agent or "", row.step_index or 0, calls, format_ms(row.asked_at))


_DECISION = msgspec.json.Decoder(Decision)


def _decide(status: str) -> Callable[[Call], Decide]:
    def decode(call: Call) -> Decide:
        trace_id = fields.path_id(call.path["trace_id"], "checkpoint")
        step = call.path["step_index"]
        # A step that cannot exist is not found, as any other path that names nothing.
        if not _STEP.fullmatch(step):
            raise NotFound("checkpoint")
        given = fields.decode(_DECISION, call.body) if call.has_body else Decision()
        agent = agent_asked(given.agent_id, "agent_id")
        reason = fields.bounded_text(given.reason, "reason")
        return Decide(trace_id, int(step), status, agent, reason, asked_seq=given.asked_seq)

    return decode


def _encode_decided(decided: Decided, command: object, _call: Call) -> Reply:
    return reply_json(DecisionTaken(True, decided.trace_id, decided.step_index, decided.status))


def _decision_endpoint(verb: str, status: str) -> Endpoint:
    return Endpoint(
        "POST",
        f"/approvals/{{trace_id}}/{{step_index}}/{verb}",
        f"checkpoints.{verb}",
        f"{verb.capitalize()} the tool calls of a checkpoint that waits",
        base.scopes(Scope.CONTROL),
        _decide(status),
        _encode_decided,
        request=Decision,
        reply=DecisionTaken,
        refuses=(errors.NotWaiting,),
    )


APPROVALS = (
    Endpoint(
        "GET",
        "/approvals",
        "checkpoints.approvals",
        "Checkpoints that wait for a person, oldest first",
        base.scopes(Scope.CONTROL),
        _decode_approvals,
        _encode_approvals,
        reply=list[Approval],
        query=ApprovalsQuery,
    ),
    _decision_endpoint("approve", APPROVED),
    _decision_endpoint("reject", REJECTED),
)
"""The endpoints."""
