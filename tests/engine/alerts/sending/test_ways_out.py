"""A channel that never reaches anybody is known when its rule is made, as far as nobody has to be asked for that."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeClock
from towerlog.egress.outside import open_outside
from towerlog.engine.alerts.sending.ways_out import warnings_of
from towerlog.model.alert import AlertRule, AlertTrigger
from towerlog.model.alert_channel import AlertChannel, ChannelType

DEAD = {
    "http://10.1.2.3/hook": "private",
    "http://[::1]/hook": "loopback",
    "http://169.254.169.254/latest": "metadata",
    "http://[64:ff9b::7f00:1]/": "NAT64",
    "https://hooks.internal/x": "own network",
    "https://localhost/x": "own network",
    "https://hooks.example.com:25/x": "port",
}
ALIVE = ("https://hooks.example.com/x", "https://1.1.1.1/x")


def rule(*channels: AlertChannel) -> AlertRule:
    return AlertRule(1, "r", 1, "ours", AlertTrigger.ERROR, 5, channels=channels)


def warned(target: str, kind: ChannelType = ChannelType.WEBHOOK, **settings: str) -> list[str]:
    outside = open_outside(FakeClock(), **settings)
    return [one.message for one in warnings_of(outside, rule(AlertChannel(kind, target)))]


@pytest.mark.parametrize("target", DEAD)
def test_a_host_that_the_guard_always_refuses_is_warned_of(target: str) -> None:
    [message] = warned(target)
    assert message.startswith("channels.0.target: nothing will arrive there: ")
    assert DEAD[target] in message


@pytest.mark.parametrize("target", ALIVE)
def test_a_host_that_may_be_reached_is_not(target: str) -> None:
    assert warned(target) == []


def test_what_the_operator_lets_through_is_not_warned_of() -> None:
    assert warned("http://10.1.2.3/hook", egress_allow="10.0.0.0/8") == []
    assert warned("https://hooks.internal/x", egress_allow="hooks.internal") == []
    # A network may be where any name of an own network leads.
    assert warned("https://hooks.internal/x", egress_allow="10.0.0.0/8") == []


def test_mail_needs_a_mail_server() -> None:
    assert "TOWERLOG_SMTP_URL" in warned("ada@example.com", ChannelType.EMAIL)[0]
    assert warned("ada@example.com", ChannelType.EMAIL, smtp_url="smtp://mail.example.com?from=a@example.com") == []


def test_each_channel_is_named_and_the_application_is_always_reached() -> None:
    channels = (AlertChannel(ChannelType.IN_APP), AlertChannel(ChannelType.SLACK, "http://127.0.0.1/"))
    [found] = warnings_of(open_outside(FakeClock()), rule(*channels))
    assert found.field == "channels.1.target"
    assert warnings_of(None, rule(*channels)) == []
