"""Sign-in by a one-time link or a password, sign-out, and who is signed in.

What is wrong with a sign-in is not said: a member that is not there, a wrong password and a link that was used get the
same words, after the same work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from towerlog.ambient import Clock
from towerlog.asgi.guard.addresses import counted_as
from towerlog.asgi.guard.auth import Authenticator, signed_in
from towerlog.asgi.guard.cookies import check_own_page, drop_cookies, name_for, origin_of, set_cookie
from towerlog.asgi.pages.sign_in.attempts import Attempts
from towerlog.asgi.pages.sign_in.passwords import MAX_PASSWORD_CHARS, Passwords, check_form
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import MAX_LABEL_CHARS, Reply, reply_json
from towerlog.dialects.fields import decode, invalid_field
from towerlog.dialects.native.admin.members import MemberEmail, MemberName, MemberRole, ServerUrl
from towerlog.dialects.native.keys import ANYBODY
from towerlog.engine.commands.members import NOT_GOOD
from towerlog.engine.core import Engine
from towerlog.errors import (
    CrossSite,
    Invalid,
    Malformed,
    NotFound,
    Overloaded,
    RateLimited,
    TooLarge,
    Unauthenticated,
)
from towerlog.model.member import EndSessions, SessionStarted, SetPassword, StartSession, link_digest
from towerlog.model.principal import Principal, User
from towerlog.store.base import Store

MAX_BODY_BYTES = 4096
DEFAULT_ORGANISATION = "default"
_NO_STORE = ((b"cache-control", b"no-store"),)
_NOBODY = Principal(0, "", "", "sign-in", frozenset())
"""For whose account a sign-in's body counts: that of all callers without a key."""

Password = Annotated[str, v.said("The password, of 12 to 200 characters.", "a long sentence of my own")]


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants to sign in: by the token of a link, or by name and password."""

    token: Annotated[str, v.said("The token of a sign-in link.", "h2v8c4tq0m6kx9zr3b7ny5wd1gf8p2sj4a6e0uqk")] = ""
    user: Annotated[str, v.said("The member's name or e-mail address.", "ada")] = ""
    password: Annotated[str, v.said("The password.", "a long sentence of my own")] = ""
    organisation: Annotated[str, v.said("The name of the organisation that the member is of.", "default")] = (
        DEFAULT_ORGANISATION
    )


class LinkToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sign-in link that was opened."""

    token: Annotated[str, v.said("The token of a sign-in link.", "h2v8c4tq0m6kx9zr3b7ny5wd1gf8p2sj4a6e0uqk")]


class LinkOwner(msgspec.Struct, frozen=True):
    """Whom a sign-in link signs in."""

    name: MemberName
    org_name: Annotated[str, v.said("The name of the organisation that the member is of.", "default")]


class SignInWays(msgspec.Struct, frozen=True):
    """How people may sign in here."""

    password: Annotated[bool, v.said("By name and password.", True)]
    identity_provider: Annotated[
        str | None, v.said("The issuer of the identity provider that vouches for people; null without one.", None)
    ]


