"""Forms that set figures: what cannot be read as a number is told at its field and not sent, and what takes something
away at once says how much, and is confirmed by typing."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, expect

from tests.acceptance.feeds import create_run, ok
from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.senders import ingest, sdk_event, tell
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow
NO_NUMBER = "No number: write it as 1000 or 10.5"


def _changes(page: Page) -> list[str]:
    """What the page asks of the server from now on that would change something."""
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.method in ("POST", "PUT", "PATCH", "DELETE") and "dry_run" not in (request.post_data or ""):
            sent.append(f"{request.method} {request.url}")

    page.on("request", note)
    return sent


def _refused(form: Locator, field: str, button: str, texts: list[str]) -> None:
    """Each text is told at the field; in the end it is what it was."""
    given = form.get_by_label(field, exact=True)
    was = given.input_value()
    for text in texts:
        given.fill(text)
        form.get_by_role("button", name=button, exact=True).click()
        expect(form.get_by_role("alert").filter(has_text=NO_NUMBER)).to_be_visible()
        expect(given).to_be_focused()
        expect(given).to_have_attribute("aria-invalid", "true")
    given.fill(was)
    expect(form.get_by_role("alert").filter(has_text=NO_NUMBER)).to_have_count(0)


@pytest.mark.parametrize("width", [1440, 360])
def test_a_budget_is_not_changed_by_what_is_no_number(
    screen: OpenScreen, server: Server, seeds: Seeds, width: int
) -> None:
    body = {"name": f"figures {width}", "scope": {"agent": "figures"}, "amount_usd": 5, "warn_at": 0.29}
    made = ok(server.client().post("/api/v1/budgets", json=body), 201)
    one = screen("/budgets", width=width).ready("Budgets")
    one.page.locator(f"[data-id='{made['budget_id']}']").get_by_role("button", name="Change …").click()
    form = one.page.get_by_role("dialog")
    sent = _changes(one.page)
    expect(form.get_by_label("Warn at, in %")).to_have_value("29")
    _refused(form, "Amount, in $", "Save", ["1,000", "10,5", "abc"])
    _refused(form, "Warn at, in %", "Save", ["80 %"])
    assert (sent, one.violations()) == ([], [])
    form.get_by_label("Amount, in $").fill("10.5")
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)
    found = ok(server.client().get(f"/api/v1/budgets/{made['budget_id']}"))
    assert (found["amount_usd"], found["warn_at"]) == (10.5, 0.29)


def test_no_other_form_sends_what_is_no_number(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    page = screen("/settings?tab=prices").ready("Settings").page
    page.get_by_role("button", name="New price …").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Model").fill("misread-1")
    sent = _changes(page)
    _refused(form, "Input", "Set price", ["0,25", "1 $"])
    page = screen("/settings?tab=retention").ready("Settings").page
    sent_too = _changes(page)
    page.locator("[data-id='deltas']").get_by_role("button", name="Set …").click()
    form = page.get_by_role("dialog")
    form.get_by_label("At most", exact=True).fill("10")
    _refused(form, "After the run's end", "Save", ["30 days", "1,5"])
    page = screen("/runs?min_cost_usd=0.01").ready("Runs").page
    field = page.get_by_label("Costs at least")
    field.fill("0,5")
    field.press("Enter")
    expect(page.get_by_role("alert").filter(has_text=NO_NUMBER)).to_be_visible()
    assert page.url.endswith("?min_cost_usd=0.01")
    field.fill("0.5")
    field.press("Enter")
    page.wait_for_url("**/runs?min_cost_usd=0.5")
    assert (sent, sent_too) == ([], [])


def test_a_rule_takes_no_words_for_numbers_and_forgets_what_it_was_tried_as(
    screen: OpenScreen, server: Server, seeds: Seeds
) -> None:
    page = screen("/alerts?tab=rules").ready("Alerts").page
    page.get_by_role("button", name="New rule …").click()
    form = page.get_by_role("dialog")
    sent = _changes(page)
    form.get_by_label("Name", exact=True).fill("in words")
    _refused(form, "Cool-down per agent (minutes)", "Make rule", ["1 h"])
    form.get_by_role("button", name="Try it on the last week").click()
    tried = form.get_by_role("status").filter(has_text="Over the last week")
    tried.wait_for()
    form.get_by_label("Name", exact=True).fill("in other words")
    expect(tried).to_be_visible()
    form.get_by_label("Fires when").select_option("a run waits long for a person")
    expect(tried).to_have_count(0)
    sent.clear()
    _refused(form, "Minutes", "Try it on the last week", ["ten"])
    assert sent == []


def _ended(server: Server, name: str) -> str:
    client = server.client()
    tell(client, "run_start", name, {"input": "kept"}, agent_name=name)
    tell(client, "run_end", name, {"output": "kept too"})
    return str(ok(client.get("/api/v1/runs", params={"agent": name}))["data"][0]["run_id"])


def test_a_policy_that_erases_at_once_says_how_much_and_is_typed(
    screen: OpenScreen, server: Server, seeds: Seeds
) -> None:
    client, run_id = server.client(), _ended(server, "expires")
    page = screen("/settings?tab=retention").ready("Settings").page
    row = page.locator("[data-id='events']")
    row.get_by_role("button", name="Set …").click()
    form = page.get_by_role("dialog", name="How long is kept")
    form.get_by_label("After the run's end", exact=True).fill("0.041666666666666664")
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)
    # Nothing is so old: it is set without a question, and shown as what it is.
    expect(row).to_contain_text("1 h 00 min")
    row.get_by_role("button", name="Set …").click()
    expect(form.get_by_label("After the run's end", exact=True)).to_have_value("1")
    expect(form.get_by_label("After the run's end: unit")).to_have_value("3600")
    form.get_by_label("After the run's end", exact=True).fill("")
    form.get_by_label("At most", exact=True).fill("0")
    form.get_by_role("button", name="Save").click()
    sure = page.get_by_role("dialog", name="This erases at once")
    expect(sure).to_contain_text("This erases all content of a run of")
    held = ok(client.post("/api/v1/retention/run", json=_draft("events", max_bytes=0)))["data"][0]["runs"]
    expect(sure).to_contain_text(f"of {held} runs")
    expect(sure.get_by_role("button", name="Erase and save")).to_be_disabled()
    sure.get_by_role("button", name="Back").click()
    assert ok(client.get("/api/v1/retention/events"))["max_bytes"] is None
    assert ok(client.get(f"/api/v1/runs/{run_id}"))["events_erased_at"] is None
    form.get_by_role("button", name="Save").click()
    sure.get_by_label("to go on").fill("erase")
    sure.get_by_role("button", name="Erase and save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(row).to_contain_text("0 B")
    # What is due is gone soon, and the page says so by itself.
    expect(row).to_contain_text("0 runs")
    assert ok(client.get(f"/api/v1/runs/{run_id}"))["events_erased_at"] is not None
    ok(client.delete("/api/v1/retention/events"))


def _draft(kind: str, **bounds: int) -> dict[str, Any]:
    return {"dry_run": True, "policy": {"kind": kind, **bounds}}


def _spender(server: Server, name: str) -> str:
    """An agent that has spent $5, and has an open run; its id."""
    client = server.client()
    tell(client, "run_start", f"{name}-1", {"input": "x"}, agent_name=name)
    # The reply warns of a budget.
    assert ingest(client, sdk_event("run_end", f"{name}-1", {"cost_usd": 5}, agent_name=name)).status_code == 200
    return str(create_run(client, f"{name}-open", agent=name, input="x")["run_id"])


def test_a_budget_that_is_used_up_already_says_how_many_runs_end(
    screen: OpenScreen, server: Server, seeds: Seeds
) -> None:
    client, run_id = server.client(), _spender(server, "spendthrift")
    page = screen("/budgets").ready("Budgets").page
    page.get_by_role("button", name="New budget …").click()
    form = page.get_by_role("dialog", name="New budget")
    form.get_by_label("Name").fill("too late")
    form.get_by_label("Counts").select_option("an agent")
    form.get_by_label("Its name").fill("spendthrift")
    form.get_by_label("Amount, in $").fill("1")
    form.get_by_label("When it is used up").select_option("cancel its runs")
    form.get_by_role("button", name="Make budget").click()
    sure = page.get_by_role("dialog", name="This budget is used up already")
    expect(sure).to_contain_text("1 open run: asked to end")
    expect(sure.get_by_role("button", name="Make it all the same")).to_be_disabled()
    sure.get_by_role("button", name="Back").click()
    assert "too late" not in [one["name"] for one in ok(client.get("/api/v1/budgets"))["data"]]
    # Enough for now: nothing is asked.
    form.get_by_label("Amount, in $").fill("50")
    form.get_by_role("button", name="Make budget").click()
    expect(form).to_have_count(0)
    [made] = [one for one in ok(client.get("/api/v1/budgets"))["data"] if one["name"] == "too late"]
    page.locator(f"[data-id='{made['budget_id']}']").get_by_role("button", name="Change …").click()
    form = page.get_by_role("dialog", name="Change the budget")
    form.get_by_label("Amount, in $").fill("2")
    form.get_by_role("button", name="Save").click()
    expect(sure).to_contain_text("1 open run: asked to end")
    assert ok(client.get(f"/api/v1/runs/{run_id}"))["status"] == "queued"
    sure.get_by_label("to go on").fill("cancel")
    sure.get_by_role("button", name="Save it all the same").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    wait_until(lambda: ok(client.get(f"/api/v1/runs/{run_id}"))["status"] != "queued", "the run is asked to end")
