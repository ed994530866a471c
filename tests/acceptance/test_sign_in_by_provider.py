"""Sign-in by an identity provider, against one that runs: who gets in, as whom, and what does not work."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.acceptance.feeds import ok
from tests.support.browser import browser
from tests.support.ports import HeldPort
from tests.support.provider import allowed_by, path_of, provider
from tests.support.server import Server
from towerlog.asgi.pages.sign_in.attempts import VISITS_OF_ADDRESS

BEGIN, SESSION = "/api/v1/sign-in/provider", "/api/v1/session"
PEOPLE: dict[str, dict[str, object]] = {
    "ada-1": {"email": "Ada@example.com", "email_verified": True, "name": "Ada"},
    "eve-1": {"email": "ada@example.com", "email_verified": False},
    "eve-2": {"email": "ada@example.com", "email_verified": True},
    "bob-1": {"email": "bob@example.com", "email_verified": True},
    "bob-2": {"email": "BOB@example.com", "email_verified": True},
    "odd-1": {"email": "a b@example.com", "email_verified": True},
    "odd-2": {"email": "evil@x@example.com", "email_verified": True},
    "odd-3": {"email": "@example.com", "email_verified": True},
    "mal-1": {"email": "mal@other.example", "email_verified": True},
}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """A provider that knows a few people."""
    with provider(PEOPLE) as found:
        yield found


@pytest.fixture
def start(fresh_server, issuer: str) -> Any:
    """Makes a server that goes by the provider."""

    def made(**env: str) -> Server:
        settings = {"TOWERLOG_OIDC_ISSUER": issuer, "TOWERLOG_OIDC_CLIENT_ID": "towerlog"}
        found: Server = fresh_server(**settings, TOWERLOG_OIDC_CLIENT_SECRET="a secret", **env)
        return found

    return made


def came_back(page: httpx2.Client, subject: str | None, query: str = "") -> httpx2.Response:
    """There and back again in a browser."""
    there = page.get(f"{BEGIN}{query}")
    assert there.status_code == 303, there.text
    return page.get(path_of(allowed_by(there.headers["location"], subject)))


def signed_in_as(server: Server, subject: str) -> dict[str, Any] | None:
    """Who is signed in then; None where the browser is sent to the sign-in page."""
    page = browser(server)
    reply = came_back(page, subject)
    assert reply.status_code == 303, server.log
    assert reply.headers["location"] != "/sign-in?error=unavailable", server.log
    if reply.headers["location"].startswith("/sign-in?error="):
        assert page.get(SESSION).status_code == 401
        return None
    assert reply.headers["location"] == "/"
    return dict(ok(page.get(SESSION)))


def test_a_member_is_known_by_its_address_and_from_then_on_by_its_subject(start) -> None:
    server = start()
    admin = server.client()
    ada = ok(admin.post("/api/v1/members", json={"name": "ada", "role": "operator", "email": "ada@example.com"}), 201)
    assert signed_in_as(server, "eve-1") is None, "an address that nobody has verified is nobody's"
    who = signed_in_as(server, "ada-1")
    assert who is not None
    assert (who["user_id"], who["role"], who["has_password"]) == (ada["user_id"], "operator", False)
    [known] = [one for one in ok(admin.get("/api/v1/members"))["data"] if one["name"] == "ada"]
    assert known["has_identity"] is True
    assert signed_in_as(server, "eve-2") is None, "the address is somebody else's now"
    ok(admin.patch(f"/api/v1/members/{ada['user_id']}", json={"email": None}))
    again = signed_in_as(server, "ada-1")
    assert again is not None
    assert again["user_id"] == ada["user_id"]
    assert ok(admin.get("/api/v1/audit"))["data"][0]["after"]["by"] == "identity_provider"
    ok(admin.delete(f"/api/v1/members/{ada['user_id']}"))
    assert signed_in_as(server, "ada-1") is None


def test_nobody_else_gets_in_unless_the_settings_say_so(start) -> None:
    assert signed_in_as(start(), "bob-1") is None
    server = start(TOWERLOG_OIDC_DEFAULT_ROLE="viewer", TOWERLOG_OIDC_DOMAIN="Example.com")
    who = signed_in_as(server, "bob-1")
    assert who is not None
    assert (who["name"], who["role"]) == ("bob@example.com", "viewer")
    assert signed_in_as(server, "bob-1") == who
    assert signed_in_as(server, "mal-1") is None, "another domain"
    assert signed_in_as(server, "eve-1") is None, "not verified"
    for odd in ("odd-1", "odd-2", "odd-3"):
        assert signed_in_as(server, odd) is None, "no member may have such an address"


def test_who_was_removed_stays_out_until_made_a_member_again(start) -> None:
    server = start(TOWERLOG_OIDC_DEFAULT_ROLE="operator", TOWERLOG_OIDC_DOMAIN="example.com")
    admin, who = server.client(), signed_in_as(server, "bob-1")
    assert who is not None
    ok(admin.delete(f"/api/v1/members/{who['user_id']}"))
    assert signed_in_as(server, "bob-1") is None
    assert signed_in_as(server, "bob-2") is None, "another subject with the address"
    made = ok(admin.post("/api/v1/members", json={"name": "bob", "role": "viewer", "email": "bob@example.com"}), 201)
    again = signed_in_as(server, "bob-1")
    assert again is not None
    assert (again["user_id"], again["role"]) == (made["user_id"], "viewer")


def test_the_form_is_told_of_it_and_a_person_comes_back_to_where_it_was(start, issuer: str, client) -> None:
    server = start(TOWERLOG_OIDC_DEFAULT_ROLE="viewer", TOWERLOG_OIDC_DOMAIN="example.com")
    assert ok(browser(server).get("/api/v1/sign-in")) == {"password": True, "identity_provider": issuer}
    assert ok(client.get("/api/v1/sign-in")) == {"password": True, "identity_provider": None}
    assert client.get(BEGIN).status_code == 404
    assert (
        came_back(browser(server), "bob-1", "?next=/runs%3Fstatus=failed").headers["location"] == "/runs?status=failed"
    )
    for foreign in ("//evil.example", "https://evil.example", "/%5Cevil.example", "evil"):
        assert came_back(browser(server), "bob-1", f"?next={foreign}").headers["location"] == "/"
    assert came_back(browser(server), None).headers["location"] == "/sign-in?error=unauthenticated"


def test_who_is_not_let_in_is_told_why_and_keeps_where_it_was_going(start) -> None:
    server = start(TOWERLOG_OIDC_DEFAULT_ROLE="viewer", TOWERLOG_OIDC_DOMAIN="example.com")
    for subject, why in (("mal-1", "not_a_member"), ("eve-1", "address_not_verified")):
        reply = came_back(browser(server), subject, "?next=/runs%3Fstatus=failed%26q=%2523")
        assert reply.headers["location"] == f"/sign-in?error={why}&next=%2Fruns%3Fstatus%3Dfailed%26q%3D%2523"
    assert signed_in_as(server, "ada-1") is not None
    assert came_back(browser(server), "eve-2").headers["location"] == "/sign-in?error=another_person"


def test_what_another_browser_has_begun_signs_nobody_in(start) -> None:
    server = start(TOWERLOG_OIDC_DEFAULT_ROLE="viewer", TOWERLOG_OIDC_DOMAIN="example.com")
    mine, theirs = browser(server), browser(server)
    there = mine.get(BEGIN).headers["location"]
    asked = {name: value[0] for name, value in parse_qs(urlsplit(there).query).items()}
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert len(asked["state"]) == len(asked["nonce"]) == len(asked["code_challenge"]) == 43
    back = path_of(allowed_by(there, "bob-1"))
    assert theirs.get(back).headers["location"] == "/sign-in?error=unauthenticated"
    theirs.get(BEGIN)
    assert theirs.get(back).headers["location"] == "/sign-in?error=unauthenticated", "its own state is another"
    assert mine.get(back.replace("code=", "code=x")).headers["location"] == "/sign-in?error=unauthenticated"
    assert mine.get(back).headers["location"] == "/"
    assert mine.get(back).headers["location"] == "/sign-in?error=unauthenticated", "once"


def test_one_address_begins_so_many_and_no_more(start) -> None:
    server = start()
    page = browser(server)
    codes = [page.get(BEGIN).status_code for _ in range(VISITS_OF_ADDRESS + 1)]
    assert codes == [303] * VISITS_OF_ADDRESS + [429]
    assert page.get(f"{BEGIN}/callback").status_code == 429


def forged(head: str) -> str:
    """A cookie's text with this head of a token."""
    return f"{base64.urlsafe_b64encode(head.encode()).decode().rstrip('=')}.e30.x"


def test_whatever_comes_back_is_told_in_one_word(start) -> None:
    server = start()
    page = browser(server)
    page.get(BEGIN)
    heads = ('{"alg":"HS256","crit":1}', "[" * 200, "[1]")
    for text in (page.cookies["towerlog-sign-in"], "\u00e9", *map(forged, heads)):
        for state in ("%C3%A9", "%ED%A0%80", "", "%00"):
            sent = {"Cookie": f"towerlog-sign-in={text}".encode("latin-1")}
            reply = browser(server).get(f"{BEGIN}/callback?code=c&state={state}", headers=sent)
            told = reply.status_code, reply.headers.get("location")
            assert told == (303, "/sign-in?error=unauthenticated"), (text, state)
    assert "Traceback" not in server.log


def test_a_provider_that_does_not_answer_is_told_as_that(fresh_server) -> None:
    with HeldPort() as held:
        issuer = f"http://localhost:{held.number}"
        server = fresh_server(TOWERLOG_OIDC_ISSUER=issuer, TOWERLOG_OIDC_CLIENT_ID="towerlog")
        assert browser(server).get(BEGIN).headers["location"] == "/sign-in?error=unavailable"
        server.says("a sign-in by the identity provider failed")
