"""What the audit says of things: the few members that people change, each by its name on the wire. Never a secret."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from towerlog.model.alert import AlertRule
from towerlog.model.alert_channel import AlertChannel
from towerlog.model.approval import AnswerLink
from towerlog.model.budget import BudgetRow, Reservation, dollars_text
from towerlog.model.key import Key
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.price import PriceRow
from towerlog.model.principal import User
from towerlog.model.retention import RetentionPolicy
from towerlog.model.run import PARENT_RUN, RunRow
from towerlog.model.thread import ThreadRow
from towerlog.model.times import format_ms, format_optional_ms

SECRET_DIGITS = 8
"""Of the digest by which a secret is told: a channel's, a key's, a member's."""
KEY_DIGEST, PASSWORD_DIGEST = "key_digest", "password_digest"
PRICED, NUMBER = "priced", "number"


def key_state(key: Key) -> dict[str, Any]:
    """A key without what it is known by, which only a digest tells."""
    return {
        "name": key.name,
        "scopes": list(key.scopes),
        "user_id": key.user_id,
        "revoked_at": format_optional_ms(key.revoked_at),
        KEY_DIGEST: key_digest(key),
    }


def key_digest(key: Key) -> str:
    """Of what never changes of a key, and stands in no entry."""
    return _short_digest(f"{key.digest.hex()} {key.hint} {key.created_at}")


def member_state(user: User) -> dict[str, Any]:
    """A member without its password, of which only a digest is told."""
    return {
        "name": user.name,
        "email": user.email,
        "role": user.role.value,
        "removed_at": format_optional_ms(user.removed_at),
        PASSWORD_DIGEST: None if user.password is None else _short_digest(user.password),
    }


def run_state(row: RunRow) -> dict[str, Any]:
    """What a person can change of a run that is there."""
    return {
        "status": row.status.value,
        "pending": [command.type for command in row.pending] or None,
        "questions": [question.question_id for question in row.questions] or None,
        "forced": row.forced or None,
    }


def made_run_state(row: RunRow) -> dict[str, Any]:
    """A run that was just created."""
    origin = row.forked_from
    parent = row.parent_key or ""
    return {
        "status": row.status.value,
        "thread_id": row.thread_id,
        "agent": row.agent,
        "persona_id": row.persona_id,
        "route_id": row.route_id,
        "parent_run_id": parent.removeprefix(PARENT_RUN) if parent.startswith(PARENT_RUN) else None,
        "retry_of": row.retry_of,
        "forked_from": None if origin is None else {"run_id": origin.run_id, "step_index": origin.step_index},
    }


def thread_state(row: ThreadRow) -> dict[str, Any]:
    """A thread."""
    return {"title": row.title, "policy": row.policy}


def persona_state(persona: Persona) -> dict[str, Any]:
    """A version of a persona. Its settings are left out: the version never changes, so they can be read at any time."""
    budget = persona.budget
    return {
        "agent": persona.agent,
        "instructions": persona.instructions,
        "tools": persona.tools,
        "budget": None if budget is None else {"usd": _dollars(budget.cost_nanos), "tokens": budget.tokens},
    }


def route_state(route: ProviderRoute) -> dict[str, Any]:
    """A version of a route."""
    return {
        "version": route.version,
        "provider": route.provider,
        "model": route.model,
        "base_url": route.base_url,
        "key_env": route.key_env,
    }


def link_state(link: AnswerLink) -> dict[str, Any]:
    """An answer link; never its token."""
    return {"link_id": link.nonce, "sent_to": link.sent_to, "expires_at": format_ms(link.expires_at)}


def budget_state(row: BudgetRow) -> dict[str, Any]:
    """A budget as it was set; what is spent of it is no act."""
    return {
        "name": row.name,
        "scope": {name: value for name, value in msgspec.structs.asdict(row.scope).items() if value},
        "amount_usd": dollars_text(row.amount_nanos),
        "period": row.period.value,
        "action": row.action.value,
        "warn_at": row.warn_at,
    }


def rule_state(rule: AlertRule) -> dict[str, Any]:
    """A rule as it was set; what has come of it is no act."""
    config = {name: value for name, value in msgspec.structs.asdict(rule.config).items() if value is not None}
    if "amount_nanos" in config:
        config["amount_usd"] = dollars_text(config.pop("amount_nanos"))
    return {
        "name": rule.name,
        "trigger": rule.trigger.value,
        "scope": {name: value for name, value in msgspec.structs.asdict(rule.scope).items() if value},
        "config": config,
        "channels": [_channel(one) for one in rule.channels],
        "enabled": rule.enabled,
        "cooldown_ms": rule.cooldown_ms,
        "renotify_ms": rule.renotify_ms,
        "act": None if rule.act is None else rule.act.value,
    }


def _channel(channel: AlertChannel) -> dict[str, Any]:
    known = {"type": channel.type.value, "target": channel.shown() or None}
    if not channel.secrets:
        return known
    return known | {"secret_digest": _short_digest(channel.secrets[0].text)}


def policy_state(row: RetentionPolicy) -> dict[str, Any]:
    """How long a kind of content is kept, and how much of it."""
    age = None if row.max_age_ms is None else row.max_age_ms // 1000
    return {"max_age_seconds": age, "max_bytes": row.max_bytes}


def reservation_state(held: Reservation) -> dict[str, Any]:
    """What a reservation holds, and where."""
    return {"amount_usd": dollars_text(held.amount_nanos), "budget_ids": list(held.budgets), "key_id": held.key_id}


def price_state(row: PriceRow) -> dict[str, Any]:
    """A price: it never changes. All of it, so that it can be made anew."""
    rates = msgspec.structs.asdict(row.rates)
    return {
        NUMBER: row.number,
        "model": row.model,
        "provider": row.provider,
        "valid_from": format_optional_ms(row.since or None),
        "usd_per_million": {name: dollars_text(rate) for name, rate in rates.items() if rate},
        # What is free has a price as well, of 0.
        PRICED: [name for name, rate in rates.items() if rate is not None],
    }


def cost_state(row: RunRow) -> dict[str, Any]:
    """What a run has cost."""
    return {"cost_usd": _dollars(row.usage.cost_nanos), "unpriced_calls": row.usage.unpriced_calls or 0}


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:SECRET_DIGITS]


def _dollars(nanos: int | None) -> str | None:
    return None if nanos is None else dollars_text(nanos)
