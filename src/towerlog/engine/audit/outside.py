"""Entries about what is done outside of the writer: by the first start, and by commands that open the store."""

from __future__ import annotations

from typing import Any

from towerlog.engine.audit import states
from towerlog.model.audit import Action, Actor, AuditEntry, make_entry
from towerlog.model.key import Key
from towerlog.model.member import SignInLink
from towerlog.model.principal import Org, User
from towerlog.model.removal import RemovedOrg
from towerlog.model.times import format_ms


def organisation_created(by: Actor, org: Org, user: User, key: Key, address: str | None = None) -> AuditEntry:
    """A new organisation; the store gives its number. `address`: where it was asked for, over HTTP."""
    after = {
        "name": org.name,
        "user_id": user.user_id,
        "user_name": user.name,
        "key_id": key.key_id,
        states.KEY_DIGEST: states.key_digest(key),
    }
    about = ("organisation", org.org_id)
    return make_entry(org.org, org.created_at, by, Action.ORGANISATION_CREATE, about, None, after, address)


def organisation_renamed(
    by: Actor, told_in: int, before: Org, after: Org, at: int, address: str | None = None
) -> AuditEntry:
    """Another name, as the audit of an organisation tells it."""
    about = ("organisation", after.org_id)
    names = ({"name": before.name}, {"name": after.name})
    return make_entry(told_in, at, by, Action.ORGANISATION_RENAME, about, *names, address)


def organisation_removed(by: Actor, told_in: int, removed: RemovedOrg, address: str | None = None) -> AuditEntry:
    """An organisation that is removed, as the audit of who has removed it tells it."""
    held = removed.held
    before = {
        "name": removed.name,
        "runs": held.runs,
        "events": held.events,
        "keys": held.keys,
        "members": held.members,
    }
    about = ("organisation", removed.org_id)
    return make_entry(told_in, removed.removed_at, by, Action.ORGANISATION_REMOVE, about, before, None, address)


def key_created(by: Actor, key: Key) -> AuditEntry:
    """A new key."""
    return make_entry(key.org, key.created_at, by, Action.KEY_CREATE, ("key", key.key_id), None, states.key_state(key))


def key_revoked(by: Actor, before: Key, after: Key) -> AuditEntry:
    """A key that is revoked now."""
    about, at = ("key", after.key_id), after.revoked_at or 0
    return make_entry(after.org, at, by, Action.KEY_REVOKE, about, states.key_state(before), states.key_state(after))


def link_made(by: Actor, link: SignInLink) -> AuditEntry:
    """A new sign-in link."""
    after = {"link_id": link.link_id, "expires_at": format_ms(link.expires_at)}
    return make_entry(link.org, link.created_at, by, Action.MEMBER_LINK, ("member", link.user_id), None, after)


def store_rebuilt(by: Actor, org: Org, at: int, events: int, lost: list[str]) -> AuditEntry:
    """The projections of an organisation were made anew."""
    return make_entry(
        org.org,
        at,
        by,
        Action.STORE_REBUILD,
        ("organisation", org.org_id),
        None,
        {"events": events, "lost": lost or None},
    )


def store_restored(by: Actor, org: Org, at: int, said: dict[str, Any]) -> AuditEntry:
    """A copy of the store is in its place from now on."""
    return make_entry(org.org, at, by, Action.STORE_RESTORE, ("organisation", org.org_id), None, said)


def clock_confirmed(by: Actor, org: Org, wall_ms: int, age_ms: int) -> AuditEntry:
    """The machine's clock was confirmed; `age_ms`: the clock by which things had grown old until then."""
    before, after = {"clock": format_ms(age_ms)}, {"clock": format_ms(wall_ms)}
    return make_entry(org.org, wall_ms, by, Action.CLOCK_CONFIRM, ("organisation", org.org_id), before, after)


def store_migrated(by: Actor, org: Org, at: int, said: dict[str, Any]) -> AuditEntry:
    """The store has moved into another database."""
    return make_entry(org.org, at, by, Action.STORE_MIGRATE, ("organisation", org.org_id), None, said)
