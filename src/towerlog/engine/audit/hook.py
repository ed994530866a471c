"""How a command comes into the audit: its verb names a function that says what it is about, before and after.

The writer calls that function around placing. What has changed is appended to the plan as one entry, so it is committed
with the act or not at all. A refused act leaves nothing, nor does one that finds everything as it should be, nor a
repeat under an Idempotency-Key, which is not placed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from towerlog.engine.load.rows import Needs, NeedsSteps
from towerlog.engine.plan.plan import Plan
from towerlog.model.approval import AnswerLink
from towerlog.model.audit import Action, Actor, ActorType, make_entry
from towerlog.model.key import Key
from towerlog.model.outcome import Placed
from towerlog.model.principal import Principal, User
from towerlog.store.values import Kind


class About(NamedTuple):
    """What an act is about, as it is at one moment."""

    action: Action
    type: str
    """Of the object, as in the action's name."""
    id: str
    state: dict[str, Any] | None
    """What may change of it, for people, never a secret; None: it is not there."""
    said: Mapping[str, Any] | None = None
    """What the act itself says, such as a reason: stands in `after` beside the state."""
    link: AnswerLink | None = None
    """By which it came: it is named as the actor, with who made it."""


Act = Callable[[Plan, Principal, Any, Any], About | None]
"""(plan, principal, command, outcome) → what it is about, None for nothing. Called before the command is placed, when
there is no outcome, and once more after it."""


class ActFound(NamedTuple):
    """An act before it is placed."""

    act: Act
    about: About | None
    events: int
    """Of the plan."""


def needs_of_act(needs_of: Callable[..., NeedsSteps], needs: Needs, principal: Principal, command: Any) -> NeedsSteps:
    """What a command needs that is an act: also the names of who acts."""
    needs.want(Kind.USER, (principal.org, principal.user_id))
    needs.want(Kind.KEY, (principal.org, principal.key_id))
    return needs_of(needs, principal, command)


def as_found(plan: Plan, act: Act, principal: Principal, command: Any) -> ActFound:
    """How everything is before a command is placed."""
    return ActFound(act, act(plan, principal, command, None), len(plan.changes.events))


def note_act(
    plan: Plan, found: ActFound, principal: Principal, command: Any, outcome: Placed, address: str | None
) -> None:
    """Appends what a command has changed; nothing where it has neither changed its object nor appended an event."""
    after = found.act(plan, principal, command, outcome)
    before = None if found.about is None else found.about.state
    if after is None or (after.state == before and len(plan.changes.events) == found.events):
        return
    state = None if after.state is None else {**after.state, **(after.said or {})}
    entry = make_entry(
        principal.org,
        plan.now_ms,
        _actor(plan, principal, after.link),
        after.action,
        (after.type, after.id),
        before,
        state,
        address,
    )
    plan.changes.audit.append(entry)


def _actor(plan: Plan, principal: Principal, link: AnswerLink | None) -> Actor:
    user: User | None = plan.loaded(Kind.USER, (principal.org, principal.user_id))
    key: Key | None = plan.loaded(Kind.KEY, (principal.org, principal.key_id))
    kind = ActorType.MEMBER if principal.is_member else ActorType.KEY
    actor = Actor(
        type=kind if link is None else ActorType.LINK,
        user_id=principal.user_id or None,
        user_name=None if user is None else user.name,
        key_id=None if principal.is_member else principal.key_id,
        key_name=None if key is None else key.name,
    )
    if link is None:
        return actor
    actor = msgspec.structs.replace(actor, link_id=link.nonce, sent_to=link.sent_to)
    if not link.rule_id:
        return actor
    rule = plan.alerts.rule(link.org, link.rule_id)
    rule_name = None if rule is None else rule.name
    return msgspec.structs.replace(actor, key_id=None, rule_id=link.rule_id, rule_name=rule_name)
