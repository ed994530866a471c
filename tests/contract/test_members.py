"""Members in any backend: of one organisation each; sessions and links go by their digests until they are over."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.factories import START_MS, identity
from tests.support.lookups import looked_up
from towerlog.model.key import KeyFound
from towerlog.model.member import MAX_LINKS, MAX_SESSIONS, SESSION_MS, Session, SessionsOver, SignInLink
from towerlog.model.principal import Role, User
from towerlog.store.base import Store
from towerlog.store.values import Changes, Kind

# Rights are held by each backend.
pytestmark = pytest.mark.every_value


LATER = START_MS + 1000


def member(org: int, number: int, name: str, role: Role = Role.VIEWER, **more: object) -> User:
    email = more.pop("email", None)
    return User(org, f"00000000-0000-7000-c000-{number:012x}", name, email, START_MS, role, **more)  # type: ignore[arg-type]


def session(user: User, number: int, expires_at: int = LATER) -> Session:
    place = ("192.0.2.7", f"session-{number}", START_MS)
    return Session(user.org, b"session %d" % number, user.user_id, START_MS, expires_at, *place)


async def put(store: Store, changes: Changes) -> None:
    async with store.begin() as unit:
        await unit.commit(changes)


async def put_users(store: Store, *users: User) -> None:
    await put(store, Changes(users={(user.org, user.user_id): user for user in users}))


async def test_each_organisation_has_its_own(store: Store, org: int, other: int) -> None:
    ada, bob = member(org, 7, "Ada", Role.ADMIN), member(other, 8, "Bob")
    await put_users(store, ada, bob)
    assert [user.name for user in await store.members(org, 9, None)] == ["Ada", "admin"]
    assert [user.name for user in await store.members(org, 9, ada.user_id)] == ["admin"]
    assert [user.name for user in await store.members(other, 1, None)] == ["Bob"]
    found = await store.members_named("ours", "ADA")
    assert found == (identity(1)[0].org_id, ada)
    assert await store.members_named("theirs", "ada") is None
    assert await store.members_named("nobody's", "ada") is None
    async with store.begin() as unit:
        counts = await looked_up(unit, Kind.MEMBER_COUNTS, org, other)
        names = await looked_up(unit, Kind.MEMBER_NAME, (org, "ada"), (org, "bob"), (other, "bob"))
    assert counts == {org: (2, 2), other: (2, 1)}
    assert names == {(org, "ada"): ada.user_id, (other, "bob"): bob.user_id}


async def test_a_member_that_was_removed_is_a_user_and_no_member(store: Store, org: int) -> None:
    ada = member(org, 7, "Ada", password="hash", subject="sub")
    await put_users(store, ada)
    await put(store, Changes(sessions=[session(ada, 1)]))
    gone = member(org, 7, "Ada", removed_at=LATER)
    await put_users(store, gone)
    assert [user.name for user in await store.members(org, 9, None)] == ["admin"]
    assert await store.members_named("ours", "ada") is None
    assert (await store.users(org, [ada.user_id]))[ada.user_id] == gone
    found = await store.key_by_digest(b"session 1")
    assert found is not None
    assert found.key.revoked_at == LATER


async def test_a_name_can_change_hands(store: Store, org: int) -> None:
    ada, bob = member(org, 7, "Ada", email="ADA@example.com"), member(org, 8, "Bob")
    await put_users(store, ada, bob)
    await put_users(store, msgspec.structs.replace(ada, name="Bob"), msgspec.structs.replace(bob, name="Ada"))
    found = await store.members_named("ours", "ada")
    assert found is not None
    assert found[1].user_id == bob.user_id
    await put_users(store, member(org, 8, "Ada", removed_at=LATER))
    async with store.begin() as unit:
        names = await looked_up(unit, Kind.MEMBER_NAME, (org, "ada"), (org, "bob"), (org, "ada@example.com"))
        counts = await looked_up(unit, Kind.MEMBER_COUNTS, org)
    assert names == {(org, "bob"): ada.user_id, (org, "ada@example.com"): ada.user_id}
    assert counts[org].members == 2


async def test_who_was_removed_is_known_after_who_is_a_member(store: Store, org: int) -> None:
    gone = member(org, 7, "Ada", email="Ada@example.com", subject="sub", removed_at=LATER)
    await put_users(store, gone)
    assert await store.member_known(org, "sub", None) == gone
    assert await store.member_known(org, "other", "ADA@example.com") == gone
    assert await store.member_known(org, "other", "ada") is None, "that is a name"
    again = member(org, 8, "Ada", email="ada@example.com")
    await put_users(store, again)
    assert await store.member_known(org, "sub", "ada@example.com") == again


async def test_a_session_is_what_a_key_of_its_member_would_be(store: Store, org: int, other: int) -> None:
    ada = member(org, 7, "Ada", Role.OPERATOR)
    await put_users(store, ada)
    await put(store, Changes(sessions=[session(ada, 1)]))
    found = await store.key_by_digest(b"session 1")
    assert found is not None
    key = found.key
    assert (key.org, key.key_id, key.user_id, key.name) == (org, ada.user_id, ada.user_id, "Ada")
    assert (set(key.scopes), found.expires_at, key.revoked_at) == ({"read", "control"}, LATER, None)
    assert await store.key_by_digest(b"session 2") is None
    by_id = await store.key_by_id(org, ada.user_id)
    assert by_id is not None
    assert by_id.scopes == key.scopes
    assert await store.key_by_id(other, ada.user_id) is None
    # Whatever is left of its sessions: who was removed is let in by none of them.
    await put_users(store, msgspec.structs.replace(ada, removed_at=LATER))
    for gone in (await store.key_by_digest(b"session 1"), await store.key_by_id(org, ada.user_id)):
        revoked = gone.key if isinstance(gone, KeyFound) else gone
        assert revoked is None or revoked.revoked_at == LATER


async def test_sessions_end_one_or_all_or_all_but_one(store: Store, org: int) -> None:
    ada, bob = member(org, 7, "Ada"), member(org, 8, "Bob")
    await put_users(store, ada, bob)
    await put(store, Changes(sessions=[*(session(ada, n) for n in range(4)), session(bob, 9)]))

    async def open_ones() -> list[int]:
        return [n for n in (0, 1, 2, 3, 9) if await store.key_by_digest(b"session %d" % n)]

    await put(store, Changes(sessions_over=[SessionsOver(org, ada.user_id, only=b"session 0")]))
    assert await open_ones() == [1, 2, 3, 9]
    await put(store, Changes(sessions_over=[SessionsOver(org, ada.user_id, only=b"session 9")]))
    assert await open_ones() == [1, 2, 3, 9], "that one is another member's"
    await put(store, Changes(sessions_over=[SessionsOver(org, ada.user_id, but=b"session 2")]))
    assert await open_ones() == [2, 9]
    await put(store, Changes(sessions_over=[SessionsOver(org, ada.user_id)]))
    assert await open_ones() == [9]


async def test_of_too_many_sessions_the_oldest_ends(store: Store, org: int) -> None:
    ada = member(org, 7, "Ada")
    await put_users(store, ada)
    for number in range(MAX_SESSIONS + 2):
        await put(store, Changes(sessions=[session(ada, number)]))
    known = [n for n in range(MAX_SESSIONS + 2) if await store.key_by_digest(b"session %d" % n)]
    assert known == list(range(2, MAX_SESSIONS + 2))


async def test_sessions_are_listed_of_one_member_or_of_all(store: Store, org: int, other: int) -> None:
    ada, bob, eve = member(org, 7, "Ada"), member(org, 8, "Bob"), member(other, 9, "Eve")
    await put_users(store, ada, bob, eve)
    theirs = [session(ada, 1), session(bob, 2), session(ada, 3), session(ada, 4, START_MS + 1), session(eve, 5)]
    for one in theirs:
        await put(store, Changes(sessions=[one]))

    async def listed(user: User | None, limit: int = 9, before: str | None = None) -> list[str]:
        user_id = None if user is None else user.user_id
        return [one.session_id for one in await store.sessions(org, user_id, limit, before, START_MS + 1)]

    assert await listed(None) == ["session-3", "session-2", "session-1"], "one is over, one another organisation's"
    assert await listed(ada) == ["session-3", "session-1"]
    assert await listed(None, 1, "session-3") == ["session-2"]
    assert await listed(ada, 9, "session-3") == ["session-1"]
    assert await listed(None, 9, "session-5") == [], "a place in another organisation's list is none here"
    assert await store.sessions(org, ada.user_id, 1, None, START_MS) == [theirs[3]]
    async with store.begin() as unit:
        known = await looked_up(unit, Kind.SESSION, (org, "session-1"), (other, "session-1"), (org, "session-5"))
    assert known == {(org, "session-1"): theirs[0]}


async def test_a_session_that_is_used_ends_later(store: Store, org: int) -> None:
    ada = member(org, 7, "Ada")
    await put_users(store, ada)
    await put(store, Changes(sessions=[session(ada, 1), session(ada, 2)]))

    async def ends(number: int) -> tuple[int | None, int | None]:
        found = await store.key_by_digest(b"session %d" % number)
        assert found is not None
        return found.seen_at, found.expires_at

    await store.sessions_seen([b"session 1", b"session 9"], START_MS + 5, LATER + 5)
    assert (await ends(1), await ends(2)) == ((START_MS + 5, LATER + 5), (START_MS, LATER))
    await store.sessions_seen([b"session 1"], START_MS + 4, LATER + 4)
    assert await ends(1) == (START_MS + 5, LATER + 5), "told late"
    await store.sessions_seen([b"session 2"], LATER, LATER + 100)
    assert await ends(2) == (START_MS, LATER), "it was over"
    await store.sessions_seen([b"session 1"], START_MS + 6, START_MS + SESSION_MS + 9)
    assert await ends(1) == (START_MS + 6, START_MS + SESSION_MS)


async def test_a_link_is_used_once_and_dropped_when_it_is_over(store: Store, org: int, other: int) -> None:
    ada = member(org, 7, "Ada")
    link = SignInLink(org, "link-1", b"link", ada.user_id, START_MS, LATER)
    await put(store, Changes(users={(org, ada.user_id): ada}, sign_in_links={(org, b"link"): link}))
    found = await store.link_by_digest(b"link")
    assert found is not None
    assert (found.link, found.user, found.org_id) == (link, ada, identity(1)[0].org_id)
    async with store.begin() as unit:
        known = await looked_up(unit, Kind.SIGN_IN_LINK, (org, b"link"), (other, b"link"))
    assert known == {(org, b"link"): link}
    used = SignInLink(org, "link-1", b"link", ada.user_id, START_MS, LATER, used_at=START_MS + 5)
    await put(store, Changes(sign_in_links={(org, b"link"): used}, sessions=[session(ada, 1)]))
    found = await store.link_by_digest(b"link")
    assert found is not None
    assert found.link == used
    assert await store.signed_out_drop(LATER - 1, 9) == 0
    assert await store.signed_out_drop(LATER, 9) == 2
    assert await store.link_by_digest(b"link") is None
    assert await store.key_by_digest(b"session 1") is None


def link_of(user: User, number: int, made_by: str | None = None) -> SignInLink:
    return SignInLink(user.org, f"link-{number}", b"link %d" % number, user.user_id, START_MS, LATER, made_by)


async def put_links(store: Store, *links: SignInLink) -> None:
    await put(store, Changes(sign_in_links={(link.org, link.digest): link for link in links}))


async def listed(store: Store, org: int, before: str | None = None, now: int = START_MS) -> list[str]:
    return [link.link_id for link in await store.sign_in_links(org, 99, before, now)]


async def test_a_link_is_good_while_its_maker_may_make_one(store: Store, org: int) -> None:
    ada, bob = member(org, 7, "Ada"), member(org, 8, "Bob", Role.ADMIN)
    key = identity(1)[2]
    await put_users(store, ada, bob)
    await put_links(store, link_of(ada, 1), link_of(ada, 2, bob.user_id), link_of(ada, 3, key.key_id))
    assert await listed(store, org) == ["link-3", "link-2", "link-1"]
    assert await listed(store, org, "link-3") == ["link-2", "link-1"]
    assert await listed(store, org, now=LATER) == []
    await put_users(store, member(org, 8, "Bob", Role.OPERATOR))
    assert await listed(store, org) == ["link-3", "link-1"]
    await put(store, Changes(keys=[msgspec.structs.replace(key, org=org, revoked_at=LATER)]))
    assert await listed(store, org) == ["link-1"]
    async with store.begin() as unit:
        known = await looked_up(unit, Kind.SIGN_IN_LINK, *((org, b"link %d" % n) for n in (1, 2, 3)))
        by_id = await looked_up(unit, Kind.SIGN_IN_LINK_ID, *((org, f"link-{n}") for n in (1, 2, 3)))
    assert (list(known), list(by_id)) == ([(org, b"link 1")], [(org, "link-1")])
    await put_users(store, member(org, 7, "Ada", removed_at=LATER))
    assert await listed(store, org) == []


async def test_links_end_with_all_sessions_of_their_member(store: Store, org: int) -> None:
    ada, bob = member(org, 7, "Ada"), member(org, 8, "Bob")
    await put_users(store, ada, bob)
    await put_links(store, link_of(ada, 1), link_of(bob, 2))
    await put(store, Changes(sessions_over=[SessionsOver(org, ada.user_id, only=b"session 0")]))
    assert await listed(store, org) == ["link-2", "link-1"], "one sign-out"
    await put(store, Changes(sessions_over=[SessionsOver(org, ada.user_id, but=b"session 2")]))
    assert await listed(store, org) == ["link-2"]


async def test_of_too_many_links_for_a_member_the_oldest_ends(store: Store, org: int) -> None:
    ada, bob = member(org, 7, "Ada"), member(org, 8, "Bob")
    await put_users(store, ada, bob)
    await put_links(store, link_of(bob, 99), *(link_of(ada, number) for number in range(MAX_LINKS + 2)))
    assert sorted(await listed(store, org)) == sorted(["link-99", *(f"link-{n}" for n in range(2, MAX_LINKS + 2))])


async def test_an_organisation_can_be_made_with_a_link(store: Store) -> None:
    org, user, key, told = identity(5, name="fifth")
    made = await store.org_create(
        org, user, key, told, SignInLink(0, "link-1", b"first", user.user_id, START_MS, LATER)
    )
    found = await store.link_by_digest(b"first")
    assert found is not None
    assert (found.link.org, found.user.name, found.user.role) == (made.org, "admin", Role.ADMIN)
