"""The questions of `SqliteStore` about organisations, keys and members."""

from __future__ import annotations

from towerlog.store.sqlite import reads
from towerlog.store.sqlite.connections.pools import Ask, HasPools, Where
from towerlog.store.sqlite.people import members as people
from towerlog.store.sqlite.people import organisations


class PeopleAsks(HasPools):
    """A part of the store; see `store/base` for what each method promises."""

    orgs = Ask(reads.orgs)
    org = Ask(reads.org)
    org_create = Ask(organisations.write_org, Where.WRITER)
    org_rename = Ask(organisations.rename_org, Where.WRITER)
    key_by_digest = Ask(people.caller_by_digest, Where.KEYS)
    keys = Ask(reads.keys)
    key_by_id = Ask(people.key_by_id)
    key_put = Ask(organisations.write_key, Where.WRITER)
    secret = Ask(organisations.keep_secret, Where.WRITER)
    users = Ask(people.users)
    members = Ask(people.members)
    members_named = Ask(people.members_named)
    member_known = Ask(people.member_known)
    link_by_digest = Ask(people.link_by_digest)
    sign_in_links = Ask(people.links)
    sessions = Ask(people.sessions)
    sessions_seen = Ask(people.note_seen, Where.BETWEEN_UNITS)
    signed_out_drop = Ask(people.drop_old, Where.BETWEEN_UNITS)
