"""What `towerlog doctor` says of alerts: messages that were given up, and channels that reach nobody."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from towerlog.ambient import SystemClock
from towerlog.cli.connect import client_of
from towerlog.cli.database_checks import Finding
from towerlog.cli.formatting import counted
from towerlog.config import BadSetting, Settings, database_path, is_shared
from towerlog.errors import TowerlogError
from towerlog.model.times import format_ms
from towerlog.sdk.api.alerts.shapes import AlertDelivery
from towerlog.sdk.api.client import Client
from towerlog.sdk.wire.errors import SdkError

MAX_COUNTED = 1000
CHANNELS_SHOWN = 8
LATELY_MS = 24 * 3_600_000

T = TypeVar("T")


def has_store(settings: Settings) -> bool:
    """Whether there is a store here that knows a key."""
    return is_shared(settings) or database_path(settings).exists()


def _lately(settings: Settings, url: str | None, ask: Callable[[Client, str], T]) -> T | None:
    """What is asked about the last LATELY_MS; None where nobody can be asked, which other checks say."""
    if not os.environ.get("TOWERLOG_API_KEY") and not has_store(settings):
        return None
    since = format_ms(max(SystemClock().now_ms() - LATELY_MS, 0))
    try:
        with client_of(settings, url) as client:
            return ask(client, since)
    except (SdkError, BadSetting, TowerlogError, OSError):
        return None


def _given_up(client: Client, since: str) -> list[AlertDelivery]:
    found = islice(client.list_deliveries(state="failed"), MAX_COUNTED)
    return [one for one in found if (one.ended_at or one.created_at) >= since]


def check_messages(settings: Settings, url: str | None) -> Iterator[Finding]:
    """Whether messages about alerts were given up."""
    found = _lately(settings, url, _given_up)
    if found:
        words = f"{counted(len(found), 'message')} about alerts given up in the last 24 hours: "
        words += "`towerlog alerts deliveries --state failed`"
        yield Finding("messages", "warn", words, {"messages_given_up": len(found)})
    elif found is not None:
        yield Finding("messages", "ok", "all alert messages of the last 24 hours were delivered or are being retried")


def check_channels(settings: Settings, url: str | None) -> Iterator[Finding]:
    """Whether a channel of some alert rule never reaches anybody, or had more to tell than was sent."""

    def ask(client: Client, since: str) -> tuple[list[str], int, Counter[str]]:
        rules = islice(client.list_alert_rules(), MAX_COUNTED)
        told = [f"alert rule {r.name!r} ({r.rule_id}): {one.get('message')}" for r in rules for one in r.warnings]
        lately = (one for one in islice(client.list_alerts(), MAX_COUNTED) if one.fired_at >= since)
        return told, sum(one.not_sent for one in lately), Counter(map(_receiver, _given_up(client, since)))

    if (asked := _lately(settings, url, ask)) is None:
        return
    told, not_sent, failing = asked
    found = [Finding("channels", "warn", words) for words in told]
    for receiver, count in failing.most_common(CHANNELS_SHOWN):
        found.append(
            Finding("channels", "warn", f"{receiver}: {counted(count, 'message')} given up in the last 24 hours")
        )
    if not_sent:
        words = f"{counted(not_sent, 'message')} about alerts of the last 24 hours not kept, too many waited: "
        words += "fewer rules, or fewer channels of each, tell of the same"
        found.append(Finding("channels", "warn", words, {"messages_not_sent": not_sent}))
    yield from found or [Finding("channels", "ok", "no alert channel fails")]


def _receiver(message: AlertDelivery) -> str:
    return f"{message.channel} {message.target or ''}".strip()
