"""What an alert's run waits for a person to answer, and the links by which the messages of the alert let them answer.

A link is made with its message and signed when that is sent: what is stored, and shown, answers nothing.
"""

from __future__ import annotations

from towerlog.engine.audit.automatic import note_made_link
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.model.alert import AlertRule, AlertTrigger
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.answer_link import DEFAULT_LINK_SECONDS, MAX_SENT_TO_CHARS, NONCE_CHARS
from towerlog.model.approval import AnswerLink, ApprovalRef, ApprovalRow, parse_approval_id
from towerlog.model.run import RunRow
from towerlog.store.values import Kind


def needs_of_asking(needs: Needs, rule: AlertRule, row: RunRow) -> None:
    """What it takes to tell what a run waits for."""
    if rule.trigger is AlertTrigger.WAITING_TOO_LONG:
        needs.want(Kind.CALLS_WAITING, row.run)


def asked_by(plan: Plan, rule: AlertRule, row: RunRow) -> ApprovalRef | None:
    """What a person has to answer so that a run goes on, where a rule tells that it waits: the oldest question that its
    agent waits for, else the oldest tool calls."""
    if rule.trigger is not AlertTrigger.WAITING_TOO_LONG:
        return None
    question = row.awaited()
    if question is not None:
        return question.ref(row.run_id)
    stored: ApprovalRow | None = plan.loaded(Kind.CALLS_WAITING, row.run)
    if stored is None or plan.changes.approvals.get((row.run, stored.seq), stored) is None:
        return None
    return stored.ref(row.run_id)


def link_for(
    plan: Plan, rule: AlertRule, alert_id: str, approval_id: str | None, channel: AlertChannel
) -> AnswerLink | None:
    """A link for whoever reads this channel; None where there is nothing to answer."""
    ref = None if approval_id is None else parse_approval_id(approval_id)
    if ref is None:
        return None
    link = AnswerLink(
        org=rule.org,
        org_id="",
        ref=ref,
        user_id=rule.created_by or "",
        key_id="",
        sent_to=_reader_of(rule, channel),
        expires_at=plan.now_ms + DEFAULT_LINK_SECONDS * 1000,
        nonce=plan.ids.token(NONCE_CHARS),
        rule_id=rule.rule_id,
        channel=channel.fingerprint(),
    )
    note_made_link(plan, rule, alert_id, link)
    return link


def _reader_of(rule: AlertRule, channel: AlertChannel) -> str:
    """Who is named as the one who answered. The address of a chat is a secret."""
    name = channel.target if channel.type is ChannelType.EMAIL else f"{channel.type} of alert rule '{rule.name}'"
    return name[:MAX_SENT_TO_CHARS]