class SessionDetail(msgspec.Struct, frozen=True):
    """Who is signed in, and what it may do."""

    user_id: v.MemberId
    name: MemberName
    email: MemberEmail | None
    role: MemberRole
    scopes: v.Scopes
    org_id: v.OrgId
    org_name: Annotated[str, v.said("The organisation's name.", "default")]
    has_password: Annotated[bool, v.said("Whether the member has set a password.", True)]
    idle_seconds: Annotated[int, v.said("Seconds after which a session ends that nothing has used.", 259_200)]
    url: ServerUrl


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password that a member sets for itself."""

    password: Password
    current_password: Annotated[str, v.said("The password until now, where there is one.", "an old sentence")] = ""


_LINK_TOKEN = msgspec.json.Decoder(LinkToken)
_SIGN_IN = msgspec.json.Decoder(SignIn)
_NEW_PASSWORD = msgspec.json.Decoder(NewPassword)


class SignInPages:
    """Routes for signing in and out, and for new passwords."""

    def __init__(self, issuer: str | None) -> None:
        """`issuer`: of the identity provider, where there is one. Served after `attach`."""
        self._issuer = issuer
        self._engine: Engine | None = None
        self._store: Store | None = None
        self._clock: Clock | None = None
        self._auth: Authenticator | None = None
        self._url = ""
        self._idle_ms = 0
        self._passwords = Passwords()
        self.attempts = Attempts()

    def attach(self, engine: Engine, store: Store, auth: Authenticator, clock: Clock, url: str, idle_ms: int) -> None:
        """`auth` remembers who is signed in. `url`: where clients find the server; empty: where they found it.
        `idle_ms`: a session that is not used for so long is over."""
        self._engine, self._store, self._auth, self._clock, self._url = engine, store, auth, clock, url
        self._idle_ms = idle_ms

    def close(self) -> None:
        """Checks no more passwords."""
        self._passwords.close()

    def routes(self) -> tuple[PageRoute, ...]:
        """Routes of `/api/v1/session` and `/api/v1/sign-in`, with the requests and errors of each."""
        session, sign_in = "/api/v1/session", "/api/v1/sign-in"
        page = "No key is needed. Only pages of this server may ask: `Origin` is its own, `X-Towerlog-Request` is `1`."
        wrong = (Malformed, Invalid, TooLarge, RateLimited, Overloaded)
        return (
            PageRoute(
                "GET", sign_in, "sign_in_ways", "How people may sign in.", self.ways, public=True, reply=SignInWays
            ),
            PageRoute(
                "POST", sign_in, "sign_in", "Sign in; the reply sets the session's cookie.", self.sign_in,
                public=True, access=page, reply_status=204, request=SignIn, asker=self.asker,
                refuses=(Unauthenticated, CrossSite, *wrong),
            ),
            PageRoute(
                "POST", f"{sign_in}/link", "whose_sign_in_link", "Whom a sign-in link signs in, without using it.",
                self.whose, public=True, access=page, request=LinkToken, reply=LinkOwner, asker=self.asker,
                refuses=(Unauthenticated, CrossSite, Malformed, Invalid, TooLarge),
            ),
            PageRoute(
                "POST", "/api/v1/sign-out", "sign_out", "End the caller's session.", self.sign_out, ANYBODY,
                reply_status=204, refuses=(CrossSite, NotFound),
            ),
            PageRoute(
                "GET", session, "get_session", "Who is signed in.", self.show, ANYBODY, reply=SessionDetail,
                refuses=(NotFound,),
            ),
            PageRoute(
                "PATCH", session, "set_password", "Set one's own password; one's other sessions end.", self.change,
                ANYBODY, reply_status=204, request=NewPassword, refuses=(CrossSite, NotFound, *wrong),
            ),
        )  # fmt: skip

    async def asker(self, path: Mapping[str, str]) -> Principal:
        """The anonymous caller."""
        return _NOBODY

    async def ways(self, visit: PageVisit) -> Reply:
        """For the form."""
        return reply_json(SignInWays(True, self._issuer), 200, _NO_STORE)

    async def sign_in(self, visit: PageVisit) -> Reply:
        """A session. Raises CrossSite, Unauthenticated, RateLimited, Overloaded, Invalid, Malformed, TooLarge."""
        check_own_page(visit.headers, origin_of(self._url))
        said = decode(_SIGN_IN, _short(visit.body))
        cookie = name_for(visit.headers)
        if said.token:
            principal = await self._by_link(said.token)
            start = StartSession(cookie, link_digest(said.token), visit.address, idle_ms=self._idle_ms)
        else:
            principal = await self._by_password(said, visit)
            start = StartSession(cookie, None, visit.address, idle_ms=self._idle_ms)
        return await self._started(principal, start)

    async def whose(self, visit: PageVisit) -> Reply:
        """Whom a link signs in. Raises CrossSite, Unauthenticated, Invalid, Malformed, TooLarge."""
        check_own_page(visit.headers, origin_of(self._url))
        token = decode(_LINK_TOKEN, _short(visit.body)).token
        assert self._store is not None
        assert self._clock is not None
        found = await self._store.link_by_digest(link_digest(token))
        if found is None or found.link.used_at is not None or found.link.expires_at <= self._clock.now_ms():
            raise Unauthenticated(NOT_GOOD)
        org = await self._store.org(found.user.org)
        return reply_json(LinkOwner(found.user.name, "" if org is None else org.name), 200, _NO_STORE)

    async def _started(self, principal: Principal, start: StartSession) -> Reply:
        assert self._engine is not None
        done = await self._engine.execute(principal, start, "native", None, start.address)
        assert isinstance(done, SessionStarted)
        return Reply(204, b"", headers=(set_cookie(start.cookie, done.text), *_NO_STORE))

    async def _by_link(self, token: str) -> Principal:
        assert self._store is not None
        found = await self._store.link_by_digest(link_digest(token))
        # Whether it is still good is seen where it is used up.
        if found is None:
            raise Unauthenticated(NOT_GOOD)
        return signed_in(found.user, found.org_id)

    async def _by_password(self, said: SignIn, visit: PageVisit) -> Principal:
        if not said.user or not said.password:
            raise invalid_field("user" if not said.user else "password", "is required without a token")
        for field, text, most in (
            ("user", said.user, MAX_LABEL_CHARS),
            ("organisation", said.organisation, MAX_LABEL_CHARS),
            ("password", said.password, MAX_PASSWORD_CHARS),
        ):
            if len(text) > most:
                raise invalid_field(field, f"is longer than {most} characters")
        assert self._store is not None
        # Counted once it is its turn: a try that is refused for want of room is none.
        async with self._passwords.place("", counted_as(visit.address)):
            self._count(visit, f"{said.organisation}\n{said.user.casefold()}")
            found = await self._store.members_named(said.organisation, said.user)
            is_good = await self._passwords.are_good(said.password, None if found is None else found[1].password)
        if found is None or not is_good:
            raise Unauthenticated(NOT_GOOD)
        return signed_in(found[1], found[0])

    def _count(self, visit: PageVisit, member: str) -> None:
        assert self._clock is not None
        self.attempts.count(visit.address, member, visit.steady_ms, self._clock.now_ms())

    async def sign_out(self, visit: PageVisit) -> Reply:
        """Ends it. Raises NotFound for a key, which has no session."""
        principal, _ = await self._member(visit)
        assert self._engine is not None
        await self._engine.execute(principal, EndSessions(), "native", None, visit.address)
        assert self._auth is not None
        self._auth.forget(principal)
        return Reply(204, b"", headers=(*drop_cookies(visit.headers), *_NO_STORE))

    async def show(self, visit: PageVisit) -> Reply:
        """Whose session it is. Raises NotFound for a key."""
        principal, user = await self._member(visit)
        assert self._store is not None
        org = await self._store.org(principal.org)
        detail = SessionDetail(
            user_id=user.user_id,
            name=user.name,
            email=user.email,
            role=user.role,
            scopes=sorted(scope.value for scope in principal.scopes),
            org_id=principal.org_id,
            org_name="" if org is None else org.name,
            has_password=user.password is not None,
            idle_seconds=self._idle_ms // 1000,
            url=self._url or f"http://{visit.headers.get(b'host', b'').decode('latin-1')}",
        )
        return reply_json(detail, 200, _NO_STORE)

    async def change(self, visit: PageVisit) -> Reply:
        """Sets the password. Raises NotFound for a key, Invalid, Malformed, TooLarge, RateLimited, Overloaded."""
        principal, user = await self._member(visit)
        said = decode(_NEW_PASSWORD, _short(visit.body))
        check_form(said.password)
        async with self._passwords.place(principal.org_id, user.user_id):
            self._count(visit, user.user_id)
            known, sent = user.password, said.current_password
            if known is not None and not await self._passwords.are_good(sent, known):
                raise invalid_field("current_password", "is not the current password")
            hashed = await self._passwords.hashed(said.password)
        assert self._engine is not None
        await self._engine.execute(principal, SetPassword(hashed), "native", None, visit.address)
        return Reply(204, b"", headers=_NO_STORE)

    async def _member(self, visit: PageVisit) -> tuple[Principal, User]:
        principal = visit.principal
        assert principal is not None
        assert self._store is not None
        user = (await self._store.users(principal.org, [principal.user_id])).get(principal.user_id)
        if user is None or not principal.is_member:
            raise NotFound("session", "Nobody is signed in by this: it is an API key.")
        return principal, user


def _short(body: bytes) -> bytes:
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(f"The body is larger than {MAX_BODY_BYTES} bytes.")
    return body
