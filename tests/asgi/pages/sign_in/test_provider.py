"""What is asked of an identity provider, and which of its tokens are good: made here with keys of the test's own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from tests.support.fakes import FakeClock
from tests.support.wait import wait_until_async
from towerlog.asgi.pages.sign_in.places import MAX_WAITING_OF_ONE
from towerlog.asgi.pages.sign_in.provider import (
    MAX_UNDER_WAY,
    MAX_UNDER_WAY_OF_ADDRESS,
    BegunSignIn,
    Identity,
    IdentityProvider,
    ProviderConfig,
)
from towerlog.asgi.pages.sign_in.provider_cache import FAILED_MS, KEPT_MS, MIN_AGE_MS, Unavailable
from towerlog.egress.outcomes import EgressFailure, HttpAnswer, Undelivered
from towerlog.errors import Overloaded, Unauthenticated

ISSUER, NOW = "https://id.example.com", 1_790_000_000
CLOCK = FakeClock(NOW * 1000)
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize?tenant=1",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
}
PENDING = BegunSignIn("state", "nonce", "v" * 43, "/")
KEY, OTHER = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
GOOD: dict[str, Any] = {
    "iss": ISSUER, "aud": "towerlog", "sub": "ada-1", "exp": NOW + 300, "nonce": "nonce",
    "email": "ada@example.com", "email_verified": True, "name": "Ada",
}  # fmt: skip


class Way:
    """Answers as a provider would."""

    def __init__(self, claims: dict[str, Any], key: Any = KEY, alg: str = "RS256") -> None:
        self.text = jwt.encode({"alg": alg}, claims, key, algorithms=[alg])
        self.pages: dict[str, Any] = {
            f"{ISSUER}/.well-known/openid-configuration": METADATA,
            METADATA["jwks_uri"]: {"keys": [KEY.as_dict(private=False)]},
        }
        self.asked: list[str] = []
        self.posted: list[tuple[str, dict[str, list[str]], Mapping[str, str]]] = []

    async def get(self, url: str, headers: Mapping[str, str], *, org_id: str) -> HttpAnswer | Undelivered:
        self.asked.append(url)
        found = self.pages.get(url)
        if found is None:
            return Undelivered(EgressFailure.NOT_CONNECTED, "nobody listens there", 1)
        return HttpAnswer(200, msgspec.json.encode(found), True, 1)

    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, org_id: str
    ) -> HttpAnswer | Undelivered:
        self.posted.append((url, parse_qs(content.decode()), headers))
        return HttpAnswer(200, msgspec.json.encode({"id_token": self.text, "access_token": "x"}), True, 1)


def provider(way: Way, **more: str) -> IdentityProvider:
    return IdentityProvider(ProviderConfig(issuer=ISSUER, client_id="towerlog", way=way, **more))


async def test_a_good_token_is_an_identity() -> None:
    way = Way(GOOD)
    found = await provider(way, client_secret="s:/").identity("the code", PENDING, "https://t/back", CLOCK)
    assert found == Identity(f"{ISSUER} ada-1", "ada@example.com", "Ada")
    [(url, form, headers)] = way.posted
    assert url == METADATA["token_endpoint"]
    assert form == {
        "grant_type": ["authorization_code"], "code": ["the code"], "redirect_uri": ["https://t/back"],
        "client_id": ["towerlog"], "code_verifier": ["v" * 43],
    }  # fmt: skip
    assert headers["Authorization"] == f"Basic {base64.b64encode(b'towerlog:s%3A%2F').decode()}"


async def test_a_browser_is_sent_with_a_challenge_and_never_with_the_verifier() -> None:
    address = await provider(Way(GOOD)).address(PENDING, "https://t/back", CLOCK)
    assert address.startswith(f"{ISSUER}/authorize?tenant=1&")
    asked = parse_qs(urlsplit(address).query)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).decode().rstrip("=")
    assert asked["code_challenge"] == [challenge]
    assert "v" * 43 not in address


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": ["another", "third"]},
        {"aud": ["towerlog", "another"], "azp": "another"},
        {"aud": ["towerlog", "another"]},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"exp": NOW - 61},
        {"exp": None},
        {"sub": None},
        {"sub": 7},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 256},
    ],
    ids=str,
)
async def test_a_token_that_is_not_of_this_sign_in_is_refused(change: dict[str, Any]) -> None:
    claims = {name: value for name, value in (GOOD | change).items() if value is not None}
    with pytest.raises(Unauthenticated):
        await provider(Way(claims)).identity("code", PENDING, "https://t/back", CLOCK)


@pytest.mark.parametrize(("key", "alg"), [(OTHER, "RS256"), (OctKey.import_key("towerlog" * 8), "HS256")])
async def test_a_token_of_another_key_is_refused(key: Any, alg: str) -> None:
    with pytest.raises(Unauthenticated):
        await provider(Way(GOOD, key, alg)).identity("code", PENDING, "https://t/back", CLOCK)


async def test_a_token_without_a_signature_is_refused() -> None:
    way = Way(GOOD)
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    way.text = f"{head}.{way.text.split('.')[1]}."
    with pytest.raises(Unauthenticated):
        await provider(way).identity("code", PENDING, "https://t/back", CLOCK)


@pytest.mark.parametrize("claims", [{"email_verified": False}, {"email_verified": "true"}, {"email_verified": None}])
async def test_an_address_counts_when_it_is_verified(claims: dict[str, Any]) -> None:
    found = await provider(Way(GOOD | claims)).identity("code", PENDING, "https://t/back", CLOCK)
    assert found.email is None


async def test_a_provider_that_calls_itself_otherwise_is_none() -> None:
    way = Way(GOOD)
    way.pages[f"{ISSUER}/.well-known/openid-configuration"] = METADATA | {"issuer": f"{ISSUER}/"}
    with pytest.raises(Unavailable, match="calls itself"):
        await provider(way).address(PENDING, "https://t/back", CLOCK)
    way.pages.clear()
    with pytest.raises(Unavailable, match="nobody listens"):
        await provider(way).address(PENDING, "https://t/back", CLOCK)


@pytest.mark.parametrize("page", [f"{ISSUER}/.well-known/openid-configuration", METADATA["jwks_uri"]])
async def test_json_that_is_too_deep_is_no_answer(page: str) -> None:
    way = Way(GOOD)
    way.pages[page] = msgspec.Raw(b"[" * 5000)
    with pytest.raises(Unavailable):
        await provider(way).identity("code", PENDING, "https://t/back", CLOCK)


@pytest.mark.parametrize(
    "head", ['{"alg":"RS256","crit":1}', "[" * 200, '{"alg":["RS256"]}', "null", '{"alg":"RS256"}']
)
async def test_a_token_that_cannot_be_read_is_refused(head: str) -> None:
    way = Way(GOOD)
    way.text = f"{base64.urlsafe_b64encode(head.encode()).decode().rstrip('=')}.e30.\u00e9"
    with pytest.raises(Unauthenticated):
        await provider(way).identity("code", PENDING, "https://t/back", CLOCK)


@pytest.mark.parametrize("keys", [[], {"keys": 1}, {"keys": [1]}, {"keys": [{"kty": []}]}], ids=str)
async def test_keys_that_cannot_be_read_are_nobodys(keys: Any) -> None:
    way = Way(GOOD)
    way.pages[METADATA["jwks_uri"]] = keys
    with pytest.raises(Unauthenticated):
        await provider(way).identity("code", PENDING, "https://t/back", CLOCK)


async def test_who_begins_costs_the_provider_no_request() -> None:
    way, clock = Way(GOOD), FakeClock(NOW * 1000)
    asked = provider(way)
    await asyncio.gather(*(asked.address(PENDING, "https://t/back", clock) for _ in range(50)))
    assert len(way.asked) == 1
    await asked.identity("code", PENDING, "https://t/back", clock)
    await asked.identity("code", PENDING, "https://t/back", clock)
    assert len(way.asked) == 2, "the keys, once"
    clock.advance(KEPT_MS)
    await asked.address(PENDING, "https://t/back", clock)
    assert len(way.asked) == 3


async def test_a_provider_that_does_not_answer_is_not_asked_again_at_once() -> None:
    way, clock = Way(GOOD), FakeClock(NOW * 1000)
    pages, way.pages = way.pages, {}
    asked = provider(way)
    for _ in range(20):
        with pytest.raises(Unavailable, match="nobody listens"):
            await asked.address(PENDING, "https://t/back", clock)
    assert len(way.asked) == 1
    way.pages = pages
    clock.advance(FAILED_MS)
    assert await asked.address(PENDING, "https://t/back", clock)


async def test_sign_ins_ask_the_provider_in_turns_with_a_share_for_each_address() -> None:
    """However many come back at once, and whatever the provider makes of its time."""
    go_on = asyncio.Event()

    class SlowWay(Way):
        async def post(
            self, url: str, content: bytes, headers: Mapping[str, str], *, org_id: str
        ) -> HttpAnswer | Undelivered:
            answer = await super().post(url, content, headers, org_id=org_id)
            await go_on.wait()
            return answer

    way, clock = SlowWay(GOOD), FakeClock(NOW * 1000)
    asked = provider(way)

    async def come(address: str) -> Identity:
        return await asked.identity("code", PENDING, "https://t/back", clock, address)

    first = [asyncio.ensure_future(come("10.0.0.1")) for _ in range(MAX_UNDER_WAY_OF_ADDRESS + MAX_WAITING_OF_ONE)]
    await wait_until_async(lambda: len(way.posted) == MAX_UNDER_WAY_OF_ADDRESS, "its share")
    with pytest.raises(Overloaded):
        await come("10.0.0.1")
    others = [asyncio.ensure_future(come(f"10.0.1.{number}")) for number in range(20)]
    await wait_until_async(lambda: len(way.posted) > MAX_UNDER_WAY_OF_ADDRESS, "the first of the others")
    for _ in range(50):
        await asyncio.sleep(0)
    assert MAX_UNDER_WAY_OF_ADDRESS < len(way.posted) <= MAX_UNDER_WAY
    go_on.set()
    assert len(await asyncio.gather(*first, *others)) == len(first) + 20


async def test_a_key_that_is_newer_than_those_that_are_kept_is_asked_for() -> None:
    way, clock = Way(GOOD), FakeClock(NOW * 1000)
    asked = provider(way)
    await asked.identity("code", PENDING, "https://t/back", clock)
    way.pages[METADATA["jwks_uri"]] = {"keys": [OTHER.as_dict(private=False)]}
    way.text = jwt.encode({"alg": "RS256"}, GOOD, OTHER)
    with pytest.raises(Unauthenticated):
        await asked.identity("code", PENDING, "https://t/back", clock)
    clock.advance(MIN_AGE_MS)
    assert await asked.identity("code", PENDING, "https://t/back", clock)
    assert len(way.asked) == 3
