"""Organisations and keys: the first start, minting, revoking."""

from __future__ import annotations

import msgspec

from towerlog.ambient import Clock, Ids
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.errors import NotFound
from towerlog.model.command import CreateKey, RevokeKey
from towerlog.model.key import RANDOM_LENGTH, Key, digest_of, hint_of, make_key
from towerlog.model.outcome import KeyMinted
from towerlog.model.principal import Principal, Scope
from towerlog.store.values import Kind


def kind_of(scopes: tuple[Scope, ...]) -> str:
    """Which prefix a key with these scopes gets, for people and secret scanners."""
    if Scope.ADMIN in scopes:
        return "adm"
    if scopes == (Scope.READ,):
        return "ro"
    return "lane" if scopes == (Scope.WORKER,) else "live"


def mint_key(clock: Clock, ids: Ids, org: int, user_id: str, name: str, scopes: tuple[Scope, ...]) -> KeyMinted:
    """A new key, not stored yet."""
    return _minted(clock.now_ms(), ids, org, user_id, name, scopes)


def _minted(now_ms: int, ids: Ids, org: int, user_id: str, name: str, scopes: tuple[Scope, ...]) -> KeyMinted:
    text = make_key(ids.token(RANDOM_LENGTH), kind_of(scopes))
    return KeyMinted(Key(org, ids.uuid(), user_id, name, scopes, digest_of(text), hint_of(text), now_ms), text)


def create_key(plan: Plan, principal: Principal, command: CreateKey) -> KeyMinted:
    """A key of the caller's user."""
    minted = _minted(plan.now_ms, plan.ids, principal.org, principal.user_id, command.name, command.scopes)
    plan.changes.keys.append(minted.key)
    return minted


def needs_of_revoke(needs: Needs, principal: Principal, command: RevokeKey) -> None:
    """The key."""
    needs.want(Kind.KEY, (principal.org, command.key_id))


def revoke_key(plan: Plan, principal: Principal, command: RevokeKey) -> Key:
    """Revokes; again: the same answer. Raises NotFound."""
    key = key_of(plan, principal.org, command.key_id)
    if key is None:
        raise NotFound("key")
    if key.revoked_at is None:
        key = msgspec.structs.replace(key, revoked_at=plan.now_ms)
        plan.changes.keys.append(key)
    return key


def key_of(plan: Plan, org: int, key_id: str) -> Key | None:
    """A key, as this group has left it."""
    for changed in reversed(plan.changes.keys):
        if (changed.org, changed.key_id) == (org, key_id):
            return changed
    stored: Key | None = plan.loaded(Kind.KEY, (org, key_id))
    return stored
