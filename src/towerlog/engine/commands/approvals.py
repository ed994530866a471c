"""Approvals: a person decides about a checkpoint that waits for it."""

from __future__ import annotations

import msgspec

from towerlog.engine.commit.load import Needs
from towerlog.engine.commit.plan import Plan
from towerlog.errors import NotFound, NotWaiting
from towerlog.model.command import Decide
from towerlog.model.event import EventType
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.outcome import Decided
from towerlog.model.principal import Principal
from towerlog.model.run import Status
from towerlog.store.values import Kind

APPROVALS = "checkpoints"
"""What decisions are written under."""


def needs_of_decide(needs: Needs, principal: Principal, command: Decide) -> None:
    """The checkpoints that may be meant, each with its run and its agent."""
    needs.counters(principal.org)
    for row in needs.want(Kind.DECISION, (principal.org, command.trace_id, command.step_index)) or ():
        needs.agent(row.org, row.agent)
        run = needs.run_by_number(row.run)
        if run is not None:
            needs.moves(run)


def decide(plan: Plan, principal: Principal, command: Decide) -> Decided:
    """Approves or rejects. Raises NotFound for an unknown checkpoint, NotWaiting when it was decided before."""
    org = principal.org
    stored = plan.loaded(Kind.DECISION, (org, command.trace_id, command.step_index))
    rows = [plan.checkpoint(row.run, row.agent, row.step_index) or row for row in stored]
    if command.agent is not None:
        rows = [row for row in rows if row.agent == command.agent]
    if not rows:
        raise NotFound("checkpoint")
    waiting = [row for row in rows if row.status == "waiting_for_approval"]
    if not waiting:
        raise NotWaiting(f"This checkpoint is not waiting for approval: it is {rows[0].status}. It is decided once.")
    row = waiting[0]
    run_state = plan.run_state_of(row.run)
    if run_state is None:
        raise NotFound("run")
    if run_state.row.is_terminal():
        raise NotWaiting(f"The run has ended: {run_state.row.status}.")
    members = {"step_index": row.step_index, "status": command.status, "decided_by": principal.user_id}
    members |= {"reason": command.reason} if command.reason else {}
    facts = Facts(
        name=command.status,
        effects=Effects(
            status=Status.RUNNING, checkpoint=CheckpointFacts(row.step_index, command.status, decision=True)
        ),
    )
    data = msgspec.json.encode(members)
    plan.append(run_state, plan.agent(org, row.agent), EventType.CHECKPOINT, data, dialect=APPROVALS, facts=facts)
    return Decided(command.trace_id, row.step_index, command.status)
