"""The identity provider that vouches for people: OpenID Connect, authorisation code with PKCE.

Where its endpoints are, and the keys that tokens are signed with, is kept for some minutes; the tokens of each sign-in
are asked for, a bounded number at a time and in turns by address. JOSE is `joserfc`'s, imported only where a provider
is set up, for its memory; what is sent goes through the way out that is handed in, which follows no redirect.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from towerlog.ambient import Clock
from towerlog.asgi.pages.sign_in.places import SharedPlaces
from towerlog.asgi.pages.sign_in.provider_cache import MIN_AGE_MS, KeptAnswer, Unavailable
from towerlog.asgi.pages.sign_in.tokens import BadToken, claims_of, key_set_of
from towerlog.egress.outcomes import HttpAnswer, Undelivered
from towerlog.errors import Unauthenticated

ALGORITHMS = ["RS256", "ES256", "PS256", "EdDSA"]
"""Of signatures of ID tokens. Never `none`, and none with a secret that both sides have."""
LEEWAY_S = 60
"""How far the provider's clock may be from ours."""
MAX_UNDER_WAY = 8
MAX_UNDER_WAY_OF_ADDRESS = 2
"""Sign-ins that ask the provider at a time."""
MAX_SUBJECT_CHARS = 255
"""Of a subject (OpenID Connect Core 1.0, 2)."""
SCOPE = "openid email profile"

T = TypeVar("T")


