"""Rules, and what came of them, on a rig: what the tests of this folder share."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.model.alert import AlertConfig, AlertRow, AlertRule, AlertScope, AlertTrigger, CreateRule
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.delivery import Delivery
from towerlog.model.event import Draft, EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.usage import Usage, UsageReport

DOLLAR = 1_000_000_000
MINUTE = 60_000
HOOK = AlertChannel(ChannelType.WEBHOOK, "https://hooks.example.com/towerlog")


async def make(rig: Rig, trigger: AlertTrigger, **given: Any) -> AlertRule:
    """A rule with one webhook."""
    asked: dict[str, Any] = {"scope": AlertScope(), "config": AlertConfig(), "channels": (HOOK,)} | given
    rule: AlertRule = (await rig.do(CreateRule(f"on {trigger}", trigger, **asked))).rule
    return rule


async def alerts(rig: Rig) -> list[AlertRow]:
    """All that fired, oldest first."""
    return (await rig.store.alerts(rig.org, 1000, None, None, None))[::-1]


async def deliveries(rig: Rig) -> list[Delivery]:
    """The whole outbox, oldest first."""
    return (await rig.store.deliveries(rig.org, 1000, None, None, None, None))[::-1]


def told(delivery: Delivery) -> dict[str, Any]:
    """What a message says."""
    said: dict[str, Any] = msgspec.json.decode(delivery.body)
    return said


def failure(trace: str, agent: str = "writer", **named: Any) -> Draft:
    return draft(
        EventType.RUN_FAILED, traced(trace), {"error": "no paper"}, facts=Facts(error="no paper"), agent=agent, **named
    )


def start(trace: str, agent: str = "writer") -> Draft:
    return draft(EventType.RUN_STARTED, traced(trace), facts=Facts(effects=Effects(is_start=True)), agent=agent)


def spending(trace: str, nanos: int, agent: str = "writer", **named: Any) -> Draft:
    """A model call that costs so much."""
    report = UsageReport(Usage(cost_nanos=nanos), kind="delta")
    facts = Facts(effects=Effects(report=report))
    return draft(EventType.MODEL_CALL, traced(trace), facts=facts, agent=agent, **named)


def calling(trace: str, tool: str, arguments: Any, agent: str = "writer", **named: Any) -> Draft:
    """A tool call."""
    return draft(EventType.TOOL_CALL, traced(trace), {"input": arguments}, facts=Facts(tool=tool), agent=agent, **named)
