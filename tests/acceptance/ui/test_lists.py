"""The run list as a person arranges it, and acts on many runs; an agent's activity; messages of alerts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.acceptance.feeds import container_event, create_run, push
from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.browser import session_id_of
from tests.support.server import Server

pytestmark = pytest.mark.slow


def test_columns_are_chosen_and_saved_with_a_view(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/runs").ready("Runs").page
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("Error", exact=True).check()
    page.get_by_label("Phase", exact=True).uncheck()
    expect(page.get_by_role("columnheader", name="Error")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Phase")).to_have_count(0)
    assert "cols=" in page.url
    page.get_by_role("button", name="Save this view").click()
    page.get_by_label("Its name, in this browser").fill("what failed")
    page.get_by_role("button", name="Save it").click()
    page.get_by_role("link", name="Clear").click()
    expect(page.get_by_role("columnheader", name="Error")).to_have_count(0)
    page.get_by_role("link", name="what failed").click()
    expect(page.get_by_role("columnheader", name="Error")).to_be_visible()
    page.get_by_role("row").filter(has_text="no paper").wait_for()


def test_many_runs_are_counted_before_they_are_cancelled(
    screen: OpenScreen, server: Server, seeds: Seeds, tmp_path: Path
) -> None:
    client = server.client()
    made = [create_run(client, f"bulk-{number}", agent="bulk", input="x")["run_id"] for number in range(4)]
    client.post(f"/v1/runs/{made[0]}:cancel", json={}).raise_for_status()
    page = screen("/runs?agent=bulk").ready("Runs").page
    page.locator(f'[data-id="{made[0]}"]').get_by_role("checkbox").check()
    page.get_by_role("button", name="Select all 4").click()
    page.get_by_text("4 selected").wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export as JSON").click()
    waiting.value.save_as(tmp_path / "runs.json")
    assert {run["run_id"] for run in json.loads((tmp_path / "runs.json").read_text())} == set(made)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="as CSV").click()
    waiting.value.save_as(tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="") as lines:
        assert {row["run_id"] for row in csv.DictReader(lines)} == set(made)
    page.get_by_role("button", name="Cancel …").click()
    dialog = page.get_by_role("dialog", name="Cancel 3 runs")
    expect(dialog).to_contain_text("1 of the selected have ended already")
    expect(dialog.get_by_role("button", name="Cancel them")).to_be_disabled()
    dialog.get_by_label("Type 3 to go on").fill("3")
    dialog.get_by_role("button", name="Cancel them").click()
    expect(page.get_by_role("row").filter(has_text="cancelled")).to_have_count(4)
    page.locator(f'[data-id="{made[1]}"]').get_by_role("checkbox").check()
    page.get_by_role("button", name="Retry …").click()
    page.get_by_role("dialog", name="Retry 1 run").get_by_role("button", name="Retry them").click()
    expect(page.get_by_role("row").filter(has_text="queued")).to_have_count(1)


def test_an_agents_activity_is_told_apart(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    agent_id = client.post("/api/v1/agents", json={"name": "contained"}).json()["agent_id"]
    push(client, agent_id, container_event(tool="shell", input_summary="make test"))
    push(client, agent_id, container_event(tool="filesystem", input_summary="notes.md"))
    page = screen(f"/agents/{agent_id}").ready("contained").page
    table = page.get_by_role("table", name="Activity")
    expect(table).to_contain_text("make test")
    expect(table).to_contain_text("notes.md")
    page.get_by_role("button", name="Shell").click()
    expect(table).not_to_contain_text("notes.md")
    assert "feed=Shell" in page.url
    page.get_by_role("button", name="Inference").click()
    page.get_by_text("Nothing of this kind").wait_for()


def test_a_rule_is_tried_on_what_was(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    page = screen("/alerts?tab=rules").ready("Alerts").page
    page.get_by_role("link", name="OK").or_(page.get_by_role("link", name="open")).first.click()
    page.get_by_role("dialog").get_by_text("Over the last week it would have fired").wait_for()


def test_usage_is_shown_by_thread(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    page = screen("/usage?by=thread").ready("Usage").page
    table = page.get_by_role("table", name="Usage by thread")
    expect(table).to_contain_text(seeds.thread_id)
    expect(table).to_contain_text("unpriced")


def test_a_rule_is_made_and_changed(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    one = screen("/alerts?tab=rules").ready("Alerts")
    page = one.page
    page.get_by_role("button", name="New rule …").click()
    form = page.get_by_role("dialog", name="New rule")
    form.get_by_role("textbox", name="Name", exact=True).fill("slow people")
    form.get_by_label("Fires when").select_option("waiting_too_long")
    form.get_by_label("Minutes", exact=True).fill("5")
    form.get_by_label("Agent", exact=True).fill("writer")
    form.get_by_role("button", name="Add channel …").click()
    form.get_by_label("Address").fill("ada@example.com")
    form.get_by_role("button", name="Try it on the last week").click()
    expect(form.get_by_role("status")).to_contain_text("Over the last week")
    form.get_by_role("button", name="Make rule").click()
    form.get_by_role("button", name="Close").click()  # The server of this test sends no mail, and says so.
    expect(form).to_have_count(0)

    def rule() -> dict[str, Any]:
        rules = client.get("/api/v1/alert-rules").json()["data"]
        return next(row for row in rules if row["trigger"] == "waiting_too_long")

    row = page.locator(f'[data-id="{rule()["rule_id"]}"]')
    row.get_by_role("button", name="Change …").click()
    form = page.get_by_role("dialog", name="Change the rule “slow people”")
    expect(form.get_by_label("Minutes", exact=True)).to_have_value("5")
    expect(form.get_by_label("Fires when")).to_be_disabled()
    form.get_by_label("Minutes", exact=True).fill("0")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("alert")).to_contain_text("minutes")
    form.get_by_label("Minutes", exact=True).fill("7.5")
    form.get_by_label("Agent", exact=True).fill("")
    form.get_by_text("More conditions").click()
    form.get_by_label("Thread", exact=True).fill("cleaning")
    form.get_by_label("Action on the run").select_option("pause")
    form.get_by_role("button", name="Remove channel").click()
    form.get_by_role("button", name="Add channel …").click()
    form.get_by_label("Channel", exact=True).select_option("webhook")
    form.get_by_label("URL").fill("https://hooks.example.com/x")
    form.get_by_role("button", name="Save").click()
    expect(form).to_contain_text("It is shown only now")
    form.get_by_role("button", name="I have it").click()
    expect(row).to_contain_text("7.5 min")
    expect(row).to_contain_text("thread cleaning")
    now = rule()
    assert now["config"] == {"minutes": 7.5}
    assert (now["scope"], now["act"]) == ({"thread_id": "cleaning"}, "pause")
    assert [(way["type"], way["target"]) for way in now["channels"]] == [("webhook", "https://hooks.example.com/x")]
    row.get_by_role("link").click()
    one.faults = [fault for fault in one.faults if "422" not in fault]
    page.get_by_role("dialog", name="Rule “slow people”").get_by_role("button", name="Change …").click()
    expect(page.get_by_role("dialog", name="Change the rule “slow people”").get_by_label("URL")).to_have_value(
        "https://hooks.example.com/x"
    )


def test_a_session_is_ended_where_it_is_listed(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    session_id_of(server.client())
    page = screen("/settings?tab=sessions").ready("Settings").page
    rows = page.get_by_role("table", name="Sessions").locator("[data-id]")
    expect(rows.first).to_contain_text("this one")
    before = rows.count()
    expect(rows.first.get_by_role("button")).to_have_count(0)
    rows.nth(1).get_by_role("button", name="End …").click()
    dialog = page.get_by_role("dialog", name="End the session of")
    expect(dialog.get_by_role("button", name="End it")).to_be_disabled()
    dialog.get_by_label("Type end to go on").fill("end")
    dialog.get_by_role("button", name="End it").click()
    expect(rows).to_have_count(before - 1)


def test_a_search_finds_words_and_goes_on_where_its_time_ended(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/runs").ready("Runs").page
    cut: list[str] = []

    def answered(route: Route) -> None:
        reply = route.fetch()
        told = reply.json()
        if "cursor" not in route.request.url:
            told |= {"data": [], "next": "there", "searched_to": "2026-03-01T00:00:00Z"}
            route.fulfill(response=reply, json=told)
        else:
            cut.append(route.request.url)
            route.continue_(url=route.request.url.replace("&cursor=there", ""))

    page.route("**/api/v1/runs?*q=*", answered)
    page.get_by_label("Search by words, id or agent").fill("pages paper")
    page.keyboard.press("Enter")
    page.get_by_text("No run matches so far").wait_for()
    page.get_by_role("button", name="Search older runs").click()
    expect(page.get_by_role("button", name="Search older runs")).to_have_count(0)
    assert cut
    page.unroute("**/api/v1/runs?*q=*")
    page.get_by_label("Search by words, id or agent").fill("LETTER send")
    page.keyboard.press("Enter")
    expect(page.get_by_role("table", name="Runs")).to_have_attribute("aria-rowcount", "2")
    page.keyboard.press("Control+k")
    page.get_by_label("Page, agent or run").fill("send the letter")
    page.get_by_role("listbox", name="Where to go").get_by_text("asker · asker").wait_for()
