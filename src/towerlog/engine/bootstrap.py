"""The first start of a store: its organisation, its admin user and their key."""

from __future__ import annotations

import msgspec
import structlog

from towerlog.ambient import Clock, Ids
from towerlog.engine.audit.outside import organisation_created
from towerlog.errors import Conflict
from towerlog.model.audit import SERVER, Actor
from towerlog.model.key import RANDOM_LENGTH, Key, digest_of, hint_of, make_key
from towerlog.model.member import FIRST_LINK_MS, TOKEN_CHARS, SignInLink, link_digest
from towerlog.model.principal import Org, Scope, User
from towerlog.store.base import IdentityStore, Organisations


class OrgMinted(msgspec.Struct, frozen=True):
    """A new organisation and the text of its first admin key."""

    org: Org
    key: Key
    text: str
    link: str = ""
    """The token by which its user may sign in once; empty without one."""


DEFAULT_ORG = "default"
_log = structlog.get_logger("towerlog.store")


async def create_org(
    store: Organisations,
    clock: Clock,
    ids: Ids,
    name: str,
    key_text: str | None = None,
    by: Actor = SERVER,
    *,
    with_link: bool = False,
    told_in: int | None = None,
    address: str | None = None,
    most: int | None = None,
) -> OrgMinted:
    """An organisation with an admin user and an admin key, and a link that signs that user in where one is wanted.

    `told_in`: an organisation whose audit tells it as well; `address`: where it was asked for, for both; `most`: how
    many there may be with it. Raises Conflict for a name that is taken, or for one too many.
    """
    now = clock.now_ms()
    org = Org(0, ids.uuid(), name, now)
    user = User(0, ids.uuid(), "admin", None, now)
    text = key_text or make_key(ids.token(RANDOM_LENGTH), "adm")
    key = Key(0, ids.uuid(), user.user_id, "admin", tuple(Scope), digest_of(text), hint_of(text), now)
    token = ids.token(TOKEN_CHARS) if with_link else ""
    link = _first_link(ids, token, user, now) if with_link else None
    told = organisation_created(by, org, user, key, address)
    also = None if told_in is None else msgspec.structs.replace(told, org=told_in)
    made = await store.org_create(org, user, key, told, link, also, most)
    return OrgMinted(made, msgspec.structs.replace(key, org=made.org), text, token)


def _first_link(ids: Ids, token: str, user: User, now: int) -> SignInLink:
    return SignInLink(0, ids.uuid(), link_digest(token), user.user_id, now, now + FIRST_LINK_MS)


async def first_start(
    store: Organisations, clock: Clock, ids: Ids, bootstrap_key: str, *, with_link: bool = False
) -> OrgMinted | None:
    """Makes organisation `default` in an empty store; None when there are organisations already, also where another
    node has made it just now."""
    if await store.orgs():
        return None
    try:
        return await create_org(store, clock, ids, DEFAULT_ORG, bootstrap_key or None, with_link=with_link)
    except Conflict:
        return None


async def warn_of_lost(store: IdentityStore) -> None:
    """Who sends a key of such an organisation gets 401, and nothing else tells why."""
    for number in await store.orgs_lost():
        words = "the row of an organisation is lost, nobody gets into it: stop the server, `towerlog rebuild`"
        _log.error(words, organisation_number=number)
