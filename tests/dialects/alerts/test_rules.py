"""Alert rules as they are read and shown, for both who speak of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.dialects.calls import RUN, call
from towerlog.dialects.alerts.rules import decode_change, decode_create, rule_of
from towerlog.errors import Invalid
from towerlog.model.alert import (
    AlertAct,
    AlertConfig,
    AlertRule,
    AlertScope,
    AlertState,
    AlertTrigger,
    ChangeRule,
    CreateRule,
    RuleNow,
)
from towerlog.model.alert_channel import AlertChannel, ChannelSecret, ChannelType

NEW: dict[str, Any] = {"name": "ours", "trigger": "loop"}
HOOK = "https://hooks.example.com/"


def test_a_rule_is_read_whole() -> None:
    body = {
        "name": " dear ", "trigger": "cost_threshold",
        "scope": {"agent": "a", "label": "team=red", "run_id": RUN.upper()},
        "config": {"amount_usd": 1}, "channels": [{"type": "webhook", "target": HOOK, "secret": "whsec_x"}],
        "enabled": False, "cooldown_minutes": 0.5, "renotify_minutes": 2, "act": "cancel",
    }  # fmt: skip
    assert decode_create(call(body)) == CreateRule(
        "dear", AlertTrigger.COST_THRESHOLD, AlertScope(agent="a", label="team=red", run_id=RUN),
        AlertConfig(amount_nanos=1_000_000_000),
        (AlertChannel(ChannelType.WEBHOOK, HOOK, (ChannelSecret("whsec_x"),)),), False, 30_000, 120_000,
        AlertAct.CANCEL,
    )  # fmt: skip


def test_an_amount_is_read_by_its_text() -> None:
    body = b'{"name":"x","trigger":"burn_rate","config":{"amount_usd":0.300000001,"window_minutes":5}}'
    assert decode_create(call(body)).config == AlertConfig(amount_nanos=300_000_001, window_ms=300_000)


@pytest.mark.parametrize("scope", [{}, {"organisation": True}])
def test_an_empty_scope_is_everything(scope: Any) -> None:
    assert decode_create(call(NEW | {"scope": scope})).scope == AlertScope()


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": {"organisation": True, "label": "x"}},
        {"scope": {"colour": "red"}},
        {"config": {"times": 1}},
        {"config": {"amount_usd": 0}},
        {"config": {"fraction": 1.5}},
        {"channels": [{"type": "in_app"}] * 11},
        {"channels": [{"type": "webhook", "target": "x" * 2049}]},
        {"channels": [{"type": "webhook", "target": "ü" * 2048}] * 6},
        {"name": "a\u0000b"},
        {"trigger": "mood"},
    ],
)
def test_what_is_wrong_is_refused(wrong: Any) -> None:
    with pytest.raises(Invalid):
        decode_create(call(NEW | wrong))


def test_a_change_names_what_changes() -> None:
    path = {"rule_id": RUN}
    assert decode_change(call({}, path=path)) == ChangeRule(RUN)
    assert decode_change(call({"act": None}, path=path)) == ChangeRule(RUN, acts_no_more=True)
    assert decode_change(call({"act": "pause"}, path=path)) == ChangeRule(RUN, act=AlertAct.PAUSE)
    assert decode_change(call({"channels": [], "enabled": True}, path=path)) == ChangeRule(
        RUN, channels=(), enabled=True
    )


def test_a_rule_is_shown_without_its_secrets_but_for_new_ones() -> None:
    channel = AlertChannel(ChannelType.WEBHOOK, HOOK, (ChannelSecret("whsec_x"),))
    rule = AlertRule(
        1, RUN, 1, "ours", AlertTrigger.STALLED, 0, config=AlertConfig(wait_ms=90_000), channels=(channel,)
    )
    shown = msgspec.json.decode(msgspec.json.encode(rule_of(RuleNow(rule, open_alerts=2), whole=True)))
    assert shown["channels"] == [{"type": "webhook", "target": HOOK, "secret": None}]
    assert (shown["state"], shown["open_alerts"], shown["config"]) == ("ALERT", 2, {"minutes": 1.5})
    assert shown["scope"] == {"organisation": True}
    assert rule_of(RuleNow(rule, new_secrets={HOOK: "whsec_x"}), whole=False).channels[0].secret == "whsec_x"
    assert rule_of(RuleNow(rule), whole=True).state is AlertState.OK


@pytest.mark.parametrize(
    ("kind", "target", "shown"),
    [
        (ChannelType.SLACK, "https://hooks.slack.com/services/T0/B0/SECRET", "https://hooks.slack.com/…"),
        (ChannelType.WEBHOOK, "http://h.example.com:8080?token=SECRET", "http://h.example.com:8080/…"),
        (ChannelType.EMAIL, "ada@example.com", "ada@example.com"),
    ],
)
def test_a_url_is_shown_by_its_host_to_those_who_may_not_administer(kind: ChannelType, target: str, shown: str) -> None:
    rule = AlertRule(1, RUN, 1, "ours", AlertTrigger.ERROR, 0, channels=(AlertChannel(kind, target),))
    [found] = rule_of(RuleNow(rule), whole=False).channels
    assert (found.target or "").startswith(shown)
    assert "SECRET" not in str(found)
    assert rule_of(RuleNow(rule), whole=True).channels[0].target == target
