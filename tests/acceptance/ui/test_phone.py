"""A phone has every function of a wide screen, and the keyboard goes on where the reader is."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.senders import ingest, sdk_event, tell
from tests.support.server import Server

pytestmark = pytest.mark.slow


def test_a_row_unfolds_with_its_columns_and_buttons(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    rule = {"name": "on a phone", "trigger": "error", "scope": {"agent": "nobody"}}
    server.client().post("/api/v1/alert-rules", json=rule).raise_for_status()
    one = screen("/alerts?tab=rules", width=360).ready("Alerts")
    row = one.page.get_by_role("row").filter(has_text="on a phone")
    row.get_by_role("button", name="All of this row").click()
    whole = one.page.get_by_role("dialog")
    expect(whole).to_contain_text("nobody")
    assert one.violations() == []
    whole.get_by_role("button", name="Turn off").click()
    expect(whole).to_contain_text("‖ off")


def test_an_alert_is_a_card_with_its_words_and_buttons(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    tell(client, "run_start", "on-a-phone", {"input": "x"}, agent_name="on-a-phone")
    tell(client, "error", "on-a-phone", {"error_type": "IOError", "error_message": "the lamp is out"})
    one = screen("/alerts", width=360).ready("Alerts")
    card = one.page.get_by_role("listitem").filter(has_text="the lamp is out")
    expect(card).to_contain_text("failed runs")
    assert one.overflow() <= 0
    assert one.violations() == []
    card.get_by_role("button", name="Acknowledge").click()
    expect(card).to_contain_text("over")


def test_a_budget_says_what_it_counts_and_is_deleted_by_its_name(screen: OpenScreen, server: Server) -> None:
    client, name = server.client(), f"{'n' * 60}  end"
    made = {"name": name, "scope": {"agent": "lavish"}, "amount_usd": 1, "period": "hour", "action": "pause"}
    client.post("/api/v1/budgets", json=made).raise_for_status()
    tell(client, "run_start", "lavish", {"input": "x"}, agent_name="lavish")
    tell(client, "run_end", "lavish", {"model": "of-no-price", "prompt_tokens": 5, "completion_tokens": 5})
    tell(client, "run_start", "lavish-2", {"input": "x"}, agent_name="lavish")
    # Its reply says that the budget is used up.
    assert ingest(client, sdk_event("run_end", "lavish-2", {"cost_usd": 1.5})).status_code == 200
    one = screen("/budgets", width=360).ready("Budgets")
    card = one.page.locator("[data-id]").filter(has_text="nnn")
    expect(card).to_contain_text("$1.50 of $1.00 an hour, 150 %")
    expect(card.get_by_role("link", name="1 unpriced call")).to_be_visible()
    expect(card.get_by_role("link", name="paused runs")).to_have_attribute("href", "/runs?agent=lavish&status=paused")
    assert one.overflow() <= 0
    card.get_by_role("button", name="Delete …").click()
    dialog = one.page.get_by_role("dialog", name="Delete the budget “nnn")
    shown = dialog.locator("code").inner_text()
    assert shown == name
    assert dialog.evaluate("dialog => dialog.scrollWidth - dialog.clientWidth") <= 0
    assert one.violations() == []
    dialog.get_by_label("Type").fill(shown)
    dialog.get_by_role("button", name="Delete it").click()
    expect(card).to_have_count(0)


def test_what_belongs_to_every_page_is_there(screen: OpenScreen, seeds: Seeds) -> None:
    one = screen("/audit", width=360).ready("Audit")
    page = one.page
    expect(page.get_by_text("live", exact=True)).to_be_in_viewport()
    expect(page.get_by_role("button", name="Copy as curl")).to_be_visible()
    expect(page.get_by_role("link", name="Settings")).not_to_be_visible()
    page.get_by_role("button", name="Pages").click()
    for name in ("Sign out", "Go to"):
        expect(page.get_by_role("button", name=name)).to_be_in_viewport()
    for name in ("Now", "Runs", "Approvals", "Usage", "Settings"):
        expect(page.get_by_role("navigation").get_by_role("link", name=name)).to_be_in_viewport(ratio=1)
    assert one.overflow() <= 0
    assert one.violations() == []
    page.get_by_role("link", name="Usage").click()
    one.ready("Usage")
    expect(page.get_by_role("link", name="Settings")).not_to_be_visible()


def test_keys_move_in_the_events_of_a_run_at_once(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen(f"/runs/{seeds.done}").ready("writer").page
    page.locator("#event-2").wait_for()
    page.keyboard.press("j")
    expect(page.locator("#event-1")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("j")
    expect(page.locator("#event-2")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.get_by_role("heading", level=1, name="Runs").wait_for()
    assert page.evaluate("document.activeElement.id") == "main"


def test_an_agent_is_found_by_its_name_and_a_run_by_the_end_of_its_id(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/agents/writer").ready("writer").page
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill(seeds.done[-6:])
    expect(page.get_by_role("option").first).to_contain_text(seeds.done)
    page.get_by_role("combobox").fill("writer")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/agents/{seeds.agent_id}")
