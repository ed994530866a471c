"""The audit: who has changed what, when and from where, and how it was before and after. One chain for an organisation.

An entry stands for an act of a person or a key that has changed something. Telemetry and the work of workers are no
acts: the log has them. An entry must not hold a secret: what looks like one is hidden here, whoever made the state.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from hashlib import sha256
from struct import Struct
from typing import Any

import msgspec

from towerlog.model.key import CHECKSUM_LENGTH, KINDS, PUBLIC_LENGTH, SECRET_LENGTH

MAX_STATE_BYTES = 4096
"""Of `before` and of `after`, as JSON; a longer one is left out, and its length and digest stand for it."""
MAX_STATE_CHARS = 500
"""Of a text in them; a longer one is cut."""
HIDDEN = "(hidden)"
SECRET_MEMBERS = frozenset(
    {"secret", "password", "token", "authorization", "api_key", "private_key", "signing_key", "credential", "digest"}
)
"""Members whose value is never kept, whatever it is."""
_KEY_TEXT = re.compile(
    rf"(tl_(?:{'|'.join(KINDS)})_[0-9A-Za-z]{{{PUBLIC_LENGTH}}}_)[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}"
)
_USER_OF_URL = re.compile(r"(?<=://)[^/?#\s]*@")
_pack_place = Struct(">qq").pack


class Action(enum.StrEnum):
    """What was done: the noun of its object and a verb."""

    ORGANISATION_CREATE = "organisation.create"
    ORGANISATION_RENAME = "organisation.rename"
    ORGANISATION_REMOVE = "organisation.remove"
    STORE_REBUILD = "store.rebuild"
    STORE_RESTORE = "store.restore"
    STORE_MIGRATE = "store.migrate"
    ROW_RESTORE = "row.restore"
    ROW_LOSE = "row.lose"
    CLOCK_CONFIRM = "clock.confirm"
    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    MEMBER_CREATE = "member.create"
    MEMBER_CHANGE = "member.change"
    MEMBER_REMOVE = "member.remove"
    MEMBER_LINK = "member.link"
    MEMBER_LINK_END = "member.link_end"
    MEMBER_PASSWORD = "member.password"
    MEMBER_SIGN_IN = "member.sign_in"
    MEMBER_SIGN_OUT = "member.sign_out"
    PERSONA_CREATE = "persona.create"
    ROUTE_CREATE = "route.create"
    AGENT_CREATE = "agent.create"
    THREAD_CREATE = "thread.create"
    THREAD_CHANGE = "thread.change"
    RUN_CREATE = "run.create"
    RUN_RETRY = "run.retry"
    RUN_FORK = "run.fork"
    RUN_CANCEL = "run.cancel"
    RUN_KILL = "run.kill"
    RUN_PAUSE = "run.pause"
    RUN_RESUME = "run.resume"
    RUN_INPUT = "run.input"
    RUN_MESSAGE = "run.message"
    RUN_APPROVE = "run.approve"
    RUN_REJECT = "run.reject"
    APPROVAL_LINK = "approval.link"
    BUDGET_CREATE = "budget.create"
    BUDGET_CHANGE = "budget.change"
    BUDGET_DELETE = "budget.delete"
    RESERVATION_RELEASE = "reservation.release"
    PRICE_CREATE = "price.create"
    PRICE_DELETE = "price.delete"
    RUN_REPRICE = "run.reprice"
    RUN_ERASE = "run.erase"
    THREAD_ERASE = "thread.erase"
    RETENTION_SET = "retention.set"
    RETENTION_CLEAR = "retention.clear"
    RULE_CREATE = "rule.create"
    RULE_CHANGE = "rule.change"
    RULE_DELETE = "rule.delete"
    ALERT_ACKNOWLEDGE = "alert.acknowledge"
    ALERT_MUTE = "alert.mute"
    DELIVERY_REDELIVER = "delivery.redeliver"


ACTIONS: dict[Action, str] = {
    Action.ORGANISATION_CREATE: "an organisation was created, with its first key",
    Action.ORGANISATION_RENAME: "an organisation got another name",
    Action.ORGANISATION_REMOVE: "an organisation was removed, with all that it held; in the audit of who manages it",
    Action.STORE_REBUILD: "the projections were rebuilt from the log (`towerlog rebuild`)",
    Action.STORE_RESTORE: "a backup was put in the place of the store (`towerlog restore`)",
    Action.STORE_MIGRATE: "the store was moved into another database (`towerlog migrate`)",
    Action.ROW_RESTORE: "the row of what people had set was lost by damage, and `towerlog rebuild` has made it anew"
    " as the audit tells it",
    Action.ROW_LOSE: "such a row was lost by damage and is gone, since the audit does not hold all of it"
    " (`towerlog rebuild`)",
    Action.CLOCK_CONFIRM: "the machine's clock was confirmed, and what is too old by it is deleted"
    " (`towerlog retention confirm-clock`)",
    Action.KEY_CREATE: "an API key was created",
    Action.KEY_REVOKE: "an API key was revoked",
    Action.MEMBER_CREATE: "a member was created",
    Action.MEMBER_CHANGE: "a member got another name, e-mail address or role",
    Action.MEMBER_REMOVE: "a member was removed, and its sessions have ended",
    Action.MEMBER_LINK: "a link was made by which a member signs in once",
    Action.MEMBER_LINK_END: "such a link was taken back",
    Action.MEMBER_PASSWORD: "a member has set its password, and its other sessions have ended",
    Action.MEMBER_SIGN_IN: "a member has signed in",
    Action.MEMBER_SIGN_OUT: "a member has signed out; or all its sessions were ended",
    Action.PERSONA_CREATE: "a version of a persona was created",
    Action.ROUTE_CREATE: "a version of a route was created; `before` is the version before it",
    Action.AGENT_CREATE: "an agent was registered by hand",
    Action.THREAD_CREATE: "a thread was created by hand",
    Action.THREAD_CHANGE: "a thread got another title or policy",
    Action.RUN_CREATE: "a run was created",
    Action.RUN_RETRY: "a run was created with the input of another one",
    Action.RUN_FORK: "a run was created from a checkpoint of another one",
    Action.RUN_CANCEL: "a run was asked to end, with the runs below it",
    Action.RUN_KILL: "a run was ended, with the runs below it",
    Action.RUN_PAUSE: "a run was asked to pause",
    Action.RUN_RESUME: "a run was asked to go on",
    Action.RUN_INPUT: "a question of a run was answered",
    Action.RUN_MESSAGE: "a message was sent to a run",
    Action.RUN_APPROVE: "a checkpoint of a run was approved",
    Action.RUN_REJECT: "a checkpoint of a run was rejected",
    Action.APPROVAL_LINK: "a link was made by which an approval can be answered without a key",
    Action.BUDGET_CREATE: "a budget was created",
    Action.BUDGET_CHANGE: "a budget was changed",
    Action.BUDGET_DELETE: "a budget was deleted",
    Action.RESERVATION_RELEASE: "a reservation was released before it was settled",
    Action.PRICE_CREATE: "a price of the organisation's own was created",
    Action.PRICE_DELETE: "a price of the organisation's own was deleted",
    Action.RUN_REPRICE: "costs of a run were computed anew",
    Action.RUN_ERASE: "the content of a run was erased",
    Action.THREAD_ERASE: "the content of a thread was erased, with that of its runs",
    Action.RETENTION_SET: "it was set how long a kind of content is kept",
    Action.RETENTION_CLEAR: "a kind of content is kept for ever again",
    Action.RULE_CREATE: "an alert rule was created",
    Action.RULE_CHANGE: "an alert rule was changed",
    Action.RULE_DELETE: "an alert rule was deleted",
    Action.ALERT_ACKNOWLEDGE: "an alert was acknowledged",
    Action.ALERT_MUTE: "an alert was muted, or heard again",
    Action.DELIVERY_REDELIVER: "a message of an alert was sent anew; of several the object is `deliveries`",
}
"""Every action, and what it stands for."""


class ActorType(enum.StrEnum):
    """What kind of caller has acted."""

    KEY = "key"
    """An API key, over HTTP."""
    MEMBER = "member"
    """A person who is signed in."""
    OPERATOR = "operator"
    """An account of the machine that the store is on, by a command."""
    SERVER = "server"
    """The server by itself."""
    RULE = "rule"
    """An alert rule that acts."""
    BUDGET = "budget"
    """A budget that acts."""
    LINK = "link"
    """An answer link, whoever has used it."""


class Actor(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Who has acted. Names are those of the moment."""

    type: ActorType
    user_id: str | None = None
    user_name: str | None = None
    """Of an operator: the name of the account."""
    key_id: str | None = None
    key_name: str | None = None
    """Of a link, user and key are those who made it; of one that a rule made, the user who made the rule."""
    rule_id: str | None = None
    rule_name: str | None = None
    """Of a link: the rule whose message carried it."""
    budget_id: str | None = None
    budget_name: str | None = None
    link_id: str | None = None
    sent_to: str | None = None
    """Of a link: for whom it was made."""


