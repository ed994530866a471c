"""Lists that are longer than what is read of them at once: they go on, or say that there is more."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.feeds import claim, create_run, ok
from tests.acceptance.ui.conftest import OpenScreen
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server

pytestmark = pytest.mark.slow
MANY = 210
"""More than a page of 200."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With a queue, and with alerts and their messages, longer than a page."""
    with Server(tmp_path_factory.mktemp("long") / "data", NO_LIMITS) as started:
        _fill(started.client())
        yield started
        started.stop()


def _fill(client: httpx2.Client) -> None:
    channels = [{"type": "in_app"}]
    rule = {"name": "failed runs", "trigger": "error", "cooldown_minutes": 0, "channels": channels}
    ok(client.post("/api/v1/alert-rules", json=rule), 201)
    for number in range(MANY):
        create_run(client, f"waits-{number}", agent="nobody", input="x")
        name = f"fails-{number}"
        for kind, payload in (("run_start", {"input": "x"}), ("error", {"error_message": "no"})):
            assert ingest(client, sdk_event(kind, name, payload, agent_name="fails")).status_code == 200
    claim(client, create_run(client, "held", agent="served", input="x")["run_id"], "vm-1", 600)


def _rows(page: Page, table: str, number: int) -> None:
    expect(page.get_by_role("table", name=table, exact=True)).to_have_attribute("aria-rowcount", str(number + 1))


def _to_the_end(page: Page, table: str) -> None:
    page.get_by_role("table", name=table, exact=True).evaluate("frame => frame.scrollTo(0, frame.scrollHeight)")


def test_what_is_held_is_shown_however_long_the_queue_is(screen: OpenScreen) -> None:
    page = screen("/workers").ready("Workers").page
    _rows(page, "Runs that are held", 1)
    page.get_by_role("table", name="Workers").get_by_role("link", name="vm-1").click()
    page.get_by_role("heading", level=1, name="Worker vm-1").wait_for()
    _rows(page, "Runs that are held", 1)


def test_the_queue_the_alerts_and_their_messages_go_on(screen: OpenScreen) -> None:
    for path, heading, table in (
        ("/workers", "Workers", "Queue"),
        ("/alerts", "Alerts", "Alerts"),
        ("/alerts?tab=deliveries", "Alerts", "Deliveries"),
    ):
        page = screen(path).ready(heading).page
        _rows(page, table, 200)
        _to_the_end(page, table)
        _rows(page, table, MANY)


def test_on_a_phone_older_alerts_are_asked_for(screen: OpenScreen) -> None:
    page = screen("/alerts", width=360).ready("Alerts").page
    expect(page.locator("li[data-id]")).to_have_count(200)
    page.get_by_role("button", name="Older alerts").click()
    expect(page.locator("li[data-id]")).to_have_count(MANY)
    expect(page.get_by_role("button", name="Older alerts")).to_have_count(0)


def test_now_says_that_there_is_more(screen: OpenScreen) -> None:
    page = screen("/").ready("Now").page
    expect(page.get_by_role("heading", name=re.compile(r"^\d+\+ things need you$"))).to_be_visible()
