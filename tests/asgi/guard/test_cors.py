"""Pages of other origins: those that the setting names are served, nobody else, and no cookie is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.asgi.conversation import ask
from towerlog.asgi.guard.cors import PREFLIGHT_HEADERS, Cors
from towerlog.dialects import DIALECTS

PAGE = "https://app.example.com"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


def allowed(headers: dict[str, str]) -> str | None:
    return headers.get("access-control-allow-origin")


@pytest.fixture
def app_for(app: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The application with its origins set."""

    def with_origins(origins: str) -> Any:
        monkeypatch.setattr(app._gate, "_cors", Cors(origins))
        return app

    return with_origins


def test_a_page_may_use_the_method_of_every_endpoint() -> None:
    methods = dict(PREFLIGHT_HEADERS)[b"access-control-allow-methods"].decode().split(", ")
    assert {one.method for dialect in DIALECTS for one in dialect.endpoints} <= set(methods)


@pytest.mark.parametrize("origins", [PAGE, f"http://x , {PAGE}", "HTTPS://APP.EXAMPLE.COM", "*"])
async def test_a_page_that_is_named_is_served(app_for: Any, origins: str) -> None:
    app = app_for(origins)
    asked = await ask(app, "OPTIONS", "/v1/threads/t/runs", key=None, headers=PREFLIGHT)
    assert asked.status == 204
    assert allowed(asked.headers) == PAGE
    assert "authorization" in asked.headers["access-control-allow-headers"]
    assert "POST" in asked.headers["access-control-allow-methods"]
    made = await ask(app, "POST", "/v1/threads/t/runs", headers={"Origin": PAGE})
    assert (made.status, allowed(made.headers)) == (201, PAGE)
    assert "x-trace-id" in made.headers["access-control-expose-headers"]
    assert made.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in made.headers


@pytest.mark.parametrize("origins", ["", "https://app.example.com.evil.org", "http://app.example.com", "null"])
async def test_no_other_page_is(app_for: Any, origins: str) -> None:
    app = app_for(origins)
    asked = await ask(app, "OPTIONS", "/v1/threads/t/runs", key=None, headers=PREFLIGHT)
    assert allowed(asked.headers) is None
    assert asked.status == (204 if origins else 405)
    assert allowed((await ask(app, "GET", "/v1/runs", headers={"Origin": PAGE})).headers) is None


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [("GET", "/v1/runs", None, 401), ("GET", "/nowhere", None, 404), ("PUT", "/v1/runs", None, 405)],
)
async def test_a_page_can_read_its_refusals(app_for: Any, method: str, path: str, key: str | None, status: int) -> None:
    reply = await ask(app_for(PAGE), method, path, key=key, headers={"Origin": PAGE})
    assert (reply.status, allowed(reply.headers)) == (status, PAGE)


async def test_who_is_no_page_is_told_nothing_of_it(app_for: Any) -> None:
    reply = await ask(app_for(PAGE), "GET", "/v1/runs")
    assert "vary" not in reply.headers
    assert allowed(reply.headers) is None


def test_a_socket_is_opened_by_who_is_no_page_by_our_own_pages_and_by_those_that_are_named() -> None:
    named = Cors("https://app.example.com")
    assert Cors("").lets_in({b"host": b"here:1"})
    assert Cors("").lets_in({b"host": b"Here:1", b"origin": b"http://here:1"})
    assert not Cors("").lets_in({b"host": b"here:1", b"origin": b"http://there:1"})
    assert not named.lets_in({b"host": b"here:1", b"origin": b"null"})
    assert named.lets_in({b"host": b"here:1", b"origin": b"https://APP.example.com"})
    assert not named.lets_in({b"host": b"here:1", b"origin": b"https://app.example.com.evil.example"})
    assert Cors("*").lets_in({b"host": b"here:1", b"origin": b"null"})