class WayOut(Protocol):
    """What requests to the provider go by."""

    async def get(self, url: str, headers: Mapping[str, str], *, org_id: str) -> HttpAnswer | Undelivered:
        """Gets a URL."""
        ...

    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, org_id: str
    ) -> HttpAnswer | Undelivered:
        """Posts to a URL."""
        ...


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator has said of it."""

    issuer: str
    client_id: str
    client_secret: str = ""
    default_role: str = ""
    """Of people that nobody has made a member; empty: they do not get in."""
    domain: str = ""
    """Only e-mail addresses of this domain get the default role."""
    way: WayOut


class BegunSignIn(msgspec.Struct, frozen=True):
    """A sign-in that has begun: what its browser keeps until it comes back."""

    state: str
    nonce: str
    verifier: str
    next: str


class Identity(msgspec.Struct, frozen=True):
    """Whom the provider vouches for."""

    subject: str
    """With the issuer: a subject is unique only there."""
    email: str | None
    """Only where the provider says that it has been verified."""
    name: str | None


class _Metadata(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str


class IdentityProvider:
    """One provider."""

    def __init__(self, config: ProviderConfig) -> None:
        """Asks for nothing yet."""
        # No sign-in is to wait for the import.
        import_module("joserfc.jwt")
        self.config = config
        self._places = SharedPlaces(MAX_UNDER_WAY, MAX_UNDER_WAY_OF_ADDRESS, MAX_UNDER_WAY_OF_ADDRESS)
        self._metadata = KeptAnswer(self._ask_metadata)
        self._keys = KeptAnswer(self._ask_keys)

    async def address(self, pending: BegunSignIn, redirect_uri: str, clock: Clock) -> str:
        """Where the browser is sent. Raises Unavailable."""
        metadata = await self._metadata.get(clock.steady_ms)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.config.client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPE,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{joint}{urlencode(query)}"

    async def identity(
        self, code: str, pending: BegunSignIn, redirect_uri: str, clock: Clock, address: str = ""
    ) -> Identity:
        """Whom a code stands for, that came from an address. Raises Unauthenticated for a token that is not good;
        Unavailable, Overloaded."""
        async with self._places.place(address, address):
            metadata = await self._metadata.get(clock.steady_ms)
            tokens = await self._tokens(metadata, code, pending, redirect_uri)
            keys = await self._keys.get(clock.steady_ms)
            now_s = clock.now_ms() // 1000
            try:
                return self._checked(tokens.id_token, keys, pending.nonce, now_s)
            except Unauthenticated:
                # It may be signed with a key that is newer than those that are kept.
                newer = await self._keys.get(clock.steady_ms, MIN_AGE_MS)
                if newer is keys:
                    raise
                return self._checked(tokens.id_token, newer, pending.nonce, now_s)

    async def _ask_keys(self, steady_ms: Callable[[], int]) -> Any:
        metadata = await self._metadata.get(steady_ms)
        return _json(await self.config.way.get(metadata.jwks_uri, {}, org_id=""), "its keys")

    async def _ask_metadata(self, _steady_ms: Callable[[], int]) -> _Metadata:
        """Its endpoints (OpenID Connect Discovery 1.0)."""
        url = f"{self.config.issuer.rstrip('/')}/.well-known/openid-configuration"
        answer = await self.config.way.get(url, {}, org_id="")
        metadata = _typed(answer, _Metadata, "where its endpoints are")
        if metadata.issuer != self.config.issuer:
            raise Unavailable(f"it calls itself {metadata.issuer!r}: set oidc_issuer to exactly that if it is meant")
        return metadata

    async def _tokens(self, metadata: _Metadata, code: str, pending: BegunSignIn, redirect_uri: str) -> _Tokens:
        config = self.config
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": config.client_id,
            "code_verifier": pending.verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if config.client_secret:
            # RFC 6749, 2.3.1: both are encoded as in a form before they are joined.
            pair = f"{quote(config.client_id, safe='')}:{quote(config.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        answer = await config.way.post(metadata.token_endpoint, urlencode(form).encode(), headers, org_id="")
        if isinstance(answer, HttpAnswer) and answer.status in (400, 401):
            raise Unauthenticated
        return _typed(answer, _Tokens, "its tokens")

    def _checked(self, text: str, keys: Any, nonce: str, now_s: int) -> Identity:
        """What an ID token says, where it is the provider's, for us, of this sign-in and of this time."""
        from joserfc import jwt

        config = self.config
        registry = jwt.JWTClaimsRegistry(
            now=now_s,
            leeway=LEEWAY_S,
            iss={"essential": True, "value": config.issuer},
            aud={"essential": True, "value": config.client_id},
            sub={"essential": True},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            claims = claims_of(text, key_set_of(keys), ALGORITHMS, registry)
        except BadToken as error:
            raise Unauthenticated(f"The identity provider's token is not good: {error}.") from None
        # OpenID Connect Core 1.0, 3.1.3.7: where it is for others as well, it has to say that we have asked for it.
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        is_ours_alone = all(one == config.client_id for one in audience)
        if claims.get("azp", config.client_id if is_ours_alone else None) != config.client_id:
            raise Unauthenticated("The identity provider's token is for another client.")
        email = claims.get("email") if claims.get("email_verified") is True else None
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject.isprintable() or not 0 < len(subject) <= MAX_SUBJECT_CHARS:
            raise Unauthenticated("The identity provider's token is of a subject that cannot be kept.")
        return Identity(f"{config.issuer} {subject}", _text(email), _text(claims.get("name")))


def _text(value: object) -> str | None:
    """A claim that is a text for people, of a length that is kept."""
    return value.strip() if isinstance(value, str) and 0 < len(value.strip()) <= 200 and value.isprintable() else None


def _json(answer: HttpAnswer | Undelivered, what: str) -> Any:
    if isinstance(answer, Undelivered):
        raise Unavailable(f"it did not tell {what}: {answer.words}")
    if answer.status != 200 or not answer.is_whole:
        raise Unavailable(f"it did not tell {what}: status {answer.status}")
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unavailable(f"it did not tell {what}: {error}") from None


def _typed(answer: HttpAnswer | Undelivered, type_: type[T], what: str) -> T:
    try:
        return msgspec.convert(_json(answer, what), type_)
    except msgspec.ValidationError as error:
        raise Unavailable(f"it did not tell {what}: {error}") from None
