"""Replies about alert rules, alerts and the messages that tell of them, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from towerlog.sdk.api.shapes import Json, Shape


def _objects(raw: Any) -> tuple[Json, ...]:
    return tuple(one for one in raw if isinstance(one, dict)) if isinstance(raw, list) else ()


@dataclass(frozen=True, kw_only=True)
class AlertRule(Shape):
    """A rule. A webhook's `secret` is in `channels` only where this very reply is about its making."""

    rule_id: str
    name: str
    trigger: str
    scope: Json
    config: Json
    channels: tuple[Json, ...] = field(default=(), metadata={"read": _objects}, repr=False)
    enabled: bool = True
    cooldown_minutes: float = 0.0
    renotify_minutes: float = 0.0
    act: str | None = None
    state: str = "OK"
    open_alerts: int = 0
    suppressed: int = 0
    created_at: str | None = None
    warnings: tuple[Json, ...] = field(default=(), metadata={"read": _objects})
    """Channels by which nobody is ever told: `field` and `message` of each."""


@dataclass(frozen=True, kw_only=True)
class Alert(Shape):
    """One episode of a rule about one subject."""

    alert_id: str
    rule_id: str
    rule_name: str
    trigger: str
    state: str
    message: str
    subject: str
    fired_at: str
    episode: int = 1
    agent_name: str | None = None
    run_id: str | None = None
    thread_id: str | None = None
    run_status: str | None = None
    cost_usd: float | None = None
    total_tokens: int | None = None
    acted: str | None = None
    approval_id: str | None = None
    ended_at: str | None = None
    acknowledged_at: str | None = None
    muted_until: str | None = None
    not_sent: int = 0
    """Messages about it that are not kept, since too many of the organisation's waited."""


@dataclass(frozen=True, kw_only=True)
class AlertDelivery(Shape):
    """A message on its way through one channel, with its newest attempts."""

    delivery_id: str
    webhook_id: str
    alert_id: str
    rule_id: str
    kind: str
    channel: str
    state: str
    created_at: str
    target: str | None = None
    attempts: tuple[Json, ...] = field(default=(), metadata={"read": _objects})
    next_attempt_at: str | None = None
    ended_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class RuleHistory(Shape):
    """When a rule would have fired over stored history: `fired` has at, subject, message, agent_name, run_id."""

    fired: tuple[Json, ...] = field(metadata={"read": _objects})
    suppressed: int = 0
    runs: int = 0
    events: int = 0
    since: str | None = None
    until: str | None = None
    whole: bool = True


@dataclass(frozen=True, kw_only=True)
class SentAnew(Shape):
    """How many messages are due anew; `next`: the cursor after which more follow."""

    redelivered: int
    next: str | None = None
