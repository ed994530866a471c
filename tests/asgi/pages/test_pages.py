"""The operator's pages: who may see them, what they say, and what a browser may do with them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.asgi.conversation import HandClock, ask
from towerlog.asgi.app import App
from towerlog.asgi.guard import tickets
from towerlog.errors import StorageFailed

STRANGER = ("203.0.113.9", 1)
HTML = ["/", "/docs"]
PUBLIC = ["/healthz", "/readyz", "/openapi.json", "/llms.txt", "/docs/docs.css", "/docs/docs.js", *HTML]


@pytest.mark.parametrize("path", PUBLIC)
async def test_anybody_may_see_it(app: App, path: str) -> None:
    reply = await ask(app, "GET", path, key=None, client=STRANGER)
    assert reply.status == 200
    assert reply.body


@pytest.mark.parametrize("path", [path for path in PUBLIC if not path.endswith("z")])
async def test_a_browser_is_told_to_trust_nothing(app: App, path: str) -> None:
    headers = (await ask(app, "GET", path, key=None)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", HTML)
async def test_a_page_brings_nothing_from_elsewhere_and_nothing_inline(app: App, path: str) -> None:
    text = (await ask(app, "GET", path, key=None)).body.decode()
    assert "http:" not in text
    assert "https:" not in text
    assert " style=" not in text
    assert not re.search(r" on[a-z]+=", text)
    assert all(inner == "" for inner in re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL))
    for linked in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert (await ask(app, "GET", linked, key=None)).status == 200, linked


async def test_the_script_never_writes_markup(app: App) -> None:
    script = (await ask(app, "GET", "/docs/docs.js", key=None)).body.decode()
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert forbidden not in script


async def test_readiness_follows_the_store(app: App, say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await say("GET", "/readyz")).json == {"status": "ready"}

    async def broken() -> None:
        raise StorageFailed

    monkeypatch.setattr(app.pages.health, "_ping", broken)
    reply = await say("GET", "/readyz")
    assert (reply.status, reply.json) == (503, {"status": "storage_failed"})
    assert (await say("GET", "/healthz")).status == 200


async def test_metrics_are_for_this_machine_or_an_admin(app: App, say: Any) -> None:
    reader = (await say("POST", "/api/v1/keys", value={"name": "k", "scopes": ["read"]})).json["key"]
    assert (await ask(app, "GET", "/metrics", key=None)).status == 200
    assert (await ask(app, "GET", "/metrics", key=None, client=STRANGER)).status == 401
    assert (await ask(app, "GET", "/metrics", key=reader, client=STRANGER)).status == 403
    assert (await say("GET", "/metrics", client=STRANGER)).status == 200
    behind_a_proxy = {"X-Forwarded-For": "203.0.113.9"}
    assert (await ask(app, "GET", "/metrics", key=None, headers=behind_a_proxy)).status == 401


async def test_who_am_i(app: App, say: Any) -> None:
    made = (await say("POST", "/api/v1/keys", value={"name": "k", "scopes": ["worker", "read"]})).json
    me = (await ask(app, "GET", "/api/v1/whoami", key=made["key"])).json
    assert me == {
        "org_id": (await say("GET", "/api/v1/whoami")).json["org_id"],
        "user_id": made["user_id"],
        "key_id": made["key_id"],
        "scopes": ["read", "worker"],
    }
    assert (await ask(app, "GET", "/api/v1/whoami", key=None)).status == 401


async def test_each_api_has_a_guide_that_the_document_links_to(app: App) -> None:
    document = (await ask(app, "GET", "/openapi.json", key=None)).json
    for tag in document["tags"]:
        guide = await ask(app, "GET", tag["x-guide"], key=None)
        assert guide.status == 200
        assert guide.headers["content-type"].startswith("text/plain")
        assert guide.body.startswith(b"# ")
    assert (await ask(app, "GET", "/docs/guides/nothing", key=None)).status == 404


async def test_the_guide_names_every_endpoint(app: App) -> None:
    text = (await ask(app, "GET", "/llms.txt", key=None)).body.decode()
    for dialect in app.table.dialects:
        for endpoint in dialect.endpoints:
            assert f"`{endpoint.method} {endpoint.path}`" in text


async def test_a_repeated_request_is_told_how_long_its_ticket_is_still_good(say: Any, clock: HandClock) -> None:
    once = {"Idempotency-Key": "a"}
    first = (await say("POST", "/api/v1/stream-tickets", headers=once)).json
    assert first["expires_in_seconds"] == 60
    clock.move(38.5)
    assert (await say("POST", "/api/v1/stream-tickets", headers=once)).json == first | {"expires_in_seconds": 21}
    clock.move(21)
    other = (await say("POST", "/api/v1/stream-tickets", headers=once)).json
    assert other["expires_in_seconds"] == 60
    assert other["ticket"] != first["ticket"]


async def test_a_key_with_too_many_tickets_is_told_so_and_when_to_come_back(
    say: Any, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets, "MAX_TICKETS_OF_KEY", 1)
    assert (await say("POST", "/api/v1/stream-tickets")).status == 201
    clock.move(12.5)
    refused = await say("POST", "/api/v1/stream-tickets")
    assert (refused.status, refused.headers["retry-after"]) == (503, "48")
    assert "This key has as many stream tickets" in refused.json["detail"]
    clock.move(48)
    assert (await say("POST", "/api/v1/stream-tickets")).status == 201
