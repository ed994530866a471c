"""The paths of the dashboard in the whole application: which they are, beside what they stand, and without a build."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.asgi.conversation import ADMIN_KEY, HandClock, ask
from towerlog.ambient import SystemIds
from towerlog.asgi.app import App
from towerlog.asgi.pages.dashboard.screens import NOT_BUILT
from towerlog.config import Settings
from towerlog.dialects import DIALECTS
from towerlog.parts import transport_config
from towerlog.server import Node

PAGE = b"<!doctype html><title>Towerlog</title>"
PATHS = [
    *("/", "/runs", "/runs/r1?tab=tools&seq=4", "/runs/r1/replay", "/compare?a=r1&b=r2", "/agents", "/agents/a1"),
    *("/threads", "/threads/t%3A1", "/workers", "/approvals", "/usage", "/budgets", "/alerts", "/audit", "/settings"),
    "/sign-in?next=/runs",
]
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def started(settings: Settings, clock: HandClock, folder: Path) -> AsyncIterator[App]:
    """An application with this folder as the dashboard."""
    ids = SystemIds(clock)
    node = Node(settings, clock, ids, lambda error: None)
    config = msgspec.structs.replace(transport_config(settings), dashboard=folder)
    made = App(node.start, DIALECTS, config, clock, ids)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def served(settings: Settings, clock: HandClock, tmp_path: Path) -> AsyncIterator[App]:
    """With a dashboard."""
    folder = tmp_path / "ui"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_bytes(PAGE)
    (folder / "assets" / "app-1.css").write_bytes(b"body{}")
    async for app in started(settings, clock, folder):
        yield app


@pytest.fixture
async def bare(settings: Settings, clock: HandClock, tmp_path: Path) -> AsyncIterator[App]:
    """Without one."""
    async for app in started(settings, clock, tmp_path / "nothing"):
        yield app


@pytest.mark.parametrize("path", PATHS)
async def test_a_browser_gets_the_page_at_every_path(served: App, path: str) -> None:
    for method in ("GET", "HEAD"):
        reply = await ask(served, method, path, key=None, headers=BROWSER)
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert reply.headers["content-length"] == str(len(PAGE))
        assert reply.headers["vary"] == "accept, accept-encoding"
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "require-trusted-types-for 'script'; trusted-types svelte-trusted-html" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_build_a_browser_is_told_how_to_make_one(bare: App, path: str) -> None:
    reply = await ask(bare, "GET", path, key=None, headers=BROWSER)
    assert (reply.status, reply.body.decode()) == (503, NOT_BUILT)
    assert NOT_BUILT.count("\n") == 1
    assert "make setup" in NOT_BUILT
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/approvals", "/alerts"])
async def test_a_program_gets_what_a_dialect_has_at_the_same_path(served: App, path: str) -> None:
    refused = await ask(served, "GET", path, key=None, headers={"Accept": "*/*"})
    assert refused.status == 401
    for headers in ({}, {"Accept": "application/json"}, BROWSER):
        reply = await ask(served, "GET", path, key=ADMIN_KEY, headers=headers)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert (await ask(served, "POST", "/alerts", key=None, headers=BROWSER, value={})).status == 401


NOWHERE = ("/nothing", "/runs/r1/nothing", "/agents/a1/nothing", "/v1/nothing", "/api/v1/nothing")


async def test_a_browser_at_a_path_of_nothing_gets_the_page_and_a_404(served: App) -> None:
    for path in NOWHERE:
        for method in ("GET", "HEAD"):
            reply = await ask(served, method, path, key=None, headers=BROWSER)
            assert (reply.status, reply.headers["content-type"]) == (404, "text/html; charset=utf-8"), path
            assert reply.headers["vary"] == "accept, accept-encoding"
            assert "script-src 'self'" in reply.headers["content-security-policy"]
        assert (await ask(served, "GET", path, key=None, headers=BROWSER)).body == PAGE
        tagged = {**BROWSER, "If-None-Match": reply.headers["etag"]}
        assert (await ask(served, "GET", path, key=None, headers=tagged)).status == 404, "never 304"


async def test_a_program_at_a_path_of_nothing_gets_json(served: App) -> None:
    for path in NOWHERE:
        for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
            assert "error" in (await ask(served, "GET", path, key=None, headers=headers)).body.decode(), path
        for method, key in (("GET", ADMIN_KEY), ("POST", None), ("DELETE", None)):
            reply = await ask(served, method, path, key=key, headers=BROWSER)
            assert (reply.status, "json" in reply.headers["content-type"]) == (404, True), path
    refused = (await ask(served, "GET", "/agents/a1/nothing", key=None)).json
    assert refused.keys() == {"error", "detail"}, "the dialect's words"


async def test_without_a_build_a_path_of_nothing_is_refused_as_ever(bare: App) -> None:
    reply = await ask(bare, "GET", "/nothing", key=None, headers=BROWSER)
    assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")


async def test_what_is_no_screen_is_not_there(served: App) -> None:
    for path in ("/assets/nothing.js", "/assets/..", "/assets/%2e%2e%2findex.html", "//runs"):
        reply = await ask(served, "GET", path, key=None, headers=BROWSER)
        assert (reply.status in (400, 404), reply.body != PAGE) == (True, True), path
    assert (await ask(served, "POST", "/runs", key=None)).status == 405
    assert (await ask(served, "GET", "/assets/app-1.css", key=None)).body == b"body{}"
