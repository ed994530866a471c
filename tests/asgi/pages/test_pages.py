"""The operator's pages: who may see them, what they say, and what a browser may do with them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.asgi.conversation import HandClock, ask
from towerlog.asgi.app import App
from towerlog.asgi.guard import tickets
from towerlog.asgi.pages.guides import markup
from towerlog.asgi.pages.guides.frame import Guide
from towerlog.asgi.pages.guides.markup import rendered
from towerlog.errors import StorageFailed

STRANGER = ("203.0.113.9", 1)
HTML = ["/docs"]
PUBLIC = [
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/llms.txt",
    "/llms-full.txt",
    "/docs/guide.css",
    "/docs/docs.css",
    "/docs/docs.js",
    "/favicon.ico",
    *HTML,
]


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


@pytest.mark.parametrize("path", ["/docs", "/docs/guides/index", "/a/none"])
async def test_the_icon_of_a_page_is_there_and_its_policy_lets_it_be_shown(app: App, path: str) -> None:
    policy = (await ask(app, "GET", path, key=None)).headers["content-security-policy"]
    assert "img-src 'self'" in policy
    icon = await ask(app, "GET", "/favicon.ico", key=None)
    assert (icon.status, icon.headers["content-type"]) == (200, "image/svg+xml")
    assert icon.body.startswith(b"<svg ")
    assert b"script" not in icon.body


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


async def test_readiness_tells_of_a_clock_that_holds_deletion_back(
    app: App, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.pages.health, "_is_clock_off", lambda: True)
    reply = await say("GET", "/readyz")
    assert (reply.status, reply.json) == (200, {"status": "ready", "warning": "clock_off"})


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
        assert guide.headers["content-type"] == "text/html; charset=utf-8"
        text = await ask(app, "GET", f"{tag['x-guide']}.md", key=None)
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        assert text.body.startswith(b"# ")
    for wrong in ("nothing", "nothing.md", "lanes.md.md", ".md"):
        assert (await ask(app, "GET", f"/docs/guides/{wrong}", key=None)).status == 404


async def test_every_link_of_a_guide_leads_to_a_heading_of_one(app: App) -> None:
    """All of them are reached from the list of all, and each has its text for programs, which llms.txt names."""
    pages: dict[str, str] = {}
    waiting = ["/docs/guides/index"]
    while waiting:
        path = waiting.pop()
        if path not in pages:
            found = await ask(app, "GET", path, key=None)
            assert found.status == 200, path
            pages[path] = found.body.decode()
            waiting += [link for link in links_of(pages[path], path) if "#" not in link and not link.endswith(".md")]
            waiting += [link.partition("#")[0] for link in links_of(pages[path], path) if "#" in link]
    for path, page in pages.items():
        for link in links_of(page, path):
            there, _, anchor = link.partition("#")
            assert there.removesuffix(".md") in pages, f"{path}: {link}"
            assert not anchor or f'id="{anchor}"' in pages[there], f"{path}: {link}"
    text = (await ask(app, "GET", "/llms.txt", key=None)).body.decode()
    assert {f"{path}.md" for path in pages} == set(re.findall(r"\((/docs/guides/[^)]+)\)", text))


async def test_the_whole_documentation_is_one_text_whose_links_lead_somewhere(app: App) -> None:
    text = (await ask(app, "GET", "/llms-full.txt", key=None)).body.decode()
    listed = re.findall(r"\((/docs/guides/[^)]+)\)", (await ask(app, "GET", "/llms.txt", key=None)).body.decode())
    parts = re.findall(r"^<!-- (/docs/guides/\S+) -->$", text, re.MULTILINE)
    assert sorted(parts) == sorted(set(listed) - {"/docs/guides/index.md"}), "each page once, but for the list of them"
    assert parts[0] == "/docs/guides/start.md", "in the order of that list"
    for path in parts:
        page = (await ask(app, "GET", path, key=None)).body.decode()
        lines = [line for line in page.splitlines() if "](" not in line and not line.startswith("<!--")]
        missing = [line for line in lines if line not in text and "[" not in line and ")" not in line]
        assert not missing, f"{path} is not whole"
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    led = {link.partition("#")[0] for link in re.findall(r"\]\((/docs/guides/[^)]+)\)", prose)}
    assert led <= {*listed}
    assert not re.findall(r"\]\((?!https?:|#|/docs/)[^)]*\.md", prose)


def links_of(page: str, path: str) -> list[str]:
    """Links to guides, whole."""
    found = [link if not link.startswith("#") else path + link for link in re.findall(r'href="([^"]+)"', page)]
    return [link for link in found if link.startswith("/docs/guides/")]


async def test_a_guide_brings_nothing_from_elsewhere_and_runs_nothing(app: App) -> None:
    for name in ("index", "runs", "reference-cli"):
        page = await ask(app, "GET", f"/docs/guides/{name}", key=None)
        assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; ")
        assert not re.search(rb"<(script|img|iframe|style)|\son[a-z]+=|style=|src=", page.body)
        assert re.findall(rb"<link [^>]*>", page.body) == [b'<link rel="stylesheet" href="/docs/guide.css">']


async def test_a_guide_is_made_once(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(guide: Guide, links: Mapping[str, str]) -> str:
        made.append(guide.page)
        return rendered(guide, links)

    monkeypatch.setattr(markup, "rendered", counted)
    asked = [ask(app, "GET", f"/docs/guides/{name}", key=None) for name in ("steps", "runs") * 5]
    assert {one.status for one in await asyncio.gather(*asked)} == {200}
    assert sorted(made) == ["dialects/runs.md", "dialects/steps.md"]


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
