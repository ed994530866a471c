"""What changes while it is looked at: rows by themselves, over a restart too, and by two people at once."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.screens import opened
from tests.acceptance.ui.seeds import Seeds
from tests.support.browser import token_of
from tests.support.senders import tell
from tests.support.server import Server

pytestmark = pytest.mark.slow


def test_a_run_appears_and_ends_without_a_reload(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    page = screen("/runs").ready("Runs").page
    page.evaluate("window.stays = true")
    client = server.client()
    tell(client, "run_start", "fresh", {"input": "x"}, agent_name="fresh-agent")
    row = page.get_by_role("row").filter(has_text="fresh-agent")
    expect(row).to_contain_text("running")
    tell(client, "run_end", "fresh", {"output": "y"})
    expect(row).to_contain_text("completed")
    assert page.evaluate("window.stays")


def test_events_of_an_open_run_come_as_they_are_stored(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    tell(client, "run_start", "telling", {"input": "x"}, agent_name="teller")
    run_id = client.get("/api/v1/runs", params={"agent": "teller"}).json()["data"][0]["run_id"]
    page = screen(f"/runs/{run_id}").ready("teller").page
    events = page.get_by_role("listbox", name="Events")
    expect(events).to_contain_text("run.started")
    tell(client, "step", "telling", {"node_name": "a step that came later", "phase": "start"})
    expect(events).to_contain_text("a step that came later")


def test_new_runs_wait_while_the_reader_is_further_down(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    for number in range(60):
        tell(client, "run_start", f"many-{number}", {"input": "x"}, agent_name="many")
    page = screen("/runs?agent=many").ready("Runs").page
    table = page.get_by_role("table", name="Runs")
    expect(table).to_have_attribute("aria-rowcount", "61")
    table.evaluate("table => table.scrollTo(0, 800)")
    first = table.locator("[data-id]").first.get_attribute("data-id")
    tell(client, "run_start", "many-more", {"input": "x"}, agent_name="many")
    more = page.get_by_role("button", name="1 new run")
    more.wait_for()
    assert table.locator("[data-id]").first.get_attribute("data-id") == first
    more.click()
    expect(table).to_have_attribute("aria-rowcount", "62")


def test_a_lost_connection_is_shown_and_heals(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    page = screen("/runs").ready("Runs").page
    page.evaluate("window.stays = true")
    server.stop()
    expect(page.get_by_text("Reconnecting, for")).to_be_visible()
    server.start()
    tell(server.client(), "run_start", "after", {"input": "x"}, agent_name="after-the-restart")
    expect(page.get_by_role("row").filter(has_text="after-the-restart")).to_be_visible()
    expect(page.get_by_text("Reconnecting, for")).to_be_hidden()
    assert page.evaluate("window.stays")


def test_two_people_answer_at_once_and_one_counts(browser: Browser, server: Server, seeds: Seeds) -> None:
    client = server.client()
    tell(client, "run_start", "asked-twice", {"input": "x"}, agent_name="asks-twice")
    tell(client, "human_input_requested", "asked-twice", {"question": "Who is first?"})
    people = [
        opened(browser, server.base_url, "/approvals", width=1440, theme="light", token=token_of(client))
        for _ in range(2)
    ]
    cards = [one.ready("Approvals").page.locator("li").filter(has_text="Who is first?") for one in people]
    for number, card in enumerate(cards):
        card.get_by_label("Answer").fill(f"person {number}")
    for card in cards:
        card.get_by_label("Answer").press("Enter", no_wait_after=True)
    for card in cards:
        expect(card).to_have_count(0)
    run_id = client.get("/api/v1/runs", params={"agent": "asks-twice"}).json()["data"][0]["run_id"]
    events = client.get(f"/api/v1/runs/{run_id}/events", params={"type": "run.input"}).json()["data"]
    assert len(events) == 1
    for one in people:
        one.faults = [fault for fault in one.faults if "409" not in fault]
        one.close()
