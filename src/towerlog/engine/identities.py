"""Organisations and keys: the first start, minting, revoking."""

from __future__ import annotations

import msgspec

from towerlog.ambient import Clock, Ids
from towerlog.engine.plan import Plan
from towerlog.errors import Conflict, NotFound
from towerlog.model.command import CreateKey, RevokeKey
from towerlog.model.identity import Key, Org, Principal, Scope, User
from towerlog.model.keys import RANDOM_LENGTH, digest_of, hint_of, make_key
from towerlog.model.outcome import KeyMinted
from towerlog.store.base import Store

DEFAULT_ORG = "default"


class OrgMinted(msgspec.Struct, frozen=True):
    """A new organisation and the text of its first admin key."""

    org: Org
    key: Key
    text: str


def kind_of(scopes: tuple[Scope, ...]) -> str:
    """Which prefix a key with these scopes gets, for people and secret scanners."""
    if Scope.ADMIN in scopes:
        return "adm"
    if scopes == (Scope.READ,):
        return "ro"
    return "lane" if scopes == (Scope.WORKER,) else "live"


async def create_org(store: Store, clock: Clock, ids: Ids, name: str, key_text: str | None = None) -> OrgMinted:
    """An organisation with an admin user and an admin key. Raises Conflict for a name that is taken."""
    if any(org.name == name for org in await store.orgs()):
        raise Conflict(f"There is an organisation {name!r} already.")
    now = clock.now_ms()
    org = Org(0, ids.uuid(), name, now)
    user = User(0, ids.uuid(), "admin", None, now)
    text = key_text or make_key(ids.token(RANDOM_LENGTH), "adm")
    key = Key(0, ids.uuid(), user.user_id, "admin", tuple(Scope), digest_of(text), hint_of(text), now)
    made = await store.org_create(org, user, key)
    return OrgMinted(made, msgspec.structs.replace(key, org=made.org), text)


async def first_start(store: Store, clock: Clock, ids: Ids, bootstrap_key: str) -> OrgMinted | None:
    """Makes organisation `default` in an empty store; None when there are organisations already."""
    if await store.orgs():
        return None
    return await create_org(store, clock, ids, DEFAULT_ORG, bootstrap_key or None)


def mint_key(clock: Clock, ids: Ids, org: int, user_id: str, name: str, scopes: tuple[Scope, ...]) -> KeyMinted:
    """A new key, not stored yet."""
    text = make_key(ids.token(RANDOM_LENGTH), kind_of(scopes))
    key = Key(org, ids.uuid(), user_id, name, scopes, digest_of(text), hint_of(text), clock.now_ms())
    return KeyMinted(key, text)


async def create_key(plan: Plan, clock: Clock, principal: Principal, command: CreateKey) -> KeyMinted:
    """A key of the caller's user."""
    minted = mint_key(clock, plan.ids, principal.org, principal.user_id, command.name, command.scopes)
    plan.changes.keys.append(minted.key)
    return minted


async def revoke_key(plan: Plan, principal: Principal, command: RevokeKey) -> Key:
    """Revokes; again: the same answer. Raises NotFound."""
    key = await plan.unit.key(principal.org, command.key_id)
    if key is None:
        raise NotFound("key")
    if key.revoked_at is None:
        key = msgspec.structs.replace(key, revoked_at=plan.now)
        plan.changes.keys.append(key)
    return key
