"""Entries about what the server does to runs because people have told it to: alert rules and budgets that act, and the
links that messages of rules carry. They stand in the plan of whatever caused the act."""

from __future__ import annotations

from typing import Any

from towerlog.engine.audit import states
from towerlog.engine.plan.plan import Plan
from towerlog.model.alert import AlertRule
from towerlog.model.approval import AnswerLink
from towerlog.model.audit import Action, Actor, ActorType, make_entry
from towerlog.model.budget import BudgetRow
from towerlog.model.run import RunRow


def rule_actor(rule: AlertRule) -> Actor:
    """An alert rule that acts."""
    return Actor(ActorType.RULE, rule_id=rule.rule_id, rule_name=rule.name)


def budget_actor(budget: BudgetRow) -> Actor:
    """A budget that acts."""
    return Actor(ActorType.BUDGET, budget_id=budget.budget_id, budget_name=budget.name)


def note_run(plan: Plan, actor: Actor, action: Action, before: RunRow, **said: Any) -> None:
    """Appends that a run was asked for something, if it was; `before`: its row until then."""
    was, now = states.run_state(before), states.run_state(plan.now_of(before))
    if now != was:
        _append(plan, before.org, actor, action, ("run", before.run_id), was, {**now, **said})


def note_made_link(plan: Plan, rule: AlertRule, alert_id: str, link: AnswerLink) -> None:
    """Appends that a message of a rule carries a link."""
    said = {**states.link_state(link), "alert_id": alert_id}
    about = ("approval", link.ref.approval_id)
    _append(plan, link.org, rule_actor(rule), Action.APPROVAL_LINK, about, None, said)


def _append(
    plan: Plan,
    org: int,
    actor: Actor,
    action: Action,
    about: tuple[str, str],
    before: dict[str, Any] | None,
    after: dict[str, Any],
) -> None:
    plan.changes.audit.append(make_entry(org, plan.now_ms, actor, action, about, before, after))
