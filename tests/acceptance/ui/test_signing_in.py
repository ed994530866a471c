"""How a person comes in, and what the dashboard leaves out for whose role reads only."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.screens import Screen, opened
from tests.acceptance.ui.seeds import Seeds
from tests.support.browser import token_of
from tests.support.provider import provider
from tests.support.server import NO_LIMITS, Server

pytestmark = pytest.mark.slow
PASSWORD = "a long sentence of hers"


def but_refusals(one: Screen) -> None:
    """Leaves out what Chromium says of replies with 401: they are how the page learns that nobody is signed in."""
    one.faults = [fault for fault in one.faults if "status of 401" not in fault]


def test_by_a_link_then_by_a_password(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    admin = server.client()
    member = admin.post("/api/v1/members", json={"name": "ada", "role": "operator"}).json()
    one = screen("/runs?status=failed", is_signed_in=False).ready("Sign in")
    page = one.page
    page.goto(f"{server.base_url}/sign-in?next=%2Fsettings%3Ftab%3Dyou#token={token_of(admin, member['user_id'])}")
    page.get_by_role("heading", level=1, name="Settings").wait_for()
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_role("button", name="Set password").click()
    page.get_by_text("The password is set.").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", level=1, name="Sign in").wait_for()
    page.get_by_label("Name or e-mail").fill("ada")
    page.get_by_label("Password").fill("another sentence")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", level=1, name="Now").wait_for()
    page.get_by_text("ada, operator").wait_for()
    but_refusals(one)


def test_a_viewer_reads_and_is_offered_nothing_else(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    admin = server.client()
    member = admin.post("/api/v1/members", json={"name": "vera", "role": "viewer"}).json()
    one = screen(f"/sign-in?next=%2Fapprovals#token={token_of(admin, member['user_id'])}", is_signed_in=False)
    page = one.ready("Approvals").page
    page.get_by_text("Your role reads only").first.wait_for()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    page.get_by_role("link", name="Runs", exact=True).click()
    page.locator(f'[data-id="{seeds.asking}"]').wait_for()
    but_refusals(one)


def test_who_is_signed_in_stays_until_a_click_says_otherwise(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    admin = server.client()
    member = admin.post("/api/v1/members", json={"name": "mallory", "role": "viewer"}).json()
    one = screen("/").ready("Now")
    page = one.page
    page.get_by_text("admin, admin").wait_for()
    link = f"{server.base_url}/sign-in#token={token_of(admin, member['user_id'])}"
    page.goto(link)
    page.get_by_text("This link signs you in as mallory of default").wait_for()
    assert "token" not in page.url
    page.get_by_role("link", name="Stay admin").click()
    page.get_by_text("admin, admin").wait_for()
    page.goto(link)
    page.get_by_role("button", name="Sign in as mallory").click()
    page.get_by_text("mallory, viewer").wait_for()


@pytest.mark.parametrize("between", ["%09", "%0a", "%0d%5c", ""])
def test_no_link_leads_elsewhere(screen: OpenScreen, server: Server, between: str) -> None:
    elsewhere = f"%2F{between}%2F127.0.0.1:1%2Fx"
    one = screen(f"/sign-in?next={elsewhere}#token={token_of(server.client())}", is_signed_in=False)
    page = one.ready("Now").page
    assert page.url == f"{server.base_url}/"
    but_refusals(one)


def test_by_an_identity_provider_and_back_to_where_one_was_going(browser: Browser, tmp_path: Path) -> None:
    people = {"bob-1": {"email": "bob@example.com", "email_verified": True}}
    with provider(people) as issuer:
        settings = {
            "TOWERLOG_OIDC_ISSUER": issuer,
            "TOWERLOG_OIDC_CLIENT_ID": "towerlog",
            "TOWERLOG_OIDC_CLIENT_SECRET": "a secret",
            "TOWERLOG_OIDC_DEFAULT_ROLE": "viewer",
            "TOWERLOG_OIDC_DOMAIN": "example.com",
        }
        with Server(tmp_path / "data", {**NO_LIMITS, **settings}) as server:
            one = opened(browser, server.base_url, "/runs?status=failed", width=360, theme="dark", token=None)
            page = one.ready("Sign in").page
            page.route(
                lambda url: urlsplit(url).hostname not in ("127.0.0.1", "localhost"), lambda route: route.abort()
            )
            page.get_by_role("link", name="Sign in with").click()
            page.locator("input[name=sub]").fill("bob-1")
            page.get_by_role("button", name="Authorize").click()
            one.ready("Runs")
            assert page.url == f"{server.base_url}/runs?status=failed"
            page.get_by_text("bob@example.com, viewer").wait_for(state="attached")
            but_refusals(one)
            one.faults = [fault for fault in one.faults if "localhost" not in fault and "ERR_FAILED" not in fault]
            one.faults = [fault for fault in one.faults if not fault.startswith("a request to ")]
            one.close()
            server.stop()
