"""Rows made anew from what the audit tells of them, where it tells all of it: what a row says must be what was told.

A key is never among them, since no entry holds what lets it in; nor are rules that post to an address, of which
entries have the host alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from towerlog.engine.audit import states
from towerlog.engine.audit.settings import as_told
from towerlog.engine.audit.told import LostRow
from towerlog.model.alert import ABOUT_NO_RUN, AlertAct, AlertConfig, AlertRule, AlertScope, AlertState, AlertTrigger
from towerlog.model.alert_channel import AlertChannel
from towerlog.model.budget import BudgetAction, BudgetRow, BudgetScope, Period, warn_nanos
from towerlog.model.facts import Erases
from towerlog.model.price import PriceRow, Rates
from towerlog.model.principal import Role, User
from towerlog.model.retention import RetentionPolicy
from towerlog.model.times import parse_ms
from towerlog.model.usage import parse_dollars

_MAX_DOLLARS = 10**15
"""More than any amount or price may have: what was told was accepted once."""


class RowPlace(NamedTuple):
    """Where a row is put."""

    org: int
    number: int
    """The lowest that is free above all of its kind."""
    taken: frozenset[int]
    """Numbers of rows of its kind."""
    now_ms: int


def restored(lost: LostRow, place: RowPlace) -> tuple[Any, dict[str, Any]] | None:
    """The row, and its state as entries have it; None where the audit does not tell all of it."""
    if lost.type not in _KINDS:
        return None
    build, state_of, unheld = _KINDS[lost.type]
    try:
        row = build(lost, lost.told.state or {}, place)
        state = as_told(state_of(row))
    except (msgspec.MsgspecError, LookupError, ValueError, TypeError, AttributeError):
        return None
    return None if set(lost.told.differing(state)) - unheld else (row, state)


def _budget(lost: LostRow, told: dict[str, Any], place: RowPlace) -> BudgetRow:
    """A budget that has counted nothing yet."""
    amount, warn_at = _nanos(told["amount_usd"]), float(told["warn_at"])
    return BudgetRow(
        org=place.org,
        budget_id=lost.id,
        number=place.number,
        name=told["name"],
        scope=msgspec.convert(told["scope"], BudgetScope),
        amount_nanos=amount,
        period=Period(told["period"]),
        action=BudgetAction(told["action"]),
        warn_at=warn_at,
        warn_nanos=warn_nanos(amount, warn_at),
        created_at=lost.made.at,
        created_by=lost.made.user_id,
        key_id=lost.made.key_id or "",
    )


def _price(lost: LostRow, told: dict[str, Any], place: RowPlace) -> PriceRow:
    """Of prices of one moment the number says which of them holds."""
    rates = dict.fromkeys(told[states.PRICED], 0)
    rates |= {name: _nanos(text) for name, text in told["usd_per_million"].items()}
    number = int(told[states.NUMBER])
    return PriceRow(
        org=place.org,
        price_id=lost.id,
        number=place.number if number in place.taken else number,
        model=told["model"],
        rates=msgspec.convert(rates, Rates),
        created_at=lost.made.at,
        provider=told.get("provider"),
        since=_optional_ms(told.get("valid_from")) or 0,
        created_by=lost.made.user_id,
        key_id=lost.made.key_id or "",
    )


def _rule(lost: LostRow, told: dict[str, Any], place: RowPlace) -> AlertRule:
    config = dict(told["config"])
    if "amount_usd" in config:
        config["amount_nanos"] = _nanos(config.pop("amount_usd"))
    return AlertRule(
        org=place.org,
        rule_id=lost.id,
        number=place.number,
        name=told["name"],
        trigger=AlertTrigger(told["trigger"]),
        created_at=lost.made.at,
        scope=msgspec.convert(told["scope"], AlertScope),
        config=msgspec.convert(config, AlertConfig),
        channels=tuple(map(_channel, told["channels"])),
        enabled=told["enabled"],
        cooldown_ms=told["cooldown_ms"],
        renotify_ms=told["renotify_ms"],
        act=msgspec.convert(told.get("act"), AlertAct | None),
        created_by=lost.made.user_id,
        key_id=lost.made.key_id or "",
        window_state=AlertState.NO_DATA if told["trigger"] in ABOUT_NO_RUN else None,
    )


def _policy(lost: LostRow, told: dict[str, Any], place: RowPlace) -> RetentionPolicy:
    seconds = told.get("max_age_seconds")
    return RetentionPolicy(
        org=place.org,
        kind=Erases(lost.id),
        max_age_ms=None if seconds is None else seconds * 1000,
        max_bytes=told.get("max_bytes"),
        updated_at=lost.made.at,
        updated_by=lost.made.user_id,
    )


def _member(lost: LostRow, told: dict[str, Any], place: RowPlace) -> User:
    """Without its password, and without who it is to an identity provider. Keys and entries name it, so it is there in
    any case: as one that was removed, where nothing says its name."""
    name = told.get("name")
    return User(
        org=place.org,
        user_id=lost.id,
        name=lost.id if name is None else name,
        email=told.get("email"),
        created_at=lost.made.at,
        role=Role(told.get("role", Role.VIEWER)),
        removed_at=place.now_ms if name is None else _optional_ms(told.get("removed_at")),
    )


def _channel(told: dict[str, Any]) -> AlertChannel:
    return msgspec.convert({name: value for name, value in told.items() if value is not None}, AlertChannel)


def _nanos(text: str) -> int:
    return parse_dollars(text, _MAX_DOLLARS)


def _optional_ms(text: str | None) -> int | None:
    return None if text is None else parse_ms(text)


Build = Callable[[LostRow, dict[str, Any], RowPlace], Any]
_KINDS: dict[str, tuple[Build, Callable[[Any], dict[str, Any]], frozenset[str]]] = {
    "budget": (_budget, states.budget_state, frozenset()),
    "price": (_price, states.price_state, frozenset({states.NUMBER})),
    "rule": (_rule, states.rule_state, frozenset()),
    "retention": (_policy, states.policy_state, frozenset()),
    "member": (_member, states.member_state, frozenset({states.PASSWORD_DIGEST})),
}
"""Of each type how its row is made, its state, and members of that which need not be as they were told."""
