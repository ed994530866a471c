"""What a rule must be, whether it is made or only tried."""

from __future__ import annotations

from collections.abc import Sequence

from towerlog.egress.mail.mailboxes import BadMailbox, read_mailbox
from towerlog.egress.notices.webhooks import BadSecret, key_of
from towerlog.egress.targets import BadTarget, read_url
from towerlog.errors import Invalid
from towerlog.model.alert import ABOUT_NO_RUN, AlertAct, AlertConfig, AlertTrigger
from towerlog.model.alert_channel import AlertChannel, ChannelType

_NEEDED: dict[AlertTrigger, tuple[str, ...]] = {
    AlertTrigger.COST_THRESHOLD: ("amount_nanos",),
    AlertTrigger.BURN_RATE: ("amount_nanos",),
    AlertTrigger.WAITING_TOO_LONG: ("wait_ms",),
    AlertTrigger.STALLED: ("wait_ms",),
    AlertTrigger.QUEUE_WAIT: ("wait_ms",),
    AlertTrigger.UNSERVED: ("wait_ms",),
    AlertTrigger.FAILURE_RATE: ("fraction",),
}
_USED: dict[AlertTrigger, tuple[str, ...]] = {
    AlertTrigger.LOOP: ("times",),
    AlertTrigger.BUDGET: ("fraction",),
    AlertTrigger.BURN_RATE: ("window_ms",),
    AlertTrigger.FAILURE_RATE: ("times", "window_ms"),
}
"""Figures that a trigger must have, and those that it may have besides."""
_WORDS = {
    "amount_nanos": "amount_usd",
    "wait_ms": "minutes",
    "times": "times",
    "fraction": "fraction",
    "window_ms": "window_minutes",
}


def no_such_run() -> Invalid:
    """What refuses a rule about a tree that is not there."""
    return _wrong("scope.run_id", "there is no such run")


def check_figures(trigger: AlertTrigger, config: AlertConfig, act: AlertAct | None) -> None:
    """Raises Invalid where a trigger lacks a figure, has one that it does not use, or cannot act."""
    if act is not None and trigger in ABOUT_NO_RUN:
        raise _wrong("act", f"{trigger} is about no run that it could act on")
    needed, used = _NEEDED.get(trigger, ()), _USED.get(trigger, ())
    for name in AlertConfig.__struct_fields__:
        field, value = f"config.{_WORDS[name]}", getattr(config, name)
        if value is None and name in needed:
            raise _wrong(field, f"is required for {trigger}")
        if value is not None and name not in needed and name not in used:
            raise _wrong(field, f"is not used by {trigger}")


def check_channels(asked: Sequence[AlertChannel]) -> None:
    """Raises Invalid for what is no channel of a rule, be it made or only tried."""
    seen: set[tuple[ChannelType, str]] = set()
    for index, channel in enumerate(asked):
        key, field = (channel.type, channel.target), f"channels.{index}"
        _check_target(channel, field)
        if key in seen:
            raise _wrong(field, "is there already")
        seen.add(key)
        if channel.secrets and channel.type is not ChannelType.WEBHOOK:
            raise _wrong(f"{field}.secret", "only a webhook has one")
        try:
            for secret in channel.secrets:
                key_of(secret.text)
        except BadSecret as error:
            raise _wrong(f"{field}.secret", str(error)) from None


def _check_target(channel: AlertChannel, field: str) -> None:
    field = f"{field}.target"
    if channel.type is ChannelType.IN_APP:
        if channel.target:
            raise _wrong(field, "in_app has none")
        return
    try:
        if channel.type is ChannelType.EMAIL:
            read_mailbox(channel.target)
        else:
            read_url(channel.target)
    except (BadTarget, BadMailbox) as error:
        raise _wrong(field, str(error)) from None


def _wrong(field: str, why: str) -> Invalid:
    return Invalid(f"{field}: {why}", field=field, details={field: why})
