"""Sign-in by the identity provider: there and back. A browser that comes back is sent on to the dashboard.

What a sign-in has begun with stands in a signed cookie of ten minutes, so nothing is kept here for strangers. Whoever
does not get in is sent to the sign-in page, which is told in one word why; the log has the rest.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote

import msgspec
import structlog

from towerlog.ambient import Clock, Ids
from towerlog.asgi.guard.addresses import counted_as
from towerlog.asgi.guard.auth import signed_in
from towerlog.asgi.guard.cookies import cookies_of, name_at, set_cookie
from towerlog.asgi.pages.sign_in.attempts import Attempts
from towerlog.asgi.pages.sign_in.next_path import next_path
from towerlog.asgi.pages.sign_in.provider import BegunSignIn, Identity, IdentityProvider, ProviderConfig
from towerlog.asgi.pages.sign_in.provider_cache import Unavailable
from towerlog.asgi.pages.sign_in.tokens import BadToken, claims_of
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects.base import PLAIN_TEXT, Reply
from towerlog.dialects.native.admin.members import checked_email
from towerlog.engine.core import Engine
from towerlog.errors import NotFound, Overloaded, TowerlogError, Unauthenticated
from towerlog.model.member import CreateMember, SessionStarted, StartSession
from towerlog.model.principal import Principal, Role, User
from towerlog.store.base import Store

PATH, BACK = "/api/v1/sign-in/provider", "/api/v1/sign-in/provider/callback"
COOKIE = b"towerlog-sign-in"
PENDING_S = 600
ORGANISATION = "default"
"""Whose members the provider vouches for."""
_PURPOSE = b"towerlog sign-in by provider"
_CHARS = 43
"""Of a state, a nonce and a verifier (RFC 7636 wants 43 to 128)."""
_NO_STORE = (b"cache-control", b"no-store")

_log = structlog.get_logger("towerlog.sign_in")


class NotAdmitted(Exception):
    """The provider knows who it is, and here nobody does; `why` is one of the sign-in page's words."""

    def __init__(self, why: str, message: str) -> None:
        """`message` is for the log."""
        super().__init__(message)
        self.why = why


