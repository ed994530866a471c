"""A page of the dashboard in a browser, and what it must never do: reach elsewhere, run foreign script, log errors."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

DEADLINE_MS = 60_000
# By itself `expect` gives up after five seconds, which a busy machine may need for one click.
expect.set_options(timeout=DEADLINE_MS)
HEIGHTS = {1440: 900, 360: 780}
GONE = ("net::ERR_CONNECTION_REFUSED", "net::ERR_INCOMPLETE_CHUNKED_ENCODING", "net::ERR_CONNECTION_RESET", "503")
"""What Chromium itself logs of a server that is away for a while."""


OVERFLOW = """Math.max(
    document.documentElement.scrollWidth - window.innerWidth,
    ...[...document.querySelectorAll('[role=table]')].map((table) => table.scrollWidth - table.clientWidth),
)"""


class Screen:
    """An open page, and what was wrong with it."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self._origin = origin
        page.set_default_timeout(DEADLINE_MS)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.faults.append(f"a script failed: {error}"))
        page.on("request", self._asked)
        page.on("dialog", lambda dialog: self.faults.append(f"a dialog: {dialog.message}"))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(words in message.text for words in GONE):
            self.faults.append(f"{message.type}: {message.text} {message.location}")

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and f"{address.scheme}://{address.netloc}" != self._origin:
            self.faults.append(f"a request to {request.url}")

    def ready(self, heading: str) -> Screen:
        """Once its heading is there, and nothing is on its way."""
        self.page.get_by_role("heading", level=1, name=heading).wait_for()
        self.page.get_by_text("Loading", exact=True).first.wait_for(state="detached")
        return self

    def violations(self) -> list[str]:
        """What axe-core finds of WCAG 2.2 AA, and of names that leave out what is shown (2.5.3), which it does not look
        for by itself."""
        tags = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
        rules = {"runOnly": tags, "rules": {"label-content-name-mismatch": {"enabled": True}}}
        found = Axe().run(self.page, options=rules).response["violations"]
        return [f"{one['id']}: {node['html'][:200]} {node['failureSummary']}" for one in found for node in one["nodes"]]

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window, or a table than its frame."""
        return int(self.page.evaluate(OVERFLOW))

    def close(self) -> None:
        """Ends it; fails when the page did something that it must not."""
        self.page.context.close()
        assert not self.faults, self.faults


def opened(
    browser: Browser,
    origin: str,
    path: str,
    *,
    width: int,
    theme: str,
    token: str | None,
    before: Callable[[Screen], None] | None = None,
) -> Screen:
    """A page in a context of its own, in which the token of a link has signed somebody in; None: nobody.

    `before` prepares the page, which has loaded nothing yet.
    """
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHTS[width]},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    if token is not None:
        own = {"Origin": origin, "X-Towerlog-Request": "1"}
        reply = context.request.post(f"{origin}/api/v1/sign-in", data={"token": token}, headers=own)
        assert reply.status == 204, reply.text()
    screen = Screen(context.new_page(), origin)
    if before is not None:
        before(screen)
    screen.page.goto(origin + path, wait_until="domcontentloaded")
    return screen
