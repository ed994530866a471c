"""How an alert begins and ends: its row, what it asks of its run, and the messages that tell of it.

All of it stands in the plan of whatever caused it, so it is committed with that or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from towerlog.engine.alerts.deliveries import write_deliveries
from towerlog.engine.alerts.messages import MAX_MESSAGE_CHARS, body_of
from towerlog.engine.audit.automatic import note_run, rule_actor
from towerlog.engine.control.cancel import cancel_one
from towerlog.engine.control.steering import ask
from towerlog.engine.load.misses import NotLoaded, Unloaded
from towerlog.engine.plan.plan import Plan
from towerlog.model.alert import AlertAct, AlertRow, AlertRule, AlertState, run_subject
from towerlog.model.approval import ApprovalRef
from towerlog.model.audit import Action
from towerlog.model.delivery import DeliveryBody, NoticeKind
from towerlog.model.run import RunRow, Status
from towerlog.store.values import Spread

_replace = msgspec.structs.replace
NOBODY = ""
"""The agent of an alert about no run, for its cool-down."""


class NewAlert(NamedTuple):
    """An alert that is to be opened."""

    rule: AlertRule
    subject: str
    message: str
    mark: int = 0
    """See `AlertRow`."""


def fire_all(plan: Plan, firings: Sequence[NewAlert], run: RunRow) -> None:
    """Opens alerts about a run, or about what it has spent of. Raises NotLoaded for all that is missing: however many
    rules there are, the group is placed anew once."""
    missing = Unloaded()
    for one in firings:
        try:
            plan.alerts.newest(run.org, one.rule.rule_id, one.subject, is_new=_is_new(plan, one.subject, run))
        except NotLoaded as lacking:
            missing.pass_over(lacking)
    if missing:
        raise missing.as_one()
    for one in firings:
        fire(plan, one.rule, one.subject, one.message, run=run, mark=one.mark)


def _is_new(plan: Plan, subject: str, run: RunRow | None) -> bool:
    """Whether an alert is about a run that has begun in this group."""
    return run is not None and plan.is_new(run.run) and subject == run_subject(run.run_id)


def fire(
    plan: Plan,
    rule: AlertRule,
    subject: str,
    message: str,
    *,
    run: RunRow | None = None,
    agent: str | None = None,
    mark: int = 0,
    asks: ApprovalRef | None = None,
    with_link: bool = False,
) -> AlertRow | None:
    """Opens an alert of a rule about a subject; None where one lasts, or where the rule's cool-down keeps quiet.

    `run`: the one it is about, as this group has left it; `agent`: whose it is, if not the run's own. `mark`: see
    `AlertRow`; with the same mark as that which lasts it is the same. `asks`: what a person has to answer so that it is
    over; `with_link`: messages carry a link by which they can.
    """
    org, now_ms = rule.org, plan.now_ms
    # One event may be about several subjects: the cool-down of the first holds for the others.
    rule = plan.alerts.rule(org, rule.rule_id) or rule
    last = plan.alerts.newest(org, rule.rule_id, subject, is_new=_is_new(plan, subject, run))
    if last is not None and last.is_open and last.is_of(mark):
        return None
    whose = agent or (run.agent if run is not None else None)
    if rule.is_quiet(whose or NOBODY, plan.serving_ms):
        plan.alerts.put_rule(_replace(rule, suppressed=rule.suppressed + 1, suppressed_at=now_ms))
        return None
    if last is not None and last.is_open:
        plan.alerts.put(_replace(last, state=AlertState.OK, ended_at=now_ms))
    rule = rule.told_of(whose or NOBODY, plan.serving_ms)
    if rule.cooldown_ms:
        plan.alerts.put_rule(rule)
    alert = AlertRow(
        org=org,
        alert_id=plan.ids.uuid(),
        rule_id=rule.rule_id,
        subject=subject,
        episode=1 if last is None else last.episode + 1,
        rule_name=rule.name,
        trigger=rule.trigger,
        state=AlertState.ALERT,
        fired_at=now_ms,
        message=message[:MAX_MESSAGE_CHARS],
        agent=whose,
        mark=mark,
        wait_ms=rule.config.wait_ms or 0,
        approval_id=None if asks is None else asks.approval_id,
        muted_until=None if last is None else last.muted_until,
        told_at=now_ms,
    )
    if run is not None:
        alert = _of_run(alert, run)
        # Another alert of the same event may have stopped it already.
        alert = _acted(plan, rule, alert, plan.now_of(run))
    plan.alerts.put(alert)
    tell(plan, rule, alert, NoticeKind.FIRED, with_link=with_link)
    return alert


def _of_run(alert: AlertRow, run: RunRow) -> AlertRow:
    return _replace(
        alert,
        run=run.run,
        run_id=run.run_id,
        thread_id=run.thread_id,
        status=run.status.value,
        cost_nanos=run.usage.cost_nanos,
        total_tokens=run.usage.all_tokens(),
    )


def _acted(plan: Plan, rule: AlertRule, alert: AlertRow, run: RunRow) -> AlertRow:
    """Asks the run to pause or to end, if the rule says so; nothing to do where it was asked that, or has ended."""
    if rule.act is None or run.is_terminal() or run.status is Status.CANCELLING:
        return alert
    reason = f"Alert '{rule.name}': {alert.message}"
    if rule.act is AlertAct.CANCEL:
        cancel_one(plan, run, None, reason)
        plan.changes.spreads[run.run] = Spread(run.run, run.org, reason)
    elif ask(plan, run, "pause", {"reason": reason, "alert_id": alert.alert_id}) is run:
        return alert
    action = Action.RUN_CANCEL if rule.act is AlertAct.CANCEL else Action.RUN_PAUSE
    note_run(plan, rule_actor(rule), action, run, reason=reason, alert_id=alert.alert_id)
    return _replace(alert, acted=rule.act)


def recover(plan: Plan, alert: AlertRow, *, silently: bool = False) -> AlertRow:
    """Ends an alert. People are told that it is over unless `silently`, or nobody was to be told that it was there."""
    ended = _replace(alert, state=AlertState.OK, ended_at=plan.now_ms)
    plan.alerts.put(ended)
    rule = plan.alerts.rule(alert.org, alert.rule_id)
    if rule is not None and not silently:
        tell(plan, rule, ended, NoticeKind.RECOVERED)
    return ended


def tell(plan: Plan, rule: AlertRule, alert: AlertRow, kind: NoticeKind, *, with_link: bool = False) -> None:
    """Tells people of an alert by all channels of its rule, unless it is muted. What this commit has no room for is
    written by later ones, in its order; where too many messages wait already, the alert says how many are not kept.
    `with_link`: each but those in the application has a link of its own by which what the alert asks can be answered.
    """
    org, channels = alert.org, rule.channels
    if alert.is_muted(plan.now_ms) or not channels:
        return
    if plan.alerts.refuses(org, len(channels)):
        plan.alerts.put(_replace(alert, not_sent=alert.not_sent + len(channels)))
        return
    told = DeliveryBody(
        org=org,
        body_id=plan.ids.uuid(),
        alert_id=alert.alert_id,
        rule_id=rule.rule_id,
        kind=kind,
        created_at=plan.now_ms,
        body=msgspec.Raw(body_of(rule, alert, kind, plan.now_ms)),
        unwritten=tuple(channel.without_secrets() for channel in channels),
        with_link=with_link,
    )
    if plan.alerts.unwritten(org):
        plan.alerts.put_body(told)
    else:
        write_deliveries(plan, told)
