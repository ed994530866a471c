"""What the audit says of each command that is an act of a person: a function for each verb, named in `verbs.VERBS`.

Each tells what the command is about, before it is placed (no outcome) and after (see `hook.Act`). Texts that people
send to an agent stay out: the log has them, and an entry names their `seq` there.
"""

from __future__ import annotations

from collections.abc import Callable

from towerlog.engine.audit import states
from towerlog.engine.audit.hook import About, Act
from towerlog.engine.commands.approvals import meant
from towerlog.engine.commands.keys import key_of
from towerlog.engine.commands.personas import route_of
from towerlog.engine.plan.plan import Plan
from towerlog.engine.reactions.budgets import reservation_of
from towerlog.model import command as c
from towerlog.model import outcome as o
from towerlog.model.approval import AnswerApproval, ApprovalDecision, MakeAnswerLink
from towerlog.model.approval_views import ApprovalAnswered, LinkMade
from towerlog.model.audit import Action
from towerlog.model.budget import (
    BudgetNow,
    ChangeBudget,
    CreateBudget,
    DeleteBudget,
    ReleaseReservation,
    ReservationNow,
)
from towerlog.model.checkpoint import AWAITS_APPROVAL, REJECTED
from towerlog.model.event import Event, EventType, RunById
from towerlog.model.key import Key
from towerlog.model.pending import text_bytes
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.price import CorrectCosts, CreatePrice, DeletePrice, PriceView
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow

# Keys


def create_key(_plan: Plan, _principal: Principal, _command: c.CreateKey, outcome: o.KeyMinted | None) -> About | None:
    """The new key, without its text."""
    return None if outcome is None else about_key(Action.KEY_CREATE, outcome.key)


def revoke_key(plan: Plan, principal: Principal, command: c.RevokeKey, _outcome: Key | None) -> About | None:
    """The key."""
    key = key_of(plan, principal.org, command.key_id)
    return None if key is None else about_key(Action.KEY_REVOKE, key)


def about_key(action: Action, key: Key) -> About:
    """A key."""
    return About(action, "key", key.key_id, states.key_state(key))


# Runs


def _about_run(action: Action, row: RunRow, **said: object) -> About:
    return About(action, "run", row.run_id, states.run_state(row), said)


def _of_run(action: Action) -> Act:
    """Of a command that names its run, and may give a reason."""

    def act(
        plan: Plan, principal: Principal, command: c.CancelRun | c.KillRun | c.SteerRun, _outcome: o.Placed | None
    ) -> About | None:
        row = plan.run(principal.org, RunById(command.run_id))
        return None if row is None else _about_run(action, row, reason=command.reason)

    return act


cancel_run, kill_run = _of_run(Action.RUN_CANCEL), _of_run(Action.RUN_KILL)
_STEERING: dict[str, Act] = {"pause": _of_run(Action.RUN_PAUSE), "resume": _of_run(Action.RUN_RESUME)}


def steer_run(plan: Plan, principal: Principal, command: c.SteerRun, outcome: o.Placed | None) -> About | None:
    """The run, by what is wanted of it."""
    return _STEERING[command.action](plan, principal, command, outcome)


def give_input(plan: Plan, principal: Principal, command: c.GiveInput, outcome: o.RunChanged | None) -> About | None:
    """The run, the question that was answered, and where the log has the text."""
    row = plan.run(principal.org, RunById(command.run_id))
    if row is None or outcome is None:
        return None if row is None else _about_run(Action.RUN_MESSAGE, row)
    row = outcome.row  # a message may be another run's, which goes on from the one that was named
    event = _newest(plan, row, EventType.RUN_INPUT, EventType.RUN_MESSAGE)
    action = Action.RUN_INPUT if event.type is EventType.RUN_INPUT else Action.RUN_MESSAGE
    said = {"question_id": event.effects.question_id, "content_bytes": text_bytes(command.content), "seq": event.seq}
    return _about_run(action, row, **said)


def decide(plan: Plan, principal: Principal, command: c.Decide, outcome: o.Decided | None) -> About | None:
    """The run of the checkpoint, and what was decided."""
    rejects = command.status == REJECTED
    action = Action.RUN_REJECT if rejects else Action.RUN_APPROVE
    rows = meant(plan, principal, command)
    if outcome is None:
        waiting = next((row for row in rows if row.status == AWAITS_APPROVAL), None)
        row = None if waiting is None else plan.run_by_number(waiting.run)
        return None if row is None else _about_run(action, row)
    event = next(event for event in reversed(plan.changes.events) if event.type is EventType.CHECKPOINT)
    row = plan.run_by_number(event.run)
    if row is None:
        return None
    agent = plan.agent_of(event)
    said = {"step_index": outcome.step_index, "agent": agent, "decision": command.status, "reason": command.reason}
    return _about_run(action, row, seq=event.seq, **said)


def answer_approval(
    plan: Plan, principal: Principal, command: AnswerApproval, outcome: ApprovalAnswered | None
) -> About | None:
    """The run that asks, and the answer as `give_input` and `decide` tell it; a link acts by itself."""
    ref = command.ref
    row = plan.run(principal.org, RunById(ref.run_id))
    rejects = command.decision is ApprovalDecision.DENY
    action = Action.RUN_INPUT if ref.step_index is None else Action.RUN_REJECT if rejects else Action.RUN_APPROVE
    if row is None or outcome is None:
        return None if row is None else _about_run(action, row)
    event = _newest(plan, row, EventType.RUN_INPUT if ref.step_index is None else EventType.CHECKPOINT)
    about = _about_run(action, row, approval_id=ref.approval_id, reason=command.reason, seq=event.seq)
    return about._replace(link=command.link)


