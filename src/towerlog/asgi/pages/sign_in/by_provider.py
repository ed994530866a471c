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
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from towerlog.ambient import Clock, Ids
from towerlog.asgi.guard.auth import signed_in
from towerlog.asgi.guard.cookies import PLAIN, SECURE, cookies_of, set_cookie
from towerlog.asgi.pages.sign_in.provider import BegunSignIn, Identity, IdentityProvider, Unavailable
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects.base import PLAIN_TEXT, Reply
from towerlog.engine.core import Engine
from towerlog.errors import NotFound, TowerlogError, Unauthenticated
from towerlog.model.member import CreateMember, SessionStarted, StartSession
from towerlog.model.principal import Principal, Role, User
from towerlog.store.base import Store

PATH, BACK = "/api/v1/sign-in/provider", "/api/v1/sign-in/provider/callback"
COOKIE = b"towerlog-sign-in"
PENDING_S = 600
MAX_NEXT_CHARS = 500
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
        self._key = OctKey.import_key(b"\x00" * 32)

    def attach(self, engine: Engine, store: Store, clock: Clock, ids: Ids, url: str, secret: str) -> None:
        """`url`: where browsers find the server; `secret` signs what they keep meanwhile."""
        self._engine, self._store, self._clock, self._ids, self._url = engine, store, clock, ids, url
        self._key = OctKey.import_key(hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256))

    def routes(self) -> tuple[PageRoute, ...]:
        """Both; a browser opens them."""
        there, back = "Sign in by the identity provider.", "Where the identity provider sends the browser back to."
        return (
            PageRoute("GET", PATH, "sign_in_by_provider", there, self.begin, public=True, is_described=False),
            PageRoute("GET", BACK, "provider_callback", back, self.finish, public=True, is_described=False),
        )

    async def begin(self, visit: PageVisit) -> Reply:
        """On to the provider. Raises NotFound without one, Overloaded."""
        provider, ids = self._known()
        following = visit.query.get("next", "/")
        state, nonce, verifier = (ids.token(_CHARS) for _ in range(3))
        pending = BegunSignIn(state, nonce, verifier, following if _is_own_path(following) else "/")
        try:
            address = await provider.address(pending, self._back(visit))
        except Unavailable as error:
            return _turned_away("unavailable", error, pending.next)
        return _redirect(address, self._cookie(visit, self._sealed(pending), PENDING_S))

    async def finish(self, visit: PageVisit) -> Reply:
        """Back: signed in, or told that not. Raises NotFound without a provider, Overloaded."""
        provider, _ = self._known()
        pending, code = self._opened(visit), visit.query.get("code", "")
        if pending is None or not code or not hmac.compare_digest(pending.state, visit.query.get("state", "")):
            foreign = Unauthenticated("The sign-in was not begun in this browser.")
            return _turned_away("unauthenticated", foreign, pending.next if pending else "/")
        assert self._clock is not None
        try:
            now_s = self._clock.now_ms() // 1000
            identity = await provider.identity(code, pending, self._back(visit), now_s)
            principal, joins = await self._member(provider, identity)
            name = SECURE if self._is_secure(visit) else PLAIN
            start = StartSession(name, None, visit.address, identity.subject, joins)
            assert self._engine is not None
            done = await self._engine.execute(principal, start, "native", None, visit.address)
        except Unavailable as error:
            return _turned_away("unavailable", error, pending.next)
        except NotAdmitted as error:
            return _turned_away(error.why, error, pending.next)
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
            issuer = provider.config.issuer
            if known.subject not in (None, identity.subject) and known.subject.startswith(f"{issuer} "):
                raise NotAdmitted("another_person", "The member with this address is somebody else to the provider.")
            return signed_in(known, org.org_id), None
        role, domain = provider.config.default_role, provider.config.domain
        if not identity.email:
            raise NotAdmitted("address_not_verified", "The provider has verified no address of this person.")
        if not role or identity.email.rpartition("@")[2].casefold() != domain.casefold():
            raise NotAdmitted("not_a_member", "Nobody has made this person a member.")
        assert self._ids is not None
        assert self._clock is not None
        joins = CreateMember(identity.email, Role(role), identity.email)
        user = User(org.org, self._ids.uuid(), joins.name, joins.email, self._clock.now_ms(), joins.role)
        return signed_in(user, org.org_id), joins

    def _known(self) -> tuple[IdentityProvider, Ids]:
        if self.provider is None:
            raise NotFound("provider", "No identity provider is set up here.")
        assert self._ids is not None
        return self.provider, self._ids

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
        assert self._clock is not None
        claims = msgspec.structs.asdict(pending) | {"exp": self._clock.now_ms() // 1000 + PENDING_S}
        return jwt.encode({"alg": "HS256"}, claims, self._key)

    def _opened(self, visit: PageVisit) -> BegunSignIn | None:
        """What this browser has begun; None for nothing, and for what is older or not ours."""
        assert self._clock is not None
        text = cookies_of(visit.headers).get(COOKIE, b"").decode("latin-1")
        try:
            token = jwt.decode(text, self._key, algorithms=["HS256"])
            registry = jwt.JWTClaimsRegistry(now=self._clock.now_ms() // 1000, exp={"essential": True})
            registry.validate(token.claims)
            return msgspec.convert(token.claims, BegunSignIn)
        except (JoseError, ValueError):
            return None


def _is_own_path(path: str) -> bool:
    """Whether a browser that is sent there stays here: a second slash or a backslash would name another host."""
    return path[:1] == "/" and path[1:2] not in ("/", "\\") and len(path) <= MAX_NEXT_CHARS and path.isprintable()


def _redirect(address: str, *headers: tuple[bytes, bytes]) -> Reply:
    where = quote(address, safe="!#$%&'()*+,/:;=?@[]~").encode("ascii")
    return Reply(303, b"", PLAIN_TEXT, ((b"location", where), _NO_STORE, *headers))


def _turned_away(why: str, error: Exception, following: str) -> Reply:
    """Back to the sign-in page, which keeps where the person was going."""
    _log.warning("a sign-in by the identity provider failed", why=why, reason=str(error))
    more = "" if following == "/" else f"&next={quote(following, safe='')}"
    return _redirect(f"/sign-in?error={why}{more}")