SERVER = Actor(ActorType.SERVER)


class AuditEntry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One act, as it is stored and hashed. `before` and `after` are JSON texts of objects, or null."""

    org: int
    at: int
    """Wall ms of the commit."""
    actor: Actor
    action: str
    """One of `Action`; a text, so that entries of a later version can be read."""
    object_type: str
    object_id: str
    address: str | None = None
    """Where the request came from; None where there was none."""
    before: msgspec.Raw = msgspec.Raw(b"null")
    after: msgspec.Raw = msgspec.Raw(b"null")


class AuditRow(msgspec.Struct, frozen=True, gc=False):
    """An entry in its place. Numbers begin with 1 and are dense in an organisation."""

    number: int
    hash: bytes
    entry: AuditEntry


def make_entry(
    org: int,
    at: int,
    actor: Actor,
    action: Action,
    about: tuple[str, str],
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    address: str | None = None,
) -> AuditEntry:
    """An entry about an object, given by its type and id, with its states bounded and what is secret in them hidden."""
    return AuditEntry(org, at, actor, action.value, *about, address, state_json(before), state_json(after))


def chain_link(previous: bytes, org: int, number: int, doc: bytes) -> bytes:
    """SHA-256 of the hash before it (empty for the first), the organisation and the number as two big-endian 64-bit
    integers, and the entry's JSON text as it is stored."""
    return sha256(b"".join((previous, _pack_place(org, number), doc))).digest()


