"""A browser with the built dashboard, as a person has it: signed in by a key, and watched for what it must not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.acceptance.ui.screens import Screen, opened
from tests.acceptance.ui.seeds import Seeds, seed
from tests.clients.sightings import CHROMIUM_FLAGS
from tests.clients.tools import program
from tests.support.browser import token_of
from tests.support.server import NO_LIMITS, Server

BUILT = Path(__file__).parents[3] / "src" / "towerlog" / "asgi" / "pages" / "ui" / "index.html"
OpenScreen = Callable[..., Screen]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a module: as long as Playwright is there, its event loop keeps every other from running."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program("chromium"), args=[*CHROMIUM_FLAGS])
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this module's own, with the dashboard."""
    assert BUILT.is_file(), "the dashboard is not built: run `make setup`"
    with Server(tmp_path_factory.mktemp("dashboard") / "data", NO_LIMITS) as started:
        yield started
        started.stop()


@pytest.fixture(scope="module")
def seeds(server: Server) -> Seeds:
    """Some of everything that a page can show."""
    return seed(server.client())


@pytest.fixture
def screen(browser: Browser, server: Server) -> Iterator[OpenScreen]:
    """Opens a path: `screen("/runs", width=360, theme="dark")`. What its page did wrong fails the test."""
    made: list[Screen] = []

    def start(
        path: str, *, width: int = 1440, theme: str = "light", is_signed_in: bool = True, user_id: str | None = None
    ) -> Screen:
        token = token_of(server.client(), user_id) if is_signed_in else None
        made.append(opened(browser, server.base_url, path, width=width, theme=theme, token=token))
        return made[-1]

    yield start
    for one in made:
        one.close()
