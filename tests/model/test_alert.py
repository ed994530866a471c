"""Rules: cool-downs by agent, receivers by host, and what a state is made of."""

from __future__ import annotations

import msgspec
import pytest

from towerlog.model.alert import MAX_QUIET_AGENTS, AlertRule, AlertState, AlertTrigger
from towerlog.model.alert_channel import AlertChannel, ChannelType


def rule(**given: object) -> AlertRule:
    made = AlertRule(1, "r", 1, "ours", AlertTrigger.ERROR, 0)
    return msgspec.structs.replace(made, **given)


def test_a_cool_down_is_of_one_agent_and_ends() -> None:
    told = rule(cooldown_ms=10).told_of("a", 100)
    assert [told.is_quiet("a", at) for at in (100, 109, 110, 91, 90)] == [True, True, False, True, False]
    assert not told.is_quiet("b", 100)
    assert rule().told_of("a", 100).quiet == {}


def test_what_is_over_is_forgotten_and_what_is_too_much() -> None:
    told = rule(cooldown_ms=10).told_of("a", 100).told_of("b", 105)
    assert told.told_of("c", 112).quiet == {"b": 105, "c": 112}
    for number in range(MAX_QUIET_AGENTS + 5):
        told = told.told_of(f"x{number}", 113)
    assert len(told.quiet) == MAX_QUIET_AGENTS
    assert "x4" not in told.quiet


@pytest.mark.parametrize(
    ("kind", "target", "receiver"),
    [
        (ChannelType.WEBHOOK, "https://Hooks.example.com/a?b", "webhook:hooks.example.com"),
        (ChannelType.WEBHOOK, "https://hooks.example.com:8443?b", "webhook:hooks.example.com:8443"),
        (ChannelType.SLACK, "https://hooks.example.com/a", "slack:hooks.example.com"),
        (ChannelType.EMAIL, "Ada@example.com", "email:ada@example.com"),
        (ChannelType.IN_APP, "", "in_app:"),
    ],
)
def test_a_receiver_is_a_host(kind: ChannelType, target: str, receiver: str) -> None:
    assert AlertChannel(kind, target).receiver() == receiver


def test_a_state_is_that_of_its_alerts_and_then_of_its_window() -> None:
    assert rule().state(True) is AlertState.ALERT
    assert rule().state(False) is AlertState.OK
    assert rule(window_state=AlertState.NO_DATA).state(False) is AlertState.NO_DATA
