"""The paths of the dashboard: each answers with the same page, whose script shows what the path names.

Two of them are paths of dialects as well. There the dashboard answers a browser that opens the path, and nobody else:
a request that asks for HTML and brings no key. So it does, with 404, where there is nothing at a path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from towerlog.asgi.pages.dashboard.bundle import ASSETS, INDEX, Built, read_build, read_parts
from towerlog.asgi.pages.security import SECURITY_HEADERS
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects.base import HTML, PLAIN_TEXT, Reply
from towerlog.errors import NotFound

SCREENS = {
    "/": "now",
    "/runs": "runs",
    "/runs/{run_id}": "run",
    "/runs/{run_id}/replay": "replay",
    "/compare": "compare",
    "/agents": "agents",
    "/agents/{agent_id}": "agent",
    "/threads": "threads",
    "/threads/{thread_id}": "thread",
    "/workers": "workers",
    "/usage": "usage",
    "/budgets": "budgets",
    "/audit": "audit",
    "/settings": "settings",
    "/sign-in": "sign-in",
}
"""Path → the page of `ui/src/pages` that its script shows."""
SHARED_SCREENS = {"/approvals": "approvals", "/alerts": "alerts"}
"""Screens that stand at the path of an endpoint."""
NOT_BUILT = "The dashboard is not built: run `make setup` where the server's source is, and start the server again.\n"
_NOT_BUILT = Reply(503, NOT_BUILT.encode(), PLAIN_TEXT, (*SECURITY_HEADERS, (b"cache-control", b"no-store")))


class DashboardPages:
    """All screens, and the files that they are made of."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: what was built; None for the one in this package. Raises BadBuild, OSError."""
        self._files, self._parts = _packaged() if folder is None else _read(folder)

    def routes(self) -> tuple[PageRoute, ...]:
        """Of all screens, and of their files."""
        made = partial(PageRoute, "GET", public=True, is_described=False)
        screens = [
            made(path, "screen", "A screen of the dashboard.", self._screen(page), reply_type=HTML, is_shared=is_shared)
            for paths, is_shared in ((SCREENS, False), (SHARED_SCREENS, True))
            for path, page in paths.items()
        ]
        asset = made(f"/{ASSETS}/{{name}}", "asset", "A file of the dashboard.", self.asset)
        if INDEX not in self._files:
            return (*screens, asset)
        stray = made("/", "stray", "There is no such page.", self.stray, reply_type=HTML, is_for_strays=True)
        return (*screens, asset, stray)

    def _screen(self, page: str) -> Callable[[PageVisit], Awaitable[Reply]]:
        """Answers with the page, which names the files of this screen; with 503 where nothing was built."""
        index = self._files.get(INDEX)
        found = None if index is None else index.naming(self._parts.get(page, ()))

        async def answer(visit: PageVisit) -> Reply:
            return _NOT_BUILT if found is None else found.answer(visit.headers)

        return answer

    async def stray(self, visit: PageVisit) -> Reply:
        """The same page with 404: its script finds no screen at the path, and says so."""
        return self._files[INDEX].answer(visit.headers, status=404)

    async def asset(self, visit: PageVisit) -> Reply:
        """A file by its name. Raises NotFound."""
        found = self._files.get(f"{ASSETS}/{visit.path['name']}")
        if found is None:
            raise NotFound("route", "There is nothing at this path.")
        return found.answer(visit.headers)


def _packaged() -> tuple[dict[str, Built], dict[str, tuple[str, ...]]]:
    with as_file(files("towerlog.asgi.pages").joinpath("ui")) as folder:
        return _read(folder)


def _read(folder: Path) -> tuple[dict[str, Built], dict[str, tuple[str, ...]]]:
    return read_build(folder), read_parts(folder)
