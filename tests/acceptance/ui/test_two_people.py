"""Two administrators change one thing: what each has changed stays, and who saves later has read what the other did."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.acceptance.feeds import ok
from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.server import Server

pytestmark = pytest.mark.slow
MEANWHILE = "Somebody else has changed this meanwhile"


def _sent(page: Page, method: str) -> list[Any]:
    """The bodies that the page sends with this method from now on, without those of a dry run."""
    found: list[Any] = []

    def note(request: Any) -> None:
        if request.method == method and not (request.post_data_json or {}).get("dry_run"):
            found.append(request.post_data_json)

    page.on("request", note)
    return found


def _budget(server: Server, name: str) -> str:
    body = {"name": name, "scope": {"agent": name}, "amount_usd": 5, "action": "warn", "warn_at": 0.8}
    return str(ok(server.client().post("/api/v1/budgets", json=body), 201)["budget_id"])


def _change(page: Page, name: str) -> Any:
    page.locator(f"[data-id='{name}']").get_by_role("button", name="Change …").click()
    return page.get_by_role("dialog")


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (360, "light"), (360, "dark")])
def test_a_budget_keeps_what_the_other_has_set(
    screen: OpenScreen, server: Server, seeds: Seeds, width: int, theme: str
) -> None:
    made = _budget(server, f"shared {width} {theme}")
    mine, other = (screen("/budgets", width=width, theme=theme).ready("Budgets") for _ in range(2))
    form, theirs = _change(mine.page, made), _change(other.page, made)
    form.get_by_label("Warn at, in %").fill("50")
    sent = _sent(mine.page, "PATCH")
    theirs.get_by_label("Amount, in $").fill("1")
    theirs.get_by_label("When it is used up").select_option("pause")
    theirs.get_by_role("button", name="Save").click()
    expect(theirs).to_have_count(0)
    told = form.get_by_role("status").filter(has_text=MEANWHILE)
    expect(told).to_contain_text("amount “1”, when it is used up “pause”")
    expect(form.get_by_label("Amount, in $")).to_have_value("1")
    expect(form.get_by_label("Warn at, in %")).to_have_value("50")
    assert (mine.overflow() <= 0, mine.violations()) == (True, [])
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)
    assert sent == [{"warn_at": 0.5, "dry_run": False}]
    found = ok(server.client().get(f"/api/v1/budgets/{made}"))
    assert (found["amount_usd"], found["action"], found["warn_at"]) == (1, "pause", 0.5)


def test_what_the_stream_has_not_told_is_shown_before_anything_is_sent(
    screen: OpenScreen, server: Server, seeds: Seeds
) -> None:
    made = _budget(server, "untold")

    before = ok(server.client().get("/api/v1/budgets", params={"limit": 200}))
    one = screen("/budgets").ready("Budgets")

    def as_it_was(route: Route) -> None:
        route.fulfill(json=before)

    one.page.route("**/api/v1/budgets?*", as_it_was)
    form = _change(one.page, made)
    form.get_by_label("Name").fill("told")
    sent = _sent(one.page, "PATCH")
    ok(server.client().patch(f"/api/v1/budgets/{made}", json={"amount_usd": 2}))
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("status").filter(has_text=MEANWHILE)).to_contain_text("amount “2”")
    assert sent == []
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)
    assert sent == [{"name": "told", "dry_run": False}]


def test_a_rule_keeps_its_channels_and_figures(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    body = {"name": "shared rule", "trigger": "stalled", "config": {"minutes": 5}, "scope": {"agent": "a"}}
    made = ok(server.client().post("/api/v1/alert-rules", json=body), 201)["rule_id"]
    one = screen("/alerts?tab=rules").ready("Alerts")
    form = _change(one.page, made)
    form.get_by_label("Name", exact=True).fill("renamed rule")
    form.get_by_text("More conditions").click()
    form.get_by_label("Label (name=value)").fill("team=x")
    sent = _sent(one.page, "PATCH")
    # The list learns it when it is read again; so does whoever saves before.
    before = ok(server.client().get("/api/v1/alert-rules", params={"limit": 200}))
    one.page.route("**/api/v1/alert-rules?*", lambda route: route.fulfill(json=before))
    channels = [{"type": "slack", "target": "https://hooks.slack.com/services/x"}]
    change = {"config": {"minutes": 60}, "channels": channels, "scope": {"agent": "b"}}
    ok(server.client().patch(f"/api/v1/alert-rules/{made}", json=change))
    form.get_by_role("button", name="Save").click()
    told = form.get_by_role("status").filter(has_text=MEANWHILE)
    expect(told).to_contain_text("conditions, figures, whom it notifies")
    expect(form.get_by_label("Minutes", exact=True)).to_have_value("60")
    assert one.violations() == []
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)
    assert sent == [{"name": "renamed rule", "scope": {"agent": "b", "label": "team=x"}}]
    found = ok(server.client().get(f"/api/v1/alert-rules/{made}"))
    assert (found["config"]["minutes"], found["channels"][0]["type"]) == (60, "slack")
    assert (found["scope"]["agent"], found["scope"]["label"]) == ("b", "team=x")


def test_a_policy_of_retention_keeps_the_other_bound(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    ok(client.put("/api/v1/retention/deltas", json={"max_age_seconds": 3600, "max_bytes": 1_000_000_000}))
    one = screen("/settings?tab=retention").ready("Settings")
    one.page.locator("[data-id='deltas']").get_by_role("button", name="Set …").click()
    form = one.page.get_by_role("dialog")
    expect(form.get_by_label("After the run's end", exact=True)).to_have_value("1")
    expect(form.get_by_label("After the run's end: unit")).to_have_value("3600")
    form.get_by_label("After the run's end", exact=True).fill("30000")
    sent = _sent(one.page, "PUT")
    ok(client.put("/api/v1/retention/deltas", json={"max_age_seconds": 3600, "max_bytes": 2 * 1024**3}))
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("status").filter(has_text=MEANWHILE)).to_contain_text("the size")
    assert (sent, one.violations()) == ([], [])
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)
    assert sent == [{"max_age_seconds": 30_000 * 3600, "max_bytes": 2 * 1024**3}]
    client.delete("/api/v1/retention/deltas").raise_for_status()


def test_a_role_is_not_set_over_one_that_was_not_seen(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    made = ok(client.post("/api/v1/members", json={"name": "shared", "role": "viewer"}), 201)["user_id"]
    one = screen("/settings?tab=members", user_id=None).ready("Settings")
    field = one.page.get_by_label("Role of shared")
    expect(field).to_have_value("viewer")
    sent = _sent(one.page, "PATCH")
    ok(client.patch(f"/api/v1/members/{made}", json={"role": "admin"}))
    field.select_option("operator")
    expect(one.page.get_by_text("Somebody else has made shared admin meanwhile. Nothing was changed.")).to_be_visible()
    expect(field).to_have_value("admin")
    assert sent == []
    field.select_option("operator")
    expect(one.page.get_by_text("shared is operator now.")).to_be_visible()
    assert sent == [{"role": "operator"}]


def test_a_price_is_not_set_over_one_that_was_not_seen(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    one = screen("/settings?tab=prices").ready("Settings")
    one.page.get_by_role("button", name="New price …").click()
    form = one.page.get_by_role("dialog")
    form.get_by_label("Model").fill("shared-model")
    form.get_by_label("Input", exact=True).fill("3")
    form.get_by_label("Output", exact=True).fill("4")
    sent = _sent(one.page, "POST")
    rates = {"model": "shared-model", "usd_per_million": {"input": 1, "output": 2}}
    ok(server.client().post("/api/v1/prices", json=rates), 201)
    form.get_by_role("button", name="Set price").click()
    expect(form.get_by_role("status").filter(has_text=MEANWHILE)).to_contain_text("$1.00 for input, $2.00 for output")
    assert (sent, one.violations()) == ([], [])
    form.get_by_role("button", name="Set price").click()
    expect(form).to_have_count(0)
    assert sent == [{"model": "shared-model", "usd_per_million": {"input": 3, "output": 4}}]


def test_two_tabs_save_views(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    one = screen("/runs?status=failed").ready("Runs")
    with one.page.context.expect_page() as opening:
        one.page.evaluate("window.open('/runs?status=running')")
    for page, name in ((opening.value, "theirs"), (one.page, "mine")):
        page.get_by_role("heading", level=1, name="Runs").wait_for()
        page.get_by_role("button", name="Save this view").click()
        field = page.get_by_label("Its name, in this browser")
        field.fill(name)
        field.press("Enter")
        page.get_by_role("link", name=name, exact=True).wait_for()
    names = "JSON.parse(localStorage.getItem('towerlog.views')).map(({ name }) => name)"
    assert one.page.evaluate(names) == ["theirs", "mine"]