class ProviderPages:
    """There and back."""

    def __init__(self, provider: IdentityProvider | None) -> None:
        """`provider` None: nobody vouches for anybody. Served after `attach`."""
        self.provider = provider
        self._engine: Engine | None = None
        self._store: Store | None = None
        self._clock: Clock | None = None
        self._ids: Ids | None = None
        self._url = ""
        self._idle_ms = 0
        self._key = b"\x00" * 32
        self.attempts = Attempts()

    def attach(self, engine: Engine, store: Store, clock: Clock, ids: Ids, url: str, secret: str, idle_ms: int) -> None:
        """`url`: where browsers find the server; `secret` signs what they keep meanwhile; `idle_ms`: a session that is
        not used for so long is over."""
        self._idle_ms = idle_ms
        self._engine, self._store, self._clock, self._ids, self._url = engine, store, clock, ids, url
        self._key = hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)

    def routes(self) -> tuple[PageRoute, ...]:
        """Both; a browser opens them."""
        there, back = "Sign in by the identity provider.", "Where the identity provider sends the browser back to."
        return (
            PageRoute("GET", PATH, "sign_in_by_provider", there, self.begin, public=True, is_described=False),
            PageRoute("GET", BACK, "provider_callback", back, self.finish, public=True, is_described=False),
        )

    async def begin(self, visit: PageVisit) -> Reply:
        """On to the provider. Raises NotFound without one, RateLimited."""
        provider, ids, clock = self._known(visit)
        state, nonce, verifier = (ids.token(_CHARS) for _ in range(3))
        pending = BegunSignIn(state, nonce, verifier, next_path(visit.query.get("next", "")))
        try:
            address = await provider.address(pending, self._back(visit), clock)
        except Unavailable as error:
            return _turned_away("unavailable", error, pending.next)
        return _redirect(address, self._cookie(visit, self._sealed(pending), PENDING_S))

    async def finish(self, visit: PageVisit) -> Reply:
        """Back: signed in, or told that not. Raises NotFound without a provider, RateLimited, Overloaded."""
        provider, _, clock = self._known(visit)
        pending, code = self._opened(visit), visit.query.get("code", "")
        if pending is None or not code or not _is_same(pending.state, visit.query.get("state", "")):
            foreign = Unauthenticated("The sign-in was not begun in this browser.")
            return _turned_away("unauthenticated", foreign, pending.next if pending else "/")
        try:
            identity = await provider.identity(code, pending, self._back(visit), clock, counted_as(visit.address))
            principal, joins = await self._member(provider, identity)
            name = name_at(visit.headers, is_secure=self._is_secure(visit))
            start = StartSession(name, None, visit.address, identity.subject, joins, self._idle_ms)
            assert self._engine is not None
            done = await self._engine.execute(principal, start, "native", None, visit.address)
        except Unavailable as error:
            return _turned_away("unavailable", error, pending.next)
        except NotAdmitted as error:
            return _turned_away(error.why, error, pending.next)
        except Overloaded:
            raise
        except TowerlogError as error:
            return _turned_away("unauthenticated", error, pending.next)
        assert isinstance(done, SessionStarted)
        return _redirect(pending.next, set_cookie(name, done.text), self._cookie(visit, "", 0))

    async def _member(self, provider: IdentityProvider, identity: Identity) -> tuple[Principal, CreateMember | None]:
        """Whom it is here, made now where the settings let it in. Raises NotAdmitted."""
        assert self._store is not None
        org = next((org for org in await self._store.orgs() if org.name == ORGANISATION), None)
        if org is None:
            raise NotAdmitted("not_a_member", "There is no organisation whose members could sign in.")
        known = await self._store.member_known(org.org, identity.subject, identity.email)
        if known is not None:
            if known.removed_at is not None:
                removed = "This person was a member and is removed; an administrator can make it one again."
                raise NotAdmitted("not_a_member", removed)
            issuer = provider.config.issuer
            if known.subject not in (None, identity.subject) and known.subject.startswith(f"{issuer} "):
                raise NotAdmitted("another_person", "The member with this address is somebody else to the provider.")
            return signed_in(known, org.org_id), None
        assert self._ids is not None
        assert self._clock is not None
        joins = _joining(provider.config, identity.email)
        user = User(org.org, self._ids.uuid(), joins.name, joins.email, self._clock.now_ms(), joins.role)
        return signed_in(user, org.org_id), joins

    def _known(self, visit: PageVisit) -> tuple[IdentityProvider, Ids, Clock]:
        """What a visit needs, which is counted here."""
        if self.provider is None:
            raise NotFound("provider", "No identity provider is set up here.")
        assert self._ids is not None
        assert self._clock is not None
        self.attempts.count_visit(visit.address, visit.steady_ms, self._clock.now_ms())
        return self.provider, self._ids, self._clock

    def _base(self, visit: PageVisit) -> str:
        return self._url or f"http://{visit.headers.get(b'host', b'').decode('latin-1')}"

    def _back(self, visit: PageVisit) -> str:
        return self._base(visit) + BACK

    def _is_secure(self, visit: PageVisit) -> bool:
        return self._base(visit).lower().startswith("https://")

    def _cookie(self, visit: PageVisit, text: str, age_s: int) -> tuple[bytes, bytes]:
        """What the browser keeps meanwhile. It comes back from another site, which `Lax` lets it."""
        secure = "; Secure" if self._is_secure(visit) else ""
        value = f"{text}; Path={PATH}; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}"
        return (b"set-cookie", COOKIE + b"=" + value.encode("ascii"))

    def _sealed(self, pending: BegunSignIn) -> str:
        from joserfc import jwt
        from joserfc.jwk import OctKey

        assert self._clock is not None
        claims = msgspec.structs.asdict(pending) | {"exp": self._clock.now_ms() // 1000 + PENDING_S}
        return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(self._key))

    def _opened(self, visit: PageVisit) -> BegunSignIn | None:
        """What this browser has begun; None for nothing, and for what is older or not ours."""
        from joserfc import jwt
        from joserfc.jwk import OctKey

        assert self._clock is not None
        text = cookies_of(visit.headers).get(COOKIE, b"").decode("latin-1")
        registry = jwt.JWTClaimsRegistry(now=self._clock.now_ms() // 1000, exp={"essential": True})
        try:
            key = OctKey.import_key(self._key)
            return msgspec.convert(claims_of(text, key, ["HS256"], registry), BegunSignIn)
        except (BadToken, msgspec.ValidationError):
            return None


def _joining(config: ProviderConfig, email: str | None) -> CreateMember:
    """Whom the settings make a member of somebody who is none. Raises NotAdmitted, and Invalid for an address that no
    member may have."""
    if not email:
        raise NotAdmitted("address_not_verified", "The provider has verified no address of this person.")
    address = checked_email(email) if config.default_role else None
    if address is None or address.rpartition("@")[2].casefold() != config.domain.casefold():
        raise NotAdmitted("not_a_member", "Nobody has made this person a member.")
    return CreateMember(address, Role(config.default_role), address)


def _is_same(ours: str, sent: str) -> bool:
    """Whether two texts are the same; compared as bytes, for `compare_digest` takes no others from strangers."""
    return hmac.compare_digest(ours.encode(), sent.encode())


def _redirect(address: str, *headers: tuple[bytes, bytes]) -> Reply:
    where = quote(address, safe="!#$%&'()*+,/:;=?@[]~").encode("ascii")
    return Reply(303, b"", PLAIN_TEXT, ((b"location", where), _NO_STORE, *headers))


def _turned_away(why: str, error: Exception, following: str) -> Reply:
    """Back to the sign-in page, which keeps where the person was going."""
    _log.warning("a sign-in by the identity provider failed", why=why, reason=str(error))
    more = "" if following == "/" else f"&next={quote(following, safe='')}"
    return _redirect(f"/sign-in?error={why}{more}")
