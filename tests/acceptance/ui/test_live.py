"""What changes while it is looked at: rows by themselves, over a restart too, and by two people at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.screens import opened
from tests.acceptance.ui.seeds import Seeds
from tests.faults.disk import FaultyServer, build
from tests.support.browser import token_of
from tests.support.senders import tell
from tests.support.server import Server
from tests.support.wait import wait_until

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


def hold_back(route: Route, sent: list[Route]) -> None:
    """Keeps what a page sends until the test lets it go."""
    if route.request.method == "POST":
        sent.append(route)
    else:
        route.continue_()


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
    # Both are sent before either is answered: whoever is too late is told by whom it was answered.
    sent: list[Route] = []
    for card in cards:
        card.page.route("**/api/v1/approvals/*", lambda route: hold_back(route, sent))
        card.get_by_label("Answer").evaluate("field => field.form.requestSubmit()")
    wait_until(lambda: all(card.count() for card in cards) and len(sent) == 2, "both answers to be sent")
    for route in sent:
        route.continue_()
    kept = [card.get_by_label("What you had written") for card in cards]
    wait_until(lambda: sorted(one.count() for one in kept) == [0, 1], "one of them to be too late")
    late = next(number for number, one in enumerate(kept) if one.count())
    expect(cards[late].get_by_role("status")).to_contain_text("admin has answered")
    expect(cards[late].get_by_label("What you had written")).to_have_value(f"person {late}")
    run_id = client.get("/api/v1/runs", params={"agent": "asks-twice"}).json()["data"][0]["run_id"]
    events = client.get(f"/api/v1/runs/{run_id}/events", params={"type": "run.input"}).json()["data"]
    assert len(events) == 1
    for one in people:
        one.faults = [fault for fault in one.faults if "409" not in fault]
        one.close()


def test_what_waits_for_a_person_comes_and_goes_by_itself(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    """Pages and badges are kept by the stream: a change of runs makes none of them ask again."""
    client = server.client()
    one = screen("/approvals").ready("Approvals")
    page, badge = one.page, one.page.get_by_role("link", name="Approvals").locator(".badge")
    open_now = len(client.get("/api/v1/approvals", params={"limit": 200}).json()["data"])
    expect(badge).to_have_text(str(open_now))
    has_read = "performance.getEntriesByType('resource').some(one => one.name.includes('/api/v1/alerts'))"
    wait_until(lambda: page.evaluate(has_read), "the alerts to be read")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    tell(client, "run_start", "comes-and-goes", {"input": "x"}, agent_name="comes-and-goes")
    tell(client, "human_input_requested", "comes-and-goes", {"question": "May it come?"})
    card = page.locator("li").filter(has_text="May it come?")
    card.wait_for()
    expect(badge).to_have_text(str(open_now + 1))
    (mine,) = [one for one in client.get("/api/v1/approvals").json()["data"] if one["question"] == "May it come?"]
    client.post(f"/api/v1/approvals/{mine['approval_id']}", json={"content": "yes"}).raise_for_status()
    expect(card).to_have_count(0)
    expect(badge).to_have_text(str(open_now))
    # Of one that is decided elsewhere the page asks once by whom.
    of_it = [url for url in asked if url.endswith(f"/api/v1/approvals/{mine['approval_id']}")]
    assert [url for url in asked if "approvals" in url or "alerts" in url] == of_it
    assert len(of_it) <= 1


def test_an_alert_is_there_as_soon_as_it_fires(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    page = screen("/alerts").ready("Alerts").page
    badge = page.get_by_role("link", name="Alerts").first.locator(".badge")
    badge.wait_for()
    before = int(badge.inner_text())
    tell(client, "run_start", "alarming", {"input": "x"}, agent_name="alarming")
    tell(client, "error", "alarming", {"error_type": "IOError", "error_message": "the drum is stuck"})
    row = page.get_by_role("row").filter(has_text="the drum is stuck")
    row.wait_for()
    expect(badge).to_have_text(str(before + 1))
    row.get_by_role("button", name="Acknowledge").click()
    expect(badge).to_have_text(str(before))


def test_what_was_answered_while_the_connection_was_lost_is_gone(
    screen: OpenScreen, server: Server, seeds: Seeds
) -> None:
    client = server.client()
    tell(client, "run_start", "answered-away", {"input": "x"}, agent_name="answered-away")
    tell(client, "human_input_requested", "answered-away", {"question": "Is anybody there?"})
    one = screen("/approvals").ready("Approvals")
    card = one.page.locator("li").filter(has_text="Is anybody there?")
    card.wait_for()
    one.page.route("**/api/v1/live*", lambda route: route.abort())
    server.stop()
    server.start()
    (mine,) = [r for r in client.get("/api/v1/approvals").json()["data"] if r["question"] == "Is anybody there?"]
    client.post(f"/api/v1/approvals/{mine['approval_id']}", json={"content": "yes"}).raise_for_status()
    one.page.unroute("**/api/v1/live*")
    expect(card).to_have_count(0)
    one.faults = [fault for fault in one.faults if "ERR_FAILED" not in fault]


def test_a_stream_that_was_refused_says_why_and_comes_by_itself(screen: OpenScreen, seeds: Seeds) -> None:
    one = screen("/budgets").ready("Budgets")
    page = one.page
    told = {"status": 403, "code": "forbidden", "detail": "Nobody watches now."}
    page.route("**/api/v1/live*", lambda route: route.fulfill(status=403, json=told))
    page.reload()
    page.get_by_text("Not live: Nobody watches now.").wait_for()
    page.unroute("**/api/v1/live*")
    page.get_by_text("live", exact=True).wait_for()
    expect(page.get_by_text("Not live")).to_have_count(0)
    one.faults = [fault for fault in one.faults if "status of 403" not in fault]


def test_a_server_that_stores_nothing_says_so_until_it_does(browser: Browser, tmp_path: Path) -> None:
    with FaultyServer(build(tmp_path), tmp_path / "faulty") as server:
        client = server.client()
        one = opened(browser, server.base_url, "/runs", width=360, theme="dark", token=token_of(client))
        strip = one.ready("Runs").page.get_by_text("Read-only: the server stores nothing")
        expect(strip).to_be_hidden()
        server.fail("write .db ENOSPC 0 -1", "write .db-wal ENOSPC 0 -1", "write .db-shm ENOSPC 0 -1")
        refused = client.post("/api/ingest", json={"event_type": "step", "sdk_run_id": "r", "payload": {}})
        assert refused.status_code == 503
        expect(strip).to_be_visible()
        assert one.overflow() <= 0
        assert one.violations() == []
        server.fail()
        expect(strip).to_be_hidden()
        one.close()
        server.stop()
