"""Steering: pause, resume and answer a run that is under way."""

from __future__ import annotations

from towerlog.engine.commands.cancel import CONTROL, run_of
from towerlog.engine.commit.load import Needs
from towerlog.engine.commit.plan import Plan
from towerlog.errors import Conflict, RunNotActive
from towerlog.model.command import GiveInput, SteerRun
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.outcome import RunChanged, Steered
from towerlog.model.principal import Principal
from towerlog.model.run import MAX_INPUTS, Status

STEER_ACTIONS = {
    "pause": (EventType.RUN_PAUSE_REQUESTED, Status.PAUSED),
    "resume": (EventType.RUN_RESUME_REQUESTED, Status.RUNNING),
}
"""An action: the event that asks for it, and where the run is when it has come about."""


def needs_of_steer(needs: Needs, principal: Principal, command: SteerRun) -> None:
    """The run and its agent."""
    needs.counters(principal.org)
    row = needs.run(principal.org, RunById(command.run_id))
    if row is not None:
        needs.notes(row)


def steer_run(plan: Plan, principal: Principal, command: SteerRun) -> Steered:
    """Asks the agent to pause or to go on. Raises RunNotActive for a run that has ended or is being cancelled."""
    row = run_of(plan, principal, command.run_id)
    if row.is_terminal() or row.status is Status.CANCELLING:
        raise RunNotActive(f"The run is not active: {row.status}.")
    kind, target = STEER_ACTIONS[command.action]
    requested = [pending.type for pending in row.pending if pending.type in STEER_ACTIONS]
    is_so = row.status is target if command.action == "pause" else row.status is not Status.PAUSED
    if requested == [command.action] or (not requested and is_so):
        return Steered(row)
    members = {"requested_by": principal.user_id} | ({"reason": command.reason} if command.reason else {})
    facts = Facts(effects=Effects(requests=command.action))
    return Steered(plan.note(row, kind, members, facts, by=CONTROL))


def needs_of_input(needs: Needs, principal: Principal, command: GiveInput) -> None:
    """The run, and what moves when it goes on."""
    needs.counters(principal.org)
    row = needs.run(principal.org, RunById(command.run_id))
    if row is not None:
        needs.moves(row)


def give_input(plan: Plan, principal: Principal, command: GiveInput) -> RunChanged:
    """Appends the answer. Raises RunNotActive unless the run waits or runs, Conflict when too many lie unread.

    A run that lost its worker while it waited takes its answer too: the next claim delivers it.
    """
    row = run_of(plan, principal, command.run_id)
    if row.status not in (Status.WAITING, Status.RUNNING) and not row.question_open:
        raise RunNotActive(f"The run takes no input: {row.status}.")
    if sum(pending.type == "input" for pending in row.pending) >= MAX_INPUTS:
        raise Conflict(f"The run has {MAX_INPUTS} inputs that its agent has not taken yet.")
    facts = Facts(effects=Effects(requests="input"))
    members = {"content": command.content, "by": principal.user_id}
    return RunChanged(plan.note(row, EventType.RUN_INPUT, members, facts, by=CONTROL), changed=True)