def make_link(plan: Plan, principal: Principal, command: MakeAnswerLink, outcome: LinkMade | None) -> About | None:
    """The approval that the link is for, to whom it goes, and until when; never its token."""
    state = None if outcome is None else states.link_state(outcome.link)
    return About(Action.APPROVAL_LINK, "approval", command.ref.approval_id, state)


def _newest(plan: Plan, row: RunRow, *types: EventType) -> Event:
    """The event that a command has just appended to a run."""
    return next(event for event in reversed(plan.changes.events) if event.run == row.run and event.type in types)


def create_run(plan: Plan, principal: Principal, _command: c.CreateRun, outcome: o.RunCreated | None) -> About | None:
    """The new run."""
    row = None if outcome is None else plan.run(principal.org, RunById(outcome.run_id))
    return None if row is None else _made_run(Action.RUN_CREATE, row)


def _again(action: Action) -> Callable[[Plan, Principal, c.RetryRun | c.ForkRun, o.Begun | None], About | None]:
    def act(
        plan: Plan, _principal: Principal, _command: c.RetryRun | c.ForkRun, outcome: o.Begun | None
    ) -> About | None:
        row = None if outcome is None else plan.run_by_number(outcome.row.run)
        return None if row is None else _made_run(action, row)

    return act


retry_run, fork_run = _again(Action.RUN_RETRY), _again(Action.RUN_FORK)


def _made_run(action: Action, row: RunRow) -> About:
    return About(action, "run", row.run_id, states.made_run_state(row))


# What people register


def create_thread(
    plan: Plan, principal: Principal, command: c.CreateThread, outcome: o.ThreadView | None
) -> About | None:
    """The thread, new or changed."""
    if outcome is not None:
        action = Action.THREAD_CREATE if outcome.created else Action.THREAD_CHANGE
        return About(action, "thread", outcome.row.thread_id, states.thread_state(outcome.row))
    row = plan.thread(principal.org, command.thread_id) if command.thread_id else None
    return None if row is None else About(Action.THREAD_CHANGE, "thread", row.thread_id, states.thread_state(row))


def register_agent(
    _plan: Plan, _principal: Principal, command: c.RegisterAgent, outcome: o.AgentView | None
) -> About | None:
    """The agent, where it is new."""
    if outcome is None or not outcome.created:
        return None
    return About(Action.AGENT_CREATE, "agent", outcome.row.agent_id, {"name": command.name})


def create_persona(
    _plan: Plan, _principal: Principal, _command: CreatePersona, outcome: o.PersonaView | None
) -> About | None:
    """The version, where it is new."""
    if outcome is None or not outcome.created:
        return None
    persona = outcome.persona
    return About(Action.PERSONA_CREATE, "persona", persona.persona_id, states.persona_state(persona))


def create_route(plan: Plan, principal: Principal, command: CreateRoute, _outcome: o.RouteView | None) -> About | None:
    """The route's newest version."""
    route = route_of(plan, principal.org, command.route_id)
    return None if route is None else About(Action.ROUTE_CREATE, "route", route.route_id, states.route_state(route))


# Budgets


def create_budget(plan: Plan, principal: Principal, _command: CreateBudget, outcome: BudgetNow | None) -> About | None:
    """The new budget."""
    return None if outcome is None else _budget(plan, principal, Action.BUDGET_CREATE, outcome.row.budget_id)


def change_budget(plan: Plan, principal: Principal, command: ChangeBudget, _outcome: BudgetNow | None) -> About | None:
    """The budget."""
    return _budget(plan, principal, Action.BUDGET_CHANGE, command.budget_id)


def delete_budget(plan: Plan, principal: Principal, command: DeleteBudget, _outcome: BudgetNow | None) -> About | None:
    """The budget; afterwards there is none."""
    return _budget(plan, principal, Action.BUDGET_DELETE, command.budget_id)


def release(
    plan: Plan, principal: Principal, command: ReleaseReservation, _outcome: ReservationNow | None
) -> About | None:
    """What was held; afterwards nothing is."""
    held = reservation_of(plan, principal.org, command.reservation_id)
    state = None if held is None else states.reservation_state(held)
    return About(Action.RESERVATION_RELEASE, "reservation", command.reservation_id, state)


def _budget(plan: Plan, principal: Principal, action: Action, budget_id: str) -> About:
    found = plan.budgets.get(principal.org, budget_id)
    state = None if found is None or found.deleted else states.budget_state(found)
    return About(action, "budget", budget_id, state)


# Prices


def create_price(plan: Plan, principal: Principal, _command: CreatePrice, outcome: PriceView | None) -> About | None:
    """The new price."""
    return None if outcome is None else _price(plan, principal, Action.PRICE_CREATE, outcome.row.price_id)


def delete_price(plan: Plan, principal: Principal, command: DeletePrice, _outcome: PriceView | None) -> About | None:
    """The price; afterwards there is none."""
    return _price(plan, principal, Action.PRICE_DELETE, command.price_id)


def _price(plan: Plan, principal: Principal, action: Action, price_id: str) -> About:
    found = next((row for row in plan.prices.all_of(principal.org) if row.price_id == price_id), None)
    return About(action, "price", price_id, None if found is None else states.price_state(found))


def reprice(plan: Plan, principal: Principal, command: CorrectCosts, _outcome: o.RunChanged | None) -> About | None:
    """What the run has cost."""
    row = plan.run(principal.org, RunById(command.run_id))
    return None if row is None else About(Action.RUN_REPRICE, "run", row.run_id, states.cost_state(row))
