"""What people are told of an alert: the body of a webhook, and what chats and mails make of it.

Fixed members and fixed lines: what agents and people wrote stands in them as it is, and nothing of it is evaluated.
"""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.egress.notices.chat import Notice, Severity
from towerlog.model.alert import AlertRow, AlertRule, AlertState
from towerlog.model.delivery import Delivery, NoticeKind
from towerlog.model.times import format_ms
from towerlog.model.usage import dollars_json

MAX_MESSAGE_CHARS = 500
OVER = "This is over: "
"""How the message begins of an alert that has ended."""


class AlertMessage(msgspec.Struct, frozen=True, gc=False):
    """The body of a webhook."""

    type: NoticeKind
    timestamp: str
    alert_id: str
    alert_name: str
    rule_id: str
    trigger_type: str
    state: AlertState
    message: str
    subject: str
    agent_name: str | None
    run_id: str | None
    thread_id: str | None
    status: str | None
    cost_usd: msgspec.Raw
    total_tokens: int | None
    fired_at: str
    ended_at: str | None
    acted: str | None
    approval_id: str | None
    run_url: str | None = None
    """The run's page. Only in what is sent, as are the two below: what is stored, and shown, has none."""
    answer_url: str | None = None
    answer_expires_at: str | None = None


_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace
_decode = msgspec.json.Decoder(AlertMessage).decode
_TITLES = {
    NoticeKind.FIRED: "Alert",
    NoticeKind.REPEATED: "Still an alert",
    NoticeKind.RECOVERED: "Over",
}
_ACTED = {"pause": "asked to pause", "cancel": "asked to end"}


def body_of(rule: AlertRule, alert: AlertRow, kind: NoticeKind, now_ms: int) -> bytes:
    """JSON text of what is told of an alert."""
    return _encode(
        AlertMessage(
            type=kind,
            timestamp=format_ms(now_ms),
            alert_id=alert.alert_id,
            alert_name=rule.name,
            rule_id=rule.rule_id,
            trigger_type=rule.trigger,
            state=alert.state,
            message=_said(alert, kind),
            subject=alert.subject,
            agent_name=alert.agent,
            run_id=alert.run_id,
            thread_id=alert.thread_id,
            status=alert.status,
            cost_usd=dollars_json(alert.cost_nanos),
            total_tokens=alert.total_tokens,
            fired_at=format_ms(alert.fired_at),
            ended_at=None if alert.ended_at is None else format_ms(alert.ended_at),
            acted=alert.acted,
            approval_id=None if kind is NoticeKind.RECOVERED else alert.approval_id,
        )
    )


def _said(alert: AlertRow, kind: NoticeKind) -> str:
    """In a chat it may be all that is read: what is over does not read like what begins."""
    return f"{OVER}{alert.message}"[:MAX_MESSAGE_CHARS] if kind is NoticeKind.RECOVERED else alert.message


def approval_of(body: msgspec.Raw) -> str | None:
    """What a person has to answer, by the body of a webhook."""
    return _decode(body).approval_id


def with_links(delivery: Delivery, server_url: str, answer_url: str | None) -> Delivery:
    """The delivery as it is sent: with the page of its run, and the address to answer at, if it can be answered."""
    told = _decode(delivery.body)
    if told.run_id is not None:
        told = _replace(told, run_url=f"{server_url}/runs/{told.run_id}")
    if answer_url is not None and delivery.link is not None:
        told = _replace(told, answer_url=answer_url, answer_expires_at=format_ms(delivery.link.expires_at))
    return _replace(delivery, body=msgspec.Raw(_encode(told)))


def notice_of(delivery: Delivery) -> Notice:
    """The same as a notice for a chat."""
    told = _decode(delivery.body)
    severity = Severity.RECOVERED if told.type is NoticeKind.RECOVERED else Severity.CRITICAL
    lines = _lines(told)
    if told.answer_url is not None:
        lines.append(("Answer", f"by the link of this message, once, until {told.answer_expires_at}"))
    title = f"{_TITLES[told.type]}: {told.alert_name}"
    if told.answer_url is None:
        return Notice(title, tuple(lines), severity, told.run_url, "Open the run")
    return Notice(title, tuple(lines), severity, told.answer_url, "Answer in Towerlog")


def mail_of(delivery: Delivery) -> tuple[str, str]:
    """The same as (subject, text) of a mail."""
    told = _decode(delivery.body)
    lines = [f"{name}: {value}" for name, value in _lines(told)]
    if told.run_url is not None:
        lines += ["", "The run:", told.run_url]
    if told.answer_url is not None:
        lines += ["", f"Answer it here, once, until {told.answer_expires_at}:", told.answer_url]
    return f"[Towerlog] {_TITLES[told.type]}: {told.alert_name}", "\n".join(lines) + "\n"


def _lines(told: AlertMessage) -> list[tuple[str, str]]:
    shown: list[tuple[str, Any]] = [
        ("What", told.message),
        ("Agent", told.agent_name),
        ("Run", told.run_id),
        ("Status", told.status),
        ("Cost in dollars", None if bytes(told.cost_usd) == b"null" else bytes(told.cost_usd).decode()),
        ("Tokens", told.total_tokens),
        ("Trigger", told.trigger_type),
        ("Since", told.fired_at),
        ("Over at", told.ended_at),
        ("The run was", None if told.acted is None else _ACTED[told.acted]),
        ("Alert", told.alert_id),
    ]
    return [(name, str(value)) for name, value in shown if value is not None]