def state_json(state: Mapping[str, Any] | None) -> msgspec.Raw:
    """A state as entries have it: bounded, without what is secret, and without the members that are None."""
    if state is None:
        return msgspec.Raw(b"null")
    shown = {name: _shown(name, value) for name, value in state.items() if value is not None}
    text = msgspec.json.encode(shown)
    if len(text) > MAX_STATE_BYTES:
        text = msgspec.json.encode({"left_out_bytes": len(text), "sha256": sha256(text).hexdigest()})
    return msgspec.Raw(text)


def _shown(name: str, value: Any) -> Any:
    if name.lower() in SECRET_MEMBERS:
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(inner): _shown(str(inner), one) for inner, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown("", one) for one in value]
    return _shown_text(value) if isinstance(value, str) else value


def _shown_text(text: str) -> str:
    """Without the secret part of our own keys, and without the user and password of a URL; then cut."""
    text = _USER_OF_URL.sub(f"{HIDDEN}@", _KEY_TEXT.sub(rf"\1{HIDDEN}", str(text)))
    return text if len(text) <= MAX_STATE_CHARS else f"{text[:MAX_STATE_CHARS]}… ({len(text)} characters)"


# The question


class AuditFilter(msgspec.Struct, frozen=True, gc=False):
    """Conditions that must all hold; None: no condition."""

    actor: str | None = None
    """A user's, key's, rule's or budget's id or name, the id of a link or for whom it was made, or the name of an
    account."""
    action: str | None = None
    object_id: str | None = None
    since: int | None = None
    """Wall ms."""


class ListAudit(msgspec.Struct, frozen=True, gc=False):
    """Entries, newest first. `before` is the number that the page ends before."""

    filter: AuditFilter
    limit: int
    before: int | None = None
